"""G1: cost as it grows: what a task costs, and how long it takes to start, on a control plane that has much of
something, beside one on an empty database: one repetition here, one there, in turns.

Much is: tasks that wait and that no agent meets; tasks that wait in the same queue as what is run; finished tasks with
their attempts; agents that are connected and have room, which the work prefers less than the worker that runs it;
demands (sets of labels) that nothing waits for any more, and demands that something waits for and no agent meets.
The ratio is that to the empty one; what exceeds MOST says so.

Cost is CPU of server and database. The work is created in bulk and drained, as W1's; behind a deep queue it is created
first, and then as much of the front is drained. Starts are W2's, idle: behind a deep queue there is only the answer.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from pawl.v1 import job_pb2

from controlplane.domain.job import FunctionSpec, JobConfig, JobSpec
from controlplane.domain.placement import LabelRule, PlacementRules
from controlplane.engine.jobs import JobDraft
from controlplane.engine.tasks import NewTask
from controlplane.store import batches
from controlplane.store.tables import requirement
from controlplane.store.tasks import TaskData
from tests.bench import many, w2
from tests.bench import stage as stages
from tests.bench.databases import SUCCEEDED, Database, text
from tests.bench.noop import FUNCTION
from tests.bench.report import Row, percentile
from tests.bench.stage import BATCH, NOOP, PATIENCE_SECONDS, Spent, Stage
from tests.bench.worker import Worker
from tests.engine.stage import MovedClock, Replica, opened

MOST = 1.5
ROWS, QUICK_ROWS = 1_000_000, 3_000
SLOTS = 10_000  # more than what is made at once, so that nothing goes to others
MINE = "bench=mine"
WEIGHT = 100
SETTLED_SECONDS = 0.5
ROUNDS = 15  # in which starts here and there take turns
EMPTY = "on an empty database"

What = Literal["waiting", "queue", "finished", "agents", "dead", "live"]
PARTS = get_args(What)


@dataclass(frozen=True, slots=True)
class Much:
    """Something there is much of."""

    what: What
    words: str
    count: int


@dataclass
class Side:
    """A control plane with its worker, and what was measured there."""

    stage: Stage
    worker: Worker
    since: int
    costs: list[Spent] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


async def measure(stage: Stage) -> list[Row]:
    """Two rows for each thing there can be much of."""
    await _ask_for_job(stage)
    rows: list[Row] = []
    async with _side(stage) as empty:
        await _cost(empty, stage.number(1_000, 50), queue=False)
        for much in _all(stage):
            rows += await _beside(empty, much)
    return rows


def _all(stage: Stage) -> Sequence[Much]:
    rows = stage.rows or stage.number(ROWS, QUICK_ROWS)
    waiting, agents = stage.number(1_000_000, 3_000), stage.number(300, 5)
    demands = stage.number(10_000, 100)
    found = [
        Much("waiting", f"{waiting:,} waiting tasks that no agent meets", waiting),
        Much("queue", f"{waiting:,} waiting tasks in front", waiting),
        Much("finished", f"{rows:,} finished tasks", rows),
        Much("agents", f"{agents:,} idle agents with room", agents),
        Much("dead", f"{demands:,} demands that nothing waits for", demands),
        Much("live", f"{demands:,} demands that wait and no agent meets", demands),
    ]
    return [one for one in found if not stage.parts or one.what in stage.parts]


async def _beside(empty: Side, much: Much) -> list[Row]:
    """The two rows of this much."""
    base, queue = empty.stage, much.what == "queue"
    count, few, kind = base.number(4_000, 300), base.number(10, 1), base.database.kind
    begun = time.perf_counter()

    async def fill(database: Database) -> None:
        await _fill(database, much)

    async with (
        stages.opened(base.server, quick=base.quick, repeats=base.repeats, fill=fill) as grown,
        _crowd(grown, much.count if much.what == "agents" else 0),
        _side(grown) as side,
    ):
        made = time.perf_counter() - begun
        await _cost(side, base.number(1_000, 50), queue=queue)
        empty.costs, empty.milliseconds = [], []
        for _ in range(base.repeats):
            for one in (empty, side):
                one.costs.append(await _cost(one, count, queue=queue))
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(base.number(ROUNDS, 5)):
                for one, found in zip((empty, side), taken, strict=True):
                    found += await _latencies(one, few, queue=queue)
            for one, found in zip((empty, side), taken, strict=True):
                one.milliseconds.append(percentile(found, 0.5) * 1000)
        idle = await _idle_share(side)
        _check(side, queue=queue)
        base.problems += [f"{much.words}: {one}" for one in grown.problems]
        base.told_elsewhere += len(grown.told)
    cost = Row("G1", kind, f"{much.words}: bulk-created and drained", "CPU µs/task", [_cpu(one) for one in side.costs],
               [_cpu(one) for one in empty.costs], EMPTY, more=False)  # fmt: skip
    what = "answer" if queue else "start"
    start = Row("G1", kind, f"{much.words}: trigger to {what}, idle, p50", "ms", side.milliseconds,
                empty.milliseconds, EMPTY, more=False)  # fmt: skip
    for row in (cost, start):
        if row.ratio is not None and row.ratio > MOST:
            row.counters["over"] = str(MOST)
    cost.counters |= _counters(side.costs[-1], empty.costs[-1]) | {"made in s": made, "idle, % of a core": idle}
    return [cost, start]


def _counters(grown: Spent, empty: Spent) -> dict[str, str | float]:
    before = empty.counters()
    return {
        name: value if name == "strangers' cores" else f"{value:.3g} (empty: {before[name]:.3g})"
        for name, value in grown.counters().items()
    }


def _cpu(spent: Spent) -> float:
    return spent.server + spent.database


@contextlib.asynccontextmanager
async def _side(stage: Stage) -> AsyncIterator[Side]:
    async with stage.worker(offered=0, slots=SLOTS, label=MINE) as worker:
        yield Side(stage, worker, time.time_ns() // 1000)
        worker.offer(0)


@contextlib.asynccontextmanager
async def _crowd(stage: Stage, count: int) -> AsyncIterator[None]:
    """So many agents that have room."""
    if not count:
        yield
        return
    async with stage.worker(starts=False, slots=4, streams=count):
        yield


async def _cost(side: Side, count: int, *, queue: bool) -> Spent:
    """Of each task, by what was created and what was drained."""
    if not queue:
        side.worker.offer(SLOTS)
        target = side.worker.acknowledged_count + count
        with side.stage.spending(count) as spent:
            await side.stage.create_many(NOOP, count)
            await side.worker.acknowledged_up_to(target, PATIENCE_SECONDS)
        return spent
    side.worker.offer(0)
    await asyncio.sleep(SETTLED_SECONDS)
    with side.stage.spending(count) as created:
        await side.stage.create_many(NOOP, count)
    before = side.worker.acknowledged_count
    with side.stage.spending(1) as drained:
        side.worker.offer(2 * BATCH)
        await side.worker.acknowledged_up_to(before + count, PATIENCE_SECONDS)
        side.worker.offer(0)
        await asyncio.sleep(SETTLED_SECONDS)
    ended = side.worker.acknowledged_count - before
    for one in fields(Spent):
        if (all_drained := getattr(drained, one.name)) is not None and one.name != "strangers":
            setattr(created, one.name, getattr(created, one.name) + all_drained / ended)
    return created


async def _latencies(side: Side, count: int, *, queue: bool) -> list[float]:
    """Seconds."""
    if not queue:
        _, started = await w2.idle(side.stage, side.worker, count)
        return started
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await side.stage.create_each(NOOP, 1, callers=1)
        taken.append(time.perf_counter() - begun)
        await asyncio.sleep(w2.PAUSE_SECONDS)
    return taken


async def _idle_share(side: Side) -> float:
    """What the server uses while nothing happens, per cent of a core."""
    seconds, before = side.stage.number(30, 1) / 10, side.stage.plane.cpu_seconds()
    await asyncio.sleep(seconds)
    return (side.stage.plane.cpu_seconds() - before) / seconds * 100


def _check(side: Side, *, queue: bool) -> None:
    """What was told of is there and ended once, unless other work stood in front of it; nothing was placed twice."""
    stage = side.stage
    found = {
        text(row[0]): row[1]
        for row in stage.database.rows(f"SELECT id, status FROM sched_task WHERE created_at > {side.since}")
    }
    placed = [
        text(row[0])
        for row in stage.database.rows(f"SELECT task_id FROM sched_task_instance WHERE created_at > {side.since}")
    ]
    ended = [one for one in stage.told if found.get(one) == SUCCEEDED]
    checks = [
        (sum(one not in found for one in stage.told), "acknowledged tasks are not there"),
        (0 if queue else len(stage.told) - len(ended), "acknowledged tasks did not succeed"),
        (len(set(found) - set(stage.told)), "tasks are there that nobody was told of"),
        (len(placed) - len(set(placed)), "tasks were placed twice"),
        (abs(len(placed) - side.worker.acknowledged_count), "placements more or fewer than the worker ended"),
    ]
    stage.problems += [f"{count:,} {words}" for count, words in checks if count]


async def _ask_for_job(stage: Stage) -> None:
    """The job that `_make_job` makes, of a server that runs."""
    label, _, value = MINE.partition("=")
    placement = job_pb2.PlacementRules(preferred=[job_pb2.LabelRule(label=label, values=[value], weight=WEIGHT)])
    config = job_pb2.JobConfig(executor="function", function=job_pb2.FunctionConfig(name=FUNCTION), placement=placement)
    await stage.client.jobs.create(job_pb2.Job(name=NOOP, config=config))


async def _make_job(replica: Replica) -> None:
    """W1's, but it prefers one worker."""
    label, _, value = MINE.partition("=")
    prefers = PlacementRules(preferred=(LabelRule(label, values=(value,), weight=WEIGHT),))
    config = JobConfig(executor="function", function=FunctionSpec(name=FUNCTION), placement=prefers)
    await replica.jobs.create("default", JobDraft(NOOP, JobSpec("", {}, config)), None)


