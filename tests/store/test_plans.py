"""Which index answers what: every filter that is said to be served by one, on both databases, as at size.

Made from `Field.indexed`. A plan may read no table from end to end and may sort no more than what matched; the index it
names holds the column that was asked for. PostgreSQL has figures of the tables; SQLite has none, as in a server.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.filter import Field, Kind
from controlplane.domain.page import parse_page
from controlplane.engine import lists
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASK_INSTANCES, TASKS
from controlplane.store import agents, glance, groups, instances, schedules, tables, tasks
from controlplane.store.dialect import is_postgres
from controlplane.store.query import Page
from tests.engine.stage import NOW, opened
from tests.postgres import Postgres
from tests.store.nouns import MINE, NOUNS, Drawn, Noun, Values
from tests.store.test_lists import as_json

ROWS = 3_000
MANY = 400  # a table with more rows than this is not to be read from end to end
SIZE = 20


class Plans:
    """A database with many rows of every noun, analysed, and what it does when it is asked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows = {noun.asked.noun: self._fill(noun) for noun in NOUNS}
        if is_postgres(connection):
            connection.exec_driver_sql("ANALYZE")
            # To read a table from end to end costs as much as if it had a hundred times the rows: it is judged at size.
            connection.exec_driver_sql("SET seq_page_cost = 100")
            found = connection.exec_driver_sql("SELECT indexname, indexdef FROM pg_indexes").all()
            self.indexes: dict[str, str] = {one.indexname: one.indexdef for one in found}
            big = connection.exec_driver_sql(f"SELECT relname FROM pg_class WHERE reltuples > {MANY}")
            self.big = set(big.scalars())

    def _fill(self, noun: Noun) -> list[Values]:
        rows = Drawn(noun, few=ROWS).rows(ROWS)
        self.connection.execute(sa.insert(noun.table), rows)
        if noun.table is tables.job:
            whole = [{"job_id": row["id"], "revision": row["revision"]} for row in rows]
            self.connection.execute(
                sa.insert(tables.job_revision).values(requirement_id=1, spec="{}", created_at=0), whole
            )
        if noun.table is tables.task:
            tags = [{"task_id": row["id"], "key": "env", "value": f"v{n % 300}"} for n, row in enumerate(rows)]
            self.connection.execute(sa.insert(tables.task_tag).values(namespace_id=MINE), tags)
        return rows

    def of_question(self, noun: Noun, filter_: Any, order_by: list[str], *, token: str = "") -> tuple[str, list[str]]:
        """The next token, and the plans of the page and of its total."""
        question = Question(MINE, filter_, order_by, parse_page(page_size=SIZE, page_token=token))
        pages: list[Page] = []
        listing = noun.listing(self.connection)
        found = self.of(
            lambda: pages.append(lists.ask(self.connection, noun.asked, listing, question, noun.default_order))
        )
        return pages[0].next_token, found

    def of(self, work: Callable[[], Any]) -> list[str]:
        """The plans of all statements of some work."""
        statements: list[tuple[str, Any]] = []

        def note(*args: Any) -> None:
            statements.append((args[2], args[3]))

        sa.event.listen(self.connection, "before_cursor_execute", note)
        work()
        sa.event.remove(self.connection, "before_cursor_execute", note)
        return [self.plan(*one) for one in statements]

    def plan(self, statement: str, parameters: Any) -> str:
        """What is read, a line for each step; with a word of complaint where it is too much."""
        if is_postgres(self.connection):
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) "
            found = self.connection.exec_driver_sql(explain + statement, parameters).scalar_one()
            return "\n".join(self._steps(found[0]["Plan"]))
        rows = self.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters).all()
        return "\n".join(str(row[-1]) for row in rows)

    def _steps(self, node: dict[str, Any]) -> Iterator[str]:
        kind, table = node["Node Type"], node.get("Relation Name", "")
        if kind == "Seq Scan" and table in self.big and node["Actual Loops"]:
            yield f"WHOLE TABLE {table}"
        if kind == "Sort" and any(one["Actual Rows"] > MANY for one in node["Plans"]):
            yield f"SORT {json.dumps(node['Sort Key'])}"
        if (index := node.get("Index Name")) and node["Actual Loops"]:
            yield f"INDEX {self.indexes[index]} {node.get('Index Cond', '')}"
        for below in node.get("Plans", ()):
            yield from self._steps(below)

    def complaints(self, plan: str, noun: Noun, *, sorts: bool) -> list[str]:
        """What a plan must not do."""
        lines = plan.splitlines()
        if is_postgres(self.connection):
            return [line for line in lines if line.startswith("WHOLE" if sorts else ("WHOLE", "SORT"))]
        whole = [line for line in lines if re.match(f"SCAN {noun.table.name}$", line)]
        if "SCAN lane" in plan:  # what is sorted are the few of each lane: if they are not looked up, all are read
            whole += [line for line in lines if line.endswith("(namespace_id=?)") or line.startswith("SCAN sched_")]
            sorts = True
        return whole + [line for line in lines if "TEMP B-TREE FOR ORDER BY" in line and not sorts]

    def serves(self, plan: str, column: str) -> bool:
        """Whether an index is named that is asked for this column."""
        if is_postgres(self.connection):
            return any(line.startswith("INDEX") and column in line.partition("(")[2] for line in plan.splitlines())
        return any("INDEX" in line and f"{column}" in line.partition("(")[2] for line in plan.splitlines())


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def plans(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plans]:
    """Many rows of every noun, once for each database; never committed."""
    if request.param == "sqlite":
        yield from _opened(f"sqlite:///{tmp_path_factory.mktemp('plans')}/pawl.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(request.getfixturevalue("migrated")) as name:
        yield from _opened(server.url(name))


def _opened(url: str) -> Iterator[Plans]:
    with opened(url):
        pass
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        yield Plans(connection)
    engine.dispose()


INDEXED = [(noun, field) for noun in NOUNS for field in noun.asked.fields if field.indexed]
ORDERED = (Kind.INSTANT, Kind.ID, Kind.INT, Kind.FLOAT)  # text is compared by bytes, which no locale's index serves


def asked(plans: Plans, noun: Noun, field: Field) -> Iterator[dict[str, Any]]:
    """What an index can be asked: one value, several values, a range of a few rows."""
    if field.kind is Kind.TAGS:
        yield from ({f"{field.name}.env": one} for one in ({"eq": "v7"}, {"in": ["v7", "v8", "v9"]}))
        return
    column = noun.columns[field.name].name
    held = sorted({row[column] for row in plans.rows[noun.asked.noun]} - {None})
    middle = [as_json(field, value, random.Random(0)) for value in held[len(held) // 2 :][:8]]
    yield {field.name: {"eq": middle[0]}}
    yield {field.name: {"in": middle[:3]}}
    if field.kind in ORDERED:
        yield {field.name: {"gte": middle[0], "lt": middle[-1]}}


@pytest.mark.parametrize(("noun", "field"), INDEXED, ids=lambda one: getattr(one, "name", None) or one.asked.noun)
def test_a_filter_that_an_index_serves_reads_that_index(plans: Plans, noun: Noun, field: Field) -> None:
    column = "value" if field.kind is Kind.TAGS else "id" if field.in_id else noun.columns[field.name].name
    for filter_ in asked(plans, noun, field):
        _, found = plans.of_question(noun, filter_, [])
        for one in found:
            assert plans.complaints(one, noun, sorts=True) == [], (filter_, one)
        assert plans.serves(found[0], column), (filter_, found[0])


TASK, ATTEMPT = (next(noun for noun in NOUNS if noun.asked is asked) for asked in (TASKS, TASK_INSTANCES))
DAY = {"gte": "2025-12-01T00:00:00Z", "lt": "2025-12-02T00:00:00Z"}
WALKS: list[tuple[Noun, Any, list[str]]] = [
    *((noun, None, order) for noun in (TASK, ATTEMPT) for order in ([], ["id"], ["created_at"], ["-created_at"])),
    *((noun, {"status": one}, []) for noun in (TASK, ATTEMPT) for one in ({"eq": 90}, {"in": [90, 99]}, {"not": 100})),
    (TASK, {"status": {"in": [90, 99]}}, ["created_at"]),
    (TASK, {"status": {"eq": "FAILED"}, "created_at": DAY}, []),
    (TASK, {"created_at": DAY}, ["created_at"]),
    (TASK, {"status": {"eq": 90}, "attempt": {"gte": 0}}, []),
    (TASK, None, ["-scheduled_at"]),
    (TASK, [{"status": {"eq": 90}}, {"status": {"eq": 10}}], []),
]


@pytest.mark.parametrize(("noun", "filter_", "order_by"), WALKS)
def test_a_walk_through_a_table_sorts_nothing_and_starts_where_the_page_does(
    plans: Plans, noun: Noun, filter_: Any, order_by: list[str]
) -> None:
    token, first = plans.of_question(noun, filter_, order_by)
    _, second = plans.of_question(noun, filter_, order_by, token=token)
    for one in (first[0], second[0]):
        assert plans.complaints(one, noun, sorts=False) == [], one


@pytest.mark.parametrize("noun", [TASK, ATTEMPT], ids=lambda noun: noun.asked.noun)
@pytest.mark.parametrize("statuses", [None, {"eq": 90}, {"in": [90, 99]}])
@pytest.mark.parametrize("several", [False, True], ids=["job", "jobs"])
def test_a_job_is_read_by_status_in_one_index(plans: Plans, noun: Noun, statuses: Any, several: bool) -> None:
    jobs = sorted({row["job_id"] for row in plans.rows[noun.asked.noun]})[:3]
    asked_for = {"job_id": {"in": jobs} if several else {"eq": jobs[0]}}
    if statuses:
        asked_for["status"] = statuses
    token, first = plans.of_question(noun, asked_for, [])
    _, second = plans.of_question(noun, asked_for, [], token=token)
    for one in (first[0], second[0]):
        assert plans.complaints(one, noun, sorts=False) == [], one
        if not is_postgres(plans.connection):  # which may have reasons for another one in a small table
            assert "(job_id=? AND namespace_id=? AND status=?" in one


@pytest.mark.parametrize("plans", ["sqlite"], indirect=True)  # PostgreSQL's choice depends on when it last vacuumed
def test_totals_look_no_row_up(plans: Plans) -> None:
    job = plans.rows["task"][0]["job_id"]
    of_job, failed = {"job_id": {"eq": job}}, {"status": {"eq": 90}}
    for filter_ in (None, failed, of_job, of_job | failed):
        _, found = plans.of_question(TASK, filter_, [])
        for total in found[1:]:  # where the page is not all there is
            counting = [line for line in total.splitlines() if "SEARCH sched_task " in line]
            assert counting, total
            assert all("COVERING INDEX" in line for line in counting), (filter_, total)


def test_an_attempt_is_found_by_its_id_in_an_index(plans: Plans) -> None:
    wanted = plans.rows["task instance"][ROWS // 2]["id"]
    [plan] = plans.of(lambda: instances.find(plans.connection, MINE, wanted))
    assert plans.complaints(plan, ATTEMPT, sorts=False) == [], plan
    assert re.search(r"INDEX .*\(\(?.*\bid(=\?| = )", plan), plan


@pytest.mark.parametrize("plans", ["postgres"], indirect=True)  # SQLite reads all of the namespace for these
@pytest.mark.parametrize(
    "filter_",
    [
        {"id": {"not": "01890a5d-ac96-774b-bcce-000000000000"}},
        {"job_id": {"not": "01890a5d-ac96-774b-bcce-000000000000"}},
        [{"exit_code": {"eq": 0}}, {"attempt": {"gte": 0}}],
    ],
)
def test_attempts_that_no_index_tells_apart_are_walked_in_their_order(plans: Plans, filter_: Any) -> None:
    _, found = plans.of_question(ATTEMPT, filter_, [])
    assert plans.complaints(found[0], ATTEMPT, sorts=False) == [], found[0]


@pytest.mark.parametrize("order_by", [[], ["shard_index"]])
def test_the_tasks_of_a_group_are_read_in_its_index(plans: Plans, order_by: list[str]) -> None:
    group = next(row["group_id"] for row in plans.rows["task"] if row["group_id"])
    _, (page, *_) = plans.of_question(TASK, {"group_id": {"eq": group}}, order_by)
    assert plans.complaints(page, TASK, sorts=bool(order_by)) == [], page
    assert plans.serves(page, "group_id")


def test_what_a_group_asks_of_its_tasks_is_read_in_its_index(plans: Plans) -> None:
    group = next(row["group_id"] for row in plans.rows["task"] if row["group_id"])
    for work in (
        lambda: groups.on_agents(plans.connection, [group]),
        lambda: groups.to_cancel(plans.connection, group, 50),
        lambda: groups.members(plans.connection, group),
        lambda: groups.closing(plans.connection, 20),
    ):
        for plan in plans.of(work):
            assert not re.search(r"WHOLE TABLE sched_task$|^SCAN sched_task$", plan, re.MULTILINE), plan


def test_what_runs_all_the_time_reads_no_table_from_end_to_end(plans: Plans) -> None:
    connection, ids = plans.connection, [row["id"] for row in plans.rows["task"]]
    ready = [{"task_id": one, "requirement_id": n % 3, "priority": n % 7, "ready_at": n} for n, one in enumerate(ids)]
    connection.execute(sa.insert(tables.ready), ready)
    connection.execute(sa.insert(tables.timer), [{"task_id": one, "due_at": NOW + n} for n, one in enumerate(ids)])
    if is_postgres(connection):
        connection.exec_driver_sql("ANALYZE sched_ready, sched_timer")
    for work in (
        lambda: tasks.waiting(connection, {1: 50}),
        lambda: tasks.waiting(connection, {0: 50, 1: 7, 2: 1}),
        lambda: tasks.ready_requirements(connection),
        lambda: tasks.due_ids(connection, NOW, 50),
        lambda: tasks.unstarted_ids(connection, NOW, 50),
        lambda: tasks.overdue_ids(connection, NOW, 50),
        lambda: tasks.next_deadline(connection),
        lambda: agents.paused_on(connection, [("default", "agent")]),
        lambda: agents.cancelling_on(connection, [("default", "agent")]),
        lambda: agents.beyond_total(connection, NOW),
        lambda: agents.expired(connection, NOW, 0),
        lambda: agents.overrunning(connection, NOW),
        lambda: tasks.data_of(connection, ids[:50]),
        lambda: tasks.load_many(connection, ids[:50]),
        lambda: schedules.due(connection, NOW, 50),
        lambda: glance.look(connection, "one"),
    ):
        for plan in plans.of(work):
            assert not re.search(r"WHOLE TABLE|^SCAN sched_\w+$|SORT|FOR ORDER BY", plan, re.MULTILINE), plan
