"""Ids of tasks and attempts: made of the instant that stands beside them, in the order in which they were made."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from controlplane.domain.filter import by_id, parse_order
from controlplane.domain.ids import id_at
from controlplane.domain.page import parse_page
from controlplane.engine.context import Clock, Ids
from controlplane.engine.instances import Instances
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASKS
from tests.engine.stage import NOW, MovedClock, Replica, opened

EVERYTHING = Question("default", None, ["-created_at"], parse_page())


@pytest.fixture
def stage(migrated_url: str) -> Iterator[Replica]:
    """A control plane at a time that stands still."""
    with opened(migrated_url) as made:
        yield made


def test_ids_of_one_instant_rise_as_they_are_made_whatever_is_made_beside_them() -> None:
    new_id = Ids(Clock())

    def batch(instant: int) -> list[str]:
        return [new_id(instant) for _ in range(2_000)]

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(batch, range(NOW, NOW + 8)))
    assert [one for some in made for one in some] == sorted(one for some in made for one in some)
    assert len({one for some in made for one in some}) == 16_000


def test_without_an_instant_an_id_is_of_the_present() -> None:
    assert id_at(NOW, 0) <= Ids(MovedClock())() < id_at(NOW + 1, 0)


async def test_tasks_and_attempts_lie_in_the_order_of_their_ids_as_in_that_of_their_creation(stage: Replica) -> None:
    await stage.job()
    session = await stage.connect(free=4)
    for _ in range(2):
        await stage.create(count=2)
        stage.clock.move(0.000_007)
        await stage.place()
        stage.clock.move(0.000_011)
    tasks = [row.task for row in (await stage.tasks.page(EVERYTHING))[1]]
    assert [one.created_at for one in tasks] == [NOW + 18, NOW + 18, NOW, NOW]
    assert all(id_at(one.created_at, 0) <= one.id < id_at(one.created_at + 1, 0) for one in tasks)
    places = (await Instances(stage.engine).page(EVERYTHING)).rows
    assert [one.created_at for one in places] == [NOW + 25, NOW + 25, NOW + 7, NOW + 7]
    assert all(id_at(one.created_at, 0) <= one.id < id_at(one.created_at + 1, 0) for one in places)
    assert len(session.outbox) > 0


def test_an_order_by_creation_is_one_by_id() -> None:
    assert by_id(parse_order(["-created_at"], TASKS)) == parse_order(["-id"], TASKS)
    assert by_id(parse_order(["created_at", "id"], TASKS)) == parse_order(["id"], TASKS)
    assert len(by_id(parse_order(["-created_at", "id"], TASKS))) == 2
    assert len(by_id(parse_order(["-created_at", "priority"], TASKS))) == 3
