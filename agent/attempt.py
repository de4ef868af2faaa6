"""One attempt, from its assignment to its result: timeout, cancel, lease and status.

An executor only launches, waits and stops; everything that is the same for all of them is decided here. Whatever ends a
run first decides its status: its own end, a cancel, the timeout, or a lease that ran out. What the program left behind
(exit code, signal, output, usage) is reported in every case. Talks to nobody: the agent gives it a host.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pawl.link import Result, boot_clock
from pawl.tracing import Trace
from pawl.v1 import agent_pb2, job_pb2, task_pb2, types_pb2

from agent.artifacts import Rules
from agent.clocks import HEARTBEAT_TIMEOUT, TIMEOUT, TOTAL_TIMEOUT, Clocks
from agent.executors.base import (
    Executor,
    Failure,
    LaunchError,
    LogStream,
    Outcome,
    Payload,
    Running,
    Shard,
    Work,
    look,
    pause,
    resume,
)
from agent.limits import doubtful, limits_of, not_held, time_limit
from agent.logs import InstanceLog

DEFAULT_EXECUTOR: Final = "process"
DEFAULT_GRACE_SECONDS: Final = 10.0
DEFAULT_LEASE_SECONDS: Final = 60.0
LONGEST_BEAT_SECONDS: Final = 5.0
PROGRESS_SECONDS: Final = 0.2
"""At most one progress report in this time; the newest replaces those that wait."""

Status = task_pb2.Task

log = logging.getLogger("pawl.agent.attempt")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a run is stopped, and what its result says then."""

    status: task_pb2.Task.Status
    failure: Failure


class Host(Protocol):
    """What an attempt needs of its agent."""

    def spawn_stop(self, attempt: Attempt, grace_seconds: float) -> None:
        """Run `attempt.end_run` beside whatever else is going on."""
        ...

    def program_started(self, attempt: Attempt) -> None:
        """The program runs and has done so for a while."""
        ...

    def progressed(self, attempt: Attempt, progress: task_pb2.Progress) -> None:
        """The run said how far it is."""
        ...

    @property
    def started_after_seconds(self) -> float:
        """How long a start may be held back, so that short runs are reported by their end alone."""
        ...


def units_of(config: job_pb2.JobConfig) -> dict[str, int]:
    """What an attempt with this configuration takes up: slots, and the agent's own resources."""
    rules = config.placement
    return {**rules.resources, "slots": rules.slots if rules.HasField("slots") else 1}


def fits(free: Mapping[str, int], need: Mapping[str, int]) -> bool:
    """Whether there is as much of everything as is needed."""
    return all(free.get(unit, 0) >= count for unit, count in need.items())


