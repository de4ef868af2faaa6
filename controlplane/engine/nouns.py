"""Which fields of each noun can be filtered and ordered by. The proto comments of the List requests say the same."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.task import Cause, DeadReason, Status


def values(enum: Iterable[IntEnum]) -> dict[str, int]:
    """Names and numbers of an enum."""
    return {one.name: int(one) for one in enum}


STATUS = values(Status)

TASKS = Queryable(
    "task",
    (
        Field("id", Kind.ID, indexed=True),
        Field("job_id", Kind.ID, indexed=True),
        Field("schedule_id", Kind.ID, indexed=True),
        Field("group_id", Kind.ID, indexed=True),
        Field("shard_index", Kind.INT),
        Field(
            "status",
            Kind.ENUM,
            indexed=True,
            enum_values=STATUS,
            enum_name="pawl.v1.Task.Status",
            aliases=("state",),
        ),
        Field("priority", Kind.INT),
        Field("scheduled_at", Kind.INSTANT, indexed=True),
        Field("created_at", Kind.INSTANT, indexed=True, in_id=True),
        Field("updated_at", Kind.INSTANT),
        Field("started_at", Kind.INSTANT),
        Field("finished_at", Kind.INSTANT),
        Field("attempt", Kind.INT),
        Field("agent_id", Kind.TEXT),
        Field("cancel_requested", Kind.BOOL),
        Field(
            "dead_reason",
            Kind.ENUM,
            enum_values={"UNSPECIFIED": 0} | {name: number for name, number in values(DeadReason).items() if number},
            enum_name="pawl.v1.DeadLetter.Reason",
        ),
        Field("tags", Kind.TAGS, indexed=True),
    ),
)

TASK_INSTANCES = Queryable(
    "task instance",
    (
        Field("id", Kind.ID, indexed=True),
        Field("task_id", Kind.ID, indexed=True),
        Field("job_id", Kind.ID, indexed=True),
        Field("agent_id", Kind.TEXT),
        Field(
            "status",
            Kind.ENUM,
            indexed=True,
            enum_values=STATUS,
            enum_name="pawl.v1.Task.Status",
            aliases=("state",),
        ),
        Field("attempt", Kind.INT),
        Field("cause", Kind.ENUM, enum_values=values(Cause), enum_name="pawl.v1.TaskInstance.Cause"),
        Field("created_at", Kind.INSTANT, indexed=True, in_id=True),
        Field("started_at", Kind.INSTANT),
        Field("finished_at", Kind.INSTANT),
        Field("exit_code", Kind.INT),
    ),
)

AGENTS = Queryable(
    "agent",
    (
        Field("id", Kind.TEXT, indexed=True),
        Field(
            "status",
            Kind.ENUM,
            enum_values={"ONLINE": 1, "DRAINING": 2, "DISCONNECTED": 3, "LOST": 4, "STOPPED": 5},
            enum_name="pawl.v1.Agent.Status",
            aliases=("state",),
        ),
        Field("hostname", Kind.TEXT),
        Field("slots", Kind.INT),
        Field("agent_version", Kind.TEXT),
        Field("generation", Kind.INT),
        Field("connected_at", Kind.INSTANT),
        Field("last_beat_at", Kind.INSTANT),
        Field("created_at", Kind.INSTANT),
    ),
)
