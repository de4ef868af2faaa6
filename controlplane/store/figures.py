"""The figures that need the database: how much there is of what, and how late it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.task import Status
from controlplane.store.agents import AgentStatus
from controlplane.store.tables import agent, ready, schedule, task


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts by status, and ages in seconds."""

    tasks: Mapping[str, int]
    ready: int
    oldest_ready_seconds: float
    schedules_active: int
    schedule_lag_seconds: float
    agents: Mapping[str, int]


def read(connection: Connection, now: int) -> Figures:
    """All of them at one moment."""
    by_status = connection.execute(sa.select(task.c.status, sa.func.count()).group_by(task.c.status))
    waiting, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(ready.c.ready_at))).one()
    active, due = connection.execute(
        sa.select(sa.func.count(), sa.func.min(schedule.c.next_fire_at)).where(schedule.c.status == 1)
    ).one()
    agents = connection.execute(sa.select(agent.c.status, sa.func.count()).group_by(agent.c.status))
    return Figures(
        tasks={Status(status).name: count for status, count in by_status},
        ready=waiting,
        oldest_ready_seconds=0.0 if oldest is None else max(0, now - oldest) / 1e6,
        schedules_active=active,
        schedule_lag_seconds=0.0 if due is None else max(0, now - due) / 1e6,
        agents={AgentStatus(status).name: count for status, count in agents},
    )
