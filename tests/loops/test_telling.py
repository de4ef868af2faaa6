"""Two replicas on one PostgreSQL: what one stores the other hears of, without its sweep."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import msgspec
import psycopg
import pytest

from controlplane.domain.task import Status
from controlplane.engine.backlog import READY_HINT
from controlplane.engine.glances import Glances
from controlplane.engine.replicas import ASKED_HINT, Word
from controlplane.engine.results import Result
from controlplane.engine.schedules import HINT as SCHEDULES_HINT
from controlplane.engine.system import Pulse
from controlplane.loops.dispatcher import Dispatcher
from controlplane.loops.rounds import go_round
from controlplane.loops.telling import tell_others
from controlplane.store.notices import CHANNEL
from controlplane.store.tasks import InstanceEnd
from controlplane.store.wakeup import wait
from tests.engine.stage import MovedClock, Replica, committing, opened, placed
from tests.postgres import Postgres

LONG = 20.0
LINES = "application_name = 'pawl notices' AND datname = current_database()"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replicas that hear each other. The second has an agent, somebody watches at the first."""

    first: Replica
    second: Replica
    url: str


async def until(fact: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(LONG):
        while not fact():  # noqa: ASYNC110 - facts of another replica have no event
            await asyncio.sleep(0.01)


def hears_with_its_loop(one: Replica) -> None:
    """As the wiring joins them."""
    loop = asyncio.get_running_loop()
    one.engine.backlog.tell = partial(loop.call_soon_threadsafe, one.engine.wakeups.hint)
    one.engine.replicas.agents = one.sessions.__len__


@asynccontextmanager
async def telling(*replicas: Replica) -> AsyncIterator[None]:
    """Each sits at its line, and all know each other."""
    async with asyncio.TaskGroup() as group:
        lines = []
        for one in replicas:
            hears_with_its_loop(one)
            lines.append(group.create_task(tell_others(one.engine, first_pause=0.05)))
        await until(lambda: all(len(one.engine.replicas) == len(replicas) - 1 for one in replicas))
        try:
            yield
        finally:
            for line in lines:
                line.cancel()


@pytest.fixture
async def pair(postgres: Postgres, migrated: str) -> AsyncIterator[Pair]:
    with ExitStack() as stack:
        url = postgres.url(stack.enter_context(postgres.database(migrated)))
        clock = MovedClock()
        first, second = (stack.enter_context(opened(url, clock, name)) for name in ("first", "second"))
        await first.job()
        await second.connect()
        await second.placing.learn()
        assert await second.placing.place() == 0  # from now on it knows that nothing waits
        first.engine.replicas.watched()
        async with telling(first, second):
            await until(lambda: first.engine.replicas.agents_elsewhere and second.engine.replicas.watched_elsewhere)
            yield Pair(first, second, url)


async def test_what_one_replica_stores_is_placed_by_the_other_without_a_sweep(pair: Pair) -> None:
    with pair.second.engine.wakeups.listen(READY_HINT) as ready:
        [task] = await pair.first.create()
        assert await wait(ready, LONG)
    assert await pair.second.placing.place() == 1
    [session] = pair.second.sessions
    assert [one.ref.task_id for one in placed(session)] == [task.id]


async def test_a_watcher_at_one_replica_hears_of_the_end_at_the_other(pair: Pair) -> None:
    [task] = await pair.first.create()
    assert await pair.second.place() == 1
    [session] = pair.second.sessions
    [placement] = placed(session)
    with pair.first.engine.wakeups.listen(f"task:{task.id}") as changed:
        async with committing(pair.second.results.finishing):
            end = InstanceEnd(Status.SUCCEEDED, pair.second.clock.now())
            await pair.second.results.finishing.submit(Result(placement.ref, end))
            async with asyncio.timeout(LONG):
                while (await pair.first.task(task.id)).status is not Status.SUCCEEDED:
                    changed.clear()
                    assert await wait(changed, LONG), "nobody said so"


async def test_what_an_operator_asks_of_an_agent_reaches_it_through_any_replica(pair: Pair) -> None:
    [session] = pair.second.sessions
    dispatcher = Dispatcher(
        pair.second.placing, pair.second.agents, pair.second.engine.replicas, Glances(pair.second.engine)
    )
    await dispatcher.turn()
    with pair.second.engine.wakeups.listen(ASKED_HINT) as asked:
        await pair.first.agents.drain(session.key, request=None)
        assert await wait(asked, LONG)
    async with asyncio.TaskGroup() as group:
        hints = (ASKED_HINT,)
        loop = group.create_task(go_round(pair.second.engine, Pulse("dispatcher"), dispatcher.turn, hints=hints))
        await until(lambda: session.draining)
        loop.cancel()
    assert not pair.second.engine.replicas.asked


async def test_what_was_heard_is_not_said_again(pair: Pair) -> None:
    with psycopg.connect(pair.url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        with pair.second.engine.wakeups.listen(READY_HINT) as ready:
            await pair.first.create(count=3)
            assert await wait(ready, LONG)
        with pair.second.engine.wakeups.listen(SCHEDULES_HINT) as changed:
            pair.first.engine.wakeups.hint(SCHEDULES_HINT)
            assert await wait(changed, LONG)
        with pair.first.engine.wakeups.listen("task:x") as heard:
            pair.second.engine.wakeups.hint("task:x")
            assert await wait(heard, LONG)
        words = []
        for notice in connection.notifies(timeout=LONG):
            words.append(msgspec.json.decode(notice.payload, type=Word))
            if "task:x" in words[-1].keys:
                break
    [second] = {word.speaker for word in words if "task:x" in word.keys}
    assert sum(word.stored for word in words) == 1
    assert [word.keys for word in words if word.speaker == second and word.keys] == [["task:x"]]
    assert [word.keys for word in words if word.speaker != second and word.keys] == [[SCHEDULES_HINT]]


async def test_a_line_that_breaks_is_opened_again(pair: Pair) -> None:
    with psycopg.connect(pair.url, autocommit=True) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LINES}").fetchall()
        assert len(ended) == 2
        first, second = pair.first.engine.replicas, pair.second.engine.replicas
        await until(lambda: len(first) == 0 or len(second) == 0)
        await until(lambda: len(first) == 1 and len(second) == 1 and first.agents_elsewhere)
        [count] = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {LINES}").fetchone() or [0]
        assert count == 2
    with pair.second.engine.wakeups.listen(READY_HINT) as ready:
        await pair.first.create()
        assert await wait(ready, LONG)


async def test_a_replica_that_stops_says_so_and_is_told_nothing_more(pair: Pair) -> None:
    with opened(pair.url, name="third") as third:
        hears_with_its_loop(third)
        async with asyncio.TaskGroup() as group:
            line = group.create_task(tell_others(third.engine))
            await until(lambda: len(pair.first.engine.replicas) == 2)
            line.cancel()
        await until(lambda: len(pair.first.engine.replicas) == 1)


async def test_a_database_that_stops_in_the_middle_of_a_word_does_not_keep_a_replica_from_stopping(pair: Pair) -> None:
    with psycopg.connect(pair.url, autocommit=True) as connection, opened(pair.url, name="third") as third:
        lines = f"SELECT pid FROM pg_stat_activity WHERE {LINES}"
        others = set(connection.execute(lines).fetchall())
        hears_with_its_loop(third)
        async with asyncio.TaskGroup() as group:
            line = group.create_task(tell_others(third.engine))
            await until(lambda: len(third.engine.replicas) == 2)
            [(process,)] = set(connection.execute(lines).fetchall()) - others
            os.kill(process, signal.SIGSTOP)
            try:
                third.engine.wakeups.hint(SCHEDULES_HINT)
                await until(lambda: not third.engine.replicas.due.is_set())
                line.cancel()
                async with asyncio.timeout(LONG):
                    await asyncio.wait([line])
            finally:
                os.kill(process, signal.SIGCONT)


async def test_strangers_on_the_channel_do_no_harm(pair: Pair) -> None:
    with psycopg.connect(pair.url, autocommit=True) as connection:
        connection.execute("SELECT pg_notify(%s, 'no word')", (CHANNEL,))
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, '{"speaker":"x","stored":true,"demands":[999999]}'))
    await until(lambda: len(pair.second.engine.replicas) == 2)
    assert await pair.second.placing.place() == 0
    statements = pair.second.engine.store.measures.statements.labels("read")._value.get()
    pair.second.engine.backlog.forget()
    assert await pair.second.placing.place() == 0
    read = pair.second.engine.store.measures.statements.labels("read")._value.get()
    assert read == statements, "a demand that there is not is looked for again and again"
