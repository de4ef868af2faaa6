"""Lanes: reading an index once per value of a column, where asking for all the values at once would sort a table.

An index over (namespace, status, id) holds the tasks of every single status in the order of their ids. Neither
database merges several of them by itself: asked for two statuses, newest first, it sorts all that have one of them, or
walks from the newest row on until it has found enough, which may be the whole table when they are old. So a question
that such an index can answer is split into one for each value, each of which reads no more rows than the page holds;
`controlplane.store.query` merges them. Not here: SQL.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from msgspec import Struct

from controlplane.domain.filter import AllOf, AnyOf, Condition, Kind, Op, OrderTerm, matches
from controlplane.domain.ids import first_id_at, id_time

MAX_LANES = 20  # each is planned by itself
MOMENT = 60_000_000
SHORT = 6 * 3_600_000_000


class Lanes(Struct, frozen=True):
    """An index of the listing's rows: what the listing always asks for, then this field, then the key. And, where
    `within` names a field, a second one that begins with that field and goes on like the first.
    """

    field: str
    values: tuple[int, ...]  # all that the column can hold; never NULL
    key: str = "id"
    within: str = ""


class Split(Struct, frozen=True):
    """A question as lanes: rows that meet all of `rest`, and one of the values in the field or in the tag. Each value
    is a lane; with `within` there is one for each pair of that field's values and those.
    """

    rest: AllOf
    values: tuple[int | str, ...]
    tag: str = ""
    within: tuple[str, ...] = ()


def split(lanes: Lanes, tree: AnyOf, order: Sequence[OrderTerm]) -> Split | None:
    """The question as lanes, or None where another index serves it better or none does."""
    if not tree.alternatives or [term.field.name for term in order] != [lanes.key]:
        return None
    # Alternatives that differ in the lanes' field alone are one question with several values.
    mine = AnyOf(tuple(_of(lanes.field, one) for one in tree.alternatives))
    rest, *others = (_but(lanes.field, one) for one in tree.alternatives)
    if any(one != rest for one in others):
        return None
    tagged = next((one for one in rest.conditions if _is_tag(one)), None)
    inside = next((one for one in rest.conditions if one.field.name == lanes.within and _is_few(one)), None)
    if any(_is_served(one) for one in rest.conditions if one is not inside):
        return None
    if tagged is not None:
        return _by_tag(tree, tagged) if inside is None else None
    if any(one.field.kind is Kind.TAGS for one in rest.conditions):
        return None
    passing = tuple(value for value in lanes.values if matches(mine, {lanes.field: value}))
    if inside is None and len(passing) == len(lanes.values) and _is_short(rest):
        return None
    if inside is None or not isinstance(inside.value, tuple):
        return Split(rest, passing)
    without = AllOf(tuple(one for one in rest.conditions if one is not inside))
    return Split(without, passing, within=tuple(map(str, inside.value)))


def _is_short(rest: AllOf) -> bool:
    """Whether the rows lie in so short a time that all of them, whosever they are, are read before many lanes are."""
    known = functools.reduce(operator.and_, map(bounds, rest.conditions), Bounds())
    if known.low is None or known.high is None:
        return False
    return id_time(known.high) - id_time(known.low) <= SHORT + 2 * MOMENT


def _by_tag(tree: AnyOf, tagged: Condition) -> Split | None:
    if len(tree.alternatives) != 1:
        return None
    values = tagged.value if isinstance(tagged.value, tuple) else (tagged.value,)
    rest = AllOf(tuple(one for one in tree.alternatives[0].conditions if one is not tagged))
    return Split(rest, tuple(map(str, values)), tag=tagged.tag)


def _of(field: str, one: AllOf) -> AllOf:
    return AllOf(tuple(condition for condition in one.conditions if condition.field.name == field))


def _but(field: str, one: AllOf) -> AllOf:
    return AllOf(tuple(condition for condition in one.conditions if condition.field.name != field))


def _is_served(condition: Condition) -> bool:
    """Whether an index of its own is said to serve it."""
    return condition.field.indexed and condition.field.kind is not Kind.TAGS and not condition.field.in_id


class Bounds(Struct, frozen=True):
    """What a condition on an instant says of the ids that are made of it: not below `low`, below `high`."""

    low: str | None = None
    high: str | None = None

    def __and__(self, other: Bounds) -> Bounds:
        """What both say."""
        low = max((one for one in (self.low, other.low) if one is not None), default=None)
        return Bounds(low, min((one for one in (self.high, other.high) if one is not None), default=None))


def bounds(condition: Condition) -> Bounds:
    """Bounds of the ids of all rows that can meet the condition; none where it says nothing of them."""
    value = condition.value
    if not condition.field.in_id or not isinstance(value, int) or condition.operator is Op.NULL:
        return Bounds()
    # Servers before this one made an id a moment before or after the instant beside it.
    low, high = first_id_at(value - MOMENT), first_id_at(value + MOMENT)
    match condition.operator:
        case Op.EQ:
            return Bounds(low, high)
        case Op.GT | Op.GTE:
            return Bounds(low=low)
        case Op.LT | Op.LTE:
            return Bounds(high=high)
        case _:
            return Bounds()


def _is_tag(condition: Condition) -> bool:
    if condition.field.kind is not Kind.TAGS:
        return False
    return _is_few(condition)


def _is_few(condition: Condition) -> bool:
    """Equal to one of a few values."""
    if condition.operator is Op.EQ:
        return condition.value is not None
    return condition.operator is Op.IN and isinstance(condition.value, tuple) and 1 <= len(condition.value) <= MAX_LANES
