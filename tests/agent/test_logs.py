"""The log of a run: everything is in it or counted where it is missing, and nothing that prints ever waits."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.v1 import agent_pb2, task_pb2

from agent import logs
from agent.executors.base import LogStream
from agent.logs import BUFFER_BYTES, BURST_BYTES, CHUNK_BYTES, END_BYTES, TOTAL_BYTES, LogShipper

GAP = re.compile(rb"\[pawl\] ([\d,]+) bytes(?: \(([\d,]+) lines\))? of output are missing here: (.*)")
LIMIT = 10 << 20


class Shelf:
    """A control plane's side of logs: chunks by number, as often as they come."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, int], agent_pb2.AppendLogsRequest.Chunk] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def append(self, request: agent_pb2.AppendLogsRequest) -> object:
        await self.open.wait()
        for chunk in request.chunks:
            self.chunks.setdefault((chunk.instance.instance_id, chunk.number), chunk)
        return None

    def lines(self, instance: str = "i") -> list[agent_pb2.AppendLogsRequest.Line]:
        """In order."""
        numbers = sorted(number for name, number in self.chunks if name == instance)
        assert numbers == list(range(1, len(numbers) + 1))
        return [line for number in numbers for line in self.chunks[instance, number].lines]

    def text(self, instance: str = "i") -> bytes:
        """All of it."""
        return b"".join(line.data for line in self.lines(instance))

    def told(self, instance: str = "i") -> list[tuple[int, int, str]]:
        """The gaps: bytes, lines and why."""
        return [
            (int(found[1].replace(b",", b"")), int((found[2] or b"0").replace(b",", b"")), found[3].decode())
            for found in GAP.finditer(self.text(instance))
        ]

    def kept(self, instance: str = "i") -> bytes:
        """What the run itself printed, without the words about it."""
        return re.sub(rb"\[pawl\] [^\n]*\n", b"", self.text(instance))


@asynccontextmanager
async def shipping(shelf: Shelf) -> AsyncIterator[LogShipper]:
    """A shipper at work."""
    shipper = LogShipper(shelf.append, "a", "default")
    async with asyncio.TaskGroup() as group:
        working = group.create_task(shipper.run())
        try:
            yield shipper
        finally:
            working.cancel()


def ref(instance: str = "i") -> agent_pb2.InstanceRef:
    """A placement."""
    return agent_pb2.InstanceRef(task_id="t", instance_id=instance, token=1)


async def test_a_flood_is_bounded_by_its_rate_and_what_is_missing_is_counted() -> None:
    shelf = Shelf()
    line = b"x" * 99 + b"\n"
    async with shipping(shelf) as shipper:
        flood, calm = shipper.open(ref(), LIMIT), shipper.open(ref("calm"), LIMIT)
        for _ in range(300):  # 30 MB as fast as they are taken, which is much more than a run may print at once
            flood.write(LogStream.STDOUT, line * 1000)
            calm.write(LogStream.STDERR, b"tick\n")
            await asyncio.sleep(0)
        await flood.close(10)
        await calm.close(10)
    told = shelf.told()
    assert sum(size for size, _, _ in told) + len(shelf.kept()) == 300 * 1000 * len(line)
    assert sum(size for size, _, _ in told) == len(line) * sum(lines for _, lines, _ in told)
    assert len(shelf.kept()) < 2 * BURST_BYTES
    assert shelf.text("calm") == b"tick\n" * 300  # nobody else loses anything


async def test_of_a_log_that_is_full_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("RATE_BYTES", "BUFFER_BYTES", "TOTAL_BYTES"):
        monkeypatch.setattr(logs, bound, 1 << 40)  # only the limit is to count
    shelf = Shelf()
    limit = 1 << 18
    async with shipping(shelf) as shipper:
        log = shipper.open(ref(), limit)
        for number in range(60_000):
            log.write(LogStream.STDOUT if number % 2 else LogStream.STDERR, b"%d\n" % number)
            if number % 1000 == 0:
                await asyncio.sleep(0)
        await log.close(10)
    text = shelf.text()
    assert text.startswith(b"0\n1\n2\n")
    assert text.endswith(b"\n59998\n59999\n")
    assert text.count(b"this log is full") == 1
    [(missing, lines, why)] = shelf.told()
    assert why == "the log limit of this instance is reached"
    kept = list(map(int, shelf.kept().split()))
    gap = next(at for at, number in enumerate(kept) if at != number)
    assert kept[gap:] == list(range(kept[gap], 60_000))  # whole lines on both sides of it
    assert lines == kept[gap] - gap
    assert missing + len(shelf.kept()) == sum(len(b"%d\n" % number) for number in range(60_000))
    assert limit - END_BYTES < len(shelf.kept()) <= limit
    streams = {line.data: line.stream for line in shelf.lines()}
    assert streams[b"59999\n"] == task_pb2.LogEntry.STDOUT
    assert streams[b"59998\n"] == task_pb2.LogEntry.STDERR


