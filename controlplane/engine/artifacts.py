"""Artifacts: files that a placement's program left in its folder for them. Put by the agent (`uploads.py`) before the
result that names them, read by people for as long as the task is kept.

A placement has all of its artifacts at once, with its result, or none: half a set would be taken for a whole one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pawl.artifacts import MAX_FILE, MAX_FILES, MAX_TOTAL, name_problem

from controlplane.domain.errors import Exhausted, Invalid, NotFound, Violation
from controlplane.engine.context import Engine
from controlplane.engine.outputs import own_placement
from controlplane.engine.results import Ref
from controlplane.engine.sessions import AgentKey
from controlplane.engine.uploads import PIECE, Piece, Progress, Uploads, piece_problems
from controlplane.store import Connection, Row, artifacts, blobs, instances, tasks

DROPPED_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file as it is shown."""

    name: str
    size: int
    digest: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Found:
    """The artifacts of one placement."""

    instance_id: str
    attempt: int
    artifacts: list[Artifact]


class Artifacts:
    """The use cases of artifacts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._uploads = Uploads(engine)

    async def put(self, ref: Ref, agent: AgentKey, name: str, content_type: str, piece: Piece) -> Progress:
        """Store a piece of a file; one that is stored already changes nothing. Raises Invalid, NotFound, Exhausted."""
        problems = list(piece_problems(piece, 0, MAX_FILE))
        if (problem := name_problem(name)) is not None:
            problems.append(Violation("name", problem))
        if problems:
            raise Invalid.fields(problems)
        slot = artifacts.slot(ref.task_id, ref.token, name, content_type)

        def counts(connection: Connection) -> bool:
            own_placement(connection, ref, agent)
            if artifacts.is_named(connection, slot):
                return True  # its result counts already, and what that has named changes no more
            others = artifacts.account(connection, ref.task_id, ref.token)
            others.pop(name, None)
            if len(others) >= MAX_FILES or sum(others.values()) + piece.size > MAX_TOTAL:
                what = f"at most {MAX_FILES:,} artifacts of {MAX_TOTAL:,} bytes together"
                raise Exhausted(f"instance {ref.instance_id} may have {what}", reason="TOO_LARGE")
            return False

        return await self._uploads.put(slot, piece, counts)

    async def of_task(self, namespace_id: str, task_id: str, instance_id: str | None) -> Found:
        """The artifacts of a task's placement: this one, or the last that has ended. Raises NotFound."""

        def look(connection: Connection) -> Found:
            row = _placement(connection, namespace_id, task_id, instance_id)
            if row is None:
                return Found("", 0, [])
            found = [_artifact(one) for one in artifacts.named(connection, row.task_id, row.token)]
            return Found(row.id, row.attempt, found)

        return await self._engine.store.read(look)

    async def find(self, namespace_id: str, task_id: str, instance_id: str | None, name: str) -> Artifact:
        """One of them, by its name. Raises NotFound."""

        def look(connection: Connection) -> Artifact:
            row = _placement(connection, namespace_id, task_id, instance_id)
            found = None if row is None else artifacts.find(connection, row.task_id, row.token, name)
            if found is None:
                raise NotFound(f"task {task_id} has no artifact {name!r}", facts={"resource": "artifact"})
            return _artifact(found)

        return await self._engine.store.read(look)

    async def read(self, one: Artifact, offset: int) -> AsyncIterator[bytes]:
        """Its bytes from here on, in pieces; nothing when there are no more. Raises Invalid, NotFound."""
        if not 0 <= offset <= one.size:
            raise Invalid.field("offset", f"must be 0 to {one.size:,}, the size of the artifact, not {offset:,}")
        while offset < one.size:
            stored = await self._engine.store.read(blobs.chunk, one.digest, offset // PIECE)
            if stored is None:
                raise NotFound("the artifact was deleted while it was read", facts={"resource": "artifact"})
            piece = stored[offset % PIECE :]
            yield piece
            offset += len(piece)

    async def drop_stale(self, before: int) -> int:
        """Forget a few that no result has named since; how many."""
        return await self._engine.store.write(artifacts.drop_stale, before, DROPPED_AT_ONCE)


def _placement(connection: Connection, namespace_id: str, task_id: str, instance_id: str | None) -> Row[Any] | None:
    one = tasks.find(connection, namespace_id, task_id)
    if one is None:
        raise NotFound.of("task", task_id, namespace_id)
    if instance_id is None:
        return tasks.last_ended_instance(connection, one) if one.token else None
    row = instances.find(connection, namespace_id, instance_id)
    if row is None or row.task_id != one.id:
        raise NotFound.of("task instance", instance_id, namespace_id)
    return row


def _artifact(row: Row[Any]) -> Artifact:
    return Artifact(row.name, row.size, row.digest, row.content_type)
