"""How long a wait for an agent and all of a task may last, beside the time of a single attempt."""

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.api import translate_tasks
from controlplane.domain.errors import IllegalTransition
from controlplane.domain.retry import RetryRules
from controlplane.domain.task import DeadReason, Status, Task
from controlplane.engine.actions import Action
from controlplane.engine.agents import Beat
from controlplane.engine.explain import Explain
from controlplane.engine.results import Ref
from controlplane.engine.tasks import Deadlines, TaskEdit
from tests.engine.stage import Replica, committing, opened, placed, stopped


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def new(one: Replica, *, deadlines: Deadlines | None = None, at: float = 0, **config: Any) -> Task:
    """A task of a new job."""
    await one.job(**config)
    scheduled_at = one.clock.now() + round(at * 1e6)
    [made] = await one.create(scheduled_at=scheduled_at, deadlines=deadlines or Deadlines())
    return made


async def run(one: Replica) -> Ref:
    """What an agent has begun by now."""
    session = one.sessions.find(("default", "agent")) or await one.connect(free=4)
    await one.place()
    [placement] = placed(session)
    assert await one.start(placement.ref)
    return placement.ref


async def error(one: Replica, task_id: str) -> tuple[str, str]:
    """What is shown as the failure."""
    shown = translate_tasks.task(await one.tasks.get("default", task_id)).error
    return shown.code, shown.message


async def after(one: Replica, seconds: float, task_id: str) -> Task:
    """The task when so much time has passed and the timers have gone off."""
    one.clock.move(seconds)
    await one.timers.fire()
    return await one.task(task_id)


# --- a wait for an agent


async def test_what_no_agent_begins_in_time_fails_for_good(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0, max_retries=3)
    assert (await after(one, 4.9, made.id)).status is Status.PENDING
    assert await one.timers.fire() == pytest.approx(0.1, abs=0.001)  # they know when to look again
    failed = await after(one, 0.1, made.id)
    assert (failed.status, failed.dead_reason) == (Status.FAILED, DeadReason.TIME_EXHAUSTED)
    assert await error(one, made.id) == ("SCHEDULE_TO_START_TIMEOUT", "no agent began it within 5 s")
    await one.connect(free=1)
    assert await one.place() == 0


@pytest.mark.parametrize("limit", ["schedule_to_start_timeout_seconds", "total_timeout_seconds"])
async def test_what_is_too_late_is_not_begun_though_nobody_was_there_to_end_it(one: Replica, limit: str) -> None:
    limits: dict[str, Any] = {limit: 5.0}
    late = await new(one, **limits)
    one.clock.move(6)  # the control plane was away
    [punctual] = await one.create()
    session = await one.connect(free=4)
    await one.place()
    assert [placement.ref.task_id for placement in placed(session)] == [punctual.id]
    assert (await after(one, 0, late.id)).status is Status.FAILED


async def test_a_wait_for_an_agent_counts_from_when_the_task_is_due(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0, at=100)
    assert (await after(one, 99, made.id)).status is Status.PENDING
    await after(one, 1, made.id)
    assert (await after(one, 4.9, made.id)).status is Status.PENDING
    assert (await after(one, 0.1, made.id)).status is Status.FAILED


async def test_what_an_agent_has_begun_in_time_may_go_on(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0)
    await run(one)
    assert (await after(one, 60, made.id)).status is Status.RUNNING


async def test_the_next_attempt_has_a_wait_of_its_own(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0, max_retries=1, retry_interval=30.0)
    await one.finish(await run(one), Status.FAILED, error_code="EXIT_1")
    assert (await after(one, 30, made.id)).status is Status.PENDING
    assert (await after(one, 4, made.id)).status is Status.PENDING
    assert (await after(one, 1, made.id)).status is Status.FAILED
    assert (await error(one, made.id))[0] == "SCHEDULE_TO_START_TIMEOUT"  # and not what the attempt before said


async def test_a_rule_that_names_it_makes_a_missed_start_wait_anew_as_often_as_there_are_retries(one: Replica) -> None:
    rules = RetryRules(retry_on=("SCHEDULE_TO_START_TIMEOUT",))
    made = await new(one, schedule_to_start_timeout_seconds=5.0, max_retries=1, retry_interval=30.0, retry=rules)
    put_off = await after(one, 5, made.id)
    assert (put_off.status, put_off.attempt, put_off.wake_at) == (
        Status.WAITING_RETRY,
        1,
        one.clock.now() + 30_000_000,
    )
    await after(one, 30, made.id)
    last = await after(one, 5, made.id)
    assert (last.status, last.dead_reason) == (Status.FAILED, DeadReason.RETRIES_EXHAUSTED)


async def test_a_held_task_misses_no_start(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0)
    actions = one.actions()
    await actions.act("default", made.id, Action.PAUSE, by="ann", why="", key=None)
    assert (await after(one, 60, made.id)).status is Status.PAUSED
    await actions.act("default", made.id, Action.RESUME, by="ann", why="", key=None)
    assert (await after(one, 4, made.id)).status is Status.PENDING
    assert (await after(one, 1, made.id)).status is Status.FAILED


# --- all of it


