"""Pawl as its users run it: the installed commands as processes of their own, on loopback, to be killed and restarted.

Nothing is imported from the control plane or the agent: what these tests know is what the contract, the command line
and the tables say. Every process is ended by its id; what it said is kept in a file and shown when a wait runs out.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import httpx
from pawl.client import Client
from pawl.connection import Patience
from pawl.v1.agent_pb2 import Agent

from tests.postgres import free_port

PAWL = Path(sys.executable).with_name("pawl")
START_SECONDS = 30.0
END_SECONDS = 20.0
PAUSE_SECONDS = 0.05

P = TypeVar("P", bound="Process")


class TooLate(AssertionError):
    """A fact did not come true in time."""


async def until(what: str, fact: Callable[[], bool | Awaitable[bool]], seconds: float) -> float:
    """Wait for a fact; gives the seconds it took."""
    begun = time.monotonic()
    while True:
        found = fact()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - begun
        if time.monotonic() - begun > seconds:
            raise TooLate(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(PAUSE_SECONDS)


class Process:
    """One `pawl` command. Started again after its end it is the same again: same ports, same folders."""

    program: ClassVar[Path] = PAWL

    def __init__(self, name: str, folder: Path, *arguments: str | Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._home = folder / "home"
        self._home.mkdir(exist_ok=True)
        self._arguments = [str(part) for part in arguments]
        self._running: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        """What it is started with beside what it needs: settings, say."""

    def start(self) -> Self:
        """Begin; does not wait for anything."""
        assert self.ended, f"{self.name} runs already"
        kept = {name: value for name in ("PATH", "PYTHONPATH") if (value := os.environ.get(name))}
        environment = {**kept, "HOME": str(self._home), "NO_COLOR": "1", **self.environment}
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [self.program, *self._arguments],
                env=environment,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """Of the present or last run."""
        assert self._running is not None, f"{self.name} was never started"
        return self._running.pid

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs."""
        return self._running is None or self._running.poll() is not None

    def said(self) -> str:
        """Everything, of all its runs."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """-9, and gone when this returns."""
        assert self._running is not None
        assert not self.ended, f"{self.name} is gone already:\n{self.said()[-4000:]}"
        self._running.kill()
        self._running.wait(END_SECONDS)

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        assert self._running is not None
        self._running.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """What Ctrl-C sends; does not wait."""
        assert self._running is not None
        self._running.send_signal(signal.SIGINT)

    async def end(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; gives its exit code."""
        running = self._running
        assert running is not None
        await until(f"{self.name} ends", lambda: running.poll() is not None, seconds)
        return int(running.returncode)


