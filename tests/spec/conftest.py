"""A real control plane on each kind of database, one for all tests of a module."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controlplane.config import DatabaseSection, ServerSection, Settings, TelemetrySection
from controlplane.wiring import Addresses, ControlPlane
from tests.spec.two_fronts import GrpcFront, RestFront


@dataclass(frozen=True)
class Plane:
    """A running control plane and a client for each of its fronts."""

    addresses: Addresses
    grpc: GrpcFront
    rest: RestFront


@contextmanager
def serving(url: str, folder: Path, **telemetry: Any) -> Iterator[Addresses]:
    """Serve in a thread with a loop of its own, so that tests are plain blocking clients."""
    server = ServerSection(host="127.0.0.1", http_port=0, grpc_port=0, data_dir=str(folder))
    settings = Settings(server=server, database=DatabaseSection(url=url), telemetry=TelemetrySection(**telemetry))
    ready: Future[Addresses] = Future()
    stop: list[object] = []

    async def run() -> None:
        plane = ControlPlane(settings)
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(plane.stop))
        await plane.run(ready.set_result)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="control plane")
    thread.start()
    try:
        yield ready.result(30)
    finally:
        for call in stop:
            call()  # type: ignore[operator] # the one function above
        thread.join(30)
    assert not thread.is_alive(), "the control plane did not stop"


def start_agent(server: str, folder: Path, name: str = "agent-01", **environment: str) -> subprocess.Popen[bytes]:
    """`pawl agent` under this name."""
    command = [sys.executable, "-c", "import sys; from pawl.cli import main; sys.exit(main())", "agent"]
    options = ["--server", server, "--name", name, "--data-dir", str(folder), "--log-level", "warning"]
    return subprocess.Popen(
        [*command, *options], cwd=folder.parent, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
    )


def end(agent: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and no way to survive it."""
    agent.terminate()
    try:
        agent.wait(20)
    finally:
        agent.kill()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane over an empty database."""
    folder = tmp_path_factory.mktemp("plane")
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/pawl.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            url = server.url(stack.enter_context(server.database()))
        addresses = stack.enter_context(serving(url, folder))
        grpc_front, rest_front = GrpcFront(addresses.grpc), RestFront(addresses.http)
        stack.callback(grpc_front.channel.close)
        stack.callback(rest_front.client.close)
        yield Plane(addresses, grpc_front, rest_front)


@pytest.fixture(scope="session")
def wasm_module() -> bytes:
    """A plugin that is allowed."""
    return (Path(__file__).parents[2] / "plugins" / "examples" / "hello-c" / "plugin.wasm").read_bytes()
