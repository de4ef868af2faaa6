"""Procrastinate: a queue on PostgreSQL that wakes its workers by NOTIFY."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from conversation import Given, noting, run
from procrastinate import App, PsycopgConnector

CONNECTIONS = 10


def app_of(given: Given) -> App:
    """An app with its one task."""
    app = App(connector=PsycopgConnector(conninfo=given.database, max_size=CONNECTIONS))
    started = noting()

    @app.task(name="noop")
    async def noop(index: int) -> None:
        started(index)

    return app


async def prepare(given: Given) -> None:
    """Tables."""
    app = app_of(given)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work(given: Given) -> None:
    """One worker."""
    app = app_of(given)
    async with app.open_async():
        await app.run_worker_async(concurrency=given.slots, name="bench")


class Speaker:
    """A pool of connections."""

    def __init__(self, app: App) -> None:
        self._noop = app.tasks["noop"]

    async def create(self, index: int) -> None:
        """One job."""
        await self._noop.defer_async(index=index)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """One statement."""
        await self._noop.batch_defer_async(*({"index": index} for index in indexes))


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """An open app."""
    app = app_of(given)
    async with app.open_async():
        yield Speaker(app)


if __name__ == "__main__":
    run(client=client, work=work, prepare=prepare)
