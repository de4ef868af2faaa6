"""Backups of SQLite stores: whole, of one instant, never half there. Restores: the old store or the new one."""

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain.errors import AlreadyExists, Invalid, Unavailable
from controlplane.store import Connection, Store, blobs, logs, migrations
from controlplane.store.backup import MANIFEST, Manifest, back_up
from controlplane.store.files import StoreFiles
from controlplane.store.logs import Chunk, pack
from controlplane.store.migrations import LATEST, migrate
from controlplane.store.restore import restore
from tests.engine.stage import NOW, opened
from tests.store.dying import AT, quiet

ID = "00000000-0000-7000-8000-{:012d}".format
NAMES = ["backup", "backup.tar", "backup.tar.gz", "backup.tgz"]


def taken(store: Path, target: Path) -> Manifest:
    return back_up(StoreFiles(store), target, version="1.2.3", taken_at=AT, progress=quiet)


def put_back(source: Path, store: Path, *, force: bool = False) -> Manifest:
    return restore(StoreFiles(store), source, now=NOW, force=force, progress=quiet)


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in tables}


def described(path: Path, description: str) -> None:
    """A store whose one namespace says this and that has one log line for each letter."""
    store = Store(f"sqlite:///{path}")
    store.open()
    migrate(store, NOW)
    store.transact_now(lambda one: one.exec_driver_sql("UPDATE sched_namespace SET description = ?", (description,)))
    chunks = [Chunk(ID(1), 1, number, ID(2), pack([(1, NOW, b"line")])) for number in range(len(description))]
    store.transact_logs_now(logs.append, chunks)
    store.close()


@pytest.fixture
async def working(tmp_path: Path) -> Path:
    """A closed store with a task that waits, one that runs, one that has ended, a blob and a log."""
    path = tmp_path / "working" / "pawl.db"
    with opened(f"sqlite:///{path}") as replica:
        await replica.job()
        await replica.create(count=3)
        session = await replica.connect(free=2)
        await replica.place()
        [message] = session.outbox
        ended, _ = message.placements  # type: ignore[union-attr] # one AssignWork
        await replica.finish(ended.ref)
        await replica.engine.store.write(blobs.hold, "ab" * 32, bytes(range(256)) * 5000, NOW)
        chunk = Chunk(ended.ref.task_id, 1, 1, ended.ref.instance_id, pack([(1, NOW, "grüße\n".encode())]))
        await replica.engine.store.logs(logs.append, [chunk])
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_restored_is_what_was_backed_up(working: Path, tmp_path: Path, name: str) -> None:
    manifest = taken(working, tmp_path / name)
    assert (manifest.schema_revision, manifest.pawl_version) == (LATEST, "1.2.3")
    assert (tmp_path / name).is_dir() == (name == "backup")
    target = tmp_path / "elsewhere" / "other.db"
    put_back(tmp_path / name, target)
    before, after = rows(working), rows(target)
    # What a restore changes on purpose: the mark, who held loops, whose streams are open.
    for table in ("sched_restore", "sched_loop_lease", "sched_agent"):
        assert len(after.pop(table)) == len(before.pop(table)) + (table == "sched_restore")
    assert after == before
    assert len(after["sched_task"]) == 3
    assert len(after["sched_blob_chunk"]) == 2
    assert rows(target.with_name("other-logs.db")) == rows(working.with_name("pawl-logs.db"))
    assert sorted(path.name for path in target.parent.iterdir()) == ["other-logs.db", "other.db", "other.db.lock"]


