"""Namespaces, and what goes with one when it is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table

from controlplane.domain.errors import NotFound
from controlplane.domain.namespace import Namespace
from controlplane.domain.task import FINAL
from controlplane.store import dialect, idempotency
from controlplane.store.query import Listing
from controlplane.store.tables import agent, namespace, task


def of_row(row: Row[Any]) -> Namespace:
    """A row of the table."""
    return Namespace(row.id, row.description, row.version, row.created_at, row.updated_at, row.max_running)


def find(connection: Connection, namespace_id: str, *, lock: bool = False) -> Namespace | None:
    """The namespace, or None."""
    statement = sa.select(namespace).where(namespace.c.id == namespace_id)
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


def hold(connection: Connection, namespace_id: str) -> None:
    """Keep the namespace from being deleted until this transaction ends. Raises NotFound."""
    statement = sa.select(namespace.c.id).where(namespace.c.id == namespace_id).with_for_update(read=True)
    if connection.execute(statement).one_or_none() is None:
        raise missing(namespace_id)


def missing(namespace_id: str) -> NotFound:
    """The refusal for a namespace that does not exist."""
    return NotFound.of_namespace(namespace_id)


def listing(only: tuple[str, ...] | None = None) -> Listing:
    """All of them, or some."""
    found = sa.select(namespace)
    return Listing(found if only is None else found.where(namespace.c.id.in_(only)), namespace.c)


def is_task_of(rows: Table, task_id: sa.ColumnElement[Any], namespace_id: str) -> sa.ColumnElement[bool]:
    """The condition that a row belongs to a task of this namespace, and not of a deleted one with the same name.

    History outlives its namespace until retention takes it, but whoever has the name next must not read it.
    """
    floor = _floor(namespace_id).scalar_subquery()
    return sa.and_(dialect.Usual(rows.c.namespace_id == namespace_id), sa.or_(floor.is_(None), task_id > floor))


def tasks_of(
    connection: Connection, namespace_id: str
) -> Callable[[Table, sa.ColumnElement[Any]], sa.ColumnElement[bool]]:
    """The same for lists, in which what is asked of every row counts: almost no namespace had a predecessor, and then
    an index that has no tasks' ids in it answers alone."""
    floor = connection.scalar(_floor(namespace_id))

    def is_one(rows: Table, task_id: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        usual = dialect.Usual(rows.c.namespace_id == namespace_id)
        return sa.and_(usual, sa.true() if floor is None else task_id > floor)

    return is_one


def _floor(namespace_id: str) -> sa.Select[Any]:
    return sa.select(namespace.c.after_task).where(namespace.c.id == namespace_id)


def insert(connection: Connection, new: Namespace) -> None:
    """A new one. Raises IntegrityError when the name is taken."""
    connection.execute(
        namespace.insert().values(
            id=new.id,
            description=new.description,
            version=new.version,
            created_at=new.created_at,
            updated_at=new.updated_at,
            after_task=_last_task(connection, new.id),
            max_running=new.max_running,
        )
    )


def _last_task(connection: Connection, namespace_id: str) -> str | None:
    """The newest task of the namespace that had this name before; all of its tasks have ended. One step into an index
    for each final status: creating a namespace must not walk over everybody's tasks."""
    found: list[str] = []
    for status in FINAL:
        ended = sa.select(task.c.id).where(task.c.namespace_id == namespace_id, task.c.status == status)
        found += connection.execute(ended.order_by(task.c.id.desc()).limit(1)).scalars()
    return max(found, default=None)


def update(connection: Connection, changed: Namespace) -> None:
    """The row of a namespace whose version was raised by one."""
    connection.execute(
        namespace.update()
        .where(namespace.c.id == changed.id)
        .values(
            description=changed.description,
            version=changed.version,
            updated_at=changed.updated_at,
            max_running=changed.max_running,
        )
    )


def delete(connection: Connection, namespace_id: str) -> None:
    """The row itself, its agents' rows and its request ids, so that a namesake does not answer for it. Jobs, schedules
    and plugins are their own modules' business."""
    idempotency.forget(connection, namespace_id)
    connection.execute(agent.delete().where(agent.c.namespace_id == namespace_id))
    connection.execute(namespace.delete().where(namespace.c.id == namespace_id))
