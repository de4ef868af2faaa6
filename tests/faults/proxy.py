"""A wire that a test can cut or freeze: TCP from a port of its own to another one, bytes as they are."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class Wire:
    """Between `async with` and its end. `cuts` counts the connections that were cut."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._target = port
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.thaw()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def address(self) -> str:
        """The near end."""
        port: int = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._open)

    def cut(self) -> None:
        """Drop every connection now, with whatever is under way in it. New ones are taken."""
        self.cuts += self.connections
        for ends in tuple(self._open):
            for end in ends:
                end.transport.abort()

    def redirect(self, port: int) -> None:
        """New connections lead there, as behind a load balancer."""
        self._target = port

    def freeze(self) -> None:
        """Let nothing through; nobody is told. New connections are taken and stay silent."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Go on, with what was held back."""
        self._flowing.set()

    async def take_down(self) -> None:
        """Cut everything, and refuse whoever comes."""
        self._port = int(self.address.rpartition(":")[2])
        self._server.close()
        self.cut()

    async def put_up(self) -> None:
        """Listen again, where it was."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            with suppress(OSError):
                back, far = await asyncio.open_connection("127.0.0.1", self._target)
                ends = (writer, far)
                self._open.add(ends)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pump(reader, far))
                        group.create_task(self._pump(back, writer))
                finally:
                    self._open.discard(ends)
                    far.transport.abort()
        finally:
            writer.transport.abort()
            self._pumps.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        # Either end that goes takes the other with it, as a cut wire does.
        sink.transport.abort()
