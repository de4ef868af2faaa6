"""What follows a failed attempt and a lost placement."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.retry import RetryPolicy, after_failure, after_loss
from controlplane.domain.task import DeadReason, Fail, GiveUp, Lose, Retry, Status, Task, apply
from tests.domain.test_task import NEW, NOW, RUN, do

POLICY = RetryPolicy(max_retries=2, interval=30, max_stalled=3)
RUNNING = do(NEW, *RUN)


def failed(
    one: Task, policy: RetryPolicy = POLICY, *, retryable: bool = True, retry_after: int | None = None
) -> Retry | Fail:
    return after_failure(
        one, policy, token=one.token, at=NOW, started_at=None, retryable=retryable, retry_after=retry_after
    )


@pytest.mark.parametrize(("attempt", "again"), [(1, True), (2, True), (3, False)])
def test_a_failed_attempt_is_tried_again_as_often_as_the_job_says(attempt: int, again: bool) -> None:
    following = failed(replace(RUNNING, attempt=attempt))
    assert isinstance(following, Retry if again else Fail)
    if isinstance(following, Fail):
        assert following.dead_reason is DeadReason.RETRIES_EXHAUSTED


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert isinstance(failed(RUNNING, RetryPolicy(0, 30, 3)), Fail)


def test_the_next_attempt_is_due_an_interval_after_the_end_of_the_last() -> None:
    following = failed(RUNNING)
    assert isinstance(following, Retry)
    assert following.wake_at == NOW + 30


@pytest.mark.parametrize("wait", [0, 7, 10_000])
def test_the_wait_that_the_work_asks_for_wins(wait: int) -> None:
    following = failed(RUNNING, retry_after=wait)
    assert isinstance(following, Retry)
    assert following.wake_at == NOW + wait


def test_what_is_said_not_to_be_retryable_is_not_tried_again() -> None:
    following = failed(RUNNING, retryable=False)
    assert isinstance(following, Fail)
    assert following.dead_reason is DeadReason.NOT_RETRYABLE


def test_what_somebody_asked_to_cancel_is_not_tried_again() -> None:
    assert isinstance(failed(replace(RUNNING, cancel_requested=True)), Fail)


@pytest.mark.parametrize("max_stalled", [0, 1, 3])
def test_a_lost_placement_is_placed_anew_as_often_as_the_job_says(max_stalled: int) -> None:
    policy = replace(POLICY, max_stalled=max_stalled)
    one, moved = RUNNING, 0
    while isinstance(following := after_loss(one, policy, "gone"), Lose):
        one, moved = do(apply(one, following, NOW).task, *RUN), moved + 1
    assert isinstance(following, GiveUp)
    assert moved == max_stalled
    assert apply(one, following, NOW).task.status is Status.FAILED


def test_a_loss_ends_what_somebody_asked_to_cancel_however_often_it_was_lost() -> None:
    asked = replace(RUNNING, cancel_requested=True, stalled=3)
    assert apply(asked, after_loss(asked, POLICY, "gone"), NOW).task.status is Status.CANCELLED


@given(st.integers(0, 5), st.integers(1, 8), st.booleans(), st.none() | st.integers(0, 10**12))
def test_the_answer_is_always_a_legal_step_of_a_running_task(
    max_retries: int, attempt: int, retryable: bool, retry_after: int | None
) -> None:
    one = replace(RUNNING, attempt=attempt)
    following = failed(one, RetryPolicy(max_retries, 30, 0), retryable=retryable, retry_after=retry_after)
    after = apply(one, following, NOW).task
    assert (after.status is Status.WAITING_RETRY) == (retryable and attempt <= max_retries)
