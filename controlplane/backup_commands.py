"""`pawl backup` and `pawl restore`: a SQLite store copied while its server runs, and put back while none does.

Exit codes: 2 for a backup that is damaged or no backup, 4 where something is there already, 5 while the store or the
disk cannot be had. What is copied, and why the copies belong together, is `store/backup.py` and `store/restore.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.commands import (
    EXIT_CONFLICT,
    EXIT_SETTINGS,
    EXIT_UNAVAILABLE,
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    OutputOption,
)
from controlplane.commands import _check_output as check_output
from controlplane.commands import _fail as fail
from controlplane.commands import _flags as flags_of
from controlplane.commands import _load as load

if TYPE_CHECKING:
    from controlplane.store.backup import Manifest

SAY_EVERY_SECONDS = 1.0
PAGE = "deploy/postgresql.md"


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new folder; an archive if it ends in .tar[.gz].")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = "table",
) -> None:
    """Copy a SQLite database with logs, outputs and plugins, as they are at one instant. The server may run and work.

    Overwrites nothing, and is whole or not there. Prints what it made, with digests; progress goes to stderr.

    Exit codes: 2 a setting is wrong, or it is PostgreSQL; 4 FILE is there already; 5 database or disk cannot be had.
    """
    from controlplane.store.backup import back_up
    from controlplane.store.files import StoreFiles
    from controlplane.version import VERSION

    check_output(output)
    url = _sqlite_url(
        config, database, data_dir, "is not copied by Pawl: use pg_dump, or pg_basebackup with an archive of the WAL"
    )
    began = time.monotonic()
    micros = time.time_ns() // 1000
    taken_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(micros / 1e6)), micros
    manifest = _done(
        lambda: back_up(StoreFiles.of_url(url), target, version=VERSION, taken_at=taken_at, progress=_said("copied"))
    )
    _report("backup", target, manifest, time.monotonic() - began, output)


def restore(
    source: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `pawl backup` made.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the database that is there.")] = False,
    mark: Annotated[
        bool, typer.Option("--mark", help="Only note that the database was put back by other means (PostgreSQL).")
    ] = False,
    output: OutputOption = "table",
) -> None:
    """Put a backup in the place of a SQLite database. No server may run; what happened since the backup is gone.

    Checked first, and swapped in at once: after a crash the database is the old one or the new one. Work that agents
    hold and the backup does not know is stopped when they come back.

    Exit codes: 2 no backup, a damaged one or one of a newer Pawl, 4 a database is there already, 5 a server has it.
    """
    check_output(output)
    if mark == (source is not None):
        raise fail("say either which backup to restore, or --mark", EXIT_SETTINGS)
    if mark:
        _mark(config, database, data_dir, output)
        return
    from controlplane.store.files import StoreFiles
    from controlplane.store.restore import restore as put_back

    assert source is not None
    url = _sqlite_url(
        config, database, data_dir, "is not restored by Pawl: use pg_restore or a base backup, then pawl restore --mark"
    )
    began = time.monotonic()
    manifest = _done(
        lambda: put_back(
            StoreFiles.of_url(url), source, now=time.time_ns() // 1000, force=force, progress=_said("restored")
        )
    )
    _report("restored", source, manifest, time.monotonic() - began, output)


def _mark(config: Path | None, database: str | None, data_dir: Path | None, output: str) -> None:
    from controlplane.store import Store, migrations, restored

    store = Store(load(config, flags_of(database, data_dir, None, None, None, None)).settings.database_url)
    if not store.exists():
        raise fail(f"there is no database at {store.url}", EXIT_UNAVAILABLE)

    def work() -> int:
        now = time.time_ns() // 1000
        try:
            store.open()
            migrations.migrate(store, now)
            return store.transact_now(restored.mark, now).token_floor
        finally:
            store.close()

    floor = _done(work)
    if output == "json":
        typer.echo(json.dumps({"token_floor": floor}))
    else:
        typer.echo(f"noted: tasks that are in this database get tokens above {floor}")


def _sqlite_url(config: Path | None, database: str | None, data_dir: Path | None, otherwise: str) -> str:
    from controlplane.store import normalise_url

    url = normalise_url(load(config, flags_of(database, data_dir, None, None, None, None)).settings.database_url)
    if not url.startswith("sqlite"):
        raise fail(f"PostgreSQL {otherwise}; see {PAGE}", EXIT_SETTINGS)
    return url


def _done(work: Callable[[], Any]) -> Any:
    """The result of the work; an expected mishap is one line and an exit code."""
    from controlplane.domain.errors import AlreadyExists, Invalid, PawlError

    try:
        return work()
    except PawlError as error:
        code = {AlreadyExists: EXIT_CONFLICT, Invalid: EXIT_SETTINGS}.get(type(error), EXIT_UNAVAILABLE)
        raise fail(error.message, code) from None


def _said(what: str) -> Callable[[int, int], None]:
    """Progress on stderr, at most once a second: a small store is done before the first word."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SAY_EVERY_SECONDS:
            last = time.monotonic()
            sys.stderr.write(
                f"pawl: {what} {done / 2**20:,.0f} of {total / 2**20:,.0f} MiB ({done * 100 // total} %)\n"
            )

    return progress


def _report(what: str, place: Path, manifest: Manifest, seconds: float, output: str) -> None:
    import msgspec

    if output == "json":
        found = {what: str(place), "seconds": round(seconds, 3), "manifest": msgspec.to_builtins(manifest)}
        typer.echo(json.dumps(found, indent=2))
        return
    size = sum(one.size for one in manifest.files)
    typer.echo(f"{what:<9} {place}")
    typer.echo(f"taken at  {manifest.taken_at}, Pawl {manifest.pawl_version}, schema {manifest.schema_revision}")
    for one in manifest.files:
        typer.echo(f"{one.role:<9} {one.size:>14,} bytes  sha256 {one.sha256}")
    typer.echo(f"          {size:>14,} bytes in {seconds:.1f} s")
