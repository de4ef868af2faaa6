"""Agents: how they come, give signs of life, go, and what operators do with them.

Who may be who. An agent's name belongs to a state folder (`state_id`), and starts on that folder are counted
(`generation`). The same folder takes over its own older stream. Another folder under a living name is refused until the
name's leases are over. What an agent of the same folder does not know of is dead: never delivered if the start is the
same, killed by its keeper if it is a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct, field

from controlplane.domain.errors import AlreadyExists, IllegalTransition, NotFound
from controlplane.domain.etag import check_etag
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.matching import Offer
from controlplane.domain.task import Status, Task
from controlplane.engine import lists
from controlplane.engine.backlog import ROOM_HINT
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.engine.nouns import AGENTS
from controlplane.engine.replicas import ASKED_HINT
from controlplane.engine.results import Ref, Results
from controlplane.engine.sessions import (
    TOLD_TO_PAUSE,
    AgentKey,
    DrainAgent,
    EndStream,
    Session,
    Sessions,
    StopWork,
)
from controlplane.store import Connection, agents, restored, tasks
from controlplane.store.agents import Agent, AgentStatus, OpenInstance
from controlplane.store.committer import Committer
from controlplane.store.glance import Glance
from controlplane.store.query import Page

_log = structlog.get_logger("controlplane.agents")

# A living name is not given to another folder for so long, nor before the leases of what is placed there are over.
NAME_HELD_FOR = 60_000_000
LEISURE_SECONDS = 0.5  # signs of life wait so long for others, at most
LEAST_LEISURE_SECONDS = 0.05


class Arrival(Struct, frozen=True):
    """What an agent says of itself when it opens its stream."""

    key: AgentKey
    state_id: str
    generation: int
    labels: Mapping[str, str]
    serves: Sequence[str]
    executors: Sequence[Mapping[str, Any]]
    slots: int
    hostname: str
    agent_version: str
    protocol_version: int
    running: Sequence[Ref]
    finished: Sequence[Ref]
    resources: Mapping[str, int] = field(default_factory=dict)
    counts_units: bool = True  # whether it knows of work that takes more than one slot

    @property
    def functions(self) -> Sequence[str]:
        """What its workers' functions are called: they stand with the executor that runs them."""
        return [str(one["name"]) for executor in self.executors for one in executor.get("functions", ())]


class Reconciliation(Struct):
    """What to tell the agent about what it has, and what to do about what it does not have."""

    keep: list[Ref] = field(default_factory=list)
    stop: list[Ref] = field(default_factory=list)
    forget: list[Ref] = field(default_factory=list)
    paused: list[Ref] = field(default_factory=list)
    cancel: list[tuple[Ref, str]] = field(default_factory=list)
    undelivered: list[Ref] = field(default_factory=list)
    dead: list[Ref] = field(default_factory=list)
    ahead: bool = False  # it has tokens that the store has not given yet: the store was put back to an earlier moment


class AgentView(Struct, frozen=True):
    """An agent as it is shown."""

    agent: Agent
    running: int


class Beat(Struct, frozen=True):
    """A sign of life on a session, and when it came."""

    session: Session
    metrics: Mapping[str, float]
    at: int


