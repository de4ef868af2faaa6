"""Why a task does not move, and who will move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controlplane.domain.errors import NotFound
from controlplane.domain.job import Requirement
from controlplane.domain.matching import OWN_AGENT, Obstacle, explain
from controlplane.domain.retry import SCHEDULE_TO_START_TIMEOUT, TIMEOUT, TOTAL_TIMEOUT
from controlplane.domain.task import Status, Task
from controlplane.engine.agents import Agents, offer_of
from controlplane.engine.context import Engine
from controlplane.engine.placing import Placing
from controlplane.engine.sessions import Sessions
from controlplane.engine.tasks import Tasks
from controlplane.store import Connection, tasks
from controlplane.store.agents import AgentStatus


@dataclass(frozen=True, slots=True)
class Explanation:
    """`reason` is a name of TaskExplanation.Reason."""

    task_id: str
    status: Status
    reason: str
    message: str
    moved_by: str
    next_at: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    next_timeout: tuple[str, int] | None = None  # the code that it would fail with, and when


class Explain:
    """The use case. What it says of agents is what this replica sees of them."""

    def __init__(self, engine: Engine, tasks: Tasks, placing: Placing, sessions: Sessions, agents: Agents) -> None:
        self._engine = engine
        self._tasks = tasks
        self._placing = placing
        self._sessions = sessions
        self._agents = agents

    async def task(self, namespace_id: str, task_id: str) -> Explanation:
        """Raises NotFound."""
        one = (await self._tasks.get(namespace_id, task_id)).task
        timeouts = await self._engine.store.read(_timeouts, one)
        return replace(await self._reason(one), next_timeout=min(timeouts, key=lambda each: each[1], default=None))

    async def _reason(self, one: Task) -> Explanation:
        if one.is_final:
            return self._say(one, "FINISHED", f"it has ended: {one.status.name}", "a person, by a retry")
        if one.on_agent and one.paused_from is None:
            return await self._on_agent(one)
        if one.status is Status.WAITING_RETRY:
            text = f"attempt {one.attempt} failed; the next waits for its time"
            return self._say(one, "WAITING_FOR_RETRY", text, "the timers", one.wake_at)
        if one.status is Status.PAUSED:
            where = f"; agent {one.agent_id!r} holds it still" if one.on_agent else ""
            return self._say(one, "PAUSED", f"somebody paused it{where}", "a person")
        if one.status is Status.BLOCKED:
            return self._say(one, "BLOCKED", "it waits for other nodes", "the end of those nodes")
        if one.scheduled_at > self._engine.clock.now():
            return self._say(one, "SCHEDULED_FOR_LATER", "its time has not come", "the timers", one.scheduled_at)
        return await self._pending(one)

    async def _on_agent(self, one: Task) -> Explanation:
        assert one.agent_id is not None
        key = await self._agents.home_of(one)
        agent = (await self._agents.get(key)).agent
        details = {"agent_id": agent.id, "agent_status": agent.status.name}
        if agent.status in (AgentStatus.DISCONNECTED, AgentStatus.LOST):
            text = f"agent {agent.id!r} is out of reach; if it does not come back, the task is placed anew"
            return self._say(one, "AGENT_DISCONNECTED", text, "the agent, or the reaper", None, details)
        if one.cancel_requested:
            text = f"agent {agent.id!r} is stopping it"
            return self._say(one, "BEING_CANCELLED", text, "the agent", None, details)
        return self._say(one, "ON_AGENT", f"agent {agent.id!r} has it", "the agent", None, details)

    async def _pending(self, one: Task) -> Explanation:
        await self._placing.learn()
        requirement = self._placing.requirement(one.requirement_id)
        assert requirement is not None
        if own := requirement.labels.get(OWN_AGENT):
            return await self._waits_for(one, requirement, own)
        verdict = explain(requirement, self._sessions.offers())
        if verdict.obstacle is Obstacle.NONE and (cap := self._placing.full_at):
            text = f"agents have room, but [scheduler] max_concurrent_tasks = {cap} is reached"
            return self._say(one, "NO_FREE_SLOTS", text, "the end of a running task")
        nearest = verdict.nearest.split("/", 1)[-1]
        missing = dict(verdict.missing or {})
        wanted = ", ".join(f"{key}={value}" for key, value in missing.items())
        reason, message = {
            Obstacle.NO_AGENT: ("NO_AGENT", f"no agent is connected that serves namespace {one.namespace_id!r}"),
            Obstacle.NO_EXECUTOR: ("NO_EXECUTOR", _no_executor(requirement)),
            Obstacle.NO_MATCHING_LABELS: (
                "NO_MATCHING_LABELS",
                f"no connected agent has all its labels; the nearest, {nearest!r}, lacks {wanted}",
            ),
            Obstacle.NO_FREE_SLOTS: ("NO_FREE_SLOTS", "all slots of the agents that match are taken"),
            Obstacle.NONE: ("ABOUT_TO_START", "an agent has room for it: it is about to be placed"),
        }[verdict.obstacle]
        details = {f"missing.{key}": value for key, value in missing.items()}
        if nearest:
            details["nearest_agent"] = nearest
        return self._say(one, reason, message, "the dispatcher", None, details)

    async def _waits_for(self, one: Task, requirement: Requirement, own: str) -> Explanation:
        """Of a task that one agent alone may run, what that agent does."""
        space, _, name = own.rpartition("/")
        only = f"only agent {name!r} may run it"
        try:
            agent = (await self._agents.get((space, name))).agent
        except NotFound:
            return self._say(one, "NO_AGENT", f"{only}, and that was deleted", "a person", None, {"agent_id": name})
        details = {"agent_id": name, "agent_status": agent.status.name}
        if agent.status is not AgentStatus.ONLINE:
            text = f"{only}, and that is {agent.status.name}"
            return self._say(one, "NO_AGENT", text, "the agent, when it connects again", None, details)
        session = self._sessions.find((space, name))
        offer = offer_of(agent) if session is None else session.offer()
        verdict = explain(requirement, [offer])
        missing = ", ".join(f"{key}={value}" for key, value in (verdict.missing or {}).items())
        reason, text = {
            Obstacle.NO_AGENT: ("NO_AGENT", f"{only}, and that does not serve namespace {one.namespace_id!r} any more"),
            Obstacle.NO_EXECUTOR: ("NO_EXECUTOR", f"{only}, and that lacks the executor {requirement.executor!r} now"),
            Obstacle.NO_MATCHING_LABELS: ("NO_MATCHING_LABELS", f"{only}, and that lacks {missing} now"),
            Obstacle.NO_FREE_SLOTS: ("NO_FREE_SLOTS", f"{only}, and all its slots are taken"),
        }.get(verdict.obstacle, ("ABOUT_TO_START", f"{only}, and that has room for it: it is about to be placed"))
        return self._say(one, reason, text, "the dispatcher", None, details)

    @staticmethod
    def _say(
        one: Task,
        reason: str,
        message: str,
        moved_by: str,
        next_at: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Explanation:
        return Explanation(one.id, one.status, reason, message, moved_by, next_at, {**_part(one), **(details or {})})


def _part(one: Task) -> Mapping[str, str]:
    """Which part of a group it is."""
    if one.group_id is None:
        return {}
    return {"group_id": one.group_id, "shard_index": str(one.shard_index), "shard_total": str(one.shard_total)}


def _timeouts(connection: Connection, one: Task) -> list[tuple[str, int]]:
    """What would end it, each with its instant."""
    if one.is_final:
        return []
    known = {
        SCHEDULE_TO_START_TIMEOUT: tasks.start_by(connection, one.id),
        TIMEOUT: tasks.times_out_at(connection, one.id, one.token) if one.status is Status.RUNNING else None,
        TOTAL_TIMEOUT: one.end_by,
    }
    return [(code, at) for code, at in known.items() if at is not None]


def _no_executor(requirement: Requirement) -> str:
    if requirement.function:
        return f"no connected worker has the function {requirement.function!r}"
    return f"no connected agent has the executor {requirement.executor!r}"
