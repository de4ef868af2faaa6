import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pawl.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("id", "namespace_id", "name", "description", "environment", "config", "status", "enabled", "revision", "version", "created_at", "updated_at")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Job.Status]
        ENABLED: _ClassVar[Job.Status]
        DISABLED: _ClassVar[Job.Status]
    UNSPECIFIED: Job.Status
    ENABLED: Job.Status
    DISABLED: Job.Status
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    name: str
    description: str
    environment: _containers.ScalarMap[str, str]
    config: JobConfig
    status: Job.Status
    enabled: bool
    revision: int
    version: int
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., config: _Optional[_Union[JobConfig, _Mapping]] = ..., status: _Optional[_Union[Job.Status, str]] = ..., enabled: bool = ..., revision: _Optional[int] = ..., version: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JobConfig(_message.Message):
    __slots__ = ("executor", "cmd", "args", "cwd", "environment", "capture_output", "max_output_size", "timeout", "max_retries", "retry_interval", "labels", "wasm", "grace_seconds", "max_stalled", "lost_after_seconds", "on_control_plane_lost", "priority", "artifacts", "output_content_type", "resource_limits", "schedule_to_start_timeout_seconds", "total_timeout_seconds", "heartbeat_timeout_seconds", "placement", "max_running", "retry", "http", "function", "options")
    class OnControlPlaneLost(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[JobConfig.OnControlPlaneLost]
        STOP: _ClassVar[JobConfig.OnControlPlaneLost]
        CONTINUE: _ClassVar[JobConfig.OnControlPlaneLost]
    UNSPECIFIED: JobConfig.OnControlPlaneLost
    STOP: JobConfig.OnControlPlaneLost
    CONTINUE: JobConfig.OnControlPlaneLost
    class EnvironmentEntry(_message.Message):
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
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    CMD_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    RETRY_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WASM_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_STALLED_FIELD_NUMBER: _ClassVar[int]
    LOST_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ON_CONTROL_PLANE_LOST_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TO_START_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    executor: str
    cmd: str
    args: _containers.RepeatedScalarFieldContainer[str]
    cwd: str
    environment: _containers.ScalarMap[str, str]
    capture_output: bool
    max_output_size: int
    timeout: float
    max_retries: int
    retry_interval: float
    labels: _containers.ScalarMap[str, str]
    wasm: WasmConfig
    grace_seconds: float
    max_stalled: int
    lost_after_seconds: float
    on_control_plane_lost: JobConfig.OnControlPlaneLost
    priority: int
    artifacts: ArtifactRules
    output_content_type: str
    resource_limits: ResourceLimits
    schedule_to_start_timeout_seconds: float
    total_timeout_seconds: float
    heartbeat_timeout_seconds: float
    placement: PlacementRules
    max_running: int
    retry: RetryRules
    http: HttpConfig
    function: FunctionConfig
    options: _types_pb2.Payload
    def __init__(self, executor: _Optional[str] = ..., cmd: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., cwd: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., capture_output: bool = ..., max_output_size: _Optional[int] = ..., timeout: _Optional[float] = ..., max_retries: _Optional[int] = ..., retry_interval: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., wasm: _Optional[_Union[WasmConfig, _Mapping]] = ..., grace_seconds: _Optional[float] = ..., max_stalled: _Optional[int] = ..., lost_after_seconds: _Optional[float] = ..., on_control_plane_lost: _Optional[_Union[JobConfig.OnControlPlaneLost, str]] = ..., priority: _Optional[int] = ..., artifacts: _Optional[_Union[ArtifactRules, _Mapping]] = ..., output_content_type: _Optional[str] = ..., resource_limits: _Optional[_Union[ResourceLimits, _Mapping]] = ..., schedule_to_start_timeout_seconds: _Optional[float] = ..., total_timeout_seconds: _Optional[float] = ..., heartbeat_timeout_seconds: _Optional[float] = ..., placement: _Optional[_Union[PlacementRules, _Mapping]] = ..., max_running: _Optional[int] = ..., retry: _Optional[_Union[RetryRules, _Mapping]] = ..., http: _Optional[_Union[HttpConfig, _Mapping]] = ..., function: _Optional[_Union[FunctionConfig, _Mapping]] = ..., options: _Optional[_Union[_types_pb2.Payload, _Mapping]] = ...) -> None: ...

class ResourceLimits(_message.Message):
    __slots__ = ("max_memory_mb", "max_cpu_percent", "max_execution_time_secs", "max_output_size_bytes", "max_processes", "max_open_files")
    MAX_MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    MAX_CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_EXECUTION_TIME_SECS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    max_memory_mb: int
    max_cpu_percent: float
    max_execution_time_secs: float
    max_output_size_bytes: int
    max_processes: int
    max_open_files: int
    def __init__(self, max_memory_mb: _Optional[int] = ..., max_cpu_percent: _Optional[float] = ..., max_execution_time_secs: _Optional[float] = ..., max_output_size_bytes: _Optional[int] = ..., max_processes: _Optional[int] = ..., max_open_files: _Optional[int] = ...) -> None: ...

class RetryRules(_message.Message):
    __slots__ = ("backoff", "multiplier", "max_interval_seconds", "jitter", "max_elapsed_seconds", "retry_on", "fail_on")
    class Backoff(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[RetryRules.Backoff]
        FIXED: _ClassVar[RetryRules.Backoff]
        LINEAR: _ClassVar[RetryRules.Backoff]
        EXPONENTIAL: _ClassVar[RetryRules.Backoff]
    UNSPECIFIED: RetryRules.Backoff
    FIXED: RetryRules.Backoff
    LINEAR: RetryRules.Backoff
    EXPONENTIAL: RetryRules.Backoff
    BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAX_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    MAX_ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RETRY_ON_FIELD_NUMBER: _ClassVar[int]
    FAIL_ON_FIELD_NUMBER: _ClassVar[int]
    backoff: RetryRules.Backoff
    multiplier: float
    max_interval_seconds: float
    jitter: float
    max_elapsed_seconds: float
    retry_on: _containers.RepeatedScalarFieldContainer[str]
    fail_on: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, backoff: _Optional[_Union[RetryRules.Backoff, str]] = ..., multiplier: _Optional[float] = ..., max_interval_seconds: _Optional[float] = ..., jitter: _Optional[float] = ..., max_elapsed_seconds: _Optional[float] = ..., retry_on: _Optional[_Iterable[str]] = ..., fail_on: _Optional[_Iterable[str]] = ...) -> None: ...

class PlacementRules(_message.Message):
    __slots__ = ("required", "preferred", "strategy", "sticky_key", "agents", "slots", "resources")
    class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[PlacementRules.Strategy]
        LEAST_LOADED: _ClassVar[PlacementRules.Strategy]
        ROUND_ROBIN: _ClassVar[PlacementRules.Strategy]
        RANDOM: _ClassVar[PlacementRules.Strategy]
        STICKY: _ClassVar[PlacementRules.Strategy]
    UNSPECIFIED: PlacementRules.Strategy
    LEAST_LOADED: PlacementRules.Strategy
    ROUND_ROBIN: PlacementRules.Strategy
    RANDOM: PlacementRules.Strategy
    STICKY: PlacementRules.Strategy
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    STICKY_KEY_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    required: _containers.RepeatedCompositeFieldContainer[LabelRule]
    preferred: _containers.RepeatedCompositeFieldContainer[LabelRule]
    strategy: PlacementRules.Strategy
    sticky_key: str
    agents: _containers.RepeatedScalarFieldContainer[str]
    slots: int
    resources: _containers.ScalarMap[str, int]
    def __init__(self, required: _Optional[_Iterable[_Union[LabelRule, _Mapping]]] = ..., preferred: _Optional[_Iterable[_Union[LabelRule, _Mapping]]] = ..., strategy: _Optional[_Union[PlacementRules.Strategy, str]] = ..., sticky_key: _Optional[str] = ..., agents: _Optional[_Iterable[str]] = ..., slots: _Optional[int] = ..., resources: _Optional[_Mapping[str, int]] = ...) -> None: ...

class LabelRule(_message.Message):
    __slots__ = ("label", "op", "values", "weight")
    class Operator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[LabelRule.Operator]
        EQ: _ClassVar[LabelRule.Operator]
        NOT: _ClassVar[LabelRule.Operator]
        IN: _ClassVar[LabelRule.Operator]
        NOT_IN: _ClassVar[LabelRule.Operator]
        EXISTS: _ClassVar[LabelRule.Operator]
        NOT_EXISTS: _ClassVar[LabelRule.Operator]
        GT: _ClassVar[LabelRule.Operator]
        GTE: _ClassVar[LabelRule.Operator]
        LT: _ClassVar[LabelRule.Operator]
        LTE: _ClassVar[LabelRule.Operator]
    UNSPECIFIED: LabelRule.Operator
    EQ: LabelRule.Operator
    NOT: LabelRule.Operator
    IN: LabelRule.Operator
    NOT_IN: LabelRule.Operator
    EXISTS: LabelRule.Operator
    NOT_EXISTS: LabelRule.Operator
    GT: LabelRule.Operator
    GTE: LabelRule.Operator
    LT: LabelRule.Operator
    LTE: LabelRule.Operator
    LABEL_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    label: str
    op: LabelRule.Operator
    values: _containers.RepeatedScalarFieldContainer[str]
    weight: int
    def __init__(self, label: _Optional[str] = ..., op: _Optional[_Union[LabelRule.Operator, str]] = ..., values: _Optional[_Iterable[str]] = ..., weight: _Optional[int] = ...) -> None: ...

class WasmConfig(_message.Message):
    __slots__ = ("plugin", "entry", "config")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    entry: str
    config: _containers.ScalarMap[str, str]
    def __init__(self, plugin: _Optional[str] = ..., entry: _Optional[str] = ..., config: _Optional[_Mapping[str, str]] = ...) -> None: ...

class HttpConfig(_message.Message):
    __slots__ = ("url", "method", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    url: str
    method: str
    headers: _containers.ScalarMap[str, str]
    def __init__(self, url: _Optional[str] = ..., method: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ArtifactRules(_message.Message):
    __slots__ = ("max_files", "max_file_size", "max_total_size")
    MAX_FILES_FIELD_NUMBER: _ClassVar[int]
    MAX_FILE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    max_files: int
    max_file_size: int
    max_total_size: int
    def __init__(self, max_files: _Optional[int] = ..., max_file_size: _Optional[int] = ..., max_total_size: _Optional[int] = ...) -> None: ...

class FunctionConfig(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("job", "request_id")
    JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    job: Job
    request_id: str
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id", "namespace_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
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

class ListJobsResponse(_message.Message):
    __slots__ = ("data", "total", "total_is_estimate", "page", "page_size", "has_more", "next_page_token")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IS_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Job]
    total: int
    total_is_estimate: bool
    page: int
    page_size: int
    has_more: bool
    next_page_token: str
    def __init__(self, data: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., total: _Optional[int] = ..., total_is_estimate: bool = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: bool = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateJobRequest(_message.Message):
    __slots__ = ("job", "update_mask", "etag", "request_id")
    JOB_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    job: Job
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "cascade", "etag", "request_id")
    class Cascade(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[DeleteJobRequest.Cascade]
        CANCEL: _ClassVar[DeleteJobRequest.Cascade]
    UNSPECIFIED: DeleteJobRequest.Cascade
    CANCEL: DeleteJobRequest.Cascade
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    cascade: DeleteJobRequest.Cascade
    etag: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., cascade: _Optional[_Union[DeleteJobRequest.Cascade, str]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class EnableJobRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DisableJobRequest(_message.Message):
    __slots__ = ("id", "namespace_id", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace_id: str
    request_id: str
    def __init__(self, id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
