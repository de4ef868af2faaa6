"""The worker: takes tasks of its functions from the control plane, and runs them.

    if __name__ == "__main__":
        pawl.Worker(greet).run()

A worker is an agent: the same stream, leases, results kept on disk until they are acknowledged, and logs. What does
that work is the engine's and is found through the entry points `pawl.workers` (`pip install 'pawl-sdk[worker]'`); what
is here knows only the functions, registers their jobs, and says what a worker may be told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

from pawl.address import DEFAULT_SERVER
from pawl.client import Client
from pawl.connection import Patience
from pawl.errors import AlreadyExists, DeadlineExceeded, NotFound, PawlError, PermissionDenied, Unavailable
from pawl.v1.job_pb2 import Job
from pawl.workflow import TaskFunction, Workflow, in_function_process

GROUP: Final = "pawl.workers"
DEFAULT_SLOTS: Final = 10
REGISTER_SECONDS: Final = 3.0
"""How long one try to register waits for the control plane; a stop is looked for between them."""

log = logging.getLogger("pawl.worker")


class WorkerError(Exception):
    """The worker cannot be started, or is not wanted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt of this worker that is over. `status` as it is printed (`SUCCEEDED`, `FAILED`, `TIMED_OUT`,
    `CANCELLED`); `code` and `message` are those of the error, empty without one. `stalled`: its lease ran out, or the
    control plane gave it to somebody else.
    """

    task_id: str
    job: str
    attempt: int
    status: str
    code: str = ""
    message: str = ""
    stalled: bool = False
    seconds: float = 0.0


Hook = Callable[[Ended], None]


class Running(Protocol):
    """A worker at work, as the machinery has it."""

    def stop(self) -> None:
        """Take nothing new, finish what runs, leave; a second call: at once. From any thread."""
        ...


class Machinery(Protocol):
    """What an entry point of `pawl.workers` is."""

    async def __call__(self, worker: Worker, begun: Callable[[Running], None]) -> None:
        """Serve until it is stopped. Raises WorkerError."""
        ...


class Worker:
    """Runs the task functions of some workflows.

    `server`, `namespace`, `key` and `key_file` are as for `Client`; `name` is unique in the namespace, else made from
    the machine's, with a number where several workers run on it. It runs `slots` tasks at once. `labels` are what it
    can be chosen by, `serves` the namespaces that it takes work from, if not its own. `data_dir` holds its identity and
    what is not delivered yet.
    After SIGTERM running work has `drain_timeout` seconds. `register=False` leaves the jobs to somebody else, for a key
    that may not define any. The hooks are called on the worker's own thread and must return at once.
    """

    def __init__(
        self,
        *workflows: Workflow | TaskFunction[..., Any],
        name: str = "",
        server: str | None = None,
        namespace: str | None = None,
        key: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        slots: int = DEFAULT_SLOTS,
        labels: Mapping[str, str] | None = None,
        serves: Iterable[str] = (),
        data_dir: str | os.PathLike[str] | None = None,
        drain_timeout: float = 30.0,
        register: bool = True,
        on_completed: Hook | None = None,
        on_failed: Hook | None = None,
        on_stalled: Hook | None = None,
    ) -> None:
        self.functions = _functions(workflows)
        self.name = name
        self.server = server or os.environ.get("PAWL_SERVER") or DEFAULT_SERVER
        self.namespace = (os.environ.get("PAWL_NAMESPACE", "") if namespace is None else namespace) or "default"
        self.key = key
        self.key_file = None if key_file is None else os.fspath(key_file)
        self.slots = slots
        self.labels = dict(labels or {})
        self.serves = tuple(serves)
        self.data_dir = None if data_dir is None else Path(data_dir)
        self.drain_timeout = drain_timeout
        self.register = register
        self._on_completed, self._on_failed, self._on_stalled = on_completed, on_failed, on_stalled
        self._running: Running | None = None
        self._stops = 0

    @property
    def base_name(self) -> str:
        """Its name, or what it is made from."""
        return self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", f"worker-{socket.gethostname()}").strip("._-")[:56]

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; a second one ends it at once. What keeps it from serving ends the program,
        with exit code 1 and the reason on stderr.
        """
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        # Not the loop's own handlers: a function that blocks the loop must not keep the worker from hearing them.
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            asyncio.run(self.serve())
        except (WorkerError, PawlError) as error:
            raise SystemExit(f"pawl worker: {error}") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def serve(self) -> None:
        """Serve until `stop`, in a program that has a loop of its own; async functions run on this loop."""
        if in_function_process():
            raise WorkerError(
                "the process of a function has started a worker: put what starts one under"
                ' `if __name__ == "__main__":`, so that the module can be loaded for its functions'
            )
        machinery = _machinery()
        if self.register and not await self._registered():
            return
        await machinery(self, self._begun)

    async def _registered(self) -> bool:
        """Register the jobs, however long the control plane takes to come. False if it is stopped before."""
        async with self._client() as client:
            while not self._stops:
                try:
                    await register(client, self.functions.values())
                except (Unavailable, DeadlineExceeded) as error:
                    log.warning("no control plane at %s yet: %s", self.server, error)
                else:
                    return True
        return False

    def stop(self) -> None:
        """Take nothing new, let running work finish within the drain timeout, leave. A second call: at once."""
        self._stops += 1
        if self._running is not None:
            self._running.stop()

    def _client(self) -> Client:
        """A client for the same control plane, namespace and key."""
        patience = Patience(seconds=REGISTER_SECONDS)
        return Client(self.server, namespace=self.namespace, key=self.key, key_file=self.key_file, patience=patience)

    def _begun(self, running: Running) -> None:
        self._running = running
        for _ in range(self._stops):
            running.stop()

    def told(self, ended: Ended) -> None:
        """An attempt is over: say so, and call whoever wants to know."""
        hook: Hook | None
        if ended.stalled:
            log.warning("task %s (%s) stalled: %s", ended.task_id, ended.job, ended.message)
            hook = self._on_stalled
        elif ended.status == "SUCCEEDED":
            log.info("task %s (%s) completed successfully in %.3f s", ended.task_id, ended.job, ended.seconds)
            hook = self._on_completed
        else:
            log.error(
                "task %s (%s) attempt %d: %s: %s: %s",
                ended.task_id, ended.job, ended.attempt, ended.status, ended.code, ended.message,
            )  # fmt: skip
            hook = self._on_failed
        if hook is not None:
            try:
                hook(ended)
            except Exception:
                log.exception("the hook for %s broke", ended.task_id)


