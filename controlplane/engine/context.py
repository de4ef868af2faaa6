"""What every use case is given: the store, the clock, the maker of ids, the hints. Built once in the wiring."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from controlplane.store import Store
from controlplane.store.wakeup import Wakeups


class Clock:
    """The control plane's clock: microseconds UTC, steered to the database's own.

    `offset` is added to this machine's clock; the wiring measures it against the database, and a test clock moves it.
    """

    def __init__(self) -> None:
        self.offset = 0

    def now(self) -> int:
        """The present instant."""
        return time.time_ns() // 1000 + self.offset


@dataclass(frozen=True, slots=True)
class Engine:
    """The tools of the use cases. `new_id` makes UUIDv7s in canonical text; `replica_id` names this process."""

    store: Store
    clock: Clock
    new_id: Callable[[], str]
    replica_id: str
    wakeups: Wakeups = field(default_factory=Wakeups)
