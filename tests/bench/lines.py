"""What a process of the bench and those that it starts say to each other: lines, on stdin and stdout."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator


class Mouth:
    """Says lines of JSON without waiting for whoever reads them."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def say(self, **words: object) -> None:
        """One line."""
        self._transport.write(json.dumps(words).encode() + b"\n")


@contextlib.asynccontextmanager
async def spoken() -> AsyncIterator[tuple[asyncio.StreamReader, Mouth]]:
    """The lines that come in, and what says those that go out. What is left to say is said at the end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(_Closed, sys.stdout)
    try:
        yield reader, Mouth(transport)
    finally:
        transport.close()
        await protocol.over.wait()


class _Closed(asyncio.BaseProtocol):
    def __init__(self) -> None:
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()
