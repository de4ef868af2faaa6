"""Retention: what has been kept long enough goes, and nothing else; in bounded batches, or as a whole month."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from controlplane.config import RetentionSection, Settings
from controlplane.domain.errors import PawlError
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import Job
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import ScheduleSpec
from controlplane.domain.task import Status
from controlplane.engine.jobs import JobDraft
from controlplane.engine.logs import Logs
from controlplane.engine.outputs import Outputs
from controlplane.engine.results import Ref
from controlplane.engine.retention import Batch, Kept, Retention
from controlplane.engine.schedules import ScheduleDraft, Schedules
from controlplane.engine.sessions import Session
from controlplane.engine.system import Pulse, System
from controlplane.engine.upkeep import Upkeep, make_partitions, stray_alarm
from controlplane.loops.holder import Holder
from controlplane.loops.scheduler import Scheduler
from controlplane.store import PARTITIONED, Connection, dialect
from controlplane.store.logs import Chunk, pack
from controlplane.store.tables import log_metadata, metadata
from controlplane.store.tasks import TaskData
from controlplane.wiring import kept as kept_of
from tests.engine.stage import NOW, MovedClock, Replica, opened, placed
from tests.engine.test_outputs import piece

DAYS = 86_400.0

Rows = Mapping[str, Sequence[Any]]


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


def retention(one: Replica, **days: float) -> Retention:
    return Retention(one.engine, Outputs(one.engine), Kept(**days))


async def settle(kept: Retention) -> None:
    """Turn until there is nothing more, as the loop does."""
    for _ in range(2_000):
        if not await kept.turn():
            return
    raise AssertionError("it never comes to an end")


async def ended(one: Replica, count: int = 1, **data: Any) -> list[str]:
    """Tasks that were cancelled just now."""
    made = await one.create(count=count, data=TaskData(**data))
    await one.engine.store.write(one.tasks.cancel_many, [task.id for task in made], "ann", "", one.clock.now())
    return [task.id for task in made]


async def rows(one: Replica) -> Rows:
    """Everything that is stored, by table."""

    def read(connection: Connection, tables: Sequence[sa.Table]) -> dict[str, Sequence[Any]]:
        return {table.name: connection.execute(sa.select(table)).all() for table in tables}

    found = await one.engine.store.read(read, list(metadata.tables.values()))
    return found | await one.engine.store.logs(read, list(log_metadata.tables.values()))


async def task_ids(one: Replica) -> set[str]:
    statement = sa.select(metadata.tables["sched_task"].c.id)
    return set(await one.engine.store.read(lambda connection: connection.execute(statement).scalars().all()))


async def partitions(one: Replica) -> None:
    await one.engine.store.write(make_partitions, one.clock.now())


# --- tasks


async def test_a_task_goes_when_it_ended_long_enough_ago_with_all_that_is_its_own(one: Replica) -> None:
    await one.job()
    [old] = await ended(one, parameters=b"1", parameters_type="application/json", tags={"a": "b"})
    kept = retention(one)
    one.clock.move(29.9 * DAYS)
    await partitions(one)
    await settle(kept)
    assert await task_ids(one) == {old}
    one.clock.move(5 * DAYS)
    [young] = await ended(one, tags={"a": "b"})
    [waits] = await one.create()
    one.clock.move(28 * DAYS)  # in February; where there are partitions a task goes with the last one of its month
    await settle(kept)
    found = await rows(one)
    assert {row.id for row in found["sched_task"]} == {young, waits.id}
    assert {row.task_id for row in found["sched_task_data"]} == {young, waits.id}
    assert {row.task_id for row in found["sched_task_tag"]} == {young}
    assert {row.task_id for row in found["sched_task_transition"]} == {young}


async def test_what_has_not_ended_is_never_too_old(one: Replica) -> None:
    await one.job()
    await one.job("never", labels={"no": "agent"})
    session = await one.connect()
    for name, at in (("hello", None), ("never", None), ("never", NOW + round(400 * DAYS * 1e6))):
        await one.create(name, scheduled_at=at)
    [resting] = await one.create("never")
    await one.place()
    [running] = placed(session)
    await one.start(running.ref)
    before = await rows(one)
    assert {row.status for row in before["sched_task"]} == {Status.RUNNING, Status.PENDING}
    one.clock.move(365 * DAYS)
    await settle(retention(one, tasks=0.001, logs=0.001, agents=0.001, fires=0.001, deleted=0.001, uploads=0.001))
    after = await rows(one)
    for table in ("sched_task", "sched_task_data", "sched_task_instance", "sched_ready", "sched_timer", "sched_agent"):
        assert sorted(map(tuple, after[table]), key=str) == sorted(map(tuple, before[table]), key=str), table
    assert (await one.finish(running.ref)).name == "COUNTED"
    assert (await one.cancel(resting.id)).task.status is Status.CANCELLED


async def test_what_is_kept_for_minutes_is_not_looked_for_once_an_hour(one: Replica) -> None:
    await one.job()
    first, waits = await one.create(count=2)
    await partitions(one)
    one.clock.move(62 * DAYS)
    kept = retention(one, tasks=0.01)  # 14.4 minutes
    await settle(kept)
    await one.engine.store.write(one.tasks.cancel_many, [first.id], "ann", "", one.clock.now())
    one.clock.move(0.0105 * DAYS)
    await settle(kept)
    assert await task_ids(one) == {waits.id}


async def test_a_task_that_is_restarted_is_young_again(one: Replica) -> None:
    await one.job()
    restarted, stays_ended = await ended(one, 2)
    one.clock.move(62 * DAYS)
    await partitions(one)
    await one.tasks.retry("default", restarted, by="ann", why="", key=None)
    await settle(retention(one))
    assert await task_ids(one) == {restarted}
    await one.cancel(restarted)
    await settle(retention(one))
    assert await task_ids(one) == {restarted}
    assert stays_ended != restarted


async def test_a_walk_takes_few_rows_at_a_time_and_no_more_than_it_may(one: Replica) -> None:
    if not one.engine.store.is_sqlite:
        # Pin the month, so that it is emptied and not dropped.
        await one.job("pin", labels={"no": "agent"})
        await one.create("pin")
    await one.job()
    await ended(one, 300)
    one.clock.move(62 * DAYS)
    kept = retention(one)
    kept.batch.size = 40
    left, size = len(await task_ids(one)), kept.batch.size
    while await kept.turn():
        before, left = left, len(await task_ids(one))
        assert before - left <= size
        size = kept.batch.size
    assert kept.removed["tasks"] == 300
    assert kept.batch.longest > 0


@pytest.mark.parametrize(
    ("seconds", "full", "size"),
    [(0.2, True, 50), (0.2, False, 50), (0.03, True, 100), (0.01, True, 200), (0.01, False, 100)],
)
def test_a_batch_is_sized_by_what_the_last_one_took(seconds: float, full: bool, size: int) -> None:
    batch = Batch()
    batch.took(seconds, full=full)
    assert batch.size == size
    for _ in range(20):
        batch.took(seconds, full=full)
    assert 25 <= batch.size <= 1_000


async def test_deleting_goes_on_where_it_was_cut_off(one: Replica) -> None:
    await one.job()
    await ended(one, 200)
    one.clock.move(62 * DAYS)
    kept = retention(one)
    kept.batch.size = 30
    await kept.turn()
    await kept.turn()
    await settle(retention(one))  # another process, which knows nothing of the first
    assert await task_ids(one) == set()


# --- logs, outputs


async def run(one: Replica, session: Session, count: int = 1) -> list[Ref]:
    """Placements that have begun."""
    await one.create(count=count)
    session.free = count
    await one.place()
    refs = [placement.ref for placement in placed(session)]
    for ref in refs:
        await one.start(ref)
    return refs


def chunk(ref: Ref, number: int = 0) -> Chunk:
    return Chunk(ref.task_id, ref.token, number, ref.instance_id, pack([(1, NOW, b"hello")]))


async def test_logs_go_before_their_tasks_when_they_are_kept_for_less(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    old, running = await run(one, session, 2)
    logs = Logs(one.engine)
    await logs.append([chunk(old, number) for number in range(3)] + [chunk(running)], "default")
    await one.finish(old)
    one.clock.move(8 * DAYS)
    kept = retention(one, logs=7.0)
    await settle(kept)
    if not one.engine.store.is_sqlite:
        assert len((await rows(one))["sched_log_chunk"]) == 4  # a month is looked at when all of it is old
        one.clock.move(40 * DAYS)
        kept = retention(one, logs=7.0, tasks=300.0)
        await settle(kept)
    assert {row.task_id for row in (await rows(one))["sched_log_chunk"]} == {running.task_id}
    assert {old.task_id, running.task_id} <= await task_ids(one)
    assert kept.removed["logs"] == 3


async def test_logs_of_tasks_that_are_gone_go_though_a_crash_left_them(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    [ref] = await run(one, session)
    await Logs(one.engine).append([chunk(ref)], "default")
    await one.finish(ref)
    one.clock.move(62 * DAYS)
    # What a process does that is killed between its two transactions.
    await one.engine.store.write(lambda connection: connection.execute(metadata.tables["sched_task"].delete()).rowcount)
    await settle(retention(one))
    assert (await rows(one))["sched_log_chunk"] == []


async def test_outputs_go_with_their_tasks_and_uploads_when_no_result_asks_for_them(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    outputs = Outputs(one.engine)
    named, left_alone = await run(one, session, 2)
    for ref in (named, left_alone):
        await outputs.put(ref, ("default", "agent"), piece(0, b"the same bytes"))
    digest = piece(0, b"the same bytes").digest
    await one.finish(named, output_digest=digest, output_size=14)
    one.clock.move(1.5 * DAYS)
    await settle(retention(one))
    found = await rows(one)
    assert found["sched_output_upload"] == []
    assert [(row.digest, row.holders) for row in found["sched_blob"]] == [(digest, 1)]
    await one.finish(left_alone)
    one.clock.move(62 * DAYS)
    for _ in range(2):  # what is large first, then the month
        await settle(retention(one))
    found = await rows(one)
    assert [found[table] for table in ("sched_task", "sched_blob", "sched_blob_chunk")] == [[], [], []]


# --- what is small


async def test_each_kind_has_a_time_of_its_own(one: Replica) -> None:
    await one.job()
    await one.job("gone")
    await one.jobs.delete("default", "gone", cascade=False, by="ann", etag=None, request=None)
    session = await one.connect("leaver")
    await one.agents.leave(session, on_purpose=True)
    await one.connect("stays")
    await one.create(key=IdempotencyKey("default", "any", "r", fingerprint(b"c")))
    clock, kinds = one.clock, {"request ids": 1, "agents": 3, "jobs": 5, "fires": 8}
    schedules = Schedules(one.engine)
    spec = ScheduleSpec(interval_seconds=60.0)
    await schedules.create("default", ScheduleDraft("tick", "hello", Kind.INTERVAL, "", spec), None)
    clock.move(61)
    await scheduler(one).sweep()
    for row in (await rows(one))["sched_task"]:
        await one.cancel(row.id)
    await one.jobs.update("default", "hello", lambda job: reworded(job, "other"), etag=None, request=None)
    kept = retention(one, agents=3.0, deleted=5.0, fires=7.0, tasks=9.0)
    gone: dict[str, int] = {}
    for day in range(1, 12):
        clock.move(DAYS)
        await partitions(one)
        await settle(kept)
        for what, count in kept.removed.items():
            if count and what not in gone and what not in ("tasks", "logs"):
                gone[what] = day
    revisions_wait_for_tasks = gone.pop("revisions", None)
    assert gone == kinds
    if one.engine.store.is_sqlite:
        assert revisions_wait_for_tasks == 10
    found = await rows(one)
    assert [row.id for row in found["sched_agent"]] == ["stays"]
    assert [row.name for row in found["sched_job"]] == ["hello"]


def reworded(job: Job, text: str) -> JobDraft:
    return JobDraft(job.name, replace(job.spec, description=text))


def scheduler(one: Replica) -> Scheduler:
    return Scheduler(one.engine, one.tasks, Holder(one.engine, "scheduler", "a"), pulse=Pulse("scheduler"))


async def test_revisions_go_when_no_task_runs_them_whatever_order_their_tasks_end_in(one: Replica) -> None:
    job_id = await one.job()
    [first] = await ended(one)
    for text in ("two", "three", "four"):
        one.clock.move(DAYS)
        await one.jobs.update("default", "hello", partial(reworded, text=text), etag=None, request=None)
    [newest] = await ended(one)

    async def revisions() -> set[int]:
        return {row.revision for row in (await rows(one))["sched_job_revision"] if row.job_id == job_id}

    one.clock.move(40 * DAYS)
    await settle(retention(one, tasks=500.0))
    assert await revisions() == {1, 4}
    await one.tasks.delete("default", first, etag=None, key=None)
    await settle(retention(one, tasks=500.0))
    assert await revisions() == {4}
    assert (await one.tasks.retry("default", newest, by="ann", why="", key=None)).task.job_revision == 4


def test_each_setting_is_for_its_kind() -> None:
    section = RetentionSection(
        tasks_days=1.0, logs_days=2.0, fires_days=3.0, agents_days=4.0, deleted_days=5.0, uploads_days=6.0
    )
    assert kept_of(Settings(retention=section)) == Kept(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert kept_of(Settings()) == Kept()
    assert RetentionSection().request_ids_days == 1.0


# --- partitions


async def test_next_months_partitions_are_there_and_analysed_before_anything_is_in_them(postgres_url: str) -> None:
    with opened(postgres_url) as one:
        upkeep = Upkeep(one.engine, retention(one))
        one.clock.move(20 * DAYS)
        await upkeep.turn()
        one.clock.move(20 * DAYS)  # January: its partitions are there, February's are not
        await upkeep.turn()

        def pages(connection: Connection) -> dict[str, float]:
            found = connection.execute(
                sa.text("SELECT relname, reltuples FROM pg_class WHERE relname LIKE '%_2026_02'")
            )
            return {row.relname: row.reltuples for row in found}

        found = await one.engine.store.read(pages)
        assert set(found) == {f"{table.name}_2026_02" for table in PARTITIONED}
        assert set(found.values()) == {0.0}  # and not -1, which is: nobody has looked


async def test_a_month_is_dropped_when_all_in_it_is_old_and_emptied_around_what_pins_it(postgres_url: str) -> None:
    with opened(postgres_url) as one:
        await one.job()
        await one.job("pin", labels={"no": "agent"})
        upkeep = Upkeep(one.engine, retention(one))

        async def months() -> list[str]:
            found = await one.engine.store.read(dialect.months_of, metadata.tables["sched_task"])
            return [month.name for month in found]

        await ended(one, 20)  # December
        one.clock.move(35 * DAYS)
        await upkeep.turn()
        [pin] = await one.create("pin")
        await ended(one, 20)  # January
        assert await months() == ["2025_12", "2026_01", "2026_02"]
        one.clock.move(75 * DAYS)
        while await upkeep.turn() is not None:
            pass
        assert await months() == ["2026_01", "2026_02", "2026_03", "2026_04"]
        assert await task_ids(one) == {pin.id}
        await one.cancel(pin.id)
        one.clock.move(29 * DAYS)
        while await upkeep.turn() is not None:
            pass
        assert (await months())[0] == "2026_01"
        one.clock.move(2 * DAYS)
        while await upkeep.turn() is not None:
            pass
        assert (await months())[0] > "2026_02"
        assert await task_ids(one) == set()


async def test_rows_without_a_month_alarm_until_they_have_one(postgres_url: str) -> None:
    with opened(postgres_url) as one:
        await one.job()
        assert await stray_alarm(one.engine) == ""
        one.clock.move(200 * DAYS)
        [stray] = await one.create()
        pulse = Pulse("partitions")
        pulse.error = await stray_alarm(one.engine)
        assert "sched_task from" in pulse.error
        system = System(one.engine, one.sessions, lambda: [one.tasks.creating], [pulse])  # type: ignore[list-item] # of any
        word, checks = await system.checks()
        assert (word, checks[-1].name, checks[-1].status) == ("DEGRADED", "partitions", "DEGRADED")
        assert gauge(one, "pawl_stray_tables") == 2  # the task and its data
        await Upkeep(one.engine, retention(one)).turn()
        assert await stray_alarm(one.engine) == ""
        assert gauge(one, "pawl_stray_tables") == 0
        assert (await one.task(stray.id)).id == stray.id


def gauge(one: Replica, name: str) -> float:
    """A figure as `/metrics` shows it."""
    registry = CollectorRegistry()
    one.engine.store.measures.register(registry)
    value = registry.get_sample_value(name)
    assert value is not None
    return value


async def test_two_that_clear_up_at_once_while_people_restart_tasks_do_no_harm(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        await one.job()
        ids = await ended(one, 120)
        [pin] = await one.create(scheduled_at=NOW + round(1000 * DAYS * 1e6))
        clock.move(62 * DAYS)
        restarted: set[str] = set()

        async def restart() -> None:
            for task_id in ids[::10]:
                try:
                    await two.tasks.retry("default", task_id, by="ann", why="", key=None)
                    restarted.add(task_id)
                except PawlError:
                    assert task_id not in await task_ids(two)

        first, second = retention(one), retention(two)
        first.batch.size = second.batch.size = 10
        await asyncio.gather(settle(first), settle(second), restart())
        assert await task_ids(one) == restarted | {pin.id}
        assert first.removed["tasks"] + second.removed["tasks"] == len(ids) - len(restarted)


# --- space


async def test_a_sqlite_file_gives_its_space_back(tmp_path: Any) -> None:
    with opened(f"sqlite:///{tmp_path}/pawl.db") as one:
        await one.job()
        for _ in range(10):
            await ended(one, 3, parameters=b"x" * (1 << 20))

        def pages(connection: Connection) -> int:
            return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

        before = await one.engine.store.read(pages)
        one.clock.move(31 * DAYS)
        await settle(retention(one))
        after = await one.engine.store.read(pages)
        assert before * 4096 > 30 << 20
        assert after * 4096 < 10 << 20  # a part stays free for what comes next
