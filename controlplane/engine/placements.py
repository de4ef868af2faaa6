"""What one transaction places: the steps of the tasks, what their agents are to be told, and the spans that say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controlplane.domain.group import shard_environment
from controlplane.domain.job import Job, merge_environment
from controlplane.domain.task import Dispatch, Step, Task, create_placed, place
from controlplane.engine.context import Engine
from controlplane.engine.results import Ref
from controlplane.engine.revisions import Revisions
from controlplane.engine.sessions import AgentKey, Placement, Session
from controlplane.store.tasks import TaskData, Terms
from controlplane.telemetry import place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from pawl.tracing import Trace


@dataclass(frozen=True, slots=True)
class Claim:
    """What one transaction placed, by agent, and the spans that say so. `moved`: how many tasks it put into a lane of
    their own, so that what stood behind them is in sight now. `strange`: what has to be learnt before it can place.
    `left`: the demands with which something may still wait; None if nobody looked.
    """

    placements: Mapping[AgentKey, Sequence[Placement]]
    tasks: Sequence[Task] = ()
    spans: Sequence[Span] = ()
    waits: Sequence[float] = ()
    moved: int = 0
    strange: Collection[int] = ()
    left: Set[int] | None = None


class Placements:
    """What one transaction places."""

    def __init__(self, engine: Engine, revisions: Revisions) -> None:
        self.terms: dict[str, Terms] = {}
        self._engine = engine
        self._revisions = revisions
        self._now = engine.clock.now()
        self._by_agent: dict[AgentKey, list[Placement]] = {}
        self._tasks: list[Task] = []
        self._spans: list[Span] = []
        self._waits: list[float] = []

    def add(self, before: Task, session: Session, data: TaskData, job_name: str) -> Step:
        """The step that places a waiting task."""
        now = self._now
        step = place(before, self._dispatch(before, session, now), now)
        self._tell(before, step, session, data, job_name, now)
        return step

    def add_new(self, new: Task, session: Session, data: TaskData, job: Job) -> Step:
        """The first step of a task that never waits: it is placed at the instant at which it is made."""
        now = new.created_at
        step = create_placed(new, self._dispatch(new, session, now), now)
        self._revisions.keep(job)
        self._tell(new, step, session, data, job.name, now)
        return step

    def _dispatch(self, before: Task, session: Session, now: int) -> Dispatch:
        above = self._engine.seen.restored.floor_for(before.created_at)
        return Dispatch(session.key[1], self._engine.new_id(now), above)

    def _tell(self, before: Task, step: Step, session: Session, data: TaskData, job_name: str, now: int) -> None:
        since = max(before.scheduled_at, before.updated_at)
        self._waits.append((now - since) / 1e6)
        span = self._engine.tracing.placed(data.trace, _attributes(step.task, job_name), since)
        if span is not None:
            self._spans.append(span)
        placement = self._placement(step.task, data, job_name, place_of(span, data.trace))
        lease, timeout, grace = (
            round(seconds * 1e6) for seconds in (placement.lease, placement.timeout, placement.grace)
        )
        self.terms[before.id] = Terms(session.key[0], lease, timeout, grace)
        self._by_agent.setdefault(session.key, []).append(placement)
        self._tasks.append(step.task)

    def claim(self, *, moved: int = 0, left: Set[int] | None = None) -> Claim:
        """All of it, for when it is committed."""
        return Claim(self._by_agent, self._tasks, self._spans, self._waits, moved, left=left)

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
