"""Request ids: one effect however often and however simultaneously a call is repeated."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import AlreadyExists, IllegalTransition, NotFound, PawlError, Unavailable
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import JobConfig, JobSpec, JobStatus
from controlplane.domain.page import PageRequest
from controlplane.domain.task import Status
from controlplane.engine.idempotency import decode_refusal, encode_refusal, once
from controlplane.engine.jobs import JobDraft
from controlplane.engine.lists import Question
from controlplane.engine.outputs import Outputs
from controlplane.engine.retention import Retention
from controlplane.engine.tasks import NewTask, TaskView
from controlplane.store import Connection, idempotency
from tests.engine.stage import MovedClock, Replica, committing, opened

DAY = 24 * 3600


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


def key(request_id: str = "r", content: bytes = b"c", method: str = "pawl.v1.TaskService/Any") -> IdempotencyKey:
    return IdempotencyKey("default", method, request_id, fingerprint(content))


async def cancel(one: Replica, task_id: str, request: IdempotencyKey) -> TaskView:
    return await one.tasks.cancel("default", task_id, by="ann", why="", key=request)


async def retry(one: Replica, task_id: str, request: IdempotencyKey) -> TaskView:
    return await one.tasks.retry("default", task_id, by="ann", why="", key=request)


async def test_a_repeat_changes_nothing_and_gets_the_resource_as_it_is_now(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    await cancel(one, task.id, key("cancel"))
    assert (await retry(one, task.id, key("retry"))).task.epoch == 2
    for _ in range(3):
        repeat = await retry(one, task.id, key("retry"))
        assert (repeat.task.epoch, repeat.task.status) == (2, Status.PENDING)
    assert (await cancel(one, task.id, key("cancel"))).task.status is Status.PENDING


async def test_an_id_that_was_used_for_something_else_is_refused(one: Replica) -> None:
    await one.job()
    first, second = await one.create(count=2)
    await cancel(one, first.id, key())
    with pytest.raises(AlreadyExists) as refused:
        await cancel(one, second.id, key(content=b"other"))
    assert (refused.value.reason, refused.value.facts["request_id"]) == ("REQUEST_ID_REUSED", "r")
    assert [one.field for one in refused.value.violations] == ["request_id"]
    assert (await one.task(second.id)).status is Status.PENDING


async def test_the_same_id_for_another_method_or_namespace_is_another_call(one: Replica) -> None:
    await one.job()
    first, second = await one.create(count=2)
    await cancel(one, first.id, key())
    await cancel(one, second.id, key(method="pawl.v1.TaskService/Other", content=b"other"))
    assert (await one.task(second.id)).status is Status.CANCELLED


async def test_a_refusal_is_an_outcome_and_is_repeated_though_the_call_would_succeed_now(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    with pytest.raises(IllegalTransition) as first:
        await retry(one, task.id, key())
    await cancel(one, task.id, key("cancel"))
    with pytest.raises(IllegalTransition) as again:
        await retry(one, task.id, key())
    assert (again.value.message, again.value.facts) == (first.value.message, first.value.facts)
    assert (await retry(one, task.id, key("new"))).task.epoch == 2


async def test_what_the_database_did_not_decide_is_no_outcome(one: Replica) -> None:
    def gone(_: Connection, __: int) -> tuple[str, None]:
        raise Unavailable("the database does not answer")

    with pytest.raises(Unavailable):
        await once(one.engine, key(), gone, lambda _, __: None)
    assert await once(one.engine, key(), lambda _, __: ("x", "done"), lambda _, __: "repeated") == "done"


async def test_a_repeat_is_known_after_a_restart(database_url: str) -> None:
    clock = MovedClock()
    with opened(database_url, clock) as before:
        await before.job()
        [task] = await before.create(key=key("create"))
        with pytest.raises(IllegalTransition):
            await retry(before, task.id, key("retry"))
    with opened(database_url, clock) as after:
        [again] = await after.create(key=key("create"))
        assert again.id == task.id
        with pytest.raises(IllegalTransition):
            await retry(after, task.id, key("retry"))


async def test_a_request_id_is_forgotten_after_a_day(one: Replica) -> None:
    await one.job()
    [first] = await one.create(key=key())
    one.clock.move(DAY - 1)
    assert (await one.create(key=key()))[0].id == first.id
    one.clock.move(1)
    assert (await one.create(key=key()))[0].id != first.id
    one.clock.move(DAY)
    assert await one.engine.store.write(idempotency.delete_expired, one.clock.now(), 100) == 1


async def test_expired_ids_are_deleted_by_retention_and_by_no_call_but_one_that_uses_them_again(one: Replica) -> None:
    deletes: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("DELETE FROM sched_request"):
            deletes.append(statement)

    await one.job()
    for number in range(5):
        await one.create(key=key(f"old {number}"))
    one.clock.move(DAY)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        await one.create(count=3)
        await one.create(key=key("new"))
        [task] = await one.create(key=key("newer"))
        await cancel(one, task.id, key("cancel"))
        assert deletes == []
        await one.create(key=key("old 0"))
        assert len(deletes) == 1
        kept = Retention(one.engine, Outputs(one.engine))
        await kept.turn()
        assert kept.removed["request ids"] == 4
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert (await one.create(key=key("newer")))[0].id == task.id


async def test_a_repeat_of_a_create_whose_task_was_deleted_finds_nothing_and_makes_nothing(one: Replica) -> None:
    await one.job()
    [task] = await one.create(key=key())
    await cancel(one, task.id, key("cancel"))
    await one.tasks.delete("default", task.id, etag=None, key=None)
    with pytest.raises(NotFound):
        await one.create(key=key())


# --- groups of creates


async def answers(one: Replica, *new: NewTask) -> list[Any]:
    async with committing(one.tasks.creating):
        waiting = [one.tasks.creating.enqueue(item) for item in new]
        return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_group_answers_each_for_itself(one: Replica) -> None:
    await one.job()
    await one.job("off")
    await one.jobs.set_status("default", "off", JobStatus.DISABLED, None)
    names = ("hello", "nothing", "off", "hello")
    found = await answers(one, *(NewTask("default", name, key=key(str(at))) for at, name in enumerate(names)))
    assert [type(answer) for answer in found] == [TaskView, NotFound, IllegalTransition, TaskView]
    assert found[2].reason == "JOB_DISABLED"
    await one.connect()
    assert await one.place() == 2


async def test_refusals_in_a_group_are_outcomes(one: Replica) -> None:
    with pytest.raises(NotFound):
        await one.create(key=key())
    await one.job()
    with pytest.raises(NotFound):
        await one.create(key=key())


async def test_one_id_twice_in_a_group_makes_one_task(one: Replica) -> None:
    await one.job()
    first, second, other = await answers(
        one,
        NewTask("default", "hello", key=key()),
        NewTask("default", "hello", key=key()),
        NewTask("default", "hello", key=key(content=b"other")),
    )
    assert first.task.id == second.task.id
    assert other.reason == "REQUEST_ID_REUSED"
    page, _ = await one.tasks.page(Question("default", None, [], PageRequest(1, 20)))
    assert len(page.rows) == 1


# --- at the same time


async def test_calls_with_one_id_at_the_same_time_on_two_replicas_have_one_effect(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        await one.job()
        [task] = await one.create()
        await cancel(one, task.id, key("cancel"))
        for turn in range(15):
            views = await asyncio.gather(*(retry(which, task.id, key(f"retry {turn}")) for which in (one, two) * 2))
            assert {view.task.epoch for view in views} == {turn + 2}
            await cancel(two, task.id, key(f"cancel {turn}"))
        # The rival's delete is our delete.
        await asyncio.gather(
            *(which.tasks.delete("default", task.id, etag=None, key=key("delete")) for which in (one, two) * 2)
        )


async def test_creates_with_one_id_at_the_same_time_on_two_replicas_make_one_task(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        await one.job()
        async with committing(one.tasks.creating, two.tasks.creating):
            for turn in range(15):
                # The other order on the other side: the two wait for each other's keys.
                keys = [key(f"{turn} {number}") for number in range(5)]
                waiting = [one.tasks.creating.enqueue(NewTask("default", "hello", key=each)) for each in keys]
                waiting += [two.tasks.creating.enqueue(NewTask("default", "hello", key=each)) for each in keys[::-1]]
                made = [view.task.id for view in await asyncio.gather(*waiting)]
                assert made[:5] == made[:4:-1]
                assert len(set(made)) == 5


async def test_jobs_of_one_name_at_the_same_time_are_one_job_and_one_refusal(postgres_url: str) -> None:
    clock = MovedClock()
    draft = JobDraft("same", JobSpec("", {}, JobConfig(cmd="true")))
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        found = await asyncio.gather(
            one.jobs.create("default", draft, key("a")),
            two.jobs.create("default", draft, key("b")),
            return_exceptions=True,
        )
        refused = [answer for answer in found if isinstance(answer, PawlError)]
        assert [type(answer) for answer in refused] == [AlreadyExists]
        # The loser's refusal is on record, whichever way it lost.
        loser = key("ab"[found.index(refused[0])])
        await one.jobs.delete("default", "same", cascade=False, by="ann", etag=None, request=None)
        with pytest.raises(AlreadyExists):
            await one.jobs.create("default", draft, loser)


@pytest.mark.parametrize(
    "refusal",
    [
        NotFound.of("task", "x", "default"),
        AlreadyExists("taken", reason="AGENT_NAME_TAKEN", facts={"a": "b"}),
        IllegalTransition("ä"),
    ],
)
def test_a_refusal_is_the_same_when_it_is_read_again(refusal: PawlError) -> None:
    again = decode_refusal(encode_refusal(refusal))
    assert (type(again), again.message, again.reason, again.facts, again.violations) == (
        type(refusal),
        refusal.message,
        refusal.reason,
        refusal.facts,
        refusal.violations,
    )
