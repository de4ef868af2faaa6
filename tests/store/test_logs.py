"""Chunks of logs: what an agent sent comes back line by line, also what earlier releases stored in another form."""

import zlib

import msgspec
import pytest
import sqlalchemy as sa
from pawl.v1 import agent_pb2

from controlplane.store import Connection, Store, logs
from controlplane.store.logs import Chunk, Line, Piece, pack, unpack
from controlplane.store.migrations import migrate
from controlplane.store.tables import log_chunk
from tests.engine.stage import NOW

TASK, INSTANCE = "01975b3e-0000-7000-8000-000000000001", "01975b3e-0000-7000-8000-000000000002"
LINES: list[Line] = [(1, NOW, b"a line\n"), (2, NOW + 1, "grüße".encode()), (3, NOW + 2, b"\xff\x00")]


@pytest.fixture
def migrated(store: Store) -> Store:
    """A store with its tables."""
    migrate(store, NOW)
    return store


def chunk(number: int, lines: list[Line]) -> Chunk:
    return Chunk(TASK, 1, number, INSTANCE, pack(lines))


def test_lines_come_out_as_they_were_put_in() -> None:
    assert unpack(pack(LINES)) == LINES
    assert unpack(pack([])) == []


def test_an_instant_that_no_clock_shows_becomes_the_nearest_that_one_does() -> None:
    odd = agent_pb2.AppendLogsRequest.Chunk()
    for seconds, nanos in ((1 << 62, 5), (-(1 << 62), -5), (7, 1 << 30)):
        line = odd.lines.add(stream=1, data=b"x")  # type: ignore[arg-type,unused-ignore]  # a number of the contract
        line.time.seconds, line.time.nanos = seconds, nanos
    latest, earliest, soon = [at for _, at, _ in unpack(odd.SerializeToString())]
    assert (latest, earliest, soon) == (253_402_300_799_000_000, -62_135_596_800_000_000, 7_999_999)


async def test_what_earlier_releases_stored_is_read_beside_what_is_stored_now(migrated: Store) -> None:
    def as_then(connection: Connection) -> None:
        old = zlib.compress(msgspec.msgpack.encode(LINES), 1)
        row = {"task_id": TASK, "token": 1, "number": 1, "instance_id": INSTANCE, "lines": old}
        connection.execute(sa.insert(log_chunk), [row])

    await migrated.logs(as_then)
    assert await migrated.logs(logs.append, [chunk(1, []), chunk(2, LINES[:1])]) == 1, "the first is there already"
    found = await migrated.logs(logs.read, TASK, None, (0, 0), 10)
    assert found == [Piece(1, 1, INSTANCE, LINES), Piece(1, 2, INSTANCE, LINES[:1])]


async def test_of_many_chunks_those_that_are_new_are_counted(migrated: Store) -> None:
    few = [chunk(number, LINES) for number in range(1, 6)]
    assert await migrated.logs(logs.append, few) == 5
    assert await migrated.logs(logs.append, [*few, chunk(6, LINES), chunk(7, LINES)]) == 2
    assert await migrated.logs(logs.append, []) == 0
    found = await migrated.logs(logs.read, TASK, INSTANCE, (1, 4), 10)
    assert [one.number for one in found] == [4, 5, 6, 7]
