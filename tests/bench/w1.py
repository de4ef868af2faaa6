"""W1: no-op tasks per second, from acknowledged to ended, three ways of creating them.

Drained: they wait already, and an agent comes. Bulk: two callers with 500 tasks in a call. Unary: 64 callers with one.
The floor writes the same rows with the same number of commits, in batches as large as the control plane's were.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.bench.databases import Batches, batches_since, newest
from tests.bench.floor import Pass
from tests.bench.report import Row
from tests.bench.stage import NOOP, PATIENCE_SECONDS, Spent, Stage
from tests.bench.worker import Worker

CALLERS = 64


async def measure(stage: Stage) -> list[Row]:
    """The rows of W1."""
    await stage.make_job(NOOP, "true")
    count = stage.number(4_000, 300)
    few = stage.number(2_000, 100)
    floor = stage.floor
    async with stage.worker(offered=0) as worker:
        return [
            await _line(stage, worker, "drained", count, _drained, floor.drain),
            await _line(stage, worker, "bulk-created and drained", count, _bulk, floor.whole),
            await _line(stage, worker, f"created by {CALLERS} unary callers and drained", few, _unary, floor.whole),
        ]


Way = Callable[[Stage, Worker, int], Awaitable[tuple[float, Spent]]]


async def _line(
    stage: Stage, worker: Worker, what: str, count: int, way: Way, floor: Callable[[int, Batches], Pass]
) -> Row:
    """One floor before each repetition and one after the last. The first repetition only tells the sizes of batches."""
    row = Row("W1", stage.database.kind, what, "tasks/s", [], floor_what="raw SQL, same rows and commits")
    batches = await _sizes(stage, worker, count // 4, way)
    passed = await asyncio.to_thread(floor, count, batches)
    row.floor.append(passed.rate)
    spent = Spent()
    for _ in range(stage.repeats):
        since = newest(stage.database)
        rate, spent = await way(stage, worker, count)
        batches = batches_since(stage.database, since)
        row.values.append(rate)
        passed = await asyncio.to_thread(floor, count, batches)
        row.floor.append(passed.rate)
    row.counters = {
        "batches (insert/claim/finish)": str(batches),
        "server µs/task": spent.server,
        "database µs/task": spent.database,
        "bench and agent µs/task": spent.bench,
        "floor µs/task": passed.cpu,
        "strangers' cores": spent.strangers,
    }
    if spent.commits is not None and spent.wal_bytes is not None:
        row.counters |= {"commits/task": spent.commits, "WAL B/task": spent.wal_bytes}
    return row


async def _sizes(stage: Stage, worker: Worker, count: int, way: Way) -> Batches:
    since = newest(stage.database)
    await way(stage, worker, count)
    return batches_since(stage.database, since)


async def _drained(stage: Stage, worker: Worker, count: int) -> tuple[float, Spent]:
    worker.offer(0)
    await stage.create_many(NOOP, count)
    target = worker.acknowledged_count + count
    with stage.spending(count) as spent:
        begun = time.perf_counter()
        worker.offer(worker.slots)
        await worker.acknowledged_up_to(target, PATIENCE_SECONDS)
        seconds = time.perf_counter() - begun
    return count / seconds, spent


async def _bulk(stage: Stage, worker: Worker, count: int) -> tuple[float, Spent]:
    return await _created_and_drained(stage, worker, count, stage.create_many(NOOP, count))


async def _unary(stage: Stage, worker: Worker, count: int) -> tuple[float, Spent]:
    return await _created_and_drained(stage, worker, count, stage.create_each(NOOP, count, callers=CALLERS))


async def _created_and_drained(
    stage: Stage, worker: Worker, count: int, creating: Awaitable[None]
) -> tuple[float, Spent]:
    worker.offer(worker.slots)
    target = worker.acknowledged_count + count
    with stage.spending(count) as spent:
        begun = time.perf_counter()
        await creating
        await worker.acknowledged_up_to(target, PATIENCE_SECONDS)
        seconds = time.perf_counter() - begun
    return count / seconds, spent
