"""The process that plugins are forked from: `python -m agent.executors.zygote <fd>`.

It has Extism loaded and each plugin compiled, so that a run costs a fork and not a start. What makes that safe:

- It never creates an instance of a plugin, so no guest code runs in it and no native state of one is inherited.
- It never imports grpc and starts no thread, so a fork copies no lock that somebody holds.
- It never compiles what it does not know to be harmless: a throw-away process compiles first, under limits; its result
  comes back through the compiler's own cache on disk, from which the zygote loads.
- It waits for nobody: one loop over the control channel and the ends of children.
- Where a plugin has run, a *spare* is forked ahead for its next run, when nothing else is to be done: a child that has
  touched what a run touches and waits for its run. It is our own code until then; limits come with the run.

It ends when the control channel closes, and its children end with it. Deadlines are the agent's; this only kills when
told. Not the place for anything about a run's data: that goes past the zygote, over the run's own channel.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from base64 import b64encode
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

import extism
import msgspec
from extism.extism import CompiledPlugin

from agent.executors import guest
from agent.executors import wasm_messages as wire
from agent.procfs import stat_of
from agent.watch import Share

COMPILED_KEPT: Final = 16
SPARES_KEPT: Final = 4
COMPILES_AT_ONCE: Final = 2
COMPILE_WALL_SECONDS: Final = 180.0
"""A guard against one that sleeps; one that works is ended by its processor time, however busy the machine is."""
COMPILE_CPU_SECONDS: Final = 120
COMPILE_DATA_BYTES: Final = 1 << 30
REFUSAL_SECONDS: Final = 600.0
"""How long a plugin that did not compile is refused at once, so that its retries do not compile all day."""
REFUSALS_KEPT: Final = 64
COMPILE_WORDS: Final = 4096
"""Of a compiler's complaint that are shown."""
PAGE_BYTES: Final = 65536
SHARE_SECONDS: Final = 0.05
"""How often those are looked at that may have a share of the processor only."""
COMPILE_FAILED: Final = "PLUGIN_COMPILE_FAILED"


@dataclass(frozen=True, slots=True)
class Build:
    """What decides a compiled plugin: the module and the limits that are fixed when it is loaded."""

    digest: str
    path: str
    wasi: bool
    pages: int


