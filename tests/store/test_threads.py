"""The queue before the connections: a bounded wait, places that are given back, and callers who leave."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

import controlplane.store
from controlplane.domain.errors import Exhausted, Unavailable
from controlplane.store import Store, dialect
from controlplane.store.migrations import migrate
from controlplane.store.threads import Threads


@pytest.fixture
def two() -> Iterator[Threads]:
    made = Threads(2, "two")
    yield made
    made.shutdown()


class Slow:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.begun.release()
        assert self.go_on.wait(20)
        return "done"

    async def under_way(self, count: int) -> None:
        """Until so many are."""
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=20)


async def test_who_finds_every_thread_busy_is_told_in_time_and_those_inside_finish(two: Threads) -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as group:
        inside = [group.create_task(two.run(slow, 0.05)) for _ in range(2)]
        await slow.under_way(2)
        with pytest.raises(Unavailable, match="nothing was done, repeat the call") as refused:
            await two.run(lambda: "never", 0.05)
        assert refused.value.retry_after_seconds
        assert two.waiting == 0
        patient = group.create_task(two.run(lambda: "patient", None))
        await asyncio.sleep(0)
        assert two.waiting == 1
        slow.go_on.set()
    assert [one.result() for one in inside] == ["done", "done"]
    assert patient.result() == "patient"
    assert await two.run(lambda: "free", 0) == "free"


async def test_a_caller_who_left_frees_no_thread_before_its_work_has_ended(two: Threads) -> None:
    slow = Slow()
    async with asyncio.TaskGroup() as group:
        inside = [group.create_task(two.run(slow, 1)) for _ in range(2)]
        await slow.under_way(2)
        for one in inside:
            one.cancel()
        await asyncio.wait(inside)
        with pytest.raises(Unavailable):
            await two.run(lambda: "never", 0.05)
        slow.go_on.set()
        assert await asyncio.gather(*(two.run(lambda: "free", 20) for _ in range(4))) == ["free"] * 4


async def test_a_caller_who_left_the_queue_is_never_run(two: Threads) -> None:
    slow, ran = Slow(), list[str]()
    async with asyncio.TaskGroup() as group:
        inside = [group.create_task(two.run(slow, 1)) for _ in range(2)]
        await slow.under_way(2)
        waiting = [group.create_task(two.run(lambda: ran.append("left"), None)) for _ in range(3)]
        stays = group.create_task(two.run(lambda: ran.append("stays"), None))
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        slow.go_on.set()
    assert all(one.done() for one in (*inside, stays))
    assert ran == ["stays"]


async def test_nobody_is_taken_after_the_end(two: Threads) -> None:
    two.shutdown()
    for _ in range(3):
        with pytest.raises(Unavailable, match="shutting down"):
            await two.run(lambda: "never", 1)


async def test_writers_that_are_held_up_by_a_lock_tell_the_others_and_readers_go_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlplane.store, "QUEUE_SECONDS", 0.3)
    store = Store(postgres_url, pool_size=8)
    store.open()
    try:
        migrate(store, 0)

        def add(connection: Connection, name: str) -> str:
            connection.execute(
                sa.text("INSERT INTO sched_loop_lease (name, holder, token, expires_at) VALUES (:name, '', 1, 0)"),
                {"name": name},
            )
            return name

        def names(connection: Connection) -> list[str]:
            return list(connection.execute(sa.text("SELECT name FROM sched_loop_lease ORDER BY 1")).scalars())

        async def outcome(name: str) -> str | Unavailable:
            try:
                return await store.write(add, name)
            except Unavailable as refusal:
                return refusal

        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE sched_loop_lease IN EXCLUSIVE MODE")
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(outcome(f"{number}")) for number in range(6)]
                while sum(one.done() for one in calls) < 4:  # two threads write
                    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
                assert all(isinstance(one.result(), Unavailable) for one in calls if one.done())
                assert await store.read(names) == []
                other.rollback()
        stored = [found for one in calls if isinstance(found := one.result(), str)]
        assert await store.read(names) == sorted(stored)
        assert await store.write(add, "later") == "later"
    finally:
        store.close()


async def test_two_connections_are_enough_for_all_who_wait_their_turn(postgres_url: str) -> None:
    store = Store(postgres_url, pool_size=2)
    store.open()
    try:

        def rest(connection: Connection) -> int:
            return int(connection.execute(sa.text("SELECT 1 FROM pg_sleep(0.02)")).scalar_one())

        calls = [call(rest) for call in (store.read, store.write, store.logs, store.write_batch) * 15]
        assert await asyncio.gather(*calls) == [1] * 60
    finally:
        store.close()


OF_A_SERVER = {
    "53100": (Exhausted, "STORAGE_FULL"),  # disk full
    "53300": (Unavailable, "UNAVAILABLE"),  # too many connections
    "57P03": (Unavailable, "UNAVAILABLE"),  # starting up
    "25006": (Unavailable, "UNAVAILABLE"),  # a standby since its last failover
}


async def test_what_a_server_says_of_itself_is_a_refusal_with_a_time_to_come_back(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.open()
    try:

        def fail(connection: Connection, state: str) -> None:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")

        for state, (kind, reason) in OF_A_SERVER.items():
            with pytest.raises(kind) as refused:
                await store.write(fail, state)
            assert refused.value.reason == reason
            assert refused.value.retry_after_seconds is not None
        with pytest.raises(DBAPIError):  # what a statement has done wrong is a defect, and no reason to come back
            await store.write(fail, "22012")
        assert await store.read(dialect.clock) is not None
    finally:
        store.close()


async def test_a_sqlite_file_that_may_not_grow_is_full_and_takes_more_when_it_may(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/pawl.db")
    store.open()
    migrate(store, 0)

    def limit(connection: Connection, pages: int) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar_one())

    def fill(connection: Connection) -> None:
        rows = [{"name": f"{number}", "holder": "x" * 60, "token": 1, "expires_at": 0} for number in range(20_000)]
        connection.execute(
            sa.text("INSERT INTO sched_loop_lease VALUES (:name, :holder, :token, :expires_at)"),
            rows,
        )

    def count(connection: Connection) -> int:
        return int(connection.execute(sa.text("SELECT count(*) FROM sched_loop_lease")).scalar_one())

    await store.write(limit, 1)  # as few as there are now
    with pytest.raises(Exhausted, match="no room left") as refused:
        await store.write(fill)
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("STORAGE_FULL", 5.0)
    assert await store.read(count) == 0
    await store.write(limit, 1_000_000)
    await store.write(fill)
    assert await store.read(count) == 20_000
    store.close()
