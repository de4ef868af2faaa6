"""One story that uses every RPC, told twice: in one namespace over gRPC, in another over REST.

A step is a method and what makes its request from what the steps before have left. The order is that of a user's day.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from pawl import signatures
from pawl.v1 import access_pb2, agent_pb2, group_pb2, job_pb2, plugin_pb2, schedule_pb2, system_pb2, task_pb2

NOWHERE = "01900000-0000-7000-8000-000000000000"
_SIGNING_KEY = signatures.new_private_key()


@dataclass
class Memory:
    """What one telling knows: its namespace and the answers so far, by the step's name."""

    namespace: str
    module: bytes
    answers: dict[str, Any] = field(default_factory=dict)

    def id(self, step: str) -> str:
        """The id that a step's answer has."""
        answer = self.answers.get(step)
        return NOWHERE if answer is None else str(answer.id)


@dataclass(frozen=True)
class Step:
    """`name` is where the answer is kept; `expect` the code both fronts must give."""

    method: str
    make: Callable[[Memory], Message]
    name: str = ""
    expect: str = "OK"


_ALL: Mapping[str, Any] = {"struct_value": {}}
_NONE: Mapping[str, Any] = {"struct_value": {"status": {"eq": "SUSPENDED"}}}
_RETRY = {"backoff": "EXPONENTIAL", "max_interval_seconds": 600, "jitter": 0.5, "fail_on": ["EXIT_64"]}


def _job(memory: Memory, name: str = "report") -> Mapping[str, Any]:
    return {
        "name": name,
        "namespace_id": memory.namespace,
        "description": "Nightly – ünïcode",
        "environment": {"A": "1"},
        "config": {
            "cmd": "echo",
            "args": ["a b", ""],
            "timeout": 12.5,
            "max_retries": 2,
            "labels": {"zone": "x"},
            "retry": _RETRY,
        },
    }


def _call(memory: Memory) -> Mapping[str, Any]:
    http = {"url": "https://example.com/do?a=b", "headers": {"X-Two": "2", "Authorization": "Bearer ${secret:T}"}}
    return {"name": "call", "namespace_id": memory.namespace, "config": {"executor": "http", "http": http}}


def _task(memory: Memory) -> Mapping[str, Any]:
    return {
        "job_id": "report",
        "namespace_id": memory.namespace,
        "parameters": {"data": b'{"n": [1, 2.50, "x"]}', "content_type": "application/json"},
        "tags": {"customer": "ü-42"},
        "priority": 700,
        "timeout": 0.5,
    }


def _schedule(memory: Memory, name: str) -> Mapping[str, Any]:
    return {
        "name": name,
        "namespace_id": memory.namespace,
        "job_id": "report",
        "kind": "CRON",
        "cron_expression": "0 0 12 * * ?",
        "timezone": "Europe/Berlin",
        "parameters": {"data": b"\x00\xff", "content_type": "application/octet-stream"},
    }


def _key(memory: Memory) -> Mapping[str, Any]:
    return {"name": f"ci-{memory.namespace}", "roles": ["SUBMITTER", "VIEWER"], "namespaces": [memory.namespace]}


def _in(kind: Callable[..., Message], **fields: Any) -> Callable[[Memory], Message]:
    """A request that only needs the namespace beside constants."""
    return lambda memory: kind(namespace_id=memory.namespace, **fields)


def _of(kind: Callable[..., Message], step: str, **fields: Any) -> Callable[[Memory], Message]:
    """A request about what a step made."""
    return lambda memory: kind(id=memory.id(step), namespace_id=memory.namespace, **fields)


def _moved(memory: Memory, **fields: Any) -> Message:
    """An update that speaks of what an update cannot change."""
    return task_pb2.UpdateTaskRequest(task={"id": memory.id("task"), "namespace_id": memory.namespace, **fields})


