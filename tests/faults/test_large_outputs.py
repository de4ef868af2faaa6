"""Outputs beyond what one message carries: byte for byte by every way out, across cut links and killed processes."""

import asyncio
import hashlib
import random
import sys
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf.json_format import ParseDict
from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import GetTaskRequest, ReadTaskOutputRequest, Task
from pawl.v1.task_pb2_grpc import TaskServiceStub

from tests.faults.cluster import PAWL, AgentProcess, Cluster, until
from tests.faults.proxy import Wire

MIB = 1 << 20
WITHIN = 90.0

# Announces itself, waits until it may go on, and gives so many bytes that everybody can work out.
PROGRAM = """
import os, random, sys, time
folder, size = sys.argv[1], int(sys.argv[2])
open(folder + "/began", "w").close()
while not os.path.exists(folder + "/go"):
    time.sleep(0.02)
with open(os.environ["PAWL_OUTPUT_FILE"], "wb") as file:
    file.write(random.Random(size).randbytes(size))
if "PAWL_ARTIFACTS_DIR" in os.environ:
    with open(os.environ["PAWL_ARTIFACTS_DIR"] + "/beside.bin", "wb") as file:
        file.write(random.Random(7).randbytes(7 << 20))
"""


def expected(size: int) -> bytes:
    """What the program gives."""
    return random.Random(size).randbytes(size)


async def make_job(
    pawl: Client, folder: Path, size: int, *, waits: bool = False, limit: int = 100 * MIB, artifacts: bool = False
) -> None:
    """The job `large`."""
    if not waits:
        (folder / "go").touch()
    config = JobConfig(cmd=sys.executable, args=["-c", PROGRAM, str(folder), str(size)], max_output_size=limit)
    if artifacts:
        config.artifacts.SetInParent()
    await pawl.jobs.create(Job(name="large", config=config))


async def bytes_of(pawl: Client, task_id: str) -> bytes:
    """The whole output."""
    return b"".join([piece.data async for piece in pawl.tasks.output(task_id)])


