"""Groups of tasks over a real store: made whole, counted right whoever ends what, cancelled and run again as one."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid, NotFound
from controlplane.domain.group import MAX_MEMBERS, Group, Mode, Policy, Tally, close, verdict
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import JobConfig, JobSpec, JobStatus
from controlplane.domain.page import PageRequest
from controlplane.domain.placement import PlacementRules
from controlplane.domain.task import FINAL, Status, Task
from controlplane.engine.actions import Action, Actions, Bulk
from controlplane.engine.explain import Explain
from controlplane.engine.groups import Groups, GroupView, NewGroup
from controlplane.engine.jobs import JobDraft
from controlplane.engine.lists import Question
from controlplane.engine.outputs import Outputs
from controlplane.engine.results import Ref
from controlplane.engine.retention import Kept, Retention
from controlplane.engine.sessions import Session
from controlplane.engine.tasks import Deadlines, NewTask
from controlplane.engine.upkeep import make_partitions
from controlplane.store import Connection, groups
from controlplane.store.tables import metadata
from controlplane.store.tasks import TaskData
from tests.engine.stage import NOW, MovedClock, Replica, opened, placed

SHARDED, BROADCAST = Mode.SHARDED, Mode.BROADCAST


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane."""
    with opened(migrated_url) as made:
        yield made


def actions_of(replica: Replica) -> Actions:
    """The use cases of tasks, nobody being told to hold still."""
    return Actions(replica.engine, replica.tasks, lambda _tasks, _still: None)


def of(replica: Replica) -> Groups:
    """The use cases, as the wiring joins them."""
    return Groups(replica.engine, replica.tasks, actions_of(replica))


def wanted(shards: int = 3, job: str = "hello", data: TaskData | None = None, **fields: Any) -> NewGroup:
    return NewGroup(NewTask("default", job, data or TaskData()), SHARDED, shards, **fields)


def everywhere(job: str = "hello", labels: Mapping[str, str] | None = None, **fields: Any) -> NewGroup:
    return NewGroup(NewTask("default", job, TaskData(labels=labels or {})), BROADCAST, **fields)


async def sharded(replica: Replica, shards: int = 3, **fields: Any) -> str:
    return (await of(replica).create(wanted(shards, **fields), None)).group.id


async def view(replica: Replica, group_id: str) -> GroupView:
    return await of(replica).get("default", group_id)


async def group(replica: Replica, group_id: str) -> Group:
    return (await view(replica, group_id)).group


async def members(replica: Replica, group_id: str) -> list[Task]:
    """In the order of their shards, as their list has them."""
    question = Question("default", {"group_id": {"eq": group_id}}, ("shard_index",), PageRequest(1, 1000))
    _, found = await replica.tasks.page(question)
    return [one.task for one in found]


async def statuses(replica: Replica, group_id: str) -> list[str]:
    return [one.status.name for one in await members(replica, group_id)]


async def check_tally(replica: Replica, group_id: str) -> Group:
    """What is counted is what is there."""
    found, there = await group(replica, group_id), await members(replica, group_id)
    ended = [one.status for one in there if one.is_final]
    counts = {name: ended.count(Status[name.upper()]) for name in ("succeeded", "failed", "cancelled", "skipped")}
    assert found.tally == Tally(len(there), **counts)
    assert found.status is verdict(found.policy, found.policy_count, found.tally)
    return found


# --- made whole


