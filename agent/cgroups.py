"""Control groups: what of them this process may use, and one for each run that is to be bounded by them.

Version 2 and version 1 look the same from outside: a `Group` is made with bounds, a process enters it before its
program runs, the group says what became of it, kills all that is in it, and is removed. A controller that cannot be had
is named with the reason; nothing here falls back on anything, that is for whoever asked.

    <base of the controller>/pawl-<mark of the keeper>/<number of the run>

The base is the group that this process lives in. Version 2 wants processes at the leaves only, so the agent and its
keeper first move to `<base>/pawl-agent`; where others live in the same group that is not ours to do, and then nothing
of it can be had. Used by the keeper and its client, therefore it imports the standard library's light parts only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MEMORY, CPU, PIDS = "memory", "cpu", "pids"
CONTROLLERS = (MEMORY, CPU, PIDS)
PERIOD_MICROSECONDS = 100_000
_LEAST_QUOTA = 1_000
_LEAF = "pawl-agent"
_KILL_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree of groups, and the folder in it under which ours are made."""

    version: int
    base: str


@dataclass(slots=True)
class Found:
    """What can be had: a tree for each controller, and one whose groups can be killed at a stroke. `problems` says of
    every controller that is missing why it is.
    """

    trees: dict[str, Hierarchy] = field(default_factory=dict)
    killing: Hierarchy | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def says(self, controller: str) -> str:
        """Who enforces it, in words: `control group, version 1`; empty when nobody does."""
        tree = self.trees.get(controller)
        return "" if tree is None else f"control group, version {tree.version}"


def look(root: str = "/", family: Iterable[int] = ()) -> Found:
    """What this process could use, with nothing changed but a folder made and removed. `family`: processes that may be
    moved, beside this one. `root` is where `proc` and `sys` are looked for.
    """
    found = Found()
    mounts, paths = _mounts(root), _paths(root)
    for controller in CONTROLLERS:
        problem = f"the system offers no controller {controller}"
        if controller in paths:
            base, problem = _base(root, mounts.get(controller), paths[controller], controller)
            if base is not None:
                found.trees[controller] = Hierarchy(1, base)
        elif "" in paths:
            base, problem = _base(root, mounts.get(""), paths[""], "version 2")
            if base is not None:
                problem = _problem_of_v2(base, controller, {os.getpid(), *family})
                if not problem:
                    found.trees[controller] = Hierarchy(2, base)
        if controller not in found.trees:
            found.problems[controller] = problem
    if PIDS in found.trees and found.trees[PIDS].version == 1 and "" in paths:
        # Version 2 beside it, without controllers of ours: processes may live anywhere in it.
        base, _ = _base(root, mounts.get(""), paths[""], "version 2")
        if base is not None and not set(_read(f"{base}/cgroup.subtree_control").split()) & set(CONTROLLERS):
            found.killing = Hierarchy(2, base)
    return found


class Groups:
    """The groups of one keeper."""

    def __init__(self, mark: str, found: Found, family: Iterable[int] = ()) -> None:
        """Makes the trees ready; what refuses goes to `found.problems`."""
        self._folder = f"pawl-{mark}"
        self._numbers = 0
        self.found = found
        for controller, tree in list(found.trees.items()):
            try:
                self._prepare(tree, controller, {os.getpid(), *family})
            except OSError as error:
                del found.trees[controller]
                found.problems[controller] = f"{tree.base}: {error.strerror}"
        if found.killing is not None:
            try:
                os.makedirs(f"{found.killing.base}/{self._folder}", exist_ok=True)
            except OSError:
                found.killing = None

    def _prepare(self, tree: Hierarchy, controller: str, family: set[int]) -> None:
        folder = f"{tree.base}/{self._folder}"
        if tree.version == 2:
            enabled = f"{tree.base}/cgroup.subtree_control"
            if controller not in _read(enabled).split():
                if not _is_top(tree.base):
                    os.makedirs(f"{tree.base}/{_LEAF}", exist_ok=True)
                    for pid in family & set(_pids(tree.base)):
                        _write(f"{tree.base}/{_LEAF}/cgroup.procs", str(pid))
                _write(enabled, f"+{controller}")
            os.makedirs(folder, exist_ok=True)
            _write(f"{folder}/cgroup.subtree_control", f"+{controller}")
        else:
            os.makedirs(folder, exist_ok=True)

    def make(self, bounds: Mapping[str, float]) -> Group:
        """A group with these bounds: bytes of memory, cores, and how many processes and threads. Those whose controller
        cannot be had are left out (`Group.holds`). OSError when not even the folder can be made.
        """
        self._numbers += 1
        name = f"{self._folder}/{self._numbers}"
        group = Group()
        try:
            for controller, value in bounds.items():
                tree = self.found.trees.get(controller)
                if tree is not None:
                    path = group.add(controller, Hierarchy(tree.version, f"{tree.base}/{name}"))
                    _set_bound(path, tree.version, controller, value)
            pids = group.paths.get(PIDS)
            if pids is not None and pids.version == 1 and (tree := self.found.killing) is not None:
                group.add("", Hierarchy(2, f"{tree.base}/{name}"))  # a bomb is ended at a stroke or not at all
            group.open()
        except BaseException:
            group.remove()
            raise
        return group

    def remove(self) -> None:
        """Remove the folders. Those of runs have to be gone."""
        trees = [*self.found.trees.values(), *([self.found.killing] if self.found.killing is not None else [])]
        for base in {tree.base for tree in trees}:
            with contextlib.suppress(OSError):
                os.rmdir(f"{base}/{self._folder}")


