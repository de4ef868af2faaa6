"""Retention as a server does it: what its settings say, found by the loop of a process that has just started."""

import time
from datetime import UTC, datetime

from pawl.errors import NotFound
from pawl.v1.job_pb2 import Job, JobConfig

from tests.faults import history
from tests.faults.cluster import Cluster, until

LATER = datetime(2100, 1, 1, tzinfo=UTC)
SETTINGS = """
[retention]
tasks_days = 0.000001
logs_days = 0.000001
request_ids_days = 0.00002
"""


async def test_what_has_been_kept_for_as_long_as_the_settings_say_goes(cluster: Cluster) -> None:
    (cluster.folder / "home" / "config.toml").write_text(SETTINGS)
    await cluster.started(cluster.agent("a"))
    url = cluster.database_url
    async with cluster.client() as pawl:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="echo", args=["hello"])))
        ended = await pawl.tasks.run("any")
        resting = await pawl.tasks.create("any", at=LATER, request_id="one")

        async def is_another_call() -> bool:
            return (await pawl.tasks.create("any", at=LATER, request_id="one")).id != resting.id

        await until("the request id expires", is_another_call, 20)
        lines = "SELECT count(*) FROM sched_task_instance"
        assert history.one(url, lines) == 1
        cluster.server.kill()
        expires = history.one(url, "SELECT max(expires_at) FROM sched_request")
        await until("the request ids have expired", lambda: time.time() * 1e6 > expires, 20)
        await cluster.server.start().serving()
        if url.startswith("sqlite"):  # elsewhere a task goes with its month

            async def is_gone() -> bool:
                try:
                    await pawl.tasks.get(ended.id)
                except NotFound:
                    return True
                return False

            await until("the ended task goes", is_gone, 20)
            assert history.one(url, lines) == 0
        used = "SELECT count(*) FROM sched_request"
        await until("request ids go", lambda: history.one(url, used) == 0, 20)
        assert (await pawl.tasks.get(resting.id)).id == resting.id
    assert "Traceback" not in cluster.server.said()
