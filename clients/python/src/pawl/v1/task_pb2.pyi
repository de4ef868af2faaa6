import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from pawl.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(_message.Message):
    __slots__ = ("id", "namespace_id", "job_id", "job_name", "job_revision", "schedule_id", "status", "priority", "scheduled_at", "parameters", "environment", "timeout", "tags", "attempt", "max_retries", "epoch", "agent_id", "instance_id", "output", "error", "cancel_requested", "cancel_reason", "dead_reason", "next_attempt_at", "created_at", "updated_at", "started_at", "finished_at", "version", "transitions", "output_digest", "progress", "schedule_to_start_timeout_seconds", "total_timeout_seconds", "labels", "group_id", "shard_index", "shard_total")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Task.Status]
        PENDING: _ClassVar[Task.Status]
        LOCKED: _ClassVar[Task.Status]
        BLOCKED: _ClassVar[Task.Status]
        DISPATCHED: _ClassVar[Task.Status]
        RUNNING: _ClassVar[Task.Status]
        TIMED_OUT: _ClassVar[Task.Status]
        SUSPENDED: _ClassVar[Task.Status]
        PAUSED: _ClassVar[Task.Status]
        WAITING_RETRY: _ClassVar[Task.Status]
        SKIPPED: _ClassVar[Task.Status]
        FAILED: _ClassVar[Task.Status]
        CANCELLED: _ClassVar[Task.Status]
        SUCCEEDED: _ClassVar[Task.Status]
    UNSPECIFIED: Task.Status
    PENDING: Task.Status
    LOCKED: Task.Status
    BLOCKED: Task.Status
    DISPATCHED: Task.Status
    RUNNING: Task.Status
    TIMED_OUT: Task.Status
    SUSPENDED: Task.Status
    PAUSED: Task.Status
    WAITING_RETRY: Task.Status
    SKIPPED: Task.Status
    FAILED: Task.Status
    CANCELLED: Task.Status
    SUCCEEDED: Task.Status
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_REVISION_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_AT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REASON_FIELD_NUMBER: _ClassVar[int]
    DEAD_REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TO_START_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHARD_TOTAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    job_id: str
    job_name: str
    job_revision: int
    schedule_id: str
    status: Task.Status
    priority: int
    scheduled_at: _timestamp_pb2.Timestamp
    parameters: _types_pb2.Payload
    environment: _containers.ScalarMap[str, str]
    timeout: float
    tags: _containers.ScalarMap[str, str]
    attempt: int
    max_retries: int
    epoch: int
    agent_id: str
    instance_id: str
    output: _types_pb2.Payload
    error: TaskError
    cancel_requested: bool
    cancel_reason: str
    dead_reason: DeadLetter.Reason
    next_attempt_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    version: int
    transitions: _containers.RepeatedCompositeFieldContainer[TaskTransition]
    output_digest: str
    progress: Progress
    schedule_to_start_timeout_seconds: float
    total_timeout_seconds: float
    labels: _containers.ScalarMap[str, str]
    group_id: str
    shard_index: int
    shard_total: int
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., job_revision: _Optional[int] = ..., schedule_id: _Optional[str] = ..., status: _Optional[_Union[Task.Status, str]] = ..., priority: _Optional[int] = ..., scheduled_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ..., environment: _Optional[_Mapping[str, str]] = ..., timeout: _Optional[float] = ..., tags: _Optional[_Mapping[str, str]] = ..., attempt: _Optional[int] = ..., max_retries: _Optional[int] = ..., epoch: _Optional[int] = ..., agent_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., output: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ..., error: _Optional[_Union[TaskError, _Mapping]] = ..., cancel_requested: bool = ..., cancel_reason: _Optional[str] = ..., dead_reason: _Optional[_Union[DeadLetter.Reason, str]] = ..., next_attempt_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., transitions: _Optional[_Iterable[_Union[TaskTransition, _Mapping]]] = ..., output_digest: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., schedule_to_start_timeout_seconds: _Optional[float] = ..., total_timeout_seconds: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., group_id: _Optional[str] = ..., shard_index: _Optional[int] = ..., shard_total: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ()
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[DeadLetter.Reason]
        RETRIES_EXHAUSTED: _ClassVar[DeadLetter.Reason]
        NOT_RETRYABLE: _ClassVar[DeadLetter.Reason]
        AGENT_LOST: _ClassVar[DeadLetter.Reason]
        TIME_EXHAUSTED: _ClassVar[DeadLetter.Reason]
    UNSPECIFIED: DeadLetter.Reason
    RETRIES_EXHAUSTED: DeadLetter.Reason
    NOT_RETRYABLE: DeadLetter.Reason
    AGENT_LOST: DeadLetter.Reason
    TIME_EXHAUSTED: DeadLetter.Reason
    def __init__(self) -> None: ...

