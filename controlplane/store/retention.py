"""What is old enough to go, in batches that hold nobody up. Which age that is, and when to look: `engine/retention.py`.

Every function takes a few rows, locks them, looks again and deletes only what still may go: whatever the caller saw
before may have changed. Nothing that has not ended is ever taken, nor anything that such a thing refers to. Rows that
somebody else holds are passed over and met again on the next round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.ids import first_id_at
from controlplane.domain.task import Status
from controlplane.store import dialect, tasks
from controlplane.store.agents import AgentStatus
from controlplane.store.dialect import Month
from controlplane.store.jobs import TOUCH_EVERY
from controlplane.store.tables import (
    PARTITIONED,
    agent,
    artifact,
    fire,
    job,
    job_revision,
    log_chunk,
    output_upload,
    ready,
    requirement,
    schedule,
    task,
    task_instance,
    timer,
)

OPEN = (5, 10)
BLOB_BYTES = 64 << 20  # large outputs that one batch lets go: each mebibyte is a row of its own
SLACK = 3_600_000_000  # microseconds by which the clocks that make ids may disagree


@dataclass(frozen=True, slots=True)
class Span:
    """Tasks by id, from `after` (without it) to `until` (without it); all of them, or only those with large bytes."""

    after: str
    until: str
    large: bool = False


@dataclass(frozen=True, slots=True)
class Walked:
    """What a look at some rows found; `last` is the id to go on after, None at the end of the span."""

    ids: list[str]
    last: str | None


# --- tasks


def ended_tasks(connection: Connection, span: Span, cutoff: int, limit: int) -> Walked:
    """Which of the next `limit` tasks ended before the cutoff. A walk along the key instead of an index on the time:
    that index would cost every task twice, and be read once an hour.
    """
    statement = sa.select(task.c.id, task.c.finished_at).where(task.c.id > span.after, task.c.id < span.until)
    if span.large:
        large = task_instance.c.output_digest.is_not(None)
        output = sa.exists().where(task_instance.c.task_id == task.c.id, large)
        statement = statement.where(output | sa.exists().where(artifact.c.task_id == task.c.id))
    rows = connection.execute(statement.order_by(task.c.id).limit(limit)).all()
    old = [row.id for row in rows if row.finished_at is not None and row.finished_at < cutoff]
    return Walked(old, rows[-1].id if len(rows) == limit else None)


def delete_tasks(connection: Connection, ids: Sequence[str], cutoff: int) -> list[str]:
    """Delete those of these tasks that still have ended before the cutoff, with all that is theirs but the logs; which
    ones. Of tasks with large outputs or artifacts only as many go as one batch should take.
    """
    still = sa.select(task.c.id).where(dialect.one_of(connection, task.c.id, ids), task.c.finished_at < cutoff)
    locked = dialect.for_update(still.order_by(task.c.id), skip_locked=True)
    going = _within_bytes(connection, list(connection.execute(locked).scalars()))
    tasks.delete_many(connection, going)
    return going


def _within_bytes(connection: Connection, ids: list[str]) -> list[str]:
    held = sa.select(task_instance.c.task_id, task_instance.c.output_size.label("size")).where(
        dialect.one_of(connection, task_instance.c.task_id, ids), task_instance.c.output_digest.is_not(None)
    )
    made = sa.select(artifact.c.task_id, artifact.c.size).where(dialect.one_of(connection, artifact.c.task_id, ids))
    sizes: dict[str, int] = {}
    for row in connection.execute(held.union_all(made)):
        sizes[row.task_id] = sizes.get(row.task_id, 0) + row.size
    going: list[str] = []
    taken = 0
    for task_id in ids:
        taken += sizes.get(task_id, 0)
        if going and taken > BLOB_BYTES:
            break
        going.append(task_id)
    return going


# --- logs


def logged_tasks(connection: Connection, span: Span, limit: int) -> Walked:
    """The next tasks that have logs. On the logs' own connection."""
    statement = sa.select(log_chunk.c.task_id).where(log_chunk.c.task_id > span.after, log_chunk.c.task_id < span.until)
    found = list(connection.execute(statement.distinct().order_by(log_chunk.c.task_id).limit(limit)).scalars())
    return Walked(found, found[-1] if len(found) == limit else None)


