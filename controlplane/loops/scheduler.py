"""The scheduler: turns slots that have come into tasks, each once.

A sweep takes due schedules in batches. What is due is decided outside of any transaction (a rule that slept may take
milliseconds); then one transaction locks the batch, passes over schedules that have changed since, writes one fire row
per slot with its task or the reason why there is none, and moves the schedules on. The primary key of the fire rows
makes a slot happen once, whatever crashes and however many schedulers believe to be the one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pawl.tracing import NOWHERE, Trace

from controlplane.domain import schedule
from controlplane.domain.errors import PawlError
from controlplane.domain.schedule import Due
from controlplane.domain.schedule_rules import Schedule, ScheduleStatus
from controlplane.engine.context import Engine
from controlplane.engine.schedules import HINT
from controlplane.engine.system import Pulse
from controlplane.engine.tasks import READY_HINT, NewTask, Tasks, TaskView
from controlplane.loops.holder import Holder
from controlplane.loops.rounds import go_round
from controlplane.store import Connection, schedules
from controlplane.store.schedules import Fire
from controlplane.store.tasks import TaskData
from controlplane.telemetry import place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

NAME = "scheduler"
BATCH = 200
MAX_ROWS = 1_000
TICK_SECONDS = 1.0
SHORTEST_WAIT = 0.01  # a due schedule that somebody else has locked is looked at again, but not in a spin
JOB_DISABLED = "JOB_DISABLED"
JOB_DELETED = "JOB_DELETED"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a schedule asks for, as it was read; `broken` says why its rule could not be computed."""

    schedule: Schedule
    due: Due
    broken: str = ""


@dataclass(slots=True)
class Fired:
    """What a transaction did."""

    schedules: list[Schedule] = field(default_factory=list)
    fires: list[Fire] = field(default_factory=list)
    created: int = 0
    spans: list[Span] = field(default_factory=list)


