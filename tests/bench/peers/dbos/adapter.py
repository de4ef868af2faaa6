"""DBOS: durable workflows in a library on PostgreSQL; queues are polled."""

import contextlib
import signal
from collections.abc import AsyncIterator, Sequence

import sqlalchemy
from conversation import Given, noting, run
from dbos import DBOS, DBOSClient, DBOSConfig

POLL_SECONDS = 0.05
QUEUE = "bench"


def url_of(given: Given) -> str:
    """With the driver that its environment has."""
    return given.database.replace("postgresql://", "postgresql+psycopg://")


def prepare(given: Given) -> None:
    """Tables."""
    DBOS.migrate(url_of(given))


def work(given: Given) -> None:
    """One executor; it recovers what it had when it was killed."""
    started = noting()
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url_of(given),
        "application_version": "1",
        "executor_id": "bench",
        "log_level": "WARNING",
    }
    DBOS(config=config)

    @DBOS.workflow(name="noop")
    async def noop(index: int) -> None:
        started(index)

    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=given.slots, polling_interval_sec=POLL_SECONDS)
    signal.sigwait({signal.SIGTERM})


class Speaker:
    """Its client, which has a thread for each call."""

    def __init__(self, client: DBOSClient, engine: sqlalchemy.Engine) -> None:
        self._client = client
        self._engine = engine
        self._options = {"workflow_name": "noop", "queue_name": QUEUE, "app_version": "1"}

    async def create(self, index: int) -> None:
        """One workflow."""
        await self._client.enqueue_async(self._options, index)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """One transaction: there is no call for many."""
        with self._engine.begin() as connection:
            for index in indexes:
                self._client.enqueue_in_transaction(connection, self._options, index)


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """A client and a pool of its own for transactions."""
    opened = DBOSClient(system_database_url=url_of(given))
    engine = sqlalchemy.create_engine(url_of(given))
    try:
        yield Speaker(opened, engine)
    finally:
        engine.dispose()
        opened.destroy()


if __name__ == "__main__":
    run(client=client, work=work, prepare=prepare)
