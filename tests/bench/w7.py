"""W7: schedules: a thousand that are due on one second, and a hundred thousand that are not due.

The thousand, half INTERVAL and half CRON, fire together a few times and end with their window: every slot must have one
task, none before its moment. The idle ones are rows made without Pawl; a control plane is started over them.
"""

import asyncio
import time

from google.protobuf.timestamp_pb2 import Timestamp
from pawl.v1 import schedule_pb2, schedule_pb2_grpc

from controlplane.domain.ids import id_at
from controlplane.store import Store, batches
from controlplane.store.tables import schedule
from tests.bench import mortal
from tests.bench.databases import Database, text
from tests.bench.report import Row, percentile
from tests.bench.stage import BATCH, CALL_SECONDS, LOOK_SECONDS, NOOP, PATIENCE_SECONDS, Stage
from tests.bench.worker import Worker

CALLERS = 16
PERIOD_SECONDS = 4
LEAST_AHEAD_SECONDS = 2.0
SECOND = 1_000_000
DAY = 86_400 * SECOND


async def measure(stage: Stage) -> list[Row]:
    """The rows of W7."""
    return [*await _together(stage), *await _idle(stage)]


async def _together(stage: Stage) -> list[Row]:
    count, kind = stage.number(1_000, 50), stage.database.kind
    await stage.make_noop()
    async with stage.worker() as worker:
        first = await _make(stage, count)
        slots = [first + n * PERIOD_SECONDS for n in range(stage.repeats)]
        await asyncio.sleep(max(0.0, slots[-1] - time.time()))
        with stage.spending(count * stage.repeats) as spent:
            await _ended(stage, count)
            await stage.all_ended()
        rows = [Row("W7", kind, f"{count:,} schedules on one second, {what}", "ms", [], more=False) for what in _WHAT]
        for slot in slots:
            for row, milliseconds in zip(rows, _lateness(stage, worker, slot, count), strict=True):
                row.values.append(milliseconds)
        passed = await asyncio.to_thread(stage.floor.stored, count, BATCH)
        rows[1].floor, rows[1].floor_what = [count / passed.rate * 1000], "as many tasks stored in raw SQL"
    rows[0].counters = {"strangers' cores": spent.strangers}
    return rows


_WHAT = ("task created after the slot, p50", "task created after the slot, p99", "started after the slot, p99")


async def _make(stage: Stage, count: int) -> int:
    """So many schedules, half of each kind, that fire together; when for the first time, seconds since 1970."""
    stub = schedule_pb2_grpc.ScheduleServiceStub(stage.client.connection.channel)
    begun = time.time()
    await stub.CreateSchedule(_asked("rehearsal", 0, 1, int(begun) + 86_400), timeout=CALL_SECONDS)
    # Far enough for all to be there before: how long that takes depends on the machine.
    ahead = (time.time() - begun) * count / 2 + LEAST_AHEAD_SECONDS * 2
    first = (int(time.time() + ahead) // PERIOD_SECONDS + 1) * PERIOD_SECONDS
    left = iter(range(count))

    async def caller() -> None:
        for number in left:
            asked = _asked(f"s{number}", number, stage.repeats, first)
            await stub.CreateSchedule(asked, timeout=CALL_SECONDS)

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    if time.time() > first - LEAST_AHEAD_SECONDS:
        raise RuntimeError(f"{count:,} schedules were not made in {ahead:.0f} s")
    return first


def _asked(name: str, number: int, times: int, first: int) -> schedule_pb2.CreateScheduleRequest:
    one = schedule_pb2.Schedule(
        name=name,
        job_id=NOOP,
        start_time=Timestamp(seconds=first),
        end_time=Timestamp(seconds=first + (times - 1) * PERIOD_SECONDS),
    )
    if number % 2:
        one.kind, one.cron_expression = schedule_pb2.ScheduleKind.CRON, f"*/{PERIOD_SECONDS} * * * * *"
    else:
        one.kind, one.interval_seconds = schedule_pb2.ScheduleKind.INTERVAL, PERIOD_SECONDS
    return schedule_pb2.CreateScheduleRequest(schedule=one)


async def _ended(stage: Stage, count: int) -> None:
    """Wait until all of them have fired for the last time."""
    over = "SELECT count(*) FROM sched_schedule WHERE status = 4"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while int((await asyncio.to_thread(stage.database.rows, over))[0][0]) < count:  # noqa: ASYNC110 # nobody calls us back
            await asyncio.sleep(LOOK_SECONDS)


def _lateness(stage: Stage, worker: Worker, slot: int, count: int) -> tuple[float, float, float]:
    """Of the tasks of one slot, in milliseconds. What is wrong with them is told of."""
    found = stage.database.rows(
        "SELECT f.task_id, t.created_at FROM sched_fire f JOIN sched_task t ON t.id = f.task_id"
        f" WHERE f.fire_time = {slot * SECOND}"
    )
    ids = [text(row[0]) for row in found]
    stage.told += ids
    late = [(int(row[1]) - slot * SECOND) / 1000 for row in found]
    offset = time.time() - time.perf_counter()
    started = [(worker.started_at[one] + offset - slot) * 1000 for one in ids if one in worker.started_at]
    if len(ids) != count:
        stage.problems.append(f"{len(ids):,} of {count:,} schedules fired")
    if early := sum(one < 0 for one in late):
        stage.problems.append(f"{early:,} schedules fired before their slot")
    return percentile(late, 0.5), percentile(late, 0.99), percentile(started, 0.99)


async def _idle(stage: Stage) -> list[Row]:
    """What a control plane does over many schedules that are not due."""
    count, seconds, kind = stage.number(100_000, 1_000), stage.number(20, 1), stage.database.kind
    with stage.server.database() as database:
        async with mortal.server(database) as (server, _):
            await asyncio.sleep(1.0)
            without = await _share(server, seconds)
            server.end()
            await asyncio.to_thread(_fill, database, count)
            start = Row("W7", kind, f"start-up over {count:,} schedules", "s", [], more=False)
            for _ in range(stage.repeats):
                begun = time.perf_counter()
                server.start()
                await server.addresses()
                start.values.append(time.perf_counter() - begun)
                server.kill()
            server.start()
            await server.addresses()
            await asyncio.sleep(1.0)
            row = Row("W7", kind, f"{count:,} idle schedules", "% of a core", [], more=False)
            row.values.append(await _share(server, seconds))
            row.counters["% of a core without them"] = without
    return [start, row]


async def _share(server: mortal.Mortal, seconds: float) -> float:
    """How much of a core it uses, per cent."""
    before = server.cpu_seconds()
    await asyncio.sleep(seconds)
    return (server.cpu_seconds() - before) / seconds * 100


def _fill(database: Database, count: int) -> None:
    """Schedules whose next slots are tomorrow."""
    store = Store(database.url)
    store.open()
    try:
        now = time.time_ns() // 1000
        for begun in range(0, count, 10_000):
            rows = [_row(now, number) for number in range(begun, min(begun + 10_000, count))]
            store.transact_now(batches.insert_rows, schedule, rows)
    finally:
        store.close()


def _row(now: int, number: int) -> dict[str, object]:
    return {
        "id": id_at(now, number),
        "namespace_id": "default",
        "name": f"idle-{number}",
        "job_id": id_at(now, 0),
        "kind": 2,
        "status": 1,
        "timezone": "UTC",
        "spec": f'{{"interval_seconds": {DAY / SECOND:.1f}}}',
        "next_fire_at": now + DAY + number,
        "fire_count": 0,
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }
