"""What every use case is given: the store, the clock, the maker of ids, the hints. Built once in the wiring."""

from __future__ import annotations

import os
import secrets
import threading
import time
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from controlplane.domain.ids import id_at
from controlplane.domain.task import Status
from controlplane.engine.backlog import READY_HINT, Backlog
from controlplane.engine.placed import Placed
from controlplane.engine.replicas import Replicas
from controlplane.store import Store
from controlplane.store.restored import Restored
from controlplane.store.wakeup import Wakeups
from controlplane.telemetry import Tracing

FEW_INSTANTS = 64  # more than there are threads
STEPS = 1024


class Clock:
    """The control plane's clock: microseconds UTC, steered to the database's own.

    `offset` is added to this machine's clock; the wiring measures it against the database, and a test clock moves it.
    """

    def __init__(self) -> None:
        self.offset = 0

    @staticmethod
    def machine() -> int:
        """This machine's own clock."""
        return time.time_ns() // 1000

    def now(self) -> int:
        """The present instant."""
        return self.machine() + self.offset


class Ids:
    """Makes UUIDv7s in canonical text. Whoever stores the instant beside the id names it: then rows lie in the order of
    their ids as in that of their creation, and one index serves both. Of one instant they rise as they are made.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[int, int] = {}  # several instants: batches are made on several threads
        self._steps: list[int] = []

    def __call__(self, instant: int | None = None) -> str:
        """A new one, of this instant or of the present."""
        at = self._clock.now() if instant is None else instant
        with self._lock:
            before = self._last.pop(at, None)
            # The first has its highest bit free: there is room for 2^29 steps in a microsecond.
            self._last[at] = chance = secrets.randbits(61) if before is None else before + 1 + self._step()
            if len(self._last) > FEW_INSTANTS:
                del self._last[next(iter(self._last))]
        return id_at(at, chance)

    def _step(self) -> int:
        """32 bits of chance. The system gives many as fast as few."""
        if not self._steps:
            self._steps = list(array("I", os.urandom(STEPS * 4)))
        return self._steps.pop()


class Rate:
    """How many a second, over the last minute: a ring of seconds, so that counting costs nothing. From any thread."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()
        self._seconds = [0] * 60
        self._last = int(time.monotonic())

    def add(self, count: int) -> None:
        """Count so many now."""
        with self._lock:
            self._turn()
            self.total += count
            self._seconds[self._last % 60] += count

    def per_second(self) -> float:
        """The mean over the last minute."""
        with self._lock:
            self._turn()
            return sum(self._seconds) / 60

    def _turn(self) -> None:
        now = int(time.monotonic())
        for second in range(max(self._last + 1, now - 59), now + 1):
            self._seconds[second % 60] = 0
        self._last = now


@dataclass(frozen=True, slots=True)
class Rates:
    """What the figures of the system are made of: tasks, not attempts."""

    created: Rate = field(default_factory=Rate)
    finished: Rate = field(default_factory=Rate)
    failed: Rate = field(default_factory=Rate)

    def ended(self, statuses: Sequence[Status]) -> None:
        """Tasks have ended, each in one of these."""
        self.finished.add(len(statuses))
        self.failed.add(sum(status is Status.FAILED for status in statuses))


@dataclass(slots=True)
class Seen:
    """What the dispatcher must know before it places: the newest demand that a task of this process was made with (it
    reads those that it has not met), and whether the database was put back to an earlier moment.
    """

    requirement: int = 0
    restored: Restored = field(default_factory=Restored)


@dataclass(frozen=True, slots=True)
class Engine:
    """The tools of the use cases. `replica_id` names this process;
    `request_ids_kept` is for how many microseconds a request id is known.
    """

    store: Store
    clock: Clock
    new_id: Ids
    replica_id: str
    wakeups: Wakeups = field(default_factory=Wakeups)
    backlog: Backlog = field(default_factory=Backlog)
    placed: Placed = field(default_factory=Placed)
    replicas: Replicas = field(default_factory=Replicas)
    rates: Rates = field(default_factory=Rates)
    seen: Seen = field(default_factory=Seen)
    tracing: Tracing = field(default_factory=Tracing)
    request_ids_kept: int = 24 * 3_600_000_000

    def __post_init__(self) -> None:
        self.store.on_ended = self.rates.ended
        self.store.on_waiting = self._stored
        self.store.on_timed = self.backlog.timed
        self.wakeups.pass_on, self.wakeups.on_watch = self.replicas.pass_on, self.replicas.watched
        self.replicas.wake, self.replicas.watching = self.wakeups.wake, lambda: self.wakeups.watching
        self.replicas.waits = self._heard_of

    def _stored(self, numbers: Collection[int]) -> None:
        """Here; on the thread that has committed it."""
        self.replicas.grown(numbers)
        self._grown(numbers)

    def _heard_of(self, numbers: Collection[int]) -> None:
        """Elsewhere. With none it is not known what with."""
        if numbers:
            self._grown(numbers)
        else:
            self.backlog.forget()
            self.wakeups.wake([READY_HINT])

    def _grown(self, numbers: Collection[int]) -> None:
        self.seen.requirement = max(self.seen.requirement, *numbers)
        self.backlog.grown(numbers)
