"""How long waits, silences and whole tasks may last, as options, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pawl.v1.job_pb2 import JobConfig
    from pawl.v1.task_pb2 import Task

Start = Annotated[
    float | None,
    typer.Option("--schedule-to-start-timeout", metavar="SECONDS", help="It may wait so long for an agent."),
]
Total = Annotated[
    float | None,
    typer.Option("--total-timeout", metavar="SECONDS", help="All attempts and waits together may take so long."),
]
Silence = Annotated[
    float | None,
    typer.Option("--heartbeat-timeout", metavar="SECONDS", help="An attempt may say nothing for so long."),
]


def values(start: float | None, total: float | None, silence: float | None) -> dict[str, object]:
    """What the options of a job speak of, by the paths of its fields."""
    return {
        "config.schedule_to_start_timeout_seconds": start,
        "config.total_timeout_seconds": total,
        "config.heartbeat_timeout_seconds": silence,
    }


def rows(of: JobConfig | Task) -> list[tuple[str, str | None]]:
    """The lines of a card."""
    found = (
        ("waits for an agent", "schedule_to_start_timeout_seconds"),
        ("total timeout", "total_timeout_seconds"),
        ("heartbeat timeout", "heartbeat_timeout_seconds"),
    )
    known = of.DESCRIPTOR.fields_by_name
    return [
        (label, f"{getattr(of, name):g} s" if name in known and of.HasField(name) else None) for label, name in found
    ]
