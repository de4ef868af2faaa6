"""How long a client that was cut off rests, against a server that goes away and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from pawl.channel import CHANNEL_OPTIONS, rest

from tests.postgres import free_port

A_DAY = 86_400.0


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[grpc.aio.Server]:
    server = grpc.aio.server()
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        async with serving(port), asyncio.timeout(30):
            await channel.channel_ready()
        yield channel


async def test_a_rest_ends_when_the_connection_that_was_cut_stands_again() -> None:
    port = free_port()
    async with connected(port) as channel, asyncio.TaskGroup() as group:
        resting = group.create_task(rest(channel, 600.0))
        async with serving(port), asyncio.timeout(120):
            await resting


async def test_a_rest_lasts_while_nobody_is_there() -> None:
    async with connected(free_port()) as channel:
        begun = time.monotonic()
        await rest(channel, 0.2)
        assert time.monotonic() - begun >= 0.2


async def test_a_rest_lasts_while_the_connection_stands() -> None:
    port = free_port()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel, serving(port):
        await channel.channel_ready()
        begun = time.monotonic()
        await rest(channel, 0.2, away=A_DAY)
        assert time.monotonic() - begun >= 0.2


async def test_whoever_was_away_for_long_rests_to_the_end_at_most() -> None:
    port = free_port()
    async with connected(port) as channel, serving(port), asyncio.timeout(60):
        await rest(channel, 2.0, away=A_DAY)


async def test_a_closed_channel_is_rested_for_like_any_other() -> None:
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{free_port()}")
    await channel.close()
    with pytest.raises(grpc.aio.UsageError):
        await channel.channel_ready()
    await rest(channel, 0.01)
