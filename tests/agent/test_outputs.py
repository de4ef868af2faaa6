"""Large outputs on the agent's side: safe on disk first, brought whole in the end, given up only when that is final."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from pawl.link import Result
from pawl.v1 import agent_pb2, task_pb2

from agent.artifacts import ArtifactFolder, Rules
from agent.outputs import PIECE_BYTES, Outputs, has_cargo, name_of

SIZE = 3 * PIECE_BYTES + 11
DATA = random.Random(3).randbytes(SIZE)
WITHIN = 10.0


def refusal(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """An answer that is an error."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="said so")


class Shelf:
    """The other side as the contract describes it: pieces in order, and errors that come before an answer."""

    def __init__(self) -> None:
        self.stored = b""
        self.calls: list[int] = []
        self.troubles: list[grpc.aio.AioRpcError | None] = []

    async def put(self, request: agent_pb2.PutOutputRequest) -> agent_pb2.PutOutputResponse:
        """Take a piece; a trouble strikes before it is stored."""
        self.calls.append(request.offset)
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble
        assert (request.agent_id, request.namespace_id, request.size) == ("a", "default", SIZE)
        if request.offset == len(self.stored):
            self.stored += request.data
        complete = hashlib.sha256(self.stored).hexdigest() == request.digest
        return agent_pb2.PutOutputResponse(stored=len(self.stored), complete=complete)


def result() -> Result:
    """The end of a run that gave much."""
    item = agent_pb2.Finished.Item(
        instance=agent_pb2.InstanceRef(task_id="t", instance_id="i", token=1),
        status=task_pb2.Task.SUCCEEDED,
        output_size=SIZE,
    )
    item.output.data, item.output.content_type = DATA, "text/plain"
    return Result(item, 0.0)


class Desk:
    """Outputs in a folder, with what came back."""

    def __init__(self, folder: Path, shelf: Shelf, wanted: Callable[[], bool] = lambda: True) -> None:
        self.back: asyncio.Queue[Result] = asyncio.Queue()
        self.outputs = Outputs(
            folder, shelf.put, lambda _: wanted(), self.back.put_nowait, agent_id="a", namespace_id="default"
        )

    async def next(self) -> Result:
        """The next that came back."""
        async with asyncio.timeout(WITHIN):
            return await self.back.get()


@asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator[None]:
    """Bring what is submitted."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(desk.outputs.run())
        try:
            yield
        finally:
            working.cancel()


async def test_an_output_is_on_disk_before_anybody_hears_of_it_and_gone_when_acknowledged(tmp_path: Path) -> None:
    shelf, one = Shelf(), result()
    desk = Desk(tmp_path / "outputs", shelf)
    desk.outputs.open([])
    await desk.outputs.keep(one)
    assert (tmp_path / "outputs" / "i.1").read_bytes() == DATA
    assert one.item.output_digest == hashlib.sha256(DATA).hexdigest()
    assert one.item.output_content_type == "text/plain"
    assert not one.item.HasField("output")
    async with at_work(desk):
        desk.outputs.submit(one)
        assert await desk.next() is one
    assert shelf.stored == DATA
    assert shelf.calls == [0, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES]
    await desk.outputs.remove([name_of(one), "unknown.1"])
    assert not any((tmp_path / "outputs").iterdir())


async def test_trouble_on_the_way_costs_time_and_no_piece_twice(tmp_path: Path) -> None:
    shelf, one = Shelf(), result()
    shelf.troubles = [refusal(grpc.StatusCode.UNAVAILABLE), None, refusal(grpc.StatusCode.DEADLINE_EXCEEDED)]
    desk = Desk(tmp_path, shelf)
    desk.outputs.open([])
    await desk.outputs.keep(one)
    async with at_work(desk):
        desk.outputs.submit(one)
        await desk.next()
    assert shelf.stored == DATA
    assert shelf.calls == [0, 0, PIECE_BYTES, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES]


async def test_a_new_start_goes_on_where_the_control_plane_is_and_clears_away_what_belongs_to_nothing(
    tmp_path: Path,
) -> None:
    shelf, one = Shelf(), result()
    first = Desk(tmp_path, shelf)
    first.outputs.open([])
    await first.outputs.keep(one)
    shelf.stored = DATA[: 2 * PIECE_BYTES]
    (tmp_path / "of-nobody.1").write_bytes(b"x")
    (tmp_path / "i.1.new").write_bytes(b"torn")
    second = Desk(tmp_path, shelf)
    second.outputs.open([name_of(one)])
    assert [path.name for path in tmp_path.iterdir()] == ["i.1"]  # noqa: ASYNC240 - a folder of one file
    async with at_work(second):
        second.outputs.submit(one)
        await second.next()
    assert shelf.stored == DATA
    assert shelf.calls == [0, 2 * PIECE_BYTES, 3 * PIECE_BYTES]


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT])
async def test_a_final_refusal_lets_the_result_go_without_its_output(tmp_path: Path, code: grpc.StatusCode) -> None:
    shelf, one = Shelf(), result()
    shelf.troubles = [None, refusal(code)]
    desk = Desk(tmp_path, shelf)
    desk.outputs.open([])
    await desk.outputs.keep(one)
    async with at_work(desk):
        desk.outputs.submit(one)
        back = await desk.next()
    assert back.item.status == task_pb2.Task.SUCCEEDED
    assert (back.item.output_digest, back.item.output_truncated, back.item.output_size) == ("", True, SIZE)


async def test_nobody_waits_for_it_then_it_is_brought_no_further(tmp_path: Path) -> None:
    shelf, one = Shelf(), result()
    desk = Desk(tmp_path, shelf, wanted=lambda: len(shelf.calls) < 2)
    desk.outputs.open([])
    await desk.outputs.keep(one)
    async with at_work(desk):
        desk.outputs.submit(one)
        await desk.next()
    assert len(shelf.calls) == 2
    assert desk.outputs.waiting == 0


async def test_a_disk_that_fails_costs_the_safety_and_not_the_output(tmp_path: Path) -> None:
    shelf, one = Shelf(), result()
    desk = Desk(tmp_path / "outputs", shelf)
    desk.outputs.open([])
    (tmp_path / "outputs").rmdir()
    await desk.outputs.keep(one)
    async with at_work(desk):
        desk.outputs.submit(one)
        await desk.next()
    assert shelf.stored == DATA
    await desk.outputs.remove([name_of(one)])


async def test_outputs_that_wait_keep_new_work_away(tmp_path: Path) -> None:
    outputs = Outputs(
        tmp_path, Shelf().put, lambda _: True, lambda _: None, agent_id="a", namespace_id="default", max_bytes=SIZE
    )
    outputs.open([])
    one = result()
    assert not outputs.full
    await outputs.keep(one)
    assert outputs.full
    await outputs.remove([name_of(one)])
    assert not outputs.full


class Rack:
    """The other side of artifacts: pieces by name, and errors that come before an answer."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.troubles: dict[str, list[grpc.StatusCode]] = {}

    async def put(self, request: agent_pb2.PutArtifactRequest) -> agent_pb2.PutArtifactResponse:
        """Take a piece."""
        if troubles := self.troubles.get(request.name):
            raise refusal(troubles.pop(0))
        so_far = self.stored.get(request.name, b"")
        if request.offset == len(so_far):
            so_far = self.stored[request.name] = so_far + request.data
        complete = (len(so_far), hashlib.sha256(so_far).hexdigest()) == (request.size, request.digest)
        return agent_pb2.PutArtifactResponse(stored=len(so_far), complete=complete)


async def test_artifacts_are_brought_before_the_result_and_one_that_is_refused_is_named_no_more(tmp_path: Path) -> None:
    left = {"big": DATA, "empty": b"", "refused": b"1", "same": DATA}
    (tmp_path / "left").mkdir()
    for name, data in left.items():
        (tmp_path / "left" / name).write_bytes(data)
    files, rack, back = ArtifactFolder(tmp_path / "artifacts"), Rack(), asyncio.Queue[Result]()
    rack.troubles = {
        "big": [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED],
        "refused": [grpc.StatusCode.INVALID_ARGUMENT],
    }
    outputs = Outputs(
        tmp_path / "outputs", Shelf().put, lambda _: True, back.put_nowait, agent_id="a", namespace_id="default",
        artifacts=files, put_artifact=rack.put,
    )  # fmt: skip
    outputs.open([])
    one = result()
    one.item.ClearField("output")
    for kept in files.take(name_of(one), str(tmp_path / "left"), Rules()).artifacts:
        one.item.artifacts.add(name=kept.name, size=kept.size, digest=kept.digest, content_type=kept.content_type)
    assert outputs.waiting_bytes == 2 * SIZE + 1
    assert has_cargo(one)
    async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        working = group.create_task(outputs.run())
        outputs.submit(one)
        assert await back.get() is one
        working.cancel()
    assert rack.stored == {name: data for name, data in left.items() if name != "refused"}
    assert [named.name for named in one.item.artifacts] == ["big", "empty", "same"]
    await outputs.remove([name_of(one)])
    assert outputs.waiting_bytes == 0
    assert not any((tmp_path / "artifacts").iterdir())
