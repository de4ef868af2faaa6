"""Large outputs: pieces may come twice or cut off; only what has its digest counts, and who holds it is known."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import Invalid, NotFound, Unavailable
from controlplane.domain.job_rules import MAX_OUTPUT_SIZE
from controlplane.domain.task import Status
from controlplane.engine.outputs import Outputs
from controlplane.engine.results import Ref, Verdict
from controlplane.engine.uploads import PIECE, Piece, Progress
from controlplane.store.agents import overrunning
from controlplane.store.tables import blob, blob_chunk, output_upload
from tests.engine.stage import Replica, opened, placed

KEY = ("default", "agent")
DAY = 86_400.0
SIZE = 2 * PIECE + 7
DATA = random.Random(1).randbytes(SIZE)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


@pytest.fixture
def outputs(one: Replica) -> Outputs:
    """Its use cases of large outputs."""
    return Outputs(one.engine)


async def running(one: Replica, count: int = 1, **config: Any) -> list[Ref]:
    """Placements that the agent has begun."""
    await one.job(**config)
    await one.create(count=count)
    agent = await one.connect(free=count)
    await one.place()
    refs = [placement.ref for placement in placed(agent)]
    for ref in refs:
        assert await one.start(ref)
    return refs


def piece(offset: int, data: bytes = DATA) -> Piece:
    """A piece of these bytes."""
    return Piece(hashlib.sha256(data).hexdigest(), len(data), offset, data[offset : offset + PIECE])


async def put_all(outputs: Outputs, ref: Ref, data: bytes = DATA) -> None:
    """Every piece in order."""
    progress = Progress(0, False)
    for offset in range(0, len(data), PIECE):
        progress = await outputs.put(ref, KEY, piece(offset, data))
    assert progress == Progress(len(data), True)


async def stored(one: Replica) -> tuple[int, int, int]:
    """How many blobs, chunks and uploads there are."""

    def count(connection: sa.Connection) -> tuple[int, int, int]:
        blobs, chunks, uploads = (
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (blob, blob_chunk, output_upload)
        )
        return blobs, chunks, uploads

    return await one.engine.store.read(count)


async def given(outputs: Outputs, task_id: str, offset: int = 0) -> bytes:
    """What a task's output is."""
    return b"".join([data async for _, data in outputs.of_task("default", task_id, offset)])


