"""Bodies of requests: read piece by piece, decompressed, within their cap and their time.

Not here: what the bytes mean (`transcode.py`, `uploads.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from controlplane.api.json_text import malformed
from controlplane.api.status import Refused
from controlplane.api.within import Within
from controlplane.domain.errors import Exhausted, Invalid, Violation

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODY = 10 * 1024 * 1024
MAX_MODULE = 32 * 1024 * 1024
MAX_DRAINED = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
SILENCE_SECONDS = 60.0  # a body of which nothing comes for so long is given up
_PIECE = 1024 * 1024  # of a decompressed body


class ClientGone(Refused):
    """The client closed its connection."""

    reason = "CALL_CANCELLED"

    def __init__(self) -> None:
        super().__init__("the client went away")


class Body:
    """The body of one request. `finished` is set when nothing more of it will be read. `take` is told of every byte
    that is kept, and raises Exhausted when that is too much.
    """

    def __init__(
        self,
        receive: Receive,
        headers: Mapping[str, str],
        deadline: float | None = None,
        take: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._receive = receive
        self._headers = headers
        self._deadline = deadline
        self._take = take
        self.finished = asyncio.Event()

    async def whole(self, limit: int) -> bytes:
        """All of it. Raises Exhausted beyond the limit, Invalid for encodings that are not read here."""
        declared = self._headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            if "100-continue" not in self._headers.get("expect", "").lower():
                await self._drain()
            raise too_large("the body", limit)
        pieces: list[bytes] = []
        size = 0
        async for piece in self.pieces(limit):
            size += len(piece)
            if size > limit:
                await self._drain()
                raise too_large("the body", limit)
            try:
                self._take(len(piece))
            except Exhausted:
                await self._drain()
                raise
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """What comes, decompressed, as it comes; nothing is read ahead. `limit` bounds what travels."""
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise _unknown_encoding(encoding)
        inflate = _Inflater() if encoding in ("gzip", "x-gzip") else None
        size = 0
        while not self.finished.is_set():
            raw = await self._next()
            size += len(raw)
            if limit is not None and size > limit:
                await self._drain()
                raise too_large("the body", limit)
            if inflate is None:
                if raw:
                    yield raw
            else:
                for piece in inflate.feed(raw):
                    yield piece
        if inflate is not None:
            inflate.check_end()

    async def _next(self) -> bytes:
        patience = SILENCE_SECONDS
        if self._deadline is not None:
            patience = min(patience, max(0.0, self._deadline - time.monotonic()))
        try:
            with Within(patience):
                message = await self._receive()
        except TimeoutError:
            self.finished.set()
            raise Refused(
                "the body did not come in time; nothing was done", reason="DEADLINE_EXCEEDED", facts={"part": "body"}
            )
        if message["type"] != "http.request":
            self.finished.set()
            raise ClientGone
        if not message.get("more_body"):
            self.finished.set()
        piece: bytes = message.get("body", b"")
        return piece

    async def _drain(self) -> None:
        """Read on and forget: closing a connection on which the client still writes would destroy the answer.

        Bounded, so that nobody can keep us reading for ever.
        """
        room = MAX_DRAINED
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(DRAIN_SECONDS):
                while room > 0 and not self.finished.is_set():
                    room -= len(await self._next())
        self.finished.set()


class _Inflater:
    """gzip, member by member, in pieces of bounded size: a bomb is stopped by whoever counts them."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, raw: bytes) -> Iterator[bytes]:
        """What can be said after these bytes. Raises Invalid."""
        while True:
            if raw and self._inflater.eof:
                self._inflater = zlib.decompressobj(wbits=31)
            self._begun = self._begun or bool(raw)
            try:
                piece = self._inflater.decompress(raw, _PIECE)
            except zlib.error:
                raise malformed("the body is no gzip")
            raw = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if piece:
                yield piece
            if not raw and len(piece) < _PIECE:
                return

    def check_end(self) -> None:
        """Raise Invalid unless the last member was whole."""
        if self._begun and not self._inflater.eof:
            raise malformed("the body is no whole gzip")


def too_large(what: str, limit: int) -> Exhausted:
    """Beyond a cap."""
    return Exhausted(f"{what} is larger than {limit} bytes", reason="TOO_LARGE", facts={"limit_bytes": str(limit)})


def _unknown_encoding(encoding: str) -> Invalid:
    problem = f"is {encoding[:64]!r}, but must be gzip or absent"
    return Invalid(
        f"Content-Encoding: {problem}",
        reason="UNSUPPORTED_MEDIA_TYPE",
        violations=[Violation("Content-Encoding", problem)],
        facts={"field": "Content-Encoding"},
    )
