"""Statements that travel together: they all count or none does, and what failed is told."""

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from controlplane.domain.errors import Fenced
from controlplane.store import Connection, IntegrityError, Store, batches
from controlplane.store.tables import namespace

LARGE = 8 << 20


def names(store: Store) -> dict[str, str]:
    def read(connection: Connection) -> dict[str, str]:
        return {row.id: row.description for row in connection.execute(sa.select(namespace))}

    return store.transact_now(read)


def add(connection: Connection, *ids: str, description: str = "") -> None:
    row = {one.name: 0 for one in namespace.columns if not one.nullable}
    batches.insert_rows(connection, namespace, [{**row, "id": one, "description": description} for one in ids])


def describe(connection: Connection, *ids: str, every: bool) -> None:
    rows = [("changed", one) for one in ids]
    batches.update_rows(connection, namespace, ("id",), ("description",), rows, all_of_them=every)


def test_what_fails_is_told_as_what_it_is_and_nothing_of_its_transaction_is_left(store: Store) -> None:
    def write(connection: Connection) -> None:
        add(connection, "first")
        add(connection, "default")
        add(connection, "last")

    with pytest.raises(IntegrityError):
        store.transact_now(write)
    assert names(store).keys() == {"default"}
    store.transact_now(add, "first")
    assert names(store).keys() == {"default", "first"}


def test_all_rows_or_none_are_changed_where_all_have_to_be_there(store: Store) -> None:
    store.transact_now(add, "a", "b")
    with pytest.raises(Fenced):
        store.transact_now(describe, "a", "gone", "b", every=True)
    assert "changed" not in names(store).values()
    store.transact_now(describe, "a", "b", every=True)
    assert [one for one, said in names(store).items() if said == "changed"] == ["a", "b"]


def test_a_row_that_is_not_there_is_nothing_to_others(store: Store) -> None:
    store.transact_now(add, "a", "b")
    store.transact_now(describe, "a", "gone", every=False)
    assert names(store)["a"] == "changed"


def test_an_answer_in_between_knows_what_was_sent_before(store: Store) -> None:
    def write(connection: Connection) -> int:
        add(connection, "a", "b")
        count = connection.execute(sa.select(sa.func.count()).select_from(namespace)).scalar_one()
        add(connection, "c")
        return int(count)

    assert store.transact_now(write) == 3
    assert len(names(store)) == 4


def test_more_travels_than_a_socket_holds(store: Store) -> None:
    def write(connection: Connection) -> None:
        for number in range(4):
            add(connection, f"large-{number}", description="x" * LARGE)

    store.transact_now(write)
    assert [len(said) for said in names(store).values()].count(LARGE) == 4


def test_a_statement_that_a_session_forgot_is_sent_anew(migrated: str, postgres: Any) -> None:
    with postgres.database(migrated) as name:
        store = Store(postgres.url(name), pool_size=1)
        store.open()
        try:
            store.transact_now(add, "a")
            store.transact_now(lambda connection: connection.exec_driver_sql("DEALLOCATE ALL"))
            store.transact_now(add, "b")
            assert names(store).keys() == {"default", "a", "b"}
        finally:
            store.close()


def test_a_connection_that_broke_in_the_middle_is_left_and_the_transaction_begins_again(
    migrated: str, postgres: Any
) -> None:
    with postgres.database(migrated) as name:
        store = Store(postgres.url(name), pool_size=1)
        store.open()
        tries: list[int] = []

        def write(connection: Connection) -> None:
            add(connection, f"try-{len(tries)}")
            tries.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            if len(tries) == 1:
                with psycopg.connect(postgres.url(name), autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [tries[0]])
            add(connection, "more")
            connection.exec_driver_sql("SELECT 1")

        try:
            store.transact_now(write)
            assert names(store).keys() == {"default", "try-1", "more"}
            assert len(set(tries)) == 2
        finally:
            store.close()
