"""Which agent gets which work: the room of agents dealt out to work in its order.

Theory of operation. Work with the same demand waits in one *lane*. The caller asks for a seat for the head of one lane
after the other, the most important work of all lanes first; each seat that is given takes up units (slots and
resources) of one agent, and never more than that has. Which of several agents it is follows from how much they are
preferred, and among equals from the strategy.

Large work must not starve. Work that takes more than one slot, or resources, can be kept waiting for ever by small work
that takes every unit as soon as it is free. So the first large work that finds no seat *holds* one: of the agents that
are large enough, the one that lacks the least lets nothing that comes later in the order take what is held. All that
comes later goes to the other agents meanwhile. A hold lasts as long as one dealing; the next one makes it anew, and the
nearest agent stays the nearest, for nobody takes from it.

Nor must large work starve the others: what stands in its way may never end. So it holds in turns that double (`holds`).
At last one turn is longer than any work that ends, and half of the time the room is everybody's.

Pure: chance and the memory of turns come in as arguments.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from msgspec import Struct

from controlplane.domain.job import Requirement
from controlplane.domain.matching import BUSY, is_large
from controlplane.domain.placement import Strategy

Chance = Callable[[int], int]
"""A number from 0 to below the one that is given, each as likely."""

Turns = MutableMapping[int, dict[str, int]]
"""When an agent last got work of a lane, by lane and agent: counts up, so that the smallest is the longest ago."""


TURN = 60_000_000  # the first turn of holding


class Room(Protocol):
    """What a seat is made of: an `Offer`, or what has as much to say of itself."""

    @property
    def agent(self) -> str: ...
    @property
    def slots(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def free_units(self) -> dict[str, int]: ...
    @property
    def cpu(self) -> float: ...


class Seat(Struct):
    """The room of one agent while it is dealt out."""

    agent: str
    slots: int
    running: int
    free: dict[str, int]
    busy: bool = False
    held: dict[str, int] = msgspec.field(default_factory=dict)
    taken: int = 0

    @classmethod
    def of(cls, room: Room) -> Seat:
        """The room that an agent offers."""
        return cls(room.agent, room.slots, room.running, room.free_units, room.cpu > BUSY)

    def room(self, need: Mapping[str, int]) -> int:
        """For how many times that much there is room, beside what is held for others."""
        if len(need) == 1 and not self.held:  # nearly all work, and it is asked of every agent
            return max(0, self.free["slots"] // need["slots"])
        return max(0, min((self.free.get(unit, 0) - self.held.get(unit, 0)) // count for unit, count in need.items()))

    def take(self, need: Mapping[str, int]) -> None:
        """Less of everything."""
        for unit, count in need.items():
            self.free[unit] -= count
        self.running += need["slots"]
        self.taken += 1

    def hold(self, need: Mapping[str, int]) -> None:
        """Keep that much for work that does not fit yet."""
        for unit, count in need.items():
            self.held[unit] = self.held.get(unit, 0) + count

    def lacks(self, need: Mapping[str, int]) -> float:
        """How far it is from having so much, as a share of the need."""
        return max((count - self.free.get(unit, 0) + self.held.get(unit, 0)) / count for unit, count in need.items())

    @property
    def load(self) -> tuple[bool, float, int, str]:
        """What the least loaded is the smallest by."""
        return self.busy, self.running / self.slots, -self.free["slots"], self.agent


_Entry = tuple[int, tuple[bool, float, int, str], int, Seat]


@dataclass(slots=True)
class _Lane:
    number: int
    need: Mapping[str, int]
    strategy: Strategy
    large: bool
    seats: list[tuple[int, Seat]]
    later: Iterator[Sequence[tuple[int, Seat]]]  # those that are preferred less
    heap: list[_Entry] = field(default_factory=list)
    full: bool = False


class Seating:
    """One dealing. `turns` is remembered by the caller from one to the next."""

    def __init__(self, chance: Chance, turns: Turns) -> None:
        self._chance = chance
        self._turns = turns
        self._lanes: dict[int, _Lane] = {}

    def add(self, number: int, requirement: Requirement, seats: Iterable[tuple[int, Seat]]) -> None:
        """A lane, and the agents that may run its work, each with how much it is preferred."""
        self.add_in_turn(number, requirement, iter([list(seats)]))

    def add_in_turn(self, number: int, requirement: Requirement, groups: Iterator[Sequence[tuple[int, Seat]]]) -> None:
        """The same where the agents come in groups, those that are preferred most first: most groups are never asked
        for.
        """
        lane = _Lane(number, requirement.units, requirement.strategy, is_large(requirement), [], groups)
        if lane.strategy is Strategy.LEAST_LOADED:
            _next_group(lane)
        else:
            lane.seats = [one for group in groups for one in group]
        self._lanes[number] = lane

    def look_at(self, number: int) -> int:
        """How many of the lane's waiting work are worth a look: as many as fit now, or the first if it has to hold."""
        lane = self._lanes[number]
        return sum(seat.room(lane.need) for _, seat in lane.seats) or int(lane.large and bool(lane.seats))

    def seat(self, number: int, waited: int = 0) -> str | None:
        """The agent for the lane's next work, which has waited so long (microseconds); None if there is no room for it
        now, nor for what follows in its lane.
        """
        lane = self._lanes[number]
        if lane.full:
            return None
        found = _least_loaded(lane) if lane.strategy is Strategy.LEAST_LOADED else self._chosen(lane)
        if found is None:
            lane.full = True
            if lane.large and lane.seats and holds(waited):
                nearest = min((seat for _, seat in lane.seats), key=lambda seat: (seat.lacks(lane.need), seat.agent))
                nearest.hold(lane.need)
            return None
        found.take(lane.need)
        return found.agent

    def _chosen(self, lane: _Lane) -> Seat | None:
        """One by one: these strategies are asked for seldom."""
        open_now = [(score, seat) for score, seat in lane.seats if seat.room(lane.need)]
        if not open_now:
            return None
        best = max(score for score, _ in open_now)
        equals = [seat for score, seat in open_now if score == best]
        if lane.strategy is Strategy.RANDOM:
            return equals[self._chance(len(equals))]
        if lane.strategy is Strategy.ROUND_ROBIN:
            return self._next_in_turn(lane.number, equals)
        return min(equals, key=lambda seat: seat.load)

    def _next_in_turn(self, number: int, seats: Sequence[Seat]) -> Seat:
        turns = self._turns.setdefault(number, {})
        found = min(seats, key=lambda seat: (turns.get(seat.agent, 0), seat.agent))
        turns[found.agent] = max(turns.values(), default=0) + 1
        return found


def holds(waited: int) -> bool:
    """Whether work that has waited so long may hold room now: for 1 minute, then not for 2, then for 4, and so on."""
    return (waited // TURN + 1).bit_length() % 2 == 1


def _entry(score: int, seat: Seat) -> _Entry:
    return -score, seat.load, seat.taken, seat


def _next_group(lane: _Lane) -> bool:
    """Let those have room that are preferred next; whether there are any."""
    group = next(lane.later, None)
    if group is None:
        return False
    lane.seats += group
    lane.heap = [_entry(score, seat) for score, seat in group]
    heapq.heapify(lane.heap)
    return True


def _least_loaded(lane: _Lane) -> Seat | None:
    """The top of the lane's heap. Other lanes change seats meanwhile: an entry that is out of date is put back in its
    place, and one without room goes, since no room comes back during a dealing.
    """
    while lane.heap or _next_group(lane):
        negative, _, stamp, seat = lane.heap[0]
        if not seat.room(lane.need):
            heapq.heappop(lane.heap)
        elif stamp != seat.taken:
            heapq.heapreplace(lane.heap, _entry(-negative, seat))
        else:
            return seat
    return None
