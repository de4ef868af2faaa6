"""Schedules: what a change does to the next slot, and what a status allows."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid, NotFound
from controlplane.domain.job import JobConfig, JobSpec, JobStatus
from controlplane.domain.page import PageRequest
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import ScheduleSpec, ScheduleStatus
from controlplane.engine.context import Engine
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.lists import Question
from controlplane.engine.schedules import ScheduleDraft, Schedules, ScheduleView, draft_of

SECOND = 1_000_000


@pytest.fixture
async def schedules(engine: Engine, jobs: Jobs) -> Schedules:
    """The use cases, beside a job `hello`."""
    await jobs.create("default", JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true"))), None)
    return Schedules(engine)


def every(seconds: float = 60.0, name: str = "tick", **spec: object) -> ScheduleDraft:
    wanted = ScheduleSpec(interval_seconds=seconds, **spec)  # type: ignore[arg-type]  # any field
    return ScheduleDraft(name, "hello", Kind.INTERVAL, "", wanted)


def but(**changes: object) -> Callable[[ScheduleView], ScheduleDraft]:
    return lambda view: replace(draft_of(view.schedule), **changes)  # type: ignore[arg-type]  # any field


async def test_the_first_slot_is_one_interval_after_creation(schedules: Schedules) -> None:
    view = await schedules.create("default", every(), None)
    assert view.job_name == "hello"
    assert view.schedule.next_fire_at == view.schedule.created_at + 60 * SECOND
    assert (view.schedule.status, view.schedule.timezone) == (ScheduleStatus.ACTIVE, "UTC")
    assert await schedules.get("default", "tick") == await schedules.get("default", view.schedule.id) == view


async def test_an_unknown_job_and_a_taken_name_are_refused(schedules: Schedules) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await schedules.create("default", replace(every(), job="nobody"), None)
    await schedules.create("default", every(), None)
    with pytest.raises(AlreadyExists):
        await schedules.create("default", every(), None)
    await schedules.delete("default", "tick", etag=None, request=None)
    await schedules.create("default", every(), None)


async def test_a_rule_that_cannot_fire_is_refused_with_its_field(schedules: Schedules) -> None:
    with pytest.raises(Invalid, match=r"schedule\.interval_seconds"):
        await schedules.create("default", every(0), None)
    cron = ScheduleDraft("c", "hello", Kind.CRON, "Mars/Base", ScheduleSpec(cron_expression="61 * * * *"))
    with pytest.raises(Invalid) as refused:
        await schedules.create("default", cron, None)
    assert [one.field for one in refused.value.violations] == ["schedule.cron_expression", "schedule.timezone"]


async def test_a_new_rule_moves_the_next_slot_and_a_new_description_does_not(
    schedules: Schedules, engine: Engine
) -> None:
    made = (await schedules.create("default", every(), None)).schedule
    engine.clock.offset += 90 * SECOND  # the slot at 60 s is due and nobody has dealt with it
    spec = replace(made.spec, description="other")
    described = (await schedules.update("default", "tick", but(spec=spec), etag=1, request=None)).schedule
    assert (described.next_fire_at, described.version) == (made.next_fire_at, 2)
    spec = replace(made.spec, interval_seconds=100.0)
    slower = (await schedules.update("default", "tick", but(spec=spec), etag=2, request=None)).schedule
    assert slower.next_fire_at == made.created_at + 100 * SECOND


async def test_a_disabled_schedule_has_no_next_slot_and_an_enabled_one_goes_on_from_now(
    schedules: Schedules, engine: Engine
) -> None:
    made = (await schedules.create("default", every(), None)).schedule
    disabled = (await schedules.set_status("default", "tick", ScheduleStatus.DISABLED, None)).schedule
    assert (disabled.next_fire_at, disabled.status) == (None, ScheduleStatus.DISABLED)
    engine.clock.offset += 150 * SECOND
    enabled = (await schedules.set_status("default", "tick", ScheduleStatus.ACTIVE, None)).schedule
    assert enabled.next_fire_at == made.created_at + 180 * SECOND


async def test_a_schedule_whose_window_is_over_has_ended_until_it_is_widened(
    schedules: Schedules, engine: Engine
) -> None:
    now = engine.clock.now()
    made = (await schedules.create("default", every(end_time=now + 100 * SECOND), None)).schedule
    engine.clock.offset += 200 * SECOND
    await schedules.set_status("default", "tick", ScheduleStatus.DISABLED, None)
    with pytest.raises(IllegalTransition, match="end_time"):
        await schedules.set_status("default", "tick", ScheduleStatus.ACTIVE, None)
    spec = replace(made.spec, end_time=now + 1000 * SECOND)
    widened = but(spec=spec, status=ScheduleStatus.ACTIVE)
    assert (await schedules.update("default", "tick", widened, etag=None, request=None)).schedule.next_fire_at


async def test_a_deleted_job_disables_its_schedules(schedules: Schedules, jobs: Jobs) -> None:
    await schedules.create("default", every(), None)
    await jobs.delete("default", "hello", cascade=False, by="me", etag=None, request=None)
    left = (await schedules.get("default", "tick")).schedule
    assert (left.status, left.next_fire_at, left.version) == (ScheduleStatus.DISABLED, None, 2)
    with pytest.raises(NotFound):
        await schedules.set_status("default", "tick", ScheduleStatus.ACTIVE, None)


async def test_a_preview_of_a_stored_schedule_and_of_one_that_is_only_thought_of_agree(schedules: Schedules) -> None:
    hashed = ScheduleDraft("h", "hello", Kind.CRON, "", ScheduleSpec(cron_expression="H H * * *"))
    _, thought = await schedules.preview("default", hashed, None, 3)
    await schedules.create("default", hashed, None)
    _, stored = await schedules.preview("default", "h", None, 3)
    assert stored == thought
    assert len(stored) == 3
    for count in (0, 1_001):
        with pytest.raises(Invalid, match="count"):
            await schedules.preview("default", "h", None, count)


async def test_schedules_are_listed_by_kind(schedules: Schedules) -> None:
    await schedules.create("default", every(), None)
    question = Question("default", {"kind": {"eq": "interval"}}, [], PageRequest(1, 20))
    page, views = await schedules.list(question)
    assert ([view.schedule.name for view in views], page.total, views[0].job_name) == (["tick"], 1, "hello")


async def test_a_disabled_job_does_not_stand_in_the_way_of_a_schedule(schedules: Schedules, jobs: Jobs) -> None:
    await jobs.set_status("default", "hello", JobStatus.DISABLED, None)
    await schedules.create("default", every(), None)
