"""Temporal: durable workflows on a server; here its development server, which keeps them in a SQLite file."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from conversation import Given, noting, run
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bench"


@workflow.defn(name="noop")
class Noop:
    """Says that it runs, in its first line."""

    @workflow.run
    async def run(self, index: int) -> None:
        """Nothing else."""
        started(index)


def serve(given: Given) -> Sequence[str]:
    """The development server."""
    program = str(Path(sys.executable).with_name("temporal"))
    ports = ("--port", str(given.port), "--http-port", str(given.admin_port))
    kept = ("--db-filename", f"{given.folder}/temporal.db", "--headless", "--log-level", "error")
    return program, "server", "start-dev", "--ip", "127.0.0.1", *ports, *kept


async def connected(given: Given) -> Client:
    """Once the server has its namespace."""
    while True:
        try:
            return await Client.connect(f"127.0.0.1:{given.port}")
        except RuntimeError:
            await asyncio.sleep(0.1)


async def work(given: Given) -> None:
    """A worker with as many workflow tasks at once as slots."""
    # Unsandboxed: the sandbox forbids the write that says when a workflow has started.
    worker = Worker(
        await connected(given),
        task_queue=QUEUE,
        workflows=[Noop],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=given.slots,
    )
    await worker.run()


class Speaker:
    """It has no call for many."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, index: int) -> None:
        """One workflow."""
        await self._client.start_workflow("noop", index, id=f"noop-{index}", task_queue=QUEUE)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """All at once."""
        await asyncio.gather(*(self.create(index) for index in indexes))


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """A connection."""
    yield Speaker(await connected(given))


if __name__ == "__main__":
    started = noting()
    run(client=client, work=work, serve=serve)
