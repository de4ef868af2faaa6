"""TaskService and TaskInstanceService: requests to use cases and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from pawl.v1 import task_pb2

from controlplane.api import translate, translate_tasks
from controlplane.api.repeats import content
from controlplane.api.standing import waking
from controlplane.api.status import failure_of
from controlplane.domain.errors import Invalid, PawlError
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.engine.actions import Action, Actions
from controlplane.engine.artifacts import Artifacts
from controlplane.engine.context import Engine
from controlplane.engine.explain import Explain
from controlplane.engine.instances import Instances
from controlplane.engine.logs import LogPosition, Logs
from controlplane.engine.outputs import Outputs
from controlplane.engine.tasks import NewTask, Tasks, TaskView
from controlplane.store.tasks import Standing
from controlplane.store.wakeup import SWEEP_SECONDS, wait

if TYPE_CHECKING:
    from controlplane.api.call import Call

    _Hold = task_pb2.PauseTaskRequest | task_pb2.ResumeTaskRequest
    _OneTask = _Hold | task_pb2.SkipTaskRequest | task_pb2.ForceTaskSuccessRequest

DEFAULT_WAIT = 60.0
MAX_WAIT = 3_600.0
MAX_BATCH = 1_000
# An answer needs a moment of its own on the way back; waiting to the last instant would turn it into an error.
ANSWER_MARGIN = 0.2
CREATE_TASK = "pawl.v1.TaskService/CreateTask"


class TaskService:
    """`pawl.v1.TaskService`."""

    def __init__(
        self,
        engine: Engine,
        tasks: Tasks,
        actions: Actions,
        logs: Logs,
        explain: Explain,
        outputs: Outputs,
        artifacts: Artifacts,
    ) -> None:
        self._engine = engine
        self._tasks = tasks
        self._actions = actions
        self._logs = logs
        self._explain = explain
        self._outputs = outputs
        self._artifacts = artifacts

    async def create_task(self, call: Call, request: task_pb2.CreateTaskRequest) -> task_pb2.Task:
        """Runs a job, now or at a time."""
        new = translate_tasks.read_new_task(request.task, call.namespace_id, call.idempotency, call.trace)
        return _answer(call, await self._tasks.create(new))

    async def batch_create_tasks(
        self, call: Call, request: task_pb2.BatchCreateTasksRequest
    ) -> task_pb2.BatchCreateTasksResponse:
        """Creates many tasks; each has a result of its own."""
        if len(request.requests) > MAX_BATCH:
            raise Invalid.field("requests", f"has {len(request.requests):,}, at most {MAX_BATCH:,} are allowed")
        waiting: list[asyncio.Future[TaskView] | PawlError] = []
        for index, one in enumerate(request.requests):
            try:
                waiting.append(self._tasks.creating.enqueue(self._batch_item(call, index, one)))
            except PawlError as refusal:
                waiting.append(refusal)
        results = []
        for item in waiting:
            try:
                if isinstance(item, PawlError):
                    raise item
                view = await item
                results.append(task_pb2.BatchCreateTasksResponse.Result(task=translate_tasks.task(view)))
            except PawlError as refusal:
                results.append(task_pb2.BatchCreateTasksResponse.Result(error=failure_of(refusal).status()))
        return task_pb2.BatchCreateTasksResponse(results=results)

    @staticmethod
    def _batch_item(call: Call, index: int, one: task_pb2.CreateTaskRequest) -> NewTask:
        path = f"requests[{index}]"
        space = one.task.namespace_id
        if space not in ("", call.namespace_id):
            # One call, one namespace: rights are checked for the call, so an item cannot leave it.
            raise Invalid.field(f"{path}.task.namespace_id", f"must be {call.namespace_id!r} like the batch's own")
        key = None
        if one.request_id:
            if not (one.request_id.isascii() and one.request_id.isprintable() and len(one.request_id) <= 128):
                raise Invalid.field(f"{path}.request_id", "must be 1 to 128 printable ASCII characters")
            # What CreateTask would make of it: the same task may be asked for alone and in a batch.
            key = IdempotencyKey(call.namespace_id, CREATE_TASK, one.request_id, content(one, "task"))
        return translate_tasks.read_new_task(one.task, call.namespace_id, key, call.trace, f"{path}.task")

    async def run_task(self, call: Call, request: task_pb2.RunTaskRequest) -> task_pb2.Task:
        """Creates a task and waits for its end."""
        seconds = request.wait_seconds if request.HasField("wait_seconds") else DEFAULT_WAIT
        if not 0 <= seconds <= MAX_WAIT:
            raise Invalid.field("wait_seconds", f"must be 0 to {MAX_WAIT:g}")
        new = translate_tasks.read_new_task(request.task, call.namespace_id, call.idempotency, call.trace)
        until = time.monotonic() + seconds
        if call.deadline is not None:
            until = min(until, call.deadline - ANSWER_MARGIN)
        view = await self._tasks.create(new)
        credential = call.principal.credential
        with self._engine.wakeups.listen(f"task:{view.task.id}") as event, waking(credential, event) as has_ended:
            # The first look comes after listening began: an end in between is seen by it. Only the last reads it all.
            while not (await self._tasks.standing(call.namespace_id, view.task.id)).is_final:
                if (left := until - time.monotonic()) <= 0:
                    break
                await wait(event, min(left, SWEEP_SECONDS))
                event.clear()
                if has_ended():
                    return _answer(call, view)  # it is made, so this is no error; what becomes of it is not told
        return _answer(call, await self._tasks.get(call.namespace_id, view.task.id))

    async def get_task(self, call: Call, request: task_pb2.GetTaskRequest) -> task_pb2.Task:
        """Reads a task."""
        return _answer(call, await self._tasks.get(call.namespace_id, translate_tasks.read_task_id(request.id)))

    async def list_tasks(self, call: Call, request: task_pb2.ListTasksRequest) -> task_pb2.ListTasksResponse:
        """Lists tasks, page by page."""
        page, found = await self._tasks.page(translate.read_question(call.namespace_id, request))
        return task_pb2.ListTasksResponse(data=map(translate_tasks.task, found), **translate.page_fields(page))

    async def update_task(self, call: Call, request: task_pb2.UpdateTaskRequest) -> task_pb2.Task:
        """Changes a task that has not been placed."""
        changed = await self._tasks.update(
            call.namespace_id,
            translate_tasks.read_task_id(request.task.id, "task.id"),
            translate_tasks.task_edit(request.task, request.update_mask),
            etag=translate.read_etag(request.etag),
            key=call.idempotency,
        )
        return _answer(call, changed)

    async def delete_task(self, call: Call, request: task_pb2.DeleteTaskRequest) -> Empty:
        """Deletes a finished task."""
        await self._tasks.delete(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            etag=translate.read_etag(request.etag),
            key=call.idempotency,
        )
        return Empty()

    async def cancel_task(self, call: Call, request: task_pb2.CancelTaskRequest) -> task_pb2.Task:
        """Cancels a task."""
        view = await self._tasks.cancel(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            by=call.principal.subject,
            why=translate_tasks.read_reason(request.reason),
            key=call.idempotency,
        )
        return _answer(call, view)

    async def retry_task(self, call: Call, request: task_pb2.RetryTaskRequest) -> task_pb2.Task:
        """Runs a finished task again, or a waiting one at once."""
        view = await self._tasks.retry(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            by=call.principal.subject,
            why=translate_tasks.read_reason(request.reason),
            key=call.idempotency,
        )
        return _answer(call, view)

    async def pause_task(self, call: Call, request: task_pb2.PauseTaskRequest) -> task_pb2.Task:
        """Holds a waiting task."""
        return await self._act(call, request, Action.PAUSE)

    async def resume_task(self, call: Call, request: task_pb2.ResumeTaskRequest) -> task_pb2.Task:
        """Lets a held task go."""
        return await self._act(call, request, Action.RESUME)

    async def skip_task(self, call: Call, request: task_pb2.SkipTaskRequest) -> task_pb2.Task:
        """Decides that a waiting task is not run."""
        return await self._act(call, request, Action.SKIP)

    async def force_task_success(self, call: Call, request: task_pb2.ForceTaskSuccessRequest) -> task_pb2.Task:
        """Decides that a task's work is done."""
        return await self._act(call, request, Action.FORCE_SUCCESS)

    async def _act(self, call: Call, request: _OneTask, action: Action) -> task_pb2.Task:
        view = await self._actions.act(
            call.namespace_id,
            translate_tasks.read_task_id(request.id),
            action,
            by=call.principal.subject,
            why=translate_tasks.read_reason(request.reason),
            key=call.idempotency,
        )
        return _answer(call, view)

    async def act_on_tasks(self, call: Call, request: task_pb2.ActOnTasksRequest) -> task_pb2.ActOnTasksResponse:
        """Does the same to every task that a filter finds."""
        action = translate_tasks.read_action(request.action)
        return await self._act_on_all(call, request, action)

    async def replay_dead_letters(
        self, call: Call, request: task_pb2.ReplayDeadLettersRequest
    ) -> task_pb2.ActOnTasksResponse:
        """Runs dead letters again."""
        return await self._act_on_all(call, request, Action.RETRY, dead=True)

    async def purge_dead_letters(
        self, call: Call, request: task_pb2.PurgeDeadLettersRequest
    ) -> task_pb2.ActOnTasksResponse:
        """Deletes dead letters."""
        return await self._act_on_all(call, request, Action.DELETE, dead=True)

    async def _act_on_all(
        self, call: Call, request: translate_tasks.ManyTasks, action: Action, *, dead: bool = False
    ) -> task_pb2.ActOnTasksResponse:
        bulk = translate_tasks.read_bulk(request, call.namespace_id, action, by=call.principal.subject, dead=dead)
        return translate_tasks.acted(await self._actions.act_on_all(bulk, call.idempotency), dry_run=bulk.dry_run)

    async def list_dead_letters(
        self, call: Call, request: task_pb2.ListDeadLettersRequest
    ) -> task_pb2.ListDeadLettersResponse:
        """Lists tasks that failed for good."""
        page, found = await self._actions.dead_letters(translate.read_question(call.namespace_id, request))
        return task_pb2.ListDeadLettersResponse(data=map(translate_tasks.task, found), **translate.page_fields(page))

    async def watch_task(self, call: Call, request: task_pb2.WatchTaskRequest) -> AsyncIterator[task_pb2.Task]:
        """Sends the task at once and whenever it changes, until it has ended."""
        task_id = translate_tasks.read_task_id(request.id)
        seen: Standing | None = None
        with self._engine.wakeups.listen(f"task:{task_id}") as event:
            while True:
                event.clear()
                now = await self._tasks.standing(call.namespace_id, task_id)
                if now != seen if seen is not None else now.version > request.after_version:
                    view = await self._tasks.get(call.namespace_id, task_id)
                    now = Standing(view.task.version, view.progress, view.task.is_final)
                    yield translate_tasks.task(view)
                    if view.task.is_final:
                        return
                elif seen is None and await self._is_final(call.namespace_id, task_id):
                    return  # a watcher that came back after the end has nothing to wait for
                seen = now
                await wait(event, SWEEP_SECONDS)

    async def read_task_logs(
        self, call: Call, request: task_pb2.ReadTaskLogsRequest
    ) -> AsyncIterator[task_pb2.LogEntry]:
        """Reads what the task's attempts printed."""
        task_id = translate_tasks.read_task_id(request.id)
        only = translate_tasks.read_instance_id(request.instance_id)
        position = LogPosition.parse(request.after)
        await self._tasks.standing(call.namespace_id, task_id)
        with self._engine.wakeups.listen(f"logs:{task_id}") as event:
            ended = False
            while True:
                event.clear()
                # Looked at before reading: what is written between the two is read by the next turn.
                ended = ended or not request.follow or await self._is_final(call.namespace_id, task_id)
                lines = await self._logs.read(task_id, only, position)
                for line in lines:
                    position = line.position
                    yield translate_tasks.log_entry(line)
                if not lines and ended:
                    return
                if not lines:
                    await wait(event, SWEEP_SECONDS)

    async def read_task_output(self, call: Call, request: task_pb2.ReadTaskOutputRequest) -> AsyncIterator[HttpBody]:
        """Reads what the last attempt gave as bytes."""
        task_id = translate_tasks.read_task_id(request.id)
        async for content_type, data in self._outputs.of_task(call.namespace_id, task_id, request.offset):
            yield HttpBody(content_type=content_type, data=data)

    async def list_task_artifacts(
        self, call: Call, request: task_pb2.ListTaskArtifactsRequest
    ) -> task_pb2.ListTaskArtifactsResponse:
        """Lists the files that an attempt left."""
        task_id = translate_tasks.read_task_id(request.id)
        only = translate_tasks.read_instance_id(request.instance_id)
        found = await self._artifacts.of_task(call.namespace_id, task_id, only)
        data = map(translate_tasks.artifact, found.artifacts)
        return task_pb2.ListTaskArtifactsResponse(data=data, instance_id=found.instance_id, attempt=found.attempt)

    async def read_task_artifact(
        self, call: Call, request: task_pb2.ReadTaskArtifactRequest
    ) -> AsyncIterator[HttpBody]:
        """Reads an artifact as bytes."""
        task_id = translate_tasks.read_task_id(request.id)
        only = translate_tasks.read_instance_id(request.instance_id)
        found = await self._artifacts.find(call.namespace_id, task_id, only, request.name)
        call.response_headers["etag"] = f'"{found.digest}"'
        call.response_headers["content-length"] = str(max(0, found.size - request.offset))
        call.response_headers["content-disposition"] = translate_tasks.as_a_file(found.name)
        if request.offset == found.size:
            yield HttpBody(content_type=found.content_type)  # at least the type, also of nothing
        async for data in self._artifacts.read(found, request.offset):
            yield HttpBody(content_type=found.content_type, data=data)

    async def explain_task(self, call: Call, request: task_pb2.ExplainTaskRequest) -> task_pb2.TaskExplanation:
        """Says why the task does not move, and who will move it."""
        found = await self._explain.task(call.namespace_id, translate_tasks.read_task_id(request.id))
        return task_pb2.TaskExplanation(
            task_id=found.task_id,
            status=int(found.status),  # type: ignore[arg-type]  # the numbers are the contract's own
            reason=found.reason,
            message=found.message,
            moved_by=found.moved_by,
            next_at=translate.timestamp(found.next_at),
            details=found.details,
            next_timeout=found.next_timeout[0] if found.next_timeout else "",
            next_timeout_at=translate.timestamp(found.next_timeout[1] if found.next_timeout else None),
        )

    async def _is_final(self, namespace_id: str, task_id: str) -> bool:
        return (await self._tasks.get(namespace_id, task_id)).task.is_final


