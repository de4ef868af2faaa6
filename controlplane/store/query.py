"""Lists: one SELECT with a filter, an order and a page, with the same answer from both databases.

The meaning stands in `controlplane.domain.filter` (`matches`, `in_order`); here it becomes SQL, in forms that
both databases understand alike: LIKE is not used at all (its case rules differ and its wildcards need escaping),
text is ordered by bytes, NULL has its place written out. Not here: which fields a noun has, and what a row becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row, Select
from sqlalchemy.types import TypeEngine

from controlplane.domain.filter import AnyOf, Condition, Kind, Op, OrderTerm, Scalar, by_id
from controlplane.domain.page import REACH, PageRequest, Position, read_token, write_token
from controlplane.store.dialect import Follows, Id, Lane, Narrow, Within, bytewise, from_each
from controlplane.store.lanes import Bounds, Lanes, Split, bounds, split

# Values travel in the widest type of their kind: a bound as narrow as a SMALLINT column would refuse 40000 with an
# error instead of finding nothing. Indexes on narrower integers serve these comparisons too.
_BOUND_AS: dict[Kind, TypeEngine[Any]] = {
    Kind.ID: Id(),
    Kind.TEXT: sa.Text(),
    Kind.INT: sa.BigInteger(),
    Kind.FLOAT: sa.Double(),
    Kind.BOOL: sa.Boolean(),
    Kind.INSTANT: sa.BigInteger(),
    Kind.ENUM: sa.BigInteger(),
    Kind.TAGS: sa.Text(),
}


class Columns(Protocol):
    """Columns by `Field.stored_as`: a dict, or a table's `.c`."""

    def __getitem__(self, key: str, /) -> ColumnElement[Any]:
        """The column of this name."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Where the tags of a noun's rows are: a table with one row per tag, read through its (key, value) index. `select`
    gives the tags of all the rows that the listing has, without those rows.
    """

    select: Select[Any]
    row_id: ColumnElement[Any]  # of the row that is asked for
    owner: ColumnElement[Any]  # the same id in the table of tags
    key: ColumnElement[Any]
    value: ColumnElement[Any]
    scope: tuple[ColumnElement[bool], ...] = ()  # what else the index begins with, such as the namespace

    def having(self, key: str, values: Sequence[Scalar]) -> ColumnElement[bool]:
        """Rows that carry this tag with one of these values."""
        tagged = sa.select(self.owner).where(*self.scope, self.key == key, self.value.in_(values))
        return self.row_id.in_(tagged)

    def joined(self, key: str) -> ColumnElement[bool]:
        """Rows that carry this tag, as a join: a row has a key once, so none comes twice. IN would first collect all
        that carry it; a join ends with the page."""
        return sa.and_(self.owner == self.row_id, *self.scope, self.key == key)


