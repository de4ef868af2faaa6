"""Between the wire and the domain: tasks, instances, agents and what goes over an agent's stream. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from pawl.artifacts import MAX_FILES
from pawl.tracing import Trace
from pawl.v1 import agent_pb2, job_pb2, task_pb2

from controlplane.api import translate
from controlplane.api.translate import timestamp
from controlplane.domain.errors import Invalid
from controlplane.domain.filter import is_storable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.ids import id_time, is_id
from controlplane.domain.job import JobConfig
from controlplane.domain.retry import SCHEDULE_TO_START_TIMEOUT, TOTAL_TIMEOUT
from controlplane.domain.task import DeadReason, Status
from controlplane.domain.task_rules import reason_problems, task_problems
from controlplane.engine.actions import MAX_ACTED, Acted, Action, Bulk
from controlplane.engine.agents import AgentView
from controlplane.engine.artifacts import Artifact
from controlplane.engine.logs import LogLine
from controlplane.engine.results import Ref, Result
from controlplane.engine.sessions import Placement
from controlplane.engine.tasks import Deadlines, NewTask, TaskEdit, TaskView
from controlplane.engine.uploads import DIGEST
from controlplane.store import Row
from controlplane.store.logs import Chunk
from controlplane.store.tasks import InstanceEnd, TaskData, progress_of

if TYPE_CHECKING:
    ManyTasks = task_pb2.ActOnTasksRequest | task_pb2.ReplayDeadLettersRequest | task_pb2.PurgeDeadLettersRequest

MICROS = 1_000_000
MAX_REPORTED_TEXT = 64 * 1024

# ---------------------------------------------------------------- tasks

TASK_OUTPUT_ONLY = frozenset(task_pb2.Task.DESCRIPTOR.fields_by_name) - {
    "job_id",
    "priority",
    "scheduled_at",
    "parameters",
    "environment",
    "timeout",
    "tags",
    "labels",
    "schedule_to_start_timeout_seconds",
    "total_timeout_seconds",
}


def read_new_task(
    message: task_pb2.Task, namespace_id: str, key: IdempotencyKey | None, trace: Trace, path: str = "task"
) -> NewTask:
    """A task as a caller wants it. Raises Invalid."""
    job = translate.read_key(message.job_id, f"{path}.job_id")
    given = _given(message)
    return NewTask(
        namespace_id=namespace_id,
        job=job,
        data=_read_data(given, path, trace),
        priority=given.get("priority"),
        scheduled_at=_read_time(given, path),
        key=key,
        deadlines=_read_deadlines(given),
    )


def _given(message: task_pb2.Task) -> Mapping[str, Any]:
    """The fields that somebody has set. Most tasks are a job and a few of them: asking for each costs more."""
    return {field.name: value for field, value in message.ListFields()}


def _read_time(given: Mapping[str, Any], path: str) -> int | None:
    at = given.get("scheduled_at")
    return None if at is None else translate.read_timestamp(at, f"{path}.scheduled_at")


_AS_THE_JOB_SAYS = Deadlines()


def _read_deadlines(given: Mapping[str, Any]) -> Deadlines:
    start, total = given.get("schedule_to_start_timeout_seconds"), given.get("total_timeout_seconds")
    return _AS_THE_JOB_SAYS if start is None and total is None else Deadlines(start, total)


def _read_data(given: Mapping[str, Any], path: str, trace: Trace, cancel_reason: str = "") -> TaskData:
    environment, tags = _read_map(given.get("environment")), _read_map(given.get("tags"))
    labels = _read_map(given.get("labels"))
    problems = task_problems(
        priority=given.get("priority"),
        timeout=given.get("timeout"),
        schedule_to_start=given.get("schedule_to_start_timeout_seconds"),
        total=given.get("total_timeout_seconds"),
        environment=environment,
        tags=tags,
        labels=labels,
        path=path,
    )
    found = list(problems)
    if found:
        raise Invalid.fields(found)
    parameters: tuple[bytes | None, str | None] = (None, None)
    if "parameters" in given:
        parameters = translate.read_payload(given["parameters"], f"{path}.parameters")
    return TaskData(
        parameters=parameters[0],
        parameters_type=parameters[1],
        environment=environment,
        tags=tags,
        timeout=given.get("timeout"),
        cancel_reason=cancel_reason,
        trace=trace,
        labels=labels,
    )


def _read_map(entries: Mapping[str, str] | None) -> dict[str, str]:
    # Not dict(entries): the message's map is walked by key and by value then, in Python.
    return {} if entries is None else {name: entries[name] for name in entries}


def task_edit(patch: task_pb2.Task, mask: FieldMask) -> Callable[[TaskView], TaskEdit]:
    """What an update request makes of a task."""

    def change(view: TaskView) -> TaskEdit:
        if not mask.paths:
            _refuse_moves(patch, view)
        given = task_pb2.Task()
        given.CopyFrom(patch)
        for name in TASK_OUTPUT_ONLY | {"job_id"}:
            given.ClearField(name)
        wanted = _given(translate.merged(task(view), given, mask, TASK_OUTPUT_ONLY | {"job_id"}, "task"))
        scheduled_at = _read_time(wanted, "task")
        return TaskEdit(
            priority=wanted.get("priority", view.task.priority),
            scheduled_at=view.task.scheduled_at if scheduled_at is None else scheduled_at,
            deadlines=_read_deadlines(wanted),
            data=_read_data(wanted, "task", view.data.trace, view.data.cancel_reason),
        )

    return change


def _refuse_moves(patch: task_pb2.Task, view: TaskView) -> None:
    """What a task says of itself may be sent back, but who writes another status or job wants something to happen."""
    is_now = view.task.status
    if patch.status not in (0, is_now.value):
        raise Invalid.field("task.status", f"is {is_now.name}: cancel and retry change it, an update does not")
    if patch.job_id not in ("", view.task.job_id, view.job_name):
        raise Invalid.field("task.job_id", f"a task keeps its job, which is {view.job_name!r}")


def read_task_id(text: str, path: str = "id") -> str:
    """The id of a task or instance. Raises Invalid for what is no id."""
    if not text:
        raise Invalid.field(path, "is required")
    if not is_id(text):
        raise Invalid.field(path, f"must be a UUID, not {text[:64]!r}")
    return text.lower()


def read_instance_id(text: str) -> str | None:
    """The instance that somebody asks for, if it must be one. Raises Invalid."""
    return read_task_id(text, "instance_id") if text else None


def read_reason(text: str) -> str:
    """The words a caller gives. Raises Invalid."""
    found = list(reason_problems(text))
    if found:
        raise Invalid.fields(found)
    return text


def read_action(number: int) -> Action:
    """What a bulk request asks for. Raises Invalid."""
    names = [name for name in task_pb2.ActOnTasksRequest.Action.keys() if name != "UNSPECIFIED"]  # noqa: SIM118 # no dict
    known = task_pb2.ActOnTasksRequest.Action.values()
    name = task_pb2.ActOnTasksRequest.Action.Name(number) if number in known else ""
    if name not in names:
        raise Invalid.field("action", f"is required: one of {', '.join(names)}")
    return Action[name]


def read_bulk(request: ManyTasks, namespace_id: str, action: Action, *, by: str, dead: bool) -> Bulk:
    """An action on many tasks. Raises Invalid."""
    if not request.filter.WhichOneof("kind"):
        raise Invalid.field("filter", "is required: which tasks; {} is all of the namespace")
    limit = request.limit if request.HasField("limit") else MAX_ACTED
    if not 1 <= limit <= MAX_ACTED:
        raise Invalid.field("limit", f"must be 1 to {MAX_ACTED:,}")
    return Bulk(
        namespace_id,
        action,
        MessageToDict(request.filter),
        by=by,
        why=read_reason(request.reason),
        dry_run=request.dry_run,
        dead=dead,
        limit=limit,
    )


def acted(one: Acted, *, dry_run: bool) -> task_pb2.ActOnTasksResponse:
    """What came of it."""
    return task_pb2.ActOnTasksResponse(
        matched=one.matched,
        changed=one.changed,
        refused=one.refused,
        refusals=[
            task_pb2.ActOnTasksResponse.Refusal(task_id=task_id, message=why.message) for task_id, why in one.refusals
        ],
        has_more=one.has_more,
        dry_run=dry_run,
    )


def task(view: TaskView) -> task_pb2.Task:
    """A task as it is shown."""
    one, data, last = view.task, view.data, view.last
    # None costs nothing where an empty map or list costs as much as six fields.
    created_at = timestamp(one.created_at)
    return task_pb2.Task(
        id=one.id,
        namespace_id=one.namespace_id,
        job_id=one.job_id,
        job_name=view.job_name,
        job_revision=one.job_revision,
        schedule_id=one.schedule_id or "",
        status=int(one.status),  # type: ignore[arg-type]  # the numbers are the contract's own
        priority=one.priority,
        scheduled_at=created_at if one.scheduled_at == one.created_at else timestamp(one.scheduled_at),
        parameters=translate.payload(data.parameters, data.parameters_type),
        environment=data.environment or None,
        timeout=data.timeout,
        schedule_to_start_timeout_seconds=_seconds(one.start_within),
        total_timeout_seconds=_seconds(one.end_within),
        tags=data.tags or None,
        labels=data.labels or None,
        attempt=one.attempt,
        max_retries=one.max_retries,
        epoch=one.epoch,
        agent_id=one.agent_id or "",
        instance_id=one.instance_id or "",
        output=None if last is None else _output(last),
        output_digest="" if last is None else last.output_digest or "",
        error=_task_error(view),
        cancel_requested=one.cancel_requested,
        cancel_reason=data.cancel_reason,
        dead_reason=int(one.dead_reason) if one.dead_reason is not DeadReason.NONE else 0,  # type: ignore[arg-type]  # ditto
        next_attempt_at=timestamp(one.wake_at),
        created_at=created_at,
        updated_at=created_at if one.updated_at == one.created_at else timestamp(one.updated_at),
        started_at=timestamp(one.started_at),
        finished_at=timestamp(one.finished_at),
        version=one.version,
        group_id=one.group_id or "",
        shard_index=one.shard_index,
        shard_total=one.shard_total or 0,
        transitions=[_transition(row) for row in view.transitions] or None,
        progress=None if view.progress is None else _progress(view.progress),
    )


def _progress(said: tuple[float, str]) -> task_pb2.Progress:
    return task_pb2.Progress(percent=said[0], message=said[1])


def _output(row: Row[Any]) -> Any:
    return translate.payload(None if row.output is None else bytes(row.output), row.output_type)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / MICROS


_WITHOUT_AN_AGENT = {
    "MissStart": SCHEDULE_TO_START_TIMEOUT,
    "PutOff": SCHEDULE_TO_START_TIMEOUT,
    "Expire": TOTAL_TIMEOUT,
}


def _task_error(view: TaskView) -> task_pb2.TaskError | None:
    """What its last attempt said, unless its time was over since then while nobody had it."""
    one, last = view.task, view.last
    if one.status is Status.SUCCEEDED:
        return None
    newest = view.transitions[-1] if view.transitions else None
    if newest is not None and newest.version == one.version and newest.transition in _WITHOUT_AN_AGENT:
        return task_pb2.TaskError(code=_WITHOUT_AN_AGENT[newest.transition], message=newest.reason)
    return None if last is None else _error(last)


def _error(row: Row[Any]) -> task_pb2.TaskError | None:
    if row.error_code is None:
        return None
    return task_pb2.TaskError(code=row.error_code, message=row.error_message or "", retryable=bool(row.error_retryable))


def _transition(row: Row[Any]) -> task_pb2.TaskTransition:
    return task_pb2.TaskTransition(
        at=timestamp(row.at),
        transition=row.transition,
        from_status=row.from_status,
        to_status=row.to_status,
        subject=row.subject,
        reason=row.reason,
    )


# ---------------------------------------------------------------- instances and logs


def instance(row: Row[Any], *, whole: bool) -> task_pb2.TaskInstance:
    """An instance as it is shown; `whole` with its output."""
    said = progress_of(row)
    figures = {} if row.metrics is None else msgspec.json.decode(row.metrics)
    not_enforced = figures.pop(_NOT_ENFORCED, ())
    return task_pb2.TaskInstance(
        id=row.id,
        task_id=row.task_id,
        namespace_id=row.namespace_id,
        job_id=row.job_id,
        agent_id=row.agent_id,
        attempt=row.attempt,
        cause=row.cause,
        status=row.status,
        token=row.token,
        epoch=row.epoch,
        created_at=timestamp(row.created_at),
        started_at=timestamp(row.started_at),
        finished_at=timestamp(row.finished_at),
        exit_code=row.exit_code,
        signal=row.signal,
        output=_output(row) if whole else None,
        output_size=row.output_size,
        output_truncated=row.output_truncated,
        error=_error(row),
        metrics=task_pb2.InstanceMetrics(**figures) if figures else None,
        limits_not_enforced=[task_pb2.LimitNotEnforced(limit=limit, reason=why) for limit, why in not_enforced],
        progress=None if said is None else _progress(said),
        late_result=row.late_result,
        output_digest=row.output_digest or "",
    )


def log_entry(line: LogLine) -> task_pb2.LogEntry:
    """A line as it is shown."""
    return task_pb2.LogEntry(
        cursor=line.position.text(),
        instance_id=line.instance_id,
        attempt=line.attempt,
        stream=line.stream,  # type: ignore[arg-type]  # the numbers are the contract's own
        time=timestamp(line.at),
        text=line.data.decode("utf-8", "replace"),
    )


def artifact(one: Artifact) -> task_pb2.Artifact:
    """A file as it is shown."""
    return task_pb2.Artifact(name=one.name, size=one.size, digest=one.digest, content_type=one.content_type)


def as_a_file(name: str) -> str:
    """The Content-Disposition that has a browser save it under the last part of its name, and never show it (RFC 6266).

    What is no plain letter stands in the second form alone, percent by percent: no name can end the header.
    """
    last = name.rpartition("/")[2]
    plain = "".join(one if one.isascii() and (one.isalnum() or one in " ._-") else "_" for one in last)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"


def read_chunks(request: agent_pb2.AppendLogsRequest) -> list[Chunk]:
    """Log chunks as an agent sends them; takes out of the request what stands beside their lines. Raises Invalid."""
    chunks = []
    for index, one in enumerate(request.chunks):
        path = f"chunks[{index}]"
        ref, number = read_ref(one.instance, f"{path}.instance"), one.number
        if number < 1:
            raise Invalid.field(f"{path}.number", "counts from 1")
        one.ClearField("instance")
        one.ClearField("number")
        chunks.append(Chunk(ref.task_id, ref.token, number, ref.instance_id, one.SerializeToString()))
    return chunks


# ---------------------------------------------------------------- agents


def agent(view: AgentView) -> agent_pb2.Agent:
    """An agent as it is shown."""
    one = view.agent
    return agent_pb2.Agent(
        id=one.id,
        namespace_id=one.namespace_id,
        status=int(one.status),  # type: ignore[arg-type]  # the numbers are the contract's own
        labels=one.labels,
        serves=one.serves,
        executors=[
            agent_pb2.ExecutorInfo(
                name=info["name"],
                abi=info["abi"],
                options_schema=info.get("options_schema", ""),
                can_pause=info.get("can_pause", False),
            )
            for info in one.executors
        ],
        functions=[
            agent_pb2.FunctionInfo(name=each["name"], code_version=each["code_version"])
            for info in one.executors
            for each in info.get("functions", ())
        ],
        slots=one.slots,
        running=view.running,
        hostname=one.hostname,
        agent_version=one.agent_version,
        protocol_version=one.protocol_version,
        generation=one.generation,
        connected_at=timestamp(one.connected_at),
        last_beat_at=timestamp(one.last_beat_at),
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
        version=one.version,
        metrics=_agent_metrics(one.metrics),
        resources=one.resources,
    )


def _agent_metrics(metrics: Mapping[str, float]) -> agent_pb2.AgentMetrics | None:
    if not metrics:
        return None
    return agent_pb2.AgentMetrics(
        cpu_fraction=metrics["cpu_fraction"],
        memory_used_bytes=int(metrics["memory_used_bytes"]),
        memory_total_bytes=int(metrics["memory_total_bytes"]),
        load_average=metrics["load_average"],
        # Since these are said: what an agent said last may be older.
        results_waiting=int(metrics.get("results_waiting", 0)),
        spool_bytes=int(metrics.get("spool_bytes", 0)),
        log_bytes=int(metrics.get("log_bytes", 0)),
    )


def read_agent_metrics(message: agent_pb2.AgentMetrics) -> dict[str, float]:
    """What an agent says of its machine."""
    return {
        "cpu_fraction": _finite(message.cpu_fraction),
        "memory_used_bytes": float(message.memory_used_bytes),
        "memory_total_bytes": float(message.memory_total_bytes),
        "load_average": _finite(message.load_average),
        "results_waiting": float(max(0, message.results_waiting)),
        "spool_bytes": float(max(0, message.spool_bytes)),
        "log_bytes": float(max(0, message.log_bytes)),
    }


# ---------------------------------------------------------------- the stream


def read_ref(message: agent_pb2.InstanceRef, path: str = "instance", within: frozenset[str] | None = None) -> Ref:
    """A placement as an agent names it, who may touch these namespaces or, with None, all. Raises Invalid."""
    task_id = read_task_id(message.task_id, f"{path}.task_id")
    instance_id = read_task_id(message.instance_id, f"{path}.instance_id")
    if message.token < 1:
        raise Invalid.field(f"{path}.token", "counts from 1")
    return Ref(task_id, instance_id, message.token, within)


def ref(one: Ref) -> agent_pb2.InstanceRef:
    """A placement as an agent is told of it."""
    return agent_pb2.InstanceRef(task_id=one.task_id, instance_id=one.instance_id, token=one.token)


_MOST_SIGNALS = 127  # of any system, and what its column holds


def since(one: Ref, at: int, now: int) -> int:
    """An instant of a placement's run, which is not before it was made: that was by the clock of another control plane
    perhaps, and an agent may say anything."""
    made = id_time(one.instance_id) + 1000  # the id has it to the millisecond
    return min(now, max(at, made))


def read_result(item: agent_pb2.Finished.Item, now: int, within: frozenset[str] | None = None) -> Result:
    """How an agent, who may touch these namespaces, says a placement ended. Raises Invalid."""
    where = read_ref(item.instance, "finished.items.instance", within)
    status = translate.read_enum(item.status, Status, "finished.items.status")
    if status not in (Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED):
        raise Invalid.field("finished.items.status", "must be SUCCEEDED, FAILED, TIMED_OUT or CANCELLED")
    finished_at = since(where, now - _micros(item.finished_seconds_ago), now)
    started_at = None
    if item.HasField("started_seconds_ago"):
        started_at = since(where, min(finished_at, now - _micros(item.started_seconds_ago)), now)
    error = item.error if item.HasField("error") else None
    output = _read_output(item)
    end = InstanceEnd(
        status=status,
        finished_at=finished_at,
        started_at=started_at,
        exit_code=item.exit_code if item.HasField("exit_code") else None,
        signal=min(max(item.signal, 0), _MOST_SIGNALS) if item.HasField("signal") else None,
        error_code=None if error is None else _text(error.code, 64),
        error_message=None if error is None else _text(error.message, MAX_REPORTED_TEXT),
        error_retryable=None if error is None else error.retryable,
        metrics=_figures(item),
        output=output[0],
        output_type=output[1],
        output_digest=output[2],
        output_size=max(0, item.output_size),
        output_truncated=item.output_truncated,
    )
    retry_after = _micros(item.retry_after_seconds) if item.HasField("retry_after_seconds") else None
    progress = _read_progress(item.progress) if item.HasField("progress") else None
    return Result(where, end, retry_after, _read_artifacts(item), progress)


def _read_output(item: agent_pb2.Finished.Item) -> tuple[bytes | None, str | None, str | None]:
    """Its bytes or its digest, with its type between. Raises Invalid."""
    if item.output_digest:
        if not DIGEST.fullmatch(item.output_digest):
            raise Invalid.field("finished.items.output_digest", "must be a SHA-256 in 64 lower-case hex digits")
        return None, _text(item.output_content_type, 255), item.output_digest
    if item.HasField("output"):
        return item.output.data, _text(item.output.content_type, 255), None
    return None, None, None


def read_progress(item: agent_pb2.ProgressReports.Item, within: frozenset[str] | None = None) -> tuple[Ref, float, str]:
    """How far an agent, who may touch these namespaces, says a placement is. Raises Invalid."""
    return read_ref(item.instance, "progress.items.instance", within), *_read_progress(item.progress)


def _read_progress(message: task_pb2.Progress) -> tuple[float, str]:
    return min(max(_finite(message.percent), 0.0), 100.0), _text(message.message, 1024)


def _read_artifacts(item: agent_pb2.Finished.Item) -> dict[str, str]:
    if len(item.artifacts) > MAX_FILES:
        raise Invalid.field(
            "finished.items.artifacts", f"has {len(item.artifacts):,}, at most {MAX_FILES:,} are allowed"
        )
    return {one.name: one.digest for one in item.artifacts}


_NOT_ENFORCED = "not_enforced"  # beside the figures, where there are any such limits
_MOST_LIMITS = 20


def _figures(item: agent_pb2.Finished.Item) -> str | None:
    """What the run used and which limits nothing held, as they are stored."""
    if not item.HasField("metrics") and not item.limits_not_enforced:
        return None
    message = item.metrics
    fields: dict[str, object] = {
        "wall_seconds": _finite(message.wall_seconds),
        "user_cpu_seconds": _finite(message.user_cpu_seconds),
        "system_cpu_seconds": _finite(message.system_cpu_seconds),
        "peak_memory_bytes": message.peak_memory_bytes,
        "read_bytes": message.read_bytes,
        "written_bytes": message.written_bytes,
    }
    if message.cpu_throttled_seconds > 0:
        fields["cpu_throttled_seconds"] = _finite(message.cpu_throttled_seconds)
    if not item.HasField("metrics"):
        fields = {}
    if item.limits_not_enforced:
        some = item.limits_not_enforced[:_MOST_LIMITS]
        fields[_NOT_ENFORCED] = [[_text(one.limit, 64), _text(one.reason, 255)] for one in some]
    return msgspec.json.encode(fields).decode() if fields else None


_CONFIGS_KEPT = 1_024
_configs: dict[tuple[str, int], tuple[JobConfig, job_pb2.JobConfig]] = {}


def _config_of(one: Placement) -> job_pb2.JobConfig:
    """A revision's settings go out with every placement and never change: the message is made once."""
    key = one.job_id, one.job_revision
    known = _configs.get(key)
    if known is None or known[0] is not one.config:
        if len(_configs) >= _CONFIGS_KEPT:
            _configs.clear()
        known = _configs[key] = one.config, translate.config(one.config)
    return known[1]


def placement(one: Placement) -> agent_pb2.Assign.Item:
    """A placement as the agent gets it."""
    return agent_pb2.Assign.Item(
        instance=ref(one.ref),
        attempt=one.attempt,
        namespace_id=one.namespace_id,
        job_id=one.job_id,
        job_name=one.job_name,
        job_revision=one.job_revision,
        config=_config_of(one),
        environment=one.environment,
        parameters=translate.payload(one.parameters, one.parameters_type),
        timeout_seconds=one.timeout,
        total_seconds_left=one.total_left,
        lease_seconds=one.lease,
        traceparent=one.trace.traceparent,
        tracestate=one.trace.tracestate,
        baggage=one.trace.baggage,
        group_id=one.group_id,
        shard_index=one.shard_index,
        shard_total=one.shard_total,
    )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _micros(seconds: float) -> int:
    """An age an agent reports: never in the future, and no longer than ten years."""
    return round(min(max(_finite(seconds), 0.0), 315_360_000.0) * MICROS)


def _text(text: str, most: int) -> str:
    """Words of a program: kept as far as they can be stored."""
    return text[:most] if is_storable(text) else text[:most].replace("\x00", "�")
