"""Tasks as people ask for them: cancel, retry, edit, delete, and what is shown of them."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from controlplane.domain.errors import EtagMismatch, IllegalTransition, NotFound
from controlplane.domain.task import Status
from controlplane.engine.backlog import READY_HINT, TIMERS_HINT
from controlplane.engine.logs import LogPosition, Logs
from controlplane.engine.results import Ref, Result
from controlplane.engine.tasks import NewTask, TaskEdit, TaskView
from controlplane.store import Connection
from controlplane.store.logs import Chunk, pack
from controlplane.store.tables import task_instance
from controlplane.store.tasks import InstanceEnd, TaskData
from tests.engine.stage import NOW, SECOND, Replica, committing, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def on_agent(one: Replica, **config: Any) -> Ref:
    """A placement of a new task on a new agent."""
    await one.job(**config)
    await one.create()
    session = await one.connect(free=1)
    await one.place()
    return placed(session)[0].ref


def to(*, priority: int = 500, scheduled_at: int = NOW, data: TaskData | None = None) -> TaskEdit:
    return TaskEdit(priority, scheduled_at, data or TaskData())


async def test_a_new_task_takes_what_it_does_not_say_from_its_job(one: Replica) -> None:
    job_id = await one.job(priority=7, max_retries=4)
    [task] = await one.create()
    assert (task.job_id, task.job_revision, task.priority, task.max_retries) == (job_id, 1, 7, 4)
    assert (task.scheduled_at, task.created_at, task.attempt, task.token) == (NOW, NOW, 0, 0)
    [other] = await one.create(job_id, priority=9)
    assert other.priority == 9


async def test_a_task_is_unknown_outside_its_namespace(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    for refused in (
        one.tasks.get("other", task.id),
        one.tasks.standing("other", task.id),
        one.tasks.cancel("other", task.id, by="ann", why="", key=None),
        one.tasks.delete("other", task.id, etag=None, key=None),
    ):
        with pytest.raises(NotFound):
            await refused


async def test_a_create_wakes_the_dispatcher_and_a_plan_wakes_the_timers(one: Replica) -> None:
    await one.job()
    wakeups = one.engine.wakeups
    one.engine.backlog.tell = partial(asyncio.get_running_loop().call_soon_threadsafe, wakeups.hint)
    with wakeups.listen(READY_HINT) as ready, wakeups.listen(TIMERS_HINT) as timers:
        async with committing(one.tasks.creating):
            await one.tasks.create(NewTask("default", "hello"))
            assert (ready.is_set(), timers.is_set()) == (True, False)
            ready.clear()
            await one.tasks.create(NewTask("default", "hello", scheduled_at=NOW + SECOND))
            assert (ready.is_set(), timers.is_set()) == (False, True)


async def test_a_cancel_of_running_work_is_told_to_its_agent_and_ends_when_it_confirms(one: Replica) -> None:
    ref = await on_agent(one)
    view = await one.cancel(ref.task_id, "not needed")
    assert (view.task.status, view.task.cancel_requested, view.data.cancel_reason) == (
        Status.DISPATCHED,
        True,
        "not needed",
    )
    assert one.stopped == [ref.task_id]
    assert (await one.cancel(ref.task_id)).task == view.task
    assert one.stopped == [ref.task_id]
    await one.finish(ref, Status.CANCELLED, error_code="CANCELLED")
    assert (await one.task(ref.task_id)).status is Status.CANCELLED


async def test_what_has_ended_is_not_cancelled(one: Replica) -> None:
    ref = await on_agent(one)
    await one.finish(ref)
    with pytest.raises(IllegalTransition):
        await one.cancel(ref.task_id)


async def test_a_retry_of_a_waiting_task_is_the_next_attempt_and_of_an_ended_one_a_new_epoch(one: Replica) -> None:
    ref = await on_agent(one, max_retries=1)
    await one.finish(ref, Status.FAILED, error_code="X")
    waiting = await one.tasks.retry("default", ref.task_id, by="ann", why="", key=None)
    assert (waiting.task.status, waiting.task.epoch, waiting.task.attempt) == (Status.PENDING, 1, 1)
    await one.cancel(ref.task_id)
    again = await one.tasks.retry("default", ref.task_id, by="ann", why="once more", key=None)
    assert (again.task.status, again.task.epoch, again.task.attempt) == (Status.PENDING, 2, 0)
    record = again.transitions[-1]._mapping
    assert (record["transition"], record["subject"], record["reason"]) == ("Restart", "ann", "once more")


async def test_an_edit_moves_the_task_to_its_new_place(one: Replica) -> None:
    await one.job()
    first, second = await one.create(count=2)
    changed = await one.tasks.update(
        "default", second.id, lambda view: to(priority=900, data=replace(view.data, tags={"a": "b"})), etag=1, key=None
    )
    assert (changed.task.priority, changed.data.tags, changed.task.version) == (900, {"a": "b"}, 2)
    session = await one.connect(free=1)
    await one.place()
    assert placed(session)[0].ref.task_id == second.id
    await one.tasks.update("default", first.id, lambda _: to(scheduled_at=NOW + SECOND), etag=None, key=None)
    session.free = 1
    assert await one.place() == 0


async def test_an_edit_of_another_version_or_of_placed_work_is_refused(one: Replica) -> None:
    ref = await on_agent(one)
    with pytest.raises(EtagMismatch):
        await one.tasks.update("default", ref.task_id, lambda _: to(), etag=1, key=None)
    with pytest.raises(IllegalTransition, match="can be changed in PENDING"):
        await one.tasks.update("default", ref.task_id, lambda _: to(), etag=None, key=None)


async def test_an_edit_that_fails_changes_nothing(one: Replica) -> None:
    await one.job()
    [task] = await one.create()

    def refuse(_: TaskView) -> TaskEdit:
        raise IllegalTransition("no")

    with pytest.raises(IllegalTransition):
        await one.tasks.update("default", task.id, refuse, etag=None, key=None)
    assert await one.task(task.id) == task


async def test_only_what_has_ended_is_deleted_and_its_logs_go_with_it(one: Replica) -> None:
    ref = await on_agent(one)
    logs = Logs(one.engine)
    assert (
        await logs.append([Chunk(ref.task_id, ref.token, 0, ref.instance_id, pack([(1, NOW, b"hi")]))], "default") == 1
    )
    with pytest.raises(IllegalTransition, match="cancel it before"):
        await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    await one.finish(ref)
    await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    with pytest.raises(NotFound):
        await one.task(ref.task_id)
    assert await logs.read(ref.task_id, None, LogPosition()) == []


async def test_what_the_last_attempt_left_is_shown(one: Replica) -> None:
    ref = await on_agent(one)
    assert (await one.tasks.get("default", ref.task_id)).last is None
    await one.finish(ref, output=b"42", output_type="text/plain", output_size=2)
    view = await one.tasks.get("default", ref.task_id)
    assert view.job_name == "hello"
    assert view.last is not None
    assert bytes(view.last._mapping["output"]) == b"42"


async def test_what_a_program_gave_and_how_it_ended_is_kept_of_every_attempt(one: Replica) -> None:
    ref = await on_agent(one, max_retries=1, retry_interval=0.0)
    await one.finish(ref, Status.FAILED, output=b"half", output_size=4, exit_code=3, error_code="EXIT_3",
                     error_message="exit code 3", error_retryable=True)  # fmt: skip
    await one.timers.fire()
    agent = await one.connect("another", free=1)
    await one.place()
    [placement] = placed(agent)
    await one.finish(placement.ref, output=b"whole", output_size=5, exit_code=0)

    def kept(connection: Connection) -> list[tuple[object, ...]]:
        columns = [task_instance.c[name] for name in ("attempt", "status", "exit_code", "output", "error_code")]
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(task_instance.c.token))]

    assert await one.engine.store.read(kept) == [
        (1, Status.FAILED, 3, b"half", "EXIT_3"),
        (2, Status.SUCCEEDED, 0, b"whole", None),
    ]


async def test_progress_is_of_the_newest_placement_and_its_last_word_comes_with_the_result(one: Replica) -> None:
    ref = await on_agent(one, max_retries=1, retry_interval=0.0)

    async def shown() -> tuple[float, str] | None:
        view = await one.tasks.get("default", ref.task_id)
        standing = await one.tasks.standing("default", ref.task_id)
        assert (standing.version, standing.progress) == (view.task.version, view.progress)
        return view.progress

    assert await shown() is None
    version = (await one.task(ref.task_id)).version
    with one.engine.wakeups.listen(f"task:{ref.task_id}") as heard:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(one.results.progressing.run())
            await one.results.progressing.enqueue((ref, 42.0, "half of it"))
            writing.cancel()
        assert heard.is_set()  # whoever watches looks now
    assert await shown() == (42.0, "half of it")
    assert (await one.task(ref.task_id)).version == version  # nobody's etag is outdated by it
    end = InstanceEnd(Status.FAILED, one.clock.now(), error_code="EXIT_1", error_retryable=True)
    [_] = await one.engine.store.write(one.results.finish_many, [Result(ref, end, progress=(77.0, "broke"))])
    assert await shown() == (77.0, "broke")
    await one.timers.fire()
    agent = await one.connect("another", free=1)
    await one.place()
    [placement] = placed(agent)
    assert await shown() is None  # the next attempt begins anew
    await one.engine.store.write(one.results.progress_many, [(ref, 99.0, "of one that has ended")])
    assert await shown() is None
    await one.finish(placement.ref)


# --- logs


async def test_logs_are_read_in_order_from_a_cursor_and_a_repeated_chunk_is_stored_once(one: Replica) -> None:
    ref = await on_agent(one)
    logs = Logs(one.engine)

    def chunk(number: int, *texts: bytes) -> Chunk:
        return Chunk(ref.task_id, ref.token, number, ref.instance_id, pack((1, NOW, text) for text in texts))

    assert await logs.append([chunk(1, b"c"), chunk(0, b"a", b"b")], "default") == 2
    assert await logs.append([chunk(1, b"other"), chunk(2, b"d")], "default") == 1
    assert await logs.append([chunk(3, b"of agents of another namespace")], "elsewhere") == 0
    lines = await logs.read(ref.task_id, None, LogPosition())
    assert [line.data for line in lines] == [b"a", b"b", b"c", b"d"]
    for index, line in enumerate(lines):
        cursor = LogPosition.parse(line.position.text())
        assert await logs.read(ref.task_id, ref.instance_id, cursor) == lines[index + 1 :]


async def test_that_an_instance_is_there_is_remembered_for_a_moment_and_not_whose_it_is_by_others(one: Replica) -> None:
    ref = await on_agent(one)
    logs, asked = Logs(one.engine), one.engine.store.measures.statements.labels("read")

    def chunk(number: int) -> Chunk:
        return Chunk(ref.task_id, ref.token, number, ref.instance_id, pack([(1, NOW, b"x")]))

    logs._forget_at = time.monotonic() + 3600.0
    assert await logs.append([chunk(1)], "default") == 1
    before = asked._value.get()
    assert await logs.append([chunk(2), chunk(3)], "default") == 2
    assert asked._value.get() == before
    assert await logs.append([chunk(4)], "elsewhere") == 0
    await one.finish(ref)
    await one.tasks.delete("default", ref.task_id, etag=None, key=None)
    logs._forget_at = 0.0
    assert await logs.append([chunk(5)], "default") == 0


async def test_logs_of_instances_that_do_not_exist_are_dropped(one: Replica) -> None:
    ref = await on_agent(one)
    chunks = [
        Chunk(ref.task_id, 7, 0, ref.instance_id, pack([(1, NOW, b"x")])),
        Chunk(ref.task_id, ref.token, 0, ref.task_id, pack([(1, NOW, b"x")])),
    ]
    assert await Logs(one.engine).append(chunks, "default") == 0
