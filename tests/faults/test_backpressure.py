"""Too much, too full, gone: callers are told so and when to come back, memory keeps its bounds, nothing is half done,
and all goes on by itself afterwards.
"""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
from pawl.client import Client
from pawl.connection import Patience
from pawl.errors import PawlError
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

import controlplane.api.intake
from controlplane.store import committer
from tests.faults import history
from tests.faults.cluster import Cluster, Server, until
from tests.faults.conftest import ended
from tests.faults.load import Load
from tests.faults.proxy import Wire
from tests.spec.conftest import serving

MIB = 1 << 20
OVERLOAD = {("RESOURCE_EXHAUSTED", 429), ("RESOURCE_EXHAUSTED", 503), ("UNAVAILABLE", 503)}
OUTAGE_SECONDS = 5.0


@dataclass
class Callers:
    """Calls over both fronts, none of them repeated by a client: what was acknowledged, and what the others heard."""

    pawl: Client
    rest: httpx.AsyncClient
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, int]] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    async def create(self, key: str, parameters: str = "") -> bool:
        """Make a task under a key; whether it was made. Every refusal says when to come back."""
        if len(key) % 2:
            return await self._over_rest(key, parameters)
        try:
            task = await self.pawl.tasks.create("any", parameters, request_id=key)
        except PawlError as error:
            assert error.retry_after, error
            self._refuse(key, error.code, 429 if error.code == "RESOURCE_EXHAUSTED" else 503, error.message)
            return False
        self._acknowledge(key, task.id)
        return True

    async def _over_rest(self, key: str, parameters: str) -> bool:
        body = {"job_id": "any", "parameters": parameters}
        answer = await self.rest.post("/api/v1/tasks", json=body, headers={"idempotency-key": key})
        if answer.status_code == 200:
            self._acknowledge(key, answer.json()["id"])
            return True
        error = answer.json()["error"]
        assert int(answer.headers["retry-after"]) >= 1, answer.headers
        assert any(one["@type"].endswith("RetryInfo") for one in error["details"]), error
        self._refuse(key, error["status"], answer.status_code, error["message"])
        return False

    def _acknowledge(self, key: str, task_id: str) -> None:
        assert self.acknowledged.setdefault(key, task_id) == task_id

    def _refuse(self, key: str, code: str, status: int, message: str) -> None:
        assert (code, status) in OVERLOAD, (code, status, message)
        self.refused[key] = code, status
        self.said.add(message)


@asynccontextmanager
async def callers(http: str, grpc: str) -> AsyncIterator[Callers]:
    """Callers of one control plane; there is a job `any` when they come."""
    limits = httpx.Limits(max_connections=200)
    async with (
        Client(grpc, namespace="", timeout=40, patience=Patience(seconds=0)) as pawl,
        httpx.AsyncClient(base_url=http, timeout=40, trust_env=False, limits=limits) as rest,
    ):
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true", lost_after_seconds=30)))
        yield Callers(pawl, rest)


def keys(count: int) -> list[str]:
    """Keys, every other one of even length: those are for gRPC."""
    return [f"{number:05}{'x' * (number % 2)}" for number in range(count)]


# --- queues


