"""Task groups: a job on every agent that matches, or in so many shards, as one thing to wait for, cancel and run again.

A group and all its members are made in one transaction, or nothing is. From then on members are tasks like any other,
and what they come to is counted where they end (`store/groups.py`). What has not ended is cancelled in short
transactions, by whoever asked for it and, for what a crash leaves and for groups that are decided, by a loop: what is
to be done stands in the group's row, so it is done by whoever looks next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from controlplane.domain import group as domain
from controlplane.domain.errors import IllegalTransition, Invalid, NotFound
from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.group import MAX_MEMBERS, MAX_PARAMETERS_BYTES, Group, Mode, Policy, Tally
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.job import Job, Requirement, requirement_of
from controlplane.domain.matching import Obstacle, Verdict, can_run, describe, explain, only_on
from controlplane.domain.task import Status, Task
from controlplane.engine import lists
from controlplane.engine.actions import Action, Actions, Bulk
from controlplane.engine.agents import offer_of
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.engine.nouns import values
from controlplane.engine.tasks import CANCELLED_AT_ONCE, NewTask, Tasks, TaskView
from controlplane.store import Connection, agents, groups, idempotency, jobs, tasks
from controlplane.store.query import Page

HINT = "groups"
CLOSED_AT_ONCE = 20  # groups of one turn
BATCH = 1_000  # members of one statement
BATCH_BYTES = 8 << 20

GROUPS = Queryable(
    "task group",
    (
        Field("id", Kind.ID, indexed=True),
        Field("job_id", Kind.ID, indexed=True),
        Field("mode", Kind.ENUM, enum_values=values(Mode), enum_name="pawl.v1.TaskGroup.Mode"),
        Field(
            "status",
            Kind.ENUM,
            indexed=True,
            enum_values=values(groups.STATUSES),
            enum_name="pawl.v1.Task.Status",
            aliases=("state",),
        ),
        Field("total", Kind.INT),
        Field("created_at", Kind.INSTANT, indexed=True, in_id=True),
        Field("updated_at", Kind.INSTANT),
        Field("decided_at", Kind.INSTANT),
        Field("finished_at", Kind.INSTANT),
    ),
)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to be made: `task` is what its members have in common. `shards` is of SHARDED; `parameters` are those of
    each shard, with their types, where they differ.
    """

    task: NewTask
    mode: Mode
    shards: int = 0
    parameters: Sequence[tuple[bytes, str]] = ()
    policy: Policy = Policy.ALL
    policy_count: int = 0
    cancel_rest: bool = False


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group as it is shown."""

    group: Group
    job_name: str
    on_agents: int = 0


class _ReopenedError(Exception):
    """The group whose rest was being cancelled is to go on after all."""


class Groups:
    """The use cases."""

    def __init__(self, engine: Engine, one_by_one: Tasks, actions: Actions) -> None:
        self._engine = engine
        self._tasks = one_by_one
        self._actions = actions

    # --- create

    async def create(self, new: NewGroup, key: IdempotencyKey | None) -> GroupView:
        """A stored group with all its members. Raises Invalid, NotFound (job), IllegalTransition (disabled job, no
        agent that matches).
        """
        _check_size(new, new.shards)
        made: list[TaskView] = []

        def effect(connection: Connection, now: int) -> tuple[str, GroupView]:
            made.clear()
            job = _job(connection, new.task)
            group, members = self._plan(connection, new, job, now)
            groups.insert(connection, group)
            for batch in _batches(members):
                for outcome in self._tasks.insert_many(connection, batch):
                    if isinstance(outcome, Exception):
                        raise outcome
                    made.append(outcome)
            return group.id, GroupView(group, job.name)

        space = new.task.namespace_id
        view = await once(self._engine, key, effect, lambda connection, known: self._view(connection, space, known))
        self._announce(made)
        return view

    def _plan(self, connection: Connection, new: NewGroup, job: Job, now: int) -> tuple[Group, list[NewTask]]:
        demands = [0] * new.shards if new.mode is Mode.SHARDED else _demands(connection, new, job, now)
        _check_size(new, len(demands))
        group = Group(
            id=self._engine.new_id(now),
            namespace_id=job.namespace_id,
            job_id=job.id,
            job_revision=job.revision,
            mode=new.mode,
            policy=new.policy,
            policy_count=new.policy_count,
            cancel_rest=new.cancel_rest,
            tally=Tally(len(demands)),
            created_at=now,
            updated_at=now,
            labels=new.task.data.labels,
            tags=new.task.data.tags,
        )
        members = []
        for index, demand in enumerate(demands):
            data = new.task.data
            if new.parameters:
                data = replace(data, parameters=new.parameters[index][0], parameters_type=new.parameters[index][1])
            shard = (index, len(demands))
            member = replace(new.task, job=job.id, data=data, group_id=group.id, shard=shard, requirement_id=demand)
            members.append(member)
        return group, members

    def _announce(self, made: Sequence[TaskView]) -> None:
        """After the commit; a repeat of the call has made nothing."""
        self._engine.rates.created.add(len(made))

    # --- read

    async def get(self, namespace_id: str, group_id: str) -> GroupView:
        """The group as it stands. Raises NotFound."""
        return await self._engine.store.read(self._view, namespace_id, group_id)

    async def page(self, question: Question) -> tuple[Page, list[GroupView]]:
        """One page of groups. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[GroupView]]:
            listing = groups.listing(connection, question.namespace_id)
            page = lists.ask(connection, GROUPS, listing, question, default_order=("-id",))
            return page, _views(connection, [groups.of_row(row) for row in page.rows])

        return await self._engine.store.read(read)

    @staticmethod
    def _view(connection: Connection, namespace_id: str, group_id: str) -> GroupView:
        return _views(connection, [_required(connection, namespace_id, group_id)])[0]

    # --- change

    async def cancel(
        self, namespace_id: str, group_id: str, *, by: str, why: str, key: IdempotencyKey | None
    ) -> GroupView:
        """Cancel what has not ended of it; one that was cancelled already stays so. Raises NotFound, IllegalTransition
        when all has ended otherwise.
        """

        def effect(connection: Connection, now: int) -> tuple[str, None]:
            found = _required(connection, namespace_id, group_id, lock=True)
            if found.tally.unfinished:
                if not found.closing:
                    groups.update(connection, domain.close(found, by, why, now))
            elif found.status is not Status.CANCELLED:
                message = f"task group {group_id} has ended: {found.status.name}"
                raise IllegalTransition(message, facts={"group_id": group_id, "status": found.status.name})
            return group_id, None

        await once(self._engine, key, effect, lambda _connection, _id: None)
        await self._close(group_id)
        self._engine.wakeups.hint(f"group:{group_id}")
        return await self.get(namespace_id, group_id)

    async def retry(
        self, namespace_id: str, group_id: str, *, by: str, why: str, key: IdempotencyKey | None
    ) -> GroupView:
        """Run its members again that have failed or were cancelled. Raises NotFound."""

        def reopen(connection: Connection) -> None:
            found = _required(connection, namespace_id, group_id, lock=True)
            if found.closing:
                groups.update(connection, domain.reopen(found, self._engine.clock.now()))

        await self._engine.store.write(reopen)
        which = {"group_id": {"eq": group_id}, "status": {"in": ["FAILED", "CANCELLED"]}}
        await self._actions.act_on_all(Bulk(namespace_id, Action.RETRY, which, by=by, why=why), key)
        self._engine.wakeups.hint(f"group:{group_id}")
        return await self.get(namespace_id, group_id)

    async def delete(self, namespace_id: str, group_id: str, *, key: IdempotencyKey | None) -> None:
        """Delete it with its members. What was deleted stays so if the call is cut off. Raises NotFound,
        IllegalTransition while a member has not ended.
        """

        def members(connection: Connection) -> list[str]:
            """None of a group that cannot be deleted: the effect says why."""
            if key is not None and idempotency.find_many(connection, [key], self._engine.clock.now()):
                return []
            found = groups.find(connection, namespace_id, group_id)
            return [] if found is None or found.tally.unfinished else groups.members(connection, group_id)

        def effect(connection: Connection, _: int) -> tuple[str, None]:
            found = _required(connection, namespace_id, group_id, lock=True)
            if found.tally.unfinished:
                message = f"task group {group_id} has {found.tally.unfinished:,} unfinished tasks; cancel it first"
                raise IllegalTransition(message, reason="HAS_UNFINISHED_TASKS", facts={"group_id": group_id})
            tasks.delete_many(connection, groups.members(connection, group_id))
            groups.delete(connection, group_id)
            return group_id, None

        ids = await self._engine.store.read(members)
        for start in range(0, len(ids), CANCELLED_AT_ONCE):
            batch = ids[start : start + CANCELLED_AT_ONCE]
            await self._engine.store.logs(_delete_logs, await self._engine.store.write(_delete_ended, batch))
        await once(self._engine, key, effect, lambda _connection, _id: None)

    # --- what ends with its group

    async def turn(self) -> float | None:
        """One turn of the loop: cancel what is left of groups that are decided, or that somebody cancelled."""
        found = await self._engine.store.read(groups.closing, CLOSED_AT_ONCE)
        for group_id in found:
            await self._close(group_id)
        return 0.0 if len(found) == CLOSED_AT_ONCE else None

    async def _close(self, group_id: str) -> None:
        more = True
        while more:
            try:
                more, stopping, why = await self._engine.store.write(self._close_some, group_id)
            except _ReopenedError:
                return
            self._tasks.stop_all(stopping, why)

    def _close_some(self, connection: Connection, group_id: str) -> tuple[bool, list[Task], str]:
        """Whether there may be more, what agents have to stop, and why."""
        ids = groups.to_cancel(connection, group_id, CANCELLED_AT_ONCE)
        found = groups.closing_one(connection, group_id)
        if found is None or not ids:
            return False, [], ""
        now = self._engine.clock.now()
        stopping = self._tasks.cancel_many(connection, ids, found.closed_by, found.closed_why, now)
        # Looked at again with the members held: whoever runs them again has opened the group before.
        if groups.closing_one(connection, group_id) is None and not groups.has_finished(connection, group_id):
            raise _ReopenedError
        return len(ids) == CANCELLED_AT_ONCE, stopping, found.closed_why or "cancelled"


