"""How ready tasks find agents: claim, decide, store the placement, and only then tell the agent.

The claim, the new token and the instance are one transaction. The message leaves after its commit: an agent never has
work that the store does not know of. A message that is lost with its stream is found by the next hello, which names
what the agent has.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controlplane.domain.group import shard_environment
from controlplane.domain.job import Requirement, merge_environment
from controlplane.domain.matching import Offer
from controlplane.domain.seating import Seat, Seating, Turns
from controlplane.domain.task import Dispatch, Lock, Place, Status, Step, Task, apply
from controlplane.engine.agents import offer_of
from controlplane.engine.caps import Caps
from controlplane.engine.context import Engine
from controlplane.engine.matches import Matches, owner
from controlplane.engine.results import Ref, Results
from controlplane.engine.revisions import Revisions
from controlplane.engine.sessions import AgentKey, AssignWork, Placement, Session, Sessions
from controlplane.store import Connection, agents, caps, jobs, restored, tasks
from controlplane.store.agents import Agent
from controlplane.store.tasks import TaskData, Terms, Waiting
from controlplane.telemetry import place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from pawl.tracing import Trace

MAX_CLAIM = 500
FEW_REQUIREMENTS = 64
AHEAD = 500  # new demands that are learnt before a claim meets them


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one transaction placed, by agent, and the spans that say so. `moved`: how many tasks it put into a lane of
    their own, so that what stood behind them is in sight now. `strange`: what has to be learnt before it can place.
    """

    placements: Mapping[AgentKey, Sequence[Placement]]
    spans: Sequence[Span] = ()
    waits: Sequence[float] = ()
    moved: int = 0
    strange: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class _Room:
    """Agents with room as a claim finds them, by name: what each offers, and the demands that it meets."""

    sessions: Mapping[str, Session]
    offers: Mapping[str, Offer]
    scores: Mapping[str, Mapping[int, int]]
    all_offers: Sequence[Offer]  # of agents without room, too, and of those on other replicas


