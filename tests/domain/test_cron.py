"""The cron module as a spec: examples first, then laws, then cronsim as the oracle for what it knows.

Where we differ from cronsim on purpose, the oracle is not asked: `?`, `W`, `L-3`, `FRIL`, years, aliases and `H` (it
has none); `FRI-MON` and steps beyond the field (it refuses the first, takes the second); six fields with fixed hours,
and `* 2 * * *`, in the two nights a year when clocks jump (it then follows elapsed time; we run fixed hours once).
"""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controlplane.domain.cron import Cron, CronError, ZoneError, parse, zone_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000


def instant(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def local(us: int, zone: str = "UTC") -> datetime:
    return (EPOCH + timedelta(microseconds=us)).astimezone(ZoneInfo(zone))


def fires(expression: str, after: str, count: int, zone: str = "UTC", seed: str = "") -> list[str]:
    """The next fires as local times with offset; `after` is a local time of the zone."""
    cron = parse(expression, seed)
    us: int | None = instant(datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)))
    found: list[str] = []
    while len(found) < count and us is not None and (us := cron.next_after(us, zone)) is not None:
        found.append(local(us, zone).isoformat(sep=" "))
    return found


def days(expression: str, after: str, count: int) -> list[str]:
    return [fire[:10] for fire in fires(expression, after, count)]


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_five_fields_start_with_the_minute() -> None:
    assert fires("15 3 * * *", "2026-01-01", 2) == ["2026-01-01 03:15:00+00:00", "2026-01-02 03:15:00+00:00"]


def test_six_fields_start_with_the_second() -> None:
    assert fires("10 15 3 * * *", "2026-01-01", 1) == ["2026-01-01 03:15:10+00:00"]


def test_seven_fields_end_with_the_year() -> None:
    assert fires("0 0 0 1 1 ? 2027,2029", "2026-01-01", 9) == ["2027-01-01 00:00:00+00:00", "2029-01-01 00:00:00+00:00"]


def test_the_quartz_noon_entry_is_daily_at_noon_in_its_zone() -> None:
    assert fires("0 0 12 * * ?", "2026-05-01 12:00", 2, "Asia/Shanghai") == [
        "2026-05-02 12:00:00+08:00",
        "2026-05-03 12:00:00+08:00",
    ]


