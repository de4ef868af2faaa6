"""Records today's conversations between real agents and a real control plane, as data for tests of later releases.

    .venv/bin/python -m tests.recorded.record            those of this release, beside those of the ones before
    .venv/bin/python -m tests.recorded.record cancel     only one of them

Run it once, when a release is made; what was recorded is never recorded anew after that.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from packaging.version import Version
from pawl.link import PROTOCOL_VERSION
from pawl.v1 import agent_pb2, job_pb2, task_pb2

from controlplane.version import VERSION
from tests.faults.cluster import AgentProcess, Cluster
from tests.recorded.lines import DATA
from tests.recorded.relay import Relay

FOLDER = DATA / f"protocol-{PROTOCOL_VERSION}-release-{Version(VERSION).base_version}"
CREATE_JOB, CREATE_TASK = "pawl.v1.JobService/CreateJob", "pawl.v1.TaskService/CreateTask"
GET_TASK, CANCEL_TASK = "pawl.v1.TaskService/GetTask", "pawl.v1.TaskService/CancelTask"
DRAIN_AGENT = "pawl.v1.AgentService/DrainAgent"
FOREVER = "echo begun; sleep 600"


class Stage:
    """A control plane, agents and the relay between them."""

    def __init__(self, cluster: Cluster, relay: Relay) -> None:
        self.cluster = cluster
        self.relay = relay
        self.tasks: list[str] = []

    async def agent(self, name: str = "one") -> AgentProcess:
        """Start an agent and wait until it is taken."""
        agent = self.cluster.agent(name, server=self.relay.address, slots=2, drain_timeout=20)
        await self.starts(agent)
        return agent

    async def starts(self, agent: AgentProcess) -> None:
        """Start it (again), and wait until it is ready for work."""
        after = len(self.relay.messages)
        await self.relay.happens("agent starts", agent=agent.name)
        agent.start()
        await self.relay.hears("server", "reconcile", after=after)
        await self.relay.hears("agent", "credits", after=after)

    async def kills(self, agent: AgentProcess) -> None:
        """-9."""
        await self.relay.happens("agent is killed", agent=agent.name)
        agent.kill()

    async def leaves(self, agent: AgentProcess) -> None:
        """SIGTERM, and its end."""
        await self.relay.happens("agent is told to stop", agent=agent.name)
        agent.terminate()
        await agent.end()

    async def job(self, name: str, script: str, **config: Any) -> None:
        """A job that is a line of shell."""
        settings = job_pb2.JobConfig(cmd="sh", args=["-c", script], grace_seconds=1, **config)
        await self.relay.call(CREATE_JOB, job_pb2.CreateJobRequest(job=job_pb2.Job(name=name, config=settings)))

    async def task(self, job: str) -> str:
        """A task of it."""
        request = task_pb2.CreateTaskRequest(task=task_pb2.Task(job_id=job, environment={"WHO": "Ada"}))
        made: Any = await self.relay.call(CREATE_TASK, request)
        self.tasks.append(made.id)
        return str(made.id)

    async def ended(self, task_id: str) -> None:
        """Its end was reported."""

        def names_it(finished: agent_pb2.Finished) -> bool:
            return any(item.instance.task_id == task_id for item in finished.items)

        await self.relay.hears("agent", "finished", names_it)

    async def begun(self, task_id: str, token: int = 1) -> None:
        """Its start was reported."""

        def names_it(started: agent_pb2.Started) -> bool:
            return (task_id, token) in {(item.instance.task_id, item.instance.token) for item in started.items}

        await self.relay.hears("agent", "started", names_it)

    async def look(self, status: task_pb2.Task.Status, task_id: str, error: str = "") -> None:
        """What the control plane says of a task in the end, once it says this."""

        def says_it(answer: Any) -> bool:
            return bool(answer.status == status and error in ("", answer.error.code))

        async with asyncio.timeout(30):
            while True:
                request = task_pb2.GetTaskRequest(id=task_id)
                if says_it(await self.relay.call(GET_TASK, request, says_it)):
                    return
                await asyncio.sleep(0.05)


async def run(stage: Stage) -> None:
    """Work that succeeds, work that fails and is tried again; then the agent leaves."""
    agent = await stage.agent()
    await stage.job("good", "echo hello $WHO")
    await stage.job("bad", "echo out; echo err >&2; exit 3", max_retries=1, retry_interval=0.1)
    for name, status in (("good", task_pb2.Task.SUCCEEDED), ("bad", task_pb2.Task.FAILED)):
        task = await stage.task(name)
        await stage.ended(task)
        await stage.look(status, task)
    await stage.leaves(agent)


async def cancel(stage: Stage) -> None:
    """Work that is cancelled while it runs."""
    await stage.agent()
    await stage.job("long", FOREVER)
    task = await stage.task("long")
    await stage.begun(task)
    await stage.relay.call(CANCEL_TASK, task_pb2.CancelTaskRequest(id=task, reason="enough"))
    await stage.ended(task)
    await stage.look(task_pb2.Task.CANCELLED, task)


async def drain(stage: Stage) -> None:
    """An agent is drained: what it has ends there, what comes goes elsewhere."""
    await stage.agent()
    await stage.job("long", "echo begun; sleep 2")
    task = await stage.task("long")
    await stage.begun(task)
    await stage.relay.call(DRAIN_AGENT, agent_pb2.DrainAgentRequest(id="one", reason="a new machine"))
    await stage.relay.hears("server", "drain")
    other = await stage.task("long")
    await stage.ended(task)
    await stage.look(task_pb2.Task.SUCCEEDED, task)
    await stage.look(task_pb2.Task.PENDING, other)


async def resume(stage: Stage) -> None:
    """The wire is cut under running work, before a result was acknowledged."""
    await stage.agent()
    await stage.job("long", FOREVER)
    await stage.job("longer-than-the-wire", "echo begun; sleep 2")
    stays, ends = await stage.task("long"), await stage.task("longer-than-the-wire")
    await stage.begun(stays)
    await stage.begun(ends)
    stage.relay.streams[0].muted = True
    await stage.ended(ends)
    await stage.look(task_pb2.Task.SUCCEEDED, ends)
    after = len(stage.relay.messages)
    await stage.relay.cuts(stage.relay.streams[0])
    await stage.relay.hears("server", "reconcile", lambda said: len(said.keep) == 1, after=after)
    await stage.relay.hears("agent", "finished", after=after)
    await stage.relay.hears("agent", "started", after=after)
    await stage.look(task_pb2.Task.RUNNING, stays)
    await stage.relay.call(CANCEL_TASK, task_pb2.CancelTaskRequest(id=stays))
    await stage.ended(stays)
    await stage.look(task_pb2.Task.CANCELLED, stays)


async def takeover(stage: Stage) -> None:
    """An agent dies without the control plane noticing; its next start takes the stream over."""
    agent = await stage.agent()
    await stage.job("long", FOREVER)
    task = await stage.task("long")
    await stage.begun(task)
    stage.relay.streams[0].kept = True
    await stage.kills(agent)
    await stage.starts(agent)
    await stage.relay.hears("server", "goodbye")
    await stage.begun(task, token=2)
    await stage.look(task_pb2.Task.RUNNING, task)


async def stale(stage: Stage) -> None:
    """A lease runs out in an absence; the work is placed on another agent, and the first one's result is evidence."""
    await stage.agent("one")
    await stage.job("long", FOREVER, lost_after_seconds=3)
    task = await stage.task("long")
    await stage.begun(task)
    stage.relay.closed.add("one")
    await stage.relay.cuts(stage.relay.streams[0])
    await stage.agent("two")
    await stage.begun(task, token=2)
    after = len(stage.relay.messages)
    stage.relay.closed.clear()
    await stage.relay.hears("agent", "finished", after=after)
    await stage.look(task_pb2.Task.RUNNING, task, error="LEASE_EXPIRED")


