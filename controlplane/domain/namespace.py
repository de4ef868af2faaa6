"""Namespaces: the boundary of names and rights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.domain.errors import Violation
from controlplane.domain.job_rules import (
    MAX_DESCRIPTION,
    MAX_RUNNING,
    name_violations,
    number_problems,
    text_problems,
)

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as it stands. Instants are microseconds UTC; its id is its name."""

    id: str
    description: str
    version: int
    created_at: int
    updated_at: int
    max_running: int = 0


def namespace_problems(
    name: str, description: str, max_running: int = 0, path: str = "namespace"
) -> Iterator[Violation]:
    """What is wrong with a new namespace."""
    yield from name_violations(name, f"{path}.id")
    if name != name.lower():
        yield Violation(f"{path}.id", "must be lower case")
    yield from text_problems(description, f"{path}.description", MAX_DESCRIPTION)
    yield from number_problems(max_running, f"{path}.max_running", 0, MAX_RUNNING)
