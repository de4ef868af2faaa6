"""Artifacts: they count with the result that names them, all at once, and go with their task."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from pawl.artifacts import MAX_FILE, MAX_TOTAL

from controlplane.domain.errors import Exhausted, Invalid, NotFound, Unavailable
from controlplane.domain.task import Status
from controlplane.engine.artifacts import Artifacts
from controlplane.engine.outputs import Outputs
from controlplane.engine.results import Ref, Result, Verdict
from controlplane.engine.retention import Retention
from controlplane.engine.uploads import PIECE, Piece, Progress
from controlplane.store.agents import overrunning
from controlplane.store.tables import artifact, blob, blob_chunk
from controlplane.store.tasks import InstanceEnd
from tests.engine.stage import Replica, opened, placed

KEY = ("default", "agent")
DAY = 86_400.0
LONG = bytes(range(256)) * (2 * PIECE // 256) + b"the end"


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


@pytest.fixture
def artifacts(one: Replica) -> Artifacts:
    """Its use cases of artifacts."""
    return Artifacts(one.engine)


async def running(one: Replica, **config: Any) -> Ref:
    """A placement that the agent has begun."""
    await one.job(**config)
    await one.create()
    agent = await one.connect(free=1)
    await one.place()
    [placement] = placed(agent)
    assert await one.start(placement.ref)
    return placement.ref


def digest(data: bytes) -> str:
    """As it travels."""
    return hashlib.sha256(data).hexdigest()


async def put(artifacts: Artifacts, ref: Ref, name: str, data: bytes) -> None:
    """All of a file."""
    progress = Progress(-1, False)
    for offset in range(0, max(1, len(data)), PIECE):
        piece = Piece(digest(data), len(data), offset, data[offset : offset + PIECE])
        progress = await artifacts.put(ref, KEY, name, "text/plain", piece)
    assert progress == Progress(len(data), True)


async def finish(
    one: Replica, ref: Ref, files: Mapping[str, bytes], status: Status = Status.SUCCEEDED
) -> Verdict | Exception:
    """The result that names these."""
    named = {name: digest(data) for name, data in files.items()}
    result = Result(ref, InstanceEnd(status, one.clock.now()), artifacts=named)
    [verdict] = await one.engine.store.write(one.results.finish_many, [result])
    return verdict


async def listed(artifacts: Artifacts, ref: Ref) -> dict[str, int]:
    """What people see, by name."""
    found = await artifacts.of_task("default", ref.task_id, None)
    return {one.name: one.size for one in found.artifacts}


async def given(artifacts: Artifacts, ref: Ref, name: str, offset: int = 0) -> bytes:
    """What is in one of them."""
    found = await artifacts.find("default", ref.task_id, None, name)
    return b"".join([data async for data in artifacts.read(found, offset)])


async def stored(one: Replica) -> tuple[int, int, int]:
    """How many blobs, chunks and artifacts there are."""

    def count(connection: sa.Connection) -> tuple[int, int, int]:
        blobs, chunks, files = (
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (blob, blob_chunk, artifact)
        )
        return blobs, chunks, files

    return await one.engine.store.read(count)


async def test_files_are_there_with_the_result_that_names_them_and_not_before(
    one: Replica, artifacts: Artifacts
) -> None:
    ref = await running(one)
    files = {"b.bin": LONG, "a": b"", "c": b"of the same bytes", "d": b"of the same bytes"}
    for name, data in files.items():
        await put(artifacts, ref, name, data)
    assert await listed(artifacts, ref) == {}
    assert await finish(one, ref, files) is Verdict.COUNTED
    assert await listed(artifacts, ref) == {name: len(files[name]) for name in sorted(files)}
    for name, data in files.items():
        assert await given(artifacts, ref, name) == data
    for offset in (1, PIECE, PIECE + 1, len(LONG)):
        assert await given(artifacts, ref, "b.bin", offset) == LONG[offset:]
    assert (await stored(one))[0] == 3  # equal bytes are stored once


async def test_a_failed_attempt_keeps_its_files_too_and_each_attempt_its_own(
    one: Replica, artifacts: Artifacts
) -> None:
    ref = await running(one, max_retries=1, retry_interval=0.0)
    await put(artifacts, ref, "log", b"first")
    assert await finish(one, ref, {"log": b"first"}, Status.FAILED) is Verdict.COUNTED
    found = await artifacts.of_task("default", ref.task_id, ref.instance_id)
    assert (found.attempt, [one.name for one in found.artifacts]) == (1, ["log"])


async def test_a_result_whose_files_are_not_all_there_waits_for_them(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    await put(artifacts, ref, "single", b"1")
    await artifacts.put(ref, KEY, "long", "", Piece(digest(LONG), len(LONG), 0, LONG[:PIECE]))
    for missing in ({"two": b"2"}, {"long": LONG}, {"single": b"another"}):
        assert isinstance(await finish(one, ref, {"single": b"1", **missing}), Unavailable)
    assert await listed(artifacts, ref) == {}
    assert await finish(one, ref, {"single": b"1"}) is Verdict.COUNTED
    assert await stored(one) == (1, 1, 1)  # what the result does not name went with it


async def test_what_a_result_has_named_changes_no_more(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    await put(artifacts, ref, "single", b"1")
    await finish(one, ref, {"single": b"1"})
    answer = await artifacts.put(ref, KEY, "single", "", Piece(digest(b"other"), 5, 0, b"other"))
    assert answer == Progress(5, True)  # whoever repeats this need not go on
    assert await given(artifacts, ref, "single") == b"1"


async def test_pieces_that_come_again_change_nothing_and_wrong_bytes_never_count(
    one: Replica, artifacts: Artifacts
) -> None:
    ref = await running(one)
    first = Piece(digest(LONG), len(LONG), 0, LONG[:PIECE])
    for _ in range(2):
        assert await artifacts.put(ref, KEY, "x", "", first) == Progress(PIECE, False)
    assert await artifacts.put(ref, KEY, "x", "", replace(first, data=b"")) == Progress(PIECE, False)
    wrong = Piece(digest(b"right"), 5, 0, b"wrong")
    with pytest.raises(Invalid, match=r"digest: the bytes sent have [0-9a-f]{64}"):
        await artifacts.put(ref, KEY, "y", "", wrong)
    await put(artifacts, ref, "x", LONG[::-1])  # another file under the same name begins anew
    assert await finish(one, ref, {"x": LONG[::-1]}) is Verdict.COUNTED


async def test_only_the_agent_that_has_the_placement_puts_files(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    piece = Piece(digest(b"1"), 1, 0, b"1")
    with pytest.raises(NotFound):
        await artifacts.put(ref, ("default", "other"), "x", "", piece)
    with pytest.raises(NotFound):
        await artifacts.put(replace(ref, instance_id=ref.task_id), KEY, "x", "", piece)
    assert await stored(one) == (0, 0, 0)


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "a/../b", "../b", "a//b", "a/", "./a", ".", "a\\b", "C:x", "a\nb", "a\0b", "a\u202eb", "\ud800",
     "x" * 256, "a/" * 300 + "b", "a ", "nul.", 'say "hi"'],
)  # fmt: skip
async def test_a_name_that_leads_out_of_a_folder_or_hides_something_is_refused(
    one: Replica, artifacts: Artifacts, name: str
) -> None:
    ref = await running(one)
    with pytest.raises(Invalid, match=r"^name: "):
        await artifacts.put(ref, KEY, name, "", Piece(digest(b"1"), 1, 0, b"1"))


async def test_a_placement_has_bounded_files(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    with pytest.raises(Invalid, match=r"^size: "):
        await artifacts.put(ref, KEY, "x", "", Piece(digest(b""), MAX_FILE + 1, 0, b""))
    for number in range(MAX_TOTAL // MAX_FILE):
        await artifacts.put(ref, KEY, f"{number}", "", Piece(digest(b""), MAX_FILE, 0, b""))
    with pytest.raises(Exhausted, match="bytes together"):
        await artifacts.put(ref, KEY, "x", "", Piece(digest(b""), MAX_FILE, 0, b""))


async def test_files_go_with_their_task(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    for name, data in {"x": LONG, "y": b"1"}.items():
        await put(artifacts, ref, name, data)
    await finish(one, ref, {"x": LONG, "y": b"1"})
    one.clock.move(2 * DAY)
    assert await artifacts.drop_stale(one.clock.now()) == 0  # named ones stay as long as it does
    await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    assert await stored(one) == (0, 0, 0)
    with pytest.raises(NotFound):
        await artifacts.of_task("default", ref.task_id, None)


async def test_retention_takes_files_with_their_task_and_those_that_nobody_named_alone(
    one: Replica, artifacts: Artifacts
) -> None:
    ref = await running(one)
    await put(artifacts, ref, "named", LONG)
    await put(artifacts, ref, "same", LONG)
    await finish(one, ref, {"named": LONG, "same": LONG})
    await one.create()
    session = await one.connect("late", free=1)
    await one.place()
    [left] = [placement.ref for placement in placed(session)]
    await artifacts.put(left, ("default", "late"), "half", "", Piece(digest(LONG), len(LONG), 0, LONG[:PIECE]))
    one.clock.move(1.5 * DAY)
    kept = Retention(one.engine, Outputs(one.engine))
    await settle(kept)
    assert await stored(one) == (1, 3, 2)  # the half of a file has gone
    assert await one.finish(left) is Verdict.COUNTED
    one.clock.move(62 * DAY)
    for _ in range(2):  # what is large first, then the month, where there are months
        await settle(kept)
    assert await stored(one) == (0, 0, 0)
    with pytest.raises(NotFound):
        await artifacts.of_task("default", ref.task_id, None)


async def settle(kept: Retention) -> None:
    """Turn until there is nothing more, as the loop does."""
    for _ in range(1_000):
        if not await kept.turn():
            return
    raise AssertionError("it never comes to an end")


async def test_files_that_no_result_asks_for_go_after_a_day(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    await put(artifacts, ref, "x", b"1")
    assert await artifacts.drop_stale(one.clock.now()) == 0
    one.clock.move(1)
    assert await artifacts.drop_stale(one.clock.now()) == 1
    assert await stored(one) == (0, 0, 0)


async def test_an_attempt_whose_files_are_on_their_way_does_not_overrun(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one, timeout=5.0, lost_after_seconds=30.0)
    one.clock.move(40)
    await artifacts.put(ref, KEY, "x", "", Piece(digest(LONG), len(LONG), 0, LONG[:PIECE]))
    assert await one.engine.store.read(lambda connection: overrunning(connection, one.clock.now())) == []
    one.clock.move(31)
    [late] = await one.engine.store.read(lambda connection: overrunning(connection, one.clock.now()))
    assert late.id == ref.instance_id


async def test_a_name_that_is_not_there_is_said_so(one: Replica, artifacts: Artifacts) -> None:
    ref = await running(one)
    with pytest.raises(NotFound, match="has no artifact 'x'"):
        await artifacts.find("default", ref.task_id, None, "x")
    await finish(one, ref, {})
    with pytest.raises(NotFound, match="has no artifact 'x'"):
        await artifacts.find("default", ref.task_id, ref.instance_id, "x")
    assert await listed(artifacts, ref) == {}
