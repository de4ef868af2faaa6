"""What ends because nobody is there: leases, attempts that nobody stopped, agents that fell silent."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from controlplane.domain.job import ResourceLimits
from controlplane.domain.task import DeadReason, Status
from controlplane.engine.actions import Action, Bulk
from controlplane.engine.agents import Beat
from controlplane.engine.reaping import Reaping
from controlplane.engine.results import Ref
from controlplane.store import Connection
from controlplane.store.agents import AgentStatus
from tests.engine.stage import Replica, committing, opened, placed, stopped

KEY = ("default", "agent")


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def running(one: Replica, **config: Any) -> Ref:
    """A placement that the agent has begun."""
    await one.job(**config)
    await one.create()
    agent = await one.connect(free=1)
    await one.place()
    [placement] = placed(agent)
    assert await one.start(placement.ref)
    return placement.ref


async def beat(one: Replica) -> None:
    """A sign of life of the agent."""
    session = one.sessions.find(KEY)
    assert session is not None
    await one.engine.store.write(one.agents.beat_many, [Beat(session, {}, one.clock.now())])


async def test_a_lease_holds_as_long_as_its_agent_gives_signs_of_life(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    for _ in range(5):
        one.clock.move(29)
        assert await one.reaping.reap() == 0
        await beat(one)
    assert (await one.task(ref.task_id)).status is Status.RUNNING


@pytest.mark.parametrize(
    ("most", "named"), [(5.0, "resource_limits.max_execution_time_secs of 5 s"), (99.0, "timeout of 9 s")]
)
async def test_an_attempt_that_its_agent_does_not_stop_is_ended_by_the_smaller_limit_which_is_named(
    one: Replica, most: float, named: str
) -> None:
    limits = ResourceLimits(max_execution_time_secs=most)
    ref = await running(one, timeout=9.0, resource_limits=limits, lost_after_seconds=30.0)
    async with committing(one.results.finishing):
        for _ in range(5):  # grace and a lease later
            one.clock.move(12)
            await beat(one)
            await one.reaping.reap()
    view = await one.tasks.get("default", ref.task_id)
    assert view.task.status is Status.FAILED
    assert view.last is not None
    assert view.last._mapping["error_code"] == "TIMEOUT"
    assert named in view.last._mapping["error_message"]


async def test_a_lease_that_is_over_gives_the_task_back(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    one.clock.move(30)
    assert await one.reaping.reap() == 0
    one.clock.move(0.001)
    assert await one.reaping.reap() == 1
    view = await one.tasks.get("default", ref.task_id)
    assert (view.task.status, view.task.stalled) == (Status.PENDING, 1)
    assert view.last is not None
    assert view.last._mapping["error_code"] == "AGENT_LOST"
    [record] = view.transitions
    assert (record._mapping["transition"], record._mapping["subject"]) == ("Lose", "reaper")
    assert await one.reaping.reap() == 0


async def test_no_lease_ends_before_a_whole_period_since_the_control_plane_began_to_listen(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    one.clock.move(3600)  # nobody was there to hear it
    again = Reaping(one.engine, one.sessions, one.results)
    one.clock.move(30)
    assert await again.reap() == 0
    one.clock.move(0.001)
    assert await again.reap() == 1
    assert (await one.task(ref.task_id)).stalled == 1


async def test_a_lease_is_that_of_its_job(one: Replica) -> None:
    await one.job("short", lost_after_seconds=3.0)
    await one.job("long", lost_after_seconds=100.0)
    [short], [long] = await one.create("short"), await one.create("long")
    await one.connect()
    await one.place()
    one.clock.move(10)
    assert await one.reaping.reap() == 1
    assert (await one.task(short.id)).status is Status.PENDING
    assert (await one.task(long.id)).status is Status.DISPATCHED


async def test_a_first_lease_counts_from_the_placement_if_the_agent_was_silent_before(one: Replica) -> None:
    await one.job(lost_after_seconds=3.0)
    await one.connect(free=1)
    one.clock.move(5)
    await one.create()
    await one.place()
    one.clock.move(3)
    assert await one.reaping.reap() == 0
    one.clock.move(0.001)
    assert await one.reaping.reap() == 1


async def test_work_given_up_is_not_placed_where_nobody_listens(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    session = one.sessions.find(KEY)
    assert session is not None
    session.free = 1
    one.clock.move(31)
    assert await one.reaping.reap() == 1
    assert session.closed
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DISCONNECTED
    await one.place()
    assert (await one.task(ref.task_id)).status is Status.PENDING


async def test_a_silent_agent_loses_its_stream_on_another_replica_too(one: Replica) -> None:
    await one.connect(free=1)
    one.clock.move(16)
    session = one.sessions.find(KEY)
    assert session is not None
    await one.reaping.reap()
    await one.agents.refresh()
    assert session.closed


async def test_a_result_that_comes_after_its_lease_counts_until_the_task_is_placed_anew(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    one.clock.move(31)
    await one.reaping.reap()
    assert (await one.finish(ref)).name == "COUNTED"
    view = await one.tasks.get("default", ref.task_id)
    assert view.task.status is Status.SUCCEEDED
    assert view.last is not None
    assert (view.last._mapping["status"], view.last._mapping["error_code"]) == (Status.SUCCEEDED, None)
    session = await one.connect(free=1)
    assert await one.place() == 0
    assert not placed(session)


async def test_a_result_that_comes_after_the_task_was_placed_anew_is_kept_as_evidence(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    one.clock.move(31)
    await one.reaping.reap()
    await one.connect("other", free=1)
    await one.place()
    for _ in range(2):
        assert (await one.finish(ref, exit_code=7)).name == "LATE"
    view = await one.tasks.get("default", ref.task_id)
    assert (view.task.status, view.task.agent_id) == (Status.DISPATCHED, "other")
    assert view.last is not None
    kept = view.last._mapping
    assert (kept["late_result"], kept["exit_code"], kept["status"]) == (True, 7, Status.FAILED)
    assert kept["error_code"] == "AGENT_LOST"


async def test_a_repeated_result_is_no_late_one(one: Replica) -> None:
    ref = await running(one)
    assert (await one.finish(ref)).name == "COUNTED"
    assert (await one.finish(ref)).name == "LATE"
    view = await one.tasks.get("default", ref.task_id)
    assert view.last is not None
    assert not view.last._mapping["late_result"]


async def test_work_that_its_agent_ended_when_out_of_reach_costs_no_attempt(one: Replica) -> None:
    ref = await running(one, max_retries=0)
    verdict = await one.finish(ref, Status.FAILED, error_code="LEASE_EXPIRED", error_retryable=True)
    assert verdict.name == "COUNTED"
    task = await one.task(ref.task_id)
    assert (task.status, task.attempt, task.stalled) == (Status.PENDING, 1, 1)
    # Its acknowledgement was lost: the repeat changes nothing, and neither does another result after it.
    assert (await one.finish(ref, Status.FAILED, error_code="LEASE_EXPIRED")).name == "LATE"
    assert (await one.finish(ref)).name == "LATE"
    assert await one.task(ref.task_id) == task


async def test_work_that_its_agent_ended_after_the_lease_was_given_up_is_not_counted_twice(one: Replica) -> None:
    ref = await running(one, max_retries=0, lost_after_seconds=30.0)
    one.clock.move(31)
    await one.reaping.reap()
    assert (await one.finish(ref, Status.FAILED, error_code="LEASE_EXPIRED")).name == "LATE"
    task = await one.task(ref.task_id)
    assert (task.status, task.stalled) == (Status.PENDING, 1)


async def test_a_loss_too_often_is_a_dead_letter(one: Replica) -> None:
    ref = await running(one, max_stalled=0, lost_after_seconds=3.0)
    one.clock.move(4)
    await one.reaping.reap()
    task = await one.task(ref.task_id)
    assert (task.status, task.dead_reason) == (Status.FAILED, DeadReason.AGENT_LOST)


async def test_a_task_that_takes_its_agents_with_it_is_a_dead_letter_after_as_many_as_it_may(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=3.0)  # three may be lost unless the job says otherwise
    with structlog.testing.capture_logs() as said:
        for number in range(4):
            one.clock.move(4)
            assert await one.reaping.reap() == 1
            following = await one.connect(f"victim-{number}", free=1)
            await one.place()
            for placement in placed(following):
                await one.start(placement.ref)
    poison = await one.task(ref.task_id)
    assert (poison.status, poison.dead_reason, poison.stalled) == (Status.FAILED, DeadReason.AGENT_LOST, 4)
    assert (poison.attempt, poison.token) == (1, 4)  # none of it was a failed attempt
    stalls = [(entry["task"], entry["stalled"]) for entry in said if "stalled" in entry["event"]]
    assert stalls == [(poison.id, count) for count in (1, 2, 3, 4)]
    bulk = Bulk("default", Action.RETRY, {"id": {"eq": poison.id}}, by="ann", dead=True)
    one.clock.move(1)
    assert (await one.actions().act_on_all(bulk, None)).changed == 1
    again = await one.task(poison.id)
    assert (again.status, again.epoch, again.stalled) == (Status.PENDING, 2, 0)


async def test_a_cancelled_task_ends_with_its_lease_at_the_latest(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=30.0)
    await one.cancel(ref.task_id, "not needed")
    assert one.stopped == [ref.task_id]
    assert (await one.task(ref.task_id)).status is Status.RUNNING
    one.clock.move(31)
    await one.reaping.reap()
    assert (await one.task(ref.task_id)).status is Status.CANCELLED


async def test_an_attempt_that_its_agent_does_not_stop_is_ended_a_lease_after_its_timeout_and_grace(
    one: Replica,
) -> None:
    ref = await running(one, timeout=10.0, grace_seconds=5.0, lost_after_seconds=30.0, max_retries=1)
    async with committing(one.results.finishing):
        for _ in range(3):
            one.clock.move(15)
            await beat(one)
            await one.reaping.reap()
            assert (await one.task(ref.task_id)).status is Status.RUNNING
        one.clock.move(1)
        await beat(one)
        await one.reaping.reap()
    view = await one.tasks.get("default", ref.task_id)
    assert view.task.status is Status.WAITING_RETRY
    assert view.last is not None
    assert view.last._mapping["status"] == Status.TIMED_OUT
    session = one.sessions.find(KEY)
    assert session is not None
    assert stopped(session) == [ref]


async def test_many_that_overran_end_at_once_each_with_the_number_of_its_status(one: Replica) -> None:
    await one.job(timeout=10.0, grace_seconds=0.0, lost_after_seconds=30.0)
    await one.create(count=4)
    agent = await one.connect(free=4)
    await one.place()
    for placement in placed(agent):
        await one.start(placement.ref)
    async with committing(one.results.finishing):
        for _ in range(3):
            one.clock.move(21)
            await beat(one)
            await one.reaping.reap()

    def stored(connection: Connection) -> list[tuple[object, ...]]:
        # SQLite takes a word for a number without a complaint, so the type that was stored is asked for.
        kind = "typeof" if connection.dialect.name == "sqlite" else "pg_typeof"
        found = connection.execute(
            sa.text(
                f"SELECT DISTINCT i.status, {kind}(i.status), t.status, {kind}(t.status)"
                " FROM sched_task_instance i JOIN sched_task t ON t.id = i.task_id"
            )
        )
        return [tuple(row) for row in found]

    [(ended, ended_type, failed, failed_type)] = await one.engine.store.read(stored)
    assert (ended, failed) == (Status.TIMED_OUT, Status.FAILED)
    assert {ended_type, failed_type} <= {"integer", "smallint"}


async def test_an_agent_falls_silent_is_lost_and_comes_back(one: Replica) -> None:
    ref = await running(one, lost_after_seconds=100.0)

    async def status() -> AgentStatus:
        return (await one.agents.get(KEY)).agent.status

    one.clock.move(16)
    await one.reaping.reap()
    assert await status() is AgentStatus.DISCONNECTED
    one.clock.move(80)
    await one.reaping.reap()
    assert await status() is AgentStatus.DISCONNECTED  # its work is not given up yet
    one.clock.move(5)
    await one.reaping.reap()
    assert await status() is AgentStatus.LOST
    assert (await one.task(ref.task_id)).status is Status.PENDING
    await one.connect()
    assert await status() is AgentStatus.ONLINE
