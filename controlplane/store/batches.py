"""What every task writes: many rows at once, in the two databases' own ways, past the cursors of SQLAlchemy.

Its own way builds a dictionary and sends a message for each row, which costs more than the row itself. On PostgreSQL a
column travels as one array in binary, a statement for all rows is part of one message, and what nobody waits for goes
with what somebody does, the last of it with COMMIT: a message costs 0.1 ms of waiting there and back, and 0.05 of CPU.
To SQLite a statement is a call of a function, and `executemany` a loop in C that only needs the values in order.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table, event

from controlplane.domain.errors import Fenced
from controlplane.store.arrays import COUNT, ID, Kind, array_of, id_bytes, kind_of
from controlplane.store.dialect import EXCHANGE, Id, as_told, is_postgres, listed

Row = tuple[Any, ...]
_PREPARED = "pawl_prepared"


def frame_transactions(engine: Engine, *, always: bool) -> None:
    """Transactions as an exchange wants them: the driver's own BEGIN would wait for its answer. PostgreSQL only, with
    the driver in autocommit. Not `always`: only where somebody begins one, for what is read is what was committed when
    each statement began, in a transaction or not.
    """
    from controlplane.store.exchange import Exchange

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        connection.info[EXCHANGE] = exchange = Exchange(driver, connection.info.setdefault(_PREPARED, {}))
        if always:
            exchange.begin()

    @event.listens_for(engine, "before_cursor_execute")
    def _executes(connection: Connection, *_: object) -> None:
        if (exchange := connection.info.get(EXCHANGE)) is not None and exchange.open:
            _settle(connection, exchange)

    @event.listens_for(engine, "commit")
    def _commit(connection: Connection) -> None:
        exchange = connection.info[EXCHANGE]
        if not exchange.begun:
            _settle(connection, exchange)
            return
        exchange.send("COMMIT")
        try:
            done = _settle(connection, exchange)[-1].command_status
        except Exception:
            _rollback(connection)  # nobody else does, for whom it has ended
            raise
        if done != b"COMMIT":
            raise RuntimeError(f"a transaction that had failed was to be committed: {done}")

    @event.listens_for(engine, "rollback")
    def _rollback(connection: Connection) -> None:
        if not connection.invalidated:
            connection.info[EXCHANGE].roll_back()


def _settle(connection: Connection, exchange: Any) -> list[Any]:
    """The answers to all that was sent, or the error that SQLAlchemy makes of the first failure."""
    import psycopg

    try:
        found: list[Any] = exchange.settle()
        return found
    except psycopg.errors.DivisionByZero as error:
        raise Fenced("a row changed under this transaction") from error
    except psycopg.Error as error:
        broken = connection.connection.driver_connection.broken  # type: ignore[union-attr] # psycopg's
        if broken:
            connection.invalidate(error)
        raise as_told(error, psycopg.Error, broken=broken) from error


_TOLD: WeakKeyDictionary[Engine, Callable[[], None]] = WeakKeyDictionary()


def send(connection: Connection, statement: str, values: Sequence[bytes]) -> None:
    """A statement whose answer, or that it failed, is heard with the next answer. PostgreSQL only."""
    connection.info[EXCHANGE].send(statement, values)
    _count(connection)


def answers(connection: Connection, makers: Sequence[Callable[[Sequence[Any]], Any]]) -> list[list[Any]]:
    """The rows that the last statements answer, each made by its own maker. PostgreSQL only."""
    from psycopg.adapt import Transformer

    found = []
    reading = Transformer(connection.connection.driver_connection)
    for make, answer in zip(makers, _settle(connection, connection.info[EXCHANGE])[-len(makers) :], strict=True):
        reading.set_pgresult(answer)
        found.append(reading.load_rows(0, answer.ntuples, make))
    return found


def rows_of(connection: Connection, statement: str, values: Sequence[Any]) -> list[Row]:
    """What a SELECT finds. SQLite only."""
    driver: Any = connection.connection.driver_connection
    _count(connection)
    try:
        found: list[Row] = driver.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise as_told(error, sqlite3.Error) from error
    return found


def _each(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run a statement for each row; how many rows it was about. SQLite only, past SQLAlchemy for the same reason."""
    driver: Any = connection.connection.driver_connection
    _count(connection)
    try:
        return int(driver.executemany(statement, rows).rowcount)
    except sqlite3.Error as error:
        raise as_told(error, sqlite3.Error) from error