def _job(connection: Connection, wanted: NewTask) -> Job:
    found = jobs.find(connection, wanted.namespace_id, wanted.job)
    if found is None:
        raise NotFound.of("job", wanted.job, wanted.namespace_id)
    return found


def _demands(connection: Connection, new: NewGroup, job: Job, now: int) -> list[int]:
    """What each member of a broadcast demands: what the job does, and one of the agents that match now, by name."""
    usual = requirement_of(job.namespace_id, job.spec.config, job.id)
    asked = dataclasses.replace(usual, labels={**usual.labels, **new.task.data.labels})
    offers = [offer_of(one) for one in agents.online(connection)]
    matching = sorted(offer.agent for offer in offers if can_run(offer, asked))
    if not matching:
        verdict = explain(asked, offers)
        raise IllegalTransition(
            f"no connected agent matches job {job.name!r}: {_why_nobody(verdict, asked)}",
            reason="NO_MATCHING_AGENT",
            facts={"job": job.name, "obstacle": verdict.obstacle.name},
        )
    if len(matching) > MAX_MEMBERS:
        message = f"{len(matching):,} agents match, a group has at most {MAX_MEMBERS:,} tasks: ask for more labels"
        raise IllegalTransition(message, facts={"job": job.name})
    return jobs.intern_requirements(connection, [only_on(asked, agent) for agent in matching], now)