def _grouped(memory: Memory, request_id: str = "", **fields: Any) -> Message:
    """Three tasks that make one group, two of which have to succeed."""
    task = {name: value for name, value in _task(memory).items() if name != "parameters"}
    inputs = [{"data": str(number).encode(), "content_type": "application/json"} for number in range(3)]
    shards = {"mode": "SHARDED", "shards": 3, "shard_parameters": inputs, "policy": "AT_LEAST", "policy_count": 2}
    return group_pb2.CreateTaskGroupRequest(group={**task, **shards, **fields}, request_id=request_id)


def _members(memory: Memory) -> Message:
    filter_ = {"struct_value": {"group_id": {"eq": memory.id("group")}}}
    return task_pb2.ListTasksRequest(namespace_id=memory.namespace, filter=filter_, order_by=["shard_index"])


_FIRST_PAGE = {"page": {"page": 1, "page_size": 2}}

STORY: tuple[Step, ...] = (
    Step("SystemService/GetHealth", lambda m: system_pb2.GetHealthRequest()),
    Step("SystemService/GetInfo", lambda m: system_pb2.GetInfoRequest()),
    Step("SystemService/GetMetrics", lambda m: system_pb2.GetMetricsRequest()),
    Step("SystemService/GetGatewayStats", lambda m: system_pb2.GetGatewayStatsRequest()),
    Step(
        "NamespaceService/CreateNamespace",
        lambda m: access_pb2.CreateNamespaceRequest(namespace={"id": m.namespace, "description": "mine"}),
    ),
    Step("NamespaceService/GetNamespace", lambda m: access_pb2.GetNamespaceRequest(id=m.namespace)),
    Step(
        "NamespaceService/ListNamespaces",
        lambda m: access_pb2.ListNamespacesRequest(page={"page_size": 1}, order_by=["id"]),
    ),
    Step(
        "NamespaceService/UpdateNamespace",
        lambda m: access_pb2.UpdateNamespaceRequest(
            namespace={"id": m.namespace, "description": "ours"}, update_mask={"paths": ["description"]}
        ),
    ),
    Step("JobService/CreateJob", lambda m: job_pb2.CreateJobRequest(job=_job(m), request_id="r-1"), "job"),
    Step("JobService/CreateJob", lambda m: job_pb2.CreateJobRequest(job=_job(m), request_id="r-1")),
    Step(
        "JobService/CreateJob",
        lambda m: job_pb2.CreateJobRequest(job=_job(m, "other"), request_id="r-1"),
        expect="ALREADY_EXISTS",
    ),
    Step("JobService/CreateJob", lambda m: job_pb2.CreateJobRequest(job=_job(m)), expect="ALREADY_EXISTS"),
    Step("JobService/CreateJob", lambda m: job_pb2.CreateJobRequest(job=_call(m)), "call"),
    Step("JobService/GetJob", _in(job_pb2.GetJobRequest, id="report")),
    Step("JobService/GetJob", _of(job_pb2.GetJobRequest, "job")),
    Step("JobService/ListJobs", _in(job_pb2.ListJobsRequest, order_by=["-created_at"], **_FIRST_PAGE)),
    Step(
        "JobService/UpdateJob",
        lambda m: job_pb2.UpdateJobRequest(
            job={"id": m.id("job"), "namespace_id": m.namespace, "config": {"max_retries": 3}}, etag="1"
        ),
    ),
    Step(
        "JobService/UpdateJob",
        lambda m: job_pb2.UpdateJobRequest(
            job={"id": "report", "namespace_id": m.namespace, "description": "x"}, etag="1"
        ),
        expect="ABORTED",
    ),
    Step("JobService/DisableJob", _in(job_pb2.DisableJobRequest, id="report")),
    Step(
        "TaskService/CreateTask",
        lambda m: task_pb2.CreateTaskRequest(task=_task(m)),
        expect="FAILED_PRECONDITION",
    ),
    Step("JobService/EnableJob", _in(job_pb2.EnableJobRequest, id="report")),
    Step("TaskService/CreateTask", lambda m: task_pb2.CreateTaskRequest(task=_task(m), request_id="t-1"), "task"),
    Step(
        "TaskService/BatchCreateTasks",
        lambda m: task_pb2.BatchCreateTasksRequest(
            namespace_id=m.namespace,
            requests=[{"task": _task(m), "request_id": "b-1"}, {"task": {"job_id": "no-such-job"}}],
        ),
    ),
    Step(
        "TaskService/RunTask",
        lambda m: task_pb2.RunTaskRequest(task=_task(m), wait_seconds=0.05, request_id="w-1"),
        "run",
    ),
    Step("TaskService/GetTask", _of(task_pb2.GetTaskRequest, "task")),
    Step(
        "TaskService/ListTasks",
        lambda m: task_pb2.ListTasksRequest(namespace_id=m.namespace, order_by=["id"], **_FIRST_PAGE),
    ),
    Step(
        "TaskService/UpdateTask",
        lambda m: task_pb2.UpdateTaskRequest(
            task={"id": m.id("task"), "namespace_id": m.namespace, "priority": 1}, update_mask={"paths": ["priority"]}
        ),
    ),
    Step("TaskService/UpdateTask", lambda m: _moved(m, status="RUNNING"), expect="INVALID_ARGUMENT"),
    Step("TaskService/UpdateTask", lambda m: _moved(m, job_id="other"), expect="INVALID_ARGUMENT"),
    Step("TaskService/UpdateTask", lambda m: _moved(m, job_id="report", status="PENDING", priority=2)),
    Step("TaskService/ExplainTask", _of(task_pb2.ExplainTaskRequest, "task")),
    Step("TaskService/DeleteTask", _of(task_pb2.DeleteTaskRequest, "task"), expect="FAILED_PRECONDITION"),
    Step("TaskService/PauseTask", _of(task_pb2.PauseTaskRequest, "task", reason="not yet", request_id="p-1")),
    Step("TaskService/ResumeTask", _of(task_pb2.ResumeTaskRequest, "task")),
    Step("TaskService/ActOnTasks", _in(task_pb2.ActOnTasksRequest, action="PAUSE"), expect="INVALID_ARGUMENT"),
    Step("TaskService/ActOnTasks", _in(task_pb2.ActOnTasksRequest, filter=_ALL), expect="INVALID_ARGUMENT"),
    Step("TaskService/ActOnTasks", _in(task_pb2.ActOnTasksRequest, action="PAUSE", filter=_ALL, dry_run=True)),
    Step("TaskService/ActOnTasks", _in(task_pb2.ActOnTasksRequest, action="DELETE", filter=_NONE, request_id="a-1")),
    Step("TaskService/ListDeadLetters", _in(task_pb2.ListDeadLettersRequest)),
    Step("TaskService/ReplayDeadLetters", _in(task_pb2.ReplayDeadLettersRequest, filter=_ALL)),
    Step("TaskService/PurgeDeadLetters", _in(task_pb2.PurgeDeadLettersRequest, filter=_ALL, limit=10)),
    Step("TaskService/CancelTask", _of(task_pb2.CancelTaskRequest, "task", reason="not needed")),
    Step("TaskService/WatchTask", _of(task_pb2.WatchTaskRequest, "task")),
    Step("TaskService/ReadTaskLogs", _of(task_pb2.ReadTaskLogsRequest, "task")),
    Step("TaskService/ReadTaskOutput", _of(task_pb2.ReadTaskOutputRequest, "task"), expect="NOT_FOUND"),
    Step("TaskService/ListTaskArtifacts", _of(task_pb2.ListTaskArtifactsRequest, "task")),
    Step(
        "TaskService/ReadTaskArtifact",
        _of(task_pb2.ReadTaskArtifactRequest, "task", name="site/index.html"),
        expect="NOT_FOUND",
    ),
    Step("TaskService/RetryTask", _of(task_pb2.RetryTaskRequest, "run"), expect="FAILED_PRECONDITION"),
    Step("TaskService/SkipTask", _of(task_pb2.SkipTaskRequest, "run")),
    Step("TaskService/PauseTask", _of(task_pb2.PauseTaskRequest, "run"), expect="FAILED_PRECONDITION"),
    Step("TaskService/ForceTaskSuccess", _of(task_pb2.ForceTaskSuccessRequest, "run", reason="done by hand")),
    Step("TaskService/RetryTask", _of(task_pb2.RetryTaskRequest, "task", reason="needed after all")),
    Step("TaskService/CancelTask", _of(task_pb2.CancelTaskRequest, "task")),
    Step("TaskService/DeleteTask", _of(task_pb2.DeleteTaskRequest, "task")),
    Step("TaskService/GetTask", _of(task_pb2.GetTaskRequest, "task"), expect="NOT_FOUND"),
    Step("TaskGroupService/CreateTaskGroup", lambda m: _grouped(m, request_id="g-1"), "group"),
    Step("TaskGroupService/CreateTaskGroup", lambda m: _grouped(m, request_id="g-1")),
    Step("TaskGroupService/CreateTaskGroup", lambda m: _grouped(m, mode="UNSPECIFIED"), expect="INVALID_ARGUMENT"),
    Step("TaskGroupService/CreateTaskGroup", lambda m: _grouped(m, shards=0), expect="INVALID_ARGUMENT"),
    Step("TaskGroupService/GetTaskGroup", _of(group_pb2.GetTaskGroupRequest, "group")),
    Step("TaskGroupService/ListTaskGroups", _in(group_pb2.ListTaskGroupsRequest, **_FIRST_PAGE)),
    Step("TaskService/ListTasks", _members),
    Step("TaskGroupService/WaitTaskGroup", _of(group_pb2.WaitTaskGroupRequest, "group", wait_seconds=0)),
    Step(
        "TaskGroupService/DeleteTaskGroup",
        _of(group_pb2.DeleteTaskGroupRequest, "group"),
        expect="FAILED_PRECONDITION",
    ),
    Step("TaskGroupService/CancelTaskGroup", _of(group_pb2.CancelTaskGroupRequest, "group", reason="not needed")),
    Step("TaskGroupService/WaitTaskGroup", _of(group_pb2.WaitTaskGroupRequest, "group", until="ENDED")),
    Step("TaskGroupService/RetryTaskGroup", _of(group_pb2.RetryTaskGroupRequest, "group", reason="needed after all")),
    Step("TaskGroupService/CancelTaskGroup", _of(group_pb2.CancelTaskGroupRequest, "group")),
    Step("TaskGroupService/DeleteTaskGroup", _of(group_pb2.DeleteTaskGroupRequest, "group", request_id="g-2")),
    Step("TaskGroupService/GetTaskGroup", _of(group_pb2.GetTaskGroupRequest, "group"), expect="NOT_FOUND"),
    Step(
        "TaskInstanceService/GetTaskInstance",
        _in(task_pb2.GetTaskInstanceRequest, id=NOWHERE),
        expect="NOT_FOUND",
    ),
    Step("TaskInstanceService/ReadOutput", _in(task_pb2.ReadOutputRequest, id=NOWHERE), expect="NOT_FOUND"),
    Step(
        "TaskInstanceService/ListTaskInstances",
        _in(task_pb2.ListTaskInstancesRequest, filter={"struct_value": {"status": {"eq": "FAILED"}}}),
    ),
    Step(
        "ScheduleService/CreateSchedule",
        lambda m: schedule_pb2.CreateScheduleRequest(schedule=_schedule(m, "noon")),
        "schedule",
    ),
    Step("ScheduleService/GetSchedule", _in(schedule_pb2.GetScheduleRequest, id="noon")),
    Step("ScheduleService/ListSchedules", _in(schedule_pb2.ListSchedulesRequest, **_FIRST_PAGE)),
    Step(
        "ScheduleService/UpdateSchedule",
        lambda m: schedule_pb2.UpdateScheduleRequest(
            schedule={"id": "noon", "namespace_id": m.namespace, "timezone": "UTC"}
        ),
    ),
    Step("ScheduleService/DisableSchedule", _of(schedule_pb2.DisableScheduleRequest, "schedule")),
    Step("ScheduleService/EnableSchedule", _of(schedule_pb2.EnableScheduleRequest, "schedule")),
    Step(
        "ScheduleService/PreviewSchedule",
        lambda m: schedule_pb2.PreviewScheduleRequest(
            schedule=_schedule(m, "thought-of"), count=3, after={"seconds": 1_800_000_000}
        ),
    ),
    Step("ScheduleService/ListScheduleFires", _of(schedule_pb2.ListScheduleFiresRequest, "schedule")),
    Step("ScheduleService/DeleteSchedule", _of(schedule_pb2.DeleteScheduleRequest, "schedule")),
    Step(
        "PluginService/CreatePlugin",
        lambda m: plugin_pb2.CreatePluginRequest(
            module={"data": m.module, "content_type": "application/wasm"},
            namespace_id=m.namespace,
            name="adder",
            version="1.0.0",
        ),
        "plugin",
    ),
    Step("PluginService/GetPlugin", _in(plugin_pb2.GetPluginRequest, id="adder@1.0.0")),
    Step("PluginService/DownloadPlugin", _in(plugin_pb2.DownloadPluginRequest, id="adder")),
    Step("PluginService/ListPlugins", _in(plugin_pb2.ListPluginsRequest, **_FIRST_PAGE)),
    Step(
        "PluginService/ReportPlugin",
        lambda m: plugin_pb2.ReportPluginRequest(
            id=m.answers["plugin"].digest, namespace_id=m.namespace, agent_id="a-1", compiles=True
        ),
    ),
    Step(
        "PluginService/GrantPlugin",
        _in(plugin_pb2.GrantPluginRequest, id="adder", http=["api.example.com"], secrets=["ADDER_KEY"]),
    ),
    Step(
        "PluginService/SignPlugin",
        lambda m: plugin_pb2.SignPluginRequest(
            id="adder",
            namespace_id=m.namespace,
            public_key=signatures.public_key_of(_SIGNING_KEY),
            signature=signatures.sign(_SIGNING_KEY, m.answers["plugin"].digest),
        ),
    ),
    Step("PluginService/RevokePluginGrant", _in(plugin_pb2.RevokePluginGrantRequest, id="adder@1.0.0")),
    Step("PluginService/DeletePlugin", _in(plugin_pb2.DeletePluginRequest, id="adder@1.0.0")),
    Step("AgentService/GetAgent", _in(agent_pb2.GetAgentRequest, id="hand"), "agent"),
    Step("AgentService/ListAgents", _in(agent_pb2.ListAgentsRequest, **_FIRST_PAGE)),
    Step(
        "AgentService/UpdateAgent",
        lambda m: agent_pb2.UpdateAgentRequest(
            agent={"id": "hand", "namespace_id": m.namespace, "labels": {"zone": "y"}}
        ),
    ),
    Step(
        "AgentService/AppendLogs",
        lambda m: agent_pb2.AppendLogsRequest(
            agent_id="hand",
            namespace_id=m.namespace,
            chunks=[
                {
                    "instance": {"task_id": NOWHERE, "instance_id": NOWHERE, "token": 1},
                    "number": 1,
                    "lines": [{"stream": "STDOUT", "time": {"seconds": 1_800_000_000}, "data": b"hello\n"}],
                }
            ],
        ),
    ),
    Step(
        "AgentService/PutOutput",
        lambda m: agent_pb2.PutOutputRequest(
            agent_id="hand",
            namespace_id=m.namespace,
            instance={"task_id": NOWHERE, "instance_id": NOWHERE, "token": 1},
            digest="0" * 64,
            size=1,
            data=b"x",
        ),
        expect="NOT_FOUND",
    ),
    Step(
        "AgentService/PutArtifact",
        lambda m: agent_pb2.PutArtifactRequest(
            agent_id="hand",
            namespace_id=m.namespace,
            instance={"task_id": NOWHERE, "instance_id": NOWHERE, "token": 1},
            name="report.html",
            digest="0" * 64,
            size=1,
            data=b"x",
        ),
        expect="NOT_FOUND",
    ),
    Step("AgentService/DrainAgent", _in(agent_pb2.DrainAgentRequest, id="hand", reason="maintenance")),
    Step("AgentService/DeleteAgent", _in(agent_pb2.DeleteAgentRequest, id="hand"), expect="FAILED_PRECONDITION"),
    Step("JobService/DeleteJob", _in(job_pb2.DeleteJobRequest, id="report"), expect="FAILED_PRECONDITION"),
    Step("JobService/DeleteJob", _in(job_pb2.DeleteJobRequest, id="report", cascade="CANCEL")),
    Step("JobService/GetJob", _in(job_pb2.GetJobRequest, id="report"), expect="NOT_FOUND"),
    Step(
        "KeyService/CreateKey", lambda m: access_pb2.CreateKeyRequest(key=_key(m), request_id=f"k-{m.namespace}"), "key"
    ),
    Step("KeyService/CreateKey", lambda m: access_pb2.CreateKeyRequest(key=_key(m)), expect="ALREADY_EXISTS"),
    Step("KeyService/GetKey", lambda m: access_pb2.GetKeyRequest(id=f"ci-{m.namespace}")),
    Step("KeyService/GetKey", lambda m: access_pb2.GetKeyRequest(id=m.id("key"))),
    Step("KeyService/ListKeys", lambda m: access_pb2.ListKeysRequest(page={"page_size": 1}, order_by=["name"])),
    Step("KeyService/RevokeKey", lambda m: access_pb2.RevokeKeyRequest(id=m.id("key"), etag="7"), expect="ABORTED"),
    Step("KeyService/RevokeKey", lambda m: access_pb2.RevokeKeyRequest(id=m.id("key"), etag="1")),
    Step("KeyService/GetKey", lambda m: access_pb2.GetKeyRequest(id=f"ci-{m.namespace}"), expect="NOT_FOUND"),
    Step("SystemService/ListSettings", lambda m: system_pb2.ListSettingsRequest()),
    Step("SystemService/GetLogLevel", lambda m: system_pb2.GetLogLevelRequest()),
    Step(
        "SystemService/UpdateLogLevel",
        lambda m: system_pb2.UpdateLogLevelRequest(level="WARNING", logger="controlplane.calls"),
    ),
    Step("SystemService/UpdateLogLevel", lambda m: system_pb2.UpdateLogLevelRequest(logger="controlplane.calls")),
    Step(
        "SystemService/UpdateLogLevel",
        lambda m: system_pb2.UpdateLogLevelRequest(level="DEBUG", logger="sqlalchemy.engine"),
        expect="INVALID_ARGUMENT",
    ),
    Step(
        "NamespaceService/DeleteNamespace",
        lambda m: access_pb2.DeleteNamespaceRequest(id="default"),
        expect="FAILED_PRECONDITION",
    ),
)

# RPCs that no binding of google.api.http can carry; each has a test of its own.
GRPC_ONLY: Mapping[str, str] = {
    "AgentService/Connect": "both sides stream: HTTP/1.1 cannot, and agents speak gRPC",
    "PluginService/UploadPlugin": "the client streams; over REST the same is CreatePlugin with the module as its body",
}

# Answers that are about the moment, of chance or about the whole server: only the outcome is compared.
OUTCOME_ONLY = frozenset(
    {
        "SystemService/GetHealth",
        "SystemService/GetMetrics",
        "SystemService/GetGatewayStats",
        "NamespaceService/ListNamespaces",
        "KeyService/CreateKey",
        "KeyService/GetKey",
        "KeyService/ListKeys",
        "KeyService/RevokeKey",
    }
)

HELLO = agent_pb2.Hello(
    protocol_version=1,
    agent_id="hand",
    generation=1,
    slots=1,
    hostname="here",
    agent_version="test",
    executors=[{"name": "process"}],
    labels={"zone": "elsewhere"},
)

__all__ = ["GRPC_ONLY", "HELLO", "NOWHERE", "OUTCOME_ONLY", "STORY", "Memory", "Step"]
