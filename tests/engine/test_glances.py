"""What a glance shows of everything that sweeps look for, and that all who come in one moment share one."""

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.task import Status
from controlplane.engine.actions import Action
from controlplane.engine.agents import Agents
from controlplane.engine.glances import TOGETHER_SECONDS, Glances
from controlplane.engine.sessions import Sessions
from controlplane.store import agents, glance, leases, restored, tables
from controlplane.store.agents import AgentStatus
from controlplane.store.glance import Glance
from controlplane.store.tasks import TaskData
from tests.engine.stage import PAUSING, SECOND, Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """A control plane without loops."""
    with opened(migrated_url) as replica:
        yield replica


def _do(connection: Connection, statement: sa.Executable) -> None:
    connection.execute(statement)


async def look(one: Replica) -> Glance:
    """A glance of its own."""
    return await one.engine.store.read(glance.look, one.engine.replica_id)


async def test_where_nothing_is_a_glance_sees_nothing(one: Replica) -> None:
    seen = await look(one)
    assert (seen.slot, seen.due, seen.quiet_since, seen.agents, seen.demands, seen.leases) == (
        None, None, None, (0, 0), (0, 0), {},
    )  # fmt: skip
    assert not any((seen.closing, seen.placed, seen.cancelling, seen.paused, seen.waiting))


async def test_a_glance_sees_when_a_timer_a_wait_and_a_total_time_are_over(one: Replica) -> None:
    await one.job()
    now = one.clock.now()
    await one.create(scheduled_at=now + 50 * SECOND)
    seen = await look(one)
    assert (seen.timer, seen.due, seen.waiting) == (now + 50 * SECOND, now + 50 * SECOND, False)
    await one.job("soon", schedule_to_start_timeout_seconds=40.0)
    await one.create("soon")
    seen = await look(one)
    assert (seen.start_by, seen.due, seen.waiting) == (now + 40 * SECOND, now + 40 * SECOND, True)
    await one.job("all", total_timeout_seconds=30.0)
    await one.create("all")
    assert (await look(one)).due == now + 30 * SECOND


async def test_a_glance_sees_agents_what_they_have_and_what_is_asked_of_it(one: Replica) -> None:
    await one.job()
    first, second = await one.create(count=2)
    session = await one.connect(executors=PAUSING)
    seen = await look(one)
    assert (seen.agents, seen.quiet_since) == ((1, session.version), one.clock.now())
    assert not seen.placed
    assert await one.place() == 2
    seen = await look(one)
    assert (seen.placed, seen.cancelling, seen.paused, seen.waiting) == (True, False, False, False)
    await one.cancel(first.id)
    assert (await look(one)).cancelling
    refs = {placement.ref.task_id: placement.ref for placement in placed(session)}
    await one.start(refs[second.id])
    await one.actions().act("default", second.id, Action.PAUSE, by="ann", why="", key=None)
    assert (await look(one)).paused
    await one.finish(refs[first.id], Status.CANCELLED)
    seen = await look(one)
    assert (seen.placed, seen.cancelling) == (True, False)


async def test_a_glance_sees_demands_caps_leases_and_that_the_database_was_put_back(one: Replica) -> None:
    await one.job()
    await one.create()
    before = await look(one)
    assert before.demands[1] == 1
    await one.create(data=TaskData(labels={"zone": "a"}))
    later = await look(one)
    assert (later.demands[1], later.demands[0] > before.demands[0]) == (2, True)
    now = one.clock.now()
    changed = tables.namespace.update().values(max_running=3, updated_at=now + 1)
    await one.engine.store.write(_do, changed)
    assert (await look(one)).caps == (1, now + 1)
    await one.engine.store.write(restored.note, now)
    assert (await look(one)).restored == now
    await one.engine.store.write(leases.take, "loop", "it's me", now, 3.0)
    seen = await look(one)
    assert seen.leases == {"loop": glance.Lease("it's me", now + 3 * SECOND)}


async def test_a_demand_that_is_committed_after_one_with_a_higher_number_is_news(one: Replica) -> None:
    row = {"namespace_id": "default", "spec": '{"executor":"process","labels":{}}', "touched_at": 0}

    async def store(number: int) -> None:
        new = tables.requirement.insert().values(id=number, digest=str(number), **row)
        await one.engine.store.write(_do, new)

    await store(1_000)
    seen = await look(one)
    one.placing.note(seen)
    assert not one.placing.is_news(seen)
    await store(999)
    assert one.placing.is_news(await look(one))


async def test_what_another_replica_changes_about_an_agent_is_seen_by_a_glance(one: Replica) -> None:
    assert not one.agents.may_differ(await look(one)), "nobody is connected who could be told"
    session = await one.connect()
    assert not one.agents.may_differ(await look(one))
    elsewhere = Agents(one.engine, Sessions(), one.results)
    await elsewhere.drain(session.key, request=None)
    assert one.agents.may_differ(await look(one))
    await one.agents.refresh()
    assert session.draining
    assert not one.agents.may_differ(await look(one))
    await one.engine.store.write(agents.delete, session.key)
    assert one.agents.may_differ(await look(one))


async def test_signs_of_life_are_no_change(one: Replica) -> None:
    session = await one.connect()
    one.clock.move(5)
    beat = (session.key, session.session_id, one.clock.now(), {"cpu_fraction": 0.5})
    await one.engine.store.write(agents.beat_many, [beat])
    seen = await look(one)
    assert seen.quiet_since == one.clock.now()
    assert not one.agents.may_differ(seen)


async def test_an_agent_that_lost_its_stream_counts_for_silence_and_not_among_the_connected(one: Replica) -> None:
    session = await one.connect()
    await one.agents.leave(session, on_purpose=False)
    seen = await look(one)
    assert (seen.agents, seen.quiet_since) == ((0, 0), one.clock.now())
    stored = await one.agents.get(session.key)
    assert stored.agent.status is AgentStatus.DISCONNECTED


async def test_the_reaper_has_to_do_while_something_is_placed_or_an_agent_is_silent(one: Replica) -> None:
    assert one.reaping.due(await look(one)) is None
    await one.connect()
    assert one.reaping.due(await look(one)) is None
    one.clock.move(16)
    assert one.reaping.due(await look(one)) == 0.0
    await one.connect("other")
    await one.job()
    await one.create()
    await one.place()
    assert one.reaping.due(await look(one)) == 0.0


async def test_who_comes_in_one_moment_shares_one_look_and_who_comes_later_has_another(one: Replica) -> None:
    asked = one.engine.store.measures.statements.labels("read")
    glances, before = Glances(one.engine), asked._value.get()
    first, *others = await asyncio.gather(*(glances.look() for _ in range(5)))
    alone = asked._value.get() - before
    assert all(other is first for other in others)
    await asyncio.sleep(2 * TOGETHER_SECONDS)
    assert await glances.look() is not first
    assert asked._value.get() - before == 2 * alone


async def test_nothing_waits_is_only_believed_of_a_look_since_which_nothing_was_stored(one: Replica) -> None:
    await one.job()
    mark = one.engine.backlog.mark()
    seen = await look(one)
    await one.create()
    one.placing.see_waiting(seen, mark)
    assert not one.engine.backlog.empty
