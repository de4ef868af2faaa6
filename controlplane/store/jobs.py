"""Jobs and their revisions, and the requirements they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.ids import is_id
from controlplane.domain.job import Job, JobSpec, JobStatus, Requirement
from controlplane.store import dialect
from controlplane.store.query import Listing
from controlplane.store.ready_made import Question, ReadyMade
from controlplane.store.tables import job, job_revision, requirement

TOUCH_EVERY = 86_400_000_000  # microseconds

_encode = msgspec.json.Encoder(order="deterministic").encode  # maps come from the wire in any order
_decode = lru_cache(maxsize=64)(msgspec.json.Decoder(JobSpec).decode)  # specs are never changed

_JOB = sa.select(job, job_revision.c.spec, job_revision.c.requirement_id).join(
    job_revision, sa.and_(job_revision.c.job_id == job.c.id, job_revision.c.revision == job.c.revision)
)


def by_key(namespace_id: str, key: str) -> sa.ColumnElement[bool]:
    """Id or name, inside a namespace, alive."""
    match = job.c.id == key.lower() if is_id(key) else job.c.name == key
    return sa.and_(job.c.namespace_id == namespace_id, job.c.deleted_at.is_(None), match)


def find(connection: Connection, namespace_id: str, key: str, *, lock: bool = False) -> Job | None:
    """The job with this id or name, or None."""
    statement = _JOB.where(by_key(namespace_id, key))
    row = connection.execute(statement.with_for_update(of=job) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


_ALIVE = _JOB.where(job.c.namespace_id == sa.bindparam("space"), job.c.deleted_at.is_(None))
_BY_ID, _BY_NAME = (ReadyMade(_ALIVE.where(column == sa.bindparam("key"))) for column in (job.c.id, job.c.name))
FEW = 4


def questions(wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Question]:
    """What `found_of` wants to know of jobs by (namespace, id or name), where they are few; else nothing."""
    return {(space, key): _about(space, key) for space, key in wanted} if len(wanted) <= FEW else {}


def _about(space: str, key: str) -> Question:
    return _BY_ID.about(space=space, key=key.lower()) if is_id(key) else _BY_NAME.about(space=space, key=key)


def found_of(answers: Mapping[tuple[str, str], Sequence[Any]]) -> dict[tuple[str, str], Job]:
    """The jobs of the answers to the questions; those that do not exist are left out."""
    return {key: of_row(rows[0]) for key, rows in answers.items() if rows}


def find_many(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Job]:
    """Many jobs by (namespace, id or name); those that do not exist are left out."""
    found: dict[tuple[str, str], Job] = {}
    for namespace_id in {namespace for namespace, _ in wanted}:
        ids = {key.lower() for space, key in wanted if space == namespace_id and is_id(key)}
        names = {key for space, key in wanted if space == namespace_id and not is_id(key)}
        statement = _JOB.where(
            job.c.namespace_id == namespace_id,
            job.c.deleted_at.is_(None),
            sa.or_(job.c.id.in_(ids), job.c.name.in_(names)),
        )
        jobs = [of_row(row) for row in connection.execute(statement)]
        by_id, by_name = {one.id: one for one in jobs}, {one.name: one for one in jobs}
        for space, key in wanted:
            one = (by_id.get(key.lower()) if is_id(key) else by_name.get(key)) if space == namespace_id else None
            if one is not None:
                found[space, key] = one
    return found


def listing(namespace_id: str) -> Listing:
    """A namespace's living jobs."""
    return Listing(_JOB.where(dialect.Usual(job.c.namespace_id == namespace_id), job.c.deleted_at.is_(None)), job.c)


def of_row(row: Any) -> Job:
    """A row of jobs joined with their present revision."""
    return Job(
        id=row.id,
        namespace_id=row.namespace_id,
        name=row.name,
        status=JobStatus(row.status),
        revision=row.revision,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        spec=_decode(row.spec),
        requirement_id=row.requirement_id,
    )


