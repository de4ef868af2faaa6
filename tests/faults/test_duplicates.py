import asyncio
from collections.abc import AsyncIterator
from typing import Self

import grpc.aio
from pawl.v1 import agent_pb2, agent_pb2_grpc
from pawl.v1.agent_pb2 import ConnectRequest, ConnectResponse, InstanceRef
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults.cluster import Cluster

ANSWER_SECONDS = 20.0
TASKS = 5


class Parrot:
    """An agent that runs nothing and says everything it is told to, as often as it is told to."""

    def __init__(self, channel: grpc.aio.Channel, *finished: InstanceRef) -> None:
        self._said: asyncio.Queue[ConnectRequest] = asyncio.Queue()
        self._seq = 0
        self._heard = 0
        self._say(
            hello=agent_pb2.Hello(
                protocol_version=1,
                agent_id="parrot",
                state_id="a parrot's",
                generation=1,
                executors=[agent_pb2.ExecutorInfo(name="process")],
                slots=TASKS,
                finished=finished,
            )
        )
        self._call = agent_pb2_grpc.AgentServiceStub(channel).Connect(self._saying())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    def free(self, slots: int) -> None:
        """Ask for work."""
        self._say(credits=agent_pb2.Credits(free={"slots": slots}))

    async def work(self, count: int) -> list[InstanceRef]:
        """What was assigned, once it is so much."""
        found: list[InstanceRef] = []
        while len(found) < count:
            found += [item.instance for item in (await self._hear()).assign.items]
        return found

    async def finished(self, refs: list[InstanceRef], status: Task.Status) -> None:
        """Say that these ended, and wait until the other side has committed it."""
        items = [agent_pb2.Finished.Item(instance=ref, status=status, exit_code=0) for ref in refs]
        self._say(finished=agent_pb2.Finished(items=items))
        said = self._seq
        while (await self._hear()).ack < said:
            pass

    def _say(self, **message: object) -> None:
        self._seq += 1
        self._said.put_nowait(ConnectRequest(seq=self._seq, ack=self._heard, **message))  # type: ignore[arg-type] # one member of the oneof, by name

    async def _saying(self) -> AsyncIterator[ConnectRequest]:
        while True:
            yield await self._said.get()

    async def _hear(self) -> ConnectResponse:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await self._call.read()
        assert isinstance(answer, ConnectResponse), "the stream ended"
        self._heard = max(self._heard, answer.seq)
        return answer


async def test_a_result_that_is_delivered_again_and_again_counts_once(cluster: Cluster) -> None:
    await cluster.started()
    url = cluster.database_url
    async with cluster.client() as pawl, grpc.aio.insecure_channel(cluster.server.grpc) as channel:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))
        await pawl.tasks.create_many(Task(job_id="any") for _ in range(TASKS))
        async with Parrot(channel) as parrot:
            parrot.free(TASKS)
            refs = await parrot.work(TASKS)
            await parrot.finished(refs, Task.Status.SUCCEEDED)
            assert history.succeeded(url) == TASKS
            before = tables(url)
            await parrot.finished(refs + refs, Task.Status.SUCCEEDED)
            await parrot.finished(refs, Task.Status.FAILED)
        async with Parrot(channel, *refs) as parrot:
            await parrot.finished(refs, Task.Status.SUCCEEDED)
    assert tables(url) == before
    assert history.broken_promises(url) == {}


async def test_a_result_of_an_earlier_placement_changes_nothing(cluster: Cluster) -> None:
    await cluster.started()
    url = cluster.database_url
    async with cluster.client() as pawl, grpc.aio.insecure_channel(cluster.server.grpc) as channel:
        await pawl.jobs.create(Job(name="any", config=JobConfig(cmd="true")))
        task = await pawl.tasks.create("any")
        async with Parrot(channel) as parrot:
            parrot.free(1)
            [first] = await parrot.work(1)
            await parrot.finished([first], Task.Status.FAILED)
            await pawl.tasks.retry(task.id)
            parrot.free(1)
            [second] = await parrot.work(1)
            assert second.token > first.token
            await parrot.finished([first], Task.Status.SUCCEEDED)
            assert (await pawl.tasks.get(task.id)).status == Task.Status.DISPATCHED
            await parrot.finished([second], Task.Status.SUCCEEDED)
    assert history.broken_promises(url) == {}
    ended = history.ask(url, "SELECT token, status FROM sched_task_instance ORDER BY token")
    assert [tuple(row) for row in ended] == [(first.token, Task.Status.FAILED), (second.token, Task.Status.SUCCEEDED)]


def tables(url: str) -> list[tuple[object, ...]]:
    """Everything that a result may change."""
    tasks = history.ask(url, "SELECT id, status, version, token, result_token, attempt FROM sched_task ORDER BY id")
    instances = history.ask(
        url, "SELECT task_id, token, status, exit_code, finished_at FROM sched_task_instance ORDER BY task_id, token"
    )
    return [tuple(row) for row in (*tasks, *instances)]
