"""Bytes that agents put piece by piece before the result that names them: outputs that are large, artifacts.

Bytes count once they have the digest that they came under. Until a result names them they belong to the placement that
they came from, so that nobody gets at another's bytes by knowing their digest.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controlplane.domain.errors import Invalid, Violation
from controlplane.engine.context import Engine
from controlplane.store import Connection, blobs, uploads
from controlplane.store.uploads import Slot, Upload

PIECE = blobs.CHUNK
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of something as an agent sends it."""

    digest: str
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes are stored without a gap, and whether that is all and right."""

    stored: int
    complete: bool


class Uploads:
    """Takes pieces in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, slot: Slot, piece: Piece, counts: Callable[[Connection], bool]) -> Progress:
        """Store a piece; one that is stored already changes nothing. `counts` says, in the same transaction, whether
        a result has named it by now, and raises if it must not be put at all. Raises Invalid.
        """
        progress = await self._engine.store.write(self._put, slot, piece, counts)
        if progress.complete or progress.stored < piece.size:
            return progress
        return await self._complete(slot, piece)

    def _put(self, connection: Connection, slot: Slot, piece: Piece, counts: Callable[[Connection], bool]) -> Progress:
        if counts(connection):
            return Progress(piece.size, True)
        now = self._engine.clock.now()
        new = Upload(piece.digest, piece.size, uuid.uuid4().hex, 0, False)
        upload = uploads.begin(connection, slot, new, now)
        if not piece.data or piece.offset != upload.stored:
            return Progress(upload.stored, upload.complete)
        uploads.add_piece(connection, slot, upload, piece.data, now)
        return Progress(upload.stored + len(piece.data), False)

    async def _complete(self, slot: Slot, piece: Piece) -> Progress:
        """Look at the bytes outside of the transaction that makes them count: a large one takes its time."""
        before = await self._engine.store.write(uploads.find, slot)
        found = "" if before is None else await self._engine.store.read(blobs.digest_of, before.content)

        def conclude(connection: Connection) -> Progress | None:
            upload = uploads.find(connection, slot)
            if upload is None or before is None or upload.content != before.content:
                return Progress(0, False)  # a rival began anew, or its task went
            if upload.complete:
                return Progress(upload.size, True)
            if found != upload.digest:
                uploads.discard(connection, slot, upload)
                return None
            uploads.complete(connection, slot, upload, self._engine.clock.now())
            return Progress(upload.size, True)

        progress = await self._engine.store.write(conclude)
        if progress is None:
            raise Invalid.field("digest", f"the bytes sent have {found}; they are dropped")
        return progress


def piece_problems(piece: Piece, least: int, most: int) -> Iterator[Violation]:
    """What is wrong with a piece of something that may have so many bytes."""
    if not DIGEST.fullmatch(piece.digest):
        yield Violation("digest", "must be a SHA-256 in 64 lower-case hex digits")
    if not least <= piece.size <= most:
        yield Violation("size", f"must be {least} to {most:,} bytes, not {piece.size:,}")
        return
    if not 0 <= piece.offset <= piece.size or (piece.offset % PIECE and piece.offset != piece.size):
        yield Violation("offset", f"must be a multiple of {PIECE:,} within the size, not {piece.offset:,}")
    elif piece.data and len(piece.data) != min(PIECE, piece.size - piece.offset):
        wanted = min(PIECE, piece.size - piece.offset)
        yield Violation("data", f"the piece at {piece.offset:,} has {wanted:,} bytes, not {len(piece.data):,}")
