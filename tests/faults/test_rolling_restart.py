"""A control plane that is replaced while work runs: no attempt is lost or run twice, what is paused stays paused."""

from pathlib import Path

import pytest
from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until
from tests.faults.proxy import Wire

TASKS = 40
ROUNDS = 2


async def replace(cluster: Cluster, wire: Wire) -> None:
    """What an operator does, and nobody is killed: a second replica takes over where the database can have two, else
    the same one, started again.
    """
    if cluster.database_url.startswith("sqlite"):
        cluster.server.terminate()
        await cluster.server.end()
        await cluster.server.start().serving()
        return
    following = cluster.second().start()
    await following.serving()
    wire.redirect(following.grpc_port)
    cluster.server.terminate()
    await cluster.server.end()
    cluster.server = following


def stopped(file: Path) -> bool:
    """Whether the process that wrote its number there stands still."""
    pid = file.read_text().strip()
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.timeout(180)
async def test_a_control_plane_that_is_replaced_under_load_costs_no_attempt(cluster: Cluster, tmp_path: Path) -> None:
    runs, held = tmp_path / "runs", tmp_path / "held"
    await cluster.started()
    url = cluster.database_url
    async with Wire(cluster.server.grpc_port) as wire, Client(wire.address, namespace="", timeout=60) as pawl:
        steady = ["-c", f"echo $PAWL_TASK_ID >> {runs}; sleep 1"]
        await pawl.jobs.create(Job(name="steady", config=JobConfig(cmd="sh", args=steady, max_stalled=0)))
        holds = ["-c", f"echo $$ > {held}; sleep 1; true"]
        await pawl.jobs.create(Job(name="holds", config=JobConfig(cmd="sh", args=holds, max_stalled=0)))
        agent = cluster.agent("one", slots=8, server=wire.address).start()
        await cluster.online(pawl, agent)
        paused = await pawl.tasks.create("holds")
        await until("it runs", lambda: held.exists() and held.read_text() != "", 20)
        await pawl.tasks.pause(paused.id, reason="a look at it")
        await until("it stands still", lambda: stopped(held), 10)
        await pawl.tasks.create_many(Task(job_id="steady") for _ in range(TASKS))
        await until("work is under way", lambda: runs.exists() and len(runs.read_text().split()) > 4, 30)
        for _ in range(ROUNDS):
            await replace(cluster, wire)
        await until("all succeed", lambda: history.succeeded(url) == TASKS, 90)
        assert stopped(held)
        assert (await pawl.tasks.get(paused.id)).status == Task.Status.PAUSED
        assert (await pawl.tasks.resume(paused.id)).status == Task.Status.RUNNING
        assert (await pawl.tasks.wait(paused.id)).status == Task.Status.SUCCEEDED
    assert history.broken_promises(url) == {}
    # What no agent had heard of when its control plane went is placed anew, and costs nothing.
    assert history.one(url, "SELECT count(*) FROM sched_task WHERE attempt <> 1 OR stalled <> 0") == 0
    assert len(runs.read_text().split()) == len(set(runs.read_text().split())) == TASKS
