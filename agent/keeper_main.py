"""The keeper: parent, launcher and executioner of everything an agent runs.

`python -m agent.keeper_main SOCKET_FD [LOCK_FD]`, started by `agent.keeper` and by nobody else. It is a process of its
own because an agent can be killed, frozen or cut off, and what it started must still end: the keeper adopts every
descendant (it is a subreaper), counts leases itself, and when its socket to the agent closes it kills all at once.

Theory of operation. One thread, one loop, nothing that blocks. Each run is one session and one process group, led by
the process that was started (the *main* process); its pid names the group. A run is over when the main process ended
and nothing of it is left: the group's survivors are killed, and so are *strays*, descendants that moved to a group or
session of their own. A stray becomes our child at the latest when its last ancestor inside the run dies; it is given
back to its run by group, session or the mark in its environment. One that hides all three belongs to every run that
lived when it was found, and ends with the last of these. One that is just becoming another program hides them for a
moment: it is asked again, and until it has told no run that it may belong to is over.

A *charge* is a single process inside a run's tree that has a lease of its own: one of many that a run of ours forked.
Its descriptor (a pidfd) came from its parent by way of the agent, so it means this process and never a later one with
its number. At its lease's end it is killed, and the run around it lives on; its ends are its parent's to report.

What a run may use is the business of `agent.watch`; the keeper looks, stops and ends. Where it may, it runs before all
others (SCHED_RR): a bomb takes the processor from whoever has to end it. What it starts is ordinary again. A run that
is bounded by a control group enters it between fork and exec: moved afterwards, it might have forked already.

A process is looked at as a zombie (waitid with WNOWAIT) before it is reaped, so that its number, and with it its
group's, cannot yet mean somebody else when the group is killed.

Messages are JSON lists over SOCK_SEQPACKET, descriptors beside them; a body over the packet limit comes in a memfd as
the last descriptor. It imports light standard modules only: it has to start fast and stay small, being the process
that every task is forked from.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from agent import cgroups
from agent.launch import OWN_FDS, User, launch, lift, opened_folder, room_for_forks
from agent.procfs import MARK, Children, Family, Stat, between_programs, boot_clock, mark_of, storage_bytes, top_of
from agent.watch import CONTROLLER_OF, PROCESSES, Watch

MAX_PACKET = 60_000
MAX_FDS = 32
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.1  # how often a run that does not end is looked at, beside every death
_LEASE_LOOK_SECONDS = 1.0  # poll() does not count suspended time, leases do: never sleep longer while one is held
_GIVE_UP_SECONDS = 10.0  # a process in uninterruptible sleep, or of a user we may not signal
_LAST_KILL_SECONDS = 60.0
_TOGETHER_SECONDS = 0.03  # looks that are due so soon after another are taken with it
_STOP_ROUNDS = 100
_SILENT_SECONDS = 1.0  # how long a program may take to begin, before it passes for one that hides


class Run:
    """One key: its group, its strays' numbers, and until when it may live."""

    __slots__ = (
        "began", "ended", "held", "key", "kill_at", "killed_at", "lease_expired", "numbers", "peak", "pid", "read",
        "scattered", "status", "system", "term_at", "term_sent", "user", "watch", "written",
    )  # fmt: skip

    def __init__(self, key: str, pid: int, began: float, watch: Watch) -> None:
        self.key = key
        self.pid = pid
        self.watch = watch
        self.held = False  # by SIGSTOP from the agent: whoever stopped it lets it go on
        self.scattered = False  # what is held is not all in the group
        self.numbers = {pid}
        self.began = began
        self.ended = 0.0
        self.status: int | None = None
        self.term_at: float | None = None
        self.kill_at: float | None = None
        self.killed_at: float | None = None
        self.term_sent: set[int] | None = None
        self.lease_expired = False
        self.user = self.system = 0.0
        self.peak = self.read = self.written = 0

    def add(self, usage: resource.struct_rusage, storage: tuple[int, int]) -> None:
        """Count what a reaped process of this run used."""
        self.user += usage.ru_utime
        self.system += usage.ru_stime
        self.peak = max(self.peak, usage.ru_maxrss * 1024)
        self.read += storage[0]
        self.written += storage[1]


