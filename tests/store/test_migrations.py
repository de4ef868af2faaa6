"""The schema: the migrated one is the described one, on both databases, and it is made once by whoever comes first."""

import hashlib
import json
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, MetaData, Table

from controlplane.domain.errors import Unavailable
from controlplane.domain.ids import first_id_at
from controlplane.store import Store, dialect, migrations
from controlplane.store.dialect import Month
from controlplane.store.filelock import FileLock, file_system, file_system_in
from controlplane.store.migrations import LATEST, current, migrate, pending
from controlplane.store.tables import PARTITIONED, log_metadata, metadata, task
from tests.engine.stage import NOW, SECOND
from tests.store.nouns import NOUNS, Drawn

ROOT = Path(__file__).resolve().parents[2]
FROZEN = ROOT / "tests" / "data" / "schema" / "frozen.sha256"
FOLDER = ROOT / "controlplane" / "store" / "migrations"

SEEDED_INDEXES = {
    "sched_task": {"idx_sched_task_status", "idx_sched_task_scheduled_at"},
    "sched_task_instance": {"idx_sched_task_instance_status", "idx_sched_task_instance_task_id"},
}


@pytest.fixture
def empty(database_url: str) -> Any:
    """An open store over an empty database."""
    one = Store(database_url)
    one.open()
    yield one
    one.close()


def shape(connection: Connection, table: str) -> dict[str, Any]:
    """What a database says about a table, in words that can be compared."""
    inspector = sa.inspect(connection)
    columns = {
        column["name"]: (
            str(column["type"].compile(connection.dialect)),
            column["nullable"],
        )
        for column in inspector.get_columns(table)
    }
    indexes = {
        index["name"]: (
            index["column_names"],
            bool(index["unique"]),
            _normal(str(index["dialect_options"].get(f"{connection.dialect.name}_where", ""))),
            index.get("column_sorting", {}),
        )
        for index in inspector.get_indexes(table)
        if not index.get("duplicates_constraint")
    }
    return {
        "columns": columns,
        "key": inspector.get_pk_constraint(table)["constrained_columns"],
        "indexes": indexes,
        "unique": {one["name"]: one["column_names"] for one in inspector.get_unique_constraints(table)},
        "checks": {one["name"]: _normal(one["sqltext"]) for one in inspector.get_check_constraints(table)},
    }


def _normal(sql: str) -> str:
    return re.sub(r"[\s()]+", "", sql).lower()


def made_from_tables(store: Store, engine: Engine, described: MetaData, scratch: Path) -> dict[str, dict[str, Any]]:
    """The shapes of the tables as `tables.py` describes them, made by SQLAlchemy in a place of their own."""
    if store.is_sqlite:
        apart = sa.create_engine(f"sqlite:///{scratch}")
        with apart.begin() as connection:
            described.create_all(connection)
            shapes = {name: shape(connection, name) for name in described.tables}
        apart.dispose()
        return shapes
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA described")
        connection.exec_driver_sql("SET search_path TO described")
        described.create_all(connection)
        shapes = {name: shape(connection, name) for name in described.tables}
        connection.rollback()
    return shapes


def _engines(store: Store) -> list[tuple[Engine, MetaData]]:
    return [(store._writer, metadata), (store._logs, log_metadata)]


def test_the_migrated_schema_is_the_described_one(empty: Store, tmp_path: Path) -> None:
    migrate(empty, NOW)
    for engine, described in _engines(empty):
        wanted = made_from_tables(empty, engine, described, tmp_path / f"{len(described.tables)}.db")
        with engine.connect() as connection:
            for name, table in wanted.items():
                assert shape(connection, name) == table, name


def test_there_is_no_table_that_is_not_described(empty: Store) -> None:
    migrate(empty, NOW)
    known = {"sched_schema"} | set(metadata.tables) | set(log_metadata.tables)
    for engine, _ in _engines(empty):
        with engine.connect() as connection:
            for name in sa.inspect(connection).get_table_names():
                assert re.sub(r"_(default|\d{4}_\d\d)$", "", name) in known


