"""A real control plane and a real agent for the tests of the client and the command line."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pawl.cli import root
from pawl.client import BlockingClient, Client

from controlplane.config import load_settings
from controlplane.wiring import Addresses, ControlPlane

PAWL = Path(sys.executable).parent / "pawl"
DEADLINE_SECONDS = 30.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gRPC address of a control plane that lasts for the session."""
    flags = {
        "server.host": "127.0.0.1",
        "server.http_port": 0,
        "server.grpc_port": 0,
        "server.data_dir": str(tmp_path_factory.mktemp("server")),
    }
    found: list[Addresses] = []
    ready, stop = threading.Event(), []

    async def serve() -> None:
        plane = ControlPlane(load_settings(None, {}, flags).settings)
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(plane.stop))

        def serving(addresses: Addresses) -> None:
            found.append(addresses)
            ready.set()

        await plane.run(serving)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="control plane")
    thread.start()
    assert ready.wait(DEADLINE_SECONDS), "the control plane does not start"
    yield found[0].grpc
    stop[0]()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive(), "the control plane does not stop"


@pytest.fixture(scope="session")
def agent(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an agent of its own process, connected, in the namespace `default`."""
    folder = tmp_path_factory.mktemp("agent")
    command = [str(PAWL), "agent", "--server", server, "--name", "tester", "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        with BlockingClient(Client(server)) as client:
            eventually(lambda: any(one.id == "tester" for one in client.call(lambda c: c.agents.list()).data))
        yield "tester"
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(DEADLINE_SECONDS)
        process.kill()
        process.wait()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a fact, within a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.05)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def client(server: str) -> AsyncIterator[Client]:
    """The async client."""
    async with Client(server) as made:
        yield made


@dataclass
class Ran:
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def pawl(server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `pawl` in this process against the real control plane."""
    monkeypatch.setenv("PAWL_SERVER", server)
    monkeypatch.delenv("PAWL_NAMESPACE", raising=False)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pawl", *arguments])
        capsys.readouterr()
        code = root.run()
        said = capsys.readouterr()
        return Ran(int(code), said.out, said.err)

    return run
