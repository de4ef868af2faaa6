"""What people do to tasks: one by one, and to all that a filter finds."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import IllegalTransition, Invalid, NotFound
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.page import PageRequest
from controlplane.domain.task import DeadReason, Status, Task
from controlplane.engine.actions import BATCH, Action, Actions, Bulk
from controlplane.engine.lists import Question
from controlplane.engine.results import Ref
from controlplane.store.tables import log_chunk, ready, task, task_instance
from controlplane.store.tasks import TaskData
from tests.engine.stage import Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


def actions(one: Replica) -> Actions:
    return Actions(one.engine, one.tasks, one.sessions.hold)


async def act(one: Replica, made: Task, action: Action, key: IdempotencyKey | None = None) -> Task:
    return (await actions(one).act("default", made.id, action, by="ann", why="because", key=key)).task


def bulk(action: Action, filter: object = None, **changes: object) -> Bulk:
    return Bulk("default", action, filter or {}, **{"by": "ann", "why": "cleaning up", **changes})  # type: ignore[arg-type] # by name


def key(request_id: str, method: str = "ActOnTasks") -> IdempotencyKey:
    return IdempotencyKey("default", method, request_id, fingerprint(b"same"))


async def statuses(one: Replica, made: list[Task]) -> list[str]:
    return [(await one.task(each.id)).status.name for each in made]


async def on_agent(one: Replica, count: int = 1) -> list[Ref]:
    session = await one.connect(free=count)
    await one.place()
    return [placement.ref for placement in placed(session)]


# ---------------------------------------------------------------- one


async def test_a_held_task_does_not_start_until_it_is_let_go(one: Replica) -> None:
    await one.job()
    [made] = await one.create()
    assert (await act(one, made, Action.PAUSE)).status is Status.PAUSED
    assert (await act(one, made, Action.PAUSE)).version == 2  # it is held already
    assert not await on_agent(one)
    assert (await act(one, made, Action.RESUME)).status is Status.PENDING
    assert [ref.task_id for ref in await on_agent(one)] == [made.id]
    view = await one.tasks.get("default", made.id)
    assert [(row.transition, row.subject, row.reason) for row in view.transitions] == [
        ("Pause", "ann", "because"),
        ("Unpause", "ann", "because"),
    ]


async def test_a_held_wait_for_a_retry_is_over_when_it_is_let_go(one: Replica) -> None:
    await one.job(max_retries=1, retry_interval=60.0)
    [made] = await one.create()
    [ref] = await on_agent(one)
    await one.finish(ref, Status.FAILED, error_code="X")
    assert (await act(one, made, Action.PAUSE)).status is Status.PAUSED
    one.clock.move(3600)
    await one.timers.fire()
    assert (await one.task(made.id)).status is Status.PAUSED
    await act(one, made, Action.RESUME)
    [again] = await on_agent(one)
    assert (again.task_id, again.token) == (made.id, 2)


async def test_what_is_skipped_never_starts(one: Replica) -> None:
    await one.job()
    [made] = await one.create()
    assert (await act(one, made, Action.SKIP)).status is Status.SKIPPED
    assert not await on_agent(one)


async def test_failed_work_that_a_person_calls_done_is_no_dead_letter_any_more(one: Replica) -> None:
    await one.job()
    [made] = await one.create()
    [ref] = await on_agent(one)
    await one.finish(ref, Status.FAILED, error_code="X")
    done = await act(one, made, Action.FORCE_SUCCESS)
    assert (done.status, done.epoch, done.dead_reason) == (Status.SUCCEEDED, 2, DeadReason.NONE)


async def test_what_an_agent_has_is_not_held_nor_called_done(one: Replica) -> None:
    await one.job()
    [made] = await one.create()
    await on_agent(one)
    for action in (Action.PAUSE, Action.SKIP, Action.FORCE_SUCCESS):
        with pytest.raises(IllegalTransition):
            await act(one, made, action)


async def test_a_repeat_of_an_action_is_the_same_and_a_stranger_is_not_found(one: Replica) -> None:
    await one.job()
    [made] = await one.create()
    await act(one, made, Action.PAUSE, key("1", "PauseTask"))
    await act(one, made, Action.RESUME)
    assert (await act(one, made, Action.PAUSE, key("1", "PauseTask"))).status is Status.PENDING
    with pytest.raises(NotFound):
        await actions(one).act("elsewhere", made.id, Action.PAUSE, by="", why="", key=None)


# ---------------------------------------------------------------- many


async def test_a_dry_run_counts_what_would_be_done_and_changes_nothing(one: Replica) -> None:
    await one.job()
    made = await one.create(count=5)
    [running] = await on_agent(one)
    found = await actions(one).act_on_all(bulk(Action.PAUSE, dry_run=True), None)
    assert (found.matched, found.changed, found.refused) == (5, 4, 1)
    assert [(task_id, why.reason) for task_id, why in found.refusals] == [(running.task_id, "EXECUTOR_CANNOT_PAUSE")]
    assert sorted(await statuses(one, made)) == ["DISPATCHED", *["PENDING"] * 4]


async def test_an_action_reaches_all_that_the_filter_finds_in_many_batches_and_nothing_else(one: Replica) -> None:
    await one.job()
    await one.job("other")
    mine = await one.create(count=BATCH + 20)
    others = await one.create("other", count=3)
    done = await actions(one).act_on_all(bulk(Action.SKIP, {"job_id": {"eq": mine[0].job_id}}), None)
    assert (done.matched, done.changed, done.refused, done.has_more) == (BATCH + 20, BATCH + 20, 0, False)
    assert await statuses(one, others) == ["PENDING"] * 3
    assert await one.engine.store.read(_count, ready) == 3


async def test_running_work_is_cancelled_through_its_agents_and_waiting_work_at_once(one: Replica) -> None:
    await one.job()
    made = await one.create(count=3)
    [running] = await on_agent(one)
    done = await actions(one).act_on_all(bulk(Action.CANCEL), None)
    assert (done.changed, one.stopped) == (3, [running.task_id])
    assert sorted(await statuses(one, made)) == ["CANCELLED", "CANCELLED", "DISPATCHED"]
    again = await actions(one).act_on_all(bulk(Action.CANCEL), None)
    assert (again.matched, again.changed, again.refused) == (3, 0, 0)


async def test_a_repeated_restart_restarts_nothing_twice_and_goes_on_where_the_first_stopped(one: Replica) -> None:
    await one.job()
    made = await one.create(count=4)
    await actions(one).act_on_all(bulk(Action.SKIP), None)
    one.clock.move(1)
    first = await actions(one).act_on_all(bulk(Action.RETRY, limit=2), key("again"))
    assert (first.changed, first.has_more) == (2, True)
    one.clock.move(1)
    for each in made[:2]:  # they end again before the repeat comes
        await act(one, await one.task(each.id), Action.SKIP)
    second = await actions(one).act_on_all(bulk(Action.RETRY), key("again"))
    assert (second.matched, second.changed) == (2, 2)
    assert [(await one.task(each.id)).epoch for each in made] == [2, 2, 2, 2]
    assert await statuses(one, made) == ["SKIPPED", "SKIPPED", "PENDING", "PENDING"]


async def test_only_so_many_are_looked_at_as_was_asked_for(one: Replica) -> None:
    await one.job()
    await one.create(count=7)
    done = await actions(one).act_on_all(bulk(Action.PAUSE, limit=5), None)
    assert (done.matched, done.changed, done.has_more) == (5, 5, True)


async def test_a_wrong_filter_is_refused_before_anything_is_remembered(one: Replica) -> None:
    await one.job()
    await one.create()
    for dry_run in (True, False):
        with pytest.raises(Invalid, match="nope"):
            await actions(one).act_on_all(bulk(Action.PAUSE, {"nope": 1}, dry_run=dry_run), key("x"))
    done = await actions(one).act_on_all(bulk(Action.PAUSE), key("x"))
    assert done.changed == 1


# ---------------------------------------------------------------- dead letters


async def dead(one: Replica, count: int) -> list[Task]:
    """Tasks that failed for good."""
    await one.job("breaks")
    made = await one.create("breaks", count=count, data=TaskData(None, "", {}, {"team": "a"}))
    for ref in await on_agent(one, count):
        await one.finish(ref, Status.FAILED, error_code="EXIT_1")
    one.clock.move(1)
    return made


async def test_dead_letters_are_listed_replayed_and_purged_and_nothing_else_is(one: Replica) -> None:
    broken = await dead(one, 3)
    await one.job()
    [fine] = await one.create()
    await act(one, fine, Action.SKIP)
    one.clock.move(1)
    page, views = await actions(one).dead_letters(Question("default", None, (), PageRequest(1, 20)))
    assert (page.total, {view.task.id for view in views}) == (3, {each.id for each in broken})
    assert views[0].task.dead_reason is DeadReason.RETRIES_EXHAUSTED

    first = {"id": {"eq": broken[0].id}}
    replayed = await actions(one).act_on_all(bulk(Action.RETRY, first, dead=True), None)
    assert (replayed.matched, replayed.changed) == (1, 1)
    assert (await one.task(broken[0].id)).epoch == 2

    counted = await actions(one).act_on_all(bulk(Action.DELETE, dead=True, dry_run=True), None)
    assert (counted.matched, counted.changed) == (2, 2)
    purged = await actions(one).act_on_all(bulk(Action.DELETE, dead=True), None)
    assert (purged.matched, purged.changed) == (2, 2)
    left = {broken[0].id, fine.id}
    assert await one.engine.store.read(_ids, task) == left
    assert await one.engine.store.read(_count, task_instance) == 1
    assert await one.engine.store.logs(_count, log_chunk) == 0


async def test_a_filter_of_dead_letters_cannot_reach_others(one: Replica) -> None:
    await dead(one, 1)
    await one.job()
    [fine] = await one.create()
    one.clock.move(1)
    wide = [{"status": {"eq": "PENDING"}}, {"tags.team": {"eq": "a"}}, {}]
    for filter in (wide, wide[:1]):
        await actions(one).act_on_all(bulk(Action.DELETE, filter, dead=True), None)
    assert await one.engine.store.read(_ids, task) == {fine.id}


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _ids(connection: sa.Connection, table: sa.Table) -> set[str]:
    return {row.id for row in connection.execute(sa.select(table.c.id))}
