"""Jobs: revisions, etags, names, and what stands in the way of a delete."""

import asyncio
from dataclasses import replace

import pytest

from controlplane.domain.errors import AlreadyExists, EtagMismatch, IllegalTransition, Invalid, NotFound
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import Job, JobConfig, JobSpec, JobStatus, WasmSpec
from controlplane.domain.page import PageRequest
from controlplane.domain.task import Status
from controlplane.engine.context import Engine
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.lists import Question
from controlplane.engine.tasks import NewTask, Tasks, TaskView


def draft(name: str = "hello", **config: object) -> JobDraft:
    return JobDraft(name, JobSpec("says hello", {"A": "1"}, JobConfig(cmd="echo", **config)))  # type: ignore[arg-type]  # any setting


def request(request_id: str, content: bytes = b"f") -> IdempotencyKey:
    return IdempotencyKey("default", "pawl.v1.JobService/CreateJob", request_id, fingerprint(content))


async def test_a_job_is_read_by_id_and_by_name(jobs: Jobs) -> None:
    made = await jobs.create("default", draft(args=("hi",)), None)
    assert (made.status, made.revision, made.version) == (JobStatus.ENABLED, 1, 1)
    assert await jobs.get("default", made.id) == await jobs.get("default", "hello") == made


async def test_a_job_is_unknown_outside_its_namespace(jobs: Jobs) -> None:
    made = await jobs.create("default", draft(), None)
    with pytest.raises(NotFound):
        await jobs.get("other", made.id)
    with pytest.raises(NotFound) as refused:
        await jobs.create("other", draft(), None)
    assert refused.value.reason == "NAMESPACE_NOT_FOUND"


async def test_a_taken_name_is_refused_and_a_deleted_one_is_free(jobs: Jobs) -> None:
    first = await jobs.create("default", draft(), None)
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create("default", draft(), None)
    assert refused.value.reason == "NAME_TAKEN"
    await jobs.delete("default", "hello", cascade=False, by="me", etag=None, request=None)
    second = await jobs.create("default", draft(), None)
    assert second.id != first.id


async def test_a_repeated_create_makes_one_job(jobs: Jobs) -> None:
    made = await jobs.create("default", draft(), request("r1"))
    assert await jobs.create("default", draft(), request("r1")) == made
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create("default", draft("other"), request("r1", b"g"))
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_changed_configuration_is_a_new_revision_and_a_repeat_changes_nothing(jobs: Jobs) -> None:
    made = await jobs.create("default", draft(), None)

    def change(before: Job) -> JobDraft:
        return JobDraft(before.name, replace(before.spec, config=replace(before.spec.config, timeout=5.0)))

    changed = await jobs.update("default", "hello", change, etag=1, request=None)
    assert (changed.revision, changed.version, changed.spec.config.timeout) == (2, 2, 5.0)
    assert changed.requirement_id == made.requirement_id
    assert await jobs.update("default", "hello", change, etag=2, request=None) == changed
    assert await jobs.get("default", "hello") == changed


async def test_other_labels_are_another_requirement(jobs: Jobs) -> None:
    made = await jobs.create("default", draft(), None)
    same = await jobs.create("default", draft("same"), None)
    other = await jobs.create("default", draft("other", labels={"gpu": "yes"}), None)
    assert made.requirement_id == same.requirement_id != other.requirement_id


async def test_an_old_etag_is_refused(jobs: Jobs) -> None:
    await jobs.create("default", draft(), None)
    disabled = await jobs.set_status("default", "hello", JobStatus.DISABLED, None)
    assert (disabled.status, disabled.version, disabled.revision) == (JobStatus.DISABLED, 2, 1)
    assert (await jobs.set_status("default", "hello", JobStatus.DISABLED, None)).version == 2
    with pytest.raises(EtagMismatch):
        await jobs.update("default", "hello", lambda before: draft(), etag=1, request=None)
    with pytest.raises(EtagMismatch):
        await jobs.delete("default", "hello", cascade=False, by="me", etag=1, request=None)


async def test_a_job_keeps_its_name(jobs: Jobs) -> None:
    await jobs.create("default", draft(), None)
    with pytest.raises(Invalid, match=r"job\.name"):
        await jobs.update("default", "hello", lambda before: draft("other"), etag=None, request=None)


async def test_unfinished_tasks_stand_in_the_way_of_a_delete_unless_they_are_cancelled(
    jobs: Jobs, tasks: Tasks, engine: Engine
) -> None:
    await jobs.create("default", draft(), None)
    [made] = await engine.store.write(tasks.insert_many, [NewTask("default", "hello")])
    assert isinstance(made, TaskView)
    task = made.task
    with pytest.raises(IllegalTransition) as refused:
        await jobs.delete("default", "hello", cascade=False, by="me", etag=None, request=None)
    assert refused.value.reason == "HAS_UNFINISHED_TASKS"
    await jobs.delete("default", "hello", cascade=True, by="me", etag=None, request=None)
    view = await tasks.get("default", task.id)
    assert (view.task.status, view.job_name) == (Status.CANCELLED, "hello")


async def test_a_plugin_that_does_not_exist_is_named(jobs: Jobs) -> None:
    spec = JobSpec("", {}, JobConfig(executor="wasm", wasm=WasmSpec("nobody@1")))
    with pytest.raises(NotFound, match="nobody@1"):
        await jobs.create("default", JobDraft("w", spec), None)


async def test_jobs_are_listed_by_name_and_status(jobs: Jobs) -> None:
    for name in ("a", "b", "c"):
        await jobs.create("default", draft(name), None)
    await jobs.set_status("default", "b", JobStatus.DISABLED, None)
    await jobs.delete("default", "c", cascade=False, by="me", etag=None, request=None)
    page, found = await jobs.list(Question("default", None, ["-name"], PageRequest(1, 20)))
    assert ([one.name for one in found], page.total) == (["b", "a"], 2)
    _, found = await jobs.list(Question("default", {"state": {"eq": "ENABLED"}}, [], PageRequest(1, 20)))
    assert [one.name for one in found] == ["a"]


async def test_of_rivals_for_a_name_one_wins_and_the_others_are_told(jobs: Jobs) -> None:
    outcomes = await asyncio.gather(*(jobs.create("default", draft(), None) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, Job) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyExists) for one in outcomes) == 5
