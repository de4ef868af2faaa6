"""What a bench kills and starts again: a `pawl` command that is the same after each start: same ports, same folders."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.bench import plane
from tests.bench.databases import Database
from tests.bench.plane import Plane
from tests.postgres import free_port


class Mortal:
    """One command. Instants are of `time.time`, for they are compared with what the database says."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        self._command = command
        self._folder = folder
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None
        self._log = folder

    @property
    def pid(self) -> int:
        """Of the present or last run."""
        assert self._child is not None
        return self._child.pid

    def cpu_seconds(self) -> float:
        """CPU time of the present run."""
        return plane.cpu_seconds(self.pid)

    def start(self) -> None:
        """Begin, and wait for nothing."""
        self._child, self._log = plane.begin(self._command, self._folder, self._name)

    def kill(self) -> float:
        """-9; when that was. It is gone when this returns."""
        assert self._child is not None
        at = time.time()
        self._child.kill()
        self._child.wait()
        return at

    def end(self) -> None:
        """In order, if it runs."""
        if self._child is not None and self._child.poll() is None:
            plane.end(self._child)

    async def addresses(self) -> tuple[str, str]:
        """Where it answers over HTTP and gRPC, once it says so. Raises RuntimeError with its words if it ends."""
        assert self._child is not None
        found = await asyncio.to_thread(plane.addresses, self._child, self._log)
        return found[1], found[2].rstrip(",")


@contextlib.asynccontextmanager
async def server(database: Database) -> AsyncIterator[tuple[Mortal, Plane]]:
    """A control plane of its own, started; the plane's process is that of the first start."""
    command = plane.server_command(database.url, database.folder, http=free_port(), grpc=free_port())
    mortal = Mortal(command, database.folder, "mortal")
    mortal.start()
    try:
        http, grpc = await mortal.addresses()
        yield mortal, Plane(http, grpc, mortal.pid)
    finally:
        mortal.end()


@contextlib.contextmanager
def agent(standing: Plane, folder: Path, slots: int, name: str) -> Iterator[Mortal]:
    """An agent, started."""
    mortal = Mortal(plane.agent_command(standing.grpc, folder, slots, name), folder, name)
    mortal.start()
    try:
        yield mortal
    finally:
        mortal.end()