@pytest.mark.parametrize("what", ["writes that wait", "bytes of writes that wait", "bytes in hand"])
async def test_a_full_queue_is_said_on_both_fronts_and_is_over_when_it_is_over(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "bytes in hand":
        monkeypatch.setattr(controlplane.api.intake, "MAX_IN_HAND", 50_000)
    with serving(f"sqlite:///{tmp_path}/pawl.db", tmp_path) as addresses:
        async with callers(addresses.http, addresses.grpc) as calls:
            large = "x" * 60_000
            if what == "writes that wait":
                monkeypatch.setattr(committer, "MAX_WAITING", 0)
            elif what == "bytes of writes that wait":
                # One is written, one waits, and with it the queue is full.
                monkeypatch.setattr(committer, "MAX_WAITING_BYTES", 1)
                large = "x" * 900_000
            await asyncio.gather(*(calls.create(key, large) for key in keys(40)))
            assert set(calls.refused.values()) == {("RESOURCE_EXHAUSTED", 429)}
            assert len(calls.refused) + len(calls.acknowledged) == 40
            batch = await calls.pawl.tasks.create_many(Task(job_id="any") for _ in range(3))
            assert all(isinstance(one, Task) == (what != "writes that wait") for one in batch)

            monkeypatch.undo()
            if what == "bytes in hand":
                assert await calls.create("small")
            for key in () if what == "bytes in hand" else tuple(calls.refused):
                assert await calls.create(key, large)
            total = (await calls.rest.get("/api/v1/tasks")).json()["total"]
            made = sum(isinstance(one, Task) for one in batch)
            assert total == len(set(calls.acknowledged.values())) + made


# --- a disk that is full


class Room:
    """A folder for a database in which there is suddenly no room, and again some."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, server: Server) -> None:
        """From now on nothing fits."""
        raise NotImplementedError

    def give(self, server: Server) -> None:
        """There is room again."""
        raise NotImplementedError


class Disk(Room):
    """A small file system of its own."""

    def take(self, server: Server) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while left := shutil.disk_usage(self.folder).free:  # the server writes as well
                with suppress(OSError):
                    os.posix_fallocate(ballast.fileno(), ballast.tell(), left)
                    ballast.seek(left, os.SEEK_CUR)

    def give(self, server: Server) -> None:
        (self.folder / "ballast").unlink()


class Quota(Room):
    """Files that may not grow."""

    def take(self, server: Server) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def give(self, server: Server) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(params=[Disk, Quota], ids=["disk", "quota"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    """A full disk where this user may mount one, else a quota as well: what the server does about both is the same."""
    folder = tmp_path / "room"
    folder.mkdir()
    if request.param is Quota:
        yield Quota(folder)
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield Disk(folder) if mounted else Quota(folder)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_is_said_so_and_everything_goes_on_when_there_is_room(tmp_path: Path, room: Room) -> None:
    url = f"sqlite:///{room.folder}/pawl.db"
    with ended(Cluster(tmp_path, url)) as cluster:
        agent = cluster.agent("a", slots=2)
        await cluster.started(agent)
        server = cluster.server
        async with callers(server.http, server.grpc) as calls:
            script = (
                f"echo begun; touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done;"
                f" echo ended; touch {tmp_path}/ended"
            )
            await calls.pawl.jobs.create(
                Job(name="slow", config=JobConfig(cmd="sh", args=["-c", script], lost_after_seconds=30))
            )
            slow = await calls.pawl.tasks.create("slow")
            await until("it runs", (tmp_path / "begun").exists, 20)
            room.take(server)
            text = "x" * 500_000
            for key in keys(200):
                if not await calls.create(key, text) and len(calls.refused) >= 6:
                    break
            assert len(calls.refused) >= 6, "it was never full"
            assert set(calls.refused.values()) <= OVERLOAD
            assert any("room" in said or "quota" in said for said in calls.said), calls.said
            (tmp_path / "go").touch()  # what ends now is kept by the agent

            # Reading needs no room.
            assert (await calls.rest.get(f"/api/v1/tasks/{slow.id}")).json()["status"] in ("RUNNING", "DISPATCHED")
            assert (await calls.rest.get("/health")).status_code in (200, 503)
            await until("the work has ended", (tmp_path / "ended").exists, 20)

            room.give(server)
            for key in tuple(calls.refused):
                await until("it is taken", partial(calls.create, key, text), 20)
            done = await calls.pawl.tasks.wait(slow.id)
            assert (done.status, done.attempt) == (Task.Status.SUCCEEDED, 1)
            printed = "".join([entry.text async for entry in calls.pawl.tasks.logs(slow.id)])
            assert printed.split() == ["begun", "ended"]
            wanted = len(calls.acknowledged) + 1
            await until("all succeed", lambda: history.succeeded(url) == wanted, 60)
            await server.serving()
        assert not server.ended
        assert history.broken_promises(url) == {}
        assert history.one(url, "SELECT count(*) FROM sched_task") == wanted
        assert "Traceback" not in server.said()


# --- a database that is away


@pytest.mark.timeout(240)
async def test_a_database_that_is_gone_for_a_while_costs_nobody_anything_but_time(
    tmp_path: Path, postgres_url: str
) -> None:
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    async with Wire(port) as wire:
        with ended(Cluster(tmp_path, postgres_url.replace(f"127.0.0.1:{port}", wire.address))) as cluster:
            agent = cluster.agent("a", slots=4)
            await cluster.started(agent)
            server = cluster.server
            pid = server.pid
            async with callers(server.http, server.grpc) as calls, asyncio.TaskGroup() as group:
                load = Load(cluster, "any")
                running = group.create_task(load.run(200, 6))
                await until("callers are under way", lambda: len(load.acknowledged) > 30, 60)

                await wire.take_down()
                gone = asyncio.get_running_loop().time()
                for key in keys(10):
                    assert not await calls.create(key)
                assert set(calls.refused.values()) == {("UNAVAILABLE", 503)}
                health = await calls.rest.get("/health")
                assert (health.status_code, health.json()["status"]) == (503, "NOT_SERVING")
                assert not running.done()
                await asyncio.sleep(max(0.0, gone + OUTAGE_SECONDS - asyncio.get_running_loop().time()))  # the fault
                await wire.put_up()

                await server.serving(30)
                for key in tuple(calls.refused):
                    await until("it is taken", partial(calls.create, key), 20)

                wire.freeze()  # nobody is told anything: calls wait, or are told that all connections are busy
                silent = group.create_task(calls.create("silent"))
                await asyncio.sleep(1.0)  # the fault
                wire.thaw()
                assert await silent
            assert load.repeated > 0
            wanted = len(load.acknowledged) + len(calls.acknowledged)
            await until("all succeed", lambda: history.succeeded(postgres_url) == wanted, 90)
            assert (server.pid, server.ended, agent.ended) == (pid, False, False)
            assert history.broken_promises(postgres_url) == {}
            assert history.one(postgres_url, "SELECT count(*) FROM sched_task") == wanted
            # Of an instance that was never told to start nothing is left but its record; none ran twice.
            assert history.one(postgres_url, "SELECT max(attempt) FROM sched_task") == 1
        assert "Traceback" not in server.said(), server.said()[-4000:]


# --- a flood


@pytest.mark.timeout(180)
async def test_memory_keeps_its_bounds_under_a_flood(tmp_path: Path, postgres_url: str) -> None:
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    async with Wire(port) as wire:
        with ended(Cluster(tmp_path, postgres_url.replace(f"127.0.0.1:{port}", wire.address))) as cluster:
            await cluster.started()
            server = cluster.server
            async with callers(server.http, server.grpc) as calls:
                before, peak, large = resident(server), 0, "x" * (MIB - 1000)
                wire.freeze()  # so that nothing leaves while it comes in
                flood = asyncio.gather(*(calls.create(key, large) for key in keys(FLOOD)))
                while not flood.done():
                    peak = max(peak, resident(server))
                    await asyncio.wait([flood], timeout=0.1)
                    if len(calls.refused) > FLOOD // 10:
                        wire.thaw()
                wire.thaw()
                await flood
                assert calls.refused
                assert peak - before < FLOOD_BYTES, f"{(peak - before) >> 20} MiB more for {FLOOD} MiB"
                for key in tuple(calls.refused)[:10]:
                    await until("it is taken", partial(calls.create, key, large), 30)
                listed = (await calls.rest.get("/api/v1/tasks?page.page_size=1")).json()["total"]
            assert listed == len(calls.acknowledged) == len(set(calls.acknowledged.values()))


FLOOD = 180  # calls of a mebibyte each
FLOOD_BYTES = 700 * MIB  # of 128 MiB in hand, each in the three or four forms that it has on its way


def resident(server: Server) -> int:
    """Bytes of memory that the server has."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