def test_a_backup_is_for_its_owner_alone(working: Path, tmp_path: Path) -> None:
    for name in NAMES:
        taken(working, tmp_path / name)
    found = [path for name in NAMES for path in (tmp_path / name, *(tmp_path / name).glob("*.db"))]
    assert [path.name for path in found if path.stat().st_mode & 0o077] == []


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A store that is written to all the time, as a server does it: an instance first, then a line of its log."""
    path = tmp_path / "busy" / "pawl.db"
    store = Store(f"sqlite:///{path}")
    store.open()
    migrate(store, NOW)
    stop = threading.Event()
    begun = threading.Event()

    def insert(connection: Connection, number: int) -> None:
        connection.exec_driver_sql("INSERT INTO sched_blob_chunk VALUES ('content', ?, zeroblob(20000))", (number,))

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.transact_now(insert, number)
            store.transact_logs_now(logs.append, [Chunk(ID(1), 1, number, ID(2), pack([(1, NOW, b"line")]))])
            if number == 50:
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(20)
    yield path
    stop.set()
    writer.join(20)
    store.close()


def test_a_backup_under_load_is_of_one_instant(busy: Path, tmp_path: Path) -> None:
    counts = []
    for number in range(5):
        taken(busy, tmp_path / f"{number}")
        main = len(rows(tmp_path / f"{number}" / "main.db")["sched_blob_chunk"])
        lines = len(rows(tmp_path / f"{number}" / "logs.db")["sched_log_chunk"])
        assert main - lines in (0, 1), "the copies are of different instants"
        counts.append(main)
    assert counts == sorted(counts)
    assert len(set(counts)) > 1, "nothing was written meanwhile"


def test_progress_is_told_up_to_the_end(working: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    back_up(
        StoreFiles(working), tmp_path / "b", version="1", taken_at=AT, progress=lambda done, of: told.append((done, of))
    )
    sizes = sum(path.stat().st_size for path in (tmp_path / "b").glob("*.db"))
    assert told[-1] == (sizes, sizes)
    assert told == sorted(told)


@pytest.mark.parametrize("name", NAMES)
def test_a_backup_overwrites_nothing(working: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(AlreadyExists, match=f"{name} exists already"):
        taken(working, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("store", "target", "words"),
    [
        ("nothing/pawl.db", "b", "there is no database at .*nothing/pawl.db"),
        ("working/pawl.db", "no/such/folder/b", "cannot be written: No such file or directory"),
        ("foreign.db", "b", "foreign.db is no database of Pawl"),
    ],
)
def test_what_cannot_be_backed_up_is_said(working: Path, tmp_path: Path, store: str, target: str, words: str) -> None:
    for name in ("foreign.db", "foreign-logs.db"):
        with closing(sqlite3.connect(tmp_path / name)) as foreign:
            foreign.execute("CREATE TABLE t (x)")
    with pytest.raises(Unavailable, match=words):
        taken(tmp_path / store, tmp_path / target)
    assert not (tmp_path / target).exists()


# --- restore: what is refused


def test_a_store_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    described(tmp_path / "old.db", "old")
    described(tmp_path / "new.db", "newer")
    taken(tmp_path / "new.db", tmp_path / "backup")
    with pytest.raises(AlreadyExists, match=r"old\.db exists already; --force replaces it"):
        put_back(tmp_path / "backup", tmp_path / "old.db")
    assert rows(tmp_path / "old.db")["sched_namespace"][0][1] == "old"
    put_back(tmp_path / "backup", tmp_path / "old.db", force=True)
    assert rows(tmp_path / "old.db")["sched_namespace"][0][1] == "newer"
    assert len(rows(tmp_path / "old-logs.db")["sched_log_chunk"]) == 5


def test_a_restore_is_refused_while_a_server_has_the_store(working: Path, tmp_path: Path) -> None:
    taken(working, tmp_path / "backup")
    server = Store(f"sqlite:///{working}")
    server.open()
    with pytest.raises(Unavailable, match=r"pawl\.db is in use by process \d+ .*; stop that server"):
        put_back(tmp_path / "backup", working, force=True)
    server.close()
    put_back(tmp_path / "backup", working, force=True)


def test_what_a_dead_server_left_in_its_write_ahead_log_does_not_come_back(tmp_path: Path) -> None:
    described(tmp_path / "new.db", "new")
    taken(tmp_path / "new.db", tmp_path / "backup")
    described(tmp_path / "live.db", "old")
    (tmp_path / "dead").mkdir()
    with closing(sqlite3.connect(tmp_path / "live.db")) as live:
        live.execute("UPDATE sched_namespace SET description = 'of the log'")
        live.commit()
        for kind in ("", "-wal", "-shm"):
            shutil.copy(tmp_path / f"live.db{kind}", tmp_path / "dead" / f"pawl.db{kind}")
    put_back(tmp_path / "backup", tmp_path / "dead" / "pawl.db", force=True)
    assert rows(tmp_path / "dead" / "pawl.db")["sched_namespace"][0][1] == "new"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewrite(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20_000])


SPOILT: dict[str, tuple[str, Any, str]] = {
    "a bit of the tasks": ("b", lambda b: flip(b / "main.db"), "main.db has .* bytes with SHA-256 .* manifest says"),
    "a bit of the logs": ("b", lambda b: flip(b / "logs.db"), "logs.db has .* bytes with SHA-256"),
    "more than there was": ("b", lambda b: grow(b / "main.db"), "main.db has more than .* bytes"),
    "the end": ("b", lambda b: cut(b / "main.db"), "main.db has .* bytes"),
    "a file": ("b", lambda b: (b / "logs.db").unlink(), "logs.db is missing"),
    "the manifest": ("b", lambda b: (b / MANIFEST).unlink(), "is no backup: it holds no manifest.json"),
    "words of the manifest": ("b", lambda b: (b / MANIFEST).write_text('{"format": "x"}'), "manifest.json: .*format"),
    "the format": ("b", lambda b: rewrite(b, format=9), "is a backup of format 9, this version of Pawl reads 1"),
    "the schema": (
        "b",
        lambda b: rewrite(b, schema_revision=LATEST + 7),
        rf"has schema revision {LATEST + 7} \(Pawl 1.2.3\), this version of Pawl knows {LATEST}",
    ),
    "the list of files": ("b", lambda b: rewrite(b, files=[]), "must name one file for each of main, logs"),
    "the end of an archive": ("b.tar.gz", lambda b: b.write_bytes(b.read_bytes()[:3000]), "damaged"),
    "everything": ("b.tar", lambda b: b.write_text("notes " * 500), "is no backup, or a damaged one"),
    "its being there": ("b.tar", lambda b: b.unlink(), "there is no backup at .*b.tar"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_damaged_backup_is_refused_and_the_store_left_alone(tmp_path: Path, what: str) -> None:
    name, spoil, words = SPOILT[what]
    described(tmp_path / "new.db", "new")
    taken(tmp_path / "new.db", tmp_path / name)
    described(tmp_path / "old" / "old.db", "old")
    spoil(tmp_path / name)
    with pytest.raises(Invalid, match=words):
        put_back(tmp_path / name, tmp_path / "old" / "old.db", force=True)
    assert rows(tmp_path / "old" / "old.db")["sched_namespace"][0][1] == "old"
    assert {path.name for path in (tmp_path / "old").iterdir()} == {"old.db", "old-logs.db", "old.db.lock"}


def test_an_archive_may_name_no_file_outside_of_it(tmp_path: Path) -> None:
    described(tmp_path / "new.db", "new")
    taken(tmp_path / "new.db", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_bytes())
    manifest["files"][0]["name"] = "../new.db"
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(Invalid, match=r"'\.\./new\.db' is no name of a file in it"):
        put_back(tmp_path / "b", tmp_path / "c" / "pawl.db")


def test_an_archive_may_be_packed_by_hand(working: Path, tmp_path: Path) -> None:
    taken(working, tmp_path / "b")
    with tarfile.open(tmp_path / "by-hand.tar.xz", "w:xz") as archive:
        for path in (tmp_path / "b").iterdir():
            archive.add(path, arcname=path.name)
    put_back(tmp_path / "by-hand.tar.xz", tmp_path / "c" / "pawl.db")
    assert len(rows(tmp_path / "c" / "pawl.db")["sched_task"]) == 3


def test_a_backup_of_an_older_schema_is_brought_to_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "LATEST", 1)
        described(tmp_path / "old.db", "old")
    assert taken(tmp_path / "old.db", tmp_path / "b").schema_revision == 1
    put_back(tmp_path / "b", tmp_path / "c" / "pawl.db")
    store = Store(f"sqlite:///{tmp_path}/c/pawl.db")
    store.open()
    assert migrations.pending(store) == []
    store.close()


def test_a_disk_that_takes_no_more_leaves_no_backup_and_says_so(working: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # what is asked of a file system fails beyond this
    try:
        with pytest.raises(Unavailable, match=r"working/pawl\.db cannot be copied: .*disk"):
            taken(working, tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["working"]


# --- killed in the middle


def deaths(*arguments: str | Path) -> list[Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.dying", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[Any] = json.loads(ended.stdout)
    return found


def test_a_restore_that_is_killed_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    described(tmp_path / "old" / "pawl.db", "old")
    described(tmp_path / "new" / "pawl.db", "the new")
    taken(tmp_path / "new" / "pawl.db", tmp_path / "backup")
    outcomes = deaths("restore", tmp_path)
    stores = [store for store, _ in outcomes]
    old, new = ["old", "3"], ["the new", "7"]
    turn = stores.index(new)
    assert stores == [old] * turn + [new] * (len(stores) - turn)
    assert turn >= 5, "it was killed before the turn too"
    assert len(stores) - turn >= 5, "and after it"
    for _, left in outcomes:
        assert set(left) <= {"pawl.db", "pawl-logs.db", "pawl.db.lock"}, "the next start clears up"


@pytest.mark.parametrize("name", ["b", "b.tar.gz"])
def test_a_backup_that_is_killed_is_whole_or_not_there(tmp_path: Path, name: str) -> None:
    described(tmp_path / "old" / "pawl.db", "old")
    outcomes = deaths("backup", tmp_path, name)
    assert len(outcomes) >= 5
    assert [there for there, _, _ in outcomes] == sorted(there for there, _, _ in outcomes)
    for there, store, left in outcomes:
        assert store == ["old", "3"]
        assert left == [name] or (there and set(left) == {name, f".{name}.partial"})
