"""Two control planes on one database: what is asked at the one reaches what runs by way of the other."""

from pathlib import Path

import pytest
from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until
from tests.faults.test_rolling_restart import stopped

SECONDS = 10


@pytest.mark.timeout(120)
async def test_a_run_is_paused_resumed_and_cancelled_at_the_control_plane_that_has_not_its_agent(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = postgres_cluster
    held = tmp_path / "held"
    await cluster.started()
    other = await cluster.second().start().serving()
    async with (
        Client(f"127.0.0.1:{cluster.server.grpc_port}", timeout=60) as here,
        Client(f"127.0.0.1:{other.grpc_port}", timeout=60) as there,
    ):
        await cluster.online(here, cluster.agent("one", slots=2, server=cluster.server.grpc).start())
        holds = ["-c", f"echo $$ > {held}; sleep 1000; true"]
        await here.jobs.create(Job(name="holds", config=JobConfig(cmd="sh", args=holds, max_stalled=0)))
        task = await there.tasks.create("holds")
        await until("it runs", lambda: held.exists() and held.read_text() != "", SECONDS)
        await there.tasks.pause(task.id, reason="a look at it")
        await until("it stands still", lambda: stopped(held), SECONDS)
        await there.tasks.resume(task.id)
        await until("it goes on", lambda: not stopped(held), SECONDS)
        await there.tasks.cancel(task.id, reason="enough")
        pid = Path(f"/proc/{held.read_text().strip()}")
        await until("it is gone", lambda: not pid.exists(), SECONDS)
        assert (await there.tasks.wait(task.id)).status == Task.Status.CANCELLED
    assert history.broken_promises(cluster.database_url) == {}
