"""The control plane's settings: what there is, what is allowed, what holds when nothing is said.

Read once by the commands (`pawl.settings`: flags > environment > file) and then frozen. Durations in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from pawl.settings import Loaded, Scheme, SettingsError, load

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400 * 366)]


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]"""

    # Address both ports are bound to. `pawl dev` binds 127.0.0.1.
    host: str = "0.0.0.0"
    # REST, /docs, /metrics. 0: any free one.
    http_port: Port = 8080
    # gRPC: agents and clients. The seed calls it websocket_port. 0: any free one.
    grpc_port: Port = 8081
    # Open HTTP connections at once.
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    # Names beside localhost under which HTTP answers while no keys are asked for.
    allowed_hosts: tuple[str, ...] = ()
    # Serve anybody: ask for no keys.
    insecure: bool = False
    # Whether /metrics answers without a key too.
    open_metrics: bool = False
    # Seconds that calls in flight may take to finish after SIGTERM.
    drain_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 10.0
    # Where the database file and the replica's identity lie. Empty: $XDG_STATE_HOME/pawl/server.
    data_dir: str = ""


class GrpcSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[grpc]: what the gRPC port takes from strangers."""

    # Open connections at once. Each agent has one.
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    # Open calls at once, and as many agents' streams beside them.
    max_calls: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    # Seconds for which the reader of a stream may take nothing in, an agent acknowledge nothing, an upload stand still.
    patience_seconds: Annotated[float, Meta(ge=0.1, le=3_600)] = 60.0
    # Seconds without a word after which the other end is asked whether it lives, and those it has to answer.
    keepalive_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 30.0
    keepalive_timeout_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 10.0
    # Clients that ask so more often than this are cut off.
    min_ping_interval_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 5.0
    # Seconds after which a connection is replaced by a new one, so that clients spread over replicas. 0: never.
    max_connection_age_seconds: Annotated[float, Meta(ge=0, le=86_400 * 366)] = 0.0
    # Seconds that calls on such a connection may take to finish.
    max_connection_age_grace_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 60.0


class DatabaseSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[database]"""

    # sqlite:///PATH or postgresql://USER@HOST/NAME. Empty: a SQLite file in data_dir.
    url: str = ""
    # Connections to PostgreSQL.
    pool_size: Annotated[int, Meta(ge=2, le=1_000)] = 20
    # Seconds after which a connection is replaced.
    max_lifetime: Seconds = 3600.0


class SchedulerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[scheduler]"""

    # Longest rest of the loops between two looks; what is due sooner or hinted at wakes them.
    tick_interval: Annotated[float, Meta(ge=0.01, le=60)] = 1.0
    # Most slots of this replica's agents that are in use at once. 0: no cap.
    max_concurrent_tasks: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    # Waiting for so many seconds is worth one step of priority. 0: nothing ages.
    ageing_seconds: Annotated[float, Meta(ge=0, le=86_400 * 30)] = 60.0
    # How much priority one step is.
    ageing_step: Annotated[int, Meta(ge=0, le=1_000)] = 50


class LoggingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[logging]: what the server says of itself, on stderr."""

    level: Literal["debug", "info", "warn", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class TelemetrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[telemetry]"""

    # Where spans go by OTLP over HTTP. Empty: nowhere.
    otlp_endpoint: Annotated[str, Meta(pattern=r"^(https?://\S+)?$")] = ""
    # Share of calls that are traced when the caller does not decide.
    sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0


Days = Annotated[float, Meta(gt=0, le=36_500)]


class RetentionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[retention]: how long what is over is kept. Nothing that has not ended ever goes."""

    # Days since a task ended; its instances, records, tags, outputs and logs go with it.
    tasks_days: Days = 30.0
    # Days since a task ended, for its logs. Longer than its task they are never kept.
    logs_days: Days = 30.0
    # Days since a slot of a schedule was dealt with.
    fires_days: Days = 30.0
    # Days since an agent stopped or was lost.
    agents_days: Days = 30.0
    # Days since a job or schedule was deleted, or a job's revision was replaced.
    deleted_days: Days = 30.0
    # Days that a large output waits for the result which names it.
    uploads_days: Days = 1.0
    # Days for which repeating a call with its request id has its first outcome.
    request_ids_days: Days = 1.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    server: ServerSection = ServerSection()
    grpc: GrpcSection = GrpcSection()
    database: DatabaseSection = DatabaseSection()
    scheduler: SchedulerSection = SchedulerSection()
    retention: RetentionSection = RetentionSection()
    logging: LoggingSection = LoggingSection()
    telemetry: TelemetrySection = TelemetrySection()

    @property
    def data_dir(self) -> Path:
        """The control plane's own folder."""
        if self.server.data_dir:
            return Path(self.server.data_dir).expanduser().absolute()
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "pawl" / "server"

    @property
    def database_url(self) -> str:
        """The database that is used."""
        return self.database.url or f"sqlite:///{self.data_dir / 'pawl.db'}"


# What a running server takes up from its file and environment on SIGHUP; all else needs a restart.
RELOADABLE: Final = frozenset(
    {"logging.level", "telemetry.sample_ratio", "scheduler.max_concurrent_tasks", "server.drain_seconds"}
)

SCHEME: Final = Scheme(
    Settings,
    lists=frozenset({"server.allowed_hosts"}),
    aliases={"server.websocket_port": "server.grpc_port"},
    variables=(("PORT", "server.http_port"), ("DATABASE_URL", "database.url")),
    own_sections=frozenset({"server", "grpc", "database", "scheduler", "retention", "logging", "telemetry"}),
    not_settings=frozenset({"PAWL_SERVER_URL", "PAWL_SERVER_CONFIG", "PAWL_SERVER_KEY", "PAWL_SERVER_KEY_FILE"}),
)


def load_settings(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded[Settings]:
    """The control plane's settings with their origins. Raises SettingsError."""
    return load(SCHEME, find_file(config, environ), environ, flags)


def find_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: the one that was named, else the first of the usual places that exists."""
    named = given or (Path(environ["PAWL_SERVER_CONFIG"]) if environ.get("PAWL_SERVER_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"{named}: no such settings file")
        return named
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    usual = (Path("config.toml"), Path(home) / "pawl" / "config.toml")
    return next((path for path in usual if path.is_file()), None)
