"""What a run may use, as the system understands it.

Resource limits (rlimits) count per process, and so they bound a run only as far as it is one process. Bounds for the
whole run (memory of all its processes, cores, number of processes) need control groups: they get their place in
`ProcessLimits` beside the rlimits, and until then `not_enforced` names honestly what nothing holds.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from agent.executors.base import Limits

_LEAST_OPEN_FILES = 16
_LEAST_MEMORY = 1 << 20


class LimitError(ValueError):
    """A limit that no program could run under; the message names the field."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits given to a process when it starts. `rlimits`: (resource, value), soft and hard alike."""

    rlimits: tuple[tuple[int, int], ...] = ((resource.RLIMIT_CORE, 0),)


def process_limits(limits: Limits) -> ProcessLimits:
    """The rlimits for a run: no core files ever, the rest only where it is set.

    Memory is RLIMIT_DATA (heap and private mappings) and not RLIMIT_AS: virtual machines such as Java's and Go's
    reserve far more addresses than they use, and would not even start.
    """
    rlimits = [(resource.RLIMIT_CORE, 0)]
    if limits.open_files is not None:
        if limits.open_files < _LEAST_OPEN_FILES:
            raise LimitError(f"limits.open_files is {limits.open_files}; at least {_LEAST_OPEN_FILES} are needed")
        rlimits.append((resource.RLIMIT_NOFILE, limits.open_files))
    if limits.memory_bytes is not None:
        if limits.memory_bytes < _LEAST_MEMORY:
            raise LimitError(f"limits.memory_bytes is {limits.memory_bytes}; at least {_LEAST_MEMORY} are needed")
        rlimits.append((resource.RLIMIT_DATA, limits.memory_bytes))
    return ProcessLimits(tuple(rlimits))


def not_enforced(limits: Limits) -> list[str]:
    """The names of those limits that are asked for and that nothing enforces yet."""
    asked = {"cpu_cores": limits.cpu_cores, "processes": limits.processes}
    return [name for name, value in asked.items() if value is not None]