@pytest.mark.parametrize(
    ("alias", "first"),
    [
        ("@hourly", "2026-01-01 01:00"),
        ("@daily", "2026-01-02 00:00"),
        ("@midnight", "2026-01-02 00:00"),
        ("@weekly", "2026-01-04 00:00"),
        ("@monthly", "2026-02-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        (" @Annually ", "2027-01-01 00:00"),
    ],
)
def test_aliases(alias: str, first: str) -> None:
    assert fires(alias, "2026-01-01", 1) == [f"{first}:00+00:00"]


def test_names_ranges_steps_and_lists_in_any_case() -> None:
    assert days("0 0 1 jan,MAR-May/2 *", "2026-01-01", 4) == ["2026-03-01", "2026-05-01", "2027-01-01", "2027-03-01"]
    assert days("0 0 * * mon-wed,Fri", "2026-01-04", 5) == [
        "2026-01-05",
        "2026-01-06",
        "2026-01-07",
        "2026-01-09",
        "2026-01-12",
    ]
    assert [fire[11:16] for fire in fires("5/20 0 * * *", "2025-12-31 23:59", 3)] == ["00:05", "00:25", "00:45"]


@pytest.mark.parametrize(
    "sunday", ["0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 0 * * 0", "0 0 0 ? * 1", "0 0 0 * * 1 *"]
)
def test_sunday_is_0_or_7_in_unix_and_1_in_quartz_expressions(sunday: str) -> None:
    assert days(sunday, "2026-01-01", 1) == ["2026-01-04"]


def test_an_expression_is_quartz_with_seven_fields_or_a_question_mark_in_six() -> None:
    quartz = {text: parse(text).quartz for text in ("0 0 ? * 1", "0 0 0 * * 1", "0 0 0 ? * 1", "0 0 0 * * 1 *")}
    assert quartz == {"0 0 ? * 1": False, "0 0 0 * * 1": False, "0 0 0 ? * 1": True, "0 0 0 * * 1 *": True}


def test_two_restricted_day_fields_mean_either() -> None:
    assert days("0 0 13 * FRI", "2026-02-01", 5) == [
        "2026-02-06",
        "2026-02-13",
        "2026-02-20",
        "2026-02-27",
        "2026-03-06",
    ]


def test_a_day_field_that_starts_with_a_star_does_not_count_as_restricted() -> None:
    assert days("0 0 */2 * MON", "2026-01-01", 3) == ["2026-01-05", "2026-01-19", "2026-02-09"]


def test_a_question_mark_leaves_the_other_day_field_alone() -> None:
    assert days("0 0 0 ? * FRI", "2026-02-01", 2) == ["2026-02-06", "2026-02-13"]
    assert days("0 0 0 13 * ?", "2026-02-01", 2) == ["2026-02-13", "2026-03-13"]


def test_a_week_wraps_everywhere_and_hours_wrap_in_quartz_expressions() -> None:
    assert days("0 0 * * SAT-MON", "2026-01-01", 4) == ["2026-01-03", "2026-01-04", "2026-01-05", "2026-01-10"]
    assert days("0 0 * * 6-1/2", "2026-01-01", 3) == ["2026-01-03", "2026-01-05", "2026-01-10"]
    assert [fire[11:13] for fire in fires("0 0 22-2 * * ?", "2026-01-01 12:00", 6)] == [
        "22",
        "23",
        "00",
        "01",
        "02",
        "22",
    ]
    assert days("0 0 0 1 NOV-FEB ?", "2026-01-01", 4) == ["2026-02-01", "2026-11-01", "2026-12-01", "2027-01-01"]


# ---- days of the month that are not numbers --------------------------------------------------------------------------


def test_l_is_the_last_day_of_the_month() -> None:
    assert days("0 0 L * *", "2028-01-31", 3) == ["2028-02-29", "2028-03-31", "2028-04-30"]


def test_l_minus_counts_back_from_the_last_day() -> None:
    assert days("0 0 L-3 2,4 *", "2026-01-01", 2) == ["2026-02-25", "2026-04-27"]
    assert days("0 0 L-30 * *", "2026-01-31", 2) == ["2026-03-01", "2026-05-01"]


def test_lw_is_the_last_monday_to_friday() -> None:
    assert days("0 0 LW * *", "2026-01-01", 5) == ["2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"]


def test_w_is_the_nearest_weekday_within_the_month() -> None:
    assert days("0 0 15W * *", "2026-02-01", 4) == ["2026-02-16", "2026-03-16", "2026-04-15", "2026-05-15"]
    assert days("0 0 15W 8 *", "2026-01-01", 1) == ["2026-08-14"]  # the 15th is a Saturday
    assert days("0 0 1W 8 *", "2026-01-01", 1) == ["2026-08-03"]  # Saturday the 1st: July is another month
    assert days("0 0 31W 5 *", "2026-01-01", 1) == ["2026-05-29"]  # Sunday the 31st


def test_a_month_without_the_day_has_no_fire() -> None:
    assert days("0 0 31W * *", "2026-04-01", 1) == ["2026-05-29"]
    assert days("0 0 31 * *", "2026-04-01", 2) == ["2026-05-31", "2026-07-31"]


def test_a_number_or_name_before_l_is_the_last_such_day() -> None:
    expected = ["2026-01-30", "2026-02-27", "2026-03-27"]
    assert days("0 0 * * 5L", "2026-01-01", 3) == expected
    assert days("0 0 * * FRIL", "2026-01-01", 3) == expected
    assert days("0 0 0 ? * 6L", "2026-01-01", 3) == expected


def test_a_hash_counts_weekdays_of_the_month() -> None:
    assert days("0 0 * * MON#2", "2026-01-01", 3) == ["2026-01-12", "2026-02-09", "2026-03-09"]
    assert days("0 0 * * 1#1,FRI#5", "2026-01-01", 4) == ["2026-01-05", "2026-01-30", "2026-02-02", "2026-03-02"]


# ---- H ---------------------------------------------------------------------------------------------------------------


@given(seed=st.text(st.characters(codec="utf-8"), max_size=40))
def test_h_draws_one_value_of_the_field_or_of_its_range(seed: str) -> None:
    (fire,) = (datetime.fromisoformat(f) for f in fires("H H(2-4) H * *", "2026-01-01", 1, seed=seed))
    assert 2 <= fire.hour <= 4
    assert fire.day <= 28


@given(seed=st.text(st.characters(codec="utf-8"), max_size=40))
def test_h_with_a_step_keeps_the_distance_and_draws_the_start(seed: str) -> None:
    minutes = [int(fire[14:16]) for fire in fires("H/15 0 * * *", "2025-12-31 23:59", 4, seed=seed)]
    assert minutes == [minutes[0] + 15 * n for n in range(4)]
    assert minutes[0] < 15
    within = [int(fire[14:16]) for fire in fires("H(0-29)/10 0 * * *", "2025-12-31 23:59", 3, seed=seed)]
    assert within == [within[0] + 10 * n for n in range(3)]
    assert within[-1] <= 29


def test_h_spreads_many_schedules() -> None:
    minutes = {parse("H * * * *", f"schedule-{n}").minutes for n in range(1_000)}
    assert len(minutes) == 60


def test_h_is_the_same_in_every_process() -> None:
    code = "from controlplane.domain.cron import parse; print(parse('H H * * *', 'abc').next_after(0, 'UTC'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert found == {f"{parse('H H * * *', 'abc').next_after(0, 'UTC')}\n".encode()}


def test_without_h_the_seed_changes_nothing() -> None:
    assert parse("0 0 * MAR THU", "a") is parse("0 0 * MAR THU", "b")


# ---- what is refused, and how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "field", "position", "says"),
    [
        ("61 * * * *", "minute", 1, "allowed are 0-59"),
        ("* 24 * * *", "hour", 2, "allowed are 0-23"),
        ("* * 0 * *", "day-of-month", 3, "allowed are 1-31"),
        ("* * 32W * *", "day-of-month", 3, "allowed are 1-31"),
        ("* * L-31 * *", "day-of-month", 3, "allowed are L-0 to L-30"),
        ("* * * 13 *", "month", 4, "allowed are 1-12 or JAN-DEC"),
        ("* * * JANUARY *", "month", 4, "'JANUARY'"),
        ("* * * * 8", "day-of-week", 5, "allowed are 0-7 or SUN-SAT"),
        ("0 0 0 ? * 0", "day-of-week", 6, "allowed are 1-7 or SUN-SAT"),
        ("* * * * MON#6", "day-of-week", 5, "are allowed 1-5"),
        ("* * * * L", "day-of-week", 5, "5L for the last Friday"),
        ("60 * * * * *", "second", 1, "(field 1 of 6)"),
        ("0 0 0 1 1 ? 1969", "year", 7, "allowed are 1970-2099"),
        ("0 0 0 1 1 ? H", "year", 7, "every field but year"),
        ("*/0 * * * *", "minute", 1, "allowed are 1-60"),
        ("*/90 * * * *", "minute", 1, "allowed are 1-60"),
        ("50-10 * * * *", "minute", 1, "write it as two, 50-59,0-10"),
        ("0 0 0 20-10 * ?", "day-of-month", 4, "runs backwards"),
        ("H(9-2) * * * *", "minute", 1, "runs backwards"),
        ("? * * * *", "minute", 1, "day-of-month or day-of-week"),
        ("* * 1,? * *", "day-of-month", 3, "only alone"),
        ("0 0 ? * ?", "day-of-week", 5, "not in both"),
        ("1,,2 * * * *", "minute", 1, "''"),
        ("1-2-3 * * * *", "minute", 1, "'1-2-3' cannot be read"),
        ("MON#2 * * * *", "minute", 1, "belong to day-of-month"),
        ("* * * *", "", 0, "has 4 fields; allowed are 5"),
        ("", "", 0, "has 0 fields"),
        ("@reboot", "", 0, "names no time"),
        ("@fortnightly", "", 0, "allowed are @hourly"),
        ("٣ * * * *", "", 0, "not ASCII"),
        ("* " * 200, "", 0, "allowed are 256"),
    ],
)
def test_a_wrong_expression_names_the_field_and_what_is_allowed(
    expression: str, field: str, position: int, says: str
) -> None:
    with pytest.raises(CronError) as refused:
        parse(expression)
    assert (refused.value.field, refused.value.position) == (field, position)
    assert says in str(refused.value)
    if field:
        assert str(refused.value).startswith(f"{field} (field {position} of {len(expression.split())})")


