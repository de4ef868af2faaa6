"""How ready tasks find agents: claim, decide, store the placement, and only then tell the agent.

The claim, the new token and the instance are one transaction. The message leaves after its commit: an agent never has
work that the store does not know of. A message that is lost with its stream is found by the next hello, which names
what the agent has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controlplane.domain.group import shard_environment
from controlplane.domain.job import Requirement, merge_environment
from controlplane.domain.matching import can_run, spread
from controlplane.domain.task import Dispatch, Lock, Place, Status, Step, Task, apply
from controlplane.engine.context import Engine
from controlplane.engine.results import Ref, Results
from controlplane.engine.revisions import Revisions
from controlplane.engine.sessions import AgentKey, AssignWork, Placement, Session, Sessions
from controlplane.store import Connection, jobs, restored, tasks
from controlplane.store.tasks import TaskData, Terms
from controlplane.telemetry import place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from pawl.tracing import Trace

MAX_CLAIM = 500
FEW_REQUIREMENTS = 64
# Numbers are given before they are committed, so on PostgreSQL a smaller one can come into sight after a greater one.
LOOK_BACK = 100


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one transaction placed, by agent, and the spans that say so."""

    placements: Mapping[AgentKey, Sequence[Placement]]
    spans: Sequence[Span] = ()
    waits: Sequence[float] = ()


