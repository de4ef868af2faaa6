"""Schedules: which slots a rule has, and which of them are due.

Pure: instants come in and go out as microseconds UTC, `now` is an argument, nothing is stored. The loop that asks, the
fires that the database makes unique and the tasks that come of them live elsewhere.

A rule of any time-based kind becomes a trigger with APScheduler's interface (`get_next_fire_time(previous, now)`), one
row in TRIGGERS. A trigger knows slots only; window, missed slots and preview are the same for all kinds and are here.
Both triggers are ours. APScheduler's CronTrigger fires a daily 02:30 twice on the autumn night. Its IntervalTrigger
counts from the previous fire in floating-point seconds, so an interval of 0.1 s drifts off its grid and a fire that is
no slot moves every later one; ours computes anchor + n × interval in whole microseconds, whatever it was asked before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Protocol

from apscheduler.triggers.base import BaseTrigger

from controlplane.domain import cron

MIN_INTERVAL_SECONDS = 0.1  # below it a schedule is a busy loop: every slot costs a transaction and a task
MAX_INTERVAL_SECONDS = 100 * 366 * 86_400.0
LISTED = 100  # missed slots named one by one; older ones are only counted
WALKED = 500  # slots of a trigger without arithmetic that are counted one by one: about ten milliseconds of cron

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_FIRST = (datetime(1, 1, 3, tzinfo=UTC) - _EPOCH) // _US
_LAST = (datetime(9999, 12, 29, tzinfo=UTC) - _EPOCH) // _US


class Kind(IntEnum):
    """What makes a schedule's tasks. The numbers are those of the contract and of the tables."""

    CRON = 1
    INTERVAL = 2
    DAEMON = 3
    EVENT = 4
    FLOW = 5
    ONCE = 6
    CALENDAR = 7


class Reason(StrEnum):
    """Why a slot has no task."""

    NEWER_SLOT = "NEWER_SLOT"  # missed, and a newer missed slot was fired in its place


@dataclass(frozen=True, slots=True)
class Rule:
    """The part of a schedule that decides when. Both ends of the window belong to it; `seed` feeds H of cron."""

    kind: Kind
    cron_expression: str
    interval_seconds: float
    timezone: str
    start_time: int | None
    end_time: int | None
    created_at: int
    seed: str


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now: fire these slots, record those as missed, come back at `next_fire_at` (None: the rule is over).

    `missed` ascends and holds at most the newest LISTED; `missed_count` counts all of them, or at least that many where
    `exact` is false."""

    fires: list[int]
    missed: list[tuple[int, Reason]]
    missed_count: int
    next_fire_at: int | None
    exact: bool = True


class Trigger(Protocol):
    """APScheduler's trigger interface, which has no types of its own."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first slot after the previous one; without a previous one, the first that is not before `now`."""


