"""The look that the loops' sweeps share: they come round in the same moment, and the first one asks for all of them."""

from __future__ import annotations

import asyncio
import time

from controlplane.engine.context import Engine
from controlplane.store import glance
from controlplane.store.glance import Glance

TOGETHER_SECONDS = 0.1  # whoever asks so soon after a look began is content with what it saw


class Glances:
    """On the loop's thread. `mark` is of the backlog, taken before the last look began."""

    def __init__(self, engine: Engine) -> None:
        self.mark = 0
        self._engine = engine
        self._looking = asyncio.Lock()
        self._seen: tuple[float, Glance] | None = None

    async def look(self) -> Glance:
        """What there is, as of a moment ago. Raises Unavailable."""
        asked = time.monotonic()
        async with self._looking:
            if self._seen is None or self._seen[0] < asked - TOGETHER_SECONDS:
                began, mark = time.monotonic(), self._engine.backlog.mark()
                seen = await self._engine.store.read(glance.look, self._engine.replica_id)
                self._seen, self.mark = (began, seen), mark
            return self._seen[1]

    def has_come(self, instant: int) -> bool:
        """Whether an instant has come that a look gave."""
        return instant <= self._engine.clock.now()

    def seconds_until(self, instant: int | None) -> float | None:
        """Until an instant that a look gave; 0 when it has come, None for none."""
        return None if instant is None else max(0.0, (instant - self._engine.clock.now()) / 1_000_000)
