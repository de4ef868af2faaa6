"""How agents come, what is concluded from what they know, and what operators do with them."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import AlreadyExists, IllegalTransition, NotFound
from controlplane.domain.task import Cause, DeadReason, Status
from controlplane.engine.agents import Beat
from controlplane.engine.results import Ref, Verdict
from controlplane.engine.sessions import DrainAgent
from controlplane.store.agents import AgentStatus
from controlplane.store.tables import task_instance
from tests.engine.stage import MovedClock, Replica, arrival, opened, placed, stopped

KEY = ("default", "agent")
WITHIN_SECONDS = 10.0


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def running(one: Replica, *, count: int = 1, started: bool = True, **config: Any) -> list[Ref]:
    """Placements that the agent has begun."""
    await one.job(**config)
    await one.create(count=count)
    agent = await one.connect(free=count)
    await one.place()
    refs = [placement.ref for placement in placed(agent)]
    assert len(refs) == count
    if started:
        for ref in refs:
            assert await one.start(ref)
    return refs


# --- what an agent knows when it comes back


async def test_what_an_agent_still_runs_is_kept(one: Replica) -> None:
    refs = await running(one, count=2)
    _, plan = await one.greet(arrival(running=refs))
    assert sorted(plan.keep, key=str) == sorted(refs, key=str)
    assert not plan.stop
    assert {(await one.task(ref.task_id)).status for ref in refs} == {Status.RUNNING}


async def test_what_the_same_start_never_got_is_placed_again_at_no_cost(one: Replica) -> None:
    [ref] = await running(one, started=False)
    _, plan = await one.greet(arrival())
    assert plan.undelivered == [ref]
    task = await one.task(ref.task_id)
    assert (task.status, task.stalled, task.result_token) == (Status.PENDING, 0, 1)


async def test_what_the_same_start_ran_and_no_longer_knows_is_dead(one: Replica) -> None:
    [ref] = await running(one)
    _, plan = await one.greet(arrival())
    assert plan.dead == [ref]
    assert (await one.task(ref.task_id)).stalled == 1


@pytest.mark.parametrize("started", [True, False])
async def test_what_a_newer_start_does_not_know_is_dead_and_placed_anew(one: Replica, started: bool) -> None:
    [ref] = await running(one, started=started)
    session, plan = await one.greet(arrival(generation=2))
    assert plan.dead == [ref]
    session.free = 1
    await one.place()
    [again] = placed(session)
    assert (again.ref.task_id, again.ref.token, again.attempt) == (ref.task_id, 2, 1)
    task = await one.task(ref.task_id)
    assert (task.stalled, task.cause) == (1, Cause.MOVED)


async def test_a_start_too_many_is_a_dead_letter(one: Replica) -> None:
    [ref] = await running(one, max_stalled=0)
    await one.greet(arrival(generation=2))
    task = await one.task(ref.task_id)
    assert (task.status, task.dead_reason) == (Status.FAILED, DeadReason.AGENT_LOST)


async def test_what_was_placed_elsewhere_meanwhile_is_to_be_stopped(one: Replica) -> None:
    [ref] = await running(one)
    await one.results.lose([ref], "gone")
    other = await one.connect("other")
    await one.place()
    assert len(placed(other)) == 1
    _, plan = await one.greet(arrival(running=[ref]))
    assert (plan.stop, plan.keep) == ([ref], [])
    assert (await one.task(ref.task_id)).agent_id == "other"


async def test_a_result_in_the_agents_spool_keeps_its_placement_until_it_is_sent(one: Replica) -> None:
    [ref] = await running(one)
    _, plan = await one.greet(arrival(generation=2, finished=[ref]))
    assert not plan.dead
    assert not plan.forget
    assert (await one.finish(ref)).name == "COUNTED"
    assert (await one.task(ref.task_id)).status is Status.SUCCEEDED


async def test_a_result_of_a_task_that_is_gone_may_be_forgotten(one: Replica) -> None:
    [ref] = await running(one)
    await one.finish(ref)
    await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    _, plan = await one.greet(arrival(finished=[ref]))
    assert plan.forget == [ref]


async def test_a_cancel_that_the_agent_did_not_hear_is_said_again(one: Replica) -> None:
    [ref] = await running(one)
    await one.cancel(ref.task_id)
    session, plan = await one.greet(arrival(running=[ref]))
    assert (plan.keep, plan.cancel) == ([ref], [(ref, "cancelled")])
    assert stopped(session) == [ref]
    await one.agents.refresh()
    assert stopped(session) == [ref]


# --- who may be who


async def test_a_newer_stream_of_the_same_agent_takes_over(one: Replica) -> None:
    older = await one.connect()
    newer = await one.connect()
    assert older.closed
    assert older.farewell is not None
    assert older.farewell.reason == "TAKEN_OVER"
    assert one.sessions.find(KEY) is newer
    await one.agents.leave(older, on_purpose=False)
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.ONLINE


async def test_another_state_folder_under_a_living_name_is_refused_and_both_hosts_are_named(one: Replica) -> None:
    await one.connect(hostname="alpha")
    with pytest.raises(AlreadyExists, match=r"lives on alpha.*this one is on beta") as refused:
        await one.connect(state_id="another", hostname="beta")
    assert refused.value.reason == "AGENT_NAME_TAKEN"
    assert refused.value.facts == {"agent": "agent", "holder": "alpha", "claimant": "beta"}


async def test_a_name_is_free_for_another_folder_when_its_holder_was_silent_long_enough(one: Replica) -> None:
    [ref] = await running(one)
    one.clock.move(61)
    _, plan = await one.greet(arrival(state_id="another"))
    assert plan.dead == [ref]


async def test_a_name_is_not_free_before_the_leases_of_its_work_are_over(one: Replica) -> None:
    """Ignorance proves nothing about another folder: the work may still run under the old one."""
    [ref] = await running(one, lost_after_seconds=300.0)
    one.clock.move(61)
    with pytest.raises(AlreadyExists):
        await one.greet(arrival(state_id="another"))
    one.clock.move(240)
    _, plan = await one.greet(arrival(state_id="another"))
    assert plan.dead == [ref]


async def test_a_name_whose_agent_stopped_is_free_at_once(one: Replica) -> None:
    session = await one.connect()
    await one.agents.leave(session, on_purpose=True)
    await one.connect(state_id="another")


async def test_an_older_start_of_the_same_folder_is_refused(one: Replica) -> None:
    await one.connect(generation=3)
    with pytest.raises(AlreadyExists, match="started again"):
        await one.connect(generation=2)


# --- going


async def test_an_agent_that_stops_on_purpose_leaves_nothing_behind(one: Replica) -> None:
    [ref] = await running(one)
    session = one.sessions.find(KEY)
    assert session is not None
    await one.agents.leave(session, on_purpose=True)
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.STOPPED
    assert (await one.task(ref.task_id)).status is Status.PENDING


async def test_a_stream_that_breaks_leaves_the_work_where_it_is(one: Replica) -> None:
    [ref] = await running(one)
    session = one.sessions.find(KEY)
    assert session is not None
    await one.agents.leave(session, on_purpose=False)
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DISCONNECTED
    assert (await one.task(ref.task_id)).status is Status.RUNNING


async def test_after_a_restart_agents_are_disconnected_until_they_come_back(one: Replica) -> None:
    await one.connect()
    await one.agents.adopt()
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DISCONNECTED
    await one.connect()
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.ONLINE


async def test_a_sign_of_life_of_an_older_stream_counts_for_nothing(one: Replica) -> None:
    older = await one.connect()
    newer = await one.connect()
    before = (await one.agents.get(KEY)).agent.last_beat_at
    one.clock.move(5)
    for session, at in ((older, before), (newer, before + 5_000_000)):
        await one.engine.store.write(one.agents.beat_many, [Beat(session, {"cpu": 1.0}, one.clock.now())])
        assert (await one.agents.get(KEY)).agent.last_beat_at == at


# --- operators


async def test_labels_that_an_operator_sets_outlive_a_reconnect_but_not_new_ones_of_the_agent(one: Replica) -> None:
    await one.connect(labels={"zone": "a", "sys_os": "linux"})
    await one.agents.relabel(KEY, {"zone": "b", "sys_os": "lie"}, etag=None, request=None)
    assert (await one.connect(labels={"zone": "a", "sys_os": "linux"})).labels == {"zone": "b", "sys_os": "linux"}
    assert (await one.connect(labels={"zone": "c", "sys_os": "linux"})).labels == {"zone": "c", "sys_os": "linux"}


async def test_a_drained_agent_stays_drained_when_its_stream_was_cut(one: Replica) -> None:
    session = await one.connect()
    await one.agents.drain(KEY, request=None)
    await one.agents.leave(session, on_purpose=False)
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DISCONNECTED
    assert (await one.connect()).draining
    assert (await one.agents.get(KEY)).agent.status is AgentStatus.DRAINING


async def test_a_drain_is_told_to_the_agent_and_ends_with_its_next_start(one: Replica) -> None:
    session = await one.connect()
    await one.agents.drain(KEY, request=None)
    assert [type(message) for message in session.outbox] == [DrainAgent]
    assert (await one.connect()).draining
    assert not (await one.connect(generation=2)).draining


async def test_a_living_agent_is_not_deleted(one: Replica) -> None:
    session = await one.connect()
    with pytest.raises(IllegalTransition, match="stop it first"):
        await one.agents.delete(KEY, request=None)
    await one.agents.leave(session, on_purpose=True)
    await one.agents.delete(KEY, request=None)
    with pytest.raises(NotFound):
        await one.agents.get(KEY)


async def test_an_agent_that_another_replica_took_over_or_deleted_is_told_goodbye(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        moved, gone = await one.connect("moved"), await one.connect("gone")
        await two.connect("moved")
        took = await two.connect("gone")
        await two.agents.leave(took, on_purpose=True)
        await two.agents.delete(("default", "gone"), request=None)
        await one.agents.refresh()
        ends = [session.farewell for session in (moved, gone)]
        assert [end.reason for end in ends if end is not None] == ["TAKEN_OVER", "DELETED"]


async def test_an_agent_that_comes_while_the_others_are_looked_at_is_not_sent_away(one: Replica) -> None:
    await one.connect("first")
    read, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        if not read.is_set():
            read.set()
            go_on.wait(WITHIN_SECONDS)

    sa.event.listen(sa.Engine, "after_cursor_execute", hold)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(one.agents.refresh())
            assert await asyncio.to_thread(read.wait, WITHIN_SECONDS)
            came_back, new = await one.connect("first"), await one.connect("second")
            go_on.set()
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", hold)
    assert (came_back.farewell, new.farewell) == (None, None)


async def test_who_may_not_touch_a_namespace_can_say_nothing_of_its_tasks_even_with_the_instances_id(
    one: Replica,
) -> None:
    [own] = await running(one, started=False)
    others = replace(own, within=frozenset({"elsewhere"}))
    assert not await one.start(others)
    assert await one.finish(others, Status.FAILED) is Verdict.UNKNOWN
    await one.results.release([others])
    assert (await one.task(own.task_id)).status is Status.DISPATCHED
    allowed = replace(own, within=frozenset({"default", "elsewhere"}))
    assert await one.start(allowed)
    assert await one.finish(allowed) is Verdict.COUNTED


async def test_only_who_has_a_placement_says_how_far_it_is_and_only_while_it_is_open(one: Replica) -> None:
    [own] = await running(one, started=True)
    strangers = (
        replace(own, instance_id=one.engine.new_id()),
        replace(own, within=frozenset({"elsewhere"})),
        replace(own, token=2),
    )

    async def say(*reports: tuple[Ref, float, str]) -> tuple[float | None, str | None]:
        await one.engine.store.write(one.results.progress_many, reports)
        with_progress = sa.select(task_instance.c.progress, task_instance.c.progress_message)
        [row] = await one.engine.store.read(lambda connection: connection.execute(with_progress).all())
        return row[0], row[1]

    assert await say(*((ref, 99.0, "wrong") for ref in strangers)) == (None, None)
    assert await say((strangers[0], 99.0, "wrong"), (own, 40.0, "half")) == (40.0, "half")
    await one.finish(own)
    assert await say((own, 50.0, "late")) == (40.0, "half")