async def test_the_total_time_goes_on_while_a_task_waits_for_its_next_attempt(one: Replica) -> None:
    made = await new(one, total_timeout_seconds=60.0, max_retries=9, retry_interval=40.0)
    await one.finish(await run(one), Status.FAILED, error_code="EXIT_1")
    assert (await one.task(made.id)).status is Status.WAITING_RETRY
    await after(one, 40, made.id)
    ended = await after(one, 20, made.id)
    assert (ended.status, ended.dead_reason) == (Status.FAILED, DeadReason.TIME_EXHAUSTED)
    assert await error(one, made.id) == ("TOTAL_TIMEOUT", "all of it may take 60 s, and nobody had it then")


async def test_no_attempt_is_waited_for_that_would_begin_too_late(one: Replica) -> None:
    made = await new(one, total_timeout_seconds=60.0, max_retries=9, retry_interval=60.0)
    await one.finish(await run(one), Status.FAILED, error_code="EXIT_1")
    ended = await one.task(made.id)
    assert (ended.status, ended.dead_reason) == (Status.FAILED, DeadReason.TIME_EXHAUSTED)
    assert (await error(one, made.id))[0] == "EXIT_1"


async def test_an_agent_is_told_how_much_of_the_total_time_is_left(one: Replica) -> None:
    await new(one, total_timeout_seconds=60.0)
    one.clock.move(20)
    session = await one.connect(free=1)
    await one.place()
    [placement] = placed(session)
    assert translate_tasks.placement(placement).total_seconds_left == 40.0


async def test_what_its_agent_ended_for_the_total_time_is_not_tried_again_whatever_the_rules(one: Replica) -> None:
    made = await new(
        one, total_timeout_seconds=60.0, max_retries=9, retry_interval=0.0, retry=RetryRules(retry_on=("*",))
    )
    ref = await run(one)
    one.clock.move(59.9)  # clocks differ a little
    await one.finish(ref, Status.TIMED_OUT, error_code="TOTAL_TIMEOUT")
    ended = await one.task(made.id)
    assert (ended.status, ended.dead_reason) == (Status.FAILED, DeadReason.TIME_EXHAUSTED)


async def test_what_its_agent_does_not_end_for_the_total_time_is_ended_a_lease_and_a_grace_later(one: Replica) -> None:
    made = await new(one, total_timeout_seconds=60.0, lost_after_seconds=30.0, grace_seconds=5.0)
    ref = await run(one)
    session = one.sessions.find(("default", "agent"))
    assert session is not None

    async def reaped_after(seconds: float) -> Status:
        one.clock.move(seconds)
        await one.engine.store.write(one.agents.beat_many, [Beat(session, {}, one.clock.now())])
        await one.timers.fire()
        await one.reaping.reap()
        return (await one.task(made.id)).status

    async with committing(one.results.finishing):
        for _ in range(5):
            assert await reaped_after(19) is Status.RUNNING
        assert await reaped_after(0.1) is Status.FAILED
    assert stopped(session) == [ref]
    assert (await error(one, made.id))[0] == "TOTAL_TIMEOUT"


async def test_a_new_epoch_has_all_its_time_again(one: Replica) -> None:
    made = await new(one, total_timeout_seconds=60.0)
    await after(one, 60, made.id)
    await one.tasks.retry("default", made.id, by="ann", why="", key=None)
    assert (await after(one, 59, made.id)).status is Status.PENDING
    assert (await after(one, 1, made.id)).status is Status.FAILED


# --- who says so


async def test_a_task_may_say_otherwise_than_its_job(one: Replica) -> None:
    made = await new(
        one,
        deadlines=Deadlines(start_seconds=1.0, total_seconds=7.0),
        schedule_to_start_timeout_seconds=5.0,
        total_timeout_seconds=60.0,
    )
    shown = translate_tasks.task(await one.tasks.get("default", made.id))
    assert (shown.schedule_to_start_timeout_seconds, shown.total_timeout_seconds) == (1.0, 7.0)
    assert (await after(one, 1, made.id)).status is Status.FAILED


async def test_deadlines_are_changed_like_a_time_and_not_once_the_task_has_been_placed(one: Replica) -> None:
    made = await new(one, total_timeout_seconds=60.0)

    async def change(**deadlines: float) -> None:
        await one.tasks.update(
            "default",
            made.id,
            lambda view: TaskEdit(view.task.priority, view.task.scheduled_at, view.data, Deadlines(**deadlines)),
            etag=None,
            key=None,
        )

    await change(total_seconds=100.0)
    assert (await after(one, 99, made.id)).status is Status.PENDING
    await change()  # what the job says, which is over
    assert (await after(one, 0, made.id)).status is Status.FAILED
    with pytest.raises(IllegalTransition):
        await change(total_seconds=100.0)


async def test_the_answer_to_why_names_the_timeout_that_is_next(one: Replica) -> None:
    made = await new(one, schedule_to_start_timeout_seconds=5.0, total_timeout_seconds=60.0, timeout=20.0)
    began = one.clock.now()

    async def following() -> tuple[str, float] | None:
        explain = Explain(one.engine, one.tasks, one.placing, one.sessions, one.agents)
        found = (await explain.task("default", made.id)).next_timeout
        return None if found is None else (found[0], (found[1] - began) / 1e6)

    assert await following() == ("SCHEDULE_TO_START_TIMEOUT", 5.0)
    one.clock.move(3)
    ref = await run(one)
    assert await following() == ("TIMEOUT", 23.0)
    await one.finish(ref, Status.FAILED, error_code="EXIT_1")
    assert await following() is None
