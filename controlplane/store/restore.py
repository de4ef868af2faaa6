"""A backup put in the place of a SQLite store: checked, brought to this version's schema, marked, and then swapped in.

Everything that can go wrong happens on copies beside the store; `files.py` says why what comes then is one step.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from controlplane.domain.errors import AlreadyExists, Invalid, Unavailable
from controlplane.store import Store, migrations, restored
from controlplane.store.backup import FORMAT, MANIFEST, READ_BYTES, ROLES, BackedUpFile, Manifest, Progress
from controlplane.store.filelock import FileLock
from controlplane.store.files import StoreFiles, sync_file

MANIFEST_BYTES: Final = 1 << 20

Open = Callable[[str], IO[bytes]]


def restore(files: StoreFiles, source: Path, *, now: int, force: bool, progress: Progress) -> Manifest:
    """Replace the store by a backup. Raises Invalid for a backup that is damaged or too new, AlreadyExists where there
    is a store already and `force` was not said, Unavailable while a server has it.
    """
    try:
        files.main.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(files.lock)
        lock.acquire()
    except OSError as error:
        raise Unavailable(f"{files.main.parent} cannot be used: {error.strerror}") from error
    try:
        files.settle()
        if files.exist() and not force:
            raise AlreadyExists(f"{files.main} exists already; --force replaces it by the backup")
        with _opened(source) as reading:
            manifest = _manifest(source, reading)
            try:
                files.restoring.mkdir(mode=0o700)
                _bring_in(files, source, manifest, reading, progress)
                _mark(files, manifest, now)
                files.commit()
            finally:
                shutil.rmtree(files.restoring, ignore_errors=True)
        files.settle()
    except (OSError, sqlite3.Error) as error:
        said = getattr(error, "strerror", None) or error
        raise Unavailable(f"{source} cannot be restored to {files.main}: {said}") from error
    finally:
        lock.release()
    return manifest


@contextmanager
def _opened(source: Path) -> Iterator[Open]:
    """How to read a file of the backup by its name. Only names that a backup has are asked for."""
    if source.is_dir():
        yield lambda name: (source / name).open("rb")
        return
    if not source.exists():
        raise Invalid(f"there is no backup at {source}", facts={"file": str(source)})
    try:
        with tarfile.open(source, "r") as archive:

            def member(name: str) -> IO[bytes]:
                found = archive.extractfile(name) if name in archive.getnames() else None
                if found is None:
                    raise FileNotFoundError(name)
                return found

            yield member
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(source, f"is no backup, or a damaged one: {error}") from error


def _damaged(source: Path, what: str) -> Invalid:
    return Invalid(f"{source} {what}", facts={"file": str(source)})


def _manifest(source: Path, reading: Open) -> Manifest:
    try:
        with reading(MANIFEST) as file:
            manifest = msgspec.json.decode(file.read(MANIFEST_BYTES), type=Manifest)
    except FileNotFoundError:
        raise _damaged(source, f"is no backup: it holds no {MANIFEST}") from None
    except msgspec.MsgspecError as error:
        raise _damaged(source, f"is no backup, or a damaged one: {MANIFEST}: {error}") from error
    if manifest.format != FORMAT:
        raise _damaged(source, f"is a backup of format {manifest.format}, this version of Pawl reads {FORMAT}")
    if manifest.schema_revision > migrations.LATEST:
        raise _damaged(
            source,
            f"has schema revision {manifest.schema_revision} (Pawl {manifest.pawl_version}), this version of Pawl"
            f" knows {migrations.LATEST}: restore it with that version",
        )
    if tuple(sorted(one.role for one in manifest.files)) != tuple(sorted(ROLES)):
        raise _damaged(source, f"is a damaged backup: {MANIFEST} must name one file for each of {', '.join(ROLES)}")
    return manifest


def _bring_in(files: StoreFiles, source: Path, manifest: Manifest, reading: Open, progress: Progress) -> None:
    names = dict(zip(ROLES, (files.main.name, files.logs.name), strict=True))
    total = sum(one.size for one in manifest.files)
    done = 0
    for one in manifest.files:
        if "/" in one.name:
            raise _damaged(source, f"is a damaged backup: {one.name!r} is no name of a file in it")
        try:
            with reading(one.name) as file:
                done = _copy(source, one, file, files.restoring / names[one.role], done, lambda at: progress(at, total))
        except FileNotFoundError:
            raise _damaged(source, f"is a damaged backup: {one.name} is missing") from None


def _copy(
    source: Path, one: BackedUpFile, file: IO[bytes], target: Path, done: int, progress: Callable[[int], None]
) -> int:
    found = hashlib.sha256()
    size = 0
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as new:
        while piece := file.read(READ_BYTES):
            size += len(piece)
            if size > one.size:  # however much more there is: it is not what was backed up
                break
            new.write(piece)
            found.update(piece)
            progress(done + size)
    if (size, found.hexdigest()) != (one.size, one.sha256):
        raise _damaged(
            source,
            f"is a damaged backup: {one.name} has {'more than ' * (size > one.size)}{min(size, one.size)} bytes with"
            f" SHA-256 {found.hexdigest()},"
            f" its manifest says {one.size} with {one.sha256}",
        )
    return done + size


def _mark(files: StoreFiles, manifest: Manifest, now: int) -> None:
    """Bring the copies to this version's schema and note that they were put back; nothing of it is left in a log."""
    copies = StoreFiles(files.restoring / files.main.name)
    store = Store(f"sqlite:///{copies.main}")
    store.open()
    try:
        migrations.migrate(store, now)
        store.transact_now(restored.mark, now, taken_at=manifest.taken_at_micros)
    finally:
        store.close()
    copies.lock.unlink()
    for path in (copies.main, copies.logs):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        sync_file(path)
