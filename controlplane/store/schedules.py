"""Schedules and their fires."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store.tables import schedule

_DISABLED = 3


def disable_of_job(connection: Connection, job_id: str, now: int) -> None:
    """A job that is gone makes no more tasks."""
    connection.execute(
        schedule.update()
        .where(schedule.c.job_id == job_id, schedule.c.deleted_at.is_(None), schedule.c.status.in_((1, 2)))
        .values(status=_DISABLED, next_fire_at=None, version=schedule.c.version + 1, updated_at=now)
    )


def delete_of_namespace(connection: Connection, namespace_id: str, now: int) -> None:
    """Softly, all of a namespace."""
    connection.execute(
        schedule.update()
        .where(schedule.c.namespace_id == namespace_id, schedule.c.deleted_at.is_(None))
        .values(
            status=sa.case((schedule.c.status == 1, _DISABLED), else_=schedule.c.status),
            next_fire_at=None,
            deleted_at=now,
            updated_at=now,
        )
    )
