import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Health(_message.Message):
    __slots__ = ("status", "version", "uptime_seconds", "checks")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Health.Status]
        SERVING: _ClassVar[Health.Status]
        DEGRADED: _ClassVar[Health.Status]
        NOT_SERVING: _ClassVar[Health.Status]
    UNSPECIFIED: Health.Status
    SERVING: Health.Status
    DEGRADED: Health.Status
    NOT_SERVING: Health.Status
    class Check(_message.Message):
        __slots__ = ("name", "status", "latency_ms", "message")
        NAME_FIELD_NUMBER: _ClassVar[int]
        STATUS_FIELD_NUMBER: _ClassVar[int]
        LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        name: str
        status: Health.Status
        latency_ms: float
        message: str
        def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[Health.Status, str]] = ..., latency_ms: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    status: Health.Status
    version: str
    uptime_seconds: float
    checks: _containers.RepeatedCompositeFieldContainer[Health.Check]
    def __init__(self, status: _Optional[_Union[Health.Status, str]] = ..., version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., checks: _Optional[_Iterable[_Union[Health.Check, _Mapping]]] = ...) -> None: ...

class Info(_message.Message):
    __slots__ = ("version", "replica_id", "database", "schema_revision", "protocol_versions", "plugin_abis", "started_at", "now", "schedule_kinds", "authentication")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_ABIS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_KINDS_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    version: str
    replica_id: str
    database: str
    schema_revision: int
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    plugin_abis: _containers.RepeatedScalarFieldContainer[int]
    started_at: _timestamp_pb2.Timestamp
    now: _timestamp_pb2.Timestamp
    schedule_kinds: _containers.RepeatedScalarFieldContainer[str]
    authentication: bool
    def __init__(self, version: _Optional[str] = ..., replica_id: _Optional[str] = ..., database: _Optional[str] = ..., schema_revision: _Optional[int] = ..., protocol_versions: _Optional[_Iterable[int]] = ..., plugin_abis: _Optional[_Iterable[int]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., schedule_kinds: _Optional[_Iterable[str]] = ..., authentication: bool = ...) -> None: ...

class SystemMetrics(_message.Message):
    __slots__ = ("tasks", "created_per_second", "finished_per_second", "failed_per_second", "ready", "oldest_ready_seconds", "schedules_active", "schedule_lag_seconds", "agents", "slots_free", "slots_used", "database_connections_used", "commit_seconds_p50", "commit_seconds_p99", "process_cpu_seconds", "process_memory_bytes", "oldest_beat_seconds", "results_waiting", "spool_bytes", "log_bytes", "writes_waiting", "spans_exported", "spans_dropped")
    class TasksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AgentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CREATED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FINISHED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FAILED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULES_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_LAG_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FREE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_USED_FIELD_NUMBER: _ClassVar[int]
    DATABASE_CONNECTIONS_USED_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SECONDS_P50_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SECONDS_P99_FIELD_NUMBER: _ClassVar[int]
    PROCESS_CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_BEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITES_WAITING_FIELD_NUMBER: _ClassVar[int]
    SPANS_EXPORTED_FIELD_NUMBER: _ClassVar[int]
    SPANS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.ScalarMap[str, int]
    created_per_second: float
    finished_per_second: float
    failed_per_second: float
    ready: int
    oldest_ready_seconds: float
    schedules_active: int
    schedule_lag_seconds: float
    agents: _containers.ScalarMap[str, int]
    slots_free: int
    slots_used: int
    database_connections_used: int
    commit_seconds_p50: float
    commit_seconds_p99: float
    process_cpu_seconds: float
    process_memory_bytes: int
    oldest_beat_seconds: float
    results_waiting: int
    spool_bytes: int
    log_bytes: int
    writes_waiting: int
    spans_exported: int
    spans_dropped: int
    def __init__(self, tasks: _Optional[_Mapping[str, int]] = ..., created_per_second: _Optional[float] = ..., finished_per_second: _Optional[float] = ..., failed_per_second: _Optional[float] = ..., ready: _Optional[int] = ..., oldest_ready_seconds: _Optional[float] = ..., schedules_active: _Optional[int] = ..., schedule_lag_seconds: _Optional[float] = ..., agents: _Optional[_Mapping[str, int]] = ..., slots_free: _Optional[int] = ..., slots_used: _Optional[int] = ..., database_connections_used: _Optional[int] = ..., commit_seconds_p50: _Optional[float] = ..., commit_seconds_p99: _Optional[float] = ..., process_cpu_seconds: _Optional[float] = ..., process_memory_bytes: _Optional[int] = ..., oldest_beat_seconds: _Optional[float] = ..., results_waiting: _Optional[int] = ..., spool_bytes: _Optional[int] = ..., log_bytes: _Optional[int] = ..., writes_waiting: _Optional[int] = ..., spans_exported: _Optional[int] = ..., spans_dropped: _Optional[int] = ...) -> None: ...

class GatewayStats(_message.Message):
    __slots__ = ("total_connections", "agents_online", "clients", "streams_open", "messages_in", "messages_out", "unacknowledged", "bytes_in", "bytes_out", "refused", "takeovers")
    TOTAL_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_ONLINE_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_OPEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_IN_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_OUT_FIELD_NUMBER: _ClassVar[int]
    UNACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    BYTES_IN_FIELD_NUMBER: _ClassVar[int]
    BYTES_OUT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TAKEOVERS_FIELD_NUMBER: _ClassVar[int]
    total_connections: int
    agents_online: int
    clients: int
    streams_open: int
    messages_in: int
    messages_out: int
    unacknowledged: int
    bytes_in: int
    bytes_out: int
    refused: int
    takeovers: int
    def __init__(self, total_connections: _Optional[int] = ..., agents_online: _Optional[int] = ..., clients: _Optional[int] = ..., streams_open: _Optional[int] = ..., messages_in: _Optional[int] = ..., messages_out: _Optional[int] = ..., unacknowledged: _Optional[int] = ..., bytes_in: _Optional[int] = ..., bytes_out: _Optional[int] = ..., refused: _Optional[int] = ..., takeovers: _Optional[int] = ...) -> None: ...

class LogLevel(_message.Message):
    __slots__ = ("level", "until", "configured", "loggers", "replica_id")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[LogLevel.Severity]
        DEBUG: _ClassVar[LogLevel.Severity]
        INFO: _ClassVar[LogLevel.Severity]
        WARNING: _ClassVar[LogLevel.Severity]
        ERROR: _ClassVar[LogLevel.Severity]
    UNSPECIFIED: LogLevel.Severity
    DEBUG: LogLevel.Severity
    INFO: LogLevel.Severity
    WARNING: LogLevel.Severity
    ERROR: LogLevel.Severity
    class Logger(_message.Message):
        __slots__ = ("name", "level", "until")
        NAME_FIELD_NUMBER: _ClassVar[int]
        LEVEL_FIELD_NUMBER: _ClassVar[int]
        UNTIL_FIELD_NUMBER: _ClassVar[int]
        name: str
        level: LogLevel.Severity
        until: _timestamp_pb2.Timestamp
        def __init__(self, name: _Optional[str] = ..., level: _Optional[_Union[LogLevel.Severity, str]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    LOGGERS_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    level: LogLevel.Severity
    until: _timestamp_pb2.Timestamp
    configured: LogLevel.Severity
    loggers: _containers.RepeatedCompositeFieldContainer[LogLevel.Logger]
    replica_id: str
    def __init__(self, level: _Optional[_Union[LogLevel.Severity, str]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., configured: _Optional[_Union[LogLevel.Severity, str]] = ..., loggers: _Optional[_Iterable[_Union[LogLevel.Logger, _Mapping]]] = ..., replica_id: _Optional[str] = ...) -> None: ...

class Setting(_message.Message):
    __slots__ = ("key", "value", "origin", "reloadable")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    RELOADABLE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    origin: str
    reloadable: bool
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., origin: _Optional[str] = ..., reloadable: bool = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetGatewayStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLogLevelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpdateLogLevelRequest(_message.Message):
    __slots__ = ("level", "logger", "for_seconds")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LOGGER_FIELD_NUMBER: _ClassVar[int]
    FOR_SECONDS_FIELD_NUMBER: _ClassVar[int]
    level: LogLevel.Severity
    logger: str
    for_seconds: float
    def __init__(self, level: _Optional[_Union[LogLevel.Severity, str]] = ..., logger: _Optional[str] = ..., for_seconds: _Optional[float] = ...) -> None: ...

class ListSettingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSettingsResponse(_message.Message):
    __slots__ = ("data", "replica_id")
    DATA_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedCompositeFieldContainer[Setting]
    replica_id: str
    def __init__(self, data: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., replica_id: _Optional[str] = ...) -> None: ...
