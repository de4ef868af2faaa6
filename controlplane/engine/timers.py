"""What happens to a task because its time has come: planned starts, retries, and waits that have lasted too long."""

from __future__ import annotations

from controlplane.domain.retry import after_missed_start
from controlplane.domain.task import Expire, Status, Step, Task, apply, come_due
from controlplane.engine.context import Engine
from controlplane.engine.revisions import Revisions
from controlplane.store import Connection, tasks

BATCH = 500


class Timers:
    """The use case of the timers loop."""

    def __init__(self, engine: Engine, revisions: Revisions) -> None:
        self._engine = engine
        self._revisions = revisions

    async def fire(self) -> float | None:
        """Deal with what is due; seconds until the next timer, 0 if more is due now, None if there is none."""
        woken, following = await self._engine.store.write(self._fire)
        if woken:
            self._engine.wakeups.hint(*(f"task:{task_id}" for task_id in woken))
        if following is None:
            return None
        return max(0.0, (following - self._engine.clock.now()) / 1e6)

    def _fire(self, connection: Connection) -> tuple[list[str], int | None]:
        now = self._engine.clock.now()
        overdue = self._end_overdue(connection, now)
        present = tasks.load_many(connection, tasks.due_ids(connection, now, BATCH), skip_locked=True)
        tasks.delete_timers(connection, present)
        steps = [(one, come_due(one, now)) for one in present.values()]
        changed = [(before, step) for before, step in steps if step.task is not before]
        tasks.save_many(connection, changed)
        tasks.store_waiting(connection, [step for before, step in steps if step.task is before])
        following = (tasks.next_timer(connection), tasks.next_deadline(connection))
        return [*overdue, *present], min((at for at in following if at is not None), default=None)

    def _end_overdue(self, connection: Connection, now: int) -> list[str]:
        """Tasks that nobody has and that have waited for longer than they may."""
        unstarted = tasks.unstarted_ids(connection, now, BATCH)
        ids = {*unstarted, *tasks.overdue_ids(connection, now, BATCH)}
        present = tasks.load_many(connection, ids, skip_locked=True)
        self._revisions.load(connection, {(one.job_id, one.job_revision) for one in present.values()})
        late = set(unstarted)
        found = ((one, self._too_late(one, one.id in late, now)) for one in present.values())
        steps = [(before, step) for before, step in found if step is not None]
        tasks.save_many(connection, steps)
        return [before.id for before, _ in steps]

    def _too_late(self, one: Task, unstarted: bool, now: int) -> Step | None:
        """None if somebody was faster."""
        if one.end_by is not None and one.end_by <= now and not one.is_final and not one.on_agent:
            seconds = (one.end_within or 0) / 1e6
            return apply(one, Expire(by="timers", why=f"all of it may take {seconds:g} s, and nobody had it then"), now)
        if unstarted and one.status is Status.PENDING:
            return apply(one, after_missed_start(one, self._revisions.spec(one).config.retry_policy, now), now)
        return None
