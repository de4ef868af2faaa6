"""The calls of each service, by noun. Ids are ids or names wherever a thing has a name. See `client.py`.

Each method builds a request, sends it over the one connection, and returns the generated message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, TypeVar, Unpack

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from pawl.coalesce import Creates
from pawl.connection import Connection, new_request_id
from pawl.errors import PawlError, from_status
from pawl.payload import payload
from pawl.v1.access_pb2 import (
    CreateKeyRequest,
    CreateNamespaceRequest,
    DeleteNamespaceRequest,
    GetKeyRequest,
    GetNamespaceRequest,
    Key,
    ListKeysRequest,
    ListKeysResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    Namespace,
    RevokeKeyRequest,
    UpdateNamespaceRequest,
)  # fmt: skip
from pawl.v1.access_pb2_grpc import KeyServiceStub, NamespaceServiceStub
from pawl.v1.agent_pb2 import (
    Agent,
    DeleteAgentRequest,
    DrainAgentRequest,
    GetAgentRequest,
    ListAgentsRequest,
    ListAgentsResponse,
    UpdateAgentRequest,
)  # fmt: skip
from pawl.v1.agent_pb2_grpc import AgentServiceStub
from pawl.v1.job_pb2 import (
    CreateJobRequest,
    DeleteJobRequest,
    DisableJobRequest,
    EnableJobRequest,
    GetJobRequest,
    Job,
    ListJobsRequest,
    ListJobsResponse,
    UpdateJobRequest,
)  # fmt: skip
from pawl.v1.job_pb2_grpc import JobServiceStub
from pawl.v1.plugin_pb2 import (
    DeletePluginRequest,
    DownloadPluginRequest,
    GetPluginRequest,
    GrantPluginRequest,
    ListPluginsRequest,
    ListPluginsResponse,
    Plugin,
    RevokePluginGrantRequest,
    SignPluginRequest,
    UploadPluginRequest,
    UploadPluginStart,
)  # fmt: skip
from pawl.v1.plugin_pb2_grpc import PluginServiceStub
from pawl.v1.schedule_pb2 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DisableScheduleRequest,
    EnableScheduleRequest,
    GetScheduleRequest,
    ListScheduleFiresRequest,
    ListScheduleFiresResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
    Schedule,
    UpdateScheduleRequest,
)  # fmt: skip
from pawl.v1.schedule_pb2_grpc import ScheduleServiceStub
from pawl.v1.system_pb2 import (
    GatewayStats,
    GetGatewayStatsRequest,
    GetHealthRequest,
    GetInfoRequest,
    GetLogLevelRequest,
    GetMetricsRequest,
    Health,
    Info,
    ListSettingsRequest,
    ListSettingsResponse,
    LogLevel,
    SystemMetrics,
    UpdateLogLevelRequest,
)  # fmt: skip
from pawl.v1.system_pb2_grpc import SystemServiceStub
from pawl.v1.task_pb2 import (
    ActOnTasksRequest,
    ActOnTasksResponse,
    BatchCreateTasksRequest,
    BatchCreateTasksResponse,
    CancelTaskRequest,
    CreateTaskRequest,
    DeleteTaskRequest,
    ExplainTaskRequest,
    ForceTaskSuccessRequest,
    GetTaskInstanceRequest,
    GetTaskRequest,
    ListDeadLettersRequest,
    ListDeadLettersResponse,
    ListTaskArtifactsRequest,
    ListTaskArtifactsResponse,
    ListTaskInstancesRequest,
    ListTaskInstancesResponse,
    ListTasksRequest,
    ListTasksResponse,
    LogEntry,
    PauseTaskRequest,
    PurgeDeadLettersRequest,
    ReadOutputRequest,
    ReadTaskArtifactRequest,
    ReadTaskLogsRequest,
    ReadTaskOutputRequest,
    ReplayDeadLettersRequest,
    ResumeTaskRequest,
    RetryTaskRequest,
    SkipTaskRequest,
    Task,
    TaskExplanation,
    TaskInstance,
    UpdateTaskRequest,
    WatchTaskRequest,
)  # fmt: skip
from pawl.v1.task_pb2_grpc import TaskInstanceServiceStub, TaskServiceStub
from pawl.v1.types_pb2 import Page

if TYPE_CHECKING:
    # What the stubs are on an aio channel: known to the type checker alone.
    from pawl.v1.access_pb2_grpc import KeyServiceAsyncStub, NamespaceServiceAsyncStub
    from pawl.v1.agent_pb2_grpc import AgentServiceAsyncStub
    from pawl.v1.job_pb2_grpc import JobServiceAsyncStub
    from pawl.v1.plugin_pb2_grpc import PluginServiceAsyncStub
    from pawl.v1.schedule_pb2_grpc import ScheduleServiceAsyncStub
    from pawl.v1.system_pb2_grpc import SystemServiceAsyncStub
    from pawl.v1.task_pb2_grpc import TaskInstanceServiceAsyncStub, TaskServiceAsyncStub

Filter = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""`{"status": {"eq": "FAILED"}}`: fields AND; a list of such objects OR."""

