"""Who follows a task goes on by himself when the control plane is killed under him: nothing twice, nothing left out."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from pawl.client import Client
from pawl.v1.job_pb2 import ArtifactRules, Job, JobConfig
from pawl.v1.task_pb2 import LogEntry, Task

from tests.faults.cluster import PAWL, Cluster, until

WITHIN = 60.0
FILE = bytes(range(256)) * (10 << 10)

# Counts aloud until it is told that this is enough, then leaves a file.
PROGRAM = """
import os, sys, time
folder, count = sys.argv[1], 0
while not os.path.exists(folder + "/enough"):
    print(count, flush=True)
    with open(os.environ["PAWL_PROGRESS_FILE"], "w") as file:
        print(min(99, count), "counting", file=file)
    count += 1
    time.sleep(0.02)
print("end", flush=True)
with open(os.environ["PAWL_ARTIFACTS_DIR"] + "/file.bin", "wb") as file:
    file.write(bytes(range(256)) * (10 << 10))
"""


class Heard:
    """Lines as they come, whatever pieces they come in."""

    def __init__(self) -> None:
        self.text = ""

    @property
    def lines(self) -> list[str]:
        """What is whole so far."""
        return self.text.split("\n")[:-1]

    def check(self) -> None:
        """Every line once and in order, to the end."""
        assert self.lines == [*map(str, range(len(self.lines) - 1)), "end"]


async def listen(heard: Heard, entries: AsyncIterator[LogEntry]) -> None:
    """With the SDK."""
    async for entry in entries:
        heard.text += entry.text


async def read(heard: Heard, server: str, task_id: str) -> None:
    """With the command line."""
    running = await asyncio.create_subprocess_exec(
        PAWL, "--server", server, "task", "logs", task_id, "--follow", stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    async for line in running.stdout:
        heard.text += line.decode()
    assert await running.wait() == 0


async def events(address: str, task_id: str, heard: Heard, last: str, enough: int) -> str:
    """As a browser does, from the last event on; where it is when so many lines are there or the stream has ended."""
    headers = {"accept": "text/event-stream", **({"last-event-id": last} if last else {})}
    url = f"{address}/api/v1/tasks/{task_id}/logs?follow=true"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=WITHIN) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                last = value
            elif name == "data" and (entry := json.loads(value)):
                heard.text += entry["text"]
            if len(heard.lines) >= enough or line == "event: end":
                break
    return last


async def test_followers_go_on_when_the_control_plane_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    agent = cluster.agent("a")
    await cluster.started(agent)
    sdk, cli, sse = Heard(), Heard(), Heard()
    async with cluster.client() as pawl, asyncio.TaskGroup() as group:
        task = await begin(pawl, tmp_path)
        group.create_task(listen(sdk, pawl.tasks.logs(task.id, follow=True)))
        group.create_task(read(cli, cluster.server.grpc, task.id))
        watching = group.create_task(watch(pawl, task.id))
        last = await events(cluster.server.http, task.id, sse, "", 10)
        await until("both have begun", lambda: len(sdk.lines) > 10 and len(cli.lines) > 10, WITHIN)
        cluster.server.kill()
        before = len(sdk.lines), len(cli.lines)
        cluster.server.start()
        await cluster.server.serving()
        on = lambda: len(sdk.lines) > before[0] + 10 and len(cli.lines) > before[1] + 10  # noqa: E731 - a fact, in place
        await until("both go on", on, WITHIN)
        (tmp_path / "enough").touch()
        await events(cluster.server.http, task.id, sse, last, sys.maxsize)
        seen = await watching
    for heard in (sdk, cli, sse):
        heard.check()
    assert seen[-1].status == Task.Status.SUCCEEDED
    said = [one.progress.percent for one in seen if one.HasField("progress")]
    assert said == sorted(said)
    assert said[-1] == min(99, len(sdk.lines) - 2)  # the last word, although it came when nobody could hear it
    async with cluster.client() as pawl:
        [file] = (await pawl.tasks.artifacts(task.id)).data
        assert (file.name, file.digest) == ("file.bin", hashlib.sha256(FILE).hexdigest())
        assert b"".join([piece.data async for piece in pawl.tasks.artifact(task.id, "file.bin")]) == FILE
        folder = agent.data_dir / "spool" / "artifacts"
        await until("the agent forgets the file", lambda: not any(folder.iterdir()), WITHIN)


async def begin(pawl: Client, folder: Path) -> Task:
    """The task that counts."""
    config = JobConfig(cmd=sys.executable, args=["-c", PROGRAM, str(folder)], artifacts=ArtifactRules())
    await pawl.jobs.create(Job(name="counts", config=config))
    return await pawl.tasks.create("counts")


async def watch(pawl: Client, task_id: str) -> list[Task]:
    """Everything that is told of it."""
    return [one async for one in pawl.tasks.watch(task_id)]
