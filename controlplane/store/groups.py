"""Task groups, and the tally of their members, which is kept in the transaction that ends a member.

`tally` is called by `tasks.save_many`, the only writer of a task's status, so that no end is forgotten and none counts
twice. It locks the groups after their members and in the order of their ids; two transactions that end members of one
group at the same time count one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.group import Group, Mode, Policy, Tally, after
from controlplane.domain.task import FINAL, ON_AGENT, Status, Step, Task
from controlplane.store import dialect, ended
from controlplane.store.lanes import Lanes
from controlplane.store.namespaces import is_task_of, tasks_of
from controlplane.store.query import Listing
from controlplane.store.tables import task, task_group

STATUSES = (Status.RUNNING, Status.FAILED, Status.CANCELLED, Status.SUCCEEDED)
_GOING = tuple(int(one) for one in Status if one not in FINAL)
_encode = msgspec.json.Encoder(order="deterministic").encode


def of_row(row: Row[Any]) -> Group:
    """A row of the table."""
    return Group(
        id=row.id,
        namespace_id=row.namespace_id,
        job_id=row.job_id,
        job_revision=row.job_revision,
        mode=Mode(row.mode),
        policy=Policy(row.policy),
        policy_count=row.policy_count,
        cancel_rest=row.cancel_rest,
        tally=Tally(row.total, row.succeeded, row.failed, row.cancelled, row.skipped),
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=Status(row.status),
        closing=row.closing,
        closed_by=row.closed_by,
        closed_why=row.closed_why,
        labels=msgspec.json.decode(row.labels),
        tags=msgspec.json.decode(row.tags),
        decided_at=row.decided_at,
        finished_at=row.finished_at,
        version=row.version,
    )


def insert(connection: Connection, new: Group) -> None:
    """A new group; its members are tasks, and made as tasks are."""
    connection.execute(
        task_group.insert().values(
            id=new.id,
            namespace_id=new.namespace_id,
            job_id=new.job_id,
            job_revision=new.job_revision,
            mode=int(new.mode),
            policy=int(new.policy),
            policy_count=new.policy_count,
            cancel_rest=new.cancel_rest,
            labels=_encode(new.labels).decode(),
            tags=_encode(new.tags).decode(),
            created_at=new.created_at,
            **_changing(new),
        )
    )


def update(connection: Connection, changed: Group) -> None:
    """A group that was locked and has changed."""
    connection.execute(task_group.update().where(task_group.c.id == changed.id).values(**_changing(changed)))


def _changing(one: Group) -> dict[str, Any]:
    return {
        "status": int(one.status),
        "total": one.tally.total,
        "succeeded": one.tally.succeeded,
        "failed": one.tally.failed,
        "cancelled": one.tally.cancelled,
        "skipped": one.tally.skipped,
        "closing": one.closing,
        "closed_by": one.closed_by,
        "closed_why": one.closed_why,
        "updated_at": one.updated_at,
        "decided_at": one.decided_at,
        "finished_at": one.finished_at,
        "version": one.version,
    }


def find(connection: Connection, namespace_id: str, group_id: str, *, lock: bool = False) -> Group | None:
    """The group with this id in this namespace, or None."""
    mine = is_task_of(task_group, task_group.c.id, namespace_id)
    statement = sa.select(task_group).where(task_group.c.id == group_id, mine)
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


def listing(connection: Connection, namespace_id: str) -> Listing:
    """A namespace's groups, to be asked for."""
    mine = tasks_of(connection, namespace_id)(task_group, task_group.c.id)
    lanes = Lanes("status", tuple(map(int, STATUSES)), within="job_id")
    return Listing(sa.select(task_group).where(mine), task_group.c, lanes=lanes)


# --- the tally


def tally(connection: Connection, steps: Sequence[tuple[Task, Step]]) -> None:
    """Count what these steps, each with the task before it, mean for the groups of their tasks."""
    moves: dict[str, list[tuple[Status, Status]]] = {}
    now = 0
    for before, step in steps:
        then = step.task.status
        if before.group_id is not None and before.status is not then and (before.is_final or step.task.is_final):
            moves.setdefault(before.group_id, []).append((before.status, then))
            now = max(now, step.task.updated_at)
    if not moves:
        return
    statement = sa.select(task_group).where(dialect.one_of(connection, task_group.c.id, sorted(moves)))
    for row in connection.execute(dialect.for_update(statement.order_by(task_group.c.id))).all():
        update(connection, after(of_row(row), moves[row.id], now))
    ended.note_groups(connection, moves)


def on_agents(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """How many members of each of these groups are on agents now; groups with none are left out."""
    mine = dialect.one_of(connection, task.c.group_id, sorted(ids))
    statement = sa.select(task.c.group_id, sa.func.count()).where(mine, task.c.status.in_(tuple(map(int, ON_AGENT))))
    return {row[0]: row[1] for row in connection.execute(statement.group_by(task.c.group_id))}


# --- members that are to end with their group


def closing(connection: Connection, limit: int) -> list[str]:
    """Groups whose unfinished members are to be cancelled, and that have some that were not asked yet."""
    left = sa.exists().where(*_uncancelled(task_group.c.id))
    found = sa.select(task_group.c.id).where(task_group.c.closing, left).order_by(task_group.c.id)
    return list(connection.execute(found.limit(limit)).scalars())


def closing_one(connection: Connection, group_id: str) -> Group | None:
    """The group, if its unfinished members are to be cancelled."""
    statement = sa.select(task_group).where(task_group.c.id == group_id, task_group.c.closing)
    row = connection.execute(statement).one_or_none()
    return None if row is None else of_row(row)


def has_finished(connection: Connection, group_id: str) -> bool:
    """Whether all its members have ended."""
    statement = sa.select(task_group.c.id).where(task_group.c.id == group_id, task_group.c.finished_at.is_not(None))
    return connection.execute(statement).first() is not None


def to_cancel(connection: Connection, group_id: str, limit: int) -> list[str]:
    """Members that have not ended, and that nobody has asked to cancel."""
    found = sa.select(task.c.id).where(*_uncancelled(sa.literal(group_id, task.c.group_id.type)))
    return list(connection.execute(found.order_by(task.c.id).limit(limit)).scalars())


def _uncancelled(group_id: sa.ColumnElement[Any]) -> Sequence[sa.ColumnElement[bool]]:
    return task.c.group_id == group_id, task.c.status.in_(_GOING), task.c.cancel_requested.is_(False)


def members(connection: Connection, group_id: str) -> list[str]:
    """Ids of all its tasks, in the order of their shards."""
    found = sa.select(task.c.id).where(task.c.group_id == group_id)
    return list(connection.execute(found.order_by(task.c.id)).scalars())


def delete(connection: Connection, group_id: str) -> None:
    """A group whose tasks are gone."""
    connection.execute(task_group.delete().where(task_group.c.id == group_id))


# --- groups without members


def delete_empty(connection: Connection, last: str, limit: int) -> tuple[str | None, int]:
    """Of the next groups by id, those that have finished and whose tasks are all gone: the last id that was looked at,
    None at the end, and how many went.
    """
    rows = connection.execute(
        sa.select(task_group.c.id, task_group.c.finished_at)
        .where(task_group.c.id > last)
        .order_by(task_group.c.id)
        .limit(limit)
    ).all()
    finished = [row.id for row in rows if row.finished_at is not None]
    members = sa.exists().where(task.c.group_id == task_group.c.id)
    mine = dialect.one_of(connection, task_group.c.id, finished)
    gone = connection.execute(task_group.delete().where(mine, ~members)).rowcount if finished else 0
    return (rows[-1].id if len(rows) == limit else None), gone