class Placing:
    """The use case of the dispatcher. `cap` bounds what this replica has out at once; 0 is no bound."""

    def __init__(
        self, engine: Engine, sessions: Sessions, results: Results, revisions: Revisions, *, cap: int = 0
    ) -> None:
        self.cap = cap
        self._engine = engine
        self._sessions = sessions
        self._results = results
        self._revisions = revisions
        self._requirements: dict[int, Requirement] = {}
        self._last_requirement = 0

    def requirement(self, requirement_id: int) -> Requirement | None:
        """A demand by its id, if this replica has met it."""
        return self._requirements.get(requirement_id)

    async def place(self) -> int:
        """Place as much as free slots allow, once around; how many tasks were placed."""
        if self._engine.seen.requirement > self._last_requirement:
            await self.learn()
        placed = 0
        for group in self._groups():
            claim = await self._engine.store.write(self._claim, group)
            self._observe(claim)
            placed += await self._deliver(claim)
        return placed

    async def learn(self) -> None:
        """Read the demands that were added since; before the first placement, and when one is hinted or swept. Also
        whether another replica found out that the database was put back.
        """
        found = await self._engine.store.read(jobs.requirements_after, max(0, self._last_requirement - LOOK_BACK))
        for requirement_id, requirement in found:
            self._requirements[requirement_id] = requirement
            self._last_requirement = max(self._last_requirement, requirement_id)
        self._engine.seen.restored = await self._engine.store.read(restored.newest)

    def _groups(self) -> list[tuple[list[Session], frozenset[int]]]:
        """Sessions with room, together with those that may run the same work: one claim serves them all."""
        groups: dict[frozenset[int], list[Session]] = {}
        for session in self._sessions:
            if session.free <= 0 or session.draining or session.closed or session.backed_up:
                continue
            offer = session.offer()
            able = frozenset(number for number, demand in self._requirements.items() if can_run(offer, demand))
            if able:
                groups.setdefault(able, []).append(session)
        return [(sessions, able) for able, sessions in groups.items()]

    def _claim(self, connection: Connection, group: tuple[list[Session], frozenset[int]]) -> _Claim:
        sessions, able = group
        free = {"/".join(session.key): session.free for session in sessions}
        by_name = {"/".join(session.key): session for session in sessions}
        limit = min(MAX_CLAIM, sum(free.values()), self._room())
        wanted = able
        if len(able) > FEW_REQUIREMENTS:
            wanted = able & tasks.ready_requirements(connection)
        ids = tasks.ready_ids(connection, wanted, limit) if wanted and limit > 0 else []
        present = tasks.load_many(connection, ids, skip_locked=True)
        chosen = [
            present[task_id] for task_id in ids if task_id in present and present[task_id].status is Status.PENDING
        ]
        if not chosen:
            return _Claim({})
        self._revisions.load(connection, {(one.job_id, one.job_revision) for one in chosen})
        data = tasks.data_of(connection, (one.id for one in chosen))
        names = jobs.names(connection, {one.job_id for one in chosen})
        agents = spread(free, {name: session.running for name, session in by_name.items()}, len(chosen))
        now = self._engine.clock.now()
        steps: list[tuple[Task, Step]] = []
        terms: dict[str, Terms] = {}
        placements: dict[AgentKey, list[Placement]] = {}
        spans: list[Span] = []
        waits: list[float] = []
        for before, agent in zip(chosen, agents, strict=False):
            session = by_name[agent]
            above = self._engine.seen.restored.floor_for(before.created_at)
            step = _lock_and_dispatch(before, Dispatch(session.key[1], self._engine.new_id(now), above), now)
            since = max(before.scheduled_at, before.updated_at)
            waits.append((now - since) / 1e6)
            trace, job_name = data[before.id].trace, names.get(before.job_id, "")
            span = self._engine.tracing.placed(trace, _attributes(step.task, job_name), since)
            if span is not None:
                spans.append(span)
            placement = self._placement(step.task, data[before.id], job_name, place_of(span, trace))
            steps.append((before, step))
            micros = (round(seconds * 1e6) for seconds in (placement.lease, placement.timeout, placement.grace))
            terms[before.id] = Terms(session.key[0], *micros)
            placements.setdefault(session.key, []).append(placement)
        tasks.save_many(connection, steps, terms=terms)
        return _Claim(placements, spans, waits)

    def _observe(self, claim: _Claim) -> None:
        """Once it is committed: a transaction that begins again has not placed anything."""
        self._engine.tracing.happened(claim.spans, self._engine.clock.now())
        for seconds in claim.waits:
            self._engine.store.measures.placing.observe(seconds)

    @property
    def full_at(self) -> int:
        """The cap, if it is what keeps ready tasks waiting; else 0."""
        return self.cap if self.cap and not self._room() else 0

    def _room(self) -> int:
        """What the replica's own cap leaves; without one, more than is ever claimed."""
        return max(0, self.cap - sum(session.running for session in self._sessions)) if self.cap else MAX_CLAIM

    def _placement(self, one: Task, data: TaskData, job_name: str, trace: Trace) -> Placement:
        spec = self._revisions.spec(one)
        config = spec.config
        assert one.instance_id is not None
        return Placement(
            ref=Ref(one.id, one.instance_id, one.token),
            attempt=one.attempt,
            namespace_id=one.namespace_id,
            job_id=one.job_id,
            job_name=job_name,
            job_revision=one.job_revision,
            config=config,
            environment=merge_environment(
                spec.environment, config.environment, data.environment, shard_environment(one)
            ),
            parameters=data.parameters,
            parameters_type=data.parameters_type,
            timeout=config.longest_run(data.timeout),
            lease=config.lost_after_seconds,
            grace=config.grace_seconds,
            total_left=None if one.end_by is None else max(0.0, (one.end_by - one.updated_at) / 1e6),
            group_id=one.group_id or "",
            shard_index=one.shard_index or 0,
            shard_total=one.shard_total or 0,
            trace=trace if trace.traceparent else replace(trace, traceparent=_trace_of(one)),
        )

    async def _deliver(self, claim: _Claim) -> int:
        delivered = 0
        for key, placements in claim.placements.items():
            session = self._sessions.find(key)
            if session is None or session.closed:
                # Its stream ended while we wrote; nothing was sent, so nothing has begun.
                await self._results.release([placement.ref for placement in placements])
                continue
            session.free -= len(placements)
            session.running += len(placements)
            session.send(AssignWork(tuple(placements)))
            delivered += len(placements)
            self._engine.wakeups.hint(*(f"task:{placement.ref.task_id}" for placement in placements))
        return delivered


def _lock_and_dispatch(before: Task, dispatch: Dispatch, now: int) -> Step:
    """Both transitions in one transaction: nobody ever sees LOCKED, and the row is written once."""
    locked = apply(before, Lock(), now)
    dispatched = apply(locked.task, dispatch, now)
    assert any(isinstance(effect, Place) for effect in dispatched.effects)
    return Step(dispatched.task, (*locked.effects, *dispatched.effects))


def _attributes(one: Task, job_name: str) -> Mapping[str, str | int]:
    return {
        "pawl.task.id": one.id,
        "pawl.task.attempt": one.attempt,
        "pawl.job.name": job_name,
        "pawl.namespace": one.namespace_id,
        "pawl.agent.name": one.agent_id or "",
    }


def _trace_of(one: Task) -> str:
    """A trace for a task whose caller brought none: the task is the trace and the placement a span of it, unsampled."""
    assert one.instance_id is not None
    return f"00-{one.id.replace('-', '')}-{one.instance_id.replace('-', '')[16:]}-00"
