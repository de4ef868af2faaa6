"""The schema, step by step: numbered SQL, forward only, under a lock.

`NNNN.sqlite.sql` and `NNNN.postgresql.sql` hold the same step for both databases, frozen once released;
`NNNN.logs.sqlite.sql` what lies in SQLite's second file. `tables.py` describes the result, and a test compares both.
Statements are separated by a line that ends with a semicolon. A server refuses a schema that is newer than itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.errors import Unavailable
from controlplane.store import Store, dialect
from controlplane.store.tables import PARTITIONED, task, task_instance

LATEST = 10

_CREATE = "CREATE TABLE IF NOT EXISTS sched_schema (revision INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL)"
_SEED = (
    "INSERT INTO sched_namespace (id, description, version, created_at, updated_at)"
    " VALUES ('default', 'Where work goes that names no namespace.', 1, :now, :now)"
)


def migrate(store: Store, now: int) -> list[int]:
    """Bring the schema up to date; the revisions that were applied. Raises Unavailable for a newer schema."""
    applied = store.transact_now(_migrate, now)
    if store.is_sqlite:
        store.transact_logs_now(_migrate_logs, now)
    return applied


def pending(store: Store) -> list[int]:
    """Revisions that `migrate` would apply. Raises Unavailable for a newer schema."""
    have = store.transact_now(_known)
    if store.is_sqlite:  # killed between its two files, a migration has one of them left to do
        have = min(have, store.transact_logs_now(_known))
    return list(range(have + 1, LATEST + 1))


def refuse_newer(have: int) -> None:
    """Raises Unavailable, with both numbers, for a revision that a later version of Pawl made."""
    if have > LATEST:
        raise Unavailable(
            f"the database has schema revision {have}, this version of Pawl knows {LATEST}:"
            " upgrade Pawl, or restore a backup"
        )


def _known(connection: Connection) -> int:
    have = current(connection)
    refuse_newer(have)
    return have


def current(connection: Connection) -> int:
    """The revision of the schema; 0 for an empty database."""
    if not sa.inspect(connection).has_table("sched_schema"):
        return 0
    return int(connection.execute(sa.text("SELECT coalesce(max(revision), 0) FROM sched_schema")).scalar_one())


def _migrate(connection: Connection, now: int) -> list[int]:
    dialect.lock_for_migration(connection)
    connection.exec_driver_sql(_CREATE)
    have = _known(connection)
    steps = list(range(have + 1, LATEST + 1))
    for revision in steps:
        _run(connection, f"{revision:04d}.{connection.dialect.name}.sql")
        connection.execute(sa.text("INSERT INTO sched_schema VALUES (:r, :now)"), {"r": revision, "now": now})
        after = _AFTER.get(revision)
        if after is not None:
            after(connection, now)
    return steps


def _migrate_logs(connection: Connection, now: int) -> None:
    connection.exec_driver_sql(_CREATE)
    for revision in range(_known(connection) + 1, LATEST + 1):
        if resources.files(__name__).joinpath(f"{revision:04d}.logs.sqlite.sql").is_file():
            _run(connection, f"{revision:04d}.logs.sqlite.sql")
        connection.execute(sa.text("INSERT INTO sched_schema VALUES (:r, :now)"), {"r": revision, "now": now})


def _run(connection: Connection, name: str) -> None:
    script = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    for statement in re.split(r";\s*$", script, flags=re.MULTILINE):
        if statement.strip():
            connection.exec_driver_sql(statement)


def _first(connection: Connection, now: int) -> None:
    connection.execute(sa.text(_SEED), {"now": now})
    dialect.create_partitions(connection, PARTITIONED, now)
    dialect.tune_tables(connection)


def _packed(connection: Connection, _: int) -> None:
    dialect.repack(connection, (task, task_instance))


_AFTER: dict[int, Callable[[Connection, int], None]] = {1: _first, 10: _packed}
