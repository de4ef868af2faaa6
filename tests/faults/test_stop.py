import asyncio
import re
import signal
import socket
import time
from pathlib import Path

import httpx
from pawl.client import Client
from pawl.connection import Patience
from pawl.errors import PawlError
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until

EXIT_UNAVAILABLE = 5
CALLS_PER_SECOND = 200
BEFORE_SECONDS = 2.0


def job(name: str, cmd: str, *args: str) -> Job:
    """A job that is stopped within a second."""
    return Job(name=name, config=JobConfig(cmd=cmd, args=args, grace_seconds=1))


class Calls:
    """Calls at an even pace, in turn over both fronts, none of them repeated."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.begun: dict[str, float] = {}
        self.acknowledged: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._pawl = Client(cluster.server.grpc, namespace="", timeout=30, patience=Patience(seconds=0))
        self._rest = httpx.AsyncClient(base_url=cluster.server.http, timeout=30, trust_env=False)

    async def go_on(self, seconds: float) -> None:
        """Make them for so long."""
        begun = time.monotonic()
        async with self._pawl, self._rest, asyncio.TaskGroup() as group:
            for number in range(round(seconds * CALLS_PER_SECOND)):
                await asyncio.sleep(max(0.0, begun + number / CALLS_PER_SECOND - time.monotonic()))  # the pace
                group.create_task(self._call(f"call-{number}", over_rest=number % 2 == 1))

    async def _call(self, request_id: str, *, over_rest: bool) -> None:
        self.begun[request_id] = time.monotonic()
        try:
            if over_rest:
                headers = {"idempotency-key": request_id}
                answer = await self._rest.post("/api/v1/tasks", json={"job_id": "any"}, headers=headers)
                answer.raise_for_status()
                self.acknowledged[request_id] = answer.json()["id"]
            else:
                task = await self._pawl.tasks.create("any", request_id=request_id)
                self.acknowledged[request_id] = task.id
        except (httpx.HTTPError, PawlError) as error:
            self.failed[request_id] = repr(error)


async def test_a_control_plane_that_is_told_to_stop_finishes_every_call_in_flight(cluster: Cluster) -> None:
    await cluster.started()
    async with cluster.client() as pawl:
        await pawl.jobs.create(job("any", "true"))
    calls = Calls(cluster)
    async with asyncio.TaskGroup() as group:
        group.create_task(calls.go_on(2 * BEFORE_SECONDS))
        await until("calls are made", lambda: len(calls.begun) >= BEFORE_SECONDS * CALLS_PER_SECOND, 30)
        cluster.server.terminate()
        told = time.monotonic()
    assert await cluster.server.end() == 0, cluster.server.said()
    broken = {name: why for name, why in calls.failed.items() if calls.begun[name] < told}
    assert broken == {}
    assert calls.failed, "it never stopped"
    url = cluster.database_url
    assert len(set(calls.acknowledged.values())) == len(calls.acknowledged)
    assert history.one(url, "SELECT count(*) FROM sched_task") >= len(calls.acknowledged)
    assert history.one(url, "SELECT count(*) FROM sched_ready") == history.one(url, "SELECT count(*) FROM sched_task")


async def test_an_agent_that_is_told_to_stop_finishes_what_is_short_and_gives_back_the_rest(
    cluster: Cluster, tmp_path: Path
) -> None:
    leaving = cluster.agent("leaving", drain_timeout=3.0)
    await cluster.started(leaving)
    url = cluster.database_url
    async with cluster.client() as pawl:
        await pawl.jobs.create(job("short", "sh", "-c", f"touch {tmp_path}/short; sleep 1.5"))
        await pawl.jobs.create(job("long", "sh", "-c", f"mkdir {tmp_path}/long && exec sleep 100; true"))
        short, long = await pawl.tasks.create("short"), await pawl.tasks.create("long")
        await until("both run", lambda: (tmp_path / "short").exists() and (tmp_path / "long").exists(), 20)
        leaving.terminate()
        assert await leaving.end() == 0, leaving.said()
        assert leaving.family() == set()
        assert (await pawl.tasks.get(short.id)).status == Task.Status.SUCCEEDED
        returned = "SELECT count(*) FROM sched_ready"
        await until("the long one is back", lambda: history.one(url, returned) == 1, 5)
        cluster.agent("staying").start()
        done = await pawl.tasks.wait(long.id)
        assert (done.status, done.agent_id, done.attempt) == (Task.Status.SUCCEEDED, "staying", 1)
    assert history.broken_promises(url) == {}


async def test_a_second_server_on_a_sqlite_file_is_told_who_has_it(sqlite_cluster: Cluster) -> None:
    await sqlite_cluster.started()
    second = sqlite_cluster.second().start()
    assert await second.end() == EXIT_UNAVAILABLE
    assert f"in use by process {sqlite_cluster.server.pid} on {socket.gethostname()}" in second.said()
    assert "Traceback" not in second.said()
    await sqlite_cluster.server.serving()


async def test_a_server_whose_port_is_taken_names_it(sqlite_cluster: Cluster, tmp_path: Path) -> None:
    await sqlite_cluster.started()
    first = sqlite_cluster.server
    for ports in ({"http": first.http_port}, {"grpc": first.grpc_port}):
        database = f"sqlite:///{tmp_path}/{next(iter(ports))}.db"
        second = sqlite_cluster.second(**ports, database_url=database).start()
        assert await second.end() == EXIT_UNAVAILABLE
        assert re.search(rf"127\.0\.0\.1:{next(iter(ports.values()))}\b.*[Aa]ddress already in use", second.said())
        assert "Traceback" not in second.said()
    await first.serving()


async def test_a_second_ctrl_c_ends_a_server_at_once_and_the_next_start_finds_everything(cluster: Cluster) -> None:
    await cluster.started()
    url = f"{cluster.server.http}/api/v1/jobs/any:run?wait_seconds=60"
    async with cluster.client() as pawl, httpx.AsyncClient(timeout=90, trust_env=False) as rest:
        await pawl.jobs.create(job("any", "true"))
        async with asyncio.TaskGroup() as group:
            # Nobody takes the task, so the call waits.
            waiting = group.create_task(answered(rest, url))
            acknowledged = "SELECT count(*) FROM sched_task"
            await until("a call is in flight", lambda: history.one(cluster.database_url, acknowledged) == 1, 20)
            cluster.server.interrupt()
            words = "waiting for 1 call in flight (at most 10 s); a second Ctrl-C ends it at once"
            await until("it says what it waits for", lambda: words in cluster.server.said(), 5)
            cluster.server.interrupt()
            assert await cluster.server.end(3) == 128 + signal.SIGINT
        assert not waiting.result()
        await cluster.server.start().serving()
        assert [task.job_name async for task in pawl.tasks.all()] == ["any"]
    assert "Traceback" not in cluster.server.said()


async def answered(rest: httpx.AsyncClient, url: str) -> bool:
    """Whether a call got an answer."""
    try:
        return (await rest.post(url, json={})).is_success
    except httpx.TransportError:
        return False
