"""Attempts that their agents hold still: what is told to whom, which clocks stand, and what becomes of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.domain.errors import IllegalTransition
from controlplane.domain.task import Status, Task
from controlplane.engine.actions import Action, Bulk
from controlplane.engine.agents import Beat
from controlplane.engine.explain import Explain
from controlplane.engine.results import Ref
from controlplane.engine.sessions import Session, StopWork
from tests.engine.stage import PAUSING, MovedClock, Replica, arrival, committing, held, opened, placed, stopped


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def running(one: Replica, count: int = 1, **config: Any) -> tuple[Session, list[Ref]]:
    """An agent that can pause, and what it has begun."""
    await one.job(**config)
    await one.create(count=count)
    session = await one.connect(free=count, executors=PAUSING)
    await one.place()
    refs = [placement.ref for placement in placed(session)]
    for ref in refs:
        assert await one.start(ref)
    return session, refs


async def act(one: Replica, ref: Ref, action: Action) -> Task:
    return (await one.actions().act("default", ref.task_id, action, by="ann", why="look", key=None)).task


async def test_a_running_attempt_is_held_by_its_agent_and_goes_on_there(one: Replica) -> None:
    session, [ref] = await running(one)
    paused = await act(one, ref, Action.PAUSE)
    assert (paused.status, paused.on_agent, paused.instance_id) == (Status.PAUSED, True, ref.instance_id)
    assert (await act(one, ref, Action.PAUSE)).version == paused.version  # it is held already
    assert held(session) == [("pause", [ref])]
    assert (await act(one, ref, Action.RESUME)).status is Status.RUNNING
    assert held(session) == [("resume", [ref])]
    await one.finish(ref)
    view = await one.tasks.get("default", ref.task_id)
    assert (view.task.status, view.task.attempt) == (Status.SUCCEEDED, 1)
    assert [(row.transition, row.subject) for row in view.transitions] == [("Pause", "ann"), ("Unpause", "ann")]


async def test_what_cannot_be_paused_says_so_and_goes_on(one: Replica) -> None:
    await one.job()
    await one.create()
    session = await one.connect(free=1)  # an older agent, or an executor that cannot
    await one.place()
    [placement] = placed(session)
    with pytest.raises(IllegalTransition) as refused:
        await act(one, placement.ref, Action.PAUSE)
    assert refused.value.reason == "EXECUTOR_CANNOT_PAUSE"
    assert refused.value.facts["executor"] == "process"
    assert not held(session)


async def test_many_are_paused_with_one_word_to_their_agent(one: Replica) -> None:
    session, refs = await running(one, count=4)
    for action, word in ((Action.PAUSE, "pause"), (Action.RESUME, "resume")):
        dry = await one.actions().act_on_all(Bulk("default", action, {}, by="ann", dry_run=True), None)
        done = await one.actions().act_on_all(Bulk("default", action, {}, by="ann"), None)
        assert (dry.changed, done.changed) == (4, 4)
        [(said, told)] = held(session)
        assert (said, set(told)) == (word, set(refs))
        one.clock.move(1)


async def test_a_program_that_starts_while_it_is_held_stays_held(one: Replica) -> None:
    await one.job()
    await one.create()
    session = await one.connect(free=1, executors=PAUSING)
    await one.place()
    [placement] = placed(session)
    await act(one, placement.ref, Action.PAUSE)
    assert await one.start(placement.ref)
    assert (await one.task(placement.ref.task_id)).status is Status.PAUSED
    assert (await act(one, placement.ref, Action.RESUME)).status is Status.RUNNING


async def test_a_result_that_was_under_way_counts(one: Replica) -> None:
    _, [ref] = await running(one)
    await act(one, ref, Action.PAUSE)
    assert (await one.finish(ref)).name == "COUNTED"
    ended = await one.task(ref.task_id)
    assert (ended.status, ended.on_agent) == (Status.SUCCEEDED, False)


async def test_the_clock_of_its_timeout_stands_still_that_of_its_total_does_not(one: Replica) -> None:
    session, [ref] = await running(
        one, timeout=60.0, total_timeout_seconds=500.0, lost_after_seconds=30.0, grace_seconds=0.0
    )

    async def after(seconds: float) -> Status:
        for _ in range(10):
            one.clock.move(seconds / 10)
            await one.engine.store.write(one.agents.beat_many, [Beat(session, {}, one.clock.now())])
        await one.reaping.reap()
        await one.timers.fire()
        return (await one.task(ref.task_id)).status

    async def next_timeout() -> str:
        explain = Explain(one.engine, one.tasks, one.placing, one.sessions, one.agents)
        found = await explain.task("default", ref.task_id)
        return "" if found.next_timeout is None else found.next_timeout[0]

    async with committing(one.results.finishing):
        assert await after(50) is Status.RUNNING
        assert await next_timeout() == "TIMEOUT"
        await act(one, ref, Action.PAUSE)
        assert await after(200) is Status.PAUSED
        assert await next_timeout() == "TOTAL_TIMEOUT"
        await act(one, ref, Action.RESUME)
        assert await after(39) is Status.RUNNING
        assert await after(2) is Status.FAILED  # 50 + 41 s of running are a timeout and a lease
    assert stopped(session) == [ref]


async def test_the_total_time_ends_what_is_held_too(one: Replica) -> None:
    session, [ref] = await running(one, total_timeout_seconds=60.0, lost_after_seconds=30.0, grace_seconds=0.0)
    await act(one, ref, Action.PAUSE)
    one.clock.move(60)
    await one.timers.fire()
    assert (await one.task(ref.task_id)).status is Status.PAUSED  # its agent is to end it
    one.clock.move(31)
    await one.engine.store.write(one.agents.beat_many, [Beat(session, {}, one.clock.now())])
    async with committing(one.results.finishing):
        await one.reaping.reap()
    assert (await one.task(ref.task_id)).status is Status.FAILED


async def test_a_cancel_ends_what_is_held(one: Replica) -> None:
    _, [ref] = await running(one)
    await act(one, ref, Action.PAUSE)
    assert (await one.cancel(ref.task_id, "not needed")).task.cancel_requested
    assert one.stopped == [ref.task_id]
    with pytest.raises(IllegalTransition):
        await act(one, ref, Action.PAUSE)
    await one.finish(ref, Status.CANCELLED)
    assert (await one.task(ref.task_id)).status is Status.CANCELLED


async def test_a_held_task_whose_agent_is_lost_stays_held_and_starts_nowhere(one: Replica) -> None:
    _, [ref] = await running(one, lost_after_seconds=30.0)
    await act(one, ref, Action.PAUSE)
    one.clock.move(31)
    assert await one.reaping.reap() == 1
    lost = await one.task(ref.task_id)
    assert (lost.status, lost.on_agent, lost.stalled) == (Status.PAUSED, False, 1)
    other = await one.connect("other", free=1)
    assert await one.place() == 0
    assert (await act(one, ref, Action.RESUME)).status is Status.PENDING
    assert await one.place() == 1
    assert [placement.ref.token for placement in placed(other)] == [2]


@pytest.mark.parametrize("action", [Action.SKIP, Action.FORCE_SUCCESS])
async def test_what_an_agent_holds_is_neither_skipped_nor_called_done(one: Replica, action: Action) -> None:
    _, [ref] = await running(one)
    await act(one, ref, Action.PAUSE)
    with pytest.raises(IllegalTransition):
        await act(one, ref, action)


# --- who forgot it


async def test_an_agent_that_comes_back_is_told_what_is_held_and_what_goes_on(one: Replica) -> None:
    _, refs = await running(one, count=2)
    await act(one, refs[0], Action.PAUSE)
    session, plan = await one.greet(arrival(running=refs, executors=PAUSING))
    assert (set(plan.keep), plan.paused) == (set(refs), [refs[0]])
    await act(one, refs[0], Action.RESUME)
    assert held(session) == [("resume", [refs[0]])]


async def test_a_pause_on_another_replica_reaches_the_agent_with_the_next_look(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        session, refs = await running(one, count=2)
        assert (await act(two, refs[0], Action.PAUSE)).status is Status.PAUSED
        await one.agents.refresh()
        assert held(session) == [("pause", [refs[0]])]
        await act(two, refs[0], Action.RESUME)
        await one.agents.refresh()
        assert held(session) == [("resume", [refs[0]])]
        await one.agents.refresh()
        assert not held(session)


async def test_a_cancel_on_another_replica_reaches_the_agent_with_what_was_said(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        session, [ref] = await running(one)
        await two.cancel(ref.task_id, "not needed")
        await one.agents.refresh()
        assert [message.refs for message in session.outbox if isinstance(message, StopWork)] == [((ref, "not needed"),)]


async def test_many_that_are_cancelled_together_are_one_message_to_their_agent(one: Replica) -> None:
    session, refs = await running(one, count=4)
    for ref in refs:
        one.sessions.stop(session.key, [(ref, "enough")])
        one.sessions.stop(session.key, [(ref, "enough")])  # said again before it was told
    [message] = session.outbox
    assert isinstance(message, StopWork)
    assert message.refs == tuple((ref, "enough") for ref in refs)
