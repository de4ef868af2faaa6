"""What may wait for an agent in the store, as far as this replica knows: the demands that something may wait with.

So that room that comes free asks the database nothing while nothing waits, and a new task may be placed in the
transaction that makes it: it overtakes nobody. Of what this process stores it is told with the commit; of what other
replicas store it hears soon or, if a word is lost, never, so all that is known is forgotten every now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Set

READY_HINT = "ready"  # something waits for an agent anew
ROOM_HINT = "room"  # an agent has room, or other labels
TIMERS_HINT = "timers"  # something is to be looked at at a time that was not known before


class Backlog:
    """From any thread. `known`: nothing waits with any other demand; None: that is not known. `tell` gets the hint that
    follows from what was stored.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], object] = lambda _: None
        self.known: frozenset[int] | None = None
        self._lock = threading.Lock()
        self._changes = 0

    def grown(self, numbers: Iterable[int]) -> None:
        """It is committed that something waits with these demands."""
        with self._lock:
            self._changes += 1
            if self.known is not None and not self.known.issuperset(new := frozenset(numbers)):
                self.known |= new
        self.tell(READY_HINT)

    def timed(self) -> None:
        """It is committed that something waits for a time."""
        self.tell(TIMERS_HINT)

    def forget(self) -> None:
        """Somebody else may have stored something."""
        with self._lock:
            self._changes += 1
            self.known = None

    @property
    def empty(self) -> bool:
        """Whether it is known that nothing waits at all."""
        return self.known is not None and not self.known

    def mark(self) -> int:
        """To be taken before a look, and given with what it saw."""
        return self._changes

    def seen(self, mark: int, waiting: Set[int]) -> None:
        """A look that began at the mark saw that nothing waits but with these. What was stored since it may not have
        seen, so then it says nothing.
        """
        with self._lock:
            if mark == self._changes:
                self.known = frozenset(waiting)

    def may_hold(self, numbers: Set[int]) -> bool:
        """Whether something may wait with one of these demands."""
        known = self.known
        if known is None or len(numbers) <= len(known):
            return known is None or not known.isdisjoint(numbers)
        return any(number in numbers for number in known)
