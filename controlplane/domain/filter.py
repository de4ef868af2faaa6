"""Filters and orders: reading them against a noun's table of fields, and deciding whether a row matches.

Pure. `parse_filter` turns decoded JSON into a small tree, `matches` says what the tree means. The store compiles the
same tree to SQL (`controlplane.store.query`), and a test holds the two together. Not here: columns, SQL, pages.

Form
    {"status": {"eq": "RUNNING"}, "created_at": {"gte": "2026-01-01T00:00:00Z", "lt": "2026-02-01T00:00:00Z"}}
    Everything in one object must hold; of a list of objects one must. Nothing, `{}` and `[]` match every row.
    Fields and operators in snake_case or camelCase, operators also with a leading `$`. `tags.<key>` is one tag.

Decided
    A bare value (`{"status": "RUNNING"}`) is refused with the right spelling: one form keeps errors exact, because
    an object is always operators and a misspelt operator can never be taken for a value.
    Nothing equals null. `not` and `not_in` match rows without a value, the others except `null` do not.
    `{"eq": null}` is `{"null": true}`, `{"not": null}` is `{"null": false}`.
    `in` of an empty list matches nothing, `not_in` of one everything.
    Text is compared by code points and case-sensitively, in every operator and in orders.
    Enums are compared by their number, so `{"status": {"gte": 90}}` is every task that ended with 90 or more.
    Instants finer than a microsecond are cut, as everywhere in Pawl.
    Orders put rows without a value last, rising and falling alike, and end with the noun's key, so they are total.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any

from controlplane.domain.errors import Invalid, Violation
from controlplane.domain.ids import is_id

MAX_ALTERNATIVES = 100
MAX_CONDITIONS = 100
MAX_LIST = 1_000
MAX_VALUES = 5_000  # all lists together: both databases bound the parameters of a statement
MAX_TEXT = 4_096
MAX_ORDER_TERMS = 8
EXACT_DOUBLE = 2**53  # beyond it a JSON number may have been rounded on its way
INT64 = range(-(2**63), 2**63)

Scalar = str | int | float | bool


class Kind(Enum):
    """What a field holds, hence what it is compared with."""

    ID = "id"
    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    INSTANT = "instant"
    ENUM = "enum"
    TAGS = "tags"


class Op(StrEnum):
    """What a field can be asked."""

    EQ = "eq"
    NOT = "not"
    IN = "in"
    NOT_IN = "not_in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    NULL = "null"


EQUALITY = frozenset({Op.EQ, Op.NOT, Op.IN, Op.NOT_IN, Op.NULL})
COMPARISON = EQUALITY | {Op.LT, Op.LTE, Op.GT, Op.GTE}
TEXTUAL = COMPARISON | {Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH}
TAGGED = frozenset({Op.EQ, Op.IN})

_DEFAULT_OPERATORS = dict.fromkeys(Kind, COMPARISON) | {
    Kind.TEXT: TEXTUAL,
    Kind.BOOL: EQUALITY,
    Kind.TAGS: TAGGED,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a noun that can be asked for. Without `operators` it takes all that its kind allows."""

    name: str
    kind: Kind
    operators: frozenset[Op] = frozenset()
    column: str = ""  # the store's name for it, when it is another one
    indexed: bool = False
    in_id: bool = False  # an instant that `id` is made of: rows in the order of the one are in that of the other
    enum_values: Mapping[str, int] = field(default_factory=dict, compare=False)
    enum_name: str = ""  # `pawl.v1.Task.Status`: what may stand before a value's name
    aliases: tuple[str, ...] = ()

    @property
    def allowed(self) -> frozenset[Op]:
        """The operators this field takes."""
        return self.operators or _DEFAULT_OPERATORS[self.kind]

    @property
    def stored_as(self) -> str:
        """The column's name."""
        return self.column or self.name


@dataclass(frozen=True)
class Queryable:
    """A noun's fields, and those of them that together tell its rows apart."""

    noun: str
    fields: tuple[Field, ...]
    key: tuple[str, ...] = ("id",)

    @cached_property
    def by_spelling(self) -> Mapping[str, Field]:
        """Every accepted spelling of every field."""
        spellings: dict[str, Field] = {}
        for known in self.fields:
            for name in (known.name, *known.aliases):
                spellings[name] = spellings[_camel(name)] = known
        return spellings

    def find(self, spelling: str) -> Field | None:
        """The field of this name, alias or camelCase form."""
        return self.by_spelling.get(spelling)

    def names(self) -> list[str]:
        """What exists, for messages."""
        return [f"{known.name}.<key>" if known.kind is Kind.TAGS else known.name for known in self.fields]


