"""What has waited long comes to its turn, however much that is more important keeps coming."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from controlplane.engine.ageing import Aged
from controlplane.store import Connection
from controlplane.store.tables import ready
from tests.engine.stage import Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def priorities(one: Replica) -> dict[str, int]:
    def read(connection: Connection) -> dict[str, int]:
        return {row.task_id: row.priority for row in connection.execute(sa.select(ready))}

    return await one.engine.store.read(read)


async def test_what_waits_grows_step_by_step_and_no_further_than_the_top(one: Replica) -> None:
    await one.job()
    [low], [high] = await one.create(priority=0), await one.create(priority=980)
    aged = Aged(one.engine, 60, 50)
    grown = []
    for _ in range(4):
        await aged.turn()
        found = await priorities(one)
        grown.append((found[low.id], found[high.id]))
        one.clock.move(45)
    assert grown == [(0, 980), (0, 980), (50, 1000), (100, 1000)]
    assert (await one.task(low.id)).priority == 0


async def test_a_task_is_not_kept_waiting_for_ever_by_more_important_ones(one: Replica) -> None:
    await one.job("nightly", labels={})
    await one.job("urgent", labels={"x": "y"})
    [old] = await one.create("nightly", priority=100)
    agent = await one.connect(labels={"x": "y"}, free=0)
    aged = Aged(one.engine, 60, 50)
    minutes, given = 0, list[str]()
    while old.id not in given:
        await one.create("urgent", count=2, priority=1000)
        agent.free = 1
        await aged.turn()
        await one.place()
        given = [each.ref.task_id for each in placed(agent)]
        one.clock.move(60)
        minutes += 1
    assert minutes == 19  # from 100 to 1,000 in 18 steps of a minute, and first among equals


async def test_a_backlog_does_not_grow_past_what_is_important_as_one(one: Replica) -> None:
    await one.job()
    await one.create(count=250, priority=0)
    one.clock.move(3_600)
    await Aged(one.engine, 60, 50).turn()
    assert sorted((await priorities(one)).values()) == [0] * 150 + [1000] * 100


async def test_nothing_ages_where_that_is_turned_off(one: Replica) -> None:
    await one.job()
    await one.create(priority=10)
    one.clock.move(3_600)
    assert await Aged(one.engine, 0, 50).turn() is None
    assert list((await priorities(one)).values()) == [10]