class Attempt:
    """One placement of one attempt. `run` is called once; the rest may be called at any time."""

    def __init__(self, item: agent_pb2.Assign.Item, executor: Executor | None, host: Host, output: InstanceLog) -> None:
        config = item.config
        self.ref = item.instance
        self.key = (item.instance.instance_id, item.instance.token)
        self.executor_name = config.executor or DEFAULT_EXECUTOR
        self.output = output
        self.work = work_of(item)
        self.units = units_of(config)
        self.grace_seconds = self.work.grace_seconds
        self.timeout_seconds = item.timeout_seconds
        self._clocks = Clocks(
            boot_clock(),
            item.timeout_seconds,
            config.heartbeat_timeout_seconds,
            item.total_seconds_left if item.HasField("total_seconds_left") else None,
        )
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._heartbeat_seconds = config.heartbeat_timeout_seconds
        self._time_limit = time_limit(config, item.timeout_seconds)
        self._not_held = not_held(executor, config)
        self._doubtful = doubtful(config)
        self.lease_seconds = item.lease_seconds or DEFAULT_LEASE_SECONDS
        self.bound_to_lease = config.on_control_plane_lost != job_pb2.JobConfig.CONTINUE
        self.term_at = math.inf
        self._leased = asyncio.Event()
        self._leased.set()
        self.started_at: float | None = None
        self.start_said = False
        self.discarded = False
        self._executor = executor
        self._host = host
        self._verdict: Verdict | None = None
        self._running: Running | None = None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._progress: task_pb2.Progress | None = None
        self._said: task_pb2.Progress | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._progress_at = -math.inf
        self._over = False
        self._ended = False

    # Leases. Unit u, TERM and KILL are the contract's: u = min(5, lost_after / 4).

    @property
    def beat_seconds(self) -> float:
        """How often the agent has to beat for this lease."""
        return min(LONGEST_BEAT_SECONDS, self.lease_seconds / 4)

    def renew(self, from_instant: float) -> tuple[float, float] | None:
        """Count the lease from an instant; the instants of TERM and KILL, None if it is bound to no lease."""
        if not self.bound_to_lease:
            return None
        kill_at = from_instant + self.lease_seconds - self.beat_seconds
        term_at = kill_at - min(self.grace_seconds, self.lease_seconds / 4)
        if not self._leased.is_set():
            if term_at <= boot_clock() + self.beat_seconds / 2:
                return None
            self._leased.set()
        self.term_at = term_at
        return term_at, kill_at

    def begin_lease(self, from_instant: float) -> None:
        """Count the first lease. An idle agent beats so rarely that a short one may be over on arrival, or nearly: then
        nothing starts before the next renewal. The control plane counts from the placement, if that is later, so half
        a lease can be waited for.
        """
        if self.bound_to_lease:
            self._leased.clear()
            if self.renew(from_instant) is None:
                self.term_at = boot_clock() + self.lease_seconds / 2

    def lease_over(self) -> None:
        """The control plane is out of reach: stop before the work is placed elsewhere."""
        message = (
            f"stopped because the control plane was out of reach and the lease of {self.lease_seconds:g} s ran out"
        )
        verdict = Verdict(Status.FAILED, Failure("LEASE_EXPIRED", message))
        self.stop(verdict, min(self.grace_seconds, self.lease_seconds / 4))

    # Holding it still.

    @property
    def paused(self) -> bool:
        """Whether somebody holds it still."""
        return self._clocks.paused

    def pause(self) -> None:
        """Hold it still until it is let go on. What is being launched is held when it runs, what is being stopped is
        not held any more.
        """
        if self._over or self.paused or self._verdict is not None:
            return
        self._clocks.pause(boot_clock())
        self._let_go.clear()
        if self._running is not None:
            pause(self._running)
        self._arm()

    def resume(self) -> None:
        """Let it go on."""
        if self._over or not self.paused:
            return
        self._clocks.resume(boot_clock())
        self._let_go.set()
        if self._running is not None and self._verdict is None:
            resume(self._running)
        self._arm()

    # Ending it.

    def cancel(self, reason: str) -> None:
        """Somebody asked to cancel the task."""
        failure = Failure("CANCELLED", reason or "cancelled", retryable=False)
        self.stop(Verdict(Status.CANCELLED, failure), self.grace_seconds)

    def supersede(self) -> None:
        """It is not this agent's any more."""
        failure = Failure("SUPERSEDED", "the control plane gave this work to somebody else", retryable=False)
        self.stop(Verdict(Status.CANCELLED, failure), self.grace_seconds)

    def discard(self, grace_seconds: float) -> None:
        """The agent stops: end the run and report nothing, so that it is placed anew at no cost to its retries."""
        if self._over or self._ended:
            return
        # One that was being cancelled is reported as that.
        self.discarded = self._verdict is None or self.discarded
        failure = Failure("AGENT_STOPPED", "the agent was stopped")
        self.stop(Verdict(Status.CANCELLED, failure), grace_seconds)

    def stop(self, verdict: Verdict, grace_seconds: float) -> None:
        """End the run. The first verdict counts; a later call can only shorten the grace."""
        if self._over or self._ended:
            return
        first = self._verdict is None
        if first:
            self._verdict = verdict
        if self._running is not None:
            self._host.spawn_stop(self, grace_seconds)
        elif first and self._task is not None:
            self._task.cancel()  # still being launched: a plugin may be on its way

    async def end_run(self, grace_seconds: float) -> None:
        """Stop what runs and return when it is gone."""
        if self._running is not None:
            try:
                await self._running.stop(grace_seconds)
            except (Exception, SystemExit):  # its end is still waited for; the agent and its other runs go on
                log.exception("executor %s broke at the stop of %s", self.executor_name, self.ref.instance_id)

    async def run(self) -> Result:
        """The attempt's life. Raises CancelledError only if the agent itself is torn down."""
        self._task = asyncio.current_task()
        try:
            outcome = await self._outcome()
        finally:
            self._over = True
            self._disarm()
        try:
            return self._result(outcome)
        except Exception as error:  # an outcome that no message can carry
            log.exception("executor %s broke at the end of %s", self.executor_name, self.ref.instance_id)
            return self._result(Outcome(failure=_broken(self.executor_name, error)))

    async def _outcome(self) -> Outcome:
        if self._verdict is not None:
            return Outcome(failure=self._verdict.failure)
        if self._executor is None:
            message = f"this agent has no executor {self.executor_name!r}"
            return Outcome(failure=Failure("EXECUTOR_NOT_FOUND", message))
        try:
            self._arm()
            await self._leased.wait()
            await self._let_go.wait()
            if self._doubtful:
                self.log(LogStream.LOG, f"[pawl] {self._doubtful}\n".encode())
            self._running = await self._executor.launch(self.work, self)
        except LaunchError as error:
            return Outcome(failure=error.failure)
        except asyncio.CancelledError:
            if self._verdict is None or self._task is None or self._task.uncancel() > 0:
                raise
            return Outcome(failure=self._verdict.failure)
        except (Exception, SystemExit) as error:  # no executor ends the agent, whatever library it calls
            log.exception("executor %s broke at the launch of %s", self.executor_name, self.ref.instance_id)
            return Outcome(failure=_broken(self.executor_name, error))
        if self.paused:  # since it was begun to be launched
            pause(self._running)
        try:
            return await self._running.wait()
        except asyncio.CancelledError as error:
            if self._task is None or self._task.cancelling():
                raise
            return Outcome(failure=_broken(self.executor_name, error))  # something of its own was cancelled, and not we
        except (Exception, SystemExit) as error:
            log.exception("executor %s broke during the run of %s", self.executor_name, self.ref.instance_id)
            return Outcome(failure=_broken(self.executor_name, error))

    # The executor's side: what a run says while it runs.

    def log(self, stream: LogStream, data: bytes) -> None:
        """Take some output."""
        self.output.write(stream, data)

    def progress(self, percent: float, message: str) -> None:
        """Take a progress report; what comes too fast is replaced by the newest."""
        self.heartbeat()
        if self._over or math.isnan(percent):
            return
        message = message.encode("utf-8", "replace").decode()  # JSON can escape half of a surrogate pair
        self._progress = self._said = task_pb2.Progress(percent=min(100.0, max(0.0, percent)), message=message)
        if self._progress_timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._progress_at + PROGRESS_SECONDS - loop.time()
        if wait <= 0:
            self._say_progress()
        else:
            self._progress_timer = loop.call_later(wait, self._say_progress)

    def heartbeat(self) -> None:
        """It is alive."""
        self._clocks.hear(boot_clock())

    def started(self) -> None:
        """The program runs: its time counts from here."""
        if self.started_at is not None or self._over:
            return
        self.started_at = boot_clock()
        self._clocks.start(self.started_at)
        self._arm()

    def ended(self) -> None:
        """Nothing of it runs any more; whoever would stop it comes too late."""
        self._ended = True
        self._clocks.stop()
        self._arm()

    def _say_progress(self) -> None:
        self._progress_timer = None
        self._progress_at = asyncio.get_running_loop().time()
        if self._progress is not None:
            self._host.progressed(self, self._progress)
            self._progress = None

    # One timer for all: first for the word that it runs, then for what is over first.

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._clocks.next_at()
        if self.started_at is not None and not self.start_said:
            at = min(at, self.started_at + self._host.started_after_seconds)
        if at < math.inf and not self._over and self._verdict is None:
            # An hour at most: the loop's clock stands still while the machine sleeps.
            seconds = min(max(0.0, at - boot_clock()), 3600.0)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time)

    def _time(self) -> None:
        now = boot_clock()
        if self._clocks.over(now) == HEARTBEAT_TIMEOUT:
            look(self._running)  # it may have said so where nobody has looked yet
        if (code := self._clocks.over(now)) is not None:
            failure = Failure(code, self._overdue(code), retryable=code != TOTAL_TIMEOUT)
            self.stop(Verdict(Status.TIMED_OUT, failure), self.grace_seconds)
            return
        said_at = math.inf if self.started_at is None else self.started_at + self._host.started_after_seconds
        if not self.start_said and now >= said_at:
            self.start_said = True
            self._host.program_started(self)
        self._arm()

    def _overdue(self, code: str) -> str:
        if code == TIMEOUT:
            return f"ran longer than its {self._time_limit} of {self.timeout_seconds:g} s"
        if code == HEARTBEAT_TIMEOUT:
            return f"said nothing for its heartbeat timeout of {self._heartbeat_seconds:g} s"
        return "the total timeout of its task was over"

    def _disarm(self) -> None:
        for timer in (self._timer, self._progress_timer):
            if timer is not None:
                timer.cancel()

    # The result.

    def _result(self, outcome: Outcome) -> Result:
        finished_at = boot_clock()
        verdict = self._verdict
        status, failure = Status.SUCCEEDED, None
        if verdict is not None:
            status, failure = verdict.status, verdict.failure
            if outcome.left_running and outcome.failure is not None:
                # Another attempt would run beside this one.
                message = f"{failure.message}; {outcome.failure.message}"
                failure = replace(failure, message=message, retryable=False)
        elif outcome.failure is not None:
            status, failure = Status.FAILED, outcome.failure
        usage = outcome.usage
        item = agent_pb2.Finished.Item(
            instance=self.ref,
            status=status,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            output_size=outcome.output_size,
            output_truncated=outcome.output_truncated,
            metrics=task_pb2.InstanceMetrics(
                wall_seconds=usage.wall_seconds,
                user_cpu_seconds=usage.user_cpu_seconds,
                system_cpu_seconds=usage.system_cpu_seconds,
                peak_memory_bytes=usage.peak_memory_bytes,
                read_bytes=usage.read_bytes,
                written_bytes=usage.written_bytes,
                cpu_throttled_seconds=usage.cpu_throttled_seconds,
            ),
        )
        for limit, reason in self._not_held:
            item.limits_not_enforced.add(limit=limit, reason=reason)
        if outcome.output is not None:
            item.output.data = outcome.output.data
            item.output.content_type = outcome.output.content_type
        for one in outcome.artifacts:
            item.artifacts.add(name=one.name, size=one.size, digest=one.digest, content_type=one.content_type)
        if self._said is not None:  # the last word: what is sent of it after the end would not be heard
            item.progress.CopyFrom(self._said)
        if failure is not None:
            item.error.code, item.error.message, item.error.retryable = failure.code, failure.message, failure.retryable
            if failure.retry_after_seconds is not None:
                item.retry_after_seconds = failure.retry_after_seconds
        return Result(item, finished_at, self.started_at)


