"""The agent's side of the keeper: starts it, asks it for processes, survives its death.

`Keeper.start` is how anything here becomes a process. Nothing in the agent forks: the loop pays for one message, and
the process is a child of the keeper (`agent.keeper_main` says why). Runs asyncio callbacks only, no tasks and no
threads; the single wait for a thread is at opening and closing.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import cgroups, procfs
from agent.keeper_main import MAX_FDS, MAX_PACKET
from agent.launch import MAX_CHILD_FD
from agent.limits import ProcessLimits
from agent.procfs import boot_clock
from agent.statedir import StateDir
from agent.watch import Breach

_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 70.0  # the keeper itself gives up earlier


@dataclass(frozen=True, slots=True)
class TaskUser:
    """Whom a process runs as, when the agent may choose."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended: `code` or `signal` of its main process, and what all of it used.

    `peak_memory_bytes` is that of all its processes together, as often as they were looked at, and at least that of the
    largest of them; the system counts the moment of the start in, so values under the keeper's own size (about 12 MB)
    are not told apart. `survivors`: something could not be killed and was left. `breach`: it was ended because it
    wanted more than it may.
    """

    code: int | None
    signal: int | None
    wall_seconds: float
    user_cpu_seconds: float
    system_cpu_seconds: float
    peak_memory_bytes: int
    read_bytes: int
    written_bytes: int
    lease_expired: bool = False
    survivors: bool = False
    breach: Breach | None = None
    throttled_seconds: float = 0.0


class StartFailed(OSError):
    """The process could not be started. `stage` is `cwd`, `exec` or `key`."""

    def __init__(self, stage: str, code: int, message: str) -> None:
        super().__init__(code, message)
        self.stage = stage


class KeeperLost(Exception):
    """The keeper ended, and all that it had started was killed."""


class Child:
    """A process that was started, with all that descends from it."""

    def __init__(self, keeper: Keeper, key: str) -> None:
        self.key = key
        self.pid = 0
        self.held_by: dict[str, str] = {}
        """Who holds each limit of the run, in words: `control group, version 2`, or `sampling`."""
        self._keeper = keeper
        self._gone: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._gone.add_done_callback(lambda gone: gone.cancelled() or gone.exception())  # nobody has to wait

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left."""
        return self._gone.done()

    async def wait(self) -> Exit:
        """How it ended, once all of it is gone. Raises KeeperLost. Cancelling the wait changes nothing."""
        return await asyncio.shield(self._gone)

    def signal_group(self, number: int) -> None:
        """Signal the group: SIGTERM, SIGKILL, SIGSTOP, SIGCONT, ... Nothing happens when it is gone."""
        if not self.ended:
            self._keeper.post("signal", self.key, int(number))

    kill_group = signal_group

    def pause(self) -> None:
        """Stop all of it, wherever it moved to, until `resume`. Its leases run on, and `stop` ends it all the same."""
        if not self.ended:
            self._keeper.hold(self.key, still=True)

    def resume(self) -> None:
        """Let it go on."""
        if not self.ended:
            self._keeper.hold(self.key, still=False)

    def stop(self, grace_seconds: float) -> None:
        """TERM now, KILL after the grace, counted by the keeper; strays included. Does not wait."""
        if not self.ended:
            self._keeper.post("stop", self.key, boot_clock() + max(0.0, grace_seconds))

    def lease(self, term_in_seconds: float | None, kill_in_seconds: float | None) -> None:
        """Let it live so much longer from now, unless this is renewed: TERM at the first, KILL at the second time."""
        self._keeper.lease_many({self.key: (term_in_seconds, kill_in_seconds)})

    def release(self) -> None:
        """Bind it to no lease any more. It still ends with the agent."""
        self.lease(None, None)


@dataclass(slots=True)
class _Starting:
    child: Child
    answer: asyncio.Future[None]