class TaskInstanceService:
    """`pawl.v1.TaskInstanceService`."""

    def __init__(self, instances: Instances, outputs: Outputs) -> None:
        self._instances = instances
        self._outputs = outputs

    async def get_task_instance(self, call: Call, request: task_pb2.GetTaskInstanceRequest) -> task_pb2.TaskInstance:
        """Reads an instance."""
        row = await self._instances.get(call.namespace_id, translate_tasks.read_task_id(request.id))
        return translate_tasks.instance(row, whole=True)

    async def list_task_instances(
        self, call: Call, request: task_pb2.ListTaskInstancesRequest
    ) -> task_pb2.ListTaskInstancesResponse:
        """Lists instances, page by page."""
        page = await self._instances.page(translate.read_question(call.namespace_id, request))
        data = [translate_tasks.instance(row, whole=False) for row in page.rows]
        return task_pb2.ListTaskInstancesResponse(data=data, **translate.page_fields(page))

    async def read_output(self, call: Call, request: task_pb2.ReadOutputRequest) -> AsyncIterator[HttpBody]:
        """Reads what an instance gave as bytes."""
        instance_id = translate_tasks.read_task_id(request.id)
        async for content_type, data in self._outputs.of_instance(call.namespace_id, instance_id, request.offset):
            yield HttpBody(content_type=content_type, data=data)


def _answer(call: Call, view: TaskView) -> task_pb2.Task:
    call.response_headers["etag"] = translate.write_etag(view.task.version)
    return translate_tasks.task(view)