class TaskError(_message.Message):
    __slots__ = ("code", "message", "retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retryable: bool
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: bool = ...) -> None: ...

class TaskTransition(_message.Message):
    __slots__ = ("at", "transition", "from_status", "to_status", "subject", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    FROM_STATUS_FIELD_NUMBER: _ClassVar[int]
    TO_STATUS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    transition: str
    from_status: Task.Status
    to_status: Task.Status
    subject: str
    reason: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., transition: _Optional[str] = ..., from_status: _Optional[_Union[Task.Status, str]] = ..., to_status: _Optional[_Union[Task.Status, str]] = ..., subject: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TaskInstance(_message.Message):
    __slots__ = ("id", "task_id", "namespace_id", "job_id", "agent_id", "attempt", "cause", "status", "token", "epoch", "created_at", "started_at", "finished_at", "exit_code", "signal", "output", "output_size", "output_truncated", "error", "metrics", "progress", "late_result", "output_digest", "limits_not_enforced")
    class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[TaskInstance.Cause]
        FIRST: _ClassVar[TaskInstance.Cause]
        RETRY: _ClassVar[TaskInstance.Cause]
        RESUME: _ClassVar[TaskInstance.Cause]
        MOVED: _ClassVar[TaskInstance.Cause]
    UNSPECIFIED: TaskInstance.Cause
    FIRST: TaskInstance.Cause
    RETRY: TaskInstance.Cause
    RESUME: TaskInstance.Cause
    MOVED: TaskInstance.Cause
    ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LATE_RESULT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LIMITS_NOT_ENFORCED_FIELD_NUMBER: _ClassVar[int]
    id: str
    task_id: str
    namespace_id: str
    job_id: str
    agent_id: str
    attempt: int
    cause: TaskInstance.Cause
    status: Task.Status
    token: int
    epoch: int
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    exit_code: int
    signal: int
    output: _types_pb2.Payload
    output_size: int
    output_truncated: bool
    error: TaskError
    metrics: InstanceMetrics
    progress: Progress
    late_result: bool
    output_digest: str
    limits_not_enforced: _containers.RepeatedCompositeFieldContainer[LimitNotEnforced]
    def __init__(self, id: _Optional[str] = ..., task_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., job_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., attempt: _Optional[int] = ..., cause: _Optional[_Union[TaskInstance.Cause, str]] = ..., status: _Optional[_Union[Task.Status, str]] = ..., token: _Optional[int] = ..., epoch: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., output: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ..., output_size: _Optional[int] = ..., output_truncated: bool = ..., error: _Optional[_Union[TaskError, _Mapping]] = ..., metrics: _Optional[_Union[InstanceMetrics, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., late_result: bool = ..., output_digest: _Optional[str] = ..., limits_not_enforced: _Optional[_Iterable[_Union[LimitNotEnforced, _Mapping]]] = ...) -> None: ...

class InstanceMetrics(_message.Message):
    __slots__ = ("wall_seconds", "user_cpu_seconds", "system_cpu_seconds", "peak_memory_bytes", "read_bytes", "written_bytes", "cpu_throttled_seconds")
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    USER_CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_THROTTLED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    wall_seconds: float
    user_cpu_seconds: float
    system_cpu_seconds: float
    peak_memory_bytes: int
    read_bytes: int
    written_bytes: int
    cpu_throttled_seconds: float
    def __init__(self, wall_seconds: _Optional[float] = ..., user_cpu_seconds: _Optional[float] = ..., system_cpu_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., read_bytes: _Optional[int] = ..., written_bytes: _Optional[int] = ..., cpu_throttled_seconds: _Optional[float] = ...) -> None: ...

class LimitNotEnforced(_message.Message):
    __slots__ = ("limit", "reason")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    limit: str
    reason: str
    def __init__(self, limit: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("percent", "message")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    percent: float
    message: str
    def __init__(self, percent: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "size", "digest", "content_type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    digest: str
    content_type: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., digest: _Optional[str] = ..., content_type: _Optional[str] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("cursor", "instance_id", "attempt", "stream", "time", "text")
    class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[LogEntry.Stream]
        STDOUT: _ClassVar[LogEntry.Stream]
        STDERR: _ClassVar[LogEntry.Stream]
        LOG: _ClassVar[LogEntry.Stream]
    UNSPECIFIED: LogEntry.Stream
    STDOUT: LogEntry.Stream
    STDERR: LogEntry.Stream
    LOG: LogEntry.Stream
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    instance_id: str
    attempt: int
    stream: LogEntry.Stream
    time: _timestamp_pb2.Timestamp
    text: str
    def __init__(self, cursor: _Optional[str] = ..., instance_id: _Optional[str] = ..., attempt: _Optional[int] = ..., stream: _Optional[_Union[LogEntry.Stream, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class TaskExplanation(_message.Message):
    __slots__ = ("task_id", "status", "reason", "message", "moved_by", "next_at", "details", "next_timeout", "next_timeout_at")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[TaskExplanation.Reason]
        FINISHED: _ClassVar[TaskExplanation.Reason]
        SCHEDULED_FOR_LATER: _ClassVar[TaskExplanation.Reason]
        WAITING_FOR_RETRY: _ClassVar[TaskExplanation.Reason]
        NO_AGENT: _ClassVar[TaskExplanation.Reason]
        NO_EXECUTOR: _ClassVar[TaskExplanation.Reason]
        NO_MATCHING_LABELS: _ClassVar[TaskExplanation.Reason]
        NO_FREE_SLOTS: _ClassVar[TaskExplanation.Reason]
        ABOUT_TO_START: _ClassVar[TaskExplanation.Reason]
        ON_AGENT: _ClassVar[TaskExplanation.Reason]
        AGENT_DISCONNECTED: _ClassVar[TaskExplanation.Reason]
        BEING_CANCELLED: _ClassVar[TaskExplanation.Reason]
        PAUSED: _ClassVar[TaskExplanation.Reason]
        BLOCKED: _ClassVar[TaskExplanation.Reason]
        NO_FREE_RESOURCES: _ClassVar[TaskExplanation.Reason]
        TOO_LARGE: _ClassVar[TaskExplanation.Reason]
        MAX_RUNNING_REACHED: _ClassVar[TaskExplanation.Reason]
        WAITING_FOR_STICKY_AGENT: _ClassVar[TaskExplanation.Reason]
    UNSPECIFIED: TaskExplanation.Reason
    FINISHED: TaskExplanation.Reason
    SCHEDULED_FOR_LATER: TaskExplanation.Reason
    WAITING_FOR_RETRY: TaskExplanation.Reason
    NO_AGENT: TaskExplanation.Reason
    NO_EXECUTOR: TaskExplanation.Reason
    NO_MATCHING_LABELS: TaskExplanation.Reason
    NO_FREE_SLOTS: TaskExplanation.Reason
    ABOUT_TO_START: TaskExplanation.Reason
    ON_AGENT: TaskExplanation.Reason
    AGENT_DISCONNECTED: TaskExplanation.Reason
    BEING_CANCELLED: TaskExplanation.Reason
    PAUSED: TaskExplanation.Reason
    BLOCKED: TaskExplanation.Reason
    NO_FREE_RESOURCES: TaskExplanation.Reason
    TOO_LARGE: TaskExplanation.Reason
    MAX_RUNNING_REACHED: TaskExplanation.Reason
    WAITING_FOR_STICKY_AGENT: TaskExplanation.Reason
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MOVED_BY_FIELD_NUMBER: _ClassVar[int]
    NEXT_AT_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIMEOUT_AT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: Task.Status
    reason: TaskExplanation.Reason
    message: str
    moved_by: str
    next_at: _timestamp_pb2.Timestamp
    details: _containers.ScalarMap[str, str]
    next_timeout: str
    next_timeout_at: _timestamp_pb2.Timestamp
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[_Union[Task.Status, str]] = ..., reason: _Optional[_Union[TaskExplanation.Reason, str]] = ..., message: _Optional[str] = ..., moved_by: _Optional[str] = ..., next_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., details: _Optional[_Mapping[str, str]] = ..., next_timeout: _Optional[str] = ..., next_timeout_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("task", "request_id")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    task: Task
    request_id: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateTasksRequest(_message.Message):
    __slots__ = ("requests", "namespace_id")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CreateTaskRequest]
    namespace_id: str
    def __init__(self, requests: _Optional[_Iterable[_Union[CreateTaskRequest, _Mapping]]] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class BatchCreateTasksResponse(_message.Message):
    __slots__ = ("results",)
    class Result(_message.Message):
        __slots__ = ("task", "error")
        TASK_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        task: Task
        error: _status_pb2.Status
        def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchCreateTasksResponse.Result]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchCreateTasksResponse.Result, _Mapping]]] = ...) -> None: ...

class RunTaskRequest(_message.Message):
    __slots__ = ("task", "request_id", "wait_seconds")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    task: Task
    request_id: str
    wait_seconds: float
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., request_id: _Optional[str] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("namespace_id", "filter", "page", "order_by")
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    filter: _struct_pb2.Value
    page: _types_pb2.Page
    order_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace_id: _Optional[str] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., page: _Optional[_Union[_types_pb2.Page, _Mapping]] = ..., order_by: _Optional[_Iterable[str]] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("data", "total", "total_is_estimate", "page", "page_size", "has_more", "next_page_token")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IS_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Task]
    total: int
    total_is_estimate: bool
    page: int
    page_size: int
    has_more: bool
    next_page_token: str
    def __init__(self, data: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., total: _Optional[int] = ..., total_is_estimate: bool = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateTaskRequest(_message.Message):
    __slots__ = ("task", "update_mask", "etag", "request_id")
    TASK_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    task: Task
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "etag", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PauseTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SkipTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ForceTaskSuccessRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "reason", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    reason: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ActOnTasksRequest(_message.Message):
    __slots__ = ("namespace_id", "action", "filter", "reason", "dry_run", "limit", "request_id")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ActOnTasksRequest.Action]
        CANCEL: _ClassVar[ActOnTasksRequest.Action]
        RETRY: _ClassVar[ActOnTasksRequest.Action]
        PAUSE: _ClassVar[ActOnTasksRequest.Action]
        RESUME: _ClassVar[ActOnTasksRequest.Action]
        SKIP: _ClassVar[ActOnTasksRequest.Action]
        FORCE_SUCCESS: _ClassVar[ActOnTasksRequest.Action]
        DELETE: _ClassVar[ActOnTasksRequest.Action]
    UNSPECIFIED: ActOnTasksRequest.Action
    CANCEL: ActOnTasksRequest.Action
    RETRY: ActOnTasksRequest.Action
    PAUSE: ActOnTasksRequest.Action
    RESUME: ActOnTasksRequest.Action
    SKIP: ActOnTasksRequest.Action
    FORCE_SUCCESS: ActOnTasksRequest.Action
    DELETE: ActOnTasksRequest.Action
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    action: ActOnTasksRequest.Action
    filter: _struct_pb2.Value
    reason: str
    dry_run: bool
    limit: int
    request_id: str
    def __init__(self, namespace_id: _Optional[str] = ..., action: _Optional[_Union[ActOnTasksRequest.Action, str]] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., reason: _Optional[str] = ..., dry_run: bool = ..., limit: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class ActOnTasksResponse(_message.Message):
    __slots__ = ("matched", "changed", "refused", "refusals", "has_more", "dry_run")
    class Refusal(_message.Message):
        __slots__ = ("task_id", "message")
        TASK_ID_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        task_id: str
        message: str
        def __init__(self, task_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    matched: int
    changed: int
    refused: int
    refusals: _containers.RepeatedCompositeFieldContainer[ActOnTasksResponse.Refusal]
    has_more: bool
    dry_run: bool
    def __init__(self, matched: _Optional[int] = ..., changed: _Optional[int] = ..., refused: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[ActOnTasksResponse.Refusal, _Mapping]]] = ..., has_more: bool = ..., dry_run: bool = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("namespace_id", "filter", "page", "order_by")
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    filter: _struct_pb2.Value
    page: _types_pb2.Page
    order_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace_id: _Optional[str] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., page: _Optional[_Union[_types_pb2.Page, _Mapping]] = ..., order_by: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("data", "total", "total_is_estimate", "page", "page_size", "has_more", "next_page_token")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IS_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Task]
    total: int
    total_is_estimate: bool
    page: int
    page_size: int
    has_more: bool
    next_page_token: str
    def __init__(self, data: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., total: _Optional[int] = ..., total_is_estimate: bool = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("namespace_id", "filter", "reason", "dry_run", "limit", "request_id")
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    filter: _struct_pb2.Value
    reason: str
    dry_run: bool
    limit: int
    request_id: str
    def __init__(self, namespace_id: _Optional[str] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., reason: _Optional[str] = ..., dry_run: bool = ..., limit: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class PurgeDeadLettersRequest(_message.Message):
    __slots__ = ("namespace_id", "filter", "reason", "dry_run", "limit", "request_id")
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    filter: _struct_pb2.Value
    reason: str
    dry_run: bool
    limit: int
    request_id: str
    def __init__(self, namespace_id: _Optional[str] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., reason: _Optional[str] = ..., dry_run: bool = ..., limit: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "after_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    after_version: int
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., after_version: _Optional[int] = ...) -> None: ...

class ReadTaskLogsRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "instance_id", "follow", "after")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    instance_id: str
    follow: bool
    after: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., follow: bool = ..., after: _Optional[str] = ...) -> None: ...

class ReadTaskOutputRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "offset")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    offset: int
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ListTaskArtifactsRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "instance_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    instance_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., instance_id: _Optional[str] = ...) -> None: ...

class ListTaskArtifactsResponse(_message.Message):
    __slots__ = ("data", "instance_id", "attempt")
    DATA_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Artifact]
    instance_id: str
    attempt: int
    def __init__(self, data: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., instance_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class ReadTaskArtifactRequest(_message.Message):
    __slots__ = ("id", "name", "namespace_id", "instance_id", "offset")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    namespace_id: str
    instance_id: str
    offset: int
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., namespace_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ExplainTaskRequest(_message.Message):
    __slots__ = ("id", "namespace_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class GetTaskInstanceRequest(_message.Message):
    __slots__ = ("id", "namespace_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class ReadOutputRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "offset")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    offset: int
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ListTaskInstancesRequest(_message.Message):
    __slots__ = ("namespace_id", "filter", "page", "order_by")
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    namespace_id: str
    filter: _struct_pb2.Value
    page: _types_pb2.Page
    order_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace_id: _Optional[str] = ..., filter: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., page: _Optional[_Union[_types_pb2.Page, _Mapping]] = ..., order_by: _Optional[_Iterable[str]] = ...) -> None: ...

class ListTaskInstancesResponse(_message.Message):
    __slots__ = ("data", "total", "total_is_estimate", "page", "page_size", "has_more", "next_page_token")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IS_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[TaskInstance]
    total: int
    total_is_estimate: bool
    page: int
    page_size: int
    has_more: bool
    next_page_token: str
    def __init__(self, data: _Optional[_Iterable[_Union[TaskInstance, _Mapping]]] = ..., total: _Optional[int] = ..., total_is_estimate: bool = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...
