"""What a run may use, as the system understands it, and what is said of a run that wanted more.

Resource limits of the system (rlimits) count per process, so they bound only what is a process's own: its open files.
Memory, processor and the number of processes are those of the whole run; the keeper holds them, by control groups
where it may use them and else by looking (`agent.watch`).
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from agent.executors.base import Limits
from agent.watch import CPU, MEMORY, PROCESSES

FIELDS = {MEMORY: "max_memory_mb", CPU: "max_cpu_percent", PROCESSES: "max_processes"}
"""What the keeper bounds, and what a job calls it."""

_LEAST_OPEN_FILES = 16
_LEAST_MEMORY = 1 << 20


class LimitError(ValueError):
    """A limit that no program could run under; the message names the field."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits given to a run when it starts.

    `rlimits`: (resource, value), soft and hard alike, of each process. The rest is of the whole run: bytes, cores, and
    how many processes and threads. `cgroups`: whether control groups may be used for it. `ceiling`: how many processes
    and threads the agent allows any run.
    """

    rlimits: tuple[tuple[int, int], ...] = ((resource.RLIMIT_CORE, 0),)
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    processes: int | None = None
    cgroups: bool = True
    ceiling: int | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """Those of the whole run that are set."""
        asked = {MEMORY: self.memory_bytes, CPU: self.cpu_cores, PROCESSES: self.processes}
        return {name: value for name, value in asked.items() if value is not None}


def process_limits(limits: Limits, cgroups: bool = True, ceiling: int | None = None) -> ProcessLimits:
    """The limits for a run: no core files ever, the rest only where it is set. A job's own number of processes takes
    the place of the agent's ceiling.
    """
    rlimits = [(resource.RLIMIT_CORE, 0)]
    if limits.open_files is not None:
        if limits.open_files < _LEAST_OPEN_FILES:
            raise LimitError(
                f"resource_limits.max_open_files is {limits.open_files}; at least {_LEAST_OPEN_FILES} are needed"
            )
        rlimits.append((resource.RLIMIT_NOFILE, limits.open_files))
    if limits.memory_bytes is not None and limits.memory_bytes < _LEAST_MEMORY:
        raise LimitError(
            f"resource_limits.max_memory_mb is {limits.memory_bytes} bytes; at least {_LEAST_MEMORY} are needed"
        )
    return ProcessLimits(
        tuple(rlimits),
        limits.memory_bytes,
        limits.cpu_cores,
        limits.processes,
        cgroups,
        ceiling if limits.processes is None else None,
    )
