"""A peer that runs: its store, its server, a worker and a client, each a process that can be killed and is ended.

All of it is on loopback and in a folder that is gone afterwards.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.databases import Database
from tests.bench.peers.environments import Environment
from tests.bench.peers.peers import SLOTS, Peer
from tests.bench.plane import children_of, cpu_seconds
from tests.postgres import die_with_parent, free_port

START_SECONDS = 40.0
STOP_SECONDS = 15.0
STEP_SECONDS = 60.0
LOOK_SECONDS = 0.002
REDIS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1")


class Failed(Exception):
    """A peer did not do what it was asked; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Given:
    """What an adapter is given; `conversation.py` says what for."""

    folder: str
    starts: str
    database: str
    redis: str
    slots: int = SLOTS
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    endpoint_port: int = field(default_factory=free_port)
    node_port: int = field(default_factory=free_port)


class Starts:
    """When each task said its first line, read off the file that tasks write to; nanoseconds of the machine's clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at: dict[int, list[int]] = {}
        self._read = 0
        path.touch()

    def look(self) -> None:
        """Read what is new."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            index, _, instant = line.partition(b" ")
            self.at.setdefault(int(index), []).append(int(instant))

    def wait(self, indexes: Iterable[int], seconds: float, pause: float = LOOK_SECONDS) -> int:
        """How many of these have still not started when all have, or when the time is over."""
        missing = set(indexes)
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            missing -= self.at.keys()
            if not missing or time.monotonic() > deadline:
                return len(missing)
            time.sleep(pause)

    def twice(self, indexes: Iterable[int]) -> int:
        """How many of these have started more than once."""
        return sum(len(self.at.get(one, ())) > 1 for one in indexes)


class Running:
    """One peer at work."""

    def __init__(self, peer: Peer, environment: Environment, given: Given, database: Database | None) -> None:
        self.peer = peer
        self.given = given
        self.starts = Starts(Path(given.starts))
        self._environment = environment
        self._database = database
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._lines: queue.Queue[str] = queue.Queue()
        self._next = 0

    def start(self, what: str) -> None:
        """Start `redis`, `server`, `worker` or `client`. Servers are waited for until they listen."""
        if what == "redis":
            port = int(self.given.redis.rpartition(":")[2].partition("/")[0])
            self._spawn(what, ["redis-server", "--port", str(port), *REDIS, "--dir", self.given.folder], {})
            self._listens(what, port)
        elif what == "server":
            said = json.loads(self._once("serve"))
            self._spawn(what, said["command"], said["environ"])
            self._listens(what, self.given.port)
        elif what == "worker":
            self._spawn(what, self._role("work"), {})
        else:
            self._spawn(what, self._role("speak"), {}, talks=True)
            self.hear(START_SECONDS)

    def open(self) -> None:
        """Start everything, in the order in which one needs the other."""
        if self.peer.store == "redis":
            self.start("redis")
        self._once("prepare")
        if self.peer.victim == "server":
            self.start("server")
        self.start("worker")
        self.start("client")

    def kill(self, what: str) -> int:
        """`kill -9` it with all that it has started, as its machine would; gives the instant before."""
        child = self._processes.pop(what)
        family = _family(child.pid)
        instant = time.monotonic_ns()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()
        return instant

    def close(self) -> None:
        """End everything, the client first."""
        for name in ("client", "worker", "server", "redis"):
            child = self._processes.pop(name, None)
            if child is not None:
                _end(child)

    def take(self, count: int) -> range:
        """Indexes that nobody has used yet."""
        self._next += count
        return range(self._next - count, self._next)

    def say(self, do: str, indexes: range, **more: Any) -> None:
        """Ask the client for something."""
        child = self._processes["client"]
        assert child.stdin is not None
        child.stdin.write(json.dumps({"do": do, "first": indexes.start, "count": len(indexes)} | more) + "\n")
        child.stdin.flush()

    def hear(self, seconds: float) -> dict[str, Any]:
        """The client's next answer. Raises Failed."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            line = ""
        if not line:
            raise Failed(f"{self.peer.name}'s client has not answered: {self._words('client')}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, indexes: range, seconds: float = STEP_SECONDS, **more: Any) -> dict[str, Any]:
        """Ask and hear."""
        self.say(do, indexes, **more)
        return self.hear(seconds)

    def cpu_seconds(self) -> tuple[float, float]:
        """What its own processes and its store have used, with everything that they started."""
        own = [child.pid for name, child in self._processes.items() if name != "redis"]
        redis = [child.pid for name, child in self._processes.items() if name == "redis"]
        store = self._database.cpu_seconds() if self._database else 0.0
        return _cpu(own), store + _cpu(redis)

    def _role(self, role: str) -> Sequence[str]:
        return [*self._environment.command, role]

    def _environ(self) -> dict[str, str]:
        # PAWL_*, DBOS_*, PG* and the like of the caller would measure something else.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | self._environment.environ | {"PEER": json.dumps(asdict(self.given)), "HOME": self.given.folder}

    def _once(self, role: str) -> str:
        done = subprocess.run(
            self._role(role), cwd=self.given.folder, env=self._environ(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=START_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{self.peer.name}, {role}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def _spawn(self, what: str, command: Sequence[str], more: dict[str, str], *, talks: bool = False) -> None:
        with (Path(self.given.folder) / f"{what}.log").open("ab") as words:
            child = subprocess.Popen(
                command,
                cwd=self.given.folder,
                env=self._environ() | more,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else words,
                stderr=words,
                text=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call: takes no lock that a thread could hold
            )
        self._processes[what] = child
        if talks:
            threading.Thread(target=self._hear_all, args=(child,), daemon=True).start()

    def _hear_all(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                self._lines.put(line)
        self._lines.put("")

    def _listens(self, what: str, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._processes[what].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            time.sleep(0.005)
        raise Failed(f"{self.peer.name}'s {what} does not listen: {self._words(what)}")

    def _words(self, what: str) -> str:
        return (Path(self.given.folder) / f"{what}.log").read_text(errors="replace").strip()[-800:]


@contextlib.contextmanager
def opened(peer: Peer, environment: Environment, database: Database | None) -> Iterator[Running]:
    """A peer with a store of its own, up for the block. Raises Failed."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="pawl-peer-", ignore_cleanup_errors=True) as folder,
        # What tasks note is no part of the work: where there is memory for it, it does not wait for the disk.
        tempfile.TemporaryDirectory(prefix="pawl-peer-", dir=memory if memory.is_dir() else None) as starts,
    ):
        given = Given(
            folder=folder,
            starts=str(Path(starts) / "starts"),
            database=database.url if database else "",
            redis=f"redis://127.0.0.1:{free_port()}/0",
        )
        running = Running(peer, environment, given, database)
        try:
            running.open()
            yield running
        finally:
            running.close()


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found += children_of(one)
    return found


def _cpu(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(one) for pid in pids for one in _family(pid))


def _end(child: subprocess.Popen[str]) -> None:
    family = _family(child.pid)
    if child.stdin is not None:
        child.stdin.close()
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    # A descendant that outlives its parent is no longer in its family: ask for those of before.
    for pid in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
