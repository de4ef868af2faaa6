"""How tasks find agents: claim what is ready, decide, store the placement, and only then tell the agent. A new task
that nobody waits before is placed by the transaction that makes it.

The claim, the new token and the instance are one transaction. The message leaves after its commit: an agent never has
work that the store does not know of. A message that is lost with its stream is found by the next hello, which names
what the agent has.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial

from controlplane.domain.job import Requirement
from controlplane.domain.matching import Offer
from controlplane.domain.seating import Seat, Seating, Turns
from controlplane.domain.task import Status, Step, Task
from controlplane.engine.agents import offer_of
from controlplane.engine.caps import Caps
from controlplane.engine.context import Engine
from controlplane.engine.matches import Matches, owner
from controlplane.engine.placements import Claim, Placements
from controlplane.engine.results import Ref, Results
from controlplane.engine.revisions import Revisions
from controlplane.engine.sessions import AssignWork, Session, Sessions
from controlplane.engine.tasks import Insert, Made, NewTask, TaskView
from controlplane.store import Connection, agents, caps, jobs, restored, tasks
from controlplane.store.agents import Agent
from controlplane.store.glance import Glance
from controlplane.store.tasks import Facts, Terms, Waiting

MAX_CLAIM = 500
FEW_REQUIREMENTS = 64
AHEAD = 500  # new demands that are learnt before a claim meets them

ForNew = Callable[[int], tuple[Requirement, list[tuple[int, str]]] | None]
"""A demand by its id, and the agents with room that may run work with it, each with how much it is preferred. None
where new work has to wait its turn.
"""


@dataclass(frozen=True, slots=True)
class _Room:
    """Agents with room as a claim finds them, by name, and the demands that each meets; `free` slots together."""

    sessions: Mapping[str, Session]
    free: int
    scores: Mapping[str, Mapping[int, int]]
    all_offers: Sequence[Offer]  # of agents without room, too, and of those on other replicas
    capped: Collection[str] = ()  # namespaces


def _knowledge(seen: Glance) -> object:
    """What changes with whatever can be learnt."""
    return seen.demands, seen.caps, seen.restored


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
        self._known_from: object = None
        self._waiting: Collection[int] = ()
        self._familiar: Set[int] | None = None  # a state of the backlog all of which is in mind
        self._capped_namespaces: Collection[str] = ()
        self._elsewhere: Sequence[Offer] = ()
        self._owners: dict[int, str | None] = {}
        self._fleet: object = None
        self._turns: Turns = {}
        self._room_of: object = None
        self._found_room = _Room({}, 0, {}, ())
        self._held: Mapping[str, Mapping[str, int]] = {}
        self._turn = asyncio.Lock()  # two transactions at once would deal the same room out

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
            async with self._turn:
                claim, placed = await self._place(strange)
            if claim.strange:
                strange = claim.strange
            elif placed or not claim.moved:
                return placed

    async def _place(self, strange: Collection[int] | None) -> tuple[Claim, int]:
        self._forget_idle()
        if strange or (self._engine.seen.requirement > self._last_requirement and len(self._sessions)):
            await self._learn(strange or ())
        if self._engine.backlog.empty:
            return Claim({}), 0
        room = self._find_room()
        if not (room.scores if self._may_be_strange() else self._contended(room)):
            return Claim({}), 0
        mark = self._engine.backlog.mark()
        claim = await self._engine.store.write(self._claim, room, strange is not None)
        if claim.left is not None:
            self._engine.backlog.seen(mark, claim.left)
        self._observe(claim)
        return claim, await self._deliver(claim)

    def _may_be_strange(self) -> bool:
        """Whether something may wait that is not in mind: an agent may meet it, whatever else it meets."""
        known = self._engine.backlog.known
        if self._whole or known is None or known is self._familiar:
            return False
        if self._matches.strange(known):
            return True
        self._familiar = known
        return False

    def _contended(self, room: _Room) -> set[str]:
        """The agents with room for whom something may wait that is in mind."""
        backlog = self._engine.backlog
        if backlog.empty:
            return set()
        return {agent for agent, scores in room.scores.items() if backlog.may_hold(scores.keys())}

    def see_waiting(self, seen: Glance, mark: int) -> None:
        """Look again at all that waits, if a glance saw that anything does; `mark` is from before that. Other replicas
        store, too, but for where one process owns the file.
        """
        if self._engine.store.is_sqlite:
            return
        if seen.waiting:
            self._engine.backlog.forget()
        else:
            self._engine.backlog.seen(mark, frozenset())

    def is_news(self, seen: Glance) -> bool:
        """Whether there may be something to learn. Which agents other replicas have a glance does not tell."""
        sticky = self._matches.any_sticky and not self._engine.store.is_sqlite
        return sticky or _knowledge(seen) != self._known_from

    def note(self, seen: Glance) -> None:
        """All that was there at this glance is learnt."""
        self._known_from = _knowledge(seen)

    async def place_new(self, insert: Insert, items: Sequence[NewTask]) -> Sequence[TaskView | Exception]:
        """Store new tasks, and give at once to agents what they have room for: no second transaction, no claim. Only
        to agents that nothing else may wait for, so that nobody is overtaken.
        """
        store = self._engine.store
        # Waits for a claim that is being written: beside it, what waits would grow, and nobody could say that it is
        # nothing.
        async with self._turn:
            room = self._room_for_new()
            if room.sessions:
                results, claim = await store.write_batch(self._insert, insert, items, room)
                self._observe(claim)
                await self._deliver(claim)
                return results
        return await store.write_batch(insert, items, None)

    def _insert(
        self, connection: Connection, insert: Insert, items: Sequence[NewTask], room: _Room
    ) -> tuple[Sequence[TaskView | Exception], Claim]:
        placements = Placements(self._engine, self._revisions)
        seating = Seating(random.randrange, self._turns)
        seats = _NewSeats(placements, room, seating, self._room(), partial(self._for_new, room))
        results = insert(connection, items, seats)
        return results, placements.claim()

    def _for_new(self, room: _Room, number: int) -> tuple[Requirement, list[tuple[int, str]]] | None:
        if self._matches.strange([number]) or self._matches[number].capped_job:
            return None
        self._matches.use([number])
        return self._matches[number], self._able(room, number)

    def _room_for_new(self) -> _Room:
        room = self._find_room()
        if self._may_be_strange():
            return replace(room, sessions={})
        contended = self._contended(room)
        if not contended:
            return room
        free = {agent: session for agent, session in room.sessions.items() if agent not in contended}
        return replace(room, sessions=free)

    async def learn(self) -> None:
        """Read the demands that were added since, while there are few; and who has a cap. When a demand is swept. Also
        whether another replica found out that the database was put back, and, where tasks stick to agents, which agents
        the other replicas have.
        """
        async with self._turn:
            await self._learn()

    async def _learn(self, strange: Collection[int] = ()) -> None:
        """The same before a placement, with the demands that a claim asked for."""

        def read(connection: Connection) -> tuple[Sequence[tuple[int, Requirement]], Sequence[Agent]]:
            found = self._look(connection, strange)
            self._capped_namespaces = frozenset(caps.of_namespaces(connection))
            self._engine.seen.restored = restored.newest(connection)
            sticky = self._matches.any_sticky or any(demand.bucket is not None for _, demand in found)
            return found, agents.online_elsewhere(connection, self._engine.replica_id) if sticky else ()

        looked_for = self._engine.seen.requirement if self._whole or len(self._sessions) else 0
        found, elsewhere = await self._engine.store.read(read)
        self._whole = self._whole and len(found) <= FEW_REQUIREMENTS
        self._matches.learn(found)
        # A number that was only heard of may belong to nothing: it is not looked for again and again.
        self._last_requirement = max([self._last_requirement, looked_for, *(number for number, _ in found)])
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
            self._owners, self._familiar = {}, None
            kept = self._turns.keys() - self._matches.strange(self._turns)
            self._turns = {number: self._turns[number] for number in kept}

    def _find_room(self) -> _Room:
        """The agents with a free slot. Before the transaction, which other threads run. Asked for with every new task,
        so what was found stands as long as the same agents have room, with the same labels and demands in mind.
        """
        everybody = list(self._sessions)
        roomy = [
            one
            for one in everybody
            if one.free > 0 and not (one.draining or one.closed or (one.outbox and one.backed_up))
        ]
        state = roomy, [one.labels for one in roomy], self._matches.changes, self._whole, self._capped_namespaces
        if self._matches.any_sticky or state != self._room_of:
            self._found_room = self._meet(everybody, roomy)
            self._room_of = state
        return replace(self._found_room, free=sum(one.free for one in self._found_room.sessions.values()))

    def _meet(self, everybody: Sequence[Session], roomy: Sequence[Session]) -> _Room:
        """Those of them that meet any demand, and which."""
        sessions: dict[str, Session] = {}
        scores: dict[str, Mapping[int, int]] = {}
        self._matches.forget({session.session_id for session in everybody})
        for session in roomy:
            met = self._matches.seen(session.session_id, session.labels)
            if met is None:
                met = self._matches.scores(session.session_id, session.offer())
            if met or not self._whole:
                sessions[session.agent], scores[session.agent] = session, met
        if not self._matches.any_sticky:
            return _Room(sessions, 0, scores, (), self._capped_namespaces)
        fleet = (*((one.session_id, one.version, one.draining) for one in everybody), *self._elsewhere)
        if fleet != self._fleet:
            self._fleet, self._owners = fleet, {}
        return _Room(sessions, 0, scores, [*self._sessions.offers(), *self._elsewhere], self._capped_namespaces)

    def _claim(self, connection: Connection, room: _Room, known: bool) -> Claim:
        """Deal the room out to what waits, in its order, and store that. Unless everything is `known` that can be, a
        demand that is not in mind comes first.
        """
        limit = min(MAX_CLAIM, room.free, self._room())
        if limit <= 0:
            return Claim({})
        wanted = self._wanted(connection)
        if not known and (strange := self._matches.strange(wanted)):
            return Claim({}, strange=strange)
        lanes = self._lanes(wanted, room)
        if not lanes:
            return Claim({}, left=wanted)
        left = Caps(connection)
        left.count((self._matches[number] for number in lanes), self._capped_namespaces)
        dealt = self._deal(connection, room, lanes, left, limit)
        present, data, facts = tasks.load_to_place(connection, dealt.agents)
        chosen = [
            present[task_id]
            for task_id in dealt.agents
            if task_id in present and present[task_id].status is Status.PENDING
        ]
        # Whose time is over is the timers' to end, also when nobody was there to do it in time.
        late = tasks.too_late(connection, chosen, self._engine.clock.now())
        chosen = [one for one in chosen if one.id not in late] if late else chosen
        if not chosen:
            return Claim({}, left=wanted - dealt.emptied(()))
        self._revisions.load(connection, {(one.job_id, one.job_revision) for one in chosen})
        chosen, moved = self._without_excess(connection, chosen, facts, left)
        placements = Placements(self._engine, self._revisions)
        steps = []
        for before in chosen:
            session = room.sessions[dealt.agents[before.id]]
            steps.append((before, placements.add(before, session, data[before.id], facts[before.job_id].name)))
        tasks.save_many(connection, steps, terms=placements.terms)
        return placements.claim(moved=moved, left=wanted - dealt.emptied(one.id for one in chosen))

    def _wanted(self, connection: Connection) -> Set[int]:
        """The demands that something may wait for: what a claim costs does not grow with what there ever was."""
        known = self._engine.backlog.known
        if self._matches.any_capped or (known is None and not self._whole):
            self._waiting = tasks.ready_requirements(connection)
            return self._waiting
        if known is None:
            return self._matches.numbers
        self._waiting = known
        return known

    def _lanes(self, wanted: Set[int], room: _Room) -> dict[int, list[tuple[int, str]]]:
        """Those of the demands that agents with room meet, and who meets each."""
        met: dict[int, list[tuple[int, str]]] = {}
        for agent, scores in room.scores.items():
            few, many = (scores, wanted) if len(scores) < len(wanted) else (wanted, scores)
            for number in few:
                if number in many:
                    met.setdefault(number, []).append((scores[number], agent))
        lanes = {number: able for number, found in met.items() if (able := self._owned(room, number, found))}
        self._matches.use(lanes)
        return lanes

    def _able(self, room: _Room, number: int) -> list[tuple[int, str]]:
        """The agents with room that may run work with this demand, each with how much it is preferred."""
        able = [(scores[number], agent) for agent, scores in room.scores.items() if number in scores]
        return self._owned(room, number, able)

    def _owned(self, room: _Room, number: int, able: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Of these agents the one that a demand with a key belongs to; all of them where it has none."""
        if not able or self._matches[number].bucket is None:
            return able
        mine = self._owner(number, room.all_offers)
        return [one for one in able if one[1] == mine]

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
    ) -> _Dealt:
        """An agent for each task that gets one, in the order in which they wait."""
        asked = {agent for able in lanes.values() for _, agent in able}
        seats = {agent: Seat.of(room.sessions[agent]) for agent in asked}
        seating = Seating(random.randrange, self._turns)
        most: dict[int, int] = {}
        for number, able in lanes.items():
            seating.add(number, self._matches[number], [(weight, seats[agent]) for weight, agent in able])
            look_at = min(seating.look_at(number), left.left(self._matches[number], limit))
            if look_at:
                most[number] = look_at
        agents_of: dict[str, str] = {}
        now = self._engine.clock.now()
        waiting = tasks.waiting(connection, most)
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
        return _Dealt(agents_of, most, waiting)

    def _without_excess(
        self, connection: Connection, chosen: list[Task], facts: Mapping[str, Facts], left: Caps
    ) -> tuple[list[Task], int]:
        """Without those that are too many of a job whose cap is newer than they are. They wait among others, so they
        are put into a lane of their own, where nobody has to wait behind them; how many.
        """

        def shares(one: Task) -> bool:
            return facts[one.job_id].max_running > 0 and self._matches[one.requirement_id].capped_job != one.job_id

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

    def _observe(self, claim: Claim) -> None:
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

    async def _deliver(self, claim: Claim) -> int:
        delivered = 0
        unsent: list[Ref] = []
        self._engine.placed.keep(claim.tasks)
        for key, placements in claim.placements.items():
            session = self._sessions.find(key)
            if session is None or session.closed:
                unsent += [placement.ref for placement in placements]
                continue
            work = AssignWork(tuple(placements))
            session.take(work.units)
            session.send(work)
            delivered += len(placements)
            self._engine.wakeups.hint(*(f"task:{placement.ref.task_id}" for placement in placements))
        if unsent:
            # Their streams ended while we wrote; nothing was sent, so nothing has begun. After the others, which must
            # not go without a word because this fails.
            await self._results.release(unsent)
        return delivered


