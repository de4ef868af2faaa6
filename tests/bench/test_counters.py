"""What a batch of tasks costs the database and the stream, step by step: counted, so that it is the same everywhere.

Who makes one smaller writes it down here; who makes one grow by a twentieth has to say why. Times are the bench's.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass

import pytest

from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.task import Status
from controlplane.engine.sessions import AssignWork, Placement, Session
from controlplane.engine.tasks import NewTask
from controlplane.store import Store
from tests.engine.stage import Replica, committing, opened, placed

BATCH = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step of a batch."""

    commits: int
    statements: int
    messages: int = 0

    def exceeds(self, most: "Cost") -> bool:
        """One more is more than a twentieth of any of these."""
        return self.commits > most.commits or self.statements > most.statements or self.messages > most.messages


MOST = {
    "created": Cost(commits=1, statements=6),
    "placed": Cost(commits=1, statements=7, messages=1),
    "finished": Cost(commits=1, statements=3),
    "created and placed": Cost(commits=1, statements=6, messages=1),
}

numbers = itertools.count()


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


class Steps:
    """A batch's life on one agent."""

    def __init__(self, one: Replica, session: Session) -> None:
        self._one = one
        self._session = session
        self._placed: list[Placement] = []

    async def created(self) -> int:
        """As the SDK creates tasks: each with a request id."""
        self._session.free = 0
        made = await self._one.engine.store.write(self._one.tasks.insert_many, new_tasks())
        assert len([view for view in made if not isinstance(view, Exception)]) == BATCH
        return 0

    async def placed(self) -> int:
        """On an agent with room for all of them; gives the messages that it takes."""
        self._session.free = BATCH
        assert await self._one.place()
        return self._taken()

    async def created_and_placed(self) -> int:
        """While nothing waits and the agent has room for all of them."""
        self._session.free = BATCH
        async with committing(self._one.tasks.creating):
            await asyncio.gather(*map(self._one.tasks.create, new_tasks()))
        return self._taken()

    def _taken(self) -> int:
        messages = sum(isinstance(message, AssignWork) for message in self._session.outbox)
        self._placed = list(placed(self._session))
        assert len(self._placed) == BATCH
        return messages

    async def finished(self) -> int:
        """All at once."""
        await self._one.report([(one.ref, Status.SUCCEEDED) for one in self._placed])
        return 0


def new_tasks() -> list[NewTask]:
    keys = [IdempotencyKey("default", "create", f"r-{next(numbers)}", bytes(16)) for _ in range(BATCH)]
    return [NewTask("default", "hello", key=key) for key in keys]


async def test_a_batch_of_tasks_costs_no_more_commits_statements_and_messages_than_it_did(one: Replica) -> None:
    await one.job()
    session = await one.connect(slots=BATCH)
    await one.create()
    await one.place()
    [first] = placed(session)
    await one.finish(first.ref)  # what is learnt once is known now
    steps = Steps(one, session)
    in_turn = {"created": steps.created, "placed": steps.placed, "finished": steps.finished}
    found = {name: await cost_of(one.engine.store, step) for name, step in in_turn.items()}
    session.free = BATCH
    assert not await one.place()  # nothing waits, and that is known
    found["created and placed"] = await cost_of(one.engine.store, steps.created_and_placed)
    assert not {name: cost for name, cost in found.items() if cost.exceeds(MOST[name])}


async def cost_of(store: Store, step: Callable[[], Coroutine[None, None, int]]) -> Cost:
    before = counted(store)
    messages = await step()
    commits, statements = (now - then for now, then in zip(counted(store), before, strict=True))
    return Cost(commits, statements, messages)


def counted(store: Store) -> tuple[int, int]:
    """Writing transactions and writing statements so far."""
    [commits] = store.measures.commit.collect()
    [statements] = store.measures.statements.collect()
    return (
        next(round(one.value) for one in commits.samples if one.name.endswith("_count")),
        next(round(one.value) for one in statements.samples if one.labels.get("use") == "write"),
    )
