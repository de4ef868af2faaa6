"""Jobs: what a revision says, and what it demands of an agent.

A revision never changes once it is stored; a task refers to (job, revision) and keeps only its own overrides. Not here:
the wire form (`api/translate.py`) and how the spec is stored (`store/jobs.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from controlplane.domain.placement import LabelRule, Operator, PlacementRules, Strategy, bucket_of
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
    placement: PlacementRules = field(default_factory=PlacementRules)
    max_running: int = 0
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

    def time_limit(self, seconds: float) -> str:
        """Which field says that an attempt may run so long."""
        most = self.resource_limits.max_execution_time_secs
        return "timeout" if most is None or seconds < most else "resource_limits.max_execution_time_secs"

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
    """What some work demands of an agent. Interned: equal demands share one id, so that agents match ids in memory.

    What waits with one demand lies together, in a lane of its own. So a job whose cap may be reached while others go on
    (`capped_job`) and keys whose agent may be full (`bucket`) are part of it: nobody waits behind them.
    """

    namespace_id: str
    executor: str
    labels: Mapping[str, str]
    function: str = ""
    required: tuple[LabelRule, ...] = ()
    preferred: tuple[LabelRule, ...] = ()
    strategy: Strategy = Strategy.LEAST_LOADED
    bucket: int | None = None
    agents: tuple[str, ...] = ()
    slots: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)
    capped_job: str = ""

    @property
    def units(self) -> dict[str, int]:
        """What it takes up at its agent."""
        return {"slots": self.slots, **self.resources}

    def canonical(self) -> str:
        """The same text for the same demand. What is not demanded is left out: no text changes with what can be."""
        demand: dict[str, object] = {"executor": self.executor, "labels": dict(sorted(self.labels.items()))}
        further: dict[str, object] = {
            "function": self.function,
            "required": [_rule_out(rule) for rule in self.required],
            "preferred": [_rule_out(rule) for rule in self.preferred],
            "strategy": 0 if self.strategy is Strategy.LEAST_LOADED else int(self.strategy),
            "bucket": None if self.bucket is None else [self.bucket],
            "agents": sorted(set(self.agents)),
            "slots": 0 if self.slots == 1 else self.slots,
            "resources": dict(sorted(self.resources.items())),
            "capped_job": self.capped_job,
        }
        demand |= {name: value for name, value in further.items() if value}
        return json.dumps(demand, separators=(",", ":"))

    @classmethod
    def of_canonical(cls, namespace_id: str, text: str) -> Requirement:
        """The demand that this text is of."""
        found = json.loads(text)
        return cls(
            namespace_id,
            found["executor"],
            found["labels"],
            found.get("function", ""),
            tuple(map(_rule_in, found.get("required", ()))),
            tuple(map(_rule_in, found.get("preferred", ()))),
            Strategy(found.get("strategy", Strategy.LEAST_LOADED)),
            found.get("bucket", [None])[0],
            tuple(found.get("agents", ())),
            found.get("slots", 1),
            found.get("resources", {}),
            found.get("capped_job", ""),
        )

    def digest(self) -> str:
        """The key under which it is interned in its namespace."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def _rule_out(rule: LabelRule) -> list[object]:
    return [rule.label, int(rule.op), list(rule.values), rule.weight]


def _rule_in(found: list[Any]) -> LabelRule:
    return LabelRule(found[0], Operator(found[1]), tuple(found[2]), found[3])


def requirement_of(namespace_id: str, config: JobConfig, job_id: str = "") -> Requirement:
    """What this configuration of a job demands."""
    rules = config.placement
    return Requirement(
        namespace_id,
        config.executor,
        config.labels,
        "" if config.function is None else config.function.name,
        rules.required,
        rules.preferred,
        rules.strategy,
        None,
        rules.agents,
        rules.slots,
        rules.resources,
        job_id if config.max_running else "",
    )


def demands_more(config: JobConfig, labels: Mapping[str, str]) -> bool:
    """Whether a task with these labels demands something else than its job says."""
    return bool(labels) or config.placement.strategy is Strategy.STICKY


def requirement_of_task(
    namespace_id: str, config: JobConfig, job_id: str, labels: Mapping[str, str], tags: Mapping[str, str]
) -> Requirement:
    """What a task demands: its labels beside those of its job, and the agent that its key belongs to."""
    demand = requirement_of(namespace_id, config, job_id)
    if labels:
        demand = replace(demand, labels={**demand.labels, **labels})
    if demand.strategy is Strategy.STICKY:
        demand = replace(demand, bucket=bucket_of(config.placement.sticky_key, tags, job_id))
    return demand


def merge_environment(*layers: Mapping[str, str]) -> dict[str, str]:
    """Later layers win: job < config < schedule < task. The agent adds its own below and Pawl's variables above."""
    merged: dict[str, str] = {}
    for layer in layers:
        merged.update(layer)
    return merged
