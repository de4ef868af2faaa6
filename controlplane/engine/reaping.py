"""What ends because nobody is there any more: leases, agents, attempts that nobody stopped."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.retry import TIMEOUT, TOTAL_TIMEOUT
from controlplane.domain.task import Status
from controlplane.engine.context import Engine
from controlplane.engine.results import Ref, Result, Results
from controlplane.engine.sessions import AgentKey, Sessions
from controlplane.store import Connection, agents, jobs
from controlplane.store.agents import Agent, AgentStatus, OpenInstance
from controlplane.store.glance import Glance
from controlplane.store.tasks import InstanceEnd

# An agent beats every five seconds; one that missed three and has a stream only by its row has lost it.
SILENT_AFTER = 15_000_000
LOST_AFTER = 60_000_000


class Reaping:
    """The use case of the reaper. `granted_from` is when this control plane began to listen: no lease ends before it
    has had one whole period since then.
    """

    def __init__(self, engine: Engine, sessions: Sessions, results: Results) -> None:
        self._engine = engine
        self._sessions = sessions
        self._results = results
        self.granted_from = engine.clock.now()

    def due(self, seen: Glance) -> float | None:
        """Whether there may be something to end, by a glance: only on agents, or because one of them is silent."""
        quiet = seen.quiet_since is not None and seen.quiet_since < self._engine.clock.now() - SILENT_AFTER
        return 0.0 if seen.placed or quiet else None

    async def turn(self) -> float | None:
        """One turn of the loop."""
        await self.reap()
        return None

    async def reap(self) -> int:
        """Once around; how many placements were given up."""
        now = self._engine.clock.now()
        expired, overrunning, beyond_total, silent = await self._engine.store.read(self._look, now)
        by_agent: dict[tuple[str, str], list[OpenInstance]] = {}
        for one in expired:
            by_agent.setdefault(one.agent, []).append(one)
        if by_agent:
            await self._disconnect(list(by_agent))
        for key, found in by_agent.items():
            refs = [_ref(one) for one in found]
            await self._results.lose(refs, f"agent {key[1]} gave no sign of life for longer than the lease")
        dealt_with = {_ref(one) for one in expired}
        await self._stop_overrunning(now, [one for one in overrunning if _ref(one) not in dealt_with])
        dealt_with.update(map(_ref, overrunning))
        await self._stop_beyond_total(now, [one for one in beyond_total if _ref(one) not in dealt_with])
        if silent:
            await self._engine.store.write(self._settle_agents, now)
        return len(expired)

    def _look(
        self, connection: Connection, now: int
    ) -> tuple[list[OpenInstance], list[OpenInstance], list[OpenInstance], list[Agent]]:
        """All that it looks for, which mostly is nothing, in one transaction."""
        return (
            agents.expired(connection, now, self.granted_from),
            agents.overrunning(connection, now),
            agents.beyond_total(connection, now),
            agents.silent(connection, now, SILENT_AFTER),
        )

    async def _disconnect(self, keys: Sequence[AgentKey]) -> None:
        """Before their work is placed anew, which must not go where nobody listens, neither from here nor from another
        replica, which sees it by the status.
        """
        for key in keys:
            session = self._sessions.find(key)
            if session is not None:
                session.cut()

        def work(connection: Connection) -> None:
            now = self._engine.clock.now()
            for key in sorted(keys):
                one = agents.find(connection, key, lock=True)
                if one is not None and one.status in (AgentStatus.ONLINE, AgentStatus.DRAINING):
                    agents.put(connection, agents.touched(one, now, status=AgentStatus.DISCONNECTED))

        await self._engine.store.write(work)

    async def _stop_overrunning(self, now: int, late: Sequence[OpenInstance]) -> None:
        """Their agent should have ended them a lease ago and says nothing: end them here, and tell it to stop."""
        specs = await self._engine.store.read(jobs.revisions, {one.revision for one in late}) if late else {}
        for one in late:
            seconds = one.timeout / 1e6
            limit = specs[one.revision].config.time_limit(seconds)
            end = InstanceEnd(
                Status.TIMED_OUT,
                now,
                error_code=TIMEOUT,
                error_message=f"ran longer than its {limit} of {seconds:g} s, and its agent did not stop it",
                error_retryable=True,
            )
            await self._results.finishing.submit(Result(_ref(one), end))
            self._sessions.stop(one.agent, [(_ref(one), "timeout")])

    async def _stop_beyond_total(self, now: int, late: Sequence[OpenInstance]) -> None:
        for one in late:
            end = InstanceEnd(
                Status.TIMED_OUT,
                now,
                error_code=TOTAL_TIMEOUT,
                error_message="its task ran longer than its total timeout, and its agent did not stop it",
                error_retryable=False,
            )
            await self._results.finishing.submit(Result(_ref(one), end))
            self._sessions.stop(one.agent, [(_ref(one), "total timeout")])

    def _settle_agents(self, connection: Connection, now: int) -> None:
        for one in agents.silent(connection, now, SILENT_AFTER, lock=True):
            heard = max(one.last_beat_at, self.granted_from)
            status = AgentStatus.DISCONNECTED
            if now - heard > LOST_AFTER and not agents.open_on(connection, one.key):
                status = AgentStatus.LOST
            elif now - heard < SILENT_AFTER:
                continue
            if status is not one.status:
                agents.put(connection, agents.touched(one, now, status=status))


def _ref(one: OpenInstance) -> Ref:
    return Ref(one.task_id, one.id, one.token)
