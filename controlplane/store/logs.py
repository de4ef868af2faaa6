"""What running instances print: numbered, compressed chunks by (task, token, number)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import log_chunk, task_instance

Line = tuple[int, int, bytes]  # (stream, instant, bytes)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Line]).decode


@dataclass(frozen=True, slots=True)
class Chunk:
    """One numbered piece of one instance's log."""

    task_id: str
    token: int
    number: int
    instance_id: str
    lines: Sequence[Line]


def append(connection: Connection, chunks: Sequence[Chunk]) -> int:
    """Store chunks; one that is there already stays as it is. How many were new."""
    stored = 0
    # Asked for: of an INSERT the count is dropped otherwise, on PostgreSQL.
    statement = dialect.insert_ignoring(connection, log_chunk).execution_options(preserve_rowcount=True)
    for one in chunks:
        stored += connection.execute(
            statement.values(
                task_id=one.task_id,
                token=one.token,
                number=one.number,
                instance_id=one.instance_id,
                lines=zlib.compress(_encode(one.lines), 1),
            )
        ).rowcount
    return stored


def read(
    connection: Connection, task_id: str, instance_id: str | None, after: tuple[int, int], limit: int
) -> list[Chunk]:
    """Chunks of a task from (token, number) on, in order. The one at that position is included: a reader may have
    stopped in its middle.
    """
    statement = sa.select(log_chunk).where(log_chunk.c.task_id == task_id)
    statement = statement.where(sa.tuple_(log_chunk.c.token, log_chunk.c.number) >= sa.tuple_(*map(sa.literal, after)))
    if instance_id:
        statement = statement.where(log_chunk.c.instance_id == instance_id)
    rows = connection.execute(statement.order_by(log_chunk.c.token, log_chunk.c.number).limit(limit))
    return [
        Chunk(row.task_id, row.token, row.number, row.instance_id, _decode(zlib.decompress(row.lines))) for row in rows
    ]


def known_instances(
    connection: Connection, keys: Sequence[tuple[str, int]], agents_of: str
) -> dict[tuple[str, int], str]:
    """Instance ids of those (task, token) pairs that exist and were placed on an agent of this namespace."""
    pair = sa.tuple_(task_instance.c.task_id, task_instance.c.token)
    rows = connection.execute(
        sa.select(task_instance.c.task_id, task_instance.c.token, task_instance.c.id).where(
            task_instance.c.task_id.in_({task_id for task_id, _ in keys}),
            pair.in_(list(keys)),
            task_instance.c.agent_namespace_id == agents_of,
        )
    )
    return {(row.task_id, row.token): row.id for row in rows}


def attempts_of(connection: Connection, task_id: str) -> dict[int, int]:
    """The attempt that each of a task's tokens belongs to."""
    rows = connection.execute(
        sa.select(task_instance.c.token, task_instance.c.attempt).where(task_instance.c.task_id == task_id)
    )
    return {row.token: row.attempt for row in rows}
