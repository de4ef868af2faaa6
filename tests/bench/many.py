"""Many narrow tasks and attempts, made by SQL alone: what a namespace looks like after a month of work.

The shares are chosen to be hard on lists. Rows of a kind that somebody asks for lie together and far from the newest
ones: a night in which everything failed, a namespace that fell asleep, a day of retries. A plan that walks the newest
rows until it has found twenty walks over most of the table.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from controlplane.store import dialect
from controlplane.store.tables import PARTITIONED, task, task_data, task_instance, task_tag
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
            " status, lease,"
            " timeout, created_at, started_at, finished_at, exit_code, late_result, output_size, output_truncated"
        ),
        (
            "bench_id(ms, n), 1, bench_id(ms, n), {namespace}, {job}, {agent}, 'default', 1, 1, 1, status, 30000000,"
            " 3600000000, at, at + 1000, CASE WHEN status > 10 THEN at + 2000 END, CASE WHEN status > 10"
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
        _fill_sqlite(database.url.removeprefix("sqlite:///"), many)
    else:
        _fill_postgres(database.url, many)
    return many


def _statements(many: Many, *, source: str, no: str) -> Iterator[str]:
    facts = {"total": many.total, "end": many.end, "step": many.step, "no": no}
    words = {"namespace": _NAMESPACE.format(**facts), "job": _JOB, "agent": _AGENT}
    for first in range(1, many.total + 1, STEP):
        numbers = source.format(first=first, last=min(first + STEP - 1, many.total))
        numbered = f"SELECT n, {_AT.format(**facts)} AS at, {_STATUS.format(**facts)} AS status FROM ({numbers}) AS one"
        rows = f"SELECT n, at, at / 1000 AS ms, status FROM ({numbered}) AS two"
        for table, (columns, values, where) in _FILL.items():
            chosen = f" WHERE {where}" if where else ""
            yield f"INSERT INTO {table} ({columns}) SELECT {values.format(**facts, **words)} FROM ({rows}) AS n{chosen}"


def _fill_sqlite(path: str, many: Many) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.create_function("bench_id", 2, lambda ms, n: _number(ms, n).to_bytes(16), deterministic=True)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        numbers = (
            "WITH RECURSIVE c(n) AS (VALUES({first}) UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c"
        )
        _load(lambda sql: connection.execute(sql).fetchall(), many, source=numbers, no="0", kept="sql")
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _fill_postgres(url: str, many: Many) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for at in (many.at(1), many.end):  # a server that was up all the time would have made them
            dialect.create_partitions(connection, PARTITIONED, at)
    engine.dispose()
    with psycopg.connect(url, autocommit=True) as plain:

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
        numbers = "SELECT generate_series({first}::bigint, {last}::bigint) AS n"
        _load(run, many, source=numbers, no="false", kept="indexdef")
        run(f"VACUUM (ANALYZE) {', '.join(_NAMES)}")
        run("CHECKPOINT")


def _load(run: Callable[[str], Any], many: Many, *, source: str, no: str, kept: str) -> None:
    """Rows first and indexes after them: several times faster than rows into indexes."""
    listed = ", ".join(f"'{name}'" for name in _NAMES)
    if kept == "sql":
        found = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> '' AND tbl_name IN ({listed})"
    else:
        found = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE indexname NOT LIKE '%\\_pkey'"
            f" AND tablename IN ({listed})"
        )
    indexes = run(found)
    for name, _ in indexes:
        run(f"DROP INDEX {name}")
    for statement in _statements(many, source=source, no=no):
        run(statement)
    for _, definition in indexes:
        # As printed by PostgreSQL, an index of a partitioned table leaves its partitions out.
        run(definition.replace(" ON ONLY ", " ON "))
