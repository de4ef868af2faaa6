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
import uuid
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
    own_index: bool = True  # the key has one, too: it is not found in these alone


class Split(Struct, frozen=True):
    """A question as lanes: rows that meet `rest`, and one of the values in the field or in the tag. Each value is a
    lane; with `within` there is one for each pair of that field's values and those.
    """

    rest: AnyOf
    values: tuple[int | str, ...]
    tag: str = ""
    within: tuple[str, ...] = ()

    @property
    def known(self) -> Bounds:
        """What it says of the ids of all rows."""
        return _known(self.rest.alternatives[0]) if len(self.rest.alternatives) == 1 else Bounds()


def split(lanes: Lanes, tree: AnyOf, order: Sequence[OrderTerm]) -> Split | None:
    """The question as lanes, or None where another index serves it better or none does."""
    if not tree.alternatives or [term.field.name for term in order] != [lanes.key]:
        return None
    # Alternatives that differ in the lanes' field alone are one question with several values.
    mine = AnyOf(tuple(_of(lanes.field, one) for one in tree.alternatives))
    rest, *others = (_but(lanes.field, one) for one in tree.alternatives)
    if any(one != rest for one in others):
        return _whole(lanes, tree)
    tagged = next((one for one in rest.conditions if _is_tag(one)), None)
    inside = next((one for one in rest.conditions if one.field.name == lanes.within and _is_few(one)), None)
    if any(_is_served(lanes, one) for one in rest.conditions if one is not inside):
        return None
    if tagged is not None:
        return _by_tag(tree, tagged) if inside is None else None
    if any(one.field.kind is Kind.TAGS for one in rest.conditions):
        return None
    passing = tuple(value for value in lanes.values if matches(mine, {lanes.field: value}))
    if lanes.own_index and inside is None and len(passing) == len(lanes.values) and _is_short(rest):
        return None
    if inside is None or not isinstance(inside.value, tuple):
        return Split(AnyOf((rest,)), passing)
    without = AllOf(tuple(one for one in rest.conditions if one is not inside))
    return Split(AnyOf((without,)), passing, within=tuple(map(str, inside.value)))


def _whole(lanes: Lanes, tree: AnyOf) -> Split | None:
    """Alternatives that have nothing in common. The key's own index has all in their order; where there is none, the
    lanes have, unless each alternative is found in an index of another field.
    """
    if lanes.own_index or all(any(_is_served(lanes, one) for one in each.conditions) for each in tree.alternatives):
        return None
    return Split(tree, lanes.values)


def _is_short(rest: AllOf) -> bool:
    """Whether the rows lie in so short a time that all of them, whosever they are, are read before many lanes are."""
    known = _known(rest)
    if known.low is None or known.high is None:
        return False
    return id_time(known.high) - id_time(known.low) <= SHORT + 2 * MOMENT


def _by_tag(tree: AnyOf, tagged: Condition) -> Split | None:
    if len(tree.alternatives) != 1:
        return None
    values = tagged.value if isinstance(tagged.value, tuple) else (tagged.value,)
    rest = AllOf(tuple(one for one in tree.alternatives[0].conditions if one is not tagged))
    return Split(AnyOf((rest,)), tuple(map(str, values)), tag=tagged.tag)


def _of(field: str, one: AllOf) -> AllOf:
    return AllOf(tuple(condition for condition in one.conditions if condition.field.name == field))


def _but(field: str, one: AllOf) -> AllOf:
    return AllOf(tuple(condition for condition in one.conditions if condition.field.name != field))


def _is_served(lanes: Lanes, condition: Condition) -> bool:
    """Whether an index of its own is said to serve it, and better than the lanes would."""
    if not condition.field.indexed or condition.field.kind is Kind.TAGS or condition.field.in_id:
        return False
    if lanes.own_index:
        return True
    if condition.field.name == lanes.key:
        return condition.operator in (Op.EQ, Op.IN)
    return condition.operator not in (Op.NOT, Op.NOT_IN, Op.NULL)


class Bounds(Struct, frozen=True):
    """What a condition says of ids, be it on them or on the instant that they are made of: they lie between `low` and
    `high`.
    """

    low: str | None = None
    high: str | None = None

    def __and__(self, other: Bounds) -> Bounds:
        """What both say."""
        low = max((one for one in (self.low, other.low) if one is not None), default=None)
        return Bounds(low, min((one for one in (self.high, other.high) if one is not None), default=None))


def bounds(condition: Condition) -> Bounds:
    """Bounds of the ids of all rows that can meet the condition, which none of them has; none where it says nothing."""
    value = condition.value
    if condition.field.in_id and isinstance(value, int) and condition.operator is not Op.NULL:
        # Servers before this one made an id a moment before or after the instant beside it.
        return _between(condition.operator, first_id_at(value - MOMENT), first_id_at(value + MOMENT))
    if condition.field.kind is Kind.ID and condition.field.name == "id" and isinstance(value, str):
        return _between(condition.operator, _id_beside(value, -1), _id_beside(value, 1))
    return Bounds()


def _known(rest: AllOf) -> Bounds:
    return functools.reduce(operator.and_, map(bounds, rest.conditions), Bounds())


def _between(asked: Op, low: str, high: str) -> Bounds:
    match asked:
        case Op.EQ:
            return Bounds(low, high)
        case Op.GT | Op.GTE:
            return Bounds(low=low)
        case Op.LT | Op.LTE:
            return Bounds(high=high)
        case _:
            return Bounds()


def _id_beside(one: str, step: int) -> str:
    return str(uuid.UUID(int=min(max(uuid.UUID(one).int + step, 0), 2**128 - 1)))


def _is_tag(condition: Condition) -> bool:
    if condition.field.kind is not Kind.TAGS:
        return False
    return _is_few(condition)


def _is_few(condition: Condition) -> bool:
    """Equal to one of a few values."""
    if condition.operator is Op.EQ:
        return condition.value is not None
    return condition.operator is Op.IN and isinstance(condition.value, tuple) and 1 <= len(condition.value) <= MAX_LANES