class Agents:
    """The use cases of agents."""

    def __init__(self, engine: Engine, sessions: Sessions, results: Results) -> None:
        self._engine = engine
        self._sessions = sessions
        self._results = results
        self.beating: Committer[Beat, None] = Committer(
            engine.store, "signs of life", self.beat_many, self._beaten, leisure=_leisure
        )

    # --- streams

    async def arrive(self, arrival: Arrival) -> tuple[Session, Reconciliation]:
        """A session for an agent that said hello. Raises AlreadyExists when the name is another's."""
        session = Session(
            key=arrival.key,
            session_id=self._engine.new_id(),
            serves=frozenset(arrival.serves),
            executors=frozenset(str(one["name"]) for one in arrival.executors),
            labels=arrival.labels,
            slots=arrival.slots,
            generation=arrival.generation,
            functions=frozenset(arrival.functions),
            resources=arrival.resources,
            counts_units=arrival.counts_units,
        )
        stored, plan = await self._engine.store.write(self._arrive, arrival, session.session_id)
        session.labels, session.version = stored.labels, stored.version
        session.draining = stored.status is AgentStatus.DRAINING
        session.paused.update(dict.fromkeys(plan.paused, TOLD_TO_PAUSE))  # the answer to its hello says so
        self._sessions.add(session)
        if plan.ahead:
            _log.error("the database was put back: an agent knows newer placements", agent=arrival.key[1])
            self._engine.seen.restored = await self._engine.store.read(restored.newest)
        await self._results.release(plan.undelivered)
        await self._results.lose(plan.dead, f"agent {arrival.key[1]} was started anew and does not have it")
        if plan.cancel:
            session.send(StopWork(tuple(plan.cancel)))
        return session, plan

    def _arrive(self, connection: Connection, arrival: Arrival, session_id: str) -> tuple[Agent, Reconciliation]:
        now = self._engine.clock.now()
        before = agents.find(connection, arrival.key, lock=True)
        if before is not None:
            _check_identity(before, arrival, now, agents.open_on(connection, arrival.key))
        stored = _stored(before, arrival, session_id, self._engine.replica_id, now)
        agents.put(connection, stored)
        plan = _reconcile(connection, before, arrival)
        plan.ahead = _is_ahead(connection, (*arrival.finished, *plan.stop), now)
        if plan.ahead:
            restored.note(connection, now)
        return stored, plan

    def beat_many(self, connection: Connection, beats: Sequence[Beat]) -> Sequence[Exception | None]:
        """Many signs of life in one transaction."""
        agents.beat_many(connection, [(one.session.key, one.session.session_id, one.at, one.metrics) for one in beats])
        return [None] * len(beats)

    @staticmethod
    def _beaten(beats: Sequence[Beat], _: Sequence[Exception | None]) -> None:
        now = time.monotonic()
        for one in beats:
            one.session.beat_at, one.session.said = now, one.metrics

    async def leave(self, session: Session, *, on_purpose: bool) -> None:
        """The stream is gone. On purpose: nothing of it runs any more, so what is open is placed anew at once."""
        if not self._sessions.remove(session):
            return

        def work(connection: Connection) -> list[OpenInstance]:
            stored = agents.find(connection, session.key, lock=True)
            if stored is None or stored.session_id != session.session_id:
                return []
            now = self._engine.clock.now()
            status = AgentStatus.STOPPED if on_purpose else AgentStatus.DISCONNECTED
            agents.put(connection, agents.touched(stored, now, status=status))
            return agents.open_on(connection, session.key) if on_purpose else []

        left = await self._engine.store.write(work)
        await self._results.lose([_ref(one) for one in left], f"agent {session.key[1]} stopped")

    async def adopt(self) -> None:
        """After a restart: agents whose streams this replica had are disconnected until they come back."""

        def work(connection: Connection) -> None:
            now = self._engine.clock.now()
            for one in agents.of_replica(connection, self._engine.replica_id):
                agents.put(connection, agents.touched(one, now, status=AgentStatus.DISCONNECTED))

        await self._engine.store.write(work)

    @property
    def connected(self) -> int:
        """How many agents are connected here."""
        return len(self._sessions)

    def may_differ(self, seen: Glance) -> bool:
        """Whether a glance leaves it open that something was changed about the agents that are connected here."""
        here = list(self._sessions)
        known = (len(here), sum(session.version for session in here))
        asked = seen.cancelling or seen.paused or any(session.paused for session in here)
        return bool(here) and (asked or seen.agents != known)

    async def refresh(self) -> None:
        """See what other replicas changed about the agents that are connected here, and stop what was cancelled."""
        # Who comes while the store is read is not among what was read: it is neither deleted nor taken over.
        present = list(self._sessions)
        keys = [session.key for session in present]
        if not keys:
            return

        def read(
            connection: Connection,
        ) -> tuple[dict[AgentKey, Agent], list[OpenInstance], dict[str, str], list[OpenInstance]]:
            cancelling = agents.cancelling_on(connection, keys)
            return (
                agents.states_of(connection, keys),
                cancelling,
                tasks.cancel_reasons(connection, [one.task_id for one in cancelling]),
                agents.paused_on(connection, keys),
            )

        before = {session.session_id: frozenset(session.paused) for session in present}
        stored, cancelling, reasons, paused = await self._engine.store.read(read)
        for session in present:
            self._apply(session, stored.get(session.key))
            held = {_ref(one) for one in paused if one.agent == session.key}
            was = before.get(session.session_id, frozenset())
            # What was said while we looked is newer than what we saw.
            session.pause(held - (was - session.paused.keys()))
            session.resume((was & session.paused.keys()) - held)
        for one in cancelling:
            self._sessions.stop(one.agent, [(_ref(one), reasons.get(one.task_id) or "cancelled")])

    def _apply(self, session: Session, stored: Agent | None) -> None:
        if stored is None:
            session.end(EndStream("DELETED", "this agent was deleted"))
        elif stored.session_id != session.session_id:
            session.end(EndStream("TAKEN_OVER", "a newer stream of this agent took over on another replica"))
        elif stored.status is AgentStatus.DISCONNECTED:
            session.cut()  # it fell silent: work that goes there would be lost with it
        elif stored.version != session.version:
            session.version, session.labels = stored.version, stored.labels
            if stored.status is AgentStatus.DRAINING and not session.draining:
                session.draining = True
                session.send(DrainAgent("drained by an operator"))
            self._engine.wakeups.hint(ROOM_HINT)

    # --- operators

    async def get(self, key: AgentKey) -> AgentView:
        """The agent. Raises NotFound."""
        return await self._engine.store.read(self._view, key)

    async def home_of(self, one: Task) -> AgentKey:
        """Which agent holds a task that is on one: its name lives in a home namespace of its own."""
        assert one.agent_id is not None
        space = await self._engine.store.read(agents.home_of_instance, one.id, one.token)
        return space or one.namespace_id, one.agent_id

    async def page(self, question: Question) -> tuple[Page, list[AgentView]]:
        """One page of agents. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[AgentView]]:
            page = lists.ask(connection, AGENTS, agents.listing(question.namespace_id), question, default_order=("id",))
            found = [agents.of_row(row) for row in page.rows]
            running = agents.running_on(connection, [one.key for one in found])
            return page, [AgentView(one, running[one.key]) for one in found]

        return await self._engine.store.read(read)

    async def relabel(
        self, key: AgentKey, labels: Mapping[str, str], *, etag: int | None, request: IdempotencyKey | None
    ) -> AgentView:
        """New labels; the agent's own `sys_*` ones stay. Raises NotFound, EtagMismatch."""

        def effect(connection: Connection, now: int) -> tuple[str, AgentView]:
            before = self._locked(connection, key)
            check_etag("agent", key[1], before.version, etag)
            own = {name: value for name, value in before.labels.items() if name.startswith("sys_")}
            wanted = {name: value for name, value in labels.items() if not name.startswith("sys_")}
            agents.put(connection, agents.touched(before, now, labels=wanted | own))
            return key[1], self._view(connection, key)

        return await self._changed(key, request, effect)

    async def drain(self, key: AgentKey, *, request: IdempotencyKey | None) -> AgentView:
        """Nothing new for this agent. Raises NotFound, IllegalTransition when it is not connected."""

        def effect(connection: Connection, now: int) -> tuple[str, AgentView]:
            before = self._locked(connection, key)
            if before.status not in (AgentStatus.ONLINE, AgentStatus.DRAINING):
                message = f"agent {key[1]!r} is {before.status.name}: only a connected agent can be drained"
                raise IllegalTransition(message, facts={"status": before.status.name})
            if before.status is AgentStatus.ONLINE:
                agents.put(connection, agents.touched(before, now, status=AgentStatus.DRAINING, drained=True))
            return key[1], self._view(connection, key)

        return await self._changed(key, request, effect)

    async def delete(self, key: AgentKey, *, request: IdempotencyKey | None) -> None:
        """Forget an agent that is gone. Raises NotFound, IllegalTransition while it lives or leases run."""

        def effect(connection: Connection, _: int) -> tuple[str, None]:
            before = self._locked(connection, key)
            if before.status in agents.LIVING:
                message = f"agent {key[1]!r} is {before.status.name}; stop it first"
                raise IllegalTransition(message, facts={"status": before.status.name})
            if agents.open_on(connection, key):
                message = f"agent {key[1]!r} had work whose leases are not over yet; delete it after them"
                raise IllegalTransition(message, facts={"status": before.status.name})
            agents.delete(connection, key)
            return key[1], None

        await once(self._engine, request, effect, lambda _connection, _id: None)

    async def _changed(self, key: AgentKey, request: IdempotencyKey | None, effect: Any) -> AgentView:
        view: AgentView = await once(self._engine, request, effect, lambda connection, _: self._view(connection, key))
        if self._sessions.find(key) is None:
            self._engine.wakeups.hint(ASKED_HINT)
        await self.refresh()
        return view

    @staticmethod
    def _locked(connection: Connection, key: AgentKey) -> Agent:
        found = agents.find(connection, key, lock=True)
        if found is None:
            raise NotFound.of("agent", key[1], key[0])
        return found

    @staticmethod
    def _view(connection: Connection, key: AgentKey) -> AgentView:
        found = agents.find(connection, key)
        if found is None:
            raise NotFound.of("agent", key[1], key[0])
        return AgentView(found, agents.running_on(connection, [key])[key])


