"""What follows a failed attempt: the next one, and when; or the end, and why.

An attempt's failure has a code (`EXIT_3`, `SIGNAL_KILL`, `TIMEOUT`, `PLUGIN_OUT_OF_MEMORY`, whatever a function's error
is called). The rules name codes with the wildcards of file names, so that every way of failing is addressed alike.
Waits are spread by chance that comes from the task's own id: the same failure has the same answer whenever it is asked
for, and the tasks that one outage failed do not all come back at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase

from controlplane.domain.task import DeadReason, Fail, GiveUp, Lose, MissStart, PutOff, Retry, Task

SECOND = 1_000_000
SCHEDULE_TO_START_TIMEOUT = "SCHEDULE_TO_START_TIMEOUT"
TIMEOUT = "TIMEOUT"
TOTAL_TIMEOUT = "TOTAL_TIMEOUT"


class Backoff(IntEnum):
    """How the waits of a task grow from attempt to attempt."""

    FIXED = 1
    LINEAR = 2
    EXPONENTIAL = 3


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How a job's waits grow and which failures are tried again. Durations in seconds.

    `max_interval_seconds` ends the growth. `jitter` is the share of a wait (0 to 1) that chance may take off it.
    `max_elapsed_seconds` counts from the first start: no attempt begins later. `retry_on`: only these codes are tried
    again, and they are whatever the work said of them; empty: all. `fail_on`: these never are.
    """

    backoff: Backoff = Backoff.FIXED
    multiplier: float = 2.0
    max_interval_seconds: float = 86_400.0
    jitter: float = 0.0
    max_elapsed_seconds: float | None = None
    retry_on: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`interval` in microseconds between an attempt's end and the next; `max_stalled` losses are placed anew."""

    max_retries: int
    interval: int
    max_stalled: int
    rules: RetryRules = field(default_factory=RetryRules)


def after_failure(
    task: Task,
    policy: RetryPolicy,
    *,
    token: int,
    at: int,
    started_at: int | None,
    code: str,
    retryable: bool,
    retry_after: int | None,
) -> Retry | Fail:
    """The transition for an attempt that ended badly at `at`, with this code.

    A task that somebody asked to cancel is not tried again. `retry_after` (microseconds), said by the work itself,
    wins over the policy's wait. A placement that failed late, while the task waits again, is judged the same way.
    """

    def fail(reason: DeadReason) -> Fail:
        return Fail(token=token, at=at, started_at=started_at, dead_reason=reason)

    if task.end_by is not None and code == TOTAL_TIMEOUT:
        return fail(DeadReason.TIME_EXHAUSTED)
    if not _may_be_tried_again(policy.rules, code, retryable):
        return fail(DeadReason.NOT_RETRYABLE)
    if task.cancel_requested or task.attempt > policy.max_retries:
        return fail(DeadReason.RETRIES_EXHAUSTED)
    wake_at = at + (wait_before(task, policy) if retry_after is None else retry_after)
    longest = policy.rules.max_elapsed_seconds
    first_start = task.started_at or started_at or task.created_at
    if longest is not None and wake_at > first_start + longest * SECOND:
        return fail(DeadReason.TIME_EXHAUSTED)
    if task.end_by is not None and wake_at >= task.end_by:
        return fail(DeadReason.TIME_EXHAUSTED)
    return Retry(token=token, at=at, started_at=started_at, wake_at=wake_at)


def after_missed_start(task: Task, policy: RetryPolicy, now: int) -> MissStart | PutOff:
    """The transition for a task that no agent began in time. Another wait would most often end like this one, so only a
    rule that names its code makes it wait anew.
    """
    seconds = (task.start_within or 0) / SECOND
    why = f"no agent began it within {seconds:g} s"
    if not _may_be_tried_again(policy.rules, SCHEDULE_TO_START_TIMEOUT, retryable=False):
        return MissStart(by="timers", why=why)
    if task.attempt >= policy.max_retries:
        return MissStart(by="timers", why=why, dead_reason=DeadReason.RETRIES_EXHAUSTED)
    wake_at = now + wait_before(task, policy)
    if task.end_by is not None and wake_at >= task.end_by:
        return MissStart(by="timers", why=why)
    return PutOff(by="timers", why=why, wake_at=wake_at)


def wait_before(task: Task, policy: RetryPolicy) -> int:
    """Microseconds between the end of the task's present attempt and the next."""
    rules = policy.rules
    wait = _grown(policy.interval, rules, max(task.attempt, 1))
    return round(wait * (1 - rules.jitter * _chance(task)))


def _may_be_tried_again(rules: RetryRules, code: str, retryable: bool) -> bool:
    if _names(rules.fail_on, code):
        return False
    return _names(rules.retry_on, code) if rules.retry_on else retryable


def _names(patterns: Iterable[str], code: str) -> bool:
    return any(fnmatchcase(code, pattern) for pattern in patterns)


def _grown(interval: int, rules: RetryRules, attempt: int) -> float:
    longest = max(interval, rules.max_interval_seconds * SECOND)  # an interval beyond it does not grow
    if rules.backoff is Backoff.LINEAR:
        return min(longest, float(interval) * attempt)
    if rules.backoff is Backoff.EXPONENTIAL and interval:
        # In logarithms: the hundredth power of what is allowed is no number any more.
        power = math.log(interval) + (attempt - 1) * math.log(rules.multiplier)
        return longest if power >= math.log(longest) else interval * rules.multiplier ** (attempt - 1)
    return float(interval)


def _chance(task: Task) -> float:
    """A number from 0 to 1 (never 1) that is this attempt's own."""
    digest = hashlib.sha256(f"{task.id}/{task.epoch}/{task.attempt}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def after_loss(task: Task, policy: RetryPolicy, why: str) -> Lose | GiveUp:
    """The transition for a placement whose agent is lost. The first loss beyond `max_stalled` ends the task."""
    if task.stalled >= policy.max_stalled and not task.cancel_requested:
        return GiveUp(by="reaper", why=why)
    return Lose(by="reaper", why=why)
