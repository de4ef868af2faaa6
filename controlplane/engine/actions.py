"""What people do to tasks: hold, let go, skip, call done; to one, or to all that a filter finds.

A bulk action is many short transactions, so that nobody waits behind it, and it is of one instant: it touches only
tasks that have not changed since it began. That makes it safe to repeat. A call that was cut off goes on, by its
request id, where it stopped, and never does twice what it has done. A dry run looks and counts, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from controlplane.domain.errors import IllegalTransition, NotFound, PawlError
from controlplane.domain.filter import AllOf, AnyOf, Condition, Op, parse_filter, parse_order
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.page import PageRequest, query_digest
from controlplane.domain.task import (
    Cancel,
    DeadReason,
    ForceSuccess,
    Pause,
    RequestCancel,
    Restart,
    RetryNow,
    Said,
    Skip,
    Status,
    Task,
    Unpause,
    apply,
)
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASKS
from controlplane.engine.tasks import Tasks, TaskView
from controlplane.store import Connection, agents, query, tasks
from controlplane.store.query import Page

BATCH = 500
SHOWN = 20
MAX_ACTED = 1_000_000


class Action(Enum):
    """What is done."""

    CANCEL = "cancelled"
    RETRY = "retried"
    PAUSE = "paused"
    RESUME = "resumed"
    SKIP = "skipped"
    FORCE_SUCCESS = "called done"
    DELETE = "deleted"


# Where a task is that needs the action no more: asked for again, nothing happens and nothing is wrong.
_THERE: Mapping[Action, frozenset[Status]] = {
    Action.PAUSE: frozenset({Status.PAUSED}),
    Action.SKIP: frozenset({Status.SKIPPED}),
    Action.CANCEL: frozenset({Status.CANCELLED}),
    Action.FORCE_SUCCESS: frozenset({Status.SUCCEEDED}),
}


@dataclass(slots=True)
class Acted:
    """What a bulk action came to. `refusals`: the first few tasks that could not be, each with the reason."""

    matched: int = 0
    changed: int = 0
    refused: int = 0
    refusals: list[tuple[str, PawlError]] = field(default_factory=list)
    has_more: bool = False

    def refuse(self, task_id: str, why: PawlError) -> None:
        """This one could not be."""
        self.refused += 1
        if len(self.refusals) < SHOWN:
            self.refusals.append((task_id, why))


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk action as it is asked for. `dead`: only dead letters. At most `limit` tasks are looked at."""

    namespace_id: str
    action: Action
    filter: object
    by: str
    why: str = ""
    dry_run: bool = False
    dead: bool = False
    limit: int = MAX_ACTED


class Actions:
    """The use cases. `hold` tells connected agents to hold still what they have of these tasks, or to let it go on."""

    def __init__(self, engine: Engine, one_by_one: Tasks, hold: Callable[[Sequence[Task], bool], object]) -> None:
        self._engine = engine
        self._tasks = one_by_one
        self._hold = hold

    async def act(
        self, namespace_id: str, task_id: str, action: Action, *, by: str, why: str, key: IdempotencyKey | None
    ) -> TaskView:
        """Pause, resume, skip, or call done one task. One that is so already stays so.

        Raises NotFound, IllegalTransition.
        """
        on_agents: list[Task] = []

        def effect(connection: Connection, now: int) -> tuple[str, TaskView]:
            on_agents.clear()
            before = tasks.find(connection, namespace_id, task_id, lock=True)
            if before is None:
                raise NotFound.of("task", task_id, namespace_id)
            if before.status not in _THERE.get(action, ()):
                for refusal in _refusals(connection, action, [before]).values():
                    raise refusal
                tasks.save_many(connection, [(before, apply(before, _transition(action, before, by, why), now))])
                on_agents.extend(_to_tell(action, [before]))
            return task_id, self._tasks.view(connection, namespace_id, task_id)

        view = await once(
            self._engine, key, effect, lambda connection, known: self._tasks.view(connection, namespace_id, known)
        )
        self._hold(on_agents, action is Action.PAUSE)
        self._engine.wakeups.hint(f"task:{task_id}")
        return view

    async def dead_letters(self, question: Question) -> tuple[Page, list[TaskView]]:
        """One page of the tasks that failed for good. Raises Invalid."""
        return await self._tasks.page(replace(question, filter=_narrowed(question.filter, _dead())))

    async def act_on_all(self, bulk: Bulk, key: IdempotencyKey | None) -> Acted:
        """Do it to every task that matches. What was done stays done if the call is cut off. Raises Invalid."""
        tree = _as_of(bulk, 0)  # a wrong filter is refused before anything is remembered
        acted = Acted()
        if bulk.dry_run:
            began = self._engine.clock.now()
        else:
            began = await once(self._engine, key, lambda _, now: (str(now), now), lambda _, known: int(known))
        tree = _as_of(bulk, began)
        token = ""
        while acted.matched < bulk.limit:
            size = min(BATCH, bulk.limit - acted.matched)
            found, token = await self._engine.store.read(_candidates, bulk.namespace_id, tree, size, token)
            acted.matched += len(found)
            await self._batch(bulk, found, acted)
            if not token:
                return acted
        acted.has_more = True
        return acted

    async def _batch(self, bulk: Bulk, found: Sequence[Task], acted: Acted) -> None:
        if bulk.dry_run:
            now = self._engine.clock.now()
            cannot = await self._engine.store.read(_refusals, bulk.action, found)
            acted.changed += sum(1 for _ in _possible(bulk, found, cannot, now, acted))
            return
        outcome = Acted()
        done, on_agents = await self._engine.store.write(self._write, bulk, found, outcome)
        acted.changed += outcome.changed
        for task_id, why in outcome.refusals:
            acted.refuse(task_id, why)
        acted.refused += outcome.refused - len(outcome.refusals)
        if bulk.action is Action.DELETE:
            await self._engine.store.logs(_delete_logs, done)
        if bulk.action is Action.CANCEL:
            self._tasks.stop_all(on_agents, bulk.why or "cancelled")
        else:
            self._hold(on_agents, bulk.action is Action.PAUSE)
        self._engine.wakeups.hint(*(f"task:{task_id}" for task_id in done))

    def _write(
        self, connection: Connection, bulk: Bulk, seen: Sequence[Task], outcome: Acted
    ) -> tuple[list[str], list[Task]]:
        """One batch in one transaction: what was changed, and what agents have to be told of. One that begins again
        counts anew.
        """
        outcome.changed, outcome.refused, outcome.refusals = 0, 0, []
        now = self._engine.clock.now()
        present = tasks.load_many(connection, [one.id for one in seen])
        # Whoever was faster has changed what the filter was asked about.
        same = [one for one in seen if one.id in present and present[one.id].version == one.version]
        cannot = _refusals(connection, bulk.action, same)
        possible = list(_possible(bulk, same, cannot, now, outcome))
        ids, outcome.changed = [one.id for one in possible], len(possible)
        if bulk.action is Action.DELETE:
            tasks.delete_many(connection, ids)
        elif bulk.action is Action.CANCEL:
            return ids, self._tasks.cancel_many(connection, ids, bulk.by, bulk.why, now)
        else:
            steps = [(one, apply(one, _transition(bulk.action, one, bulk.by, bulk.why), now)) for one in possible]
            tasks.save_many(connection, steps)
        return ids, _to_tell(bulk.action, possible)