class Charge:
    """One process that is leased by itself."""

    __slots__ = ("fd", "key", "kill_at")

    def __init__(self, key: str, fd: int) -> None:
        self.key = key
        self.fd = fd
        self.kill_at: float | None = None


class Keeper:
    """The loop and its state."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._charges: dict[str, Charge] = {}
        self._charged: dict[int, Charge] = {}  # by descriptor
        # Each is an open file. Beyond this only the agent counts for them, for starts must not fail for want of files.
        self._most_charges = max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2 * OWN_FDS)
        self._children = Children()
        self._family = Family()
        self._groups: cgroups.Groups | None = None
        self._emptying: list[cgroups.Group] = []  # of ended runs, and not yet gone
        self._runs: dict[str, Run] = {}
        self._mains: dict[int, Run] = {}
        self._owner: dict[int, Run] = {}  # by number of group, session or stray
        self._strays: dict[int, set[str]] = {}
        self._silent: dict[int, float] = {}  # strays that are between two programs, and until when they are asked
        self._closing: set[str] = set()  # main process ended, something may be left
        self._outgoing: deque[bytes] = deque()
        self._wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake, wake_write = lift(self._wake), lift(wake_write)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._socket.fileno(), select.POLLIN)

    def run(self) -> None:
        """Serve until the agent is gone, then end everything."""
        try:
            self._send("ready", os.getpid())
            self._flush()
            while True:
                for fd, _ in self._poll.poll(self._timeout()):
                    if fd == self._wake:
                        _drain(self._wake)
                    elif (charge := self._charged.get(fd)) is not None:
                        self._discharge(charge)  # a pidfd is readable when its process has ended
                    elif not self._receive():
                        return
                self._reap()
                self._look()
                self._enforce()
                self._flush()
        except ConnectionError:
            return
        finally:
            self._kill_all()

    # -- messages

    def _receive(self) -> bool:
        """Take what has come; False when the agent is gone."""
        for _ in range(16):  # and then look after the dead again
            fds = array.array("i")
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    MAX_PACKET + 1024, socket.CMSG_LEN(MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return True
            for _, _, body in ancillary:
                fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
            if not data:
                return False
            self._handle(data, [lift(fd) for fd in fds])
        return True

    def _handle(self, data: bytes, fds: list[int]) -> None:
        try:
            kind, *rest = json.loads(data)
            if kind == "memfd":
                kind, *rest = _read_memfd(fds.pop())
            if kind == "start":
                self._start(fds, *rest)
            elif kind == "signal":
                self._signal(*rest)
            elif kind == "stop":
                self._stop(*rest)
            elif kind == "hold":
                self._hold(*rest)
            elif kind == "charge":
                self._charge(fds.pop(), *rest)
            elif kind == "lease":
                for key, term_at, kill_at in rest[0]:
                    if (run := self._runs.get(key)) is not None:
                        run.term_at, run.kill_at = term_at, _earliest(kill_at, run)
                    elif (charge := self._charges.get(key)) is not None:
                        charge.kill_at = kill_at  # asking it to end is its parent's to do
        finally:
            for fd in fds:
                os.close(fd)

    def _send(self, *message: object) -> None:
        self._outgoing.append(json.dumps(message).encode())

    def _flush(self) -> None:
        while self._outgoing:
            try:
                self._socket.send(self._outgoing[0])
            except BlockingIOError:  # a frozen agent: its answers wait, its leases do not
                self._poll.modify(self._socket.fileno(), select.POLLIN | select.POLLOUT)
                return
            self._outgoing.popleft()
            if not self._outgoing:
                self._poll.modify(self._socket.fileno(), select.POLLIN)

    # -- starting

    def _start(
        self,
        fds: list[int],
        key: str,
        mark: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        numbers: list[int],
        rlimits: list[tuple[int, int]],
        user: User | None,
        bounds: dict[str, float],
        use_groups: bool,
        ceiling: int | None,
    ) -> None:
        if key in self._runs:
            self._send("failed", key, "key", errno.EEXIST, "a run of this key is alive")
            return
        env[MARK] = f"{mark}/{key}"
        stage = "cwd"
        group = self._group(mark, bounds) if bounds and use_groups else None
        if PROCESSES in bounds and (group is None or CONTROLLER_OF[PROCESSES] not in group.holds):
            rlimits = [*rlimits, *room_for_forks(int(bounds[PROCESSES]))]
        began = time.monotonic()
        folder = -1
        try:
            folder = lift(opened_folder(cwd, user))
            stage = "exec"
            enter = None if group is None else group.enter
            pid = launch(argv, env, folder, list(zip(fds, numbers, strict=True)), rlimits, user, enter)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            code = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
            self._abandon(group)
            self._send("failed", key, stage, code, str(error))
            return
        finally:
            if folder >= 0:
                os.close(folder)
        if group is not None:
            group.close()
            if not group.has(pid):
                self._abandon(group)
                group = None
        run = Run(key, pid, began, Watch(bounds, group, began, ceiling))
        self._runs[key] = self._mains[pid] = self._owner[pid] = run
        self._send("started", key, pid, run.watch.held_by())

    def _group(self, mark: str, bounds: Mapping[str, float]) -> cgroups.Group | None:
        """A control group for a run; None where there can be none, and then all is done by looking."""
        if self._groups is None:
            family = {os.getpid(), os.getppid()}
            self._groups = cgroups.Groups(mark, cgroups.look(family=family), family)
        try:
            group = self._groups.make({CONTROLLER_OF[kind]: bound for kind, bound in bounds.items()})
        except OSError:
            return None
        return group if group.holds else None

    def _abandon(self, group: cgroups.Group | None) -> None:
        if group is not None and not group.remove():
            self._emptying.append(group)

    # -- charges

    def _charge(self, fd: int, key: str) -> None:
        if len(self._charges) >= self._most_charges or key in self._charges:
            os.close(fd)
            return
        self._charges[key] = self._charged[fd] = Charge(key, fd)
        self._poll.register(fd, select.POLLIN)

    def _discharge(self, charge: Charge) -> None:
        self._poll.unregister(charge.fd)
        del self._charges[charge.key], self._charged[charge.fd]
        os.close(charge.fd)

    # -- ending

    def _signal(self, key: str, number: int) -> None:
        run = self._runs.get(key)
        if run is not None:
            if number == signal.SIGKILL:
                self._kill(run)
            else:
                run.held = number == signal.SIGSTOP or (run.held and number != signal.SIGCONT)
                _signal_group(run.pid, number)

    def _hold(self, still: list[str], going: list[str]) -> None:
        """Stop all of these runs, or let them go on. What is being ended is not held any more."""
        for run in filter(None, map(self._runs.get, going)):
            self._end_hold(run)
        stopped = {run for run in filter(None, map(self._runs.get, still)) if run.term_sent is None}
        for run in stopped:
            run.held = True
            _signal_group(run.pid, signal.SIGSTOP)
        seen: set[int] = set()
        for _ in range(_STOP_ROUNDS if stopped else 0):  # what is not in the group may fork until it is stopped too
            fresh = {pid: run for pid, run in self._members().items() if run in stopped and pid not in seen}
            seen.update(fresh)
            elsewhere = [(pid, run) for pid, run in fresh.items() if _group_of(pid) not in (None, run.pid)]
            if not elsewhere:
                break
            for pid, run in elsewhere:
                run.scattered = True
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGSTOP)

    def _end_hold(self, run: Run) -> None:
        if not run.held:
            return
        run.held = False
        if run.scattered or run.watch.stopped:
            run.scattered = False
            self._let_go_on(run)
        else:
            _signal_group(run.pid, signal.SIGCONT)

    def _stop(self, key: str, kill_at: float) -> None:
        run = self._runs.get(key)
        if run is None:
            return
        run.kill_at = kill_at if run.kill_at is None else min(kill_at, run.kill_at)
        if boot_clock() < kill_at:
            self._terminate(run)
        else:  # no grace: a TERM would only make it look as if it had been asked
            run.term_sent = run.term_sent or set()
            self._kill(run)

    def _terminate(self, run: Run) -> None:
        """TERM to the group, once; strays get theirs as they show up."""
        if run.term_sent is None:
            run.term_sent = set()
            _signal_group(run.pid, signal.SIGTERM)
        self._end_hold(run)
        if run.watch.stopped:
            self._let_go_on(run)
        _signal_group(run.pid, signal.SIGCONT)  # a stopped process would take its TERM only after the grace

    def _kill(self, run: Run) -> None:
        if run.killed_at is None:
            run.killed_at = time.monotonic()
        _signal_group(run.pid, signal.SIGKILL)
        if run.watch.group is not None:
            run.watch.group.kill()
        if run.status is not None:
            self._closing.add(run.key)

    def _enforce(self) -> None:
        """Leases and graces that ran out, and what is left of ended runs."""
        now = boot_clock()
        for run in self._runs.values():
            if run.kill_at is not None and now >= run.kill_at and run.killed_at is None:
                run.lease_expired = run.lease_expired or run.term_sent is None
                self._kill(run)
            elif run.term_at is not None and now >= run.term_at and run.term_sent is None:
                run.lease_expired = True
                self._terminate(run)
        for charge in self._charges.values():
            if charge.kill_at is not None and now >= charge.kill_at:
                charge.kill_at = None  # once: it is forgotten when its end shows
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(charge.fd, signal.SIGKILL)
        self._emptying = [group for group in self._emptying if group.kill() or not group.remove()]
        if self._closing:
            self._find_strays(self._children.now())
            for key in list(self._closing):
                self._settle(self._runs[key])

    def _reap(self) -> None:
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            self._collect(dead.si_pid)

    def _collect(self, pid: int) -> None:
        """Reap one zombie, and give what it used to its run."""
        main = self._mains.get(pid)
        run = main or self._owner_of(pid)
        storage = storage_bytes(pid) if run is not None else (0, 0)
        if main is not None and main.term_sent is None:
            self._kill(main)  # ended by itself: what it left behind ends now
        _, status, usage = os.wait4(pid, 0)
        self._strays.pop(pid, None)
        self._silent.pop(pid, None)
        if run is not None:
            run.add(usage, storage)
        if main is not None:
            del self._mains[pid]
            main.status, main.ended = status, time.monotonic()
            self._closing.add(main.key)

    def _owner_of(self, pid: int) -> Run | None:
        with contextlib.suppress(ProcessLookupError):
            for number in (pid, os.getpgid(pid), os.getsid(pid)):
                if (run := self._owner.get(number)) is not None:
                    return run
        return None

    def _find_strays(self, children: Iterable[int]) -> None:
        """Note the adopted children that are in no run's group."""
        for pid in children:
            if pid in self._mains or (pid in self._strays and pid not in self._silent):
                continue
            try:
                group = os.getpgid(pid)
            except ProcessLookupError:
                continue
            if (leader := self._owner.get(group)) is not None and leader.pid == group:
                continue  # an orphan that stayed in its group dies with the group
            begun = not between_programs(pid)  # before the mark is read: what began since has one to show
            run = self._owner_of(pid)
            if run is None and (found := mark_of(pid)) is not None:
                run = self._runs.get(found[1])
            if run is not None:
                self._strays[pid] = {run.key}
                self._silent.pop(pid, None)
                run.numbers.add(pid)
                self._owner.setdefault(pid, run)
            else:
                self._strays.setdefault(pid, set(self._runs))
                self._ask_again(pid, begun)

    def _ask_again(self, pid: int, begun: bool) -> None:
        """A stray did not tell whose it is. At the next look it may, and later while no program has begun in it."""
        now = time.monotonic()
        until = self._silent.get(pid)
        if until is None:
            self._silent[pid] = now + _SILENT_SECONDS
        elif begun or now >= until:
            del self._silent[pid]

    def _settle(self, run: Run) -> None:
        """Push a run whose main process ended towards nothing left; report it when it is so."""
        killing = run.term_sent is None or run.killed_at is not None or run.kill_at is None
        mine = [pid for pid, owners in self._strays.items() if run.key in owners and len(owners) == 1]
        if mine and killing:
            self._end_trees(mine)
        else:
            for pid in mine:
                if run.term_sent is not None and pid not in run.term_sent:
                    run.term_sent.add(pid)
                    _signal_stray(pid, signal.SIGTERM)
        left = bool(mine) or _signal_group(run.pid, signal.SIGKILL if killing else 0)
        left = left or any(run.key in self._strays[pid] for pid in self._silent)
        if killing and run.watch.group is not None:
            left = run.watch.group.kill() or left
        over = run.killed_at is not None and time.monotonic() - max(run.killed_at, run.ended) > _GIVE_UP_SECONDS
        if not left or over:
            self._forget(run, survivors=left)

    def _forget(self, run: Run, *, survivors: bool) -> None:
        del self._runs[run.key]
        self._closing.discard(run.key)
        for number in run.numbers:
            if self._owner.get(number) is run:
                del self._owner[number]
        for pid, owners in list(self._strays.items()):
            owners.discard(run.key)
            if not owners:
                _signal_stray(pid, signal.SIGKILL)
        wall = run.ended - run.began
        watch = run.watch
        watch.notice()
        breach = None if watch.breach is None else (watch.breach.kind, watch.breach.limit, watch.breach.seen)
        self._send(
            "gone", run.key, run.status, run.user, run.system, max(run.peak, watch.peak), run.read, run.written, wall,
            run.lease_expired, survivors, breach, watch.throttled_seconds,
        )  # fmt: skip
        self._abandon(watch.group)

    # -- looking

    def _look(self) -> None:
        """See what the runs use whose look is due, and act on it."""
        now = time.monotonic()
        if all(run.watch.next_at > now for run in self._mains.values()):
            return
        family = self._family.look()
        own = os.getpid()
        self._find_strays(pid for pid, stat in family.items() if stat.parent == own)
        members: dict[str, dict[int, Stat]] = {}
        for pid, stat in family.items():
            run = self._run_of(top_of(pid, family, own), family)
            if run is not None:
                members.setdefault(run.key, {})[pid] = stat
        for run in list(self._mains.values()):
            if run.watch.next_at <= now + _TOGETHER_SECONDS:
                self._judge(run, members.get(run.key, {}), now)

    def _run_of(self, top: int, family: Mapping[int, Stat]) -> Run | None:
        """Whose a child of ours is."""
        if (main := self._mains.get(top)) is not None:
            return main
        owners = self._strays.get(top)
        if owners is not None:
            return self._runs.get(next(iter(owners))) if len(owners) == 1 else None
        return self._owner.get(family[top].group)

    def _judge(self, run: Run, members: Mapping[int, Stat], now: float) -> None:
        watch = run.watch
        known = watch.breach
        watch.look(members, run.user + run.system, now, paused=run.held)
        if watch.breach is not None and known is None:
            self._end_greedy(run, members)
        elif run.held or run.term_sent is not None:
            return
        elif watch.must_stop != watch.stopped:
            watch.stopped = watch.must_stop
            self._tell(run, members, signal.SIGSTOP if watch.stopped else signal.SIGCONT)

    def _end_greedy(self, run: Run, members: Mapping[int, Stat]) -> None:
        """It took more than it may. Many processes are stopped before they are killed: else they fork on."""
        self._kill(run)
        left = [pid for pid, stat in members.items() if stat.group != run.pid]  # the others the group's end has reached
        if left:
            self._end_trees(left)

    def _let_go_on(self, run: Run) -> None:
        run.watch.stopped = False
        self._tell(run, [pid for pid, owner in self._members().items() if owner is run], signal.SIGCONT)

    def _members(self) -> dict[int, Run]:
        """Every process of every run, as it is now."""
        family, own = self._family.look(), os.getpid()
        self._find_strays(pid for pid, stat in family.items() if stat.parent == own)
        found = ((pid, self._run_of(top_of(pid, family, own), family)) for pid in family)
        return {pid: run for pid, run in found if run is not None}

    def _tell(self, run: Run, members: Iterable[int], number: int) -> None:
        """A signal to all of it, wherever it went."""
        _signal_group(run.pid, number)
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) != run.pid:
                    os.kill(pid, number)

    def _end_trees(self, roots: Iterable[int]) -> None:
        """Kill processes with all their descendants. Stopped first, for what is stopped forks no more."""
        stopped: set[int] = set()
        fresh = set(roots)
        for _ in range(_STOP_ROUNDS):
            for pid in fresh:
                _signal_stray(pid, signal.SIGSTOP)
            stopped |= fresh
            family = self._family.look()
            fresh = {pid for pid in family if pid not in stopped and _descends(pid, stopped, family)}
            if not fresh:
                break
        for pid in stopped | fresh:
            _signal_stray(pid, signal.SIGKILL)

    def _timeout(self) -> float | None:
        """Milliseconds until something is due."""
        wait: float | None = _LOOK_SECONDS if self._closing or self._emptying else None
        if self._mains:
            left = max(0.0, min(run.watch.next_at for run in self._mains.values()) - time.monotonic())
            wait = left if wait is None else min(wait, left)
        now = boot_clock()
        for charge in self._charges.values():
            if charge.kill_at is not None:
                left = max(0.0, min(_LEASE_LOOK_SECONDS, charge.kill_at - now))
                wait = left if wait is None else min(wait, left)
        for run in self._runs.values():
            due = [
                at
                for at, done in ((run.term_at, run.term_sent is not None), (run.kill_at, run.killed_at is not None))
                if at is not None and not done
            ]
            if due:
                left = max(0.0, min(_LEASE_LOOK_SECONDS, min(due) - now))
                wait = left if wait is None else min(wait, left)
        return None if wait is None else wait * 1000 + 1

    def _kill_all(self) -> None:
        """Kill every descendant and reap it. Each death may give us the next generation."""
        for run in self._runs.values():
            _signal_group(run.pid, signal.SIGKILL)
        deadline = time.monotonic() + _LAST_KILL_SECONDS
        while time.monotonic() < deadline:
            self._end_trees(self._children.now())
            for run in self._runs.values():
                if run.watch.group is not None:
                    run.watch.group.kill()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            select.select([self._wake], [], [], 0.02)
            _drain(self._wake)
        for group in [*self._emptying, *(run.watch.group for run in self._runs.values())]:
            if group is not None:
                group.remove()
        if self._groups is not None:
            self._groups.remove()