@given(text=st.text("0123456789*/,-?LW#H()@ MONJA", max_size=40) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, "seed").next_after(0, "UTC")
    except CronError as refused:
        assert str(refused)


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "posix/UTC", "a\0"]
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ZoneError, match="not a time zone"):
        zone_of(name)


# ---- no fire ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 * * ? 2020", "0 0 0 29 2 ? 2027"])
def test_an_entry_that_never_fires_again_has_no_next(expression: str) -> None:
    assert fires(expression, "2026-01-01", 1) == []


def test_the_rarest_day_is_found_over_the_century_without_a_leap_year() -> None:
    assert days("0 0 * 2 MON#5", "2072-03-01", 1) == ["2112-02-29"]


@pytest.mark.parametrize("year", [-300_000, 1, 9998, 10_000, 300_000])
def test_instants_outside_the_calendar_are_answered(year: int) -> None:
    found = parse("0 0 * * *").next_after((year - 1970) * 31_556_952_000_000, "Europe/Berlin")
    assert (found is None) == (year >= 10_000)


# ---- clocks that jump: examples --------------------------------------------------------------------------------------


def test_a_fixed_hour_that_the_gap_swallowed_runs_at_the_first_valid_instant() -> None:
    assert fires("30 2 * * *", "2026-03-28 12:00", 2, "Europe/Berlin") == [
        "2026-03-29 03:00:00+02:00",
        "2026-03-30 02:30:00+02:00",
    ]


