"""The agent's folder: one agent at a time, and one identity that outlives restarts.

The lock is an flock on a file inside. The keeper inherits the open file, so the lock is free only when the agent *and*
its keeper are gone: an agent that starts anew on the folder never overtakes the kills of the old keeper. It is advisory
and made for a local file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.02
_DYING_SECONDS = 0.5  # a killed agent is seen alive until the system has taken it apart


class StateDirError(Exception):
    """The state folder cannot be used; the message says which one and why."""


class StateDirHeld(StateDirError):
    """Another agent works on the state folder."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"the agent with pid {pid}" if pid else "another agent"
        super().__init__(f"state folder {path} is held by {holder}: stop it, or give this agent a folder of its own")
        self.pid = pid


@dataclass(slots=True)
class StateDir:
    """An opened state folder. `lock_fd` is handed to the keeper."""

    path: Path
    lock_fd: int
    state_id: str
    generation: int

    @property
    def spool(self) -> Path:
        """Where finished results wait."""
        return self.path / "spool"

    @property
    def work(self) -> Path:
        """Where the tasks' own folders are made unless the settings say otherwise."""
        return self.path / "work"

    def close(self) -> None:
        """Give the folder back. It stays locked for as long as a keeper still holds the inherited file."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


def open_state_dir(path: str | Path, wait_seconds: float = 15.0) -> StateDir:
    """Take the folder: make it when it is missing, lock it, count this start.

    A folder whose agent lives is refused within a moment (StateDirHeld). One whose agent is dead but whose keeper still
    ends that agent's work is waited for.
    """
    folder = Path(path).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateDirError(f"state folder {folder} cannot be used: {error.strerror}") from error
    try:
        _lock(folder, lock_fd, wait_seconds)
        state_id, generation = _count_start(folder)
        _write_holder(lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise
    return StateDir(folder, lock_fd, state_id, generation)


def _lock(folder: Path, lock_fd: int, wait_seconds: float) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _living_holder(lock_fd)
            waited = time.monotonic() - began
            if waited >= (wait_seconds if pid is None else min(_DYING_SECONDS, wait_seconds)):
                raise StateDirHeld(folder, pid) from None
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise StateDirError(f"state folder {folder} cannot be locked: {error.strerror}") from error
        else:
            return


def _started_at(pid: int) -> str | None:
    """When a process began, in clock ticks since boot: with the pid it names one process and no later one."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            stat = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = stat[0], stat[19]
    return None if state in "ZX" else started


def _living_holder(lock_fd: int) -> int | None:
    """The agent that holds the lock, unless it is dead and only its keeper is left."""
    try:
        holder = json.loads(os.pread(lock_fd, 4096, 0))
        pid, started = int(holder["pid"]), str(holder["started"])
    except (ValueError, KeyError, TypeError):
        return None  # taken a moment ago and not yet signed, or signed by a hand: the deadline decides
    return pid if _started_at(pid) == started else None


def _write_holder(lock_fd: int) -> None:
    pid = os.getpid()
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, json.dumps({"pid": pid, "started": _started_at(pid)}).encode(), 0)


def _count_start(folder: Path) -> tuple[str, int]:
    """The folder's identity, and the number of this start, written before anybody learns it."""
    identity = folder / "identity.json"
    state_id, generation = str(uuid.uuid4()), 0
    try:
        stored = json.loads(identity.read_bytes())
        state_id, generation = str(uuid.UUID(stored["state_id"])), int(stored["generation"])
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateDirError(
            f"{identity} is damaged ({error}): remove it to give this agent a new identity; its control plane then"
            " treats what the agent ran before as lost once the lease is over"
        ) from error
    except OSError as error:
        raise StateDirError(f"{identity} cannot be read: {error.strerror}") from error
    generation += 1
    _replace(identity, json.dumps({"state_id": state_id, "generation": generation}).encode())
    return state_id, generation


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that after a crash it holds the old bytes or the new ones, never a part."""
    new = path.with_suffix(".new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(new, path)
        folder_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder_fd)
        finally:
            os.close(folder_fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise StateDirError(f"{path} cannot be written: {error.strerror}") from error
