"""A bound on how long a block may take: asyncio.timeout for a third of its price, since every call pays it twice.

It asks for its time and its task once, has no states to be asked about, and needs no `async with`.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Within:
    """Cancels what the block waits for after so many seconds, and raises TimeoutError at its end instead."""

    __slots__ = ("_cancelling", "_over", "_seconds", "_task", "_timer")

    _task: asyncio.Task[Any]
    _timer: asyncio.TimerHandle

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # whoever waits is one
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = loop.call_later(self._seconds, self._ring)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _ring(self) -> None:
        self._over = True
        self._task.cancel()
