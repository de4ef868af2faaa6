"""SystemService: health, figures, what runs here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from pawl.v1 import system_pb2

from controlplane.api.link import PROTOCOL_VERSIONS
from controlplane.api.translate import timestamp
from controlplane.config import RELOADABLE
from controlplane.domain.errors import Invalid
from controlplane.domain.schedule import TRIGGERS
from controlplane.engine.context import Engine
from controlplane.engine.sessions import Sessions
from controlplane.engine.system import System
from controlplane.log_setup import FAMILIES, Change, LogLevels
from controlplane.version import VERSION

if TYPE_CHECKING:
    from controlplane.api.call import Call

PLUGIN_ABIS = (1,)
LONGEST_CHANGE_SECONDS = 86_400.0

Severity = system_pb2.LogLevel.Severity
_log = structlog.get_logger("controlplane")


def _level_name(number: int) -> str | None:
    """None for UNSPECIFIED. Raises Invalid for numbers that do not exist."""
    if number and number not in Severity.values():
        listed = ", ".join(f"{name} ({known})" for name, known in Severity.items() if known)
        raise Invalid.field("level", f"must be one of {listed}, not {number}")
    return Severity.Name(Severity.ValueType(number)) if number else None


class SystemService:
    """`pawl.v1.SystemService`.

    `open_calls` tells how many calls are open, `authentication` whether credentials are asked for, `settings` what they
    are: key, value, origin.
    """

    def __init__(
        self,
        engine: Engine,
        system: System,
        sessions: Sessions,
        *,
        open_calls: Callable[[], int],
        authentication: bool,
        levels: LogLevels,
        settings: Callable[[], Iterable[tuple[str, object, str]]],
    ) -> None:
        self._engine = engine
        self._system = system
        self._sessions = sessions
        self._open_calls = open_calls
        self._authentication = authentication
        self._levels = levels
        self._settings = settings

    async def get_health(self, call: Call, request: system_pb2.GetHealthRequest) -> system_pb2.Health:
        """Says whether the control plane works. To nobody in particular it says so in words alone."""
        del request
        word, checks = await self._system.checks()
        return system_pb2.Health(
            status=word,
            version=VERSION,
            uptime_seconds=self._system.uptime,
            checks=[
                system_pb2.Health.Check(
                    name=one.name,
                    status=one.status,
                    latency_ms=one.latency_ms,
                    message=one.message if call.principal.roles else "",
                )
                for one in checks
            ],
        )

    async def get_info(self, call: Call, request: system_pb2.GetInfoRequest) -> system_pb2.Info:
        """Says what runs here."""
        del call, request
        database, revision = await self._system.database()
        return system_pb2.Info(
            version=VERSION,
            replica_id=self._engine.replica_id,
            database=database,
            schema_revision=revision,
            protocol_versions=PROTOCOL_VERSIONS,
            plugin_abis=PLUGIN_ABIS,
            started_at=timestamp(self._system.started_at),
            now=timestamp(self._engine.clock.now()),
            schedule_kinds=sorted(kind.name for kind in TRIGGERS),
            authentication=self._authentication,
        )

    async def get_metrics(self, call: Call, request: system_pb2.GetMetricsRequest) -> system_pb2.SystemMetrics:
        """Gives the figures of the control plane."""
        del call, request
        return await self.figures()

    async def figures(self) -> system_pb2.SystemMetrics:
        """The figures, for the API and for `/metrics`."""
        figures, commits = await self._system.figures(), self._system.commits()
        free, used = self._system.slots()
        exported, dropped = self._engine.tracing.delivered
        cpu, memory = self._system.process()
        rates = self._engine.rates
        return system_pb2.SystemMetrics(
            tasks=figures.tasks,
            created_per_second=rates.created.per_second(),
            finished_per_second=rates.finished.per_second(),
            failed_per_second=rates.failed.per_second(),
            ready=figures.ready,
            oldest_ready_seconds=figures.oldest_ready_seconds,
            schedules_active=figures.schedules_active,
            schedule_lag_seconds=figures.schedule_lag_seconds,
            agents=figures.agents,
            slots_free=free,
            slots_used=used,
            database_connections_used=self._engine.store.connections_in_use(),
            commit_seconds_p50=commits.p50,
            commit_seconds_p99=commits.p99,
            process_cpu_seconds=cpu,
            process_memory_bytes=memory,
            oldest_beat_seconds=self._system.oldest_beat(),
            results_waiting=self._system.said("results_waiting"),
            spool_bytes=self._system.said("spool_bytes"),
            log_bytes=self._system.said("log_bytes"),
            writes_waiting=self._system.writes_waiting(),
            spans_exported=exported,
            spans_dropped=dropped,
        )

    def turns(self) -> Iterable[tuple[str, float]]:
        """Loops with the ages of their last turns, for `/metrics`."""
        return self._system.turns()

    def totals(self) -> Mapping[str, int]:
        """Tasks counted since the start, for `/metrics`."""
        return self._system.totals()

    async def get_gateway_stats(
        self, call: Call, request: system_pb2.GetGatewayStatsRequest
    ) -> system_pb2.GatewayStats:
        """Gives the figures of the agents' streams."""
        del call, request
        return self.gateway()

    def gateway(self) -> system_pb2.GatewayStats:
        """The figures of the streams, for the API and for `/metrics`."""
        traffic = self._sessions.traffic
        return system_pb2.GatewayStats(
            total_connections=traffic.connections,
            agents_online=len(self._sessions),
            clients=self._open_calls(),
            streams_open=len(self._sessions),
            messages_in=traffic.messages_in,
            messages_out=traffic.messages_out,
            unacknowledged=traffic.unacknowledged,
            bytes_in=traffic.bytes_in,
            bytes_out=traffic.bytes_out,
            refused=traffic.refused,
            takeovers=traffic.takeovers,
        )

    async def get_log_level(self, call: Call, request: system_pb2.GetLogLevelRequest) -> system_pb2.LogLevel:
        """Says how much is logged."""
        del call, request
        return self._level()

    async def update_log_level(self, call: Call, request: system_pb2.UpdateLogLevelRequest) -> system_pb2.LogLevel:
        """Changes how much is logged."""
        if not self._levels.knows(request.logger):
            families = ", ".join(FAMILIES)
            raise Invalid.field("logger", f"{request.logger!r} is no logger of this server; it has those of {families}")
        if not 0 <= request.for_seconds <= LONGEST_CHANGE_SECONDS:
            raise Invalid.field("for_seconds", f"must be 0 to {LONGEST_CHANGE_SECONDS:g}")
        level = _level_name(request.level)
        self._levels.change(request.logger, level, request.for_seconds)
        _log.warning(
            "log level changed",
            to=level or "as configured",
            of=request.logger or "all",
            for_seconds=request.for_seconds or None,
            principal=call.principal.subject,
        )
        return self._level()

    def _level(self) -> system_pb2.LogLevel:
        def until(change: Change | None) -> Timestamp | None:
            if change is None or change.until is None:
                return None
            return timestamp(self._engine.clock.now() + round((change.until - time.monotonic()) * 1e6))

        changed = self._levels.changed()
        return system_pb2.LogLevel(
            level=self._levels.level,
            until=until(changed.get("")),
            configured=self._levels.configured,
            loggers=[
                system_pb2.LogLevel.Logger(name=name, level=logging.getLevelName(change.level), until=until(change))
                for name, change in sorted(changed.items())
                if name
            ],
            replica_id=self._engine.replica_id,
        )

    async def list_settings(
        self, call: Call, request: system_pb2.ListSettingsRequest
    ) -> system_pb2.ListSettingsResponse:
        """Gives the settings."""
        del call, request
        found = [
            system_pb2.Setting(key=key, value=_written(value), origin=origin, reloadable=key in RELOADABLE)
            for key, value, origin in self._settings()
        ]
        return system_pb2.ListSettingsResponse(data=found, replica_id=self._engine.replica_id)


def _written(value: object) -> str:
    """As it would stand in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
