"""Random rows, filters, orders and pages: both databases answer as the plain-Python meaning says."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from controlplane.domain.errors import Invalid
from controlplane.domain.filter import (
    COMPARISON,
    EVERYTHING,
    TEXTUAL,
    Field,
    Kind,
    Queryable,
    in_order,
    matches,
    parse_filter,
    parse_order,
)
from controlplane.domain.page import PageRequest, parse_page, query_digest, write_token
from controlplane.store.dialect import Id, is_postgres
from controlplane.store.query import Listing, Page, Tags, page

STATUS = {"PENDING": 1, "RUNNING": 10, "FAILED": 90}
THING = Queryable(
    "thing",
    (
        Field("id", Kind.ID),
        Field("parent_id", Kind.ID),
        Field("name", Kind.TEXT),
        Field("comment", Kind.TEXT, column="remark"),
        Field("priority", Kind.INT),
        Field("exit_code", Kind.INT),
        Field("progress", Kind.FLOAT),
        Field("cancel_requested", Kind.BOOL),
        Field("late", Kind.BOOL),
        Field("created_at", Kind.INSTANT),
        Field("finished_at", Kind.INSTANT),
        Field("status", Kind.ENUM, enum_values=STATUS),
        Field("tags", Kind.TAGS),
    ),
)
SORTABLE = [field.name for field in THING.fields if field.kind is not Kind.TAGS]

# Case, wildcards of LIKE, letters that a locale would sort elsewhere, and two whose order differs in UTF-8 and UTF-16.
TEXTS = st.text(alphabet="aAbB_%\\ éß\uffee\U0001f600", max_size=4)
INSTANTS = st.sampled_from([1_767_225_600_000_000 + step for step in (0, 1, 1_000_000)])
TAG_KEYS = ("env", "Team", "a.b")


def thing_id(number: int) -> str:
    return f"01890a5d-ac96-774b-bc{number:02x}-b302099a8057"


IDS = st.integers(0, 12).map(thing_id)
ROW = st.fixed_dictionaries(
    {
        "parent_id": st.none() | IDS,
        "name": TEXTS,
        "comment": st.none() | TEXTS,
        "priority": st.integers(-2, 2),
        "exit_code": st.none() | st.integers(-1, 1),
        "progress": st.none() | st.sampled_from([0.0, 0.1, 0.5, 1e300, -2.5]),
        "cancel_requested": st.booleans(),
        "late": st.none() | st.booleans(),
        "created_at": INSTANTS,
        "finished_at": st.none() | INSTANTS,
        "status": st.sampled_from(sorted(STATUS.values())),
        "tags": st.dictionaries(st.sampled_from(TAG_KEYS), st.sampled_from(["x", "y", "X"]), max_size=2),
    }
)
ROWS = st.lists(ROW, max_size=14).map(lambda rows: [{"id": thing_id(n), **row} for n, row in enumerate(rows)])

VALUES: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.ID: IDS,
    Kind.TEXT: TEXTS,
    Kind.INT: st.integers(-2, 2) | st.sampled_from([40_000, str(2**63 - 1), str(-(2**63))]),
    Kind.FLOAT: st.sampled_from([0, 0.1, 0.5, "1e300", -2.5, 1e-300]),
    Kind.BOOL: st.booleans(),
    Kind.INSTANT: st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T01:00:00.000001+01:00", "0001-01-01T00:00:00Z"]),
    Kind.ENUM: st.sampled_from([*STATUS, *STATUS.values()]),
    Kind.TAGS: st.sampled_from(["x", "y", "X", "%"]),
}


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    field = draw(st.sampled_from(THING.fields))
    operator = draw(st.sampled_from(sorted(field.allowed)))
    values = VALUES[field.kind]
    value: Any
    if operator in ("in", "not_in"):
        value = draw(st.lists(values, max_size=4))
    else:
        value = draw(st.booleans()) if operator == "null" else draw(values)
    name = f"{field.name}.{draw(st.sampled_from(TAG_KEYS))}" if field.kind is Kind.TAGS else field.name
    return name, {operator: value}


FILTERS = st.lists(st.lists(conditions(), max_size=3).map(dict), max_size=3)
ORDERS = st.lists(
    st.builds(lambda sign, name: sign + name, st.sampled_from(["", "-"]), st.sampled_from(SORTABLE)),
    max_size=3,
    unique_by=lambda term: term.lstrip("-"),
)


class Things:
    """The rows of one example in a real database, and beside it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # A locale of its own for text, where the server has one: the order must not depend on it.
        local = sa.Text(collation=a_locale(connection))
        metadata = sa.MetaData()
        self.table = sa.Table(
            "thing",
            metadata,
            sa.Column("id", Id, primary_key=True),
            sa.Column("parent_id", Id),
            sa.Column("name", local, nullable=False),
            sa.Column("remark", local),
            sa.Column("priority", sa.SmallInteger, nullable=False),
            sa.Column("exit_code", sa.Integer),
            sa.Column("progress", sa.Double),
            sa.Column("cancel_requested", sa.Boolean, nullable=False),
            sa.Column("late", sa.Boolean),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("finished_at", sa.BigInteger),
            sa.Column("status", sa.SmallInteger, nullable=False),
        )
        self.tag = sa.Table(
            "thing_tag",
            metadata,
            sa.Column("thing_id", Id, primary_key=True),
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )
        metadata.create_all(connection)
        tags = Tags(sa.select(self.tag), self.table.c.id, self.tag.c.thing_id, self.tag.c.key, self.tag.c.value)
        self.listing = Listing(sa.select(self.table.c.id, self.table.c.name), self.table.c, tags)

    def fill(self, rows: list[dict[str, Any]]) -> None:
        self.connection.execute(sa.delete(self.table))
        self.connection.execute(sa.delete(self.tag))
        columns = [{f.stored_as: row[f.name] for f in THING.fields if f.kind is not Kind.TAGS} for row in rows]
        tags = [{"thing_id": r["id"], "key": key, "value": value} for r in rows for key, value in r["tags"].items()]
        if columns:
            self.connection.execute(sa.insert(self.table), columns)
        if tags:
            self.connection.execute(sa.insert(self.tag), tags)

    def page(self, filter_: Any, order_by: list[str], request: PageRequest) -> Page:
        tree, order = parse_filter(filter_, THING), parse_order(order_by, THING)
        query = query_digest("default", "thing", tree, order)
        return page(self.connection, self.listing, tree, order, request, query=query, secret=b"s")


