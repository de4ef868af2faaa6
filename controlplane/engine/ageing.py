"""What has waited long grows more important, step by step, so that nothing starves."""

from __future__ import annotations

from controlplane.domain.ageing import Ageing
from controlplane.engine.context import Engine
from controlplane.store import tasks

SECOND = 1_000_000


class Aged:
    """The use case of the ageing loop. `seconds` of waiting are worth `step`; 0: nothing ages."""

    def __init__(self, engine: Engine, seconds: float, step: int) -> None:
        self._engine = engine
        self._seconds = seconds
        self._ageing = Ageing(round(seconds * SECOND), step) if seconds and step else None

    async def turn(self) -> float | None:
        """Raise what has waited for another interval; in how many seconds the next look is due, None for never."""
        if self._ageing is None:
            return None
        store, now = self._engine.store, self._engine.clock.now()
        for demand in sorted(await store.read(tasks.ready_requirements)):
            await store.write(tasks.age, demand, now, self._ageing)  # one by one: others write meanwhile
        return self._seconds
