"""How every loop goes round: a turn, a pulse, a rest until the next thing is due or somebody hints.

A turn that fails is logged and tried again after a moment; a loop never ends by an error. A hint only shortens the
rest: behind each stands the sweep. What a sweep finds is nearly always nothing, so it begins with a glance that all of
them share (`engine/glances.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from controlplane.domain.errors import Exhausted, Unavailable
from controlplane.engine.context import Engine
from controlplane.engine.glances import Glances
from controlplane.engine.system import Pulse
from controlplane.loops.holder import Holder
from controlplane.store.glance import Glance
from controlplane.store.wakeup import SWEEP_SECONDS, wait

ASK_SECONDS = 0.2  # between two questions for a loop that another replica holds

_PHASE = random.random()  # replicas of one machine need not all look in one moment

Turn = Callable[[], Awaitable[float | None]]
"""Does what is due; in how many seconds there is more, at once for 0, None for nothing that is known."""

_log = structlog.get_logger("controlplane.loops")


async def go_round(
    engine: Engine,
    pulse: Pulse,
    turn: Turn,
    *,
    hints: Sequence[str] = (),
    sweep: float = SWEEP_SECONDS,
    glance: Turn | None = None,
) -> None:
    """Call `turn` for ever. It answers in how many seconds the next thing is due, at once for 0, None if nothing is.
    Sweeps that nobody asked for call `glance` instead, where there is one: it answers the same way at less cost.
    """
    with engine.wakeups.listen(*(hints or (pulse.name,))) as event:
        sweeps = False
        while True:
            event.clear()
            try:
                due = await (glance if sweeps and glance is not None else turn)()
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
            sweeps = False
            if due != 0:
                until = until_sweep(sweep)
                hinted = await wait(event, until if due is None else min(due, until))
                sweeps = not hinted and (due is None or due > until)


def until_sweep(period: float) -> float:
    """Seconds until the next sweep of all loops with this period: one moment for all of this process, which is woken
    once and looks once.
    """
    return period - (time.monotonic() + _PHASE) % period


def held(holder: Holder, turn: Turn, *, ask_every: float = ASK_SECONDS) -> Turn:
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


def glanced(holder: Holder, glances: Glances, due: Callable[[Glance], float | None]) -> Turn:
    """What a sweep of a held loop does: let the lease run on, and look whether there is anything to do. `due` reads
    that off what was seen. Whoever does not hold the loop asks for it when nobody does any more.
    """

    async def look() -> float | None:
        if holder.token is not None and not await holder.hold():
            return None
        seen = await glances.look()
        if holder.token is None:
            return 0.0 if glances.has_come(holder.free_at(seen.leases)) else None
        return due(seen)

    return look
