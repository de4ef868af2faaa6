"""How the control plane itself is doing: health, figures, what runs here. One source for the API and for `/metrics`."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable

from msgspec import Struct, field

from controlplane.domain.errors import PawlError
from controlplane.engine.context import Engine
from controlplane.engine.sessions import Sessions
from controlplane.store import Connection, dialect, figures, migrations
from controlplane.store.committer import MAX_WAITING, Committer
from controlplane.store.figures import Figures

FIGURES_KEPT = 2.0  # counting tasks by status reads an index from end to end; nobody needs that twice a second
LOOP_STALE = 10.0
BEAT_STALE = 95.0  # three of an idle agent's, whose default is 30 s
PROBE_SECONDS = 2.0  # a probe waits less than those who probe: no answer would tell them nothing


class Pulse(Struct):
    """When a loop last went round, on this process's monotonic clock; `waiting` while another replica has it."""

    name: str
    period: float = 1.0  # seconds between two rounds when nothing happens
    at: float = field(default_factory=time.monotonic)
    error: str = ""

    def beat(self) -> None:
        """It went round."""
        self.at = time.monotonic()
        self.error = ""


class Check(Struct, frozen=True):
    """One thing that was looked at; `status` is a name of Health.Status."""

    name: str
    status: str
    latency_ms: float
    message: str = ""


class Commits(Struct, frozen=True):
    """Seconds of the last commits."""

    p50: float
    p99: float


class System:
    """The use cases of health and figures."""

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        committers: Callable[[], list[Committer[object, object]]],
        pulses: list[Pulse],
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._committers = committers
        self._pulses = pulses
        self._started = time.monotonic()
        self._figures: tuple[float, Figures] | None = None
        self.started_at = engine.clock.now()
        self.stopping = False

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    async def checks(self) -> tuple[str, list[Check]]:
        """The state in a word, and what was looked at."""
        found = [await self.database_check(), self._committer(), self._agents(), *map(self._loop, self._pulses)]
        if self.stopping:
            return "NOT_SERVING", [*found, Check("shutdown", "NOT_SERVING", 0.0, "the server is shutting down")]
        words = {check.status for check in found}
        return next((word for word in ("NOT_SERVING", "DEGRADED") if word in words), "SERVING"), found

    async def database_check(self) -> Check:
        """Whether the database answers, within a time that probes can wait for."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                revision = await self._engine.store.read(migrations.current)
        except TimeoutError:
            message = f"no answer within {PROBE_SECONDS:.0f} s"
            return Check("database", "NOT_SERVING", (time.perf_counter() - began) * 1000, message)
        except PawlError as error:
            return Check("database", "NOT_SERVING", (time.perf_counter() - began) * 1000, error.message)
        latency = (time.perf_counter() - began) * 1000
        return Check("database", "SERVING", latency, f"schema revision {revision} of {migrations.LATEST}")

    def _committer(self) -> Check:
        waiting = max(committer.waiting for committer in self._committers())
        status = "DEGRADED" if waiting > MAX_WAITING // 2 else "SERVING"
        return Check("committer", status, self.commits().p50 * 1000, f"{waiting} writes are waiting")

    def _agents(self) -> Check:
        """The signs of life of the agents that are connected here."""
        now = time.monotonic()
        ages = {session.key[1]: now - session.beat_at for session in self._sessions}
        quiet = sorted(name for name, age in ages.items() if age > BEAT_STALE)
        message = f"{len(ages)} connected" + (f", no sign of life from {', '.join(quiet[:3])}" if quiet else "")
        return Check("agents", "DEGRADED" if quiet else "SERVING", self.oldest_beat() * 1000, message)

    def oldest_beat(self) -> float:
        """Seconds since the last sign of life of the connected agent that has been quiet for longest."""
        now = time.monotonic()
        return max((now - session.beat_at for session in self._sessions), default=0.0)

    def said(self, figure: str) -> int:
        """The sum of a figure that agents give of themselves with their signs of life."""
        return round(sum(session.said.get(figure, 0.0) for session in self._sessions))

    def writes_waiting(self) -> int:
        """Items that no group commit has taken yet."""
        return sum(committer.waiting for committer in self._committers())

    def totals(self) -> dict[str, int]:
        """Tasks that were created, finished and failed by this process since its start."""
        rates = self._engine.rates
        return {"new": rates.created.total, "finished": rates.finished.total, "failed": rates.failed.total}

    def turns(self) -> list[tuple[str, float]]:
        """Each loop with the seconds since it last went round."""
        now = time.monotonic()
        return [(pulse.name, max(0.0, now - pulse.at)) for pulse in self._pulses]

    @staticmethod
    def _loop(pulse: Pulse) -> Check:
        age = time.monotonic() - pulse.at
        status = "DEGRADED" if age > LOOP_STALE + 2 * pulse.period or pulse.error else "SERVING"
        return Check(pulse.name, status, age * 1000, pulse.error)

    def commits(self) -> Commits:
        """Percentiles over the last thousand."""
        last = sorted(self._engine.store.commit_seconds.copy())
        if not last:
            return Commits(0.0, 0.0)
        return Commits(last[len(last) // 2], last[min(len(last) - 1, len(last) * 99 // 100)])

    async def figures(self) -> Figures:
        """The figures from the database, at most two seconds old."""
        now = time.monotonic()
        if self._figures is None or now - self._figures[0] > FIGURES_KEPT:
            self._figures = (now, await self._engine.store.read(figures.read, self._engine.clock.now()))
        return self._figures[1]

    def slots(self) -> tuple[int, int]:
        """Slots of the agents connected here: (free, used)."""
        sessions = list(self._sessions)
        return sum(one.free for one in sessions), sum(one.running for one in sessions)

    @staticmethod
    def process() -> tuple[float, int]:
        """CPU seconds and resident bytes of this process."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        try:
            with open("/proc/self/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            resident = used.ru_maxrss * 1024
        return used.ru_utime + used.ru_stime, resident

    async def database(self) -> tuple[str, int]:
        """Which database, and the revision of its schema."""

        def read(connection: Connection) -> tuple[str, int]:
            return dialect.version(connection), migrations.current(connection)

        return await self._engine.store.read(read)
