"""W1: no-op tasks per second, from acknowledged to ended, by how they were created; and starts at a steady rate.

Drained: they wait already, and a worker comes. Bulk: two callers with 500 tasks in a call. Unary: 64 callers with one.
Coalesced: as many callers who each ask an SDK client for one, which sends what is asked for at the same time together.
The worker runs nothing; once it is one of the SDK, as users write one, with a function that does nothing.
F2 writes the same rows with the same number of commits, in batches as large as the control plane's were; F1 is as many
empty calls of as many callers.

Open loop: tasks are due at random instants, at a quarter, half and three quarters of the drained rate, whatever becomes
of those before; times count from the due instant, so that a stall is not hidden by the calls that it held back.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.bench.databases import Batches, batches_since, newest
from tests.bench.floor import Pass
from tests.bench.report import Row, percentile
from tests.bench.stage import BATCH, NOOP, PATIENCE_SECONDS, Spent, Stage
from tests.bench.worker import Worker

CALLERS = 64
SHARES = (0.25, 0.5, 0.75)
PERCENTS = (50, 90, 99)
TICK_SECONDS = 0.002
F1 = "F1: empty calls of the same callers"
F2 = "F2: raw SQL, same rows and commits"

Way = Callable[[Stage, Worker, int], Awaitable[tuple[float, Spent]]]


@dataclass(frozen=True, slots=True)
class Line:
    """One way of creating tasks, and what is measured beside it."""

    what: str
    way: Way
    floor: Callable[[int, Batches], Pass]
    calls: bool = False  # whether each task is a call: F1 beside F2


async def measure(stage: Stage) -> list[Row]:
    """The rows of W1."""
    await stage.make_noop()
    count = stage.number(4_000, 300)
    few = stage.number(2_000, 100)
    whole = stage.floor.whole
    async with stage.worker(offered=0, starts=False) as worker:
        drained = await _line(stage, worker, count, Line("drained", _drained, stage.floor.drain))
        rows = [
            drained,
            await _line(stage, worker, count, Line("bulk-created and drained", _bulk, whole)),
            await _line(stage, worker, few, Line(f"{CALLERS} unary callers, drained", _unary, whole, calls=True)),
            await _line(stage, worker, count, Line(f"{CALLERS} callers of one SDK client, drained", _coalesced, whole)),
        ]
    async with stage.worker(kind="sdk", starts=False) as worker:
        rows.append(await _line(stage, worker, few, Line("bulk-created and run by a worker of the SDK", _run, whole)))
    loops = {share: _open_rows(stage, share, share * statistics.median(drained.values)) for share in SHARES}
    async with stage.worker() as worker:
        for _ in range(stage.repeats):
            for share, found in loops.items():
                await _open_loop(stage, worker, share * statistics.median(drained.values), found)
    return rows + [row for found in loops.values() for row in found]


async def _line(stage: Stage, worker: Worker, count: int, line: Line) -> Row:
    """The floors before each repetition and after the last. The first repetition only tells the sizes of batches."""
    row = Row("W1", stage.database.kind, line.what, "tasks/s", [], floor_what=F2)
    batches = await _sizes(stage, worker, count // 4, line.way)
    spent, passed = Spent(), await _floors(stage, count, batches, line, row)
    for _ in range(stage.repeats):
        since = newest(stage.database)
        rate, spent = await line.way(stage, worker, count)
        batches = batches_since(stage.database, since)
        row.values.append(rate)
        passed = await _floors(stage, count, batches, line, row)
    row.counters = {"batches (insert/claim/finish)": str(batches), "placed as made": f"{batches.direct:.0%}"}
    row.counters |= spent.counters() | {"F2 µs/task": passed.cpu}
    return row


async def _floors(stage: Stage, count: int, batches: Batches, line: Line, row: Row) -> Pass:
    passed = await asyncio.to_thread(line.floor, count, batches)
    row.floor.append(passed.rate)
    if line.calls:
        rate, _, _ = await (await stage.echo()).rate(count, CALLERS)
        row.others.setdefault(F1, []).append(rate)
    return passed


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


async def _coalesced(stage: Stage, worker: Worker, count: int) -> tuple[float, Spent]:
    return await _created_and_drained(stage, worker, count, stage.create_coalesced(NOOP, count, callers=CALLERS))


async def _run(stage: Stage, worker: Worker, count: int) -> tuple[float, Spent]:
    """Until all are stored as ended: this worker only knows when it has ended them itself."""
    target = worker.acknowledged_count + count
    with stage.spending(count) as spent:
        begun = time.perf_counter()
        await stage.create_many(NOOP, count)
        await worker.acknowledged_up_to(target, PATIENCE_SECONDS)
        await stage.all_ended()
        seconds = time.perf_counter() - begun
    return count / seconds, spent


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


def _open_rows(stage: Stage, share: float, rate: float) -> list[Row]:
    what = f"trigger to start, open loop at {share:.0%} of the drained rate"
    counters: dict[str, str | float] = {"offered tasks/s": rate}
    return [
        Row("W1", stage.database.kind, f"{what}, p{percent}", "ms", [], more=False, counters=dict(counters))
        for percent in PERCENTS
    ]


async def _open_loop(stage: Stage, worker: Worker, rate: float, rows: Sequence[Row]) -> None:
    """From due to start, at a steady rate; what is due together is created by one call."""
    due: dict[str, float] = {}
    target, told = worker.acknowledged_count, len(stage.told)

    async def create(instants: list[float]) -> None:
        ids = await stage.batch(NOOP, len(instants))
        due.update(zip(ids, instants, strict=True))

    async with asyncio.TaskGroup() as group:
        begun = at = time.perf_counter()
        until = begun + stage.number(16, 1) / 4
        while at < until:
            instants = []
            while at < until and at <= time.perf_counter():
                instants.append(at)
                at += random.expovariate(rate)
            for first in range(0, len(instants), BATCH):
                group.create_task(create(instants[first : first + BATCH]))
            await asyncio.sleep(TICK_SECONDS)
    await worker.acknowledged_up_to(target + len(stage.told) - told, PATIENCE_SECONDS)
    taken = [worker.started_at[task_id] - instant for task_id, instant in due.items()]
    for row, percent in zip(rows, PERCENTS, strict=True):
        row.values.append(percentile(taken, percent / 100) * 1000)
        row.counters["max ms"] = max(taken) * 1000
