"""Retention against an oracle: random histories of months, everything that is stored before and after, and in plain
words over those rows what may go, what must, and what has to be whole.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controlplane.domain.errors import PawlError
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.ids import first_id_at, id_time
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import ScheduleSpec
from controlplane.domain.task import Status
from controlplane.engine.jobs import JobDraft
from controlplane.engine.logs import Logs
from controlplane.engine.outputs import Outputs
from controlplane.engine.results import Ref
from controlplane.engine.retention import Kept, Retention
from controlplane.engine.schedules import ScheduleDraft, Schedules
from controlplane.store import dialect
from controlplane.store.agents import AgentStatus
from controlplane.store.tasks import TaskData
from tests.engine.stage import Replica, opened, placed
from tests.engine.test_outputs import piece
from tests.engine.test_retention import DAYS, Rows, chunk, partitions, rows, scheduler, settle, task_ids

MONTHS = 4
KEPT = Kept(tasks=30.0, logs=20.0, fires=10.0, agents=15.0, deleted=12.0, uploads=1.0)
DAY = round(DAYS * 1e6)
CHILDREN = ("sched_task_data", "sched_task_tag", "sched_task_transition", "sched_task_instance")


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


# --- a history


@dataclass
class History:
    """What people, schedules and agents do for some months, by chance, through the use cases."""

    one: Replica
    chance: random.Random
    running: list[Ref] = field(default_factory=list)
    made: int = 0

    async def live(self) -> None:
        """All of it."""
        while self.one.clock.at < self._end:
            self.one.clock.move(self.chance.uniform(0.2, 5) * DAYS)
            await partitions(self.one)
            for _ in range(self.chance.randint(2, 5)):
                act = self.chance.choices(*zip(*self._acts, strict=True))[0]
                with suppress(PawlError):  # a refusal changes nothing, and is a part of life
                    await act()

    def __post_init__(self) -> None:
        self._end = self.one.clock.at + MONTHS * 30 * DAY
        self._outputs, self._logs, self._schedules = (
            Outputs(self.one.engine),
            Logs(self.one.engine),
            Schedules(self.one.engine),
        )
        self._acts: Sequence[tuple[Callable[[], Any], int]] = (
            (self.creates_tasks, 6),
            (self.runs_tasks, 8),
            (self.ends_a_task, 8),
            (self.cancels_or_restarts, 4),
            (self.uploads, 3),
            (self.makes_a_job, 1),
            (self.changes_a_job, 2),
            (self.deletes_a_job, 1),
            (self.schedules, 3),
            (self.fires, 3),
            (self.agent_comes_and_goes, 2),
        )

    def _name(self, of: int = 3) -> str:
        return f"n{self.chance.randrange(of)}"

    async def makes_a_job(self) -> None:
        await self.one.job(self._name())

    async def changes_a_job(self) -> None:
        text = f"{self.chance.random()}"
        await self.one.jobs.update(
            "default",
            self._name(),
            lambda job: JobDraft(job.name, replace(job.spec, description=text)),
            etag=None,
            request=None,
        )

    async def deletes_a_job(self) -> None:
        cascade = self.chance.random() < 0.5
        await self.one.jobs.delete("default", self._name(), cascade=cascade, by="ann", etag=None, request=None)

    async def creates_tasks(self) -> None:
        self.made += 1
        later = self.one.clock.at + 60 * DAY if self.chance.random() < 0.1 else None
        await self.one.create(
            self._name(),
            self.chance.randint(1, 3),
            scheduled_at=later,
            data=TaskData(tags={"n": "1"} if self.chance.random() < 0.5 else {}),
        )
        await self.one.create(self._name(), key=IdempotencyKey("default", "any", f"{self.made}", fingerprint(b"")))

    async def runs_tasks(self) -> None:
        session = await self.one.connect("agent", free=4, state_id="agent")
        await self.one.place()
        for placement in placed(session):
            await self.one.start(placement.ref)
            self.running.append(placement.ref)
            if self.chance.random() < 0.5:
                await self._logs.append([chunk(placement.ref, number) for number in range(2)], "default")

    async def ends_a_task(self) -> None:
        for ref in self.chance.sample(self.running, min(2, len(self.running))):
            self.running.remove(ref)
            status = self.chance.choice((Status.SUCCEEDED, Status.FAILED))
            fields: dict[str, Any] = {}
            if status is Status.SUCCEEDED and self.chance.random() < 0.3:
                data = self._bytes()
                await self._outputs.put(ref, ("default", "agent"), piece(0, data))
                fields = {"output_digest": piece(0, data).digest, "output_size": len(data)}
            await self.one.finish(ref, status, **fields)

    def _bytes(self) -> bytes:
        return b"output %d" % self.chance.randrange(3)

    async def uploads(self) -> None:
        if self.running:
            await self._outputs.put(self.chance.choice(self.running), ("default", "agent"), piece(0, self._bytes()))

    async def cancels_or_restarts(self) -> None:
        task_id = self.chance.choice(sorted(await task_ids(self.one)) or [first_id_at(0)])
        if self.chance.random() < 0.6:
            await self.one.cancel(task_id)
        else:
            await self.one.tasks.retry("default", task_id, by="ann", why="", key=None)

    async def schedules(self) -> None:
        name = self._name(2)
        if self.chance.random() < 0.3:
            await self._schedules.delete("default", name, etag=None, request=None)
        else:
            spec = ScheduleSpec(interval_seconds=DAYS)
            await self._schedules.create("default", ScheduleDraft(name, self._name(), Kind.INTERVAL, "", spec), None)

    async def fires(self) -> None:
        await scheduler(self.one).sweep()

    async def agent_comes_and_goes(self) -> None:
        session = await self.one.connect(f"guest-{self._name(4)}")
        if self.chance.random() < 0.7:
            await self.one.agents.leave(session, on_purpose=True)


# --- the oracle


@dataclass
class Oracle:
    """What may go of what was stored, and what must, at this instant."""

    before: Rows
    now: int
    by_months: bool

    def older(self, days: float) -> int:
        return self.now - round(days * DAY)

    def going_tasks(self, days: float) -> set[str]:
        """Tasks that ended so long ago; by months: in a month that is over for so long, if unfinished work pins it or
        if nothing in it ended since.
        """
        cutoff = self.older(days)
        old = {row.id for row in self.before["sched_task"] if _before(row.finished_at, cutoff)}
        if not self.by_months:
            return old
        months: dict[int, list[Any]] = {}
        for row in self.before["sched_task"]:
            months.setdefault(dialect.month_bounds(id_time(row.id))[-1], []).append(row)
        going = set()
        for until, inside in months.items():
            pinned = any(row.finished_at is None for row in inside)
            young = any(row.finished_at is not None and row.id not in old for row in inside)
            if until <= cutoff and (pinned or not young):
                going |= {row.id for row in inside} & old
        return going

    def going_fires(self, tasks: Mapping[str, Any]) -> set[tuple[str, int]]:
        cutoff = self.older(KEPT.fires)
        return {
            (row.schedule_id, row.fire_time)
            for row in self.before["sched_fire"]
            if row.handled_at < cutoff
            and (row.task_id is None or row.task_id not in tasks or tasks[row.task_id].finished_at is not None)
        }

    def going_agents(self) -> set[str]:
        cutoff = self.older(KEPT.agents)
        busy = {row.agent_id for row in self.before["sched_task_instance"] if row.status in (5, 10)}
        return {
            row.id
            for row in self.before["sched_agent"]
            if row.status in (AgentStatus.LOST, AgentStatus.STOPPED)
            and max(row.updated_at, row.last_beat_at) < cutoff
            and row.id not in busy
        }


def _before(at: int | None, cutoff: int) -> bool:
    return at is not None and at < cutoff


def ids(stored: Rows, table: str, column: str = "id") -> set[Any]:
    return {getattr(row, column) for row in stored[table]}


def judge(before: Rows, after: Rows, now: int, *, by_months: bool) -> None:
    """Compare, kind by kind."""
    oracle = Oracle(before, now, by_months)
    tasks = {row.id: row for row in before["sched_task"]}
    left = tasks.keys() - oracle.going_tasks(KEPT.tasks)
    assert ids(after, "sched_task") == left
    assert [row for row in after["sched_task"] if tuple(row) != tuple(tasks[row.id])] == []
    for table in CHILDREN:
        assert Counter(map(tuple, after[table])) == Counter(tuple(row) for row in before[table] if row.task_id in left)
    for table in ("sched_ready", "sched_timer"):
        assert Counter(map(tuple, after[table])) == Counter(map(tuple, before[table]))

    without_logs = oracle.going_tasks(KEPT.logs) | oracle.going_tasks(KEPT.tasks)
    wanted = Counter(tuple(row) for row in before["sched_log_chunk"] if row.task_id not in without_logs)
    assert Counter(map(tuple, after["sched_log_chunk"])) == wanted

    fires = {(row.schedule_id, row.fire_time) for row in after["sched_fire"]}
    assert fires == {(r.schedule_id, r.fire_time) for r in before["sched_fire"]} - oracle.going_fires(tasks)
    assert ids(after, "sched_agent") == ids(before, "sched_agent") - oracle.going_agents()
    unexpired = {row.digest for row in before["sched_request"] if row.expires_at > now}
    assert ids(after, "sched_request", "digest") == unexpired

    deleted = oracle.older(KEPT.deleted)
    named_schedules = ids(after, "sched_fire", "schedule_id") | ids(after, "sched_task", "schedule_id")
    gone = {r.id for r in before["sched_schedule"] if _before(r.deleted_at, deleted) and r.id not in named_schedules}
    assert ids(after, "sched_schedule") == ids(before, "sched_schedule") - gone
    named_jobs = ids(after, "sched_task", "job_id") | ids(after, "sched_schedule", "job_id")
    gone = {row.id for row in before["sched_job"] if _before(row.deleted_at, deleted) and row.id not in named_jobs}
    assert ids(after, "sched_job") == ids(before, "sched_job") - gone

    run = {(row.job_id, row.job_revision) for row in after["sched_task"]}
    made = {(row.job_id, row.revision): row.created_at for row in before["sched_job_revision"]}
    replaced = {key for key in made if _before(made.get((key[0], key[1] + 1)), deleted)}
    kept = {key for key in made.keys() - (replaced - run) if key[0] in ids(after, "sched_job")}
    assert {(row.job_id, row.revision) for row in after["sched_job_revision"]} == kept

    uploads = {
        (row.task_id, row.token)
        for row in before["sched_output_upload"]
        if row.touched_at >= oracle.older(KEPT.uploads) and row.task_id in left
    }
    assert {(row.task_id, row.token) for row in after["sched_output_upload"]} == uploads
    holders = Counter(row.output_digest for row in after["sched_task_instance"] if row.output_digest is not None)
    holders.update(row.digest for row in after["sched_output_upload"] if row.complete)
    assert {row.digest: row.holders for row in after["sched_blob"]} == dict(holders)
    contents = ids(after, "sched_blob", "content")
    contents |= {row.content for row in after["sched_output_upload"] if not row.complete}
    assert ids(after, "sched_blob_chunk", "content") == contents


@pytest.mark.parametrize("seed", range(2))
async def test_of_any_history_what_is_old_goes_and_the_rest_is_whole(one: Replica, seed: int) -> None:
    history = History(one, random.Random(seed))
    for name in range(3):
        await one.job(f"n{name}")
    await history.live()
    before = await rows(one)
    kept = Retention(one.engine, Outputs(one.engine), KEPT)
    kept.batch.size = 7
    await settle(kept)
    for _ in range(3):  # what waits for something else goes when that has gone; a month after its large outputs
        for chore in kept._chores:
            chore.due = 0
        await settle(kept)
    after = await rows(one)
    judge(before, after, one.clock.at, by_months=not one.engine.store.is_sqlite)
    for table in ("sched_task", "sched_task_instance", "sched_log_chunk", "sched_fire", "sched_request"):
        assert len(after[table]) < len(before[table]), "nothing happened that is worth a look"
