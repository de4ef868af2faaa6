"""Where every run of the matrix shows itself: an HTTP server of the test, on a wire that no fault touches.

A run calls `/held/<cell>` and gets its answer when the test lets that cell go on. Its connection is the witness: it is
open exactly as long as the run (or, for a plugin, the agent on its behalf) lives.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.cluster import until

ANSWER = b"done"
FLOOD_BYTES = 3 << 20
WITHIN_SECONDS = 30.0


class Endpoint:
    """Between `opened` and its end."""

    def __init__(self) -> None:
        self.port = 0
        self.came: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()
        self.overlaps: list[str] = []
        """Cells that had two runs at the same time."""
        self._gates: dict[str, asyncio.Event] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def arrived(self, cell: str, times: int = 1) -> None:
        """Wait until so many runs of the cell have come."""
        await until(f"{cell} came {times} times", lambda: self.came[cell] >= times, WITHIN_SECONDS)

    def let_go(self, cell: str) -> None:
        """Answer those that wait, and whoever comes later at once."""
        self._gate(cell).set()

    def _gate(self, cell: str) -> asyncio.Event:
        return self._gates.setdefault(cell, asyncio.Event())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.lower().splitlines()
            size = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            await reader.readexactly(size)
            answer = await self._answer(head.split()[1], reader)
            if answer:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever called is gone
        finally:
            writer.close()

    async def _answer(self, path: str, reader: asyncio.StreamReader) -> bytes:
        """What is sent; nothing: the connection just ends."""
        match path.split("/", 2)[1:]:
            case ["held", cell]:
                return await self._held(cell, reader)
            case ["refuses"]:
                return _response("422 Unprocessable Content", b"no such thing\n")
            case ["breaks"]:
                return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of"
            case ["floods"]:
                return _response("200 OK", b"x" * FLOOD_BYTES)
            case _:
                return _response("200 OK", ANSWER)

    async def _held(self, cell: str, reader: asyncio.StreamReader) -> bytes:
        if self.inside[cell]:
            self.overlaps.append(cell)
        self.came[cell] += 1
        self.inside[cell] += 1
        try:
            async with asyncio.TaskGroup() as group:
                gone = group.create_task(reader.read(1))
                gate = group.create_task(self._gate(cell).wait())
                await asyncio.wait({gone, gate}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                gate.cancel()
        finally:
            self.inside[cell] -= 1
        return _response("200 OK", ANSWER) if self._gate(cell).is_set() else b""


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def opened() -> AsyncIterator[Endpoint]:
    """One that listens on a port of its own."""
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    async with server:
        endpoint.port = server.sockets[0].getsockname()[1]
        yield endpoint
        for gate in tuple(endpoint._gates.values()):
            gate.set()
