"""What a process writes, read by the event loop with bounded memory.

`CappedBytes` keeps the two ends of a stream, `PipeReader` feeds a callback from a pipe. Neither knows what the bytes
mean, nor whose they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_CHUNK = 65536
_PAUSE_SECONDS = 0.005
_MARKER_ROOM = 64


class CappedBytes:
    """Bytes up to a limit; of more, the first and the last half with a marker between, within the same limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half = max(0, (limit - _MARKER_ROOM) // 2)
        self._head = bytearray()
        self._tail: bytearray | None = None
        self.size = 0

    @property
    def truncated(self) -> bool:
        """Whether something had to go."""
        return self.size > self._limit

    def add(self, data: bytes) -> None:
        """Take more; holds at most one and a half limits and a chunk."""
        self.size += len(data)
        if self._tail is None:
            self._head += data
            if len(self._head) > self._limit:
                self._tail = self._head[len(self._head) - self._half :]
                del self._head[self._half :]
            return
        self._tail += data
        if len(self._tail) > 2 * self._half:
            del self._tail[: len(self._tail) - self._half]

    def value(self) -> bytes:
        """What is kept. A character of UTF-8 is not cut in two."""
        if self._tail is None:
            return bytes(self._head)
        return _joined(bytes(self._head), bytes(self._tail[len(self._tail) - self._half :]), self.size, self._limit)


def capped_file(fd: int, limit: int) -> tuple[bytes, int]:
    """A file as CappedBytes would keep it, and its size, with no more read than is kept."""
    size = os.fstat(fd).st_size
    if size <= limit:
        return _read(fd, size, 0), size
    half = max(0, (limit - _MARKER_ROOM) // 2)
    return _joined(_read(fd, half, 0), _read(fd, half, size - half), size, limit), size


def _read(fd: int, length: int, offset: int) -> bytes:
    chunks = []
    while length > 0 and (chunk := os.pread(fd, min(length, 1 << 20), offset)):
        chunks.append(chunk)
        length -= len(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _joined(head: bytes, tail: bytes, size: int, limit: int) -> bytes:
    head = without_part_at_end(head)
    tail = _without_part_at_start(tail)
    marker = b"\n[pawl: %d bytes left out]\n" % (size - len(head) - len(tail))
    return (head + marker + tail) if len(marker) <= limit else head + tail


def without_part_at_end(data: bytes) -> bytes:
    """The bytes without an unfinished UTF-8 character at their end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return data[:-back] if needed > back else data
    return data


def _without_part_at_start(data: bytes) -> bytes:
    """The bytes without the rest of a UTF-8 character at their start."""
    for at in range(min(4, len(data))):
        if data[at] & 0xC0 != 0x80:
            return data[at:]
    return data if len(data) >= 4 else b""  # four such bytes in a row are no UTF-8, and then nothing is cut


class PipeReader:
    """Reads one pipe as it fills, until its end.

    It always reads on, so that no writer waits for ever, whatever becomes of the bytes. A writer beyond `fast_bytes`
    is read with pauses: output that is only counted must not cost the other runs of this loop their time.
    """

    def __init__(self, fd: int, fast_bytes: int, take: Callable[[bytes], None]) -> None:
        """`fd` is the read end, non-blocking; it is closed here."""
        self._fd = fd
        self._take = take
        self._left = fast_bytes
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._left -= len(data)
        self._take(data)
        if self._left < 0 and len(data) == _CHUNK:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._readable)

    def drain(self) -> None:
        """Take what is in the pipe now, without waiting, and at most what a pipe can hold."""
        for _ in range(32):
            if self._fd < 0:
                return
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self.close()
                return
            self._take(data)

    def close(self) -> None:
        """Read no more. A writer that is left gets SIGPIPE."""
        if self._fd < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        else:
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
