"""Tasks as people and schedules ask for them: create, cancel, retry, edit, delete, read.

Each use case is load → decide (`domain.task`) → save, in one transaction. What agents report stands in `results.py`,
how tasks find agents in `placing.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from controlplane.domain.errors import IllegalTransition, NotFound, PawlError
from controlplane.domain.etag import check_etag
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.job import Job, JobConfig, JobStatus
from controlplane.domain.task import (
    Cancel,
    RequestCancel,
    Restart,
    RetryNow,
    Status,
    Step,
    Task,
    apply,
    create,
    edit,
    end_by,
)
from controlplane.engine import lists
from controlplane.engine.backlog import TIMERS_HINT
from controlplane.engine.context import Engine
from controlplane.engine.demands import Demands
from controlplane.engine.idempotency import encode_refusal, once, raise_refusal
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASKS
from controlplane.store import Connection, Row, idempotency, jobs, tasks
from controlplane.store.arrivals import look_up
from controlplane.store.committer import Committer
from controlplane.store.query import Page
from controlplane.store.tasks import TaskData, Terms

CANCELLED_AT_ONCE = 500  # rows of one statement
CANCELLED_WHOLE = 2_000  # tasks that end with their job in one transaction: half a second


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a wait for an agent, and all of a task, may last. None: what the job says."""

    start_seconds: float | None = None
    total_seconds: float | None = None

    def within(self, config: JobConfig) -> tuple[int | None, int | None]:
        """Both in microseconds, the job's in place of what is unset."""
        start = config.schedule_to_start_timeout_seconds if self.start_seconds is None else self.start_seconds
        total = config.total_timeout_seconds if self.total_seconds is None else self.total_seconds
        return _micros(start), _micros(total)


