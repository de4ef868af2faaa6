import asyncio

import pytest
from pawl.v1.job_pb2 import Job, JobConfig

from controlplane.domain.idempotency import IdempotencyKey
from tests.faults import history
from tests.faults.cluster import AgentProcess, Cluster, until
from tests.faults.load import Load

TASKS = 2_000
CALLERS = 50
END_SECONDS = 90.0
SLOTS = 8
GONE_SECONDS = 5.0
SLOW_TASKS = SLOTS + 4  # more than one agent can take
CREATE = "pawl.v1.TaskService/CreateTask"

PLACED_WELL = (100, None)
GIVEN_BACK = (99, None)
LOST = ((90, "AGENT_LOST"), (90, "LEASE_EXPIRED"))
"""Said by the control plane of an agent that is silent, or by an agent that stopped its work out of reach."""


def quick(name: str, cmd: str = "/bin/true", *args: str) -> Job:
    """A job whose lost placements are noticed soon."""
    config = JobConfig(cmd=cmd, args=args, lost_after_seconds=5, grace_seconds=1)
    return Job(name=name, config=config)


async def all_succeed(cluster: Cluster, load: Load, tasks: int) -> None:
    """Every acknowledged task ends SUCCEEDED, and the history holds every promise."""
    url = cluster.database_url
    await until(f"{tasks} tasks succeed", lambda: history.succeeded(url) >= tasks, END_SECONDS)
    assert history.broken_promises(url) == {}
    assert len(load.acknowledged) == len(set(load.acknowledged.values())) == TASKS
    assert history.one(url, "SELECT count(*) FROM sched_task") == tasks
    assert history.one(url, "SELECT count(*) FROM sched_task_instance WHERE status = 100") == tasks
    stored = {getattr(one, "bytes", one) for (one,) in history.ask(url, "SELECT digest FROM sched_request")}
    assert {IdempotencyKey("default", CREATE, one, b"").digest for one in load.acknowledged} <= stored


@pytest.mark.timeout(180)
async def test_every_acknowledged_task_succeeds_in_one_placement(cluster: Cluster) -> None:
    await cluster.started(cluster.agent("one", slots=SLOTS))
    async with cluster.client() as pawl:
        await pawl.jobs.create(quick("quick"))
    load = Load(cluster, "quick")
    await load.run(TASKS, CALLERS)
    await all_succeed(cluster, load, TASKS)
    assert load.repeated == 0
    assert history.one(cluster.database_url, "SELECT count(*) FROM sched_task_instance") == TASKS


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost_when_control_plane_and_agent_are_killed(cluster: Cluster) -> None:
    doomed, survivor = cluster.agent("doomed", slots=SLOTS), cluster.agent("survivor", slots=SLOTS)
    await cluster.started(doomed, survivor)
    async with cluster.client() as pawl:
        await pawl.jobs.create(quick("quick"))
        await pawl.jobs.create(quick("slow", "sleep", "4"))
    load = Load(cluster, "quick")
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(TASKS, CALLERS))
        group.create_task(faults(cluster, load, doomed))
    await all_succeed(cluster, load, TASKS + SLOW_TASKS)
    ended = history.ask(cluster.database_url, "SELECT DISTINCT status, error_code FROM sched_task_instance")
    assert {tuple(row) for row in ended} <= {PLACED_WELL, GIVEN_BACK, *LOST}
    assert load.repeated > 0, "the faults hit nobody"


async def faults(cluster: Cluster, load: Load, doomed: AgentProcess) -> None:
    """The control plane is killed twice, an agent once, while the callers go on."""
    await until("callers are under way", lambda: len(load.acknowledged) > TASKS // 5, 60)
    await restart(cluster)
    async with cluster.client() as pawl:
        await cluster.online(pawl, doomed)
        for _ in range(SLOW_TASKS):
            await pawl.tasks.create("slow", priority=1000)
    running = (
        "SELECT count(*) FROM sched_task_instance i JOIN sched_job j ON j.id = i.job_id"
        " WHERE i.status = 10 AND i.agent_id = 'doomed' AND j.name = 'slow'"
    )
    await until("slow work runs there", lambda: history.one(cluster.database_url, running) > 0, 30)
    await dies_with_all_it_runs(doomed)
    await until("callers go on", lambda: len(load.acknowledged) > TASKS * 3 // 5, 60)
    await restart(cluster)


async def restart(cluster: Cluster) -> None:
    """-9, and the same again."""
    cluster.server.kill()
    cluster.server.start()
    await cluster.server.serving()


async def dies_with_all_it_runs(agent: AgentProcess) -> None:
    """-9, and nothing of it is alive a moment later."""
    family = agent.family()
    assert len(family) > 2, "agent, keeper and a task at least"
    agent.kill()
    await until(f"all of {agent.name} is gone", lambda: not agent.family(), GONE_SECONDS)
