"""What every task asks: statements made once, for SQLAlchemy takes longer to make one than a database to answer it, and
sent together to a database that is a message away.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from controlplane.store import batches
from controlplane.store.arrays import ID, array_of, id_bytes, id_text, kind_of
from controlplane.store.dialect import Id, is_postgres


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
    def for_sqlite(self) -> tuple[str, list[tuple[str, bool]], list[int]]:
        """Its text, the parameters in its order, each with whether it is an id, and which columns are ids."""
        made = self._rows.compile(dialect=sqlite.dialect(paramstyle="qmark"))
        ids = [place for place, column in enumerate(self._rows.selected_columns) if isinstance(column.type, Id)]
        return str(made), [(name, isinstance(made.binds[name].type, Id)) for name in made.positiontup or ()], ids


@dataclass(frozen=True, slots=True)
class Question:
    """A statement and what it is asked about."""

    statement: ReadyMade
    values: Mapping[str, Any]


def ask(connection: Connection, questions: Sequence[Question]) -> list[list[Any]]:
    """The rows of each. Inside a transaction that writes."""
    if is_postgres(connection):
        for one in questions:
            text, pack = one.statement.for_postgres
            batches.send(connection, text, [to(one.values[name]) for name, to in pack])
        return batches.answers(connection, [one.statement.row for one in questions])
    return [_of_file(connection, one) for one in questions]


def _of_file(connection: Connection, asked: Question) -> list[Any]:
    text, names, ids = asked.statement.for_sqlite
    values = [id_bytes(asked.values[name]) if is_id else asked.values[name] for name, is_id in names]
    rows = []
    for found in batches.rows_of(connection, text, values):
        row = list(found)
        for place in ids:
            row[place] = None if row[place] is None else id_text(row[place])
        rows.append(asked.statement.row(row))
    return rows


def _packer(kind: TypeEngine[Any]) -> Callable[[Any], bytes]:
    """A lone value is the element of an array, without its length."""
    if isinstance(kind, sa.ARRAY):
        elements = ID if isinstance(kind.item_type, Id) else kind_of(kind.item_type)
        return lambda values: array_of(elements, values)
    one = ID if isinstance(kind, Id) else kind_of(kind)
    return lambda value: one.pack((value,))[4:]