async def test_a_group_is_so_many_tasks_that_know_which_part_they_are(one: Replica) -> None:
    job = await one.job(priority=7)
    made = await of(one).create(wanted(3, data=TaskData(parameters=b"[1]", tags={"a": "b"})), None)
    assert (made.group.status, made.group.tally, made.job_name) == (Status.RUNNING, Tally(3), "hello")
    found = await members(one, made.group.id)
    assert [(one.shard_index, one.shard_total, one.group_id) for one in found] == [
        (index, 3, made.group.id) for index in range(3)
    ]
    assert {(one.job_id, one.priority, one.status) for one in found} == {(job, 7, Status.PENDING)}
    assert [one.id for one in found] == sorted(one.id for one in found)
    assert (await one.tasks.get("default", found[1].id)).data.tags == {"a": "b"}
    session = await one.connect()
    assert await one.place() == 3
    told = placed(session)
    assert {placement.environment["PAWL_SHARD_TOTAL"] for placement in told} == {"3"}
    assert sorted(placement.environment["PAWL_SHARD_INDEX"] for placement in told) == ["0", "1", "2"]
    assert {placement.parameters for placement in told} == {b"[1]"}
    assert (await view(one, made.group.id)).on_agents == 3


async def test_each_shard_may_have_an_input_of_its_own(one: Replica) -> None:
    await one.job()
    inputs = [(str(number).encode(), "application/json") for number in range(3)]
    found = await members(one, await sharded(one, 3, parameters=inputs))
    data = [(await one.tasks.get("default", each.id)).data for each in found]
    assert [(each.parameters, each.parameters_type) for each in data] == inputs


async def test_a_task_outside_a_group_knows_of_none(one: Replica) -> None:
    await one.job()
    [alone] = await one.create()
    assert (alone.group_id, alone.shard_index, alone.shard_total) == (None, None, None)
    session = await one.connect()
    await one.place()
    [told] = placed(session)
    assert not any(name.startswith("PAWL_") for name in told.environment)


async def test_a_group_that_is_refused_has_made_nothing(one: Replica) -> None:
    for job, kind in (("missing", NotFound), ("disabled", IllegalTransition)):
        if job == "disabled":
            spec = JobSpec("", {}, JobConfig(cmd="true"))
            made = await one.jobs.create("default", JobDraft(job, spec), None)
            await one.jobs.set_status("default", made.id, JobStatus.DISABLED, None)
        with pytest.raises(kind):
            await of(one).create(wanted(3, job), None)
    page, _ = await of(one).page(Question("default", None, (), PageRequest(1, 10)))
    assert page.total == 0

    def rows(connection: Connection) -> int:
        return len(connection.execute(sa.select(metadata.tables["sched_task"])).all())

    assert await one.engine.store.read(rows) == 0


async def test_a_repeated_create_is_the_same_group(one: Replica) -> None:
    await one.job()
    key = IdempotencyKey("default", "create", "r", fingerprint(b"content"))
    first = await of(one).create(wanted(), key)
    again = await of(one).create(wanted(), key)
    assert again.group.id == first.group.id
    assert len(await members(one, first.group.id)) == 3
    with pytest.raises(AlreadyExists):
        await of(one).create(wanted(4), replace(key, fingerprint=fingerprint(b"other")))


async def test_inputs_of_a_group_are_bounded_all_together(one: Replica) -> None:
    await one.job()
    mebibyte = TaskData(parameters=b"x" * (1 << 20))
    with pytest.raises(Invalid, match=r"group\.parameters: .*34,603,008 bytes for 33 tasks, at most 33,554,432"):
        await of(one).create(wanted(33, data=mebibyte), None)
    made = await of(one).create(wanted(9, data=mebibyte), None)
    assert made.group.tally.total == 9


async def test_a_thousand_shards_are_a_few_statements(one: Replica) -> None:
    await one.job()
    sent = one.engine.store.measures.statements.labels("write")
    before = sent._value.get()
    group_id = await sharded(one, 1000)
    assert sent._value.get() - before <= 16
    assert (await group(one, group_id)).tally == Tally(1000)
    assert len(await members(one, group_id)) == 1000


# --- on every agent


