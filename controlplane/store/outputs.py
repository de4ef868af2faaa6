"""Outputs on their way: pieces that came before the result that names them. What they are once complete: `blobs.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.store import blobs, dialect
from controlplane.store.tables import output_upload, task_instance


@dataclass(frozen=True, slots=True)
class Upload:
    """How far the output of one placement is."""

    task_id: str
    token: int
    digest: str
    size: int
    content: str
    stored: int
    complete: bool


def placement(connection: Connection, task_id: str, token: int) -> Row[Any] | None:
    """Who has, or had, the placement whose output it is."""
    of = task_instance.c
    columns: list[sa.Column[Any]] = [of.id, of.agent_id, of.agent_namespace_id, of.output_digest]
    return connection.execute(sa.select(*columns).where(of.task_id == task_id, of.token == token)).one_or_none()


def begin(connection: Connection, new: Upload, now: int) -> Upload:
    """The placement's upload, locked: what is there already, or this one. Another digest or size begins anew."""
    values = {name: getattr(new, name) for name in Upload.__slots__}
    insert = dialect.insert_ignoring(connection, output_upload).values(**values, touched_at=now)
    connection.execute(insert)
    present = _locked(connection, new.task_id, new.token)
    assert present is not None  # of this statement or of an earlier one
    if (present.digest, present.size) == (new.digest, new.size):
        return present
    discard(connection, present)
    connection.execute(insert)
    return new


def find(connection: Connection, task_id: str, token: int) -> Upload | None:
    """The placement's upload, locked."""
    return _locked(connection, task_id, token)


def _locked(connection: Connection, task_id: str, token: int) -> Upload | None:
    statement = sa.select(output_upload).where(_of(task_id, token))
    row = connection.execute(dialect.for_update(statement)).one_or_none()
    return None if row is None else _of_row(row)


def add_piece(connection: Connection, upload: Upload, data: bytes, now: int) -> None:
    """The piece that comes next."""
    blobs.put_chunk(connection, upload.content, upload.stored // blobs.CHUNK, data)
    connection.execute(
        output_upload.update()
        .where(_of(upload.task_id, upload.token))
        .values(stored=upload.stored + len(data), touched_at=now)
    )


def complete(connection: Connection, upload: Upload, now: int) -> None:
    """All is there and is what it was said to be: from now on it is held as a blob."""
    blobs.adopt(connection, upload.digest, upload.content, upload.size, now)
    connection.execute(
        output_upload.update().where(_of(upload.task_id, upload.token)).values(complete=True, touched_at=now)
    )


def discard(connection: Connection, upload: Upload) -> None:
    """Forget it, with its bytes if nobody else holds them."""
    connection.execute(output_upload.delete().where(_of(upload.task_id, upload.token)))
    if upload.complete:
        blobs.release(connection, upload.digest)
    else:
        blobs.drop_chunks(connection, upload.content)


def complete_of(connection: Connection, placements: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The digests of these placements' outputs that are complete."""
    found = {}
    for task_id, token in placements:  # few: outputs this large are rare
        statement = sa.select(output_upload.c.digest).where(_of(task_id, token), output_upload.c.complete)
        if (digest := connection.execute(statement).scalar_one_or_none()) is not None:
            found[task_id, token] = digest
    return found


def hand_over(connection: Connection, task_id: str, token: int) -> None:
    """The placement's result holds the blob now; the caller writes it in the same transaction."""
    connection.execute(output_upload.delete().where(_of(task_id, token)))


def stale(connection: Connection, before: int, limit: int) -> Sequence[Upload]:
    """Uploads that nobody has touched since, locked; those that another replica looks at are left out."""
    statement = (
        sa.select(output_upload)
        .where(output_upload.c.touched_at < before)
        .order_by(output_upload.c.touched_at)
        .limit(limit)
    )
    return [_of_row(row) for row in connection.execute(dialect.for_update(statement, skip_locked=True))]


def release_of_tasks(connection: Connection, ids: Sequence[str]) -> None:
    """Tasks go: their outputs are held no more, nor those on their way."""
    mine = dialect.one_of(connection, output_upload.c.task_id, ids)
    uploads = sa.select(output_upload).where(mine).order_by(output_upload.c.task_id, output_upload.c.token)
    for row in connection.execute(dialect.for_update(uploads)).all():
        discard(connection, _of_row(row))
    held = sa.select(task_instance.c.output_digest).where(
        dialect.one_of(connection, task_instance.c.task_id, ids), task_instance.c.output_digest.is_not(None)
    )
    for digest in sorted(connection.execute(held).scalars()):  # in one order, so that two never wait in a circle
        blobs.release(connection, digest)


def _of(task_id: str, token: int) -> sa.ColumnElement[bool]:
    return sa.and_(output_upload.c.task_id == task_id, output_upload.c.token == token)


def _of_row(row: Row[Any]) -> Upload:
    return Upload(row.task_id, row.token, row.digest, row.size, row.content, row.stored, row.complete)