def test_many_swallowed_slots_of_one_entry_run_once() -> None:
    assert fires("*/10 2,3 * * *", "2026-03-29 01:00", 3, "Europe/Berlin") == [
        "2026-03-29 03:00:00+02:00",
        "2026-03-29 03:10:00+02:00",
        "2026-03-29 03:20:00+02:00",
    ]


def test_a_fixed_hour_runs_only_at_the_first_of_two_equal_times() -> None:
    assert fires("30 2 * * *", "2026-10-24 12:00", 2, "Europe/Berlin") == [
        "2026-10-25 02:30:00+02:00",
        "2026-10-26 02:30:00+01:00",
    ]


def test_a_fixed_hour_asked_within_the_second_of_two_equal_hours_waits_for_the_next_day() -> None:
    second = datetime.fromisoformat("2026-10-25 02:10:00+01:00")
    found = parse("*/5 2 * * *").next_after(instant(second), "Europe/Berlin")
    assert found is not None
    assert local(found, "Europe/Berlin").isoformat(sep=" ") == "2026-10-26 02:00:00+01:00"


@pytest.mark.parametrize("expression", ["0 * * * *", "0 */1 * * *", "0 0-23 * * *", "0 0 * * * ?"])
def test_an_hourly_entry_repeats_the_hour_of_autumn(expression: str) -> None:
    assert fires(expression, "2026-10-25 01:00", 3, "Europe/Berlin") == [
        "2026-10-25 02:00:00+02:00",
        "2026-10-25 02:00:00+01:00",
        "2026-10-25 03:00:00+01:00",
    ]


def test_a_stepped_hour_skips_the_hour_that_spring_does_not_have() -> None:
    assert fires("0 */2 * * *", "2026-03-29 00:00", 2, "Europe/Berlin") == [
        "2026-03-29 04:00:00+02:00",
        "2026-03-29 06:00:00+02:00",
    ]


def test_half_an_hour_of_jump_on_lord_howe() -> None:
    assert fires("15 2 * * *", "2026-10-03 12:00", 1, "Australia/Lord_Howe") == ["2026-10-04 02:30:00+11:00"]
    assert fires("*/15 * * * *", "2026-04-05 01:20", 6, "Australia/Lord_Howe") == [
        "2026-04-05 01:30:00+11:00",
        "2026-04-05 01:45:00+11:00",
        "2026-04-05 01:30:00+10:30",
        "2026-04-05 01:45:00+10:30",
        "2026-04-05 02:00:00+10:30",
        "2026-04-05 02:15:00+10:30",
    ]


def test_midnight_in_a_gap_runs_at_one() -> None:
    assert fires("0 0 * * *", "2018-11-03 12:00", 1, "America/Sao_Paulo") == ["2018-11-04 01:00:00-02:00"]


def test_a_day_that_a_zone_left_out_runs_when_the_next_begins() -> None:
    assert fires("0 12 30 12 *", "2011-12-01", 1, "Pacific/Apia") == ["2011-12-31 00:00:00+14:00"]


# ---- laws ------------------------------------------------------------------------------------------------------------
# Terms are drawn with the values that they stand for, so that the laws do not trust the reader they test.

Term = tuple[str, frozenset[int]]

