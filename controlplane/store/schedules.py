"""Schedules and their fires: one row per slot that was dealt with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Row

from controlplane.domain.ids import is_id
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import Schedule, ScheduleSpec, ScheduleStatus
from controlplane.store import batches, dialect
from controlplane.store.query import Listing
from controlplane.store.tables import fire, schedule

_encode = msgspec.json.Encoder(order="deterministic").encode  # maps come from the wire in any order
_decode = msgspec.json.Decoder(ScheduleSpec).decode


class Fire(Struct, frozen=True):
    """What became of a slot: a task, or the reason why there is none."""

    schedule_id: str
    fire_time: int
    handled_at: int
    task_id: str | None = None
    reason: str | None = None


def of_row(row: Row[Any]) -> Schedule:
    """A row of the table."""
    return Schedule(
        id=row.id,
        namespace_id=row.namespace_id,
        name=row.name,
        job_id=row.job_id,
        kind=Kind(row.kind),
        status=ScheduleStatus(row.status),
        timezone=row.timezone,
        spec=_decode(row.spec),
        parameters=None if row.parameters is None else bytes(row.parameters),
        parameters_type=row.parameters_type,
        next_fire_at=row.next_fire_at,
        last_fire_at=row.last_fire_at,
        fire_count=row.fire_count,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find(connection: Connection, namespace_id: str, key: str, *, lock: bool = False) -> Schedule | None:
    """The schedule with this id or name, or None."""
    match = schedule.c.id == key.lower() if is_id(key) else schedule.c.name == key
    statement = sa.select(schedule).where(_living(namespace_id), match)
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


def _living(namespace_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(schedule.c.namespace_id == namespace_id, schedule.c.deleted_at.is_(None))


def listing(namespace_id: str) -> Listing:
    """A namespace's living schedules."""
    mine = (dialect.Usual(schedule.c.namespace_id == namespace_id), schedule.c.deleted_at.is_(None))
    return Listing(sa.select(schedule).where(*mine), schedule.c)


def insert(connection: Connection, new: Schedule) -> None:
    """A new one. Raises IntegrityError when the name is taken."""
    fixed = {"id": new.id, "namespace_id": new.namespace_id, "name": new.name, "created_at": new.created_at}
    connection.execute(schedule.insert().values(**fixed, **_changeable(new)))


def update(connection: Connection, changed: Schedule) -> None:
    """All of a schedule that can change."""
    connection.execute(schedule.update().where(schedule.c.id == changed.id).values(**_changeable(changed)))


def _changeable(one: Schedule) -> dict[str, Any]:
    return {
        "job_id": one.job_id,
        "kind": int(one.kind),
        "status": int(one.status),
        "timezone": one.timezone,
        "spec": _encode(one.spec).decode(),
        "parameters": one.parameters,
        "parameters_type": one.parameters_type,
        "next_fire_at": one.next_fire_at,
        "last_fire_at": one.last_fire_at,
        "fire_count": one.fire_count,
        "version": one.version,
        "updated_at": one.updated_at,
    }


def delete(connection: Connection, schedule_id: str, now: int) -> None:
    """Softly: the name is free, the tasks it made keep pointing at it."""
    values = {"next_fire_at": None, "deleted_at": now, "updated_at": now}
    connection.execute(schedule.update().where(schedule.c.id == schedule_id).values(values))


def disable_of_job(connection: Connection, job_id: str, now: int) -> None:
    """A job that is gone makes no more tasks."""
    firing = schedule.c.status.in_((ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED))
    connection.execute(
        schedule.update()
        .where(schedule.c.job_id == job_id, schedule.c.deleted_at.is_(None), firing)
        .values(
            status=int(ScheduleStatus.DISABLED),
            next_fire_at=None,
            version=schedule.c.version + 1,
            updated_at=now,
        )
    )