@pytest.mark.parametrize("table", SEEDED_INDEXES)
def test_indexes_have_the_names_that_operators_know(empty: Store, table: str) -> None:
    migrate(empty, NOW)
    with empty._writer.connect() as connection:
        inspector = sa.inspect(connection)
        names = {str(index["name"]) for index in inspector.get_indexes(table)}
        names.add(str(inspector.get_pk_constraint(table)["name"]))  # on PostgreSQL an index of that name
    assert SEEDED_INDEXES[table] <= names


def test_migrating_again_does_nothing(empty: Store) -> None:
    assert pending(empty) == list(range(1, LATEST + 1))
    assert migrate(empty, NOW) == list(range(1, LATEST + 1))
    assert migrate(empty, NOW) == []
    assert pending(empty) == []
    assert empty.transact_now(current) == LATEST


def test_the_namespace_for_work_that_names_none_is_there(empty: Store) -> None:
    migrate(empty, NOW)
    found = empty.transact_now(
        lambda connection: connection.execute(sa.select(metadata.tables["sched_namespace"])).all()
    )
    assert [row.id for row in found] == ["default"]


def test_a_newer_schema_is_refused_and_left_alone(empty: Store) -> None:
    migrate(empty, NOW)
    newer = sa.text("INSERT INTO sched_schema VALUES (:r, 0)").bindparams(r=LATEST + 7)
    empty.transact_now(lambda connection: connection.execute(newer))
    with pytest.raises(Unavailable, match=f"schema revision {LATEST + 7}.*upgrade Pawl"):
        migrate(empty, NOW)
    with pytest.raises(Unavailable, match=f"schema revision {LATEST + 7}, this version of Pawl knows {LATEST}:"):
        pending(empty)


def test_a_step_that_fails_leaves_nothing_behind(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: Connection, _: object, __: int) -> None:
        connection.exec_driver_sql("SELECT no_such_column FROM sched_task")

    with monkeypatch.context() as patched:
        patched.setattr(dialect, "create_partitions", broken)
        with pytest.raises((sa.exc.DBAPIError, Unavailable)):
            migrate(empty, NOW)
    assert empty.transact_now(current) == 0
    assert migrate(empty, NOW) == list(range(1, LATEST + 1))


def test_steps_that_have_landed_are_frozen() -> None:
    """Databases have gone through them already: what is changed here would not reach those."""
    frozen = {name: digest for digest, name in map(str.split, FROZEN.read_text().splitlines())}
    for name, digest in frozen.items():
        there = FOLDER / name
        assert there.is_file(), f"{name} has landed and may not go"
        found = hashlib.sha256(there.read_bytes()).hexdigest()
        assert found == digest, (
            f"{name} has landed and may not change: databases that went through it would never see the change. Put the"
            f" file back and add a new step, {LATEST + 1:04d}.sqlite.sql and {LATEST + 1:04d}.postgresql.sql"
        )
    new = {path.name for path in FOLDER.glob("*.sql")} - frozen.keys()
    into = FROZEN.relative_to(ROOT)
    assert not new, f"freeze it: (cd {FOLDER.relative_to(ROOT)} && sha256sum {' '.join(sorted(new))}) >> {into}"


def test_each_step_is_there_for_both_databases_and_none_is_missing() -> None:
    for kind in ("sqlite", "postgresql"):
        names = sorted(path.name for path in FOLDER.glob(f"[0-9][0-9][0-9][0-9].{kind}.sql"))
        assert names == [f"{number:04d}.{kind}.sql" for number in range(1, LATEST + 1)]


def test_a_migration_that_is_killed_anywhere_has_done_all_of_it_or_nothing(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "LATEST", LATEST - 2)
        migrate(empty, NOW)
    empty.transact_now(lambda one: one.exec_driver_sql("UPDATE sched_namespace SET description = 'mine'"))
    empty.close()
    # A program of its own: it forks for each death, which a process with threads may not.
    command = [sys.executable, "-m", "tests.store.dying", "migrate", empty.url]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    outcomes = json.loads(ended.stdout)
    before, after = [LATEST - 2, LATEST - 2, ["mine"]], [LATEST, LATEST, ["mine"]]
    between = [[LATEST, LATEST - 2, ["mine"]]] if empty.is_sqlite else []  # its logs are a file of their own
    told = [one for number, one in enumerate(outcomes) if number == 0 or one != outcomes[number - 1]]
    assert told == [before, *between, after]
    assert outcomes.count(before) > 10, "it was killed between any two statements"


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, though long enough to be looked at " * 20)
    before = file.read_bytes()
    for _ in range(2):  # the lock is given back
        with pytest.raises(Unavailable, match=r"notes\.txt: file is not a database"):
            Store(f"sqlite:///{file}").open()
    assert file.read_bytes() == before


