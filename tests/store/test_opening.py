"""What a person is told whose database cannot be had."""

import asyncio
import socket
import time

import pytest

from controlplane.domain.errors import Unavailable
from controlplane.store import Connection, Store, dialect
from tests.postgres import Postgres


def test_a_server_that_does_not_listen_is_named_and_the_password_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable) as told:
            opened(f"postgresql://me:hush@127.0.0.1:{port}/pawl")
    assert f"127.0.0.1:{port}/pawl" in told.value.message
    assert "refused" in told.value.message
    assert "hush" not in told.value.message


def test_a_database_that_does_not_exist_is_named(postgres: Postgres) -> None:
    with pytest.raises(Unavailable) as told:
        opened(postgres.url("nobody_made_it"))
    assert 'database "nobody_made_it" does not exist' in told.value.message


@pytest.mark.parametrize(
    ("is_postgres", "found", "words"),
    [
        (True, (12, 18), "PostgreSQL 12.18 is too old, Pawl needs 13 or later"),
        (True, (9, 6, 24), "PostgreSQL 9.6.24 is too old, Pawl needs 13 or later"),
        (True, (13,), ""),
        (True, (13, 0), ""),
        (True, (18, 1), ""),
        (False, (3, 34, 1), "SQLite 3.34.1 is too old, Pawl needs 3.35 or later"),
        (False, (3, 35, 0), ""),
        (False, (4, 0, 0), ""),
    ],
)
def test_a_database_below_the_floor_is_told_both_versions(
    is_postgres: bool, found: tuple[int, ...], words: str
) -> None:
    said = dialect.too_old(is_postgres=is_postgres, found=found)
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_a_database_that_is_too_old_is_not_opened(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "POSTGRES_FLOOR", (99, 0, 0))  # no old server is to be had: the floor is raised
    monkeypatch.setattr(dialect, "SQLITE_FLOOR", (99, 0, 0))
    with pytest.raises(Unavailable, match=r"(PostgreSQL|SQLite) \d+\.\d+(\.\d+)? is too old, Pawl needs 99 or later"):
        opened(database_url)
    monkeypatch.undo()
    opened(database_url)  # and nothing holds it


def opened(url: str) -> None:
    """Open it and close it."""
    store = Store(url)
    try:
        store.open()
    finally:
        store.close()


def test_pool_size_is_the_most_connections_that_it_takes(postgres_url: str) -> None:
    store = Store(postgres_url, pool_size=6)
    store.open()

    async def all_at_once() -> set[int]:
        calls = [way(slow_pid) for way in (store.read, store.write, store.logs) for _ in range(20)]
        return set(await asyncio.gather(*calls))

    try:
        assert 3 <= len(asyncio.run(all_at_once())) <= 6
    finally:
        store.close()


def test_max_lifetime_is_the_age_at_which_a_connection_is_replaced(postgres_url: str) -> None:
    store = Store(postgres_url, max_lifetime=1.0)
    store.open()
    try:
        first = store.transact_now(pid)
        assert store.transact_now(pid) == first, "kept while it is young"
        deadline = time.monotonic() + 10
        while store.transact_now(pid) == first:
            assert time.monotonic() < deadline, "the same connection still"
            time.sleep(0.1)
    finally:
        store.close()


def pid(connection: Connection) -> int:
    """The server's process behind a connection."""
    return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def slow_pid(connection: Connection) -> int:
    """The same, in a transaction that is long enough for others to want one meanwhile."""
    connection.exec_driver_sql("SELECT pg_sleep(0.05)")
    return pid(connection)
