"""Why a task does not move, and who will move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controlplane.domain.errors import NotFound
from controlplane.domain.job import Requirement
from controlplane.domain.matching import OWN_AGENT, Obstacle, Offer, can_run, describe, explain
from controlplane.domain.retry import SCHEDULE_TO_START_TIMEOUT, TIMEOUT, TOTAL_TIMEOUT
from controlplane.domain.task import Status, Task
from controlplane.engine.agents import Agents, offer_of
from controlplane.engine.context import Engine
from controlplane.engine.matches import owner
from controlplane.engine.placing import Placing
from controlplane.engine.sessions import Sessions
from controlplane.engine.tasks import Tasks
from controlplane.store import Connection, agents, caps, jobs, tasks
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
    """The use case. What it says of agents is what this replica sees of them, and what the store says of those of other
    replicas.
    """

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
        requirement = await self._engine.store.read(jobs.requirement_by_id, one.requirement_id)
        if own := requirement.labels.get(OWN_AGENT):
            return await self._waits_for(one, requirement, own)
        seen = await self._engine.store.read(self._look, one)
        offers = [*self._sessions.offers(), *seen.elsewhere]
        verdict = explain(requirement, offers, owner(requirement, offers))
        if verdict.obstacle in _PASSING:
            if seen.full is not None:
                return self._capped(one, *seen.full)
            if verdict.obstacle is Obstacle.NONE and (cap := self._placing.full_at):
                text = f"agents have room, but [scheduler] max_concurrent_tasks = {cap} is reached"
                return self._say(one, "NO_FREE_SLOTS", text, "the end of a running task")
        if verdict.obstacle is Obstacle.NONE and self._is_behind_large(requirement, offers):
            return self._behind_large(one, verdict.nearest.rpartition("/")[2])
        draining = [offer.name for offer in offers if offer.draining and can_run(offer, requirement)]
        if draining and verdict.obstacle not in _PASSING:
            return self._only_draining(one, min(draining))
        nearest = verdict.nearest.rpartition("/")[2]
        missing = dict(verdict.missing or {})
        reason, message = _words(verdict.obstacle, requirement, nearest, missing)
        details = {f"missing.{key}": value for key, value in missing.items()}
        if nearest:
            details["nearest_agent"] = nearest
        return self._say(one, reason, message, _MOVERS.get(verdict.obstacle, "the dispatcher"), None, details)

    def _look(self, connection: Connection, one: Task) -> _Seen:
        found = agents.online_elsewhere(connection, self._engine.replica_id)
        running = agents.running_on(connection, [each.key for each in found])
        elsewhere = [offer_of(each, running[each.key]) for each in found]
        return _Seen(elsewhere, _full(connection, one))

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
        if verdict.obstacle in _PASSING and (full := await self._engine.store.read(_full, one)) is not None:
            return self._capped(one, *full)
        if verdict.obstacle is Obstacle.NONE and self._is_behind_large(requirement, [offer]):
            return self._behind_large(one, name)
        missing = describe(requirement, verdict.missing or {})
        reason, text = {
            Obstacle.NO_AGENT: ("NO_AGENT", f"{only}, and that does not serve namespace {one.namespace_id!r} any more"),
            Obstacle.NO_EXECUTOR: ("NO_EXECUTOR", f"{only}, and that lacks the executor {requirement.executor!r} now"),
            Obstacle.NO_MATCHING_LABELS: ("NO_MATCHING_LABELS", f"{only}, and that lacks {missing} now"),
            Obstacle.NO_FREE_SLOTS: ("NO_FREE_SLOTS", f"{only}, and all its slots are taken"),
            Obstacle.NO_FREE_RESOURCES: ("NO_FREE_RESOURCES", f"{only}, and that has too little free"),
            Obstacle.TOO_LARGE: ("TOO_LARGE", f"{only}, and that is too small for it now"),
        }.get(verdict.obstacle, ("ABOUT_TO_START", f"{only}, and that has room for it: it is about to be placed"))
        return self._say(one, reason, text, _MOVERS.get(verdict.obstacle, "the dispatcher"), None, details)

    def _capped(self, one: Task, noun: str, name: str, most: int) -> Explanation:
        """Of a task that the cap of its job or namespace keeps waiting."""
        text = f"{noun} {name!r} has as many tasks on agents as its max_running allows: {most}"
        details = {"max_running": str(most), noun: name}
        return self._say(one, "MAX_RUNNING_REACHED", text, "the end of a running task", None, details)

    def _only_draining(self, one: Task, agent: str) -> Explanation:
        """Of a task that no agent may run but such as take nothing new."""
        text = f"agent {agent!r} matches, but is draining: it takes nothing new until it is started anew"
        moved_by = "the agent, when it is started anew, or another that matches"
        return self._say(one, "NO_AGENT", text, moved_by, None, {"nearest_agent": agent, "agent_status": "DRAINING"})

    def _is_behind_large(self, requirement: Requirement, offers: Sequence[Offer]) -> bool:
        """Whether what these agents have free is kept for others."""
        left = [self._placing.beside_held(offer) for offer in offers]
        return explain(requirement, left, owner(requirement, left)).obstacle is not Obstacle.NONE

    def _behind_large(self, one: Task, agent: str) -> Explanation:
        """Of a task that larger work keeps waiting, which comes before it and does not fit yet."""
        text = f"agent {agent!r} has room, but keeps it for larger work that comes before this and does not fit yet"
        return self._say(one, "NO_FREE_SLOTS", text, "the end of a running task", None, {"nearest_agent": agent})

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


# Where only the end of other work is waited for: a cap may be what really stands in the way.
_PASSING = frozenset({Obstacle.NONE, Obstacle.NO_FREE_SLOTS, Obstacle.NO_FREE_RESOURCES, Obstacle.STICKY_AGENT_FULL})
_MOVERS = {
    Obstacle.NO_FREE_SLOTS: "the end of a running task",
    Obstacle.NO_FREE_RESOURCES: "the end of a running task",
    Obstacle.STICKY_AGENT_FULL: "the end of a running task",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the store says: agents of other replicas, and the cap that is reached, if one is: (noun, name, cap)."""

    elsewhere: Sequence[Offer]
    full: tuple[str, str, int] | None


