"""One open stream, which can be ended from outside while it waits for its next answer.

By the end of the server, and by the end of the credential that opened it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from controlplane.api.call import Credential
from controlplane.domain.errors import PawlError

A = TypeVar("A")


class OverdueError(Exception):
    """The deadline passed before the next answer. Not a TimeoutError: those may come from what makes the answers."""


@contextmanager
def waking(credential: Credential | None, event: asyncio.Event) -> Iterator[Callable[[], bool]]:
    """Set the event when the credential ends; whether it has. For a call that waits and whose effect stands already."""
    if credential is None:
        yield lambda: False
        return
    wake = event.set  # one object, to be found again
    credential.listeners.add(wake)
    try:
        yield lambda: credential.over is not None
    finally:
        credential.listeners.discard(wake)


class Standing(AbstractContextManager["Standing"]):
    """Waits for answers until somebody says `end`."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential
        self._scope: asyncio.Timeout | None = None
        self._why: PawlError | None = None

    def __enter__(self) -> Standing:
        if self._credential is not None:
            self._credential.listeners.add(self._credential_ended)
        return self

    def __exit__(self, *_: object) -> None:
        if self._credential is not None:
            self._credential.listeners.discard(self._credential_ended)

    def end(self, why: PawlError) -> None:
        """There will be no further answer; whoever waits for one is told why."""
        self._why = why
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def next(self, answers: AsyncIterator[A], deadline: float | None = None) -> A | None:
        """The next answer; None when there is none. Raises OverdueError at the deadline, or why it was ended."""
        self._credential_ended()
        if self._why is not None:
            raise self._why
        scope = asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic()))
        try:
            async with scope:
                self._scope = scope
                return await anext(answers, None)
        except TimeoutError:
            if not scope.expired():
                raise
            raise _or_overdue(self._why) from None
        finally:
            self._scope = None

    def _credential_ended(self) -> None:
        if self._credential is not None and self._credential.over is not None and self._why is None:
            self.end(self._credential.over)


def _or_overdue(why: PawlError | None) -> Exception:
    return OverdueError() if why is None else why