async def command(*arguments: str) -> bytes:
    """What a command of the CLI prints on stdout."""
    running = await asyncio.create_subprocess_exec(
        PAWL, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(running.communicate(), WITHIN)
    assert running.returncode == 0, err.decode()
    return out


async def once_at_rest(agent: AgentProcess) -> None:
    """Wait until the agent holds no output any more."""
    folder = agent.data_dir / "spool" / "outputs"
    await until("the agent forgets the output", lambda: not any(folder.iterdir()), WITHIN)


async def test_twenty_mebibytes_arrive_byte_for_byte_by_every_way_out(cluster: Cluster, tmp_path: Path) -> None:
    agent = cluster.agent("a")
    await cluster.started(agent)
    async with cluster.client() as pawl:
        await make_job(pawl, tmp_path, 20 * MIB)
        ended = await pawl.tasks.run("large")
        wanted = expected(20 * MIB)
        assert ended.status == Task.Status.SUCCEEDED
        assert ended.output_digest == hashlib.sha256(wanted).hexdigest()
        assert not ended.HasField("output")
        assert await bytes_of(pawl, ended.id) == wanted
        instance = await pawl.task_instances.get(ended.instance_id)
        assert (instance.output_digest, instance.output_size) == (ended.output_digest, 20 * MIB)
        assert b"".join([piece.data async for piece in pawl.task_instances.output(ended.instance_id)]) == wanted
        await once_at_rest(agent)

    # A client that takes messages of the usual 4 MiB, and goes on from the middle of a piece.
    async with grpc.aio.insecure_channel(cluster.server.grpc) as channel:
        stub = TaskServiceStub(channel)
        assert (await stub.GetTask(GetTaskRequest(id=ended.id))).output_digest == ended.output_digest
        rest = [piece.data async for piece in stub.ReadTaskOutput(ReadTaskOutputRequest(id=ended.id, offset=MIB + 5))]
        assert b"".join(rest) == wanted[MIB + 5 :]
        assert max(map(len, rest)) <= MIB

    async with httpx.AsyncClient(base_url=cluster.server.http, trust_env=False) as http:
        for path in (f"tasks/{ended.id}", f"task-instances/{ended.instance_id}"):
            answer = await http.get(f"/api/v1/{path}/output")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.content == wanted
        shown = ParseDict((await http.get(f"/api/v1/tasks/{ended.id}")).json(), Task(), ignore_unknown_fields=True)
        assert shown.output_digest == ended.output_digest

    server = ("--server", cluster.server.grpc)
    file = tmp_path / "out.bin"
    await command(*server, "task", "output", ended.id, "--to", str(file))
    assert file.read_bytes() == wanted
    assert await command(*server, "task", "output", ended.id) == wanted
    assert await command(*server, "job", "run", "large", "--wait") == wanted

    async with cluster.client() as pawl:
        await pawl.tasks.delete(ended.id)
    async with httpx.AsyncClient(base_url=cluster.server.http, trust_env=False) as http:
        assert (await http.get(f"/api/v1/tasks/{ended.id}/output")).status_code == 404


@pytest.mark.parametrize(("size", "is_inline"), [(MIB, True), (MIB + 1, False)])
async def test_one_mebibyte_exactly_stays_in_the_task(
    sqlite_cluster: Cluster, tmp_path: Path, size: int, is_inline: bool
) -> None:
    await sqlite_cluster.started(sqlite_cluster.agent("a"))
    async with sqlite_cluster.client() as pawl:
        await make_job(pawl, tmp_path, size)
        ended = await pawl.tasks.run("large")
        assert (ended.HasField("output"), ended.output_digest == "") == (is_inline, is_inline)
        assert await bytes_of(pawl, ended.id) == expected(size)


async def test_beyond_its_limit_an_output_keeps_its_two_halves(sqlite_cluster: Cluster, tmp_path: Path) -> None:
    await sqlite_cluster.started(sqlite_cluster.agent("a"))
    async with sqlite_cluster.client() as pawl:
        await make_job(pawl, tmp_path, 7 * MIB, limit=3 * MIB)
        ended = await pawl.tasks.run("large")
        given, wanted = await bytes_of(pawl, ended.id), expected(7 * MIB)
        head, _, tail = given.partition(b"\n[pawl: ")
        left_out, _, tail = tail.partition(b" bytes left out]\n")
        assert 3 * MIB - 200 < len(given) <= 3 * MIB
        assert (head, tail) == (wanted[: len(head)], wanted[-len(tail) :])
        assert int(left_out) == 7 * MIB - len(head) - len(tail)
        instance = await pawl.task_instances.get(ended.instance_id)
        assert (instance.output_truncated, instance.output_size) == (True, 7 * MIB)


async def test_a_link_that_is_cut_again_and_again_costs_no_byte(cluster: Cluster, tmp_path: Path) -> None:
    cluster.server.start()
    await cluster.server.serving()
    async with Wire(cluster.server.grpc_port) as wire, cluster.client() as pawl:
        agent = cluster.agent("a", server=wire.address).start()
        await cluster.online(pawl, agent)
        await make_job(pawl, tmp_path, 60 * MIB, waits=True)
        task = await pawl.tasks.create("large")
        await until("the program began", (tmp_path / "began").exists, WITHIN)
        (tmp_path / "go").touch()
        folder = agent.data_dir / "spool" / "outputs"
        await until("the output is on disk", lambda: any(folder.glob("*.1")), WITHIN)
        for _ in range(4):
            wire.cut()
            await asyncio.sleep(0.15)  # some pieces of sixty pass meanwhile
        ended = await pawl.tasks.wait(task.id)
        assert wire.cuts > 0
        assert (ended.status, ended.attempt) == (Task.Status.SUCCEEDED, 1)
        assert await bytes_of(pawl, task.id) == expected(60 * MIB)
        assert [one.token async for one in pawl.task_instances.all(filter={"task_id": {"eq": task.id}})] == [1]
        await once_at_rest(agent)


async def test_an_output_and_artifacts_survive_the_death_of_their_agent_and_of_the_control_plane(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.server.start()
    await cluster.server.serving()
    async with Wire(cluster.server.grpc_port) as wire, cluster.client() as pawl:
        agent = cluster.agent("a", server=wire.address).start()
        await cluster.online(pawl, agent)
        await make_job(pawl, tmp_path, 20 * MIB, waits=True, artifacts=True)
        task = await pawl.tasks.create("large")
        await until("the program began", (tmp_path / "began").exists, WITHIN)
        wire.freeze()
        (tmp_path / "go").touch()
        outputs, spooled = agent.data_dir / "spool" / "outputs", agent.data_dir / "spool"
        await until("the output is on disk", lambda: any(outputs.glob("*.1")), WITHIN)
        digest = hashlib.sha256(expected(20 * MIB)).hexdigest().encode()
        named = lambda: any(digest in one.read_bytes() for one in spooled.glob("*.log"))  # noqa: E731 - a fact, in place
        await until("the result is on disk", named, WITHIN)
        agent.kill()
        cluster.server.kill()
        cluster.server.start()
        await cluster.server.serving()
        wire.cut()
        wire.thaw()
        agent.start()
        ended = await pawl.tasks.wait(task.id)
        assert (ended.status, ended.attempt) == (Task.Status.SUCCEEDED, 1)
        assert await bytes_of(pawl, task.id) == expected(20 * MIB)
        [beside] = (await pawl.tasks.artifacts(task.id)).data
        pieces = [piece.data async for piece in pawl.tasks.artifact(task.id, beside.name)]
        assert b"".join(pieces) == random.Random(7).randbytes(7 * MIB)
        await once_at_rest(agent)
