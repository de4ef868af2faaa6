"""Between the wire and the domain: messages in, domain values out, and back. Pure functions, no decisions.

First the pieces that every noun needs (instants, payloads, enums, etags, masks, pages), then jobs, namespaces,
schedules and plugins. Tasks, instances and agents stand in `translate_tasks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Literal, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from pawl.v1 import access_pb2, job_pb2, plugin_pb2, schedule_pb2, types_pb2

from controlplane.api.methods import is_repeated
from controlplane.api.translate_placement import placement, read_placement
from controlplane.domain.cron import zone_of
from controlplane.domain.errors import Invalid
from controlplane.domain.filter import is_storable
from controlplane.domain.job import (
    ArtifactRules,
    FunctionSpec,
    HttpSpec,
    Job,
    JobConfig,
    JobSpec,
    JobStatus,
    OnControlPlaneLost,
    ResourceLimits,
    WasmSpec,
)
from controlplane.domain.job_rules import LIMITS, MAX_OPTIONS_BYTES, digest_of_reference, media_type_problem
from controlplane.domain.namespace import Namespace
from controlplane.domain.page import PageRequest, parse_page
from controlplane.domain.plugin import Grant, Plugin, Signature
from controlplane.domain.retry import Backoff, RetryRules
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import ScheduleSpec, ScheduleStatus
from controlplane.engine.jobs import JobDraft
from controlplane.engine.lists import Question
from controlplane.engine.namespaces import NamespaceDraft
from controlplane.engine.schedules import ScheduleDraft, ScheduleView
from controlplane.store.query import Page
from controlplane.store.schedules import Fire

E = TypeVar("E", bound=IntEnum)
M = TypeVar("M", bound=Message)

JSON_TYPE = "application/json"
MAX_PAYLOAD = 1 << 20

# ---------------------------------------------------------------- instants, payloads, enums, etags


def timestamp(instant: int | None) -> Timestamp | None:
    """Microseconds as a message; None stays unset."""
    return None if instant is None else _stamp(instant)


def _stamp(instant: int) -> Timestamp:
    seconds, micros = divmod(instant, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, which RFC 3339 can write


def read_timestamp(message: Timestamp, path: str) -> int:
    """A message as microseconds; what is finer is cut. Raises Invalid."""
    if not (_FIRST_SECOND <= message.seconds <= _LAST_SECOND and 0 <= message.nanos < 1_000_000_000):
        raise Invalid.field(path, "must be an instant of the years 1 to 9999, with nanos 0 to 999,999,999")
    return message.seconds * 1_000_000 + message.nanos // 1_000


def payload(data: bytes | None, content_type: str | None) -> types_pb2.Payload | None:
    """Stored bytes as a message; None stays unset."""
    if data is None:
        return None
    return types_pb2.Payload(data=data, content_type=content_type or JSON_TYPE)


def read_payload(message: types_pb2.Payload, path: str, most: int = MAX_PAYLOAD) -> tuple[bytes, str]:
    """The bytes and their media type. Raises Invalid."""
    if len(message.data) > most:
        raise Invalid.field(path, f"has {len(message.data):,} bytes, at most {most:,} are allowed")
    if len(message.content_type) > 255 or not is_storable(message.content_type):
        raise Invalid.field(f"{path}.content_type", "must be a media type of at most 255 characters")
    return message.data, message.content_type or JSON_TYPE


def read_enum(number: int, kind: type[E], path: str) -> E | None:
    """The domain's value; None for UNSPECIFIED. Raises Invalid for numbers that do not exist."""
    if number == 0:
        return None
    try:
        return kind(number)
    except ValueError:
        listed = ", ".join(f"{one.name} ({int(one)})" for one in kind)
        raise Invalid.field(path, f"must be one of {listed}, not {number}")


def read_etag(text: str) -> int | None:
    """The version in an etag, quoted or not; None for none and for `*`. Raises Invalid."""
    bare = text.strip().removeprefix("W/").strip('"')
    if bare in ("", "*"):
        return None
    if not (bare.isascii() and bare.isdecimal() and len(bare) <= 10):
        raise Invalid.field("etag", f'must be the version as a number, such as 3 or "3", not {text[:64]!r}')
    return int(bare)


def write_etag(version: int) -> str:
    """The version as an ETag header wants it."""
    return f'"{version}"'


def read_enabled(number: int, enabled: bool | None, kind: type[E], on: E, off: E, path: str) -> E | None:
    """The status that `status` and `enabled` ask for; None when neither is given. Raises Invalid when they differ."""
    status = read_enum(number, kind, f"{path}.status")
    if enabled is None:
        return status
    if status is None:
        return on if enabled else off
    if (status is on) != enabled:
        raise Invalid.field(f"{path}.enabled", f"is {str(enabled).lower()}, but {path}.status is {status.name}")
    return status


class _Cascade(IntEnum):
    CANCEL = 1


def read_cascade(number: int) -> bool:
    """Whether unfinished tasks are cancelled with what is deleted. Raises Invalid."""
    return read_enum(number, _Cascade, "cascade") is _Cascade.CANCEL


# ---------------------------------------------------------------- masks


def merged(current: M, patch: M, mask: FieldMask, output_only: Collection[str], path: str) -> M:
    """The current message with the patch laid over it.

    Without a mask the fields present; maps and lists whole; `*` takes the patch as it is. A masked field that the patch
    does not have goes back to its default. Raises Invalid for paths that do not exist or are not the caller's.
    """
    result = type(current)()
    paths = list(mask.paths)
    if "*" in paths:
        if len(paths) > 1:
            raise Invalid.field("update_mask", "'*' stands alone")
        result.CopyFrom(patch)
        return result
    result.CopyFrom(current)
    if not paths:
        _overlay(result, patch)
    for one in paths:
        _set_path(result, patch, one.removeprefix(f"{path}."), output_only)
    return result


def _overlay(target: Message, patch: Message) -> None:
    for field, _ in patch.ListFields():
        if _is_composite(field):
            _overlay(getattr(target, field.name), getattr(patch, field.name))
        else:
            _copy_field(target, patch, field)


def _is_composite(field: Any) -> bool:
    """Whether a field is a group of settings that are changed one by one, and not a value. Descriptors are Any: the
    stubs know them as two unrelated classes."""
    if field.message_type is None or is_repeated(field):
        return False
    return bool(field.message_type.full_name.startswith("pawl.v1.") and field.message_type.name != "Payload")


def _copy_field(target: Message, patch: Message, field: Any) -> None:
    """Make one field of the target what it is in the patch: same value, or unset."""
    target.ClearField(field.name)
    if is_repeated(field):
        getattr(target, field.name).MergeFrom(getattr(patch, field.name))
    elif field.message_type is not None:
        if patch.HasField(field.name):
            getattr(target, field.name).CopyFrom(getattr(patch, field.name))
    elif not field.has_presence or patch.HasField(field.name):
        setattr(target, field.name, getattr(patch, field.name))


def _set_path(target: Message, patch: Message, mask_path: str, output_only: Collection[str]) -> None:
    head, *rest = mask_path.split(".")
    if head in output_only:
        raise Invalid.field("update_mask", f"{head!r} is set by the server")
    while True:
        field = target.DESCRIPTOR.fields_by_name.get(head)
        if field is None:
            existing = ", ".join(name for name in target.DESCRIPTOR.fields_by_name if name not in output_only)
            raise Invalid.field("update_mask", f"there is no {mask_path[:128]!r}; there are {existing}")
        if not rest:
            _copy_field(target, patch, field)
            return
        if not _is_composite(field):
            raise Invalid.field("update_mask", f"{mask_path[:128]!r} reaches into {head!r}, which is replaced whole")
        target, patch = getattr(target, head), getattr(patch, head)
        head, *rest = rest


# ---------------------------------------------------------------- pages


class ListRequest(Protocol):
    """What the List requests of all nouns have in common."""

    @property
    def filter(self) -> Value: ...
    @property
    def page(self) -> types_pb2.Page: ...
    @property
    def order_by(self) -> Sequence[str]: ...


def read_page(message: types_pb2.Page) -> PageRequest:
    """Which part a caller wants. Raises Invalid."""
    given: dict[str, Any] = {
        name: getattr(message, name) for name in ("page", "page_size", "limit", "offset") if message.HasField(name)
    }
    return parse_page(**given, page_token=message.page_token)