def _full(connection: Connection, one: Task) -> tuple[str, str, int] | None:
    for job_id, most in caps.of_jobs(connection, [one.job_id]).items():
        if caps.running_of_jobs(connection, {job_id: one.namespace_id}).get(job_id, 0) >= most:
            return "job", jobs.names(connection, [job_id])[job_id], most
    for name, most in caps.of_namespaces(connection, [one.namespace_id]).items():
        if caps.running_of_namespaces(connection, [name]).get(name, 0) >= most:
            return "namespace", name, most
    return None


def _words(obstacle: Obstacle, demand: Requirement, nearest: str, missing: Mapping[str, str]) -> tuple[str, str]:
    """The name of the reason, and the same for people."""
    units = ", ".join(f"{count} {unit}" for unit, count in missing.items())
    return {
        Obstacle.NO_AGENT: ("NO_AGENT", f"no agent is connected that serves namespace {demand.namespace_id!r}"),
        Obstacle.NO_NAMED_AGENT: (
            "NO_AGENT",
            f"none of the agents that it names is connected: {', '.join(demand.agents)}",
        ),
        Obstacle.NO_EXECUTOR: ("NO_EXECUTOR", _no_executor(demand)),
        Obstacle.NO_MATCHING_LABELS: (
            "NO_MATCHING_LABELS",
            f"no connected agent has all its labels; the nearest, {nearest!r}, lacks {describe(demand, missing)}",
        ),
        Obstacle.TOO_LARGE: (
            "TOO_LARGE",
            f"it needs {units}, more than any agent with its labels has; the nearest is {nearest!r}",
        ),
        Obstacle.NO_FREE_SLOTS: ("NO_FREE_SLOTS", "all slots of the agents that match are taken"),
        Obstacle.NO_FREE_RESOURCES: (
            "NO_FREE_RESOURCES",
            f"it needs {units}, and no agent that matches has as much free; the nearest is {nearest!r}",
        ),
        Obstacle.STICKY_AGENT_FULL: (
            "WAITING_FOR_STICKY_AGENT",
            f"its key belongs to agent {nearest!r}, which has no room",
        ),
        Obstacle.NONE: ("ABOUT_TO_START", "an agent has room for it: it is about to be placed"),
    }[obstacle]


def _no_executor(requirement: Requirement) -> str:
    if requirement.function:
        return f"no connected worker has the function {requirement.function!r}"
    return f"no connected agent has the executor {requirement.executor!r}"
