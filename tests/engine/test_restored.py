"""A database that was put back to an earlier moment: agents know more than it does, and no token is given twice."""

from collections.abc import Iterator

import pytest

from controlplane.domain.task import Status
from controlplane.engine.results import Ref, Verdict
from controlplane.store import restored
from controlplane.store.agents import AgentStatus
from controlplane.store.restored import floor_at
from tests.engine.stage import Replica, arrival, opened, placed

KEY = ("default", "agent")


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def mark(one: Replica) -> int:
    """What `pawl restore` leaves behind."""
    return (await one.engine.store.write(restored.mark, one.clock.now())).token_floor


async def placement(one: Replica) -> Ref:
    """The next thing that the connected agent is told to run."""
    session = one.sessions.find(KEY)
    assert session is not None
    session.free = 1
    await one.place()
    [found] = placed(session)
    return found.ref


async def test_a_task_of_a_restored_database_is_placed_above_every_token_that_was_given(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    one.clock.move(3600)
    floor = await mark(one)
    await one.connect()
    first = await placement(one)
    assert first.token == floor + 1 > 1
    await one.results.release([first])
    assert (await placement(one)).token == floor + 2
    assert (await one.task(task.id)).attempt == 1


async def test_a_task_that_is_made_after_the_restore_begins_at_one(one: Replica) -> None:
    await one.job()
    await mark(one)
    one.clock.move(1)
    await one.create()
    await one.connect()
    assert (await placement(one)).token == 1


async def test_a_restore_of_the_same_backup_again_is_above_the_life_between(one: Replica) -> None:
    first = await mark(one)
    one.clock.move(60)
    await one.engine.store.write(lambda connection: connection.exec_driver_sql("DELETE FROM sched_restore"))
    assert await mark(one) == first + 60
    assert await mark(one) == first + 61, "twice within a second"


async def test_what_ran_at_the_moment_of_the_backup_goes_on_with_its_token(one: Replica) -> None:
    await one.job()
    await one.create()
    await one.connect()
    ref = await placement(one)
    assert await one.start(ref)
    await mark(one)
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DISCONNECTED
    _, plan = await one.greet(arrival(running=(ref,)))
    assert (plan.keep, plan.stop) == ([ref], [])
    assert await one.finish(ref) is Verdict.COUNTED


async def test_placements_that_the_restored_database_does_not_know_are_stopped_and_count_for_nothing(
    one: Replica,
) -> None:
    await one.job()
    [task] = await one.create()
    floor = await mark(one)
    newer = Ref(task.id, one.engine.new_id(), 3)
    unknown = Ref(one.engine.new_id(), one.engine.new_id(), 1)
    _, plan = await one.greet(arrival(running=(newer, unknown), finished=()))
    assert plan.stop == [newer, unknown]
    again = await placement(one)
    assert again.token == floor + 1
    assert await one.finish(newer) is Verdict.LATE
    assert await one.finish(unknown) is Verdict.UNKNOWN
    assert (await one.task(task.id)).status is Status.DISPATCHED
    assert await one.finish(again) is Verdict.COUNTED


async def test_a_token_that_happens_to_be_given_again_does_not_let_the_old_result_in(one: Replica) -> None:
    """Nobody marked the restore, and the agent that would tell is not back yet."""
    await one.job()
    [task] = await one.create()
    await one.connect()
    again = await placement(one)
    old = Ref(task.id, one.engine.new_id(), again.token)
    assert await one.finish(old, Status.FAILED) is Verdict.UNKNOWN
    assert await one.finish(again) is Verdict.COUNTED


@pytest.mark.parametrize("has", ["running", "finished"])
async def test_an_agent_that_is_ahead_tells_of_a_restore_that_nobody_marked(one: Replica, has: str) -> None:
    await one.job()
    [task] = await one.create()
    one.clock.move(10)
    ahead = Ref(task.id, one.engine.new_id(), 7)
    await one.greet(arrival(running=(ahead,)) if has == "running" else arrival(finished=(ahead,)))
    floor = floor_at(one.clock.now())
    assert (await placement(one)).token == floor + 1
    other = opened(one.engine.store.url, one.clock, "two") if not one.engine.store.is_sqlite else None
    if other is not None:  # SQLite has one server
        with other as two:
            await two.placing.learn()
            assert two.engine.seen.restored.token_floor == floor


async def test_the_same_agent_tells_of_it_once(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    ahead = Ref(task.id, one.engine.new_id(), 7)
    for _ in range(3):
        one.clock.move(10)
        await one.greet(arrival(running=(ahead,)))
    count = await one.engine.store.read(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM sched_restore").scalar_one()
    )
    assert count == 1


@pytest.mark.parametrize("token", [2**31 - 1, 1])
async def test_what_no_life_can_have_given_tells_of_nothing(one: Replica, token: int) -> None:
    await one.job()
    [task] = await one.create()
    await one.connect()
    ref = await placement(one)
    await one.results.release([ref])
    await one.greet(arrival(running=(Ref(task.id, one.engine.new_id(), token),)))
    assert (await placement(one)).token == 2