def _leisure(beat: Beat) -> float:
    """A tenth of the time since its last one: who has short leases beats often, and is soon answered."""
    tenth = (time.monotonic() - beat.session.beat_at) / 10
    return min(LEISURE_SECONDS, tenth) if tenth > LEAST_LEISURE_SECONDS else 0.0


def offer_of(one: Agent, running: int = 0) -> Offer:
    """What an agent offers by its row, whichever replica it is connected to, and as if all of it were free that so many
    placements do not take up.
    """
    return Offer(
        agent="/".join(one.key),
        serves=frozenset(one.serves),
        executors=frozenset(str(executor["name"]) for executor in one.executors),
        labels=one.labels,
        slots=one.slots,
        free=max(0, one.slots - running),
        draining=one.status is AgentStatus.DRAINING,
        functions=frozenset(str(info["name"]) for executor in one.executors for info in executor.get("functions", ())),
        running=running,
        resources=one.resources,
        free_resources=one.resources,
    )


def _ref(one: OpenInstance) -> Ref:
    return Ref(one.task_id, one.id, one.token)


def _check_identity(before: Agent, arrival: Arrival, now: int, placed: Sequence[OpenInstance]) -> None:
    if before.state_id != arrival.state_id:
        held_for = max((one.lease for one in placed), default=0)
        if before.status in agents.LIVING:
            held_for = max(held_for, NAME_HELD_FOR)
        if before.last_beat_at + held_for > now:
            raise AlreadyExists(
                f"agent {arrival.key[1]!r} lives on {before.hostname} with another state folder; this one is on "
                f"{arrival.hostname}: give it another name, or stop the other",
                reason="AGENT_NAME_TAKEN",
                facts={"agent": arrival.key[1], "holder": before.hostname, "claimant": arrival.hostname},
            )
    elif arrival.generation < before.generation:
        raise AlreadyExists(
            f"agent {arrival.key[1]!r} was started again (start {before.generation}); this one is start"
            f" {arrival.generation}",
            reason="AGENT_NAME_TAKEN",
            facts={"agent": arrival.key[1], "holder": before.hostname, "claimant": arrival.hostname},
        )


