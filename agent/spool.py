"""Finished results on disk until the control plane has acknowledged them.

A result is written, and synced, before it is sent; it is removed when it is acknowledged. So a result survives the
death of the agent at any moment, and is sent again by the next one; whoever receives it twice tells so by its token.
The spool holds opaque bytes by key and knows nothing of tasks.

Format: files `<number>.log`, replayed in order; each begins with `PAWLSP1` and a line feed, then a salt of 16 random
bytes, then records

    magic (4) | length of the rest (4) | crc32 of salt and rest (4) | kind (1) | length of key (2) | key | data

Kind 1 puts, kind 2 removes. The salt keeps a result whose bytes look like a record from being taken for one. A file is
only ever appended to by the process that made it; a new start makes a new file and copies what is still pending, so a
torn end is never written over and never in the middle. A damaged stretch costs the records that it hits: reading goes
on at the next record whose checksum holds.
Removals are not synced: one that is lost only means that a result is sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_FILE_MAGIC = b"PAWLSP1\n"
_SALT_BYTES = 16
_MAGIC = b"\xa7Psp"
_FRAME = struct.Struct(">4sII")
_HEAD = struct.Struct(">BH")
_PUT, _REMOVE = 1, 2
_REWRITE_BYTES = 16 << 20
DEFAULT_MAX_BYTES = 256 << 20


class SpoolFull(Exception):
    """The results that wait fill the spool: no new work should be taken until some are acknowledged."""


class SpoolClosed(Exception):
    """The spool was closed."""


class _Place(NamedTuple):
    offset: int
    length: int


@dataclass(slots=True)
class _Change:
    """One caller's puts or removals, waiting for the writer."""

    kind: int
    items: Sequence[tuple[str, bytes]]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Spool:
    """One folder of results. Opened by one process at a time: the state folder's lock sees to it."""

    def __init__(self, folder: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Read what an earlier agent left. Raises OSError when the folder cannot be used."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._index: dict[str, _Place] = {}
        self._live = 0
        self._reserved = 0
        self._size = 0
        self._fd = -1
        self._salt = b""
        self._number = 0
        self._guard = threading.Lock()  # index and descriptor: changed by the writer, read by the loop
        self._broken = False
        self._closed = False
        self._queue: list[_Change] = []
        self._writing = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="spool")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        old = sorted(folder.glob("*.log"), key=lambda path: int(path.stem) if path.stem.isdigit() else 0)
        found: dict[str, bytes] = {}
        for path in old:
            for kind, key, data in read_records(path.read_bytes()):
                if kind == _PUT:
                    found[key] = data
                else:
                    found.pop(key, None)
            self._number = max(self._number, int(path.stem) if path.stem.isdigit() else 0)
        self._begin_file(found.items())
        for path in old:
            path.unlink()

    @property
    def live_bytes(self) -> int:
        """Bytes of results that wait, those being written included."""
        return self._live + self._reserved

    @property
    def full(self) -> bool:
        """Whether the limit is reached; then no new work should be taken."""
        return self.live_bytes >= self._max_bytes

    def pending(self) -> list[tuple[str, bytes]]:
        """The results that wait, in the order in which they were put."""
        with self._guard:
            return [(key, os.pread(self._fd, place.length, place.offset)) for key, place in self._index.items()]

    def keys(self) -> list[str]:
        """Their keys."""
        with self._guard:
            return list(self._index)

    async def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Write results; returns when they are on disk. Raises SpoolFull, or OSError when nothing was promised.

        Calls that come while the disk is busy are written together, with one sync.
        """
        change = _Change(_PUT, list(items))
        if not change.items:
            return
        for key, _ in change.items:
            if not 0 < len(key.encode()) <= 0xFFFF:
                raise ValueError(f"{key!r} cannot be a key of the spool")
        size = sum(len(data) for _, data in change.items)
        if self.live_bytes + size > self._max_bytes:
            raise SpoolFull(f"{self.live_bytes} bytes of results wait already, {self._max_bytes} are allowed")
        self._reserved += size
        await self._submit(change)

    async def remove_many(self, keys: Iterable[str]) -> None:
        """Forget acknowledged results; unknown keys are ignored."""
        change = _Change(_REMOVE, [(key, b"") for key in keys])
        if change.items:
            await self._submit(change)

    def close(self) -> None:
        """Finish what is being written and close the file. What waits stays on disk."""
        self._closed = True
        self._pool.shutdown(wait=True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        for change in self._queue:
            if not change.done.done():
                change.done.set_exception(SpoolClosed("the spool was closed before this was written"))
        self._queue.clear()

    # -- the loop's side

    async def _submit(self, change: _Change) -> None:
        if self._closed:
            raise SpoolClosed("the spool is closed")
        self._queue.append(change)
        self._write_next()
        await asyncio.shield(change.done)  # a caller that goes away does not take the others' write with it

    def _write_next(self) -> None:
        if self._writing or not self._queue:
            return
        batch, self._queue = self._queue, []
        self._writing = True
        written = asyncio.get_running_loop().run_in_executor(self._pool, self._write, batch)
        written.add_done_callback(lambda done: self._written(batch, done))

    def _written(self, batch: list[_Change], done: asyncio.Future[None]) -> None:
        self._writing = False
        error = done.exception()
        for change in batch:
            if change.kind == _PUT:
                self._reserved -= sum(len(data) for _, data in change.items)
            if change.done.done():
                continue
            if error is None:
                change.done.set_result(None)
            else:
                change.done.set_exception(error)
                change.done.exception()  # somebody who went away does not have to look at it
        if not self._closed:
            self._write_next()

    # -- the writer's side: the only thread that touches the file

    def _write(self, batch: list[_Change]) -> None:
        if self._broken or (self._size > _REWRITE_BYTES and self._size > 4 * self._live):
            self._rewrite()
        parts: list[bytes] = []
        places: list[tuple[int, str, _Place]] = []
        known = {key for change in batch if change.kind == _PUT for key, _ in change.items}.union(self._index)
        offset = self._size
        for change in batch:
            for key, data in change.items:
                if key not in known:
                    continue
                record = make_record(self._salt, change.kind, key, data)
                parts.append(record)
                offset += len(record)
                places.append((change.kind, key, _Place(offset - len(data), len(data))))
        try:
            _write_all(self._fd, b"".join(parts), self._size)
            if any(change.kind == _PUT for change in batch):
                os.fdatasync(self._fd)
        except OSError:
            # After a failed write or sync nobody knows what the file holds: the next write begins another file.
            self._broken = True
            raise
        self._size = offset
        with self._guard:
            for kind, key, place in places:
                if (old := self._index.pop(key, None)) is not None:
                    self._live -= old.length
                if kind == _PUT:
                    self._index[key] = place
                    self._live += place.length

    def _rewrite(self) -> None:
        old_fd, old_path = self._fd, self._path
        self._begin_file(self.pending())
        os.close(old_fd)
        with contextlib.suppress(FileNotFoundError):
            old_path.unlink()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._number:012d}.log"

    def _begin_file(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Make the next file with these results in it, synced, and go on there."""
        number = self._number + 1
        path = self._folder / f"{number:012d}.log"
        index: dict[str, _Place] = {}
        salt = os.urandom(_SALT_BYTES)
        size = len(_FILE_MAGIC) + _SALT_BYTES
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, _FILE_MAGIC + salt, 0)
            for key, data in items:
                record = make_record(salt, _PUT, key, data)
                _write_all(fd, record, size)
                size += len(record)
                index[key] = _Place(size - len(data), len(data))
            os.fsync(fd)
            folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder_fd)
            finally:
                os.close(folder_fd)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        with self._guard:
            self._number, self._fd, self._salt, self._size, self._index = number, fd, salt, size, index
            self._live = sum(place.length for place in index.values())
        self._broken = False


def make_record(salt: bytes, kind: int, key: str, data: bytes) -> bytes:
    """One record as it lies in a file with this salt."""
    name = key.encode()
    rest = _HEAD.pack(kind, len(name)) + name + data
    return _FRAME.pack(_MAGIC, len(rest), zlib.crc32(rest, zlib.crc32(salt))) + rest


def read_records(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Every whole record of a file: kind, key, data."""
    at = len(_FILE_MAGIC) + _SALT_BYTES
    if not data.startswith(_FILE_MAGIC) or len(data) < at:
        return
    seed = zlib.crc32(data[len(_FILE_MAGIC) : at])
    while (at := data.find(_MAGIC, at)) >= 0:
        start = at + _FRAME.size
        if start > len(data):
            return
        _, length, checksum = _FRAME.unpack_from(data, at)
        rest = data[start : start + length]
        if len(rest) < max(length, _HEAD.size) or zlib.crc32(rest, seed) != checksum:
            at += 1  # torn or damaged: look for the next one
            continue
        kind, key_length = _HEAD.unpack_from(rest)
        yield kind, rest[_HEAD.size : _HEAD.size + key_length].decode(), rest[_HEAD.size + key_length :]
        at = start + length


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