JUMPS = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Asia/Shanghai", "1986-05-04"),
    ("Asia/Shanghai", "1986-09-14"),
    ("Asia/Shanghai", "2026-10-25"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Havana", "2026-11-01"),
    ("Pacific/Apia", "2011-12-30"),
    ("Europe/Dublin", "2026-03-29"),
]
ZONES = sorted({zone for zone, _ in JUMPS} | {"UTC", "Asia/Kolkata", "Africa/Casablanca"})


def _terms(low: int, high: int, steps: int) -> st.SearchStrategy[Term]:
    value = st.integers(low, high)
    step = st.integers(1, steps)
    ordered = st.tuples(value, value).map(sorted)
    return st.one_of(
        value.map(lambda v: (f"{v}", frozenset({v}))),
        ordered.map(lambda r: (f"{r[0]}-{r[1]}", frozenset(range(r[0], r[1] + 1)))),
        st.tuples(ordered, step).map(
            lambda x: (f"{x[0][0]}-{x[0][1]}/{x[1]}", frozenset(range(x[0][0], x[0][1] + 1, x[1])))
        ),
        st.tuples(value, step).map(lambda x: (f"{x[0]}/{x[1]}", frozenset(range(x[0], high + 1, x[1])))),
        step.map(lambda s: (f"*/{s}", frozenset(range(low, high + 1, s)))),
        st.just(("*", frozenset(range(low, high + 1)))),
    )


def _field(low: int, high: int, steps: int | None = None) -> st.SearchStrategy[Term]:
    lists = st.lists(_terms(low, high, steps or high - low + 1), min_size=1, max_size=3)
    return lists.map(lambda terms: (",".join(t for t, _ in terms), frozenset[int]().union(*(v for _, v in terms))))


def _follows_elapsed(hour: Term) -> bool:
    return "*" in hour[0] or "/" in hour[0] or len(hour[1]) == 24


@cache
def _minutes_around(day: str, zone: str) -> list[tuple[int, datetime]]:
    """Every minute from a day before to a day and a half after, as an instant and as the wall shows it."""
    start = instant(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))) - 1_440 * MINUTE_US
    return [(us, local(us, zone).replace(tzinfo=None)) for us in (start + n * MINUTE_US for n in range(3_600))]


def _expected(minute: Term, hour: Term, day: str, zone: str) -> list[int]:
    """The DST law in its slowest form: walk the minutes and look at the wall."""
    walls = _minutes_around(day, zone)
    if _follows_elapsed(hour):
        return [us for us, wall in walls if wall.minute in minute[1] and wall.hour in hour[1]]
    found = set()
    wall, last = walls[0][1], walls[-1][1]
    while wall <= last:
        if wall.minute in minute[1] and wall.hour in hour[1]:
            same = [us for us, shown in walls if shown == wall]
            found.add(same[0] if same else next(us for us, shown in walls if shown > wall))
        wall += timedelta(minutes=1)
    return sorted(found)


@settings(deadline=None, max_examples=150)
@given(minute=_field(0, 59), hour=_field(0, 23), jump=st.sampled_from(JUMPS))
def test_around_every_jump_the_fires_are_those_of_the_law(minute: Term, hour: Term, jump: tuple[str, str]) -> None:
    zone, day = jump
    if not _follows_elapsed(hour) and len(minute[1]) * len(hour[1]) > 60:
        minute = (f"{min(minute[1])}", frozenset({min(minute[1])}))  # the slow law is quadratic
    cron = parse(f"{minute[0]} {hour[0]} * * *")
    instants = [us for us, _ in _minutes_around(day, zone)]
    found = []
    us = cron.next_after(instants[0] - 1, zone)
    while us is not None and us <= instants[-1]:
        found.append(us)
        us = cron.next_after(us, zone)
    assert found == _expected(minute, hour, day, zone)


_WEEKDAY = _field(0, 7, steps=7).map(lambda term: (term[0], frozenset(day % 7 for day in term[1])))
_INSTANTS = st.integers(instant(datetime(1935, 1, 1, tzinfo=UTC)), instant(datetime(2090, 1, 1, tzinfo=UTC)))


