"""Threads for what waits for a database, and the queue before them.

A call that finds all of them busy waits for its turn here and not in the pool: it can be given up (its caller left),
and it is told to come back before its patience is over, whatever those do who are before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from controlplane.domain.errors import Unavailable

R = TypeVar("R")
_Work = SimpleQueue[Callable[[], None] | None]
"""What one thread does next; None: nothing more."""


class Threads:
    """So many threads. A call has a place from its turn on until its work has ended, also if nobody waits any more.

    Not an executor of the library: its futures are locks that asyncio's must be tied to, which costs more than twice
    the way to another thread and back. They are made as they are needed, and end with `shutdown`.
    """

    def __init__(self, count: int, name: str) -> None:
        self._free = self._count = count
        self._name = name
        self._turns: deque[asyncio.Future[None]] = deque()
        self._started: list[Thread] = []
        self._works: list[_Work] = []
        self._resting: list[_Work] = []
        self._ended = False

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return len(self._turns)

    async def run(self, work: Callable[[], R], patience: float | None) -> R:
        """The result of `work`. Raises Unavailable if no thread is free within so many seconds, or ever again."""
        await self._enter(patience)
        if self._ended:
            self._leave()
            raise Unavailable("the server is shutting down", retry_after_seconds=1.0)
        # The one that rested last has what it did last in the caches of its processor.
        mine = self._resting.pop() if self._resting else self._start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        mine.put(partial(self._do, mine, work, done, loop))
        return await done

    def shutdown(self) -> None:
        """Let what runs end; take nothing more."""
        self._ended = True
        for work in self._works:
            work.put(None)
        for thread in self._started:
            thread.join()

    def _start(self) -> _Work:
        work: _Work = SimpleQueue()
        thread = Thread(target=_serve, args=(work,), name=f"{self._name}_{len(self._started)}", daemon=True)
        self._works.append(work)
        self._started.append(thread)
        thread.start()
        return work

    def _do(self, mine: _Work, work: Callable[[], R], done: asyncio.Future[R], loop: asyncio.AbstractEventLoop) -> None:
        found: tuple[R] | BaseException
        try:
            found = (work(),)
        except BaseException as error:  # whatever it was, it is the caller's
            found = error
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(self._answer, mine, done, found)
        del done, found  # an error leads to this frame: it should not lead back to the error

    def _answer(self, mine: _Work, done: asyncio.Future[R], found: tuple[R] | BaseException) -> None:
        self._resting.append(mine)
        self._leave()
        if done.done():
            return  # its caller went away
        if isinstance(found, BaseException):
            done.set_exception(found)
        else:
            done.set_result(found[0])

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


def _serve(work: _Work) -> None:
    """What each thread does."""
    while (do := work.get()) is not None:
        do()
        del do  # and what it holds, for as long as nothing comes
