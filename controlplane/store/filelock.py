"""The exclusive lock beside a SQLite file: one server per file, and a second one is told who has it."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from pathlib import Path

from controlplane.domain.errors import Unavailable

# Locks on these do not reach the other machine, and neither does SQLite's own.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "afs"}
)

MOUNTS = Path("/proc/mounts")


class FileLock:
    """Held by an open descriptor, so it goes with the process however that ends."""

    def __init__(self, path: Path, mounts: Path = MOUNTS) -> None:
        self._path = path
        self._mounts = mounts
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises Unavailable naming the holder, or the file system if it cannot carry a lock."""
        kind = file_system(self._path.parent, self._mounts)
        if kind in NETWORK_FILE_SYSTEMS:
            raise Unavailable(
                f"{self._path.parent} is on {kind}: SQLite needs a local file system; use PostgreSQL there"
            )
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(descriptor)
            database = str(self._path).removesuffix(".lock")
            raise Unavailable(
                f"{database} is in use by {holder}; stop that server, or give this one another --database"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the file go. Calling it twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds this path; empty where the system does not tell."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return file_system_in(table, str(path.resolve()))


def file_system_in(mounts: str, path: str) -> str:
    """The same from a table of mounts: the deepest mount point wins, of several on one point the newest."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind
