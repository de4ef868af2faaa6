"""How far a program says it is: a plain file that it writes and this reads, so that any shell can say it.

    echo "42 half of the pages" > "$PAWL_PROGRESS_FILE"

A line is a number from 0 to 100, with or without `%`, and words; or words alone, which leave the number as it was; or a
JSON object with `percent` and `message`. The last whole line counts, whether lines replace each other or are appended.
The file is looked at every half second, at the end, and before the program is taken for silent. Whatever is written to
it, a `touch` too, shows that it is alive. A file and no pipe: nobody who writes to it ever waits, and nothing breaks
when nobody reads.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from typing import Final

LOOK_SECONDS: Final = 0.5
TAIL_BYTES: Final = 4096
MESSAGE_CHARACTERS: Final = 1000
_LINE: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?)\s*(?:%\s*|\s+|$)(.*)", re.DOTALL)


class ProgressFile:
    """One run's file, and what was last said in it."""

    def __init__(self, path: str, say: Callable[[float, str], None]) -> None:
        self._path = path
        self._say = say
        self._seen: tuple[int, int, int] | None = None
        self._percent = 0.0
        self._message = ""

    def look(self) -> None:
        """Say what is new. Costs two microseconds when there is nothing."""
        try:
            found = os.lstat(self._path)
        except OSError:
            return
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if mark == self._seen or not stat.S_ISREG(found.st_mode):
            return
        self._seen = mark
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            size = os.fstat(fd).st_size
            tail = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        except OSError:
            return
        finally:
            os.close(fd)
        line = last_line(tail)
        if line:
            self._percent, self._message = said(line, self._percent)
        self._say(self._percent, self._message)  # also when it was only touched: it is alive


def last_line(tail: bytes) -> str:
    """The last line that is whole; of a file without a line end all of it."""
    lines = tail.split(b"\n")
    whole = lines[:-1] or lines
    for line in reversed(whole):
        if text := line.decode("utf-8", "replace").strip():
            return text
    return ""


def said(line: str, before: float) -> tuple[float, str]:
    """What a line means: percent and words."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
            percent, message = found.get("percent", before), found.get("message", "")
            if isinstance(percent, int | float) and not isinstance(percent, bool) and isinstance(message, str):
                return _bounded(float(percent), before), message[:MESSAGE_CHARACTERS]
        except (ValueError, OverflowError, RecursionError):
            pass  # words that begin with a brace
    match = _LINE.fullmatch(line)
    if match is not None:
        return _bounded(float(match[1]), before), match[2][:MESSAGE_CHARACTERS]
    return before, line[:MESSAGE_CHARACTERS]


def _bounded(percent: float, before: float) -> float:
    return before if percent != percent else min(100.0, max(0.0, percent))
