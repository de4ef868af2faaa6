"""Rows of tasks: what a save writes, what it refuses, and what the tables themselves do not take."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from pawl.tracing import Trace
from sqlalchemy import Connection

from controlplane.domain.errors import Fenced
from controlplane.domain.task import (
    Cancel,
    Dispatch,
    Lock,
    Lose,
    Status,
    Step,
    Succeed,
    Task,
    apply,
    create,
)
from controlplane.engine.context import Ids
from controlplane.store import IntegrityError, Store, tasks
from controlplane.store.tables import ready, task, task_data, task_instance, task_tag, task_transition, timer
from controlplane.store.tasks import InstanceEnd, TaskData, Terms
from tests.domain.test_task import NEW
from tests.engine.stage import NOW, MovedClock, opened

MAKE_ID = Ids(MovedClock())
TERMS = Terms("default", 60_000_000, 3_600_000_000)
TABLES = (task, task_data, task_tag, task_transition, task_instance, ready, timer)


def new(**fields: Any) -> Task:
    """A task that no row describes yet."""
    return replace(NEW, id=MAKE_ID(), created_at=NOW, updated_at=NOW, **{"scheduled_at": NOW, **fields})


def insert(store: Store, *made: Task, data: TaskData | None = None) -> list[Task]:
    store.transact_now(tasks.insert_many, [(create(one, NOW), data or TaskData()) for one in made])
    return list(made)


def placed(one: Task, token_of: str = "agent") -> Step:
    locked = apply(one, Lock(), NOW)
    step = apply(locked.task, Dispatch(token_of, MAKE_ID()), NOW)
    return Step(step.task, (*locked.effects, *step.effects))


def save(store: Store, before: Task, step: Step, **more: Any) -> Task:
    store.transact_now(tasks.save_many, [(before, step)], terms={before.id: TERMS}, **more)
    return step.task


def load(store: Store, *wanted: Task) -> list[Task]:
    found = store.transact_now(tasks.load_many, [one.id for one in wanted])
    return [found[one.id] for one in wanted]


def count(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_a_task_is_read_as_it_was_written(store: Store) -> None:
    made = insert(
        store,
        new(),
        new(schedule_id=MAKE_ID(), priority=-1, scheduled_at=NOW + 5),
        new(status=Status.PENDING, attempt=3, token=2, result_token=1),
    )
    assert load(store, *made) == made


def test_the_users_side_is_read_as_it_was_written(store: Store) -> None:
    data = TaskData(b"\x00\xff", "application/x", {"A": "ä"}, {"team": "x", "": "\n"}, 1.5, "why", Trace("00-ab"))
    [one] = insert(store, new(), data=data)
    assert store.transact_now(tasks.data_of, [one.id]) == {one.id: data}
    changed = replace(data, parameters=None, parameters_type=None, tags={"team": "y"})
    store.transact_now(tasks.update_data, one.id, changed)
    store.transact_now(tasks.update_tags, one, changed.tags)
    assert store.transact_now(tasks.data_of, [one.id]) == {one.id: changed}
    rows = store.transact_now(lambda c: c.execute(sa.select(task_tag.c.key, task_tag.c.value)).all())
    assert [tuple(row) for row in rows] == [("team", "y")]


def test_a_save_writes_what_follows_from_the_status(store: Store) -> None:
    [one] = insert(store, new())
    assert store.transact_now(count, ready) == 1
    on_agent = save(store, one, placed(one))
    assert store.transact_now(count, ready) == 0
    [row] = store.transact_now(lambda c: c.execute(sa.select(task_instance)).all())
    assert (row.token, row.id, row.status, row.attempt) == (1, on_agent.instance_id, Status.DISPATCHED, 1)
    assert (row.lease, row.timeout, row.agent_namespace_id) == (60_000_000, 3_600_000_000, "default")
    end = InstanceEnd(Status.SUCCEEDED, NOW + 3, started_at=NOW + 1, exit_code=0, output=b"hi", output_size=2)
    ends = {(one.id, 1): end}
    done = save(store, on_agent, apply(on_agent, Succeed(1, NOW + 3), NOW + 3), ends=ends)
    assert load(store, one) == [done]
    [row] = store.transact_now(lambda c: c.execute(sa.select(task_instance)).all())
    assert (row.status, row.started_at, row.finished_at, row.exit_code) == (Status.SUCCEEDED, NOW + 1, NOW + 3, 0)
    assert bytes(row.output) == b"hi"


def test_a_save_of_a_row_that_changed_meanwhile_is_refused_as_a_whole(store: Store) -> None:
    stale, other = insert(store, new(), new())
    save(store, stale, apply(stale, Cancel("ann", "x"), NOW))
    with pytest.raises(Fenced):
        store.transact_now(
            tasks.save_many,
            [(other, apply(other, Cancel("ann", "x"), NOW)), (stale, placed(stale))],
            terms={stale.id: TERMS},
        )
    assert load(store, other) == [other]
    assert store.transact_now(count, task_instance) == 0


def test_who_did_something_and_why_is_recorded_in_order(store: Store) -> None:
    [one] = insert(store, new())
    on_agent = save(store, one, placed(one))
    lost = save(store, on_agent, apply(on_agent, Lose("reaper", "gone"), NOW + 1))
    save(store, lost, apply(lost, Cancel("ann", "enough"), NOW + 2))
    records = store.transact_now(tasks.transitions_of, one.id)
    assert [(row.transition, row.subject, row.reason, row.at) for row in records] == [
        ("Lose", "reaper", "gone", NOW + 1),
        ("Cancel", "ann", "enough", NOW + 2),
    ]


def waiting(store: Store, most: dict[int, int]) -> list[str]:
    return [one.task_id for one in store.transact_now(tasks.waiting, most)]


def test_ready_tasks_are_given_by_priority_and_age_within_the_wanted_demands(store: Store) -> None:
    low, high, old, other = insert(
        store, new(priority=1), new(priority=9), new(priority=9), new(priority=99, requirement_id=2)
    )
    earlier = ready.update().where(ready.c.task_id == old.id).values(ready_at=NOW - 1)
    store.transact_now(lambda connection: connection.execute(earlier))
    assert waiting(store, {1: 10}) == [old.id, high.id, low.id]
    assert waiting(store, {2: 2, 1: 1}) == [other.id, old.id]
    assert waiting(store, {}) == []
    assert waiting(store, {1: 1, 2: 1, 77: 5}) == [other.id, old.id]


def test_demands_that_something_waits_for_are_found_by_jumps(store: Store) -> None:
    assert store.transact_now(tasks.ready_requirements) == set()
    insert(store, *(new(requirement_id=number) for number in (7, 3, 7, 900)))
    assert store.transact_now(tasks.ready_requirements) == {3, 7, 900}


def test_timers_come_due_in_their_order(store: Store) -> None:
    late, early = insert(store, new(scheduled_at=NOW + 20), new(scheduled_at=NOW + 10))
    assert store.transact_now(tasks.next_timer) == NOW + 10
    assert store.transact_now(tasks.due_ids, NOW + 9, 10) == []
    assert store.transact_now(tasks.due_ids, NOW + 20, 10) == [early.id, late.id]
    assert store.transact_now(tasks.due_ids, NOW + 20, 1) == [early.id]
    store.transact_now(tasks.delete_timers, [early.id, late.id])
    assert store.transact_now(tasks.next_timer) is None


def test_a_deleted_task_leaves_no_row_behind(store: Store) -> None:
    gone, kept = insert(store, new(), new(), data=TaskData(tags={"a": "b"}))
    for one in (gone, kept):
        on_agent = save(store, one, placed(one))
        save(store, on_agent, apply(on_agent, Lose("reaper", "gone"), NOW))
    before = {table.name: store.transact_now(count, table) for table in TABLES}
    store.transact_now(tasks.delete_many, [gone.id])
    after = {table.name: store.transact_now(count, table) for table in TABLES}
    assert after == {name: number // 2 for name, number in before.items()}


@pytest.mark.parametrize(
    "broken",
    [
        {"status": Status.SUCCEEDED},
        {"finished_at": NOW},
        {"status": Status.WAITING_RETRY},
        {"wake_at": NOW},
        {"status": Status.RUNNING},
        {"result_token": 1},
    ],
    ids=str,
)
def test_a_row_that_contradicts_itself_is_not_taken(store: Store, broken: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        insert(store, new(**broken))
    assert store.transact_now(count, task) == 0


def test_an_open_instance_has_no_end_and_an_ended_one_has(store: Store) -> None:
    [one] = insert(store, new())
    save(store, one, placed(one))
    broken: list[dict[str, Any]] = [{"status": int(Status.FAILED)}, {"finished_at": NOW}]
    for values in broken:
        with pytest.raises(IntegrityError):
            store.transact_now(Connection.execute, task_instance.update().values(**values))


def test_a_task_is_ready_once(store: Store) -> None:
    [one] = insert(store, new())
    with pytest.raises(IntegrityError):
        store.transact_now(tasks.store_waiting, [create(one, NOW)])


@pytest.fixture
def two_stores(postgres_url: str) -> Iterator[tuple[Store, Store]]:
    with opened(postgres_url) as one, opened(postgres_url) as two:
        yield one.engine.store, two.engine.store


async def test_replicas_that_look_at_the_same_time_skip_each_others_ready_rows(
    two_stores: tuple[Store, Store],
) -> None:
    one, two = two_stores
    made = insert(one, *(new() for _ in range(6)))
    looking, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_and_stay(connection: Connection) -> list[str]:
        found = [each.task_id for each in tasks.waiting(connection, {1: 4})]
        loop.call_soon_threadsafe(looking.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(20)
        return found

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(one.write(look_and_stay))
        await looking.wait()
        second = [each.task_id for each in await two.write(tasks.waiting, {1: 4})]
        leave.set()
    assert len(first.result()) == 4
    assert set(first.result()) | set(second) == {each.id for each in made}
    assert not set(first.result()) & set(second)


async def test_batches_lock_rows_in_one_order_whatever_order_they_are_named_in(two_stores: tuple[Store, Store]) -> None:
    one, two = two_stores
    names = [each.id for each in insert(one, *(new() for _ in range(40)))]
    async with asyncio.timeout(30):
        for _ in range(20):
            await asyncio.gather(
                one.write(tasks.load_many, names),
                two.write(tasks.load_many, names[::-1]),
                one.write(tasks.load_many, names),
            )
    assert one.repeated == two.repeated == 0
