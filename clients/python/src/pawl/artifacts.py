"""What an artifact may be called, and how large it may be: the same rule for agents, the control plane and whoever
writes one to a disk.

A name is a path below the folder that the program was given: parts separated by `/`, each of them an ordinary file name
on any system. Whatever could lead out of a folder, mean something to a terminal, or differ from what it looks like is
refused, so that a name can be joined to a folder and shown to a person as it is.
"""

from __future__ import annotations

import mimetypes
from typing import Final

MAX_NAME: Final = 512
"""Characters of a name."""
MAX_PART: Final = 255
"""Bytes of one part of it, which is what file systems take."""
MAX_FILE: Final = 104_857_600
MAX_TOTAL: Final = 1_073_741_824
MAX_FILES: Final = 1_000
DEFAULT_TOTAL: Final = 268_435_456
DEFAULT_FILES: Final = 100
BYTES: Final = "application/octet-stream"

_FORBIDDEN: Final = frozenset('\\:*?"<>|')
"""What some file system refuses or gives a meaning of its own."""


def name_problem(name: str) -> str | None:
    """Why this cannot name an artifact; None if it can."""
    if not name:
        return "must not be empty"
    if len(name) > MAX_NAME:
        return f"has {len(name):,} characters, at most {MAX_NAME} are allowed"
    # Controls, line breaks, marks that turn the direction of writing, half characters: none of them can be seen.
    if not name.isprintable():
        return "must not contain characters that cannot be seen"
    if found := sorted(_FORBIDDEN & set(name)):
        return f"must not contain {found[0]!r}"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f"must be a path below a folder, without {part!r} as a part"
        if len(part.encode()) > MAX_PART:
            return f"a part of it has more than {MAX_PART} bytes"
        if part.endswith((" ", ".")) or part.startswith(" "):
            return "no part of it may begin with a space or end with a space or a dot"
    return None


def content_type_of(name: str) -> str:
    """The media type that the ending of a name stands for; bytes, where it says nothing. Contents are not looked at."""
    found, encoding = _TYPES.guess_type(f"x/{name}", strict=True)
    if encoding is not None or found is None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding or "", BYTES
        )
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


_TYPES: Final = mimetypes.MimeTypes()  # what Python knows, never a file of this machine
