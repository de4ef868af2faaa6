"""The dispatcher: hands ready tasks to the agents that are connected to this replica. Every replica runs one."""

from __future__ import annotations

import time

from controlplane.engine.agents import Agents
from controlplane.engine.placing import Placing
from controlplane.store.wakeup import SWEEP_SECONDS


class Dispatcher:
    """Places until nothing more can be placed; once per sweep it also sees what other replicas changed."""

    def __init__(self, placing: Placing, agents: Agents) -> None:
        self._placing = placing
        self._agents = agents
        self._swept = 0.0

    async def turn(self) -> float | None:
        """One turn of the loop."""
        if time.monotonic() - self._swept >= SWEEP_SECONDS:
            await self._agents.refresh()
            await self._placing.learn()
            self._swept = time.monotonic()
        return 0.0 if await self._placing.place() else None
