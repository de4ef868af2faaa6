"""A whole agent that is frozen: its plugin run ends with its lease, before the task is placed anew."""

import os
import signal

from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from agent.executors.guest import GUEST_NAME
from tests.agent.wasm_stage import execute
from tests.faults.cluster import Cluster, alive, descendants, of_process, until

WITHIN = 60.0
LOST_AFTER = 4.0


def zygote_of(agent: int) -> int:
    """The process that plugins are forked from; its guests have the same command line."""
    for pid in descendants(agent):
        if b"agent.executors.zygote\0" in of_process(pid, "cmdline"):
            return pid
    raise AssertionError("no zygote")


def guests_of(zygote: int) -> list[int]:
    """What it runs plugins in: the spare that waits for the next run is none."""
    return [pid for pid in descendants(zygote) if of_process(pid, "comm").strip() == GUEST_NAME]


async def test_a_plugin_run_of_a_frozen_agent_ends_with_its_lease_while_the_zygote_lives(
    sqlite_cluster: Cluster,
) -> None:
    agent = sqlite_cluster.agent("a")
    await sqlite_cluster.started(agent)
    async with sqlite_cluster.client() as pawl:
        spin = execute("(call $spin)")
        plugin = await pawl.plugins.upload(spin, name="spin", version="1")
        config = JobConfig(executor="wasm", lost_after_seconds=LOST_AFTER)
        config.wasm.plugin = plugin.digest
        await pawl.jobs.create(Job(name="spin", config=config))
        task = await pawl.tasks.create("spin")

        async def runs() -> bool:
            return (await pawl.tasks.get(task.id)).status == Task.Status.RUNNING

        await until("it runs", runs, WITHIN)
        first = (await pawl.tasks.get(task.id)).instance_id
        zygote = zygote_of(agent.pid)
        [guest] = guests_of(zygote)
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            took = await until("the run is ended", lambda: not alive(guest), WITHIN)
            assert took < LOST_AFTER + 1.0
            assert alive(zygote)
        finally:
            os.kill(agent.pid, signal.SIGCONT)

        async def runs_again() -> bool:
            now = await pawl.tasks.get(task.id)
            return now.status == Task.Status.RUNNING and now.attempt == 1 and now.instance_id != first

        await until("it is placed anew", runs_again, WITHIN)
        assert zygote_of(agent.pid) == zygote
        await pawl.tasks.cancel(task.id)
        assert (await pawl.tasks.wait(task.id)).status == Task.Status.CANCELLED
