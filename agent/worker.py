"""Runs the worker of an SDK: an agent with one executor, `function`, beside the loop of the user's own program.

The link has a thread and a loop of its own, so that a function that blocks keeps no lease from being renewed and no
result from being delivered. Found by `pawl.worker` through the entry points `pawl.workers`.

The two loops share grpc's completion queue, which wakes both for an event of either: the one that comes second finds
nothing to read and says so as an error of a callback. It is harmless, and is kept out of the log here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from pawl.calling import LogCapture
from pawl.credential import FILE_VARIABLE, KEY_VARIABLE
from pawl.link import LinkEnded, Result
from pawl.settings import SettingsError
from pawl.v1 import agent_pb2, task_pb2
from pawl.worker import Ended, Worker, WorkerError

from agent.agent import Agent, Parts, add_executor, opened
from agent.attempt import Attempt
from agent.config import Settings, load
from agent.executors.function import FunctionExecutor
from agent.executors.process import ProcessConfig, ProcessExecutor
from agent.statedir import StateDirError, StateDirHeld

MOST_NAMES: Final = 1_000
"""Workers of one machine that find a name by themselves."""
STALLED: Final = frozenset({"LEASE_EXPIRED", "SUPERSEDED"})

log = logging.getLogger("pawl.worker")


async def run(worker: Worker, begun: Callable[[Serving], None]) -> None:
    """Serve until it is stopped. Raises WorkerError. Cancelling this stops it at once."""
    loop = asyncio.get_running_loop()
    serving = Serving(worker, loop)
    capture = LogCapture()
    logging.getLogger().addHandler(capture)
    with _quiet(loop):
        try:
            serving.start()
            begun(serving)
            await asyncio.shield(serving.over)
        except asyncio.CancelledError:
            serving.stop()
            serving.stop()
            with contextlib.suppress(WorkerError):
                await serving.over
            raise
        finally:
            logging.getLogger().removeHandler(capture)


class Serving:
    """A worker at work."""

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._theirs = loop
        self._ours: asyncio.AbstractEventLoop | None = None
        self._agent: Agent | None = None
        self._stops = 0
        self.over: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._main, name="pawl-worker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new, finish, leave; a second call: at once. From any thread."""
        self._stops += 1
        if self._ours is not None and self._agent is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._ours.call_soon_threadsafe(self._agent.stop)

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._serve())
        except (LinkEnded, StateDirError, SettingsError, OSError, ValueError) as expected:
            error = WorkerError(str(expected))
        except BaseException as unexpected:
            error = unexpected
        with contextlib.suppress(RuntimeError):  # the program has ended without waiting
            self._theirs.call_soon_threadsafe(self._tell, error)

    def _tell(self, error: BaseException | None) -> None:
        self._thread.join()  # this was the last that it did
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    async def _serve(self) -> None:
        self._ours = asyncio.get_running_loop()
        with _quiet(self._ours):
            async with contextlib.AsyncExitStack() as stack:
                parts = await self._opened(stack)
                parts.ended = self._ended
                self._agent = Agent(parts)
                for _ in range(self._stops):
                    self._agent.stop()
                log.info(
                    "worker %s: %d slots, %s, control plane %s",
                    parts.settings.name, parts.settings.agent.max_concurrent_tasks,
                    ", ".join(self._worker.functions), parts.settings.address.target,
                )  # fmt: skip
                await self._agent.run()
        log.info("stopped")

    async def _opened(self, stack: contextlib.AsyncExitStack) -> Parts:
        """Under its name, or under the first that no other worker of this machine has."""
        for number in range(1, MOST_NAMES):
            name = self._worker.base_name if number == 1 else f"{self._worker.base_name}-{number}"
            try:
                return await stack.enter_async_context(opened(settings_of(self._worker, name), self._outfit))
            except StateDirHeld:
                if self._worker.name or self._worker.data_dir is not None:
                    raise
        raise WorkerError(f"{MOST_NAMES} workers run on this machine already: give this one a name")

    async def _outfit(self, parts: Parts, stack: contextlib.AsyncExitStack) -> None:
        functions = self._worker.functions.values()
        around = {**os.environ, "PAWL_SERVER": self._worker.server}
        processes = ProcessExecutor(
            parts.keeper,
            ProcessConfig(
                work_dir=parts.settings.work_dir,
                path=os.environ.get("PATH", parts.settings.executor.path),
                environment=around,
            ),
        )
        executor = FunctionExecutor(functions, self._theirs, processes)
        await add_executor(parts, stack, executor)
        parts.lingering = lambda: executor.lingering
        parts.functions = [
            agent_pb2.FunctionInfo(name=one.name, code_version=one.code_version[:255]) for one in functions
        ]

    def _ended(self, attempt: Attempt, result: Result) -> None:
        item = result.item
        error = item.error if item.HasField("error") else None
        seconds = 0.0 if result.started_at is None else result.finished_at - result.started_at
        self._worker.told(
            Ended(
                task_id=attempt.work.task_id,
                job=attempt.work.job_name,
                attempt=attempt.work.attempt,
                status=task_pb2.Task.Status.Name(item.status),
                code="" if error is None else error.code,
                message="" if error is None else error.message,
                stalled=error is not None and error.code in STALLED,
                seconds=seconds,
            )
        )


def settings_of(worker: Worker, name: str) -> Settings:
    """An agent's settings for a worker. Raises SettingsError. Of the environment only the key's place counts."""
    environ = {key: value for key in (KEY_VARIABLE, FILE_VARIABLE) if (value := os.environ.get(key))}
    if worker.key is not None or worker.key_file is not None:
        environ = {}
    flags: dict[str, object] = {
        "agent.name": name,
        "agent.namespace": worker.namespace,
        "agent.serves": worker.serves or None,
        "agent.max_concurrent_tasks": worker.slots,
        "agent.data_dir": str(worker.data_dir or _state_home() / name),
        "agent.drain_timeout": worker.drain_timeout,
        "server.url": worker.server,
        "server.key": worker.key,
        "server.key_file": worker.key_file,
    }
    flags |= {f"labels.{label}": value for label, value in worker.labels.items()}
    return load(None, environ, flags).settings


def _state_home() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "pawl" / "worker"


@contextlib.contextmanager
def _quiet(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Keep the one harmless error out of a loop's log; everything else goes where it went before."""
    before = loop.get_exception_handler()
    handler = partial(_handled, before)
    loop.set_exception_handler(handler)
    try:
        yield
    finally:
        if loop.get_exception_handler() is handler:
            loop.set_exception_handler(before)


def _handled(before: Any, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BlockingIOError) and "PollerCompletionQueue" in repr(context.get("handle")):
        return
    if before is None:
        loop.default_exception_handler(dict(context))
    else:
        before(loop, context)
