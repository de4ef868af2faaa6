"""The databases of a bench: durable as in production, one fresh database for each work, and what is read off it.

Durability is on and printed: PostgreSQL with fsync, synchronous_commit and full_page_writes, SQLite as Pawl itself sets
it (WAL, synchronous FULL). Figures without it would be those of another product.
"""

import contextlib
import sqlite3
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.bench.plane import children_of, cpu_seconds
from tests.postgres import Postgres, find

KINDS = ("sqlite", "postgres")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")
SUCCEEDED = 100


@dataclass(frozen=True, slots=True)
class Batches:
    """How many tasks the control plane wrote with one commit, on average: a commit gives its rows one instant.
    `direct`: the share of them that was placed by the commit which made it.
    """

    insert: float
    claim: float
    finish: float
    direct: float = 0.0

    def __str__(self) -> str:
        return f"{self.insert:.0f}/{self.claim:.0f}/{self.finish:.0f}"


class Database(Protocol):
    """One database for one work."""

    kind: str
    url: str
    folder: Path

    def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """What a SELECT gives, on a connection of its own."""
        ...

    def wal_bytes(self) -> int | None:
        """Position in the write-ahead log; None where it cannot be told."""
        ...

    def commits(self) -> int | None:
        """Transactions so far; None where it cannot be told."""
        ...

    def cpu_seconds(self) -> float:
        """CPU time of the database's own processes."""
        ...

    def durability(self) -> str:
        """The settings that decide what a commit is worth."""
        ...


class SqliteDatabase:
    """A file. Its work is done inside the control plane's process."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "pawl.db"
        self.url = f"sqlite:///{self.path}"

    def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10.0)) as connection:
            return connection.execute(statement).fetchall()

    def wal_bytes(self) -> int | None:
        return None

    def commits(self) -> int | None:
        return None

    def cpu_seconds(self) -> float:
        return 0.0

    def durability(self) -> str:
        return f"sqlite {sqlite3.sqlite_version}, journal_mode=WAL, synchronous=FULL"


class PostgresDatabase:
    """A database on the bench's own server."""

    kind = "postgres"

    def __init__(self, url: str, postmaster: int, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._postmaster = postmaster
        self._ended: dict[int, float] = {}

    def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def wal_bytes(self) -> int | None:
        return int(self.rows("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def commits(self) -> int | None:
        return int(self.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0][0])

    def cpu_seconds(self) -> float:
        # A backend that has ended keeps what it had when it was last seen.
        self._ended |= {pid: cpu_seconds(pid) for pid in (self._postmaster, *children_of(self._postmaster))}
        return sum(self._ended.values())

    def durability(self) -> str:
        found = {name: self.rows(f"SHOW {name}")[0][0] for name in SHOWN}
        return f"postgresql {found.pop('server_version').split()[0]}, " + ", ".join(
            f"{k}={v}" for k, v in found.items()
        )


@contextlib.contextmanager
def served(kind: str) -> Iterator["Server"]:
    """What gives databases of this kind, for as long as the block lasts."""
    if kind == "sqlite":
        yield Server(None)
        return
    with Postgres(find(), DURABLE) as postgres:
        yield Server(postgres)


class Server:
    """Gives fresh databases."""

    def __init__(self, postgres: Postgres | None) -> None:
        self._postgres = postgres

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """One with a folder beside it; both are gone after the block."""
        with tempfile.TemporaryDirectory(prefix="pawl-bench-") as folder:
            if self._postgres is None:
                yield SqliteDatabase(Path(folder))
                return
            postmaster = int((self._postgres.folder / "data" / "postmaster.pid").read_text().split()[0])
            with self._postgres.database() as name:
                yield PostgresDatabase(self._postgres.url(name), postmaster, Path(folder))


def newest(database: Database) -> int:
    """The instant after which whatever is created is new."""
    return int(database.rows("SELECT coalesce(max(created_at), 0) FROM sched_task")[0][0])


def batches_since(database: Database, since: int, *, ended: bool = True) -> Batches:
    """The mean batches of the tasks created after `since`, all of which have ended, or none of which was placed."""
    tasks, inserts, finishes = database.rows(
        f"SELECT count(*), count(DISTINCT created_at), count(DISTINCT updated_at) FROM sched_task"
        f" WHERE created_at > {since}"
    )[0]
    if not ended:
        return Batches(tasks / max(1, inserts), 0.0, 0.0)
    direct = "count(CASE WHEN i.created_at <= t.created_at THEN 1 END)"  # a claim of its own comes later
    placed, claims, at_once = database.rows(
        f"SELECT count(*), count(DISTINCT i.created_at), {direct} FROM sched_task_instance i"
        f" JOIN sched_task t ON t.id = i.task_id WHERE t.created_at > {since}"
    )[0]
    return Batches(tasks / max(1, inserts), placed / max(1, claims), tasks / max(1, finishes), at_once / max(1, placed))


def left(database: Database) -> int:
    """How many tasks have not ended well: none, once a work is done."""
    return int(database.rows(f"SELECT count(*) FROM sched_task WHERE status <> {SUCCEEDED}")[0][0])


def losses(database: Database, acknowledged: Iterable[str], *, moved: bool = False) -> list[str]:
    """What was lost or done twice, in words; empty is what is wanted. Every acknowledged task must have SUCCEEDED with
    one placement and no other; with `moved`, which is where something was killed, beside those that came to nothing.
    """
    wanted = list(acknowledged)
    found = {text(row[0]): row[1] for row in database.rows("SELECT id, status FROM sched_task")}
    placements: dict[str, list[int]] = {}
    for task_id, status in database.rows("SELECT task_id, status FROM sched_task_instance"):
        placements.setdefault(text(task_id), []).append(status)
    problems = [
        (len(wanted) - len(set(wanted)), "ids were given twice"),
        (sum(one not in found for one in wanted), "acknowledged tasks are not there"),
        (sum(found.get(one, SUCCEEDED) != SUCCEEDED for one in wanted), "acknowledged tasks did not succeed"),
        (len(set(found) - set(wanted)), "tasks are there that nobody was told of"),
        (sum(not _once(placements.get(one, []), moved) for one in wanted), "tasks have not exactly one good placement"),
        (int(database.rows("SELECT count(*) FROM sched_ready")[0][0]), "tasks still wait"),
    ]
    return [f"{count:,} {words}" for count, words in problems if count]


def _once(statuses: Sequence[int], moved: bool) -> bool:
    return statuses.count(SUCCEEDED) == 1 if moved else list(statuses) == [SUCCEEDED]


def text(value: Any) -> str:
    """An id as it is written."""
    return str(uuid.UUID(bytes=bytes(value))) if isinstance(value, bytes) else str(value)
