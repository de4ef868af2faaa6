import asyncio
import itertools
import re
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from pawl.errors import PawlError, from_call
from pawl.v1 import task_pb2, task_pb2_grpc
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster, until

EXIT_UNAVAILABLE = 5
CALLS_PER_SECOND = 200
BEFORE_SECONDS = 2.0
AFTER_CALLS = 50


def job(name: str, cmd: str, *args: str) -> Job:
    """A job that is stopped within a second."""
    return Job(name=name, config=JobConfig(cmd=cmd, args=args, grace_seconds=1))


class Calls:
    """Calls at an even pace, creates and gets in turn: by the SDK, which repeats what is refused, and over a bare
    channel and REST, where nothing is repeated.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.begun: dict[str, float] = {}
        self.acknowledged: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.enough = asyncio.Event()
        self._pawl = cluster.client()
        self._channel = grpc.aio.insecure_channel(cluster.server.grpc)
        self._bare = task_pb2_grpc.TaskServiceStub(self._channel)
        self._rest = httpx.AsyncClient(base_url=cluster.server.http, timeout=30, trust_env=False)

    async def go_on(self) -> None:
        """Make them until it is enough."""
        begun, ways = time.monotonic(), itertools.cycle((self._by_sdk, self._bare_grpc, self._over_rest))
        async with self._pawl, self._channel, self._rest, asyncio.TaskGroup() as group:
            for number, way in enumerate(ways):
                if self.enough.is_set():
                    break
                await asyncio.sleep(max(0.0, begun + number / CALLS_PER_SECOND - time.monotonic()))  # the pace
                group.create_task(self._call(f"{way.__name__}-{number}", way))

    async def _call(self, name: str, way: Callable[[str, str], Awaitable[str]]) -> None:
        """A create, or a get of what is acknowledged."""
        self.begun[name] = time.monotonic()
        known = next(reversed(self.acknowledged.values()), "") if len(self.begun) % 2 else ""
        try:
            found = await way(name, known)
        except httpx.HTTPStatusError as error:
            reasons = [one.get("reason", "") for one in error.response.json()["error"]["details"]]
            self.failed[name] = f"{error.response.status_code} {''.join(reasons)}"
        except httpx.TransportError as error:
            self.failed[name] = type(error).__name__
        except grpc.aio.AioRpcError as error:
            self.failed[name] = f"{error.code().name} {from_call(error).reason}".strip()
        except PawlError as error:
            self.failed[name] = repr(error)
        else:
            assert known in ("", found)
            if not known:
                self.acknowledged[name] = found

    async def _by_sdk(self, name: str, known: str) -> str:
        tasks = self._pawl.tasks
        return (await (tasks.get(known) if known else tasks.create("any", request_id=name))).id

    async def _bare_grpc(self, name: str, known: str) -> str:
        if known:
            return str((await self._bare.GetTask(task_pb2.GetTaskRequest(id=known), timeout=30)).id)
        request = task_pb2.CreateTaskRequest(task=Task(job_id="any"), request_id=name)
        return str((await self._bare.CreateTask(request, timeout=30)).id)

    async def _over_rest(self, name: str, known: str) -> str:
        if known:
            answer = await self._rest.get(f"/api/v1/tasks/{known}")
        else:
            answer = await self._rest.post("/api/v1/tasks", json={"job_id": "any"}, headers={"idempotency-key": name})
        answer.raise_for_status()
        return str(answer.json()["id"])


# What those who do not repeat may see of a server that stops; controlplane/api/README.md promises it.
MAY_BE_SEEN = {
    "_bare_grpc": {"UNAVAILABLE UNAVAILABLE", "UNAVAILABLE", "CANCELLED"},
    "_over_rest": {"503 UNAVAILABLE", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"},
}


@pytest.mark.timeout(120)
async def test_a_control_plane_that_is_told_to_stop_finishes_every_call_in_flight_and_loses_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    agent = cluster.agent("one", slots=2)
    await cluster.started(agent)
    url, server = cluster.database_url, cluster.server
    async with cluster.client() as pawl:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true", labels={"nobody": "has this"})))
        script = f"echo >> {tmp_path}/ran; while ! test -e {tmp_path}/go; do sleep .1; done"
        await pawl.jobs.create(job("across", "sh", "-c", script))
        across = await pawl.tasks.create("across")
        await until("a task runs", (tmp_path / "ran").exists, 20)
        calls = Calls(cluster)
        async with asyncio.TaskGroup() as group:
            group.create_task(calls.go_on())
            await until("calls are made", lambda: len(calls.begun) >= BEFORE_SECONDS * CALLS_PER_SECOND, 30)
            server.terminate()
            told = time.monotonic()
            assert await server.end() == 0, server.said()
            server.start()
            await server.serving()
            made = len(calls.acknowledged)
            await until("calls go on", lambda: len(calls.acknowledged) > made + AFTER_CALLS, 30)
            calls.enough.set()
        await cluster.online(pawl, agent)
        (tmp_path / "go").touch()
        done = await pawl.tasks.wait(across.id)
    broken = {name: why for name, why in calls.failed.items() if calls.begun[name] < told}
    assert broken == {}, "in flight when the server was told"
    assert calls.failed, "it never stopped"
    for name, why in calls.failed.items():
        assert why in MAY_BE_SEEN[name.rpartition("-")[0]], f"{name}: {why}, {calls.begun[name] - told:.3f} s after"
    stored = {str(as_uuid(row[0])) for row in history.ask(url, "SELECT id FROM sched_task")}
    assert set(calls.acknowledged.values()) <= stored
    assert len(set(calls.acknowledged.values())) == len(calls.acknowledged)
    assert (done.status, done.attempt, (tmp_path / "ran").read_text()) == (Task.Status.SUCCEEDED, 1, "\n")
    assert "the control plane ends the stream: the server stops; connect again" in agent.said()


def as_uuid(found: Any) -> uuid.UUID:
    """An id as either database gives it."""
    return uuid.UUID(bytes=found) if isinstance(found, bytes) else uuid.UUID(str(found))


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
