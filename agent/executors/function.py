"""The executor `function`: runs the task functions of an SDK worker, in its own process or in one for each run.

Inline, an async function runs on the worker's own loop and any other one in a thread. Neither is the loop of the link:
a function that blocks costs the worker no lease. Such a run cannot be killed. To stop it, it is asked (its task is
cancelled, `ctx.cancelled` is true); after the grace TaskCancelled is raised in its thread for a moment; what goes on
even then is left behind, takes its slot until it ends, and whatever it returns is nobody's.

A process of its own is started by the executor of programs, with all that this does: limits, TERM, grace, KILL, leases.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pawl import calling, function_process
from pawl.context import Context, Identity
from pawl.failures import Failed, TaskCancelled, failed_by
from pawl.v1 import job_pb2, types_pb2
from pawl.workflow import TaskFunction

from agent.executors.base import (
    Failure,
    LaunchError,
    LogStream,
    Outcome,
    Payload,
    Running,
    Sink,
    Usage,
    Work,
    pause,
    resume,
)
from agent.executors.capture import CappedBytes
from agent.executors.process import ProcessExecutor

INSIST_SECONDS: Final = 2.0
"""How long a thread that ignores the end of its grace is interrupted, before it is left behind."""
INSIST_EVERY: Final = 0.05
WAITING_BYTES: Final = 1 << 20
"""Of a run's words that its loop has not taken yet; of more, the rest is counted and left out."""
NOT_HELD: Final = dict.fromkeys(
    ("max_memory_mb", "max_cpu_percent", "max_processes", "max_open_files"),
    "the function runs inline, in the worker's own process",
)
HEAD_BYTES: Final = 8_192
"""Room for the head of a result beside its output."""

Function = TaskFunction[..., Any]


class FunctionExecutor:
    """The Executor named `function`. `loop`: the worker's own, where async functions run."""

    name = "function"

    def __init__(
        self, functions: Iterable[Function], loop: asyncio.AbstractEventLoop, processes: ProcessExecutor | None
    ) -> None:
        """`processes` runs what has a process of its own; without it such a function is refused."""
        self._functions = {one.name: one for one in functions}
        self._loop = loop
        self._processes = processes
        self._specs: dict[str, str] = {}
        self._runs: set[InlineRun] = set()
        self._left: set[InlineRun] = set()

    @property
    def lingering(self) -> int:
        """Runs that could not be ended: they go on though nobody waits for them."""
        return len(self._left)

    @property
    def can_pause(self) -> bool:
        """Whether every function has a process of its own: of calls in the worker none can be held still."""
        return bool(self._specs) and len(self._specs) == len(self._functions)

    def not_held(self, config: job_pb2.JobConfig) -> Mapping[str, str]:
        """Limits that are not held for this function: a process of its own holds all of them."""
        return {} if config.function.name in self._specs else NOT_HELD

    async def open(self) -> None:
        """ValueError for a function that no other process could find."""
        for one in self._functions.values():
            if one.isolation == "process":
                self._specs[one.name] = function_process.spec_of(one).encoded()
        if self._specs and self._processes is not None:
            await self._processes.open()

    async def launch(self, work: Work, sink: Sink) -> Running:
        """Call the function. LaunchError if this worker does not have it."""
        task = self._functions.get(str(work.settings.get("name", "")))
        if task is None:
            message = f"this worker has no function {work.settings.get('name')!r}"
            raise LaunchError(Failure("FUNCTION_NOT_FOUND", message))
        if task.name in self._specs:
            return await self._launch_process(self._specs[task.name], work, sink)
        run = InlineRun(task, work, sink, self._loop, self._ended)
        self._runs.add(run)
        run.begin()
        sink.started()
        return run

    async def close(self) -> None:
        """End what is left."""
        await asyncio.gather(*(run.stop(0) for run in tuple(self._runs)))
        if self._specs and self._processes is not None:
            await self._processes.close()

    def _ended(self, run: InlineRun, *, left: bool) -> None:
        """A run is over, or it is left behind and over later."""
        self._runs.discard(run)
        if left:
            self._left.add(run)
        else:
            self._left.discard(run)

    async def _launch_process(self, spec: str, work: Work, sink: Sink) -> ProcessRun:
        if self._processes is None:
            raise LaunchError(Failure("EXECUTOR_NOT_FOUND", "this worker starts no processes", retryable=False))
        secret = secrets.token_hex(8)
        environment = {**work.environment, "PAWL_FUNCTION_PROCESS": secret}
        if work.parameters is not None:
            environment["PAWL_FUNCTION_INPUT"] = work.parameters.content_type or "application/json"
        program = replace(
            work,
            settings={
                "cmd": sys.executable,
                "args": ["-m", "pawl.function_process", spec],
                "cwd": os.getcwd(),  # as inline
                "capture_output": False,
            },
            environment=environment,
            limits=replace(work.limits, output_bytes=work.limits.output_bytes + HEAD_BYTES),
        )
        ear = MarkedWords(sink, secret)
        return ProcessRun(await self._processes.launch(program, ear), ear, secret, work.limits.output_bytes)