def names(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Names by id, of deleted jobs too."""
    rows = connection.execute(sa.select(job.c.id, job.c.name).where(job.c.id.in_(set(ids))))
    return {row.id: row.name for row in rows}


def revisions(connection: Connection, pairs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], JobSpec]:
    """Specs by (job, revision). They never change: callers may keep them."""
    wanted = set(pairs)
    statement = sa.select(job_revision.c.job_id, job_revision.c.revision, job_revision.c.spec).where(
        job_revision.c.job_id.in_({job_id for job_id, _ in wanted})
    )
    return {
        (row.job_id, row.revision): _decode(row.spec)
        for row in connection.execute(statement)
        if (row.job_id, row.revision) in wanted
    }


def intern_requirement(connection: Connection, wanted: Requirement, now: int) -> int:
    """The id of this demand, made if it is new. What refers to it is written in the same transaction."""
    mine = requirement.c.namespace_id == wanted.namespace_id, requirement.c.digest == wanted.digest()
    statement = sa.select(requirement.c.id, requirement.c.touched_at).where(*mine)
    known = connection.execute(statement).one_or_none()  # most are: PostgreSQL counts up for a try, too
    if known is None or not _touch(connection, {known.id: known.touched_at}, now):
        connection.execute(dialect.insert_ignoring(connection, requirement).values(**_demand_row(wanted, now)))
        known = connection.execute(statement).one()
    return int(known.id)


def intern_requirements(connection: Connection, wanted: Sequence[Requirement], now: int) -> list[int]:
    """The same of many demands of one namespace, in their order."""
    named = sorted((_demand_row(one, now) for one in wanted), key=lambda row: row["digest"])  # nobody waits in a circle
    found: dict[str, Any] = {}
    while True:
        connection.execute(dialect.insert_ignoring(connection, requirement), named)
        for start in range(0, len(named), 500):
            some = requirement.c.digest.in_([row["digest"] for row in named[start : start + 500]])
            mine = sa.and_(requirement.c.namespace_id == wanted[0].namespace_id, some)
            columns = (requirement.c.digest, requirement.c.id, requirement.c.touched_at)
            found |= {row.digest: row for row in connection.execute(sa.select(*columns).where(mine))}
        if _touch(connection, {row.id: row.touched_at for row in found.values()}, now):
            return [int(found[one.digest()].id) for one in wanted]


def _demand_row(one: Requirement, now: int) -> dict[str, Any]:
    return {"namespace_id": one.namespace_id, "digest": one.digest(), "spec": one.canonical(), "touched_at": now}


def _touch(connection: Connection, touched: Mapping[int, int], now: int) -> bool:
    """Say of demands that are asked for again that they were, unless that is said of this day: a create writes to them
    once a day. Retention takes none that was touched lately, so one of this day stays until the transaction has ended,
    and the lock of this write keeps an older one. Whether all are still there: some may have gone since they were read.
    """
    old = sorted(number for number, at in touched.items() if at < now - TOUCH_EVERY)
    if not old:
        return True
    mine = sa.select(requirement.c.id).where(dialect.number_in(connection, requirement.c.id, old))
    there = connection.execute(dialect.for_update(mine.order_by(requirement.c.id))).scalars().all()
    connection.execute(
        requirement.update().where(dialect.number_in(connection, requirement.c.id, there)).values(touched_at=now)
    )
    return len(there) == len(old)


def requirement_by_id(connection: Connection, number: int) -> Requirement:
    """A demand that is known to be there: something refers to it."""
    row = connection.execute(sa.select(requirement).where(requirement.c.id == number)).one()
    return Requirement.of_canonical(row.namespace_id, row.spec)


def requirements(connection: Connection, numbers: Collection[int]) -> Sequence[tuple[int, Requirement]]:
    """Those of these demands that there are."""
    wanted, found = sorted(numbers), []
    for start in range(0, len(wanted), 500):
        some = dialect.number_in(connection, requirement.c.id, wanted[start : start + 500])
        found += _demands(connection, sa.select(requirement).where(some))
    return found


def first_requirements(connection: Connection, most: int) -> Sequence[tuple[int, Requirement]]:
    """The oldest demands, so many at most."""
    return _demands(connection, sa.select(requirement).order_by(requirement.c.id).limit(most))


def newest_requirements(connection: Connection, after: int, most: int) -> Sequence[tuple[int, Requirement]]:
    """The newest demands with an id above `after`, so many at most."""
    newest = sa.select(requirement).where(requirement.c.id > after).order_by(requirement.c.id.desc())
    return _demands(connection, newest.limit(most))


def _demands(connection: Connection, statement: sa.Select[Any]) -> list[tuple[int, Requirement]]:
    return [
        (int(row.id), Requirement.of_canonical(row.namespace_id, row.spec)) for row in connection.execute(statement)
    ]


def insert(connection: Connection, new: Job) -> None:
    """A new job with its first revision. Raises IntegrityError when the name is taken."""
    connection.execute(job.insert().values(**_row(new)))
    insert_revision(connection, new)


def insert_revision(connection: Connection, new: Job) -> None:
    """The revision that the job now has."""
    connection.execute(
        job_revision.insert().values(
            job_id=new.id,
            revision=new.revision,
            requirement_id=new.requirement_id,
            spec=_encode(new.spec).decode(),
            created_at=new.updated_at,
        )
    )


def update(connection: Connection, changed: Job) -> None:
    """The row of a job whose version was raised by one."""
    values = {key: value for key, value in _row(changed).items() if key not in ("id", "namespace_id", "created_at")}
    connection.execute(job.update().where(job.c.id == changed.id).values(**values))


def delete(connection: Connection, job_id: str, now: int) -> None:
    """Softly: the name is free, what tasks refer to stays."""
    connection.execute(job.update().where(job.c.id == job_id).values(deleted_at=now, updated_at=now))


def delete_of_namespace(connection: Connection, namespace_id: str, now: int) -> None:
    """Softly, all of a namespace."""
    living = sa.and_(job.c.namespace_id == namespace_id, job.c.deleted_at.is_(None))
    connection.execute(job.update().where(living).values(deleted_at=now, updated_at=now))


def _row(one: Job) -> dict[str, Any]:
    return {
        "id": one.id,
        "namespace_id": one.namespace_id,
        "name": one.name,
        "status": int(one.status),
        "revision": one.revision,
        "version": one.version,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "max_running": one.spec.config.max_running,
    }
