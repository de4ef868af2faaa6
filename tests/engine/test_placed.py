"""A result of a task that was placed here is written without reading the task, and never from what is out of date."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from controlplane.domain.task import Status
from controlplane.engine import placed as memory
from controlplane.engine.results import Ref, Verdict
from tests.domain.test_task import NEW
from tests.engine.stage import Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


@pytest.fixture
def other(one: Replica, migrated_url: str) -> Iterator[Replica]:
    """Somebody else who writes to the same database."""
    if one.engine.store.is_sqlite:
        yield one  # one process owns the file
    else:
        with opened(migrated_url, name="other") as made:
            yield made


async def running(one: Replica) -> Ref:
    """A placement that this process has made."""
    await one.job()
    await one.create()
    agent = await one.connect()
    await one.place()
    [placement] = placed(agent)
    return placement.ref


async def test_a_result_reads_nothing_of_what_was_placed_here(one: Replica) -> None:
    ref = await running(one)
    statements: list[str] = []
    writer = one.engine.store._writer
    sa.event.listen(writer, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert await one.finish(ref) is Verdict.COUNTED
    assert not [text for text in statements if "FROM sched_task " in text and text.startswith("SELECT")]
    assert (await one.task(ref.task_id)).status is Status.SUCCEEDED


async def test_a_result_after_a_start_reads_nothing_either(one: Replica) -> None:
    ref = await running(one)
    assert await one.start(ref)
    started = await one.task(ref.task_id)
    one.engine.placed.keep(one.results._running)
    assert one.engine.placed.take([ref.task_id]) == {ref.task_id: started}


async def test_a_cancel_that_somebody_asked_for_meanwhile_is_confirmed(one: Replica, other: Replica) -> None:
    ref = await running(one)
    before = one.engine.placed.take([ref.task_id])
    await other.cancel(ref.task_id)
    one.engine.placed.keep(before.values())  # what this process remembers has not been asked to end
    assert await one.finish(ref, Status.CANCELLED, error_code="CANCELLED") is Verdict.COUNTED
    assert (await one.task(ref.task_id)).status is Status.CANCELLED


async def test_a_result_of_a_placement_that_was_given_up_is_late_whatever_is_remembered(
    one: Replica, other: Replica
) -> None:
    ref = await running(one)
    before = one.engine.placed.take([ref.task_id])
    await other.results.lose([ref], "gone")
    again = await other.connect("second")
    await other.place()
    [placement] = placed(again)
    one.engine.placed.keep(before.values())
    assert await one.finish(ref) is Verdict.LATE
    assert (await one.task(ref.task_id)).token == placement.ref.token
    assert (await one.task(ref.task_id)).status is Status.DISPATCHED


async def test_a_result_of_a_newer_placement_counts_where_only_the_older_is_remembered(
    one: Replica, other: Replica
) -> None:
    ref = await running(one)
    before = one.engine.placed.take([ref.task_id])
    await other.results.lose([ref], "gone")
    again = await other.connect("second")
    await other.place()
    [placement] = placed(again)
    one.engine.placed.keep(before.values())
    assert await one.finish(placement.ref) is Verdict.COUNTED
    assert (await one.task(ref.task_id)).status is Status.SUCCEEDED


async def test_a_result_that_comes_twice_in_a_batch_counts_once(one: Replica) -> None:
    ref = await running(one)
    assert await one.report([(ref, Status.SUCCEEDED)] * 2) == [Verdict.COUNTED, Verdict.LATE]


def test_of_what_was_placed_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 3)
    kept = memory.Placed()
    kept.keep(replace(NEW, id=str(number)) for number in range(5))
    assert list(kept.take(map(str, range(5)))) == ["2", "3", "4"]
