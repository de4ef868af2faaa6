"""What running instances print: numbered, compressed chunks by (task, token, number)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from pawl.v1 import agent_pb2
from sqlalchemy import Connection

from controlplane.store import batches
from controlplane.store.tables import log_chunk, task_instance

Line = tuple[int, int, bytes]
"""(stream, instant in microseconds, bytes)."""

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_COLUMNS = ("task_id", "token", "number", "instance_id", "lines")
_PACKED = b"\x1a"  # how the lines begin in a message; a list in MessagePack, which there was before, does not
_decode = msgspec.msgpack.Decoder(list[Line]).decode


@dataclass(frozen=True, slots=True)
class Chunk:
    """One numbered piece of one instance's log. `packed`: its lines as the agent sent them, the bytes of an
    AppendLogsRequest.Chunk with nothing else in it: a loud program prints a hundred thousand of them a second, and to
    look at each would be most of what a control plane does.
    """

    task_id: str
    token: int
    number: int
    instance_id: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as it is read."""

    token: int
    number: int
    instance_id: str
    lines: Sequence[Line]


def pack(lines: Iterable[Line]) -> bytes:
    """Lines as a chunk has them."""
    made = agent_pb2.AppendLogsRequest.Chunk()
    for stream, at, data in lines:
        line = made.lines.add(stream=stream, data=data)
        line.time.seconds, line.time.nanos = at // 1_000_000, at % 1_000_000 * 1_000
    return made.SerializeToString()


def unpack(packed: bytes) -> list[Line]:
    """The lines of a chunk. An instant that no clock shows becomes the nearest that one does."""
    if packed and not packed.startswith(_PACKED):
        return _decode(packed)
    found = agent_pb2.AppendLogsRequest.Chunk.FromString(packed)
    return [(line.stream, _instant(line.time.seconds, line.time.nanos), line.data) for line in found.lines]


def _instant(seconds: int, nanos: int) -> int:
    return min(max(seconds, _FIRST_SECOND), _LAST_SECOND) * 1_000_000 + min(max(nanos // 1_000, 0), 999_999)


def append(connection: Connection, chunks: Sequence[Chunk]) -> int:
    """Store chunks; one that is there already stays as it is. How many were new."""
    rows = [(one.task_id, one.token, one.number, one.instance_id, zlib.compress(one.packed, 1)) for one in chunks]
    return batches.insert_new(connection, log_chunk, _COLUMNS, rows)


def read(
    connection: Connection, task_id: str, instance_id: str | None, after: tuple[int, int], limit: int
) -> list[Piece]:
    """Chunks of a task from (token, number) on, in order. The one at that position is included: a reader may have
    stopped in its middle.
    """
    statement = sa.select(log_chunk).where(log_chunk.c.task_id == task_id)
    statement = statement.where(sa.tuple_(log_chunk.c.token, log_chunk.c.number) >= sa.tuple_(*map(sa.literal, after)))
    if instance_id:
        statement = statement.where(log_chunk.c.instance_id == instance_id)
    rows = connection.execute(statement.order_by(log_chunk.c.token, log_chunk.c.number).limit(limit))
    return [Piece(row.token, row.number, row.instance_id, unpack(zlib.decompress(row.lines))) for row in rows]


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