@dataclass(frozen=True, slots=True)
class Condition:
    """One question to one field. `value` is a tuple for `in` and `not_in`, a bool for `null`."""

    field: Field
    operator: Op
    value: Scalar | tuple[Scalar, ...]
    tag: str = ""


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every condition must hold."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One alternative must hold."""

    alternatives: tuple[AllOf, ...]


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One key of an order. Rows without a value come last either way."""

    field: Field
    descending: bool = False


EVERYTHING = AnyOf((AllOf(()),))


# ---------------------------------------------------------------- reading a filter


def parse_filter(value: object, noun: Queryable, path: str = "filter") -> AnyOf:
    """Read a filter (decoded JSON). Raises Invalid, which names the place and what would have been right."""
    if value is None or value == [] or value == {}:
        return EVERYTHING
    if isinstance(value, Mapping):
        alternatives: tuple[AllOf, ...] = (_all_of(value, noun, path),)
    elif isinstance(value, list | tuple):
        if len(value) > MAX_ALTERNATIVES:
            raise Invalid.field(path, f"has {len(value)} alternatives, at most {MAX_ALTERNATIVES} are allowed")
        alternatives = tuple(_all_of(one, noun, f"{path}[{index}]") for index, one in enumerate(value))
    else:
        raise Invalid.field(path, 'must be an object such as {"status": {"eq": "RUNNING"}}, or a list of them')
    _check_size(alternatives, path)
    if any(not one.conditions for one in alternatives):
        return EVERYTHING
    return AnyOf(alternatives)


def _check_size(alternatives: Sequence[AllOf], path: str) -> None:
    conditions = [condition for one in alternatives for condition in one.conditions]
    if len(conditions) > MAX_CONDITIONS:
        raise Invalid.field(path, f"has {len(conditions)} conditions, at most {MAX_CONDITIONS} are allowed")
    values = sum(len(one.value) if isinstance(one.value, tuple) else 1 for one in conditions)
    if values > MAX_VALUES:
        raise Invalid.field(path, f"has {values} values, at most {MAX_VALUES} are allowed")


def _all_of(value: object, noun: Queryable, path: str) -> AllOf:
    if not isinstance(value, Mapping):
        raise Invalid.field(path, 'must be an object such as {"status": {"eq": "RUNNING"}}')
    seen: dict[tuple[str, str], str] = {}
    conditions: list[Condition] = []
    for spelling, operators in _in_order(value):
        known, tag = _field(str(spelling), noun, path)
        place = f"{path}.{known.name}" + (f".{tag}" if tag else "")
        if (known.name, tag) in seen:
            raise Invalid.field(place, f"is given twice, as {seen[known.name, tag]!r} and {spelling!r}")
        seen[known.name, tag] = str(spelling)
        conditions += _conditions(operators, known, tag, place)
    # A message's map has no order: sorted, so that equal filters are equal trees and page tokens keep fitting.
    conditions.sort(key=lambda one: (one.field.name, one.tag, one.operator))
    return AllOf(tuple(conditions))


def _in_order(members: Mapping[object, object]) -> list[tuple[object, object]]:
    """By name: a message's map has no order, and of several mistakes every caller is to be told the same one."""
    return sorted(members.items(), key=lambda member: str(member[0]))


def _field(spelling: str, noun: Queryable, path: str) -> tuple[Field, str]:
    head, dot, tag = spelling.partition(".")
    known = noun.find(head if dot else spelling)
    if known is not None and known.kind is Kind.TAGS:
        if not tag:
            raise Invalid.field(f"{path}.{known.name}", f'name the tag: {{"{known.name}.<key>": {{"eq": "..."}}}}')
        return known, _text(tag, f"{path}.{known.name}")
    if known is None or dot:
        raise _unknown(f"{path}.{spelling}", f"a {noun.noun} has no such field to filter by", noun.names())
    return known, ""


def _unknown(place: str, problem: str, existing: Sequence[str]) -> Invalid:
    shown = place if len(place) <= 200 else place[:200] + "..."
    problem = f"{problem}; there are {', '.join(existing)}"
    return Invalid(
        f"{shown}: {problem}",
        reason="INVALID_FILTER",
        violations=[Violation(shown, problem)],
        facts={"field": shown, "existing": ", ".join(existing)},
    )


