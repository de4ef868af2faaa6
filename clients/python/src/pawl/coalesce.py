"""Creates that are asked for at the same time travel together: one call for many tasks, an answer for each.

Theory of operation. The first create of a moment leads: it gives others the rest of the loop's round to join, and a
millisecond if calls are under way already, so that an idle client waits for nothing and a busy one sends large batches.
Then it sends the batch for all. Every create has a request id before it joins, so that whoever is let down by the
leader (it was cancelled) asks again without doing anything twice. A refusal that names a field, or that may be
repeated, is asked for again alone: its answer then speaks of the request that the caller made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pawl.connection import stamp
from pawl.errors import InvalidArgument, PawlError, from_status
from pawl.v1.task_pb2 import BatchCreateTasksResponse, CreateTaskRequest, Task

DELAY_SECONDS: Final = 0.001
MOST: Final = 500
MOST_BYTES: Final = 2 << 20

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Stands:
    """A failure of the whole call, which is not tried again."""

    error: PawlError


Sent = Task | PawlError | _Stands
_Answer = asyncio.Future[Sent | None]


@dataclass(slots=True)
class _Batch:
    requests: list[CreateTaskRequest] = field(default_factory=list)
    answers: list[_Answer] = field(default_factory=list)
    size: int = 0

    def has_room_for(self, size: int) -> bool:
        return len(self.requests) < MOST and self.size + size <= MOST_BYTES

    def add(self, request: CreateTaskRequest, size: int) -> _Answer:
        answer: _Answer = asyncio.get_running_loop().create_future()
        self.requests.append(request)
        self.answers.append(answer)
        self.size += size
        return answer

    def answer_all(self, found: Sequence[Sent | None]) -> None:
        """None: it has to be asked for again."""
        for waiting, one in zip(self.answers, found, strict=True):
            if not waiting.done():
                waiting.set_result(one)


class Creates:
    """Sends creates, alone or together. `one` and `many` make calls; those of different `metadata` are kept apart."""

    def __init__(
        self,
        one: Callable[[CreateTaskRequest], Awaitable[Task]],
        many: Callable[[Sequence[CreateTaskRequest]], Awaitable[BatchCreateTasksResponse]],
        metadata: Callable[[], Metadata],
    ) -> None:
        self._one = one
        self._many = many
        self._metadata = metadata
        self._open: dict[Metadata, _Batch] = {}
        self._under_way = 0

    async def create(self, request: CreateTaskRequest) -> Task:
        """The task. Raises PawlError."""
        stamp(request)
        size = request.ByteSize()
        if request.task.namespace_id or size > MOST_BYTES:
            return await self._one(request)  # a batch has one namespace
        while True:
            key = self._metadata()
            batch = self._open.get(key)
            if batch is not None and batch.has_room_for(size):
                found = await batch.add(request, size)
            else:
                found = await self._lead(key, request, size)
            if isinstance(found, Task):
                return found
            if isinstance(found, _Stands):
                raise found.error
            if isinstance(found, InvalidArgument) or (found is not None and found.repeatable):
                return await self._one(request)
            if found is not None:
                raise found

    async def _lead(self, key: Metadata, request: CreateTaskRequest, size: int) -> Sent | None:
        batch = self._open[key] = _Batch()
        mine = batch.add(request, size)
        try:
            await asyncio.sleep(DELAY_SECONDS if self._under_way else 0)
            self._close(key, batch)
            batch.answer_all(await self._send(batch.requests))
            return mine.result()
        finally:
            self._close(key, batch)
            batch.answer_all([None] * len(batch.requests))

    def _close(self, key: Metadata, batch: _Batch) -> None:
        """Nobody joins it any more."""
        if self._open.get(key) is batch:
            del self._open[key]

    async def _send(self, requests: Sequence[CreateTaskRequest]) -> Sequence[Sent]:
        """What became of each. Whatever fails them all fails each of them."""
        self._under_way += 1
        try:
            if len(requests) == 1:
                return [await self._one(requests[0])]
            answer = await self._many(requests)
        except PawlError as error:
            # It stands: the call itself was repeated for as long as the client is patient.
            return [_Stands(error)] * len(requests)
        finally:
            self._under_way -= 1
        return [from_status(one.error) if one.HasField("error") else one.task for one in answer.results]
