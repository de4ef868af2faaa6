"""Schedules as they are stored: what one says besides its slots, and what may be said.

When a schedule fires is `schedule.py`; here stand the noun itself and the bounds of its other fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from controlplane.domain.errors import Violation
from controlplane.domain.job_rules import (
    MAX_DESCRIPTION,
    MAX_PRIORITY,
    environment_problems,
    label_problems,
    name_violations,
    number_problems,
    text_problems,
)
from controlplane.domain.schedule import Kind, Rule, validate

MAX_EXPRESSION = 1_000
MAX_ZONE = 63


class ScheduleStatus(IntEnum):
    """Whether a schedule fires, and why not."""

    ACTIVE = 1
    PAUSED = 2
    DISABLED = 3
    ENDED = 4


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What the rule says and what its tasks get. Instants are microseconds UTC."""

    description: str = ""
    cron_expression: str = ""
    interval_seconds: float = 0.0
    start_time: int | None = None
    end_time: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands."""

    id: str
    namespace_id: str
    name: str
    job_id: str
    kind: Kind
    status: ScheduleStatus
    timezone: str
    spec: ScheduleSpec
    parameters: bytes | None
    parameters_type: str | None
    next_fire_at: int | None
    last_fire_at: int | None
    fire_count: int
    version: int
    created_at: int
    updated_at: int

    def rule(self) -> Rule:
        """The part that decides when. The seed of `H` is the name: it is known before the schedule is stored, so that
        a preview shows the slots that will be."""
        return Rule(
            kind=self.kind,
            cron_expression=self.spec.cron_expression,
            interval_seconds=self.spec.interval_seconds,
            timezone=self.timezone,
            start_time=self.spec.start_time,
            end_time=self.spec.end_time,
            created_at=self.created_at,
            seed=f"{self.namespace_id}/{self.name}",
        )


def schedule_problems(one: Schedule, path: str = "schedule") -> list[Violation]:
    """Everything that is wrong with a schedule; empty when it may be stored."""
    return [
        *name_violations(one.name, f"{path}.name"),
        *text_problems(one.spec.description, f"{path}.description", MAX_DESCRIPTION),
        *environment_problems(one.spec.environment, f"{path}.environment"),
        *label_problems(one.spec.tags, f"{path}.tags", "tag"),
        *_priority_problems(one, path),
        *rule_problems(one, path),
    ]


def rule_problems(one: Schedule, path: str = "schedule") -> Iterator[Violation]:
    """What is wrong with the rule alone: all that a preview needs."""
    length = [
        *text_problems(one.spec.cron_expression, f"{path}.cron_expression", MAX_EXPRESSION),
        *text_problems(one.timezone, f"{path}.timezone", MAX_ZONE),
    ]
    yield from length
    if not length:
        yield from (Violation(f"{path}.{name}", problem) for name, problem in validate(one.rule()))


def _priority_problems(one: Schedule, path: str) -> Iterator[Violation]:
    if one.spec.priority is not None:
        yield from number_problems(one.spec.priority, f"{path}.priority", 0, MAX_PRIORITY)
