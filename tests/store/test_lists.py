"""Lists of every noun: each field, asked in every way that it takes, gives what the meaning in plain Python says.

Made from the nouns' tables of fields, so that a new field or a new noun is in it by existing. Random combinations over
a table of all kinds stand in `test_query.py`; which index serves what in `test_plans.py`.
"""

import datetime as dt
import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.errors import Invalid
from controlplane.domain.filter import Field, Kind, Op, in_order, matches, parse_filter, parse_order
from controlplane.domain.page import MAX_SIZE, PageRequest, parse_page
from controlplane.engine import lists
from controlplane.engine.jobs import JOBS
from controlplane.engine.lists import Question
from controlplane.store import query, tables
from controlplane.store.query import Page
from tests.engine.stage import opened
from tests.postgres import Postgres
from tests.store.nouns import MINE, NOUNS, TAG_VALUES, TAGS, Drawn, Noun, Values, known

ROWS = 60
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Lists:
    """A database with rows of every noun, and the same rows in memory."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: dict[str, list[Values]] = {}
        self.drawn: dict[str, Drawn] = {}
        connection.execute(sa.delete(tables.namespace))
        for noun in NOUNS:
            self._fill(noun, Drawn(noun))
        # Living in a namespace that had a namesake: the floor under its tasks takes part in every question.
        floor = {"id": MINE, "description": "", "version": 1, "created_at": 0, "updated_at": 0, "after_task": FIRST}
        connection.execute(sa.insert(tables.namespace), [floor])
        self.rows["namespace"].append({"id": MINE, "created_at": 0, "updated_at": 0})

    def _fill(self, noun: Noun, drawn: Drawn) -> None:
        rows = drawn.rows(ROWS)
        shown = rows[: ROWS * 3 // 4] if noun.foreign else rows
        stored = shown + [row | noun.foreign for row in rows[len(shown) :] if noun.foreign]
        self.connection.execute(sa.insert(noun.table), stored)
        if noun.asked is JOBS:  # a job is read together with its revision
            whole = [{"job_id": row["id"], "revision": row["revision"]} | REVISION for row in stored]
            self.connection.execute(sa.insert(tables.job_revision), whole)
        kept = [{name: row[column.name] for name, column in noun.columns.items()} for row in shown]
        for field in noun.asked.fields:
            if field.kind is Kind.TAGS:
                self._tag(field, drawn, stored, kept)
        self.rows[noun.asked.noun], self.drawn[noun.asked.noun] = kept, drawn

    def _tag(self, field: Field, drawn: Drawn, stored: list[Values], kept: list[Values]) -> None:
        tagged = [drawn.tags() for _ in stored]
        rows = [
            {"task_id": row["id"], "key": key, "value": value, "namespace_id": row["namespace_id"]}
            for row, tags in zip(stored, tagged, strict=True)
            for key, value in tags.items()
        ]
        self.connection.execute(sa.insert(tables.task_tag), rows)
        for row, tags in zip(kept, tagged, strict=False):
            row[field.name] = tags

    def ask(
        self, noun: Noun, filter_: Any = None, order_by: Sequence[str] = (), page: PageRequest | None = None
    ) -> Page:
        """One page, as the engine asks for it."""
        question = Question(MINE, filter_, order_by, page or parse_page(page_size=MAX_SIZE))
        return lists.ask(self.connection, noun.asked, noun.listing(self.connection), question, noun.default_order)

    def expected(self, noun: Noun, filter_: Any = None, order_by: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """The keys of the rows that should come, in their order."""
        tree = parse_filter(filter_, noun.asked)
        found = [row for row in self.rows[noun.asked.noun] if matches(tree, row)]
        ordered = in_order(found, parse_order(order_by, noun.asked, noun.default_order))
        return [tuple(row[name] for name in noun.asked.key) for row in ordered]

    def judged(self, noun: Noun, filters: Sequence[Any]) -> dict[tuple[Any, ...], list[bool]]:
        """What the database says of each row and each filter, all in one statement: a page for each costs minutes."""
        listing = noun.listing(self.connection)
        trees = [parse_filter(one, noun.asked) for one in filters]
        told = [
            sa.case((query.where(self.connection, listing, tree), 1), else_=0).label(f"_{number}")
            for number, tree in enumerate(trees)
        ]
        rows = self.connection.execute(listing.select.add_columns(*told)).all()
        names = [noun.columns[name].name for name in noun.asked.key]
        return {tuple(getattr(row, name) for name in names): [bool(one) for one in row[-len(told) :]] for row in rows}

    def meant(self, noun: Noun, filters: Sequence[Any]) -> dict[tuple[Any, ...], list[bool]]:
        """What should be said."""
        trees = [parse_filter(one, noun.asked) for one in filters]
        return {
            tuple(row[name] for name in noun.asked.key): [matches(tree, row) for tree in trees]
            for row in self.rows[noun.asked.noun]
        }

    def check(self, noun: Noun, filter_: Any, order_by: Sequence[str] = ()) -> int:
        """One question, compared; how many rows there were."""
        expected = self.expected(noun, filter_, order_by)
        got = self.ask(noun, filter_, order_by)
        assert keys_of(noun, got) == expected, (filter_, order_by)
        assert (got.total, got.total_is_estimate, got.has_more) == (len(expected), False, False), (filter_, order_by)
        return len(expected)


REVISION = {"requirement_id": 1, "spec": "{}", "created_at": 0}
FIRST = "01890a5d-0000-774b-bcce-000000000000"


def keys_of(noun: Noun, page: Page) -> list[tuple[Any, ...]]:
    names = [noun.columns[name].name for name in noun.asked.key]
    return [tuple(getattr(row, name) for name in names) for row in page.rows]


@pytest.fixture(scope="module")
def foreign_locale(postgres: Postgres) -> Iterator[str]:
    """A database whose own order of text is not that of bytes, as those of most servers."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        icu = connection.info.server_version >= 150_000
        found = connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'").fetchone()
        choice = " LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if icu and found else ""
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0{choice}'.encode())
        yield postgres.url(name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    """Rows of every noun, once for each database; never committed."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('lists')}/pawl.db"
    else:
        url = request.getfixturevalue("foreign_locale")
    with opened(url):
        pass
    one = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with one.connect() as connection:
        yield Lists(connection)
    one.dispose()


every_noun = pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.asked.noun)


# ---------------------------------------------------------------- questions


def as_json(field: Field, value: Any, chance: random.Random) -> Any:
    """A stored value in one of the ways in which a caller may write it."""
    match field.kind:
        case Kind.INSTANT:
            return (EPOCH + dt.timedelta(microseconds=value)).isoformat()
        case Kind.ENUM:
            [name] = [name for name, number in field.enum_values.items() if number == value]
            return chance.choice([value, str(value), name, name.lower(), f"{field.enum_name}.{name}"])
        case Kind.ID:
            return chance.choice([value, value.upper()])
        case Kind.INT:
            return chance.choice([value, str(value), float(value)])
        case _:
            return value


def strangers(field: Field) -> list[Any]:
    """Values, in JSON, that no row holds: below all, between, above all."""
    match field.kind:
        case Kind.ID:
            return ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
        case Kind.TEXT:
            return ["", "AB", "%", "_", "\\", "\U0010ffff"]
        case Kind.INT:
            return [str(-(2**63)), 40_000, str(2**63 - 1)]
        case Kind.FLOAT:
            return [-1e308, 0.05, 1e308]
        case Kind.INSTANT:
            return ["0001-01-01T00:00:00Z", "2025-12-01T00:00:00.5Z", "9999-12-31T23:59:59.999999Z"]
        case Kind.TAGS:
            return ["", "%", "z"]
        case Kind.ENUM | Kind.BOOL:
            return []


def conditions(field: Field, held: Sequence[Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """What the field can be asked: every operator, with values that rows hold and values that none does."""
    present = [as_json(field, value, chance) for value in held]
    values = [*chance.sample(present, min(2, len(present))), *strangers(field)]
    for operator in map(str, sorted(field.allowed)):
        if operator == Op.NULL:
            yield from ({operator: True}, {operator: False})
        elif operator in (Op.IN, Op.NOT_IN):
            few = chance.sample(present, min(2, len(present)))
            yield from ({operator: one} for one in ([], few[:1], [*few, *strangers(field)], present))
        elif operator in (Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH):
            parts = {part for text in chance.sample(list(held), 2) for part in (text[:1], text[-1:], text[1:-1], text)}
            yield from ({operator: part} for part in sorted({*parts, *strangers(field), "a", "A"}))
        else:
            yield from ({operator: value} for value in values)
            if Op.NULL in field.allowed and operator in (Op.EQ, Op.NOT):
                yield {operator: None}


def questions(lists: Lists, noun: Noun, chance: random.Random) -> Iterator[dict[str, Any]]:
    """One condition each, for every field and operator."""
    for field in noun.asked.fields:
        if field.kind is Kind.TAGS:
            for tag, one in itertools.product((*TAGS, "missing"), conditions(field, TAG_VALUES, chance)):
                yield {f"{field.name}.{tag}": one}
            continue
        held = sorted({row[field.name] for row in lists.rows[noun.asked.noun]} - {None})
        for one in conditions(field, held, chance):
            yield {chance.choice([field.name, *field.aliases]): one}


def orders(noun: Noun) -> list[list[str]]:
    """Every field that can be ordered by, both ways, and the default one."""
    names = [field.name for field in noun.asked.fields if field.kind is not Kind.TAGS]
    return [[], *([sign + name] for name in names for sign in ("", "-"))]


@every_noun
def test_every_field_with_every_operator_means_what_it_says(stored: Lists, noun: Noun) -> None:
    asked = list(questions(stored, noun, random.Random(1)))
    for some in (asked[first : first + 50] for first in range(0, len(asked), 50)):
        assert stored.judged(noun, some) == stored.meant(noun, some)


@every_noun
def test_every_field_with_every_operator_gives_a_page_in_order(stored: Lists, noun: Noun) -> None:
    chance = random.Random(2)
    by_operator: dict[Any, list[dict[str, Any]]] = {}
    for one in questions(stored, noun, chance):
        [(field, operators)] = one.items()
        by_operator.setdefault((field, *operators), []).append(one)
    turn = itertools.cycle(orders(noun))
    given = [stored.check(noun, chance.choice(some)) for some in by_operator.values()]
    for some in list(by_operator.values())[::3]:  # an order may choose another plan, and lanes serve only some orders
        stored.check(noun, chance.choice(some), next(turn))
    assert any(0 < one < len(stored.rows[noun.asked.noun]) for one in given)  # the questions tell rows apart


@every_noun
def test_conditions_meet_and_alternatives_join(stored: Lists, noun: Noun) -> None:
    chance = random.Random(2)
    asked = list(questions(stored, noun, chance))
    turn = itertools.cycle(orders(noun))
    for _ in range(25):
        both = [chance.choice(asked) | chance.choice(asked) for _ in range(chance.choice([1, 1, 2, 3]))]
        order = chance.choice([[], next(turn)])
        stored.check(noun, both if len(both) > 1 else both[0], order)


@every_noun
def test_walking_by_token_in_any_order_gives_every_row_once(stored: Lists, noun: Noun) -> None:
    chance = random.Random(3)
    asked = [None, *chance.sample(list(questions(stored, noun, chance)), 5)]
    for order, filter_ in zip(orders(noun), itertools.cycle(asked)):
        walked: list[tuple[Any, ...]] = []
        token = ""
        while True:
            # The size may change from page to page: a token says where, and nothing about how much.
            got = stored.ask(noun, filter_, order, parse_page(page_size=chance.choice([1, 9, 20]), page_token=token))
            walked += keys_of(noun, got)
            token = got.next_token
            if not got.has_more:
                break
        assert walked == stored.expected(noun, filter_, order), (filter_, order)


@every_noun
def test_a_token_is_good_for_its_own_question_alone(stored: Lists, noun: Noun) -> None:
    key = noun.asked.key[0]
    token = stored.ask(noun, None, [key], parse_page(page_size=3)).next_token
    page = parse_page(page_size=5, page_token=token)
    assert keys_of(noun, stored.ask(noun, None, [key], page)) == stored.expected(noun, None, [key])[3:8]
    others: list[tuple[Noun, str, Any, list[str]]] = [
        (noun, MINE, None, [f"-{key}"]),
        (noun, MINE, {key: {"not_in": []}}, [key]),
        (noun, "elsewhere", None, [key]),
    ]
    others += [(one, MINE, None, [one.asked.key[0]]) for one in NOUNS if one is not noun]
    for other, namespace, filter_, order in others:
        question = Question(namespace, filter_, order, page)
        with pytest.raises(Invalid) as refused:
            lists.ask(stored.connection, other.asked, other.listing(stored.connection), question, other.default_order)
        assert (refused.value.reason, refused.value.facts["field"]) == ("INVALID_PAGE_TOKEN", "page.page_token")


def test_every_noun_that_the_engine_lists_is_asked_here() -> None:
    assert {one.noun for one in known()} == {noun.asked.noun for noun in NOUNS}
    asked: set[Kind] = {field.kind for noun in NOUNS for field in noun.asked.fields}
    assert asked >= set(Kind) - {Kind.FLOAT}
