"""Many narrow tasks and attempts, made by SQL alone: what a namespace looks like after a month of work.

The shares are chosen to be hard on lists. Rows of a kind that somebody asks for lie together and far from the newest
ones: a night in which everything failed, a namespace that fell asleep, a day of retries. A plan that walks the newest
rows until it has found twenty walks over most of the table.
"""

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from controlplane.store import dialect
from controlplane.store.tables import PARTITIONED, ready, task, task_data, task_instance, task_tag
from tests.bench.databases import Database

DAY = 24 * 3600 * 1_000_000
SPAN = 30 * DAY
JOBS = 100
SCHEDULES = 50
CUSTOMERS = 97
ASLEEP = "asleep"  # a namespace that had the first part of the rows and none since
STEP = 250_000  # rows a statement
_NAMES = (task.name, task_data.name, task_tag.name, task_instance.name)

# n counts the rows, oldest first; :total of them end at :end. Both databases read these expressions alike.
_AT = "({end} - ({total} - n) * {step} + n % 1000)"
_NAMESPACE = "CASE WHEN n <= {total} / 33 THEN 'asleep' ELSE 'default' END"
_JOB = "bench_id(1, CASE WHEN n % 9973 = 0 THEN 1000 ELSE n % 100 END)"
_AGENT = "('agent-' || (n % 20))"
_TERMS = ", ".join(f"CASE WHEN status = 10 THEN {one} END" for one in (30_000_000, 3_600_000_000, 10_000_000, 0))
_STATUS = (
    "CASE WHEN n > {total} - 20 THEN 1 WHEN n > {total} - 40 THEN 10"
    " WHEN n BETWEEN {total} / 5 AND {total} / 5 + {total} / 100 THEN 90"
    " WHEN n BETWEEN {total} / 4 AND {total} / 4 + 100 THEN 99 ELSE 100 END"
)
_FILL = {
    task.name: (
        (
            "id, namespace_id, job_id, job_revision, requirement_id, schedule_id, status, priority,"
            " scheduled_at, attempt,"
            " max_retries, epoch, token, result_token, stalled, cause, cancel_requested, dead_reason, agent_id,"
            " instance_id, created_at, updated_at, started_at, finished_at, version"
        ),
        (
            "bench_id(ms, n), {namespace}, {job}, 1, 1, CASE WHEN n % 10 = 0 THEN bench_id(2, n % 500 / 10)"
            " END, status,"
            " 500, at, 1, 0, 1, 1, 1, 0, 1, {no}, 0, CASE WHEN status > 1 THEN {agent} END,"
            " CASE WHEN status > 1 THEN bench_id(ms, n) END, at, at + 2000, CASE WHEN status > 1 THEN at + 1000 END,"
            " CASE WHEN status > 10 THEN at + 2000 END, 4"
        ),
        "",
    ),
    task_data.name: (
        "task_id, environment, tags, cancel_reason, traceparent",
        "bench_id(ms, n), '{{}}', '{{}}', '', ''",
        "",
    ),
    task_tag.name: (
        "task_id, key, value, namespace_id",
        (
            "bench_id(ms, n), CASE WHEN n % 100 = 5 THEN 'customer' ELSE 'env' END,"
            " CASE WHEN n % 100 = 5 THEN 'c' || (n / 100 % 97) ELSE 'prod' END, {namespace}"
        ),
        "n % 10 = 5",
    ),
    task_instance.name: (
        (
            "task_id, token, id, namespace_id, job_id, agent_id, agent_namespace_id, attempt, cause, epoch,"
            " status, lease, timeout, grace, paused, created_at, started_at, finished_at, exit_code, late_result,"
            " output_size, output_truncated"
        ),
        (
            "bench_id(ms, n), 1, bench_id(ms, n), {namespace}, {job}, {agent}, 'default', 1, 1, 1, status,"
            " {terms}, at, at + 1000, CASE WHEN status > 10 THEN at + 2000 END, CASE WHEN status > 10"
            " THEN 0 END, {no},"
            " 0, {no}"
        ),
        "status > 1",
    ),
}


