"""How many tasks of a job or a namespace may be on agents at once, and how many are.

Whoever places tasks under a cap counts after it has taken the lock, which it keeps until its transaction ends: two
replicas never fill the same room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import job, namespace, task_instance

_OPEN = task_instance.c.status.in_((5, 10))


def hold(connection: Connection) -> None:
    """Wait for whoever else counts."""
    dialect.hold_caps(connection)


def of_jobs(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """The caps of these jobs, of those that have one."""
    statement = sa.select(job.c.id, job.c.max_running).where(job.c.id.in_(ids), job.c.max_running > 0)
    return {row.id: row.max_running for row in connection.execute(statement)} if ids else {}


def of_namespaces(connection: Connection, ids: Collection[str] | None = None) -> dict[str, int]:
    """The caps of these namespaces, or of all, of those that have one."""
    statement = sa.select(namespace.c.id, namespace.c.max_running).where(namespace.c.max_running > 0)
    if ids is not None:
        statement = statement.where(namespace.c.id.in_(ids))
    return {row.id: row.max_running for row in connection.execute(statement)}


def running_of_jobs(connection: Connection, jobs: Mapping[str, str]) -> dict[str, int]:
    """How many tasks of these jobs are on agents; the jobs with their namespaces."""
    column = task_instance.c.job_id
    mine = (column.in_(jobs), task_instance.c.namespace_id.in_(set(jobs.values())), _OPEN)
    rows = connection.execute(sa.select(column, sa.func.count()).where(*mine).group_by(column)) if jobs else ()
    return {row[0]: int(row[1]) for row in rows}


def running_of_namespaces(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """How many tasks of these namespaces are on agents."""
    column = task_instance.c.namespace_id
    counted = sa.select(column, sa.func.count()).where(column.in_(ids), _OPEN).group_by(column)
    return {row[0]: int(row[1]) for row in connection.execute(counted)} if ids else {}
