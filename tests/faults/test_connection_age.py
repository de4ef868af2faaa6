"""Connections that are replaced while they are used: polite enough that nobody who uses them needs to know."""

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from pawl.v1 import task_pb2, task_pb2_grpc
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until

SECONDS = 5.0
CALLS_PER_SECOND = 40


async def bare_calls(server: str, task: str) -> int:
    """Calls that nobody repeats; how many."""
    made, begun = 0, time.monotonic()
    async with grpc.aio.insecure_channel(server) as channel:
        tasks: Any = task_pb2_grpc.TaskServiceStub(channel)
        while time.monotonic() < begun + SECONDS:
            await tasks.GetTask(task_pb2.GetTaskRequest(id=task), timeout=10)
            made += 1
            await asyncio.sleep(1 / CALLS_PER_SECOND)  # the pace
    return made


@pytest.mark.timeout(120)
async def test_old_connections_are_replaced_and_nothing_is_lost_or_run_twice(sqlite_cluster: Cluster) -> None:
    cluster, server = sqlite_cluster, sqlite_cluster.server
    server.environment = {
        "PAWL_GRPC_MAX_CONNECTION_AGE_SECONDS": "1",
        "PAWL_GRPC_MAX_CONNECTION_AGE_GRACE_SECONDS": "1",
    }
    agent = cluster.agent("one", slots=4)
    await cluster.started(agent)
    url = cluster.database_url
    async with cluster.client() as pawl:
        await pawl.jobs.create(Job(name="short", config=JobConfig(cmd="sleep", args=["0.3"])))
        await pawl.jobs.create(Job(name="long", config=JobConfig(cmd="sleep", args=[str(SECONDS)])))
        long = await pawl.tasks.create("long")
        async with asyncio.TaskGroup() as group:
            bare = group.create_task(bare_calls(server.grpc, long.id))
            waiting = group.create_task(pawl.tasks.wait(long.id))  # a stream, over several connections
            made = [await pawl.tasks.create("short") for _ in range(30)]
        assert bare.result() > SECONDS * CALLS_PER_SECOND / 4
        assert waiting.result().status == Task.Status.SUCCEEDED
        await until("all succeed", lambda: history.succeeded(url) == len(made) + 1, 60)
    assert history.broken_promises(url) == {}
    # What was placed when a stream ended, and never left the server, is placed again and has not run.
    ended = history.ask(url, "SELECT DISTINCT status, error_code FROM sched_task_instance")
    assert {tuple(row) for row in ended} <= {(100, None), (99, None)}
    assert agent.said().count("the control plane ends the stream: this stream is old; connect again") >= 2
    assert "no stream to the control plane" not in agent.said()
