"""Schedules as a spec: the grid of slots, the window, what is due after a pause, and what a bad rule is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.schedule import (
    LISTED,
    WALKED,
    Due,
    Kind,
    Reason,
    Rule,
    due,
    first_fire,
    next_fire,
    preview,
    trigger_of,
    validate,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
CREATED = (datetime(2026, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def interval(seconds: float, start: int | None = None, end: int | None = None, created: int = CREATED) -> Rule:
    return Rule(Kind.INTERVAL, "", seconds, "", start, end, created, "seed")


def crontab(expression: str, zone: str = "UTC", start: int | None = None, end: int | None = None) -> Rule:
    return Rule(Kind.CRON, expression, 0, zone, start, end, CREATED, "seed")


def shown(slot: int | None) -> str:
    assert slot is not None
    return (EPOCH + timedelta(microseconds=slot)).isoformat(sep=" ")


# ---- interval --------------------------------------------------------------------------------------------------------


def test_an_interval_without_start_time_first_fires_one_interval_after_creation() -> None:
    assert first_fire(interval(60)) == CREATED + 60 * SECOND


def test_a_start_time_in_the_future_is_itself_the_first_slot() -> None:
    assert first_fire(interval(60, start=CREATED + 5)) == CREATED + 5
    assert next_fire(interval(60, start=CREATED + 5), CREATED + 5) == CREATED + 5 + 60 * SECOND


def test_a_start_time_in_the_past_gives_the_grid_and_the_first_slot_after_creation_fires() -> None:
    start = (datetime(2024, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert shown(first_fire(interval(300, start=start))) == "2026-05-06 07:10:00+00:00"


def test_a_slot_at_the_very_creation_is_not_after_it() -> None:
    assert first_fire(interval(60, start=CREATED)) == CREATED + 60 * SECOND


def test_a_tenth_of_a_second_does_not_drift_in_a_million_slots() -> None:
    rule = interval(0.1)
    assert next_fire(rule, CREATED + 1_000_000 * 100_000) == CREATED + 1_000_001 * 100_000


def test_an_interval_takes_no_notice_of_clocks_that_jump() -> None:
    rule = replace(interval(86_400, start=CREATED), timezone="Europe/Berlin")
    slots = preview(rule, CREATED, 300)
    assert slots == [CREATED + n * DAY for n in range(1, 301)]


# ---- cron ------------------------------------------------------------------------------------------------------------


def test_a_cron_entry_first_fires_after_creation_in_its_zone() -> None:
    assert shown(first_fire(crontab("0 0 12 * * ?", "Asia/Shanghai"))) == "2026-05-07 04:00:00+00:00"


def test_an_empty_zone_is_utc() -> None:
    assert first_fire(crontab("@hourly", "")) == first_fire(crontab("@hourly", "UTC"))


def test_a_cron_slot_at_the_start_time_belongs_to_the_window() -> None:
    start = (datetime(2026, 6, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert first_fire(crontab("0 0 * * *", start=start)) == start
    assert shown(first_fire(crontab("0 0 * * *", start=start + 1))) == "2026-06-02 00:00:00+00:00"


def test_h_is_drawn_from_the_rules_seed() -> None:
    rules = [replace(crontab("H H * * *"), seed=f"schedule-{n}") for n in range(100)]
    assert len({first_fire(rule) for rule in rules}) > 80


# ---- window and preview ----------------------------------------------------------------------------------------------


def test_the_end_time_belongs_to_the_window_and_nothing_follows() -> None:
    rule = interval(60, end=CREATED + 120 * SECOND)
    assert preview(rule, CREATED, 10) == [CREATED + 60 * SECOND, CREATED + 120 * SECOND]
    assert next_fire(rule, CREATED + 120 * SECOND) is None


def test_no_slot_lies_before_creation() -> None:
    assert next_fire(interval(60, start=0), 0) == next_fire(interval(60, start=0), CREATED)


def test_a_preview_is_the_chain_of_next_fires() -> None:
    rule = crontab("30 2 * * *", "Europe/Berlin")
    march = (datetime(2027, 3, 27, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert [shown(slot) for slot in preview(rule, march, 3)] == [
        "2027-03-27 01:30:00+00:00",
        "2027-03-28 01:00:00+00:00",
        "2027-03-29 00:30:00+00:00",
    ]
    assert preview(rule, march, 0) == []


def test_slots_beyond_the_calendar_do_not_exist() -> None:
    assert next_fire(interval(3_000_000_000), 253_000_000_000 * SECOND) is None
    assert next_fire(interval(1), 10**18) is None
    assert next_fire(crontab("@daily"), 10**18) is None


# ---- the seam --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [interval(60), crontab("* * * * *")])
def test_a_rules_trigger_is_an_apscheduler_trigger(rule: Rule) -> None:
    trigger = trigger_of(rule)
    now = EPOCH + timedelta(microseconds=CREATED)
    assert isinstance(trigger, BaseTrigger)
    slot = trigger.get_next_fire_time(None, now)
    assert slot is not None
    assert slot >= now
    assert trigger.get_next_fire_time(None, slot) == slot
    following = trigger.get_next_fire_time(slot, slot)
    assert following is not None
    assert following == slot + timedelta(seconds=60)


def test_our_triggers_combine_with_those_of_apscheduler() -> None:
    either = OrTrigger([trigger_of(crontab("0 9 * * *")), trigger_of(crontab("0 17 * * *"))])
    first = either.get_next_fire_time(None, EPOCH + timedelta(microseconds=CREATED))
    second = either.get_next_fire_time(first, first)
    assert (first.hour, second.hour) == (9, 17)


# ---- due -------------------------------------------------------------------------------------------------------------


def test_before_its_slot_nothing_is_due() -> None:
    rule = interval(60)
    slot = CREATED + 60 * SECOND
    assert due(rule, slot, slot - 1) == Due([], [], 0, slot)


def test_a_single_due_slot_fires_and_is_not_missed() -> None:
    rule = interval(60)
    slot = CREATED + 60 * SECOND
    assert due(rule, slot, slot) == Due([slot], [], 0, slot + 60 * SECOND)
    assert due(rule, slot, slot + 59 * SECOND) == Due([slot], [], 0, slot + 60 * SECOND)


@pytest.mark.parametrize("rule", [interval(60, start=CREATED // HOUR * HOUR), crontab("* * * * *")])
def test_after_a_pause_the_newest_slot_fires_and_the_others_are_missed_with_a_reason(rule: Rule) -> None:
    first = first_fire(rule)
    assert first is not None
    minute = 60 * SECOND
    assert due(rule, first, first + 3 * minute + SECOND) == Due(
        fires=[first + 3 * minute],
        missed=[(first + n * minute, Reason.NEWER_SLOT) for n in range(3)],
        missed_count=3,
        next_fire_at=first + 4 * minute,
    )


def test_the_last_slot_of_the_window_still_fires_late_and_ends_the_rule() -> None:
    rule = interval(60, end=CREATED + 150 * SECOND)
    assert due(rule, CREATED + 60 * SECOND, CREATED + DAY) == Due(
        fires=[CREATED + 120 * SECOND],
        missed=[(CREATED + 60 * SECOND, Reason.NEWER_SLOT)],
        missed_count=1,
        next_fire_at=None,
    )


@pytest.mark.parametrize("now", [CREATED + 55 * SECOND, CREATED + 70 * SECOND])
def test_a_stored_slot_that_a_narrowed_window_left_outside_does_not_fire(now: int) -> None:
    assert due(interval(60, end=CREATED + 50 * SECOND), CREATED + 60 * SECOND, now) == Due([], [], 0, None)


def test_a_stored_slot_fires_even_when_a_changed_rule_no_longer_has_it() -> None:
    rule = interval(60)
    assert due(rule, CREATED + 7, CREATED + 8).fires == [CREATED + 7]
    assert due(rule, CREATED + 7, CREATED + 60 * SECOND) == Due(
        [CREATED + 60 * SECOND], [(CREATED + 7, Reason.NEWER_SLOT)], 1, CREATED + 120 * SECOND
    )


def test_a_year_of_missed_seconds_is_counted_without_walking_it() -> None:
    rule = interval(1)
    start = perf_counter()
    found = due(rule, CREATED + SECOND, CREATED + 365 * DAY)
    assert perf_counter() - start < 0.1  # by walking it: minutes
    assert found.fires == [CREATED + 365 * DAY]
    assert found.missed_count == 365 * 86_400 - 1
    assert found.exact
    assert [slot for slot, _ in found.missed] == [CREATED + 365 * DAY - n * SECOND for n in range(LISTED, 0, -1)]


@pytest.mark.parametrize("expression", ["* * * * * ?", "*/5 * * * *", "* * 2 * * ?", "*/3 0-5 2 1,15 * ?"])
def test_a_year_of_missed_cron_slots_lists_the_newest_and_counts_a_floor(expression: str) -> None:
    rule = crontab(expression, "Europe/Berlin")
    first = first_fire(rule)
    assert first is not None
    now = CREATED + 365 * DAY
    start = perf_counter()
    found = due(rule, first, now)
    assert perf_counter() - start < 1  # by walking it: minutes
    listed = [slot for slot, _ in found.missed] + found.fires
    assert listed == preview(rule, listed[0] - 1, LISTED + 1)
    assert found.next_fire_at == next_fire(rule, found.fires[0])
    assert found.next_fire_at is not None
    assert found.next_fire_at > now
    assert not found.exact
    assert found.missed_count >= WALKED + LISTED


RULES = st.one_of(
    st.floats(0.1, 10**6).map(interval),
    st.builds(interval, st.floats(0.1, 10**6), start=st.integers(CREATED - 10**15, CREATED + 10**13)),
    st.builds(
        crontab,
        st.sampled_from(
            [
                "* * * * * ?",
                "*/7 * * * *",
                "*/20 1-3 * * *",
                "0 * * * *",
                "H H * * *",
                "0 0 L * *",
                "*/9 * 2 * * MON",
                "0 0 1W 1 *",
            ]
        ),
        st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    ),
)


@settings(deadline=None, max_examples=200)
@given(rule=RULES, end=st.none() | st.integers(0, 2 * 10**13), late=st.integers(0, 2 * 10**13))
def test_due_says_the_same_as_walking_slot_by_slot(rule: Rule, end: int | None, late: int) -> None:
    rule = replace(rule, end_time=None if end is None else max(rule.created_at, rule.start_time or 0) + end)
    first = first_fire(rule)
    if first is None:
        return
    now = first + late
    slots = preview(rule, first - 1, 2_000)
    found = due(rule, first, now)
    passed = [slot for slot in slots if slot <= now]
    assert found.next_fire_at == next_fire(rule, now)
    assert len(found.fires) == 1
    if (
        len(passed) == len(slots) == 2_000
    ):  # more than is worth walking here; the year of missed slots has its own tests
        assert found.missed_count >= WALKED
        return
    assert found.fires == passed[-1:]
    assert found.missed == [(slot, Reason.NEWER_SLOT) for slot in passed[:-1][-LISTED:]]
    assert found.missed_count == len(passed) - 1 if found.exact else WALKED <= found.missed_count < len(passed)


@settings(deadline=None, max_examples=200)
@given(rule=RULES, after=st.integers(CREATED - DAY, CREATED + 1_000 * DAY), step=st.integers(0, 10 * DAY))
def test_slots_ascend_and_asking_later_skips_none(rule: Rule, after: int, step: int) -> None:
    first, second = next_fire(rule, after), next_fire(rule, after + step)
    assert first is not None
    assert second is not None
    assert first > max(after, rule.created_at)
    assert second == first or first <= after + step
    assert next_fire(rule, first - 1) == first


@settings(deadline=None)
@given(
    seconds=st.floats(0.1, 10**6),
    n=st.integers(1, 10**5),
    start=st.none() | st.integers(CREATED - 10**15, CREATED + 10**13),
)
def test_every_interval_slot_is_anchor_plus_n_intervals(seconds: float, n: int, start: int | None) -> None:
    rule = interval(seconds, start=start)
    anchor = CREATED if start is None else start
    length = round(seconds * SECOND)
    slot = next_fire(rule, max(CREATED, anchor) + n * length)
    assert slot is not None
    assert (slot - anchor) % length == 0
    assert 0 < slot - (max(CREATED, anchor) + n * length) <= length


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [interval(0.1), interval(60, start=0, end=CREATED + DAY), crontab("0 0 12 * * ?", "Asia/Shanghai")]
)
def test_a_sound_rule_has_no_problems(rule: Rule) -> None:
    assert validate(rule) == []


@pytest.mark.parametrize(
    ("rule", "field", "says"),
    [
        (
            replace(crontab("* * * * *"), kind=Kind.DAEMON),
            "kind",
            "DAEMON is not offered yet; allowed are CRON, INTERVAL",
        ),
        (replace(crontab("* * * * *"), kind=Kind.EVENT), "kind", "allowed are CRON, INTERVAL"),
        (crontab(""), "cron_expression", "is required for kind CRON"),
        (crontab("0 25 * * *"), "cron_expression", "hour (field 2 of 5)"),
        (crontab("0 0 30 2 *"), "cron_expression", "never fires"),
        (crontab("0 0 0 1 1 ? 2025"), "cron_expression", "never fires"),
        (crontab("* * * * *", "Mars/Base"), "timezone", "IANA"),
        (replace(crontab("* * * * *"), interval_seconds=5), "interval_seconds", "leave it empty for CRON"),
        (replace(interval(5), cron_expression="* * * * *"), "cron_expression", "leave it empty for INTERVAL"),
        (interval(0), "interval_seconds", "is required for kind INTERVAL; allowed are 0.1 to"),
        (interval(-1), "interval_seconds", "allowed are 0.1 to"),
        (interval(0.01), "interval_seconds", "0.01 is out of place"),
        (interval(float("nan")), "interval_seconds", "nan is out of place"),
        (interval(float("inf")), "interval_seconds", "inf is out of place"),
        (interval(60, start=10**18), "start_time", "years 1 to 9999"),
        (interval(60, start=CREATED + DAY, end=CREATED), "end_time", "before start_time"),
        (interval(60, end=CREATED + SECOND), "end_time", "no slot"),
    ],
)
def test_a_bad_rule_names_the_field_and_what_is_allowed(rule: Rule, field: str, says: str) -> None:
    ((named, problem),) = validate(rule)
    assert named == field
    assert says in problem


def test_all_problems_of_a_rule_are_named_at_once() -> None:
    rule = crontab("x", "nowhere", start=CREATED + 1, end=CREATED)
    assert [field for field, _ in validate(rule)] == ["cron_expression", "timezone", "end_time"]


def test_the_numbers_of_kinds_are_those_of_the_contract() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "CRON": 1,
        "INTERVAL": 2,
        "DAEMON": 3,
        "EVENT": 4,
        "FLOW": 5,
        "ONCE": 6,
        "CALENDAR": 7,
    }