@dataclass(frozen=True, slots=True)
class Many:
    """What was made: so many rows, the newest one at `end` (microseconds), one every `step`."""

    total: int
    end: int

    @property
    def step(self) -> int:
        """Microseconds from one row to the next; whole milliseconds, so that ids rise as instants do."""
        return SPAN // self.total // 1000 * 1000

    def at(self, n: int) -> int:
        """When row n was made."""
        return self.end - (self.total - n) * self.step + n % 1000

    def id(self, n: int) -> str:
        """The id of row n, of task and attempt alike."""
        return text_id(self.at(n) // 1000, n)


def text_id(ms: int, n: int) -> str:
    """What `bench_id` makes, as text. Jobs and schedules are ids of a first and a second millisecond."""
    return str(uuid.UUID(int=_number(ms, n)))


def job_id(n: int) -> str:
    """A job's id."""
    return text_id(1, n)


def schedule_id(n: int) -> str:
    """A schedule's id."""
    return text_id(2, n)


def _number(ms: int, n: int) -> int:
    return ms << 80 | (0x7000 | n % 4096) << 64 | 0x8 << 60 | n


def fill(database: Database, total: int, end: int) -> Many:
    """Make them in an empty database that has Pawl's schema: indexed, and on PostgreSQL analysed, as a server does."""
    many = Many(total, end // 1_000_000 * 1_000_000)
    if database.kind == "sqlite":
        _fill_sqlite(database, many)
    else:
        _fill_postgres(database, many)
    return many


def _statements(many: Many, *, source: str, no: str) -> Iterator[str]:
    facts = {"total": many.total, "end": many.end, "step": many.step, "no": no}
    words = {"namespace": _NAMESPACE.format(**facts), "job": _JOB, "agent": _AGENT, "terms": _TERMS}
    for first in range(1, many.total + 1, STEP):
        numbers = source.format(first=first, last=min(first + STEP - 1, many.total))
        numbered = f"SELECT n, {_AT.format(**facts)} AS at, {_STATUS.format(**facts)} AS status FROM ({numbers}) AS one"
        rows = f"SELECT n, at, at / 1000 AS ms, status FROM ({numbered}) AS two"
        for table, (columns, values, where) in _FILL.items():
            chosen = f" WHERE {where}" if where else ""
            yield f"INSERT INTO {table} ({columns}) SELECT {values.format(**facts, **words)} FROM ({rows}) AS n{chosen}"


def multiply(database: Database, task_id: str, count: int) -> None:
    """So many tasks that wait as this one does, in a database that no server has open."""
    one = uuid.UUID(task_id)
    ms = one.int >> 80
    with _runner(database) as run:
        for table, column in ((task, "id"), (task_data, "task_id"), (ready, "task_id")):
            others = ", ".join(each.name for each in table.columns if each.name != column)
            mine = f"x'{one.hex}'" if database.kind == "sqlite" else f"'{one}'"
            for first in range(1, count + 1, STEP):
                numbers = _NUMBERS[database.kind].format(first=first, last=min(first + STEP - 1, count))
                run(
                    f"INSERT INTO {table.name} ({column}, {others}) SELECT bench_id({ms}, n), {others}"
                    f" FROM {table.name}, ({numbers}) AS numbers WHERE {column} = {mine}"
                )
        if database.kind == "postgres":
            run(f"VACUUM (ANALYZE) {task.name}, {task_data.name}, {ready.name}")
            run("CHECKPOINT")
        else:
            run("PRAGMA journal_mode=WAL")


Run = Callable[[str], list[tuple[Any, ...]]]
_NUMBERS = {
    "sqlite": "WITH RECURSIVE c(n) AS (VALUES({first}) UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c",
    "postgres": "SELECT generate_series({first}::bigint, {last}::bigint) AS n",
}


@contextlib.contextmanager
def _runner(database: Database) -> Iterator[Run]:
    """What runs statements, quick and not durable, which know `bench_id`."""
    if database.kind == "sqlite":
        connection = sqlite3.connect(database.url.removeprefix("sqlite:///"), isolation_level=None)
        with contextlib.closing(connection):
            connection.create_function("bench_id", 2, lambda ms, n: _number(ms, n).to_bytes(16), deterministic=True)
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
            yield lambda sql: connection.execute(sql).fetchall()
        return
    with psycopg.connect(database.url, autocommit=True) as plain:

        def run(sql: str) -> list[tuple[Any, ...]]:
            done = plain.execute(sql.encode())
            return done.fetchall() if done.description else []

        run(
            "CREATE FUNCTION bench_id(ms bigint, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT"
            " (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))"
            "::uuid $$"
        )
        run("SET synchronous_commit = off")
        run("SET maintenance_work_mem = '512MB'")
        yield run


def _fill_sqlite(database: Database, many: Many) -> None:
    with _runner(database) as run:
        _load(run, many, source=_NUMBERS["sqlite"], no="0", kept="sql")
        run("PRAGMA journal_mode=WAL")


def _fill_postgres(database: Database, many: Many) -> None:
    engine = sa.create_engine(database.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for at in (many.at(1), many.end):  # a server that was up all the time would have made them
            dialect.create_partitions(connection, PARTITIONED, at)
    engine.dispose()
    with _runner(database) as run:
        _load(run, many, source=_NUMBERS["postgres"], no="false", kept="indexdef")
        run(f"VACUUM (ANALYZE) {', '.join(_NAMES)}")
        run("CHECKPOINT")


def _load(run: Run, many: Many, *, source: str, no: str, kept: str) -> None:
    """Rows first and indexes after them: several times faster than rows into indexes."""
    listed = ", ".join(f"'{name}'" for name in _NAMES)
    if kept == "sql":
        found = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> '' AND tbl_name IN ({listed})"
    else:
        found = (
            "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE NOT indisprimary"
            f" AND indrelid::regclass::text IN ({listed})"
        )
    indexes = run(found)
    for name, _ in indexes:
        run(f"DROP INDEX {name}")
    for statement in _statements(many, source=source, no=no):
        run(statement)
    for _, definition in indexes:
        # As printed by PostgreSQL, an index of a partitioned table leaves its partitions out.
        run(definition.replace(" ON ONLY ", " ON "))
