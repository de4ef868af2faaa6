"""New tasks go straight to agents that have room for them, and overtake nobody."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
import sqlalchemy as sa

from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.ids import id_time
from controlplane.domain.placement import LabelRule, PlacementRules
from controlplane.domain.task import Status, Task
from controlplane.engine.tasks import NewTask, Seats, TaskView
from controlplane.store import Connection
from controlplane.store.tables import ready, task_instance
from controlplane.store.tasks import TaskData
from tests.engine.stage import SECOND, Replica, committing, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def ask(one: Replica, *new: NewTask) -> list[Task]:
    """Tasks that calls which come together make, as they are stored. Answered is what was made: it waits."""
    async with committing(one.tasks.creating):
        made = [view.task for view in await asyncio.gather(*map(one.tasks.create, new))]
    assert {(task.status, task.version) for task in made} == {(Status.PENDING, 1)}
    return [await one.task(task.id) for task in made]


def of(job: str = "hello", **fields: object) -> NewTask:
    return NewTask("default", job, **fields)  # type: ignore[arg-type]  # passes fields through


async def waiting(one: Replica) -> int:
    """How many ready rows there are."""

    def count(connection: Connection) -> int:
        return int(connection.execute(sa.select(sa.func.count()).select_from(ready)).scalar_one())

    return await one.engine.store.read(count)


async def test_a_new_task_is_placed_by_the_transaction_that_makes_it(one: Replica) -> None:
    await one.job()
    agent = await one.connect()
    await one.place()
    [made] = await ask(one, of())
    assert (made.status, made.attempt, made.token, made.agent_id) == (Status.DISPATCHED, 1, 1, "agent")
    assert await waiting(one) == 0
    [placement] = placed(agent)
    assert (placement.ref.task_id, placement.ref.instance_id) == (made.id, made.instance_id)
    assert made.instance_id is not None
    assert id_time(made.instance_id) == made.created_at  # it is not placed before it is made
    assert agent.free == agent.slots - 1
    assert (await one.finish(placement.ref)).name == "COUNTED"
    assert (await one.task(made.id)).status is Status.SUCCEEDED


async def test_what_there_is_no_room_for_waits(one: Replica) -> None:
    await one.job()
    agent = await one.connect(free=2)
    await one.place()
    made = await ask(one, *(of() for _ in range(5)))
    assert [task.status for task in made] == [Status.DISPATCHED] * 2 + [Status.PENDING] * 3
    assert await waiting(one) == 3
    assert len(placed(agent)) == 2


async def test_of_tasks_that_come_together_the_most_important_get_the_room(one: Replica) -> None:
    await one.job()
    agent = await one.connect(free=1)
    await one.place()
    low, high = await ask(one, of(priority=100), of(priority=900))
    assert (low.status, high.status) == (Status.PENDING, Status.DISPATCHED)
    assert [placement.ref.task_id for placement in placed(agent)] == [high.id]


async def test_a_new_task_overtakes_nobody_who_waits(one: Replica) -> None:
    await one.job()
    [older] = await one.create()
    agent = await one.connect(free=1)
    [newer] = await ask(one, of(priority=900))
    assert newer.status is Status.PENDING
    assert await one.placing.place() == 1
    assert [placement.ref.task_id for placement in placed(agent)] == [newer.id]
    assert (await one.task(older.id)).status is Status.PENDING


async def test_room_that_large_work_waits_for_is_not_taken_by_new_small_work(one: Replica) -> None:
    await one.job("large", placement=PlacementRules(slots=3))
    await one.job("small")
    await one.create("large")
    agent = await one.connect(free=2)
    assert await one.place() == 0
    [small] = await ask(one, of("small"))
    assert small.status is Status.PENDING
    agent.free = 4
    assert await one.placing.place() == 2


async def test_a_planned_task_and_one_under_a_cap_wait_for_the_dispatcher(one: Replica) -> None:
    await one.job()
    await one.job("capped", max_running=1)
    await one.connect()
    await one.place()
    later, capped = await ask(one, of(scheduled_at=one.clock.now() + SECOND), of("capped"))
    assert (later.status, capped.status) == (Status.PENDING, Status.PENDING)
    assert await one.placing.place() == 1
    assert (await one.task(capped.id)).status is Status.DISPATCHED


async def test_only_an_agent_that_meets_the_demand_gets_a_new_task(one: Replica) -> None:
    await one.job(labels={"gpu": "yes"})
    plain, able = await one.connect("plain"), await one.connect("able", labels={"gpu": "yes"})
    await one.place()
    [made] = await ask(one, of())
    assert made.agent_id == "able"
    assert not placed(plain)
    assert len(placed(able)) == 1


async def test_the_same_request_id_twice_in_a_batch_is_one_placement(one: Replica) -> None:
    await one.job()
    agent = await one.connect()
    await one.place()
    key = IdempotencyKey("default", "CreateTask", "one", fingerprint(b"same"))
    first, second = await ask(one, of(key=key), of(key=key))
    assert first == second
    assert len(placed(agent)) == 1


async def test_a_placement_whose_stream_ends_while_it_is_written_waits_again(one: Replica) -> None:
    await one.job()
    agent = await one.connect()
    await one.place()

    def insert(connection: Connection, items: Sequence[NewTask], seats: Seats | None) -> Sequence[TaskView | Exception]:
        one.sessions.remove(agent)
        return one.tasks.insert_many(connection, items, seats)

    [made] = await one.placing.place_new(insert, [of()])
    assert isinstance(made, TaskView)
    stored = await one.task(made.task.id)
    assert stored.status is Status.PENDING
    assert await waiting(one) == 1


async def test_room_that_comes_free_asks_the_database_nothing_while_nothing_waits(one: Replica) -> None:
    await one.job()
    agent = await one.connect(free=1)
    await one.place()
    commits = len(one.engine.store.commit_seconds)
    agent.free = 4
    assert await one.placing.place() == 0
    assert len(one.engine.store.commit_seconds) == commits
    await one.create()
    assert await one.placing.place() == 1


async def test_what_another_replica_stored_is_found_by_the_next_look(one: Replica, migrated_url: str) -> None:
    if one.engine.store.is_sqlite:
        return  # one process owns the file
    with opened(migrated_url, name="other") as other:
        await one.job()
        agent = await one.connect()
        await one.place()
        [made] = await other.create()
        assert await one.placing.place() == 0
        assert await one.place() == 1
        assert [placement.ref.task_id for placement in placed(agent)] == [made.id]


async def test_a_batch_that_is_rolled_back_has_placed_nothing(one: Replica) -> None:
    await one.job()
    agent = await one.connect(free=1)
    await one.place()

    def broken(*_: object) -> list[object]:
        raise ValueError("as if the database had refused")

    with pytest.raises(ValueError, match="refused"):
        await one.placing.place_new(broken, [of()])  # type: ignore[arg-type]  # the point
    assert not placed(agent)
    assert agent.free == 1
    [made] = await ask(one, of())
    assert made.status is Status.DISPATCHED

    def count(connection: Connection) -> int:
        return int(connection.execute(sa.select(sa.func.count()).select_from(task_instance)).scalar_one())

    assert await one.engine.store.read(count) == 1


async def test_new_tasks_go_by_what_agents_are_now_and_not_by_what_was_found_before(one: Replica) -> None:
    """Who has room is looked at with every task, and remembered between them: labels, drains, ends and arrivals are
    changes all the same.
    """

    async def agent_of_new() -> str | None:
        made = await one.tasks.create(of(data=TaskData(labels={"zone": "a"})))
        return (await one.task(made.task.id)).agent_id

    await one.job()
    first = await one.connect("first")
    await one.place()
    async with committing(one.tasks.creating):
        assert await agent_of_new() is None
        await one.agents.relabel(first.key, {"zone": "a"}, etag=None, request=None)
        assert await one.place() == 1
        assert await agent_of_new() == "first"
        await one.agents.drain(first.key, request=None)
        second = await one.connect("second", labels={"zone": "a"})
        assert await agent_of_new() == "second"
        second.cut()
        third = await one.connect("third", labels={"zone": "a"}, free=1)
        assert [await agent_of_new(), await agent_of_new()] == ["third", None]
        third.free = 1
        assert await one.place() == 1


async def test_work_that_prefers_some_agents_goes_to_the_others_when_those_are_full(one: Replica) -> None:
    prefers = PlacementRules(preferred=(LabelRule("fast", values=("yes",), weight=50),))
    await one.job(placement=prefers)
    for number in range(20):
        await one.connect(f"slow-{number:02}", free=1)
    await one.connect("fast", labels={"fast": "yes"}, free=2)
    await one.place()
    made = await ask(one, *(of() for _ in range(5)))
    assert sorted(str(task.agent_id) for task in made) == ["fast", "fast", "slow-00", "slow-01", "slow-02"]
