"""The agent's end of the zygote: starts it, speaks to it, notices its death and starts the next one.

Knows runs only by number; what they are is in `wasm_run`. The zygote is a child of whatever launches processes here
(the keeper), so that it cannot outlive the agent with its children.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from agent.executors import wasm_messages as wire
from agent.executors.base import Failure, LaunchError
from agent.keeper import KeeperLost

START_SECONDS: Final = 20.0
END_SECONDS: Final = 5.0
CONTROL_FD: Final = 3
WORDS_SHOWN: Final = 500
MODULE: Final = "agent.executors.zygote"

T = TypeVar("T")
_numbers = itertools.count(1)


class Child(Protocol):
    """A process that a Launcher started."""

    pid: int

    async def wait(self) -> object:
        """Returns once it is gone with all that descends from it. Cancelling the wait changes nothing."""
        ...

    def kill_group(self, sig: int, /) -> None:
        """Send a signal to its whole process group."""
        ...


class Launcher(Protocol):
    """Starts processes in sessions of their own; in an agent it is the keeper."""

    async def start(
        self, key: str, argv: list[str], env: dict[str, str], cwd: str, fds: list[tuple[int, int]]
    ) -> Child:
        """Start `argv`; `fds` are pairs of a descriptor here and its number there. Raises OSError or KeeperLost."""
        ...

    def take_charge(self, key: str, pidfd: int) -> None:
        """Lease this process by itself. The descriptor is the launcher's from here on."""
        ...

    def let_go(self, key: str) -> None:
        """The process of this key has ended."""
        ...


class Receiver(Protocol):
    """What is told how a run goes on after its launch."""

    def forked(self, pidfd: int | None) -> None: ...

    def exited(self, message: wire.Exited) -> None: ...

    def lost(self) -> None: ...


class ZygoteLost(LaunchError):
    """The zygote ended while a launch was under way."""

    def __init__(self) -> None:
        super().__init__(Failure("PLUGIN_CRASH", "the process that plugins are forked from ended", retryable=True))


class ZygoteLink:
    """One zygote, from its start to its end. After the end it refuses everything; the executor makes another."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # nobody has to wait
        self.child: Child | None = None
        self.dead = False
        self._loop = asyncio.get_running_loop()
        self._control, self._remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._outgoing: deque[tuple[bytes, Sequence[int]]] = deque()
        self._launching: dict[int, asyncio.Future[int]] = {}
        self._running: dict[int, Receiver] = {}

    async def start(self, launcher: Launcher, environment: dict[str, str], cwd: Path, log: str = "zygote.log") -> None:
        """Start the process and wait until it serves. Raises OSError, TimeoutError or KeeperLost if it does not."""
        words = cwd / log
        try:
            argv = [sys.executable, "-m", MODULE, str(CONTROL_FD)]
            with words.open("wb") as stderr:
                pairs = [(self._remote.fileno(), CONTROL_FD), (stderr.fileno(), 2)]
                self.child = await launcher.start(f"wasm-zygote.{next(_numbers)}", argv, environment, str(cwd), pairs)
            self._remote.close()
            self._loop.add_reader(self._control, self._readable)
            async with asyncio.timeout(START_SECONDS):
                await self.ready
        except BaseException as error:
            self._remote.close()
            await self.close()
            if isinstance(error, EOFError):
                raise OSError(f"it ended at once: {_last_words(words)}") from error
            raise

    async def launch(self, message: wire.Launch, descriptors: Sequence[int], run: Receiver) -> int:
        """The process id of the run; LaunchError if there is none. The descriptors are closed here once sent."""
        if self.dead:
            for descriptor in descriptors:
                os.close(descriptor)
            raise ZygoteLost
        forked: asyncio.Future[int] = self._loop.create_future()
        self._launching[message.run] = forked
        self._running[message.run] = run
        self._post(message, descriptors)
        try:
            return await forked
        except asyncio.CancelledError:
            self.kill(message.run)
            raise

    def kill(self, run: int) -> None:
        """End a run's process. Its end is told like any other."""
        if not self.dead:
            self._post(wire.Kill(run), ())

    def hold(self, run: int, still: bool) -> None:
        """Stop a run's process, or let it go on."""
        if not self.dead:
            self._post(wire.Hold(run, still), ())

    def give_up(self) -> None:
        """The zygote does not do as told: end it and all its children, from outside."""
        if self.child is not None:
            self.child.kill_group(signal.SIGKILL)
        self._die()

    async def close(self) -> None:
        """End the zygote and with it every run. Returns when the process is gone or was told to go for long enough."""
        self._die()
        child, self.child = self.child, None
        if child is None:
            return
        if not await _gone(child):
            child.kill_group(signal.SIGKILL)
            await _gone(child)

    # Messages

    def _post(self, message: wire.ToZygote, descriptors: Sequence[int]) -> None:
        self._outgoing.append((msgspec.msgpack.encode(message), descriptors))
        self._flush()

    def _flush(self) -> None:
        """Send what can be sent now; the rest when the socket is writable again. In order, so no lock is needed."""
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                socket.send_fds(self._control, [data], list(descriptors))
            except BlockingIOError:
                self._loop.add_writer(self._control, self._flush)
                return
            except OSError:
                self._die()
                return
            self._outgoing.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self._loop.remove_writer(self._control)

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, 65536, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._die()
                return
            self._received(msgspec.msgpack.decode(data, type=wire.FromZygote), descriptors)

    def _received(self, message: wire.FromZygote, descriptors: list[int]) -> None:
        match message:
            case wire.Ready():
                self.ready.set_result(message.extism)
            case wire.Forked():
                if message.run in self._running:
                    self._running[message.run].forked(descriptors.pop() if descriptors else None)
                _settle(self._launching.pop(message.run, None), lambda future: future.set_result(message.pid))
            case wire.Refused():
                self._running.pop(message.run, None)
                refused = LaunchError(Failure(message.code, message.message, message.retryable))
                _settle(self._launching.pop(message.run, None), lambda future: future.set_exception(refused))
            case wire.Exited():
                run = self._running.pop(message.run, None)
                if run is not None:
                    run.exited(message)
        for descriptor in descriptors:
            os.close(descriptor)

    def _die(self) -> None:
        if self.dead:
            return
        self.dead = True
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        while self._outgoing:
            for descriptor in self._outgoing.popleft()[1]:
                os.close(descriptor)
        _settle(self.ready, lambda future: future.set_exception(EOFError()))
        for launching in self._launching.values():
            _settle(launching, lambda future: future.set_exception(ZygoteLost()))
        self._launching.clear()
        running, self._running = self._running, {}
        for run in running.values():
            run.lost()


def _last_words(log: Path) -> str:
    try:
        return log.read_text(errors="replace").strip()[-WORDS_SHOWN:] or "it gave no reason"
    except OSError as error:
        return str(error)


async def _gone(child: Child) -> bool:
    """Whether it is gone within a time that is enough for it."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await child.wait()
    except TimeoutError:
        return False
    except KeeperLost:  # then the keeper's own end has killed it
        return True
    return True


def _settle(future: asyncio.Future[T] | None, how: Callable[[asyncio.Future[T]], None]) -> None:
    if future is not None and not future.done():
        how(future)