def keeping_logs(connection: Connection, ids: Sequence[str], cutoff: int) -> set[str]:
    """Which of these tasks have not ended before the cutoff. Those that are gone keep nothing."""
    young = sa.or_(task.c.finished_at.is_(None), task.c.finished_at >= cutoff)
    keeping = sa.select(task.c.id).where(dialect.one_of(connection, task.c.id, ids), young)
    return set(connection.execute(keeping).scalars())


def delete_logs(connection: Connection, ids: Sequence[str], limit: int) -> int:
    """Up to `limit` chunks of the logs of these tasks; how many. On the logs' own connection."""
    key = (log_chunk.c.task_id, log_chunk.c.token, log_chunk.c.number)
    found = connection.execute(sa.select(*key).where(dialect.one_of(connection, log_chunk.c.task_id, ids)).limit(limit))
    going = [{"of": row.task_id, "by": row.token, "at": row.number} for row in found]
    if going:
        one = sa.and_(*(column == sa.bindparam(name) for column, name in zip(key, ("of", "by", "at"), strict=True)))
        connection.execute(log_chunk.delete().where(one), going)
    return len(going)


# --- whole months, where there are partitions


def months(connection: Connection, until: int) -> list[Month]:
    """The months that lie wholly before this instant, oldest first."""
    return [month for month in dialect.months_of(connection, task) if month.until <= until]


@dataclass(frozen=True, slots=True)
class Contents:
    """What keeps a month from being dropped."""

    unfinished: bool  # work that goes on
    young: bool  # tasks that ended after the cutoff
    outputs: bool  # large outputs and artifacts, which are counted one by one


def contents(connection: Connection, month: Month, cutoff: int) -> Contents:
    """Look through a month. Reads all of it when there is nothing, which takes its time."""
    dialect.take_time(connection)
    inside = _inside(task.c.id, month)
    return Contents(
        unfinished=_any(connection, sa.select(task.c.id).where(inside, task.c.finished_at.is_(None))),
        young=_any(connection, sa.select(task.c.id).where(inside, task.c.finished_at >= cutoff)),
        outputs=_any(
            connection,
            sa.select(task_instance.c.task_id).where(
                _inside(task_instance.c.task_id, month), task_instance.c.output_digest.is_not(None)
            ),
        )
        or any(
            _any(connection, sa.select(table.c.task_id).where(_inside(table.c.task_id, month)))
            for table in (output_upload, artifact)
        ),
    )


def drop_month(connection: Connection, month: Month, cutoff: int) -> bool:
    """Drop the partitions of a month if nothing in it is wanted; whether they are gone.

    While this transaction looks, nothing that has ended can begin anew: a restart waits for the same lock. What was
    made meanwhile, by a replica whose clock is months behind, is met by the second look, which is a short one: nobody
    can write, and whatever waits, is due or is placed has a row in a small table. Raises Unavailable when others use
    the tables just now.
    """
    dialect.hold_history(connection)
    found = contents(connection, month, cutoff)
    if found.unfinished or found.young or found.outputs:
        return False
    dialect.lock_out(connection, [task, *(table for table in PARTITIONED if table is not task)])
    opened = sa.select(task_instance.c.task_id).where(
        _inside(task_instance.c.task_id, month), task_instance.c.status.in_(OPEN)
    )
    waiting = (sa.select(table.c.task_id).where(_inside(table.c.task_id, month)) for table in (ready, timer))
    if any(_any(connection, statement) for statement in (*waiting, opened)):
        return False
    for table in PARTITIONED:
        dialect.drop_partition(connection, table, month)
    return True


def empty_logs_of_month(connection: Connection, month: Month, cutoff: int) -> bool:
    """Empty the logs of a month whose tasks all ended before the cutoff; whether there was anything to do."""
    if not _any(connection, sa.select(log_chunk.c.task_id).where(_inside(log_chunk.c.task_id, month))):
        return False
    dialect.hold_history(connection)
    found = contents(connection, month, cutoff)
    if found.unfinished or found.young:
        return False
    dialect.empty_partition(connection, log_chunk, month)
    return True


