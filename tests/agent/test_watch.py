"""What is concluded from looks at a run: figures and times come from the test, no process is needed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent.procfs import Stat
from agent.watch import CEILING, CPU, MEMORY, PROCESSES, Breach, Watch

MIB = 1 << 20
NONE = 2**22 + 1
"""No process has this number, so that shared memory is not asked for."""


def watch(ceiling: int | None = None, **bounds: float) -> Watch:
    return Watch(bounds, None, 100.0, ceiling)


def one(cpu: float = 0.0, threads: int = 1, resident: int = MIB) -> dict[int, Stat]:
    return {NONE: Stat(1, NONE, NONE, cpu, threads, resident)}


def test_the_most_memory_of_all_together_is_remembered() -> None:
    seen = watch()
    for resident in (3, 9, 4):
        seen.look(one(resident=resident * MIB) | {NONE + 1: Stat(1, 1, 1, 0.0, 1, MIB)}, 0.0, 101.0)
    assert seen.peak == 10 * MIB
    assert seen.breach is None


def test_more_than_a_limit_is_a_breach_that_says_how_much_was_seen() -> None:
    greedy = watch(memory=4 * MIB)
    greedy.look(one(resident=4 * MIB), 0.0, 101.0)
    assert greedy.breach is None
    greedy.look(one(resident=5 * MIB), 0.0, 102.0)
    assert greedy.breach == Breach(MEMORY, 4 * MIB, 5 * MIB)
    crowd = watch(processes=3)
    crowd.look(one(threads=4), 0.0, 101.0)
    assert crowd.breach == Breach(PROCESSES, 3, 4)


def test_the_first_breach_is_the_reason() -> None:
    both = watch(memory=4 * MIB, processes=3)
    both.look(one(resident=5 * MIB), 0.0, 101.0)
    both.look(one(resident=MIB, threads=9), 0.0, 102.0)
    assert both.breach is not None
    assert both.breach.kind == MEMORY


def test_the_ceiling_of_the_agent_is_told_from_a_limit_of_the_job() -> None:
    crowd = watch(ceiling=3)
    crowd.look(one(threads=4), 0.0, 101.0)
    assert crowd.breach == Breach(CEILING, 3, 4)


def test_a_run_stands_still_until_its_share_has_grown_again() -> None:
    half = watch(cpu=0.5)
    half.look(one(cpu=1.0), 0.0, 101.0)  # a second of the processor in a second
    assert half.must_stop
    half.stopped = True
    half.look(one(cpu=1.0), 0.0, 101.9)
    assert half.must_stop
    half.look(one(cpu=1.0), 0.0, 102.1)
    assert not half.must_stop
    assert half.throttled_seconds == pytest.approx(1.1)


def test_what_ended_processes_used_counts() -> None:
    half = watch(cpu=0.5)
    half.look({}, 1.0, 101.0)
    assert half.must_stop


def test_an_idle_run_saves_up_next_to_nothing() -> None:
    half = watch(cpu=0.5)
    half.look(one(), 0.0, 200.0)
    half.look(one(cpu=0.2), 0.0, 200.1)
    assert half.must_stop


def test_a_pause_is_not_the_limits_doing() -> None:
    half = watch(cpu=0.5)
    half.look(one(cpu=1.0), 0.0, 101.0)
    half.stopped = True
    half.look(one(cpu=1.0), 0.0, 131.0, paused=True)
    assert half.throttled_seconds == 0


def test_a_run_without_limits_is_looked_at_ever_more_rarely_and_with_the_others() -> None:
    seen, times = watch(), [100.0]
    for _ in range(12):
        now = seen.next_at
        seen.look(one(), 0.0, now)
        times.append(now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] <= 0.2
    assert 1.0 <= gaps[-1] <= 3.0
    assert times[-1] == int(times[-1])
    seen.look(one(threads=60), 0.0, seen.next_at)
    assert seen.next_at - times[-1] <= 3.5
    assert seen._interval == pytest.approx(0.1), "so many at once are looked at again soon"


def test_a_limit_that_is_held_by_looking_is_looked_at_often() -> None:
    assert watch(memory=MIB).next_at == pytest.approx(100.05)
    assert watch(cpu=1.0).held_by() == {CPU: "sampling"}
