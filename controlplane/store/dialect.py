"""Every difference between SQLite and PostgreSQL, each with its reason. No other file asks which database it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Engine, Table, event
from sqlalchemy.types import TypeDecorator, TypeEngine

from controlplane.domain.ids import first_id_at

SQLITE_FLOOR = (3, 35, 0)  # RETURNING and upserts
POSTGRES_FLOOR = 130000
MIGRATION_LOCK = 0x7061776C  # "pawl": the advisory lock that migrations take

# What a partition is worth: range bounds are computable from the id, so a month can be dropped whole.
MONTHS_AHEAD = 1


class Id(TypeDecorator[str]):
    """A UUID: canonical text in Python, 16 bytes in both databases (BLOB on SQLite, uuid on PostgreSQL)."""

    impl = sa.LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """PostgreSQL has a 16-byte type of its own; its text form needs no conversion in Python."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Uuid(as_uuid=False))
        return dialect.type_descriptor(sa.LargeBinary(16))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Text to bytes on SQLite."""
        if value is None or dialect.name == "postgresql":
            return value
        return bytes.fromhex(value.replace("-", ""))

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Bytes to text on SQLite."""
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return]  # the driver gives text
        digits = value.hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_postgres(connection: Connection | Engine) -> bool:
    """Whether this is PostgreSQL."""
    return connection.dialect.name == "postgresql"


def bytewise(connection: Connection, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Text that is compared and ordered by its bytes, as SQLite does. PostgreSQL would ask the database's locale."""
    return text.collate("C") if is_postgres(connection) else text


def configure_sqlite(engine: Engine, *, writer: bool) -> None:
    """WAL with full synchronisation: acknowledged means durable. Writers take the lock when they begin.

    The standard library opens transactions lazily and in its own way; turned off, so that BEGIN IMMEDIATE decides who
    writes before anything was read, and nobody is refused in the middle.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def for_update(statement: sa.Select[Any], *, skip_locked: bool = False) -> sa.Select[Any]:
    """Row locks where several can write. SQLite has one writer and ignores the clause."""
    return statement.with_for_update(skip_locked=skip_locked)


def insert_ignoring(connection: Connection, table: Table) -> Any:
    """An INSERT that leaves an existing row alone; the two spell it alike, in modules of their own."""
    if is_postgres(connection):
        from sqlalchemy.dialects.postgresql import insert

        return insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table, keys: Iterable[sa.Column[Any]], changes: Iterable[str]) -> Any:
    """An INSERT that takes over the named columns of an existing row with the same keys."""
    if is_postgres(connection):
        from sqlalchemy.dialects.postgresql import insert

        pg = insert(table)
        return pg.on_conflict_do_update(index_elements=list(keys), set_={name: pg.excluded[name] for name in changes})
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    lite = sqlite_insert(table)
    return lite.on_conflict_do_update(index_elements=list(keys), set_={name: lite.excluded[name] for name in changes})


def clock(connection: Connection) -> int | None:
    """The database's own clock, microseconds UTC; None where the database is this process."""
    if not is_postgres(connection):
        return None
    return int(
        connection.execute(sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one()
    )


def version(connection: Connection) -> str:
    """`sqlite 3.40.1` or `postgresql 15.4`."""
    if is_postgres(connection):
        return "postgresql " + str(connection.execute(sa.text("SHOW server_version")).scalar_one()).split()[0]
    return "sqlite " + sqlite3.sqlite_version


def lock_for_migration(connection: Connection) -> None:
    """One migrates, the others wait. SQLite's transaction is that lock already."""
    if is_postgres(connection):
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def month_bounds(instant: int) -> tuple[str, int, int]:
    """Name, first and next-first instant of the UTC month that `instant` lies in: ("2026_11", ..., ...)."""
    import datetime as dt

    first = dt.datetime.fromtimestamp(instant / 1e6, dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + dt.timedelta(days=32)).replace(day=1)
    return f"{first:%Y_%m}", int(first.timestamp() * 1e6), int(following.timestamp() * 1e6)


def create_partitions(connection: Connection, tables: Iterable[Table], now: int) -> None:
    """This month's and next month's partitions, and a default one that should stay empty. PostgreSQL only:
    one SQLite file has no use for them.
    """
    if not is_postgres(connection):
        return
    name, first, following = month_bounds(now)
    months = [(name, first, following)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_bounds(months[-1][2]))
    for table in tables:
        for month, start, end in months:
            connection.exec_driver_sql(
                f'CREATE TABLE IF NOT EXISTS "{table.name}_{month}" PARTITION OF "{table.name}" '
                f"FOR VALUES FROM ('{first_id_at(start)}') TO ('{first_id_at(end)}')"
            )
        connection.exec_driver_sql(
            f'CREATE TABLE IF NOT EXISTS "{table.name}_default" PARTITION OF "{table.name}" DEFAULT'
        )


def tune_tables(connection: Connection) -> None:
    """The ready table loses a row for every task: without eager vacuum its dead rows slow every claim."""
    if is_postgres(connection):
        for table in ("sched_ready", "sched_timer"):
            connection.exec_driver_sql(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
                " fillfactor = 90)"
            )
