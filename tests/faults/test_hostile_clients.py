"""Strangers at the gRPC port of a real server: what they do to it, nobody else notices."""

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from pawl.v1 import agent_pb2, agent_pb2_grpc, task_pb2, task_pb2_grpc
from pawl.v1.job_pb2 import Job, JobConfig

from tests.api.raw_http2 import CONTINUATION, HEADERS, PING, SETTINGS, Raw, block, connected
from tests.faults.cluster import Cluster, until

GROWTH_BYTES = 100 << 20
ANSWER_SECONDS = 15.0
EXPLAIN = "/pawl.v1.SystemService/GetInfo"
WINDOW_SIZE = b"\x00\x04\x00\x00\xff\xff"
A_TASK = "00000000-0000-7000-8000-000000000001"

Act = Callable[[int], Awaitable[None]]


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def pressed(raw: Raw) -> bool:
    """Wait until what was written is on its way. Whether the other end still listens."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await raw.writer.drain()
    except (ConnectionError, TimeoutError):
        return False
    return not raw.writer.transport.is_closing()


async def flood(raw: Raw, write: Callable[[int], None], count: int) -> None:
    """The same over and over, as long as anybody takes it."""
    for number in range(count):
        write(number)
        if number % 200 == 0 and not await pressed(raw):
            return
    await pressed(raw)


# --- what they do


async def rapid_resets(port: int) -> None:
    async with connected(port) as raw:

        def begin_and_give_up(_: int) -> None:
            stream = raw.open(EXPLAIN)
            raw.message(stream)
            raw.reset(stream)

        await flood(raw, begin_and_give_up, 5_000)


async def hoarded_calls(port: int) -> None:
    async with connected(port) as raw:
        await flood(raw, lambda _: [raw.open(EXPLAIN)].clear(), 5_000)


async def settings_without_end(port: int) -> None:
    async with connected(port) as raw:
        await flood(raw, lambda _: raw.send(SETTINGS, payload=WINDOW_SIZE), 5_000)


async def pings_without_end(port: int) -> None:
    async with connected(port) as raw:
        await flood(raw, lambda _: raw.send(PING, payload=b"01234567"), 5_000)


async def headers_without_end(port: int) -> None:
    async with connected(port, greeting=False) as raw:
        raw.send(HEADERS, 0, 1, block([(b":method", b"POST")]))
        piece = block([(b"x-name", b"a" * 8_000)])
        await flood(raw, lambda _: raw.send(CONTINUATION, 0, 1, piece), 2_000)


async def headers_that_grow_when_they_are_read(port: int) -> None:
    async with connected(port, greeting=False) as raw:
        entry = b"\x40" + block([(b"x-name", b"a" * 4_000)])[1:]
        for stream in range(1, 40, 2):
            raw.head(stream, entry + b"\xbe" * 12_000)
        await pressed(raw)


async def another_protocol(port: int) -> None:
    for said in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", os.urandom(100_000), b"\x16\x03\x01\x02\x00" * 100):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.transport.close()


async def connections_that_say_nothing(port: int) -> None:
    for _ in range(200):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()


def results(count: int) -> agent_pb2.Finished:
    """Of tasks that there never were."""
    instance = agent_pb2.InstanceRef(task_id=A_TASK, instance_id=A_TASK, token=1)
    item = agent_pb2.Finished.Item(instance=instance, status=task_pb2.Task.SUCCEEDED)
    return agent_pb2.Finished(items=[item] * count)


async def an_agent_that_floods_and_never_acknowledges(port: int) -> None:
    said = 0

    async def flood() -> AsyncIterator[agent_pb2.ConnectRequest]:
        nonlocal said
        hello = agent_pb2.Hello(protocol_version=1, agent_id="flooding", state_id="folder", generation=1, slots=100_000)
        hello.executors.add(name="process")
        yield agent_pb2.ConnectRequest(seq=1, hello=hello)
        for seq in range(2, 4_000):
            said = seq
            if seq % 2:
                yield agent_pb2.ConnectRequest(seq=seq, finished=results(1_000))
            else:
                yield agent_pb2.ConnectRequest(seq=seq, heartbeat=agent_pb2.Heartbeat(beat=seq))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = agent_pb2_grpc.AgentServiceStub(channel).Connect(flood())
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                async for _ in call:
                    pass
    assert 1 < said < 3_000, "it is held back"


ACTS: list[Act] = [
    rapid_resets,
    hoarded_calls,
    settings_without_end,
    pings_without_end,
    headers_without_end,
    headers_that_grow_when_they_are_read,
    another_protocol,
    connections_that_say_nothing,
    an_agent_that_floods_and_never_acknowledges,
]


def others_go_on(server: str, task: str, over: threading.Event) -> int:
    """Calls at an even pace, none repeated, each answered in time; how many."""
    made = 0
    with grpc.insecure_channel(server) as channel:
        tasks: Any = task_pb2_grpc.TaskServiceStub(channel)
        while made < 2 or not over.wait(0.02):  # the pace
            tasks.GetTask(task_pb2.GetTaskRequest(id=task), timeout=ANSWER_SECONDS)
            made += 1
    return made


@pytest.mark.timeout(180)
async def test_what_strangers_do_at_the_port_nobody_else_notices(sqlite_cluster: Cluster) -> None:
    cluster = sqlite_cluster
    agent = cluster.agent("calm")
    await cluster.started(agent)
    server = cluster.server
    async with cluster.client() as pawl:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))
        first = await pawl.tasks.create("any")
        before = resident(server.pid)
        for act in ACTS:
            over = threading.Event()
            async with asyncio.TaskGroup() as group:
                others = group.create_task(asyncio.to_thread(others_go_on, server.grpc, first.id, over))
                try:
                    await act(server.grpc_port)
                finally:
                    over.set()
            assert others.result() > 1
            assert not server.ended, act.__name__
            grown = resident(server.pid) - before
            assert grown < GROWTH_BYTES, f"{act.__name__}: {grown >> 20} MiB more"
        done = await pawl.tasks.wait((await pawl.tasks.create("any")).id)
        assert (done.status, done.agent_id) == (task_pb2.Task.SUCCEEDED, "calm")
    assert "Traceback" not in server.said()
    assert not re.search(r"^[EWI]\d{4} ", server.said(), re.MULTILINE), "the library's own lines"
    server.terminate()
    assert await server.end() == 0
    await until("the agent knows", lambda: "ends the stream" in agent.said(), 10)