class Placing:
    """The use case of the dispatcher. `cap` bounds what this replica has out at once; 0 is no bound."""

    def __init__(
        self, engine: Engine, sessions: Sessions, results: Results, revisions: Revisions, *, cap: int = 0
    ) -> None:
        self.cap = cap
        self._engine = engine
        self._sessions = sessions
        self._results = results
        self._revisions = revisions
        self._matches = Matches()
        self._whole = True  # whether every demand that there is is in mind
        self._last_requirement = 0
        self._waiting: Collection[int] = ()
        self._capped_namespaces: Collection[str] = ()
        self._elsewhere: Sequence[Offer] = ()
        self._owners: dict[int, str | None] = {}
        self._fleet: object = None
        self._turns: Turns = {}
        self._held: Mapping[str, Mapping[str, int]] = {}

    def beside_held(self, offer: Offer) -> Offer:
        """What an agent offers beside the room that the last dealing kept there for large work."""
        held = self._held.get(offer.agent)
        if held is None:
            return offer
        resources = {name: count - held.get(name, 0) for name, count in offer.free_resources.items()}
        return replace(offer, free=offer.free - held.get("slots", 0), free_resources=resources)

    async def place(self) -> int:
        """Place as much as there is room for, up to one claim; how many tasks were placed."""
        strange: Collection[int] | None = None  # asked for once in a turn: others go on making new ones
        while True:
            self._forget_idle()
            if strange or (self._engine.seen.requirement > self._last_requirement and len(self._sessions)):
                await self.learn(strange or ())
            room = self._find_room()
            if not room.sessions:
                return 0
            claim = await self._engine.store.write(self._claim, room, strange is not None)
            if claim.strange:
                strange = claim.strange
                continue
            self._observe(claim)
            placed = await self._deliver(claim)
            if placed or not claim.moved:
                return placed

    async def learn(self, strange: Collection[int] = ()) -> None:
        """Read the demands that were added since, while there are few, and those that a claim asked for; and who has a
        cap. Before the first placement, and when a demand is hinted or swept. Also whether another replica found out
        that the database was put back, and, where tasks stick to agents, which agents the other replicas have.
        """

        def read(connection: Connection) -> tuple[Sequence[tuple[int, Requirement]], Sequence[Agent]]:
            found = self._look(connection, strange)
            self._capped_namespaces = frozenset(caps.of_namespaces(connection))
            self._engine.seen.restored = restored.newest(connection)
            sticky = self._matches.any_sticky or any(demand.bucket is not None for _, demand in found)
            return found, agents.online_elsewhere(connection, self._engine.replica_id) if sticky else ()

        found, elsewhere = await self._engine.store.read(read)
        self._whole = self._whole and len(found) <= FEW_REQUIREMENTS
        self._matches.learn(found)
        self._last_requirement = max([self._last_requirement, *(number for number, _ in found)])
        self._elsewhere = [offer_of(one) for one in elsewhere]

    def _look(self, connection: Connection, strange: Collection[int]) -> Sequence[tuple[int, Requirement]]:
        """All demands, while there are few. When there are many, claims ask for what they meet, and only what was just
        made here is looked at ahead of them, for whom there are agents.
        """
        if self._whole:
            return jobs.first_requirements(connection, FEW_REQUIREMENTS + 1)
        made = self._engine.seen.requirement > self._last_requirement and len(self._sessions)
        ahead = jobs.newest_requirements(connection, self._last_requirement, AHEAD) if made else ()
        return [*ahead, *jobs.requirements(connection, strange)]

    def _forget_idle(self) -> None:
        """Not while a claim runs, which looks things up."""
        if not self._whole and self._matches.forget_idle(self._waiting):
            self._owners = {}
            kept = self._turns.keys() - self._matches.strange(self._turns)
            self._turns = {number: self._turns[number] for number in kept}

    def _find_room(self) -> _Room:
        """The agents with a free slot. Before the transaction, which other threads run."""
        sessions: dict[str, Session] = {}
        offers: dict[str, Offer] = {}
        scores: dict[str, Mapping[int, int]] = {}
        everybody = list(self._sessions)
        self._matches.forget({session.session_id for session in everybody})
        for session in everybody:
            if session.free <= 0 or session.draining or session.closed or session.backed_up:
                continue
            offer = session.offer()
            met = self._matches.scores(session.session_id, offer)
            if met or not self._whole:
                sessions[offer.agent], offers[offer.agent], scores[offer.agent] = session, offer, met
        if not self._matches.any_sticky:
            return _Room(sessions, offers, scores, ())
        fleet = (*((one.session_id, one.version, one.draining) for one in everybody), *self._elsewhere)
        if fleet != self._fleet:
            self._fleet, self._owners = fleet, {}
        return _Room(sessions, offers, scores, [*self._sessions.offers(), *self._elsewhere])

    def _claim(self, connection: Connection, room: _Room, known: bool) -> _Claim:
        """Deal the room out to what waits, in its order, and store that. Unless everything is `known` that can be, a
        demand that is not in mind comes first.
        """
        limit = min(MAX_CLAIM, sum(offer.free for offer in room.offers.values()), self._room())
        if limit <= 0:
            return _Claim({})
        wanted = self._wanted(connection, room)
        if not known and (strange := self._matches.strange(wanted)):
            return _Claim({}, strange=strange)
        lanes = self._lanes(wanted, room)
        if not lanes:
            return _Claim({})
        left = Caps(connection)
        left.count((self._matches[number] for number in lanes), self._capped_namespaces)
        agents_of = self._deal(connection, room, lanes, left, limit)
        present = tasks.load_many(connection, agents_of, skip_locked=True)
        chosen = [
            present[task_id]
            for task_id in agents_of
            if task_id in present and present[task_id].status is Status.PENDING
        ]
        # Whose time is over is the timers' to end, also when nobody was there to do it in time.
        late = tasks.too_late(connection, chosen, self._engine.clock.now())
        chosen = [one for one in chosen if one.id not in late] if late else chosen
        if not chosen:
            return _Claim({})
        self._revisions.load(connection, {(one.job_id, one.job_revision) for one in chosen})
        facts = jobs.names_and_caps(connection, {one.job_id for one in chosen})
        chosen, moved = self._without_excess(connection, chosen, facts, left)
        claim = self._store(connection, room, chosen, agents_of, facts)
        return replace(claim, moved=moved)

    def _wanted(self, connection: Connection, room: _Room) -> Collection[int]:
        """The demands that something may wait for: what a claim costs does not grow with what there ever was."""
        if self._whole and not self._matches.any_capped:
            return set().union(*room.scores.values())
        self._waiting = tasks.ready_requirements(connection)
        return self._waiting

    def _lanes(self, wanted: Collection[int], room: _Room) -> dict[int, list[tuple[int, str]]]:
        """Those of the demands that agents with room meet, and who meets each."""
        lanes: dict[int, list[tuple[int, str]]] = {}
        for number in wanted:
            able = [(scores[number], agent) for agent, scores in room.scores.items() if number in scores]
            if able and self._matches[number].bucket is not None:
                mine = self._owner(number, room.all_offers)
                able = [one for one in able if one[1] == mine]
            if able:
                lanes[number] = able
        self._matches.use(lanes)
        return lanes

    def _owner(self, number: int, offers: Sequence[Offer]) -> str | None:
        if number not in self._owners:
            self._owners[number] = owner(self._matches[number], offers)
        return self._owners[number]

    def _deal(
        self,
        connection: Connection,
        room: _Room,
        lanes: Mapping[int, Sequence[tuple[int, str]]],
        left: Caps,
        limit: int,
    ) -> dict[str, str]:
        """The agent for each task that gets one, in the order in which they wait."""
        seats = {agent: Seat.of(offer) for agent, offer in room.offers.items()}
        seating = Seating(random.randrange, self._turns)
        most: dict[int, int] = {}
        for number, able in lanes.items():
            seating.add(number, self._matches[number], [(weight, seats[agent]) for weight, agent in able])
            look_at = min(seating.look_at(number), left.left(self._matches[number], limit))
            if look_at:
                most[number] = look_at
        agents_of: dict[str, str] = {}
        now = self._engine.clock.now()
        waiting: Sequence[Waiting] = tasks.waiting(connection, most)
        for one in waiting:
            demand = self._matches[one.requirement_id]
            if not left.left(demand, 1):
                continue
            agent = seating.seat(one.requirement_id, now - one.ready_at)
            if agent is not None:
                left.take(demand)
                agents_of[one.task_id] = agent
                if len(agents_of) >= limit:
                    break
        self._held = {agent: seat.held for agent, seat in seats.items() if seat.held}
        return agents_of

    def _without_excess(
        self, connection: Connection, chosen: list[Task], facts: Mapping[str, tuple[str, int]], left: Caps
    ) -> tuple[list[Task], int]:
        """Without those that are too many of a job whose cap is newer than they are. They wait among others, so they
        are put into a lane of their own, where nobody has to wait behind them; how many.
        """

        def shares(one: Task) -> bool:
            return facts[one.job_id][1] > 0 and self._matches[one.requirement_id].capped_job != one.job_id

        sharing = {one.job_id: one.namespace_id for one in chosen if shares(one)}
        if not sharing:
            return chosen, 0
        left.count_jobs(sharing)
        kept: list[Task] = []
        excess: dict[tuple[int, str], list[str]] = {}
        for one in chosen:
            if not shares(one) or left.take_of_job(one.job_id):
                kept.append(one)
            else:
                excess.setdefault((one.requirement_id, one.job_id), []).append(one.id)
        for (number, job_id), ids in excess.items():
            own = jobs.intern_requirement(
                connection, replace(self._matches[number], capped_job=job_id), self._engine.clock.now()
            )
            tasks.move_lane(connection, ids, own)
            self._engine.seen.requirement = max(self._engine.seen.requirement, own)
        return kept, sum(map(len, excess.values()))

    def _store(
        self,
        connection: Connection,
        room: _Room,
        chosen: Sequence[Task],
        agents_of: Mapping[str, str],
        facts: Mapping[str, tuple[str, int]],
    ) -> _Claim:
        data = tasks.data_of(connection, (one.id for one in chosen))
        now = self._engine.clock.now()
        steps: list[tuple[Task, Step]] = []
        terms: dict[str, Terms] = {}
        placements: dict[AgentKey, list[Placement]] = {}
        spans: list[Span] = []
        waits: list[float] = []
        for before in chosen:
            session = room.sessions[agents_of[before.id]]
            above = self._engine.seen.restored.floor_for(before.created_at)
            step = _lock_and_dispatch(before, Dispatch(session.key[1], self._engine.new_id(now), above), now)
            since = max(before.scheduled_at, before.updated_at)
            waits.append((now - since) / 1e6)
            trace, job_name = data[before.id].trace, facts[before.job_id][0]
            span = self._engine.tracing.placed(trace, _attributes(step.task, job_name), since)
            if span is not None:
                spans.append(span)
            placement = self._placement(step.task, data[before.id], job_name, place_of(span, trace))
            steps.append((before, step))
            micros = (round(seconds * 1e6) for seconds in (placement.lease, placement.timeout, placement.grace))
            terms[before.id] = Terms(session.key[0], *micros)
            placements.setdefault(session.key, []).append(placement)
        tasks.save_many(connection, steps, terms=terms)
        return _Claim(placements, spans, waits)

    def _observe(self, claim: _Claim) -> None:
        """Once it is committed: a transaction that begins again has not placed anything."""
        self._engine.tracing.happened(claim.spans, self._engine.clock.now())
        for seconds in claim.waits:
            self._engine.store.measures.placing.observe(seconds)

    @property
    def full_at(self) -> int:
        """The cap, if it is what keeps ready tasks waiting; else 0."""
        return self.cap if self.cap and not self._room() else 0

    def _room(self) -> int:
        """What the replica's own cap leaves; without one, more than is ever claimed."""
        return max(0, self.cap - sum(session.running for session in self._sessions)) if self.cap else MAX_CLAIM

    def _placement(self, one: Task, data: TaskData, job_name: str, trace: Trace) -> Placement:
        spec = self._revisions.spec(one)
        config = spec.config
        assert one.instance_id is not None
        return Placement(
            ref=Ref(one.id, one.instance_id, one.token),
            attempt=one.attempt,
            namespace_id=one.namespace_id,
            job_id=one.job_id,
            job_name=job_name,
            job_revision=one.job_revision,
            config=config,
            environment=merge_environment(
                spec.environment, config.environment, data.environment, shard_environment(one)
            ),
            parameters=data.parameters,
            parameters_type=data.parameters_type,
            timeout=config.longest_run(data.timeout),
            lease=config.lost_after_seconds,
            grace=config.grace_seconds,
            total_left=None if one.end_by is None else max(0.0, (one.end_by - one.updated_at) / 1e6),
            group_id=one.group_id or "",
            shard_index=one.shard_index or 0,
            shard_total=one.shard_total or 0,
            trace=trace if trace.traceparent else replace(trace, traceparent=_trace_of(one)),
        )

    async def _deliver(self, claim: _Claim) -> int:
        delivered = 0
        for key, placements in claim.placements.items():
            session = self._sessions.find(key)
            if session is None or session.closed:
                # Its stream ended while we wrote; nothing was sent, so nothing has begun.
                await self._results.release([placement.ref for placement in placements])
                continue
            work = AssignWork(tuple(placements))
            session.take(work.units)
            session.send(work)
            delivered += len(placements)
            self._engine.wakeups.hint(*(f"task:{placement.ref.task_id}" for placement in placements))
        return delivered


def _lock_and_dispatch(before: Task, dispatch: Dispatch, now: int) -> Step:
    """Both transitions in one transaction: nobody ever sees LOCKED, and the row is written once."""
    locked = apply(before, Lock(), now)
    dispatched = apply(locked.task, dispatch, now)
    assert any(isinstance(effect, Place) for effect in dispatched.effects)
    return Step(dispatched.task, (*locked.effects, *dispatched.effects))


def _attributes(one: Task, job_name: str) -> Mapping[str, str | int]:
    return {
        "pawl.task.id": one.id,
        "pawl.task.attempt": one.attempt,
        "pawl.job.name": job_name,
        "pawl.namespace": one.namespace_id,
        "pawl.agent.name": one.agent_id or "",
    }


def _trace_of(one: Task) -> str:
    """A trace for a task whose caller brought none: the task is the trace and the placement a span of it, unsampled."""
    assert one.instance_id is not None
    return f"00-{one.id.replace('-', '')}-{one.instance_id.replace('-', '')[16:]}-00"
