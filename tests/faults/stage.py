"""The place where the matrix is played: a cluster, whole again before each kind of fault, and what is seen of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pawl.client import Client
from pawl.payload import payload
from pawl.v1.task_pb2 import Task, TaskInstance

from agent.executors.guest import GUEST_NAME
from tests.faults import endpoint as endpoints
from tests.faults import work
from tests.faults.cells import End
from tests.faults.cluster import AgentProcess, Cluster, WorkerProcess, descendants, of_process, until
from tests.faults.endpoint import Endpoint
from tests.faults.proxy import Wire
from tests.faults.work import Work, name_of

FUNCTIONS = Path(__file__).with_name("functions.py")
SLOTS = 16
WITHIN_SECONDS = 30.0
GONE_SECONDS = 5.0


@dataclass
class Stage:
    """A control plane, an agent behind a wire, and the endpoint where runs show themselves."""

    cluster: Cluster
    pawl: Client
    wire: Wire
    endpoint: Endpoint
    deaf_port: int
    agent: AgentProcess
    worker: WorkerProcess
    plugin: str = ""

    @property
    def agents(self) -> tuple[AgentProcess, ...]:
        """Everybody who runs something."""
        return self.agent, self.worker

    def work(self, executor: str, kind: str) -> Work:
        """What the cell runs."""
        match executor:
            case "process":
                return work.process(kind, self.endpoint.port)
            case "wasm":
                return work.wasm(kind, self.plugin)
            case "http":
                return work.http(kind, self.endpoint.port, self.deaf_port)
            case _:
                return work.function(executor, kind, self.endpoint.port)

    @asynccontextmanager
    async def others(self) -> AsyncIterator[tuple[AgentProcess, ...]]:
        """An agent and a worker beside the first, for a while; they end as they are told to."""
        number = len(self.cluster.processes)
        agent = agent_of(self.cluster, f"agent-{number}", self.wire)
        others = (agent, worker_of(self.cluster, f"worker-{number}", self.wire))
        try:
            for one in others:
                one.start()
            yield others
            for one in others:
                one.terminate()
            for one in others:
                await one.end()
        finally:
            for one in others:
                if not one.ended:
                    one.kill()


def worker_of(cluster: Cluster, name: str, wire: Wire) -> WorkerProcess:
    """A worker that reaches the control plane by the wire."""
    return cluster.worker(name, FUNCTIONS, server=wire.address)


def agent_of(cluster: Cluster, name: str, wire: Wire) -> AgentProcess:
    """An agent that reaches the control plane by the wire and may call the endpoint."""
    agent = cluster.agent(name, slots=SLOTS, server=wire.address, drain_timeout=5.0)
    agent.environment["PAWL_HTTP_PRIVATE_HOSTS"] = "127.0.0.1:*"
    return agent


@asynccontextmanager
async def opened(folder: Path, database_url: str) -> AsyncIterator[Stage]:
    """All of it started, and the plugin there with its grant."""
    cluster = Cluster(folder, database_url)
    async with AsyncExitStack() as stack:
        stack.callback(cluster.close)
        stack.callback(lambda: print(cluster.said()))  # noqa: T201  # pytest shows it when the test failed
        endpoint = await stack.enter_async_context(endpoints.opened())
        deaf_port = stack.enter_context(deaf())
        await cluster.started()
        wire = await stack.enter_async_context(Wire(cluster.server.grpc_port))
        pawl = await stack.enter_async_context(cluster.client())
        agent, worker = agent_of(cluster, "agent", wire).start(), worker_of(cluster, "worker", wire).start()
        stage = Stage(cluster, pawl, wire, endpoint, deaf_port, agent, worker)
        plugin = await pawl.plugins.upload(work.plugin(endpoint.port), name="cells", version="1")
        await pawl.plugins.grant(plugin.digest, http_private=[f"127.0.0.1:{endpoint.port}"])
        stage.plugin = plugin.digest
        for one in stage.agents:
            await cluster.online(pawl, one)
        yield stage


@contextmanager
def deaf() -> Iterator[int]:
    """A port that is open and where nobody takes a connection: whoever comes waits in the middle of connecting."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        while True:  # fill the queue
            one = stack.enter_context(socket.socket())
            one.settimeout(0.2)
            try:
                one.connect(address)
            except TimeoutError:
                break
        yield address[1]


