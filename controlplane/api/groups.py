"""TaskGroupService: requests to use cases and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from pawl.v1 import group_pb2

from controlplane.api import translate, translate_groups, translate_tasks
from controlplane.api.standing import waking
from controlplane.api.tasks import ANSWER_MARGIN, DEFAULT_WAIT, MAX_WAIT
from controlplane.domain.errors import Invalid
from controlplane.domain.task import Status
from controlplane.engine.context import Engine
from controlplane.engine.groups import Groups, GroupView
from controlplane.store.wakeup import SWEEP_SECONDS, wait

if TYPE_CHECKING:
    from controlplane.api.call import Call


class TaskGroupService:
    """`pawl.v1.TaskGroupService`."""

    def __init__(self, engine: Engine, groups: Groups) -> None:
        self._engine = engine
        self._groups = groups

    async def create_task_group(self, call: Call, request: group_pb2.CreateTaskGroupRequest) -> group_pb2.TaskGroup:
        """Creates a group with all its tasks."""
        new = translate_groups.read_new_group(request.group, call.namespace_id, call.trace)
        return _answer(call, await self._groups.create(new, call.idempotency))

    async def get_task_group(self, call: Call, request: group_pb2.GetTaskGroupRequest) -> group_pb2.TaskGroup:
        """Reads a group."""
        return _answer(call, await self._groups.get(call.namespace_id, translate_tasks.read_task_id(request.id)))

    async def list_task_groups(
        self, call: Call, request: group_pb2.ListTaskGroupsRequest
    ) -> group_pb2.ListTaskGroupsResponse:
        """Lists groups, page by page."""
        page, found = await self._groups.page(translate.read_question(call.namespace_id, request))
        return group_pb2.ListTaskGroupsResponse(data=map(translate_groups.group, found), **translate.page_fields(page))

    async def wait_task_group(self, call: Call, request: group_pb2.WaitTaskGroupRequest) -> group_pb2.TaskGroup:
        """Waits until a group has ended, or is decided."""
        group_id = translate_tasks.read_task_id(request.id)
        seconds = request.wait_seconds if request.HasField("wait_seconds") else DEFAULT_WAIT
        if not 0 <= seconds <= MAX_WAIT:
            raise Invalid.field("wait_seconds", f"must be 0 to {MAX_WAIT:g}")
        if request.until not in group_pb2.WaitTaskGroupRequest.Until.values():
            raise Invalid.field("until", "must be ENDED or DECIDED")
        decided = request.until == group_pb2.WaitTaskGroupRequest.Until.DECIDED
        until = time.monotonic() + seconds
        if call.deadline is not None:
            until = min(until, call.deadline - ANSWER_MARGIN)
        credential = call.principal.credential
        with self._engine.wakeups.listen(f"group:{group_id}") as event, waking(credential, event) as has_ended:
            view = await self._groups.get(call.namespace_id, group_id)
            while _goes_on(view, decided=decided) and (left := until - time.monotonic()) > 0:
                await wait(event, min(left, SWEEP_SECONDS))
                event.clear()
                if has_ended():
                    break  # nothing has gone wrong; but what becomes of it is not told any more
                view = await self._groups.get(call.namespace_id, group_id)
        return _answer(call, view)

    async def cancel_task_group(self, call: Call, request: group_pb2.CancelTaskGroupRequest) -> group_pb2.TaskGroup:
        """Cancels what has not ended of a group."""
        view = await self._groups.cancel(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            by=call.principal.subject,
            why=translate_tasks.read_reason(request.reason),
            key=call.idempotency,
        )
        return _answer(call, view)

    async def retry_task_group(self, call: Call, request: group_pb2.RetryTaskGroupRequest) -> group_pb2.TaskGroup:
        """Runs the tasks of a group again that have failed or were cancelled."""
        view = await self._groups.retry(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            by=call.principal.subject,
            why=translate_tasks.read_reason(request.reason),
            key=call.idempotency,
        )
        return _answer(call, view)

    async def delete_task_group(self, call: Call, request: group_pb2.DeleteTaskGroupRequest) -> Empty:
        """Deletes a group that has ended, with its tasks."""
        group_id = translate_tasks.read_task_id(request.id)
        await self._groups.delete(call.namespace_id, group_id, key=call.idempotency)
        return Empty()


def _goes_on(view: GroupView, *, decided: bool) -> bool:
    return view.group.status is Status.RUNNING if decided else view.group.finished_at is None


def _answer(call: Call, view: GroupView) -> group_pb2.TaskGroup:
    call.response_headers["etag"] = translate.write_etag(view.group.version)
    return translate_groups.group(view)
