"""Bytes by their SHA-256, in chunks, counted by those who refer to them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import blob, blob_chunk

CHUNK = 1 << 20


def hold(connection: Connection, digest: str, data: bytes, now: int) -> None:
    """One more holder of these bytes; stored if they are new. The caller has computed the digest."""
    new = dialect.insert_ignoring(connection, blob).values(digest=digest, size=len(data), holders=0, created_at=now)
    connection.execute(new)
    # Locks the row until the end of the transaction: a rival's release cannot take the bytes away meanwhile.
    held = blob.update().where(blob.c.digest == digest).values(holders=blob.c.holders + 1).returning(blob.c.holders)
    if connection.execute(held).scalar_one() > 1:
        return
    for number, start in enumerate(range(0, len(data), CHUNK)):
        chunk = blob_chunk.insert().values(digest=digest, number=number, data=data[start : start + CHUNK])
        connection.execute(chunk)


def release(connection: Connection, digest: str) -> None:
    """One holder fewer; without any the bytes go."""
    held = blob.update().where(blob.c.digest == digest).values(holders=blob.c.holders - 1).returning(blob.c.holders)
    left = connection.execute(held).scalar_one_or_none()
    if left is not None and left <= 0:
        connection.execute(blob_chunk.delete().where(blob_chunk.c.digest == digest))
        connection.execute(blob.delete().where(blob.c.digest == digest))


def chunk(connection: Connection, digest: str, number: int) -> bytes | None:
    """The piece with this number, from 0; None after the last."""
    statement = sa.select(blob_chunk.c.data).where(blob_chunk.c.digest == digest, blob_chunk.c.number == number)
    data = connection.execute(statement).scalar_one_or_none()
    return None if data is None else bytes(data)
