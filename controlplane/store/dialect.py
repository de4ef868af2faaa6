"""Every difference between SQLite and PostgreSQL, each with its reason. No other file asks which database it has, but
the two that go past SQLAlchemy for what every task pays for: `batches` and `ready_made`.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import operator
import re
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Engine, Table, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from controlplane.domain.errors import Exhausted, PawlError, Unavailable
from controlplane.domain.ids import UUID, first_id_at
from controlplane.store.arrays import id_bytes, id_text

SQLITE_FLOOR = (3, 35, 0)  # RETURNING and upserts
POSTGRES_FLOOR = (13, 0, 0)
_NO_ID, _LAST_ID = str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))
MIGRATION_LOCK = 0x7061776C  # "pawl": the advisory lock that migrations take
HISTORY_LOCK = 0x7061776D  # the one after it: dropping months against taking a task back out of history
CAPS_LOCK = 0x7061776E  # and after that: filling the room that a cap leaves
LOCK_MILLISECONDS = 250  # what a change of partitions waits for its locks; everybody else waits behind it
LONG_SECONDS = 600
INCREMENTAL = 2  # SQLite's number for auto_vacuum=INCREMENTAL
FREE_PAGES = 2_000  # 8 MiB that a SQLite file keeps for what comes next

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

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """One step for each value: a list has thousands."""
        return _as_text if dialect.name == "postgresql" else super().result_processor(dialect, coltype)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Text to bytes on SQLite."""
        if value is None or dialect.name == "postgresql":
            return value
        return id_bytes(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Bytes to text on SQLite."""
        if value is None:
            return None
        return id_text(value)


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def is_postgres(connection: Connection | Engine) -> bool:
    """Whether this is PostgreSQL."""
    return connection.dialect.name == "postgresql"


def knows_arrays(connection: Connection) -> bool:
    """Whether many values can be one parameter."""
    return is_postgres(connection)


# Why a statement failed, where that is the database's own doing: its state, told by drivers in numbers of their own.

# Serialisation failure, deadlock: the victim has done nothing. A prepared statement that the session has forgotten.
_TRANSIENT = frozenset({"40001", "40P01", "26000"})
_NO_ROOM = frozenset({"53100"})
_READ_ONLY = frozenset({"25006"})  # what was the primary is a standby now
SILENT = "the database does not answer; repeat the call with the same request id"


def is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed at once. SQLite has one writer, and so no victims."""
    return getattr(error.orig, "sqlstate", None) in _TRANSIENT


def refusal_of(error: DBAPIError) -> PawlError | None:
    """What callers are told of a database that cannot work just now; None where the statement is to blame."""
    state = getattr(error.orig, "sqlstate", None)
    primary = (getattr(error.orig, "sqlite_errorcode", 0) or 0) & 0xFF
    if state in _NO_ROOM or primary == sqlite3.SQLITE_FULL:
        return Exhausted(
            "the database has no room left; nothing was done: free some space, and repeat the call",
            reason="STORAGE_FULL",
            retry_after_seconds=5.0,
        )
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        said = " ".join(str(error.orig).split())
        return Unavailable(
            f"the database's file cannot be written or read ({said}): look at its disk, quota and rights, and repeat"
            " the call with the same request id",
            retry_after_seconds=5.0,
        )
    if isinstance(error, OperationalError) or error.connection_invalidated or state in _READ_ONLY:
        return Unavailable(SILENT, retry_after_seconds=1.0)
    return None


def bytewise(connection: Connection, text: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Text that is compared and ordered by its bytes, as SQLite does. PostgreSQL would ask the database's locale."""
    return text.collate("C") if is_postgres(connection) else text


class Usual(FunctionElement[bool]):
    """A condition that many rows meet, such as the namespace: alone no reason to read an index that begins with it.

    SQLite has no figures here and believes of every equality that it leaves ten rows, so that it would rather walk a
    whole namespace than look three jobs up. Told that nearly all rows meet it, it would not take an index either that
    goes on with a second column. A part of the rows lies between the two. PostgreSQL has counted.
    """

    name = "usual"
    inherit_cache = True
    # As a Boolean it would be written `= 1`, which hides the condition from the planner.
    type: TypeEngine[Any] = sa.types.NULLTYPE


@compiles(Usual)
def _as_it_is(element: Usual, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"({compiler.process(element.clauses, **kwargs)})"


@compiles(Usual, "sqlite")
def _as_likely(element: Usual, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"likelihood({compiler.process(element.clauses, **kwargs)}, 0.03125)"


class Narrow(FunctionElement[bool]):
    """A bound of what an index has in order. SQLite believes of each that it leaves a quarter of the rows, and would
    rather walk all that have the namespace in an index that has everything else in it.
    """

    name = "narrow"
    inherit_cache = True
    type: TypeEngine[Any] = sa.types.NULLTYPE


@compiles(Narrow, "sqlite")
def _as_unlikely(element: Narrow, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"likelihood({compiler.process(element.clauses, **kwargs)}, 0.0001)"


class Follows(FunctionElement[bool]):
    """A condition that nearly follows from another one, such as one on an instant from one on the ids made of it.

    PostgreSQL believes that the two have nothing to do with each other: of a thirtieth of the rows it expects a
    thirtieth of a thirtieth, and sorts them all where it should walk until it has a page. Of a CASE it expects one in
    two.
    """

    name = "follows"
    inherit_cache = True
    type: TypeEngine[Any] = sa.types.NULLTYPE


@compiles(Narrow)
@compiles(Follows)
def _as_condition(element: Narrow | Follows, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"({compiler.process(element.clauses, **kwargs)})"


@compiles(Follows, "postgresql")
def _as_case(element: Follows, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(CASE WHEN {compiler.process(element.clauses, **kwargs)} THEN true ELSE false END)"


READER_CACHE_KIB = 512


def configure_sqlite(engine: Engine, *, writer: bool) -> None:
    """WAL with full synchronisation: acknowledged means durable. Writers take the lock when they begin.

    The standard library opens transactions lazily and in its own way; turned off, so that BEGIN IMMEDIATE decides who
    writes before anything was read, and nobody is refused in the middle.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        # First of all, for it counts only while a file is empty: pages that retention freed can be given back.
        first = "auto_vacuum=INCREMENTAL"
        for pragma in (first, "journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        if not writer:  # each commit makes a reader forget its pages: what it has beyond one question is for nothing
            connection.execute(f"PRAGMA cache_size=-{READER_CACHE_KIB}")

    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        connection.info[EXCHANGE] = None
        try:
            driver.execute(begin)
        except sqlite3.Error as error:
            raise as_told(error, sqlite3.Error) from error


def as_told(error: Exception, base: type[Exception], *, broken: bool = False) -> Exception:
    """What SQLAlchemy would have made of a driver's error."""
    return DBAPIError.instance(None, None, error, base, hide_parameters=True, connection_invalidated=broken)


def prefer_indexes(engine: Engine) -> None:
    """Every statement that writes finds its rows by an index, whatever the planner believes. PostgreSQL only.

    It knows nothing of a table that has just begun to grow, reads it from end to end for every batch, and keeps to that
    plan until the next ANALYZE: a task cost twice as much at 20,000 rows, a minute after the start.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.execute("SET enable_seqscan = off")
        connection.commit()  # or the setting would be rolled back with the first transaction


def by_indexes(connection: Connection) -> None:
    """The same for one transaction that reads. SQLite has no figures that could mislead it."""
    if is_postgres(connection):
        _begin_one(connection)
        connection.exec_driver_sql("SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)")


def load_ids_as_text(engine: Engine) -> None:
    """Ids come as the text that they are here. PostgreSQL only, and so is its driver."""
    from psycopg.adapt import Loader

    class IdLoader(Loader):
        """A UUID as the server writes it: the canonical text, which is all that is wanted of the driver's objects."""

        def load(self, data: Any) -> str:
            """Bytes to text."""
            return bytes(data).decode()

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.adapters.register_loader("uuid", IdLoader)


def plan_each(engine: Engine) -> None:
    """Every statement that reads is planned for the values that it is asked with. PostgreSQL only.

    A prepared statement is otherwise planned once for all values, after it was run some times: of two statuses, one
    that hardly a row has and one that nearly all have, it then knows only that they are two of five.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.execute("SET plan_cache_mode = force_custom_plan")
        connection.commit()


RESTED_SECONDS = 5.0


_CHANGED_TABLES = "pawl_changed_tables"


def ask_after_rest(engine: Engine) -> None:
    """Whether a connection still stands is asked when it has rested for a while: asked before every transaction, that
    is a message there and back for each. One that changed tables is not used again: the driver lets its session forget
    every statement, ours with its own, whenever it is used next. PostgreSQL only.
    """
    from psycopg import Error

    @event.listens_for(engine, "before_cursor_execute")
    def _executes(connection: Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith(("ALTER", "DROP")):
            connection.info[_CHANGED_TABLES] = True

    @event.listens_for(engine, "checkin")
    def _checkin(_: object, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _checkout(connection: Any, record: Any, _: object) -> None:
        if record.info.pop(_CHANGED_TABLES, False):
            raise DisconnectionError("it has changed tables")
        if time.monotonic() - record.info.get("rests_since", 0.0) < RESTED_SECONDS:
            return
        try:
            connection.execute("")
            connection.rollback()
        except Error as error:
            raise DisconnectionError from error  # the pool makes another one


EXCHANGE = "pawl_exchange"
"""What a connection sends its statements by, in its `info`; None on SQLite. Whoever's connection has none of it was not
made by the store, and goes by SQLAlchemy alone.
"""


def _begin_one(connection: Connection) -> None:
    """A setting is for the transaction, so there has to be one, also for what only reads."""
    if (exchange := connection.info.get(EXCHANGE)) is not None:
        exchange.begin()


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


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def one_of(connection: Connection, column: sa.Column[Any], ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """The column is one of these ids: one array on PostgreSQL, where a list of parameters is a new statement for every
    length; SQLite has no arrays.
    """
    if not is_postgres(connection):
        return column.in_(ids)
    array = sa.cast(sa.bindparam(None, list(ids), type_=sa.ARRAY(sa.Text)), sa.ARRAY(sa.Uuid(as_uuid=False)))
    return column == sa.any_(array)


def number_in(connection: Connection, column: sa.Column[int], numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    """The same for numbers."""
    if not is_postgres(connection):
        return column.in_(numbers)
    return column == sa.any_(sa.bindparam(None, list(numbers), type_=sa.ARRAY(sa.Integer)))


def first_of_each(
    connection: Connection, rows: sa.Select[Any], column: sa.Column[int], most: Mapping[int, int]
) -> list[sa.Row[Any]]:
    """Of the rows, which are in an order, the first ones for each value of a column, as many as are asked for, locked;
    those that others have locked are skipped.

    PostgreSQL repeats a subquery for each pair in one statement: a message for each would cost more than its rows. To
    SQLite a statement is a call of a function.
    """
    if len(most) < 2 or not is_postgres(connection):
        found: list[sa.Row[Any]] = []
        for value, limit in most.items():
            found += connection.execute(for_update(rows.where(column == value).limit(limit), skip_locked=True))
        return found
    arrays = (sa.bindparam(None, list(part), type_=sa.ARRAY(sa.Integer)) for part in (most.keys(), most.values()))
    wanted = (sa.column("value", sa.Integer), sa.column("most", sa.Integer))
    lane = sa.func.unnest(*arrays).table_valued(*wanted, name="lane").render_derived(name="lane")
    head = rows.where(column == lane.c.value).limit(lane.c.most)
    first = for_update(head, skip_locked=True).correlate(lane).lateral("first")
    return list(connection.execute(sa.select(first).select_from(lane.join(first, sa.true()))))


@dataclass(frozen=True, slots=True)
class Lane:
    """Where one index has rows one after the other: those with the same value in `column`, by their `key`. What is
    asked for lies beyond `after` and not beyond `until`, in the direction of the order, where they are not None.
    `alone`: no other index has the keys in their order.
    """

    column: sa.ColumnElement[Any]
    key: sa.ColumnElement[Any]
    descending: bool
    after: sa.ColumnElement[Any] | None = None
    until: sa.ColumnElement[Any] | None = None
    alone: bool = False

    def of(self, connection: Connection, rows: sa.Select[Any], value: sa.ColumnElement[Any]) -> sa.Select[Any]:
        """Those of the rows that have the value, in the order of the key.

        PostgreSQL, told that the column equals the value, takes any index over the key alone for a good way and walks
        it until it has met enough such rows, which may be the whole table: it believes that they lie scattered. Told
        of a range, and of an order that begins with the column, it has no other index to read than that of the lanes.
        Where there is none it is told what is meant, and ends where the keys do and not with the lane.
        """
        directed = sa.desc if self.descending else sa.asc
        beyond, within = (operator.lt, operator.ge) if self.descending else (operator.gt, operator.le)
        at_or_beyond = operator.le if self.descending else operator.ge
        if self.alone or not is_postgres(connection):
            rows = rows.where(self.column == value)
            rows = rows if self.after is None else rows.where(beyond(self.key, self.after))
            rows = rows if self.until is None else rows.where(within(self.key, self.until))
            return rows.order_by(directed(self.key))
        # Pairs, for a scan begins and ends where they say; by what is said of the key alone it judges row after row.
        # Also where nothing is said of the key: of a column between two bounds it believes that hardly a row is left,
        # and sorts what may be very many. Never < nor >: it takes a pair for its first half, and nothing is beyond the
        # value that all have.
        pair = sa.tuple_(self.column, self.key)
        lowest, highest = sa.literal(_NO_ID, Id()), sa.literal(_LAST_ID, Id())
        start, end = (highest, lowest) if self.descending else (lowest, highest)
        first = at_or_beyond(pair, sa.tuple_(value, start if self.after is None else self.after))
        last = within(pair, sa.tuple_(value, end if self.until is None else self.until))
        rows = rows.where(first, last) if self.after is None else rows.where(first, last, self.key != self.after)
        return rows.order_by(directed(self.column), directed(self.key))


def has_index_of_ids(connection: Connection) -> bool:
    """Whether instances have an index of their ids. On PostgreSQL it would take up 66 bytes for each, for it gets an
    entry whenever a row changes; SQLite's takes 27, and `from_each` needs it.
    """
    return not is_postgres(connection)


@dataclass(frozen=True, slots=True)
class Within:
    """A column that comes before the lane's, and the ids that it is asked for."""

    column: sa.ColumnElement[Any]
    ids: Sequence[str]


def from_each(
    connection: Connection,
    values: Sequence[int | str],
    narrow: sa.Select[Any],
    lane: Lane,
    key: sa.ColumnElement[Any],
    within: Within | None = None,
) -> sa.Select[Any]:
    """What `narrow` (a SELECT of the key as `id`, with a limit) gives for each value of the lane's column, all
    together; for each value and each of the ids, where some are given.

    The values travel as one parameter, so that the statement is the same for any number of them. PostgreSQL repeats a
    subquery for each row of another (LATERAL). SQLite does not know that, but repeats what stands behind IN.
    """
    if is_postgres(connection):
        kind = sa.Text if isinstance(values[0], str) else sa.BigInteger
        each = _unnested(values, kind, "lane")
        outer: list[sa.FromClause] = [each]
        if within is not None:
            outer.append(_unnested(within.ids, sa.Uuid(as_uuid=False), "around"))
            narrow = narrow.where(within.column == outer[1].c.value)
        found = lane.of(connection, narrow, each.c.value).correlate(*outer).lateral("found")
        joined = functools.reduce(lambda one, other: one.join(other, sa.true()), [*outer, found])
        return sa.select(*found.c).select_from(joined)
    each = sa.func.json_each(json.dumps(list(values))).table_valued(sa.column("value", lane.column.type), name="lane")
    rows = key.table.alias("of_lane")
    start: sa.FromClause = each
    around: list[sa.FromClause] = []
    if within is not None:
        ids = [sa.select(sa.literal(one, within.column.type).label("value")) for one in within.ids]
        around = [sa.union_all(*ids).subquery("around")]
        start = around[0].join(each, sa.true())
        narrow = narrow.where(within.column == around[0].c.value)
    found_here = lane.of(connection, narrow, each.c.value).correlate(each, *around)
    own = rows.c[key.name]
    return sa.select(own.label("id")).select_from(start.join(rows, own.in_(found_here)))


def _unnested(values: Sequence[int | str], kind: Any, name: str) -> sa.TableValuedAlias:
    """An array as a table with one column, `value`. PostgreSQL only."""
    array = sa.cast(sa.bindparam(None, list(values), type_=sa.ARRAY(sa.Text)), sa.ARRAY(kind))
    return sa.func.unnest(array).table_valued(sa.column("value", kind), name=name).render_derived(name=name)


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


def version_number(connection: Connection) -> tuple[int, ...]:
    """(3, 40, 1) or (15, 4): from the driver, which was told when it connected."""
    found = connection.dialect.server_version_info
    return tuple(part for part in found or () if isinstance(part, int))


def too_old(*, is_postgres: bool, found: tuple[int, ...]) -> str:
    """What is wrong with this version of the database, and what helps; nothing when it will do."""
    name, floor = ("PostgreSQL", POSTGRES_FLOOR) if is_postgres else ("SQLite", SQLITE_FLOOR)
    if found >= floor[: len(found)]:
        return ""
    needed = ".".join(map(str, floor)).removesuffix(".0").removesuffix(".0")
    what = "that server" if is_postgres else "the SQLite that this Python was built with"
    return f"{name} {'.'.join(map(str, found))} is too old, Pawl needs {needed} or later: upgrade {what}"


def lock_for_migration(connection: Connection) -> None:
    """One migrates, the others wait. SQLite's transaction is that lock already, but it lacks two functions that steps
    ask for.
    """
    if is_postgres(connection):
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        return
    driver: Any = connection.connection.driver_connection
    driver.create_function("pawl_sha256", 1, lambda text: hashlib.sha256(text.encode()).digest(), deterministic=True)
    driver.create_function("pawl_id", 1, _id_in, deterministic=True)


def _id_in(text: str) -> bytes | None:
    """The 16 bytes of an id, or None for any other text."""
    return id_bytes(text) if UUID.fullmatch(text) else None


def month_bounds(instant: int) -> tuple[str, int, int]:
    """Name, first and next-first instant of the UTC month that `instant` lies in: ("2026_11", ..., ...)."""
    first = dt.datetime.fromtimestamp(instant / 1e6, dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + dt.timedelta(days=32)).replace(day=1)
    return f"{first:%Y_%m}", int(first.timestamp() * 1e6), int(following.timestamp() * 1e6)


@dataclass(frozen=True, slots=True)
class Month:
    """A month that has partitions: from `first` on, until before `until`."""

    name: str
    first: int
    until: int


def months_of(connection: Connection, table: Table) -> list[Month]:
    """The months for which a table has partitions, oldest first; none on SQLite, where one file has no use for them."""
    if not is_postgres(connection):
        return []
    found = connection.execute(
        sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:name AS regclass)"),
        {"name": table.name},
    )
    names = (re.fullmatch(rf'"?{table.name}_(\d{{4}})_(\d\d)"?', name) for name in found.scalars())
    starts = sorted(dt.datetime(int(one[1]), int(one[2]), 1, tzinfo=dt.UTC) for one in names if one)
    return [Month(*month_bounds(round(start.timestamp() * 1e6))) for start in starts]


def create_partitions(connection: Connection, tables: Sequence[Table], now: int) -> list[str]:
    """This month's and next month's partitions, and a default one that should stay empty; which were missing, and are
    analysed now. PostgreSQL only: one SQLite file has no use for them.
    """
    if not is_postgres(connection):
        return []
    months = [Month(*month_bounds(now))]
    for _ in range(MONTHS_AHEAD):
        months.append(Month(*month_bounds(months[-1].until)))
    wanted = [f"{table.name}_{month.name}" for month in months for table in tables]
    wanted += [f"{table.name}_default" for table in tables]
    missing = _missing(connection, wanted)
    for table in tables:
        if f"{table.name}_default" in missing:
            connection.exec_driver_sql(f'CREATE TABLE "{table.name}_default" PARTITION OF "{table.name}" DEFAULT')
    for month in months:
        if any(f"{table.name}_{month.name}" in missing for table in tables):
            create_month(connection, tables, month)
    return sorted(missing)


def _missing(connection: Connection, names: Sequence[str]) -> set[str]:
    there = sa.text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NULL")
    return set(connection.execute(there, {"names": list(names)}).scalars())


def create_month(connection: Connection, tables: Sequence[Table], month: Month) -> None:
    """Partitions of one month, where they are missing, with what strayed into the default one before they were there.

    Made apart and attached: that keeps nobody from the table. Made in place it would have to be locked, and refused
    while the default partition holds a row of that month.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    low, high = first_id_at(month.first), first_id_at(month.until)
    for table in tables:
        name, key = f"{table.name}_{month.name}", next(iter(table.primary_key.columns)).name
        if not _missing(connection, [name]):
            continue
        columns = listed(_create_packed(connection, name, table.name))
        connection.exec_driver_sql(
            f'WITH strayed AS (DELETE FROM "{table.name}_default" WHERE "{key}" >= \'{low}\' AND "{key}" < \'{high}\''
            f' RETURNING {columns}) INSERT INTO "{name}" ({columns}) SELECT * FROM strayed'
        )
        connection.exec_driver_sql(
            f"ALTER TABLE \"{table.name}\" ATTACH PARTITION \"{name}\" FOR VALUES FROM ('{low}') TO ('{high}')"
        )
        leave_room(connection, table, month)
        connection.exec_driver_sql(f'ANALYZE "{name}"')


_PARTS = (
    "SELECT attname AS name, quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)"
    " || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END"
    " || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '') AS definition,"
    " CASE WHEN typlen < 0 THEN 5 ELSE position(typalign IN 'disc') END AS place, attnum"
    " FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid = CAST(:of AS regclass) AND attnum > 0 AND NOT attisdropped"
    " UNION ALL SELECT NULL, 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid), 6, 0"
    " FROM pg_constraint WHERE conrelid = CAST(:of AS regclass) AND contype = 'c' ORDER BY place, attnum"
)


def _create_packed(connection: Connection, name: str, of: str) -> list[str]:
    """A table that can become a partition of another one; its columns. They stand in an order of their own: the widest
    first, those without a width last. In the order in which they came, one after the other, a task and its placement
    lose 24 bytes to alignment. Indexes come when it is attached.
    """
    parts = connection.execute(sa.text(_PARTS), {"of": of}).all()
    connection.exec_driver_sql(f'CREATE TABLE "{name}" ({", ".join(one.definition for one in parts)})')
    return [one.name for one in parts if one.name is not None]


# Per cent of a page of the key's index that rows fill as they come. Each of them changes once, which makes a second
# entry for the same key; where a page has room for both, it is not split, and half empty ever after.
_FILL = {"sched_task": 60, "sched_task_instance": 65}


def leave_room(connection: Connection, table: Table, month: Month) -> None:
    """In the index of a month's keys, for what comes from now on."""
    if fill := _FILL.get(table.name):
        connection.exec_driver_sql(f'ALTER INDEX "{table.name}_{month.name}_pkey" SET (fillfactor = {fill})')


def repack(connection: Connection, tables: Sequence[Table]) -> None:
    """Months that are still empty, made again as months are made now. PostgreSQL only."""
    for table in tables:
        for month in months_of(connection, table):
            if connection.exec_driver_sql(f'SELECT 1 FROM "{table.name}_{month.name}" LIMIT 1').first() is None:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # a migration waits for whoever is at work
                drop_partition(connection, table, month)
                create_month(connection, [table], month)
            else:
                leave_room(connection, table, month)


def strays(connection: Connection, tables: Iterable[Table]) -> dict[str, str]:
    """Tables whose default partition is not empty, each with the smallest id in it."""
    if not is_postgres(connection):
        return {}
    found = {}
    for table in tables:
        key = next(iter(table.primary_key.columns)).name
        first = connection.exec_driver_sql(f'SELECT "{key}" FROM "{table.name}_default" ORDER BY 1 LIMIT 1').scalar()
        if first is not None:
            found[table.name] = str(first)
    return found


def lock_out(connection: Connection, tables: Iterable[Table]) -> None:
    """Keep everybody else from these tables until this transaction ends. Gives up soon, for whoever comes after us
    waits behind us.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    connection.exec_driver_sql("LOCK TABLE " + listed(table.name for table in tables) + " IN ACCESS EXCLUSIVE MODE")


def drop_partition(connection: Connection, table: Table, month: Month) -> None:
    """A month of a table, with everything in it."""
    connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{table.name}_{month.name}"')


def empty_partition(connection: Connection, table: Table, month: Month) -> None:
    """Everything in a month of a table; the partition stays for what may yet come."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    if not _missing(connection, [f"{table.name}_{month.name}"]):
        connection.exec_driver_sql(f'TRUNCATE "{table.name}_{month.name}"')


def hold_history(connection: Connection, *, shared: bool = False) -> None:
    """Whoever drops history, and whoever takes a task back out of it (`shared`), exclude each other. SQLite's
    transaction is that lock already.
    """
    if is_postgres(connection):
        lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        connection.exec_driver_sql(f"SELECT {lock}({HISTORY_LOCK})")


def hold_caps(connection: Connection) -> None:
    """Whoever counts what runs under a cap does so alone until its transaction ends. SQLite's transaction is that lock
    already.
    """
    if is_postgres(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CAPS_LOCK})")


def take_time(connection: Connection) -> None:
    """This transaction reads a lot: the limit of one statement is not for it."""
    if is_postgres(connection):
        _begin_one(connection)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {LONG_SECONDS * 1000}")


def analyse(connection: Connection, tables: Iterable[Table]) -> None:
    """Let the planner know what has grown. PostgreSQL does so by itself, but never for a partitioned table as a whole.
    SQLite is left without: its own guesses prefer indexes, and figures of a small beginning would mislead it later.
    """
    if is_postgres(connection):
        take_time(connection)
        for table in tables:
            connection.exec_driver_sql(f'ANALYZE "{table.name}"')


def give_back(connection: Connection, most: int) -> int:
    """Give free pages of a SQLite file back to the file system, once they are a tenth of it; how many. PostgreSQL's
    autovacuum reuses them, and dropped partitions are gone at once.
    """
    if is_postgres(connection):
        return 0
    free, pages, mode = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("freelist_count", "page_count", "auto_vacuum")
    )
    if mode != INCREMENTAL or free < max(FREE_PAGES, pages // 10):
        return 0
    driver = connection.connection.driver_connection
    assert driver is not None  # the transaction is open
    given = min(most, free)
    for _ in range(given):  # asked for many, the statement stops after the first: Python does not step it on
        driver.execute("PRAGMA incremental_vacuum(1)")
    return given


def tune_tables(connection: Connection) -> None:
    """The ready table loses a row for every task: without eager vacuum its dead rows slow every claim."""
    if is_postgres(connection):
        for table in ("sched_ready", "sched_timer"):
            connection.exec_driver_sql(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
                " fillfactor = 90)"
            )
