"""Tasks, their data and tags, and everything a step of the state machine writes, in batches.

`save_many` is the only writer of `sched_task.status`; it writes the status and what follows from it (ready row, timer,
instance, record) in the caller's transaction. Rows are locked in the order of their ids, so that two batches never wait
for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import Struct, structs
from pawl.tracing import NOWHERE, Trace
from sqlalchemy import Connection, Row

from controlplane.domain.ageing import Ageing
from controlplane.domain.task import (
    FINAL,
    Cause,
    DeadReason,
    EndInstance,
    MakeReady,
    Place,
    Record,
    SetTimer,
    Status,
    Step,
    StoodStill,
    Task,
    Unready,
)
from controlplane.store import artifacts, batches, dialect, ended, groups, outputs
from controlplane.store.lanes import Lanes
from controlplane.store.namespaces import is_task_of, tasks_of
from controlplane.store.query import Listing, Tags
from controlplane.store.ready_made import ByIds, ReadyMade, ask
from controlplane.store.tables import (
    job,
    log_chunk,
    ready,
    task,
    task_data,
    task_instance,
    task_tag,
    task_transition,
    timer,
)

_encode = msgspec.json.Encoder(order="deterministic").encode  # maps come from the wire in any order
_GOING = tuple(one for one in Status if one not in FINAL)
AGENT_LOST = "AGENT_LOST"  # the error of a placement that ended without a word from its agent


class TaskData(Struct, frozen=True, gc=False):
    """The user's side of a task, written once and read when it is placed or shown."""

    parameters: bytes | None = None
    parameters_type: str | None = None
    environment: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}
    timeout: float | None = None
    cancel_reason: str = ""
    trace: Trace = NOWHERE  # where in a trace it was created
    labels: Mapping[str, str] = {}

    @property
    def weight(self) -> int:
        """About how many bytes of the user's these are."""
        named = sum(len(name) + len(value) for name, value in self.environment.items())
        return len(self.parameters or b"") + named


class InstanceEnd(Struct, frozen=True, gc=False):
    """How a placement ended, as reported or as concluded."""

    status: Status
    finished_at: int
    started_at: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_retryable: bool | None = None
    metrics: str | None = None
    output: bytes | None = None
    output_type: str | None = None
    output_digest: str | None = None  # instead of the output, where that is too large for a row
    output_size: int = 0
    output_truncated: bool = False


class Terms(Struct, frozen=True, gc=False):
    """Under which terms a placement is made: the agent's home namespace, the lease, the timeout and the grace after it,
    microseconds.
    """

    agent_namespace_id: str
    lease: int
    timeout: int
    grace: int = 0


# By place and not by name: a page has a thousand rows, and a claim reads one for every task.
_FIELDS = Task.__struct_fields__
_in_order_of_fields = itemgetter(*(task.c.keys().index(name) for name in _FIELDS))
_ENUMS: tuple[tuple[int, dict[int | None, IntEnum | None]], ...] = tuple(
    (_FIELDS.index(name), {None: None} | {int(one): one for one in kind})
    for name, kind in (("status", Status), ("cause", Cause), ("dead_reason", DeadReason), ("paused_from", Status))
)


def of_row(row: Any) -> Task:
    """A row that begins with the columns of sched_task."""
    values = list(_in_order_of_fields(row))
    for place, members in _ENUMS:
        values[place] = members[values[place]]
    return Task(*values)


