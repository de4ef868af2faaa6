"""Outputs beyond what the stream carries: put by agents before the result names them (`uploads.py`), read by people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from controlplane.domain.errors import Invalid, NotFound
from controlplane.domain.job_rules import MAX_OUTPUT_SIZE
from controlplane.engine.context import Engine
from controlplane.engine.results import Ref
from controlplane.engine.sessions import AgentKey
from controlplane.engine.uploads import PIECE, Piece, Progress, Uploads, piece_problems
from controlplane.store import Connection, Row, blobs, instances, outputs, tasks

DROPPED_AT_ONCE = 1  # a hundred mebibytes, at worst


class Outputs:
    """The use cases of large outputs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._uploads = Uploads(engine)

    async def put(self, ref: Ref, agent: AgentKey, piece: Piece) -> Progress:
        """Store a piece; one that is stored already changes nothing. Raises Invalid, NotFound."""
        if problems := list(piece_problems(piece, 1, MAX_OUTPUT_SIZE)):
            raise Invalid.fields(problems)

        def counts(connection: Connection) -> bool:
            row = own_placement(connection, ref, agent)
            return bool(row.output_digest == piece.digest)

        return await self._uploads.put(outputs.slot(ref.task_id, ref.token), piece, counts)

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
        return await self._engine.store.write(outputs.drop_stale, before, DROPPED_AT_ONCE)


def own_placement(connection: Connection, ref: Ref, agent: AgentKey) -> Row[Any]:
    """The placement as its agent names it. Raises NotFound for one that is not this agent's."""
    row = outputs.placement(connection, ref.task_id, ref.token)
    if row is None or row.id != ref.instance_id or (row.agent_namespace_id, row.agent_id) != agent:
        raise NotFound.of("task instance", ref.instance_id, agent[0])
    return row


def _deleted(what: str) -> NotFound:
    return NotFound(f"{what} was deleted while its output was read", facts={"resource": "output"})
