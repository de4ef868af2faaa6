"""gRPC is what it is chosen for: both sides of a stream talk at once, and many calls share one connection with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from pawl.v1 import agent_pb2, agent_pb2_grpc, job_pb2, job_pb2_grpc, task_pb2, task_pb2_grpc

from tests.faults.cluster import until
from tests.faults.proxy import Wire
from tests.spec.conftest import serving

CALLS = 200
DEADLINE = 30.0


class Line:
    """One channel over a wire that counts connections; on it an agent that is written here, and clients."""

    def __init__(self, wire: Wire, channel: grpc.aio.Channel) -> None:
        self.wire = wire
        self.jobs: Any = job_pb2_grpc.JobServiceStub(channel)
        self.tasks: Any = task_pb2_grpc.TaskServiceStub(channel)
        self.history: list[str] = []  # what went each way, in order
        self.pushed: dict[str, agent_pb2.InstanceRef] = {}
        self._stream: Any = agent_pb2_grpc.AgentServiceStub(channel).Connect()
        self._said = self._heard = 0
        self._changed = asyncio.Condition()
        self._saying = asyncio.Lock()  # one message at a time is what the library allows

    async def says(self, **message: Any) -> None:
        """The next message of the agent, with the acknowledgement of what it heard."""
        async with self._saying:
            self._said += 1
            await self._stream.write(agent_pb2.ConnectRequest(seq=self._said, ack=self._heard, **message))
        async with self._changed:
            self.history.append(f"said {next(iter(message))}")
            self._changed.notify_all()

    async def listens(self) -> None:
        """For ever."""
        while isinstance(answer := await self._stream.read(), agent_pb2.ConnectResponse):
            self._heard = max(self._heard, answer.seq)
            async with self._changed:
                self.history.append(f"heard {answer.WhichOneof('message') or 'acknowledgement'}")
                for item in answer.assign.items:
                    self.pushed[item.instance.task_id] = item.instance
                self._changed.notify_all()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Until what went over the stream makes this true."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(fact)

    async def gets(self, task: str) -> agent_pb2.InstanceRef:
        """Until this task was pushed."""
        await self.until(lambda: task in self.pushed)
        return self.pushed[task]

    async def new_task(self) -> str:
        task = await self.tasks.CreateTask(task_pb2.CreateTaskRequest(task={"job_id": "pushed"}), timeout=DEADLINE)
        return str(task.id)

    async def reports(self, instance: agent_pb2.InstanceRef, enough: asyncio.Event) -> int:
        """Report progress without a pause until it is enough; how often."""
        count = 0
        while not enough.is_set():
            count += 1
            await self.says(progress={"items": [{"instance": instance, "progress": {"message": f"step {count}"}}]})
            await asyncio.sleep(0)  # never waits for an answer, only lets the others have their turn
        return count


@asynccontextmanager
async def line(url: str, folder: Path) -> AsyncIterator[Line]:
    """With an agent of 4 slots that has introduced itself, and a job."""
    with serving(url, folder) as addresses:
        async with Wire(int(addresses.grpc.rpartition(":")[2])) as wire:
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(wire.address, options=options) as channel:
                made = Line(wire, channel)
                await made.jobs.CreateJob(job_pb2.CreateJobRequest(job={"name": "pushed", "config": {"cmd": "true"}}))
                hello = agent_pb2.Hello(protocol_version=1, agent_id="hand", state_id="s", generation=1, slots=4)
                hello.executors.add(name="process")
                async with asyncio.TaskGroup() as group:
                    listening = group.create_task(made.listens())
                    await made.says(hello=hello)
                    await made.until(lambda: "heard reconcile" in made.history)
                    await made.says(credits={"free": {"slots": 4}})
                    yield made
                    listening.cancel()


@pytest.mark.timeout(120)
async def test_a_task_is_pushed_to_an_agent_while_it_reports(migrated_url: str, tmp_path: Path) -> None:
    async with line(migrated_url, tmp_path) as agent:
        first = await agent.gets(await agent.new_task())
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(agent.reports(first, enough))
            await agent.says(started={"items": [{"instance": first, "seconds_ago": 0.0}]})
            begun = len(agent.history)
            await agent.gets(await agent.new_task())
            pushed = len(agent.history)
            await agent.until(lambda: agent.history[pushed:].count("said progress") >= 5)
            enough.set()
        # The push arrived between two reports of one stream that never stopped.
        around = agent.history[begun:]
        assert "said progress" in around[: around.index("heard assign")]
        assert "said progress" in around[around.index("heard assign") :]
        assert reporting.result() >= 6
        done = {"instance": first, "status": task_pb2.Task.Status.SUCCEEDED, "exit_code": 0}
        await agent.says(finished={"items": [done]})

        async def succeeded() -> bool:
            found = await agent.tasks.GetTask(task_pb2.GetTaskRequest(id=first.task_id))
            return bool(found.status == task_pb2.Task.Status.SUCCEEDED)

        await until("the first task succeeded", succeeded, DEADLINE)
        assert agent.wire.connections == 1


@pytest.mark.timeout(120)
async def test_many_calls_share_one_connection_with_an_agents_stream(migrated_url: str, tmp_path: Path) -> None:
    async with line(migrated_url, tmp_path) as agent:
        first = await agent.gets(await agent.new_task())
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(agent.reports(first, enough))
            # All are sent before any is answered.
            made = await asyncio.gather(*(agent.new_task() for _ in range(CALLS)))
            assert agent.wire.connections == 1
            enough.set()
        assert len(set(made)) == CALLS
        assert reporting.result() > 0
        assert agent.wire.cuts == 0
        # Three slots were free: pushed is what there is room for, on the same connection.
        await agent.until(lambda: len(agent.pushed) == 4)
        assert set(agent.pushed) <= {first.task_id, *made}
