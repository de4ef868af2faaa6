"""The channel below calls and streams: its options, and how to rest until the other side is worth another try."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

import grpc
import grpc.aio

CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 10 << 20),
    ("grpc.max_send_message_length", 10 << 20),
    # The channel looks for a server that is away by itself, with pauses of its own, which are shared by all that use it
    # and would grow to two minutes. These are what a restart is noticed by: a connection that is refused costs nothing.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 150),
    # Not a pause, whatever its name says: how long one try to connect may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
)
LOOKS: Final = 20
SHORTEST_LOOK_SECONDS: Final = 0.01
LONGEST_LOOK_SECONDS: Final = 0.5
SPREAD: Final = 0.1


async def rest(channel: grpc.aio.Channel, seconds: float, *, away: float = 0.0) -> None:
    """Wait so long, but no longer than until a connection that was cut stands again.

    `away`: seconds for which there was none before. Whoever waited with us comes back at the same moment: the longer
    that was, the wider it is spread by chance. It looks instead of waiting for the channel's word: a wait for that
    which is given up stays with the channel until its state changes, and a server may be away for days.
    """
    begun = now = time.monotonic()
    until = begun + seconds
    look = min(max(SHORTEST_LOOK_SECONDS, seconds / LOOKS), LONGEST_LOOK_SECONDS)
    cut = False
    while now < until:
        ready = channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
        if cut and ready:
            spread = (away + now - begun) * SPREAD * random.random()
            await asyncio.sleep(min(spread, until - now))
            return
        cut = cut or not ready
        await asyncio.sleep(min(look, until - now))
        now = time.monotonic()
