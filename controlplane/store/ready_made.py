"""What every task asks: statements made once, for SQLAlchemy takes longer to make one than a database to answer it, and
sent together to a database that is a message away.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from controlplane.store import batches
from controlplane.store.arrays import ID, array_of, id_bytes, id_text, kind_of
from controlplane.store.dialect import EXCHANGE, Id, is_postgres, knows_arrays


class ReadyMade:
    """A SELECT of columns whose parameters have names; its rows have the columns' names. A parameter that is an ARRAY
    is for PostgreSQL alone.
    """

    def __init__(self, rows: sa.Select[Any]) -> None:
        self._rows = rows
        names = [column.name for column in rows.selected_columns]
        kind: Any = namedtuple("kind", names)  # type: ignore[misc] # known at run time
        self.row: Callable[[Sequence[Any]], Any] = kind._make

    def about(self, **values: Any) -> Question:
        """It, with values for its parameters."""
        return Question(self, values)

    @cached_property
    def for_postgres(self) -> tuple[str, list[tuple[str, Callable[[Any], bytes]]]]:
        """Its text, and what makes bytes of each parameter in the order of the text."""
        made = self._rows.compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))  # type: ignore[no-untyped-call]
        return str(made), [(name, _packer(made.binds[name].type)) for name in made.positiontup or ()]

    @cached_property
    def for_sqlite(self) -> tuple[str, list[_Bound], list[tuple[int, Callable[[Any], Any]]]]:
        """Its text, the parameters in its order, and what makes values of columns."""
        made = self._rows.compile(dialect=sqlite.dialect(paramstyle="qmark"))
        load: list[tuple[int, Callable[[Any], Any]]] = [
            (place, id_text if isinstance(column.type, Id) else bool)
            for place, column in enumerate(self._rows.selected_columns)
            if isinstance(column.type, Id | sa.Boolean)
        ]
        bound = ((name, made.binds[name]) for name in made.positiontup or ())
        return str(made), [_Bound(name, isinstance(one.type, Id), one.value) for name, one in bound], load

    def by_sqlalchemy(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """The rows, for whoever has a connection that is not of the store's own making."""
        return connection.execute(self._rows, values).all()


class _Bound(NamedTuple):
    """A parameter: its name, whether it is an id, and what it is where nobody says, as SQLAlchemy may have it."""

    name: str
    is_id: bool
    otherwise: Any

    def of(self, values: Mapping[str, Any]) -> Any:
        """What the driver takes."""
        value = values.get(self.name, self.otherwise)
        return id_bytes(value) if self.is_id else value


class ByIds:
    """A SELECT of what one of its columns is an id of. To SQLite, which has no arrays, a statement is of so many ids:
    it is made for few numbers of them, and what is missing repeats the last.
    """

    SIZES = (1, 8, 64, 512)

    def __init__(self, rows: sa.Select[Any], column: sa.Column[Any]) -> None:
        self._rows = rows
        self._column = column
        self._of_array = ReadyMade(rows.where(column == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(Id())))))
        self._of_few: dict[int, ReadyMade] = {}

    def about(self, connection: Connection, ids: Sequence[str]) -> list[Question]:
        """It, about all of these."""
        if knows_arrays(connection):
            return [self._of_array.about(ids=ids)] if ids else []
        most = self.SIZES[-1]
        return [self._about_few(ids[at : at + most]) for at in range(0, len(ids), most)]

    def _about_few(self, ids: Sequence[str]) -> Question:
        size = next(size for size in self.SIZES if size >= len(ids))
        if size not in self._of_few:
            given = [sa.bindparam(f"id_{place}", type_=Id()) for place in range(size)]
            self._of_few[size] = ReadyMade(self._rows.where(self._column.in_(given)))
        padded = [*ids, *[ids[-1]] * (size - len(ids))]
        return self._of_few[size].about(**{f"id_{place}": one for place, one in enumerate(padded)})


@dataclass(frozen=True, slots=True)
class Question:
    """A statement and what it is asked about."""

    statement: ReadyMade
    values: Mapping[str, Any]


def ask(connection: Connection, questions: Sequence[Question]) -> list[list[Any]]:
    """The rows of each, in one message."""
    if not questions:
        return []
    if EXCHANGE not in connection.info:
        return [list(one.statement.by_sqlalchemy(connection, one.values)) for one in questions]
    if is_postgres(connection):
        for one in questions:
            text, pack = one.statement.for_postgres
            batches.send(connection, text, [to(one.values[name]) for name, to in pack])
        return batches.answers(connection, [one.statement.row for one in questions])
    return [_of_file(connection, one) for one in questions]


def _of_file(connection: Connection, asked: Question) -> list[Any]:
    text, bound, load = asked.statement.for_sqlite
    rows = []
    for found in batches.rows_of(connection, text, [one.of(asked.values) for one in bound]):
        row = list(found)
        for place, to in load:
            row[place] = None if row[place] is None else to(row[place])
        rows.append(asked.statement.row(row))
    return rows


def _packer(kind: TypeEngine[Any]) -> Callable[[Any], bytes]:
    """A lone value is the element of an array, without its length."""
    if isinstance(kind, sa.ARRAY):
        elements = ID if isinstance(kind.item_type, Id) else kind_of(kind.item_type)
        return lambda values: array_of(elements, values)
    one = ID if isinstance(kind, Id) else kind_of(kind)
    return lambda value: one.pack((value,))[4:]