def _stored(before: Agent | None, arrival: Arrival, session_id: str, replica_id: str, now: int) -> Agent:
    labels = dict(arrival.labels)
    if before is not None and before.declared_labels == labels:
        labels = dict(before.labels)  # what an operator set at run time outlives a reconnect
    same_start = before is not None and (before.state_id, before.generation) == (arrival.state_id, arrival.generation)
    drained = same_start and before is not None and before.drained
    return Agent(
        namespace_id=arrival.key[0],
        id=arrival.key[1],
        state_id=arrival.state_id,
        generation=arrival.generation,
        status=AgentStatus.DRAINING if drained else AgentStatus.ONLINE,
        drained=drained,
        labels=labels,
        declared_labels=dict(arrival.labels),
        serves=list(arrival.serves),
        executors=list(arrival.executors),
        slots=arrival.slots,
        hostname=arrival.hostname,
        agent_version=arrival.agent_version,
        protocol_version=arrival.protocol_version,
        session_id=session_id,
        replica_id=replica_id,
        metrics={} if before is None else before.metrics,
        connected_at=now,
        last_beat_at=now,
        version=1 if before is None else before.version + 1,
        created_at=now if before is None else before.created_at,
        updated_at=now,
        resources=dict(arrival.resources),
    )


def _is_ahead(connection: Connection, refs: Sequence[Ref], now: int) -> bool:
    """Whether an agent has a token that was given in a life that this store does not remember, and no restore has been
    noted that accounts for it. One that is above even what a note would bring is no token, whatever says so.
    """
    known = tasks.load_many(connection, (ref.task_id for ref in refs))
    last, limit = restored.newest(connection), restored.floor_at(now)
    for ref in refs:
        one = known.get(ref.task_id)
        if one is not None and max(one.token, last.floor_for(one.created_at)) < ref.token <= limit:
            return True
    return False


def _reconcile(connection: Connection, before: Agent | None, arrival: Arrival) -> Reconciliation:
    """Compare what the agent has with what it should have."""
    plan = Reconciliation()
    on_it = {(one.task_id, one.token): one for one in agents.open_on(connection, arrival.key)}
    reasons = tasks.cancel_reasons(connection, [one.task_id for one in on_it.values() if one.cancel_requested])
    for ref in arrival.running:
        mine = on_it.pop((ref.task_id, ref.token), None)
        (plan.stop if mine is None else plan.keep).append(ref)
        if mine is not None and mine.cancel_requested:
            plan.cancel.append((ref, reasons.get(ref.task_id) or "cancelled"))
        if mine is not None and mine.paused:
            plan.paused.append(ref)
    known = tasks.load_many(connection, (ref.task_id for ref in arrival.finished))
    for ref in arrival.finished:
        on_it.pop((ref.task_id, ref.token), None)
        if ref.task_id not in known:
            plan.forget.append(ref)
    same_start = before is not None and (before.state_id, before.generation) == (arrival.state_id, arrival.generation)
    for one in on_it.values():
        # What the same start has reported as running was delivered: that it is unknown now makes it dead.
        undelivered = same_start and one.status == Status.DISPATCHED
        (plan.undelivered if undelivered else plan.dead).append(_ref(one))
    return plan
