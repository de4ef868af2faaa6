"""Room is dealt out in the order of the work, never more than there is, and nobody large starves: against an oracle."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.job import Requirement
from controlplane.domain.matching import Offer, fits
from controlplane.domain.placement import Strategy
from controlplane.domain.seating import Seat, Seating, holds


def offer(name: str, *, slots: int = 4, free: int | None = None, **more: object) -> Offer:
    free = slots if free is None else free
    given: dict[str, object] = {"running": slots - free, **more}
    return Offer(name, frozenset({"default"}), frozenset({"process"}), {}, slots, free, **given)  # type: ignore[arg-type]  # fields by name


def need(slots: int = 1, strategy: Strategy = Strategy.LEAST_LOADED, **resources: int) -> Requirement:
    return Requirement("default", "process", {}, slots=slots, strategy=strategy, resources=resources)


Lanes = Mapping[int, tuple[Requirement, Mapping[str, int]]]
"""Each lane's demand, and the agents that meet it, with how much each is preferred."""


def deal(lanes: Lanes, offers: Sequence[Offer], order: Sequence[int]) -> list[str | None]:
    """Who gets the work of these lanes, in this order."""
    seats = {one.agent: Seat.of(one) for one in offers}
    seating = Seating(lambda _: 0, {})
    for number, (demand, able) in lanes.items():
        seating.add(number, demand, [(score, seats[agent]) for agent, score in able.items()])
    return [seating.seat(number) for number in order]


def alone(demand: Requirement, offers: Sequence[Offer], count: int) -> list[str | None]:
    """The same of one lane that every agent meets."""
    return deal({1: (demand, dict.fromkeys([one.agent for one in offers], 0))}, offers, [1] * count)


# --- the oracle: the same rules, said as directly as possible


@dataclass
class Room:
    offer: Offer
    free: dict[str, int]
    held: dict[str, int]
    running: int

    def fits(self, units: Mapping[str, int]) -> bool:
        return all(self.free.get(one, 0) - self.held.get(one, 0) >= count for one, count in units.items())

    def load(self) -> tuple[bool, float, int, str]:
        return self.offer.cpu > 0.9, self.running / self.offer.slots, -self.free["slots"], self.offer.agent


def oracle(lanes: Lanes, offers: Sequence[Offer], order: Sequence[int]) -> list[str | None]:
    rooms = {one.agent: Room(one, one.free_units, {}, one.running) for one in offers}
    full: set[int] = set()
    given: list[str | None] = []
    for number in order:
        demand, able = lanes[number]
        units = demand.units
        fitting = [(-score, *rooms[name].load()) for name, score in able.items() if rooms[name].fits(units)]
        if number in full or not fitting:
            if number not in full and able and (demand.slots > 1 or demand.resources):
                nearest = min(able, key=lambda name: (lack(rooms[name], units), name))
                for one, count in units.items():
                    rooms[nearest].held[one] = rooms[nearest].held.get(one, 0) + count
            full.add(number)
            given.append(None)
            continue
        chosen = rooms[min(fitting)[-1]]
        chosen.running += units["slots"]
        for one, count in units.items():
            chosen.free[one] -= count
        given.append(chosen.offer.agent)
    return given


def lack(room: Room, units: Mapping[str, int]) -> float:
    return max((count - room.free.get(one, 0) + room.held.get(one, 0)) / count for one, count in units.items())


NAMES = "abcde"


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Lanes, list[Offer], list[int]]:
    offers = []
    for name in NAMES[: draw(st.integers(1, 5))]:
        slots = draw(st.integers(1, 6))
        gpus = draw(st.integers(0, 3))
        offers.append(
            offer(
                name,
                slots=slots,
                free=draw(st.integers(0, slots)),
                resources={"gpu": gpus},
                free_resources={"gpu": draw(st.integers(0, gpus))},
                cpu=draw(st.sampled_from((0.1, 0.95))),
            )
        )
    lanes = {}
    for number in range(draw(st.integers(1, 4))):
        gpu = draw(st.integers(0, 2))
        demand = replace(need(draw(st.sampled_from((1, 1, 2, 4)))), resources={"gpu": gpu} if gpu else {})
        large = [one.agent for one in offers if fits(one.units, demand.units)]
        able = draw(st.lists(st.sampled_from(large), unique=True)) if large else []
        lanes[number] = demand, {agent: draw(st.integers(-1, 1)) for agent in able}
    order = draw(st.lists(st.sampled_from(sorted(lanes)), max_size=30))
    return lanes, offers, order


@given(scenes())
def test_room_is_dealt_out_as_the_oracle_says(scene: tuple[Lanes, list[Offer], list[int]]) -> None:
    assert deal(*scene) == oracle(*scene)


@given(scenes())
def test_no_agent_gets_more_of_anything_than_it_has_free(scene: tuple[Lanes, list[Offer], list[int]]) -> None:
    lanes, offers, order = scene
    used: Counter[tuple[str, str]] = Counter()
    for number, agent in zip(order, deal(*scene), strict=True):
        if agent is not None:
            assert agent in lanes[number][1]
            used.update({(agent, unit): count for unit, count in lanes[number][0].units.items()})
    free = {(one.agent, unit): count for one in offers for unit, count in one.free_units.items()}
    assert all(count <= free[key] for key, count in used.items())


# --- sentences


def test_the_one_with_the_smallest_share_of_its_slots_in_use_comes_first() -> None:
    small, large = offer("small", slots=2, free=1), offer("large", slots=10, free=6)
    assert alone(need(), [small, large], 3) == ["large", "large", "small"]


