"""What a plugin says about itself: the JSON in its custom section, checked field by field.

Readable without running the plugin. It says what the author asks for; what a plugin may do is an operator's grant, kept
elsewhere. Unknown fields are left alone: a plugin built for a later Pawl with the same ABI stays usable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ABI: Final = 1
METADATA_SECTION: Final = "pawl.plugin.v1"
MAX_METADATA_BYTES: Final = 64 << 10
MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """A function that a task may run."""

    name: str
    input_content_type: str = ""
    input_schema: Any = None
    output_content_type: str = ""
    output_schema: Any = None
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a plugin says about itself. Capabilities and limits are requests: an operator's grant decides."""

    name: str
    version: str
    description: str = ""
    entries: tuple[Entry, ...] = ()
    capabilities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All of it as it stands in the module, with fields that this version does not know."""

    def entry(self, name: str) -> Entry | None:
        """The entry of that name, if the plugin describes it."""
        return next((entry for entry in self.entries if entry.name == name), None)


LIMITS: Final = (
    "memory_mb", "timeout_seconds", "cpu_seconds", "output_bytes", "log_lines", "host_calls", "http_calls",
    "table_elements",
)  # fmt: skip
"""What a plugin can limit itself to; agents enforce the smaller of this and what they and the job allow."""
CAPABILITIES: Final = ("http", "secrets")
"""What a plugin can ask for: hosts, and names of secrets."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,62}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class MetadataInvalid(ValueError):
    """The metadata of a plugin is wrong; the message names the field."""


def _invalid(where: str, message: str) -> MetadataInvalid:
    return MetadataInvalid(f"metadata: {where}: {message}")


def _get(source: Mapping[str, Any], key: str, kind: type, where: str, default: Any) -> Any:
    value = source.get(key, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _invalid(f"{where}{key}", f"must be {_JSON_NAMES[kind]}")
    return value


_JSON_NAMES: Final = {str: "a string", int: "an integer", list: "a list", dict: "an object", bool: "true or false"}


def parse_metadata(content: bytes) -> Metadata:
    """The metadata out of the section's bytes; MetadataInvalid names the field."""
    if len(content) > MAX_METADATA_BYTES:
        raise _invalid(METADATA_SECTION, f"{len(content)} bytes; at most {MAX_METADATA_BYTES} are taken")
    try:
        source = json.loads(content.decode(), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _invalid(METADATA_SECTION, f"not JSON in UTF-8: {error}") from None
    if not isinstance(source, dict):
        raise _invalid(METADATA_SECTION, "must be a JSON object")
    _check_depth(source, MAX_DEPTH)
    abi = _get(source, "abi", int, "", None)
    if abi != ABI:
        raise _invalid("abi", f"{abi} is not known; this Pawl speaks {ABI}")
    name, version = _get(source, "name", str, "", None), _get(source, "version", str, "", None)
    if not _NAME.fullmatch(name) or _UUID.fullmatch(name):
        raise _invalid("name", f"{name!r} must match {_NAME.pattern} and not look like a UUID")
    if not _VERSION.fullmatch(version):
        raise _invalid("version", f"{version!r} must match {_VERSION.pattern}")
    return Metadata(
        name=name,
        version=version,
        description=_get(source, "description", str, "", ""),
        entries=_entries(_get(source, "entries", list, "", [])),
        capabilities=_capabilities(_get(source, "capabilities", dict, "", {})),
        limits=_limits_asked(_get(source, "limits", dict, "", {})),
        build=_get(source, "build", dict, "", {}),
        source=source,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, left: int) -> None:
    """Refuse nesting that readers with a limit of their own would choke on."""
    if left < 0:
        raise _invalid(METADATA_SECTION, f"nested deeper than {MAX_DEPTH}")
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        _check_depth(item, left - 1)


def _entries(listed: Sequence[Any]) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for index, item in enumerate(listed):
        where = f"entries[{index}]"
        if not isinstance(item, dict):
            raise _invalid(where, "must be an object")
        name = _get(item, "name", str, f"{where}.", None)
        if any(entry.name == name for entry in entries):
            raise _invalid(f"{where}.name", f"{name!r} stands twice")
        given = _get(item, "input", dict, f"{where}.", {})
        result = _get(item, "output", dict, f"{where}.", {})
        entries.append(
            Entry(
                name=name,
                input_content_type=_get(given, "content_type", str, f"{where}.input.", ""),
                input_schema=given.get("schema"),
                output_content_type=_get(result, "content_type", str, f"{where}.output.", ""),
                output_schema=result.get("schema"),
                durable=_get(item, "durable", bool, f"{where}.", False),
            )
        )
    return tuple(entries)


def _capabilities(source: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    for key, value in source.items():
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _invalid(f"capabilities.{key}", "must be a list of strings")
    return {key: tuple(value) for key, value in source.items()}


def _limits_asked(source: Mapping[str, Any]) -> Mapping[str, float]:
    for key, value in source.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
            raise _invalid(f"limits.{key}", "must be a number that is not negative")
    return dict(source)


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """The section's bytes for this metadata: JSON with sorted keys, so equal metadata gives an equal digest."""
    try:
        content = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _invalid(METADATA_SECTION, f"cannot be written as JSON: {error}") from None
    encoded = content.encode()
    parse_metadata(encoded)
    return encoded