@dataclass(slots=True)
class Run:
    """A run that waits for its plugin or has a process."""

    launch: wire.Launch
    descriptors: list[int]
    pid: int = 0
    held: bool = False
    share: Share | None = None

    @property
    def build(self) -> Build:
        launch = self.launch
        return Build(launch.digest, launch.path, launch.wasi, launch.memory_bytes // PAGE_BYTES)

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


@dataclass(slots=True)
class Compile:
    """A throw-away process that compiles."""

    build: Build
    words: int
    deadline: float
    timed_out: bool = False


@dataclass(slots=True)
class Spare:
    """A child that waits for a run of its plugin, behind this door."""

    pid: int
    door: socket.socket

    def take(self, run: Run) -> bool:
        """Make it the process of this run. Whether it lived to hear that."""
        try:
            with self.door:
                socket.send_fds(self.door, [msgspec.msgpack.encode(run.launch)], run.descriptors)
        except OSError:
            return False
        return True


@dataclass(slots=True)
class Zygote:
    """The loop and what it keeps."""

    control: socket.socket
    runs: dict[int, Run] = field(default_factory=dict)
    by_pid: dict[int, Run] = field(default_factory=dict)
    compiled: OrderedDict[Build, CompiledPlugin] = field(default_factory=OrderedDict)
    wanted: deque[Build] = field(default_factory=deque)
    compiling: dict[int, Compile] = field(default_factory=dict)
    refused: OrderedDict[Build, tuple[float, str]] = field(default_factory=OrderedDict)
    spares: OrderedDict[Build, Spare] = field(default_factory=OrderedDict)
    spare_wanted: Build | None = None
    shares_at: float = 0.0
    identity: guest.Zygote = field(default_factory=guest.Zygote.this)

    def serve(self) -> None:
        """Until the agent closes the control channel."""
        wake, wake_writer = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(wake_writer, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        guest.warm_up()
        self.send(wire.Ready(extism.extism_version()))
        gc.freeze()  # a collection in a child would copy every page it looks at
        try:
            while True:
                patience = self._patience() if self.spare_wanted is None else 0
                ready, _, _ = select.select([self.control.fileno(), wake], [], [], patience)
                if not ready:
                    self._make_spare()
                if wake in ready:
                    with suppress(BlockingIOError):
                        os.read(wake, 65536)
                    self._reap()
                if self.control.fileno() in ready and not self._receive():
                    return
                self._stop_late_compiles()
                self._hold_shares()
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._kill_all()

    def send(self, message: wire.FromZygote) -> None:
        # Blocking: the agent always reads, and a zygote that cannot tell it what happened has nothing better to do.
        self.control.sendall(msgspec.msgpack.encode(message))

    def _send_forked(self, message: wire.Forked) -> None:
        """With a descriptor of the process: it is a child that is not reaped, so only here the number is surely its."""
        try:
            pidfd = os.pidfd_open(message.pid)
        except OSError:  # an old kernel, or too many open files: then nobody but the agent counts its lease
            self.send(message)
            return
        try:
            socket.send_fds(self.control, [msgspec.msgpack.encode(message)], [pidfd])
        finally:
            os.close(pidfd)

    def _receive(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 8, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        message = msgspec.msgpack.decode(data, type=wire.ToZygote)
        if isinstance(message, wire.Kill):
            self._kill(message.run)
            return True
        if isinstance(message, wire.Hold):
            self._hold(message.run, still=message.still)
            return True
        run = Run(message, list(descriptors))
        self.runs[message.run] = run
        if len(descriptors) == 2 + message.wasi:
            self._launch(run)
        else:  # the system drops descriptors that do not fit into this process any more
            self._refuse(run, "SPAWN_FAILED", "too many open files", retryable=True)
        return True

    def _launch(self, run: Run) -> None:
        build = run.build
        if build in self.compiled:
            self.compiled.move_to_end(build)
            self._fork(run)
            return
        until, message = self.refused.get(build, (0.0, ""))
        if time.monotonic() < until:
            self._refuse(run, COMPILE_FAILED, message, retryable=False)
            return
        under_way = build in self.wanted or any(one.build == build for one in self.compiling.values())
        if not under_way:
            self.wanted.append(build)
            self._start_compiles()

    def _kill(self, number: int) -> None:
        run = self.runs.get(number)
        if run is None:
            return  # it ended meanwhile; its end is on the way
        if run.pid:
            os.kill(run.pid, signal.SIGKILL)  # a child of ours that is not reaped: the id cannot be another's
        else:
            self._refuse(run, "STOPPED", "stopped before it began", retryable=False)

    def _hold(self, number: int, *, still: bool) -> None:
        run = self.runs.get(number)
        if run is not None and run.pid:
            run.held = still
            if run.share is not None:
                run.share.stopped = False
            os.kill(run.pid, signal.SIGSTOP if still else signal.SIGCONT)

    def _hold_shares(self) -> None:
        """Stop those that have had more than their share of the processor, let others go on."""
        now = time.monotonic()
        if now < self.shares_at:
            return
        self.shares_at = now + SHARE_SECONDS
        for run in self.by_pid.values():
            if run.share is None or (stat := stat_of(run.pid)) is None:
                continue
            run.share.see(stat.cpu_seconds, now, paused=run.held)
            if run.share.must_stop != run.share.stopped and not run.held:
                run.share.stopped = run.share.must_stop
                os.kill(run.pid, signal.SIGSTOP if run.share.stopped else signal.SIGCONT)

    def _refuse(self, run: Run, code: str, message: str, *, retryable: bool) -> None:
        run.close()
        del self.runs[run.launch.run]
        self.send(wire.Refused(run.launch.run, code, message, retryable))

    def _fork(self, run: Run) -> None:
        spare = self.spares.pop(run.build, None)
        if spare is not None and spare.take(run):
            pid = spare.pid
        else:
            try:
                pid = os.fork()
            except OSError as error:
                self._refuse(run, "SPAWN_FAILED", f"no process for the plugin: {error}", retryable=True)
                return
            if pid == 0:
                _become_guest(self.compiled[run.build], run.launch, run.descriptors, self.identity)
        run.close()
        run.pid = pid
        if run.launch.cpu_cores is not None:
            run.share = Share(run.launch.cpu_cores, time.monotonic())
        self.by_pid[pid] = run
        self._send_forked(wire.Forked(run.launch.run, pid))
        self.spare_wanted = run.build

    # Spares

    def _make_spare(self) -> None:
        """One for the plugin that has run last, if it has none."""
        build, self.spare_wanted = self.spare_wanted, None
        compiled = None if build is None else self.compiled.get(build)
        if build is None or compiled is None or build in self.spares:
            return
        try:
            door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:  # too many open files: runs are more important
            return
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                door.close()
                return
            if pid == 0:
                _become_spare(compiled, theirs, self.identity)
        self.spares[build] = Spare(pid, door)
        while len(self.spares) > SPARES_KEPT:
            self._drop_spare(next(iter(self.spares)))

    def _drop_spare(self, build: Build) -> None:
        spare = self.spares.pop(build, None)
        if spare is not None:
            spare.door.close()  # it ends by itself, and is reaped like any child

    # Compiling

    def _start_compiles(self) -> None:
        while self.wanted and len(self.compiling) < COMPILES_AT_ONCE:
            build = self.wanted.popleft()
            words, writer = os.pipe()
            try:
                pid = _spawn_compile(build, writer)
            except OSError as error:
                os.close(words)
                self._refuse_all(build, "SPAWN_FAILED", f"no process to compile the plugin: {error}", retryable=True)
                continue
            finally:
                os.close(writer)
            self.compiling[pid] = Compile(build, words, time.monotonic() + COMPILE_WALL_SECONDS)

    def _patience(self) -> float | None:
        due = [one.deadline for one in self.compiling.values()]
        if any(run.share is not None for run in self.by_pid.values()):
            due.append(self.shares_at)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _stop_late_compiles(self) -> None:
        now = time.monotonic()
        for pid, one in self.compiling.items():
            if one.deadline <= now and not one.timed_out:
                one.timed_out, one.deadline = True, now + COMPILE_WALL_SECONDS
                os.kill(pid, signal.SIGKILL)

    def _compile_ended(self, one: Compile, status: int) -> None:
        words = _read_words(one.words)
        if one.timed_out:
            self._refuse_compile(one.build, f"compiling took more than {COMPILE_WALL_SECONDS:.0f} s")
        elif os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            self._refuse_compile(one.build, f"the compiler was ended by {name}: {words or 'no words'}")
        elif os.waitstatus_to_exitcode(status) != 0:
            self._refuse_compile(one.build, words or "the compiler gave no reason")
        else:
            self._load(one.build)
        self._start_compiles()

    def _load(self, build: Build) -> None:
        try:
            self.compiled[build] = load(build)
        except OSError as error:  # the file went away: the next launch fetches it again
            self._refuse_all(build, "PLUGIN_FETCH_FAILED", f"the plugin cannot be read: {error}", retryable=True)
            return
        except extism.Error as error:
            self._refuse_compile(build, str(error))
            return
        self.identity = guest.Zygote.this()
        for run in self._waiting(build):
            self._fork(run)
        while len(self.compiled) > COMPILED_KEPT:
            self._drop_spare(self.compiled.popitem(last=False)[0])

    def _waiting(self, build: Build) -> list[Run]:
        return [run for run in self.runs.values() if not run.pid and run.build == build]

    def _refuse_compile(self, build: Build, message: str) -> None:
        message = f"the plugin does not compile: {message}"
        self.refused[build] = (time.monotonic() + REFUSAL_SECONDS, message)
        while len(self.refused) > REFUSALS_KEPT:
            self.refused.popitem(last=False)
        self._refuse_all(build, COMPILE_FAILED, message, retryable=False)

    def _refuse_all(self, build: Build, code: str, message: str, *, retryable: bool) -> None:
        for run in self._waiting(build):
            self._refuse(run, code, message, retryable=retryable)

    # Ends

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (one := self.compiling.pop(pid, None)) is not None:
                self._compile_ended(one, status)
            elif (run := self.by_pid.pop(pid, None)) is not None:
                del self.runs[run.launch.run]
                throttled = run.share.stopped_seconds if run.share is not None else 0.0
                self.send(_exited(run.launch.run, status, usage, throttled))
            else:
                self._forget_spare(pid)

    def _forget_spare(self, pid: int) -> None:
        for build, spare in self.spares.items():
            if spare.pid == pid:
                self._drop_spare(build)
                return

    def _kill_all(self) -> None:
        for pid in (*self.by_pid, *self.compiling, *(spare.pid for spare in self.spares.values())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _exited(run: int, status: int, usage: resource.struct_rusage, throttled: float) -> wire.Exited:
    by_signal = os.WIFSIGNALED(status)
    return wire.Exited(
        run=run,
        exit_code=None if by_signal else os.WEXITSTATUS(status),
        signal=os.WTERMSIG(status) if by_signal else None,
        user_cpu_seconds=usage.ru_utime,
        system_cpu_seconds=usage.ru_stime,
        peak_memory_bytes=usage.ru_maxrss * 1024,
        throttled_seconds=throttled,
    )


def _become_guest(
    compiled: CompiledPlugin, launch: wire.Launch, descriptors: list[int], identity: guest.Zygote
) -> NoReturn:
    try:
        channel, stderr, *rest = descriptors
        guest.take_over(channel, stderr, rest[0] if rest else None, launch, identity)
        guest.run(compiled)
    except BaseException as error:  # the process ends below: its stderr is where the agent looks
        os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)  # whatever happened: never back into the zygote's loop


def _become_spare(compiled: CompiledPlugin, door: socket.socket, identity: guest.Zygote) -> NoReturn:
    try:
        found = guest.stand_by(door, identity)
        if found is not None:
            _become_guest(compiled, *found, identity)
    finally:
        os._exit(0)


def _read_words(descriptor: int) -> str:
    """What a compiler that has ended left in its pipe. Non-blocking, should something else still hold the other end."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, COMPILE_WORDS).decode(errors="replace").strip()
    except BlockingIOError:
        return ""
    finally:
        os.close(descriptor)


def load(build: Build) -> CompiledPlugin:
    """The plugin, compiled or out of the cache. The manifest is ours alone: a module's bytes are never read as one."""
    with open(build.path, "rb") as file:
        module = file.read()
    manifest = {
        "wasm": [
            {"name": "pawl", "data": b64encode(guest.SHIM.encode()).decode()},
            {"name": "main", "data": b64encode(module).decode(), "hash": build.digest},
        ],
        "memory": {"max_pages": build.pages, "max_http_response_bytes": 0, "max_var_bytes": 1 << 20},
        "allowed_hosts": [],
    }
    return CompiledPlugin(manifest, wasi=build.wasi, functions=guest.HOST_FUNCTIONS)


# The throw-away compiler --------------------------------------------------------------------------------------------


def _spawn_compile(build: Build, words: int) -> int:
    # A fresh program and not a fork: compiling starts threads, and a fork would have only the memory of them.
    argv = [sys.executable, "-m", "agent.executors.zygote", "compile", build.digest, build.path]
    argv += [str(int(build.wasi)), str(build.pages), str(os.getpid())]
    return os.posix_spawn(
        sys.executable,
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, words, 2),
        ],
    )


def _compile(digest: str, path: str, wasi: str, pages: str, parent: str) -> int:
    guest.die_with_parent(int(parent))
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, COMPILE_CPU_SECONDS),
        (resource.RLIMIT_DATA, COMPILE_DATA_BYTES),
    ):
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    try:
        load(Build(digest, path, wasi == "1", int(pages)))
    except (OSError, extism.Error) as error:
        sys.stderr.write(str(error)[:COMPILE_WORDS])
        return 1
    return 0


def main(argv: list[str]) -> int:
    if argv[:1] == ["compile"]:
        return _compile(*argv[1:])
    control = socket.socket(fileno=int(argv[0]))
    control.setblocking(True)
    os.set_inheritable(control.fileno(), False)
    Zygote(control).serve()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # no native clean-up: there is nothing to save, and threads of the runtime may still hold it