def _conditions(operators: object, known: Field, tag: str, place: str) -> Iterator[Condition]:
    offered = [op.value for op in Op if op in known.allowed]
    if not isinstance(operators, Mapping):
        raise Invalid.field(place, f'must be an object {{"<operator>": value}}, for instance {{"{offered[0]}": ...}}')
    if not operators:
        raise Invalid.field(place, f"needs an operator: {', '.join(offered)}")
    seen: set[Op] = set()
    for spelling, value in _in_order(operators):
        operator = _OPERATOR_SPELLINGS.get(str(spelling).removeprefix("$"))
        if operator is None:
            raise _unknown(f"{place}.{spelling}", "there is no such operator", offered)
        if operator not in known.allowed:
            raise _unknown(f"{place}.{operator}", f"a field of type {known.kind.value} does not take it", offered)
        if operator in seen:
            raise Invalid.field(f"{place}.{operator}", "is given twice")
        seen.add(operator)
        yield _condition(known, operator, value, tag, f"{place}.{operator}")


def _condition(known: Field, operator: Op, value: object, tag: str, place: str) -> Condition:
    if value is None and Op.NULL in known.allowed and operator in (Op.EQ, Op.NOT):
        return Condition(known, Op.NULL, operator is Op.EQ, tag)
    if operator is Op.NULL:
        return Condition(known, operator, _bool(value, place), tag)
    if operator in (Op.IN, Op.NOT_IN):
        if not isinstance(value, list | tuple):
            raise Invalid.field(place, "must be a list")
        if len(value) > MAX_LIST:
            raise Invalid.field(place, f"has {len(value)} values, at most {MAX_LIST} are allowed")
        read = {read_value(one, known, f"{place}[{index}]") for index, one in enumerate(value)}
        return Condition(known, operator, tuple(sorted(read)), tag)
    return Condition(known, operator, read_value(value, known, place), tag)


# ---------------------------------------------------------------- reading values


def read_value(value: object, known: Field, place: str) -> Scalar:
    """A JSON value as the field stores it: ids in canonical text, instants in microseconds, enums as numbers."""
    match known.kind:
        case Kind.ID:
            return _id(value, place)
        case Kind.TEXT | Kind.TAGS:
            return _text(value, place)
        case Kind.INT:
            return _int(value, place)
        case Kind.FLOAT:
            return _float(value, place)
        case Kind.BOOL:
            return _bool(value, place)
        case Kind.INSTANT:
            return _instant(value, place)
        case Kind.ENUM:
            return _enum(value, known, place)


def _id(value: object, place: str) -> str:
    if not isinstance(value, str) or not is_id(value):
        raise Invalid.field(place, "must be an id, such as 01890a5d-ac96-774b-bcce-b302099a8057")
    return value.lower()


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise Invalid.field(place, "must be text")
    if len(value) > MAX_TEXT:
        raise Invalid.field(place, f"has {len(value)} characters, at most {MAX_TEXT} are allowed")
    if not is_storable(value):
        raise Invalid.field(place, "must not contain NUL or half a surrogate pair")
    return value


def is_storable(text: str) -> bool:
    """Whether a database can hold this text at all: PostgreSQL refuses a statement that only mentions such a one."""
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)


_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")


def _int(value: object, place: str) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        number = int(value)
    elif isinstance(value, float) and math.isfinite(value) and value == int(value):
        if abs(value) > EXACT_DOUBLE:
            raise Invalid.field(place, "is a number beyond 2^53, which JSON may round: write it as a string")
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise Invalid.field(place, "must be a whole number")
    if number not in INT64:
        raise Invalid.field(place, "does not fit into 64 bits")
    return number


