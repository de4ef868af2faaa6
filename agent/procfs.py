"""What Linux tells about processes: children, marks, storage traffic, the boot clock.

Used by the keeper and its client, therefore it imports the standard library's light parts only. It reads and never
signals: who may be killed is the keeper's decision.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

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


def between_programs(pid: int) -> bool:
    """Whether it is in the middle of exec, or has ended: it has no command line then, and no environment either."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return not file.read(1)
    except OSError:
        return True


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


class Stat(NamedTuple):
    """What the system tells of one process at a time: seconds of processor with those of the children it waited for,
    threads, and bytes of memory that are resident, shared ones counted in full.
    """

    parent: int
    group: int
    session: int
    cpu_seconds: float
    threads: int
    resident: int


_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def stat_of(pid: int) -> Stat | None:
    """None when there is no such process, or none that may be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    fields = data[data.rindex(b")") + 2 :].split(None, 22)
    if len(fields) < 22:
        return None
    _, parent, group, session = fields[:4]
    ticks = sum(map(int, fields[11:15]))
    return Stat(int(parent), int(group), int(session), ticks / _TICKS, int(fields[17]), int(fields[21]) * _PAGE)


def proportional_bytes(pid: int) -> int | None:
    """Resident memory with what is shared divided among those who share it; slow for large processes. None: unknown."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            for line in file.read().splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return None


class Family:
    """All descendants of this process, which has to be a subreaper: none of them then ever leaves the family, and
    whoever was once found to be no member can never become one. That is remembered for a while, since numbers are used
    anew.
    """

    _FOREIGN_SECONDS = 5.0

    def __init__(self) -> None:
        self._own = os.getpid()
        self._foreign: set[int] = set()
        self._foreign_until = 0.0

    def look(self) -> dict[int, Stat]:
        """Them, as they are now."""
        now = time.monotonic()
        if now >= self._foreign_until:
            self._foreign.clear()
            self._foreign_until = now + self._FOREIGN_SECONDS
        seen: dict[int, Stat] = {}
        for pid in pids():
            if pid != self._own and pid not in self._foreign and (stat := stat_of(pid)) is not None:
                seen[pid] = stat
        return {pid: stat for pid, stat in seen.items() if self._is_member(pid, seen)}

    def _is_member(self, pid: int, seen: dict[int, Stat]) -> bool:
        path = []
        while pid in seen:
            path.append(pid)
            pid = seen[pid].parent
            if pid == self._own:
                return True
            if pid <= 1 or pid in self._foreign:
                self._foreign.update(path)
                return False
        return False  # a parent ended while we looked: the next look tells


def top_of(pid: int, family: dict[int, Stat], own: int) -> int:
    """The member that it descends from, or is, whose parent is `own`."""
    while (parent := family[pid].parent) != own and parent in family:
        pid = parent
    return pid


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
