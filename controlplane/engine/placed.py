"""Tasks as this process stored them when it placed or started them: whoever writes the next step need not read them.

Nothing relies on them being right. A step is written only where the row still has the version that it was made from; if
somebody else was there first, the transaction begins again, and reads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from controlplane.domain.task import Task

MOST = 20_000


class Placed:
    """The newest ones. From any thread."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def keep(self, found: Iterable[Task]) -> None:
        """They are committed like this."""
        with self._lock:
            for one in found:
                self._tasks.pop(one.id, None)
                self._tasks[one.id] = one
            while len(self._tasks) > MOST:
                del self._tasks[next(iter(self._tasks))]

    def take(self, ids: Iterable[str]) -> dict[str, Task]:
        """Those that are here, and no longer are: who takes one is about to change it, and keeps it again after that.
        What turns out to be wrong is not taken twice.
        """
        with self._lock:
            return {task_id: one for task_id in ids if (one := self._tasks.pop(task_id, None)) is not None}