class Server(Process):
    """A control plane."""

    def __init__(self, name: str, folder: Path, database_url: str, *, http: int = 0, grpc: int = 0) -> None:
        self.http_port, self.grpc_port = http or free_port(), grpc or free_port()
        super().__init__(
            name, folder, "server", "--insecure", "--host", "127.0.0.1",
            "--database", database_url, "--data-dir", folder / name,
            "--http-port", str(self.http_port), "--grpc-port", str(self.grpc_port),
        )  # fmt: skip

    @property
    def http(self) -> str:
        """Base of the REST paths."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        """Where gRPC answers."""
        return f"127.0.0.1:{self.grpc_port}"

    async def serving(self, seconds: float = START_SECONDS) -> Self:
        """Wait until it answers that it serves."""

        async def answers() -> bool:
            assert not self.ended, f"{self.name} ended:\n{self.said()[-4000:]}"
            with contextlib.suppress(httpx.TransportError):
                answer = await asking.get(f"{self.http}/health", timeout=5)
                return answer.status_code == 200 and answer.json()["status"] == "SERVING"
            return False

        async with httpx.AsyncClient(trust_env=False) as asking:
            await until(f"{self.name} serves", answers, seconds)
        return self


class AgentProcess(Process):
    """An agent; its keeper and its tasks are found by the folder that is in their command line or environment."""

    def __init__(self, name: str, folder: Path, server: str, *, slots: int, drain_timeout: float) -> None:
        self.data_dir = folder / name
        self._seen: set[int] = set()
        super().__init__(
            name, folder, "agent", "--server", server, "--name", name, "--slots", str(slots),
            "--data-dir", self.data_dir, "--drain-timeout", str(drain_timeout),
        )  # fmt: skip

    def family(self) -> set[int]:
        """Every living process of it: itself, its keeper, its tasks and what those started, also after its death."""
        found = self._seen if self.ended else self._seen | set(descendants(self.pid))
        mark = str(self.data_dir).encode() + b"/"
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if any(mark in Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")):
                    found.add(pid)
        self._seen = {pid for pid in found if alive(pid)}
        return self._seen

    def kill(self) -> None:
        """-9; the keeper, which carries no mark, is looked up before."""
        self.family()
        super().kill()


class WorkerProcess(AgentProcess):
    """A program with a worker of the SDK in it; it is told the server, a name and a folder."""

    program = Path(sys.executable)

    def __init__(self, name: str, folder: Path, server: str, script: Path) -> None:
        self.data_dir = folder / name
        self._seen = set()
        Process.__init__(self, name, folder, script, server, name, self.data_dir)


class Cluster:
    """A database, control planes over it, agents."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.processes: list[Process] = []
        self.server = self._with(Server("server", folder, database_url))

    def second(self, *, http: int = 0, grpc: int = 0, database_url: str = "") -> Server:
        """Another control plane, not started."""
        name = f"server-{len(self.processes)}"
        return self._with(Server(name, self.folder, database_url or self.database_url, http=http, grpc=grpc))

    def agent(self, name: str, *, slots: int = 8, server: str = "", drain_timeout: float = 10.0) -> AgentProcess:
        """An agent, not started."""
        target = server or self.server.grpc
        return self._with(AgentProcess(name, self.folder, target, slots=slots, drain_timeout=drain_timeout))

    def worker(self, name: str, script: Path, *, server: str = "") -> WorkerProcess:
        """A worker, not started."""
        return self._with(WorkerProcess(name, self.folder, server or self.server.grpc, script))

    def client(self, patience: float = 60.0) -> Client:
        """A client over gRPC that goes on trying for so long."""
        return Client(self.server.grpc, namespace="", timeout=patience, patience=Patience(seconds=patience))

    async def started(self, *agents: AgentProcess) -> Self:
        """Start the control plane and these agents, and wait until all are ready."""
        self.server.start()
        await self.server.serving()
        for agent in agents:
            agent.start()
        async with self.client() as pawl:
            for agent in agents:
                await self.online(pawl, agent)
        return self

    async def online(self, pawl: Client, agent: AgentProcess) -> None:
        """Wait until the control plane has this agent."""

        async def is_online() -> bool:
            assert not agent.ended, f"{agent.name} ended:\n{agent.said()[-4000:]}"
            found = [one async for one in pawl.agents.all()]
            return any(one.id == agent.name and one.status == Agent.Status.ONLINE for one in found)

        await until(f"{agent.name} is online", is_online, START_SECONDS)

    def said(self) -> str:
        """The end of what everybody said, for a failure."""
        return "\n".join(f"--- {process.name}\n{process.said()[-3000:]}" for process in self.processes)

    def close(self) -> None:
        """End everything, agents with their keepers and tasks last of all."""
        for process in self.processes:
            if not process.ended:
                process.kill()
        deadline = time.monotonic() + END_SECONDS
        for process in self.processes:
            while isinstance(process, AgentProcess) and (left := process.family()):
                assert time.monotonic() < deadline, f"{process.name} left {left} behind"
                time.sleep(PAUSE_SECONDS)

    def _with(self, process: P) -> P:
        self.processes.append(process)
        return process


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


def of_process(pid: int, name: str) -> bytes:
    """What the system says of it in this file; empty once it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def descendants(root: int) -> Iterator[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            parents.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(pid)
    waiting = [root]
    while waiting:
        yield (pid := waiting.pop())
        waiting += parents.get(pid, ())