async def test_a_broadcast_is_a_task_for_each_agent_that_matches_and_for_that_one_alone(one: Replica) -> None:
    await one.job(labels={"zone": "x"})
    zone = {"zone": "x"}
    sessions = [await one.connect(name, labels=zone, slots=9) for name in ("b", "a", "c")]
    await one.connect("elsewhere", labels={"zone": "y"})
    await one.connect("other", labels=zone, executors=[{"name": "http", "abi": ""}])
    stranger = await one.connect("stranger", labels=zone, serves=("apart",))
    draining = await one.connect("draining", labels=zone)
    await one.agents.drain(draining.key, request=None)
    gone = await one.connect("gone", labels=zone)
    await one.agents.leave(gone, on_purpose=True)
    made = await of(one).create(everywhere(), None)
    assert made.group.tally.total == 3
    assert await one.place() == 3
    where = {session.key[1]: [told.environment["PAWL_SHARD_INDEX"] for told in placed(session)] for session in sessions}
    assert where == {"a": ["0"], "b": ["1"], "c": ["2"]}
    assert not placed(stranger)
    found = await members(one, made.group.id)
    assert [each.agent_id for each in found] == ["a", "b", "c"]


async def test_a_broadcast_may_ask_for_more_labels_than_the_job(one: Replica) -> None:
    await one.job()
    for name, disk in (("a", "ssd"), ("b", "hdd"), ("c", "ssd")):
        await one.connect(name, labels={"disk": disk})
    made = await of(one).create(everywhere(labels={"disk": "ssd"}), None)
    await one.place()
    assert [each.agent_id for each in await members(one, made.group.id)] == ["a", "c"]
    assert made.group.labels == {"disk": "ssd"}


async def test_shards_may_ask_for_more_labels_than_the_job(one: Replica) -> None:
    await one.job()
    for name, disk in (("a", "ssd"), ("b", "hdd")):
        await one.connect(name, labels={"disk": disk})
    group_id = await sharded(one, 4, data=TaskData(labels={"disk": "ssd"}))
    assert await one.place() == 4
    assert {each.agent_id for each in await members(one, group_id)} == {"a"}


async def test_a_broadcast_that_nobody_matches_is_refused_and_the_nearest_named(one: Replica) -> None:
    await one.job()
    with pytest.raises(IllegalTransition, match="matches job 'hello': none serves namespace 'default'") as refused:
        await of(one).create(everywhere(), None)
    assert refused.value.reason == "NO_MATCHING_AGENT"
    await one.connect("a", labels={"disk": "hdd"})
    with pytest.raises(IllegalTransition, match="the nearest, 'a', lacks disk=ssd"):
        await of(one).create(everywhere(labels={"disk": "ssd"}), None)
    await one.job("large", placement=PlacementRules(slots=9))
    with pytest.raises(IllegalTransition, match="none is large enough"):
        await of(one).create(everywhere("large"), None)
    await one.job("named", placement=PlacementRules(agents=("b", "c")))
    with pytest.raises(IllegalTransition, match="of those that it names, b, c, none is connected"):
        await of(one).create(everywhere("named"), None)


async def test_two_agents_of_one_name_are_two(one: Replica) -> None:
    await one.job()
    mine = await one.connect("a")
    theirs = await one.connect(key=("apart", "a"), state_id="another", serves=("default",))
    made = await of(one).create(everywhere(), None)
    await one.place()
    assert [len(placed(each)) for each in (mine, theirs)] == [1, 1]
    assert made.group.tally.total == 2


async def test_a_task_of_a_broadcast_waits_for_its_agent_and_says_so(one: Replica) -> None:
    await one.job()
    a, b = await one.connect("a"), await one.connect("b")
    explain = Explain(one.engine, one.tasks, one.placing, one.sessions, one.agents)
    made = await of(one).create(everywhere(), None)
    await one.agents.leave(b, on_purpose=False)
    assert await one.place() == 1
    assert len(placed(a)) == 1
    [_, waiting] = await members(one, made.group.id)
    told = await explain.task("default", waiting.id)
    assert (told.reason, told.details["agent_id"], told.details["agent_status"]) == ("NO_AGENT", "b", "DISCONNECTED")
    assert "only agent 'b' may run it" in told.message
    assert (told.details["group_id"], told.details["shard_index"], told.details["shard_total"]) == (
        made.group.id,
        "1",
        "2",
    )
    back = await one.connect("b", free=0)
    assert (await explain.task("default", waiting.id)).reason == "NO_FREE_SLOTS"
    back.free = 1
    assert (await explain.task("default", waiting.id)).reason == "ABOUT_TO_START"
    assert await one.place() == 1
    assert len(placed(back)) == 1


