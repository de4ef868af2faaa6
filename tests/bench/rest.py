"""The cheapest REST caller that Python allows: sockets that stay open, requests that are written in one piece.

It reads an answer whose body has a known length, and nothing else, so that the front is measured and not a library for
calling it. What it costs itself stands in each row as the client's CPU.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
OK = b"HTTP/1.1 200 "
LIMIT = 64 << 20


class Caller:
    """One connection, one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f" HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n".encode()

    async def post(self, path: str, body: bytes, headers: str = "") -> bytes:
        """The answer's body. Raises RuntimeError for what is not 200. `headers`: further lines, each ended."""
        length = f"content-length: {len(body)}\r\n{headers}\r\n"
        self._writer.write(b"POST " + path.encode() + self._head + length.encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        answer = b"" if found is None else await self._reader.readexactly(int(found[1]))
        if found is None or not head.startswith(OK):
            raise RuntimeError(f"{path}: {head.decode()}{answer.decode()}")
        return answer

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def callers(url: str, count: int) -> AsyncIterator[Sequence[Caller]]:
    """So many open connections to a server."""
    parts = urlsplit(url)
    made: list[Caller] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=LIMIT)
            made.append(Caller(reader, writer, parts.netloc))
        yield made
    finally:
        for one in made:
            await one.close()


async def each(made: Sequence[Caller], asked: Iterator[tuple[bytes, str]], path: str) -> list[bytes]:
    """Post every body (with further headers), each caller one after the other; the answers as they came."""
    answers: list[bytes] = []

    async def call(caller: Caller) -> None:
        for body, headers in asked:
            answers.append(await caller.post(path, body, headers))

    async with asyncio.TaskGroup() as group:
        for one in made:
            group.create_task(call(one))
    return answers
