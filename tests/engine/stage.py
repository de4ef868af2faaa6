"""What tests of the middle act with: a clock that they move, engines over one database, agents in memory, jobs.

No test lives here, and nothing is faked but time and the wire: agents are the sessions that the link would make.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from controlplane.domain.job import JobConfig, JobSpec
from controlplane.domain.task import Status, Task
from controlplane.engine.actions import Actions
from controlplane.engine.agents import Agents, Arrival, Reconciliation
from controlplane.engine.context import Clock, Engine, Ids
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.placing import Placing
from controlplane.engine.reaping import Reaping
from controlplane.engine.results import Ref, Result, Results, Verdict
from controlplane.engine.revisions import Revisions
from controlplane.engine.sessions import (
    AssignWork,
    PauseWork,
    Placement,
    ResumeWork,
    Session,
    Sessions,
    StopWork,
)
from controlplane.engine.tasks import NewTask, Tasks, TaskView
from controlplane.engine.timers import Timers
from controlplane.store import Store
from controlplane.store.migrations import migrate
from controlplane.store.tasks import InstanceEnd

NOW = 1_764_547_200_000_000  # 2025-12-01, an instant with a partition of its own
SECOND = 1_000_000


class MovedClock(Clock):
    """Time stands still until a test moves it."""

    def __init__(self, at: int = NOW) -> None:
        super().__init__()
        self.at = at

    def now(self) -> int:
        """Where the test has put it."""
        return self.at

    def move(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.at += round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class Replica:
    """One control plane's use cases."""

    engine: Engine
    clock: MovedClock
    sessions: Sessions
    tasks: Tasks
    jobs: Jobs
    results: Results
    placing: Placing
    agents: Agents
    timers: Timers
    reaping: Reaping
    stopped: list[str]

    def actions(self) -> Actions:
        """What people do to tasks."""
        return Actions(self.engine, self.tasks, self.sessions.hold)

    async def job(self, name: str = "hello", **config: Any) -> str:
        """The id of a new job with these settings."""
        spec = JobSpec("", {}, JobConfig(cmd="true", **config))
        return (await self.jobs.create("default", JobDraft(name, spec), None)).id

    async def create(self, job: str = "hello", count: int = 1, **fields: Any) -> list[Task]:
        """New tasks of a job, in one transaction."""
        made = await self.engine.store.write(
            self.tasks.insert_many, [NewTask("default", job, **fields) for _ in range(count)]
        )
        return [view.task for view in map(_made, made)]

    async def task(self, task_id: str) -> Task:
        """The task as it is stored."""
        return (await self.tasks.get("default", task_id)).task

    async def place(self) -> int:
        """Place with every demand that is stored, whoever stored what waits."""
        await self.placing.learn()
        self.engine.backlog.forget()
        return await self.placing.place()

    async def connect(self, name: str = "agent", *, free: int | None = None, **changes: Any) -> Session:
        """An agent that said hello and has room."""
        session, _ = await self.greet(arrival(name, **changes))
        session.free = session.slots if free is None else free
        return session

    async def greet(self, hello: Arrival) -> tuple[Session, Reconciliation]:
        """A hello, and the answer."""
        return await self.agents.arrive(hello)

    async def finish(self, ref: Ref, status: Status = Status.SUCCEEDED, **fields: Any) -> Verdict:
        """What becomes of a result that an agent sends now."""
        [verdict] = await self.report([(ref, status)], **fields)
        return verdict

    async def report(self, ends: Sequence[tuple[Ref, Status]], **fields: Any) -> list[Verdict]:
        """What becomes of results that arrive together."""
        results = [Result(ref, InstanceEnd(status, self.clock.now(), **fields)) for ref, status in ends]
        return [_verdict(one) for one in await self.engine.store.write(self.results.finish_many, results)]

    async def start(self, ref: Ref) -> bool:
        """What becomes of a start that an agent reports now."""
        [told] = await self.engine.store.write(self.results.start_many, [(ref, self.clock.now())])
        assert isinstance(told, bool)
        return told

    async def cancel(self, task_id: str, why: str = "") -> TaskView:
        """Somebody asks to cancel it."""
        return await self.tasks.cancel("default", task_id, by="ann", why=why, key=None)


def _made(outcome: TaskView | Exception) -> TaskView:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _verdict(outcome: Verdict | Exception) -> Verdict:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def replica(store: Store, clock: MovedClock, name: str = "one") -> Replica:
    """The use cases over an open store, as the wiring joins them."""
    engine = Engine(store=store, clock=clock, new_id=Ids(clock), replica_id=name)
    sessions, revisions, stopped = Sessions(), Revisions(), list[str]()
    results = Results(engine, revisions)
    placing = Placing(engine, sessions, results, revisions)
    tasks = Tasks(engine, lambda task, _why: stopped.append(task.id), placing.place_new)
    return Replica(
        engine=engine,
        clock=clock,
        sessions=sessions,
        tasks=tasks,
        jobs=Jobs(engine, tasks),
        results=results,
        placing=placing,
        agents=Agents(engine, sessions, results),
        timers=Timers(engine, revisions),
        reaping=Reaping(engine, sessions, results),
        stopped=stopped,
    )


@contextmanager
def opened(url: str, clock: MovedClock | None = None, name: str = "one") -> Iterator[Replica]:
    """A replica over a database, which is brought to the newest schema."""
    store = Store(url)
    store.open()
    try:
        time = clock or MovedClock()
        migrate(store, time.now())
        yield replica(store, time, name)
    finally:
        store.close()


@asynccontextmanager
async def committing(*committers: Any) -> AsyncIterator[None]:
    """Committers that run, and end with what they were given."""
    async with asyncio.TaskGroup() as group:
        for one in committers:
            group.create_task(one.run())
        try:
            yield
        finally:
            for one in committers:
                one.close()


def arrival(name: str = "agent", **changes: Any) -> Arrival:
    """A hello with nothing running."""
    hello = Arrival(
        key=("default", name),
        state_id=f"folder of {name}",
        generation=1,
        labels={},
        serves=("default",),
        executors=[{"name": "process", "abi": ""}],
        slots=4,
        hostname=f"host of {name}",
        agent_version="1",
        protocol_version=1,
        running=(),
        finished=(),
    )
    return replace(hello, **changes)


def placed(session: Session) -> Sequence[Placement]:
    """What the agent was told to run, in order; told once."""
    messages = list(session.outbox)
    session.outbox.clear()
    return [one for message in messages if isinstance(message, AssignWork) for one in message.placements]


PAUSING = [{"name": "process", "abi": 0, "can_pause": True}]
"""What an agent says that can hold still what it runs."""


def held(session: Session) -> list[tuple[str, list[Ref]]]:
    """What the agent was told to hold still and to let go on, in order; told once."""
    messages = list(session.outbox)
    session.outbox.clear()
    kinds: dict[type, str] = {PauseWork: "pause", ResumeWork: "resume"}
    return [
        (kinds[type(message)], list(message.refs))
        for message in messages
        if isinstance(message, PauseWork | ResumeWork)
    ]


def stopped(session: Session) -> list[Ref]:
    """What the agent was told to stop; told once."""
    messages = list(session.outbox)
    session.outbox.clear()
    return [ref for message in messages if isinstance(message, StopWork) for ref, _ in message.refs]
