"""Bytes on their way: pieces that came before the result that names them. What they are once complete: `blobs.py`.

One way for all that an agent puts in pieces; a slot says which row keeps the account of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.store import blobs, dialect


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing's place: a table with the columns of an upload, the key of its row, and what else a new row says."""

    table: sa.Table
    key: Mapping[str, Any]
    says: Mapping[str, Any] = field(default_factory=dict)

    def here(self) -> sa.ColumnElement[bool]:
        """Its row."""
        return sa.and_(*(self.table.c[name] == value for name, value in self.key.items()))


@dataclass(frozen=True, slots=True)
class Upload:
    """How far it is."""

    digest: str
    size: int
    content: str
    stored: int
    complete: bool


def begin(connection: Connection, slot: Slot, new: Upload, now: int) -> Upload:
    """The slot's upload, locked: what is there already, or this one. Another digest or size begins anew."""
    values = {name: getattr(new, name) for name in Upload.__slots__} | {**slot.key, **slot.says, "touched_at": now}
    insert = dialect.insert_ignoring(connection, slot.table).values(**values)
    connection.execute(insert)
    present = find(connection, slot)
    assert present is not None  # of this statement or of an earlier one
    if (present.digest, present.size) == (new.digest, new.size):
        return present
    discard(connection, slot, present)
    connection.execute(insert)
    return new


def find(connection: Connection, slot: Slot) -> Upload | None:
    """The slot's upload, locked."""
    statement = sa.select(slot.table).where(slot.here())
    row = connection.execute(dialect.for_update(statement)).one_or_none()
    return None if row is None else of_row(row)


def add_piece(connection: Connection, slot: Slot, upload: Upload, data: bytes, now: int) -> None:
    """The piece that comes next."""
    blobs.put_chunk(connection, upload.content, upload.stored // blobs.CHUNK, data)
    connection.execute(slot.table.update().where(slot.here()).values(stored=upload.stored + len(data), touched_at=now))


def complete(connection: Connection, slot: Slot, upload: Upload, now: int) -> None:
    """All is there and is what it was said to be: from now on it is held as a blob."""
    blobs.adopt(connection, upload.digest, upload.content, upload.size, now)
    connection.execute(slot.table.update().where(slot.here()).values(complete=True, touched_at=now))


def discard(connection: Connection, slot: Slot, upload: Upload) -> None:
    """Forget it, with its bytes if nobody else holds them."""
    connection.execute(slot.table.delete().where(slot.here()))
    if upload.complete:
        blobs.release(connection, upload.digest)
    else:
        blobs.drop_chunks(connection, upload.content)


def stale(
    connection: Connection, table: sa.Table, before: int, limit: int, *only: sa.ColumnElement[bool]
) -> Sequence[Row[Any]]:
    """Rows of uploads that nobody has touched since, locked; those that another replica looks at are left out."""
    old = sa.select(table).where(table.c.touched_at < before, *only).order_by(table.c.touched_at).limit(limit)
    return connection.execute(dialect.for_update(old, skip_locked=True)).all()


def of_row(row: Row[Any]) -> Upload:
    """An upload as its row says it."""
    return Upload(row.digest, row.size, row.content, row.stored, row.complete)
