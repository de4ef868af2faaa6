"""SystemService: health, figures, what runs here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pawl.v1 import system_pb2

from controlplane.api.link import PROTOCOL_VERSIONS
from controlplane.api.translate import timestamp
from controlplane.domain.schedule import TRIGGERS
from controlplane.engine.context import Engine
from controlplane.engine.sessions import Sessions
from controlplane.engine.system import System
from controlplane.version import VERSION

if TYPE_CHECKING:
    from controlplane.api.call import Call

PLUGIN_ABIS = (1,)


class SystemService:
    """`pawl.v1.SystemService`.

    `open_calls` tells how many calls are open, `authentication` whether credentials are asked for.
    """

    def __init__(
        self,
        engine: Engine,
        system: System,
        sessions: Sessions,
        *,
        open_calls: Callable[[], int],
        authentication: bool,
    ) -> None:
        self._engine = engine
        self._system = system
        self._sessions = sessions
        self._open_calls = open_calls
        self._authentication = authentication

    async def get_health(self, call: Call, request: system_pb2.GetHealthRequest) -> system_pb2.Health:
        """Says whether the control plane works."""
        del call, request
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
                    message=one.message,
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
        )

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