def find(connection: Connection, namespace_id: str, task_id: str, *, lock: bool = False) -> Task | None:
    """The task with this id in this namespace, or None."""
    statement = sa.select(task).where(task.c.id == task_id, is_task_of(task, task.c.id, namespace_id))
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a watcher of a task compares: its version, how far its newest placement of this epoch says it is, whether it
    has ended.
    """

    version: int
    progress: tuple[float, str] | None
    is_final: bool


def standing_of(connection: Connection, namespace_id: str, task_id: str) -> Standing | None:
    """Only the task's standing, or None."""
    newest = sa.and_(
        task_instance.c.task_id == task.c.id,
        task_instance.c.token == task.c.token,
        task_instance.c.epoch == task.c.epoch,
    )
    statement = (
        sa.select(task.c.version, task.c.status, task_instance.c.progress, task_instance.c.progress_message)
        .join(task_instance, newest, isouter=True)
        .where(task.c.id == task_id, is_task_of(task, task.c.id, namespace_id))
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Standing(row.version, progress_of(row), row.status in FINAL)


def progress_now(connection: Connection, one: Task, last: Row[Any] | None) -> tuple[float, str] | None:
    """How far the task's newest placement of this epoch says it is. `last` is the one that ended last, if any did."""
    if not one.token or (last is not None and last.token == one.token):
        return None if last is None else progress_of(last)
    of = task_instance.c
    newest = sa.select(of.progress, of.progress_message).where(
        of.task_id == one.id, of.token == one.token, of.epoch == one.epoch
    )
    row = connection.execute(newest).one_or_none()
    return None if row is None else progress_of(row)


def progress_of(row: Any) -> tuple[float, str] | None:
    """What a placement's row says of its progress: percent and words."""
    return None if row.progress is None else (row.progress, row.progress_message or "")


def listing(connection: Connection, namespace_id: str) -> Listing:
    """A namespace's tasks, to be asked for."""
    is_mine = tasks_of(connection, namespace_id)
    scope = (task_tag.c.namespace_id == namespace_id,)
    tagged = sa.select(task_tag).where(is_mine(task_tag, task_tag.c.task_id))
    tags = Tags(tagged, task.c.id, task_tag.c.task_id, task_tag.c.key, task_tag.c.value, scope)
    lanes = Lanes("status", tuple(map(int, Status)), within="job_id")
    return Listing(sa.select(task).where(is_mine(task, task.c.id)), task.c, tags, lanes)


_BY_ID = sa.select(task).order_by(task.c.id)
_LOCKED = ByIds(_BY_ID.with_for_update(), task.c.id)
_LOCKED_IF_FREE = ByIds(_BY_ID.with_for_update(skip_locked=True), task.c.id)
_DATA_OF = ByIds(sa.select(task_data), task_data.c.task_id)


def load_many(connection: Connection, ids: Iterable[str], *, skip_locked: bool = False) -> dict[str, Task]:
    """Tasks by id, locked in the order of their ids."""
    asked = (_LOCKED_IF_FREE if skip_locked else _LOCKED).about(connection, sorted(set(ids)))
    return {row.id: of_row(row) for rows in ask(connection, asked) for row in rows}


def data_of(connection: Connection, ids: Iterable[str]) -> dict[str, TaskData]:
    """The users' side of these tasks."""
    return _data_in(ask(connection, _DATA_OF.about(connection, list(set(ids)))))


def _data_in(answers: Iterable[Sequence[Any]]) -> dict[str, TaskData]:
    return {
        row.task_id: TaskData(
            parameters=None if row.parameters is None else bytes(row.parameters),
            parameters_type=row.parameters_type,
            environment=msgspec.json.decode(row.environment),
            tags=msgspec.json.decode(row.tags),
            timeout=row.timeout,
            cancel_reason=row.cancel_reason,
            trace=Trace(row.traceparent, row.tracestate, row.baggage),
            labels=msgspec.json.decode(row.labels),
        )
        for rows in answers
        for row in rows
    }


class Facts(NamedTuple):
    """What a placement has to know of a job: its name, and how many of its tasks may be on agents at once."""

    name: str
    max_running: int


_FACTS_OF = ByIds(
    sa.select(task.c.id, job.c.id.label("job_id"), job.c.name, job.c.max_running).join(job, job.c.id == task.c.job_id),
    task.c.id,
)


def load_to_place(
    connection: Connection, ids: Collection[str]
) -> tuple[dict[str, Task], dict[str, TaskData], dict[str, Facts]]:
    """Tasks by id, locked, without those that others have locked; their data; and facts of their jobs, by job."""
    wanted = sorted(ids)
    kinds = [each.about(connection, wanted) for each in (_LOCKED_IF_FREE, _DATA_OF, _FACTS_OF)]
    answers = iter(ask(connection, [one for questions in kinds for one in questions]))
    present, data, facts = ([next(answers) for _ in questions] for questions in kinds)
    return (
        {row.id: of_row(row) for rows in present for row in rows},
        _data_in(data),
        {row.job_id: Facts(row.name, row.max_running) for rows in facts for row in rows},
    )


def insert_many(
    connection: Connection, new: Sequence[tuple[Step, TaskData]], terms: Mapping[str, Terms] | None = None
) -> None:
    """New tasks with their data, tags, and their ready rows, timers or placements; those under `terms`, by task."""
    if not new:
        return
    batches.insert_tuples(connection, task, _FIELDS, [structs.astuple(step.task) for step, _ in new])
    data_rows = [(step.task.id, *_data_values(data)) for step, data in new]
    batches.insert_tuples(connection, task_data, ("task_id", *_DATA), data_rows)
    batches.insert_rows(connection, task_tag, [row for step, data in new for row in _tag_rows(step.task, data.tags)])
    steps = [step for step, _ in new]
    store_waiting(connection, steps)
    _place(connection, steps, terms or {})


def save_many(
    connection: Connection,
    steps: Sequence[tuple[Task, Step]],
    *,
    ends: Mapping[tuple[str, int], InstanceEnd] | None = None,
    terms: Mapping[str, Terms] | None = None,
) -> None:
    """Tasks after a step, each with the state before it, and everything the steps' effects ask for.

    `ends` gives what is known of placements that ended, by (task, token); `terms` those of new placements, by task.
    Raises Fenced, here or where the transaction commits, if a row is no longer what it was when it was loaded: the
    store repeats it.
    """
    if not steps:
        return
    if any(before.is_final and not step.task.is_final for before, step in steps):
        dialect.hold_history(connection, shared=True)
    _update_tasks(connection, steps)
    after = [step for _, step in steps]
    leaving = [step for step in after if any(isinstance(effect, Unready) for effect in step.effects)]
    if leaving:
        batches.delete_rows(connection, ready.c.task_id, [step.task.id for step in leaving])
        # What is placed was ready, so its timer has gone off already: a claim need not look for one.
        timed = [step.task.id for step in leaving if not any(isinstance(effect, Place) for effect in step.effects)]
        if timed:
            batches.delete_rows(connection, timer.c.task_id, timed)
    store_waiting(connection, after)
    _end_instances(connection, after, ends or {})
    _count_pauses(connection, after)
    _place(connection, after, terms or {})
    records = [
        _record_row(step.task, effect) for step in after for effect in step.effects if isinstance(effect, Record)
    ]
    batches.insert_rows(connection, task_transition, records)
    ended.note(connection, steps)
    groups.tally(connection, steps)


_CHANGING = (
    "status",
    "priority",
    "scheduled_at",
    "attempt",
    "epoch",
    "token",
    "result_token",
    "stalled",
    "cause",
    "cancel_requested",
    "dead_reason",
    "agent_id",
    "instance_id",
    "wake_at",
    "updated_at",
    "started_at",
    "finished_at",
    "version",
)
# What an ordinary run never touches, and is not to pay for.
_RARELY_CHANGING = ("start_within", "end_within", "end_by", "paused_from", "paused_at")
_rare = attrgetter(*_RARELY_CHANGING)


def _update_tasks(connection: Connection, steps: Sequence[tuple[Task, Step]]) -> None:
    changing: tuple[str, ...] = _CHANGING
    if any(_rare(before) != _rare(step.task) for before, step in steps):
        changing = _CHANGING + _RARELY_CHANGING
    values = attrgetter(*changing)
    rows = [(*values(step.task), before.id, before.version) for before, step in steps]
    batches.update_rows(connection, task, ("id", "version"), changing, rows, all_of_them=True)


def store_waiting(connection: Connection, steps: Sequence[Step]) -> None:
    """Ready rows and timers that the steps ask for. For steps that change no row; `save_many` does it for others."""
    ready_rows, timer_rows = [], []
    has_end = False
    for step in steps:
        for effect in step.effects:
            if isinstance(effect, MakeReady):
                ready_rows.append(_ready_row(step.task, effect.at))
                has_end |= step.task.end_by is not None
            elif isinstance(effect, SetTimer):
                timer_rows.append({"task_id": step.task.id, "due_at": effect.at})
    if ready_rows:
        batches.insert_rows(connection, ready, ready_rows)
        ended.note_waiting(connection, {row["requirement_id"] for row in ready_rows})
    batches.insert_rows(connection, timer, timer_rows)
    if timer_rows or has_end or any(row["start_by"] is not None for row in ready_rows):
        ended.note_timed(connection)


def _ready_row(one: Task, at: int) -> dict[str, Any]:
    return {
        "task_id": one.id,
        "requirement_id": one.requirement_id,
        "priority": one.priority,
        "ready_at": at,
        "start_by": None if one.start_within is None else at + one.start_within,
    }


_ENDING = InstanceEnd.__struct_fields__
_TERMS = ("lease", "timeout", "grace", "paused")


def _end_instances(connection: Connection, steps: Sequence[Step], ends: Mapping[tuple[str, int], InstanceEnd]) -> None:
    rows = []
    for step in steps:
        for effect in step.effects:
            if isinstance(effect, EndInstance):
                end = ends.get((step.task.id, effect.token)) or InstanceEnd(effect.status, step.task.updated_at)
                rows.append((*structs.astuple(end), step.task.id, effect.token))
    # A report that says when the program started corrects what a folded start left open.
    key, kept = ("task_id", "token"), ("started_at",)
    batches.update_rows(connection, task_instance, key, _ENDING, rows, kept=kept, cleared=_TERMS)


_STOOD_STILL = (
    task_instance.update()
    .where(task_instance.c.task_id == sa.bindparam("b_task_id"), task_instance.c.token == sa.bindparam("b_token"))
    .values(paused=task_instance.c.paused + sa.bindparam("micros"))
)


def _count_pauses(connection: Connection, steps: Sequence[Step]) -> None:
    rows = [
        {"b_task_id": step.task.id, "b_token": effect.token, "micros": effect.micros}
        for step in steps
        for effect in step.effects
        if isinstance(effect, StoodStill)
    ]
    if rows:
        connection.execute(_STOOD_STILL, rows)


def record_late(connection: Connection, task_id: str, token: int, instance_id: str, end: InstanceEnd) -> bool:
    """Keep a result that came after its placement was given up as evidence on its instance; nothing else changes.
    Whether it was kept.

    An instance that ended by a result of its own stays as it is: what comes again is a repeat, and not late.
    """
    kept = ("status", "finished_at", "started_at") + (() if end.error_code else ("error_code", "error_message"))
    values = {key: value for key, value in structs.asdict(end).items() if key not in kept}
    done = connection.execute(
        task_instance.update()
        .where(
            task_instance.c.task_id == task_id,
            task_instance.c.token == token,
            task_instance.c.id == instance_id,
            task_instance.c.late_result.is_(False),
            task_instance.c.error_code == AGENT_LOST,
        )
        .values(late_result=True, **values)
    )
    return done.rowcount == 1


_PLACED = (
    "task_id",
    "token",
    "id",
    "namespace_id",
    "job_id",
    "agent_id",
    "agent_namespace_id",
    "attempt",
    "cause",
    "epoch",
    "status",
    "lease",
    "timeout",
    "grace",
    "created_at",
    "late_result",
    "output_size",
    "output_truncated",
)


def _place(connection: Connection, steps: Sequence[Step], terms: Mapping[str, Terms]) -> None:
    rows = [
        _instance_row(step.task, effect, terms[step.task.id])
        for step in steps
        for effect in step.effects
        if isinstance(effect, Place)
    ]
    batches.insert_tuples(connection, task_instance, _PLACED, rows)


def _instance_row(one: Task, placed: Place, under: Terms) -> tuple[Any, ...]:
    """In the order of `_PLACED`."""
    return (
        one.id,
        placed.token,
        placed.instance_id,
        one.namespace_id,
        one.job_id,
        placed.agent_id,
        under.agent_namespace_id,
        one.attempt,
        one.cause,
        one.epoch,
        Status.DISPATCHED,
        under.lease,
        under.timeout,
        under.grace,
        one.updated_at,
        False,
        0,
        False,
    )


def start_instances(connection: Connection, started: Sequence[tuple[str, int, int]]) -> None:
    """Instances that run now: (task, token, started at)."""
    rows = [(Status.RUNNING, at, task_id, token) for task_id, token, at in started]
    batches.update_rows(connection, task_instance, ("task_id", "token"), ("status", "started_at"), rows)


def open_placements(connection: Connection, ids: Iterable[str]) -> dict[tuple[str, int, str], str]:
    """The placements of these tasks that have not ended, (task, token, instance), each with its namespace."""
    columns = (task_instance.c.task_id, task_instance.c.token, task_instance.c.id, task_instance.c.namespace_id)
    mine = dialect.one_of(connection, task_instance.c.task_id, sorted(set(ids)))
    rows = connection.execute(sa.select(*columns).where(mine, task_instance.c.finished_at.is_(None)))
    return {(row.task_id, row.token, row.id): row.namespace_id for row in rows}


_PROGRESS = (
    task_instance.update()
    .where(task_instance.c.task_id == sa.bindparam("b_task_id"), task_instance.c.token == sa.bindparam("b_token"))
    .values(progress=sa.bindparam("progress"), progress_message=sa.bindparam("progress_message"))
)


def set_progress(connection: Connection, reports: Sequence[tuple[str, int, float, str]]) -> None:
    """How far instances say they are: (task, token, percent, message)."""
    if not reports:
        return
    connection.execute(
        _PROGRESS,
        [
            {"b_task_id": task_id, "b_token": token, "progress": percent, "progress_message": message}
            for task_id, token, percent, message in reports
        ],
    )


class Waiting(Struct, frozen=True, order=True, gc=False):
    """A task that waits for an agent; in the order in which they come: the highest priority, and then the oldest."""

    rank: int  # the priority, as far as it has grown, negated
    ready_at: int
    task_id: str
    requirement_id: int


_FIRST = sa.select(ready.c.priority, ready.c.ready_at, ready.c.task_id, ready.c.requirement_id).order_by(
    ready.c.priority.desc(), ready.c.ready_at, ready.c.task_id
)
_FIRST_OF_ONE = ReadyMade(
    _FIRST.where(ready.c.requirement_id == sa.bindparam("lane"))
    .limit(sa.bindparam("most", type_=sa.BigInteger()))
    .with_for_update(skip_locked=True)
)


def waiting(connection: Connection, most: Mapping[int, int]) -> list[Waiting]:
    """What waits for an agent, of each requirement as many as are asked for, in their order. Their ready rows are
    locked; replicas that look at the same time skip each other's.

    Each requirement is read in the order of its index, so the cost follows what is asked for and not the backlog.
    """
    if len(most) == 1:
        [(lane, limit)] = most.items()
        [rows] = ask(connection, [_FIRST_OF_ONE.about(lane=lane, most=limit)])
    else:
        rows = dialect.first_of_each(connection, _FIRST, ready.c.requirement_id, most)
    return sorted(Waiting(-row.priority, row.ready_at, row.task_id, row.requirement_id) for row in rows)


def move_lane(connection: Connection, ids: Sequence[str], requirement_id: int) -> None:
    """Waiting tasks that are locked have another demand from now on."""
    for table, column in ((task, task.c.id), (ready, ready.c.task_id)):
        mine = dialect.one_of(connection, column, ids)
        connection.execute(table.update().where(mine).values(requirement_id=requirement_id))
    ended.note_waiting(connection, [requirement_id])


def ready_requirements(connection: Connection) -> set[int]:
    """Requirements that something waits for, found by jumps along the index: the cost follows their number."""
    smallest = sa.select(sa.func.min(ready.c.requirement_id).label("id"))
    found = smallest.cte("found", recursive=True)
    following = (
        sa.select(sa.func.min(ready.c.requirement_id)).where(ready.c.requirement_id > found.c.id).scalar_subquery()
    )
    found = found.union_all(sa.select(following).select_from(found).where(found.c.id.is_not(None)))
    return set(connection.execute(sa.select(found.c.id).where(found.c.id.is_not(None))).scalars())


def age(connection: Connection, requirement_id: int, now: int, ageing: Ageing) -> int:
    """Raise what has waited long with this demand; how many were raised. Of each priority the oldest few: what is in
    front of a queue that hardly moves. Found by jumps along the index of the claims.
    """
    low = (priority for priority in _priorities(connection, requirement_id) if priority < ageing.top)
    return sum(_raise(connection, requirement_id, priority, now, ageing) for priority in low)


def _priorities(connection: Connection, requirement_id: int) -> list[int]:
    mine = ready.c.requirement_id == requirement_id
    found = sa.select(sa.func.max(ready.c.priority).label("priority")).where(mine).cte("found", recursive=True)
    below = sa.select(sa.func.max(ready.c.priority)).where(mine, ready.c.priority < found.c.priority).scalar_subquery()
    found = found.union_all(sa.select(below).select_from(found).where(found.c.priority.is_not(None)))
    return list(connection.execute(sa.select(found.c.priority).where(found.c.priority.is_not(None))).scalars())


def _raise(connection: Connection, requirement_id: int, priority: int, now: int, ageing: Ageing) -> int:
    oldest = (
        sa.select(ready.c.task_id, ready.c.ready_at)
        .where(ready.c.requirement_id == requirement_id, ready.c.priority == priority)
        .order_by(ready.c.ready_at, ready.c.task_id)
        .limit(ageing.at_once)
    )
    rows = connection.execute(dialect.for_update(oldest, skip_locked=True)).all()
    ids = [row.task_id for row in rows]
    own = sa.select(task.c.id, task.c.priority).where(dialect.one_of(connection, task.c.id, ids))
    said = {row.id: row.priority for row in connection.execute(own)} if ids else {}
    grown = {row.task_id: ageing.priority(said[row.task_id], now - row.ready_at) for row in rows if row.task_id in said}
    changes = [(value, one) for one, value in grown.items() if value > priority]
    batches.update_rows(connection, ready, ("task_id",), ("priority",), changes)
    return len(changes)


def due_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Up to `limit` tasks whose timers are due, locked like ready rows."""
    due = sa.select(timer.c.task_id).where(timer.c.due_at <= now).order_by(timer.c.due_at).limit(limit)
    return list(connection.execute(dialect.for_update(due, skip_locked=True)).scalars())


def unstarted_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Up to `limit` tasks that no agent began in the time for that, locked like ready rows."""
    late = sa.select(ready.c.task_id).where(ready.c.start_by <= now).order_by(ready.c.start_by).limit(limit)
    return list(connection.execute(dialect.for_update(late, skip_locked=True)).scalars())


def _ending() -> tuple[sa.ColumnElement[bool], ...]:
    """Tasks that have to end by a time and have not, and that no agent has."""
    waiting = sa.and_(task.c.status.not_in((5, 10)), task.c.paused_from.is_(None))
    return task.c.end_by.is_not(None), task.c.finished_at.is_(None), waiting


def overdue_ids(connection: Connection, now: int, limit: int) -> list[str]:
    """Up to `limit` tasks whose total time is over while nobody has them."""
    over = sa.select(task.c.id).where(*_ending(), task.c.end_by <= now).order_by(task.c.end_by).limit(limit)
    return list(connection.execute(over).scalars())


def too_late(connection: Connection, found: Iterable[Task], now: int) -> set[str]:
    """Which of these, all of them ready, must not be begun any more. Asks nothing where none has such a deadline."""
    late, asked = set(), []
    for one in found:
        if one.end_by is not None and one.end_by <= now:
            late.add(one.id)
        elif one.start_within is not None:
            asked.append(one.id)
    if asked:
        mine = dialect.one_of(connection, ready.c.task_id, asked)
        late.update(connection.execute(sa.select(ready.c.task_id).where(mine, ready.c.start_by <= now)).scalars())
    return late


def start_by(connection: Connection, task_id: str) -> int | None:
    """Until when a task that waits for an agent does so."""
    found: int | None = connection.execute(sa.select(ready.c.start_by).where(ready.c.task_id == task_id)).scalar()
    return found


def times_out_at(connection: Connection, task_id: str, token: int) -> int | None:
    """Until when a placement may run that has started."""
    at = task_instance.c.started_at + task_instance.c.timeout + task_instance.c.paused
    mine = (task_instance.c.task_id == task_id, task_instance.c.token == token, task_instance.c.started_at.is_not(None))
    found: int | None = connection.execute(sa.select(at).where(*mine)).scalar()
    return found


def next_deadline(connection: Connection) -> int | None:
    """When the next wait, or the time of something that waits, is over."""
    first = connection.execute(sa.select(sa.func.min(ready.c.start_by)).where(ready.c.start_by.is_not(None))).scalar()
    last = connection.execute(
        sa.select(task.c.end_by).where(*_ending()).order_by(task.c.end_by).limit(1)
    ).scalar_one_or_none()
    return min((at for at in (first, last) if at is not None), default=None)


def delete_timers(connection: Connection, ids: Iterable[str]) -> None:
    """Timers that were dealt with."""
    connection.execute(timer.delete().where(timer.c.task_id.in_(list(ids))))


def next_timer(connection: Connection) -> int | None:
    """When the next timer is due."""
    found: int | None = connection.execute(sa.select(sa.func.min(timer.c.due_at))).scalar_one()
    return found


def update_data(connection: Connection, task_id: str, data: TaskData) -> None:
    """New values for the user's side of a task."""
    values = dict(zip(_DATA, _data_values(data), strict=True))
    connection.execute(task_data.update().where(task_data.c.task_id == task_id).values(**values))


def set_requirement(connection: Connection, task_id: str, requirement_id: int) -> None:
    """Another demand of a task that is locked."""
    connection.execute(task.update().where(task.c.id == task_id).values(requirement_id=requirement_id))


def update_tags(connection: Connection, one: Task, tags: Mapping[str, str]) -> None:
    """New tags for a task."""
    connection.execute(task_tag.delete().where(task_tag.c.task_id == one.id))
    rows = _tag_rows(one, tags)
    if rows:
        connection.execute(task_tag.insert(), rows)


def set_cancel_reason(connection: Connection, ids: Sequence[str], reason: str) -> None:
    """Why somebody asked to cancel them."""
    mine = dialect.one_of(connection, task_data.c.task_id, ids)
    connection.execute(task_data.update().where(mine).values(cancel_reason=reason))


def cancel_reasons(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What was said when these were asked to end."""
    if not ids:
        return {}
    said = sa.select(task_data.c.task_id, task_data.c.cancel_reason)
    rows = connection.execute(said.where(dialect.one_of(connection, task_data.c.task_id, ids)))
    return {row.task_id: row.cancel_reason for row in rows}


def unfinished_of_job(connection: Connection, job_id: str, limit: int | None = None) -> list[str]:
    """Ids of a job's tasks that have not ended."""
    space = sa.select(job.c.namespace_id).where(job.c.id == job_id).scalar_subquery()
    going = task.c.status.in_(_GOING)  # what an index knows, where all that have ended would be looked up
    mine = (task.c.job_id == job_id, task.c.namespace_id == space, going, task.c.finished_at.is_(None))
    return list(connection.execute(sa.select(task.c.id).where(*mine).limit(limit)).scalars())


def unfinished_of_namespace(connection: Connection, namespace_id: str, limit: int | None = None) -> list[str]:
    """Ids of a namespace's tasks that have not ended."""
    statement = sa.select(task.c.id).where(task.c.namespace_id == namespace_id, task.c.finished_at.is_(None))
    return list(connection.execute(statement.limit(limit)).scalars())


def transitions_of(connection: Connection, task_id: str) -> Sequence[Row[Any]]:
    """The recorded transitions of a task, oldest first."""
    statement = sa.select(task_transition).where(task_transition.c.task_id == task_id)
    return connection.execute(statement.order_by(task_transition.c.version)).all()


def last_ended_instance(connection: Connection, one: Task) -> Row[Any] | None:
    """The newest placement of the task's epoch that has ended with something to show."""
    statement = (
        sa.select(task_instance)
        .where(
            task_instance.c.task_id == one.id,
            task_instance.c.epoch == one.epoch,
            task_instance.c.finished_at.is_not(None),
        )
        .order_by(task_instance.c.token.desc())
        .limit(1)
    )
    return connection.execute(statement).one_or_none()


def delete_many(connection: Connection, ids: Sequence[str]) -> None:
    """Tasks with their data, tags, records, instances, outputs and artifacts. Not their logs: `delete_logs`."""
    if not ids:
        return
    outputs.release_of_tasks(connection, ids)
    artifacts.release_of_tasks(connection, ids)
    for column in (
        task_data.c.task_id,
        task_tag.c.task_id,
        task_transition.c.task_id,
        task_instance.c.task_id,
        ready.c.task_id,
        timer.c.task_id,
        task.c.id,
    ):
        batches.delete_rows(connection, column, ids)


def delete_logs(connection: Connection, task_id: str) -> None:
    """A task's logs."""
    connection.execute(log_chunk.delete().where(log_chunk.c.task_id == task_id))


_DATA = (
    "parameters",
    "parameters_type",
    "environment",
    "tags",
    "timeout",
    "cancel_reason",
    "traceparent",
    "tracestate",
    "baggage",
    "labels",
)


def _data_values(data: TaskData) -> tuple[Any, ...]:
    """In the order of `_DATA`."""
    return (
        data.parameters,
        data.parameters_type,
        _encoded(data.environment),
        _encoded(data.tags),
        data.timeout,
        data.cancel_reason,
        data.trace.traceparent,
        data.trace.tracestate,
        data.trace.baggage,
        _encoded(data.labels),
    )


def _encoded(named: Mapping[str, str]) -> str:
    return _encode(named).decode() if named else "{}"


def _tag_rows(one: Task, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"task_id": one.id, "key": key, "value": value, "namespace_id": one.namespace_id} for key, value in tags.items()
    ]


def _record_row(one: Task, record: Record) -> dict[str, Any]:
    return {
        "task_id": one.id,
        "version": one.version,
        "at": one.updated_at,
        "transition": record.transition,
        "from_status": int(record.from_status),
        "to_status": int(record.to_status),
        "subject": record.by,
        "reason": record.why,
    }
