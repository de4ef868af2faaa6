"""The proto files, as this version of the SDK knows them: ours, and those of google/api and google/rpc they import.

Ours are package data, copied by proto/generate.py; the others come from the installed `googleapis-common-protos`. Those
of google/protobuf are part of every protobuf compiler and are not repeated. Reads files, writes none.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

COMMON: Final = "googleapis-common-protos"
_IMPORT: Final = re.compile(rb'^import (?:public )?"([^"]+)";', re.MULTILINE)


def files() -> Iterator[tuple[str, bytes]]:
    """Name below the include path, and content, of every file."""
    wanted: list[str] = []
    ours = importlib.resources.files("pawl") / "proto" / "pawl" / "v1"
    for file in sorted(ours.iterdir(), key=lambda one: one.name):
        content = file.read_bytes()
        wanted += _imports(content)
        yield f"pawl/v1/{file.name}", content
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen or name.startswith(("pawl/", "google/protobuf/")):
            continue
        seen.add(name)
        content = Path(str(importlib.metadata.distribution(COMMON).locate_file(name))).read_bytes()
        wanted += _imports(content)
        yield name, content


def _imports(content: bytes) -> list[str]:
    return [name.decode() for name in _IMPORT.findall(content)]
