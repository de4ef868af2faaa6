"""W8: what a kill costs: from kill -9 to the first new task that starts, and to the end of the last one from before it.

The control plane is killed under load and started again at once: callers go on, the SDK asking for the same task with
the same request id until it is answered; the worker's process lives on. An agent is killed with all that it runs and
started again on its folder, or for good while another one has room. Nothing may be lost and nothing may end twice.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import grpc.aio
from pawl.channel import CHANNEL_OPTIONS
from pawl.client import Client
from pawl.v1 import job_pb2, job_pb2_grpc, task_pb2, task_pb2_grpc

from tests.bench import databases, mortal
from tests.bench.databases import Database, text
from tests.bench.noop import FUNCTION
from tests.bench.plane import Plane
from tests.bench.report import Row
from tests.bench.stage import CALL_SECONDS, LOOK_SECONDS, NOOP, PATIENCE_SECONDS, Stage, request
from tests.bench.worker import Worker

CALLERS = 16
SLOTS = 8
NAP = "bench-nap"
NAP_SECONDS = 3.0
"""Long enough that all of them run when the agent is killed: the control plane hears of a start after a second."""
LOST_AFTER_SECONDS = 3.0
FIRST = "first new task"
TAIL = "end of the last task from before"
MOVED = "last of its tasks placed again"


@dataclass
class Books:
    """What callers were told, and when each had asked first (`time.time`)."""

    asked: dict[str, float] = field(default_factory=dict)


async def measure(stage: Stage) -> list[Row]:
    """The rows of W8, on databases of its own."""
    found: dict[str, list[float]] = {}
    for _ in range(stage.repeats):
        for name, way in (("control plane killed", _plane), ("agent killed", _agent), ("agent killed for good", _gone)):
            with stage.server.database() as database:
                async with mortal.server(database) as (server, standing), _calls(standing) as channel:
                    books = Books()
                    for what, seconds in (await way(stage, database, server, standing, channel, books)).items():
                        found.setdefault(f"{name}: {what}", []).append(seconds)
                    await _all_ended(database)
                    lost = databases.losses(database, books.asked, moved=True)
                    stage.told_elsewhere += len(books.asked)
                    stage.problems += [f"{name}: {words}" for words in lost]
    return [Row("W8", stage.database.kind, what, "s", values, more=False) for what, values in found.items()]


@contextlib.asynccontextmanager
async def _calls(standing: Plane) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(standing.grpc, options=list(CHANNEL_OPTIONS)) as channel:
        yield channel


async def _plane(
    stage: Stage, database: Database, server: mortal.Mortal, standing: Plane, channel: grpc.aio.Channel, books: Books
) -> dict[str, float]:
    """The control plane, started again at once."""
    function = job_pb2.FunctionConfig(name=FUNCTION)
    await _make(channel, job_pb2.Job(name=NOOP, config=job_pb2.JobConfig(executor="function", function=function)))
    worker = Worker(standing.grpc)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await worker.connected.wait()
            async with _asking(standing, NOOP, books):
                await asyncio.sleep(stage.number(2, 1))
                killed = server.kill()
                server.start()
                restarted = time.time()
                await server.addresses()
                answers = time.time()
                await asyncio.sleep(stage.number(3, 1))
            await _all_ended(database)
        finally:
            worker.leave()
    offset = time.time() - time.perf_counter()
    starts = [at + offset for task, at in worker.started_at.items() if books.asked.get(task, 0.0) > killed]
    return {
        FIRST: min(starts) - killed,
        TAIL: _last_end(database, [task for task, at in books.asked.items() if at <= killed]) - killed,
        "it answers again": answers - restarted,
    }


async def _agent(
    stage: Stage, database: Database, server: mortal.Mortal, standing: Plane, channel: grpc.aio.Channel, books: Books
) -> dict[str, float]:
    """An agent that has room for more, started again at once. New tasks come as it is killed."""
    await _make(channel, _nap())
    with mortal.agent(standing, database.folder, 2 * SLOTS, "bench-agent") as agent:
        await _create(channel, NAP, SLOTS, books)
        await _running(database, SLOTS)
        killed = agent.kill()
        agent.start()
        await _create(channel, NAP, SLOTS // 2, books)
        await _all_ended(database)
    return {FIRST: _first_start(database, killed) - killed, MOVED: _last_move(database) - killed}


async def _gone(
    stage: Stage, database: Database, server: mortal.Mortal, standing: Plane, channel: grpc.aio.Channel, books: Books
) -> dict[str, float]:
    """An agent that does not come back. Seconds beyond `lost_after` until its work is placed on another one."""
    nap = _nap()
    nap.config.lost_after_seconds = LOST_AFTER_SECONDS
    await _make(channel, nap)
    with mortal.agent(standing, database.folder, SLOTS, "bench-gone") as gone:
        await _create(channel, NAP, SLOTS, books)
        await _running(database, SLOTS)
        killed = gone.kill()
        with mortal.agent(standing, database.folder, SLOTS, "bench-heir"):
            await _all_ended(database)
    return {f"{MOVED}, beyond lost_after": _last_move(database) - killed - LOST_AFTER_SECONDS}


def _nap() -> job_pb2.Job:
    program = shutil.which("sleep") or "/bin/sleep"
    return job_pb2.Job(name=NAP, config=job_pb2.JobConfig(cmd=program, args=[str(NAP_SECONDS)]))


async def _make(channel: grpc.aio.Channel, job: job_pb2.Job) -> None:
    await job_pb2_grpc.JobServiceStub(channel).CreateJob(job_pb2.CreateJobRequest(job=job), timeout=CALL_SECONDS)


async def _create(channel: grpc.aio.Channel, job: str, count: int, books: Books) -> None:
    now = time.time()
    asked = task_pb2.BatchCreateTasksRequest(requests=[request(job) for _ in range(count)])
    answer = await task_pb2_grpc.TaskServiceStub(channel).BatchCreateTasks(asked, timeout=CALL_SECONDS)
    books.asked |= {one.task.id: now for one in answer.results}


@contextlib.asynccontextmanager
async def _asking(standing: Plane, job: str, books: Books) -> AsyncIterator[None]:
    """Callers who ask for one task after the other, during the block; what was asked for is waited for."""
    enough = asyncio.Event()

    async def caller(client: Client) -> None:
        while not enough.is_set():
            at = time.time()
            books.asked[(await client.tasks.create(job)).id] = at

    async with Client(standing.grpc, namespace="") as client, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller(client))
        try:
            yield
        finally:
            enough.set()


async def _all_ended(database: Database) -> None:
    await _until(lambda: databases.left(database) == 0)


async def _running(database: Database, count: int) -> None:
    """So many programs have been running for long enough that the control plane knows."""
    running = "SELECT count(*) FROM sched_task_instance WHERE started_at IS NOT NULL"
    await _until(lambda: int(database.rows(running)[0][0]) >= count)


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(fact):  # noqa: ASYNC110 # a look from outside: nobody calls us back
            await asyncio.sleep(LOOK_SECONDS)


def _last_end(database: Database, ids: Sequence[str]) -> float:
    ends = {text(task): int(at) for task, at in database.rows("SELECT id, finished_at FROM sched_task")}
    return max(ends[one] for one in ids) / 1e6


def _first_start(database: Database, after: float) -> float:
    """Of a task that was made after that, or of one that had to be placed again."""
    found = database.rows(f"SELECT min(started_at) FROM sched_task_instance WHERE created_at > {round(after * 1e6)}")
    return int(found[0][0]) / 1e6


def _last_move(database: Database) -> float:
    """When the last task was placed again."""
    found = database.rows("SELECT max(created_at) FROM sched_task_instance WHERE token > 1")
    return int(found[0][0]) / 1e6
