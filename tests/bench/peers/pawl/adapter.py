"""Pawl through the interface of its peers: `pawl server`, the SDK's worker, the SDK's client."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pawl
from conversation import Given, noting, run
from pawl.client import Client
from pawl.errors import NotFound, Unavailable
from pawl.v1.task_pb2 import Task

flow = pawl.Workflow("bench")


@flow.task()
async def noop(index: int) -> None:
    """Says that it runs."""
    started(index)


def serve(given: Given) -> Sequence[str]:
    """The server's command."""
    program = str(Path(sys.executable).with_name("pawl"))
    ports = ("--http-port", str(given.admin_port), "--grpc-port", str(given.port))
    store = ("--database", given.database, "--data-dir", f"{given.folder}/server", "--log-level", "warn")
    return program, "server", "--insecure", "--host", "127.0.0.1", *ports, *store


def work(given: Given) -> None:
    """The SDK's worker."""
    worker = pawl.Worker(
        flow, server=f"127.0.0.1:{given.port}", slots=given.slots, name="bench", data_dir=f"{given.folder}/worker"
    )
    worker.run()


class Speaker:
    """The SDK's client: creates that are asked for at the same time travel together."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, index: int) -> None:
        """One task."""
        await noop.start(index, client=self._client)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """One call."""
        tasks = [Task(job_id=noop.name, parameters=noop.encoded(index)) for index in indexes]
        for answer in await self._client.tasks.create_many(tasks):
            if not isinstance(answer, Task):
                raise answer


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """Once the worker has registered the job."""
    async with Client(f"127.0.0.1:{given.port}") as opened:
        while True:
            with contextlib.suppress(NotFound, Unavailable):
                await opened.jobs.get(noop.name)
                break
            await asyncio.sleep(0.05)
        yield Speaker(opened)


if __name__ == "__main__":
    started = noting()
    run(client=client, work=work, serve=serve)
