"""Group commit: what arrives while one commit runs is the next batch.

An idle system adds no delay (a lone item is committed at once); under load the batch grows by itself, and with it the
work saved per item: a commit costs half a millisecond however many rows it carries. A batch that fails is repeated
item by item, so one bad item never takes its neighbours down. The queue is bounded, by items and by their bytes: beyond
it callers are told to come back, before memory grows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy import Connection

from controlplane.domain.errors import Exhausted, Unavailable
from controlplane.store import IntegrityError, Store

I = TypeVar("I")  # noqa: E741 - item in, as R is result out
R = TypeVar("R")

MAX_BATCH = 500
MAX_WAITING = 20_000
MAX_BATCH_BYTES = 16 << 20  # one statement holds them all, and on PostgreSQL its text as well
MAX_WAITING_BYTES = 64 << 20


class Committer(Generic[I, R]):
    """Batches items for `handle`, which gets a Connection and the items and answers one result or refusal for each.

    A refusal is an exception *returned*; an exception *raised* by `handle` fails the whole transaction. `weigh` gives
    the bytes of an item that users sent with it, where those can be many. `write` runs `handle` in a transaction where
    there is something to do on the loop before and after it. `leisure` gives the seconds that an item may wait for
    others, where that is not nothing: whoever waits least brings all to their commit.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        handle: Callable[[Connection, Sequence[I]], Sequence[R | Exception]],
        committed: Callable[[Sequence[I], Sequence[R | Exception]], None] | None = None,
        *,
        weigh: Callable[[I], int] = lambda _: 0,
        write: Callable[[Sequence[I]], Awaitable[Sequence[R | Exception]]] | None = None,
        leisure: Callable[[I], float] | None = None,
    ) -> None:
        self.name = name
        self._committed = committed
        self._weigh = weigh
        self._handle = handle
        self._write = write or (lambda items: store.write_batch(self._handle, items))
        self._bytes = 0
        self._waiting: deque[tuple[I, asyncio.Future[R]]] = deque()
        self._arrived = asyncio.Event()
        self._leisure = leisure
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._sizes = store.measures.batch.labels(name)
        self.batches = 0
        self.items = 0

    @property
    def waiting(self) -> int:
        """Items that no commit has taken yet."""
        return len(self._waiting)

    async def submit(self, item: I) -> R:
        """The result for this item, once it is durable. Raises its refusal, Exhausted, or Unavailable."""
        return await self.enqueue(item)

    def enqueue(self, item: I) -> asyncio.Future[R]:
        """The same without waiting: for callers with many items in hand."""
        if self._closed:
            raise Unavailable("the server is shutting down", retry_after_seconds=1.0)
        weight = self._weigh(item)
        # The first one is taken whatever it weighs, or what is larger than the bound could never be written.
        if len(self._waiting) >= MAX_WAITING or (self._waiting and self._bytes + weight > MAX_WAITING_BYTES):
            raise Exhausted(f"{len(self._waiting)} writes are waiting; come back soon", retry_after_seconds=0.5)
        self._bytes += weight
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._leisure is None or (seconds := self._leisure(item)) <= 0.0:
            self._arrived.set()
        else:
            self._let_arrive(future.get_loop(), seconds)
        return future

    def _let_arrive(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        at = loop.time() + seconds
        if self._timer is None or self._timer.when() > at:
            self._forget_timer()
            self._timer = loop.call_at(at, self._arrived.set)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def run(self) -> None:
        """Commit batch after batch until closed and empty. Runs as a task of the wiring's group."""
        batch: list[tuple[I, asyncio.Future[R]]] = []
        try:
            while not (self._closed and not self._waiting):
                await self._arrived.wait()
                self._arrived.clear()
                self._forget_timer()
                while self._waiting and self._timer is None:
                    batch = self._take()
                    await self._commit(batch)
                    if self._arrived.is_set():
                        self._forget_timer()
        finally:
            self._forget_timer()
            # Cancelled, or broken: nobody is left waiting for a commit that never comes.
            self._closed = True
            left = [*batch, *self._waiting]
            self._waiting.clear()
            self._answer(left, [Unavailable("the server is shutting down", retry_after_seconds=1.0)] * len(left))

    def close(self) -> None:
        """Take nothing more; `run` ends when the queue is empty."""
        self._closed = True
        self._arrived.set()

    def _take(self) -> list[tuple[I, asyncio.Future[R]]]:
        """The next batch: one item at least, then as many as one transaction should carry."""
        batch: list[tuple[I, asyncio.Future[R]]] = []
        taken = 0
        while self._waiting and len(batch) < MAX_BATCH:
            weight = self._weigh(self._waiting[0][0])
            if batch and taken + weight > MAX_BATCH_BYTES:
                break
            taken += weight
            batch.append(self._waiting.popleft())
        self._bytes -= taken
        return batch

    async def _commit(self, batch: list[tuple[I, asyncio.Future[R]]], *, again: bool = False) -> None:
        items = [item for item, _ in batch]
        try:
            results: Sequence[R | Exception] = await self._write(items)
        except Exception as error:  # whatever it was, every caller must be answered
            # A key that a rival on another replica took meanwhile is seen by the next look: worth one.
            repeat = len(batch) > 1 or (isinstance(error, IntegrityError) and not again)
            if isinstance(error, Unavailable | Exhausted) or not repeat:
                # Unavailable: the commit may have happened, or the database is gone for all of them alike. Exhausted:
                # its disk is full, for all of them too.
                self._answer(batch, [error] * len(batch))
                return
            for one in batch:
                await self._commit([one], again=True)
            return
        self.batches += 1
        self.items += len(items)
        self._sizes.observe(len(items))
        if self._committed is not None:
            self._committed(items, results)
        self._answer(batch, results)

    @staticmethod
    def _answer(batch: list[tuple[I, asyncio.Future[R]]], results: Sequence[R | Exception]) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue  # its caller went away; what was committed stays
            if isinstance(result, Exception):
                future.set_exception(result)
                future.exception()  # retrieved here too, so that a caller who left causes no warning
            else:
                future.set_result(result)
