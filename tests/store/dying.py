"""A process that is killed before one of the steps of a backup, restore or migration, for every step there is.

Run as a program of its own: it forks for every death, which a test process with threads may not. Prints for each death
what was found afterwards, as JSON.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from controlplane.store import Connection, Store
from controlplane.store.backup import back_up
from controlplane.store.files import StoreFiles
from controlplane.store.migrations import current, migrate
from controlplane.store.restore import restore

STEPS = ("replace", "rename", "unlink", "rmdir", "mkdir", "link", "fsync")
MOST = 200
AT = ("2026-01-01T00:00:00Z", 1_767_225_600_000_000)


def quiet(_: int, __: int) -> None:
    """Nobody wants to know how far it is."""


def dies_before(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that kills itself before that many changes of the file system; whether it died."""

    def counted(change: Callable[..., Any], count: Callable[..., None]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            count()
            return change(*args, **options)

        return call

    def watched(count: Callable[..., None]) -> None:
        for name in STEPS:
            setattr(os, name, counted(getattr(os, name), count))
        work()

    return dies_at(step, watched)


def dies_at(step: int, work: Callable[[Callable[..., None]], object]) -> bool:
    """Do the work in a child that is killed when it counts for that many times; whether it died."""
    child = os.fork()
    if child == 0:
        left = step

        def count(*_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        work(count)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed without being killed"
    return False


def descriptions(files: StoreFiles) -> list[str]:
    """What the namespaces of a store say, after whatever a server does when it opens one."""
    store = Store(f"sqlite:///{files.main}")
    store.open()
    try:
        main = store.transact_now(lambda one: list(one.exec_driver_sql("SELECT description FROM sched_namespace")))
        logs = store.transact_logs_now(lambda one: list(one.exec_driver_sql("SELECT count(*) FROM sched_log_chunk")))
    finally:
        store.close()
    return [str(row[0]) for row in main] + [str(row[0]) for row in logs]


def restores(folder: Path) -> list[Any]:
    """For each death: the store as the next server finds it, and what lies in its folder then."""
    found: list[Any] = []
    for step in range(1, MOST):
        place = folder / f"restore-{step}"
        shutil.copytree(folder / "old", place)
        files = StoreFiles(place / "pawl.db")
        died = dies_before(step, partial(restore, files, folder / "backup", now=AT[1], force=True, progress=quiet))
        found.append([descriptions(files), sorted(path.name for path in place.iterdir())])
        if not died:
            break
    return found


def backups(folder: Path, name: str) -> list[Any]:
    """For each death: whether there is a backup, and whether another one can be made then."""
    found: list[Any] = []
    files = StoreFiles(folder / "old" / "pawl.db")
    for step in range(1, MOST):
        place = folder / f"backup-{step}"
        place.mkdir()
        target = place / name
        died = dies_before(step, partial(back_up, files, target, version="1", taken_at=AT, progress=quiet))
        there = target.exists()
        whole = StoreFiles(place / "store" / "pawl.db")
        if not there:
            back_up(files, target, version="1", taken_at=AT, progress=quiet)
        restore(whole, target, now=AT[1], force=False, progress=quiet)
        left = sorted(path.name for path in place.iterdir() if path.name != "store")
        found.append([there, descriptions(whole), left])
        if not died:
            break
    return found


def migrations(url: str) -> list[Any]:
    """For each death before a statement or a commit: what the next server finds, before it migrates."""
    found: list[Any] = []
    for step in range(1, MOST):
        died = dies_at(step, partial(migrated, url))
        found.append(revisions(url))
        if not died:
            break
    return found


def migrated(url: str, count: Callable[..., None]) -> None:
    """Migrate, and count what is done to the database."""
    store = Store(url)
    store.open()
    for engine in (store._writer, store._logs):
        sa.event.listen(engine, "before_cursor_execute", count)
        sa.event.listen(engine, "commit", count)
    migrate(store, AT[1])
    store.close()


def revisions(url: str) -> list[Any]:
    """The revisions of the database and of the logs, and what the namespaces say."""

    def look(connection: Connection) -> list[Any]:
        said = connection.exec_driver_sql("SELECT description FROM sched_namespace").scalars()
        return [current(connection), *said]

    store = Store(url)
    store.open()
    try:
        main = store.transact_now(look)
        return [main[0], store.transact_logs_now(current), main[1:]]
    finally:
        store.close()


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "migrate":
        outcome = migrations(sys.argv[2])
    else:
        root = Path(sys.argv[2])
        outcome = restores(root) if what == "restore" else backups(root, sys.argv[3])
    sys.stdout.write(json.dumps(outcome))