class Keeper:
    """The keeper process, and a new one when it died. One event loop, from `open` to `close`."""

    def __init__(self, state: StateDir | None = None) -> None:
        """With a state folder its lock is shared with the process, and leftovers of earlier starts are ended."""
        self._lock_fd = state.lock_fd if state is not None else None
        self._mark = state.state_id if state is not None else str(uuid.uuid4())
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._starting: dict[str, _Starting] = {}
        self._children: dict[str, Child] = {}
        self._charges: dict[str, int] = {}  # descriptors that the process has not been given yet
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._holds: dict[str, bool] = {}

    @property
    def pid(self) -> int | None:
        """The keeper process; None while there is none."""
        return self._process.pid if self._process is not None else None

    async def open(self) -> None:
        """Start the process, after what an earlier agent of this state folder may have left was killed."""
        self._closed = False
        await self._ensure()

    async def close(self) -> None:
        """End everything that was started, and the process."""
        self._closed = True
        async with self._opening:
            process = self._process
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)  # the keeper kills all, reports nothing more and ends
            if process is not None:
                await asyncio.to_thread(_await_end, process)
            self._lost()

    async def start(
        self,
        key: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        fds: Sequence[tuple[int, int]] = (),
        limits: ProcessLimits | None = None,
        user: TaskUser | None = None,
    ) -> Child:
        """Start a process in a session and group of its own, with exactly this environment.

        `fds` are (descriptor here, number there); 0, 1 and 2 are /dev/null unless given. They stay the caller's, who
        may close them when this returns. Raises StartFailed, KeeperLost.
        """
        if len(fds) >= MAX_FDS or any(not 0 <= number <= MAX_CHILD_FD for _, number in fds):
            raise StartFailed("exec", errno.EINVAL, f"fds: fewer than {MAX_FDS}, numbered 0 to {MAX_CHILD_FD}")
        if key in self._children or key in self._starting:
            raise StartFailed("key", errno.EEXIST, f"a run of key {key} is alive")
        if self._ready is None or not self._ready.done():
            await self._ensure()
        child = Child(self, key)
        starting = _Starting(child, asyncio.get_running_loop().create_future())
        self._starting[key] = starting
        limits = limits or ProcessLimits()
        identity = (user.uid, user.gid, user.groups) if user is not None else None
        numbers = [number for _, number in fds]
        body = (
            "start", key, self._mark, list(argv), dict(env), cwd, numbers, limits.rlimits, identity, limits.bounds,
            limits.cgroups, limits.ceiling,
        )  # fmt: skip
        self._post(json.dumps(body).encode(), [fd for fd, _ in fds])
        try:
            await starting.answer
        except asyncio.CancelledError:
            self._abandon(key, child)
            raise
        return child

    def lease_many(self, terms: Mapping[str, tuple[float | None, float | None]]) -> None:
        """Renew the leases of many keys in one message; see Child.lease. Unknown keys are ignored."""
        now = boot_clock()
        for key in terms:
            if (pidfd := self._charges.pop(key, None)) is not None:
                self._post(json.dumps(("charge", key)).encode(), [pidfd])
                os.close(pidfd)
        renewed = [
            (key, None if term is None else now + term, None if kill is None else now + kill)
            for key, (term, kill) in terms.items()
        ]
        if renewed:
            self.post("lease", renewed)

    def take_charge(self, key: str, pidfd: int) -> None:
        """Let a process that a run of ours forked be leased by itself, by this key: it is killed at its lease's end,
        frozen agent or not. Given to the process with its first lease, so one that is never leased costs no message.
        The descriptor is ours from here on; it has to come from the parent, who alone knows whose number it is.
        """
        self.let_go(key)
        self._charges[key] = pidfd

    def let_go(self, key: str) -> None:
        """It has ended. What the process was given it drops by itself."""
        if (pidfd := self._charges.pop(key, None)) is not None:
            os.close(pidfd)

    def hold(self, key: str, *, still: bool) -> None:
        """See Child.pause. What is asked for in one turn of the loop is one message: each costs a look at all of it."""
        if not self._holds:
            asyncio.get_running_loop().call_soon(self._post_holds)
        self._holds[key] = still

    def _post_holds(self) -> None:
        holds, self._holds = self._holds, {}
        self.post("hold", [key for key, still in holds.items() if still], [key for key in holds if not holds[key]])

    def post(self, *message: object) -> None:
        """Tell the keeper something that has no answer."""
        if self._socket is not None:
            self._post(json.dumps(message).encode(), [])

    # -- the process

    async def _ensure(self) -> None:
        async with self._opening:
            if self._closed:
                raise KeeperLost("the keeper is closed")
            if self._ready is not None and self._ready.done():
                return
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(end_leftovers, self._mark)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                ours.setblocking(False)
                try:
                    self._process = await asyncio.to_thread(_launch, theirs.fileno(), self._lock_fd)
                except BaseException:
                    ours.close()
                    raise
            self._socket = ours
            self._ready = loop.create_future()
            loop.add_reader(ours, self._readable)
            try:
                async with asyncio.timeout(_OPEN_SECONDS):
                    await self._ready
            except BaseException:
                self._lost()
                raise

    def _lost(self) -> None:
        """The process is gone or given up: nothing that it started may live on."""
        process, self._process = self._process, None
        connection, self._socket = self._socket, None
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(connection)
            loop.remove_writer(connection)
            connection.close()
        self._discard_outgoing()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()  # KILL was sent: it is gone at once
        if process is not None and not (self._closed and process.returncode == 0):
            for child in self._children.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
            end_leftovers(self._mark)  # strays, and what was started but not yet reported
        error = KeeperLost("the keeper process ended; everything that it had started was killed")
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_exception(error)
        starting, self._starting = self._starting, {}
        children, self._children = self._children, {}
        for begun in starting.values():
            if not begun.answer.done():
                begun.answer.set_exception(error)
        for child in children.values():
            child._gone.set_exception(error)

    # -- messages

    def _post(self, body: bytes, fds: list[int]) -> None:
        """Send now if possible. What has to wait keeps duplicates of its descriptors, so the caller may close them."""
        if len(body) > MAX_PACKET:
            memfd = os.memfd_create("start", os.MFD_CLOEXEC)
            try:
                with open(memfd, "wb", closefd=False) as file:
                    file.write(body)
                self._post(b'["memfd"]', [*fds, memfd])
            finally:
                os.close(memfd)
            return
        if self._outgoing or not self._send(body, fds):
            self._outgoing.append((body, [os.dup(fd) for fd in fds]))
            if self._socket is not None:
                asyncio.get_running_loop().add_writer(self._socket, self._writable)

    def _send(self, body: bytes, fds: list[int]) -> bool:
        if self._socket is None:
            return True
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([body], ancillary)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # the reader notices the end
        return True

    def _writable(self) -> None:
        while self._outgoing:
            body, fds = self._outgoing[0]
            if not self._send(body, fds):
                return
            self._outgoing.popleft()
            _close_all(fds)
        if self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)

    def _discard_outgoing(self) -> None:
        while self._outgoing:
            _close_all(self._outgoing.popleft()[1])

    def _readable(self) -> None:
        for _ in range(64):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                if not self._closed:
                    self._lost()
                else:
                    asyncio.get_running_loop().remove_reader(self._socket)  # close() finishes it
                return
            self._handle(*json.loads(data))

    def _handle(self, kind: str, *rest: object) -> None:
        match kind, rest:
            case "started", (str(key), int(pid), dict(held_by)):
                starting = self._starting.pop(key)
                starting.child.pid, starting.child.held_by = pid, held_by
                self._children[key] = starting.child
                if starting.answer.cancelled():
                    starting.child.signal_group(signal.SIGKILL)
                else:
                    starting.answer.set_result(None)
            case "failed", (str(key), str(stage), int(code), str(message)):
                answer = self._starting.pop(key).answer
                if not answer.cancelled():
                    answer.set_exception(StartFailed(stage, code, message))
            case "gone", (str(key), *facts):
                self._children.pop(key)._gone.set_result(_exit(*facts))
            case "ready", _:
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case _:
                raise ValueError(f"unknown message from the keeper: {kind}")

    def _abandon(self, key: str, child: Child) -> None:
        """The caller of a start went away: let the process end as soon as it is known."""
        if key in self._children:
            child.signal_group(signal.SIGKILL)


