"""deploy/postgresql.md is a drill: its commands are run as printed, and what they promise is looked at."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane.domain.errors import NotFound
from controlplane.engine.results import Ref, Verdict
from tests.engine.stage import Replica, arrival, opened, placed
from tests.postgres import Postgres, find, free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "deploy" / "postgresql.md"
BLOCK = re.compile(r"^```bash (postgres|pawl)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Drill:
    """The commands of one heading of the page, one block after the other."""

    def __init__(self, server: Postgres, folder: Path, heading: str) -> None:
        text = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        self._blocks = [(match[1], match[2]) for match in BLOCK.finditer(text)]
        self._server = server
        self._folder = folder
        self.variables: dict[str, str] = {}

    def goes_on(self, blocks: int) -> str:
        """Run so many blocks; what they said."""
        said = ""
        for who, commands in self._blocks[:blocks]:
            ended = self._postgres(commands) if who == "postgres" else self._pawl(commands)
            assert ended.returncode == 0, f"{commands}\n{ended.stdout}{ended.stderr}\n{self._log()}"
            said += ended.stdout
        del self._blocks[:blocks]
        return said

    @property
    def over(self) -> bool:
        """Whether every command was run."""
        return not self._blocks

    def _postgres(self, commands: str) -> subprocess.CompletedProcess[str]:
        return self._server.run(commands, self._folder, **self.variables)

    def _pawl(self, commands: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self._server.folder), **self._server.variables(), **self.variables}
        return subprocess.run(
            ["bash", "-euc", commands], env=own, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )

    def _log(self) -> str:
        log = self._folder / "restored.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""


@pytest.fixture(scope="module")
def archiving() -> Iterator[Postgres]:
    """A server that archives its log."""
    # What a restored server must not have less of than this one is left at PostgreSQL's own default.
    settings = {"archive_mode": "on", "archive_command": "cp %p ../archive/%f", "max_connections": "100"}
    with Postgres(find(), settings) as one:
        one.run("echo \"unix_socket_directories = ''\" >> ../data/postgresql.conf", one.folder / "archive")
        yield one


@pytest.fixture
def server(archiving: Postgres) -> Postgres:
    """The same with an empty database for Pawl, and an empty folder for the drill."""
    archiving.run("rm -rf drill && dropdb --if-exists --force pawl && createdb pawl", archiving.folder)
    return archiving


async def placement(one: Replica, name: str) -> Ref:
    """What a fresh agent of this name is told to run."""
    session = await one.connect(name, free=1)
    await one.place()
    [found] = placed(session)
    return found.ref


async def test_a_dump_is_restored_and_its_tokens_are_fenced(server: Postgres) -> None:
    drill = Drill(server, server.folder / "drill", "A dump")
    with opened(server.url("pawl")) as before:
        await before.job()
        [waiting] = await before.create()
        drill.goes_on(1)
        forgotten = await placement(before, "a")
    assert "tokens above" in drill.goes_on(2)
    assert drill.over
    await looked_at(server.url("pawl_restored"), waiting.id, forgotten)


async def test_a_database_is_put_back_to_a_point_in_time_and_its_tokens_are_fenced(server: Postgres) -> None:
    drill = Drill(server, server.folder / "drill", "To a point in time")
    port = free_port()
    with opened(server.url("pawl")) as before:
        await before.job()
        drill.goes_on(1)
        [waiting] = await before.create()  # after the base backup: it is in the log alone
        with psycopg.connect(server.url("pawl"), autocommit=True) as asking:
            [moment] = asking.execute("SELECT clock_timestamp()::text").fetchone() or ("",)
        forgotten = await placement(before, "a")
        [later] = await before.create()
    drill.variables = {"ARCHIVE": str(server.folder / "archive"), "MOMENT": moment, "NEW_PORT": str(port)}
    try:
        said = drill.goes_on(3)
        assert "tokens above" in said
        assert "BAD" not in said
        assert drill.over
        restored = server.url("pawl").replace(f":{server.port}/", f":{port}/")
        with opened(restored) as one, pytest.raises(NotFound):
            await one.task(later.id)
        await looked_at(restored, waiting.id, forgotten)
    finally:
        server.run("pg_ctl --pgdata=restored --mode=immediate stop || true", server.folder / "drill")


async def looked_at(url: str, waiting: str, forgotten: Ref) -> None:
    """What waited is placed anew, above the token that is forgotten, and only that placement counts."""
    with opened(url) as one:
        session, plan = await one.greet(arrival("a", running=(forgotten,)))
        assert plan.stop == [forgotten]
        ref = await placement(one, "b")
        assert ref.task_id == waiting == forgotten.task_id
        assert ref.token > 1_000_000 > forgotten.token
        assert await one.finish(forgotten) is Verdict.LATE
        assert await one.finish(ref) is Verdict.COUNTED
        one.sessions.remove(session)