def _broken(executor: str, error: BaseException) -> Failure:
    """A defect of an executor is the failure of one run."""
    message = f"executor {executor}: {error}"
    return Failure("EXECUTOR_BROKEN", message.encode("utf-8", "backslashreplace").decode())


def work_of(item: agent_pb2.Assign.Item) -> Work:
    """What an executor has to know of an assignment."""
    config = item.config
    return Work(
        namespace_id=item.namespace_id,
        task_id=item.instance.task_id,
        instance_id=item.instance.instance_id,
        token=item.instance.token,
        attempt=item.attempt,
        job_name=item.job_name,
        executor=config.executor or DEFAULT_EXECUTOR,
        settings=_settings_of(config),
        environment=dict(item.environment),
        parameters=_payload_of(item.parameters) if item.HasField("parameters") else None,
        limits=limits_of(config),
        grace_seconds=config.grace_seconds if config.HasField("grace_seconds") else DEFAULT_GRACE_SECONDS,
        trace=Trace.of({"traceparent": item.traceparent, "tracestate": item.tracestate, "baggage": item.baggage}),
        shard=Shard(item.group_id, item.shard_index, item.shard_total) if item.shard_total else None,
    )


def _payload_of(payload: types_pb2.Payload) -> Payload:
    return Payload(payload.data, payload.content_type or "application/json")


