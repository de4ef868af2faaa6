"""What a caller may say about a task: bounds of every field, with the field named in each problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.domain.errors import Violation
from controlplane.domain.filter import is_storable
from controlplane.domain.job_rules import (
    MAX_PRIORITY,
    MAX_TIMEOUT,
    MIN_TIMEOUT,
    deadline_problems,
    environment_problems,
    label_problems,
    number_problems,
)

MAX_REASON = 1_024


def task_problems(
    *,
    priority: int | None,
    timeout: float | None,
    schedule_to_start: float | None = None,
    total: float | None = None,
    environment: Mapping[str, str],
    tags: Mapping[str, str],
    labels: Mapping[str, str],
    path: str = "task",
) -> Iterator[Violation]:
    """Everything that is wrong with what a caller says about a task."""
    if priority is not None:
        yield from number_problems(priority, f"{path}.priority", 0, MAX_PRIORITY)
    if timeout is not None:
        yield from number_problems(timeout, f"{path}.timeout", MIN_TIMEOUT, MAX_TIMEOUT)
    if schedule_to_start is not None or total is not None:
        yield from deadline_problems(schedule_to_start, total, path)
    if environment:
        yield from environment_problems(environment, f"{path}.environment")
    if tags:
        yield from label_problems(tags, f"{path}.tags", "tag")
    if labels:
        yield from label_problems(labels, f"{path}.labels")


def reason_problems(reason: str) -> Iterator[Violation]:
    """What is wrong with the words a caller gives for what they do."""
    if len(reason) > MAX_REASON or not is_storable(reason):
        yield Violation("reason", f"must be text of at most {MAX_REASON:,} characters")
