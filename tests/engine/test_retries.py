"""Retries as the store keeps them: when the next attempt is due, and when there is none."""

from collections.abc import Iterator

import pytest

from controlplane.domain.retry import SECOND, Backoff, RetryRules
from controlplane.domain.task import DeadReason, Status
from controlplane.engine.results import Ref
from tests.engine.stage import Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def attempt(one: Replica) -> Ref:
    """The next attempt, on an agent."""
    session = await one.connect(free=1)
    await one.place()
    ref = placed(session)[0].ref
    await one.start(ref)
    return ref


async def fail(one: Replica, ref: Ref, code: str = "EXIT_1") -> float | None:
    """Seconds until the next attempt is due after this failure; None: there is none."""
    await one.finish(ref, Status.FAILED, error_code=code, error_retryable=True)
    task = await one.task(ref.task_id)
    return None if task.wake_at is None else (task.wake_at - one.clock.now()) / SECOND


async def test_waits_double_from_attempt_to_attempt_and_each_attempt_wakes_on_its_time(one: Replica) -> None:
    await one.job(max_retries=3, retry_interval=2.0, retry=RetryRules(Backoff.EXPONENTIAL, max_interval_seconds=5.0))
    [task] = await one.create()
    for wait in (2, 4, 5):
        assert await fail(one, await attempt(one)) == wait
        one.clock.move(wait - 0.001)
        await one.timers.fire()
        assert (await one.task(task.id)).status is Status.WAITING_RETRY
        one.clock.move(0.001)
        await one.timers.fire()
        assert (await one.task(task.id)).status is Status.PENDING
    assert await fail(one, await attempt(one)) is None
    ended = await one.task(task.id)
    assert (ended.status, ended.dead_reason, ended.attempt) == (Status.FAILED, DeadReason.RETRIES_EXHAUSTED, 4)


@pytest.mark.parametrize(("code", "again"), [("EXIT_75", True), ("EXIT_1", False), ("TIMEOUT", True)])
async def test_only_failures_with_the_codes_that_the_job_names_are_tried_again(
    one: Replica, code: str, again: bool
) -> None:
    await one.job(max_retries=3, retry=RetryRules(retry_on=("EXIT_75", "TIMEOUT")))
    await one.create()
    ref = await attempt(one)
    assert (await fail(one, ref, code) is not None) == again
    assert (await one.task(ref.task_id)).dead_reason is (DeadReason.NONE if again else DeadReason.NOT_RETRYABLE)


async def test_retries_end_with_the_time_that_all_attempts_have_and_a_restart_has_it_anew(one: Replica) -> None:
    await one.job(max_retries=99, retry_interval=20.0, retry=RetryRules(max_elapsed_seconds=30.0))
    [task] = await one.create()
    assert await fail(one, await attempt(one)) == 20
    one.clock.move(20)
    await one.timers.fire()
    assert await fail(one, await attempt(one)) is None
    assert (await one.task(task.id)).dead_reason is DeadReason.TIME_EXHAUSTED
    await one.tasks.retry("default", task.id, by="ann", why="", key=None)
    assert await fail(one, await attempt(one)) == 20


async def test_a_failed_attempt_is_followed_by_a_placement_of_its_own(one: Replica) -> None:
    await one.job(max_retries=1, retry_interval=2.0)
    [task] = await one.create()
    first = await attempt(one)
    assert await fail(one, first) == 2
    one.clock.move(2)
    await one.timers.fire()
    second = await attempt(one)
    assert (second.task_id, second.token) == (task.id, first.token + 1)
    assert second.instance_id != first.instance_id
    view = await one.tasks.get("default", task.id)
    assert (view.task.status, view.task.attempt) == (Status.RUNNING, 2)
    await one.finish(second)
    assert (await one.task(task.id)).status is Status.SUCCEEDED
