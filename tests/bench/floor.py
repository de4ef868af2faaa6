"""The raw SQL floor: what the same rows and the same commits cost without Pawl, measured in the same run.

The tables and indexes are Pawl's own, made by its migrations; the statements are the cheapest known for each database:
arrays and `unnest` in binary on PostgreSQL, `executemany` on SQLite. Nothing is decided, checked or sent: this is what
a control plane could reach that costs nothing itself.
"""

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import uuid_utils

from controlplane.store import Store
from controlplane.store.migrations import migrate
from tests.bench.databases import Batches, Database

JOB = str(uuid_utils.uuid7())
KEEP = 24 * 3600 * 1_000_000


class Statements(Protocol):
    """The three steps of a task's life, each one commit for all the tasks it is given."""

    def insert(self, ids: Sequence[str]) -> None:
        """Tasks, their data, their ready rows, their request ids."""
        ...

    def place(self, ids: Sequence[str]) -> list[Any]:
        """The same of tasks that are placed as they are made: no ready rows, but placements."""
        ...

    def claim(self, count: int) -> list[Any]:
        """Take up to so many: task and placement are written, the ready row goes."""
        ...

    def finish(self, keys: Sequence[Any]) -> None:
        """Task and placement have succeeded."""
        ...

    def one_row(self) -> None:
        """The smallest commit there is."""
        ...


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the floor: tasks a second, and CPU microseconds a task of client and database together."""

    rate: float
    cpu: float


class Floor:
    """Times the steps. Empty at the beginning and after each measurement but for what has ended."""

    def __init__(self, statements: Statements, database: Database) -> None:
        self.statements = statements
        self._database = database

    def drain(self, count: int, batches: Batches) -> Pass:
        """Tasks claimed and finished; they were stored before."""
        self._insert(count, 500)
        return self._passed(count, lambda: self._run(batches))

    def whole(self, count: int, batches: Batches) -> Pass:
        """Tasks stored, claimed and finished."""

        def life() -> None:
            finish, held, direct = max(1, round(batches.finish)), list[Any](), 0.0
            for size in _pieces(count, batches.insert):
                direct += batches.direct
                if direct >= 1.0:
                    direct -= 1.0
                    held += self.statements.place(new_ids(size))
                else:
                    self.statements.insert(new_ids(size))
                while len(held) >= finish:
                    self.statements.finish(held[:finish])
                    del held[:finish]
            self._run(batches, held)

        return self._passed(count, life)

    def stored(self, count: int, batch: float) -> Pass:
        """Tasks stored. They are claimed and finished too, unmeasured."""
        passed = self._passed(count, lambda: self._insert(count, batch))
        self._run(Batches(batch, 500, 500))
        return passed

    def _passed(self, count: int, what: Callable[[], None]) -> Pass:
        cpu = time.process_time() + self._database.cpu_seconds()
        seconds = self._timed(what)
        return Pass(count / seconds, (time.process_time() + self._database.cpu_seconds() - cpu) / count * 1e6)

    def one_row_seconds(self, count: int) -> list[float]:
        """Seconds of each of so many one-row commits."""
        return [self._timed(self.statements.one_row) for _ in range(count)]

    def start_seconds(self, count: int) -> list[float]:
        """Seconds until a lone task is stored as placed, each time."""
        taken = []
        for _ in range(count):
            placed: list[Any] = []
            taken.append(self._timed(lambda: placed.extend(self.statements.place(new_ids(1)))))  # noqa: B023 # at once
            self.statements.finish(placed)
        return taken

    def _insert(self, count: int, size: float) -> None:
        for piece in _pieces(count, size):
            self.statements.insert(new_ids(piece))

    def _run(self, batches: Batches, held: Sequence[Any] = ()) -> None:
        """Claims and finishes of their own sizes, each as soon as it is full. `held` is claimed already."""
        claim, finish = max(1, round(batches.claim)), max(1, round(batches.finish))
        held = list(held)
        while claimed := self.statements.claim(claim):
            held += claimed
            while len(held) >= finish:
                self.statements.finish(held[:finish])
                del held[:finish]
        if held:
            self.statements.finish(held)

    @staticmethod
    def _timed(what: Callable[[], None]) -> float:
        begun = time.perf_counter()
        what()
        return time.perf_counter() - begun


@contextlib.contextmanager
def opened(database: Database) -> Iterator[Floor]:
    """A floor on an empty database, which gets Pawl's schema first."""
    store = Store(database.url)
    store.open()
    try:
        migrate(store, now())
    finally:
        store.close()
    if database.kind == "sqlite":
        path = database.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as lite:
            yield Floor(SqliteStatements(lite), database)
        return
    with psycopg.connect(database.url, autocommit=True, prepare_threshold=2) as connection:
        yield Floor(PostgresStatements(connection), database)


