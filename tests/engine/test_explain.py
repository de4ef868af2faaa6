"""Why a task does not move: the answer names the obstacle that is there."""

from collections.abc import Iterator

import pytest

from controlplane.engine.explain import Explain
from controlplane.engine.placing import Placing
from controlplane.engine.revisions import Revisions
from tests.engine.stage import Replica, opened


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
