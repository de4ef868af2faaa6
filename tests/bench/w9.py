"""W9: two control planes on one PostgreSQL. A task is asked for at the first; the worker is connected to the second.

Trigger to start as in W2, idle; and trigger to told: a caller at the first waits for the end (`RunTask`). The floor is
the same with the worker at the first. Without a word between the two, each step would wait for a sweep: half a second
or one.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

from pawl.v1 import task_pb2

from tests.bench import plane
from tests.bench.report import Row, percentile
from tests.bench.stage import CALL_SECONDS, NOOP, PATIENCE_SECONDS, Stage, request
from tests.bench.w2 import PAUSE_SECONDS
from tests.bench.worker import Worker

ONE = "the same with one control plane"


async def measure(stage: Stage) -> list[Row]:
    """The rows of W9; none on SQLite, where one process has the file."""
    if stage.database.kind == "sqlite":
        return []
    await stage.make_noop()
    count = stage.number(200, 10)
    figures: dict[str, list[float]] = {}
    folder = stage.database.folder / "second"
    folder.mkdir()
    async with plane.running(stage.database.url, folder) as second:
        for _ in range(stage.repeats):
            for name, address in (("one", stage.plane.grpc), ("two", second.grpc)):
                async with _worker(stage, address) as worker:
                    await _starts(stage, worker, 20)
                    _note(figures, f"{name} start", await _starts(stage, worker, count))
                    await _told(stage, worker, 20)
                    _note(figures, f"{name} told", await _told(stage, worker, count))
    return [
        Row("W9", "postgres", f"trigger at one control plane to {what} at the other, idle, {share}", "ms",
            figures[f"two {name} {share}"], figures[f"one {name} {share}"], ONE, more=False)
        for what, name in (("start", "start"), ("end of a worker", "told"))
        for share in ("p50", "p99")
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def _worker(stage: Stage, address: str) -> AsyncIterator[Worker]:
    worker = Worker(address)
    stage.workers.append(worker)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await worker.connected.wait()
            yield worker
        finally:
            worker.leave()
            stage.workers.remove(worker)


async def _starts(stage: Stage, worker: Worker, count: int) -> list[float]:
    """Seconds to the start, of one task after the other."""
    found = []
    for _ in range(count):
        ended, begun = worker.acknowledged_count, time.perf_counter()
        task = await stage.tasks.CreateTask(request(NOOP), timeout=CALL_SECONDS)
        stage.told.append(task.id)
        found.append(await worker.start_of(task.id) - begun)
        await worker.acknowledged_up_to(ended + 1, PATIENCE_SECONDS)
        await _rest()
    return found


async def _told(stage: Stage, worker: Worker, count: int) -> list[float]:
    """Seconds until a caller who waits has the end, of one task after the other."""
    found = []
    for _ in range(count):
        ended, begun = worker.acknowledged_count, time.perf_counter()
        wanted = request(NOOP)
        run = task_pb2.RunTaskRequest(task=wanted.task, request_id=wanted.request_id)
        task = await stage.tasks.RunTask(run, timeout=CALL_SECONDS)
        found.append(time.perf_counter() - begun)
        stage.told.append(task.id)
        await worker.acknowledged_up_to(ended + 1, PATIENCE_SECONDS)
        await _rest()
    return found


async def _rest() -> None:
    await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # idle: the loops come to rest between two


def _note(figures: dict[str, list[float]], name: str, seconds: list[float]) -> None:
    for word, share in (("p50", 0.5), ("p99", 0.99)):
        figures.setdefault(f"{name} {word}", []).append(percentile(seconds, share) * 1000)