class Scheduler:
    """The loop. `lag_seconds` is how late the last batch's oldest slot was."""

    def __init__(
        self, engine: Engine, tasks: Tasks, holder: Holder, *, pulse: Pulse, tick_seconds: float = TICK_SECONDS
    ) -> None:
        self.lag_seconds = 0.0
        self._engine = engine
        self._tasks = tasks
        self._holder = holder
        self._pulse = pulse
        self._tick_seconds = min(tick_seconds, TICK_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await go_round(self._engine, self._pulse, self._turn, hints=HINT, sweep=self._tick_seconds)
        finally:
            await self._leave()

    async def _turn(self) -> float | None:
        """One batch; in how many seconds there is something to do again."""
        if not await self._holder.hold():
            return None
        return 0 if await self.sweep() == BATCH else await self._until_next()

    async def _leave(self) -> None:
        try:
            await self._holder.release()
        except PawlError as error:
            log.warning("the scheduler's lease was not released and will run out: %s", error)

    async def _until_next(self) -> float | None:
        slot = await self._engine.store.read(schedules.next_fire_at)
        return None if slot is None else max((slot - self._engine.clock.now()) / 1_000_000, SHORTEST_WAIT)

    async def sweep(self) -> int:
        """Fire one batch of what is due; how many schedules were due."""
        now = self._engine.clock.now()
        found = await self._engine.store.read(schedules.due, now, BATCH)
        if not found:
            return 0
        decisions = await asyncio.to_thread(decide, found, now)
        self.lag_seconds = max((now - (one.next_fire_at or now)) / 1_000_000 for one in found)
        for few in bounded(decisions):
            fired = await self._engine.store.write(self._fire, few, now)
            self._engine.tracing.happened(fired.spans, self._engine.clock.now())
            if fired.created:
                self._engine.rates.created.add(fired.created)
                self._engine.wakeups.hint(READY_HINT)
        return len(found)

    def _fire(self, connection: Connection, decisions: Sequence[Decision], now: int) -> Fired:
        locked = schedules.lock_many(connection, [one.schedule.id for one in decisions])
        current = [one for one in decisions if _is_same(one.schedule, locked.get(one.schedule.id))]
        done = schedules.fired_slots(connection, _slots(current))
        asked = [
            (one.schedule, slot) for one in current for slot in one.due.fires if (one.schedule.id, slot) not in done
        ]
        fired = Fired()
        wanted = [_task(planned, slot, self._trace(planned, slot, now, fired)) for planned, slot in asked]
        results = self._tasks.insert_many(connection, wanted) if wanted else []
        outcomes = {(planned.id, slot): result for (planned, slot), result in zip(asked, results, strict=True)}
        for one in current:
            mine = {
                slot: outcomes[one.schedule.id, slot] for slot in one.due.fires if (one.schedule.id, slot) in outcomes
            }
            fired.fires += _missed(one, done, now) + [_fire_row(one.schedule.id, *item, now) for item in mine.items()]
            fired.schedules.append(_moved_on(one, mine))
            fired.created += sum(isinstance(result, TaskView) for result in mine.values())
        schedules.insert_fires(connection, fired.fires)
        schedules.save_fired(connection, fired.schedules)
        return fired

    def _trace(self, planned: Schedule, slot: int, now: int, fired: Fired) -> Trace:
        """A trace of its own for each fire that is drawn."""
        attributes = {"pawl.schedule.id": planned.id, "pawl.namespace": planned.namespace_id}
        span = self._engine.tracing.fired(attributes, min(slot, now))
        if span is not None:
            fired.spans.append(span)
        return place_of(span, NOWHERE)


def bounded(decisions: Sequence[Decision]) -> Iterator[list[Decision]]:
    """The decisions in parts of which none writes many more than MAX_ROWS fires: after a sleep each schedule brings a
    hundred, and others want to write too."""
    part: list[Decision] = []
    rows = 0
    for one in decisions:
        part.append(one)
        rows += 1 + len(one.due.missed)
        if rows >= MAX_ROWS:
            yield part
            part, rows = [], 0
    if part:
        yield part


def decide(found: Sequence[Schedule], now: int) -> list[Decision]:
    """What each of these schedules asks for. A rule that fails is that schedule's trouble and nobody else's."""
    decisions = []
    for one in found:
        if one.next_fire_at is None:
            continue
        try:
            decisions.append(Decision(one, schedule.due(one.rule(), one.next_fire_at, now)))
        except Exception as error:  # a zone that this machine no longer knows, for one
            log.exception("schedule %s cannot be computed and is disabled", one.id)
            decisions.append(Decision(one, Due([], [], 0, None), f"INVALID_RULE: {error}"[:1000]))
    return decisions


def _is_same(read: Schedule, locked: Schedule | None) -> bool:
    return locked is not None and (locked.version, locked.next_fire_at) == (read.version, read.next_fire_at)


def _slots(decisions: Sequence[Decision]) -> list[tuple[str, int]]:
    return [
        (one.schedule.id, slot)
        for one in decisions
        for slot in [*one.due.fires, *(slot for slot, _ in one.due.missed), one.schedule.next_fire_at]
        if slot is not None
    ]


def _task(planned: Schedule, slot: int, trace: Trace) -> NewTask:
    spec = planned.spec
    data = TaskData(
        parameters=planned.parameters,
        parameters_type=planned.parameters_type,
        environment=spec.environment,
        tags=spec.tags,
        trace=trace,
    )
    return NewTask(
        namespace_id=planned.namespace_id,
        job=planned.job_id,
        data=data,
        priority=spec.priority,
        scheduled_at=slot,
        schedule_id=planned.id,
    )


def _fire_row(schedule_id: str, slot: int, result: TaskView | Exception, now: int) -> Fire:
    if isinstance(result, TaskView):
        return Fire(schedule_id, slot, now, task_id=result.task.id)
    return Fire(schedule_id, slot, now, reason=_reason(result))


def _reason(refusal: Exception) -> str:
    reason = refusal.reason if isinstance(refusal, PawlError) else "INTERNAL"
    return JOB_DELETED if reason == "RESOURCE_NOT_FOUND" else reason


def _missed(one: Decision, done: set[tuple[str, int]], now: int) -> list[Fire]:
    """Rows for the slots that make no task. Of a long sleep the oldest listed one tells how many more there were."""
    if one.broken and one.schedule.next_fire_at is not None:
        if (one.schedule.id, one.schedule.next_fire_at) in done:
            return []
        return [Fire(one.schedule.id, one.schedule.next_fire_at, now, reason=one.broken)]
    rows = []
    unlisted = one.due.missed_count - len(one.due.missed)
    for index, (slot, reason) in enumerate(one.due.missed):
        if (one.schedule.id, slot) in done:
            continue
        text = str(reason)
        if index == 0 and unlisted > 0:
            text += f" ({'' if one.due.exact else 'at least '}{unlisted:,} older slots were missed as well)"
        rows.append(Fire(one.schedule.id, slot, now, reason=text))
    return rows


def _moved_on(one: Decision, outcomes: dict[int, TaskView | Exception]) -> Schedule:
    """Afterwards. Without its job or a sound rule it is disabled, without a next slot it has ended."""
    made = [slot for slot, result in outcomes.items() if isinstance(result, TaskView)]
    after = replace(
        one.schedule,
        next_fire_at=one.due.next_fire_at,
        fire_count=one.schedule.fire_count + len(made),
        last_fire_at=max(made, default=one.schedule.last_fire_at),
    )
    job_is_gone = any(isinstance(result, Exception) and _reason(result) == JOB_DELETED for result in outcomes.values())
    if one.broken or job_is_gone:
        return replace(after, status=ScheduleStatus.DISABLED, next_fire_at=None)
    if after.next_fire_at is None:
        return replace(after, status=ScheduleStatus.ENDED)
    return after