@dataclass(frozen=True, slots=True)
class Listing:
    """A noun's rows as they can be asked for: the SELECT with all that always holds (namespace, not deleted)."""

    select: Select[Any]
    columns: Columns
    tags: Tags | None = None
    lanes: Lanes | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One part of a result. Rows carry the sort values as further columns at their end."""

    rows: Sequence[Row[Any]]
    total: int
    total_is_estimate: bool  # then `total` is a lower bound
    number: int
    size: int
    has_more: bool
    next_token: str


def page(
    connection: Connection,
    listing: Listing,
    tree: AnyOf,
    order: Sequence[OrderTerm],
    request: PageRequest,
    *,
    query: bytes,
    secret: bytes = b"",
) -> Page:
    """Read one page. `query` is `domain.page.query_digest` of this question; tokens are bound to it and to `secret`."""
    order = by_id(order)
    keys = [_sort_key(connection, listing, term) for term in order]
    position = read_token(request.token, order, query, secret) if request.token else None
    parts = split(listing.lanes, tree, order) if listing.lanes else None
    matching = listing.select.where(where(connection, listing, tree))
    if parts is None:
        wanted = _part(matching, keys, position, request)
    else:
        wanted = _in_lanes(connection, listing, parts, keys[0], position, request)
        told = _tagged(listing, parts) if parts.tag else _counted(connection, listing, parts, keys[0])
        matching = matching if told is None else told
    wanted = wanted.add_columns(*(key.plain.label(f"_order_{index}") for index, key in enumerate(keys)))
    rows = connection.execute(wanted).all()
    has_more = len(rows) > request.size
    rows = rows[: request.size]
    total, is_estimate = _total(connection, matching, request, len(rows), has_more)
    token = write_token(tuple(rows[-1][-len(keys) :]), query, secret) if has_more else ""
    return Page(rows, total, is_estimate, request.number, request.size, has_more, token)


def _part(
    matching: Select[Any], keys: Sequence[_SortKey], position: Position | None, request: PageRequest
) -> Select[Any]:
    """What the page shows of all that match, and one row more, which tells whether there is a next page."""
    if position is not None:
        matching = matching.where(_after(position, keys))
    matching = matching.order_by(*(key.ordering() for key in keys))
    return matching.limit(request.size + 1).offset(request.offset or None)


def _in_lanes(
    connection: Connection,
    listing: Listing,
    parts: Split,
    key: _SortKey,
    position: Position | None,
    request: PageRequest,
) -> Select[Any]:
    """What the page shows, by lanes."""
    if len(parts.values) <= 1 and not parts.within:
        base, column, lane_key = _laned(connection, listing, parts, key)
        value = sa.literal(next(iter(parts.values), None), column.type)
        single = _lane(listing, column, lane_key, parts, position).of(connection, base, value)
        return single.limit(request.size + 1).offset(request.offset or None)
    # Only ids, as many from each lane as the page could show; then the rows of those that it does show.
    merged = _merged(connection, listing, parts, key, position, request.offset + request.size + 1)
    order: ColumnElement[Any] = sa.desc("id") if key.descending else sa.asc("id")
    shown = merged.order_by(order).limit(request.size + 1).offset(request.offset or None).subquery()
    if listing.lanes is None or listing.lanes.own_index:
        chosen = key.plain.in_(sa.select(shown.c.id))
    else:
        own = sa.tuple_(listing.columns[listing.lanes.field], key.plain)
        chosen = own.in_(sa.select(shown.c.lane, shown.c.id))
    return listing.select.where(chosen).order_by(key.ordering())


def _merged(
    connection: Connection, listing: Listing, parts: Split, key: _SortKey, position: Position | None, most: int
) -> Select[Any]:
    """Up to so many ids from each lane, with the lane's value where ids are only found by it."""
    base, column, lane_key = _laned(connection, listing, parts, key)
    lane = _lane(listing, column, lane_key, parts, position)
    told = (lane_key.plain.label("id"), column.label("lane")) if lane.alone else (lane_key.plain.label("id"),)
    narrow = base.with_only_columns(*told, maintain_column_froms=True).limit(most)
    within = None
    if parts.within and listing.lanes is not None:
        within = Within(listing.columns[listing.lanes.within], parts.within)
    return from_each(connection, parts.values, narrow, lane, key.plain, within)


def _tagged(listing: Listing, parts: Split) -> Select[Any] | None:
    """What matches, where tags alone tell how many that are: each is of another row."""
    if listing.tags is None or any(one.conditions for one in parts.rest.alternatives):
        return None
    return listing.tags.select.where(listing.tags.key == parts.tag, listing.tags.value.in_(parts.values))


def _counted(connection: Connection, listing: Listing, parts: Split, key: _SortKey) -> Select[Any] | None:
    """What matches, said by the values of the lanes: an index finds these, where of "not SUCCEEDED" it would walk all
    that are not asked for. Where only the lanes hold the ids, what lies between two of them is counted in each lane:
    of all together PostgreSQL would collect every one before it counts the first."""
    lanes = listing.lanes
    if lanes is None:
        return None
    if not lanes.own_index and parts.known != Bounds():
        return _merged(connection, listing, parts, key, None, REACH + 1)
    if len(parts.values) == len(lanes.values):
        return None
    found = listing.select.where(where(connection, listing, parts.rest))
    found = found.where(listing.columns[lanes.field].in_(parts.values))
    return found.where(listing.columns[lanes.within].in_(parts.within)) if parts.within else found


