"""The scheduler: every slot once, with a task or with a reason, whoever crashes and however many there are."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from controlplane.domain.job import JobConfig, JobSpec, JobStatus
from controlplane.domain.page import PageRequest
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import Schedule, ScheduleSpec, ScheduleStatus
from controlplane.engine.context import Engine
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.lists import Question
from controlplane.engine.schedules import ScheduleDraft, Schedules, draft_of
from controlplane.engine.system import Pulse
from controlplane.engine.tasks import Tasks
from controlplane.loops.holder import Holder, Together
from controlplane.loops.scheduler import AHEAD, MOST_AHEAD, Scheduler, decide
from controlplane.store import Connection
from controlplane.store.schedules import Fire
from controlplane.store.schedules import insert as insert_schedule
from controlplane.store.tables import schedule, task

SECOND = 1_000_000


@pytest.fixture
async def schedules(engine: Engine, jobs: Jobs) -> Schedules:
    """The use cases, beside a job `hello`."""
    await jobs.create("default", JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true"))), None)
    return Schedules(engine)


def scheduler_of(engine: Engine, tasks: Tasks, identity: str = "a") -> Scheduler:
    return Scheduler(engine, tasks, Holder(engine, "scheduler", identity), pulse=Pulse("scheduler"))


async def tick(schedules: Schedules, name: str = "tick", **spec: object) -> Schedule:
    wanted = ScheduleSpec(**({"interval_seconds": 60.0, "tags": {"by": "clock"}} | spec))  # type: ignore[arg-type]  # any field
    draft = ScheduleDraft(name, "hello", Kind.INTERVAL, "", wanted, b'{"n":1}', "application/json")
    return (await schedules.create("default", draft, None)).schedule


async def fires(schedules: Schedules, name: str = "tick") -> Sequence[Fire]:
    return (await schedules.fires(name, Question("default", None, [], PageRequest(1, 1000))))[1]


async def task_count(engine: Engine) -> int:
    statement = sa.select(sa.func.count()).select_from(task)
    return await engine.store.read(lambda connection: int(connection.execute(statement).scalar_one()))


async def test_a_slot_makes_one_task_with_what_the_schedule_says(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules, environment={"A": "1"}, priority=700)
    scheduler = scheduler_of(engine, tasks)
    assert await scheduler.sweep() == 0
    engine.clock.offset += 61 * SECOND
    assert await scheduler.sweep() == 1
    assert await scheduler.sweep() == 0
    [fire] = await fires(schedules)
    assert fire.task_id is not None
    view = await tasks.get("default", fire.task_id)
    assert (view.task.schedule_id, view.task.scheduled_at, view.task.priority) == (made.id, made.next_fire_at, 700)
    assert (view.data.parameters, view.data.tags, view.data.environment) == (b'{"n":1}', {"by": "clock"}, {"A": "1"})
    after = (await schedules.get("default", "tick")).schedule
    assert (after.fire_count, after.last_fire_at, after.version) == (1, made.next_fire_at, 1)
    assert after.next_fire_at == made.created_at + 120 * SECOND


async def test_after_a_sleep_the_newest_slot_fires_and_the_others_have_a_reason(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    await tick(schedules)
    engine.clock.offset += 60 * 200 * SECOND + SECOND
    await scheduler_of(engine, tasks).sweep()
    newest, *missed = await fires(schedules)
    assert newest.task_id is not None
    assert len(missed) == 100
    assert {one.reason for one in missed[:-1]} == {"NEWER_SLOT"}
    assert missed[-1].reason == "NEWER_SLOT (99 older slots were missed as well)"
    assert await task_count(engine) == 1


async def test_many_that_slept_are_dealt_with_in_short_transactions(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    for number in range(25):
        await tick(schedules, f"s{number}")
    engine.clock.offset += 60 * 200 * SECOND + SECOND
    engine.store.commit_seconds.clear()
    assert await scheduler_of(engine, tasks).sweep() == 25
    assert len(engine.store.commit_seconds) == 3  # each of at most ten schedules with a hundred rows each
    assert await task_count(engine) == 25


async def test_rival_schedulers_fire_every_slot_once(engine: Engine, tasks: Tasks, schedules: Schedules) -> None:
    for number in range(30):
        await tick(schedules, f"s{number}")
    engine.clock.offset += 61 * SECOND
    rivals = [scheduler_of(engine, tasks, str(number)) for number in range(4)]
    await asyncio.gather(*(rival.sweep() for rival in rivals))
    while await rivals[0].sweep():
        pass
    assert await task_count(engine) == 30


async def test_a_slot_that_has_a_row_is_not_fired_again(engine: Engine, tasks: Tasks, schedules: Schedules) -> None:
    made = await tick(schedules)
    engine.clock.offset += 61 * SECOND
    scheduler = scheduler_of(engine, tasks)
    await scheduler.sweep()
    back = schedule.update().values(next_fire_at=made.next_fire_at)
    await engine.store.write(lambda connection: connection.execute(back).rowcount)
    assert await scheduler.sweep() == 1
    assert (await task_count(engine), len(await fires(schedules))) == (1, 1)


async def test_a_disabled_job_leaves_a_reason_and_the_schedule_goes_on(
    engine: Engine, tasks: Tasks, schedules: Schedules, jobs: Jobs
) -> None:
    await tick(schedules)
    await jobs.set_status("default", "hello", JobStatus.DISABLED, None)
    engine.clock.offset += 61 * SECOND
    await scheduler_of(engine, tasks).sweep()
    [fire] = await fires(schedules)
    assert (fire.task_id, fire.reason) == (None, "JOB_DISABLED")
    after = (await schedules.get("default", "tick")).schedule
    assert (after.status, after.fire_count, after.last_fire_at) == (ScheduleStatus.ACTIVE, 0, None)


async def test_a_schedule_ends_with_its_window(engine: Engine, tasks: Tasks, schedules: Schedules) -> None:
    await tick(schedules, end_time=engine.clock.now() + 100 * SECOND)
    engine.clock.offset += 61 * SECOND
    await scheduler_of(engine, tasks).sweep()
    after = (await schedules.get("default", "tick")).schedule
    assert (after.status, after.next_fire_at, after.fire_count) == (ScheduleStatus.ENDED, None, 1)


async def test_a_rule_that_cannot_be_computed_stops_only_itself(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    await tick(schedules)
    broken = await tick(schedules, "broken")
    zone = schedule.update().where(schedule.c.id == broken.id).values(kind=1, timezone="Gone/Zone")
    await engine.store.write(lambda connection: connection.execute(zone).rowcount)
    engine.clock.offset += 61 * SECOND
    await scheduler_of(engine, tasks).sweep()
    [fire] = await fires(schedules, "broken")
    assert (fire.reason or "").startswith("INVALID_RULE")
    assert (await schedules.get("default", "broken")).schedule.status is ScheduleStatus.DISABLED
    assert await task_count(engine) == 1


async def test_a_schedule_that_changed_meanwhile_is_not_fired_by_what_was_read(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules)
    await schedules.set_status("default", "tick", ScheduleStatus.DISABLED, None)
    engine.clock.offset += 61 * SECOND
    now = engine.clock.now()
    fired = await engine.store.write(scheduler_of(engine, tasks)._fire, decide([made], now), now)
    assert (fired.created, fired.fires) == (0, [])


async def decided_ahead(engine: Engine, tasks: Tasks, made: Schedule) -> Scheduler:
    """A scheduler that has looked before the slot, as early as it may; the slot has come since."""
    before = AHEAD - SECOND // 5
    scheduler = scheduler_of(engine, tasks)
    assert made.next_fire_at is not None
    engine.clock.offset += made.next_fire_at - engine.clock.now() - before
    assert await scheduler.sweep() == 0
    assert await task_count(engine) == 0
    engine.clock.offset += before
    return scheduler


async def test_what_was_decided_ahead_fires_in_its_slot_and_not_before(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules)
    scheduler = await decided_ahead(engine, tasks, made)
    assert await scheduler.sweep() == 1
    [fire] = await fires(schedules)
    assert fire.fire_time == made.next_fire_at
    assert fire.handled_at >= fire.fire_time


async def test_a_schedule_that_is_changed_after_it_was_decided_fires_as_it_is_now(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules)
    scheduler = await decided_ahead(engine, tasks, made)
    await schedules.update(
        "default",
        "tick",
        lambda view: replace(draft_of(view.schedule), parameters=b'{"n":2}'),
        etag=None,
        request=None,
    )
    while await scheduler.sweep():
        pass
    [fire] = await fires(schedules)
    assert fire.task_id is not None
    assert (await tasks.get("default", fire.task_id)).data.parameters == b'{"n":2}'


async def test_a_schedule_that_is_disabled_or_deleted_after_it_was_decided_does_not_fire(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules)
    await tick(schedules, "deleted")
    scheduler = await decided_ahead(engine, tasks, made)
    engine.clock.offset += SECOND
    await schedules.set_status("default", "tick", ScheduleStatus.DISABLED, None)
    await schedules.delete("default", "deleted", etag=None, request=None)
    while await scheduler.sweep():
        pass
    assert await task_count(engine) == 0


async def test_slots_that_are_missed_after_the_first_was_decided_have_a_reason(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules, interval_seconds=1.0)
    scheduler = await decided_ahead(engine, tasks, made)
    engine.clock.offset += 3 * SECOND
    assert await scheduler.sweep() == 1
    newest, *missed = await fires(schedules)
    assert newest.task_id is not None
    assert len(missed) >= 3
    assert {one.reason for one in missed} == {"NEWER_SLOT"}
    assert await task_count(engine) == 1


async def test_more_schedules_than_one_look_sees_fire_each_once(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    made = await tick(schedules)
    many = [replace(made, id=engine.new_id(), name=f"s{number}") for number in range(MOST_AHEAD + 10)]

    def insert(connection: Connection) -> None:
        for one in many:
            insert_schedule(connection, one)

    await engine.store.write(insert)
    engine.clock.offset += 61 * SECOND
    scheduler = scheduler_of(engine, tasks)
    assert await scheduler.sweep() == MOST_AHEAD
    while await scheduler.sweep():
        pass
    assert await task_count(engine) == len(many) + 1


async def test_the_loop_wakes_for_a_new_schedule_and_for_its_slot(
    engine: Engine, tasks: Tasks, schedules: Schedules
) -> None:
    scheduler = scheduler_of(engine, tasks)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(scheduler.run())
        await tick(schedules, interval_seconds=0.2)
        while len(await fires(schedules)) < 3:  # noqa: ASYNC110 # a look from outside: nobody calls us back
            await asyncio.sleep(0.02)
        running.cancel()
    slots = await fires(schedules)
    assert len(slots) >= 3
    assert max(one.handled_at - one.fire_time for one in slots if one.task_id) < SECOND


async def test_one_holder_at_a_time_and_a_restarted_one_takes_its_own_back(engine: Engine) -> None:
    first, second = Holder(engine, "loop", "a"), Holder(engine, "loop", "b")
    assert await first.hold()
    assert not await second.hold()
    again = Holder(engine, "loop", "a")
    assert await again.hold()
    assert (first.token, again.token) == (1, 2)
    engine.clock.offset += 4 * SECOND
    assert await second.hold()
    again._renew_at = 0.0
    assert not await again.hold()
    await second.release()
    assert await again.hold()


async def test_the_claims_of_one_process_are_renewed_by_one_commit(engine: Engine) -> None:
    together = Together()
    claims = [Holder(engine, f"loop-{number}", "a", together=together) for number in range(5)]
    assert all([await one.hold() for one in claims])
    for one in claims:
        one._renew_at = 0.0
    engine.store.commit_seconds.clear()
    assert all(await asyncio.gather(*(one.hold() for one in claims)))
    assert len(engine.store.commit_seconds) == 1


async def test_a_loop_that_does_not_come_round_loses_its_lease_though_others_renew_theirs(engine: Engine) -> None:
    together = Together()
    alive, stuck = Holder(engine, "alive", "a", together=together), Holder(engine, "stuck", "a", together=together)
    assert await alive.hold()
    assert await stuck.hold()
    stuck._asked_at -= 4.0
    engine.clock.offset += 2 * SECOND
    alive._renew_at = 0.0
    assert await alive.hold()
    engine.clock.offset += 2 * SECOND
    assert not await Holder(engine, "alive", "b").hold()
    assert await Holder(engine, "stuck", "b").hold()
    stuck._renew_at = 0.0
    assert not await stuck.hold()


async def test_claims_that_somebody_else_took_are_lost_and_the_others_kept(engine: Engine) -> None:
    together = Together()
    kept, lost = Holder(engine, "kept", "a", together=together), Holder(engine, "lost", "a", together=together)
    assert await kept.hold()
    assert await lost.hold()
    assert await Holder(engine, "lost", "a").hold()  # its process was started again
    kept._renew_at = lost._renew_at = 0.0
    assert await kept.hold()
    assert lost.token is None