class Group:
    """What one run lives in: a folder in each of the trees that bound it."""

    def __init__(self) -> None:
        self.paths: dict[str, Hierarchy] = {}
        self._doors: list[int] = []

    @property
    def holds(self) -> frozenset[str]:
        """The controllers that it has."""
        return frozenset(self.paths) - {""}

    def add(self, controller: str, folder: Hierarchy) -> str:
        """Make its folder in one more tree; version 2 has one for all controllers."""
        if folder.base not in {known.base for known in self.paths.values()}:
            os.mkdir(folder.base)
        self.paths[controller] = folder
        return folder.base

    def open(self) -> None:
        """Open the doors while we may: whoever enters may be somebody else by then."""
        for base in sorted({folder.base for folder in self.paths.values()}):
            self._doors.append(os.open(f"{base}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))

    def enter(self) -> None:
        """Move the calling process in. It runs between fork and exec, so it neither fails nor logs; see `has`."""
        for door in self._doors:
            try:
                os.write(door, b"0")
            except OSError:
                return

    def close(self) -> None:
        """Close the doors."""
        while self._doors:
            os.close(self._doors.pop())

    def has(self, pid: int) -> bool:
        """Whether the process is in all of it, or has ended."""
        return all(pid in _pids(folder.base) for folder in self.paths.values()) or not os.path.exists(f"/proc/{pid}")

    def memory_kills(self) -> int:
        """How many processes the system has killed here because memory ran out."""
        folder = self.paths.get(MEMORY)
        if folder is None:
            return 0
        return _number(folder.base, "memory.events" if folder.version == 2 else "memory.oom_control", "oom_kill")

    def refused_processes(self) -> int:
        """How many forks were refused because there were too many."""
        folder = self.paths.get(PIDS)
        return 0 if folder is None else _number(folder.base, "pids.events", "max")

    def throttled_seconds(self) -> float:
        """How long it was kept from the processor, added up over its threads."""
        folder = self.paths.get(CPU)
        if folder is None:
            return 0.0
        if folder.version == 2:
            return _number(folder.base, "cpu.stat", "throttled_usec") / 1e6
        return _number(folder.base, "cpu.stat", "throttled_time") / 1e9

    def peak_memory(self) -> int:
        """The most memory that was charged to it, files it read or wrote included."""
        folder = self.paths.get(MEMORY)
        if folder is None:
            return 0
        text = _read(f"{folder.base}/{'memory.peak' if folder.version == 2 else 'memory.max_usage_in_bytes'}")
        return int(text) if text.isdigit() else 0

    def kill(self) -> bool:
        """Kill all that is in it; whether anything was."""
        left: set[int] = set()
        for base in {folder.base for folder in self.paths.values()}:
            inside = _pids(base)
            left.update(inside)
            if not inside:
                continue
            with contextlib.suppress(OSError):
                _write(f"{base}/cgroup.kill", "1")
            for pid in inside:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        return bool(left)

    def remove(self) -> bool:
        """Remove its folders; False while something is left in one."""
        self.close()
        clean = True
        for base in {folder.base for folder in self.paths.values()}:
            try:
                os.rmdir(base)
            except FileNotFoundError:
                pass
            except OSError:
                clean = False
        return clean


def end_leftovers(mark: str, root: str = "/") -> None:
    """Kill what is left in the groups of a keeper that is gone, and remove them."""
    for base in _bases(root):
        folder = f"{base}/pawl-{mark}"
        if not os.path.isdir(folder):
            continue
        for _ in range(_KILL_ROUNDS):
            names = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
            groups = [_leftover(path) for path in names]
            living = [group for group in groups if group.kill()]
            if not living:
                for group in groups:
                    group.remove()
                break
            time.sleep(0.01)  # the dead leave a group a moment after they were killed
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _leftover(path: str) -> Group:
    group = Group()
    group.paths[""] = Hierarchy(2, path)
    return group


def _bases(root: str) -> set[str]:
    """Every folder under which a process like this one has made groups, or could have."""
    mounts, paths = _mounts(root), _paths(root)
    found = set()
    for controller, path in paths.items():
        base, _ = _base(root, mounts.get(controller), path, controller, check=False)
        if base is not None:
            found.add(base)
    return found


def _mounts(root: str) -> dict[str, tuple[str, str]]:
    """Controller ('' for version 2) to (what part of the tree is mounted, where)."""
    found: dict[str, tuple[str, str]] = {}
    for line in _read(f"{root}proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3 or not kind[0].startswith("cgroup"):
            continue
        place = fields[3], fields[4]
        if kind[0] == "cgroup2":
            found.setdefault("", place)
        else:
            for option in kind[2].split(","):
                found.setdefault(option, place)
    return found


def _paths(root: str) -> dict[str, str]:
    """Controller ('' for version 2) to the group that this process is in."""
    found: dict[str, str] = {}
    for line in _read(f"{root}proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in ("", *CONTROLLERS):
                found[controller] = path
    return found


def _base(
    root: str, mount: tuple[str, str] | None, path: str, what: str, *, check: bool = True
) -> tuple[str | None, str]:
    """The folder of the group that a process is in, or why there is none that we may use."""
    if mount is None:
        return None, f"the tree of {what} is not mounted"
    part, where = mount
    if part != "/" and path.startswith(f"{part}/"):
        path = path[len(part) :]
    elif part == path:
        path = "/"
    elif part != "/":
        return None, f"this process's group is outside of what is mounted for {what}"
    if os.path.basename(path) == _LEAF:
        path = os.path.dirname(path)
    base = (root.rstrip("/") + where + path).rstrip("/")
    if check and not os.access(base, os.W_OK):
        return None, f"{base} may not be written by this user"
    return base, ""


def _problem_of_v2(base: str, controller: str, family: set[int]) -> str:
    """Why a controller of version 2 cannot be handed on to groups below; empty when it can."""
    if controller not in _read(f"{base}/cgroup.controllers").split():
        return f"{base} was not given the controller {controller}"
    if controller in _read(f"{base}/cgroup.subtree_control").split():
        return ""
    if not os.access(f"{base}/cgroup.subtree_control", os.W_OK) or not os.access(f"{base}/cgroup.procs", os.W_OK):
        return f"{base} was not delegated to this user (systemd: Delegate=yes)"
    if not _is_top(base) and set(_pids(base)) - family:
        return f"other processes live in {base}; the agent needs a group of its own (systemd: Delegate=yes)"
    return ""


def _is_top(base: str) -> bool:
    """Whether it is the machine's topmost group, which alone may hold processes beside groups."""
    return not os.path.exists(f"{base}/cgroup.type")


def _set_bound(path: str, version: int, controller: str, value: float) -> None:
    if controller == MEMORY:
        _write(f"{path}/{'memory.max' if version == 2 else 'memory.limit_in_bytes'}", str(int(value)))
        with contextlib.suppress(OSError):  # swap is memory too, where the system counts it
            if version == 2:
                _write(f"{path}/memory.swap.max", "0")
            else:
                _write(f"{path}/memory.memsw.limit_in_bytes", str(int(value)))
        if version == 2:
            with contextlib.suppress(OSError):
                _write(f"{path}/memory.oom.group", "1")
    elif controller == CPU:
        quota = max(_LEAST_QUOTA, round(value * PERIOD_MICROSECONDS))
        if version == 2:
            _write(f"{path}/cpu.max", f"{quota} {PERIOD_MICROSECONDS}")
        else:
            _write(f"{path}/cpu.cfs_period_us", str(PERIOD_MICROSECONDS))
            _write(f"{path}/cpu.cfs_quota_us", str(quota))
    else:
        _write(f"{path}/pids.max", str(int(value)))


def _pids(base: str) -> list[int]:
    return [int(line) for line in _read(f"{base}/cgroup.procs").split() if line != "0"]


def _number(base: str, file: str, name: str) -> int:
    for line in _read(f"{base}/{file}").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            chunks = []
            while chunk := file.read(65536):
                chunks.append(chunk)
        return b"".join(chunks).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
