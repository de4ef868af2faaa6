"""Namespaces, and what goes with one when it is deleted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.errors import NotFound
from controlplane.domain.namespace import Namespace
from controlplane.store import dialect
from controlplane.store.query import Listing
from controlplane.store.tables import agent, idempotency, namespace


def of_row(row: Row[Any]) -> Namespace:
    """A row of the table."""
    return Namespace(row.id, row.description, row.version, row.created_at, row.updated_at)


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
    message = f"there is no namespace {namespace_id!r}"
    return NotFound(message, reason="NAMESPACE_NOT_FOUND", facts={"resource": "namespace", "id": namespace_id})


def listing() -> Listing:
    """All of them."""
    return Listing(sa.select(namespace), namespace.c)


def insert(connection: Connection, new: Namespace) -> None:
    """A new one. Raises IntegrityError when the name is taken."""
    connection.execute(
        namespace.insert().values(
            id=new.id,
            description=new.description,
            version=new.version,
            created_at=new.created_at,
            updated_at=new.updated_at,
        )
    )


def update(connection: Connection, changed: Namespace) -> None:
    """The row of a namespace whose version was raised by one."""
    connection.execute(
        namespace.update()
        .where(namespace.c.id == changed.id)
        .values(description=changed.description, version=changed.version, updated_at=changed.updated_at)
    )


def delete(connection: Connection, namespace_id: str) -> None:
    """The row itself, its agents' rows and its request ids, so that a namesake does not answer for it. Jobs, schedules
    and plugins are their own modules' business."""
    connection.execute(idempotency.delete().where(idempotency.c.namespace_id == namespace_id))
    connection.execute(agent.delete().where(agent.c.namespace_id == namespace_id))
    connection.execute(namespace.delete().where(namespace.c.id == namespace_id))
