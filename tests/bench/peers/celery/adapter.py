"""Celery: a queue on Redis; its worker has a process for each core."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from conversation import Given, noting, run

THREADS = 64


def app_of(given: Given) -> Celery:
    """An app that acknowledges late: without it a killed worker loses what it had taken."""
    app = Celery("bench", broker=given.redis)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )
    started = noting()

    @app.task(name="noop")
    def noop(index: int) -> None:
        started(index)

    return app


def work(given: Given) -> None:
    """Its worker as it comes: prefork, as many processes as there are cores, four tasks ahead for each."""
    app_of(given).worker_main(["worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"])


class Speaker:
    """It has no calls for asyncio, and none for many."""

    def __init__(self, app: Celery, threads: ThreadPoolExecutor) -> None:
        self._noop = app.tasks["noop"]
        self._threads = threads

    async def create(self, index: int) -> None:
        """One message."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._noop.delay, index)

    async def create_many(self, indexes: Sequence[int]) -> None:
        """All at once, as far as there are threads."""
        await asyncio.gather(*(self.create(index) for index in indexes))


@contextlib.asynccontextmanager
async def client(given: Given) -> AsyncIterator[Speaker]:
    """A pool of threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield Speaker(app_of(given), threads)


if __name__ == "__main__":
    run(client=client, work=work)