async def _fill(database: Database, much: Much) -> None:
    now = time.time_ns() // 1000
    with opened(database.url, MovedClock(now)) as replica:
        await _make_job(replica)
        ids = await _made(replica, much, now)
    if much.what == "finished":
        await asyncio.to_thread(many.fill, database, much.count, now)
    elif ids:
        await asyncio.to_thread(many.multiply, database, ids[0], much.count - 1)


async def _made(replica: Replica, much: Much, now: int) -> list[str]:
    """What is made without SQL; gives a task that is to be many."""
    if much.what == "queue":
        return [one.id for one in await replica.create(NOOP)]
    if much.what == "waiting":
        return [one.id for one in await replica.create(NOOP, data=TaskData(labels={"nobody": "yes"}))]
    if much.what == "dead":
        rows = [
            {"namespace_id": "default", "digest": f"{n:064x}", "touched_at": now,
             "spec": f'{{"executor":"function","function":"{FUNCTION}","labels":{{"set":"{n}"}}}}'}
            for n in range(much.count)
        ]  # fmt: skip
        await replica.engine.store.write(batches.insert_rows, requirement, rows)
    if much.what == "live":
        for first in range(0, much.count, BATCH):
            numbers = range(first, min(first + BATCH, much.count))
            new = [NewTask("default", NOOP, data=TaskData(labels={"set": str(n)})) for n in numbers]
            await replica.engine.store.write(replica.tasks.insert_many, new)
    return []