def _lane(listing: Listing, column: ColumnElement[Any], key: _SortKey, parts: Split, position: Position | None) -> Lane:
    """Where the lanes begin and end: after the position, and within what the question says of the ids."""
    known = parts.known
    here = None if position is None else str(position[0])
    if key.descending:
        first = min((one for one in (here, known.high) if one is not None), default=None)
        last = known.low
    else:
        first, last = max((one for one in (here, known.low) if one is not None), default=None), known.high
    # What the lane begins after is no row of it: a bound that is reached must be an id that nobody has.
    after, until = (None if one is None else _bound(one, key.kind) for one in (first, last))
    alone = listing.lanes is not None and not listing.lanes.own_index
    return Lane(column, key.plain, key.descending, after, until, alone)


def _laned(
    connection: Connection, listing: Listing, parts: Split, key: _SortKey
) -> tuple[Select[Any], ColumnElement[Any], _SortKey]:
    """What holds in every lane, the column that tells them apart, and the key as the lanes' index has it."""
    base = listing.select.where(where(connection, listing, parts.rest))
    if parts.tag and listing.tags is not None:
        owner = listing.tags.owner
        return base.where(listing.tags.joined(parts.tag)), listing.tags.value, replace(key, column=owner, plain=owner)
    if listing.lanes is None:
        raise LookupError("a listing without lanes was split into lanes")
    return base, listing.columns[listing.lanes.field], key


def _total(
    connection: Connection, matching: Select[Any], request: PageRequest, shown: int, has_more: bool
) -> tuple[int, bool]:
    """How many rows match, counted no further than is promised. The last page by number tells without counting."""
    seen = request.offset + shown if shown else 0  # an offset beyond the end has seen nothing
    if not request.token and not has_more and (shown or not request.offset) and seen <= REACH:
        return seen, False
    bounded = matching.order_by(None).with_only_columns(sa.literal(1), maintain_column_froms=True).limit(REACH + 1)
    counted = connection.execute(sa.select(sa.func.count()).select_from(bounded.subquery())).scalar_one()
    # Two statements of one transaction may see two moments: never fewer than what is on the page.
    counted = max(counted, seen + has_more)
    return min(counted, REACH), counted > REACH


# ---------------------------------------------------------------- conditions


def where(connection: Connection, listing: Listing, tree: AnyOf) -> ColumnElement[bool]:
    """The filter as a condition."""
    return sa.or_(
        sa.false(),
        *(
            sa.and_(sa.true(), *(_condition(connection, listing, one) for one in alternative.conditions))
            for alternative in tree.alternatives
        ),
    )


def _condition(connection: Connection, listing: Listing, condition: Condition) -> ColumnElement[bool]:
    value = condition.value
    if condition.field.kind is Kind.TAGS:
        if listing.tags is None:
            raise LookupError(f"{condition.field.name} is filterable and the listing has no tags")
        return listing.tags.having(condition.tag, value if isinstance(value, tuple) else (value,))
    column = listing.columns[condition.field.stored_as]
    lanes = listing.lanes
    if lanes and not lanes.own_index and condition.field.name == lanes.key and condition.operator in (Op.EQ, Op.IN):
        # All values that there are: so many places in the lanes' index, where it would be read from end to end.
        return sa.and_(_compared(connection, column, condition), listing.columns[lanes.field].in_(lanes.values))
    if condition.field.in_id:
        asked = _compared(connection, column, condition)
        around = _bounded(listing.columns["id"], bounds(condition))
        return sa.and_(Follows(asked) if around and lanes and not lanes.own_index else asked, *around)
    asked = _compared(connection, column, condition)
    return Narrow(asked) if lanes and condition.field.name == lanes.key and condition.operator in _BEYOND else asked


_BEYOND = (Op.LT, Op.LTE, Op.GT, Op.GTE)


def _bounded(key: ColumnElement[Any], known: Bounds) -> list[ColumnElement[bool]]:
    """What an index over the ids can be asked for an instant that they are made of."""
    low = [] if known.low is None else [key >= _bound(known.low, Kind.ID)]
    return low if known.high is None else [*low, key < _bound(known.high, Kind.ID)]


