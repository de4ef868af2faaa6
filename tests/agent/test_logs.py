"""What runs print on its way to the control plane: bounded while nobody is in reach, and then delivered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from pawl.v1.agent_pb2 import AppendLogsRequest, InstanceRef

from agent.executors.base import LogStream
from agent.logs import BUFFER_BYTES, TOTAL_BYTES, LogShipper

WITHIN_SECONDS = 20.0
LINE = b"x" * 99 + b"\n"
LOG_BYTES = 100 << 20


class Plane:
    """The other side, in reach or not; keeps what it takes."""

    def __init__(self) -> None:
        self.in_reach = asyncio.Event()
        self.asked = asyncio.Event()
        self.kept: dict[tuple[str, int], bytes] = {}

    async def append(self, request: AppendLogsRequest) -> None:
        self.asked.set()
        if not self.in_reach.is_set():
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty, "nobody is there")
        for chunk in request.chunks:
            text = b"".join(line.data for line in chunk.lines)
            self.kept.setdefault((chunk.instance.instance_id, chunk.number), text)

    def text(self, instance: str) -> bytes:
        return b"".join(self.kept[key] for key in sorted(self.kept) if key[0] == instance)


@asynccontextmanager
async def shipping(plane: Plane) -> AsyncIterator[LogShipper]:
    shipper = LogShipper(plane.append, "an-agent", "default")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(shipper.run())
        yield shipper
        running.cancel()


async def test_what_is_printed_out_of_reach_is_bounded_and_says_what_is_missing_when_it_arrives() -> None:
    plane = Plane()
    printed = 5 * BUFFER_BYTES // len(LINE)
    async with shipping(plane) as shipper:
        log = shipper.open(InstanceRef(instance_id="one", token=1), LOG_BYTES)
        for _ in range(printed):
            log.write(LogStream.STDOUT, LINE)
            assert shipper.waiting_bytes <= 2 * BUFFER_BYTES
        plane.in_reach.set()
        await log.close(WITHIN_SECONDS)
    *kept, last = plane.text("one").splitlines(keepends=True)
    whole = [line for line in kept if line == LINE]
    assert len(whole) >= BUFFER_BYTES // len(LINE) // 2
    missing = int(last.split()[1])
    assert last.startswith(b"[pawl] ")
    assert missing + sum(len(line.rstrip(b"\n")) for line in kept) + len(whole) == printed * len(LINE)
    assert shipper.waiting_bytes == 0


async def test_all_runs_together_hold_no_more_than_the_agents_own_bound() -> None:
    plane = Plane()
    async with shipping(plane) as shipper:
        for number in range(3 * TOTAL_BYTES // BUFFER_BYTES):
            log = shipper.open(InstanceRef(instance_id=str(number), token=1), LOG_BYTES)
            for _ in range(20):
                log.write(LogStream.STDOUT, LINE * (BUFFER_BYTES // len(LINE) // 20))
        assert shipper.waiting_bytes <= TOTAL_BYTES + BUFFER_BYTES


@pytest.mark.parametrize("failures", [1, 3])
async def test_what_fits_out_of_reach_arrives_whole_in_order_and_once(failures: int) -> None:
    plane = Plane()
    async with shipping(plane) as shipper:
        log = shipper.open(InstanceRef(instance_id="one", token=1), LOG_BYTES)
        for turn in range(failures):
            plane.asked.clear()
            log.write(LogStream.STDOUT, b"%d\n" % turn)
            async with asyncio.timeout(WITHIN_SECONDS):
                await plane.asked.wait()
        plane.in_reach.set()
        await log.close(WITHIN_SECONDS)
    assert plane.text("one") == b"".join(b"%d\n" % turn for turn in range(failures))