def _pieces(count: int, size: float) -> Iterator[int]:
    step = max(1, round(size))
    for at in range(0, count, step):
        yield min(step, count - at)


def new_ids(count: int) -> list[str]:
    """Ids as Pawl makes them: the newest sort last, and lie in this month's partition."""
    return [str(uuid_utils.uuid7()) for _ in range(count)]


def digests(count: int) -> list[uuid.UUID]:
    """So many as there are none of yet, in no order."""
    return [uuid.uuid4() for _ in range(count)]


def now() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


# The columns are the same in both, and so is what stands in them; only the way in differs.
TASK = (
    "id, namespace_id, job_id, job_revision, requirement_id, status, priority, scheduled_at, attempt, max_retries,"
    " epoch, token, result_token, stalled, cause, cancel_requested, dead_reason, created_at, updated_at, version"
)
DATA = "task_id, environment, tags, cancel_reason, traceparent"
READY = "task_id, requirement_id, priority, ready_at"
REQUEST = "digest, content, resource_id, expires_at, namespace_id"
INSTANCE = (
    "task_id, token, id, namespace_id, job_id, agent_id, agent_namespace_id, attempt, cause, epoch, status, lease,"
    " timeout, created_at, late_result, output_size, output_truncated"
)
PLACEMENTS = (
    f"INSERT INTO sched_task_instance ({INSTANCE}) SELECT id, 1, instance, 'default', %(job)s::uuid,"
    " 'floor', 'default', 1, 1, 1, 5, 30000000, 3600000000, %(at)s, false, 0, false"
    " FROM unnest(%(ids)b::uuid[], %(instances)b::uuid[]) AS n(id, instance)"
)
PLACEMENT = (
    f"INSERT INTO sched_task_instance ({INSTANCE}) VALUES (?, 1, ?, 'default', ?, 'floor', 'default', 1, 1,"
    " 1, 5, 30000000, 3600000000, ?, 0, 0, 0)"
)