async def test_a_cap_of_the_job_is_named_for_a_task_of_a_broadcast_too(one: Replica) -> None:
    await one.job(max_running=1)
    await one.connect("a")
    await one.connect("b")
    explain = Explain(one.engine, one.tasks, one.placing, one.sessions, one.agents)
    made = await of(one).create(everywhere(), None)
    assert await one.place() == 1
    [waiting] = [each for each in await members(one, made.group.id) if each.status is Status.PENDING]
    assert (await explain.task("default", waiting.id)).reason == "MAX_RUNNING_REACHED"


async def test_what_waits_for_an_agent_that_has_gone_fails_if_it_may_not_wait(one: Replica) -> None:
    await one.job()
    a, b = await one.connect("a"), await one.connect("b")
    task = NewTask("default", "hello", deadlines=Deadlines(start_seconds=30))
    made = await of(one).create(NewGroup(task, BROADCAST), None)
    await one.agents.leave(b, on_purpose=True)
    await one.place()
    [told] = placed(a)
    await one.start(told.ref)
    one.clock.move(31)
    await one.timers.fire()
    assert await statuses(one, made.group.id) == ["RUNNING", "FAILED"]
    assert (await check_tally(one, made.group.id)).status is Status.FAILED


async def test_a_broadcast_that_is_done_again_adds_no_demands(one: Replica) -> None:
    await one.job()
    await one.connect("a")
    first = await of(one).create(everywhere(), None)
    second = await of(one).create(everywhere(), None)
    [x], [y] = await members(one, first.group.id), await members(one, second.group.id)
    assert x.requirement_id == y.requirement_id


# --- what they come to


async def finish(replica: Replica, session: Session, how: Sequence[Status]) -> None:
    """Place what waits, and end it in the order of its shards."""
    await replica.place()
    told = sorted(placed(session), key=lambda each: int(each.environment["PAWL_SHARD_INDEX"]))
    await replica.report([(each.ref, status) for each, status in zip(told, how, strict=True)])


S, F = Status.SUCCEEDED, Status.FAILED


@pytest.mark.parametrize(
    ("policy", "count", "how", "status"),
    [
        (Policy.ALL, 0, (S, S, S), Status.SUCCEEDED),
        (Policy.ALL, 0, (S, F, S), Status.FAILED),
        (Policy.ANY, 0, (F, S, F), Status.SUCCEEDED),
        (Policy.ANY, 0, (F, F, F), Status.FAILED),
        (Policy.AT_LEAST, 2, (S, F, S), Status.SUCCEEDED),
        (Policy.AT_LEAST, 2, (F, F, S), Status.FAILED),
        (Policy.MAX_FAILED, 1, (S, F, S), Status.SUCCEEDED),
        (Policy.MAX_FAILED, 1, (F, F, S), Status.FAILED),
    ],
)
async def test_a_group_comes_to_what_its_policy_says(
    one: Replica, policy: Policy, count: int, how: Sequence[Status], status: Status
) -> None:
    await one.job()
    session = await one.connect()
    group_id = await sharded(one, 3, policy=policy, policy_count=count)
    await finish(one, session, how)
    found = await check_tally(one, group_id)
    assert found.status is status
    assert found.decided_at == found.finished_at == one.clock.now()


