"""Namespaces: what goes with one, and what stays."""

import pytest

from controlplane.domain.errors import AlreadyExists, EtagMismatch, IllegalTransition, Invalid, NotFound
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import JobConfig, JobSpec
from controlplane.domain.page import PageRequest
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import ScheduleSpec
from controlplane.domain.task import Status
from controlplane.engine.context import Engine
from controlplane.engine.instances import Instances
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.lists import Question
from controlplane.engine.namespaces import NamespaceDraft, Namespaces
from controlplane.engine.schedules import ScheduleDraft, Schedules
from controlplane.engine.tasks import NewTask, Tasks, TaskView


@pytest.fixture
def namespaces(engine: Engine, tasks: Tasks) -> Namespaces:
    """The use cases of namespaces."""
    return Namespaces(engine, tasks)


async def test_default_exists_and_stays(namespaces: Namespaces) -> None:
    assert await namespaces.exists("default")
    with pytest.raises(IllegalTransition) as refused:
        await namespaces.delete("default", cascade=True, by="me", etag=None, request=None)
    assert refused.value.reason == "PROTECTED_RESOURCE"


async def test_names_are_lower_case_and_unique(namespaces: Namespaces) -> None:
    assert not await namespaces.exists("team-a")
    await namespaces.create(NamespaceDraft("team-a", ""), None)
    assert await namespaces.exists("team-a")
    with pytest.raises(AlreadyExists):
        await namespaces.create(NamespaceDraft("team-a", ""), None)
    for name in ("Team", "", "a b", "item"):
        with pytest.raises(Invalid, match=r"namespace\.id"):
            await namespaces.create(NamespaceDraft(name, ""), None)


async def test_a_change_raises_the_version_and_an_old_etag_is_refused(namespaces: Namespaces) -> None:
    await namespaces.create(NamespaceDraft("a", "one"), None)
    changed = await namespaces.update("a", lambda before: NamespaceDraft("a", "two"), etag=1, request=None)
    assert (changed.description, changed.version) == ("two", 2)
    with pytest.raises(EtagMismatch):
        await namespaces.update("a", lambda before: NamespaceDraft("a", "three"), etag=1, request=None)


async def test_a_deleted_namespace_takes_its_jobs_and_schedules_along(
    namespaces: Namespaces, jobs: Jobs, tasks: Tasks, engine: Engine
) -> None:
    await namespaces.create(NamespaceDraft("a", ""), None)
    await jobs.create("a", JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true"))), None)
    schedules = Schedules(engine)
    rule = ScheduleSpec(interval_seconds=60)
    await schedules.create("a", ScheduleDraft("tick", "hello", Kind.INTERVAL, "", rule), None)
    [made] = await engine.store.write(tasks.insert_many, [NewTask("a", "hello")])
    assert isinstance(made, TaskView)
    with pytest.raises(IllegalTransition) as refused:
        await namespaces.delete("a", cascade=False, by="me", etag=None, request=None)
    assert refused.value.reason == "HAS_UNFINISHED_TASKS"
    await namespaces.delete("a", cascade=True, by="me", etag=None, request=None)
    assert not await namespaces.exists("a")
    assert (await tasks.get("a", made.task.id)).task.status is Status.CANCELLED
    for read in (jobs.get("a", "hello"), schedules.get("a", "tick"), namespaces.get("a")):
        with pytest.raises(NotFound):
            await read
    await namespaces.create(NamespaceDraft("a", ""), None)
    await jobs.create("a", JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true"))), None)


async def test_a_namesake_does_not_see_the_history_of_the_namespace_before_it(
    namespaces: Namespaces, jobs: Jobs, tasks: Tasks, engine: Engine
) -> None:
    async def life() -> str:
        await namespaces.create(NamespaceDraft("a", ""), None)
        await jobs.create("a", JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true"))), None)
        [made] = await engine.store.write(tasks.insert_many, [NewTask("a", "hello")])
        assert isinstance(made, TaskView)
        return made.task.id

    async def seen() -> list[str]:
        _, found = await tasks.page(Question("a", None, [], PageRequest(1, 20)))
        return [one.task.id for one in found]

    first = await life()
    await namespaces.delete("a", cascade=True, by="me", etag=None, request=None)
    second = await life()
    assert await seen() == [second]
    assert (await tasks.get("a", second)).task.status is Status.PENDING
    for forbidden in (tasks.get("a", first), tasks.cancel("a", first, by="me", why="", key=None)):
        with pytest.raises(NotFound):
            await forbidden
    page = await Instances(engine).page(Question("a", None, [], PageRequest(1, 20)))
    assert page.total == 0


async def test_a_namesake_does_not_answer_for_calls_of_the_namespace_before_it(
    namespaces: Namespaces, jobs: Jobs, engine: Engine
) -> None:
    draft = JobDraft("hello", JobSpec("", {}, JobConfig(cmd="true")))
    made = {}
    for space in ("a", "b"):
        await namespaces.create(NamespaceDraft(space, ""), None)
        made[space] = await jobs.create(space, draft, IdempotencyKey(space, "CreateJob", "r", fingerprint(b"")))
    await namespaces.delete("a", cascade=True, by="me", etag=None, request=None)
    await namespaces.create(NamespaceDraft("a", ""), None)
    again = await jobs.create("a", draft, IdempotencyKey("a", "CreateJob", "r", fingerprint(b"")))
    assert again.id != made["a"].id
    assert await jobs.create("b", draft, IdempotencyKey("b", "CreateJob", "r", fingerprint(b""))) == made["b"]


async def test_namespaces_are_listed_by_name(namespaces: Namespaces) -> None:
    for name in ("b", "a"):
        await namespaces.create(NamespaceDraft(name, ""), None)
    page, found = await namespaces.list(Question("default", None, [], PageRequest(1, 20)))
    assert ([one.id for one in found], page.total) == (["a", "b", "default"], 3)
