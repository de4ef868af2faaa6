"""Tasks that a transaction ends, demands that something waits with, groups that it changes: noted while it is written,
told when it is committed.

The only way of a task to its end is `tasks.save_many`, so nothing is forgotten here; and what is rolled back, or begun
again after a deadlock, was never counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from controlplane.domain.task import Status, Step, Task

_KEY: Final = "pawl_ended"
_GROUPS: Final = "pawl_groups"
_WAITING: Final = "pawl_waiting"
_TIMED: Final = "pawl_timed"


def begin(connection: Connection) -> None:
    """A transaction begins: what one before it left on this connection is not its."""
    connection.info.pop(_KEY, None)
    connection.info.pop(_GROUPS, None)
    connection.info.pop(_WAITING, None)
    connection.info.pop(_TIMED, None)


def note(connection: Connection, steps: Sequence[tuple[Task, Step]]) -> None:
    """Of these steps, each with the task before it, remember those that end one."""
    found = [step.task.status for before, step in steps if step.task.is_final and not before.is_final]
    if found:
        connection.info.setdefault(_KEY, []).extend(found)


def taken(connection: Connection) -> Sequence[Status]:
    """It is committed: how its tasks have ended."""
    found: Sequence[Status] = connection.info.pop(_KEY, ())
    return found


def note_groups(connection: Connection, ids: Iterable[str]) -> None:
    """Remember groups that have counted the end of a member."""
    connection.info.setdefault(_GROUPS, []).extend(ids)


def taken_groups(connection: Connection) -> Sequence[str]:
    """It is committed: which groups have changed."""
    found: Sequence[str] = connection.info.pop(_GROUPS, ())
    return found


def note_waiting(connection: Connection, numbers: Iterable[int]) -> None:
    """Remember demands with which something waits anew."""
    connection.info.setdefault(_WAITING, set()).update(numbers)


def taken_waiting(connection: Connection) -> Collection[int]:
    """It is committed: with which demands something waits anew."""
    found: Collection[int] = connection.info.pop(_WAITING, ())
    return found


def note_timed(connection: Connection) -> None:
    """Remember that something waits for a time."""
    connection.info[_TIMED] = True


def taken_timed(connection: Connection) -> bool:
    """It is committed: whether something waits for a time."""
    return bool(connection.info.pop(_TIMED, False))
