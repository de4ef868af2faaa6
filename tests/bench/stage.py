"""What every work stands on: a control plane on a fresh database, its floor beside it, and the books that are kept.

A work is a module with `async def measure(stage: Stage) -> list[Row]`. It gets a control plane without agents and says
of every task it was told of, by `stage.told`; after it the books are compared with the database.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pawl.client import Client
from pawl.connection import new_request_id
from pawl.v1 import job_pb2, task_pb2, task_pb2_grpc

from tests.bench import databases, echo, floor, plane
from tests.bench.databases import Database, Server
from tests.bench.echo import Echo
from tests.bench.floor import Floor
from tests.bench.noop import FUNCTION
from tests.bench.plane import Plane
from tests.bench.worker import Worker

BATCH = 500
CALL_SECONDS = 30.0
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.02
NOOP = "bench-noop"

Fill = Callable[[Database], Coroutine[None, None, None]]


@dataclass(slots=True)
class Spent:
    """CPU microseconds a task, by process, and what was written: from the first to the last task of a measurement.

    `strangers` is how many cores everybody else on the machine used meanwhile: above 0.15 of them the rates say little.
    `commits` are the control plane's writing transactions; `transactions` are the database's own, of everybody.
    """

    server: float = 0.0
    database: float = 0.0
    bench: float = 0.0
    worker: float = 0.0
    strangers: float = 0.0
    statements: float = 0.0
    reads: float = 0.0
    commits: float = 0.0
    messages: float = 0.0
    transactions: float | None = None
    wal_bytes: float | None = None

    def counters(self) -> dict[str, str | float]:
        """As a row of figures has them: first what does not depend on the machine."""
        found: dict[str, str | float] = {
            "commits/task": self.commits,
            "statements/task": self.statements,
            "reading statements/task": self.reads,
            "stream messages/task": self.messages,
        }
        if self.wal_bytes is not None and self.transactions is not None:
            found |= {"database's transactions/task": self.transactions, "WAL B/task": self.wal_bytes}
        return found | {
            "server µs/task": self.server,
            "database µs/task": self.database,
            "client µs/task": self.bench,
            "worker µs/task": self.worker,
            "strangers' cores": self.strangers,
        }


@dataclass
class Stage:
    """One control plane, one floor, one database kind."""

    server: Server
    database: Database
    plane: Plane
    client: Client
    held: contextlib.AsyncExitStack  # what ends with the stage
    quick: bool
    repeats: int = 1
    rows: int = 0  # how many a work that makes its own should make; 0: what it thinks right
    parts: tuple[str, ...] = ()  # of a work that has parts, the ones that are asked for; none: all
    told: list[str] = field(default_factory=list)
    told_elsewhere: int = 0  # tasks that a work was told of in databases of its own
    problems: list[str] = field(default_factory=list)  # what a work found wrong in databases of its own
    workers: list[Worker] = field(default_factory=list)
    _echo: Echo | None = None

    @cached_property
    def floor(self) -> Floor:
        """F2 and F3, on an empty database of their own."""
        return self.held.enter_context(floor.opened(self.held.enter_context(self.server.database())))

    async def echo(self) -> Echo:
        """F1."""
        if self._echo is None:
            self._echo = await self.held.enter_async_context(echo.running())
        return self._echo

    @cached_property
    def tasks(self) -> "task_pb2_grpc.TaskServiceAsyncStub":
        """Calls about tasks, without what the SDK does around them."""
        return task_pb2_grpc.TaskServiceStub(self.client.connection.channel)

    def number(self, full: int, quick: int) -> int:
        """How much of something."""
        return quick if self.quick else full

    async def make_job(self, name: str, cmd: str) -> None:
        """A job that runs a program; no-op workers never start it."""
        await self.client.jobs.create(job_pb2.Job(name=name, config=job_pb2.JobConfig(cmd=cmd)))

    async def make_noop(self) -> None:
        """The job that workers of the bench run: a function that does nothing."""
        config = job_pb2.JobConfig(executor="function", function=job_pb2.FunctionConfig(name=FUNCTION))
        await self.client.jobs.create(job_pb2.Job(name=NOOP, config=config))

    async def create_many(self, job: str, count: int, *, callers: int = 2) -> None:
        """So many tasks in full batches, by so many callers at once."""
        sizes = iter([min(BATCH, count - at) for at in range(0, count, BATCH)])

        async def caller() -> None:
            for size in sizes:
                await self.batch(job, size)

        await _all(caller() for _ in range(callers))

    async def batch(self, job: str, size: int) -> list[str]:
        """The ids of so many tasks, made by one call. Raises RuntimeError where one was refused."""
        asked = task_pb2.BatchCreateTasksRequest(requests=[request(job) for _ in range(size)])
        answer = await self.tasks.BatchCreateTasks(asked, timeout=CALL_SECONDS)
        ids = [one.task.id for one in answer.results if one.HasField("task")]
        self.told += ids
        if len(ids) < size:
            refused = next(one.error.message for one in answer.results if not one.HasField("task"))
            raise RuntimeError(f"{size - len(ids)} of {size} tasks were refused: {refused}")
        return ids

    async def create_coalesced(self, job: str, count: int, *, callers: int) -> None:
        """So many tasks, each asked for alone of one SDK client, which sends them together."""
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                self.told.append((await self.client.tasks.create(job)).id)

        await _all(caller() for _ in range(callers))

    async def create_each(self, job: str, count: int, *, callers: int) -> None:
        """So many tasks with a call for each."""
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                self.told.append((await self.tasks.CreateTask(request(job), timeout=CALL_SECONDS)).id)

        await _all(caller() for _ in range(callers))

    @contextlib.asynccontextmanager
    async def worker(
        self,
        *,
        offered: int | None = None,
        starts: bool = True,
        kind: Literal["noop", "sdk"] = "noop",
        slots: int = 1000,
        label: str = "",
        streams: int = 1,
    ) -> AsyncIterator[Worker]:
        """A connected worker. Without `starts` one that does nothing does not tell of each, which costs a little. One
        that does nothing may have a label (`key=value`), and be several with as many streams.
        """
        more = ["--label", label, "--streams", str(streams)] if kind == "noop" else []
        worker = Worker(self.plane.grpc, slots=slots, offered=offered, starts=starts, kind=kind, more=more)
        self.workers.append(worker)
        async with asyncio.TaskGroup() as group:
            online = (await self._online()) + streams
            group.create_task(worker.run())
            try:
                await self.online(online)
                yield worker
            finally:
                worker.leave()
                self.workers.remove(worker)

    async def online(self, count: float) -> None:
        """Wait until so many agents and workers are connected. Raises TimeoutError."""
        async with asyncio.timeout(CALL_SECONDS):
            while await self._online() < count:  # noqa: ASYNC110 # a look from outside: nobody calls us back
                await asyncio.sleep(LOOK_SECONDS)

    async def _online(self) -> float:
        return (await asyncio.to_thread(self.plane.counters))["pawl_gateway_agents_online"]

    async def all_ended(self) -> None:
        """Wait until nothing that was told of is left to run, from outside. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await asyncio.to_thread(databases.left, self.database):  # noqa: ASYNC110 # nobody calls us back
                await asyncio.sleep(LOOK_SECONDS)

    @contextlib.contextmanager
    def spending(self, count: int) -> Iterator[Spent]:
        """What the tasks of the block cost; filled in at its end."""
        spent = Spent()
        # Looking at the counters costs the server something: it counts what is in the database.
        before = self._counters() | self._cpu()
        begun, busy = time.perf_counter(), busy_seconds()
        yield spent
        seconds, busy = time.perf_counter() - begun, busy_seconds() - busy
        after = self._cpu() | self._counters()
        used = {name: value - before[name] for name, value in after.items()}
        seen = {name: value / count for name, value in used.items()}
        processes = ("server", "database", "bench", "worker")
        for name in processes:
            setattr(spent, name, seen[name] * 1e6)
        spent.statements, spent.reads, spent.messages = seen["statements"], seen["reads"], seen["messages"]
        spent.commits, spent.transactions, spent.wal_bytes = seen["commits"], seen.get("transactions"), seen.get("wal")
        spent.strangers = max(0.0, busy - sum(used[name] for name in processes)) / seconds

    def _cpu(self) -> dict[str, float]:
        return {
            "server": self.plane.cpu_seconds(),
            "database": self.database.cpu_seconds(),
            "bench": time.process_time(),
            "worker": sum(one.cpu_seconds() for one in self.workers),
        }

    def _counters(self) -> dict[str, float]:
        told = self.plane.counters()
        transactions, wal = self.database.commits(), self.database.wal_bytes()
        found = {
            "commits": told["pawl_commit_seconds_count"],
            "statements": told['pawl_statements_total{use="write"}'],
            "reads": told['pawl_statements_total{use="read"}'],
            "messages": told["pawl_gateway_messages_in_total"] + told["pawl_gateway_messages_out_total"],
        }
        if wal is not None and transactions is not None:
            found |= {"wal": float(wal), "transactions": float(transactions)}
        return found


