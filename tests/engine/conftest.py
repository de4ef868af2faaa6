"""An engine over an empty database that has the newest schema."""

from collections.abc import Iterator

import pytest

from controlplane.engine.context import Clock, Engine, Ids
from controlplane.engine.jobs import Jobs
from controlplane.engine.tasks import Tasks
from controlplane.store import Store
from controlplane.store.migrations import migrate


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The tools of the use cases, on each kind of database."""
    store = Store(database_url)
    store.open()
    clock = Clock()
    migrate(store, clock.now())
    yield Engine(store=store, clock=clock, new_id=Ids(clock), replica_id="test")
    store.close()


@pytest.fixture
def stopped() -> list[str]:
    """Ids of tasks whose agents were told to stop them."""
    return []


@pytest.fixture
def tasks(engine: Engine, stopped: list[str]) -> Tasks:
    """The use cases of tasks; what agents would be told is written down."""
    return Tasks(engine, lambda task, _why: stopped.append(task.id))


@pytest.fixture
def jobs(engine: Engine, tasks: Tasks) -> Jobs:
    """The use cases of jobs."""
    return Jobs(engine, tasks)
