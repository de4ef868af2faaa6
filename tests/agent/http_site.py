"""A real HTTP server on loopback that answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """A real HTTP server on loopback; `answers` maps a path to all that is sent."""

    port: int = 0
    answers: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_heard(self, count: int) -> None:
        """Wait for so many requests."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.heard) >= count)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def text(self, path: str, body: bytes, status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.answers[path] = lambda: "\r\n".join(lines).encode() + body

    def redirect(self, path: str, to: str, status: str = "302 Found") -> None:
        self.text(path, b"", status, f"Location: {to}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.lower().splitlines()
        size = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length")), 0)
        body = await reader.readexactly(size)
        async with self.changed:
            self.heard.append(head + body.decode("latin-1"))
            self.changed.notify_all()
        answer = self.answers.get(head.split()[1])
        if answer is None:  # never answers
            await self.silent.wait()
        else:
            writer.write(answer())
        writer.close()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    one = Site()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        one.port = server.sockets[0].getsockname()[1]
        yield one
        one.silent.set()