async def test_a_group_is_decided_as_soon_as_it_can_only_end_one_way(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    group_id = await sharded(one)
    await one.place()
    first, *rest = placed(session)
    await one.finish(first.ref, Status.FAILED)
    found = await check_tally(one, group_id)
    assert (found.status, found.finished_at, found.closing) == (Status.FAILED, None, False)
    one.clock.move(5)
    for each in rest:
        await one.finish(each.ref)
    found = await check_tally(one, group_id)
    assert found.status is Status.FAILED
    assert (found.decided_at, found.finished_at) == (NOW, NOW + 5_000_000)


async def test_the_rest_is_cancelled_once_it_is_decided(one: Replica) -> None:
    await one.job()
    session = await one.connect(free=2)
    group_id = await sharded(one, 5, cancel_rest=True)
    await one.place()
    first, second = placed(session)
    await one.finish(first.ref, Status.FAILED)
    assert (await group(one, group_id)).closing
    await of(one).turn()
    assert sorted(await statuses(one, group_id)) == ["CANCELLED"] * 3 + ["DISPATCHED", "FAILED"]
    assert one.stopped == [second.ref.task_id]
    assert (await of(one).turn()) is None
    await one.finish(second.ref, Status.CANCELLED)
    found = await check_tally(one, group_id)
    assert (found.status, found.closing, found.tally) == (Status.FAILED, False, Tally(5, 0, 1, 4, 0))
    waiting = (await members(one, group_id))[4]
    record = (await one.tasks.get("default", waiting.id)).transitions[-1]
    assert record.reason == "its group is decided: FAILED"


async def test_of_any_the_first_success_is_success_and_the_rest_need_not_run(one: Replica) -> None:
    await one.job()
    session = await one.connect(free=1)
    group_id = await sharded(one, 3, policy=Policy.ANY, cancel_rest=True)
    await one.place()
    [first] = placed(session)
    await one.finish(first.ref)
    await of(one).turn()
    found = await check_tally(one, group_id)
    assert (found.status, found.tally) == (Status.SUCCEEDED, Tally(3, 1, 0, 2, 0))
    assert found.finished_at is not None


async def test_a_retry_is_no_failure_of_the_group(one: Replica) -> None:
    await one.job(max_retries=1, retry_interval=5)
    session = await one.connect()
    group_id = await sharded(one, 1)
    await finish(one, session, [F])
    assert (await check_tally(one, group_id)).status is Status.RUNNING
    one.clock.move(6)
    await one.timers.fire()
    session.free = 4
    await finish(one, session, [S])
    assert (await check_tally(one, group_id)).status is Status.SUCCEEDED


async def test_what_people_do_to_a_member_counts(one: Replica) -> None:
    await one.job()
    group_id = await sharded(one, 3)
    first, second, third = await members(one, group_id)
    actions = actions_of(one)

    async def act(task: Task, action: Action) -> None:
        await actions.act("default", task.id, action, by="ann", why="", key=None)

    await act(first, Action.SKIP)
    await act(second, Action.FORCE_SUCCESS)
    assert (await check_tally(one, group_id)).status is Status.RUNNING
    await one.cancel(third.id)
    found = await check_tally(one, group_id)
    assert (found.status, found.tally) == (Status.CANCELLED, Tally(3, 1, 0, 1, 1))
    await act(third, Action.FORCE_SUCCESS)
    assert (await check_tally(one, group_id)).status is Status.SUCCEEDED
    await one.tasks.retry("default", second.id, by="ann", why="", key=None)
    found = await check_tally(one, group_id)
    assert (found.status, found.decided_at, found.finished_at) == (Status.RUNNING, None, None)


async def test_a_member_that_is_lost_too_often_has_failed(one: Replica) -> None:
    await one.job(max_stalled=0)
    session = await one.connect()
    group_id = await sharded(one, 1)
    await one.place()
    [told] = placed(session)
    await one.results.lose([told.ref], "its agent burnt")
    assert (await check_tally(one, group_id)).status is Status.FAILED


async def test_a_late_result_counts_once(one: Replica) -> None:
    """Of a member that was lost and waits again, and repeated by an agent that heard no answer."""
    await one.job()
    session = await one.connect()
    group_id = await sharded(one, 2)
    await one.place()
    told = placed(session)
    await one.results.lose([told[0].ref], "out of reach")
    for _ in range(3):
        await one.report([(told[0].ref, S)])
    assert (await check_tally(one, group_id)).tally == Tally(2, succeeded=1)


# --- as one


async def test_cancelling_a_group_ends_what_waits_and_stops_what_runs(one: Replica) -> None:
    await one.job()
    session = await one.connect(free=1)
    group_id = await sharded(one, 4)
    await one.place()
    [running] = placed(session)
    key = IdempotencyKey("default", "cancel", "r", fingerprint(b""))
    cancelled = await of(one).cancel("default", group_id, by="ann", why="not needed", key=key)
    assert (cancelled.group.status, cancelled.group.closing, cancelled.on_agents) == (Status.CANCELLED, True, 1)
    assert one.stopped == [running.ref.task_id]
    assert (await one.tasks.get("default", running.ref.task_id)).data.cancel_reason == "not needed"
    again = await of(one).cancel("default", group_id, by="ann", why="not needed", key=key)
    assert (again.group.status, one.stopped) == (Status.CANCELLED, [running.ref.task_id])
    await one.finish(running.ref, Status.CANCELLED)
    found = await check_tally(one, group_id)
    assert (found.tally.cancelled, found.closing) == (4, False)
    assert (await of(one).cancel("default", group_id, by="ann", why="", key=None)).group.status is Status.CANCELLED


async def test_what_a_crash_left_of_a_cancel_is_done_by_the_loop(one: Replica) -> None:
    await one.job()
    group_id = await sharded(one, 700)

    def only_said(connection: Connection) -> None:
        found = groups.find(connection, "default", group_id, lock=True)
        assert found is not None
        groups.update(connection, close(found, "ann", "not needed", NOW))

    await one.engine.store.write(only_said)
    await of(one).turn()
    assert (await check_tally(one, group_id)).tally.cancelled == 700


async def test_a_group_that_has_ended_is_not_cancelled(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    group_id = await sharded(one, 1)
    await finish(one, session, [S])
    with pytest.raises(IllegalTransition, match="has ended: SUCCEEDED"):
        await of(one).cancel("default", group_id, by="ann", why="", key=None)
    with pytest.raises(NotFound):
        await of(one).cancel("default", one.engine.new_id(), by="ann", why="", key=None)


async def test_running_a_group_again_runs_what_has_not_succeeded(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    group_id = await sharded(one, 3, cancel_rest=True)
    session.free = 2
    await one.place()
    first, second = placed(session)
    await one.report([(first.ref, S), (second.ref, F)])
    await of(one).turn()
    assert await statuses(one, group_id) == ["SUCCEEDED", "FAILED", "CANCELLED"]
    one.clock.move(1)
    key = IdempotencyKey("default", "retry", "r", fingerprint(b""))
    again = await of(one).retry("default", group_id, by="ann", why="fixed", key=key)
    assert (again.group.status, again.group.finished_at) == (Status.RUNNING, None)
    assert await statuses(one, group_id) == ["SUCCEEDED", "PENDING", "PENDING"]
    await of(one).turn()
    assert await statuses(one, group_id) == ["SUCCEEDED", "PENDING", "PENDING"], "it is not being cancelled any more"
    session.free = 4
    await finish(one, session, [S, S])
    assert (await check_tally(one, group_id)).status is Status.SUCCEEDED
    one.clock.move(1)
    assert (await of(one).retry("default", group_id, by="ann", why="", key=key)).group.status is Status.SUCCEEDED


async def test_a_group_goes_with_its_tasks(one: Replica) -> None:
    await one.job()
    session = await one.connect()
    group_id = await sharded(one, 2)
    with pytest.raises(IllegalTransition, match="2 unfinished tasks"):
        await of(one).delete("default", group_id, key=None)
    await finish(one, session, [S, F])
    key = IdempotencyKey("default", "delete", "r", fingerprint(b""))
    await of(one).delete("default", group_id, key=key)
    await of(one).delete("default", group_id, key=key)
    assert await members(one, group_id) == []
    with pytest.raises(NotFound):
        await group(one, group_id)


async def test_a_group_whose_tasks_are_gone_goes_too(one: Replica) -> None:
    await one.job()
    kept, going = await sharded(one, 1), await sharded(one, 2)
    await of(one).cancel("default", going, by="ann", why="", key=None)
    await of(one).cancel("default", kept, by="ann", why="", key=None)
    for task in await members(one, going):
        await one.tasks.delete("default", task.id, etag=None, key=None)
    assert (await group(one, going)).tally.total == 2, "what has been counted stays"
    last, gone = await one.engine.store.write(groups.delete_empty, "0" * 8 + "-0000-0000-0000-" + "0" * 12, 10)
    assert (last, gone) == (None, 1)
    assert (await group(one, kept)).id == kept
    with pytest.raises(NotFound):
        await group(one, going)


async def test_retention_takes_groups_whose_tasks_it_took(one: Replica) -> None:
    await one.job()
    old = await sharded(one, 2)
    await of(one).cancel("default", old, by="ann", why="", key=None)
    waits = await sharded(one, 2)
    one.clock.move(70 * 86_400)
    await one.engine.store.write(make_partitions, one.clock.now())
    await of(one).cancel("default", young := await sharded(one, 1), by="ann", why="", key=None)
    kept = Retention(one.engine, Outputs(one.engine), Kept(tasks=30))
    for _ in range(3):  # a group is looked at before or after its tasks
        while await kept.turn():
            pass
        one.clock.move(2 * 3_600)
    _, found = await of(one).page(Question("default", None, (), PageRequest(1, 10)))
    assert [each.group.id for each in found] == [young, waits]
    assert kept.removed["groups"] == 1


async def test_groups_are_listed_with_how_they_do(one: Replica) -> None:
    await one.job()
    session = await one.connect(free=2)
    first, second = await sharded(one, 1), await sharded(one, 2)
    await one.place()
    await one.finish(next(each for each in placed(session)).ref)
    page, found = await of(one).page(Question("default", None, (), PageRequest(1, 10)))
    assert [(each.group.id, each.on_agents, each.job_name) for each in found] == [
        (second, 1, "hello"),
        (first, 0, "hello"),
    ]
    running = {"status": {"eq": "RUNNING"}, "mode": {"eq": "SHARDED"}}
    page, found = await of(one).page(Question("default", running, (), PageRequest(1, 10)))
    assert ([each.group.id for each in found], page.total) == ([second], 1)


# --- whatever happens


async def test_whatever_becomes_of_members_they_are_counted_right(one: Replica) -> None:
    """A long random walk: members are placed, started, lost, given back, ended, held, skipped, called done, cancelled
    and run again, one by one and all at once, while the loop cancels what is left of groups that are decided.
    """
    chance = random.Random(11)  # a walk, no secret
    await one.job("steady", max_retries=1, retry_interval=1, max_stalled=1)
    await one.job("hasty", schedule_to_start_timeout_seconds=40.0, total_timeout_seconds=90.0)
    session = await one.connect(slots=40)
    ids = [
        await sharded(one, 6, job="steady"),
        await sharded(one, 6, job="hasty", policy=Policy.AT_LEAST, policy_count=3, cancel_rest=True),
        await sharded(one, 4, job="steady", policy=Policy.ANY, cancel_rest=True),
        await sharded(one, 6, job="hasty", policy=Policy.MAX_FAILED, policy_count=2),
    ]
    held: list[Ref] = []
    seen: set[Status] = set()

    async def placing() -> None:
        session.free = 6
        await one.place()
        held.extend(told.ref for told in placed(session))

    async def ending() -> None:
        several = chance.sample(held, min(len(held), 3))
        await one.report([(ref, chance.choice([S, S, F, Status.CANCELLED])) for ref in several])

    async def member(act: Action) -> None:
        task = chance.choice(await members(one, chance.choice(ids)))
        if act is Action.RETRY:
            await one.tasks.retry("default", task.id, by="ann", why="", key=None)
        elif act is Action.CANCEL:
            await one.cancel(task.id)
        else:
            await actions_of(one).act("default", task.id, act, by="ann", why="", key=None)

    async def all_of(act: Action) -> None:
        where = {"group_id": {"eq": chance.choice(ids)}}
        await actions_of(one).act_on_all(Bulk("default", act, where, by="ann"), None)

    async def time() -> None:
        one.clock.move(chance.choice([0.5, 2, 20]))
        await one.timers.fire()

    steps: list[Callable[[], Awaitable[object]]] = [
        *[placing, ending, time] * 4,
        lambda: one.start(chance.choice(held)),
        lambda: one.results.lose([chance.choice(held)], "its agent burnt"),
        lambda: one.results.release([chance.choice(held)]),
        *(partial(member, act) for act in Action if act is not Action.DELETE),
        partial(all_of, Action.PAUSE),
        partial(all_of, Action.RESUME),
        partial(all_of, Action.RETRY),
        lambda: of(one).turn(),
        lambda: of(one).retry("default", chance.choice(ids), by="ann", why="", key=None),
        lambda: of(one).cancel("default", chance.choice(ids), by="ann", why="", key=None),
    ]
    for number in range(200):
        if not held:
            await placing()
        with suppress(IllegalTransition):
            await chance.choice(steps)()
        if number % 8 == 0:
            for group_id in ids:
                seen.add((await check_tally(one, group_id)).status)
    assert seen == {Status.RUNNING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}


# --- together


async def test_members_that_end_at_the_same_time_are_all_counted(migrated_url: str) -> None:
    """On several replicas, each with results of both groups in its batches, in no order; some run again meanwhile."""
    clock = MovedClock()
    with ExitStack() as stack:
        first = stack.enter_context(opened(migrated_url, clock))
        several = [first]
        if "postgresql" in migrated_url:
            several += [stack.enter_context(opened(migrated_url, clock, name)) for name in ("two", "three")]
        await first.job()
        session = await first.connect(slots=200)
        ids = [await sharded(first, 60), await sharded(first, 60, policy=Policy.MAX_FAILED, policy_count=30)]
        assert await first.place() == 120
        told = list(placed(session))
        chance = random.Random(7)  # an order, no secret
        chance.shuffle(told)

        async def report(number: int) -> None:
            replica, mine = several[number % len(several)], told[number::6]
            for start in range(0, len(mine), 4):
                ends = [(each.ref, chance.choice([S, S, F])) for each in mine[start : start + 4]]
                await replica.report(ends)
                if start % 8 == 0:
                    await replica.tasks.retry("default", ends[0][0].task_id, by="ann", why="", key=None)

        await asyncio.gather(*(report(number) for number in range(6)))
        for group_id in ids:
            found = await check_tally(first, group_id)
            assert 0 < found.tally.unfinished < 60
        for group_id in ids:
            await of(several[-1]).cancel("default", group_id, by="ann", why="", key=None)
            assert (await check_tally(first, group_id)).tally.unfinished == 0


async def test_a_cancel_and_a_retry_at_the_same_time_leave_a_group_that_is_counted_right(one: Replica) -> None:
    await one.job()
    group_id = await sharded(one, 50)
    await of(one).cancel("default", group_id, by="ann", why="", key=None)

    async def again() -> None:
        for _ in range(3):
            one.clock.move(1)
            await of(one).retry("default", group_id, by="bob", why="", key=None)

    async def no() -> None:
        for _ in range(3):
            await of(one).cancel("default", group_id, by="ann", why="", key=None)
            await of(one).turn()

    await asyncio.gather(again(), no())
    found = await check_tally(one, group_id)
    assert found.closing is False or found.tally.unfinished > 0
    await of(one).cancel("default", group_id, by="ann", why="", key=None)
    await of(one).turn()
    assert all(Status[each] in FINAL for each in await statuses(one, group_id))


async def test_a_group_of_the_largest_size_is_made(one: Replica) -> None:
    await one.job()
    assert (await group(one, await sharded(one, MAX_MEMBERS))).tally == Tally(MAX_MEMBERS)
