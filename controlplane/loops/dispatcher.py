"""The dispatcher: hands ready tasks to the agents that are connected to this replica. Every replica runs one."""

from __future__ import annotations

import time

from controlplane.engine.agents import Agents
from controlplane.engine.placing import Placing
from controlplane.store.wakeup import SWEEP_SECONDS

# A cancel or a pause that another replica was asked for has to reach its agent within a second.
REFRESH_SECONDS = 0.5


class Dispatcher:
    """Places until nothing more can be placed. Now and then it also sees what other replicas changed."""

    def __init__(self, placing: Placing, agents: Agents) -> None:
        self._placing = placing
        self._agents = agents
        self._refreshed = 0.0
        self._learnt = 0.0

    async def turn(self) -> float | None:
        """One turn of the loop."""
        if time.monotonic() - self._refreshed >= REFRESH_SECONDS:
            await self._agents.refresh()
            self._placing.forget_backlog()
            self._refreshed = time.monotonic()
        if time.monotonic() - self._learnt >= SWEEP_SECONDS:
            await self._placing.learn()
            self._learnt = time.monotonic()
        return 0.0 if await self._placing.place() else REFRESH_SECONDS
