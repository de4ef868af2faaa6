"""Lanes: reading an index once per value of a column, where asking for all the values at once would sort a table.

An index over (namespace, status, id) holds the tasks of every single status in the order of their ids. Neither
database merges several of them by itself: asked for two statuses, newest first, it sorts all that have one of them, or
walks from the newest row on until it has found enough, which may be the whole table when they are old. So a question
that such an index can answer is split into one for each value, each of which reads no more rows than the page holds;
`controlplane.store.query` merges them. Not here: SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.domain.filter import AllOf, AnyOf, Condition, Kind, Op, OrderTerm, matches
from controlplane.domain.ids import first_id_at

MAX_LANES = 20  # each is planned by itself
MOMENT = 60_000_000


@dataclass(frozen=True, slots=True)
class Lanes:
    """An index of the listing's rows: what the listing always asks for, then this field, then the key."""

    field: str
    values: tuple[int, ...]  # all that the column can hold; never NULL
    key: str = "id"


@dataclass(frozen=True, slots=True)
class Split:
    """A question as lanes: rows that meet all of `rest`, and one of the values in the field or in the tag."""

    rest: AllOf
    values: tuple[int | str, ...]
    tag: str = ""
    whole: bool = False  # whether the values are all there are


def split(lanes: Lanes, tree: AnyOf, order: Sequence[OrderTerm]) -> Split | None:
    """The question as lanes, or None where another index serves it better or none does."""
    if len(tree.alternatives) != 1 or [term.field.name for term in order] != [lanes.key]:
        return None
    conditions = tree.alternatives[0].conditions
    mine = tuple(one for one in conditions if one.field.name == lanes.field)
    others = tuple(one for one in conditions if one.field.name != lanes.field)
    tagged = next((one for one in others if _is_tag(one)), None)
    if any(one.field.indexed and one.field.kind is not Kind.TAGS and not one.field.in_id for one in others):
        return None
    if tagged is not None:
        values = tagged.value if isinstance(tagged.value, tuple) else (tagged.value,)
        rest = tuple(one for one in conditions if one is not tagged)
        return Split(AllOf(rest), tuple(map(str, values)), tag=tagged.tag)
    if any(one.field.kind is Kind.TAGS for one in others):
        return None
    passing = tuple(value for value in lanes.values if matches(AnyOf((AllOf(mine),)), {lanes.field: value}))
    return Split(AllOf(others), passing, whole=passing == lanes.values)


@dataclass(frozen=True, slots=True)
class Bounds:
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
    return condition.operator is Op.EQ or (isinstance(condition.value, tuple) and len(condition.value) <= MAX_LANES)
