"""Task instances, as they are read. What writes them stands in `tasks.py`, beside the state that it belongs to."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.task import Status
from controlplane.store import dialect
from controlplane.store.lanes import Lanes
from controlplane.store.namespaces import is_task_of, tasks_of
from controlplane.store.query import Listing
from controlplane.store.tables import task_instance

_STATUSES = tuple(map(int, Status))
_SHORT = [column for column in task_instance.c if column.name != "output"]


def find(connection: Connection, namespace_id: str, instance_id: str) -> Row[Any] | None:
    """The row of an instance, or None."""
    statement = sa.select(task_instance).where(task_instance.c.id == instance_id)
    if not dialect.has_index_of_ids(connection):
        statement = statement.where(task_instance.c.status.in_(_STATUSES))  # each a place in the index of statuses
    mine = is_task_of(task_instance, task_instance.c.task_id, namespace_id)
    return connection.execute(statement.where(mine)).one_or_none()


def listing(connection: Connection, namespace_id: str) -> Listing:
    """A namespace's instances without their outputs, to be asked for."""
    mine = tasks_of(connection, namespace_id)(task_instance, task_instance.c.task_id)
    lanes = Lanes("status", _STATUSES, within="job_id", own_index=dialect.has_index_of_ids(connection))
    return Listing(sa.select(*_SHORT).where(mine), task_instance.c, lanes=lanes)
