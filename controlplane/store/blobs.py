"""Bytes by their SHA-256, in chunks, counted by those who refer to them."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import blob, blob_chunk

CHUNK = 1 << 20


def hold(connection: Connection, digest: str, data: bytes, now: int) -> None:
    """One more holder of these bytes; stored if they are new. The caller has computed the digest."""
    if _hold(connection, digest, digest, len(data), now):
        for number, start in enumerate(range(0, len(data), CHUNK)):
            put_chunk(connection, digest, number, data[start : start + CHUNK])


def adopt(connection: Connection, digest: str, content: str, size: int, now: int) -> None:
    """One more holder of bytes that `put_chunk` has stored as `content`; if they were here already, these go."""
    if not _hold(connection, digest, content, size, now):
        drop_chunks(connection, content)


def _hold(connection: Connection, digest: str, content: str, size: int, now: int) -> bool:
    """Whether the content given is the one that is held now."""
    new = dialect.insert_ignoring(connection, blob)
    connection.execute(new.values(digest=digest, content=content, size=size, holders=0, created_at=now))
    # Locks the row until the end of the transaction: a rival's release cannot take the bytes away meanwhile.
    held = blob.update().where(blob.c.digest == digest).values(holders=blob.c.holders + 1).returning(blob.c.holders)
    return bool(connection.execute(held).scalar_one() == 1)


def release(connection: Connection, digest: str) -> None:
    """One holder fewer; without any the bytes go."""
    held = blob.update().where(blob.c.digest == digest).values(holders=blob.c.holders - 1)
    left = connection.execute(held.returning(blob.c.holders, blob.c.content)).one_or_none()
    if left is not None and left.holders <= 0:
        drop_chunks(connection, left.content)
        connection.execute(blob.delete().where(blob.c.digest == digest))


def put_chunk(connection: Connection, content: str, number: int, data: bytes) -> None:
    """One piece of a content, counted from 0; each but the last has CHUNK bytes."""
    connection.execute(blob_chunk.insert().values(content=content, number=number, data=data))


def drop_chunks(connection: Connection, content: str) -> None:
    """All pieces of a content."""
    connection.execute(blob_chunk.delete().where(blob_chunk.c.content == content))


def digest_of(connection: Connection, content: str) -> str:
    """What the pieces of a content really are."""
    found, number = hashlib.sha256(), 0
    while (data := _chunk(connection, blob_chunk.c.content == content, number)) is not None:
        found.update(data)
        number += 1
    return found.hexdigest()


def chunk(connection: Connection, digest: str, number: int) -> bytes | None:
    """The piece of a blob with this number, from 0; None after the last."""
    content = sa.select(blob.c.content).where(blob.c.digest == digest).scalar_subquery()
    return _chunk(connection, blob_chunk.c.content == content, number)


def _chunk(connection: Connection, of: sa.ColumnElement[bool], number: int) -> bytes | None:
    statement = sa.select(blob_chunk.c.data).where(of, blob_chunk.c.number == number)
    data = connection.execute(statement).scalar_one_or_none()
    return None if data is None else bytes(data)


def size(connection: Connection, digest: str) -> int | None:
    """How many bytes a blob has."""
    found: int | None = connection.execute(sa.select(blob.c.size).where(blob.c.digest == digest)).scalar_one_or_none()
    return found
