"""Random operations on the store and on an oracle in memory: after every step both must say the same."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs
from sqlalchemy import Connection

from controlplane.domain.errors import PawlError
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.task import Status
from controlplane.engine.results import Ref, Result
from controlplane.engine.tasks import NewTask, TaskEdit, TaskView
from controlplane.store.tables import ready, task, task_instance, timer
from controlplane.store.tasks import InstanceEnd
from tests.engine.stage import NOW, SECOND, Replica, opened, placed
from tests.store.oracle import FINAL, RETRY_AFTER, Oracle, OracleJob, Outcome

R = TypeVar("R")

JOBS = [OracleJob("patient", 2, 10, 1), OracleJob("once", 0, 10, 0), OracleJob("moved", 1, 3, 3)]
PRIORITIES = st.sampled_from([100, 500, 900])
LATER = st.sampled_from([0, 0, 0, 5, 20])
WHICH = st.integers(0, 11)
ENDS: dict[Outcome, dict[str, Any]] = {
    "SUCCEEDED": {"status": Status.SUCCEEDED},
    "FAILED": {"status": Status.FAILED, "error_code": "EXIT", "error_retryable": True},
    "NOT_RETRYABLE": {"status": Status.FAILED, "error_code": "BAD", "error_retryable": False},
    "RETRY_AFTER": {"status": Status.FAILED, "error_code": "BUSY"},
    "TIMED_OUT": {"status": Status.TIMED_OUT, "error_code": "TIMEOUT"},
    "CANCELLED": {"status": Status.CANCELLED, "error_code": "CANCELLED"},
    "LEASE_EXPIRED": {"status": Status.FAILED, "error_code": "LEASE_EXPIRED", "error_retryable": True},
}


class Run(RuleBasedStateMachine):
    """One history. Databases are made once per test; each run leaves what it made and forgets what waits."""

    runs = 0

    def __init__(self, one: Replica) -> None:
        super().__init__()
        self.one = one
        self.oracle = Oracle()
        self.ids: list[str] = []
        self.refs: list[Ref] = []
        self.runner = asyncio.Runner()
        type(self).runs += 1
        self.began = one.clock.at = one.clock.at + 100 * SECOND
        one.engine.store.transact_now(self._forget_what_waits)

    @staticmethod
    def _forget_what_waits(connection: Connection) -> None:
        connection.execute(ready.delete())
        connection.execute(timer.delete())

    def teardown(self) -> None:
        self.runner.close()

    def do(self, work: Coroutine[Any, Any, R]) -> R:
        return self.runner.run(work)

    def ask(self, work: Coroutine[Any, Any, Any]) -> str:
        """ "ok", or the name of the refusal."""
        try:
            self.do(work)
        except PawlError as refusal:
            return type(refusal).__name__
        return "ok"

    def key(self, method: str, number: int | None, content: str) -> IdempotencyKey | None:
        if number is None:
            return None
        return IdempotencyKey("default", method, f"{self.runs}-{number}", fingerprint(content.encode()))

    def at(self, seconds: int) -> int:
        return self.began + seconds * SECOND

    # --- people

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        self.create([(0, 500, 0, None)] * count)

    @rule(
        items=st.lists(
            st.tuples(st.integers(0, 2), PRIORITIES, LATER, st.none() | st.integers(0, 3)), min_size=1, max_size=4
        )
    )
    def create(self, items: list[tuple[int, int, int, int | None]]) -> None:
        new = [
            NewTask(
                "default",
                JOBS[job].name,
                priority=priority,
                scheduled_at=self.at(self.oracle.now + later) if later else None,
                key=self.key("create", number, f"{job} {priority} {later}"),
            )
            for job, priority, later, number in items
        ]
        answers = self.do(self._submit(new))
        for (job, priority, later, _), item, answer in zip(items, new, answers, strict=True):
            known = None if item.key is None else self.oracle.keys.get(("create", item.key.request_id))
            if known is None:
                assert isinstance(answer, TaskView), answer
                self.ids.append(answer.task.id)
                self.oracle.created(answer.task.id, JOBS[job], priority, self.oracle.now + later)
                if item.key is not None:
                    self.oracle.keys["create", item.key.request_id] = (str(item.key.fingerprint), answer.task.id)
            elif known[0] != str(item.key and item.key.fingerprint):
                assert isinstance(answer, PawlError)
                assert answer.reason == "REQUEST_ID_REUSED"
            elif known[1] in self.oracle.tasks:
                assert isinstance(answer, TaskView)
                assert answer.task.id == known[1]
            else:
                assert isinstance(answer, PawlError)
                assert answer.reason == "RESOURCE_NOT_FOUND"

    async def _submit(self, new: list[NewTask]) -> list[TaskView | BaseException]:
        """Through a committer of this loop, as callers come."""
        creating = type(self.one.tasks.creating)(self.one.engine.store, "create", self.one.tasks.insert_many)
        async with asyncio.TaskGroup() as group:
            group.create_task(creating.run())
            waiting = [creating.enqueue(one) for one in new]
            creating.close()
            return await asyncio.gather(*waiting, return_exceptions=True)

    def pick(self, which: int) -> str:
        return self.ids[-1 - which % len(self.ids)]

    @rule(which=WHICH, number=st.none() | st.integers(0, 2))
    def cancel(self, which: int, number: int | None) -> None:
        task_id = self.pick(which)
        key = self.key("cancel", number, task_id)
        known = None if key is None else self.oracle.keys.get(("cancel", key.request_id))
        if known is None:
            wanted = self.oracle.cancel(task_id)
        elif known[0] != task_id:
            wanted = "AlreadyExists"
        elif known[1] == "ok":
            wanted = "ok" if task_id in self.oracle.tasks else "NotFound"
        else:
            wanted = known[1]
        assert self.ask(self.one.tasks.cancel("default", task_id, by="ann", why="x", key=key)) == wanted
        if key is not None and known is None:
            self.oracle.keys["cancel", key.request_id] = (task_id, wanted)

    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        task_id = self.pick(which)
        wanted = self.oracle.retry(task_id)
        assert self.ask(self.one.tasks.retry("default", task_id, by="ann", why="", key=None)) == wanted

    @rule(which=WHICH, priority=PRIORITIES, later=LATER)
    def update(self, which: int, priority: int, later: int) -> None:
        task_id = self.pick(which)
        wanted = self.oracle.update(task_id, priority, self.oracle.now + later)

        def change(view: TaskView) -> TaskEdit:
            return TaskEdit(
                priority, self.at(self.oracle.now + later), structs.replace(view.data, tags={"a": str(later)})
            )

        assert self.ask(self.one.tasks.update("default", task_id, change, etag=None, key=None)) == wanted

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        task_id = self.pick(which)
        wanted = self.oracle.delete(task_id)
        assert self.ask(self.one.tasks.delete("default", task_id, etag=None, key=None)) == wanted

    # --- time and the dispatcher

    @rule(seconds=st.sampled_from([0, 1, 5, 12]))
    def pass_time(self, seconds: int) -> None:
        self.oracle.now += seconds
        self.one.clock.move(seconds)
        self.oracle.fire()
        due = self.do(self.one.timers.fire())
        assert due is None or due > 0

    @rule(free=st.tuples(st.integers(0, 3), st.integers(0, 3)))
    def place(self, free: tuple[int, int]) -> None:
        for session, room in zip(self.one.sessions, free, strict=True):
            session.free, session.running = room, 4 - room
        wanted = self.oracle.next_in_line(sum(free))
        assert self.do(self.one.place()) == len(wanted)
        told = [(session, one) for session in self.one.sessions for one in placed(session)]
        assert {one.ref.task_id for _, one in told} == set(wanted)
        assert all(session.free >= 0 for session in self.one.sessions)
        for _, one in told:
            self.oracle.placed(one.ref.task_id)
            assert (one.ref.token, one.attempt) == (
                self.oracle.tasks[one.ref.task_id].token,
                self.oracle.tasks[one.ref.task_id].attempt,
            )
            self.refs.append(one.ref)

    # --- agents

    def placement(self, which: int) -> Ref:
        return self.refs[-1 - which % len(self.refs)]

    @precondition(lambda self: self.refs)
    @rule(which=WHICH)
    def start(self, which: int) -> None:
        ref = self.placement(which)
        assert self.do(self.one.start(ref)) == self.oracle.start(ref.task_id, ref.token)

    @precondition(lambda self: self.refs)
    @rule(reports=st.lists(st.tuples(WHICH, st.sampled_from(sorted(ENDS))), min_size=1, max_size=4))
    def finish(self, reports: list[tuple[int, Outcome]]) -> None:
        results = []
        for which, outcome in reports:
            end = InstanceEnd(finished_at=self.one.clock.now(), **ENDS[outcome])
            wait = RETRY_AFTER * SECOND if outcome == "RETRY_AFTER" else None
            results.append(Result(self.placement(which), end, wait))
        verdicts = self.do(self.one.engine.store.write(self.one.results.finish_many, results))
        wanted = [
            self.oracle.finish(result.ref.task_id, result.ref.token, outcome)
            for result, (_, outcome) in zip(results, reports, strict=True)
        ]
        for result, verdict in zip(results, wanted, strict=True):
            if verdict == "LATE":
                self.oracle.keep_evidence(result.ref.task_id, result.ref.token)
        assert [getattr(verdict, "name", verdict) for verdict in verdicts] == wanted

    @precondition(lambda self: self.refs)
    @rule(which=WHICH)
    def guess(self, which: int) -> None:
        """The newest token without the id of its instance proves nothing."""
        ref = replace(self.placement(which), instance_id=self.ids[0])
        one = self.oracle.tasks.get(ref.task_id)
        if one is None or one.token == ref.token:
            assert self.do(self.one.finish(ref)).name == "UNKNOWN"
            assert not self.do(self.one.start(ref))

    @precondition(lambda self: self.refs)
    @rule(chosen=st.lists(WHICH, min_size=1, max_size=3))
    def lose(self, chosen: list[int]) -> None:
        refs = [self.placement(which) for which in chosen]
        for ref in refs:
            self.oracle.lose(ref.task_id, ref.token)
        self.do(self.one.results.lose(refs, "gone"))

    @precondition(lambda self: self.refs)
    @rule(chosen=st.lists(WHICH, min_size=1, max_size=3))
    def refuse(self, chosen: list[int]) -> None:
        refs = [self.placement(which) for which in chosen]
        for ref in refs:
            self.oracle.refuse(ref.task_id, ref.token)
        self.do(self.one.results.release(refs))

    # --- both say the same

    @invariant()
    def alike(self) -> None:
        found = self.do(self.one.engine.store.read(_snapshot, self.ids))
        assert found == self._wanted()

    def _wanted(self) -> dict[str, Any]:
        tasks = self.oracle.tasks
        return {
            "tasks": {
                one.id: (
                    *(one.status, one.attempt, one.token, one.stalled, one.epoch, one.priority),
                    *(one.cancel_requested, one.dead, one.status in FINAL),
                )
                for one in tasks.values()
            },
            "ready": {one.id: self.at(one.ready_at) for one in tasks.values() if one.ready_at is not None},
            "timers": {one.id: self.at(one.timer) for one in tasks.values() if one.timer is not None},
            "instances": {
                (one.id, token): (instance.status, instance.late)
                for one in tasks.values()
                for token, instance in one.instances.items()
            },
        }


def _snapshot(connection: Connection, ids: list[str]) -> dict[str, Any]:
    tasks = connection.execute(sa.select(task).where(task.c.id.in_(ids)))
    instances = connection.execute(
        sa.select(
            task_instance.c.task_id, task_instance.c.token, task_instance.c.status, task_instance.c.late_result
        ).where(task_instance.c.task_id.in_(ids))
    )
    names = ("NONE", "RETRIES_EXHAUSTED", "NOT_RETRYABLE", "AGENT_LOST")
    return {
        "tasks": {
            row.id: (
                *(Status(row.status).name, row.attempt, row.token, row.stalled, row.epoch, row.priority),
                *(row.cancel_requested, names[row.dead_reason], row.finished_at is not None),
            )
            for row in tasks
        },
        "ready": {row.task_id: row.ready_at for row in connection.execute(sa.select(ready))},
        "timers": {row.task_id: row.due_at for row in connection.execute(sa.select(timer))},
        "instances": {(row.task_id, row.token): (Status(row.status).name, row.late_result) for row in instances},
    }


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """A replica with two agents and the oracle's jobs."""
    with opened(migrated_url) as made:
        assert made.clock.at == NOW

        async def fill() -> None:
            for job in JOBS:
                await made.job(
                    job.name,
                    max_retries=job.max_retries,
                    retry_interval=float(job.retry_interval),
                    max_stalled=job.max_stalled,
                )
            for name in ("a", "b"):
                await made.connect(name)

        asyncio.run(fill())
        yield made


def test_the_store_does_what_the_oracle_says(one: Replica) -> None:
    run_state_machine_as_test(
        lambda: Run(one),  # type: ignore[arg-type]  # any maker of a machine, says its documentation
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A history that fails is short enough to read; making it shorter takes minutes on a real database.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
