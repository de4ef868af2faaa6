"""Caps of jobs and namespaces: no more tasks on agents, by whatever replica, and nobody waits behind others."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from controlplane.domain.errors import IllegalTransition
from controlplane.domain.job import Job
from controlplane.domain.task import Status
from controlplane.engine.jobs import JobDraft
from controlplane.engine.namespaces import NamespaceDraft, Namespaces
from controlplane.engine.tasks import TaskEdit
from controlplane.store import caps
from controlplane.store.tasks import TaskData
from tests.engine.stage import MovedClock, Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def cap_job(one: Replica, name: str, most: int) -> None:
    """Give a job another cap."""

    def change(before: Job) -> JobDraft:
        spec = before.spec
        return JobDraft(before.name, replace(spec, config=replace(spec.config, max_running=most)))

    await one.jobs.update("default", name, change, etag=None, request=None)


async def cap_namespace(one: Replica, most: int) -> None:
    """Give the namespace another cap."""
    spaces = Namespaces(one.engine, one.tasks)
    await spaces.update("default", lambda _: NamespaceDraft("default", "", most), etag=None, request=None)


async def test_no_more_tasks_of_a_job_are_on_agents_than_it_says(one: Replica) -> None:
    await one.job(max_running=3)
    await one.create(count=10)
    agent = await one.connect(slots=50)
    assert [await one.place(), await one.place()] == [3, 0]
    first, *_ = placed(agent)
    await one.finish(first.ref)
    assert await one.place() == 1


async def test_others_do_not_wait_behind_a_job_that_is_at_its_cap(one: Replica) -> None:
    await one.job("capped", max_running=1)
    await one.job("free")
    await one.create("capped", count=600, priority=900)
    await one.create("free", count=3)
    agent = await one.connect(slots=20)
    assert await one.place() == 4
    assert Counter(each.job_name for each in placed(agent)) == {"capped": 1, "free": 3}


async def test_a_cap_holds_for_tasks_that_are_older_than_it_and_they_block_nobody_either(one: Replica) -> None:
    await one.job("first")
    await one.job("second")
    await one.create("first", count=40, priority=900)
    await one.create("second", count=3)
    await cap_job(one, "first", 2)
    agent = await one.connect(slots=10)
    while await one.place():
        pass
    assert Counter(each.job_name for each in placed(agent)) == {"first": 2, "second": 3}


async def test_a_cap_that_is_raised_or_taken_away_frees_what_waits(one: Replica) -> None:
    await one.job(max_running=1)
    await one.create(count=10)
    await one.connect(slots=50)
    assert await one.place() == 1
    await cap_job(one, "hello", 4)
    assert await one.place() == 3
    await cap_job(one, "hello", 0)
    assert await one.place() == 6


async def test_a_namespace_has_a_cap_over_all_its_jobs(one: Replica) -> None:
    await one.job("a")
    await one.job("b", labels={"x": "y"})
    await cap_namespace(one, 3)
    await one.create("a", count=5)
    await one.create("b", count=5)
    agent = await one.connect(slots=50, labels={"x": "y"})
    assert await one.place() == 3
    first, *_ = placed(agent)
    await one.finish(first.ref, Status.FAILED)
    assert await one.place() == 1
    await cap_namespace(one, 0)
    assert await one.place() == 6


@pytest.mark.parametrize("whose", ["job", "namespace"])
async def test_replicas_that_place_at_once_do_not_go_over_a_cap_together(postgres_url: str, whose: str) -> None:
    clock = MovedClock()
    with ExitStack() as stack:
        replicas = [stack.enter_context(opened(postgres_url, clock, name)) for name in ("one", "two", "three")]
        await replicas[0].job(max_running=7 if whose == "job" else 0)
        if whose == "namespace":
            await cap_namespace(replicas[0], 7)
        made = await replicas[0].create(count=60)
        agents = [await one.connect(one.engine.replica_id, slots=100) for one in replicas]
        done = 0
        async with asyncio.timeout(60):
            while done < len(made):
                for agent in agents:
                    agent.free = 5
                await asyncio.gather(*(one.place() for one in replicas))
                found = [each.ref for agent in agents for each in placed(agent)]
                assert len(found) <= 7
                done += len(found)
                await replicas[0].report([(ref, Status.SUCCEEDED) for ref in found])


async def test_replicas_that_meet_a_new_cap_while_labels_change_neither_block_each_other_nor_go_over_it(
    postgres_url: str,
) -> None:
    """Tasks are put into lanes of their own by whoever finds them, while people give them other labels."""
    clock = MovedClock()
    with ExitStack() as stack:
        replicas = [stack.enter_context(opened(postgres_url, clock, name)) for name in ("one", "two")]
        await replicas[0].job("capped")
        await replicas[0].job("free")
        made = await replicas[0].create("capped", count=40, priority=700)
        await replicas[0].create("free", count=40)
        await cap_job(replicas[0], "capped", 3)
        agents = [await one.connect(one.engine.replica_id, slots=100, labels={"x": "y"}) for one in replicas]
        names: Counter[str] = Counter()

        async def places(number: int) -> None:
            one, agent = replicas[number], agents[number]
            while sum(names.values()) < 80:
                agent.free = 8
                await one.place()
                found = placed(agent)
                names.update(each.job_name for each in found)
                running = await one.engine.store.read(caps.running_of_jobs, {made[0].job_id: "default"})
                assert running.get(made[0].job_id, 0) <= 3
                await one.report([(each.ref, Status.SUCCEEDED) for each in found])

        async def relabels() -> None:
            edit = TaskEdit(700, made[0].scheduled_at, TaskData(labels={"x": "y"}))
            for task in made[::3]:
                with suppress(IllegalTransition):
                    await replicas[0].tasks.update("default", task.id, lambda _: edit, etag=None, key=None)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for work in (places(0), places(1), relabels()):
                group.create_task(work)
        assert names == {"capped": 40, "free": 40}
        assert sum(one.engine.store.repeated for one in replicas) == 0
