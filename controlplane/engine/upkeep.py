"""What keeps the store in shape: partitions made before they are needed, keys and outputs forgotten after their day."""

from __future__ import annotations

from controlplane.engine.context import Engine
from controlplane.engine.outputs import Outputs
from controlplane.store import PARTITIONED, Connection, dialect, idempotency

PERIOD_SECONDS = 60.0


class Upkeep:
    """The use case of the upkeep loop."""

    def __init__(self, engine: Engine, outputs: Outputs) -> None:
        self._engine = engine
        self._outputs = outputs

    async def keep_up(self) -> None:
        """Once around."""
        await self._engine.store.write(self._keep_up)
        await self._outputs.drop_stale()

    def _keep_up(self, connection: Connection) -> None:
        now = self._engine.clock.now()
        dialect.create_partitions(connection, PARTITIONED, now)
        idempotency.delete_expired(connection, now)


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