def _descends(pid: int, roots: set[int], family: Mapping[int, Stat]) -> bool:
    while pid in family and pid not in roots:
        pid = family[pid].parent
    return pid in roots


def _earliest(kill_at: float | None, run: Run) -> float | None:
    """A renewed lease does not lengthen the grace of a run that is being stopped."""
    if run.term_sent is None or run.kill_at is None:
        return kill_at
    return run.kill_at if kill_at is None else min(kill_at, run.kill_at)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _signal_group(group: int, number: int) -> bool:
    """Signal a group; False when nobody is in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_stray(pid: int, number: int) -> None:
    """Signal a child of ours, and its group if it leads one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _read_memfd(fd: int) -> Any:
    with open(fd, "rb") as file:  # closes it
        file.seek(0)
        return json.loads(file.read())


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while len(os.read(fd, 4096)) == 4096:
            pass


def _take_over_signals() -> None:
    """Only the socket ends a keeper; and what it starts begins with the default of every signal.

    Handlers, not SIG_IGN: an ignored signal stays ignored through exec, a handled one does not.
    """

    def nothing(number: int, frame: object) -> None:
        """Wakes the loop through the wake-up descriptor."""

    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGPIPE:
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                   signal.SIGUSR2, signal.SIGALRM):  # fmt: skip
        signal.signal(number, nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _run_before_others() -> None:
    """Where we may, and where nobody chose otherwise for the agent: what we start gets the priority of everybody, not
    the one that its agent was given.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, 0) == 0:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def main() -> None:
    """Take the inherited descriptors and serve."""
    _take_over_signals()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"keeper: cannot adopt orphans: {os.strerror(ctypes.get_errno())}")
    libc.prctl(_PR_SET_NAME, b"pawl-keeper", 0, 0, 0)
    _run_before_others()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * OWN_FDS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * OWN_FDS, hard), hard))
    descriptors = [lift(int(number)) for number in sys.argv[1:]]  # the second is the lock: held, never used
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(False)
    with connection:
        Keeper(connection).run()


if __name__ == "__main__":
    main()
