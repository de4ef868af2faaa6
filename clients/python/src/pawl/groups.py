"""Task groups: a job on every agent that matches, or in so many shards, as one thing. Calls as in `services.py`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from pawl.connection import Connection
from pawl.services import Question, Tasks, _asked, _rows
from pawl.v1.group_pb2 import (
    CancelTaskGroupRequest,
    CreateTaskGroupRequest,
    DeleteTaskGroupRequest,
    GetTaskGroupRequest,
    ListTaskGroupsRequest,
    ListTaskGroupsResponse,
    RetryTaskGroupRequest,
    TaskGroup,
    WaitTaskGroupRequest,
)
from pawl.v1.group_pb2_grpc import TaskGroupServiceStub
from pawl.v1.task_pb2 import Task

if TYPE_CHECKING:
    from pawl.v1.group_pb2_grpc import TaskGroupServiceAsyncStub

WAITED_AT_ONCE = 20.0  # seconds of one call: shorter than any proxy's patience


class TaskGroups:
    """Tasks that one call makes together."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection
        self._tasks = Tasks(connection)

    @cached_property
    def _stub(self) -> TaskGroupServiceAsyncStub:
        return TaskGroupServiceStub(self._to.channel)

    async def create(self, group: TaskGroup, request_id: str = "") -> TaskGroup:
        """Create a group with all its tasks, or nothing:

        TaskGroup(job_id="cleanup", mode=TaskGroup.BROADCAST) or TaskGroup(job_id="crunch", mode=TaskGroup.SHARDED,
        shards=8).
        """
        request = CreateTaskGroupRequest(group=group, request_id=request_id)
        return await self._to.unary(self._stub.CreateTaskGroup, request)

    async def get(self, group_id: str) -> TaskGroup:
        """Read a group."""
        return await self._to.unary(self._stub.GetTaskGroup, GetTaskGroupRequest(id=group_id))

    async def list(self, **question: Unpack[Question]) -> ListTaskGroupsResponse:
        """One page of groups."""
        return await self._to.unary(self._stub.ListTaskGroups, ListTaskGroupsRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[TaskGroup]:
        """Every group, page after page."""
        return _rows(self.list, question)

    def members(self, group_id: str) -> AsyncIterator[Task]:
        """A group's tasks in the order of their shards; rows carry no output."""
        return self._tasks.all(filter={"group_id": {"eq": group_id}}, order_by=("shard_index",))

    async def wait(self, group_id: str, seconds: float | None = None, *, decided: bool = False) -> TaskGroup:
        """Wait until all tasks of a group have ended, or with `decided` until it is clear what they come to; at most so
        many seconds. The answer is the group as it stands then.
        """
        until = WaitTaskGroupRequest.Until.DECIDED if decided else WaitTaskGroupRequest.Until.ENDED
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = WAITED_AT_ONCE if deadline is None else max(0.0, min(WAITED_AT_ONCE, deadline - time.monotonic()))
            request = WaitTaskGroupRequest(id=group_id, wait_seconds=left, until=until)
            group = await self._to.unary(self._stub.WaitTaskGroup, request, timeout=left + 30)
            over = group.HasField("decided_at" if decided else "finished_at")
            if over or (deadline is not None and time.monotonic() >= deadline):
                return group

    async def cancel(self, group_id: str, reason: str = "", request_id: str = "") -> TaskGroup:
        """Cancel what has not ended of a group."""
        request = CancelTaskGroupRequest(id=group_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.CancelTaskGroup, request)

    async def retry(self, group_id: str, reason: str = "", request_id: str = "") -> TaskGroup:
        """Run the tasks of a group again that have failed or were cancelled."""
        request = RetryTaskGroupRequest(id=group_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.RetryTaskGroup, request)

    async def delete(self, group_id: str, request_id: str = "") -> None:
        """Delete a group that has ended, with its tasks."""
        request = DeleteTaskGroupRequest(id=group_id, request_id=request_id)
        await self._to.unary(self._stub.DeleteTaskGroup, request)
