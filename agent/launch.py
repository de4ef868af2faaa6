"""How the keeper starts a process: descriptors on their numbers, limits from the first moment, a folder and a user.

`launch` returns when the program has begun or could not. Light standard modules only, for the keeper's sake.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence

MAX_CHILD_FD = 99
OWN_FDS = 200  # the keeper's live above, so that a child's descriptor may be put on its number before the start
_ROOM_FOR_FORKS = 4096  # more threads than the machine has now: a bomb that outgrows our looks ends there
_INHERITED_FLOOR = {resource.RLIMIT_DATA: 256 << 20, resource.RLIMIT_AS: 1 << 30, resource.RLIMIT_NOFILE: 64}

User = tuple[int, int, list[int]]
"""The numbers of a user, its group, and further groups."""


def launch(
    argv: list[str],
    env: dict[str, str],
    folder: int,
    fds: Sequence[tuple[int, int]],
    rlimits: Sequence[tuple[int, int]],
    user: User | None,
    enter: Callable[[], None] | None,
) -> int:
    """Start a program in a session of its own; its pid. `fds`: (ours, its number). `enter` runs between fork and exec.

    Raises OSError, ValueError and SubprocessError.
    """
    standard = [subprocess.DEVNULL] * 3
    for fd, number in fds:
        if number < 3:
            standard[number] = fd
    uid, gid, groups = user if user is not None else (None, None, None)
    with _placed(fds), _soft_limits(rlimits):
        process = subprocess.Popen(
            argv,
            preexec_fn=enter,  # noqa: PLW1509 - it writes to open files, and we have no threads
            env=env,
            cwd=f"/proc/self/fd/{folder}",
            stdin=standard[0],
            stdout=standard[1],
            stderr=standard[2],
            pass_fds=[number for _, number in fds if number >= 3],
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=groups,
        )
    process.returncode = 0  # reaped by the keeper's loop: keeps the object from waiting for the pid when it is dropped
    for which, value in rlimits:
        with contextlib.suppress(OSError):  # it may have ended already
            hard = resource.prlimit(process.pid, which)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(process.pid, which, (most, most))
    return process.pid


def opened_folder(path: str, user: User | None) -> int:
    """The working folder, entered with no more rights than whoever runs in it: the start itself enters it as we may."""
    inside = f"{path}/."  # opening a folder proves no right to enter it, opening something in it does
    if user is None:
        return os.open(inside, os.O_PATH | os.O_DIRECTORY)
    groups = os.getgroups()
    try:
        os.setgroups(user[2])
        os.setegid(user[1])
        os.seteuid(user[0])
        return os.open(inside, os.O_PATH | os.O_DIRECTORY)
    finally:
        os.seteuid(os.getuid())
        os.setegid(os.getgid())
        os.setgroups(groups)


def room_for_forks(processes: int) -> list[tuple[int, int]]:
    """A backstop for a limit that is held by looking. It counts all that the user has, so it can only be a wide one;
    root is not held by it at all.
    """
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            threads = int(file.read().split()[3].partition(b"/")[2])
    except (OSError, IndexError, ValueError):
        return []
    return [(resource.RLIMIT_NPROC, threads + processes + _ROOM_FOR_FORKS)]


def lift(fd: int) -> int:
    """Move a descriptor out of the numbers that children use."""
    lifted = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OWN_FDS)
    os.close(fd)
    return lifted


@contextlib.contextmanager
def _placed(fds: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Have the descriptors on the numbers that the child shall know them by."""
    if any(not 0 <= number <= MAX_CHILD_FD for _, number in fds):
        raise ValueError(f"a child's descriptors are numbered 0 to {MAX_CHILD_FD}")
    placed = [(fd, number) for fd, number in fds if number >= 3]
    try:
        for fd, number in placed:
            os.dup2(fd, number, inheritable=False)
        yield
    finally:
        for _, number in placed:
            with contextlib.suppress(OSError):
                os.close(number)


@contextlib.contextmanager
def _soft_limits(rlimits: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Lower our own soft limits during the start, so that the child never runs a moment without its own.

    Neither a wrapper (a millisecond) nor a fork hook is needed. Limits that would hinder ourselves are left out here,
    they reach the child a moment after its start; the hard limits always do.
    """
    before = []
    try:
        for which, value in rlimits:
            soft, hard = resource.getrlimit(which)
            fits = hard == resource.RLIM_INFINITY or value <= hard
            if fits and value >= _INHERITED_FLOOR.get(which, 0):
                resource.setrlimit(which, (value, hard))
                before.append((which, soft, hard))
        yield
    finally:
        for which, soft, hard in before:
            resource.setrlimit(which, (soft, hard))
