"""Loops that go round: what a failed turn does to the next, and to the log."""

import asyncio
from collections.abc import Callable

import pytest
import structlog

from controlplane.domain.errors import Unavailable
from controlplane.engine.context import Engine
from controlplane.engine.glances import Glances
from controlplane.engine.system import Pulse
from controlplane.loops.holder import Holder
from controlplane.loops.rounds import glanced, go_round, held, until_sweep


@pytest.mark.parametrize(
    ("trouble", "is_shown_whole"), [(Unavailable("the database is away"), False), (ValueError("a defect"), True)]
)
async def test_a_loop_outlives_a_failed_turn_and_shows_frames_only_of_defects(
    engine: Engine, trouble: Exception, is_shown_whole: bool
) -> None:
    pulse = Pulse("tests")
    turns: list[str] = []
    again = asyncio.Event()

    async def turn() -> float | None:
        turns.append(pulse.error)
        if len(turns) == 1:
            raise trouble
        again.set()
        return None

    with structlog.testing.capture_logs() as said:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            loop = group.create_task(go_round(engine, pulse, turn))
            await again.wait()
            loop.cancel()
    assert turns == ["", f"{type(trouble).__name__}: {trouble}"]
    [line] = said
    assert (line["loop"], line["log_level"]) == ("tests", "warning")
    assert (line["exc_info"] is not None) == is_shown_whole


async def test_who_does_not_hold_a_loop_does_not_ask_for_it_at_every_hint(engine: Engine) -> None:
    holding, waiting = Holder(engine, "loop", "a"), Holder(engine, "loop", "b")
    assert await holding.hold()
    turns: list[str] = []

    async def turn() -> float | None:
        turns.append("taken")
        return None

    seldom, always = held(waiting, turn, ask_every=3600.0), held(waiting, turn, ask_every=0.0)
    written = engine.store.measures.statements.labels("write")
    assert await seldom() is None
    asked = written._value.get()
    assert await seldom() is None
    assert written._value.get() == asked
    await holding.release()
    assert not turns
    await always()
    await seldom()
    assert turns == ["taken", "taken"], "whoever holds it is not held up"


async def test_a_sweep_glances_and_takes_its_turn_only_for_what_it_sees(engine: Engine) -> None:
    done: list[str] = []
    seen: list[float | None] = [None, None, 0.0]
    found = asyncio.Event()

    async def turn() -> float | None:
        done.append("turn")
        if len(done) > 1:
            found.set()
        return None

    async def glance() -> float | None:
        done.append("glance")
        return seen.pop(0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        loop = group.create_task(go_round(engine, Pulse("tests"), turn, sweep=0.01, glance=glance))
        await found.wait()
        loop.cancel()
    assert done == ["turn", "glance", "glance", "glance", "turn"]


@pytest.mark.parametrize("sweep", [0.01, 3600.0])
async def test_what_a_hint_or_its_time_brings_is_not_only_glanced_at(engine: Engine, sweep: float) -> None:
    turns, again = [0.001, None], asyncio.Event()

    async def turn() -> float | None:
        if turns:
            return turns.pop(0)
        again.set()
        return 0.001

    async def glance() -> float | None:
        engine.wakeups.hint("tests")
        return None

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        loop = group.create_task(go_round(engine, Pulse("tests"), turn, sweep=sweep, glance=glance))
        await until(lambda: not turns)
        engine.wakeups.hint("tests")
        await again.wait()
        loop.cancel()


async def until(fact: Callable[[], bool]) -> None:
    while not fact():  # noqa: ASYNC110 # a look from outside: nobody calls us back
        await asyncio.sleep(0.005)


def test_sweeps_of_one_process_come_in_the_same_moment() -> None:
    for period in (0.25, 0.5, 1.0, 60.0):
        assert 0.0 < until_sweep(period) <= period
    half, whole = until_sweep(0.5), until_sweep(1.0)
    assert min(abs(whole - half - late) for late in (0.0, 0.5)) < 0.1


async def test_who_does_not_hold_a_loop_writes_nothing_until_it_is_free(engine: Engine) -> None:
    holding, waiting = Holder(engine, "loop", "a"), Holder(engine, "loop", "b")
    assert await holding.hold()
    engine.store.commit_seconds.clear()
    sweep = glanced(waiting, Glances(engine), lambda _: 0.0)
    assert await sweep() is None
    assert not engine.store.commit_seconds
    await holding.release()
    sweep = glanced(waiting, Glances(engine), lambda _: None)
    assert await sweep() == 0.0
    assert len(engine.store.commit_seconds) == 1, "who released it wrote, and nobody else"
    assert await waiting.hold()
    assert await sweep() is None


async def test_a_loop_whose_holder_is_gone_is_taken_over_when_its_lease_is_over(engine: Engine) -> None:
    gone, waiting = Holder(engine, "loop", "a"), Holder(engine, "loop", "b")
    assert await gone.hold()
    engine.clock.offset += 1_000_000
    assert await glanced(waiting, Glances(engine), lambda _: None)() is None
    engine.clock.offset += 2_100_000
    assert await glanced(waiting, Glances(engine), lambda _: None)() == 0.0


async def test_a_sweep_lets_the_lease_run_on_and_sees_nothing_where_it_is_lost(engine: Engine) -> None:
    holding = Holder(engine, "loop", "a")
    assert await holding.hold()
    sweep = glanced(holding, Glances(engine), lambda _: 1.5)
    assert await sweep() == 1.5
    holding._renew_at = 0.0
    before = holding._over_at
    assert await sweep() == 1.5
    assert holding._over_at > before
    assert await Holder(engine, "loop", "a").hold()  # its process was started again
    holding._renew_at = 0.0
    assert await sweep() is None
    assert holding.token is None