FINAL: Final = frozenset(
    {Task.Status.SUCCEEDED, Task.Status.FAILED, Task.Status.TIMED_OUT, Task.Status.CANCELLED, Task.Status.SKIPPED}
)
UPLOAD_CHUNK: Final = 256 << 10
UPLOAD_SECONDS: Final = 300.0

Row_co = TypeVar("Row_co", covariant=True)


class Question(TypedDict, total=False):
    """What a list may be asked: which rows, in which order, which part of them."""

    filter: Filter | None
    order_by: Iterable[str]
    page_size: int | None
    page: int | None
    page_token: str


class Bulk(TypedDict, total=False):
    """How an action on many tasks is asked for."""

    reason: str
    dry_run: bool
    limit: int | None
    request_id: str


class Listing(Protocol[Row_co]):
    """What every answer of a list has."""

    @property
    def data(self) -> Iterable[Row_co]: ...
    @property
    def next_page_token(self) -> str: ...


def _asked(question: Question) -> dict[str, Any]:
    """The fields of a List request."""
    page = Page(
        page=question.get("page"), page_size=question.get("page_size"), page_token=question.get("page_token", "")
    )
    asked: dict[str, Any] = {"page": page, "order_by": question.get("order_by", ())}
    filter = question.get("filter")
    if filter is not None:
        asked["filter"] = _value(filter)
    return asked


def _value(filter: Filter) -> Value:
    rows: Any = filter  # the stubs know dict alone; any JSON value is parsed
    return ParseDict(rows, Value())


async def _rows(fetch: Callable[..., Awaitable[Listing[Row_co]]], question: Question) -> AsyncIterator[Row_co]:
    """All rows of a list, page after page."""
    question = {"page_size": 100, **question}
    while True:
        answer = await fetch(**question)
        for row in answer.data:
            yield row
        if not answer.next_page_token:
            return
        question["page_token"] = answer.next_page_token
        question.pop("page", None)


def instant(when: datetime) -> Timestamp:
    """An instant for a message; a time without a zone is local time."""
    made = Timestamp()
    made.FromDatetime(when.astimezone(UTC))
    return made


