"""Loops that go round: what a failed turn does to the next, and to the log."""

import asyncio

import pytest
import structlog

from controlplane.domain.errors import Unavailable
from controlplane.engine.context import Engine
from controlplane.engine.system import Pulse
from controlplane.loops.holder import Holder
from controlplane.loops.rounds import go_round, held


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
