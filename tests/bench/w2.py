"""W2: trigger to start: from before the call that creates a task until its function begins, by the worker's own clock.

All processes of this machine have one clock for it (`time.perf_counter`). Idle: one task after the other. Under load:
an open loop at half of the rate that 64 callers reached just before; its times count from when a call was due, so that
a stall is not hidden by the calls that it held back. Loud: idle, while one task on a real agent prints 10 MB a second
and no limit cuts its log. The worker is one that runs nothing; and once a worker of the SDK, as users write one.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator

from pawl.v1 import job_pb2, task_pb2

from tests.bench import plane
from tests.bench.report import Row, percentile
from tests.bench.stage import CALL_SECONDS, NOOP, PATIENCE_SECONDS, Stage, request
from tests.bench.worker import Worker

CALLERS = 64
PAUSE_SECONDS = 0.004
LOUD = "bench-loud"
PRINTED = 10_000_000
"""Bytes a second. The program says through its progress how many it really got rid of."""
PROGRAM = f"""
import os, time
data = (b"x" * 99 + b"\\n") * {PRINTED // 10 // 100}
begun, tick, told = time.monotonic(), 0, 0
while True:
    told += os.write(1, data)
    tick += 1
    if tick % 5 == 0:
        seconds = time.monotonic() - begun
        with open(os.environ["PAWL_PROGRESS_FILE"], "a") as progress:
            progress.write(f"{{tick % 100}} {{told / seconds / 1e6:.1f}}\\n")
    time.sleep(max(0.0, begun + tick / 10 - time.monotonic()))
"""
F3 = "F3: one commit of one row"
F2 = "F2: stored as placed in raw SQL, one commit"
QUIET = "the same while nothing is printed"


async def measure(stage: Stage) -> list[Row]:
    """The rows of W2."""
    await stage.make_noop()
    count = stage.number(400, 25)
    figures: dict[str, list[float]] = {}
    async with stage.worker() as worker:
        await idle(stage, worker, 20)  # connections, prepared statements and caches
        await _floor(stage, count, figures)
        for _ in range(stage.repeats):
            await _note_idle(stage, worker, count, figures, "answer", "start")
            await _floor(stage, count, figures)
        rate = await _possible(stage, worker) / 2
        for _ in range(stage.repeats):
            _note(figures, "loaded", await _loaded(stage, worker, rate, stage.number(4, 1)))
        async with _printing(stage, figures):
            for _ in range(stage.repeats):
                await _note_idle(stage, worker, count, figures, "loud answer", "loud")
    async with stage.worker(kind="sdk") as worker:
        await idle(stage, worker, 20)
        for _ in range(stage.repeats):
            await _note_idle(stage, worker, count, figures, "function answer", "function")
    return _rows(stage, figures, rate)


def _rows(stage: Stage, figures: dict[str, list[float]], rate: float) -> list[Row]:
    def row(what: str, name: str, over: str, floor_what: str, **counters: str | float) -> Row:
        return Row("W2", stage.database.kind, what, "ms", figures[name], figures[over], floor_what, more=False,
                   counters=counters)  # fmt: skip

    loaded = f"trigger to start at {rate:.0f}/s, half of what callers reach"
    loud = "trigger to start, idle, while one task prints"
    printed = min(figures["printed"])
    return [
        row("trigger to answer, idle, p50", "answer p50", "one row p50", F3),
        row("trigger to start, idle, p50", "start p50", "floor p50", F2),
        row("trigger to start, idle, p99", "start p99", "floor p99", F2),
        row(f"{loaded}, p50", "loaded p50", "floor p50", F2),
        row(f"{loaded}, p99", "loaded p99", "floor p99", F2),
        row(f"{loud}, p50", "loud p50", "start p50", QUIET, printed=f"{printed:.1f} MB/s"),
        row(f"{loud}, p99", "loud p99", "start p99", QUIET, printed=f"{printed:.1f} MB/s"),
        row("trigger to first line, worker of the SDK, idle, p50", "function p50", "floor p50", F2),
        row("trigger to first line, worker of the SDK, idle, p99", "function p99", "floor p99", F2),
    ]


def _note(figures: dict[str, list[float]], name: str, seconds: list[float]) -> None:
    for word, share in (("p50", 0.5), ("p99", 0.99)):
        figures.setdefault(f"{name} {word}", []).append(percentile(seconds, share) * 1000)


async def _floor(stage: Stage, count: int, figures: dict[str, list[float]]) -> None:
    _note(figures, "floor", await asyncio.to_thread(stage.floor.start_seconds, count))
    _note(figures, "one row", await asyncio.to_thread(stage.floor.one_row_seconds, count))


async def _note_idle(
    stage: Stage, worker: Worker, count: int, figures: dict[str, list[float]], answer: str, start: str
) -> None:
    answered, started = await idle(stage, worker, count)
    _note(figures, answer, answered)
    _note(figures, start, started)


async def idle(stage: Stage, worker: Worker, count: int) -> tuple[list[float], list[float]]:
    """Seconds to the answer and to the start, of one task after the other."""
    answered, started = [], []
    for _ in range(count):
        ended = worker.acknowledged_count
        begun = time.perf_counter()
        task = await stage.tasks.CreateTask(request(NOOP), timeout=CALL_SECONDS)
        answered.append(time.perf_counter() - begun)
        stage.told.append(task.id)
        started.append(await worker.start_of(task.id) - begun)
        await worker.acknowledged_up_to(ended + 1, PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # idle: the loops come to rest between two
    return answered, started


async def _possible(stage: Stage, worker: Worker) -> float:
    """Tasks a second that all callers together reach."""
    count, target = stage.number(2_000, 100), worker.acknowledged_count
    begun = time.perf_counter()
    await stage.create_each(NOOP, count, callers=CALLERS)
    await worker.acknowledged_up_to(target + count, PATIENCE_SECONDS)
    return count / (time.perf_counter() - begun)


async def _loaded(stage: Stage, worker: Worker, rate: float, seconds: float) -> list[float]:
    """Seconds to the start of tasks that come at random, so many a second."""
    due, target = {}, worker.acknowledged_count

    async def trigger(at: float) -> None:
        task = await stage.tasks.CreateTask(request(NOOP), timeout=CALL_SECONDS)
        stage.told.append(task.id)
        due[task.id] = at

    async with asyncio.TaskGroup() as group:
        at = begun = time.perf_counter()
        while at < begun + seconds:
            at += random.expovariate(rate)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            group.create_task(trigger(at))
    await worker.acknowledged_up_to(target + len(due), PATIENCE_SECONDS)
    return [worker.started_at[task_id] - at for task_id, at in due.items()]


@contextlib.asynccontextmanager
async def _printing(stage: Stage, figures: dict[str, list[float]]) -> AsyncIterator[None]:
    """A task prints on an agent of its own, which lets it; it is cancelled after the block, and forgotten."""
    placement = job_pb2.PlacementRules(required=[job_pb2.LabelRule(label="loud", values=["yes"])])
    config = job_pb2.JobConfig(cmd=sys.executable, args=["-c", PROGRAM], placement=placement)
    await stage.client.jobs.create(job_pb2.Job(name=LOUD, config=config))
    with plane.agent(stage.plane, stage.database.folder, 1, name="bench-loud", loud=True):
        task = await stage.client.tasks.create(LOUD)
        await _rate_of(stage, task.id)
        yield
        figures["printed"] = [await _rate_of(stage, task.id)]
        await stage.client.tasks.cancel(task.id)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await stage.client.tasks.get(task.id)).status != task_pb2.Task.CANCELLED:  # noqa: ASYNC110 # from outside
                await asyncio.sleep(0.05)
    await stage.client.tasks.delete(task.id)


async def _rate_of(stage: Stage, task_id: str) -> float:
    """Millions of bytes a second that the task has got rid of, by its own words."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := (await stage.client.tasks.get(task_id)).progress.message):  # noqa: ASYNC110 # from outside
            await asyncio.sleep(0.05)
    return float(found)
