"""S1: bytes on disk for each finished no-op task, all tables and indexes of all databases counted.

Tasks come and end in rounds with a VACUUM after each, as a server that runs for long sees to: what a row leaves behind
when it changes is used again by later ones, and counted where it is not. The first rounds are not counted: they open
what is opened once, and a page of an index that a VACUUM has emptied is used again from the third one on.
Without the write-ahead logs. Request ids go after a day (`sched_request`), everything else when tasks do.
"""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psycopg

from tests.bench.databases import Database
from tests.bench.report import Row
from tests.bench.stage import NOOP, PATIENCE_SECONDS, Stage
from tests.bench.worker import Worker

FIRST, ROUNDS = 4, 6
SHOWN_BYTES = 1.0
"""What takes less for a task is not named."""
GOAL = 1024
RELATIONS = (
    "SELECT coalesce(t.relname, c.relname), CASE c.relkind WHEN 'i' THEN c.relname ELSE '' END,"
    " sum(pg_table_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_index i ON i.indexrelid = c.oid"
    " LEFT JOIN pg_class t ON t.oid = i.indrelid WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i') GROUP BY 1, 2"
)


async def measure(stage: Stage) -> list[Row]:
    """The rows of S1: the sum, and what it is made of."""
    await stage.make_noop()
    count = stage.number(4_000, 300)
    async with stage.worker(starts=False) as worker:
        for _ in range(stage.number(FIRST, 1)):
            await _round(stage, worker, count)
        before = await asyncio.to_thread(sizes, stage.database)
        for _ in range(ROUNDS):
            await _round(stage, worker, count)
        after = await asyncio.to_thread(sizes, stage.database)
    grown = {name: (size - before.get(name, 0)) / count / ROUNDS for name, size in after.items()}
    row = Row("S1", stage.database.kind, "bytes for a finished task", "B", [sum(grown.values())], more=False)
    row.counters = {"goal B": GOAL, "tasks": count * ROUNDS, **_named(grown)}
    return [row]


async def _round(stage: Stage, worker: Worker, count: int) -> None:
    target = worker.acknowledged_count + count
    await stage.create_many(NOOP, count)
    await worker.acknowledged_up_to(target, PATIENCE_SECONDS)
    await asyncio.to_thread(_vacuum, stage.database)


def _named(grown: Mapping[str, float]) -> dict[str, float]:
    """What takes most, first; the rest together."""
    shown = {name: size for name, size in sorted(grown.items(), key=lambda one: -one[1]) if size >= SHOWN_BYTES}
    return shown | {"everything else": sum(size for name, size in grown.items() if name not in shown)}


def sizes(database: Database) -> dict[str, int]:
    """Bytes by `table` and `table.index`."""
    found: Counter[str] = Counter()
    if database.kind == "postgres":
        for table, index, size in database.rows(RELATIONS):
            found[_name(table, index)] += int(size)
        return found
    for path in _files(database):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            owners = dict(connection.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'"))
            for name, size in connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"):
                found[_name(owners.get(name, name), name if name in owners else "")] += size
    return found


def _name(table: str, index: str) -> str:
    return f"{table}.{index.removeprefix(table + '_')}" if index else table


def _vacuum(database: Database) -> None:
    """What a server does by itself from time to time. SQLite uses pages again at once."""
    if database.kind == "postgres":
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("VACUUM")
        return
    for path in _files(database):
        with contextlib.closing(sqlite3.connect(path, timeout=10.0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _files(database: Database) -> list[Path]:
    main = Path(database.url.removeprefix("sqlite:///"))
    return [main, main.with_name(f"{main.stem}-logs{main.suffix}")]
