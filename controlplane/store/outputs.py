"""Outputs on their way: one for each placement, in `uploads.py`'s way, until its result takes it over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.store import blobs, dialect, uploads
from controlplane.store.tables import output_upload, task_instance
from controlplane.store.uploads import Slot


def slot(task_id: str, token: int) -> Slot:
    """Where the output of a placement is gathered."""
    return Slot(output_upload, {"task_id": task_id, "token": token})


def placement(connection: Connection, task_id: str, token: int) -> Row[Any] | None:
    """Who has, or had, the placement whose output it is."""
    of = task_instance.c
    columns: list[sa.Column[Any]] = [of.id, of.agent_id, of.agent_namespace_id, of.output_digest]
    return connection.execute(sa.select(*columns).where(of.task_id == task_id, of.token == token)).one_or_none()


def complete_of(connection: Connection, placements: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The digests of these placements' outputs that are complete."""
    found = {}
    for task_id, token in placements:  # few: outputs this large are rare
        statement = sa.select(output_upload.c.digest).where(slot(task_id, token).here(), output_upload.c.complete)
        if (digest := connection.execute(statement).scalar_one_or_none()) is not None:
            found[task_id, token] = digest
    return found


def hand_over(connection: Connection, task_id: str, token: int) -> None:
    """The placement's result holds the blob now; the caller writes it in the same transaction."""
    connection.execute(output_upload.delete().where(slot(task_id, token).here()))


def drop_stale(connection: Connection, before: int, limit: int) -> int:
    """Forget uploads that nobody has touched since; how many."""
    found = uploads.stale(connection, output_upload, before, limit)
    _discard(connection, found)
    return len(found)


def release_of_tasks(connection: Connection, ids: Sequence[str]) -> None:
    """Tasks go: their outputs are held no more, nor those on their way."""
    mine = dialect.one_of(connection, output_upload.c.task_id, ids)
    going = sa.select(output_upload).where(mine).order_by(output_upload.c.task_id, output_upload.c.token)
    _discard(connection, connection.execute(dialect.for_update(going)).all())
    held = sa.select(task_instance.c.output_digest).where(
        dialect.one_of(connection, task_instance.c.task_id, ids), task_instance.c.output_digest.is_not(None)
    )
    for digest in sorted(connection.execute(held).scalars()):  # in one order, so that two never wait in a circle
        blobs.release(connection, digest)


def _discard(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        uploads.discard(connection, slot(row.task_id, row.token), uploads.of_row(row))
