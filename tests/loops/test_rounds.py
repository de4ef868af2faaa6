"""Loops that go round: what a failed turn does to the next, and to the log."""

import asyncio

import pytest
import structlog

from controlplane.domain.errors import Unavailable
from controlplane.engine.context import Engine
from controlplane.engine.system import Pulse
from controlplane.loops.rounds import go_round


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
