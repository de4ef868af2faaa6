"""The agent: takes work from the control plane, runs it, and tells what became of it.

Theory of operation. The link delivers words, each handled at once: work becomes an `Attempt` with one asyncio task;
its result goes to the spool first, then its log is flushed for a moment, then the result goes to the link and stays in
the spool until it is acknowledged. Whatever dies in between, the result is sent by this agent or by its next start.

Leases: the control plane counts from the last sign of life that it got, the agent from the moment it sent that; the
keeper, a process of its own, counts the same for the processes, so that a frozen agent cannot overrun one. The state
folder has one agent at a time; what an earlier start ran is dead before this one opens its stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import shutil
import socket
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from pawl.channel import CHANNEL_OPTIONS
from pawl.credential import Credential
from pawl.link import PROTOCOL_VERSION, Link, LinkEnded, Result, boot_clock
from pawl.v1 import agent_pb2, agent_pb2_grpc, task_pb2

from agent import machine
from agent.artifacts import ArtifactFolder
from agent.attempt import Attempt, fits, of_record, to_record, units_of
from agent.config import Settings
from agent.executors.base import Executor
from agent.executors.host_calls import HostCalls
from agent.keeper import Keeper
from agent.limits import LOG_BYTES
from agent.logs import CALL_SECONDS, LogShipper
from agent.outputs import CALL_SECONDS as PUT_SECONDS
from agent.outputs import INLINE_BYTES, Outputs, has_cargo, name_of
from agent.plugins import Metadata, ReportingExecutor
from agent.spans import AttemptSpan, AttemptSpans, attempt_ids, ids_of
from agent.spool import Spool
from agent.statedir import StateDir, open_state_dir

WASM_ABI: Final = 1
FEATURES: Final = ("units",)  # it counts the slots and resources that each attempt takes up
LOG_WAIT_SECONDS: Final = 1.0
"""How long a result may wait for its log while the control plane is in reach."""
LEAVE_SECONDS: Final = 5.0
HURRIED_SECONDS: Final = 0.5
RECENT_KEPT: Final = 4096
"""Acknowledged placements that are remembered, so that a late repeat of an assignment starts nothing."""
_PLACEMENT: Final = re.compile(r"[0-9a-f-]{36}\.[0-9]+")

Key = tuple[str, int]

log = logging.getLogger("pawl.agent")


@dataclass(slots=True)
class Parts:
    """What an agent works with; made by `open_parts`, in one place."""

    settings: Settings
    state: StateDir
    keeper: Keeper
    spool: Spool
    channel: grpc.aio.Channel
    executors: dict[str, Executor]
    spans: AttemptSpans
    credential: Credential
    artifacts: ArtifactFolder
    reporting: ReportingExecutor | None = None
    host_calls: HostCalls | None = None
    functions: Sequence[agent_pb2.FunctionInfo] = ()
    lingering: Callable[[], int] = lambda: 0
    """Runs that could not be ended and go on though their attempts are over: each still takes a slot."""
    ended: Callable[[Attempt, Result], None] = lambda _attempt, _result: None
    """Told of every attempt that was not given back."""

    def metadata(self) -> Metadata:
        """What goes with every call and with the stream."""
        return (("pawl-namespace", self.settings.agent.namespace), *self.credential.metadata)


class Agent:
    """The peer of a link and the host of its attempts."""

    def __init__(self, parts: Parts) -> None:
        settings = parts.settings
        self._parts = parts
        self._settings = settings
        self._keeper = parts.keeper
        self._spool = parts.spool
        self._metadata = parts.metadata
        self._stub = agent_pb2_grpc.AgentServiceStub(parts.channel)
        self._logs = LogShipper(self._append_logs, settings.name, settings.agent.namespace)
        self._link = Link(parts.channel, self, metadata=self._metadata)
        self._outputs = Outputs(
            parts.state.spool / "outputs",
            self._put_output,
            lambda result: result.key in self._results,
            self._output_put,
            agent_id=settings.name,
            namespace_id=settings.agent.namespace,
            artifacts=parts.artifacts,
            put_artifact=self._put_artifact,
        )
        self._gauge = machine.Gauge()
        self._labels = {**settings.labels, **machine.labels()}
        self._slots = settings.agent.max_concurrent_tasks
        self._units = {**settings.units, "slots": self._slots}
        self._attempts: dict[Key, Attempt] = {}
        self._used: Counter[str] = Counter()  # units that they take up
        self._tasks: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._results: dict[Key, Result] = {}
        self._beats: dict[Key, float] = {}  # of ended attempts whose outputs are on their way: their leases run on
        self._recent: OrderedDict[Key, None] = OrderedDict()
        self._forget: list[Key] = []
        self._forget_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._stops = 0
        self._draining = False
        self._lease_base = 0.0
        self._hello_at = 0.0
        self._lease_timer: asyncio.TimerHandle | None = None
        self._lease_at = math.inf
        self._group: asyncio.TaskGroup | None = None
        self.started_after_seconds = 1.0

    @property
    def running(self) -> int:
        """Instances that it has now."""
        return len(self._attempts)

    @property
    def connected(self) -> bool:
        """Whether the control plane is in reach."""
        return self._link.connected

    # Its life.

    async def run(self) -> None:
        """Serve until `stop`. Raises LinkEnded when the control plane does not want this agent any more."""
        for _, data in self._spool.pending():
            result = of_record(data)
            self._results[result.key] = result
        await asyncio.to_thread(self._outputs.open, map(name_of, self._results.values()))
        for result in tuple(self._results.values()):
            self._deliver(result)
        self._link.beat_every(self._settings.agent.heartbeat_interval)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                link = group.create_task(self._link.run())
                services = [group.create_task(self._logs.run()), group.create_task(self._forget_acknowledged()),
                            group.create_task(self._check()), group.create_task(self._clean()),
                            group.create_task(self._outputs.run())]  # fmt: skip
                if self._parts.reporting is not None:
                    services.append(group.create_task(self._parts.reporting.run()))
                if self._parts.host_calls is not None:
                    services.append(group.create_task(self._parts.host_calls.serve()))
                await self._until_stopped(link)
                for service in (link, *services):
                    service.cancel()
        except BaseExceptionGroup as errors:
            ended = errors.subgroup(LinkEnded)
            if ended is None:
                raise
            raise _leaf(ended) from None
        finally:
            if self._lease_timer is not None:
                self._lease_timer.cancel()

    def stop(self) -> None:
        """Take nothing new, finish what runs within the drain timeout, leave. A second call: at once."""
        self._stops += 1
        self._changed.set()

    async def _until_stopped(self, link: asyncio.Task[None]) -> None:
        await self._wait(lambda: self._stops > 0, math.inf)
        log.info("stopping: %d running%s", self.running, self._waiting_words())
        self._draining = True
        self._say_credits()
        await self._wait(lambda: not self._tasks or self._stops > 1, self._settings.agent.drain_timeout)
        longest = 0.0
        for attempt in tuple(self._attempts.values()):
            grace = 0.0 if self._stops > 1 else attempt.grace_seconds
            longest = max(longest, grace)
            attempt.discard(grace)
        await self._wait(lambda: not self._tasks or self._stops > 1, longest + LEAVE_SECONDS)
        for attempt in tuple(self._attempts.values()):
            attempt.discard(0.0)
        await self._wait(lambda: not self._tasks, LEAVE_SECONDS)
        await self._wait(
            lambda: not self._outputs.waiting or not self._link.connected or self._stops > 1,
            self._settings.agent.drain_timeout,
        )
        self._link.leave("stopped")
        patient = self._link.connected and self._stops == 1
        await asyncio.wait({link}, timeout=LEAVE_SECONDS if patient else HURRIED_SECONDS)
        if not link.done():
            log.warning("the control plane did not hear the goodbye; %d results wait on disk", len(self._results))

    def _waiting_words(self) -> str:
        patience = f"{self._settings.agent.drain_timeout:g} s"
        return f", which may go on for {patience}; a second signal ends it at once" if self._tasks else ""

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until it holds, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    # Work.

    def assigned(self, items: Sequence[agent_pb2.Assign.Item]) -> None:
        """Start what there is room for, give back the rest."""
        taken: list[agent_pb2.InstanceRef] = []
        refused: list[agent_pb2.InstanceRef] = []
        for item in items:
            key = (item.instance.instance_id, item.instance.token)
            if key in self._attempts or key in self._results:
                taken.append(item.instance)
            elif key in self._recent:
                continue
            elif not fits(self._free(), units_of(item.config)) or self._is_stale(item.instance):
                refused.append(item.instance)
            else:
                taken.append(item.instance)
                self._begin(key, item)
        self._link.accept(taken, refused)
        self._say_credits()

    def _is_stale(self, ref: agent_pb2.InstanceRef) -> bool:
        known = self._tasks.get(ref.task_id)
        return known is not None and known[0].ref.token >= ref.token

    def _begin(self, key: Key, item: agent_pb2.Assign.Item) -> None:
        assert self._group is not None  # the link runs inside it
        executor = self._parts.executors.get(item.config.executor or "process")
        output = self._logs.open(item.instance, LOG_BYTES)
        span = self._parts.spans.begin(item)  # before the attempt, which hands its place in the trace on
        attempt = Attempt(item, executor, self, output)
        before = self._tasks.get(item.instance.task_id)
        if before is not None:
            before[0].supersede()
        self._attempts[key] = attempt
        self._used.update(attempt.units)
        told = attempt_ids.set(ids_of(item))  # the new task begins with them, whoever called us goes on without
        task = self._group.create_task(self._serve(attempt, None if before is None else before[1], span))
        attempt_ids.reset(told)
        self._tasks[item.instance.task_id] = attempt, task
        attempt.begin_lease(self._lease_base)
        self._look_at_leases_at(attempt.term_at)
        if attempt.beat_seconds < self._settings.agent.heartbeat_interval:
            self._beat_for((attempt,))

    async def _serve(self, attempt: Attempt, before: asyncio.Task[None] | None, span: AttemptSpan | None) -> None:
        """An attempt with all that surrounds it. One task of asyncio, the only one for an ordinary run."""
        try:
            if before is not None:
                await asyncio.wait({before})
            log.debug("the attempt begins")
            result = await attempt.run()
            if span is not None:
                span.end(None if attempt.discarded else result)
            _tell_end(attempt, result)
            if attempt.discarded:
                await attempt.output.close(0.0)
                await self._outputs.remove([name_of(result)])
                return
            await self._keep(result)
            self._parts.ended(attempt, result)
            if has_cargo(result):
                self._beats[result.key] = attempt.beat_seconds
            self._over(attempt)
            self._say_credits()
            await self._close_log(attempt)
            if attempt.key in self._results:  # else the control plane said meanwhile that nobody waits for it
                self._deliver(result)
        finally:
            if span is not None:
                span.end(None)
            self._over(attempt)
            known = self._tasks.get(attempt.work.task_id)
            if known is not None and known[0] is attempt:
                del self._tasks[attempt.work.task_id]
            self._changed.set()

    async def _close_log(self, attempt: Attempt) -> None:
        """All of its log before its result, for whoever follows it stops at the end; but no result waits for long."""
        output = attempt.output
        await output.close(LOG_WAIT_SECONDS if self._link.connected else 0.0)
        if output.is_out or self._link.connected:
            return

        def is_decided() -> bool:
            return self._link.connected or self._stops > 0 or attempt.key not in self._results

        await self._wait(is_decided, math.inf)
        if self._link.connected:
            await output.leave(LOG_WAIT_SECONDS)

    def _over(self, attempt: Attempt) -> None:
        """What it took up is free again, once."""
        if self._attempts.pop(attempt.key, None) is not None:
            self._used.subtract(attempt.units)

    async def _keep(self, result: Result) -> None:
        """On disk before anybody is told. A disk that fails costs the safety, not the result."""
        self._results[result.key] = result
        if len(result.item.output.data) > INLINE_BYTES:
            await self._outputs.keep(result)
        try:
            await self._spool.put_many([(_name(result.key), to_record(result))])
        except Exception as error:
            log.error("the result of %s is kept in memory only: %s", result.item.instance.instance_id, error)

    def _deliver(self, result: Result) -> None:
        """To the control plane, a large output and artifacts before the result that names them."""
        if has_cargo(result):
            self._outputs.submit(result)
        else:
            self._link.finished(result)

    def _output_put(self, result: Result) -> None:
        if result.key in self._results:
            self._link.finished(result)
        self._changed.set()

    def spawn_stop(self, attempt: Attempt, grace_seconds: float) -> None:
        """Stop a run beside its wait."""
        assert self._group is not None  # attempts live inside it
        self._group.create_task(attempt.end_run(grace_seconds))

    def program_started(self, attempt: Attempt) -> None:
        """It lives long enough to be worth a word, and a lease of its own at the keeper."""
        self._link.started(_started(attempt))
        self._lease_processes((attempt,))

    def progressed(self, attempt: Attempt, progress: task_pb2.Progress) -> None:
        """How far it is."""
        self._link.progress(agent_pb2.ProgressReports.Item(instance=attempt.ref, progress=progress))

    def _free(self) -> dict[str, int]:
        """The slots that are free, and what is of its resources."""
        if self._draining or self._spool.full or self._outputs.full:
            return dict.fromkeys(self._units, 0)
        free = {name: max(0, count - self._used[name]) for name, count in self._units.items()}
        free["slots"] = max(0, free["slots"] - self._parts.lingering())
        return free

    def _say_credits(self) -> None:
        free = self._free()
        self._link.credits(free.pop("slots"), free)

    # The link's words.

    def hello(self) -> agent_pb2.Hello:
        """Who it is and what it has in hand."""
        self._hello_at = boot_clock()
        settings, state = self._settings, self._parts.state
        return agent_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            features=FEATURES,
            agent_id=settings.name,
            namespace_id=settings.agent.namespace,
            serves=settings.agent.serves,
            state_id=state.state_id,
            generation=state.generation,
            labels=self._labels,
            executors=[_info(executor) for executor in self._parts.executors.values()],
            functions=self._parts.functions,
            slots=self._slots,
            resources=settings.units,
            hostname=socket.gethostname(),
            agent_version=machine.version(),
            running=[attempt.ref for key, attempt in self._attempts.items() if key not in self._results],
            finished=[result.item.instance for result in self._results.values()],
            pid=os.getpid(),
        )

    def reconciled(self, welcome: agent_pb2.Welcome, reconcile: agent_pb2.Reconcile) -> None:
        """A stream is open: obey what it says about the instances of the hello."""
        log.info(
            "connected to %s as %s (Pawl %s)",
            self._settings.address.target, self._settings.name, welcome.server_version,
        )  # fmt: skip
        self._logs.in_reach()
        self._changed.set()
        self.started_after_seconds = welcome.started_after_seconds
        for ref in reconcile.stop:
            attempt = self._attempts.get((ref.instance_id, ref.token))
            if attempt is not None:
                attempt.supersede()
        self._drop((ref.instance_id, ref.token) for ref in reconcile.forget)
        self.paused(reconcile.paused)
        held = {(ref.instance_id, ref.token) for ref in reconcile.paused}
        self.resumed([ref for ref in reconcile.keep if (ref.instance_id, ref.token) not in held])
        self.renewed(self._hello_at)
        for attempt in self._attempts.values():
            if attempt.start_said:
                self._link.started(_started(attempt))
        self._say_credits()

    def cancelled(self, items: Sequence[agent_pb2.Cancel.Item]) -> None:
        """Stop what is asked to stop."""
        for item in items:
            attempt = self._attempts.get((item.instance.instance_id, item.instance.token))
            if attempt is not None:
                attempt.cancel(item.reason)

    def paused(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Hold them still."""
        for attempt in self._named(refs):
            attempt.pause()

    def resumed(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Let them go on."""
        for attempt in self._named(refs):
            attempt.resume()

    def _named(self, refs: Iterable[agent_pb2.InstanceRef]) -> Iterator[Attempt]:
        for ref in refs:
            attempt = self._attempts.get((ref.instance_id, ref.token))
            if attempt is not None:
                yield attempt

    def drained(self, reason: str) -> None:
        """Take nothing new."""
        log.info("draining: %s", reason or "the control plane asked for it")
        self._draining = True
        self._say_credits()

    def acknowledged(self, results: Iterable[Result]) -> None:
        """These are safe on the other side."""
        self._drop(result.key for result in results)

    def disconnected(self) -> None:
        """Work goes on; its leases run."""
        log.info("out of reach of the control plane: %d running", self.running)
        # Nobody keeps an output for ever that no result has named: it is looked after again before the next try.
        for result in self._link.withdraw(has_cargo):
            self._deliver(result)
        self._changed.set()

    def metrics(self) -> agent_pb2.AgentMetrics:
        """What the machine uses, and what waits for the control plane."""
        found = self._gauge.read()
        found.results_waiting = len(self._results)
        found.spool_bytes = self._spool.live_bytes + self._outputs.waiting_bytes
        found.log_bytes = self._logs.waiting_bytes
        return found

    def _drop(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._beats.pop(key, None)
            if self._results.pop(key, None) is not None:
                self._forget.append(key)
                self._recent[key] = None
        while len(self._recent) > RECENT_KEPT:
            self._recent.popitem(last=False)
        if self._forget:
            self._forget_now.set()

    # Leases.

    def renewed(self, sent_at: float) -> None:
        """Every lease counts from here."""
        self._lease_base = max(self._lease_base, sent_at)
        self._lease_at = math.inf
        attempts = tuple(self._attempts.values())
        for attempt in attempts:
            attempt.renew(self._lease_base)
            self._look_at_leases_at(attempt.term_at)
        self._lease_processes(attempt for attempt in attempts if attempt.start_said)
        self._beat_for(attempts)

    def _beat_for(self, attempts: Iterable[Attempt]) -> None:
        beats = (*self._beats.values(), *(attempt.beat_seconds for attempt in attempts))
        shortest = min(beats, default=math.inf)
        self._link.beat_every(min(self._settings.agent.heartbeat_interval, shortest))

    def _lease_processes(self, attempts: Iterable[Attempt]) -> None:
        """Tell the keeper, which counts on when the agent cannot."""
        now = boot_clock()
        terms: dict[str, tuple[float | None, float | None]] = {}
        for attempt in attempts:
            instants = attempt.renew(self._lease_base)
            if instants is not None:
                terms[attempt.work.key] = instants[0] - now, instants[1] - now
        if terms:
            self._keeper.lease_many(terms)

    def _look_at_leases_at(self, instant: float) -> None:
        if instant < self._lease_at:
            if self._lease_timer is not None:
                self._lease_timer.cancel()
            self._lease_at = instant
            wait = max(0.0, instant - boot_clock())
            self._lease_timer = asyncio.get_running_loop().call_later(wait, self._leases_due)

    def _leases_due(self) -> None:
        now, self._lease_at = boot_clock(), math.inf
        for attempt in tuple(self._attempts.values()):
            if attempt.term_at <= now:
                attempt.lease_over()
            else:
                self._look_at_leases_at(attempt.term_at)

    # What goes on beside.

    async def _append_logs(self, request: agent_pb2.AppendLogsRequest) -> object:
        return await self._stub.AppendLogs(request, timeout=CALL_SECONDS, metadata=self._metadata())

    async def _put_output(self, request: agent_pb2.PutOutputRequest) -> agent_pb2.PutOutputResponse:
        return await self._stub.PutOutput(request, timeout=PUT_SECONDS, metadata=self._metadata())

    async def _put_artifact(self, request: agent_pb2.PutArtifactRequest) -> agent_pb2.PutArtifactResponse:
        return await self._stub.PutArtifact(request, timeout=PUT_SECONDS, metadata=self._metadata())

    async def _forget_acknowledged(self) -> None:
        while True:
            await self._forget_now.wait()
            self._forget_now.clear()
            keys, self._forget = self._forget, []
            try:
                await self._spool.remove_many(_name(key) for key in keys)
            except OSError as error:
                log.warning("%d acknowledged results stay on disk: %s", len(keys), error)
            else:
                await self._outputs.remove(_name(key) for key in keys)

    async def _check(self) -> None:
        """Say the free slots now and then even if nothing changed."""
        while True:
            await asyncio.sleep(self._settings.agent.task_check_interval)
            if self._link.connected:
                self._say_credits()

    async def _clean(self) -> None:
        """Try again to remove folders of tasks that are over."""
        if not self._settings.executor.cleanup_enabled:
            return
        while True:
            await asyncio.sleep(self._settings.executor.cleanup_interval)
            alive = {attempt.work.key for attempt in self._attempts.values()}
            await asyncio.to_thread(_remove_folders, self._settings.work_dir, alive)


Outfit = Callable[[Parts, contextlib.AsyncExitStack], Awaitable[None]]
"""Adds what runs the work, by `add_executor`: see `agent.outfit`."""


@contextlib.asynccontextmanager
async def opened(settings: Settings, outfit: Outfit) -> AsyncIterator[Parts]:
    """Everything an agent works with, made ready, and given back in reverse order."""
    async with contextlib.AsyncExitStack() as stack:
        # Before anything else: what an earlier start of this agent ran must be dead.
        state = await asyncio.to_thread(open_state_dir, settings.data_dir)
        stack.callback(state.close)
        keeper = Keeper(state)
        await keeper.open()
        stack.push_async_callback(keeper.close)
        spool = await asyncio.to_thread(Spool, state.spool)
        stack.callback(spool.close)
        channel = open_channel(settings)
        stack.push_async_callback(channel.close)
        spans = AttemptSpans(settings.telemetry.otlp_endpoint, settings.name)
        stack.push_async_callback(asyncio.to_thread, spans.shutdown)
        artifacts = ArtifactFolder(state.spool / "artifacts")
        parts = Parts(settings, state, keeper, spool, channel, {}, spans, settings.credential(), artifacts)
        await outfit(parts, stack)
        yield parts


def open_channel(settings: Settings) -> grpc.aio.Channel:
    """A channel to the control plane; it connects by itself."""
    address = settings.address
    if address.tls:
        return grpc.aio.secure_channel(address.target, grpc.ssl_channel_credentials(), options=CHANNEL_OPTIONS)
    return grpc.aio.insecure_channel(address.target, options=CHANNEL_OPTIONS)


async def add_executor(parts: Parts, stack: contextlib.AsyncExitStack, executor: Executor) -> None:
    """Open an executor, close it in its turn, and let the agent have it. Raises what its `open` raises."""
    await executor.open()
    stack.push_async_callback(executor.close)
    parts.executors[executor.name] = executor


def _info(executor: Executor) -> agent_pb2.ExecutorInfo:
    """What is told of an executor. One that is none of ours may have a schema of its jobs' options."""
    abi = WASM_ABI if executor.name == "wasm" else 0
    return agent_pb2.ExecutorInfo(
        name=executor.name,
        abi=abi,
        options_schema=getattr(executor, "options_schema", ""),
        can_pause=getattr(executor, "can_pause", False),
    )


def _started(attempt: Attempt) -> agent_pb2.Started.Item:
    began = attempt.started_at if attempt.started_at is not None else boot_clock()
    return agent_pb2.Started.Item(instance=attempt.ref, seconds_ago=max(0.0, boot_clock() - began))


def _tell_end(attempt: Attempt, result: Result) -> None:
    """How it ended, for the agent's own log: codes alone, since messages hold what programs said."""
    if attempt.discarded:
        log.info("the attempt was given back")
        return
    item = result.item
    if item.HasField("error"):
        log.info("the attempt ended: %s, %s", task_pb2.Task.Status.Name(item.status), item.error.code)
    else:
        log.debug("the attempt ended: %s", task_pb2.Task.Status.Name(item.status))


def _name(key: Key) -> str:
    """A placement's key in the spool."""
    return f"{key[0]}.{key[1]}"


def _remove_folders(root: Path, alive: set[str]) -> None:
    """Remove the folders of placements that are over; nothing else that may lie there."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if _PLACEMENT.fullmatch(entry.name) and entry.name not in alive:
                shutil.rmtree(entry.path, ignore_errors=True)


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