# Inline.


class Mouth:
    """A run's voice: takes words from any thread, and hands them to the sink on the loop of the link."""

    def __init__(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        self._sink = sink
        self._loop = loop
        self._lock = threading.Lock()
        self._log = bytearray()
        self._left_out = 0
        self._progress: tuple[float, str] | None = None
        self._alive = False
        self._due = False
        self._shut = False

    def log(self, data: bytes) -> None:
        """Lines for the task's log."""
        with self._lock:
            if len(self._log) + len(data) > WAITING_BYTES:
                self._left_out += len(data)
            else:
                self._log += data
            self._wake()

    def progress(self, percent: float, message: str) -> None:
        """How far it is."""
        with self._lock:
            self._progress = (float(percent), str(message))
            self._wake()

    def heartbeat(self) -> None:
        """It is alive."""
        with self._lock:
            self._alive = True
            self._wake()

    def shut(self) -> None:
        """Say what is left, and nothing more. On the loop of the link."""
        self._flush()
        self._shut = True

    def _wake(self) -> None:
        if self._due or self._shut:
            return
        self._due = True
        try:
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop is closed: the worker is gone
            self._shut = True

    def _flush(self) -> None:
        with self._lock:
            log, self._log = bytes(self._log), bytearray()
            left_out, self._left_out = self._left_out, 0
            progress, self._progress = self._progress, None
            alive, self._alive = self._alive, False
            self._due = False
        if self._shut:
            return
        if log:
            self._sink.log(LogStream.LOG, log)
        if left_out:
            self._sink.log(LogStream.LOG, b"[pawl: %d bytes left out]\n" % left_out)
        if progress is not None:
            self._sink.progress(*progress)
        elif alive:
            self._sink.heartbeat()


class InlineRun:
    """One call under way in this process."""

    def __init__(
        self,
        task: Function,
        work: Work,
        sink: Sink,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[..., None],
    ) -> None:
        self._task = task
        self._work = work
        self._sink = sink
        self._theirs = loop
        self._ours = asyncio.get_running_loop()
        self._on_end = on_end
        self._mouth = Mouth(sink, self._ours)
        self._parameters = _message(work.parameters)
        self._context = Context(_identity(work), self._mouth, self._parameters)
        self._ended: asyncio.Future[None] = self._ours.create_future()
        self._over = asyncio.Event()  # it ended, or was left behind
        self._outcome: Outcome | None = None
        self._began = time.monotonic()
        self._cpu = 0.0
        self._thread: threading.Thread | None = None
        self._running: asyncio.Task[calling.Called] | None = None

    def begin(self) -> None:
        """Call it."""
        if self._task.is_async:
            self._hand_over(self._begin_async)
        else:
            self._thread = threading.Thread(target=self._in_thread, name=self._task.name, daemon=True)
            self._thread.start()

    async def wait(self) -> Outcome:
        """What came of it, once it has ended or was left behind."""
        await self._over.wait()
        assert self._outcome is not None, "over means that there is one"
        return self._outcome

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, insist after the grace, and leave it behind if that is no use either."""
        self._context.cancel("stopped")
        self._cancel_task()
        if await self._ends_within(grace_seconds):
            return
        until = time.monotonic() + INSIST_SECONDS
        while time.monotonic() < until:
            self._cancel_task()
            self._interrupt()
            if await self._ends_within(INSIST_EVERY):
                return
        self._leave_behind()

    # On the worker's loop, or in a thread.

    def _begin_async(self) -> None:
        # Its parent is whoever waits for the outcome, on another loop; its end is always told.
        call = calling.call_async(self._task, self._context, self._parameters)
        self._running = self._theirs.create_task(call, name=self._task.name)
        self._running.add_done_callback(self._called_on_loop)
        if self._context.cancelled:
            self._running.cancel()

    def _called_on_loop(self, done: asyncio.Task[calling.Called]) -> None:
        """A call that was cancelled before its first line has no result, and nothing of it ever ran."""
        if not done.cancelled():
            self._tell(done.result())
            return
        self._tell(_interrupted())

    def _in_thread(self) -> None:
        """Call it once, and tell its end once, wherever an interruption comes."""
        begun, called = False, _interrupted()
        while True:
            try:
                if not begun:
                    begun = True
                    called = calling.call_blocking(self._task, self._context, self._parameters)
                self._cpu = time.thread_time()
                self._tell(called)
            except TaskCancelled:
                continue
            return

    def _tell(self, called: calling.Called) -> None:
        try:
            self._ours.call_soon_threadsafe(self._end, called)
        except RuntimeError:  # the worker is gone, and with it whoever waited
            return

    # On the loop of the link.

    def _end(self, called: calling.Called) -> None:
        if self._ended.done():
            return
        self._ended.set_result(None)
        if self._outcome is None:
            if called.failed is not None and called.failed.trace and not self._was_stopped(called):
                self._mouth.shut()
                self._sink.log(LogStream.STDERR, called.failed.trace.encode("utf-8", "replace"))
            self._mouth.shut()
            usage = Usage(wall_seconds=time.monotonic() - self._began, user_cpu_seconds=self._cpu)
            self._outcome = _outcome(called, self._work.limits.output_bytes, usage)
            self._over.set()
        self._on_end(self, left=False)

    def _was_stopped(self, called: calling.Called) -> bool:
        """Whether it ended as it was told to: nobody needs the place where it was."""
        return self._context.cancelled and isinstance(called.error, TaskCancelled | asyncio.CancelledError)

    def _leave_behind(self) -> None:
        if self._outcome is not None:
            return
        message = "the function did not end when it was told to and goes on in the worker; what it returns is ignored"
        self._sink.log(LogStream.LOG, f"{message}\n".encode())
        self._mouth.shut()
        self._outcome = Outcome(Failure("NOT_STOPPED", message, retryable=False), left_running=True)
        self._over.set()
        self._on_end(self, left=True)

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait([self._ended], timeout=max(0.0, seconds))
        return self._ended.done() or self._over.is_set()

    def _cancel_task(self) -> None:
        if self._task.is_async:
            self._hand_over(lambda: self._running is None or self._running.cancel())

    def _interrupt(self) -> None:
        """Raise TaskCancelled in the thread, at its next line of Python."""
        thread = self._thread
        if thread is not None and thread.ident is not None and thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TaskCancelled))

    def _hand_over(self, what: Callable[[], object]) -> None:
        try:
            self._theirs.call_soon_threadsafe(what)
        except RuntimeError:  # the worker's loop is closed: what ran on it is gone
            self._end(calling.Called(failed=Failed("WORKER_STOPPED", "the worker's loop has ended")))


def _interrupted() -> calling.Called:
    """What is told of a call that was ended before it could say anything itself."""
    error = TaskCancelled("stopped")
    return calling.Called(failed=failed_by(error), error=error)


def _identity(work: Work) -> Identity:
    return Identity(
        task_id=work.task_id,
        instance_id=work.instance_id,
        attempt=work.attempt,
        job=work.job_name,
        namespace=work.namespace_id,
        environment=dict(work.environment),
        trace=dict(work.trace.headers()),
    )


def _message(held: Payload | None) -> types_pb2.Payload | None:
    return None if held is None else types_pb2.Payload(data=held.data, content_type=held.content_type)


def _outcome(called: calling.Called, limit: int, usage: Usage) -> Outcome:
    failed = called.failed
    if failed is not None:
        return Outcome(Failure(failed.code, failed.message, failed.retryable, failed.retry_after), usage=usage)
    if called.output is None:
        return Outcome(usage=usage)
    data = called.output.data
    return _with_output(Outcome(usage=usage), data, called.output.content_type, limit, len(data))


def _with_output(outcome: Outcome, data: bytes, content_type: str, limit: int, size: int) -> Outcome:
    """Cut as any output is; what is cut is no JSON any more. `size`: before anything was cut from the data."""
    kept = CappedBytes(limit)
    kept.add(data)
    kept.size = size
    if kept.truncated:
        content_type = "application/octet-stream" if "octet" in content_type else "text/plain; charset=utf-8"
    return replace(
        outcome,
        output=Payload(kept.value(), content_type),
        output_size=size,
        output_truncated=kept.truncated,
    )


# In a process of its own.


@dataclass(slots=True)
class MarkedWords:
    """A sink that takes the marked words of a function's process out of its stderr, and hands on all the rest."""

    sink: Sink
    secret: str
    _held: bytes = field(default=b"", init=False)

    @property
    def _mark(self) -> bytes:
        return function_process.MARK + self.secret.encode() + b" "

    def started(self) -> None:
        """Handed on."""
        self.sink.started()

    def ended(self) -> None:
        """Handed on."""
        self.sink.ended()

    def progress(self, percent: float, message: str) -> None:
        """Handed on."""
        self.sink.progress(percent, message)

    def heartbeat(self) -> None:
        """Handed on."""
        self.sink.heartbeat()

    def log(self, stream: LogStream, data: bytes) -> None:
        """Handed on, without the words of the function's process."""
        if stream is not LogStream.STDERR:
            self.sink.log(stream, data)
            return
        data = self._held + data
        self._held = b""
        while data:
            before, mark, rest = data.partition(self._mark)
            if not mark:
                self._held = _possible_start(data, self._mark)
                self._hand_on(data[: len(data) - len(self._held)])
                return
            self._hand_on(before)
            word, end, data = rest.partition(b"\n")
            if not end:
                self._held = mark + rest
                return
            self._take(word)

    def flush(self) -> None:
        """Hand on what looked like the start of a word and was none."""
        held, self._held = self._held, b""
        self._hand_on(held)

    def _hand_on(self, data: bytes) -> None:
        if data:
            self.sink.log(LogStream.STDERR, data)

    def _take(self, word: bytes) -> None:
        try:
            said = json.loads(word)
        except ValueError:
            return  # torn by something else that writes there
        match said:
            case {"log": str(text)}:
                self.sink.log(LogStream.LOG, text.encode())
            case {"progress": [int() | float() as percent, str(message)]}:
                self.sink.progress(float(percent), message)
            case {"alive": True}:
                self.sink.heartbeat()


def _possible_start(data: bytes, mark: bytes) -> bytes:
    """The end of the data that may be the start of a mark."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return data[-length:]
    return b""


class ProcessRun:
    """One call under way in a process of its own."""

    def __init__(self, inner: Running, ear: MarkedWords, secret: str, limit: int) -> None:
        self._inner = inner
        self._ear = ear
        self._secret = secret
        self._limit = limit

    async def wait(self) -> Outcome:
        """What the process said became of it, or else how it ended."""
        outcome = await self._inner.wait()
        self._ear.flush()
        head, data, size = self._read(outcome)
        bare = replace(outcome, output=None, output_size=0, output_truncated=False)
        if head is None:
            if outcome.failure is None:
                return replace(bare, failure=Failure("NO_RESULT", "the process ended before the function did"))
            return bare
        if outcome.failure is not None and outcome.failure.code != f"EXIT_{outcome.exit_code}":
            return bare  # a limit or its lease ended it: that is the reason, whatever the function made of it
        match head.get("failed"):
            case [str(code), str(message), bool(retryable), after]:
                wait = float(after) if isinstance(after, int | float) else None
                return replace(bare, failure=Failure(code, message, retryable, wait), exit_code=outcome.exit_code)
        if outcome.failure is not None or "content_type" not in head:
            return bare
        return _with_output(bare, data, str(head["content_type"]), self._limit, size)

    def pause(self) -> None:
        """As any program is."""
        pause(self._inner)

    def resume(self) -> None:
        """As any program is."""
        resume(self._inner)

    async def stop(self, grace_seconds: float) -> None:
        """As any program is stopped."""
        await self._inner.stop(grace_seconds)

    def _read(self, outcome: Outcome) -> tuple[Mapping[str, Any] | None, bytes, int]:
        """The head that the process wrote, the output behind it as far as it was kept, and its whole size."""
        ended_otherwise = outcome.failure is not None and outcome.failure.code != "EXIT_1"  # by a limit, or a lease
        if outcome.output is None or outcome.exit_code not in (0, 1) or ended_otherwise:
            return None, b"", 0
        line, _, data = outcome.output.data.partition(b"\n")
        try:
            head = json.loads(line)
        except ValueError:
            return None, b"", 0
        if not isinstance(head, dict) or head.get("secret") != self._secret:
            return None, b"", 0
        return head, data, outcome.output_size - len(line) - 1
