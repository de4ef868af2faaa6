"""A control plane as users start it: `pawl server`, a process of its own. And a real agent beside it.

CPU time and memory are read from /proc; where there is none they are 0.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import die_with_parent

PAWL = Path(sys.executable).with_name("pawl")
LOUD = Path(__file__).with_name("loud.py")
START_SECONDS = 30.0
STOP_SECONDS = 20.0
ADDRESSES = re.compile(r"HTTP (\S+).*gRPC (\S+)")


@dataclass(frozen=True, slots=True)
class Plane:
    """One that runs: where it answers, and its process."""

    http: str
    grpc: str
    pid: int

    def cpu_seconds(self) -> float:
        """What it has used since its start, all threads."""
        return cpu_seconds(self.pid)

    def counters(self) -> dict[str, float]:
        """What `/metrics` says now, by name and labels as written there."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=10.0) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def resident_bytes(self) -> int:
        """What it has in memory now."""
        return resident_bytes(self.pid)


@contextlib.asynccontextmanager
async def running(database_url: str, folder: Path) -> AsyncIterator[Plane]:
    """A control plane on this database, stopped at the end. Raises RuntimeError with its words if it does not start."""
    with process(server_command(database_url, folder), folder, "server") as (child, log):
        found = await asyncio.to_thread(addresses, child, log)
        yield Plane(found[1], found[2].rstrip(","), child.pid)


def server_command(database_url: str, folder: Path, *, http: int = 0, grpc: int = 0) -> list[str]:
    """What starts a control plane; without ports it takes free ones."""
    ports = ["--http-port", str(http), "--grpc-port", str(grpc)]
    arguments = ["server", "--insecure", "--host", "127.0.0.1", *ports]
    arguments += ["--database", database_url, "--data-dir", str(folder / "server"), "--log-level", "warn"]
    return [str(PAWL), *arguments]


@contextlib.contextmanager
def agent(plane: Plane, folder: Path, slots: int, *, name: str = "bench-real", loud: bool = False) -> Iterator[int]:
    """A real agent; gives its process id. A loud one has the label `loud=yes` and no limit on what runs print."""
    command = agent_command(plane.grpc, folder, slots, name)
    if loud:
        command = [sys.executable, str(LOUD), *command[1:], "--label", "loud=yes"]
    with process(command, folder, name) as (child, _):
        yield child.pid


def agent_command(server: str, folder: Path, slots: int, name: str) -> list[str]:
    """What starts an agent."""
    arguments = ["agent", "--server", server, "--name", name, "--slots", str(slots), "--log-level", "warning"]
    arguments += ["--data-dir", str(folder / name / "data"), "--work-dir", str(folder / name / "work")]
    return [str(PAWL), *arguments]


@contextlib.contextmanager
def process(command: list[str], folder: Path, name: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A program of its own; ends with the block, or with us."""
    child, log = begin(command, folder, name)
    try:
        yield child, log
    finally:
        end(child)


def begin(command: list[str], folder: Path, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a program without the caller's settings; it ends with us at the latest. The process, and its log."""
    # A settings file in the folder, and PAWL_* or PORT of the caller, would measure something else; so would a Python
    # that compiles all of it anew with every start.
    unwanted = ("PAWL_", "DATABASE_URL", "PORT", "PYTHONDONTWRITEBYTECODE")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    log = folder / f"{name}.log"
    with log.open("wb") as words:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environ | {"HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call: takes no lock that a thread could hold
        )
    return child, log


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and see to it that it does."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def addresses(child: subprocess.Popen[bytes], log: Path) -> re.Match[str]:
    """What it says of where it answers, once it does. Raises RuntimeError with its words if it ends."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        words = log.read_text(errors="replace")
        found = ADDRESSES.search(words)
        if found and words.endswith("\n"):
            return found
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"pawl server did not start:\n{log.read_text(errors='replace')}")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its ended children not counted."""
    with contextlib.suppress(OSError, IndexError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def resident_bytes(pid: int) -> int:
    """What a process has in memory now, shared or not."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(one for child in children_of(pid) for one in family(child))]


def children_of(pid: int) -> list[int]:
    """The processes that this one has started."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            found += [int(one) for one in (thread / "children").read_text().split()]
    return found
