"""Plugins: what the control plane knows of a WebAssembly module. Its bytes lie elsewhere (`store/blobs.py`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from controlplane.domain.errors import Violation
from controlplane.domain.ids import name_problem

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,62}")
SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
MAX_REASON = 2_048
MAX_GRANTED = 100
MAX_SIGNATURES = 16


class PluginStatus(IntEnum):
    """What is known of a module."""

    STORED = 1
    READY = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """What an operator allows a plugin to reach beyond its sandbox. `PluginGrant` of the contract says what is what."""

    http: tuple[str, ...] = ()
    http_private: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    granted_by: str = ""
    granted_at: int = 0


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of the digest that was found good. `signature` is in hex."""

    public_key: str
    signature: str
    key_id: str
    signed_at: int = 0


@dataclass(frozen=True, slots=True)
class Plugin:
    """A module as it stands. `name` and `version` are empty when it has none."""

    namespace_id: str
    digest: str
    name: str
    version: str
    status: PluginStatus
    reject_reason: str
    size: int
    created_at: int
    updated_at: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    grant: Grant | None = None
    signatures: tuple[Signature, ...] = ()

    @property
    def label(self) -> str:
        """How people call it."""
        if self.name:
            return f"{self.name}@{self.version}" if self.version else self.name
        return f"sha256:{self.digest}"


def plugin_problems(name: str, version: str) -> Iterator[Violation]:
    """What is wrong with the names of a new plugin; both may be empty, a version needs a name."""
    if name and (problem := name_problem(name)) is not None:
        yield Violation("name", problem)
    if version and not name:
        yield Violation("name", "is required when there is a version")
    if version and VERSION.fullmatch(version) is None:
        yield Violation("version", "must match [A-Za-z0-9][A-Za-z0-9.+_-]{0,62}")


def grant_problems(grant: Grant) -> Iterator[Violation]:
    """What is wrong with a grant, beside the hosts' spelling."""
    if not (grant.http or grant.http_private or grant.secrets):
        yield Violation("http", "a grant of nothing: name hosts or secrets, or revoke the grant")
    for name, values in (("http", grant.http), ("http_private", grant.http_private), ("secrets", grant.secrets)):
        if len(values) > MAX_GRANTED:
            yield Violation(name, f"has {len(values)} entries; at most {MAX_GRANTED}")
        for index, value in enumerate(values):
            if value in values[:index]:
                yield Violation(f"{name}[{index}]", "stands twice")
    for index, value in enumerate(grant.secrets):
        if SECRET.fullmatch(value) is None:
            yield Violation(f"secrets[{index}]", "must match [A-Za-z_][A-Za-z0-9_]{0,62}")


def reported(before: PluginStatus, compiles: bool) -> PluginStatus:
    """What an agent's report makes of the status.

    One agent that compiles it proves the module: a later failure elsewhere says something about that agent and leaves
    READY alone. A success overrules an earlier rejection for the same reason.
    """
    if compiles or before is PluginStatus.READY:
        return PluginStatus.READY
    return PluginStatus.REJECTED
