"""The tests' own PostgreSQL: what the other tests rely on."""

import os
import select
import subprocess
import sys

import psycopg
import pytest

from tests.postgres import Postgres, find, wheel


def test_each_test_gets_an_empty_database_of_its_own(postgres: Postgres) -> None:
    with postgres.database() as one, postgres.database() as other:
        with psycopg.connect(postgres.url(one)) as connection:
            connection.execute("CREATE TABLE mark (id int)")
        with psycopg.connect(postgres.url(other)) as connection:
            assert connection.execute("SELECT to_regclass('mark')").fetchone() == (None,)


def test_a_database_is_dropped_under_a_client_that_stays(postgres: Postgres) -> None:
    with postgres.database() as name:
        client = psycopg.connect(postgres.url(name))
        client.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    client.close()


def test_it_answers_on_a_unix_socket_too(postgres: Postgres) -> None:
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="pawl", dbname="postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(wheel() is None, reason="not on this machine: a build of the wheel with a PostgreSQL")
def test_the_server_of_the_wheel_runs_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWL_TEST_POSTGRES", "wheel")
    with Postgres(find()) as server, psycopg.connect(server.url("postgres")) as connection:
        assert connection.info.server_version >= 160000
    assert not server.folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="not on this machine: only Linux ends a child with its parent")
def test_a_killed_test_run_leaves_no_server_behind() -> None:
    script = (
        "from tests.postgres import Postgres, find\n"
        "with Postgres(find()) as server:\n"
        "    print(server._process.pid, server.folder, flush=True)\n"
        "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False)
    pid, folder = run.stdout.split()
    wait_until_gone(int(pid))
    subprocess.run(["rm", "-rf", folder], check=True)


def wait_until_gone(pid: int) -> None:
    """Wait for the fact that no such process runs; a pidfd is readable from then on."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 20)[0], f"process {pid} outlived its test run"
    finally:
        os.close(watched)
