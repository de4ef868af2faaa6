import asyncio
from pathlib import Path

from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, alive, until
from tests.faults.proxy import Wire

TASKS = 200
CUTS = 8
PAUSE_SECONDS = 0.25


def shell(name: str, script: str, lost_after: float = 30.0) -> Job:
    """A job of a line of shell."""
    return Job(
        name=name, config=JobConfig(cmd="sh", args=["-c", script], lost_after_seconds=lost_after, grace_seconds=1)
    )


async def test_a_link_that_is_cut_again_and_again_loses_and_doubles_nothing(cluster: Cluster, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    await cluster.started()
    async with Wire(cluster.server.grpc_port) as wire, cluster.client() as pawl:
        await pawl.jobs.create(shell("witness", f"echo $PAWL_TASK_ID >> {runs}"))
        agent = cluster.agent("far", slots=4, server=wire.address).start()
        await cluster.online(pawl, agent)
        made = await pawl.tasks.create_many(Task(job_id="witness") for _ in range(TASKS))
        while wire.cuts < CUTS:
            await until("there is a wire", lambda: wire.connections > 0, 20)
            await asyncio.sleep(PAUSE_SECONDS)  # the fault itself: a wire that lives no longer
            wire.cut()
        await until("all succeed", lambda: history.succeeded(cluster.database_url) == TASKS, 60)
    assert history.broken_promises(cluster.database_url) == {}
    assert {one.id for one in made if isinstance(one, Task)} == set(runs.read_text().split())
    assert len(runs.read_text().split()) == TASKS, "no lease was over, so nothing may run twice"


async def test_a_caller_whose_connection_is_cut_finds_its_task_once(sqlite_cluster: Cluster) -> None:
    await sqlite_cluster.started()
    async with Wire(sqlite_cluster.server.grpc_port) as wire, sqlite_cluster.client() as near:
        await near.jobs.create(shell("any", "true"))
        async with Client(wire.address, namespace="", timeout=30) as far, asyncio.TaskGroup() as group:
            calls = [group.create_task(far.tasks.create("any", request_id=f"call-{n}")) for n in range(TASKS)]
            while not all(call.done() for call in calls):
                await asyncio.sleep(0.05)  # the fault itself, as above
                if wire.cuts < CUTS:
                    wire.cut()
        made = {call.result().id for call in calls}
    assert len(made) == TASKS == history.one(sqlite_cluster.database_url, "SELECT count(*) FROM sched_task")


async def test_work_behind_a_silent_link_is_dead_before_it_is_placed_again(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.started()
    url = cluster.database_url
    async with Wire(cluster.server.grpc_port) as wire, cluster.client() as pawl:
        # The first placement stays, the next ends at once.
        script = f"mkdir {tmp_path}/first && echo $$ > {tmp_path}/pid && exec sleep 100; true"
        await pawl.jobs.create(shell("stays", script, lost_after=3))
        far = cluster.agent("far", server=wire.address).start()
        await cluster.online(pawl, far)
        task = await pawl.tasks.create("stays")
        await until("it runs", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", 20)
        first = int((tmp_path / "pid").read_text())
        assert alive(first)
        near = cluster.agent("near").start()
        await cluster.online(pawl, near)

        wire.freeze()
        placed_again = "SELECT count(*) FROM sched_task_instance WHERE agent_id = 'near'"
        await until("it is placed again", lambda: history.one(url, placed_again) == 1, 20)
        assert not alive(first), "two of them ran at once"
        assert (await pawl.tasks.wait(task.id)).status == Task.Status.SUCCEEDED

        wire.thaw()
        await cluster.online(pawl, far)
        await pawl.tasks.wait((await pawl.tasks.create("stays")).id)
    assert history.broken_promises(url) == {}
    assert history.one(url, "SELECT max(stalled) FROM sched_task") == 1
    assert history.one(url, "SELECT max(attempt) FROM sched_task") == 1