def a_locale(connection: Connection) -> str | None:
    if not is_postgres(connection):
        return None
    found: str | None = connection.scalar(
        sa.text("SELECT collname FROM pg_collation WHERE collname IN ('en-x-icu', 'en_US.utf8') LIMIT 1")
    )
    return found


@pytest.fixture
def things(database_url: str) -> Iterator[Things]:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            yield Things(connection)
    finally:
        engine.dispose()


def expected_ids(rows: list[dict[str, Any]], filter_: Any, order_by: list[str]) -> list[str]:
    tree = parse_filter(filter_, THING)
    found = [row for row in rows if matches(tree, row)]
    return [row["id"] for row in in_order(found, parse_order(order_by, THING))]


# One database serves all examples: every one of them replaces the rows.
random_questions = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@random_questions
@given(rows=ROWS, filter_=FILTERS, order_by=ORDERS, size=st.integers(1, 6))
def test_walking_by_token_gives_every_row_once_and_in_order(
    things: Things, rows: list[dict[str, Any]], filter_: Any, order_by: list[str], size: int
) -> None:
    things.fill(rows)
    expected = expected_ids(rows, filter_, order_by)
    walked: list[str] = []
    request = parse_page(page_size=size)
    for _ in range(len(rows) + 1):
        got = things.page(filter_, order_by, request)
        walked += [row.id for row in got.rows]
        assert (got.total, got.total_is_estimate) == (len(expected), False)
        assert got.has_more == (len(walked) < len(expected)) == bool(got.next_token)
        if not got.has_more:
            break
        request = parse_page(page_size=size, page_token=got.next_token)
    assert walked == expected


@random_questions
@given(rows=ROWS, filter_=FILTERS, order_by=ORDERS, offset=st.integers(0, 16), limit=st.integers(1, 6))
def test_an_offset_gives_the_rows_from_there(
    things: Things, rows: list[dict[str, Any]], filter_: Any, order_by: list[str], offset: int, limit: int
) -> None:
    things.fill(rows)
    expected = expected_ids(rows, filter_, order_by)
    got = things.page(filter_, order_by, parse_page(offset=offset, limit=limit))
    assert [row.id for row in got.rows] == expected[offset : offset + limit]
    assert got.total == len(expected)
    assert got.has_more == (offset + limit < len(expected))


def plain(number: int, **values: Any) -> dict[str, Any]:
    row = dict.fromkeys([field.name for field in THING.fields])
    row |= {"id": f"01890a5d-ac96-774b-0000-{number:012x}", "name": f"n{number}", "priority": 0, "status": 1}
    return row | {"cancel_requested": False, "created_at": number, "tags": {}} | values