@dataclass
class Round:
    """One kind of fault, and a task of each executor that it can befall."""

    stage: Stage
    kind: str
    works: dict[str, Work]
    tasks: dict[str, str] = field(default_factory=dict)
    """Ids, by executor."""
    placed: dict[str, str] = field(default_factory=dict)
    """Ids of the instances that were last seen at the endpoint."""

    async def begin(self) -> None:
        """Make the jobs, and of each a task."""
        pawl = self.stage.pawl
        for one in self.works.values():
            await pawl.jobs.create(one.job)
        tasks = [
            Task(job_id=one.job.name, parameters=None if one.input is None else payload(one.input))
            for one in self.works.values()
        ]
        made = await pawl.tasks.create_many(tasks)
        for executor, task in zip(self.works, made, strict=True):
            assert isinstance(task, Task), task
            self.tasks[executor] = task.id

    def cell(self, executor: str) -> str:
        return name_of(executor, self.kind)

    async def all_held(self, times: int = 1) -> None:
        """Wait until a run of each has come to the endpoint, for so many times."""
        for executor in self.tasks:
            await self.stage.endpoint.arrived(self.cell(executor), times)
        for executor, task in self.tasks.items():
            self.placed[executor] = (await self.stage.pawl.tasks.get(task)).instance_id
        for agent in (one for one in self.stage.agents if not one.ended):
            assert len(leftovers(agent)) >= 2, "a run and its stray are there, and are not seen"

    def let_go(self) -> None:
        """Let every run go on."""
        for executor in self.tasks:
            self.stage.endpoint.let_go(self.cell(executor))

    async def all_are(self, *statuses: int) -> None:
        """Wait until every task has one of these statuses."""
        for executor, task in self.tasks.items():

            async def has(task: str = task) -> bool:
                return (await self.stage.pawl.tasks.get(task)).status in statuses

            await until(f"{self.cell(executor)} is {statuses}", has, WITHIN_SECONDS)

    async def instances(self, executor: str) -> list[TaskInstance]:
        """Every placement, in order."""
        found = self.stage.pawl.task_instances.all(filter={"task_id": {"eq": self.tasks[executor]}})
        return sorted([one async for one in found], key=lambda one: one.token)

    async def all_in_the_spool(self) -> None:
        """Wait until every run that was held has ended, and its result is on its agent's disk."""
        folders = [agent.data_dir for agent in self.stage.agents]
        for executor, instance in self.placed.items():

            def is_there(name: bytes = instance.encode()) -> bool:
                return any(name in file.read_bytes() for folder in folders for file in folder.rglob("spool/*.log"))

            await until(f"the result of {self.cell(executor)} is on disk", is_there, WITHIN_SECONDS)

    async def cancel_all(self) -> None:
        for task in self.tasks.values():
            await self.stage.pawl.tasks.cancel(task, "seen enough")

    async def end(self, executor: str) -> tuple[End, bytes]:
        """What came of a cell, and its output."""
        async with asyncio.timeout(WITHIN_SECONDS):
            task = await self.stage.pawl.tasks.wait(self.tasks[executor])
        placed = await self.instances(executor)
        last = placed[-1] if placed else TaskInstance()
        return End(
            status=Task.Status.Name(task.status),
            code=task.error.code,
            exit_code=last.exit_code if last.HasField("exit_code") else None,
            signal=last.signal if last.HasField("signal") else None,
            attempts=task.attempt,
            placements=tuple(one.error.code for one in placed),
            cancel_requested=task.cancel_requested,
        ), task.output.data

    async def log(self, executor: str) -> str:
        """All that the last placement printed."""
        last = (await self.instances(executor))[-1].id
        logs = self.stage.pawl.tasks.logs(self.tasks[executor], instance_id=last)
        return "".join([entry.text async for entry in logs])


def keeper_of(agent: int) -> int:
    """The process that an agent starts programs by."""
    for pid in descendants(agent):
        if b"agent.keeper_main" in of_process(pid, "cmdline"):
            return pid
    raise AssertionError("no keeper")


def leftovers(agent: AgentProcess) -> set[int]:
    """What of an agent's family is neither itself nor the machinery that it keeps: runs, and what runs left behind."""
    return {pid for pid in agent.family() if pid != agent.pid and not _machinery(pid)}


def told(pid: int) -> str:
    """What a process is, for whoever reads that it should not be: its name, command and state."""
    stat, command = of_process(pid, "stat").decode(), of_process(pid, "cmdline").replace(b"\0", b" ").decode()
    return f"{stat[: stat.rfind(')') + 8]}: {command}"


def _machinery(pid: int) -> bool:
    """A keeper, or what plugins are forked from; guests have the zygote's command line and a name of their own."""
    command, name = of_process(pid, "cmdline"), of_process(pid, "comm").strip()
    if not command or not name:
        return True  # it ended meanwhile
    return b"agent.keeper_main" in command or (b"agent.executors.zygote" in command and name != GUEST_NAME)
