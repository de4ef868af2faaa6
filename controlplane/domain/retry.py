"""What follows a failed attempt: the next one, or the end.

Now: a fixed interval and a number of retries. Other policies become further cases of `after_failure`.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.task import DeadReason, Fail, GiveUp, Lose, Retry, Task


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`interval` in microseconds between an attempt's end and the next; `max_stalled` losses are placed anew."""

    max_retries: int
    interval: int
    max_stalled: int


def after_failure(
    task: Task,
    policy: RetryPolicy,
    *,
    token: int,
    at: int,
    started_at: int | None,
    retryable: bool,
    retry_after: int | None,
) -> Retry | Fail:
    """The transition for an attempt that ended badly at `at`.

    A task that somebody asked to cancel is not tried again. `retry_after` (microseconds), said by the work itself,
    wins over the policy's interval. A placement that failed late, while the task waits again, is judged the same way.
    """
    if not retryable:
        return Fail(token=token, at=at, started_at=started_at, dead_reason=DeadReason.NOT_RETRYABLE)
    if task.cancel_requested or task.attempt > policy.max_retries:
        return Fail(token=token, at=at, started_at=started_at, dead_reason=DeadReason.RETRIES_EXHAUSTED)
    wait = policy.interval if retry_after is None else retry_after
    return Retry(token=token, at=at, started_at=started_at, wake_at=at + wait)


def after_loss(task: Task, policy: RetryPolicy, why: str) -> Lose | GiveUp:
    """The transition for a placement whose agent is lost. The first loss beyond `max_stalled` ends the task."""
    if task.stalled >= policy.max_stalled and not task.cancel_requested:
        return GiveUp(by="reaper", why=why)
    return Lose(by="reaper", why=why)