async def test_what_a_run_prints_at_once_is_kept_whole_up_to_the_burst() -> None:
    shelf = Shelf()
    printed = b"%0100d\n" % 7 * (BURST_BYTES // 101)
    async with shipping(shelf) as shipper:
        log = shipper.open(ref(), LIMIT)
        log.write(LogStream.STDOUT, printed)
        await log.close(10)
    assert shelf.text() == printed


@pytest.mark.parametrize("ending", [b"Traceback\nValueError: 7\n", b"x" * 3 * END_BYTES + b" end\n", b"end"])
async def test_of_a_flood_the_end_is_kept(ending: bytes) -> None:
    shelf = Shelf()
    async with shipping(shelf) as shipper:
        log = shipper.open(ref(), LIMIT)
        for _ in range(80):
            log.write(LogStream.STDOUT, b"%099d\n" % 7 * 1000)
        log.write(LogStream.STDERR, ending)
        await log.close(10)
    assert shelf.text().endswith(ending[-END_BYTES:])
    assert len(shelf.told()) == 1
    assert sum(size for size, _, _ in shelf.told()) + len(shelf.kept()) == 80 * 100_000 + len(ending)


async def test_while_nobody_takes_the_log_a_run_goes_on_and_the_gap_is_told_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "BUFFER_BYTES", 1 << 20)
    shelf = Shelf()
    shelf.open.clear()
    async with shipping(shelf) as shipper:
        log = shipper.open(ref(), LIMIT)
        for number in range(4):
            log.write(LogStream.STDOUT, b"%d" % number * 999_999 + b"\n")
        shelf.open.set()
        await log.close(10)
    [(missing, _, why)] = shelf.told()
    assert why == "it came faster than it left"
    assert missing + len(shelf.kept()) in (4_000_000, 4_000_001)  # a line that was cut is ended


async def test_what_waits_out_of_reach_is_bounded_for_each_run_and_for_the_agent() -> None:
    shelf = Shelf()
    shelf.open.clear()
    async with shipping(shelf) as shipper:
        for number in range(2 * TOTAL_BYTES // BURST_BYTES):
            log, before = shipper.open(ref(f"run-{number}"), LIMIT), shipper.waiting_bytes
            for _ in range(60):
                log.write(LogStream.STDOUT, b"x" * 99_999 + b"\n")
            assert shipper.waiting_bytes - before <= BUFFER_BYTES + CHUNK_BYTES
        assert TOTAL_BYTES / 2 < shipper.waiting_bytes <= TOTAL_BYTES + BUFFER_BYTES


async def test_what_fits_out_of_reach_arrives_whole_in_order_and_once() -> None:
    shelf, calls = Shelf(), 0

    async def append(request: agent_pb2.AppendLogsRequest) -> object:
        nonlocal calls
        calls += 1
        if calls < 4:  # the second was taken, and its answer was lost
            if calls == 2:
                await shelf.append(request)
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing)
        return await shelf.append(request)

    shipper = LogShipper(append, "a", "default")
    async with asyncio.TaskGroup() as group:
        working = group.create_task(shipper.run())
        log = shipper.open(ref(), LIMIT)
        for number in range(1_000):
            log.write(LogStream.STDOUT, b"%d\n" % number)
        await log.close(10)
        working.cancel()
    assert shelf.text() == b"".join(b"%d\n" % number for number in range(1_000))
    assert calls > 3


async def test_what_is_refused_for_good_is_given_up_and_costs_no_memory() -> None:
    async def refuse(_: object) -> object:
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, nothing, nothing)

    shipper = LogShipper(refuse, "a", "default")
    async with asyncio.TaskGroup() as group:
        working = group.create_task(shipper.run())
        log = shipper.open(ref(), LIMIT)
        log.write(LogStream.STDOUT, b"1\n" * 100_000)
        await until(lambda: shipper.waiting_bytes == 0)
        log.write(LogStream.STDOUT, b"2\n" * 100_000)
        assert shipper.waiting_bytes == 0
        await log.close(10)
        working.cancel()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(10):
        while not fact():  # noqa: ASYNC110 - has no event
            await asyncio.sleep(0.01)


Writes = st.lists(st.tuples(st.sampled_from([LogStream.STDOUT, LogStream.STDERR]), st.text("aé\n", max_size=30)))


@given(writes=Writes, limit=st.integers(0, 200))
def test_every_byte_is_kept_or_counted_whatever_comes(writes: list[tuple[LogStream, str]], limit: int) -> None:
    shelf = Shelf()

    async def print_all() -> None:
        async with shipping(shelf) as shipper:
            log = shipper.open(ref(), limit)
            for stream, text in writes:
                log.write(stream, text.encode())
            await log.close(10)

    asyncio.run(print_all())
    whole = sum(len(text.encode()) for _, text in writes)
    missing = sum(size for size, _, _ in shelf.told())
    # A line of Pawl's own stands alone: where it came upon an open one, that one is ended.
    assert whole <= missing + len(shelf.kept()) <= whole + 2 * len(shelf.told()) + 1
    assert len(shelf.kept()) <= limit + 2 * len(shelf.told()) + 1
