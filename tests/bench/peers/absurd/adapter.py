"""Absurd: durable tasks as stored procedures of PostgreSQL; the queue is polled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import absurdctl
import psycopg
from absurd_sdk import AsyncAbsurd, AsyncTaskContext
from conversation import Given, noting, run

POLL_SECONDS = 0.02
LEASE_SECONDS = 30
QUEUE = "bench"
CONNECTIONS = 10


async def prepare(given: Given) -> None:
    """The schema that its command carries."""
    async with await psycopg.AsyncConnection.connect(given.database, autocommit=True) as connection:
        await connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
    absurd = AsyncAbsurd(given.database, queue_name=QUEUE)
    await absurd.create_queue()
    await absurd.close()


async def work(given: Given) -> None:
    """One worker on one connection."""
    started = noting()
    absurd = AsyncAbsurd(given.database, queue_name=QUEUE)

    @absurd.register_task("noop")
    async def noop(params: int, context: AsyncTaskContext) -> None:
        started(params)

    await absurd.start_worker(claim_timeout=LEASE_SECONDS, concurrency=given.slots, poll_interval=POLL_SECONDS)


class Speaker:
    """A few connections, each of which serves one call at a time."""

    def __init__(self, connections: Sequence[psycopg.AsyncConnection]) -> None:
        self._free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
        for one in connections:
            self._free.put_nowait(one)

    async def create(self, index: int) -> None:
        """One task."""
        async with self._taken() as connection:
            await AsyncAbsurd(connection, queue_name=QUEUE).spawn("noop", index, queue=QUEUE)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """One transaction: there is no call for many."""
        async with self._taken() as connection, connection.transaction():
            absurd = AsyncAbsurd(connection, queue_name=QUEUE)
            for index in indexes:
                await absurd.spawn("noop", index, queue=QUEUE)

    @contextlib.asynccontextmanager
    async def _taken(self) -> AsyncIterator[psycopg.AsyncConnection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """Open connections."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(given.database, autocommit=True))
            for _ in range(CONNECTIONS)
        ]
        yield Speaker(opened)


if __name__ == "__main__":
    run(client=client, work=work, prepare=prepare)
