"""Request ids outlive the server that took them, and are one for all replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig

from tests.faults import history
from tests.faults.cluster import Cluster, Server, until
from tests.faults.conftest import ended

KEYS = 25


@asynccontextmanager
async def fronts(server: Server) -> AsyncIterator[tuple[Client, httpx.AsyncClient]]:
    """A client for each front of a server."""
    async with (
        Client(server.grpc, namespace="", timeout=30) as pawl,
        httpx.AsyncClient(base_url=server.http, timeout=30, trust_env=False) as rest,
    ):
        yield pawl, rest


async def post(rest: httpx.AsyncClient, key: str, **body: object) -> str:
    """The id of the task that REST says was created."""
    answer = await rest.post("/api/v1/tasks", json={"job_id": "any", **body}, headers={"idempotency-key": key})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_a_repeat_is_known_to_the_server_that_comes_after(cluster: Cluster) -> None:
    await cluster.started()
    async with fronts(cluster.server) as (pawl, rest):
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))
        made = await pawl.tasks.create("any", {"a": 1}, request_id="one")
        refused = await rest.post("/api/v1/tasks", json={"job_id": "later"}, headers={"idempotency-key": "two"})
        assert refused.status_code == 404
    cluster.server.terminate()
    assert await cluster.server.end() == 0
    await cluster.server.start().serving()
    async with fronts(cluster.server) as (pawl, rest):
        assert await post(rest, "one", parameters={"a": 1}) == made.id
        await pawl.jobs.create(Job(name="later", config=JobConfig(cmd="true")))
        third = await post(rest, "three")
    cluster.server.kill()
    await cluster.server.start().serving()
    async with fronts(cluster.server) as (pawl, rest):
        assert (await pawl.tasks.create("any", {"a": 1}, request_id="one")).id == made.id
        assert (await pawl.tasks.create("any", request_id="three")).id == third
        again = await rest.post("/api/v1/tasks", json={"job_id": "later"}, headers={"idempotency-key": "two"})
        assert again.json() == refused.json()
        reused = await rest.post("/api/v1/tasks", json={"job_id": "later"}, headers={"idempotency-key": "one"})
        assert reused.status_code == 409
    assert history.one(cluster.database_url, "SELECT count(*) FROM sched_task") == 2


async def test_calls_that_were_in_flight_when_the_server_was_killed_are_done_once(cluster: Cluster) -> None:
    await cluster.started()
    async with cluster.client() as pawl, asyncio.TaskGroup() as group:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))
        calls = [
            group.create_task(pawl.tasks.create("any", {"n": number % KEYS}, request_id=f"call-{number % KEYS}"))
            for number in range(4 * KEYS)
        ]
        some = "SELECT count(*) FROM sched_task"
        await until("some are stored", lambda: history.one(cluster.database_url, some) > 0, 20)
        cluster.server.kill()
        cluster.server.start()
    for number in range(KEYS):
        assert len({call.result().id for call in calls[number::KEYS]}) == 1
    assert history.one(cluster.database_url, "SELECT count(*) FROM sched_task") == KEYS


async def test_one_key_at_the_same_time_on_two_replicas_and_both_fronts_makes_one_task(
    tmp_path: Path, postgres_url: str
) -> None:
    with ended(Cluster(tmp_path, postgres_url)) as cluster:
        await cluster.started()
        other = await cluster.second().start().serving()
        async with fronts(cluster.server) as (pawl, rest), fronts(other) as (pawl2, rest2):
            await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))

            async def everywhere(key: str) -> set[str]:
                calls = [post(one, key, parameters={"a": 1}) for one in (rest, rest2)]
                made = [one.tasks.create("any", {"a": 1}, request_id=key) for one in (pawl, pawl2)]
                ids, tasks = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*made))
                return {*ids, *(task.id for task in tasks)}

            found = await asyncio.gather(*(everywhere(f"key-{number}") for number in range(KEYS)))
        assert [len(ids) for ids in found] == [1] * KEYS
        assert history.one(postgres_url, "SELECT count(*) FROM sched_task") == KEYS
