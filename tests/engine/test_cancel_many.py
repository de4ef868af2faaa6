"""Deleting what has a great many unfinished tasks: all of them end, in transactions that are short."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import AlreadyExists, EtagMismatch
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.task import Status
from controlplane.engine import tasks
from controlplane.store import Connection, batches
from controlplane.store.tables import metadata
from tests.engine.stage import Replica, opened


@pytest.fixture
def one(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """One control plane for which twenty are a great many."""
    monkeypatch.setattr(tasks, "CANCELLED_WHOLE", 20)
    monkeypatch.setattr(tasks, "CANCELLED_AT_ONCE", 10)
    with opened(migrated_url) as made:
        yield made


async def statuses(one: Replica) -> dict[str, int]:
    def read(connection: Connection) -> dict[str, int]:
        return {row.id: row.status for row in connection.execute(sa.select(metadata.tables["sched_task"]))}

    return await one.engine.store.read(read)


async def delete(one: Replica, etag: int | None = None, key: IdempotencyKey | None = None) -> None:
    await one.jobs.delete("default", "hello", cascade=True, by="ann", etag=etag, request=key)


@pytest.mark.parametrize("count", [15, 57])
async def test_every_task_ends_with_its_job_and_their_agents_are_told(
    one: Replica, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.job()
    await one.job("other")
    await one.create(count=count)
    await one.connect(free=4, slots=4)
    running = await one.place()
    [spared] = await one.create("other")
    largest: list[int] = []

    def note(*given: Any, **more: Any) -> None:
        if given[1] is metadata.tables["sched_task"]:
            largest.append(len(given[4]))
        dialect_update(*given, **more)

    dialect_update = batches.update_rows
    monkeypatch.setattr(batches, "update_rows", note)
    await delete(one)
    found = await statuses(one)
    assert found.pop(spared.id) == Status.PENDING
    assert sorted(found.values()) == [Status.DISPATCHED] * running + [Status.CANCELLED] * (count - running)
    assert len(one.stopped) == running == 4
    assert max(largest) <= 10
    assert sum(largest) == count  # set by set, and each task once


async def test_a_delete_that_is_refused_cancels_nothing(one: Replica) -> None:
    await one.job()
    await one.create(count=30)
    with pytest.raises(EtagMismatch):
        await delete(one, etag=7)
    key = IdempotencyKey("default", "any", "r", fingerprint(b"content"))
    await one.create(key=key)
    with pytest.raises(AlreadyExists):
        await delete(one, key=IdempotencyKey("default", "any", "r", fingerprint(b"other")))
    assert set((await statuses(one)).values()) == {Status.PENDING}


async def test_a_repeat_cancels_nothing_that_came_later(one: Replica) -> None:
    await one.job()
    await one.create(count=30)
    key = IdempotencyKey("default", "any", "r", fingerprint(b""))
    await delete(one, key=key)
    await one.job()
    later = await one.create(count=30)
    await delete(one, key=key)
    found = await statuses(one)
    assert {found[task.id] for task in later} == {Status.PENDING}
