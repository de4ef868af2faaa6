import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pawl.v1 import job_pb2 as _job_pb2
from pawl.v1 import task_pb2 as _task_pb2
from pawl.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Agent(_message.Message):
    __slots__ = ("id", "namespace_id", "status", "labels", "serves", "executors", "slots", "running", "hostname", "agent_version", "protocol_version", "generation", "connected_at", "last_beat_at", "created_at", "updated_at", "version", "metrics", "resources", "functions")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Agent.Status]
        ONLINE: _ClassVar[Agent.Status]
        DRAINING: _ClassVar[Agent.Status]
        DISCONNECTED: _ClassVar[Agent.Status]
        LOST: _ClassVar[Agent.Status]
        STOPPED: _ClassVar[Agent.Status]
    UNSPECIFIED: Agent.Status
    ONLINE: Agent.Status
    DRAINING: Agent.Status
    DISCONNECTED: Agent.Status
    LOST: Agent.Status
    STOPPED: Agent.Status
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_BEAT_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    status: Agent.Status
    labels: _containers.ScalarMap[str, str]
    serves: _containers.RepeatedScalarFieldContainer[str]
    executors: _containers.RepeatedCompositeFieldContainer[ExecutorInfo]
    slots: int
    running: int
    hostname: str
    agent_version: str
    protocol_version: int
    generation: int
    connected_at: _timestamp_pb2.Timestamp
    last_beat_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    version: int
    metrics: AgentMetrics
    resources: _containers.ScalarMap[str, int]
    functions: _containers.RepeatedCompositeFieldContainer[FunctionInfo]
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., status: _Optional[_Union[Agent.Status, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., serves: _Optional[_Iterable[str]] = ..., executors: _Optional[_Iterable[_Union[ExecutorInfo, _Mapping]]] = ..., slots: _Optional[int] = ..., running: _Optional[int] = ..., hostname: _Optional[str] = ..., agent_version: _Optional[str] = ..., protocol_version: _Optional[int] = ..., generation: _Optional[int] = ..., connected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_beat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., metrics: _Optional[_Union[AgentMetrics, _Mapping]] = ..., resources: _Optional[_Mapping[str, int]] = ..., functions: _Optional[_Iterable[_Union[FunctionInfo, _Mapping]]] = ...) -> None: ...

class ExecutorInfo(_message.Message):
    __slots__ = ("name", "abi", "options_schema", "can_pause")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ABI_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    CAN_PAUSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    abi: int
    options_schema: str
    can_pause: bool
    def __init__(self, name: _Optional[str] = ..., abi: _Optional[int] = ..., options_schema: _Optional[str] = ..., can_pause: bool = ...) -> None: ...

class FunctionInfo(_message.Message):
    __slots__ = ("name", "code_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    code_version: str
    def __init__(self, name: _Optional[str] = ..., code_version: _Optional[str] = ...) -> None: ...

class AgentMetrics(_message.Message):
    __slots__ = ("cpu_fraction", "memory_used_bytes", "memory_total_bytes", "load_average", "results_waiting", "spool_bytes", "log_bytes")
    CPU_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_AVERAGE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    cpu_fraction: float
    memory_used_bytes: int
    memory_total_bytes: int
    load_average: float
    results_waiting: int
    spool_bytes: int
    log_bytes: int
    def __init__(self, cpu_fraction: _Optional[float] = ..., memory_used_bytes: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., load_average: _Optional[float] = ..., results_waiting: _Optional[int] = ..., spool_bytes: _Optional[int] = ..., log_bytes: _Optional[int] = ...) -> None: ...

class ConnectRequest(_message.Message):
    __slots__ = ("seq", "ack", "hello", "credits", "accepted", "started", "progress", "finished", "heartbeat", "leave")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    ack: int
    hello: Hello
    credits: Credits
    accepted: Accepted
    started: Started
    progress: ProgressReports
    finished: Finished
    heartbeat: Heartbeat
    leave: Leave
    def __init__(self, seq: _Optional[int] = ..., ack: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., credits: _Optional[_Union[Credits, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., progress: _Optional[_Union[ProgressReports, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("seq", "ack", "welcome", "reconcile", "assign", "renew", "cancel", "drain", "goodbye", "pause", "resume")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    seq: int
    ack: int
    welcome: Welcome
    reconcile: Reconcile
    assign: Assign
    renew: Renew
    cancel: Cancel
    drain: Drain
    goodbye: Goodbye
    pause: Pause
    resume: Resume
    def __init__(self, seq: _Optional[int] = ..., ack: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., reconcile: _Optional[_Union[Reconcile, _Mapping]] = ..., assign: _Optional[_Union[Assign, _Mapping]] = ..., renew: _Optional[_Union[Renew, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ...) -> None: ...

class InstanceRef(_message.Message):
    __slots__ = ("task_id", "instance_id", "token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    instance_id: str
    token: int
    def __init__(self, task_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "features", "agent_id", "namespace_id", "serves", "state_id", "generation", "labels", "executors", "slots", "hostname", "agent_version", "running", "finished", "pid", "resources", "functions")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    STATE_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    features: _containers.RepeatedScalarFieldContainer[str]
    agent_id: str
    namespace_id: str
    serves: _containers.RepeatedScalarFieldContainer[str]
    state_id: str
    generation: int
    labels: _containers.ScalarMap[str, str]
    executors: _containers.RepeatedCompositeFieldContainer[ExecutorInfo]
    slots: int
    hostname: str
    agent_version: str
    running: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    finished: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    pid: int
    resources: _containers.ScalarMap[str, int]
    functions: _containers.RepeatedCompositeFieldContainer[FunctionInfo]
    def __init__(self, protocol_version: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., agent_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., serves: _Optional[_Iterable[str]] = ..., state_id: _Optional[str] = ..., generation: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., executors: _Optional[_Iterable[_Union[ExecutorInfo, _Mapping]]] = ..., slots: _Optional[int] = ..., hostname: _Optional[str] = ..., agent_version: _Optional[str] = ..., running: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., finished: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., pid: _Optional[int] = ..., resources: _Optional[_Mapping[str, int]] = ..., functions: _Optional[_Iterable[_Union[FunctionInfo, _Mapping]]] = ...) -> None: ...

class Credits(_message.Message):
    __slots__ = ("free",)
    class FreeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FREE_FIELD_NUMBER: _ClassVar[int]
    free: _containers.ScalarMap[str, int]
    def __init__(self, free: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("taken", "refused")
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    taken: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    refused: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    def __init__(self, taken: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("instance", "seconds_ago")
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        SECONDS_AGO_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        seconds_ago: float
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., seconds_ago: _Optional[float] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Started.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Started.Item, _Mapping]]] = ...) -> None: ...

class ProgressReports(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("instance", "progress")
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        PROGRESS_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        progress: _task_pb2.Progress
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., progress: _Optional[_Union[_task_pb2.Progress, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ProgressReports.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[ProgressReports.Item, _Mapping]]] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("instance", "status", "exit_code", "signal", "output", "output_size", "output_truncated", "error", "metrics", "started_seconds_ago", "finished_seconds_ago", "retry_after_seconds", "output_digest", "output_content_type", "artifacts", "progress", "limits_not_enforced")
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        STATUS_FIELD_NUMBER: _ClassVar[int]
        EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
        SIGNAL_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        STARTED_SECONDS_AGO_FIELD_NUMBER: _ClassVar[int]
        FINISHED_SECONDS_AGO_FIELD_NUMBER: _ClassVar[int]
        RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
        ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
        PROGRESS_FIELD_NUMBER: _ClassVar[int]
        LIMITS_NOT_ENFORCED_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        status: _task_pb2.Task.Status
        exit_code: int
        signal: int
        output: _types_pb2.Payload
        output_size: int
        output_truncated: bool
        error: _task_pb2.TaskError
        metrics: _task_pb2.InstanceMetrics
        started_seconds_ago: float
        finished_seconds_ago: float
        retry_after_seconds: float
        output_digest: str
        output_content_type: str
        artifacts: _containers.RepeatedCompositeFieldContainer[_task_pb2.Artifact]
        progress: _task_pb2.Progress
        limits_not_enforced: _containers.RepeatedCompositeFieldContainer[_task_pb2.LimitNotEnforced]
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., status: _Optional[_Union[_task_pb2.Task.Status, str]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., output: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ..., output_size: _Optional[int] = ..., output_truncated: bool = ..., error: _Optional[_Union[_task_pb2.TaskError, _Mapping]] = ..., metrics: _Optional[_Union[_task_pb2.InstanceMetrics, _Mapping]] = ..., started_seconds_ago: _Optional[float] = ..., finished_seconds_ago: _Optional[float] = ..., retry_after_seconds: _Optional[float] = ..., output_digest: _Optional[str] = ..., output_content_type: _Optional[str] = ..., artifacts: _Optional[_Iterable[_Union[_task_pb2.Artifact, _Mapping]]] = ..., progress: _Optional[_Union[_task_pb2.Progress, _Mapping]] = ..., limits_not_enforced: _Optional[_Iterable[_Union[_task_pb2.LimitNotEnforced, _Mapping]]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Finished.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Finished.Item, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("beat", "metrics")
    BEAT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    beat: int
    metrics: AgentMetrics
    def __init__(self, beat: _Optional[int] = ..., metrics: _Optional[_Union[AgentMetrics, _Mapping]] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "session_id", "heartbeat_seconds", "server_version", "window", "started_after_seconds")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    STARTED_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    session_id: str
    heartbeat_seconds: float
    server_version: str
    window: int
    started_after_seconds: float
    def __init__(self, protocol_version: _Optional[int] = ..., session_id: _Optional[str] = ..., heartbeat_seconds: _Optional[float] = ..., server_version: _Optional[str] = ..., window: _Optional[int] = ..., started_after_seconds: _Optional[float] = ...) -> None: ...

class Reconcile(_message.Message):
    __slots__ = ("keep", "stop", "forget", "paused")
    KEEP_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    keep: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    stop: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    forget: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    paused: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    def __init__(self, keep: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., stop: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., forget: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ..., paused: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ...) -> None: ...

class Assign(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("instance", "attempt", "namespace_id", "job_id", "job_name", "job_revision", "config", "environment", "parameters", "timeout_seconds", "lease_seconds", "traceparent", "tracestate", "baggage", "group_id", "shard_index", "shard_total", "total_seconds_left")
        class EnvironmentEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
        JOB_ID_FIELD_NUMBER: _ClassVar[int]
        JOB_NAME_FIELD_NUMBER: _ClassVar[int]
        JOB_REVISION_FIELD_NUMBER: _ClassVar[int]
        CONFIG_FIELD_NUMBER: _ClassVar[int]
        ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
        PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
        LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
        TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
        TRACESTATE_FIELD_NUMBER: _ClassVar[int]
        BAGGAGE_FIELD_NUMBER: _ClassVar[int]
        GROUP_ID_FIELD_NUMBER: _ClassVar[int]
        SHARD_INDEX_FIELD_NUMBER: _ClassVar[int]
        SHARD_TOTAL_FIELD_NUMBER: _ClassVar[int]
        TOTAL_SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        attempt: int
        namespace_id: str
        job_id: str
        job_name: str
        job_revision: int
        config: _job_pb2.JobConfig
        environment: _containers.ScalarMap[str, str]
        parameters: _types_pb2.Payload
        timeout_seconds: float
        lease_seconds: float
        traceparent: str
        tracestate: str
        baggage: str
        group_id: str
        shard_index: int
        shard_total: int
        total_seconds_left: float
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., attempt: _Optional[int] = ..., namespace_id: _Optional[str] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., job_revision: _Optional[int] = ..., config: _Optional[_Union[_job_pb2.JobConfig, _Mapping]] = ..., environment: _Optional[_Mapping[str, str]] = ..., parameters: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ..., timeout_seconds: _Optional[float] = ..., lease_seconds: _Optional[float] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., baggage: _Optional[str] = ..., group_id: _Optional[str] = ..., shard_index: _Optional[int] = ..., shard_total: _Optional[int] = ..., total_seconds_left: _Optional[float] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Assign.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Assign.Item, _Mapping]]] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("beat",)
    BEAT_FIELD_NUMBER: _ClassVar[int]
    beat: int
    def __init__(self, beat: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("instance", "reason")
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        reason: str
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Cancel.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Cancel.Item, _Mapping]]] = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    def __init__(self, instances: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceRef]
    def __init__(self, instances: _Optional[_Iterable[_Union[InstanceRef, _Mapping]]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "message", "reconnect_after_seconds")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Goodbye.Reason]
        SHUTTING_DOWN: _ClassVar[Goodbye.Reason]
        TAKEN_OVER: _ClassVar[Goodbye.Reason]
        DELETED: _ClassVar[Goodbye.Reason]
        PROTOCOL_ERROR: _ClassVar[Goodbye.Reason]
    UNSPECIFIED: Goodbye.Reason
    SHUTTING_DOWN: Goodbye.Reason
    TAKEN_OVER: Goodbye.Reason
    DELETED: Goodbye.Reason
    PROTOCOL_ERROR: Goodbye.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    reason: Goodbye.Reason
    message: str
    reconnect_after_seconds: float
    def __init__(self, reason: _Optional[_Union[Goodbye.Reason, str]] = ..., message: _Optional[str] = ..., reconnect_after_seconds: _Optional[float] = ...) -> None: ...

class AppendLogsRequest(_message.Message):
    __slots__ = ("agent_id", "namespace_id", "chunks")
    class Chunk(_message.Message):
        __slots__ = ("instance", "number", "lines")
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        NUMBER_FIELD_NUMBER: _ClassVar[int]
        LINES_FIELD_NUMBER: _ClassVar[int]
        instance: InstanceRef
        number: int
        lines: _containers.RepeatedCompositeFieldContainer[AppendLogsRequest.Line]
        def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., number: _Optional[int] = ..., lines: _Optional[_Iterable[_Union[AppendLogsRequest.Line, _Mapping]]] = ...) -> None: ...
    class Line(_message.Message):
        __slots__ = ("stream", "time", "data")
        STREAM_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        stream: _task_pb2.LogEntry.Stream
        time: _timestamp_pb2.Timestamp
        data: bytes
        def __init__(self, stream: _Optional[_Union[_task_pb2.LogEntry.Stream, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    namespace_id: str
    chunks: _containers.RepeatedCompositeFieldContainer[AppendLogsRequest.Chunk]
    def __init__(self, agent_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., chunks: _Optional[_Iterable[_Union[AppendLogsRequest.Chunk, _Mapping]]] = ...) -> None: ...

class AppendLogsResponse(_message.Message):
    __slots__ = ("stored",)
    STORED_FIELD_NUMBER: _ClassVar[int]
    stored: int
    def __init__(self, stored: _Optional[int] = ...) -> None: ...

class PutOutputRequest(_message.Message):
    __slots__ = ("agent_id", "namespace_id", "instance", "digest", "size", "offset", "data")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    namespace_id: str
    instance: InstanceRef
    digest: str
    size: int
    offset: int
    data: bytes
    def __init__(self, agent_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., digest: _Optional[str] = ..., size: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PutOutputResponse(_message.Message):
    __slots__ = ("stored", "complete")
    STORED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    stored: int
    complete: bool
    def __init__(self, stored: _Optional[int] = ..., complete: bool = ...) -> None: ...

class PutArtifactRequest(_message.Message):
    __slots__ = ("agent_id", "namespace_id", "instance", "name", "digest", "size", "offset", "data", "content_type")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    namespace_id: str
    instance: InstanceRef
    name: str
    digest: str
    size: int
    offset: int
    data: bytes
    content_type: str
    def __init__(self, agent_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., name: _Optional[str] = ..., digest: _Optional[str] = ..., size: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., content_type: _Optional[str] = ...) -> None: ...

class PutArtifactResponse(_message.Message):
    __slots__ = ("stored", "complete")
    STORED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    stored: int
    complete: bool
    def __init__(self, stored: _Optional[int] = ..., complete: bool = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ("id", "namespace_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
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

class ListAgentsResponse(_message.Message):
    __slots__ = ("data", "total", "total_is_estimate", "page", "page_size", "has_more", "next_page_token")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IS_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Agent]
    total: int
    total_is_estimate: bool
    page: int
    page_size: int
    has_more: bool
    next_page_token: str
    def __init__(self, data: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ..., total: _Optional[int] = ..., total_is_estimate: bool = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAgentRequest(_message.Message):
    __slots__ = ("agent", "update_mask", "etag", "request_id")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DrainAgentRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "request_id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    request_id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteAgentRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
