"""What follows a failed attempt and a lost placement."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from controlplane.domain.retry import (
    SECOND,
    TOTAL_TIMEOUT,
    Backoff,
    RetryPolicy,
    RetryRules,
    after_failure,
    after_loss,
    after_missed_start,
    wait_before,
)
from controlplane.domain.task import DeadReason, Fail, GiveUp, Lose, MissStart, PutOff, Retry, Status, Task, apply
from tests.domain.test_task import NEW, NOW, RUN, do

POLICY = RetryPolicy(max_retries=2, interval=30, max_stalled=3)
RUNNING = do(NEW, *RUN)


def failed(
    one: Task,
    policy: RetryPolicy = POLICY,
    *,
    code: str = "EXIT_1",
    retryable: bool = True,
    retry_after: int | None = None,
) -> Retry | Fail:
    return after_failure(
        one, policy, token=one.token, at=NOW, started_at=None, code=code, retryable=retryable, retry_after=retry_after
    )


def waits(rules: RetryRules, *, interval: float = 2.0, attempts: int = 6) -> list[float]:
    """Seconds before the second, third, ... attempt."""
    policy = RetryPolicy(100, round(interval * SECOND), 3, rules)
    return [
        wait_before(structs.replace(RUNNING, attempt=attempt), policy) / SECOND for attempt in range(1, attempts + 1)
    ]


@pytest.mark.parametrize(("attempt", "again"), [(1, True), (2, True), (3, False)])
def test_a_failed_attempt_is_tried_again_as_often_as_the_job_says(attempt: int, again: bool) -> None:
    following = failed(structs.replace(RUNNING, attempt=attempt))
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
    assert isinstance(failed(structs.replace(RUNNING, cancel_requested=True)), Fail)


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
    asked = structs.replace(RUNNING, cancel_requested=True, stalled=3)
    assert apply(asked, after_loss(asked, POLICY, "gone"), NOW).task.status is Status.CANCELLED


@given(st.integers(0, 5), st.integers(1, 8), st.booleans(), st.none() | st.integers(0, 10**12))
def test_the_answer_is_always_a_legal_step_of_a_running_task(
    max_retries: int, attempt: int, retryable: bool, retry_after: int | None
) -> None:
    one = structs.replace(RUNNING, attempt=attempt)
    following = failed(one, RetryPolicy(max_retries, 30, 0), retryable=retryable, retry_after=retry_after)
    after = apply(one, following, NOW).task
    assert (after.status is Status.WAITING_RETRY) == (retryable and attempt <= max_retries)


# ---------------------------------------------------------------- waits that grow


def test_waits_grow_as_the_rules_say_and_no_further_than_they_allow() -> None:
    assert waits(RetryRules()) == [2, 2, 2, 2, 2, 2]
    assert waits(RetryRules(Backoff.LINEAR, max_interval_seconds=9)) == [2, 4, 6, 8, 9, 9]
    assert waits(RetryRules(Backoff.EXPONENTIAL)) == [2, 4, 8, 16, 32, 64]
    assert waits(RetryRules(Backoff.EXPONENTIAL, multiplier=3, max_interval_seconds=50)) == [2, 6, 18, 50, 50, 50]


def test_an_interval_of_nothing_never_grows() -> None:
    for backoff in Backoff:
        assert waits(RetryRules(backoff), interval=0) == [0] * 6


def test_a_fixed_wait_may_be_longer_than_where_growth_ends() -> None:
    assert waits(RetryRules(max_interval_seconds=1), interval=5, attempts=1) == [5]


@given(st.sampled_from(Backoff), st.floats(1, 100), st.floats(0.001, 86_400), st.floats(0, 1), st.integers(1, 1001))
def test_whatever_the_rules_a_wait_is_between_nothing_and_the_longest(
    backoff: Backoff, multiplier: float, interval: float, jitter: float, attempt: int
) -> None:
    rules = RetryRules(backoff, multiplier, jitter=jitter)
    policy = RetryPolicy(1000, round(interval * SECOND), 3, rules)
    calm = replace(policy, rules=replace(rules, jitter=0.0))
    one = structs.replace(RUNNING, attempt=attempt)
    assert 0 <= wait_before(one, policy) <= wait_before(one, calm) <= 86_400 * SECOND


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    policy = RetryPolicy(3, 100 * SECOND, 3, RetryRules(jitter=0.5))
    waited = [wait_before(structs.replace(RUNNING, id=f"task {number}"), policy) / SECOND for number in range(500)]
    assert all(50 < wait <= 100 for wait in waited)
    assert sum(wait < 75 for wait in waited) in range(180, 320)
    assert waited[0] == wait_before(structs.replace(RUNNING, id="task 0"), policy) / SECOND


def test_no_attempt_begins_after_the_time_that_all_of_them_have() -> None:
    policy = RetryPolicy(100, 10 * SECOND, 3, RetryRules(max_elapsed_seconds=60))
    just = structs.replace(RUNNING, started_at=NOW - 50 * SECOND)
    assert isinstance(failed(just, policy), Retry)
    late = failed(structs.replace(just, started_at=NOW - 50 * SECOND - 1), policy)
    assert isinstance(late, Fail)
    assert late.dead_reason is DeadReason.TIME_EXHAUSTED
    assert isinstance(failed(just, policy, retry_after=11 * SECOND), Fail)


# ---------------------------------------------------------------- which failures


@pytest.mark.parametrize(
    ("rules", "code", "said", "again"),
    [
        (RetryRules(retry_on=("EXIT_75", "SIGNAL_*")), "EXIT_75", True, True),
        (RetryRules(retry_on=("EXIT_75", "SIGNAL_*")), "SIGNAL_KILL", True, True),
        (RetryRules(retry_on=("EXIT_75", "SIGNAL_*")), "EXIT_7", True, False),
        (RetryRules(retry_on=("EXIT_7?",)), "EXIT_7", True, False),
        (RetryRules(fail_on=("TIMEOUT",)), "TIMEOUT", True, False),
        (RetryRules(fail_on=("TIMEOUT",)), "EXIT_1", True, True),
        (RetryRules(fail_on=("TIMEOUT",)), "EXIT_1", False, False),
        (RetryRules(retry_on=("*",), fail_on=("ValueError",)), "ValueError", True, False),
        (RetryRules(retry_on=("PLUGIN_*",)), "PLUGIN_OUT_OF_MEMORY", False, True),
        (RetryRules(retry_on=("exit_1",)), "EXIT_1", True, False),
    ],
)
def test_which_failures_are_tried_again_is_said_by_their_codes(
    rules: RetryRules, code: str, said: bool, again: bool
) -> None:
    following = failed(RUNNING, replace(POLICY, rules=rules), code=code, retryable=said)
    assert isinstance(following, Retry if again else Fail)
    if isinstance(following, Fail):
        assert following.dead_reason is DeadReason.NOT_RETRYABLE


def test_no_attempt_is_planned_for_when_the_total_time_is_over() -> None:
    limited = structs.replace(RUNNING, end_by=NOW + 31)
    assert isinstance(failed(limited), Retry)
    over = failed(structs.replace(limited, end_by=NOW + 30))
    assert isinstance(over, Fail)
    assert over.dead_reason is DeadReason.TIME_EXHAUSTED


def test_an_attempt_that_used_up_the_total_time_is_the_last_whatever_the_rules() -> None:
    rules = RetryRules(retry_on=("*",))
    over = failed(
        structs.replace(RUNNING, end_by=NOW + 99), replace(POLICY, rules=rules, interval=0), code=TOTAL_TIMEOUT
    )
    assert isinstance(over, Fail)
    assert over.dead_reason is DeadReason.TIME_EXHAUSTED


def test_what_no_agent_began_in_time_waits_anew_only_where_a_rule_names_that() -> None:
    late = structs.replace(NEW, start_within=5 * SECOND)
    ended = after_missed_start(late, POLICY, NOW)
    assert isinstance(ended, MissStart)
    assert (ended.why, ended.dead_reason) == ("no agent began it within 5 s", DeadReason.TIME_EXHAUSTED)
    patient = replace(POLICY, rules=RetryRules(retry_on=("SCHEDULE_TO_START_*",)))
    for attempt in range(POLICY.max_retries):
        again = after_missed_start(structs.replace(late, attempt=attempt), patient, NOW)
        assert isinstance(again, PutOff)
        assert apply(late, again, NOW).task.wake_at == NOW + 30
    last = after_missed_start(structs.replace(late, attempt=POLICY.max_retries), patient, NOW)
    assert isinstance(last, MissStart)
    assert last.dead_reason is DeadReason.RETRIES_EXHAUSTED
    no_time = after_missed_start(structs.replace(late, end_by=NOW + 30), patient, NOW)
    assert isinstance(no_time, MissStart)
