import time

from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until

LEASE_SECONDS = 3.0


async def test_a_lease_shorter_than_the_silence_of_an_idle_agent_is_no_loss(sqlite_cluster: Cluster) -> None:
    await sqlite_cluster.started(sqlite_cluster.agent("idle"))
    url = sqlite_cluster.database_url

    def has_been_silent() -> bool:
        heard = history.one(url, "SELECT last_beat_at FROM sched_agent")
        return time.time() - heard / 1e6 > LEASE_SECONDS * 0.8

    async with sqlite_cluster.client() as pawl:
        config = JobConfig(cmd="sleep", args=["0.5"], lost_after_seconds=LEASE_SECONDS, max_stalled=0)
        await pawl.jobs.create(Job(name="once", config=config))
        await until("it is silent", has_been_silent, 20)
        done = await pawl.tasks.run("once")
    assert done.status == Task.Status.SUCCEEDED, done
    assert history.broken_promises(url) == {}