def _why_nobody(verdict: Verdict, asked: Requirement) -> str:
    nearest = verdict.nearest.rpartition("/")[2]
    function = f" and function {asked.function!r}" if asked.function else ""
    return {
        Obstacle.NO_AGENT: f"none serves namespace {asked.namespace_id!r}",
        Obstacle.NO_NAMED_AGENT: f"of those that it names, {', '.join(asked.agents)}, none is connected",
        Obstacle.NO_EXECUTOR: f"none has executor {asked.executor!r}{function}",
        Obstacle.TOO_LARGE: "none is large enough for it",
    }.get(verdict.obstacle, f"the nearest, {nearest!r}, lacks {describe(asked, verdict.missing or {})}")


def _check_size(new: NewGroup, count: int) -> None:
    total = new.task.data.weight * count + sum(len(data) for data, _ in new.parameters)
    if total > MAX_PARAMETERS_BYTES:
        raise Invalid.field(
            "group.parameters",
            f"with the environment take {total:,} bytes for {count:,} tasks, at most {MAX_PARAMETERS_BYTES:,} are"
            " allowed: make fewer tasks, or let them fetch what they need",
        )


def _batches(members: Sequence[NewTask]) -> Sequence[Sequence[NewTask]]:
    """In parts that one statement can carry."""
    parts: list[list[NewTask]] = []
    taken = 0
    for one in members:
        if not parts or len(parts[-1]) == BATCH or taken + one.data.weight > BATCH_BYTES:
            parts.append([])
            taken = 0
        parts[-1].append(one)
        taken += one.data.weight
    return parts


def _required(connection: Connection, namespace_id: str, group_id: str, *, lock: bool = False) -> Group:
    found = groups.find(connection, namespace_id, group_id, lock=lock)
    if found is None:
        raise NotFound.of("task group", group_id, namespace_id)
    return found


def _views(connection: Connection, found: Sequence[Group]) -> list[GroupView]:
    names = jobs.names(connection, {one.job_id for one in found})
    on_agents = groups.on_agents(connection, [one.id for one in found if one.tally.unfinished])
    return [GroupView(one, names.get(one.job_id, ""), on_agents.get(one.id, 0)) for one in found]


def _delete_ended(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Of these tasks those that have ended, with all that is theirs but the logs; which ones."""
    ended = [one.id for one in tasks.load_many(connection, ids).values() if one.is_final]
    tasks.delete_many(connection, ended)
    return ended


def _delete_logs(connection: Connection, ids: Sequence[str]) -> None:
    for task_id in ids:
        tasks.delete_logs(connection, task_id)
