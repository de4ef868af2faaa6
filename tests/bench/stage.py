"""What every work stands on: a control plane on a fresh database, its floor beside it, and the books that are kept.

A work is a module with `async def measure(stage: Stage) -> list[Row]`. It gets a control plane without agents and says
of every task it was told of, by `stage.told`; after it the books are compared with the database.
"""

import asyncio
import contextlib
import itertools
import os
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pawl.client import Client
from pawl.v1 import job_pb2, task_pb2, task_pb2_grpc

from tests.bench import databases, floor, plane
from tests.bench.databases import Database, Server
from tests.bench.floor import Floor
from tests.bench.plane import Plane
from tests.bench.worker import Worker

BATCH = 500
CALL_SECONDS = 30.0
PATIENCE_SECONDS = 120.0
NOOP = "bench-noop"


@dataclass(slots=True)
class Spent:
    """CPU microseconds a task, by process, and what was written: from the first to the last task of a measurement.

    `strangers` is how many cores everybody else on the machine used meanwhile: above 0.15 of them the rates say little.
    """

    server: float = 0.0
    database: float = 0.0
    bench: float = 0.0
    strangers: float = 0.0
    commits: float | None = None
    wal_bytes: float | None = None


@dataclass
class Stage:
    """One control plane, one floor, one database kind."""

    server: Server
    database: Database
    floor_database: Database
    plane: Plane
    floor: Floor
    client: Client
    quick: bool
    repeats: int = 1
    rows: int = 0  # how many a work that makes its own should make; 0: what it thinks right
    told: list[str] = field(default_factory=list)

    def number(self, full: int, quick: int) -> int:
        """How much of something."""
        return quick if self.quick else full

    async def make_job(self, name: str, cmd: str) -> None:
        """A job that runs a program; no-op workers never start it."""
        await self.client.jobs.create(job_pb2.Job(name=name, config=job_pb2.JobConfig(cmd=cmd)))

    async def create_many(self, job: str, count: int, *, callers: int = 2) -> None:
        """So many tasks in full batches, by so many callers at once."""
        sizes = iter([min(BATCH, count - at) for at in range(0, count, BATCH)])
        stub = task_pb2_grpc.TaskServiceStub(self.client.connection.channel)

        async def caller() -> None:
            for size in sizes:
                asked = [request(job) for _ in range(size)]
                answer = await stub.BatchCreateTasks(
                    task_pb2.BatchCreateTasksRequest(requests=asked), timeout=CALL_SECONDS
                )
                self.told += [one.task.id for one in answer.results if one.HasField("task")]

        await _all(caller() for _ in range(callers))

    async def create_each(self, job: str, count: int, *, callers: int) -> None:
        """So many tasks with a call for each."""
        left = iter(range(count))
        stub = task_pb2_grpc.TaskServiceStub(self.client.connection.channel)

        async def caller() -> None:
            for _ in left:
                self.told.append((await stub.CreateTask(request(job), timeout=CALL_SECONDS)).id)

        await _all(caller() for _ in range(callers))

    @contextlib.asynccontextmanager
    async def worker(self, *, offered: int | None = None) -> AsyncIterator[Worker]:
        """A connected no-op worker."""
        worker = Worker(self.plane.grpc, offered=offered)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            async with asyncio.timeout(CALL_SECONDS):
                await worker.connected.wait()
            try:
                yield worker
            finally:
                worker.leave()

    @contextlib.contextmanager
    def spending(self, count: int) -> Iterator[Spent]:
        """What the tasks of the block cost; filled in at its end."""
        spent = Spent()
        begun, busy, before = time.perf_counter(), busy_seconds(), self._meters()
        yield spent
        seconds, busy = time.perf_counter() - begun, busy_seconds() - busy
        server, database, bench, commits, wal = (
            None if old is None or new is None else (new - old) / count
            for old, new in zip(before, self._meters(), strict=True)
        )
        spent.server, spent.database, spent.bench = (1e6 * (one or 0.0) for one in (server, database, bench))
        spent.commits, spent.wal_bytes = commits, wal
        ours = (spent.server + spent.database + spent.bench) * count / 1e6
        spent.strangers = max(0.0, busy - ours) / seconds

    def _meters(self) -> tuple[float, float, float, int | None, int | None]:
        return (
            self.plane.cpu_seconds(),
            self.database.cpu_seconds(),
            time.process_time(),
            self.database.commits(),
            self.database.wal_bytes(),
        )


@contextlib.asynccontextmanager
async def opened(server: Server, *, quick: bool, repeats: int, rows: int = 0) -> AsyncIterator[Stage]:
    """A stage, taken down after the block."""
    with server.database() as database, server.database() as floor_database, floor.opened(floor_database) as measured:
        async with (
            plane.running(database.url, database.folder) as running,
            Client(running.grpc, namespace="") as client,
        ):
            yield Stage(
                server, database, floor_database, running, measured, client, quick, 1 if quick else repeats, rows
            )


def request(job: str) -> task_pb2.CreateTaskRequest:
    """A task as the SDK asks for it: with a request id, so that a repeat is safe."""
    return task_pb2.CreateTaskRequest(task=task_pb2.Task(job_id=job), request_id=f"{PREFIX}-{next(COUNTER)}")


def busy_seconds() -> float:
    """CPU time of the whole machine since it started, stolen time included; 0 where nobody counts it."""
    with contextlib.suppress(OSError):
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, STAT.read_text().split()[1:9])
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


PREFIX = uuid.uuid4().hex
COUNTER = itertools.count()
STAT = Path("/proc/stat")


async def _all(what: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in what:
            group.create_task(one)


def losses(stage: Stage) -> list[str]:
    """What the books and the database do not agree on."""
    return databases.losses(stage.database, stage.told)