def _compared(connection: Connection, column: ColumnElement[Any], condition: Condition) -> ColumnElement[bool]:
    value = condition.value
    if isinstance(value, tuple):
        return _membership(column, condition.operator, value, condition.field.kind)
    if condition.operator is Op.NULL:
        return column.is_(None) if value else column.is_not(None)
    if condition.operator in (Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH):
        return _pattern(bytewise(connection, column), condition.operator, str(value))
    bound = _bound(value, condition.field.kind)
    if condition.operator is Op.EQ:
        return column == bound
    if condition.operator is Op.NOT:
        return column.is_distinct_from(bound)
    # Only comparisons depend on the collation; equality without it can use every index.
    ordered = bytewise(connection, column) if condition.field.kind is Kind.TEXT else column
    return {
        Op.LT: ordered < bound,
        Op.LTE: ordered <= bound,
        Op.GT: ordered > bound,
        Op.GTE: ordered >= bound,
    }[condition.operator]


def _membership(
    column: ColumnElement[Any], operator: Op, values: tuple[Scalar, ...], kind: Kind
) -> ColumnElement[bool]:
    listed = sa.bindparam(None, list(values), type_=_BOUND_AS[kind], expanding=True)
    if operator is Op.IN:
        return column.in_(listed) if values else sa.false()
    return sa.or_(column.is_(None), column.not_in(listed)) if values else sa.true()


def _pattern(text: ColumnElement[Any], operator: Op, part: str) -> ColumnElement[bool]:
    if not part:
        return text.is_not(None)
    bound, length = sa.literal(part, sa.Text()), len(part)
    if operator is Op.STARTS_WITH:
        return sa.func.substr(text, 1, length) == bound
    if operator is Op.ENDS_WITH:
        # The guard keeps the start positive: from there on the two databases' substr differ.
        start = sa.func.length(text) - length + 1
        return sa.and_(sa.func.length(text) >= length, sa.func.substr(text, start) == bound)
    # Contains: taking it out changes the text. instr and strpos would need a function per database.
    return sa.func.replace(text, bound, sa.literal("", sa.Text())) != text


def _bound(value: Scalar | None, kind: Kind) -> ColumnElement[Any]:
    return sa.bindparam(None, value, type_=_BOUND_AS[kind], unique=True)


# ---------------------------------------------------------------- order and position


@dataclass(frozen=True, slots=True)
class _SortKey:
    column: ColumnElement[Any]  # as compared
    plain: ColumnElement[Any]  # as read
    kind: Kind
    descending: bool
    nullable: bool

    def ordering(self) -> ColumnElement[Any]:
        """Rows without a value last. Unsaid where there are none: an index then serves the order as it is."""
        directed = self.column.desc() if self.descending else self.column.asc()
        return directed.nulls_last() if self.nullable else directed

    def beyond(self, value: Scalar | None) -> ColumnElement[bool]:
        """Rows that come later by this key alone."""
        if value is None:
            return sa.false()
        bound = _bound(value, self.kind)
        later = self.column < bound if self.descending else self.column > bound
        return sa.or_(later, self.column.is_(None)) if self.nullable else later

    def at(self, value: Scalar | None) -> ColumnElement[bool]:
        """Rows that this key does not tell apart from the position."""
        return self.plain.is_(None) if value is None else self.plain == _bound(value, self.kind)


def _sort_key(connection: Connection, listing: Listing, term: OrderTerm) -> _SortKey:
    plain = listing.columns[term.field.stored_as]
    column = bytewise(connection, plain) if term.field.kind is Kind.TEXT else plain
    return _SortKey(column, plain, term.field.kind, term.descending, getattr(plain, "nullable", True) is not False)


def _after(position: Position, keys: Sequence[_SortKey]) -> ColumnElement[bool]:
    """Rows after a position. As one row comparison where that says it, since an index can start there."""
    if len({key.descending for key in keys}) == 1 and not any(key.nullable for key in keys):
        row = sa.tuple_(*(key.column for key in keys))
        bounds = sa.tuple_(*(_bound(value, key.kind) for key, value in zip(keys, position, strict=True)))
        return row < bounds if keys[0].descending else row > bounds
    later: ColumnElement[bool] = sa.false()
    for key, value in reversed(list(zip(keys, position, strict=True))):
        later = sa.or_(key.beyond(value), sa.and_(key.at(value), later))
    return later