@settings(deadline=None, max_examples=300)
@given(
    fields=st.tuples(_field(0, 59), _field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _WEEKDAY),
    after=_INSTANTS,
    zone=st.sampled_from(ZONES),
)
def test_fires_ascend_and_match_every_field_or_end_a_gap(fields: tuple[Term, ...], after: int, zone: str) -> None:
    second, minute, hour, dom, month, dow = fields
    cron = parse(" ".join(text for text, _ in fields))
    us: int | None = after
    for _ in range(4):
        previous = us
        assert previous is not None
        us = cron.next_after(previous, zone)
        if us is None:
            return
        assert us > previous
        assert us % 1_000_000 == 0
        assert cron.next_after(us - 1, zone) == us
        wall = local(us, zone)
        before = local(us - 1, zone)
        if not _follows_elapsed(hour) and wall.utcoffset() != before.utcoffset():
            continue  # the end of a gap stands for what lay in it
        assert wall.second in second[1]
        assert wall.minute in minute[1]
        assert wall.hour in hour[1]
        assert wall.month in month[1]
        by_date, by_weekday = wall.day in dom[1], wall.isoweekday() % 7 in dow[1]
        both = dom[0].startswith("*") or dow[0].startswith("*")
        assert (by_date and by_weekday) if both else (by_date or by_weekday)


@settings(deadline=None)
@given(
    minute=_field(0, 59), hour=_field(0, 23), after=_INSTANTS, step=st.integers(1, 10**12), zone=st.sampled_from(ZONES)
)
def test_a_later_question_never_has_an_earlier_answer(
    minute: Term, hour: Term, after: int, step: int, zone: str
) -> None:
    cron = parse(f"{minute[0]} {hour[0]} * * *")
    first, second = cron.next_after(after, zone), cron.next_after(after + step, zone)
    assert first is not None
    assert second is not None
    assert first <= second
    assert first == second or first <= after + step


# ---- the oracle ------------------------------------------------------------------------------------------------------

_DOM_SPECIAL = st.sampled_from([("L", frozenset[int]()), ("LW", frozenset[int]())])
_DOW_SPECIAL = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda x: (f"{x[0]}#{x[1]}", frozenset[int]())),
    st.sampled_from(["SUN#1", "MON#2", "SAT#5"]).map(lambda text: (text, frozenset[int]())),
    st.integers(0, 7).map(lambda n: (f"{n}L", frozenset[int]())),
    st.sampled_from(["MON-FRI", "SUN", "tue,Sat"]).map(lambda text: (text, frozenset[int]())),
)
_MONTH_NAMES = st.sampled_from(["JAN-MAR", "feb", "DEC,Jun"]).map(lambda text: (text, frozenset[int]()))


def _oracle(expression: str, after: int, zone: str, count: int) -> list[int]:
    found = []
    try:
        for moment in CronSim(expression, local(after, zone)):
            found.append(instant(moment))
            if len(found) == count:
                break
    except CronSimError:  # it refuses a day that no month has, and says that it never fires
        pass
    return found


def _ours(cron: Cron, after: int, zone: str, count: int) -> list[int]:
    found: list[int] = []
    us: int | None = after
    while len(found) < count and us is not None and (us := cron.next_after(us, zone)) is not None:
        found.append(us)
    return found


def _known(text: str) -> bool:
    # cronsim reads 5-5/2 as 5/2
    return not any(len(set(t.split("/")[0].split("-"))) == 1 and "-" in t and "/" in t for t in text.split(","))


@settings(deadline=None, max_examples=300)
@given(
    second=st.none() | _field(0, 59),
    minute=_field(0, 59),
    hour=_field(0, 23),
    dom=_field(1, 31) | _DOM_SPECIAL,
    month=_field(1, 12) | _MONTH_NAMES,
    dow=_WEEKDAY | _DOW_SPECIAL,
    after=_INSTANTS,
)
def test_cronsim_agrees_in_utc(
    second: Term | None, minute: Term, hour: Term, dom: Term, month: Term, dow: Term, after: int
) -> None:
    words = [term[0] for term in (second, minute, hour, dom, month, dow) if term is not None]
    assume(all(map(_known, words)))
    expression = " ".join(words)
    assert _ours(parse(expression), after, "UTC", 4) == _oracle(expression, after, "UTC", 4)


@settings(deadline=None, max_examples=300)
@given(
    minute=st.integers(0, 59),
    hour=st.just("*")
    | st.lists(st.integers(0, 23), min_size=1, max_size=4).map(lambda hours: ",".join(map(str, hours))),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "UTC"]),
    after=_INSTANTS,
)
def test_cronsim_agrees_in_zones_where_its_rule_is_ours(minute: int, hour: str, zone: str, after: int) -> None:
    assume(not local(after, zone).fold)  # it forgets which of two equal times it was asked about
    expression = f"{minute} {hour} * * *"
    assert _ours(parse(expression), after, zone, 30) == _oracle(expression, after, zone, 30)
