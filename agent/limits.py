"""What a run may use, as the system understands it, and what is said of a run that wanted more.

Resource limits of the system (rlimits) count per process, so they bound only what is a process's own: its open files.
Memory, processor and the number of processes are those of the whole run; the keeper holds them, by control groups
where it may use them and else by looking (`agent.watch`).
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.executors.base import Executor, Limits
from agent.watch import CPU, MEMORY, PROCESSES

if TYPE_CHECKING:
    from pawl.v1 import job_pb2

DEFAULT_OUTPUT_BYTES: Final = 1 << 20
LARGEST_OUTPUT_BYTES: Final = 100 << 20
"""Whatever the job says: an output passes through the agent's memory."""
LOG_BYTES: Final = 10 << 20

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


def limits_of(config: job_pb2.JobConfig) -> Limits:
    """What a job's configuration says. Of two fields for the same thing the smaller counts."""
    limits = config.resource_limits
    output = config.max_output_size if config.HasField("max_output_size") else DEFAULT_OUTPUT_BYTES
    if limits.HasField("max_output_size_bytes"):
        output = min(output, limits.max_output_size_bytes)
    return Limits(
        memory_bytes=limits.max_memory_mb << 20 if limits.HasField("max_memory_mb") else None,
        cpu_cores=cores_of(limits.max_cpu_percent) if limits.HasField("max_cpu_percent") else None,
        output_bytes=min(output, LARGEST_OUTPUT_BYTES),
        log_bytes=LOG_BYTES,
        open_files=limits.max_open_files if limits.HasField("max_open_files") else None,
        processes=limits.max_processes if limits.HasField("max_processes") else None,
    )


def cores_of(percent: float) -> float:
    """`max_cpu_percent` in cores: up to 1 it is a part of one core, above it is percent of one."""
    return percent if percent <= 1 else percent / 100


def doubtful(config: job_pb2.JobConfig) -> str:
    """A word about a `max_cpu_percent` that may have been meant otherwise; mostly empty."""
    percent = config.resource_limits.max_cpu_percent
    if not 1 < percent < 5:
        return ""
    return (
        f"resource_limits.max_cpu_percent is {percent:g}: taken as {percent:g} percent of one core, not as {percent:g}"
        f" cores, which is {percent * 100:g}"
    )


def time_limit(config: job_pb2.JobConfig, seconds: float) -> str:
    """Which of a job's fields these seconds are."""
    limits = config.resource_limits
    if limits.HasField("max_execution_time_secs") and seconds >= limits.max_execution_time_secs:
        return "resource_limits.max_execution_time_secs"
    return "timeout"


def not_held(executor: Executor | None, config: job_pb2.JobConfig) -> list[tuple[str, str]]:
    """The limits that the job sets and this executor does not hold, each with the reason."""
    said = getattr(executor, "not_held", {})
    why: Mapping[str, str] = said(config) if callable(said) else said
    return [(name, reason) for name, reason in why.items() if config.resource_limits.HasField(name)]