def _inside(column: sa.ColumnElement[str], month: Month) -> sa.ColumnElement[bool]:
    return sa.and_(column >= first_id_at(month.first), column < first_id_at(month.until))


def _any(connection: Connection, statement: sa.Select[tuple[str]]) -> bool:
    return connection.execute(statement.limit(1)).first() is not None


# --- what is small


def delete_fires(connection: Connection, cutoff: int, limit: int) -> int:
    """Slots that were dealt with before the cutoff, but those whose task has not ended; how many went.

    A slot that is gone cannot fire again: schedules only look at slots after the last one.
    """
    ended = sa.or_(fire.c.task_id.is_(None), task.c.id.is_(None), task.c.finished_at.is_not(None))
    old = (
        sa.select(fire.c.schedule_id, fire.c.fire_time)
        .join(task, task.c.id == fire.c.task_id, isouter=True)
        .where(fire.c.handled_at < cutoff, ended)
        .order_by(fire.c.handled_at)
        .limit(limit)
    )
    keys = [(row.schedule_id, row.fire_time) for row in connection.execute(old)]
    going = fire.delete().where(fire.c.schedule_id == sa.bindparam("of"), fire.c.fire_time == sa.bindparam("at"))
    if keys:
        connection.execute(going, [{"of": schedule_id, "at": slot} for schedule_id, slot in keys])
    return len(keys)


def delete_agents(connection: Connection, cutoff: int, limit: int) -> int:
    """Agents that have been lost or stopped since before the cutoff and hold no placement; how many."""
    gone = agent.c.status.in_((AgentStatus.LOST, AgentStatus.STOPPED))
    holds = sa.exists().where(
        task_instance.c.agent_namespace_id == agent.c.namespace_id,
        task_instance.c.agent_id == agent.c.id,
        task_instance.c.status.in_(OPEN),
    )
    old = sa.select(agent.c.namespace_id, agent.c.id).where(
        gone, agent.c.updated_at < cutoff, agent.c.last_beat_at < cutoff, ~holds
    )
    locked = dialect.for_update(old.limit(limit), skip_locked=True)
    keys = [(row.namespace_id, row.id) for row in connection.execute(locked)]
    for namespace_id, name in keys:
        connection.execute(agent.delete().where(agent.c.namespace_id == namespace_id, agent.c.id == name))
    return len(keys)


def delete_schedules(connection: Connection, cutoff: int, limit: int) -> int:
    """Schedules that were deleted before the cutoff, once their fires and tasks are gone; how many."""
    referred = sa.or_(
        sa.exists().where(fire.c.schedule_id == schedule.c.id), sa.exists().where(task.c.schedule_id == schedule.c.id)
    )
    old = sa.select(schedule.c.id).where(schedule.c.deleted_at < cutoff, ~referred)
    ids = list(connection.execute(dialect.for_update(old.limit(limit), skip_locked=True)).scalars())
    connection.execute(schedule.delete().where(dialect.one_of(connection, schedule.c.id, ids)))
    return len(ids)


def delete_jobs(connection: Connection, cutoff: int, limit: int) -> int:
    """Jobs that were deleted before the cutoff, with their revisions, once no task or schedule names them; how many."""
    referred = sa.or_(sa.exists().where(task.c.job_id == job.c.id), sa.exists().where(schedule.c.job_id == job.c.id))
    old = sa.select(job.c.id).where(job.c.deleted_at < cutoff, ~referred)
    ids = list(connection.execute(dialect.for_update(old.limit(limit), skip_locked=True)).scalars())
    connection.execute(job_revision.delete().where(dialect.one_of(connection, job_revision.c.job_id, ids)))
    connection.execute(job.delete().where(dialect.one_of(connection, job.c.id, ids)))
    return len(ids)


@dataclass(frozen=True, slots=True)
class DemandsSeen:
    """What a look at demands did: how many went, and whether there may be more to look at."""

    gone: int
    more: bool