def _float(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Invalid.field(place, "must be a number")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise Invalid.field(place, "must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Invalid.field(place, "must be a finite number")
    return number + 0.0  # there is one zero


def _bool(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid.field(place, "must be true or false")
    return value


def _enum(value: object, known: Field, place: str) -> int:
    found: int | None = None
    if isinstance(value, str):
        prefix, _, name = value.rpartition(".")
        if not prefix or f".{known.enum_name}".endswith(f".{prefix}"):
            found = {spelling.upper(): number for spelling, number in known.enum_values.items()}.get(name.upper())
    if found is None and not isinstance(value, bool):
        number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
        found = next((one for one in known.enum_values.values() if one == number), None)
    if found is None:
        listed = ", ".join(f"{name} ({number})" for name, number in known.enum_values.items())
        raise Invalid.field(place, f"must be one of {listed}")
    return found


_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _instant(value: object, place: str) -> int:
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Invalid.field(place, "must be an instant in RFC 3339, such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = found.groups()[6:]
    away = int(offset_hours or 0) * 60 + int(offset_minutes or 0)
    if hour > 23 or minute > 59 or second > 59 or int(offset_hours or 0) > 23 or int(offset_minutes or 0) > 59:
        raise Invalid.field(place, "has an hour, minute, second or offset that no clock shows")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise Invalid.field(place, "names a day that is in no calendar")
    minutes = (days * 24 + hour) * 60 + minute + (away if sign == "-" else -away)
    return (minutes * 60 + second) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])


# ---------------------------------------------------------------- reading an order


def parse_order(
    order_by: Sequence[str], noun: Queryable, default: Sequence[str] = ("-created_at",)
) -> tuple[OrderTerm, ...]:
    """Read `["-created_at", "name"]`; a term may hold several, separated by commas. The key is added where missing."""
    words = [word.strip() for term in order_by for word in term.split(",") if word.strip()] or list(default)
    if len(words) > MAX_ORDER_TERMS:
        raise Invalid.field("order_by", f"has {len(words)} terms, at most {MAX_ORDER_TERMS} are allowed")
    terms: list[OrderTerm] = []
    for word in words:
        known = noun.find(word[1:] if word[0] in "-+" else word)
        if known is None or known.kind is Kind.TAGS:
            existing = [one.name for one in noun.fields if one.kind is not Kind.TAGS]
            raise _unknown("order_by", f"{word[:100]!r} is nothing that a {noun.noun} can be ordered by", existing)
        if any(known.name == term.field.name for term in terms):
            raise Invalid.field("order_by", f"names {known.name} twice")
        terms.append(OrderTerm(known, word.startswith("-")))
    # In the direction of the last term, so that one index can serve both.
    for name in noun.key:
        if all(name != term.field.name for term in terms):
            terms.append(OrderTerm(noun.by_spelling[name], terms[-1].descending))
    return tuple(terms)


def by_id(order: Sequence[OrderTerm]) -> tuple[OrderTerm, ...]:
    """The same order in fewer words: by an instant that the id is made of, and then by the id, is by the id alone."""
    if len(order) == 2 and order[0].field.in_id and order[1].field.name == "id":
        first, second = order
        if first.descending == second.descending:
            return (second,)
    return tuple(order)


# ---------------------------------------------------------------- what a filter means


def matches(tree: AnyOf, row: Mapping[str, Any]) -> bool:
    """Whether a row (values by field name, tags as a mapping) passes. This is the meaning; SQL must agree."""
    return any(all(_holds(condition, row) for condition in one.conditions) for one in tree.alternatives)


def _holds(condition: Condition, row: Mapping[str, Any]) -> bool:
    held = row[condition.field.name]
    if condition.field.kind is Kind.TAGS:
        held = held.get(condition.tag)
    if condition.operator is Op.NULL:
        return (held is None) == condition.value
    if held is None:
        return condition.operator in (Op.NOT, Op.NOT_IN)
    return _compare(held, condition.operator, condition.value)


def _compare(held: Any, operator: Op, value: Any) -> bool:  # noqa: C901 # one line per operator reads as the table it is
    match operator:
        case Op.EQ:
            return bool(held == value)
        case Op.NOT:
            return bool(held != value)
        case Op.IN:
            return held in value
        case Op.NOT_IN:
            return held not in value
        case Op.LT:
            return bool(held < value)
        case Op.LTE:
            return bool(held <= value)
        case Op.GT:
            return bool(held > value)
        case Op.GTE:
            return bool(held >= value)
        case Op.CONTAINS:
            return value in held
        case Op.STARTS_WITH:
            return bool(held.startswith(value))
        case Op.ENDS_WITH:
            return bool(held.endswith(value))
        case Op.NULL:
            return False


def in_order(rows: Sequence[Mapping[str, Any]], order: Sequence[OrderTerm]) -> list[Mapping[str, Any]]:
    """The rows as the order wants them: the meaning of an order, as `matches` is that of a filter."""
    found = list(rows)
    for term in reversed(order):  # stable sorts, the least important first
        name = term.field.name
        present = sorted((r for r in found if r[name] is not None), key=lambda r: r[name], reverse=term.descending)
        found = present + [r for r in found if r[name] is None]
    return found


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_OPERATOR_SPELLINGS: Mapping[str, Op] = {
    spelling: operator for operator in Op for spelling in (operator.value, _camel(operator.value))
}
