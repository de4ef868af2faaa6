"""W2: trigger to start: from before the call that creates a task until the task has reached its worker.

Client and worker are one process, so both instants are of one clock. Idle: one task after the other. Under load: an
open loop at half of the rate that 64 callers reached just before; its times count from when a call was due, so that a
stall is not hidden by the calls that it held back.
"""

import asyncio
import random
import time

from tests.bench.report import Row, percentile
from tests.bench.stage import CALL_SECONDS, NOOP, PATIENCE_SECONDS, Stage, request
from tests.bench.worker import Worker

CALLERS = 64
PAUSE_SECONDS = 0.004


async def measure(stage: Stage) -> list[Row]:
    """The rows of W2."""
    await stage.make_noop()
    count = stage.number(400, 25)
    kind = stage.database.kind
    figures: dict[str, list[float]] = {}
    async with stage.worker() as worker:
        await _idle(stage, worker, 20)  # connections, prepared statements and caches
        await _floor(stage, count, figures)
        for _ in range(stage.repeats):
            answered, started = await _idle(stage, worker, count)
            _note(figures, "answer", answered)
            _note(figures, "start", started)
            await _floor(stage, count, figures)
        rate, loaded = await _loaded(stage, worker, stage.number(4, 1))
        _note(figures, "loaded", loaded)
    floor = "stored and claimed in raw SQL, a commit each"

    def row(what: str, name: str, over: str = "", floor_what: str = "") -> Row:
        return Row("W2", kind, what, "ms", figures[name], figures.get(over, []), floor_what, more=False)

    return [
        row("trigger to answer, idle, p50", "answer p50", "one row p50", "one commit of one row"),
        row("trigger to start, idle, p50", "start p50", "floor p50", floor),
        row("trigger to start, idle, p99", "start p99", "floor p99", floor),
        row(f"trigger to start at {rate:.0f}/s, half of what callers reach, p50", "loaded p50", "floor p50", floor),
        row(f"trigger to start at {rate:.0f}/s, half of what callers reach, p99", "loaded p99", "floor p99", floor),
    ]


def _note(figures: dict[str, list[float]], name: str, seconds: list[float]) -> None:
    for word, share in (("p50", 0.5), ("p99", 0.99)):
        figures.setdefault(f"{name} {word}", []).append(percentile(seconds, share) * 1000)


async def _floor(stage: Stage, count: int, figures: dict[str, list[float]]) -> None:
    _note(figures, "floor", await asyncio.to_thread(stage.floor.start_seconds, count))
    _note(figures, "one row", await asyncio.to_thread(stage.floor.one_row_seconds, count))


async def _idle(stage: Stage, worker: Worker, count: int) -> tuple[list[float], list[float]]:
    """Seconds to the answer and to the start, of one task after the other."""
    answered, started = [], []
    for _ in range(count):
        begun = time.perf_counter()
        task = await stage.tasks.CreateTask(request(NOOP), timeout=CALL_SECONDS)
        answered.append(time.perf_counter() - begun)
        stage.told.append(task.id)
        started.append(await worker.start_of(task.id) - begun)
        await worker.acknowledged_up_to(len(stage.told), PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # idle: the loops come to rest between two
    return answered, started


async def _loaded(stage: Stage, worker: Worker, seconds: float) -> tuple[float, list[float]]:
    """The rate, and seconds to the start of tasks that come at random at half of what is possible."""
    probe = stage.number(2_000, 100)
    begun = time.perf_counter()
    await stage.create_each(NOOP, probe, callers=CALLERS)
    await worker.acknowledged_up_to(len(stage.told), PATIENCE_SECONDS)
    rate = probe / (time.perf_counter() - begun) / 2
    due = {}

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
    await worker.acknowledged_up_to(len(stage.told), PATIENCE_SECONDS)
    return rate, [worker.started_at[task_id] - at for task_id, at in due.items()]
