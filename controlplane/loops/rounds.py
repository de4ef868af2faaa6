"""How every loop goes round: a turn, a pulse, a rest until the next thing is due or somebody hints.

A turn that fails is logged and tried again after a moment; a loop never ends by an error. A hint only shortens the
rest: behind each stands the sweep.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from controlplane.domain.errors import Exhausted, Unavailable
from controlplane.engine.context import Engine
from controlplane.engine.system import Pulse
from controlplane.loops.holder import Holder
from controlplane.store.wakeup import SWEEP_SECONDS, wait

ASK_SECONDS = 0.2  # between two questions for a loop that another replica holds

_log = structlog.get_logger("controlplane.loops")


async def go_round(
    engine: Engine,
    pulse: Pulse,
    turn: Callable[[], Awaitable[float | None]],
    *,
    hints: Sequence[str] = (),
    sweep: float = SWEEP_SECONDS,
) -> None:
    """Call `turn` for ever. It answers in how many seconds the next thing is due, at once for 0, None if nothing is."""
    with engine.wakeups.listen(*(hints or (pulse.name,))) as event:
        while True:
            event.clear()
            try:
                due = await turn()
                pulse.beat()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # a loop outlives whatever went wrong in one turn
                pulse.error = f"{type(error).__name__}: {error}"
                # A database that is away, or full, is no defect: a page of frames for each turn would bury all else.
                defect = None if isinstance(error, Unavailable | Exhausted) else error
                _log.warning("a turn failed", loop=pulse.name, error=pulse.error, exc_info=defect)
                due = random.uniform(0.2, 1.0)
                await asyncio.sleep(due)
            if due != 0:
                await wait(event, sweep if due is None else min(due, sweep))


def held(
    holder: Holder, turn: Callable[[], Awaitable[float | None]], *, ask_every: float = ASK_SECONDS
) -> Callable[[], Awaitable[float | None]]:
    """The same turn, taken only while this replica holds the loop. Whoever does not hold it gets its hints, too, and
    does not ask for it at each of them: the question is a transaction.
    """
    ask_at = 0.0

    async def turn_if_held() -> float | None:
        nonlocal ask_at
        if holder.token is None and time.monotonic() < ask_at:
            return None
        if await holder.hold():
            return await turn()
        ask_at = time.monotonic() + ask_every
        return None

    return turn_if_held