@contextlib.asynccontextmanager
async def opened(
    server: Server,
    *,
    quick: bool,
    repeats: int,
    rows: int = 0,
    parts: tuple[str, ...] = (),
    fill: Fill | None = None,
) -> AsyncIterator[Stage]:
    """A stage, taken down after the block. Its database is filled first, if anything is to be in it."""
    async with contextlib.AsyncExitStack() as held:
        database = held.enter_context(server.database())
        if fill is not None:
            await fill(database)
        running = await held.enter_async_context(plane.running(database.url, database.folder))
        client = await held.enter_async_context(Client(running.grpc, namespace=""))
        yield Stage(server, database, running, client, held, quick, 1 if quick else repeats, rows, parts)


def request(job: str) -> task_pb2.CreateTaskRequest:
    """A task as the SDK asks for it: with a request id, so that a repeat is safe."""
    return task_pb2.CreateTaskRequest(task=task_pb2.Task(job_id=job), request_id=new_request_id())


def busy_seconds() -> float:
    """CPU time of the whole machine since it started, stolen time included; 0 where nobody counts it."""
    with contextlib.suppress(OSError):
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, STAT.read_text().split()[1:9])
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


STAT = Path("/proc/stat")


async def _all(what: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in what:
            group.create_task(one)


def losses(stage: Stage) -> list[str]:
    """What the books and the database do not agree on."""
    return stage.problems + databases.losses(stage.database, stage.told)