class PostgresStatements:
    """Arrays in binary, one statement per table."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._execute("CREATE TABLE one_row (id bigint GENERATED ALWAYS AS IDENTITY, at bigint)")

    def insert(self, ids: Sequence[str]) -> None:
        keys, at = [uuid.UUID(one) for one in ids], now()
        with self._connection.pipeline(), self._connection.transaction():
            self._execute(
                f"INSERT INTO sched_task ({TASK}) SELECT id, 'default', %(job)s::uuid, 1, 1, 1, 5, %(at)s, 0, 0, 1, 0,"
                " 0, 0, 1, false, 0, %(at)s, %(at)s, 1 FROM unnest(%(ids)b::uuid[]) id",
                {"job": JOB, "at": at, "ids": keys},
            )
            self._execute(
                f"INSERT INTO sched_task_data ({DATA}) SELECT id, '{{}}', '{{}}', '', ''"
                " FROM unnest(%(ids)b::uuid[]) id",
                {"ids": keys},
            )
            self._execute(
                f"INSERT INTO sched_ready ({READY}) SELECT id, 1, 5, %(at)s FROM unnest(%(ids)b::uuid[]) id",
                {"at": at, "ids": keys},
            )
            self._execute(
                f"INSERT INTO sched_request ({REQUEST}) SELECT digest, digest, id, %(until)s, 'default'"
                " FROM unnest(%(ids)b::uuid[], %(digests)b::uuid[]) AS n(id, digest)",
                {"until": at + KEEP, "ids": keys, "digests": digests(len(ids))},
            )

    def place(self, ids: Sequence[str]) -> list[Any]:
        keys, at = [uuid.UUID(one) for one in ids], now()
        instances = [uuid.UUID(one) for one in new_ids(len(ids))]
        values = {"job": JOB, "at": at, "ids": keys, "instances": instances, "until": at + KEEP}
        values["digests"] = digests(len(ids))
        with self._connection.pipeline(), self._connection.transaction():
            self._execute(
                f"INSERT INTO sched_task ({TASK}, agent_id, instance_id) SELECT id, 'default', %(job)s::uuid, 1, 1, 5,"
                " 5, %(at)s, 1, 0, 1, 1, 0, 0, 1, false, 0, %(at)s, %(at)s, 3, 'floor', instance"
                " FROM unnest(%(ids)b::uuid[], %(instances)b::uuid[]) AS n(id, instance)",
                values,
            )
            self._execute(
                f"INSERT INTO sched_task_data ({DATA}) SELECT id, '{{}}', '{{}}', '', ''"
                " FROM unnest(%(ids)b::uuid[]) id",
                values,
            )
            self._execute(
                f"INSERT INTO sched_request ({REQUEST}) SELECT digest, digest, id, %(until)s, 'default'"
                " FROM unnest(%(ids)b::uuid[], %(digests)b::uuid[]) AS n(id, digest)",
                values,
            )
            self._execute(PLACEMENTS, values)
        return keys

    def claim(self, count: int) -> list[Any]:
        at = now()
        with self._connection.transaction():
            found = self._execute(
                "SELECT task_id FROM sched_ready WHERE requirement_id = 1 ORDER BY priority DESC, ready_at, task_id"
                " LIMIT %(count)s FOR UPDATE SKIP LOCKED",
                {"count": count},
            ).fetchall()
            keys = [row[0] for row in found]
            if not keys:
                return []
            values = {"ids": keys, "instances": [uuid.UUID(one) for one in new_ids(len(keys))], "at": at, "job": JOB}
            self._execute(
                "UPDATE sched_task SET status = 5, attempt = 1, token = 1, agent_id = 'floor',"
                " instance_id = n.instance, updated_at = %(at)s, version = 3"
                " FROM unnest(%(ids)b::uuid[], %(instances)b::uuid[]) AS n(id, instance) WHERE sched_task.id = n.id",
                values,
            )
            self._execute("DELETE FROM sched_ready WHERE task_id = ANY(%(ids)b::uuid[])", values)
            self._execute(PLACEMENTS, values)
        return keys

    def finish(self, keys: Sequence[Any]) -> None:
        values = {"ids": list(keys), "at": now()}
        with self._connection.pipeline(), self._connection.transaction():
            self._execute(
                "UPDATE sched_task SET status = 100, result_token = 1, started_at = %(at)s, finished_at = %(at)s,"
                " updated_at = %(at)s, version = 4 WHERE id = ANY(%(ids)b::uuid[])",
                values,
            )
            self._execute(
                "UPDATE sched_task_instance SET status = 100, started_at = %(at)s, finished_at = %(at)s, exit_code = 0,"
                " lease = NULL, timeout = NULL, grace = NULL, paused = NULL"
                " WHERE task_id = ANY(%(ids)b::uuid[]) AND token = 1",
                values,
            )

    def one_row(self) -> None:
        self._execute("INSERT INTO one_row (at) VALUES (%(at)s)", {"at": now()})

    def _execute(self, statement: str, values: dict[str, Any] | None = None) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement.encode(), values)


class SqliteStatements:
    """`executemany` on prepared statements: it costs a microsecond or two a row in C."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE one_row (id INTEGER PRIMARY KEY, at INTEGER)")
        self._job = uuid.UUID(JOB).bytes

    def insert(self, ids: Sequence[str]) -> None:
        keys, at = [uuid.UUID(one).bytes for one in ids], now()
        with self._transaction() as run:
            run(
                f"INSERT INTO sched_task ({TASK})"
                " VALUES (?, 'default', ?, 1, 1, 1, 5, ?, 0, 0, 1, 0, 0, 0, 1, 0, 0, ?, ?, 1)",
                [(key, self._job, at, at, at) for key in keys],
            )
            run(f"INSERT INTO sched_task_data ({DATA}) VALUES (?, '{{}}', '{{}}', '', '')", [(key,) for key in keys])
            run(f"INSERT INTO sched_ready ({READY}) VALUES (?, 1, 5, ?)", [(key, at) for key in keys])
            run(
                f"INSERT INTO sched_request ({REQUEST}) VALUES (?, ?, ?, ?, 'default')",
                [(one.bytes, one.bytes, key, at + KEEP) for one, key in zip(digests(len(ids)), keys, strict=True)],
            )

    def place(self, ids: Sequence[str]) -> list[Any]:
        placed = [(uuid.UUID(one).bytes, uuid.UUID(new).bytes) for one, new in zip(ids, new_ids(len(ids)), strict=True)]
        at = now()
        with self._transaction() as run:
            run(
                f"INSERT INTO sched_task ({TASK}, agent_id, instance_id)"
                " VALUES (?, 'default', ?, 1, 1, 5, 5, ?, 1, 0, 1, 1, 0, 0, 1, 0, 0, ?, ?, 3, 'floor', ?)",
                [(key, self._job, at, at, at, instance) for key, instance in placed],
            )
            run(
                f"INSERT INTO sched_task_data ({DATA}) VALUES (?, '{{}}', '{{}}', '', '')",
                [(key,) for key, _ in placed],
            )
            run(
                f"INSERT INTO sched_request ({REQUEST}) VALUES (?, ?, ?, ?, 'default')",
                [
                    (one.bytes, one.bytes, key, at + KEEP)
                    for one, (key, _) in zip(digests(len(ids)), placed, strict=True)
                ],
            )
            run(PLACEMENT, [(key, instance, self._job, at) for key, instance in placed])
        return [key for key, _ in placed]

    def claim(self, count: int) -> list[Any]:
        at = now()
        with self._transaction() as run:
            found = self._connection.execute(
                "SELECT task_id FROM sched_ready WHERE requirement_id = 1 ORDER BY priority DESC, ready_at, task_id"
                " LIMIT ?",
                (count,),
            ).fetchall()
            placed = [(row[0], uuid.UUID(one).bytes) for row, one in zip(found, new_ids(len(found)), strict=True)]
            run(
                "UPDATE sched_task SET status = 5, attempt = 1, token = 1, agent_id = 'floor', instance_id = ?,"
                " updated_at = ?, version = 3 WHERE id = ?",
                [(instance, at, key) for key, instance in placed],
            )
            run("DELETE FROM sched_ready WHERE task_id = ?", found)
            run(PLACEMENT, [(key, instance, self._job, at) for key, instance in placed])
        return [key for key, _ in placed]

    def finish(self, keys: Sequence[Any]) -> None:
        at = now()
        with self._transaction() as run:
            run(
                "UPDATE sched_task SET status = 100, result_token = 1, started_at = ?, finished_at = ?, updated_at = ?,"
                " version = 4 WHERE id = ?",
                [(at, at, at, key) for key in keys],
            )
            run(
                "UPDATE sched_task_instance SET status = 100, started_at = ?, finished_at = ?, exit_code = 0,"
                " lease = NULL, timeout = NULL, grace = NULL, paused = NULL"
                " WHERE task_id = ? AND token = 1",
                [(at, at, key) for key in keys],
            )

    def one_row(self) -> None:
        with self._transaction() as run:
            run("INSERT INTO one_row (at) VALUES (?)", [(now(),)])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.executemany
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