def test_rows_made_or_removed_meanwhile_neither_repeat_nor_hide_others(things: Things) -> None:
    things.fill([plain(number) for number in range(1, 7)])
    first = things.page({}, ["created_at"], parse_page(limit=3))
    things.connection.execute(sa.delete(things.table).where(things.table.c.created_at == 2))
    things.connection.execute(
        sa.insert(things.table), [{f.stored_as: plain(0)[f.name] for f in THING.fields if f.kind is not Kind.TAGS}]
    )
    second = things.page({}, ["created_at"], parse_page(limit=3, page_token=first.next_token))
    assert [row.name for row in second.rows] == ["n4", "n5", "n6"]
    assert not second.has_more


def test_totals_are_exact_to_ten_thousand_and_a_lower_bound_beyond(things: Things) -> None:
    things.fill([plain(number) for number in range(10_001)])
    everything = things.page(None, [], parse_page())
    assert (everything.total, everything.total_is_estimate, everything.has_more) == (10_000, True, True)
    assert (everything.number, everything.size) == (1, 20)
    all_but_one = things.page({"name": {"not": "n5"}}, [], parse_page())
    assert (all_but_one.total, all_but_one.total_is_estimate) == (10_000, False)
    last_by_offset = things.page(None, [], parse_page(offset=10_000))
    assert [row.name for row in last_by_offset.rows] == ["n0"]
    assert (last_by_offset.total, last_by_offset.total_is_estimate) == (10_000, True)


def test_tokens_reach_what_numbers_do_not(things: Things) -> None:
    things.fill([plain(number) for number in range(10_050)])
    got = things.page(None, ["created_at"], parse_page(page=10, page_size=1_000))
    got = things.page(None, ["created_at"], parse_page(page_size=1_000, page_token=got.next_token))
    assert [row.name for row in got.rows] == [f"n{number}" for number in range(10_000, 10_050)]
    assert got.number == 0


def test_the_largest_filter_that_is_allowed_runs(things: Things) -> None:
    things.fill([plain(1)])
    numbers = [str(number) for number in range(1_000)]
    names = {"name": {"in": [f"n{n}" for n in range(1_000)]}, "priority": {"in": numbers}, "status": {"not": 90}}
    assert len(things.page([names, names], [], parse_page()).rows) == 1
    assert len(things.page([{"priority": {"gte": 0}}] * 100, [], parse_page()).rows) == 1


def test_a_token_of_another_question_is_refused(things: Things) -> None:
    things.fill([plain(number) for number in range(3)])
    token = things.page({}, [], parse_page(limit=1)).next_token
    with pytest.raises(Invalid) as refused:
        things.page({"priority": {"eq": 0}}, [], parse_page(limit=1, page_token=token))
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


def test_every_kind_of_field_is_asked_in_every_way_it_allows() -> None:
    # The random questions draw from `allowed`: this keeps it from shrinking unnoticed.
    assert {f.kind for f in THING.fields} == set(Kind)
    assert next(f for f in THING.fields if f.kind is Kind.TEXT).allowed == TEXTUAL
    assert next(f for f in THING.fields if f.kind is Kind.ID).allowed == COMPARISON
    assert matches(EVERYTHING, {})


def plan(things: Things, order_by: list[str], position: tuple[Any, ...]) -> str:
    statements: list[Any] = []
    sa.event.listen(things.connection, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
    tree, order = parse_filter({}, THING), parse_order(order_by, THING)
    query = query_digest("default", "thing", tree, order)
    request = parse_page(page_token=write_token(position, query))
    page(things.connection, things.listing, tree, order, request, query=query)
    statement, parameters = statements[0]
    explain = "EXPLAIN " if is_postgres(things.connection) else "EXPLAIN QUERY PLAN "
    rows = things.connection.exec_driver_sql(explain + statement, parameters).all()
    return "\n".join(str(row[-1]) for row in rows)


def test_a_page_by_token_starts_inside_the_index(things: Things) -> None:
    sa.Index("idx_thing_created_at", things.table.c.created_at, things.table.c.id).create(things.connection)
    things.fill([plain(number) for number in range(3_000)])
    things.connection.exec_driver_sql("ANALYZE")
    found = plan(things, ["-created_at"], (1_500, plain(1_500)["id"]))
    assert "idx_thing_created_at" in found
    assert "Sort" not in found
    assert "TEMP B-TREE" not in found
