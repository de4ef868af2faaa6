"""Group commit: batches, refusals, bad items, full queues, callers who leave, and a database that is gone."""

import asyncio
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.errors import Exhausted, NotFound, Unavailable
from controlplane.store import IntegrityError, Store, committer
from controlplane.store.committer import Committer
from controlplane.store.migrations import migrate
from controlplane.store.tables import loop_lease
from tests.engine.stage import committing
from tests.postgres import Postgres


def put(connection: Connection, names: Sequence[str]) -> Sequence[str | Exception]:
    """One row for each name. Some names are refused, one breaks the transaction."""
    answers: list[str | Exception] = []
    for name in names:
        if name.startswith("refused"):
            answers.append(NotFound(name))
            continue
        if name == "broken":
            raise ValueError(name)
        connection.execute(loop_lease.insert().values(name=name, holder="", token=1, expires_at=0))
        answers.append(f"{name} is stored")
    return answers


def stored(connection: Connection) -> list[str]:
    return list(connection.execute(sa.select(loop_lease.c.name).order_by(loop_lease.c.name)).scalars())


@pytest.fixture
def rows(store: Store) -> Committer[str, str]:
    return Committer(store, "rows", put)


async def test_what_arrives_together_is_committed_together(store: Store, rows: Committer[str, str]) -> None:
    waiting = [rows.enqueue(f"{number:03}") for number in range(120)]
    assert rows.waiting == 120
    async with committing(rows):
        assert await asyncio.gather(*waiting) == [f"{number:03} is stored" for number in range(120)]
    assert (rows.batches, rows.items) == (1, 120)
    assert len(await store.read(stored)) == 120


async def test_a_batch_has_a_bound(rows: Committer[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "MAX_BATCH", 50)
    waiting = [rows.enqueue(f"{number:03}") for number in range(120)]
    async with committing(rows):
        await asyncio.gather(*waiting)
    assert (rows.batches, rows.items) == (3, 120)


async def test_a_lone_item_is_committed_at_once(rows: Committer[str, str]) -> None:
    async with committing(rows), asyncio.timeout(5):
        assert await rows.submit("a") == "a is stored"
        assert await rows.submit("b") == "b is stored"
    assert rows.batches == 2


async def test_what_has_leisure_waits_for_others_and_whoever_has_none_brings_all(store: Store) -> None:
    leisure = {"now": 0.0}
    rows = Committer(store, "rows", put, leisure=lambda name: leisure.get(name, 3600.0))
    async with committing(rows), asyncio.timeout(20):
        patient = [rows.enqueue(name) for name in ("a", "b")]
        await asyncio.sleep(0)
        assert rows.waiting == 2
        assert await rows.submit("now") == "now is stored"
        assert await asyncio.gather(*patient) == ["a is stored", "b is stored"]
        left = rows.enqueue("c")
    assert (await left, rows.batches, rows.items) == ("c is stored", 2, 4), "at the end nothing waits any more"


async def test_who_has_least_leisure_brings_all_and_what_comes_meanwhile_has_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "MAX_BATCH", 2)
    leisure = {"soon": 0.01, "soon again": 0.01}
    rows = Committer(store, "rows", put, leisure=lambda name: leisure.get(name, 60.0))
    async with committing(rows), asyncio.timeout(20):
        waiting = [rows.enqueue(name) for name in ("a", "b", "c", "soon")]
        assert len(await asyncio.gather(*waiting)) == 4
        assert rows.batches == 2
        after = rows.enqueue("after")
        assert await rows.submit("soon again") == "soon again is stored"
        assert await after == "after is stored"


async def test_a_refusal_is_its_own_callers_alone(store: Store, rows: Committer[str, str]) -> None:
    waiting = [rows.enqueue(name) for name in ("a", "refused", "b")]
    async with committing(rows):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[0] == "a is stored"
    assert isinstance(answers[1], NotFound)
    assert await store.read(stored) == ["a", "b"]


async def test_a_bad_item_does_not_take_its_neighbours_down(store: Store, rows: Committer[str, str]) -> None:
    waiting = [rows.enqueue(name) for name in ("a", "broken", "b", "a")]
    async with committing(rows):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, ValueError, str, IntegrityError]
    assert await store.read(stored) == ["a", "b"]


