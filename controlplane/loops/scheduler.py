"""The scheduler: turns slots that have come into tasks, each once.

It looks ahead: what will be due within the next seconds is read and decided before its moment, outside of any
transaction (a rule that slept may take milliseconds), so that at the moment only writing is left. One transaction then
locks a batch, passes over schedules that have changed since, writes one fire row per slot with its task or the reason
why there is none, and moves the schedules on. The primary key of the fire rows makes a slot happen once, whatever
crashes and however many schedulers believe to be the one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace
from pawl.tracing import NOWHERE

from controlplane.domain import schedule
from controlplane.domain.errors import PawlError
from controlplane.domain.schedule import Due
from controlplane.domain.schedule_rules import Schedule, ScheduleStatus
from controlplane.engine.context import Engine
from controlplane.engine.glances import Glances
from controlplane.engine.schedules import HINT
from controlplane.engine.system import Pulse
from controlplane.engine.tasks import NewTask, Tasks, TaskView
from controlplane.loops.holder import Holder
from controlplane.loops.rounds import go_round, until_sweep
from controlplane.store import Connection, schedules
from controlplane.store.schedules import Fire, MovedOn, Slot
from controlplane.store.tasks import TaskData
from controlplane.telemetry import place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

NAME = "scheduler"
AHEAD = 2_000_000  # microseconds, twice the tick: whatever comes is seen at least once before
MOST_AHEAD = 2_000
NEAR = 50_000
LATE_SECONDS = 0.25
MAX_ROWS = 1_000
TICK_SECONDS = 1.0
SHORTEST_WAIT = 0.01  # a due schedule that somebody else has locked is looked at again, but not in a spin
JOB_DISABLED = "JOB_DISABLED"
JOB_DELETED = "JOB_DELETED"

log = logging.getLogger(__name__)


class Decision(Struct, frozen=True):
    """What a schedule, as it was read, asks for when its slot has come; `broken` says why its rule could not be
    computed.
    """

    schedule: Schedule
    slot: Slot
    due: Due
    broken: str = ""
    tasks: tuple[NewTask, ...] = ()


class Fired(Struct):
    """What a transaction did."""

    schedules: list[MovedOn] = field(default_factory=list)
    fires: list[Fire] = field(default_factory=list)
    created: int = 0
    spans: list[Span] = field(default_factory=list)


class Scheduler:
    """The loop. `lag_seconds` is how late the last batch's oldest slot was."""

    def __init__(
        self,
        engine: Engine,
        tasks: Tasks,
        holder: Holder,
        *,
        pulse: Pulse,
        tick_seconds: float = TICK_SECONDS,
        glances: Glances | None = None,
    ) -> None:
        self.lag_seconds = 0.0
        self._engine = engine
        self._tasks = tasks
        self._holder = holder
        self._pulse = pulse
        self._glances = glances or Glances(engine)
        self._tick_seconds = min(tick_seconds, TICK_SECONDS)
        self._ahead: deque[Decision] = deque()  # in the order of their slots
        self._look_at = 0.0  # time.monotonic

    async def run(self) -> None:
        """Until cancelled."""
        try:
            with self._engine.wakeups.listen(HINT) as changed:
                turn = partial(self._turn, changed)
                await go_round(self._engine, self._pulse, turn, hints=(HINT,), sweep=self._tick_seconds)
        finally:
            await self._leave()

    async def _turn(self, changed: asyncio.Event) -> float | None:
        """Fire what is due; in how many seconds there is something to do again."""
        if self._holder.holds:
            await self._fire_due()  # before the lease is renewed, which takes a commit
        if not await self._is_ours():
            self._look_at = 0.0
            return None
        if self._should_look(changed.is_set()):
            if changed.is_set() or self._ahead or await self._comes_soon():
                changed.clear()
                await self._look()
                await self._fire_due()
            else:
                self._look_at = time.monotonic() + until_sweep(self._tick_seconds)
        return self._until_next()

    async def _is_ours(self) -> bool:
        """Whether this replica has the loop, or gets it now. While another has it nothing is written to ask for it."""
        if self._holder.token is None:
            seen = await self._glances.look()
            if not self._glances.has_come(self._holder.free_at(seen.leases)):
                return False
        return await self._holder.hold()

    async def _comes_soon(self) -> bool:
        """Whether a glance sees any slot ahead."""
        seen = await self._glances.look()
        return seen.slot is not None and self._glances.has_come(seen.slot - AHEAD)

    def _should_look(self, changed: bool) -> bool:
        """Whether it is time to. A slot that is about to come does not wait for a look, unless that is late already."""
        late = time.monotonic() - self._look_at
        if late < 0 and not changed:
            return False
        return late > LATE_SECONDS or not self._is_near()

    def _is_near(self) -> bool:
        return bool(self._ahead) and self._ahead[0].slot.at < self._engine.clock.now() + NEAR

    async def _leave(self) -> None:
        try:
            await self._holder.release()
        except PawlError as error:
            log.warning("the scheduler's lease was not released and will run out: %s", error)

    def _until_next(self) -> float:
        look = max(0.0, self._look_at - time.monotonic())
        if not self._ahead:
            return look
        slot = max(0.0, (self._ahead[0].slot.at - self._engine.clock.now()) / 1_000_000)
        return slot if self._is_near() else min(slot, look)

    async def sweep(self) -> int:
        """Look, and fire what is due; how many schedules were due."""
        await self._look()
        return await self._fire_due()

    async def _look(self) -> None:
        """Decide what is due or will be soon, but for what was decided before and is the same still."""
        now = self._engine.clock.now()
        slots = await self._engine.store.read(schedules.due, now + AHEAD, MOST_AHEAD)
        before = {one.slot: one for one in self._ahead}
        known = [before[slot] for slot in slots if slot in before]
        new = [slot.schedule_id for slot in slots if slot not in before]
        if new:
            found = await self._engine.store.read(schedules.load_many, new)
            known += await asyncio.to_thread(decide, found.values(), now)
        self._ahead = deque(sorted(known, key=_when))
        self._look_at = time.monotonic() + until_sweep(self._tick_seconds)
        if len(slots) == MOST_AHEAD:
            self._look_at = min(self._look_at, self._halfway(slots[-1].at))

    def _halfway(self, slot: int) -> float:
        """When to look again for a slot that is not decided yet (time.monotonic)."""
        return time.monotonic() + max(0, slot - self._engine.clock.now()) / 2_000_000

    async def _fire_due(self) -> int:
        """How many were due."""
        due = self._take_due(self._engine.clock.now())
        if not due:
            return 0
        self.lag_seconds = (self._engine.clock.now() - due[0].slot.at) / 1_000_000
        look_at, self._look_at = self._look_at, 0.0  # what is taken and cannot be written is found again by a look
        for few in bounded(due):
            now = self._engine.clock.now()
            fired = await self._engine.store.write(self._fire, few, now)
            self._engine.tracing.happened(fired.spans, self._engine.clock.now())
            if fired.created:
                self._engine.rates.created.add(fired.created)
            following = min((one.next_fire_at for one in fired.schedules if one.next_fire_at is not None), default=None)
            if following is not None and following <= now + AHEAD:
                look_at = min(look_at, self._halfway(following))
            if len(fired.schedules) < len(few):
                look_at = min(look_at, time.monotonic() + SHORTEST_WAIT)
        self._look_at = look_at
        return len(due)

    def _take_due(self, now: int) -> list[Decision]:
        """What has come. What was decided for one slot is decided anew when the next one has come as well."""
        due: list[Decision] = []
        while self._ahead and self._ahead[0].slot.at <= now:
            one = self._ahead.popleft()
            following = one.due.next_fire_at
            due += [one] if following is None or following > now else decide([one.schedule], now)
        return due

    def _fire(self, connection: Connection, decisions: Sequence[Decision], now: int) -> Fired:
        locked = schedules.lock_many(connection, [one.schedule.id for one in decisions])
        current = [one for one in decisions if (found := locked.get(one.schedule.id)) and found[0] == one.slot]
        done = {(slot.schedule_id, slot.at) for slot, dealt_with in locked.values() if dealt_with}
        done |= schedules.fired_slots(connection, _further_slots(current))
        fired = Fired()
        wanted = [new for one in current for new in one.tasks if (one.schedule.id, new.scheduled_at) not in done]
        wanted = [self._traced(new, now, fired) for new in wanted]
        results = self._tasks.insert_many(connection, wanted) if wanted else []
        outcomes: dict[str, dict[int, TaskView | Exception]] = {}
        for new, result in zip(wanted, results, strict=True):
            assert new.schedule_id is not None
            assert new.scheduled_at is not None
            outcomes.setdefault(new.schedule_id, {})[new.scheduled_at] = result
            fired.fires.append(_fire_row(new.schedule_id, new.scheduled_at, result, now))
        for one in current:
            mine = outcomes.get(one.schedule.id, {})
            fired.fires += _missed(one, done, now)
            fired.schedules.append(_moved_on(one, mine))
            fired.created += sum(isinstance(result, TaskView) for result in mine.values())
        schedules.insert_fires(connection, fired.fires)
        schedules.save_fired(connection, fired.schedules)
        return fired

    def _traced(self, new: NewTask, now: int, fired: Fired) -> NewTask:
        """In a trace of its own, for each fire that is drawn."""
        assert new.scheduled_at is not None
        attributes = {"pawl.schedule.id": new.schedule_id or "", "pawl.namespace": new.namespace_id}
        span = self._engine.tracing.fired(attributes, min(new.scheduled_at, now))
        if span is None:
            return new
        fired.spans.append(span)
        return replace(new, data=replace(new.data, trace=place_of(span, NOWHERE)))