def _micros(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


class NewTask(Struct, frozen=True):
    """A task to be made. `job` is an id or a name; None means: what the job says, or now."""

    namespace_id: str
    job: str
    data: TaskData = TaskData()
    priority: int | None = None
    scheduled_at: int | None = None
    schedule_id: str | None = None
    key: IdempotencyKey | None = None
    group_id: str | None = None
    shard: tuple[int, int] | None = None  # its index among how many
    requirement_id: int = 0  # instead of the job's
    deadlines: Deadlines = Deadlines()


class TaskView(Struct, frozen=True):
    """A task as it is shown: the row, the user's side, its job's name, what its last attempt left, and how far its
    newest placement says it is (percent and words).
    """

    task: Task
    data: TaskData
    job_name: str
    last: Row[tuple[object, ...]] | None = None
    transitions: Sequence[Row[tuple[object, ...]]] = ()
    progress: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class TaskEdit:
    """What a task that has not been placed is changed to."""

    priority: int
    scheduled_at: int
    data: TaskData
    deadlines: Deadlines = Deadlines()


class Made(Struct, frozen=True):
    """A task that is about to be stored, and what an agent would have to be told beside it."""

    task: Task
    data: TaskData
    job: Job


class Seats(Protocol):
    """Room that agents have for new tasks."""

    @property
    def terms(self) -> Mapping[str, Terms]:
        """Under which terms those that were placed run, by task."""

    def place(self, made: Sequence[Made], now: int) -> Mapping[str, Step]:
        """The first steps of those that an agent gets at once, by task."""


Insert = Callable[[Connection, Sequence[NewTask], Seats | None], Sequence[TaskView | Exception]]
Seating = Callable[[Insert, Sequence[NewTask]], Awaitable[Sequence[TaskView | Exception]]]
"""Runs an insert in a transaction, with the room that there is, and tells the agents after it."""


class Tasks:
    """The use cases of tasks. `stop` tells a connected agent to stop an instance: (task, token, reason). Without a
    `seating` all new tasks wait for the dispatcher.
    """

    def __init__(self, engine: Engine, stop: Callable[[Task, str], None], seating: Seating | None = None) -> None:
        self._engine = engine
        self._stop = stop
        self.creating: Committer[NewTask, TaskView] = Committer(
            engine.store,
            "create tasks",
            self.insert_many,
            self._created,
            weigh=lambda new: new.data.weight,
            write=None if seating is None else partial(seating, self.insert_many),
        )

    # --- create

    async def create(self, new: NewTask) -> TaskView:
        """A stored task. Raises NotFound, IllegalTransition (disabled job), AlreadyExists, Exhausted, Unavailable."""
        return await self.creating.submit(new)

    def insert_many(
        self, connection: Connection, items: Sequence[NewTask], seats: Seats | None = None
    ) -> Sequence[TaskView | Exception]:
        """Many tasks in one transaction; each gets a task, as it was made, or a refusal of its own. What finds a seat
        is never ready: it is stored as placed.
        """
        now = self._engine.clock.now()
        keys = [item.key for item in items if item.key is not None]
        known, found = look_up(connection, keys, {(item.namespace_id, item.job) for item in items}, now)
        demands = Demands(connection, now)
        results: list[Any] = [None] * len(items)
        first: dict[IdempotencyKey, int] = {}  # the same id may come twice in one batch
        made: dict[int, Made] = {}
        for place, item in enumerate(items):
            if item.key in known:
                results[place] = self._repeat(connection, item, known[item.key])
            elif item.key is None or first.setdefault(item.key, place) == place:
                outcome = self._new(item, found.get((item.namespace_id, item.job)), demands, now)
                if isinstance(outcome, Made):
                    made[place] = outcome
                results[place] = outcome
        steps = {} if seats is None else seats.place(list(made.values()), now)
        new = [(steps.get(one.task.id) or create(one.task, now), one.data) for one in made.values()]
        tasks.insert_many(connection, new, None if seats is None else seats.terms)
        for place, one in made.items():
            results[place] = TaskView(one.task, one.data, one.job.name)  # as it was made, wherever it is by now
        used = [_used(key, results[place]) for key, place in first.items()]
        idempotency.insert_many(connection, used, now + self._engine.request_ids_kept)
        return [results[first.get(item.key, place) if item.key else place] for place, item in enumerate(items)]

    def _new(self, item: NewTask, job: Job | None, demands: Demands, now: int) -> Made | PawlError:
        if job is None:
            return NotFound.of("job", item.job, item.namespace_id)
        if job.status is JobStatus.DISABLED:
            message = f"job {job.name!r} is disabled; enable it first"
            return IllegalTransition(message, reason="JOB_DISABLED", facts={"job": job.name})
        config = job.spec.config
        at = now if item.scheduled_at is None else item.scheduled_at
        start_within, end_within = item.deadlines.within(config)
        planned = Task(
            id=self._engine.new_id(now),
            namespace_id=item.namespace_id,
            job_id=job.id,
            job_revision=job.revision,
            requirement_id=item.requirement_id or demands.of_new(job, item.data),
            schedule_id=item.schedule_id,
            group_id=item.group_id,
            shard_index=None if item.shard is None else item.shard[0],
            shard_total=None if item.shard is None else item.shard[1],
            status=Status.PENDING,
            priority=config.priority if item.priority is None else item.priority,
            scheduled_at=at,
            max_retries=config.max_retries,
            created_at=now,
            updated_at=now,
            start_within=start_within,
            end_within=end_within,
            end_by=end_by(end_within, max(now, at)),
        )
        return Made(planned, item.data, job)

    def _repeat(self, connection: Connection, item: NewTask, outcome: idempotency.Outcome) -> TaskView | Exception:
        assert item.key is not None
        try:
            raise_refusal(item.key, outcome)
            return self.view(connection, item.namespace_id, outcome.resource_id)
        except PawlError as refusal:
            return refusal

    def _created(self, _: Sequence[NewTask], results: Sequence[TaskView | Exception]) -> None:
        views = [result for result in results if isinstance(result, TaskView)]
        self._engine.rates.created.add(len(views))

    # --- change

    async def cancel(
        self, namespace_id: str, task_id: str, *, by: str, why: str, key: IdempotencyKey | None
    ) -> TaskView:
        """Cancel it: at once if nobody has it, else through its agent. One that is cancelled already stays so.

        Raises NotFound, IllegalTransition for other final statuses.
        """
        asked: list[Task] = []

        def effect(connection: Connection, now: int) -> tuple[str, TaskView]:
            asked.clear()
            before = self._locked(connection, namespace_id, task_id)
            if before.status is Status.CANCELLED or before.cancel_requested:
                return task_id, self.view(connection, namespace_id, task_id)
            self._cancel(connection, [before], by, why, now)
            if before.on_agent:
                asked.append(before)
            return task_id, self.view(connection, namespace_id, task_id)

        view = await self._once(key, effect, namespace_id)
        for one in asked:
            self._stop(one, why or "cancelled")
        self._engine.wakeups.hint(f"task:{task_id}")
        return view

    @staticmethod
    def _cancel(connection: Connection, found: Sequence[Task], by: str, why: str, now: int) -> None:
        steps = []
        for before in found:
            transition = RequestCancel if before.on_agent else Cancel
            steps.append((before, apply(before, transition(by=by, why=why), now)))
        tasks.save_many(connection, steps)
        if why:
            tasks.set_cancel_reason(connection, [before.id for before in found], why)

    def cancel_many(self, connection: Connection, ids: Sequence[str], by: str, why: str, now: int) -> list[Task]:
        """Cancel whatever of these has not ended; the tasks that an agent has to stop. In the caller's transaction."""
        on_agents = []
        for start in range(0, len(ids), CANCELLED_AT_ONCE):
            loaded = tasks.load_many(connection, ids[start : start + CANCELLED_AT_ONCE]).values()
            found = [before for before in loaded if not before.is_final and not before.cancel_requested]
            if found:
                self._cancel(connection, found, by, why, now)
            on_agents += [before for before in found if before.on_agent]
        return on_agents

    async def cancel_ahead(
        self, unfinished: Callable[[Connection], list[str]], key: IdempotencyKey | None, *, by: str, why: str
    ) -> None:
        """Cancel what is too much for the transaction that deletes its job or namespace, in many short ones: everybody
        who writes waits behind each. What a crash leaves is done by the repeat of the delete. `unfinished` gives
        nothing if the delete will be refused; one whose outcome is known has nothing to cancel either.
        """

        def look(connection: Connection) -> list[str]:
            done = key is not None and idempotency.find_many(connection, [key], self._engine.clock.now())
            return [] if done else unfinished(connection)

        ids = await self._engine.store.write(look)
        for start in range(0, len(ids) if len(ids) > CANCELLED_WHOLE else 0, CANCELLED_AT_ONCE):
            some = ids[start : start + CANCELLED_AT_ONCE]
            on_agents = await self._engine.store.write(self.cancel_many, some, by, why, self._engine.clock.now())
            self.stop_all(on_agents, why)

    def stop_all(self, on_agents: Sequence[Task], why: str) -> None:
        """After the commit: tell the agents."""
        for one in on_agents:
            self._stop(one, why)

    async def retry(
        self, namespace_id: str, task_id: str, *, by: str, why: str, key: IdempotencyKey | None
    ) -> TaskView:
        """Run a finished task again in a new epoch, or a waiting one at once. Raises NotFound, IllegalTransition."""

        def effect(connection: Connection, now: int) -> tuple[str, TaskView]:
            before = self._locked(connection, namespace_id, task_id)
            transition = RetryNow if before.status is Status.WAITING_RETRY else Restart
            tasks.save_many(connection, [(before, apply(before, transition(by=by, why=why), now))])
            return task_id, self.view(connection, namespace_id, task_id)

        view = await self._once(key, effect, namespace_id)
        self._engine.wakeups.hint(f"task:{task_id}")
        return view

    async def update(
        self,
        namespace_id: str,
        task_id: str,
        change: Callable[[TaskView], TaskEdit],
        *,
        etag: int | None,
        key: IdempotencyKey | None,
    ) -> TaskView:
        """Change a task that has not been placed: `change` gets it as it is. Raises NotFound, EtagMismatch,
        IllegalTransition, and whatever `change` raises.
        """

        def effect(connection: Connection, now: int) -> tuple[str, TaskView]:
            before = self._locked(connection, namespace_id, task_id)
            check_etag("task", task_id, before.version, etag)
            view = self.view(connection, namespace_id, task_id)
            wanted = change(view)
            demand = Demands(connection, now).of_changed(before, view.data, wanted.data)
            before = replace(before, requirement_id=demand)
            within = wanted.deadlines.within(self._config_of(connection, before))
            step = edit(before, now, priority=wanted.priority, scheduled_at=wanted.scheduled_at, deadlines=within)
            tasks.save_many(connection, [(before, step)])
            if demand != view.task.requirement_id:
                tasks.set_requirement(connection, task_id, demand)
            tasks.update_data(connection, task_id, wanted.data)
            if wanted.data.tags != view.data.tags:
                tasks.update_tags(connection, step.task, wanted.data.tags)
            return task_id, self.view(connection, namespace_id, task_id)

        view = await self._once(key, effect, namespace_id)
        self._engine.wakeups.hint(TIMERS_HINT, f"task:{task_id}")
        return view

    async def delete(self, namespace_id: str, task_id: str, *, etag: int | None, key: IdempotencyKey | None) -> None:
        """Delete a finished task with all that belongs to it. Raises NotFound, EtagMismatch, IllegalTransition."""

        def effect(connection: Connection, _: int) -> tuple[str, None]:
            before = self._locked(connection, namespace_id, task_id)
            check_etag("task", task_id, before.version, etag)
            if not before.is_final:
                message = f"task {task_id} is {before.status.name}; cancel it before it can be deleted"
                raise IllegalTransition(message, facts={"task_id": task_id, "status": before.status.name})
            tasks.delete_many(connection, [task_id])
            return task_id, None

        await once(self._engine, key, effect, lambda _connection, _id: None)
        await self._engine.store.logs(tasks.delete_logs, task_id)

    # --- read

    async def get(self, namespace_id: str, task_id: str) -> TaskView:
        """The task with all that is known of it. Raises NotFound."""
        return await self._engine.store.read(self.view, namespace_id, task_id)

    def view(self, connection: Connection, namespace_id: str, task_id: str) -> TaskView:
        """The same inside a transaction."""
        one = tasks.find(connection, namespace_id, task_id)
        if one is None:
            raise NotFound.of("task", task_id, namespace_id)
        data = tasks.data_of(connection, [task_id])[task_id]
        last = tasks.last_ended_instance(connection, one) if one.token else None
        return TaskView(
            one,
            data,
            jobs.names(connection, [one.job_id]).get(one.job_id, ""),
            last,
            tasks.transitions_of(connection, task_id),
            tasks.progress_now(connection, one, last),
        )

    async def standing(self, namespace_id: str, task_id: str) -> tasks.Standing:
        """Only what watchers compare. Raises NotFound."""

        found = await self._engine.store.read(tasks.standing_of, namespace_id, task_id)
        if found is None:
            raise NotFound.of("task", task_id, namespace_id)
        return found

    async def page(self, question: Question) -> tuple[Page, list[TaskView]]:
        """One page of tasks, without outputs and records. Raises Invalid."""
        return await self._engine.store.read(self._page, question)

    @staticmethod
    def _page(connection: Connection, question: Question) -> tuple[Page, list[TaskView]]:
        page = lists.ask(
            connection, TASKS, tasks.listing(connection, question.namespace_id), question, default_order=("-id",)
        )
        found = [tasks.of_row(row) for row in page.rows]
        data = tasks.data_of(connection, [one.id for one in found])
        names = jobs.names(connection, {one.job_id for one in found})
        views = [TaskView(one, data[one.id], names.get(one.job_id, "")) for one in found]
        return page, views

    # --- shared

    @staticmethod
    def _config_of(connection: Connection, one: Task) -> JobConfig:
        place = (one.job_id, one.job_revision)
        return jobs.revisions(connection, {place})[place].config

    @staticmethod
    def _locked(connection: Connection, namespace_id: str, task_id: str) -> Task:
        before = tasks.find(connection, namespace_id, task_id, lock=True)
        if before is None:
            raise NotFound.of("task", task_id, namespace_id)
        return before

    async def _once(
        self,
        key: IdempotencyKey | None,
        effect: Callable[[Connection, int], tuple[str, TaskView]],
        namespace_id: str,
    ) -> TaskView:
        return await once(
            self._engine, key, effect, lambda connection, task_id: self.view(connection, namespace_id, task_id)
        )


def _used(key: IdempotencyKey, outcome: TaskView | PawlError) -> tuple[IdempotencyKey, str, str | None]:
    if isinstance(outcome, TaskView):
        return key, outcome.task.id, None
    return key, "", encode_refusal(outcome)