async def register(client: Client, functions: Iterable[TaskFunction[..., Any]]) -> None:
    """Make the functions' jobs what the code says: new ones, or a new revision of those that differ.

    What the code leaves out has its default again, whatever somebody set by hand. Raises WorkerError for a name that is
    another kind of job, and for a key that may not define jobs.
    """
    for function in functions:
        try:
            await _register(client, function.job)
        except PermissionDenied as error:
            raise WorkerError(
                f"the job {function.name} cannot be registered: {error}; give the key the role operator too, or start"
                " the worker with register=False where its jobs are defined by somebody else"
            ) from None


async def _register(client: Client, wanted: Job) -> None:
    try:
        found = await client.jobs.get(wanted.name)
    except NotFound as error:
        if error.reason == "NAMESPACE_NOT_FOUND":
            raise
        try:
            await client.jobs.create(wanted)
        except AlreadyExists:  # another worker was quicker
            await _register(client, wanted)
        return
    if found.config.executor != "function" or found.config.function.name != wanted.name:
        raise WorkerError(
            f"the job {wanted.name!r} is not this function: it runs {found.config.executor!r}. Delete or rename it, or"
            " give the task another name"
        )
    # Nothing is stored, and no revision made, where it says so already.
    changed = Job(id=found.id, config=wanted.config, description=wanted.description)
    await client.jobs.update(changed, ("config", "description"))


def _functions(given: Iterable[Workflow | TaskFunction[..., Any]]) -> dict[str, TaskFunction[..., Any]]:
    found: dict[str, TaskFunction[..., Any]] = {}
    for one in given:
        for function in (one,) if isinstance(one, TaskFunction) else one:
            if found.setdefault(function.name, function) is not function:
                raise ValueError(f"two functions are called {function.name}")
    if not found:
        raise ValueError("a worker needs at least one task function")
    return found


def _machinery() -> Machinery:
    for point in entry_points(group=GROUP, name="run"):
        found: Machinery = point.load()
        return found
    raise WorkerError("running a worker needs the engine beside the SDK: pip install 'pawl-sdk[worker]'")
