"""Jobs: what a revision says, and what it demands of an agent.

A revision never changes once it is stored; a task refers to (job, revision) and keeps only its own overrides. Not here:
the wire form (`api/translate.py`) and how the spec is stored (`store/jobs.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from controlplane.domain.retry import RetryPolicy, RetryRules


class JobStatus(IntEnum):
    """Whether a job makes new tasks."""

    ENABLED = 1
    DISABLED = 2


class OnControlPlaneLost(IntEnum):
    """What a running attempt does when its agent cannot reach the control plane."""

    STOP = 1
    CONTINUE = 2


@dataclass(frozen=True, slots=True)
class WasmSpec:
    """A plugin as the program; `plugin` is the digest, fixed when the revision was stored."""

    plugin: str
    entry: str = "execute_task"
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """A request as the program."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function of a worker as the program, by the name that workers declare."""

    name: str


@dataclass(frozen=True, slots=True)
class ArtifactRules:
    """Which files a program may leave as artifacts: how many, and bytes of one and of all."""

    max_files: int = 100
    max_file_size: int = 104_857_600
    max_total_size: int = 268_435_456


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What an attempt may use, in the units of the contract; None is no limit."""

    max_memory_mb: int | None = None
    max_cpu_percent: float | None = None
    max_execution_time_secs: float | None = None
    max_output_size_bytes: int | None = None
    max_processes: int | None = None
    max_open_files: int | None = None


@dataclass(frozen=True, slots=True)
class JobConfig:
    """How attempts are run. Durations in seconds, sizes in bytes; the defaults are those of the contract."""

    executor: str = "process"
    cmd: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    capture_output: bool = True
    max_output_size: int = 1 << 20
    timeout: float = 3600.0
    max_retries: int = 0
    retry_interval: float = 30.0
    labels: Mapping[str, str] = field(default_factory=dict)
    wasm: WasmSpec | None = None
    grace_seconds: float = 10.0
    max_stalled: int = 3
    lost_after_seconds: float = 60.0
    on_control_plane_lost: OnControlPlaneLost = OnControlPlaneLost.STOP
    priority: int = 500
    retry: RetryRules = field(default_factory=RetryRules)
    http: HttpSpec | None = None
    artifacts: ArtifactRules | None = None
    output_content_type: str = ""
    function: FunctionSpec | None = None
    options: str = ""  # the settings of an executor that is none of ours, as the text of a JSON object
    schedule_to_start_timeout_seconds: float | None = None
    total_timeout_seconds: float | None = None
    heartbeat_timeout_seconds: float | None = None
    resource_limits: ResourceLimits = field(default_factory=ResourceLimits)

    def longest_run(self, timeout: float | None = None) -> float:
        """Seconds that an attempt may run; `timeout` is that of a task that brings its own. The smaller one counts."""
        asked = self.timeout if timeout is None else timeout
        most = self.resource_limits.max_execution_time_secs
        return asked if most is None else min(asked, most)

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy in the units of the middle (microseconds)."""
        return RetryPolicy(self.max_retries, round(self.retry_interval * 1_000_000), self.max_stalled, self.retry)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What one revision says."""

    description: str
    environment: Mapping[str, str]
    config: JobConfig


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. Instants are microseconds UTC."""

    id: str
    namespace_id: str
    name: str
    status: JobStatus
    revision: int
    version: int
    created_at: int
    updated_at: int
    spec: JobSpec
    requirement_id: int = 0


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a revision demands of an agent. Interned: equal demands share one id, so that agents match ids in memory."""

    namespace_id: str
    executor: str
    labels: Mapping[str, str]
    function: str = ""

    def canonical(self) -> str:
        """The same text for the same demand. What it does not speak of is left out: older texts stay as they were."""
        demand: dict[str, object] = {"executor": self.executor, "labels": dict(sorted(self.labels.items()))}
        if self.function:
            demand["function"] = self.function
        return json.dumps(demand, separators=(",", ":"))

    def digest(self) -> str:
        """The key under which it is interned in its namespace."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def requirement_of(namespace_id: str, config: JobConfig) -> Requirement:
    """What this configuration demands."""
    function = "" if config.function is None else config.function.name
    return Requirement(namespace_id, config.executor, config.labels, function)


def merge_environment(*layers: Mapping[str, str]) -> dict[str, str]:
    """Later layers win: job < config < schedule < task. The agent adds its own below and Pawl's variables above."""
    merged: dict[str, str] = {}
    for layer in layers:
        merged.update(layer)
    return merged
