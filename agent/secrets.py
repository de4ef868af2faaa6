"""Secrets that this agent holds for plugins: from its environment or from a folder of files, by name.

Only what was put there as a secret can be named: a variable `PAWL_SECRET_<NAME>`, or a file in the folder of the
namespace that asks. The rest of the agent's environment and disk is out of reach. Who may ask is decided elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PREFIX: Final = "PAWL_SECRET_"
MAX_SECRET_BYTES: Final = 64 << 10
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class SecretUnreadable(Exception):
    """The secret is there and cannot be given; the words hold no path and no value."""


class Secrets:
    """Looks a secret up each time it is asked for, so that a changed file counts at once.

    The environment serves the agent's home namespace alone: an agent may work for others as well, and an operator there
    must not reach what was put here for somebody else. Files lie in `folder/<namespace>/<name>`.
    """

    def __init__(self, home_namespace: str, environ: Mapping[str, str], folder: Path | None = None) -> None:
        self._home = home_namespace
        self._variables = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        self._folder = folder

    def get(self, namespace_id: str, name: str) -> str | None:
        """The value, or None if there is none. Raises SecretUnreadable. Reads the disk: call it on a thread."""
        if not NAME.fullmatch(name):
            return None
        if namespace_id == self._home and PREFIX + name in self._variables:
            return self._variables[PREFIX + name]
        if self._folder is None or "/" in namespace_id or namespace_id in ("", ".", ".."):
            return None
        try:
            with open(self._folder / namespace_id / name, "rb", opener=_no_waiting) as file:
                data = file.read(MAX_SECRET_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SecretUnreadable(os.strerror(error.errno or 0)) from None
        if len(data) > MAX_SECRET_BYTES:
            raise SecretUnreadable(f"it has more than {MAX_SECRET_BYTES} bytes")
        try:
            return data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise SecretUnreadable("it is not UTF-8") from None


def _no_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in the folder would hold the thread for ever
