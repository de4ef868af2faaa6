"""The clocks of an attempt: which of them is over first, and which stand still while it is paused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clocks import Clocks

HOURS = st.floats(0, 3600)


def test_nothing_is_over_that_has_no_limit() -> None:
    clocks = Clocks(0.0, 0.0, 0.0, None)
    clocks.start(1.0)
    assert clocks.next_at() == math.inf
    assert clocks.over(1e9) is None


@pytest.mark.parametrize(
    ("timeout", "heartbeat", "total", "code", "at"),
    [
        (10.0, 20.0, 30.0, "TIMEOUT", 15.0),
        (20.0, 10.0, 30.0, "HEARTBEAT_TIMEOUT", 15.0),
        (20.0, 20.0, 10.0, "TOTAL_TIMEOUT", 10.0),
    ],
)
def test_the_first_that_is_over_counts(timeout: float, heartbeat: float, total: float, code: str, at: float) -> None:
    clocks = Clocks(0.0, timeout, heartbeat, total)
    clocks.start(5.0)
    assert clocks.next_at() == at
    assert clocks.over(at - 0.01) is None
    assert clocks.over(at) == code


def test_the_total_time_counts_before_anything_has_started() -> None:
    clocks = Clocks(100.0, 5.0, 5.0, 10.0)
    assert (clocks.next_at(), clocks.over(110.0)) == (110.0, "TOTAL_TIMEOUT")


def test_every_word_makes_silence_begin_anew() -> None:
    clocks = Clocks(0.0, 100.0, 10.0, None)
    clocks.start(0.0)
    for at in (9.0, 18.0, 27.0):
        assert clocks.over(at) is None
        clocks.hear(at)
    assert clocks.over(37.0) == "HEARTBEAT_TIMEOUT"


def test_while_it_is_paused_only_the_total_time_goes_on() -> None:
    clocks = Clocks(0.0, 10.0, 5.0, 1000.0)
    clocks.start(0.0)
    clocks.pause(4.0)
    clocks.pause(8.0)  # said twice
    assert (clocks.paused, clocks.over(999.0), clocks.next_at()) == (True, None, 1000.0)
    clocks.resume(504.0)
    clocks.resume(505.0)
    assert (clocks.over(504.9), clocks.over(505.0)) == (None, "HEARTBEAT_TIMEOUT")
    clocks.hear(505.5)
    assert (clocks.over(509.9), clocks.over(510.0)) == (None, "TIMEOUT")


@given(start=HOURS, pauses=st.lists(st.tuples(HOURS, HOURS), max_size=5))
def test_pauses_move_the_end_by_as_long_as_they_lasted(start: float, pauses: list[tuple[float, float]]) -> None:
    clocks = Clocks(0.0, 1e6, 0.0, None)
    clocks.start(start)
    now = start
    for running, paused in pauses:
        clocks.pause(now + running)
        now += running + paused
        clocks.resume(now)
    assert clocks.next_at() == pytest.approx(start + 1e6 + sum(paused for _, paused in pauses))


@given(paused_at=HOURS, started_after=HOURS, resumed_after=HOURS)
def test_what_starts_while_it_is_paused_counts_from_when_it_goes_on(
    paused_at: float, started_after: float, resumed_after: float
) -> None:
    clocks = Clocks(0.0, 50.0, 0.0, None)
    clocks.pause(paused_at)
    clocks.start(paused_at + started_after)
    resumed_at = paused_at + started_after + resumed_after
    clocks.resume(resumed_at)
    assert clocks.next_at() == pytest.approx(resumed_at + 50.0)