async def test_pieces_make_an_output_that_its_result_names(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    await put_all(outputs, ref)
    assert await stored(one) == (1, 3, 1)
    assert await one.finish(ref, output_digest=DIGEST, output_type="text/plain", output_size=SIZE) is Verdict.COUNTED
    assert await stored(one) == (1, 3, 0)  # the result holds it now
    assert await given(outputs, ref.task_id) == DATA
    for offset in (1, PIECE, PIECE + 1, SIZE - 1, SIZE):
        assert await given(outputs, ref.task_id, offset) == DATA[offset:]
    read = [part async for part in outputs.of_instance("default", ref.instance_id, 0)]
    assert {content_type for content_type, _ in read} == {"text/plain"}
    assert b"".join(data for _, data in read) == DATA


async def test_a_piece_that_comes_twice_too_early_or_again_changes_nothing(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    assert await outputs.put(ref, KEY, piece(PIECE)) == Progress(0, False)
    assert await outputs.put(ref, KEY, piece(0)) == Progress(PIECE, False)
    assert await outputs.put(ref, KEY, piece(0)) == Progress(PIECE, False)
    assert await outputs.put(ref, KEY, piece(2 * PIECE)) == Progress(PIECE, False)
    assert await outputs.put(ref, KEY, replace(piece(0), data=b"")) == Progress(PIECE, False)
    assert await outputs.put(ref, KEY, piece(PIECE)) == Progress(2 * PIECE, False)
    assert await outputs.put(ref, KEY, piece(2 * PIECE)) == Progress(SIZE, True)
    assert await outputs.put(ref, KEY, piece(0)) == Progress(SIZE, True)
    await one.finish(ref, output_digest=DIGEST)
    assert await outputs.put(ref, KEY, piece(0)) == Progress(SIZE, True)  # of an agent that did not hear the end
    assert await stored(one) == (1, 3, 0)


async def test_bytes_that_have_another_digest_never_count(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    for offset in (0, PIECE):
        await outputs.put(ref, KEY, piece(offset))
    with pytest.raises(Invalid, match=r"digest: the bytes sent have [0-9a-f]{64}"):
        await outputs.put(ref, KEY, replace(piece(2 * PIECE), data=b"another"))
    assert await stored(one) == (0, 0, 0)
    await put_all(outputs, ref)


async def test_another_output_of_the_same_placement_begins_anew(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    await outputs.put(ref, KEY, piece(0))
    other = DATA[::-1]
    await put_all(outputs, ref, other)
    await put_all(outputs, ref)
    assert await stored(one) == (1, 3, 1)


async def test_only_the_agent_that_has_the_placement_puts_its_output(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    for wrong, key in (
        (ref, ("default", "other")),
        (ref, ("elsewhere", "agent")),
        (replace(ref, instance_id=ref.task_id), KEY),
        (replace(ref, token=2), KEY),
    ):
        with pytest.raises(NotFound):
            await outputs.put(wrong, key, piece(0))
    assert await stored(one) == (0, 0, 0)


async def test_a_digest_that_was_not_put_by_this_placement_is_no_way_to_anothers_bytes(
    one: Replica, outputs: Outputs
) -> None:
    mine, other = await running(one, 2)
    await put_all(outputs, other)
    with pytest.raises(Unavailable, match="is not stored"):
        await one.finish(mine, output_digest=DIGEST)
    assert (await one.task(mine.task_id)).status is Status.RUNNING
    await put_all(outputs, mine)
    assert await one.finish(mine, output_digest=DIGEST) is Verdict.COUNTED


async def test_the_same_bytes_are_stored_once_and_go_with_the_last_task(one: Replica, outputs: Outputs) -> None:
    refs = await running(one, 2)
    for ref in refs:
        await put_all(outputs, ref)
        await one.finish(ref, output_digest=DIGEST)
    assert await stored(one) == (1, 3, 0)
    await one.tasks.delete("default", refs[0].task_id, etag=None, key=None)
    assert await given(outputs, refs[1].task_id) == DATA
    await one.tasks.delete("default", refs[1].task_id, etag=None, key=None)
    assert await stored(one) == (0, 0, 0)


async def test_a_deleted_task_takes_outputs_on_their_way_with_it(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one)
    await outputs.put(ref, KEY, piece(0))
    await one.finish(ref)
    await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    assert await stored(one) == (0, 0, 0)


@pytest.mark.parametrize("pieces", [1, 3])
async def test_what_no_result_has_asked_for_within_a_day_goes(one: Replica, outputs: Outputs, pieces: int) -> None:
    [ref] = await running(one)
    for number in range(pieces):
        await outputs.put(ref, KEY, piece(number * PIECE))
    put = one.clock.now()
    one.clock.move(DAY)
    assert await outputs.drop_stale(put) == 0
    one.clock.move(0.001)
    assert await outputs.drop_stale(put + 1) == 1
    assert await stored(one) == (0, 0, 0)


async def test_the_output_of_a_late_result_is_kept_as_evidence(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one, lost_after_seconds=30.0)
    await put_all(outputs, ref)
    one.clock.move(31)
    await one.reaping.reap()
    second = await one.connect("second", free=1)
    await one.place()
    [again] = placed(second)
    assert await one.finish(ref, output_digest=DIGEST) is Verdict.LATE
    assert await one.finish(ref, output_digest=DIGEST) is Verdict.LATE
    assert await stored(one) == (1, 3, 0)
    read = [data async for _, data in outputs.of_instance("default", ref.instance_id, 0)]
    assert b"".join(read) == DATA
    assert await one.finish(again.ref) is Verdict.COUNTED
    with pytest.raises(NotFound, match="has no output"):
        await given(outputs, ref.task_id)


async def test_an_attempt_whose_output_is_on_its_way_does_not_overrun(one: Replica, outputs: Outputs) -> None:
    [ref] = await running(one, timeout=5.0, lost_after_seconds=30.0)
    one.clock.move(34)
    await outputs.put(ref, KEY, piece(0))
    one.clock.move(2)
    found = await one.engine.store.read(lambda connection: overrunning(connection, one.clock.now()))
    assert found == []
    one.clock.move(30)
    found = await one.engine.store.read(lambda connection: overrunning(connection, one.clock.now()))
    assert [placement.id for placement in found] == [ref.instance_id]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"digest": DIGEST.upper()}, "digest"),
        ({"digest": "sha256:" + DIGEST}, "digest"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": MAX_OUTPUT_SIZE + 1}, "size"),
        ({"offset": 1}, "offset"),
        ({"offset": -PIECE}, "offset"),
        ({"offset": 3 * PIECE}, "offset"),
        ({"data": DATA[: PIECE - 1]}, "data"),
        ({"data": DATA[: PIECE + 1]}, "data"),
    ],
)
async def test_what_is_no_piece_is_refused_by_its_field(
    one: Replica, outputs: Outputs, wrong: dict[str, Any], field: str
) -> None:
    [ref] = await running(one)
    with pytest.raises(Invalid, match=f"^{field}: "):
        await outputs.put(ref, KEY, replace(piece(0), **wrong))


@pytest.mark.parametrize("offset", [-1, SIZE + 1])
async def test_reading_from_beyond_an_output_is_refused(one: Replica, outputs: Outputs, offset: int) -> None:
    [ref] = await running(one)
    await put_all(outputs, ref)
    await one.finish(ref, output_digest=DIGEST)
    with pytest.raises(Invalid, match="offset"):
        await given(outputs, ref.task_id, offset)


async def test_a_small_output_is_read_the_same_way(one: Replica, outputs: Outputs) -> None:
    ref, empty = await running(one, 2)
    await one.finish(ref, output=b"hello", output_type="text/plain")
    await one.finish(empty, output=b"", output_type="text/plain")
    assert await given(outputs, ref.task_id, 1) == b"ello"
    assert [part async for part in outputs.of_task("default", empty.task_id, 0)] == [("text/plain", b"")]
