"""Workers as programs of their own: they register what they have, run it, and leave nothing undone when they go."""

import asyncio
from pathlib import Path

from pawl.client import Client
from pawl.payload import value_of
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task, TaskInstance

from tests.faults.cluster import Cluster, WorkerProcess, until

SHOP = Path(__file__).with_name("shop.py")
SECONDS = 40.0


async def ended(pawl: Client, task_id: str) -> Task:
    async with asyncio.timeout(SECONDS):
        return await pawl.tasks.wait(task_id)


async def output(pawl: Client, job: str, *parameters: object) -> object:
    """What a task of this job gives that succeeds."""
    task = await pawl.tasks.create(job, *parameters)
    done = await ended(pawl, task.id)
    assert done.status == Task.Status.SUCCEEDED, done
    return value_of(done.output)


async def instances(pawl: Client, task_id: str) -> list[TaskInstance]:
    return [one async for one in pawl.task_instances.all(filter={"task_id": {"eq": task_id}})]


async def running(pawl: Client, task_id: str) -> None:
    """Wait until a worker has it and says so."""

    async def is_running() -> bool:
        return (await pawl.tasks.get(task_id)).status == Task.Status.RUNNING

    await until(f"{task_id} runs", is_running, SECONDS)


async def test_a_worker_registers_its_functions_and_runs_them(cluster: Cluster) -> None:
    worker = cluster.worker("worker", SHOP)
    worker.start()  # before there is a control plane: it waits for one
    await cluster.started()
    async with cluster.client() as pawl:
        await cluster.online(pawl, worker)
        agent = await pawl.agents.get("worker")
        assert [one.name for one in agent.executors] == ["function"]
        assert ("shop.double", "1") in [(one.name, one.code_version) for one in agent.functions]
        assert await output(pawl, "shop.double", {"item": "fig", "count": 2}) == {"item": "fig", "count": 4}
        apart = await output(pawl, "shop.apart", {"item": "fig"})
        assert isinstance(apart, dict)
        assert apart["count"] != worker.pid
        assert await output(pawl, "shop.second_time") == 2
        both = await output(pawl, "shop.both", {"item": "fig"})
        assert isinstance(both, list)
        assert (both[0]["count"], both[1]["item"]) == (2, "fig")
        wrong = await ended(pawl, (await pawl.tasks.create("shop.double", {"item": 1})).id)
        assert (wrong.status, wrong.error.code) == (Task.Status.FAILED, "InvalidInput")
        await until("the hook is called", lambda: "hook: shop.double InvalidInput" in worker.said(), SECONDS)
        lines = [entry.text async for entry in pawl.tasks.logs(wrong.id)]
        assert any("InvalidInput" in line for line in lines)
    assert "Traceback" not in worker.said()


async def test_a_job_is_a_new_revision_only_when_its_function_has_changed(sqlite_cluster: Cluster) -> None:
    worker = sqlite_cluster.worker("worker", SHOP)
    await sqlite_cluster.started(worker)
    async with sqlite_cluster.client() as pawl:
        assert (await pawl.jobs.get("shop.double")).revision == 1
        for timeout, revision in (("60", 1), ("61", 2)):
            worker.terminate()
            assert await worker.end() == 0
            worker.environment["SHOP_TIMEOUT"] = timeout
            worker.start()
            await until("it is back", lambda: worker.said().count("connected to") >= 2, SECONDS)
            await sqlite_cluster.online(pawl, worker)
            assert (await pawl.jobs.get("shop.double")).revision == revision
        assert (await pawl.jobs.get("shop.apart")).revision == 1


async def test_a_name_that_is_another_kind_of_job_is_refused(sqlite_cluster: Cluster) -> None:
    worker = sqlite_cluster.worker("worker", SHOP)
    await sqlite_cluster.started()
    async with sqlite_cluster.client() as pawl:
        await pawl.jobs.create(Job(name="shop.double", config=JobConfig(cmd="true")))
        worker.start()
        assert await worker.end() == 1
        assert "'shop.double' is not this function: it runs 'process'" in worker.said()
        assert (await pawl.jobs.get("shop.double")).config.cmd == "true"


async def test_a_worker_that_is_told_to_stop_finishes_what_it_has(cluster: Cluster, tmp_path: Path) -> None:
    worker = cluster.worker("worker", SHOP)
    await cluster.started(worker)
    async with cluster.client() as pawl:
        task = await pawl.tasks.create("shop.wait_for_file", str(tmp_path / "go"))
        await running(pawl, task.id)
        worker.terminate()
        await until("it drains", lambda: "stopping: 1 running" in worker.said(), SECONDS)
        later = await pawl.tasks.create("shop.double", {"item": "fig"})
        (tmp_path / "go").touch()
        assert await worker.end() == 0
        assert (await pawl.tasks.get(task.id)).status == Task.Status.SUCCEEDED
        assert (await pawl.tasks.get(later.id)).status == Task.Status.PENDING
        assert len(await instances(pawl, task.id)) == 1


async def test_what_a_killed_worker_had_goes_to_another(cluster: Cluster, tmp_path: Path) -> None:
    first: WorkerProcess = cluster.worker("first", SHOP)
    await cluster.started(first)
    async with cluster.client() as pawl:
        task = await pawl.tasks.create("shop.wait_for_file", str(tmp_path / "go"))
        await running(pawl, task.id)
        first.kill()
        second = cluster.worker("second", SHOP)
        second.start()
        await until("it is placed anew", lambda: _placed_twice(pawl, task.id), SECONDS)
        (tmp_path / "go").touch()
        done = await ended(pawl, task.id)
        assert (done.status, done.attempt, done.agent_id) == (Task.Status.SUCCEEDED, 1, "second")


async def _placed_twice(pawl: Client, task_id: str) -> bool:
    return len(await instances(pawl, task_id)) == 2


async def test_a_function_that_blocks_its_loop_costs_no_lease(sqlite_cluster: Cluster) -> None:
    worker = sqlite_cluster.worker("worker", SHOP)
    await sqlite_cluster.started(worker)
    async with sqlite_cluster.client() as pawl:
        task = await pawl.tasks.create("shop.block_the_loop", 5)  # longer than its lease of three seconds
        done = await ended(pawl, task.id)
        assert (done.status, value_of(done.output)) == (Task.Status.SUCCEEDED, "done")
        assert len(await instances(pawl, task.id)) == 1


async def test_a_script_without_a_guard_is_told_what_to_write(sqlite_cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text(SHOP.read_text().replace('if __name__ == "__main__":', "if True:"))
    worker = sqlite_cluster.worker("worker", script)
    await sqlite_cluster.started(worker)
    async with sqlite_cluster.client() as pawl:
        failed = await ended(pawl, (await pawl.tasks.create("shop.apart", {"item": "fig"})).id)
        assert failed.error.code == "FUNCTION_NOT_LOADED"
        assert '__name__ == "__main__"' in failed.error.message