def test_a_machine_that_is_busy_comes_after_the_others() -> None:
    busy, idle = offer("busy", slots=8, cpu=0.97), offer("idle", slots=2, free=1)
    assert alone(need(), [busy, idle], 2) == ["idle", "busy"]


def test_the_preferred_are_taken_while_they_have_room_and_then_the_others() -> None:
    offers = [offer("far", slots=9), offer("near", slots=2)]
    assert deal({1: (need(), {"far": 0, "near": 50})}, offers, [1] * 3) == ["near", "near", "far"]


def test_turns_go_round() -> None:
    offers = [offer("a", slots=9), offer("b", slots=2), offer("c", slots=9)]
    chosen = alone(need(strategy=Strategy.ROUND_ROBIN), offers, 7)
    assert chosen == ["a", "b", "c", "a", "b", "c", "a"]


def test_turns_go_on_where_the_last_dealing_ended() -> None:
    turns: dict[int, dict[str, int]] = {}
    chosen = []
    for _ in range(4):
        seating = Seating(lambda _: 0, turns)
        seating.add(1, need(strategy=Strategy.ROUND_ROBIN), [(0, Seat.of(offer(name))) for name in "abc"])
        chosen.append(seating.seat(1))
    assert chosen == ["a", "b", "c", "a"]


def test_chance_decides_among_those_that_have_room() -> None:
    rolled = iter([1, 0])
    seating = Seating(lambda sides: next(rolled) % sides, {})
    seats = [(0, Seat.of(offer("a", slots=1))), (0, Seat.of(offer("b", slots=1)))]
    seating.add(1, need(strategy=Strategy.RANDOM), seats)
    assert [seating.seat(1), seating.seat(1), seating.seat(1)] == ["b", "a", None]


def test_small_work_does_not_take_what_large_work_that_came_first_waits_for() -> None:
    """The nearest agent keeps its room for it; the other one goes on with small work."""
    offers = [offer("near", slots=4, free=3), offer("far", slots=4, free=1)]
    lanes = {1: (need(4), dict.fromkeys(("near", "far"), 0)), 2: (need(), dict.fromkeys(("near", "far"), 0))}
    assert deal(lanes, offers, [1, 2, 2]) == [None, "far", None]


def test_what_large_work_does_not_wait_for_others_may_take() -> None:
    offers = [offer("one", slots=8, free=4, resources={"gpu": 2}, free_resources={"gpu": 1})]
    lanes = {1: (need(gpu=2), {"one": 0}), 2: (need(), {"one": 0}), 3: (need(gpu=1), {"one": 0})}
    assert deal(lanes, offers, [1, 2, 3]) == [None, "one", None]


def test_work_that_came_before_the_large_work_is_not_kept_back() -> None:
    offers = [offer("one", slots=4, free=3)]
    lanes = {1: (need(4), {"one": 0}), 2: (need(), {"one": 0})}
    assert deal(lanes, offers, [2, 1, 2]) == ["one", None, None]


def test_large_work_gets_its_turn_although_small_work_never_ends() -> None:
    """Both agents are full of small runs. In turn one of each ends, and a dozen more small ones wait each time."""
    running = {"a": 4, "b": 4}
    for turn in range(12):
        running["ba"[turn % 2]] -= 1
        offers = [offer(name, slots=4, free=4 - used) for name, used in running.items()]
        lanes = {1: (need(4), dict.fromkeys(running, 0)), 2: (need(), dict.fromkeys(running, 0))}
        large, *small = deal(lanes, offers, [1] + [2] * 12)
        if large is not None:
            return
        running = dict(Counter(running) + Counter(filter(None, small)))
    pytest.fail("the large work never came to its turn")


def test_room_is_held_in_turns_that_double_so_that_both_large_and_small_work_go_on() -> None:
    minutes = [holds(minute * 60_000_000) for minute in range(31)]
    assert minutes == [True] + [False] * 2 + [True] * 4 + [False] * 8 + [True] * 16
    seats = [(0, Seat.of(offer("one", slots=4, free=3)))]
    seating = Seating(lambda _: 0, {})
    seating.add(1, need(4), seats)
    seating.add(2, need(), seats)
    assert seating.seat(1, 60_000_000) is None
    assert seating.seat(2) == "one"


def test_agents_that_are_preferred_less_are_asked_for_when_the_others_are_full() -> None:
    asked: list[str] = []

    def groups() -> Iterator[list[tuple[int, Seat]]]:
        for score, name in ((9, "a"), (5, "b"), (1, "c")):
            asked.append(name)
            yield [(score, Seat.of(offer(name, slots=2, free=2)))]

    seating = Seating(lambda _: 0, {})
    seating.add_in_turn(1, need(), groups())
    assert (seating.seat(1), seating.seat(1), asked) == ("a", "a", ["a"])
    assert (seating.seat(1), asked) == ("b", ["a", "b"])
    assert [seating.seat(1) for _ in range(4)] == ["b", "c", "c", None]


@pytest.mark.parametrize("strategy", [one for one in Strategy if one is not Strategy.RANDOM])
def test_dealing_in_groups_is_dealing_at_once(strategy: Strategy) -> None:
    def seats(score: int) -> list[tuple[int, Seat]]:
        return [(score, Seat.of(offer(f"{n}", slots=4, free=1 + n % 2))) for n in range(9) if n % 3 == score]

    at_once, in_groups = Seating(lambda _: 0, {}), Seating(lambda _: 0, {})
    at_once.add(1, need(strategy=strategy), [*seats(0), *seats(1), *seats(2)])
    in_groups.add_in_turn(1, need(strategy=strategy), map(seats, (2, 1, 0)))
    assert [at_once.seat(1) for _ in range(20)] == [in_groups.seat(1) for _ in range(20)]
