"""What keeps the store in shape: partitions that are there before they are needed, figures for the planner, and what
has been kept long enough taken out (`retention.py`). And the clock, which every replica steers for itself.
"""

from __future__ import annotations

import time

import structlog

from controlplane.domain.ids import id_time
from controlplane.engine.context import Engine
from controlplane.engine.retention import Retention
from controlplane.store import PARTITIONED, Connection, dialect
from controlplane.store.dialect import Month

PERIOD_SECONDS = 60.0
ANALYSE_EVERY = 24 * 3_600_000_000
ANALYSE_FIRST = 3_600_000_000  # after the start: not while everybody comes back
LONGEST_REST = 1.0

_log = structlog.get_logger("controlplane.upkeep")


class Upkeep:
    """The use case of the upkeep loop, which one replica runs."""

    def __init__(self, engine: Engine, retention: Retention) -> None:
        self._engine = engine
        self._retention = retention
        self._analyse_at = engine.clock.now() + ANALYSE_FIRST

    async def turn(self) -> float | None:
        """Once around; in how many seconds there is more to do. It rests as long as it worked: others write too."""
        begun = time.monotonic()
        await self._engine.store.write(make_partitions, self._engine.clock.now())
        await self._engine.store.write(adopt_strays)
        now = self._engine.clock.now()
        if now >= self._analyse_at:
            self._analyse_at = now + ANALYSE_EVERY
            await self._engine.store.write(dialect.analyse, PARTITIONED)
        more = await self._retention.turn()
        return min(LONGEST_REST, time.monotonic() - begun) if more else None


def make_partitions(connection: Connection, now: int) -> None:
    """This month's and next month's, before anything is written into them."""
    made = dialect.create_partitions(connection, PARTITIONED, now)
    if made:
        _log.info("partitions were made", partitions=made)


def adopt_strays(connection: Connection) -> None:
    """Give rows that lie in a default partition the month that was missing."""
    for table, smallest in dialect.strays(connection, PARTITIONED).items():
        month = Month(*dialect.month_bounds(id_time(smallest)))
        dialect.create_month(connection, PARTITIONED, month)
        _log.warning("rows that had no partition have one now", table=table, month=month.name)


async def stray_alarm(engine: Engine) -> str:
    """What health says of rows that have no partition of their month; nothing while there are none."""
    found = await engine.store.read(dialect.strays, PARTITIONED)
    engine.store.measures.strays.set(len(found))
    if not found:
        return ""
    named = ", ".join(f"{table} from {smallest} on" for table, smallest in sorted(found.items()))
    message = f"rows lie in the default partition, so a clock was wrong or a month was missing: {named}"
    _log.error(message)
    return message


class ClockKeeper:
    """Steers the engine's clock to the database's, which decides what is due when several replicas share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def steer(self) -> float:
        """Measure the offset; by how many seconds it moved. A database in this process has no clock of its own."""
        before = self._engine.clock.machine()
        there = await self._engine.store.read(dialect.clock)
        if there is None:
            return 0.0
        here = (before + self._engine.clock.machine()) // 2
        moved = there - here - self._engine.clock.offset
        self._engine.clock.offset += moved
        return moved / 1e6
