"""What Linux tells about processes: children, marks, storage traffic, the boot clock.

Used by the keeper and its client, therefore it imports the standard library's light parts only. It reads and never
signals: who may be killed is the keeper's decision.
"""

from __future__ import annotations

import os
import time

MARK = "PAWL_KEEPER"
"""The variable that every process started by a keeper carries: `<mark of the keeper>/<key of the run>`.

A descendant inherits it whatever group, session or parent it moves to. It is how a stray is given back to its run, and
how the next agent finds what is left when agent and keeper died in the same moment.
"""


def boot_clock() -> float:
    """Seconds since boot, suspended time included: a lease runs on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def mark_of(pid: int) -> tuple[str, str] | None:
    """The keeper's mark and the run's key that a process carries; None where it has none or hides it."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            environ = file.read()
    except OSError:
        return None
    prefix = f"{MARK}=".encode()
    for entry in environ.split(b"\0"):
        if entry.startswith(prefix):
            mark, _, key = entry[len(prefix) :].decode("utf-8", "replace").partition("/")
            return mark, key
    return None


def marked(mark: str) -> list[int]:
    """Every process that carries this keeper's mark, but the caller."""
    own = os.getpid()
    return [pid for pid in pids() if pid != own and (found := mark_of(pid)) is not None and found[0] == mark]


def pids() -> list[int]:
    """All processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent_of(pid: int) -> int | None:
    """The parent's pid; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read()
    except OSError:
        return None
    # The name in parentheses may itself hold blanks and parentheses: only the last one closes it.
    return int(stat[stat.rindex(b")") + 2 :].split(None, 2)[1])


def storage_bytes(pid: int) -> tuple[int, int]:
    """Bytes read from and written to storage by the process and its waited-for children; zeros where unknown."""
    try:
        with open(f"/proc/{pid}/io", "rb", buffering=0) as file:
            lines = file.read().splitlines()
        values = dict(line.split(b": ", 1) for line in lines)
        return int(values[b"read_bytes"]), int(values[b"write_bytes"])
    except (OSError, KeyError, ValueError):
        return 0, 0


class Children:
    """The children of this process, the adopted ones included.

    The kernel lists them in one small file, but only when it was built with CONFIG_PROC_CHILDREN. Elsewhere all of
    /proc is walked. Processes that once were found to be no descendants of ours can never become any, so they are
    remembered and not read again; the memory is dropped now and then because numbers are used anew.
    """

    _FOREIGN_SECONDS = 5.0

    def __init__(self) -> None:
        self._own = os.getpid()
        listing = f"/proc/self/task/{self._own}/children"
        self._listing: str | None = listing if os.path.exists(listing) else None
        self._foreign: set[int] = set()
        self._foreign_until = 0.0

    def now(self) -> list[int]:
        """Their pids at this moment."""
        if self._listing is None:
            return self._walk()
        with open(self._listing, "rb", buffering=0) as file:
            chunks = []
            while chunk := file.read(65536):
                chunks.append(chunk)
        return [int(pid) for pid in b"".join(chunks).split()]

    def _walk(self) -> list[int]:
        now = time.monotonic()
        if now >= self._foreign_until:
            self._foreign.clear()
            self._foreign_until = now + self._FOREIGN_SECONDS
        found = []
        foreign = self._foreign
        for pid in pids():
            if pid in foreign or pid == self._own:
                continue
            parent = parent_of(pid)
            if parent == self._own:
                found.append(pid)
            elif parent is not None and (parent <= 1 or parent in foreign):
                foreign.add(pid)
        return found
