"""What becomes ready because its time has come: planned tasks and retries."""

from __future__ import annotations

from controlplane.domain.task import come_due
from controlplane.engine.context import Engine
from controlplane.engine.tasks import READY_HINT
from controlplane.store import Connection, tasks

BATCH = 500


class Timers:
    """The use case of the timers loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def fire(self) -> float | None:
        """Deal with what is due; seconds until the next timer, 0 if more is due now, None if there is none."""
        woken, following = await self._engine.store.write(self._fire)
        if woken:
            self._engine.wakeups.hint(READY_HINT, *(f"task:{task_id}" for task_id in woken))
        if following is None:
            return None
        return max(0.0, (following - self._engine.clock.now()) / 1e6)

    def _fire(self, connection: Connection) -> tuple[list[str], int | None]:
        now = self._engine.clock.now()
        present = tasks.load_many(connection, tasks.due_ids(connection, now, BATCH), skip_locked=True)
        tasks.delete_timers(connection, present)
        steps = [(one, come_due(one, now)) for one in present.values()]
        changed = [(before, step) for before, step in steps if step.task is not before]
        tasks.save_many(connection, changed)
        tasks.store_waiting(connection, [step for before, step in steps if step.task is before])
        return list(present), tasks.next_timer(connection)