def _to_tell(action: Action, changed: Sequence[Task]) -> list[Task]:
    """Those of these, as they were before, whose agents hold them still or let them go on from now on."""
    return [one for one in changed if one.on_agent] if action in (Action.PAUSE, Action.RESUME) else []


def _refusals(connection: Connection, action: Action, found: Sequence[Task]) -> Mapping[str, IllegalTransition]:
    """Which of these are with an agent whose executor cannot hold them still, and why that is so."""
    if action is not Action.PAUSE:
        return {}
    on_agents = {one.id: one.token for one in found if one.on_agent}
    return {
        task_id: IllegalTransition(
            f"task {task_id} is with agent {agent!r}, whose executor {executor!r} cannot pause what runs",
            reason="EXECUTOR_CANNOT_PAUSE",
            facts={"task_id": task_id, "agent": agent, "executor": executor},
        )
        for task_id, agent, executor, can_pause in agents.executors_of(connection, on_agents)
        if not can_pause
    }


def _possible(
    bulk: Bulk, found: Sequence[Task], cannot: Mapping[str, IllegalTransition], now: int, outcome: Acted
) -> Iterator[Task]:
    """Those that the action changes; the others are refused, or need it no more."""
    for one in found:
        if one.status in _THERE.get(bulk.action, ()) or (bulk.action is Action.CANCEL and one.cancel_requested):
            continue
        try:
            if one.id in cannot:
                raise cannot[one.id]
            if bulk.action is Action.DELETE:
                _check_final(one)
            else:
                apply(one, _transition(bulk.action, one, bulk.by, bulk.why), now)
        except IllegalTransition as refusal:
            outcome.refuse(one.id, refusal)
        else:
            yield one


def _check_final(one: Task) -> None:
    if not one.is_final:
        message = f"task {one.id} is {one.status.name}; cancel it before it can be deleted"
        raise IllegalTransition(message, facts={"task_id": one.id, "status": one.status.name})


def _transition(action: Action, before: Task, by: str, why: str) -> Said:
    if action is Action.CANCEL:
        return RequestCancel(by, why) if before.on_agent else Cancel(by, why)
    if action is Action.RETRY:
        return RetryNow(by, why) if before.status is Status.WAITING_RETRY else Restart(by, why)
    kinds = {Action.PAUSE: Pause, Action.RESUME: Unpause, Action.SKIP: Skip, Action.FORCE_SUCCESS: ForceSuccess}
    return kinds[action](by, why)


def _as_of(bulk: Bulk, instant: int) -> AnyOf:
    """The filter, for what has not changed after this instant. Raises Invalid."""
    return _narrowed(bulk.filter, [_condition("updated_at", Op.LTE, instant), *(_dead() if bulk.dead else ())])


def _dead() -> Sequence[Condition]:
    return (
        _condition("status", Op.EQ, int(Status.FAILED)),
        _condition("dead_reason", Op.NOT, int(DeadReason.NONE)),
    )


def _narrowed(wanted: object, further: Sequence[Condition]) -> AnyOf:
    """A caller's filter, each of whose alternatives must meet these conditions too. Raises Invalid."""
    alternatives = parse_filter(wanted, TASKS).alternatives
    return AnyOf(tuple(AllOf((*one.conditions, *further)) for one in alternatives))


def _condition(name: str, operator: Op, value: int) -> Condition:
    found = TASKS.find(name)
    assert found is not None
    return Condition(found, operator, value)


def _candidates(
    connection: Connection, namespace_id: str, tree: AnyOf, size: int, token: str
) -> tuple[list[Task], str]:
    """The next tasks that match, in the order of their ids, and where to go on."""
    order = parse_order(("id",), TASKS, ())
    digest = query_digest(namespace_id, TASKS.noun, tree, order)
    request = PageRequest(0 if token else 1, size, token=token)
    page = query.page(connection, tasks.listing(connection, namespace_id), tree, order, request, query=digest)
    return [tasks.of_row(row) for row in page.rows], page.next_token


def _delete_logs(connection: Connection, ids: Sequence[str]) -> None:
    for task_id in ids:
        tasks.delete_logs(connection, task_id)
