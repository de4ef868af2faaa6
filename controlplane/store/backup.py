"""A copy of a SQLite store, made while its server runs: all its files as they were at one instant, and a manifest.

Theory of operation. The two databases are copied from read transactions, which see one state however long the copying
takes and hold up nobody. Log lines are written after the instance that they belong to, so both transactions must begin
at the same instant, or the copy would hold lines of instances that it does not know: for as long as it takes to begin
them (not to copy) the writer of the logs is kept waiting.

A backup is a folder, or an archive of one where its name ends in .tar, .tar.gz or .tgz. It is made under another name
beside and appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from controlplane.domain.errors import AlreadyExists, Unavailable
from controlplane.store import migrations
from controlplane.store.files import StoreFiles, sync_file, sync_folder

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ROLES: Final = ("main", "logs")
PAGES_AT_ONCE: Final = 1024
LOCK_SECONDS: Final = 30.0
READ_BYTES: Final = 1 << 20

Progress = Callable[[int, int], None]
"""Bytes copied so far, and of how many."""


class BackedUpFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    role: str
    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    format: int
    pawl_version: str
    schema_revision: int
    taken_at: str
    taken_at_micros: int
    files: tuple[BackedUpFile, ...]


def is_archive(target: Path) -> bool:
    """Whether a backup of this name is one file."""
    return target.name.endswith((".tar", ".tar.gz", ".tgz"))


def back_up(
    files: StoreFiles, target: Path, *, version: str, taken_at: tuple[str, int], progress: Progress
) -> Manifest:
    """Copy the store to `target`. Raises AlreadyExists if that is there, Unavailable for what keeps it from copying."""
    if os.path.lexists(target):
        raise AlreadyExists(f"{target} exists already; a backup overwrites nothing")
    if not files.main.exists() and not files.restored.exists():
        raise Unavailable(f"there is no database at {files.main}")
    with _making(target) as folder:
        try:
            revision = _copy_pair(files, folder, progress)
        except sqlite3.Error as error:
            raise Unavailable(f"{files.main} cannot be copied: {error}") from error
        found = tuple(_described(role, folder / f"{role}.db") for role in ROLES)
        manifest = Manifest(FORMAT, version, revision, *taken_at, found)
        (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        _publish(folder, target)
    return manifest


@contextmanager
def _making(target: Path) -> Iterator[Path]:
    """A folder beside the target to work in, which is gone in the end. One that a killed backup left is used anew."""
    folder = target.with_name(f".{target.name}.partial")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another backup to {target} is being made") from None
        try:
            for left in folder.iterdir():
                left.unlink()
            yield folder
        except OSError as error:
            raise Unavailable(f"{target} cannot be written: {error.strerror}") from error
        finally:
            with suppress(FileNotFoundError):  # renamed to the target: another backup may have made a new one since
                if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _copy_pair(files: StoreFiles, folder: Path, progress: Progress) -> int:
    """Both databases as of one instant; the revision of the schema."""
    with ExitStack() as stack:
        before = _inodes(files)
        main, logs = (stack.enter_context(closing(_opened(path))) for path in (files.main, files.logs))
        with closing(_opened(files.logs)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            for reader in (logs, main):
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # a snapshot begins with a read
            writer.execute("ROLLBACK")
        if files.restored.exists() or _inodes(files) != before:
            raise Unavailable(f"a restore of {files.main} has not ended: try again after it, or after the next start")
        revision = _revision(main, files.main)
        first, second = _size(main), _size(logs)
        _copy(main, folder / f"{ROLES[0]}.db", lambda copied: progress(copied, first + second))
        _copy(logs, folder / f"{ROLES[1]}.db", lambda copied: progress(first + copied, first + second))
    return revision


def _opened(path: Path) -> sqlite3.Connection:
    # Not the read-only mode: the shared memory of a write-ahead log is written by readers too.
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=LOCK_SECONDS, isolation_level=None)


def _inodes(files: StoreFiles) -> list[int]:
    with suppress(FileNotFoundError):
        return [path.stat().st_ino for path in (files.main, files.logs)]
    return []


def _revision(main: sqlite3.Connection, path: Path) -> int:
    """Raises Unavailable also for a newer schema: only the version that made it knows what belongs to it."""
    try:
        found = int(main.execute("SELECT max(revision) FROM sched_schema").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise Unavailable(f"{path} is no database of Pawl") from error
    migrations.refuse_newer(found)
    return found


def _size(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages) * int(size)


def _copy(reader: sqlite3.Connection, target: Path, progress: Callable[[int], None]) -> None:
    page = reader.execute("PRAGMA page_size").fetchone()[0]
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # synchronised as a whole when it is described
        reader.backup(
            copy, pages=PAGES_AT_ONCE, progress=lambda _, left, total: progress((total - left) * page), sleep=0.01
        )


def _described(role: str, path: Path) -> BackedUpFile:
    sync_file(path)
    return BackedUpFile(role, path.name, path.stat().st_size, digest(path))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(folder: Path, target: Path) -> None:
    """Give the finished backup its name, unless somebody has taken that meanwhile."""
    sync_file(folder / MANIFEST)
    if is_archive(target):
        packed = folder / "packed"
        _pack(folder, packed, compressed=target.name.endswith("gz"))
        try:
            os.link(packed, target)
        except FileExistsError:
            raise AlreadyExists(f"{target} exists already; a backup overwrites nothing") from None
    else:
        sync_folder(folder)
        if os.path.lexists(target):
            raise AlreadyExists(f"{target} exists already; a backup overwrites nothing")
        folder.rename(target)
    sync_folder(target.absolute().parent)


def _pack(folder: Path, packed: Path, *, compressed: bool) -> None:
    # Level 1: most of what can be saved is saved by it, and the disk stays what the copy waits for.
    how: dict[str, Any] = {"mode": "x:gz", "compresslevel": 1} if compressed else {"mode": "x"}
    with tarfile.open(packed, **how) as archive:
        for name in (MANIFEST, *(f"{role}.db" for role in ROLES)):
            archive.add(folder / name, arcname=name)
    packed.chmod(0o600)  # everybody's parameters and outputs
    sync_file(packed)
