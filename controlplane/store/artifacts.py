"""Artifacts: files that placements made, each a row that holds a blob. On their way in `uploads.py`'s way; `named` are
those that their placement's result has said are whole, and nobody is shown another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.store import dialect, uploads
from controlplane.store.tables import artifact
from controlplane.store.uploads import Slot


def slot(task_id: str, token: int, name: str, content_type: str = "") -> Slot:
    """Where an artifact of a placement is gathered, and kept."""
    key = {"task_id": task_id, "token": token, "name": name}
    return Slot(artifact, key, {"content_type": content_type, "named": False})


def is_named(connection: Connection, of: Slot) -> bool:
    """Whether a result has named it. From then on it changes no more."""
    statement = sa.select(artifact.c.digest).where(of.here(), artifact.c.named)
    return connection.execute(statement).first() is not None


def account(connection: Connection, task_id: str, token: int) -> dict[str, int]:
    """Sizes of what a placement has put so far, whole or in part, by name."""
    mine = sa.select(artifact.c.name, artifact.c.size).where(_of(task_id, token))
    return {row.name: row.size for row in connection.execute(mine)}


def has_all(connection: Connection, task_id: str, token: int, wanted: Mapping[str, str]) -> bool:
    """Whether all of these (name to digest) are complete; locks them."""
    mine = sa.select(artifact.c.name, artifact.c.digest).where(_of(task_id, token), artifact.c.complete)
    found = {row.name: row.digest for row in connection.execute(dialect.for_update(mine))}
    return all(found.get(name) == digest for name, digest in wanted.items())


def name(connection: Connection, task_id: str, token: int, names: Iterable[str]) -> None:
    """The placement's result, written in the same transaction, says that these are its own; others go."""
    connection.execute(artifact.update().where(_of(task_id, token), artifact.c.name.in_(names)).values(named=True))
    left = sa.select(artifact).where(_of(task_id, token), artifact.c.named.is_(False))
    _discard(connection, connection.execute(dialect.for_update(left)).all())


def named(connection: Connection, task_id: str, token: int) -> Sequence[Row[Any]]:
    """A placement's artifacts, by name."""
    mine = sa.select(artifact).where(_of(task_id, token), artifact.c.named)
    return sorted(connection.execute(mine), key=lambda row: str(row.name))  # databases disagree about the order of text


def find(connection: Connection, task_id: str, token: int, name: str) -> Row[Any] | None:
    """One of them."""
    statement = sa.select(artifact).where(slot(task_id, token, name).here(), artifact.c.named)
    return connection.execute(statement).one_or_none()


def drop_stale(connection: Connection, before: int, limit: int) -> int:
    """Forget those that nobody has touched since and no result has named; how many."""
    found = uploads.stale(connection, artifact, before, limit, artifact.c.named.is_(False))
    _discard(connection, found)
    return len(found)


def release_of_tasks(connection: Connection, ids: Sequence[str]) -> None:
    """Tasks go, and their artifacts with them."""
    mine = sa.select(artifact).where(dialect.one_of(connection, artifact.c.task_id, ids))
    # In the order of what they hold, so that two never wait in a circle.
    _discard(connection, connection.execute(dialect.for_update(mine.order_by(artifact.c.digest))).all())


def _discard(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        uploads.discard(connection, slot(row.task_id, row.token, row.name), uploads.of_row(row))


def _of(task_id: str, token: int) -> sa.ColumnElement[bool]:
    return sa.and_(artifact.c.task_id == task_id, artifact.c.token == token)