def delete_requirements(connection: Connection, cutoff: int, now: int, limit: int) -> DemandsSeen:
    """Of the demands that nobody asked for since before the cutoff, those that no task, nothing that waits and no
    revision refers to. The others were asked for now, so that each is looked at once in all that time.

    A create that asks for one of these meanwhile either has its row, which is passed over here, or waits for it and
    finds that it is gone. A task takes the demand that its revision has, which keeps it as long as the task is there,
    or one that was touched within a day of it: so only tasks that are older than that need to be read. The newest
    demand stays: its number is not to be given again, replicas may still have it in mind.
    """
    newest = sa.select(sa.func.max(requirement.c.id)).scalar_subquery()
    old = sa.select(requirement.c.id, requirement.c.touched_at).where(
        requirement.c.touched_at < cutoff, requirement.c.id < newest
    )
    locked = dialect.for_update(old.order_by(requirement.c.touched_at).limit(limit), skip_locked=True)
    touched = {row.id: row.touched_at for row in connection.execute(locked)}
    if not touched:
        return DemandsSeen(0, more=False)
    used = {number for number, at in touched.items() if not at} | _referred(connection, touched)
    gone = sorted(touched.keys() - used)
    connection.execute(requirement.delete().where(dialect.number_in(connection, requirement.c.id, gone)))
    kept = dialect.number_in(connection, requirement.c.id, sorted(used))
    connection.execute(requirement.update().where(kept).values(touched_at=now))
    return DemandsSeen(len(gone), more=len(touched) == limit)


def _referred(connection: Connection, touched: Mapping[int, int]) -> set[int]:
    older = task.c.id < first_id_at(max(touched.values()) + TOUCH_EVERY + SLACK)
    numbers = sorted(touched)
    found: set[int] = set()
    for column, further in (
        (job_revision.c.requirement_id, sa.true()),
        (ready.c.requirement_id, sa.true()),
        (task.c.requirement_id, older),
    ):
        some = sa.select(column).where(dialect.number_in(connection, column, numbers), further)
        found.update(connection.execute(some.distinct()).scalars())
    return found


@dataclass(frozen=True, slots=True)
class RevisionsSeen:
    """How far a walk over revisions came: (job, revision) to go on after, None at the end; how many went."""

    last: tuple[str, int] | None
    gone: int


def delete_revisions(connection: Connection, after: tuple[str, int], cutoff: int, limit: int) -> RevisionsSeen:
    """Of the next revisions, those that were replaced before the cutoff and that no task runs.

    A task takes the revision that its job has when it is made, so only tasks older than the replacement can name it.
    """
    newer = job_revision.alias()
    replaced = (  # by the next one that is still there: its own successor may have gone before it
        sa.select(sa.func.min(newer.c.created_at))
        .where(newer.c.job_id == job_revision.c.job_id, newer.c.revision > job_revision.c.revision)
        .scalar_subquery()
    )
    here = sa.tuple_(job_revision.c.job_id, job_revision.c.revision)
    rows = connection.execute(
        sa.select(job_revision.c.job_id, job_revision.c.revision, replaced.label("replaced_at"))
        .where(here > sa.tuple_(sa.literal(after[0], job_revision.c.job_id.type), sa.literal(after[1])))
        .order_by(job_revision.c.job_id, job_revision.c.revision)
        .limit(limit)
    ).all()
    gone = 0
    for row in rows:
        if row.replaced_at is not None and row.replaced_at < cutoff:
            gone += _delete_revision(connection, row.job_id, row.revision, row.replaced_at)
    return RevisionsSeen((rows[-1].job_id, rows[-1].revision) if len(rows) == limit else None, gone)


def _delete_revision(connection: Connection, job_id: str, revision: int, replaced_at: int) -> int:
    space = sa.select(job.c.namespace_id).where(job.c.id == job_id).scalar_subquery()
    older = sa.select(task.c.id).where(
        task.c.job_id == job_id,
        task.c.namespace_id == space,
        task.c.status.in_(tuple(Status)),  # all of them, each a place in the index where the older ones begin
        task.c.id < first_id_at(replaced_at + SLACK),
    )
    if _any(connection, older.where(task.c.job_revision == revision)):
        return 0
    mine = sa.and_(job_revision.c.job_id == job_id, job_revision.c.revision == revision)
    return connection.execute(job_revision.delete().where(mine)).rowcount