class Jobs:
    """What can be run."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> JobServiceAsyncStub:
        return JobServiceStub(self._to.channel)

    async def create(self, job: Job, request_id: str = "") -> Job:
        """Create a job."""
        return await self._to.unary(self._stub.CreateJob, CreateJobRequest(job=job, request_id=request_id))

    async def get(self, key: str) -> Job:
        """Read a job by id or name."""
        return await self._to.unary(self._stub.GetJob, GetJobRequest(id=key))

    async def list(self, **question: Unpack[Question]) -> ListJobsResponse:
        """One page of jobs."""
        return await self._to.unary(self._stub.ListJobs, ListJobsRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Job]:
        """Every job, page after page."""
        return _rows(self.list, question)

    async def update(self, job: Job, mask: Iterable[str] = (), etag: str = "", request_id: str = "") -> Job:
        """Change the fields in `mask` of the job with this id or name; without a mask the fields present."""
        request = UpdateJobRequest(job=job, update_mask=FieldMask(paths=mask), etag=etag, request_id=request_id)
        return await self._to.unary(self._stub.UpdateJob, request)

    async def delete(self, key: str, *, cancel_tasks: bool = False, etag: str = "", request_id: str = "") -> None:
        """Delete a job. Unfinished tasks stand in the way unless they are to be cancelled."""
        cascade = DeleteJobRequest.Cascade.CANCEL if cancel_tasks else DeleteJobRequest.Cascade.UNSPECIFIED
        request = DeleteJobRequest(id=key, cascade=cascade, etag=etag, request_id=request_id)
        await self._to.unary(self._stub.DeleteJob, request)

    async def enable(self, key: str, request_id: str = "") -> Job:
        """Let a job make tasks again."""
        return await self._to.unary(self._stub.EnableJob, EnableJobRequest(id=key, request_id=request_id))

    async def disable(self, key: str, request_id: str = "") -> Job:
        """Keep a job from making tasks."""
        return await self._to.unary(self._stub.DisableJob, DisableJobRequest(id=key, request_id=request_id))


class Tasks:
    """Runs of jobs. Creates that are asked for at the same time go in one call, unless `coalesce` says no."""

    def __init__(self, connection: Connection, coalesce: bool = True) -> None:
        self._to = connection
        self._creates = Creates(self._create_one, self._create_batch, lambda: connection.metadata) if coalesce else None

    @cached_property
    def _stub(self) -> TaskServiceAsyncStub:
        return TaskServiceStub(self._to.channel)

    async def create(
        self,
        job: str,
        parameters: Any = ...,
        *,
        environment: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        priority: int | None = None,
        at: datetime | None = None,
        timeout: float | None = None,
        request_id: str = "",
    ) -> Task:
        """Run a job (id or name), now or at a time. Answered means stored, not done.

        `parameters` is any JSON value, bytes, or a Payload; left out there are none.
        """
        task = Task(
            job_id=job,
            parameters=None if parameters is ... else payload(parameters),
            environment=environment,
            tags=tags,
            priority=priority,
            scheduled_at=None if at is None else instant(at),
            timeout=timeout,
        )
        return await self.submit(task, request_id)

    async def submit(self, task: Task, request_id: str = "") -> Task:
        """Create a task from its message."""
        request = CreateTaskRequest(task=task, request_id=request_id)
        return await (self._create_one(request) if self._creates is None else self._creates.create(request))

    async def _create_one(self, request: CreateTaskRequest) -> Task:
        return await self._to.unary(self._stub.CreateTask, request)

    async def _create_batch(self, requests: Sequence[CreateTaskRequest]) -> BatchCreateTasksResponse:
        return await self._to.unary(self._stub.BatchCreateTasks, BatchCreateTasksRequest(requests=requests))

    async def create_many(self, tasks: Iterable[Task]) -> list[Task | PawlError]:
        """Create many tasks at once; each has a result of its own, in order."""
        requests = [CreateTaskRequest(task=task, request_id=new_request_id()) for task in tasks]
        answer = await self._create_batch(requests)
        return [from_status(one.error) if one.HasField("error") else one.task for one in answer.results]

    async def run(self, job: str, parameters: Any = ..., **given: Any) -> Task:
        """Run a job and wait for its end. Takes what `create` takes; the task may have failed: look at its status."""
        return await self.wait((await self.create(job, parameters, **given)).id)

    async def wait(self, task_id: str) -> Task:
        """Wait for a task's end, whatever it is, across restarts of the control plane."""
        async for task in self.watch(task_id):
            if task.status in FINAL:
                return task
        return await self.get(task_id)

    async def get(self, task_id: str) -> Task:
        """Read a task."""
        return await self._to.unary(self._stub.GetTask, GetTaskRequest(id=task_id))

    async def list(self, **question: Unpack[Question]) -> ListTasksResponse:
        """One page of tasks; rows carry no output."""
        return await self._to.unary(self._stub.ListTasks, ListTasksRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Task]:
        """Every task, page after page."""
        return _rows(self.list, question)

    async def update(self, task: Task, mask: Iterable[str] = (), etag: str = "", request_id: str = "") -> Task:
        """Change a task that has not been placed yet."""
        request = UpdateTaskRequest(task=task, update_mask=FieldMask(paths=mask), etag=etag, request_id=request_id)
        return await self._to.unary(self._stub.UpdateTask, request)

    async def delete(self, task_id: str, etag: str = "", request_id: str = "") -> None:
        """Delete a finished task with its instances and logs."""
        request = DeleteTaskRequest(id=task_id, etag=etag, request_id=request_id)
        await self._to.unary(self._stub.DeleteTask, request)

    async def cancel(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Cancel a task; a running one is stopped, which takes a moment."""
        request = CancelTaskRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.CancelTask, request)

    async def retry(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Run a finished task again, or one that waits for its retry at once."""
        request = RetryTaskRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.RetryTask, request)

    async def pause(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Hold a task that waits; it does not start until it is resumed."""
        request = PauseTaskRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.PauseTask, request)

    async def resume(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Let a held task go."""
        request = ResumeTaskRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.ResumeTask, request)

    async def skip(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Decide that a waiting task is not run."""
        request = SkipTaskRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.SkipTask, request)

    async def force_success(self, task_id: str, reason: str = "", request_id: str = "") -> Task:
        """Decide that a waiting or ended task has succeeded, by whatever means."""
        request = ForceTaskSuccessRequest(id=task_id, reason=reason, request_id=request_id)
        return await self._to.unary(self._stub.ForceTaskSuccess, request)

    async def act(self, action: str, filter: Filter, **given: Unpack[Bulk]) -> ActOnTasksResponse:
        """Do the same to every task that the filter finds: CANCEL, RETRY, PAUSE, RESUME, SKIP, FORCE_SUCCESS or DELETE.

        `{}` is every task of the namespace; `dry_run` only counts. Many tasks take their time: give it a long patience.
        """
        request = ActOnTasksRequest(action=action, filter=_value(filter), **given)
        return await self._to.unary(self._stub.ActOnTasks, request)

    async def dead_letters(self, **question: Unpack[Question]) -> ListDeadLettersResponse:
        """One page of the tasks that failed for good."""
        return await self._to.unary(self._stub.ListDeadLetters, ListDeadLettersRequest(**_asked(question)))

    async def replay_dead_letters(self, filter: Filter, **given: Unpack[Bulk]) -> ActOnTasksResponse:
        """Run the dead letters that the filter finds again; `{}` is all of them."""
        request = ReplayDeadLettersRequest(filter=_value(filter), **given)
        return await self._to.unary(self._stub.ReplayDeadLetters, request)

    async def purge_dead_letters(self, filter: Filter, **given: Unpack[Bulk]) -> ActOnTasksResponse:
        """Delete the dead letters that the filter finds; `{}` is all of them."""
        request = PurgeDeadLettersRequest(filter=_value(filter), **given)
        return await self._to.unary(self._stub.PurgeDeadLetters, request)

    def watch(self, task_id: str, after_version: int = 0) -> AsyncIterator[Task]:
        """The task now and at every change until its end, across restarts of the control plane."""
        request = WatchTaskRequest(id=task_id, after_version=after_version)

        def note(task: Task) -> None:
            request.after_version = task.version

        return self._to.stream(self._stub.WatchTask, request, note)

    def logs(
        self, task_id: str, *, follow: bool = False, instance_id: str = "", after: str = ""
    ) -> AsyncIterator[LogEntry]:
        """What a task's attempts printed; with `follow` until it ends, across restarts of the control plane. `after` is
        the cursor of the last entry that is known already.
        """
        request = ReadTaskLogsRequest(id=task_id, follow=follow, instance_id=instance_id, after=after)

        def note(entry: LogEntry) -> None:
            request.after = entry.cursor

        return self._to.stream(self._stub.ReadTaskLogs, request, note)

    def output(self, task_id: str) -> AsyncIterator[HttpBody]:
        """What the last attempt gave, in pieces, of any size and across restarts of the control plane. A small output
        is in the task itself; one beyond 1 MiB is only here, and the task has its `output_digest`.
        """
        request = ReadTaskOutputRequest(id=task_id)

        def note(piece: HttpBody) -> None:
            request.offset += len(piece.data)

        return self._to.stream(self._stub.ReadTaskOutput, request, note)

    async def artifacts(self, task_id: str, instance_id: str = "") -> ListTaskArtifactsResponse:
        """The files that the last attempt left, or that this instance did."""
        request = ListTaskArtifactsRequest(id=task_id, instance_id=instance_id)
        return await self._to.unary(self._stub.ListTaskArtifacts, request)

    def artifact(self, task_id: str, name: str, instance_id: str = "") -> AsyncIterator[HttpBody]:
        """One of them, in pieces, across restarts of the control plane. Names are safe to join to a folder."""
        request = ReadTaskArtifactRequest(id=task_id, name=name, instance_id=instance_id)

        def note(piece: HttpBody) -> None:
            request.offset += len(piece.data)

        return self._to.stream(self._stub.ReadTaskArtifact, request, note)

    async def explain(self, task_id: str) -> TaskExplanation:
        """Why a task does not move, and who will move it."""
        return await self._to.unary(self._stub.ExplainTask, ExplainTaskRequest(id=task_id))


class TaskInstances:
    """Placements of tasks on agents."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> TaskInstanceServiceAsyncStub:
        return TaskInstanceServiceStub(self._to.channel)

    async def get(self, instance_id: str) -> TaskInstance:
        """Read an instance."""
        return await self._to.unary(self._stub.GetTaskInstance, GetTaskInstanceRequest(id=instance_id))

    def output(self, instance_id: str) -> AsyncIterator[HttpBody]:
        """What an instance gave, in pieces, as `Tasks.output`."""
        request = ReadOutputRequest(id=instance_id)

        def note(piece: HttpBody) -> None:
            request.offset += len(piece.data)

        return self._to.stream(self._stub.ReadOutput, request, note)

    async def list(self, **question: Unpack[Question]) -> ListTaskInstancesResponse:
        """One page of instances."""
        return await self._to.unary(self._stub.ListTaskInstances, ListTaskInstancesRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[TaskInstance]:
        """Every instance, page after page."""
        return _rows(self.list, question)


class Schedules:
    """What starts tasks at their times."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> ScheduleServiceAsyncStub:
        return ScheduleServiceStub(self._to.channel)

    async def create(self, schedule: Schedule, request_id: str = "") -> Schedule:
        """Create a schedule."""
        request = CreateScheduleRequest(schedule=schedule, request_id=request_id)
        return await self._to.unary(self._stub.CreateSchedule, request)

    async def get(self, key: str) -> Schedule:
        """Read a schedule by id or name."""
        return await self._to.unary(self._stub.GetSchedule, GetScheduleRequest(id=key))

    async def list(self, **question: Unpack[Question]) -> ListSchedulesResponse:
        """One page of schedules."""
        return await self._to.unary(self._stub.ListSchedules, ListSchedulesRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Schedule]:
        """Every schedule, page after page."""
        return _rows(self.list, question)

    async def update(
        self, schedule: Schedule, mask: Iterable[str] = (), etag: str = "", request_id: str = ""
    ) -> Schedule:
        """Change the fields in `mask` of the schedule with this id or name; without a mask the fields present."""
        request = UpdateScheduleRequest(
            schedule=schedule, update_mask=FieldMask(paths=mask), etag=etag, request_id=request_id
        )
        return await self._to.unary(self._stub.UpdateSchedule, request)

    async def delete(self, key: str, etag: str = "", request_id: str = "") -> None:
        """Delete a schedule; its tasks stay."""
        await self._to.unary(self._stub.DeleteSchedule, DeleteScheduleRequest(id=key, etag=etag, request_id=request_id))

    async def enable(self, key: str, request_id: str = "") -> Schedule:
        """Let a schedule fire again."""
        request = EnableScheduleRequest(id=key, request_id=request_id)
        return await self._to.unary(self._stub.EnableSchedule, request)

    async def disable(self, key: str, request_id: str = "") -> Schedule:
        """Keep a schedule from firing."""
        request = DisableScheduleRequest(id=key, request_id=request_id)
        return await self._to.unary(self._stub.DisableSchedule, request)

    async def preview(
        self, schedule: Schedule, count: int = 10, after: datetime | None = None
    ) -> PreviewScheduleResponse:
        """The next fires of a stored schedule (its id is enough), or of one that need not exist."""
        request = PreviewScheduleRequest(
            schedule=schedule, count=count, after=None if after is None else instant(after)
        )
        return await self._to.unary(self._stub.PreviewSchedule, request)

    async def fires(self, key: str, page_size: int | None = None, page_token: str = "") -> ListScheduleFiresResponse:
        """What became of a schedule's fires, newest first."""
        request = ListScheduleFiresRequest(id=key, page=Page(page_size=page_size, page_token=page_token))
        return await self._to.unary(self._stub.ListScheduleFires, request)


class Agents:
    """The processes that run instances."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> AgentServiceAsyncStub:
        return AgentServiceStub(self._to.channel)

    async def get(self, agent_id: str) -> Agent:
        """Read an agent."""
        return await self._to.unary(self._stub.GetAgent, GetAgentRequest(id=agent_id))

    async def list(self, **question: Unpack[Question]) -> ListAgentsResponse:
        """One page of agents."""
        return await self._to.unary(self._stub.ListAgents, ListAgentsRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Agent]:
        """Every agent, page after page."""
        return _rows(self.list, question)

    async def set_labels(self, agent_id: str, labels: Mapping[str, str], etag: str = "", request_id: str = "") -> Agent:
        """Replace an agent's labels; those that start with `sys_` are its own and stay."""
        request = UpdateAgentRequest(
            agent=Agent(id=agent_id, labels=labels),
            update_mask=FieldMask(paths=["labels"]),
            etag=etag,
            request_id=request_id,
        )
        return await self._to.unary(self._stub.UpdateAgent, request)

    async def drain(self, agent_id: str, request_id: str = "") -> Agent:
        """Let an agent finish what it has and give it nothing new."""
        return await self._to.unary(self._stub.DrainAgent, DrainAgentRequest(id=agent_id, request_id=request_id))

    async def delete(self, agent_id: str, request_id: str = "") -> None:
        """Forget an agent that is gone."""
        await self._to.unary(self._stub.DeleteAgent, DeleteAgentRequest(id=agent_id, request_id=request_id))


class Plugins:
    """WebAssembly modules, kept by their digests."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> PluginServiceAsyncStub:
        return PluginServiceStub(self._to.channel)

    async def upload(self, module: bytes, name: str = "", version: str = "", request_id: str = "") -> Plugin:
        """Store a module. Name and version are what it says of itself unless they are given."""
        start = UploadPluginStart(name=name, version=version, request_id=request_id or new_request_id())

        async def parts() -> AsyncIterator[UploadPluginRequest]:
            yield UploadPluginRequest(start=start)
            for offset in range(0, len(module), UPLOAD_CHUNK):
                yield UploadPluginRequest(data=module[offset : offset + UPLOAD_CHUNK])

        async def once(left: float) -> Plugin:
            return await self._stub.UploadPlugin(parts(), timeout=left, metadata=self._to.metadata)

        return await self._to.repeated(once, UPLOAD_SECONDS)

    async def get(self, key: str) -> Plugin:
        """Read a plugin by digest, name, or name@version."""
        return await self._to.unary(self._stub.GetPlugin, GetPluginRequest(id=key))

    async def download(self, key: str) -> bytes:
        """A plugin's module."""
        pieces = self._to.stream(self._stub.DownloadPlugin, DownloadPluginRequest(id=key))
        return b"".join([piece.data async for piece in pieces])

    async def list(self, **question: Unpack[Question]) -> ListPluginsResponse:
        """One page of plugins."""
        return await self._to.unary(self._stub.ListPlugins, ListPluginsRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Plugin]:
        """Every plugin, page after page."""
        return _rows(self.list, question)

    async def grant(
        self,
        key: str,
        *,
        http: Iterable[str] = (),
        http_private: Iterable[str] = (),
        secrets: Iterable[str] = (),
        request_id: str = "",
    ) -> Plugin:
        """Allow a plugin what it may reach, in place of what it was allowed before."""
        request = GrantPluginRequest(
            id=key, http=http, http_private=http_private, secrets=secrets, request_id=request_id
        )
        return await self._to.unary(self._stub.GrantPlugin, request)

    async def revoke(self, key: str, request_id: str = "") -> Plugin:
        """Take a plugin's grant away."""
        return await self._to.unary(
            self._stub.RevokePluginGrant, RevokePluginGrantRequest(id=key, request_id=request_id)
        )

    async def sign(self, key: str, public_key: str, signature: bytes, request_id: str = "") -> Plugin:
        """Add a signature; `pawl.signatures` makes them."""
        request = SignPluginRequest(id=key, public_key=public_key, signature=signature, request_id=request_id)
        return await self._to.unary(self._stub.SignPlugin, request)

    async def delete(self, key: str, request_id: str = "") -> None:
        """Delete a plugin that no job needs."""
        await self._to.unary(self._stub.DeletePlugin, DeletePluginRequest(id=key, request_id=request_id))


class Namespaces:
    """Boundaries of names and rights."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> NamespaceServiceAsyncStub:
        return NamespaceServiceStub(self._to.channel)

    async def create(self, namespace: Namespace, request_id: str = "") -> Namespace:
        """Create a namespace."""
        request = CreateNamespaceRequest(namespace=namespace, request_id=request_id)
        return await self._to.unary(self._stub.CreateNamespace, request)

    async def get(self, name: str) -> Namespace:
        """Read a namespace."""
        return await self._to.unary(self._stub.GetNamespace, GetNamespaceRequest(id=name))

    async def list(self, **question: Unpack[Question]) -> ListNamespacesResponse:
        """One page of namespaces."""
        return await self._to.unary(self._stub.ListNamespaces, ListNamespacesRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Namespace]:
        """Every namespace, page after page."""
        return _rows(self.list, question)

    async def update(
        self, namespace: Namespace, mask: Iterable[str] = (), etag: str = "", request_id: str = ""
    ) -> Namespace:
        """Change a namespace's description, or how many of its tasks may be on agents at once."""
        request = UpdateNamespaceRequest(
            namespace=namespace, update_mask=FieldMask(paths=mask), etag=etag, request_id=request_id
        )
        return await self._to.unary(self._stub.UpdateNamespace, request)

    async def delete(self, name: str, *, cancel_tasks: bool = False, etag: str = "", request_id: str = "") -> None:
        """Delete a namespace with its jobs and schedules."""
        cascade = DeleteNamespaceRequest.Cascade.CANCEL if cancel_tasks else DeleteNamespaceRequest.Cascade.UNSPECIFIED
        request = DeleteNamespaceRequest(id=name, cascade=cascade, etag=etag, request_id=request_id)
        await self._to.unary(self._stub.DeleteNamespace, request)


class Keys:
    """Who may call."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> KeyServiceAsyncStub:
        return KeyServiceStub(self._to.channel)

    async def create(self, key: Key, request_id: str = "") -> Key:
        """Create a key. Its `secret` is in this answer and nowhere else; empty if only a repeat was answered."""
        return await self._to.unary(self._stub.CreateKey, CreateKeyRequest(key=key, request_id=request_id))

    async def get(self, key: str) -> Key:
        """Read a key, by id or name."""
        return await self._to.unary(self._stub.GetKey, GetKeyRequest(id=key))

    async def list(self, **question: Unpack[Question]) -> ListKeysResponse:
        """One page of keys, the revoked and the expired ones too."""
        return await self._to.unary(self._stub.ListKeys, ListKeysRequest(**_asked(question)))

    def all(self, **question: Unpack[Question]) -> AsyncIterator[Key]:
        """Every key, page after page."""
        return _rows(self.list, question)

    async def revoke(self, key: str, *, force: bool = False, etag: str = "", request_id: str = "") -> Key:
        """End a key for good, by id or name. `force`: also the last one that is an admin everywhere."""
        request = RevokeKeyRequest(id=key, force=force, etag=etag, request_id=request_id)
        return await self._to.unary(self._stub.RevokeKey, request)


class System:
    """How the control plane is."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    @cached_property
    def _stub(self) -> SystemServiceAsyncStub:
        return SystemServiceStub(self._to.channel)

    async def health(self) -> Health:
        """Whether it serves, with what was looked at."""
        return await self._to.unary(self._stub.GetHealth, GetHealthRequest())

    async def info(self) -> Info:
        """What it is."""
        return await self._to.unary(self._stub.GetInfo, GetInfoRequest())

    async def metrics(self) -> SystemMetrics:
        """What it does."""
        return await self._to.unary(self._stub.GetMetrics, GetMetricsRequest())

    async def gateway_stats(self) -> GatewayStats:
        """Its streams in numbers."""
        return await self._to.unary(self._stub.GetGatewayStats, GetGatewayStatsRequest())

    async def log_level(self) -> LogLevel:
        """How much it logs."""
        return await self._to.unary(self._stub.GetLogLevel, GetLogLevelRequest())

    async def change_log_level(self, level: str | None, *, logger: str = "", seconds: float = 0.0) -> LogLevel:
        """Log so much (DEBUG, INFO, WARNING, ERROR), of one logger or of all, for so long or until it is changed again.
        None: as configured.
        """
        request = UpdateLogLevelRequest(level=level, logger=logger, for_seconds=seconds)
        return await self._to.unary(self._stub.UpdateLogLevel, request)

    async def settings(self) -> ListSettingsResponse:
        """What holds there, and from where."""
        return await self._to.unary(self._stub.ListSettings, ListSettingsRequest())