@dataclass(frozen=True, slots=True)
class _Dealt:
    """Which task gets which agent; how many of each demand were looked at, and what was seen."""

    agents: Mapping[str, str]
    most: Mapping[int, int]
    waiting: Sequence[Waiting]

    def emptied(self, placed: Iterable[str]) -> set[int]:
        """The demands with which nothing waits any more once these tasks are placed."""
        gone = frozenset(placed)
        seen = Counter(one.requirement_id for one in self.waiting)
        left = {one.requirement_id for one in self.waiting if one.task_id not in gone}
        return {number for number, most in self.most.items() if seen[number] < most and number not in left}


class _NewSeats:
    """The room of some agents for new tasks, in one transaction."""

    def __init__(self, placements: Placements, room: _Room, seating: Seating, left: int, for_new: ForNew) -> None:
        self.placements = placements
        self._room = room
        self._seating = seating
        self._left = left
        self._for_new = for_new
        self._seats: dict[str, Seat] = {}
        self._lanes: dict[int, bool] = {}

    @property
    def terms(self) -> Mapping[str, Terms]:
        """Under which terms those that were placed run, by task."""
        return self.placements.terms

    def place(self, made: Sequence[Made], now: int) -> Mapping[str, Step]:
        """The first steps of those that get an agent, the most important ones first."""
        steps: dict[str, Step] = {}
        for one in sorted(made, key=lambda one: -one.task.priority):
            if self._left <= len(steps):
                break
            agent = self._agent_for(one, now)
            if agent is not None:
                steps[one.task.id] = self.placements.add_new(one.task, self._room.sessions[agent], one.data, one.job)
        return steps

    def _agent_for(self, one: Made, now: int) -> str | None:
        task, number = one.task, one.task.requirement_id
        if task.scheduled_at > now or (task.end_by is not None and task.end_by <= now):
            return None
        # Who counts what runs under a cap does so where all that waits is seen.
        if one.job.spec.config.max_running or task.namespace_id in self._room.capped:
            return None
        if number not in self._lanes:
            self._lanes[number] = self._opens_lane(number)
        return self._seating.seat(number) if self._lanes[number] else None

    def _opens_lane(self, number: int) -> bool:
        found = self._for_new(number)
        if found is None:
            return False
        demand, able = found
        able = [one for one in able if one[1] in self._room.sessions]
        self._seating.add_in_turn(number, demand, self._groups(able))
        return bool(able)

    def _groups(self, able: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, Seat]]]:
        """The seats of these agents, those that are preferred most first. Of hundreds that have room a new task takes
        one: seats are only made of those that come into question.
        """
        for score in sorted({score for score, _ in able}, reverse=True):
            yield [(score, self._seat_of(agent)) for one, agent in able if one == score]

    def _seat_of(self, agent: str) -> Seat:
        if agent not in self._seats:
            self._seats[agent] = Seat.of(self._room.sessions[agent])
        return self._seats[agent]
