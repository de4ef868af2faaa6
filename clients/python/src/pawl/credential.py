"""The API key that goes with every call: where it comes from, and when it is read again.

A key is best kept in a file that only its user can read: `PAWL_API_KEY_FILE` or `key_file` names it. Such a file is
looked at before each call and read again when it has changed, so that a key can be replaced without a restart. Nothing
here prints a key, in messages and in `repr` neither.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

KEY_VARIABLE: Final = "PAWL_API_KEY"
FILE_VARIABLE: Final = "PAWL_API_KEY_FILE"
LONGEST: Final = 4096
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,4096}")
# Others may not read it, and nobody but its owner may change it. The group may read: so do systems mount secrets.
_TOO_OPEN: Final = stat.S_IRWXO | stat.S_IWGRP

log = logging.getLogger("pawl.credential")


class Credential:
    """What a caller shows; nothing if it has nothing. Raises ValueError, with the advice, for what is no key."""

    def __init__(self, key: str = "", file: str | Path | None = None) -> None:
        self._file = None if file is None else Path(file).expanduser()
        self._seen: tuple[int, int, int] | None = None
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._take(key, "the key")
        if self._file is not None:
            self._seen = _looks(self._file)
            self._take(_read(self._file), f"{self._file}")
            if not self._metadata:
                raise ValueError(f"{self._file}: is empty; it must hold a key")

    @classmethod
    def of(cls, key: str | None, file: str | Path | None, environ: Mapping[str, str] = os.environ) -> Credential:
        """The one that is given, else that of the environment, else none. An empty key is none, whatever else there is.

        Raises ValueError, also when both a key and a file are given.
        """
        if key is not None and file is not None:
            raise ValueError("give a key or a file with one, not both")
        if key is not None or file is not None:
            return cls(key or "", file)
        if environ.get(KEY_VARIABLE):
            return cls(environ[KEY_VARIABLE])
        return cls(file=environ.get(FILE_VARIABLE) or None)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call."""
        if self._file is not None and (now := _looks(self._file)) != self._seen:
            self._seen = now
            try:
                self._take(_read(self._file), f"{self._file}")
            except ValueError as error:
                # While somebody replaces it there may be no whole file for a moment.
                log.warning("the key is the one from before: %s", error)
        return self._metadata

    def __bool__(self) -> bool:
        return bool(self._metadata)

    def __repr__(self) -> str:
        return f"Credential({'a key' if self._metadata else 'none'})"

    def _take(self, text: str, where: str) -> None:
        text = text.strip()
        if text and not _TEXT.fullmatch(text):
            raise ValueError(f"{where}: is no key: it must be one word of printable ASCII characters")
        self._metadata = (("authorization", f"Bearer {text}"),) if text else ()


def too_open(mode: int) -> bool:
    """Whether a file of this mode is no place for a key."""
    return os.name == "posix" and stat.S_ISREG(mode) and bool(mode & _TOO_OPEN)


def _looks(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path) -> str:
    """Raises ValueError."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(LONGEST + 1)
    except OSError as error:
        raise ValueError(f"{file}: the key cannot be read: {error.strerror}") from None
    if too_open(mode):
        raise ValueError(f"{file}: others can read or change this key; run: chmod 600 {file}")
    if len(data) > LONGEST:
        raise ValueError(f"{file}: is too long to be a key")
    return data.decode("utf-8", "replace")
