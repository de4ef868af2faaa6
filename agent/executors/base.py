"""What an executor is: the one seam between an attempt and a way of running work.

An executor launches work, waits for it and stops it. It does not know about timeouts, retries, leases or the
control plane: `agent.attempt` owns those, so that every executor behaves the same at the edges. A new executor is one
module and one line in the agent's settings (`agent.outfit`); no other file changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from pawl.tracing import NOWHERE, Trace

from agent.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class Payload:
    """A user's value: bytes and their media type (`application/json`, `text/plain; charset=utf-8`, ...)."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use, all its processes together. `None` means: no limit of its own. Sizes in bytes; processes
    are counted with their threads; open files are those of each process.
    """

    memory_bytes: int | None = None
    cpu_cores: float | None = None
    output_bytes: int = 1 << 20
    log_bytes: int = 10 << 20
    open_files: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of a group's work a task is, from 0. A program has it in its environment as well."""

    group_id: str
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class Work:
    """One placement of one attempt, as an executor sees it.

    `environment` is the merged environment of the control plane (job < config < schedule < task < trigger); the agent's
    own layers lie below it and are added by the executor that has an environment. `settings` are the executor's own
    settings: for `process` cmd, args, cwd, capture_output, output_content_type, artifacts (`agent.artifacts.Rules`, or
    None for no folder); for `wasm` plugin (digest, hex), entry, config (map).
    """

    namespace_id: str
    task_id: str
    instance_id: str
    token: int
    attempt: int
    job_name: str
    executor: str
    settings: Mapping[str, object]
    environment: Mapping[str, str]
    parameters: Payload | None
    limits: Limits = field(default_factory=Limits)
    grace_seconds: float = 10.0
    trace: Trace = NOWHERE
    shard: Shard | None = None

    @property
    def key(self) -> str:
        """The name under which the keeper and the spool know this placement."""
        return f"{self.task_id}.{self.token}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed. `code` is UPPER_SNAKE and stable (EXIT_3, SIGNAL_9, SPAWN_FAILED, PLUGIN_CRASH, ...)."""

    code: str
    message: str
    retryable: bool = True
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run used, as far as the system tells: seconds and bytes, 0 where it does not."""

    wall_seconds: float = 0.0
    user_cpu_seconds: float = 0.0
    system_cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    cpu_throttled_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `failure is None` means that it succeeded.

    `output` is already cut to the output limit; `output_size` is the size before the cut. `exit_code` is unset when the
    run was ended by `signal`. `left_running`: it could not be ended and goes on, so nothing may be started beside it.
    """

    failure: Failure | None = None
    exit_code: int | None = None
    signal: int | None = None
    output: Payload | None = None
    output_size: int = 0
    output_truncated: bool = False
    usage: Usage = field(default_factory=Usage)
    artifacts: tuple[Artifact, ...] = ()
    left_running: bool = False


class LogStream(Enum):
    """Where a line came from."""

    STDOUT = 1
    STDERR = 2
    LOG = 3


class Sink(Protocol):
    """Where a run's words go while it runs. Never blocks: beyond the log limit it drops and counts."""

    def log(self, stream: LogStream, data: bytes) -> None:
        """Take some output, whole lines or not."""
        ...

    def progress(self, percent: float, message: str) -> None:
        """Take a progress report, 0..100."""
        ...

    def heartbeat(self) -> None:
        """The run is alive; a progress report says so too."""
        ...

    def started(self) -> None:
        """The program runs now. Called once by the executor, after the launch succeeded."""
        ...

    def ended(self) -> None:
        """Nothing of it runs any more: its end has decided what became of it, and no clock of its counts on while what
        it gave is taken in. An executor that needs no time for that need not say it.
        """
        ...


class Running(Protocol):
    """A run under way."""

    async def wait(self) -> Outcome:
        """The outcome, once everything that belongs to the run is gone. Cancelling the wait does not stop the run."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Ask all of it to end (TERM), and after the grace end it (KILL). Returns when it is gone."""
        ...


@runtime_checkable
class Pausable(Protocol):
    """A run that can be held still. Both return at once, and each may be repeated."""

    def pause(self) -> None:
        """Hold all of it still. It can be stopped all the same."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


@runtime_checkable
class Looked(Protocol):
    """A run that says things where somebody has to look for them now and then."""

    def look(self) -> None:
        """Hand on what it has said since the last look."""
        ...


def look(running: Running | None) -> None:
    """Hear whatever a run has said by now."""
    if isinstance(running, Looked):
        running.look()


def pause(running: Running) -> None:
    """Hold a run still, if it can be: the control plane asks only those executors that say `can_pause`."""
    if isinstance(running, Pausable):
        running.pause()


def resume(running: Running) -> None:
    """Let it go on."""
    if isinstance(running, Pausable):
        running.resume()


class Executor(Protocol):
    """A way of running work.

    One that cannot hold every limit of a job has an attribute `not_held`: fields of `resource_limits` and why it does
    not hold them. It is reported on each instance whose job sets one. One whose runs are all `Pausable` has an
    attribute `can_pause` that is true.
    """

    name: str

    async def open(self) -> None:
        """Make ready; raises if this agent cannot run such work at all."""
        ...

    async def launch(self, work: Work, sink: Sink) -> Running:
        """Start the work. What the user got wrong (no such command, ...) raises LaunchError, never anything else."""
        ...

    async def close(self) -> None:
        """End what is left and give everything back."""
        ...


class LaunchError(Exception):
    """The work could not be started; the attempt failed with this failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