async def test_a_key_that_a_rival_took_meanwhile_is_looked_at_once_more(store: Store) -> None:
    """What the handler finds in the second look is its answer: on PostgreSQL two replicas may insert one key."""
    looks = 0

    def insert_or_find(connection: Connection, names: Sequence[str]) -> Sequence[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            connection.execute(loop_lease.insert(), [{"name": "a", "holder": "", "token": 1, "expires_at": 0}] * 2)
        return ["found"] * len(names)

    rows: Committer[str, str] = Committer(store, "rows", insert_or_find)
    async with committing(rows):
        assert await rows.submit("a") == "found"
    assert looks == 2


async def test_a_full_queue_says_come_back(rows: Committer[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "MAX_WAITING", 3)
    waiting = [rows.enqueue(name) for name in "abc"]
    with pytest.raises(Exhausted) as refused:
        await rows.enqueue("d")
    assert refused.value.retry_after_seconds
    async with committing(rows):
        await asyncio.gather(*waiting)
        assert await rows.submit("e") == "e is stored"


async def test_a_queue_is_full_by_bytes_as_well_but_takes_one_item_of_any_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "MAX_WAITING_BYTES", 10)
    rows: Committer[str, str] = Committer(store, "rows", put, weigh=len)
    waiting = [rows.enqueue("abcdefghijklmnop")]
    with pytest.raises(Exhausted):
        await rows.enqueue("x")
    async with committing(rows):
        await asyncio.gather(*waiting)
        waiting = [rows.enqueue(name) for name in ("aaaaa", "bbbbb")]
        with pytest.raises(Exhausted):
            await rows.enqueue("c")
        await asyncio.gather(*waiting)
        assert await rows.submit("c") == "c is stored"


async def test_a_batch_has_a_bound_of_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "MAX_BATCH_BYTES", 10)
    rows: Committer[str, str] = Committer(store, "rows", put, weigh=len)
    waiting = [rows.enqueue(name) for name in ("a" * 4, "b" * 4, "c" * 20, "d", "e" * 9)]
    async with committing(rows):
        await asyncio.gather(*waiting)
    assert (rows.batches, rows.items) == (3, 5)


async def test_what_was_accepted_is_committed_though_its_caller_left(store: Store, rows: Committer[str, str]) -> None:
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(rows.submit("a"))
        await asyncio.sleep(0)
        assert rows.waiting == 1
        caller.cancel()
    async with committing(rows):
        assert await rows.submit("b") == "b is stored"
    assert await store.read(stored) == ["a", "b"]


async def test_after_closing_what_was_accepted_is_still_committed_and_nothing_more(
    store: Store, rows: Committer[str, str]
) -> None:
    async with committing(rows):
        waiting = rows.enqueue("a")
        rows.close()
        with pytest.raises(Unavailable, match="shutting down"):
            await rows.enqueue("b")
        assert await waiting == "a is stored"
    assert await store.read(stored) == ["a"]


async def test_nobody_waits_for_a_committer_that_was_cancelled(rows: Committer[str, str]) -> None:
    waiting = rows.enqueue("a")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(rows.run())
        await asyncio.sleep(0)
        running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await waiting


async def test_a_database_that_is_gone_is_unavailable_to_all_who_wait(postgres: Postgres) -> None:
    with postgres.database() as name:
        one = Store(postgres.url(name))
        one.open()
    rows: Committer[str, str] = Committer(one, "rows", put)
    waiting = [rows.enqueue(name) for name in "abc"]
    async with committing(rows):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    one.close()


async def test_a_database_that_comes_back_is_used_again(postgres_url: str) -> None:
    one = Store(postgres_url)
    one.open()
    migrate(one, 0)
    rows: Committer[str, str] = Committer(one, "rows", put)
    async with committing(rows):
        assert await rows.submit("a") == "a is stored"
        others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        apart = sa.create_engine(one.url)
        with apart.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM {others}")
        apart.dispose()
        assert await rows.submit("b") == "b is stored"
    one.close()