# --- PostgreSQL alone


def test_rows_that_grow_lie_in_partitions_of_months(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.open()
    migrate(store, NOW)

    def partitions(connection: Connection, table: Table) -> set[str]:
        children = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:t AS regclass)")
        return set(connection.execute(children, {"t": table.name}).scalars())

    with store._writer.connect() as connection:
        for table in PARTITIONED:
            assert partitions(connection, table) == {
                f"{table.name}_{month}" for month in ("2025_12", "2026_01", "default")
            }
    store.close()


def test_rows_of_a_month_lose_nothing_to_alignment(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.open()
    migrate(store, NOW)
    widths = sa.text(
        "SELECT CASE WHEN typlen < 0 THEN 5 ELSE position(typalign IN 'disc') END FROM pg_attribute"
        " JOIN pg_type ON pg_type.oid = atttypid WHERE attrelid = CAST(:of AS regclass) AND attnum > 0 ORDER BY attnum"
    )
    with store._writer.connect() as connection:
        for name in ("sched_task_2026_01", "sched_task_instance_2026_01"):
            found = list(connection.execute(widths, {"of": name}).scalars())
            assert found == sorted(found), name
    store.close()


def test_a_month_that_rows_strayed_from_gets_them_whole(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.open()
    migrate(store, NOW)
    month = Month(*dialect.month_bounds(NOW + 100 * 24 * 3600 * SECOND))
    row = Drawn(next(noun for noun in NOUNS if noun.table is task), few=1).rows(1)[0]
    row["id"] = first_id_at(month.first)
    with store._writer.begin() as connection:
        connection.execute(task.insert(), row)
        before = connection.execute(sa.select(task)).all()
        dialect.create_month(connection, PARTITIONED, month)
        assert connection.execute(sa.select(task)).all() == before
        assert connection.exec_driver_sql(f"SELECT count(*) FROM sched_task_{month.name}").scalar() == 1
    store.close()


def test_servers_that_start_together_migrate_once(postgres_url: str) -> None:
    stores = [Store(postgres_url) for _ in range(4)]
    for one in stores:
        one.open()
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda one: migrate(one, NOW), stores))
    assert sorted(applied) == [[], [], [], list(range(1, LATEST + 1))]
    for one in stores:
        one.close()


# --- SQLite alone


def test_a_second_server_on_one_file_is_told_who_holds_it(tmp_path: Path) -> None:
    first, second = Store(f"sqlite:///{tmp_path}/a.db"), Store(f"sqlite:///{tmp_path}/a.db")
    first.open()
    with pytest.raises(Unavailable, match=rf"a\.db is in use by process \d+ on {re.escape(socket.gethostname())}"):
        second.open()
    first.close()
    second.open()
    second.close()


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local\\040disk xfs rw 0 0
server:/over /srv nfs rw 0 0
/dev/sdc1 /srv ext4 rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/pawl", "ext4"),
        ("/home", "nfs4"),
        ("/home/ann/pawl", "nfs4"),
        ("/homestead", "ext4"),
        ("/home/local disk/pawl", "xfs"),
        ("/srv/pawl", "ext4"),
        ("/", "ext4"),
    ],
)
def test_the_deepest_and_newest_mount_tells_the_file_system(path: str, kind: str) -> None:
    assert file_system_in(MOUNTS, path) == kind


def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(Unavailable, match="is on nfs4: SQLite needs a local file system; use PostgreSQL there"):
        FileLock(tmp_path / "a.db.lock", mounts).acquire()
    assert not (tmp_path / "a.db.lock").exists()


def test_where_the_system_tells_no_mounts_the_file_is_taken(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "no such file") == ""
    lock = FileLock(tmp_path / "a.db.lock", tmp_path / "no such file")
    lock.acquire()
    lock.release()
    lock.release()