def _exit(*facts: object) -> Exit:
    match facts:
        case (
            int(status), float(user), float(system), int(peak), int(read), int(written), float(wall),
            bool(lease_expired), bool(survivors), breach, float(throttled),
        ):  # fmt: skip
            code = os.waitstatus_to_exitcode(status)
            return Exit(
                code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                wall_seconds=wall,
                user_cpu_seconds=user,
                system_cpu_seconds=system,
                peak_memory_bytes=peak,
                read_bytes=read,
                written_bytes=written,
                lease_expired=lease_expired,
                survivors=survivors,
                breach=Breach(*breach) if isinstance(breach, list) else None,
                throttled_seconds=throttled,
            )
    raise ValueError(f"malformed exit from the keeper: {facts}")


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _launch(connection: int, lock_fd: int | None) -> subprocess.Popen[bytes]:
    """Start the process: no site packages, none of the agent's environment, a session of its own.

    Its session keeps a terminal's Ctrl-C away from it: the agent decides how its work ends.
    """
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "LANG": "C.UTF-8"}
    if procfs.MARK in os.environ:  # this agent is itself a task's: then so is its keeper
        environment[procfs.MARK] = os.environ[procfs.MARK]
    inherited = [connection] if lock_fd is None else [connection, lock_fd]
    return subprocess.Popen(
        [sys.executable, "-P", "-S", "-s", "-m", "agent.keeper_main", *map(str, inherited)],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        start_new_session=True,
    )


def _await_end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_CLOSE_SECONDS)


def end_leftovers(mark: str) -> list[int]:
    """Kill whatever carries the mark, with its group; the pids that were found.

    Only for when no keeper of this mark lives: a living one would lose its runs. Repeats until none is found, since
    a process may fork while it is being looked for.
    """
    ended: list[int] = []
    clean = 0
    for _ in range(50):
        found = procfs.marked(mark)
        clean = 0 if found else clean + 1
        if clean == 2:  # one look may fall into the gap between two lives of a process that moves on by forking
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended += found
    cgroups.end_leftovers(mark)
    return ended
