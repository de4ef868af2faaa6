"""Hints inside one process: "something about this key has changed".

A hint may be lost, truth may not: every waiter looks again by itself after a while, and the query decides. So nothing
here is remembered, and a replica that never hears a hint is only slower. Those that other replicas care about are
passed on to them (`engine/replicas.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

SWEEP_SECONDS = 1.0


class Wakeups:
    """Events by key. `task:<id>` for watchers; `ready`, `timers`, `schedules` for the loops. `pass_on` gets every hint
    that was given here; `on_watch` is told when somebody begins to watch a single thing.
    """

    def __init__(self) -> None:
        self.pass_on: Callable[[Sequence[str]], None] = lambda _: None
        self.on_watch: Callable[[], None] = lambda: None
        self._events: dict[str, set[asyncio.Event]] = {}

    def hint(self, *keys: str) -> None:
        """Wake whoever waits for these keys, here and elsewhere. From the loop's own thread."""
        self.wake(keys)
        self.pass_on(keys)

    def wake(self, keys: Sequence[str]) -> None:
        """The same, but only here."""
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()

    @contextmanager
    def listen(self, *keys: str) -> Iterator[asyncio.Event]:
        """An event that is set by hints for one of these keys; the listener clears it before it looks."""
        event = asyncio.Event()
        for key in keys:
            self._events.setdefault(key, set()).add(event)
        if any(map(is_watched, keys)):
            self.on_watch()
        try:
            yield event
        finally:
            for key in keys:
                listeners = self._events[key]
                listeners.discard(event)
                if not listeners:
                    del self._events[key]

    @property
    def watching(self) -> bool:
        """Whether anybody watches a single thing now."""
        return any(map(is_watched, self._events))


def is_watched(key: str) -> bool:
    """Whether this key is of a single thing: `task:<id>`, `logs:<id>`, `group:<id>`."""
    return ":" in key


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most so long. Whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