def _count(connection: Connection) -> None:
    if (told := _TOLD.get(connection.engine)) is not None:
        told()


def count_statements(engine: Engine, told: Callable[[], None]) -> None:
    """Tell of each statement that is sent. The frame of a transaction is none."""

    _TOLD[engine] = told

    @event.listens_for(engine, "before_cursor_execute")
    def _sent(*_: object) -> None:
        told()


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if rows:
        names = tuple(rows[0])
        insert_tuples(connection, table, names, [tuple(row.values()) for row in rows])


def insert_tuples(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows that are values of these columns, in their order."""
    if not rows:
        return
    values = _columns(connection, table, names, rows)
    if is_postgres(connection):
        send(connection, _insert_arrays(table, names), values)
    else:
        _each(connection, _insert_each(table, names), list(zip(*values, strict=True)))


def insert_new(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Row]) -> int:
    """The same with rows some of which may be there already: those stay as they are. How many were new."""
    if not rows:
        return 0
    values, ignoring = _columns(connection, table, names, rows), " ON CONFLICT DO NOTHING"
    if is_postgres(connection):
        send(connection, _insert_arrays(table, names) + ignoring, values)
        return int(_settle(connection, connection.info[EXCHANGE])[-1].command_tuples or 0)
    return _each(connection, _insert_each(table, names) + ignoring, list(zip(*values, strict=True)))


def update_rows(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    changes: tuple[str, ...],
    rows: Sequence[Row],
    *,
    kept: tuple[str, ...] = (),
    cleared: tuple[str, ...] = (),
    all_of_them: bool = False,
) -> None:
    """Set columns of rows. Each of `rows` has the values of `changes`, and then those of `keys` by which the row is
    found. A None leaves a column in `kept` as it is, those in `cleared` become NULL. Rows of one key are taken in their
    order. `all_of_them`: a row that is not found fails the transaction, here or where it commits, with Fenced.
    """
    if not rows:
        return
    if is_postgres(connection):
        statement = _update_arrays(table, keys, changes, kept, cleared)
        for together in _apart(rows, len(changes)):
            values = _columns(connection, table, (*changes, *keys), together)
            if all_of_them:
                send(connection, _checked(statement), [*values, array_of(COUNT, (len(together),))])
            else:
                send(connection, statement, values)
        return
    values = _columns(connection, table, (*changes, *keys), rows)
    statement = _update_each(table, keys, changes, kept, cleared)
    found = _each(connection, statement, list(zip(*values, strict=True)))
    if all_of_them and found != len(rows):
        raise Fenced("a row changed under this transaction")


@lru_cache(maxsize=256)
def _checked(update: str) -> str:
    """An UPDATE that fails, as a division by zero, unless it found as many rows as its last value says: to be told the
    number and to look would be a message more.
    """
    number = update.count("$") + 1
    return f"WITH done AS ({update} RETURNING 1) SELECT 1 / (count(*) = (${number}::bigint[])[1])::integer FROM done"


def delete_rows(connection: Connection, column: sa.Column[Any], values: Sequence[Any]) -> None:
    """Delete the rows in whose column one of the values stands."""
    if not values:
        return
    [bound] = _columns(connection, column.table, (column.name,), [(value,) for value in values])
    statement = f'DELETE FROM "{column.table.name}" WHERE "{column.name}" = '
    if is_postgres(connection):
        send(connection, f"{statement} ANY({_array(column, 1)})", [bound])
    else:
        _each(connection, f"{statement} ?", [(value,) for value in bound])


def _apart(rows: Sequence[Row], key: int) -> Iterator[Sequence[Row]]:
    """One statement sees the rows as they were before it: two changes of one row need two statements."""
    if len({row[key] for row in rows}) == len(rows):
        # In the order of their keys, so that they are locked in it: nobody waits for another in a circle.
        yield sorted(rows, key=operator.itemgetter(key))
        return
    together: list[Row] = []
    seen: set[Any] = set()
    for row in rows:
        if row[key] in seen:
            yield together
            together, seen = [], set()
        together.append(row)
        seen.add(row[key])
    yield together


def _columns(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Row]) -> list[Any]:
    """The columns' values as the driver takes them: on PostgreSQL one array each, else one by one."""
    columns = zip(*rows, strict=True)
    if is_postgres(connection):
        return [array_of(kind, values) for kind, values in zip(_kinds(table, names), columns, strict=True)]
    return [
        values if one is None else [None if value is None else one(value) for value in values]
        for one, values in zip(_bound(table, names), columns, strict=True)
    ]


@lru_cache(maxsize=256)
def _kinds(table: Table, names: tuple[str, ...]) -> tuple[Kind, ...]:
    return tuple(_kind(table.c[name]) for name in names)


def _kind(column: sa.Column[Any]) -> Kind:
    return ID if isinstance(column.type, Id) else kind_of(column.type)


@lru_cache(maxsize=256)
def _bound(table: Table, names: tuple[str, ...]) -> tuple[Callable[[Any], Any] | None, ...]:
    """What makes values of these columns what the driver takes: plain numbers of members of an enumeration, for one."""
    return tuple(_as_bound(table.c[name]) for name in names)


def _as_bound(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, Id):
        return id_bytes
    return int if isinstance(column.type, sa.SmallInteger) else None


def _array(column: sa.Column[Any], place: int) -> str:
    """A placeholder for an array, and of what."""
    return f"${place}::{_kind(column).name}[]"


def _arrays(table: Table, names: Sequence[str]) -> str:
    return ", ".join(_array(table.c[name], place) for place, name in enumerate(names, start=1))


@lru_cache(maxsize=256)
def _insert_arrays(table: Table, names: tuple[str, ...]) -> str:
    return f'INSERT INTO "{table.name}" ({listed(names)}) SELECT * FROM unnest({_arrays(table, names)})'


@lru_cache(maxsize=256)
def _insert_each(table: Table, names: tuple[str, ...]) -> str:
    return f'INSERT INTO "{table.name}" ({listed(names)}) VALUES ({", ".join("?" * len(names))})'


@lru_cache(maxsize=256)
def _update_arrays(
    table: Table, keys: tuple[str, ...], changes: tuple[str, ...], kept: tuple[str, ...], cleared: tuple[str, ...]
) -> str:
    arrays = _arrays(table, (*changes, *keys))
    before = [f"b_{key}" for key in keys]
    new = {name: f'n."{name}"' for name in changes}
    new |= {name: f'coalesce(n."{name}", old."{name}")' for name in kept}
    new |= dict.fromkeys(cleared, "NULL")
    return (
        f'UPDATE "{table.name}" AS old SET '
        + ", ".join(f'"{name}" = {value}' for name, value in new.items())
        + f" FROM unnest({arrays}) AS n({listed((*changes, *before))})"
        + " WHERE "
        + " AND ".join(f'old."{key}" = n."b_{key}"' for key in keys)
    )


@lru_cache(maxsize=256)
def _update_each(
    table: Table, keys: tuple[str, ...], changes: tuple[str, ...], kept: tuple[str, ...], cleared: tuple[str, ...]
) -> str:
    new = dict.fromkeys(changes, "?") | {name: f'coalesce(?, "{name}")' for name in kept}
    new |= dict.fromkeys(cleared, "NULL")
    return (
        f'UPDATE "{table.name}" SET '
        + ", ".join(f'"{name}" = {value}' for name, value in new.items())
        + " WHERE "
        + " AND ".join(f'"{key}" = ?' for key in keys)
    )
