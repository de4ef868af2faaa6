"""Why a task does not move: the answer names the obstacle that is there."""

from collections.abc import Iterator

import pytest

from controlplane.domain.placement import LabelRule, Operator, PlacementRules, Strategy
from controlplane.engine.explain import Explain
from controlplane.engine.placing import Placing
from controlplane.engine.revisions import Revisions
from tests.engine.stage import MovedClock, Replica, opened, placed


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


async def why(one: Replica, task_id: str, placing: Placing | None = None) -> tuple[str, str]:
    explain = Explain(one.engine, one.tasks, placing or one.placing, one.sessions, one.agents)
    found = await explain.task("default", task_id)
    return found.reason, found.message


async def test_a_pending_task_names_what_it_lacks(one: Replica) -> None:
    await one.job("plain")
    await one.job("picky", labels={"gpu": "yes"})
    [plain], [picky] = await one.create("plain"), await one.create("picky")
    assert (await why(one, plain.id))[0] == "NO_AGENT"
    agent = await one.connect("a", free=0)
    assert (await why(one, plain.id))[0] == "NO_FREE_SLOTS"
    assert await why(one, picky.id) == (
        "NO_MATCHING_LABELS",
        "no connected agent has all its labels; the nearest, 'a', lacks gpu=yes",
    )
    agent.free = 1
    assert (await why(one, plain.id))[0] == "ABOUT_TO_START"
    assert await one.place() == 1
    assert (await why(one, plain.id))[0] == "ON_AGENT"


async def test_a_task_that_the_servers_own_cap_holds_back_is_not_about_to_start(one: Replica) -> None:
    await one.job()
    first, second = await one.create(count=2)
    await one.connect("a", free=2)
    capped = Placing(one.engine, one.sessions, one.results, Revisions(), cap=1)
    await capped.learn()
    assert await capped.place() == 1
    waiting = first if (await one.task(second.id)).agent_id else second
    assert await why(one, waiting.id, capped) == (
        "NO_FREE_SLOTS",
        "agents have room, but [scheduler] max_concurrent_tasks = 1 is reached",
    )


async def test_a_task_for_later_says_when(one: Replica) -> None:
    await one.job()
    [later] = await one.create(scheduled_at=one.clock.now() + 60_000_000)
    assert (await why(one, later.id))[0] == "SCHEDULED_FOR_LATER"


async def test_the_nearest_agent_is_named_with_what_the_rules_want_of_it(one: Replica) -> None:
    rules = PlacementRules(
        required=(LabelRule("memory", Operator.GTE, ("16",)), LabelRule("spot", Operator.NOT_EXISTS))
    )
    await one.job(labels={"gpu": "yes"}, placement=rules)
    [task] = await one.create()
    await one.connect("far", labels={"spot": "1"})
    await one.connect("near", labels={"memory": "8", "gpu": "yes"})
    assert await why(one, task.id) == (
        "NO_MATCHING_LABELS",
        "no connected agent has all its labels; the nearest, 'near', lacks memory >= 16",
    )


async def test_what_is_too_large_for_all_is_told_from_what_is_too_large_just_now(one: Replica) -> None:
    await one.job(placement=PlacementRules(slots=2, resources={"gpu": 2}))
    [task] = await one.create()
    small = await one.connect("small", slots=8, resources={"gpu": 1})
    small.free_resources = {"gpu": 1}
    assert await why(one, task.id) == (
        "TOO_LARGE",
        "it needs 2 gpu, more than any agent with its labels has; the nearest is 'small'",
    )
    large = await one.connect("large", slots=8, resources={"gpu": 2}, free=1)
    large.free_resources = {"gpu": 2}
    assert await why(one, task.id) == (
        "NO_FREE_RESOURCES",
        "it needs 2 slots, and no agent that matches has as much free; the nearest is 'large'",
    )
    large.free = 2
    assert (await why(one, task.id))[0] == "ABOUT_TO_START"


async def test_a_cap_that_is_reached_is_named(one: Replica) -> None:
    await one.job(max_running=1)
    made = await one.create(count=2)
    agent = await one.connect(free=4)
    assert await one.place() == 1
    [on_agent] = [each.ref.task_id for each in placed(agent)]
    [waiting] = [each.id for each in made if each.id != on_agent]
    assert await why(one, waiting) == (
        "MAX_RUNNING_REACHED",
        "job 'hello' has as many tasks on agents as its max_running allows: 1",
    )


async def test_agents_that_a_job_names_and_that_are_not_there_are_named(one: Replica) -> None:
    await one.job(placement=PlacementRules(agents=("x", "y")))
    [task] = await one.create()
    await one.connect("z")
    assert await why(one, task.id) == ("NO_AGENT", "none of the agents that it names is connected: x, y")


async def test_a_task_whose_agent_is_full_says_that_it_waits_for_that_one(one: Replica) -> None:
    await one.job(placement=PlacementRules(strategy=Strategy.STICKY))
    [task] = await one.create()
    agents = [await one.connect(name, free=0) for name in "ab"]
    reason, message = await why(one, task.id)
    assert reason == "WAITING_FOR_STICKY_AGENT"
    [owner] = [agent for agent in agents if repr(agent.key[1]) in message]
    owner.free = 1
    assert (await why(one, task.id))[0] == "ABOUT_TO_START"
    assert await one.place() == 1


async def test_agents_of_other_replicas_count_too(postgres_url: str) -> None:
    clock = MovedClock()
    with opened(postgres_url, clock, "one") as one, opened(postgres_url, clock, "two") as two:
        await one.job(labels={"gpu": "yes"})
        [task] = await one.create()
        agent = await two.connect("there", labels={})
        assert "the nearest, 'there', lacks gpu=yes" in (await why(one, task.id))[1]
        await two.agents.relabel(agent.key, {"gpu": "yes"}, etag=None, request=None)
        assert (await why(one, task.id))[0] == "ABOUT_TO_START"


async def test_a_task_behind_large_work_that_holds_the_room_is_not_about_to_start(one: Replica) -> None:
    await one.job("large", placement=PlacementRules(slots=4))
    await one.job("small")
    agent = await one.connect("a", slots=4, free=3)
    agent.running = 1  # which never ends
    await one.create("large", priority=600)
    [small] = await one.create("small")
    assert await one.place() == 0
    assert await why(one, small.id) == (
        "NO_FREE_SLOTS",
        "agent 'a' has room, but keeps it for larger work that comes before this and does not fit yet",
    )
    one.clock.move(61)  # its turn of holding is over
    assert await one.place() == 1
    assert (await why(one, small.id))[0] == "ON_AGENT"


async def test_a_task_that_only_a_draining_agent_may_run_names_it(one: Replica) -> None:
    await one.job("picky", labels={"gpu": "yes"})
    [picky] = await one.create("picky")
    await one.connect("plain")
    leaving = await one.connect("leaving", labels={"gpu": "yes"})
    leaving.draining = True
    assert await why(one, picky.id) == (
        "NO_AGENT",
        "agent 'leaving' matches, but is draining: it takes nothing new until it is started anew",
    )