def _when(one: Decision) -> int:
    return one.slot.at


def bounded(decisions: Sequence[Decision]) -> Iterator[list[Decision]]:
    """The decisions in parts of which none writes many more than MAX_ROWS fires: after a sleep each schedule brings a
    hundred, and others want to write too.
    """
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


def decide(found: Iterable[Schedule], now: int) -> list[Decision]:
    """What each of these schedules asks for now, or when its slot has come. A rule that fails is the trouble of that
    schedule and of nobody else.
    """
    decisions = []
    for one in found:
        if one.next_fire_at is None:
            continue
        slot = Slot(one.id, one.version, one.next_fire_at)
        try:
            due = schedule.due(one.rule(), slot.at, max(now, slot.at))
            decisions.append(Decision(one, slot, due, tasks=tuple(_task(one, fire) for fire in due.fires)))
        except Exception as error:  # a zone that this machine no longer knows, for one
            log.exception("schedule %s cannot be computed and is disabled", one.id)
            decisions.append(Decision(one, slot, Due([], [], 0, None), f"INVALID_RULE: {error}"[:1000]))
    return decisions


def _further_slots(decisions: Sequence[Decision]) -> list[tuple[str, int]]:
    """The slots that these deal with beside their next ones."""
    return [
        (one.schedule.id, slot)
        for one in decisions
        if one.due.missed or one.due.fires != [one.slot.at]
        for slot in (*one.due.fires, *(slot for slot, _ in one.due.missed))
    ]


def _task(planned: Schedule, slot: int) -> NewTask:
    spec = planned.spec
    data = TaskData(
        parameters=planned.parameters,
        parameters_type=planned.parameters_type,
        environment=spec.environment,
        tags=spec.tags,
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
    if one.broken:
        if (one.schedule.id, one.slot.at) in done:
            return []
        return [Fire(one.schedule.id, one.slot.at, now, reason=one.broken)]
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


def _moved_on(one: Decision, outcomes: Mapping[int, TaskView | Exception]) -> MovedOn:
    """Afterwards. Without its job or a sound rule it is disabled, without a next slot it has ended."""
    made = [slot for slot, result in outcomes.items() if isinstance(result, TaskView)]
    job_is_gone = any(isinstance(result, Exception) and _reason(result) == JOB_DELETED for result in outcomes.values())
    status, following = one.schedule.status, one.due.next_fire_at
    if one.broken or job_is_gone:
        status, following = ScheduleStatus.DISABLED, None
    elif following is None:
        status = ScheduleStatus.ENDED
    return MovedOn(
        one.schedule.id,
        status,
        following,
        max(made, default=one.schedule.last_fire_at),
        one.schedule.fire_count + len(made),
    )