def delete_of_namespace(connection: Connection, namespace_id: str, now: int) -> None:
    """Softly, all of a namespace."""
    values = {"next_fire_at": None, "deleted_at": now, "updated_at": now}
    connection.execute(schedule.update().where(_living(namespace_id)).values(values))


# --- firing


class Slot(Struct, frozen=True):
    """The next slot of a schedule, and the version of the schedule that has it."""

    schedule_id: str
    version: int
    at: int


def due(connection: Connection, until: int, limit: int) -> list[Slot]:
    """The next slots of schedules as far as they have come or will have by then, the oldest first."""
    of = schedule.c
    statement = sa.select(of.id, of.version, of.next_fire_at).where(of.next_fire_at <= until).order_by(of.next_fire_at)
    return [Slot(*row) for row in connection.execute(statement.limit(limit))]


def load_many(connection: Connection, ids: Sequence[str]) -> dict[str, Schedule]:
    """These schedules, without those that are deleted."""
    statement = sa.select(schedule).where(dialect.one_of(connection, schedule.c.id, ids))
    return {row.id: of_row(row) for row in connection.execute(statement.where(schedule.c.deleted_at.is_(None)))}


def lock_many(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[Slot, bool]]:
    """The next slots of these schedules, locked, and whether each has been dealt with; without those that have none,
    that somebody else holds or that are deleted.
    """
    of = schedule.c
    dealt_with = sa.exists().where(fire.c.schedule_id == of.id, fire.c.fire_time == of.next_fire_at)
    mine = dialect.one_of(connection, of.id, sorted(set(ids)))
    statement = sa.select(of.id, of.version, of.next_fire_at, dealt_with)
    statement = statement.where(mine, of.next_fire_at.is_not(None), of.deleted_at.is_(None)).order_by(of.id)
    rows = connection.execute(dialect.for_update(statement, skip_locked=True))
    return {schedule_id: (Slot(schedule_id, version, at), done) for schedule_id, version, at, done in rows}


class MovedOn(Struct, frozen=True):
    """What firing changes in a schedule; the version is a person's matter and stays."""

    id: str
    status: ScheduleStatus
    next_fire_at: int | None
    last_fire_at: int | None
    fire_count: int


def save_fired(connection: Connection, fired: Sequence[MovedOn]) -> None:
    """Schedules after their slots."""
    rows = [(one.status, one.next_fire_at, one.last_fire_at, one.fire_count, one.id) for one in fired]
    batches.update_rows(connection, schedule, ("id",), _FIRED, rows)


_FIRED = ("status", "next_fire_at", "last_fire_at", "fire_count")


def fired_slots(connection: Connection, slots: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Which of these slots have been dealt with."""
    wanted = set(slots)
    if not wanted:
        return set()
    statement = sa.select(fire.c.schedule_id, fire.c.fire_time).where(
        dialect.one_of(connection, fire.c.schedule_id, sorted({schedule_id for schedule_id, _ in wanted})),
        fire.c.fire_time.between(min(slot for _, slot in wanted), max(slot for _, slot in wanted)),
    )
    return {(row.schedule_id, row.fire_time) for row in connection.execute(statement)} & wanted


def insert_fires(connection: Connection, fires: Sequence[Fire]) -> None:
    """What became of slots. Raises IntegrityError for a slot that has a row: then nothing of the transaction counts."""
    rows = [
        {
            "schedule_id": one.schedule_id,
            "fire_time": one.fire_time,
            "task_id": one.task_id,
            "reason": one.reason,
            "handled_at": one.handled_at,
        }
        for one in fires
    ]
    batches.insert_rows(connection, fire, rows)


def fires_listing(schedule_id: str) -> Listing:
    """A schedule's slots."""
    return Listing(sa.select(fire).where(fire.c.schedule_id == schedule_id), fire.c)


def fire_of_row(row: Row[Any]) -> Fire:
    """A row of the table."""
    return Fire(row.schedule_id, row.fire_time, row.handled_at, row.task_id, row.reason)