def _settings_of(config: job_pb2.JobConfig) -> dict[str, object]:
    if config.executor == "wasm":
        wasm = config.wasm
        settings: dict[str, object] = {"plugin": wasm.plugin.removeprefix("sha256:"), "config": dict(wasm.config)}
        if wasm.entry:
            settings["entry"] = wasm.entry
        return settings
    if config.executor == "function":
        return {"name": config.function.name}
    if config.executor not in ("", "process", "http"):
        return dict(json.loads(config.options.data or b"{}"))
    if config.executor == "http":
        return {"url": config.http.url, "method": config.http.method, "headers": dict(config.http.headers)}
    return {
        "cmd": config.cmd,
        "args": list(config.args),
        "cwd": config.cwd,
        "capture_output": config.capture_output if config.HasField("capture_output") else True,
        "output_content_type": config.output_content_type,
        "artifacts": _artifact_rules(config.artifacts) if config.HasField("artifacts") else None,
    }


def _artifact_rules(message: job_pb2.ArtifactRules) -> Rules:
    rules = Rules()
    return Rules(
        message.max_files if message.HasField("max_files") else rules.max_files,
        message.max_file_size if message.HasField("max_file_size") else rules.max_file_bytes,
        message.max_total_size if message.HasField("max_total_size") else rules.max_total_bytes,
    )


_RECORD: Final = struct.Struct(">16sddd")


def to_record(result: Result) -> bytes:
    """A result as it lies in the spool: boot, start, end, end by the wall clock, then the item."""
    started = math.nan if result.started_at is None else result.started_at
    return _RECORD.pack(boot_id(), started, result.finished_at, time.time()) + result.item.SerializeToString()


def of_record(data: bytes) -> Result:
    """Read it back. After a reboot the boot clock began anew: the age is then taken from the wall clock."""
    boot, started, finished, written = _RECORD.unpack_from(data)
    item = agent_pb2.Finished.Item.FromString(data[_RECORD.size :])
    if boot != boot_id():
        shift = boot_clock() - max(0.0, time.time() - written) - finished
        started, finished = started + shift, finished + shift
    return Result(item, finished, None if math.isnan(started) else started)


@functools.cache
def boot_id() -> bytes:
    """Which start of the machine this is: instants of the boot clock mean nothing in another one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return uuid.UUID(file.read().strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