def read_question(namespace_id: str, request: ListRequest) -> Question:
    """A list request as the engine takes it. Raises Invalid."""
    wanted = MessageToDict(request.filter) if request.filter.WhichOneof("kind") else None
    return Question(namespace_id, wanted, list(request.order_by), read_page(request.page))


def page_fields(page: Page) -> dict[str, Any]:
    """What the answers of all lists have beside their rows."""
    return {
        "total": page.total,
        "total_is_estimate": page.total_is_estimate,
        "page": page.number,
        "page_size": page.size,
        "has_more": page.has_more,
        "next_page_token": page.next_token,
    }


# ---------------------------------------------------------------- jobs

_JOB_OUTPUT_ONLY = frozenset({"id", "namespace_id", "revision", "version", "created_at", "updated_at"})


def job(one: Job) -> job_pb2.Job:
    """A job as it is shown."""
    return job_pb2.Job(
        id=one.id,
        namespace_id=one.namespace_id,
        name=one.name,
        description=one.spec.description,
        environment=one.spec.environment,
        config=config(one.spec.config),
        status=job_pb2.Job.Status.Name(int(one.status)),
        enabled=one.status is JobStatus.ENABLED,
        revision=one.revision,
        version=one.version,
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
    )


def read_media_type(text: str, path: str) -> str:
    """A media type, or nothing. Raises Invalid."""
    if text and (problem := media_type_problem(text)) is not None:
        raise Invalid.field(path, problem)
    return text


def config(config: JobConfig) -> job_pb2.JobConfig:
    return job_pb2.JobConfig(
        executor=config.executor,
        cmd=config.cmd,
        args=config.args,
        cwd=config.cwd,
        environment=config.environment,
        capture_output=config.capture_output,
        max_output_size=config.max_output_size,
        timeout=config.timeout,
        max_retries=config.max_retries,
        retry_interval=config.retry_interval,
        retry=_retry(config.retry),
        http=_http(config.http),
        function=None if config.function is None else job_pb2.FunctionConfig(name=config.function.name),
        options=payload(config.options.encode() if config.options else None, JSON_TYPE),
        labels=config.labels,
        wasm=_wasm(config.wasm),
        grace_seconds=config.grace_seconds,
        max_stalled=config.max_stalled,
        lost_after_seconds=config.lost_after_seconds,
        on_control_plane_lost=job_pb2.JobConfig.OnControlPlaneLost.Name(int(config.on_control_plane_lost)),
        priority=config.priority,
        placement=placement(config.placement),
        max_running=config.max_running,
        resource_limits=_limits(config.resource_limits),
        schedule_to_start_timeout_seconds=config.schedule_to_start_timeout_seconds,
        total_timeout_seconds=config.total_timeout_seconds,
        heartbeat_timeout_seconds=config.heartbeat_timeout_seconds,
        artifacts=_artifacts(config.artifacts),
        output_content_type=config.output_content_type,
    )


def _artifacts(rules: ArtifactRules | None) -> job_pb2.ArtifactRules | None:
    if rules is None:
        return None
    return job_pb2.ArtifactRules(
        max_files=rules.max_files, max_file_size=rules.max_file_size, max_total_size=rules.max_total_size
    )


def _http(http: HttpSpec | None) -> job_pb2.HttpConfig | None:
    return None if http is None else job_pb2.HttpConfig(url=http.url, method=http.method, headers=http.headers)


def _retry(rules: RetryRules) -> job_pb2.RetryRules:
    return job_pb2.RetryRules(
        backoff=job_pb2.RetryRules.Backoff.Name(int(rules.backoff)),
        multiplier=rules.multiplier,
        max_interval_seconds=rules.max_interval_seconds,
        jitter=rules.jitter,
        max_elapsed_seconds=rules.max_elapsed_seconds,
        retry_on=rules.retry_on,
        fail_on=rules.fail_on,
    )


def _wasm(wasm: WasmSpec | None) -> job_pb2.WasmConfig | None:
    if wasm is None:
        return None
    return job_pb2.WasmConfig(plugin=f"sha256:{wasm.plugin}", entry=wasm.entry, config=wasm.config)


