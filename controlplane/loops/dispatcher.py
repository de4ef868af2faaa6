"""The dispatcher: hands ready tasks to the agents that are connected to this replica. Every replica runs one."""

from __future__ import annotations

import time

from controlplane.engine.agents import Agents
from controlplane.engine.glances import Glances
from controlplane.engine.placing import Placing
from controlplane.engine.replicas import Replicas
from controlplane.loops.rounds import until_sweep
from controlplane.store.wakeup import SWEEP_SECONDS

# A cancel or a pause that another replica was asked for has to reach its agent within a second, also if nobody says so.
REFRESH_SECONDS = 0.5
SOON_SECONDS = 0.02  # if somebody does; a thousand cancels are not a thousand looks
LEARN_SECONDS = 60.0  # what a glance cannot tell of is learnt all the same


class Dispatcher:
    """Places until nothing more can be placed. Now and then it also sees what other replicas changed."""

    def __init__(self, placing: Placing, agents: Agents, replicas: Replicas, glances: Glances) -> None:
        self._replicas = replicas
        self._placing = placing
        self._agents = agents
        self._glances = glances
        self._look_at = 0.0  # time.monotonic
        self._refreshed = 0.0
        self._learnt = -LEARN_SECONDS

    async def turn(self) -> float | None:
        """One turn of the loop."""
        if self._replicas.asked and time.monotonic() - self._refreshed >= SOON_SECONDS:
            await self._refresh()
        if time.monotonic() >= self._look_at:
            await self._look()
            self._look_at = time.monotonic() + until_sweep(self._period())
        if await self._placing.place():
            return 0.0
        return SOON_SECONDS if self._replicas.asked else max(0.0, self._look_at - time.monotonic())

    def _period(self) -> float:
        """Where no agent is connected there is nobody to be told of anything."""
        return REFRESH_SECONDS if self._agents.connected else SWEEP_SECONDS

    async def _look(self) -> None:
        seen = await self._glances.look()
        if self._agents.may_differ(seen):
            await self._refresh()
        self._placing.see_waiting(seen, self._glances.mark)
        if self._placing.is_news(seen) or time.monotonic() - self._learnt >= LEARN_SECONDS:
            await self._placing.learn()
            self._placing.note(seen)
            self._learnt = time.monotonic()

    async def _refresh(self) -> None:
        self._replicas.asked = False
        await self._agents.refresh()
        self._refreshed = time.monotonic()
