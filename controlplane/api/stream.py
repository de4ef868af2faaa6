"""How a stream of answers looks over HTTP: lines of JSON, server-sent events, one JSON array, or raw bytes.

An error in mid-stream is visible in each: as the last line, as `event: error`, as the last element. Only raw bytes have
no place for it, so their connection is cut. A stream that has ended says so too: `event: end`, for browsers would open
it again for ever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

from google.protobuf.message import Message

from controlplane.api.bodies import ClientGone
from controlplane.api.negotiate import EVENTS, JSON, NDJSON

HEARTBEAT_SECONDS = 15.0
PATIENCE_SECONDS = 0.5  # for the first answer: an error before it is an ordinary error with its own status
AHEAD = 64
_IS_ID = re.compile(r"[\x21-\x7e]{1,512}")  # what a header can carry back
PIECES_AHEAD = 2  # of a file: a mebibyte each, for every reader that is slow


class Framing(Protocol):
    """How one media type writes a stream."""

    media_type: str
    beat: bytes  # what keeps the connection alive; empty: nothing can be sent in between

    def item(self, body: bytes, cursor: str, first: bool) -> bytes:
        """One answer as JSON; `cursor` is where a reader goes on after it, if it has one."""

    def end(self, first: bool) -> bytes:
        """After the last answer."""

    def error(self, body: bytes, first: bool) -> bytes:
        """After the last answer, when there should have been more. `body` is the error as JSON."""


class Lines:
    """One JSON object a line; the last one may be an error."""

    media_type = NDJSON
    beat = b""

    def item(self, body: bytes, cursor: str, first: bool) -> bytes:
        """A line."""
        return one_line(body) + b"\n"

    def end(self, first: bool) -> bytes:
        """Nothing."""
        return b""

    def error(self, body: bytes, first: bool) -> bytes:
        """A last line."""
        return body + b"\n"


class Events:
    """Server-sent events; `id` is where a reconnecting browser goes on."""

    media_type = EVENTS
    beat = b": alive\n\n"

    def item(self, body: bytes, cursor: str, first: bool) -> bytes:
        """An event."""
        name = f"id: {cursor}\n".encode() if cursor and _IS_ID.fullmatch(cursor) else b""
        start = b"retry: 2000\n" if first else b""
        return start + name + b"data: " + one_line(body) + b"\n\n"

    def end(self, first: bool) -> bytes:
        """The event `end`."""
        return b"event: end\ndata: {}\n\n"

    def error(self, body: bytes, first: bool) -> bytes:
        """The event `error`."""
        return b"event: error\ndata: " + body + b"\n\n"


class Array:
    """One JSON array; its last element may be an error."""

    media_type = JSON
    beat = b" "

    def item(self, body: bytes, cursor: str, first: bool) -> bytes:
        """An element."""
        return (b"[" if first else b",") + body

    def end(self, first: bool) -> bytes:
        """The bracket."""
        return b"[]" if first else b"]"

    def error(self, body: bytes, first: bool) -> bytes:
        """The last element and the bracket."""
        return (b"[" if first else b",") + body + b"]"


FRAMINGS: Mapping[str, Framing] = {framing.media_type: framing for framing in (Lines(), Events(), Array())}


def cursor_of(message: Any) -> str:
    """Where a reader of this stream goes on after this answer."""
    return str(getattr(message, "cursor", "") or getattr(message, "version", "") or "")


def one_line(body: bytes) -> bytes:
    """JSON without line breaks: outside of strings they are white space, inside they cannot be."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in body or b"\r" in body else body


class Feed:
    """Answers pulled ahead by a task of their own, so that waiting for one can be bounded without losing it.

    Errors of the source come out of `take` in their place. `run` is the task; its owner cancels it to end the call.
    """

    def __init__(self, answers: AsyncIterator[Message], ahead: int = AHEAD) -> None:
        self._answers = answers
        self._queue: asyncio.Queue[Message | Exception | None] = asyncio.Queue(ahead)
        self._kept: list[Message | Exception | None] = []

    async def run(self) -> None:
        """Pull until the end."""
        try:
            async for answer in self._answers:
                await self._queue.put(answer)
        except Exception as error:
            await self._queue.put(error)
        else:
            await self._queue.put(None)
        finally:
            close: Callable[[], Awaitable[Any]] | None = getattr(self._answers, "aclose", None)
            if close is not None:
                await close()

    async def take(self, patience: float) -> list[Message]:
        """What is there; nothing when the patience is over. Raises StopAsyncIteration at the end, or the error."""
        if self._kept:
            return [self._open(self._kept.pop())]
        try:
            async with asyncio.timeout(patience):
                first = await self._queue.get()
        except TimeoutError:
            return []
        taken = [self._open(first)]
        while not self._queue.empty():
            found = self._queue.get_nowait()
            if not isinstance(found, Message):
                self._kept.append(found)  # the end or an error: after what came before it
                break
            taken.append(found)
        return taken

    @staticmethod
    def _open(found: Message | Exception | None) -> Message:
        if found is None:
            raise StopAsyncIteration
        if isinstance(found, Exception):
            raise found
        return found


async def watch(receive: Callable[[], Awaitable[Any]]) -> None:
    """Raise ClientGone when the connection is closed."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone


async def attended(receive: Callable[[], Awaitable[Any]], work: Awaitable[Any], *, after: float = 0.05) -> Any:
    """Await the work, and cancel it when the client goes away. Raises ClientGone, or what the work raises.

    The look-out starts a moment later: most calls are answered by then and never pay for it.
    """
    loop = asyncio.get_running_loop()
    look_out = _LookOut(receive, loop)
    timer = loop.call_later(after, look_out.begin)
    result: Any = None
    try:
        result = await work
    except asyncio.CancelledError:
        if look_out.seen is None:
            raise
    finally:
        timer.cancel()
        await look_out.end()
    look_out.tell()
    return result


class _LookOut:
    """Cancels whoever serves a call when its client goes away."""

    __slots__ = ("_cancelling", "_loop", "_receive", "_watcher", "_worker", "seen")

    def __init__(self, receive: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop) -> None:
        worker = asyncio.current_task(loop)
        assert worker is not None  # a call is served by one
        self._receive = receive
        self._loop = loop
        self._worker = worker
        self._cancelling = worker.cancelling()
        self._watcher: asyncio.Task[None] | None = None
        self.seen: BaseException | None = None

    def begin(self) -> None:
        self._watcher = self._loop.create_task(watch(self._receive))
        self._watcher.add_done_callback(self._ended)

    async def end(self) -> None:
        """The call is over, and nobody is cancelled for it any more."""
        if self._watcher is not None and self.seen is None:
            self._watcher.remove_done_callback(self._ended)
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def tell(self) -> None:
        """Raise what was seen, if anything: unless somebody else has cancelled the call as well."""
        if self.seen is None:
            return
        if self._worker.uncancel() > self._cancelling:
            raise asyncio.CancelledError
        raise self.seen

    def _ended(self, watcher: asyncio.Task[None]) -> None:
        self.seen = watcher.exception()  # it ends by nothing else
        self._worker.cancel()


class only_gone:  # noqa: N801 # reads as contextlib.suppress does
    """ClientGone instead of a group that holds it."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BaseExceptionGroup) and error.subgroup(ClientGone) is not None:
            raise ClientGone from None