def read_job(message: job_pb2.Job) -> JobDraft:
    """A job as a caller wants it, with the defaults in place of what is unset. Raises Invalid."""
    enabled = message.enabled if message.HasField("enabled") else None
    status = read_enabled(message.status, enabled, JobStatus, JobStatus.ENABLED, JobStatus.DISABLED, "job")
    if not message.HasField("config"):
        raise Invalid.field("job.config", "is required: what is run, and how")
    spec = JobSpec(message.description, dict(message.environment), _read_config(message.config))
    return JobDraft(message.name, spec, status)


def _read_config(message: job_pb2.JobConfig) -> JobConfig:
    lost = read_enum(message.on_control_plane_lost, OnControlPlaneLost, "job.config.on_control_plane_lost")
    wasm = None
    if message.HasField("wasm"):
        reference = digest_of_reference(message.wasm.plugin) or message.wasm.plugin
        wasm = WasmSpec(reference, config=dict(message.wasm.config))
        if message.wasm.entry:
            wasm = replace(wasm, entry=message.wasm.entry)
    config = JobConfig(
        cmd=message.cmd,
        args=tuple(message.args),
        cwd=message.cwd,
        environment=dict(message.environment),
        max_retries=message.max_retries,
        labels=dict(message.labels),
        wasm=wasm,
        on_control_plane_lost=lost or OnControlPlaneLost.STOP,
        retry=_read_retry(message.retry),
        placement=read_placement(message.placement, "job.config.placement"),
        max_running=message.max_running,
        http=_read_http(message.http) if message.HasField("http") else None,
        function=FunctionSpec(message.function.name) if message.HasField("function") else None,
        options=_read_options(message.options) if message.HasField("options") else "",
    )
    if message.executor:
        config = replace(config, executor=message.executor)
    if message.HasField("artifacts"):
        names = ("max_files", "max_file_size", "max_total_size")
        config = replace(config, artifacts=ArtifactRules(**_given(message.artifacts, names)))
    if message.output_content_type:
        config = replace(config, output_content_type=message.output_content_type)
    limits = ResourceLimits(**_given(message.resource_limits, list(LIMITS)))
    return replace(_roomy(config, limits), **_given(message, _CONFIG_SETTINGS))


def _roomy(config: JobConfig, limits: ResourceLimits) -> JobConfig:
    """With these limits; smaller defaults of the same meaning give way, unless the limit is one that is refused."""
    config = replace(config, resource_limits=limits)
    if config.timeout < (longest := limits.max_execution_time_secs or 0) <= LIMITS["max_execution_time_secs"][1]:
        config = replace(config, timeout=longest)
    if config.max_output_size < (largest := limits.max_output_size_bytes or 0) <= LIMITS["max_output_size_bytes"][1]:
        config = replace(config, max_output_size=largest)
    return config


def _limits(limits: ResourceLimits) -> job_pb2.ResourceLimits | None:
    given = {name: value for name in LIMITS if (value := getattr(limits, name)) is not None}
    return job_pb2.ResourceLimits(**given) if given else None


def _read_http(message: job_pb2.HttpConfig) -> HttpSpec:
    return HttpSpec(message.url, message.method.upper() or "POST", dict(message.headers))