async def shutdown(stage: Stage) -> None:
    """The control plane is stopped and started under running work."""
    await stage.agent()
    await stage.job("long", FOREVER)
    task = await stage.task("long")
    await stage.begun(task)
    after = len(stage.relay.messages)
    await stage.relay.happens("server stops")
    stage.cluster.server.terminate()
    await stage.relay.hears("server", "goodbye", after=after)
    await stage.cluster.server.end()
    await stage.relay.happens("server starts")
    await stage.cluster.server.start().serving()
    await stage.relay.hears("server", "reconcile", lambda said: len(said.keep) == 1, after=after)
    await stage.relay.hears("agent", "started", after=after)
    await stage.look(task_pb2.Task.RUNNING, task)


CONVERSATIONS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    one.__name__: one for one in (run, cancel, drain, resume, takeover, stale, shutdown)
}


async def record(name: str, folder: Path) -> None:
    """One conversation, on processes of its own."""
    cluster = Cluster(folder, f"sqlite:///{folder}/pawl.db")
    try:
        async with Relay() as relay:
            relay.to(cluster.server.grpc)
            await cluster.server.start().serving()
            await CONVERSATIONS[name](Stage(cluster, relay))
            relay.write(FOLDER / f"{name}.jsonl")
    except BaseException:
        sys.stderr.write(cluster.said())
        raise
    finally:
        cluster.close()


def main() -> None:
    """Record what the arguments name, or everything."""
    for name in sys.argv[1:] or CONVERSATIONS:
        folder = Path(tempfile.mkdtemp(prefix="pawl-record-"))
        try:
            asyncio.run(record(name, folder))
        finally:
            shutil.rmtree(folder)
        sys.stdout.write(f"{FOLDER.name}/{name}.jsonl\n")


if __name__ == "__main__":
    main()
