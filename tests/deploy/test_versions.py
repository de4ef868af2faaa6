"""Programs and databases of different versions: who is refused, what is said, and what may be done at the same time."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import psycopg
import pytest
from pawl.cli import main
from pawl.v1 import agent_pb2, agent_pb2_grpc

from controlplane.store import Store, migrations
from controlplane.store.dialect import MIGRATION_LOCK
from tests.engine.stage import opened
from tests.postgres import free_port
from tests.spec.conftest import serving

PAWL = Path(sys.executable).with_name("pawl")
KNOWN = migrations.LATEST
NEWER = KNOWN + 3


def started(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PAWL_SERVER_DATA_DIR": str(folder / "data")}
    command = [str(PAWL), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=pipe, stderr=pipe, text=True)


@dataclass
class Here:
    """The same commands in this process, which saves their start."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def pawl(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit code and everything that it said."""
        self.monkeypatch.setenv("PAWL_SERVER_DATA_DIR", str(self.folder / "data"))
        self.monkeypatch.setattr(sys, "argv", ["pawl", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err, err
        return code, out + err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


def of_the_future(url: str) -> None:
    """A later version of Pawl has been at this database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute("INSERT INTO sched_schema VALUES (?, 0)", (NEWER,))
    else:
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO sched_schema VALUES (%s, 0)", (NEWER,))


def serve() -> Sequence[str | Path]:
    """A server that would be up soon if nothing kept it."""
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    return ("server", "--insecure", "--host", "127.0.0.1", *ports)


def test_a_newer_schema_is_refused_by_every_command_with_both_numbers(
    here: Here, database_url: str, tmp_path: Path
) -> None:
    assert here.pawl("migrate", "--database", database_url)[0] == 0
    of_the_future(database_url)
    commands: dict[str, tuple[int, Sequence[str | Path]]] = {
        "migrate": (5, ("migrate",)),
        "migrate --check": (5, ("migrate", "--check")),
        "doctor": (1, ("doctor",)),
        "restore --mark": (5, ("restore", "--mark")),
    }
    if database_url.startswith("sqlite"):
        commands["backup"] = (5, ("backup", tmp_path / "backup"))
    for what, (wanted, arguments) in commands.items():
        code, said = here.pawl(*arguments, "--database", database_url)
        assert (what, code) == (what, wanted), said
        assert f"schema revision {NEWER}, this version of Pawl knows {KNOWN}: upgrade Pawl" in said
    assert not (tmp_path / "backup").exists()
    server = started(tmp_path, *serve(), "--database", database_url)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 5
    assert said.count("\n") == 1, "one line, and no more"
    assert f"schema revision {NEWER}, this version of Pawl knows {KNOWN}: upgrade Pawl" in said


def test_two_that_migrate_at_once_do_it_once(postgres_url: str, tmp_path: Path) -> None:
    both = [started(tmp_path, "migrate", "--database", postgres_url) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    applied = ", ".join(map(str, range(1, KNOWN + 1)))
    assert said == [f"applied: {applied}\n", "the schema is up to date\n"]


def test_one_that_waits_goes_on_when_the_one_that_migrates_is_killed(postgres_url: str, tmp_path: Path) -> None:
    with closing(psycopg.connect(postgres_url)) as first, psycopg.connect(postgres_url, autocommit=True) as looking:
        first.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))  # it migrates, and stops in its middle
        second = started(tmp_path, "migrate", "--database", postgres_url)
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while looking.execute(waiting).fetchone() != (1,):
            assert second.poll() is None, second.communicate()
        looking.execute("SELECT pg_terminate_backend(%s)", (first.info.backend_pid,))
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out[:7]) == (0, "applied"), err


def test_while_one_migrates_a_sqlite_file_another_is_told_who_has_it(here: Here, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pawl.db"
    store = Store(url)
    store.open()
    try:
        code, said = here.pawl("migrate", "--database", url)
    finally:
        store.close()
    assert code == 5
    assert f"in use by process {os.getpid()}" in said
    assert here.pawl("migrate", "--database", url)[0] == 0


@pytest.mark.parametrize("version", [0, 2, 99])
def test_an_agent_of_an_unknown_version_is_told_both_numbers_and_who_is_older(version: int, tmp_path: Path) -> None:
    hello = agent_pb2.Hello(
        protocol_version=version, agent_id="other", state_id="s", generation=1, slots=1,
        executors=[agent_pb2.ExecutorInfo(name="process")],
    )  # fmt: skip
    with serving(f"sqlite:///{tmp_path}/pawl.db", tmp_path) as addresses, grpc.insecure_channel(addresses.grpc) as way:
        answers = agent_pb2_grpc.AgentServiceStub(way).Connect(iter([agent_pb2.ConnectRequest(seq=1, hello=hello)]))
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    older = "the agent" if version == 0 else "the server"
    wanted = f"this agent speaks version {version} of the stream, this server 1: upgrade {older}"
    assert refused.value.details() == wanted


# --- commands that are for another database, or ask for nothing


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("backup", "b", "--database", "postgresql://nobody@127.0.0.1:1/pawl"), 2, "use pg_dump"),
        (("restore", "b", "--database", "postgresql://nobody@127.0.0.1:1/pawl"), 2, "pawl restore --mark"),
        (("restore",), 2, "either which backup to restore, or --mark"),
        (("restore", "b", "--mark"), 2, "either which backup to restore, or --mark"),
        (("restore", "--mark"), 5, "there is no database at"),
        (("restore", "b"), 2, "there is no backup at b"),
        (("backup", "b"), 5, "there is no database at"),
        (("backup", "b", "--output", "xml"), 2, "must be table or json"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_what_a_backup_or_restore_cannot_do_is_said_with_what_to_do(
    here: Here, arguments: Sequence[str], code: int, words: str
) -> None:
    ended, said = here.pawl(*arguments)
    assert (ended, words in said) == (code, True), said
    if "postgresql" in said:
        assert "deploy/postgresql.md" in said


def test_a_mark_says_its_floor_as_data(here: Here, database_url: str) -> None:
    with opened(database_url):
        pass
    code, said = here.pawl("restore", "--mark", "--database", database_url, "--output", "json")
    assert code == 0
    first = json.loads(said)["token_floor"]
    assert first > 1_000_000
    again = here.pawl("restore", "--mark", "--database", database_url, "--output", "json")
    assert json.loads(again[1])["token_floor"] > first
