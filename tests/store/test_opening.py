"""What a person is told whose database cannot be had."""

import socket

import pytest

from controlplane.domain.errors import Unavailable
from controlplane.store import Store
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


def opened(url: str) -> None:
    """Open it and close it."""
    store = Store(url)
    try:
        store.open()
    finally:
        store.close()
