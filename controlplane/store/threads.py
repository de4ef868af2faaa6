"""Threads for what waits for a database, and the queue before them.

A call that finds all of them busy waits for its turn here and not in the pool: it can be given up (its caller left),
and it is told to come back before its patience is over, whatever those do who are before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from controlplane.domain.errors import Unavailable

R = TypeVar("R")


class Threads:
    """So many threads. A call has a place from its turn on until its work has ended, also if nobody waits any more."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = count
        self._turns: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return len(self._turns)

    async def run(self, work: Callable[[], R], patience: float | None) -> R:
        """The result of `work`. Raises Unavailable if no thread is free within so many seconds, or ever again."""
        await self._enter(patience)
        try:
            done = self._pool.submit(work)
        except RuntimeError as error:
            self._leave()
            raise Unavailable("the server is shutting down", retry_after_seconds=1.0) from error
        try:
            return await asyncio.wrap_future(done)
        finally:
            if done.done():
                self._leave()
            else:
                self._leave_after(done)

    def shutdown(self) -> None:
        """Let what runs end; take nothing more."""
        self._pool.shutdown(wait=True)

    async def _enter(self, patience: float | None) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except TimeoutError as error:
            self._give_up(turn)
            raise Unavailable(
                f"every connection to the database has been busy for {patience:g} s; nothing was done, repeat the call",
                retry_after_seconds=1.0,
            ) from error
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn in self._turns:
            self._turns.remove(turn)
        elif turn.done() and not turn.cancelled():
            self._leave()  # it came in the same moment

    def _leave(self) -> None:
        """A place is free: the next one's, or anybody's."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _leave_after(self, done: Future[R]) -> None:
        loop = asyncio.get_running_loop()

        def leave(_: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody comes any more
                loop.call_soon_threadsafe(self._leave)

        done.add_done_callback(leave)
