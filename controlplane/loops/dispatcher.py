"""The dispatcher: hands ready tasks to the agents that are connected to this replica. Every replica runs one."""

from __future__ import annotations

import time

from controlplane.engine.agents import Agents
from controlplane.engine.placing import Placing
from controlplane.engine.replicas import Replicas
from controlplane.store.wakeup import SWEEP_SECONDS

# A cancel or a pause that another replica was asked for has to reach its agent within a second, also if nobody says so.
REFRESH_SECONDS = 0.5
SOON_SECONDS = 0.02  # if somebody does; a thousand cancels are not a thousand looks


class Dispatcher:
    """Places until nothing more can be placed. Now and then it also sees what other replicas changed."""

    def __init__(self, placing: Placing, agents: Agents, replicas: Replicas) -> None:
        self._replicas = replicas
        self._placing = placing
        self._agents = agents
        self._refreshed = 0.0
        self._learnt = 0.0

    async def turn(self) -> float | None:
        """One turn of the loop."""
        if time.monotonic() - self._refreshed >= self._refresh_after():
            self._replicas.asked = False
            await self._agents.refresh()
            self._placing.forget_backlog()
            self._refreshed = time.monotonic()
        if time.monotonic() - self._learnt >= SWEEP_SECONDS:
            await self._placing.learn()
            self._learnt = time.monotonic()
        return 0.0 if await self._placing.place() else self._refresh_after()

    def _refresh_after(self) -> float:
        return SOON_SECONDS if self._replicas.asked else REFRESH_SECONDS
