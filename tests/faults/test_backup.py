"""Backup and restore as operators do it: under load, with agents that work, and with everything that can be in the way.

What a backup is made of, and what a crash in its middle leaves, is in tests/store/test_backup.py.
"""

import asyncio
import json
import subprocess
from pathlib import Path

from pawl.client import Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults.cluster import PAWL, Cluster, alive, until

END_SECONDS = 60.0
SUCCEEDED, RUNNING, CANCELLED = Task.SUCCEEDED, Task.RUNNING, Task.CANCELLED


class Desk:
    """An operator's terminal beside the server's file."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def pawl(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        command = [str(PAWL), *map(str, arguments), "--database", self.cluster.database_url]
        ended = subprocess.run(
            command, capture_output=True, text=True, cwd=self.cluster.folder, timeout=60, check=False
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, ended.stdout, ended.stderr

    def refuses(self, code: int, words: str, *arguments: str | Path) -> None:
        """The command ends with this code and says this, and nothing on stdout."""
        ended, out, err = self.pawl(*arguments)
        assert (ended, out) == (code, ""), err
        assert words in err


async def comes_to(pawl: Client, task_id: str, *wanted: Task.Status) -> Task:
    """The task, once it is in one of these."""

    async def is_there() -> bool:
        return (await pawl.tasks.get(task_id)).status in wanted

    await until(f"{task_id} comes to {wanted}", is_there, END_SECONDS)
    return await pawl.tasks.get(task_id)


def placements(file: Path, task_id: str) -> list[tuple[str, int]]:
    """Instance and process of each run that a task has begun."""
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(instance, int(pid)) for task, instance, pid in lines if task == task_id]


async def test_what_a_backup_under_load_holds_is_there_after_a_restore_and_no_token_is_given_twice(
    sqlite_cluster: Cluster,
) -> None:
    cluster, desk = sqlite_cluster, Desk(sqlite_cluster)
    one, two = cluster.agent("one"), cluster.agent("two")
    backup, ran = cluster.folder / "backup.tar.gz", cluster.folder / "ran"
    await cluster.started(one)
    async with cluster.client() as pawl:
        note = f"echo $PAWL_TASK_ID $PAWL_INSTANCE_ID $$ >> {ran}; exec sleep 600"
        slow = JobConfig(cmd="sh", args=["-c", note], grace_seconds=1)
        there = JobConfig(cmd="sh", args=["-c", note], grace_seconds=1, labels={"zone": "b"})
        await pawl.jobs.create(Job(name="quick", config=JobConfig(cmd="echo", args=["done"])))
        await pawl.jobs.create(Job(name="slow", config=slow))
        await pawl.jobs.create(Job(name="elsewhere", config=there))
        before = await pawl.tasks.run("quick")
        running = await pawl.tasks.create("slow")
        await comes_to(pawl, running.id, RUNNING)
        waiting = await pawl.tasks.create("elsewhere")

        made: list[str] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                made.append((await pawl.tasks.create("quick")).id)

        async with asyncio.TaskGroup() as group:
            group.create_task(load())
            await until("there is load", lambda: len(made) > 5, END_SECONDS)
            known = list(made)
            code, out, err = await asyncio.to_thread(desk.pawl, "backup", backup, "--output", "json")
            assert code == 0, err
            assert len(made) > len(known), "work went on meanwhile"
            stop.set()
        told = json.loads(out)
        assert told["backup"] == str(backup)
        assert {file["role"] for file in told["manifest"]["files"]} == {"main", "logs"}

        # From here on the restore forgets: a task, and the token under which the one that waited is placed.
        forgotten = await pawl.tasks.create("slow")
        await comes_to(pawl, forgotten.id, RUNNING)
        two.start()
        await cluster.online(pawl, two)
        await pawl.agents.set_labels("two", {"zone": "b"})
        await comes_to(pawl, waiting.id, RUNNING)
    [(first, pid)] = placements(ran, waiting.id)

    desk.refuses(5, "in use by process", "restore", backup, "--force")
    desk.refuses(4, "exists already", "backup", backup)
    cluster.server.kill()
    desk.refuses(4, "--force", "restore", backup)
    damaged = cluster.folder / "damaged.tar.gz"
    damaged.write_bytes(backup.read_bytes()[:-500])
    desk.refuses(2, "damaged", "restore", damaged, "--force")
    code, out, err = desk.pawl("restore", backup, "--force", "--output", "json")
    assert code == 0, err
    assert json.loads(out)["manifest"] == told["manifest"]

    await cluster.server.start().serving()
    async with cluster.client() as pawl:
        for agent in (one, two):
            await cluster.online(pawl, agent)
        found = await pawl.tasks.get(before.id)
        assert (found.status, found.output.data) == (SUCCEEDED, b"done\n")
        assert [entry.text async for entry in pawl.tasks.logs(before.id)] == ["done\n"]
        assert forgotten.id not in [task.id async for task in pawl.tasks.all()]
        # What the backup has and what agents still hold meet: known results count, unknown work is stopped.
        for task_id in known:
            await comes_to(pawl, task_id, SUCCEEDED)
        await comes_to(pawl, running.id, RUNNING)
        assert len(placements(ran, running.id)) == 1, "it went on all the while"
        await until("what nobody knows of is stopped", lambda: not alive(pid), END_SECONDS)
        # The agent's labels are of after the backup, and so the operator sets them again.
        await pawl.agents.set_labels("two", {"zone": "b"})
        await until("it is placed anew", lambda: len(placements(ran, waiting.id)) == 2, END_SECONDS)
        again = placements(ran, waiting.id)[1][0]
        assert again != first
        instances = [found async for found in pawl.task_instances.all(filter={"task_id": {"eq": waiting.id}})]
        assert [found.id for found in instances] == [again]
        assert instances[0].token > 1_000_000, "above all that can have been given"
        await pawl.tasks.cancel(running.id)
        await comes_to(pawl, running.id, CANCELLED)
        assert (await pawl.tasks.run("quick")).status == SUCCEEDED
    assert cluster.server.ended is False
