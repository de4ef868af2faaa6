"""PgQueuer: a queue on PostgreSQL that wakes its workers by NOTIFY and writes completions in batches.

With asyncpg. With its other driver a worker on one connection holds that connection while it listens: up to a second.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg
import uvloop
from conversation import Given, noting, run
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

CONNECTIONS = 10


async def prepare(given: Given) -> None:
    """Tables, all of them logged."""
    connection = await asyncpg.connect(given.database)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


def work(given: Given) -> None:
    """In the event loop that its command uses."""
    uvloop.run(managed(given))


async def managed(given: Given) -> None:
    """One queue manager on one connection, as its documentation shows."""
    started = noting()
    manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect(given.database))))

    @manager.entrypoint("noop")
    async def noop(job: Job) -> None:
        started(int(job.payload or b""))

    await manager.run(batch_size=given.slots)


class Speaker:
    """A pool of connections."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def create(self, index: int) -> None:
        """One job."""
        await self._queries.enqueue("noop", b"%d" % index)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """One statement."""
        count = len(indexes)
        await self._queries.enqueue(["noop"] * count, [b"%d" % one for one in indexes], [0] * count)


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """Open connections."""
    async with asyncpg.create_pool(given.database, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        yield Speaker(Queries(AsyncpgPoolDriver(pool)))


if __name__ == "__main__":
    run(client=client, work=work, prepare=prepare)