class CronFire(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """A cron entry in a zone."""

    __slots__ = ("cron", "zone")

    def __init__(self, entry: cron.Cron, zone: str) -> None:
        self.cron = entry
        self.zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        found = self.cron.next_after(_asked_after(previous_fire_time, now), self.zone)
        return None if found is None else _moment(found)


class IntervalFire(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """Every `interval` microseconds from the anchor on, the anchor included."""

    __slots__ = ("anchor", "interval")

    def __init__(self, anchor: int, interval: int) -> None:
        self.anchor = anchor
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        found = self.after(_asked_after(previous_fire_time, now))
        return _moment(found) if found <= _LAST else None

    def after(self, instant: int) -> int:
        if instant < self.anchor:
            return self.anchor
        return self.anchor + ((instant - self.anchor) // self.interval + 1) * self.interval


def _asked_after(previous: datetime | None, now: datetime) -> int:
    return _instant(now) - 1 if previous is None else _instant(previous)


def _instant(moment: datetime) -> int:
    return (moment - _EPOCH) // _US


def _moment(instant: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)


def _cron_fire(rule: Rule) -> Trigger:
    return CronFire(cron.parse(rule.cron_expression, rule.seed), _zone(rule))


def _interval_fire(rule: Rule) -> Trigger:
    anchor = rule.created_at if rule.start_time is None else rule.start_time
    return IntervalFire(anchor, round(rule.interval_seconds * 1_000_000))


TRIGGERS: Mapping[Kind, Callable[[Rule], Trigger]] = {Kind.CRON: _cron_fire, Kind.INTERVAL: _interval_fire}


def _zone(rule: Rule) -> str:
    return rule.timezone or "UTC"


# ---- is the rule sound -----------------------------------------------------------------------------------------------


def validate(rule: Rule) -> list[tuple[str, str]]:
    """The rule's problems as (field, what is wrong and what is allowed); empty when it may be stored."""
    if rule.kind not in TRIGGERS:
        offered = ", ".join(kind.name for kind in TRIGGERS)
        return [("kind", f"{rule.kind.name} is not offered yet; allowed are {offered}")]
    problems = [*_of_kind(rule), *_of_zone(rule), *_of_window(rule)]
    if not problems and first_fire(rule) is None:
        if rule.end_time is not None:
            return [("end_time", "no slot of the schedule lies between its creation or start_time and its end_time")]
        return [
            ("cron_expression", f"{rule.cron_expression!r} never fires after the schedule's creation or start_time")
        ]
    return problems


def _of_kind(rule: Rule) -> list[tuple[str, str]]:
    problems = []
    if rule.kind is Kind.CRON:
        if not rule.cron_expression.strip():
            return [("cron_expression", "is required for kind CRON, such as '0 12 * * *'")]
        try:
            cron.parse(rule.cron_expression, rule.seed)
        except cron.CronError as refused:
            problems.append(("cron_expression", str(refused)))
        if rule.interval_seconds:
            problems.append(("interval_seconds", "belongs to kind INTERVAL; leave it empty for CRON"))
        return problems
    if not MIN_INTERVAL_SECONDS <= rule.interval_seconds <= MAX_INTERVAL_SECONDS:  # also refuses NaN
        allowed = f"allowed are {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS:.0f} seconds"
        wrong = f"{rule.interval_seconds} is out of place" if rule.interval_seconds else "is required for kind INTERVAL"
        problems.append(("interval_seconds", f"{wrong}; {allowed}"))
    if rule.cron_expression:
        problems.append(("cron_expression", "belongs to kind CRON; leave it empty for INTERVAL"))
    return problems


def _of_zone(rule: Rule) -> list[tuple[str, str]]:
    try:
        cron.zone_of(_zone(rule))
    except cron.ZoneError as refused:
        return [("timezone", str(refused))]
    return []


def _of_window(rule: Rule) -> list[tuple[str, str]]:
    problems = []
    for name, instant in (("start_time", rule.start_time), ("end_time", rule.end_time)):
        if instant is not None and not _FIRST <= instant <= _LAST:
            problems.append((name, "is out of place; allowed are the years 1 to 9999"))
    if rule.start_time is not None and rule.end_time is not None and rule.end_time < rule.start_time:
        problems.append(("end_time", "lies before start_time"))
    return problems


# ---- slots -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def trigger_of(rule: Rule) -> Trigger:
    """The rule's trigger. The rule is sound (`validate`): a kind that is not offered is a KeyError here."""
    return TRIGGERS[rule.kind](rule)


def first_fire(rule: Rule) -> int | None:
    """The first slot after creation and not before `start_time`."""
    return next_fire(rule, rule.created_at)


def next_fire(rule: Rule, after: int) -> int | None:
    """The first slot strictly after `after` and after creation, inside the window; None when there is no more."""
    after = max(after, rule.created_at)
    if rule.start_time is not None:
        after = max(after, rule.start_time - 1)
    slot = _slot_after(trigger_of(rule), after)
    return None if slot is None or (rule.end_time is not None and slot > rule.end_time) else slot


def preview(rule: Rule, after: int, count: int) -> list[int]:
    """The next `count` slots after `after`, fewer when the window closes."""
    slots: list[int] = []
    while len(slots) < count and (slot := next_fire(rule, slots[-1] if slots else after)) is not None:
        slots.append(slot)
    return slots


def _slot_after(trigger: Trigger, after: int) -> int | None:
    if after >= _LAST:
        return None
    moment = _moment(max(after, _FIRST))
    found = trigger.get_next_fire_time(moment, moment)
    return None if found is None else _instant(found)


# ---- what is due -----------------------------------------------------------------------------------------------------


def due(rule: Rule, next_fire_at: int, now: int) -> Due:
    """What the stored slot `next_fire_at` and those after it ask for at `now`.

    One slot due: it fires, however late. Several: the newest fires, the others are missed with a reason, so that a
    control plane that slept makes one task and not a thousand. Slots outside the window are not the rule's."""
    last = now if rule.end_time is None else min(now, rule.end_time)
    if rule.end_time is not None and next_fire_at > rule.end_time:  # the window was narrowed since it was stored
        return Due([], [], 0, None)
    if next_fire_at > last:
        return Due([], [], 0, next_fire_at)
    backlog = _backlog(trigger_of(rule), next_fire_at, last)
    *older, newest = backlog.newest
    return Due(
        fires=[newest],
        missed=[(slot, Reason.NEWER_SLOT) for slot in older],
        missed_count=backlog.count - 1,
        next_fire_at=next_fire(rule, now),
        exact=backlog.exact,
    )


@dataclass(frozen=True, slots=True)
class _Backlog:
    newest: list[int]  # ascending, at most LISTED + 1
    count: int
    exact: bool


def _backlog(trigger: Trigger, first: int, last: int) -> _Backlog:
    """The slots from `first`, which counts as one whatever the trigger says, up to `last`."""
    if not isinstance(trigger, IntervalFire):
        return _walk(trigger, first, last)
    second = trigger.after(first)
    later = 0 if second > last else (last - second) // trigger.interval + 1
    listed = [second + n * trigger.interval for n in range(max(0, later - LISTED - 1), later)]
    return _Backlog([first, *listed][-LISTED - 1 :], later + 1, exact=True)


def _walk(trigger: Trigger, first: int, last: int) -> _Backlog:
    """Count forward as far as WALKED; if that does not reach `last`, find the newest from behind and leave the middle
    uncounted."""
    newest = deque([first], maxlen=LISTED + 1)
    slot = first
    for count in range(1, WALKED + 1):
        following = _slot_after(trigger, slot)
        if following is None or following > last:
            return _Backlog(list(newest), count, exact=True)
        newest.append(following)
        slot = following
    behind = _newest(trigger, slot, last)
    newest.extend(behind)
    return _Backlog(list(newest), WALKED + 1 + len(behind), exact=len(behind) <= LISTED)


def _newest(trigger: Trigger, floor: int, last: int) -> list[int]:
    """The newest slots after `floor` up to `last`, ascending, at most LISTED + 1."""
    found: deque[int] = deque()
    upper, gap = last + 1, 1
    while len(found) <= LISTED and (slot := _slot_before(trigger, floor, upper, gap)) is not None:
        found.appendleft(slot)
        upper, gap = slot, upper - slot
    return list(found)


def _slot_before(trigger: Trigger, floor: int, upper: int, reach: int) -> int | None:
    """The newest slot with floor < slot < upper. Triggers only look forward, so: step back in doubling strides until
    one lies ahead, then halve what is left between it and the empty stretch."""
    empty_from = upper  # no slot in [empty_from, upper)
    while True:
        asked = max(floor, upper - 1 - reach)
        slot = _slot_after(trigger, asked)
        if slot is not None and slot < upper:
            break
        if asked == floor:
            return None
        empty_from = asked + 1
        reach *= 2
    while (following := _slot_after(trigger, slot)) is not None and following < upper:
        middle = (following + empty_from) // 2
        ahead = _slot_after(trigger, middle - 1)
        if ahead is not None and ahead < upper:
            slot = ahead
        else:
            slot, empty_from = following, middle
    return slot
