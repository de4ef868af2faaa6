"""Demands have a lifetime: in memory as long as something waits for them or used them lately, in the database as long
as something refers to them. What waits is never lost by that.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest
import sqlalchemy as sa

from controlplane.domain.job import Requirement
from controlplane.domain.matching import Offer
from controlplane.domain.placement import PlacementRules, Strategy
from controlplane.engine.matches import IDLE, Matches
from controlplane.engine.outputs import Outputs
from controlplane.engine.placing import AHEAD, FEW_REQUIREMENTS
from controlplane.engine.retention import DEMANDS_LONGER, Kept, Retention
from controlplane.engine.tasks import NewTask
from controlplane.engine.upkeep import make_partitions
from controlplane.store import Connection, jobs
from controlplane.store.jobs import TOUCH_EVERY
from controlplane.store.retention import DemandsSeen, delete_requirements
from controlplane.store.tables import requirement, task
from controlplane.store.tasks import TaskData
from tests.engine.stage import Replica, opened, placed

DAY = 86_400.0
LONG = DEMANDS_LONGER + 3


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


def wanting(**labels: str) -> TaskData:
    return TaskData(labels=labels)


def new(**labels: str) -> NewTask:
    return NewTask("default", "hello", data=wanting(**labels))


async def stored(one: Replica) -> set[int]:
    """The demands that there are."""
    return set(await one.engine.store.read(lambda connection: connection.scalars(sa.select(requirement.c.id)).all()))


async def execute(one: Replica, statement: sa.Executable, rows: Sequence[Mapping[str, object]] = ()) -> None:
    def run(connection: Connection) -> None:
        connection.execute(statement, rows or None)

    await one.engine.store.write(run)


async def dead(one: Replica, count: int) -> None:
    """Demands that nothing refers to."""
    rows = [
        {"namespace_id": "default", "digest": f"{number:064x}", "spec": '{"executor":"process","labels":{"n":"1"}}'}
        for number in range(count)
    ]
    await execute(one, requirement.insert(), rows)


async def cancelled(one: Replica, **labels: str) -> int:
    """The demand of a task that has ended."""
    [made] = await one.create(data=wanting(**labels))
    await one.cancel(made.id)
    return made.requirement_id


async def settle(one: Replica) -> int:
    """Let retention take what it may, with tasks kept for a day; how many demands went."""
    kept = Retention(one.engine, Outputs(one.engine), Kept(tasks=1.0))
    for _ in range(100):
        if not await kept.turn():
            return kept.removed["demands"]
    raise AssertionError("it never comes to an end")


async def grow_old(one: Replica) -> None:
    one.clock.move(LONG * DAY)
    await one.engine.store.write(make_partitions, one.clock.now())


async def look(one: Replica) -> DemandsSeen:
    """At demands alone."""
    now = one.clock.now()
    return await one.engine.store.write(delete_requirements, now - round(LONG * DAY * 1e6) + TOUCH_EVERY, now, 100)


# --- in memory


def offer(**labels: str) -> Offer:
    return Offer("default/a", frozenset({"default"}), frozenset({"process"}), labels, 4, 4)


def demands(numbers: Sequence[int]) -> list[tuple[int, Requirement]]:
    return [(number, Requirement("default", "process", {"odd": str(number % 2)})) for number in numbers]


def test_of_what_nothing_waits_for_the_last_used_stays_in_mind() -> None:
    matches = Matches()
    matches.learn(demands(range(2 * IDLE)))
    matches.use([1])
    assert matches.forget_idle(waiting={0, 2})
    assert len(matches) == IDLE // 2 + 2
    assert not matches.strange([0, 1, 2, 2 * IDLE - 1])
    assert matches.strange([3]) == {3}
    assert not matches.forget_idle(waiting={0, 2}), "that is few again"


def test_all_that_something_waits_for_stays_in_mind() -> None:
    matches = Matches()
    waiting = range(3 * IDLE)
    matches.learn(demands(waiting))
    assert not matches.forget_idle(set(waiting))
    assert len(matches) == 3 * IDLE


def test_who_meets_what_is_the_same_after_some_was_forgotten() -> None:
    matches, agent = Matches(), offer(odd="1")
    matches.learn(demands(range(IDLE)))
    matches.scores("early", agent)
    matches.learn(demands(range(IDLE, 2 * IDLE)))
    matches.scores("late", agent)
    matches.forget_idle(waiting={3, 4, IDLE + 1})
    matches.learn(demands([5, 6]))
    held = {number for number in range(2 * IDLE) if not matches.strange([number])}
    assert {3, 4, 5, 6, IDLE + 1} <= held
    for session in ("early", "late", "new"):
        assert matches.scores(session, agent).keys() == {number for number in held if number % 2}


async def test_beside_many_demands_that_nobody_meets_work_is_placed_as_it_comes(one: Replica) -> None:
    await one.job()
    many = FEW_REQUIREMENTS + 5
    await one.engine.store.write(one.tasks.insert_many, [new(n=str(number)) for number in range(many)])
    agent = await one.connect(free=0, slots=10, labels={"kind": "new"})
    await one.create()
    await one.create(data=wanting(kind="new"))
    agent.free = 10
    assert await one.place() == 2
    assert len(one.engine.backlog.known or ()) == many, "those, and nothing else, wait"
    again = [*await one.create(), *await one.create(data=wanting(kind="new"))]
    assert await one.placing.place() == 2, "without another look at all that waits"
    assert [one.ref.task_id for one in placed(agent)][-2:] == [task.id for task in again]
    [last] = await one.create(data=wanting(n="0"))
    assert await one.placing.place() == 0
    agent.labels = {"n": "0"}
    assert await one.placing.place() == 2, "whose demand is another agent's now, with what waited longest"
    assert [one.ref.task_id for one in placed(agent)][-1] == last.id


async def test_demands_of_long_ago_are_not_even_read(one: Replica) -> None:
    await dead(one, AHEAD + 2 * FEW_REQUIREMENTS)
    await one.job()
    await one.create()
    await one.connect(labels={"n": "1"})
    assert await one.place() == 1
    assert len(one.placing._matches) <= FEW_REQUIREMENTS + 1 + AHEAD


async def test_a_demand_that_is_not_in_mind_is_learnt_when_something_waits_for_it(one: Replica) -> None:
    await one.job()
    agent = await one.connect(labels={"zone": "x"}, free=3)
    await dead(one, FEW_REQUIREMENTS)
    await one.place()
    # No hint says so: they might be another replica's.
    await one.engine.store.write(one.tasks.insert_many, [new(zone="x"), new(zone="y"), new(zone="x")])
    assert await one.placing.place() == 2
    assert len(placed(agent)) == 2
    assert await one.placing.place() == 0


async def test_a_sticky_demand_that_is_not_in_mind_goes_to_its_owner(one: Replica) -> None:
    await dead(one, FEW_REQUIREMENTS + 1)
    await one.job(placement=PlacementRules(strategy=Strategy.STICKY))
    agents = [await one.connect(name) for name in ("a", "b", "c")]
    await one.place()
    for _ in range(2):
        await one.create()
        await one.placing.place()
    counts = sorted(len(placed(agent)) for agent in agents)
    assert counts == [0, 0, 2]


async def test_a_waiting_task_without_its_demand_holds_nobody_up(one: Replica) -> None:
    """Nothing makes one: but if something did, the others go on."""
    await dead(one, FEW_REQUIREMENTS + 1)
    await one.job()
    [lost] = await one.create(data=wanting(zone="x"))
    [other] = await one.create()
    await execute(one, requirement.delete().where(requirement.c.id == lost.requirement_id))
    agent = await one.connect(labels={"zone": "x"})
    assert await one.place() == 1
    assert [placement.ref.task_id for placement in placed(agent)] == [other.id]


# --- in the database


async def test_demands_go_when_nothing_refers_to_them_and_come_back_when_wanted(one: Replica) -> None:
    await one.job()
    once = {await cancelled(one, host=f"h{number}") for number in range(5)}
    newest = await cancelled(one, host="last")
    await grow_old(one)
    assert await settle(one) == 5
    assert not once & await stored(one)
    assert newest in await stored(one), "its number is not given again"
    [again] = await one.create(data=wanting(host="h3"))
    assert again.requirement_id > newest
    agent = await one.connect(labels={"host": "h3"})
    assert await one.place() == 1
    assert placed(agent)[0].ref.task_id == again.id


async def test_what_waits_keeps_its_demand_for_ever(one: Replica) -> None:
    await one.job()
    [ready] = await one.create(data=wanting(host="x"))
    [planned] = await one.create(data=wanting(host="y"), scheduled_at=one.clock.now() + round(1000 * DAY * 1e6))
    await cancelled(one, host="newest")
    for _ in range(3):
        await grow_old(one)
        assert await settle(one) == 0
    agent = await one.connect(labels={"host": "x"})
    assert await one.place() == 1
    assert placed(agent)[0].ref.task_id == ready.id
    assert {ready.requirement_id, planned.requirement_id} <= await stored(one)


async def test_an_ended_task_that_is_there_keeps_its_demand_to_run_again(one: Replica) -> None:
    await one.job()
    demand = await cancelled(one, host="x")
    await cancelled(one, host="newest")
    one.clock.move(LONG * DAY)
    assert (await look(one)).gone == 0
    [found] = await one.engine.store.read(lambda connection: connection.scalars(sa.select(task.c.id).limit(1)).all())
    await one.tasks.retry("default", found, by="ann", why="", key=None)
    assert (await one.task(found)).requirement_id == demand
    await one.connect(labels={"host": "x"})
    assert await one.place() == 1


async def test_a_job_keeps_what_it_demands(one: Replica) -> None:
    await one.job(labels={"gpu": "yes"})
    await one.job("other")
    await grow_old(one)
    assert await settle(one) == 0
    [made] = await one.create()
    assert made.requirement_id in await stored(one)


async def test_a_demand_that_is_asked_for_again_is_young_again(one: Replica) -> None:
    await one.job()
    demand = await cancelled(one, host="x")
    await cancelled(one, host="newest")
    one.clock.move((LONG - 2) * DAY)
    assert await cancelled(one, host="x") == demand
    one.clock.move(2 * DAY)
    assert await look(one) == DemandsSeen(0, more=False)


async def test_what_a_server_of_an_earlier_release_asked_for_counts_as_asked_for_now(one: Replica) -> None:
    await dead(one, 3)  # it does not say when
    assert await look(one) == DemandsSeen(0, more=False)
    one.clock.move((LONG + 1) * DAY)
    assert (await look(one)).gone == 2, "all but the newest"


# --- both at once


async def waits_for_a_lock(one: Replica) -> None:
    """Until somebody does. On SQLite writers wait for their turn outside of the database."""
    asked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not one.engine.store.is_sqlite:
        if await one.engine.store.read(lambda connection: connection.scalar(asked)):
            return
        await asyncio.sleep(0.01)


async def test_a_create_that_asks_for_a_demand_while_it_goes_makes_it_anew(one: Replica) -> None:
    await one.job()
    old = await cancelled(one, host="x")
    await cancelled(one, host="newest")
    await delete_tasks(one)
    one.clock.move(LONG * DAY)
    taken, commit = threading.Event(), threading.Event()

    def go(connection: Connection) -> DemandsSeen:
        seen = delete_requirements(connection, one.clock.now() - 1, one.clock.now(), 100)
        taken.set()
        assert commit.wait(20)
        return seen

    async with asyncio.TaskGroup() as both:
        going = both.create_task(one.engine.store.write(go))
        await asyncio.to_thread(taken.wait, 20)
        creating = both.create_task(one.create(data=wanting(host="x")))
        await waits_for_a_lock(one)
        commit.set()
    assert going.result().gone == 1
    [made] = creating.result()
    assert made.requirement_id != old
    assert made.requirement_id in await stored(one)
    await one.connect(labels={"host": "x"})
    assert await one.place() == 1


async def test_a_demand_that_a_create_asks_for_is_passed_over(one: Replica) -> None:
    await one.job()
    old = await cancelled(one, host="x")
    await cancelled(one, host="newest")
    await delete_tasks(one)
    one.clock.move(LONG * DAY)
    made, commit = threading.Event(), threading.Event()

    def create(connection: Connection) -> object:
        views = one.tasks.insert_many(connection, [new(host="x")])
        made.set()
        assert commit.wait(20)
        return views

    async with asyncio.TaskGroup() as both:
        both.create_task(one.engine.store.write(create))
        await asyncio.to_thread(made.wait, 20)
        looking = both.create_task(look(one))
        if not one.engine.store.is_sqlite:
            await looking
        commit.set()
    assert looking.result().gone == 0
    assert old in await stored(one)
    await one.connect(labels={"host": "x"})
    assert await one.place() == 1


async def delete_tasks(one: Replica) -> None:
    """All, by hand."""
    found = await one.engine.store.read(lambda connection: connection.scalars(sa.select(task.c.id)).all())
    for task_id in found:
        await one.tasks.delete("default", task_id, etag=None, key=None)


def test_demands_in_bulk_are_touched_and_made_anew_as_single_ones_are(one: Replica) -> None:
    asked = [Requirement("default", "process", {"n": str(number)}) for number in range(3)]
    store, now = one.engine.store, one.clock.now()
    first = store.transact_now(jobs.intern_requirements, asked, now)
    assert store.transact_now(jobs.intern_requirements, list(reversed(asked)), now) == list(reversed(first))
    later = now + 2 * TOUCH_EVERY
    assert store.transact_now(jobs.intern_requirements, asked[:2], later) == first[:2]
    assert store.transact_now(delete_requirements, later - 1, later, 10).gone == 0, "the newest is never taken"
    [newest] = store.transact_now(jobs.intern_requirements, [Requirement("default", "wasm", {})], later)
    assert store.transact_now(delete_requirements, later - 1, later, 10).gone == 1, "the one that was not touched"
    again = store.transact_now(jobs.intern_requirements, asked, later)
    assert again[:2] == first[:2]
    assert again[2] > newest
