"""Outputs beyond what the stream carries: put by agents before the result names them, read by people.

Bytes count once they have the digest that they came under. Until a result names them they belong to the placement that
they came from, so that nobody gets at another's bytes by knowing their digest.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.domain.errors import Invalid, NotFound, Violation
from controlplane.domain.job_rules import MAX_OUTPUT_SIZE
from controlplane.engine.context import Engine
from controlplane.engine.results import Ref
from controlplane.engine.sessions import AgentKey
from controlplane.store import Connection, Row, blobs, instances, outputs, tasks
from controlplane.store.outputs import Upload

PIECE = blobs.CHUNK
DROPPED_AT_ONCE = 1  # a hundred mebibytes, at worst
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an output as an agent sends it."""

    digest: str
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes are stored without a gap, and whether that is all and right."""

    stored: int
    complete: bool


class Outputs:
    """The use cases of large outputs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, ref: Ref, agent: AgentKey, piece: Piece) -> Progress:
        """Store a piece; one that is stored already changes nothing. Raises Invalid, NotFound."""
        if problems := list(_problems(piece)):
            raise Invalid.fields(problems)
        progress = await self._engine.store.write(self._put, ref, agent, piece)
        if progress.complete or progress.stored < piece.size:
            return progress
        return await self._complete(ref, piece)

    def _put(self, connection: Connection, ref: Ref, agent: AgentKey, piece: Piece) -> Progress:
        row = outputs.placement(connection, ref.task_id, ref.token)
        if row is None or row.id != ref.instance_id or (row.agent_namespace_id, row.agent_id) != agent:
            raise NotFound.of("task instance", ref.instance_id, agent[0])
        if row.output_digest == piece.digest:
            return Progress(piece.size, True)  # its result counts already
        new = Upload(ref.task_id, ref.token, piece.digest, piece.size, uuid.uuid4().hex, 0, False)
        now = self._engine.clock.now()
        upload = outputs.begin(connection, new, now)
        if not piece.data or piece.offset != upload.stored:
            return Progress(upload.stored, upload.complete)
        outputs.add_piece(connection, upload, piece.data, now)
        return Progress(upload.stored + len(piece.data), False)

    async def _complete(self, ref: Ref, piece: Piece) -> Progress:
        """Look at the bytes outside of the transaction that makes them count: a large one takes its time."""
        before = await self._engine.store.write(outputs.find, ref.task_id, ref.token)
        found = "" if before is None else await self._engine.store.read(blobs.digest_of, before.content)

        def conclude(connection: Connection) -> Progress | None:
            upload = outputs.find(connection, ref.task_id, ref.token)
            if upload is None or before is None or upload.content != before.content:
                return Progress(0, False)  # a rival began anew, or its task went
            if upload.complete:
                return Progress(upload.size, True)
            if found != upload.digest:
                outputs.discard(connection, upload)
                return None
            outputs.complete(connection, upload, self._engine.clock.now())
            return Progress(upload.size, True)

        progress = await self._engine.store.write(conclude)
        if progress is None:
            raise Invalid.field("digest", f"the bytes sent have {found}; they are dropped")
        return progress

    async def of_instance(self, namespace_id: str, instance_id: str, offset: int) -> AsyncIterator[tuple[str, bytes]]:
        """The output of an instance, as media type and piece. Raises NotFound, Invalid."""
        row = await self._engine.store.read(instances.find, namespace_id, instance_id)
        if row is None:
            raise NotFound.of("task instance", instance_id, namespace_id)
        async for piece in self._read(row, f"task instance {instance_id}", offset):
            yield piece

    async def of_task(self, namespace_id: str, task_id: str, offset: int) -> AsyncIterator[tuple[str, bytes]]:
        """The output of a task's last attempt, likewise."""

        def last(connection: Connection) -> Row[Any] | None:
            one = tasks.find(connection, namespace_id, task_id)
            if one is None:
                raise NotFound.of("task", task_id, namespace_id)
            return tasks.last_ended_instance(connection, one) if one.token else None

        row = await self._engine.store.read(last)
        async for piece in self._read(row, f"task {task_id}", offset):
            yield piece

    async def _read(self, row: Row[Any] | None, what: str, offset: int) -> AsyncIterator[tuple[str, bytes]]:
        if row is None or (row.output is None and row.output_digest is None):
            raise NotFound(f"{what} has no output", facts={"resource": "output"})
        whole = bytes(row.output) if row.output_digest is None else b""
        size = len(whole) if row.output_digest is None else await self._size(row.output_digest, what)
        if not 0 <= offset <= size:
            raise Invalid.field("offset", f"must be 0 to {size:,}, the size of the output, not {offset:,}")
        if offset == size:
            yield row.output_type, b""  # at least the type, also of nothing
        while offset < size:
            if row.output_digest is None:
                piece = whole[offset : offset + PIECE]
            else:
                stored = await self._engine.store.read(blobs.chunk, row.output_digest, offset // PIECE)
                if stored is None:
                    raise _deleted(what)
                piece = stored[offset % PIECE :]
            yield row.output_type, piece
            offset += len(piece)

    async def _size(self, digest: str, what: str) -> int:
        size = await self._engine.store.read(blobs.size, digest)
        if size is None:
            raise _deleted(what)
        return size

    async def drop_stale(self, before: int) -> int:
        """Forget a few uploads that no result has asked for since; how many."""

        def drop(connection: Connection) -> int:
            found = outputs.stale(connection, before, DROPPED_AT_ONCE)
            for upload in found:
                outputs.discard(connection, upload)
            return len(found)

        return await self._engine.store.write(drop)


def _deleted(what: str) -> NotFound:
    return NotFound(f"{what} was deleted while its output was read", facts={"resource": "output"})


def _problems(piece: Piece) -> Iterator[Violation]:
    if not DIGEST.fullmatch(piece.digest):
        yield Violation("digest", "must be a SHA-256 in 64 lower-case hex digits")
    if not 1 <= piece.size <= MAX_OUTPUT_SIZE:
        yield Violation("size", f"must be 1 to {MAX_OUTPUT_SIZE:,} bytes, not {piece.size:,}")
        return
    if not 0 <= piece.offset <= piece.size or (piece.offset % PIECE and piece.offset != piece.size):
        yield Violation("offset", f"must be a multiple of {PIECE:,} within the size, not {piece.offset:,}")
    elif piece.data and len(piece.data) != min(PIECE, piece.size - piece.offset):
        wanted = min(PIECE, piece.size - piece.offset)
        yield Violation("data", f"the piece at {piece.offset:,} has {wanted:,} bytes, not {len(piece.data):,}")
