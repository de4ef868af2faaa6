"""How ready tasks find agents: who comes first, who may run what, and nobody twice."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, suppress

import pytest
import sqlalchemy as sa
from pawl.tracing import Trace

from controlplane.domain.errors import IllegalTransition
from controlplane.domain.placement import LabelRule, Operator, PlacementRules, Strategy
from controlplane.domain.task import Cause, Status
from controlplane.engine.placing import FEW_REQUIREMENTS, Placing
from controlplane.engine.revisions import Revisions
from controlplane.engine.tasks import TaskEdit
from controlplane.store import Connection, tasks
from controlplane.store.tables import ready, task, task_instance, timer
from controlplane.store.tasks import TaskData
from tests.engine.stage import NOW, MovedClock, Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def test_the_highest_priority_is_placed_first(one: Replica) -> None:
    await one.job()
    low, high, middle = [(await one.create(priority=priority))[0].id for priority in (100, 900, 500)]
    agent = await one.connect(free=2)
    assert await one.place() == 2
    assert [placement.ref.task_id for placement in placed(agent)] == [high, middle]
    assert (await one.task(low)).status is Status.PENDING


async def test_among_equals_the_oldest_is_placed_first(one: Replica) -> None:
    await one.job()
    made = []
    for _ in range(3):
        made += await one.create()
        one.clock.move(1)
    agent = await one.connect(free=2)
    await one.place()
    assert [placement.ref.task_id for placement in placed(agent)] == [task.id for task in made[:2]]


async def test_priority_holds_across_different_demands(one: Replica) -> None:
    await one.job("a")
    await one.job("b", labels={"zone": "x"})
    [low] = await one.create("a", priority=100)
    [high] = await one.create("b", priority=900)
    agent = await one.connect(labels={"zone": "x"}, free=1)
    await one.place()
    assert [placement.ref.task_id for placement in placed(agent)] == [high.id]
    agent.free = 1
    await one.place()
    assert [placement.ref.task_id for placement in placed(agent)] == [low.id]


async def test_an_agent_gets_only_work_whose_labels_it_has(one: Replica) -> None:
    await one.job(labels={"gpu": "yes"})
    [task] = await one.create()
    plain = await one.connect("plain", labels={"os": "linux"})
    assert await one.place() == 0
    able = await one.connect("able", labels={"os": "linux", "gpu": "yes"})
    assert await one.place() == 1
    assert not placed(plain)
    assert [placement.ref.task_id for placement in placed(able)] == [task.id]


async def test_an_agent_without_labels_gets_no_work_that_demands_some(one: Replica) -> None:
    await one.job("anywhere")
    await one.job("demanding", labels={"gpu": "yes"})
    [demanding] = await one.create("demanding", priority=1000)
    [anywhere] = await one.create("anywhere")
    bare = await one.connect("bare", labels={})
    assert await one.place() == 1
    assert [placement.ref.task_id for placement in placed(bare)] == [anywhere.id]
    assert (await one.task(demanding.id)).status is Status.PENDING


async def test_an_agent_gets_only_work_for_its_executors(one: Replica) -> None:
    await one.job(executor="process")
    await one.create()
    await one.connect("modules", executors=[{"name": "wasm", "abi": "1"}])
    assert await one.place() == 0
    able = await one.connect("able")
    assert await one.place() == 1
    assert len(placed(able)) == 1


async def test_an_agent_gets_only_work_of_the_namespaces_that_it_serves(one: Replica) -> None:
    await one.job()
    await one.create()
    await one.connect("elsewhere", serves=("other",))
    assert await one.place() == 0


async def test_the_least_loaded_agent_gets_it(one: Replica) -> None:
    await one.job()
    await one.create(count=2)
    busy, idle = await one.connect("busy"), await one.connect("idle")
    busy.running, idle.running = 3, 1
    await one.place()
    assert (len(placed(busy)), len(placed(idle))) == (0, 2)


async def test_no_agent_gets_more_than_it_has_room_for(one: Replica) -> None:
    await one.job()
    await one.create(count=9)
    agents = [await one.connect(f"agent{number}", free=number) for number in range(4)]
    assert await one.place() == 6
    assert [len(placed(agent)) for agent in agents] == [0, 1, 2, 3]
    assert [agent.free for agent in agents] == [0, 0, 0, 0]
    assert await one.place() == 0


async def test_a_draining_agent_gets_nothing_new(one: Replica) -> None:
    await one.job()
    await one.create()
    agent = await one.connect()
    await one.agents.drain(agent.key, request=None)
    assert agent.draining
    assert await one.place() == 0


async def test_a_replica_places_no_more_than_its_cap(one: Replica) -> None:
    await one.job()
    await one.create(count=4)
    await one.connect(free=4)
    capped = Placing(one.engine, one.sessions, one.results, Revisions(), cap=3)
    await capped.learn()
    assert [await capped.place(), await capped.place()] == [3, 0]


async def test_a_planned_task_is_placed_when_its_time_has_come(one: Replica) -> None:
    await one.job()
    [task] = await one.create(scheduled_at=NOW + 10_000_000)
    agent = await one.connect()
    assert await one.place() == 0
    assert await one.timers.fire() == 10.0
    one.clock.move(10)
    assert await one.timers.fire() is None
    assert await one.place() == 1
    assert placed(agent)[0].ref.task_id == task.id


async def test_a_task_whose_caller_brought_no_trace_is_a_trace_of_its_own(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    agent = await one.connect()
    await one.place()
    [placement] = placed(agent)
    version, trace, span, flags = placement.trace.traceparent.split("-")
    assert (version, trace, flags) == ("00", task.id.replace("-", ""), "00")
    assert placement.ref.instance_id.replace("-", "").endswith(span)
    assert len(span) == 16


async def test_a_placement_says_all_that_the_agent_needs(one: Replica) -> None:
    await one.job(environment={"A": "job", "B": "job"}, timeout=7.0, lost_after_seconds=30.0)
    data = TaskData(b"{}", "application/json", {"B": "task"}, timeout=5.0, trace=Trace("00-ab"))
    [task] = await one.create(data=data)
    agent = await one.connect()
    await one.place()
    [placement] = placed(agent)
    stored = await one.task(task.id)
    assert (placement.ref.token, placement.ref.instance_id, placement.attempt) == (1, stored.instance_id, 1)
    assert placement.environment == {"A": "job", "B": "task"}
    assert (placement.parameters, placement.parameters_type) == (b"{}", "application/json")
    assert (placement.timeout, placement.lease, placement.trace.traceparent) == (5.0, 30.0, "00-ab")
    assert (placement.job_name, placement.job_revision, placement.namespace_id) == ("hello", 1, "default")


async def test_work_that_an_agent_refuses_is_placed_again_at_no_cost(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    agent = await one.connect(free=1)
    await one.place()
    [first] = placed(agent)
    await one.results.release([first.ref])
    agent.free = 1
    await one.place()
    [second] = placed(agent)
    assert (second.ref.token, second.attempt) == (2, 1)
    stored = await one.task(task.id)
    assert (stored.stalled, stored.cause) == (0, Cause.MOVED)


async def test_work_for_an_agent_whose_stream_ended_meanwhile_waits_again(
    one: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.job()
    [task] = await one.create()
    agent = await one.connect()
    await one.placing.learn()
    write = one.engine.store.write

    async def write_and_lose_the_stream(*args: object) -> object:
        done: object = await write(*args)  # type: ignore[arg-type]  # handed through
        monkeypatch.undo()
        one.sessions.remove(agent)
        return done

    monkeypatch.setattr(one.engine.store, "write", write_and_lose_the_stream)
    assert await one.placing.place() == 0
    stored = await one.task(task.id)
    assert (stored.status, stored.stalled, stored.result_token) == (Status.PENDING, 0, 1)
    assert not placed(agent)


async def test_a_demand_that_came_into_sight_late_is_learnt_all_the_same(one: Replica) -> None:
    """Numbers are given before they are committed: 1 may be seen after 2."""
    await one.job("a")
    await one.job("b", labels={"x": "y"})
    [task] = await one.create("a")
    await one.placing.learn()
    one.placing._matches._demands.pop(task.requirement_id)
    await one.connect()
    assert await one.place() == 1


# --- rules


async def test_work_with_labels_does_not_go_to_an_agent_without_any(one: Replica) -> None:
    await one.job(labels={"gpu": "yes"})
    await one.create()
    bare = await one.connect("bare", labels={})
    assert await one.place() == 0
    assert not placed(bare)


async def test_required_rules_decide_who_may_run_it(one: Replica) -> None:
    rules = PlacementRules(
        required=(LabelRule("memory", Operator.GTE, ("16",)), LabelRule("spot", Operator.NOT_EXISTS))
    )
    await one.job(placement=rules)
    await one.create(count=9)
    for name, labels in (("small", {"memory": "8"}), ("spot", {"memory": "64", "spot": ""}), ("none", {})):
        await one.connect(name, labels=labels)
    right = await one.connect("right", labels={"memory": "128"}, free=3)
    assert await one.place() == 3
    assert len(placed(right)) == 3


async def test_preferred_agents_come_first_also_among_agents_that_run_different_work(one: Replica) -> None:
    await one.job("other", labels={"disk": "ssd"})
    await one.job(placement=PlacementRules(preferred=(LabelRule("zone", Operator.EQ, ("a",), 10),)))
    await one.create(count=5)
    near = await one.connect("near", labels={"zone": "a"}, free=2)
    near.running = 2
    far = await one.connect("far", labels={"disk": "ssd"}, free=4)
    assert await one.place() == 5
    assert (len(placed(near)), len(placed(far))) == (2, 3)


async def test_the_least_loaded_agent_gets_it_also_if_others_can_run_more_kinds_of_work(one: Replica) -> None:
    await one.job("other", labels={"disk": "ssd"})
    await one.job()
    await one.create(count=2)
    versatile, plain = await one.connect("a", labels={"disk": "ssd"}), await one.connect("b")
    versatile.running = 3
    assert await one.place() == 2
    assert (len(placed(versatile)), len(placed(plain))) == (0, 2)


async def test_agents_that_a_job_names_are_the_only_ones_that_run_it(one: Replica) -> None:
    await one.job(placement=PlacementRules(agents=("b", "c")))
    await one.create(count=20)
    agents = [await one.connect(name, slots=4) for name in "abc"]
    assert await one.place() == 8
    assert [len(placed(agent)) for agent in agents] == [0, 4, 4]


async def test_labels_changed_at_run_time_take_effect_on_the_next_placement(one: Replica) -> None:
    await one.job(labels={"gpu": "yes"})
    await one.create(count=2)
    agent = await one.connect(labels={"gpu": "no"}, free=1)
    assert await one.place() == 0
    await one.agents.relabel(agent.key, {"gpu": "yes"}, etag=None, request=None)
    assert await one.place() == 1
    agent.free = 1
    await one.agents.relabel(agent.key, {}, etag=None, request=None)
    assert await one.place() == 0


async def test_a_task_can_have_labels_of_its_own_and_other_ones_while_it_waits(one: Replica) -> None:
    await one.job(labels={"os": "linux"})
    [task] = await one.create(data=TaskData(labels={"zone": "a"}))
    here = await one.connect("here", labels={"os": "linux", "zone": "b"})
    assert await one.place() == 0
    edit = TaskEdit(task.priority, task.scheduled_at, TaskData(labels={"zone": "b"}))
    await one.tasks.update("default", task.id, lambda _: edit, etag=None, key=None)
    assert await one.place() == 1
    assert placed(here)[0].ref.task_id == task.id


async def test_a_planned_task_keeps_the_labels_that_it_was_given_meanwhile(one: Replica) -> None:
    await one.job()
    [task] = await one.create(scheduled_at=NOW + 10_000_000)
    edit = TaskEdit(task.priority, task.scheduled_at, TaskData(labels={"zone": "b"}))
    await one.tasks.update("default", task.id, lambda _: edit, etag=None, key=None)
    one.clock.move(10)
    await one.timers.fire()
    await one.connect("elsewhere")
    assert await one.place() == 0
    await one.connect("here", labels={"zone": "b"})
    assert await one.place() == 1


async def test_among_very_many_demands_only_those_that_something_waits_for_are_looked_at(one: Replica) -> None:
    for number in range(FEW_REQUIREMENTS + 3):
        await one.job(f"job-{number}", labels={"number": str(number)})
    await one.create("job-7", priority=1)
    await one.create("job-66", priority=2)
    agents = [await one.connect(number, labels={"number": number}) for number in ("7", "66", "5")]
    assert await one.place() == 2
    assert [[each.job_name for each in placed(agent)] for agent in agents] == [["job-7"], ["job-66"], []]


# --- keys


STICKY = PlacementRules(strategy=Strategy.STICKY, sticky_key="${tags.customer}")


async def test_tasks_with_the_same_key_go_to_the_same_agent(one: Replica) -> None:
    await one.job(placement=STICKY)
    agents = [await one.connect(name, slots=100) for name in "abcd"]
    for _ in range(3):
        for customer in range(12):
            await one.create(data=TaskData(tags={"customer": str(customer)}))
    assert await one.place() == 36
    for agent in agents:
        data = await one.engine.store.read(tasks.data_of, [each.ref.task_id for each in placed(agent)])
        counted = Counter(each.tags["customer"] for each in data.values())
        assert set(counted.values()) <= {3}
    assert sum(len(placed(agent)) for agent in agents) == 0


async def test_a_key_waits_for_its_agent_while_that_is_full_and_moves_when_it_goes(one: Replica) -> None:
    await one.job(placement=STICKY)
    agents = {name: await one.connect(name, free=1) for name in "ab"}
    await one.create(count=2, data=TaskData(tags={"customer": "7"}))
    assert await one.place() == 1
    [owner] = [agent for agent in agents.values() if placed(agent)]
    [other] = [agent for agent in agents.values() if agent is not owner]
    assert await one.place() == 0
    one.sessions.remove(owner)
    assert await one.place() == 1
    assert len(placed(other)) == 1


async def test_a_key_belongs_to_one_agent_of_all_replicas(postgres_url: str) -> None:
    clock = MovedClock()
    with ExitStack() as stack:
        replicas = [stack.enter_context(opened(postgres_url, clock, name)) for name in ("one", "two")]
        await replicas[0].job(placement=STICKY)
        agents = {
            f"{one.engine.replica_id}-{number}": await one.connect(f"{one.engine.replica_id}-{number}", slots=300)
            for one in replicas
            for number in range(2)
        }
        for _ in range(2):
            for customer in range(30):
                await replicas[0].create(data=TaskData(tags={"customer": str(customer)}))
            for one in replicas:
                await one.place()
        homes: dict[str, set[str]] = {}
        for name, agent in agents.items():
            data = await replicas[0].engine.store.read(tasks.data_of, [each.ref.task_id for each in placed(agent)])
            for each in data.values():
                homes.setdefault(each.tags["customer"], set()).add(name)
        assert len(homes) == 30
        assert all(len(found) == 1 for found in homes.values())
        assert len({next(iter(found)) for found in homes.values()}) == 4


# --- units


async def test_slots_and_resources_are_never_given_out_twice(one: Replica) -> None:
    await one.job("training", placement=PlacementRules(slots=2, resources={"gpu": 1}))
    await one.job("small")
    agent = await one.connect(slots=8, resources={"gpu": 2})
    agent.free_resources = {"gpu": 2}
    await one.create("training", count=5, priority=900)
    await one.create("small", count=10)
    assert await one.place() == 6
    assert Counter(each.job_name for each in placed(agent)) == {"training": 2, "small": 4}
    assert (agent.free, agent.free_resources, agent.running) == (0, {"gpu": 0}, 8)


async def test_large_work_that_comes_first_is_placed_although_small_work_never_ends(one: Replica) -> None:
    await one.job("large", placement=PlacementRules(slots=4))
    await one.job("small")
    agent = await one.connect(slots=4, free=1)
    agent.running = 3
    [large] = await one.create("large", priority=600)
    for _ in range(3):
        await one.create("small", count=5)
        assert await one.place() == 0
        agent.free, agent.running = agent.free + 1, agent.running - 1
    assert await one.place() == 1
    assert [each.ref.task_id for each in placed(agent)] == [large.id]


async def test_large_work_behind_what_never_ends_does_not_keep_small_work_waiting_for_ever(one: Replica) -> None:
    await one.job("large", placement=PlacementRules(slots=4))
    await one.job("small")
    agent = await one.connect(slots=4, free=3)
    agent.running = 1  # which never ends
    await one.create("large", priority=600)
    await one.create("small", count=5)
    assert await one.place() == 0
    one.clock.move(61)
    assert await one.place() == 3


async def test_an_agent_of_an_older_version_gets_no_work_that_takes_more_than_one_slot(one: Replica) -> None:
    await one.job("large", placement=PlacementRules(slots=2))
    await one.job("small")
    await one.create("large", priority=900)
    await one.create("small")
    older = await one.connect(counts_units=False)
    assert await one.place() == 1
    assert [each.job_name for each in placed(older)] == ["small"]


# --- several at once


async def test_two_replicas_place_every_task_exactly_once(postgres_url: str) -> None:
    clock = MovedClock()
    with ExitStack() as stack:
        replicas = [stack.enter_context(opened(postgres_url, clock, name)) for name in ("one", "two")]
        await replicas[0].job()
        made = await replicas[0].create(count=500)
        agents = [
            await one.connect(f"{one.engine.replica_id}-{number}", free=300, slots=300)
            for one in replicas
            for number in range(2)
        ]
        deadline = asyncio.get_running_loop().time() + 30
        total = 0
        while total < 500:
            assert asyncio.get_running_loop().time() < deadline
            # Small bites, so that the two meet often.
            for agent in agents:
                agent.free = 17
            total += sum(await asyncio.gather(*(one.place() for one in replicas)))
        counted = Counter(placement.ref.task_id for agent in agents for placement in placed(agent))
        assert counted == Counter(task.id for task in made)
        assert sum(await asyncio.gather(*(one.place() for one in replicas))) == 0


async def test_claims_cancels_edits_and_results_at_once_neither_deadlock_nor_lose_a_task(postgres_url: str) -> None:
    """Everybody at once on the same tasks: afterwards each row, ready row, timer and instance say the same."""
    clock = MovedClock()
    with ExitStack() as stack:
        replicas = [stack.enter_context(opened(postgres_url, clock, name)) for name in ("one", "two")]
        await replicas[0].job(max_retries=3, retry_interval=0.0, max_stalled=100)
        made = await replicas[0].create(count=60)
        agents = [(one, await one.connect(one.engine.replica_id, slots=100)) for one in replicas]
        rounds = 12

        async def places_and_finishes(number: int) -> None:
            one, agent = agents[number]
            for turn in range(rounds):
                agent.free = 20
                await one.place()
                await one.timers.fire()
                refs = [placement.ref for placement in placed(agent)]
                await asyncio.gather(*(one.start(ref) for ref in refs[::2]))
                await one.results.lose(refs[::3], "gone")
                ends = [(Status.SUCCEEDED, Status.FAILED)[(turn + index) % 3 > 0] for index in range(len(refs))]
                await one.report([(ref, end) for ref, end in zip(refs, ends, strict=True)][::-1])

        async def cancels_and_edits(number: int) -> None:
            one = replicas[number]
            for index, task in enumerate(made[number::2] * 2):
                if index % 3 == number:
                    await _tolerant(one.cancel(task.id))
                else:
                    await _tolerant(one.tasks.retry("default", task.id, by="ann", why="", key=None))

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(places_and_finishes(number))
                group.create_task(cancels_and_edits(number))
        tries = sum(one.engine.store.repeated for one in replicas)
        assert tries == 0, "transactions waited for each other in a circle"
        await _agree(replicas[0], [task.id for task in made])


async def _tolerant(work: Awaitable[object]) -> None:
    with suppress(IllegalTransition):
        await work


async def _agree(one: Replica, ids: list[str]) -> None:
    """Rows that belong together say the same."""

    def read(connection: Connection) -> None:
        waiting = set(connection.execute(sa.select(ready.c.task_id)).scalars())
        timed = set(connection.execute(sa.select(timer.c.task_id)).scalars())
        statement = sa.select(task_instance.c.task_id, task_instance.c.token)
        open_now = connection.execute(statement.where(task_instance.c.status.in_((5, 10))))
        placed_now = {(row.task_id, row.token) for row in open_now}
        assert not waiting & timed
        rows = connection.execute(sa.select(task).where(task.c.id.in_(ids))).all()
        assert len(rows) == len(ids)
        for row in rows:
            status = Status(row.status)
            assert (row.id in waiting) == (status is Status.PENDING), status
            assert (row.id in timed) == (status is Status.WAITING_RETRY), status
            assert ((row.id, row.token) in placed_now) == (status in (Status.DISPATCHED, Status.RUNNING)), status
        assert {task_id for task_id, _ in placed_now} <= set(ids)

    await one.engine.store.read(read)