def _read_options(message: types_pb2.Payload) -> str:
    """The text of a JSON value; what it holds is the domain's to judge. Raises Invalid."""
    path = "job.config.options"
    data, content_type = read_payload(message, path, MAX_OPTIONS_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if content_type.partition(";")[0].strip().lower() != JSON_TYPE or not text:
        raise Invalid.field(path, "must be a JSON object")
    return text


def _read_retry(message: job_pb2.RetryRules) -> RetryRules:
    backoff = read_enum(message.backoff, Backoff, "job.config.retry.backoff")
    rules = RetryRules(
        backoff or Backoff.FIXED,
        jitter=message.jitter,
        retry_on=tuple(message.retry_on),
        fail_on=tuple(message.fail_on),
    )
    return replace(rules, **_given(message, ("multiplier", "max_interval_seconds", "max_elapsed_seconds")))


_CONFIG_SETTINGS = (
    "capture_output",
    "max_output_size",
    "timeout",
    "retry_interval",
    "grace_seconds",
    "max_stalled",
    "lost_after_seconds",
    "priority",
    "schedule_to_start_timeout_seconds",
    "total_timeout_seconds",
    "heartbeat_timeout_seconds",
)


def _given(message: Message, names: Sequence[str]) -> Mapping[str, Any]:
    """The settings with presence that are present."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def job_key(message: job_pb2.Job) -> str:
    """Which job an update means: by id (or a name in its place), else by name. Raises Invalid."""
    return read_key(message.id or message.name, "job.id")


def read_key(key: str, path: str) -> str:
    """An id or a name that a caller asks for. Raises Invalid when there is none."""
    if not key:
        raise Invalid.field(path, "is required: the id or the name")
    if len(key) > 255 or not is_storable(key):
        raise Invalid.field(path, "is neither an id nor a name")
    return key


def job_change(patch: job_pb2.Job, mask: FieldMask) -> Callable[[Job], JobDraft]:
    """What an update request makes of a job."""

    def change(before: Job) -> JobDraft:
        current = job(before)
        # Two spellings of one thing: the stored one must not contradict a patch that gives the other.
        current.ClearField("status")
        current.ClearField("enabled")
        result = merged(current, patch, mask, _JOB_OUTPUT_ONLY, "job")
        result.name = result.name or before.name
        return read_job(result)

    return change


# ---------------------------------------------------------------- namespaces

_NAMESPACE_OUTPUT_ONLY = frozenset({"version", "created_at", "updated_at"})


def namespace(one: Namespace) -> access_pb2.Namespace:
    """A namespace as it is shown."""
    return access_pb2.Namespace(
        id=one.id,
        description=one.description,
        version=one.version,
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
        max_running=one.max_running,
    )


def read_namespace(message: access_pb2.Namespace) -> NamespaceDraft:
    """A namespace as a caller wants it."""
    return NamespaceDraft(message.id, message.description, message.max_running)


def namespace_change(patch: access_pb2.Namespace, mask: FieldMask) -> Callable[[Namespace], NamespaceDraft]:
    """What an update request makes of a namespace."""
    return lambda before: read_namespace(merged(namespace(before), patch, mask, _NAMESPACE_OUTPUT_ONLY, "namespace"))


# ---------------------------------------------------------------- schedules

_SCHEDULE_OUTPUT_ONLY = frozenset(
    {
        "id",
        "namespace_id",
        "job_name",
        "next_fire_at",
        "last_fire_at",
        "fire_count",
        "version",
        "created_at",
        "updated_at",
    }
)


def schedule(view: ScheduleView) -> schedule_pb2.Schedule:
    """A schedule as it is shown."""
    one, spec = view.schedule, view.schedule.spec
    return schedule_pb2.Schedule(
        id=one.id,
        namespace_id=one.namespace_id,
        name=one.name,
        description=spec.description,
        job_id=one.job_id,
        job_name=view.job_name,
        kind=schedule_pb2.ScheduleKind.Kind.Name(int(one.kind)),
        cron_expression=spec.cron_expression,
        interval_seconds=spec.interval_seconds if one.kind is Kind.INTERVAL else None,
        timezone=one.timezone,
        start_time=timestamp(spec.start_time),
        end_time=timestamp(spec.end_time),
        enabled=one.status is ScheduleStatus.ACTIVE,
        status=schedule_pb2.Schedule.Status.Name(int(one.status)),
        parameters=payload(one.parameters, one.parameters_type),
        environment=spec.environment,
        tags=spec.tags,
        priority=spec.priority,
        next_fire_at=timestamp(one.next_fire_at),
        last_fire_at=timestamp(one.last_fire_at),
        fire_count=one.fire_count,
        version=one.version,
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
    )


def read_schedule(message: schedule_pb2.Schedule, *, with_job: bool = True) -> ScheduleDraft:
    """A schedule as a caller wants it. Raises Invalid."""
    enabled = message.enabled if message.HasField("enabled") else None
    active, disabled = ScheduleStatus.ACTIVE, ScheduleStatus.DISABLED
    status = read_enabled(message.status, enabled, ScheduleStatus, active, disabled, "schedule")
    kind = read_enum(message.kind, Kind, "schedule.kind")
    if kind is None:
        raise Invalid.field("schedule.kind", "is required: CRON or INTERVAL")
    job_key = read_key(message.job_id, "schedule.job_id") if with_job else message.job_id
    data, content_type = None, None
    if message.HasField("parameters"):
        data, content_type = read_payload(message.parameters, "schedule.parameters")
    spec = ScheduleSpec(
        description=message.description,
        cron_expression=message.cron_expression,
        interval_seconds=message.interval_seconds,
        start_time=_moment(message, "start_time"),
        end_time=_moment(message, "end_time"),
        environment=dict(message.environment),
        tags=dict(message.tags),
        priority=message.priority if message.HasField("priority") else None,
    )
    return ScheduleDraft(message.name, job_key, kind, message.timezone, spec, data, content_type, status)


def _moment(message: schedule_pb2.Schedule, name: Literal["start_time", "end_time"]) -> int | None:
    return read_timestamp(getattr(message, name), f"schedule.{name}") if message.HasField(name) else None


def schedule_key(message: schedule_pb2.Schedule) -> str:
    """Which schedule a request means. Raises Invalid."""
    return read_key(message.id or message.name, "schedule.id")


def schedule_change(patch: schedule_pb2.Schedule, mask: FieldMask) -> Callable[[ScheduleView], ScheduleDraft]:
    """What an update request makes of a schedule."""

    def change(before: ScheduleView) -> ScheduleDraft:
        current = schedule(before)
        # Two spellings of one thing: the stored one must not contradict a patch that gives the other.
        current.ClearField("status")
        current.ClearField("enabled")
        result = merged(current, patch, mask, _SCHEDULE_OUTPUT_ONLY, "schedule")
        if result.kind != current.kind:  # the rule of the other kind goes, unless the caller insists on both
            if not patch.cron_expression and int(result.kind) == Kind.INTERVAL:
                result.ClearField("cron_expression")
            if not patch.HasField("interval_seconds") and int(result.kind) == Kind.CRON:
                result.ClearField("interval_seconds")
        result.name = result.name or before.schedule.name
        return read_schedule(result)

    return change


def read_preview(message: schedule_pb2.Schedule) -> str | ScheduleDraft:
    """The key of a stored schedule, or a whole one where the message has a rule of its own. Raises Invalid."""
    if message.kind or message.cron_expression or message.HasField("interval_seconds"):
        return read_schedule(message, with_job=False)
    return schedule_key(message)


def preview(slots: Sequence[int], zone: str) -> schedule_pb2.PreviewScheduleResponse:
    """Slots as they are shown, in UTC and on the clocks of the zone."""
    place = zone_of(zone)
    local = [(_EPOCH + timedelta(microseconds=slot)).astimezone(place).isoformat() for slot in slots]
    return schedule_pb2.PreviewScheduleResponse(fires=[_stamp(slot) for slot in slots], local_fires=local)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fire(one: Fire) -> schedule_pb2.ScheduleFire:
    """What became of a slot, as it is shown."""
    return schedule_pb2.ScheduleFire(
        fire_time=timestamp(one.fire_time),
        task_id=one.task_id or "",
        reason=one.reason or "",
        handled_at=timestamp(one.handled_at),
    )


# ---------------------------------------------------------------- plugins


def plugin(one: Plugin) -> plugin_pb2.Plugin:
    """A plugin as it is shown."""
    return plugin_pb2.Plugin(
        digest=one.digest,
        namespace_id=one.namespace_id,
        name=one.name,
        version=one.version,
        status=plugin_pb2.Plugin.Status.Name(int(one.status)),
        reject_reason=one.reject_reason,
        size=one.size,
        metadata=ParseDict(dict(one.metadata), Struct()) if one.metadata else None,
        entries=one.entries,
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
        grant=None if one.grant is None else _plugin_grant(one.grant),
        signatures=map(_plugin_signature, one.signatures),
    )


def _plugin_grant(one: Grant) -> plugin_pb2.PluginGrant:
    return plugin_pb2.PluginGrant(
        http=one.http,
        http_private=one.http_private,
        secrets=one.secrets,
        granted_by=one.granted_by,
        granted_at=timestamp(one.granted_at),
    )


def _plugin_signature(one: Signature) -> plugin_pb2.PluginSignature:
    return plugin_pb2.PluginSignature(
        public_key=one.public_key,
        signature=bytes.fromhex(one.signature),
        key_id=one.key_id,
        signed_at=timestamp(one.signed_at),
    )
