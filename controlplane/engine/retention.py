"""What has been kept long enough goes: ended tasks with all that is theirs, logs, fires, request ids, agents long gone,
what was deleted softly, demands and uploads that nobody asks for. Never anything that has not ended, nor what it refers
to.

Work is cut into small transactions, and sized by what the last one took: on SQLite everybody who writes waits behind
each of them. Where there are partitions, a month whose tasks have all been kept long enough is dropped whole, which
costs nothing however many they are; so tasks live up to a month longer there. A month that unfinished work pins is
emptied around that work. Without partitions rows go one batch after the other as soon as they are old enough.

Every chore may be interrupted anywhere and begun anew; two that do the same at once pass over each other's rows.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from controlplane.domain.errors import Unavailable
from controlplane.domain.ids import first_id_at
from controlplane.engine.artifacts import Artifacts
from controlplane.engine.context import Engine
from controlplane.engine.outputs import Outputs
from controlplane.store import Connection, dialect, groups, idempotency, retention
from controlplane.store.dialect import Month
from controlplane.store.retention import Span

P = ParamSpec("P")
R = TypeVar("R")

DAY = 86_400_000_000
WALK_REST = 3_600_000_000  # from the end of a walk along a big table to the next
REST = 60_000_000
SMALL = 200  # rows of the chores that are never in a hurry
LOG_CHUNKS = 200  # of 64 KiB each, at most
FREED_PAGES = 500
# For how many days longer than tasks demands are kept. Where there are partitions a task may stay a month longer than
# it has to; then hardly any is left of those that a look at a demand has to read.
DEMANDS_LONGER = 33.0
SLOW_SECONDS, QUICK_SECONDS = 0.05, 0.02
SMALLEST = 25  # below it a transaction costs more than its rows
FIRST_ID = first_id_at(0)

_log = structlog.get_logger("controlplane.retention")


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days each kind is kept."""

    tasks: float = 30.0
    logs: float = 30.0
    fires: float = 30.0
    agents: float = 30.0
    deleted: float = 30.0
    uploads: float = 1.0


@dataclass(slots=True)
class Batch:
    """How many rows to take at once: fewer after a slow transaction, more after a quick one."""

    size: int = 100
    longest: float = 0.0

    def took(self, seconds: float, *, full: bool) -> None:
        """A transaction took so long; `full`, if it had as many rows as it may."""
        self.longest = max(self.longest, seconds)
        if seconds > SLOW_SECONDS:
            self.size = max(SMALLEST, self.size // 2)
        elif seconds < QUICK_SECONDS and full:
            self.size = min(1_000, self.size * 2)


@dataclass(slots=True)
class Walk:
    """A way along a big table: what is left of it. None: the next step begins anew."""

    spans: list[Span] | None = None

    def advance(self, last: str | None) -> bool:
        """Go on after this id, or with the next span if there is none; whether anything is left."""
        assert self.spans
        first, *rest = self.spans
        self.spans = [replace(first, after=last), *rest] if last is not None else rest
        return bool(self.spans)


@dataclass(slots=True)
class Chore:
    """One kind of thing that goes. `work` takes a batch and answers whether there is more."""

    what: str
    work: Callable[[], Awaitable[bool]]
    rest: int = REST
    due: int = 0
    removed: int = 0


def _rest(days: float) -> int:
    """From one walk to the next: an hour is little beside days, and too long for what is kept for minutes."""
    return min(WALK_REST, max(REST, round(days * DAY / 24)))


@dataclass(slots=True)
class Retention:
    """The use case: `turn` is called again and again by the upkeep loop."""

    engine: Engine
    outputs: Outputs
    kept: Kept = field(default_factory=Kept)
    batch: Batch = field(default_factory=Batch)

    _chores: list[Chore] = field(init=False)
    _artifacts: Artifacts = field(init=False)
    _tasks_walk: Walk = field(init=False, default_factory=Walk)
    _logs_walk: Walk = field(init=False, default_factory=Walk)
    _revision: tuple[str, int] = (FIRST_ID, 0)
    _group: str = FIRST_ID

    def __post_init__(self) -> None:
        self._artifacts = Artifacts(self.engine)
        self._chores = [
            Chore("tasks", self._tasks, _rest(self.kept.tasks)),
            Chore("logs", self._logs, _rest(self.kept.logs)),
            Chore("fires", self._fires),
            Chore("request ids", self._request_ids),
            Chore("agents", self._agents),
            Chore("schedules", self._schedules),
            Chore("groups", self._groups, _rest(self.kept.tasks)),
            Chore("revisions", self._revisions, WALK_REST),
            Chore("jobs", self._jobs),
            Chore("demands", self._demands, WALK_REST),
            Chore("uploads", self._uploads),
            Chore("free space", self._space),
        ]
        for chore in self._chores:
            self._count(chore.what, 0)  # there from the start, so that a rate can be asked for
        self._count("months", 0)

    @property
    def removed(self) -> dict[str, int]:
        """How many of each kind went since this process began."""
        return {chore.what: chore.removed for chore in self._chores}

    async def turn(self) -> bool:
        """A batch of every kind; whether there is more of any."""
        more = False
        for chore in self._chores:
            now, before = self.engine.clock.now(), chore.removed
            if chore.due > now:
                continue
            chore_has_more = await chore.work()
            if not chore_has_more:
                chore.due = now + chore.rest
            if chore.removed != before:
                self._count(chore.what, chore.removed - before)
                longest = round(self.batch.longest * 1000, 1)
                _log.debug("kept long enough", what=chore.what, count=chore.removed - before, longest_write_ms=longest)
            more |= chore_has_more
        return more

    def _before(self, days: float) -> int:
        return self.engine.clock.now() - round(days * DAY)

    async def _write(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A transaction, timed without its wait for a thread."""
        begun = 0.0

        def work(connection: Connection) -> R:
            nonlocal begun
            begun = time.perf_counter()
            return function(connection, *args, **kwargs)

        result = await self.engine.store.write(work)
        self.batch.took(time.perf_counter() - begun, full=isinstance(result, list) and len(result) >= self.batch.size)
        return result

    # --- tasks

    async def _tasks(self) -> bool:
        cutoff = self._before(self.kept.tasks)
        if self._tasks_walk.spans is None:
            self._tasks_walk.spans = await self._begin(cutoff, self._drop)
        if not self._tasks_walk.spans:
            self._tasks_walk.spans = None
            return False
        span = self._tasks_walk.spans[0]
        walked = await self.engine.store.read(retention.ended_tasks, span, cutoff, self.batch.size)
        last = walked.last
        if walked.ids:
            gone = await self._write(retention.delete_tasks, walked.ids, cutoff)
            await self._delete_logs(gone)
            self._chore("tasks").removed += len(gone)
            if gone and gone[-1] != walked.ids[-1]:
                last = gone[-1]  # the rest was too much for one transaction
        self._tasks_walk.advance(last)
        return True

    async def _begin(self, cutoff: int, whole: Callable[[Month, int], Awaitable[bool]]) -> list[Span]:
        """What is to be walked along: all that is old enough, or of months, where there are any, those that stay."""
        if self.engine.store.is_sqlite:
            return [Span(FIRST_ID, first_id_at(cutoff))]
        spans = []
        for month in await self.engine.store.read(retention.months, cutoff):
            found = await self.engine.store.read(retention.contents, month, cutoff)
            if found.unfinished or (found.outputs and not found.young):
                large = not found.unfinished  # their bytes are counted one by one; the rest of the month can go whole
                spans.append(Span(first_id_at(month.first), first_id_at(month.until), large))
            elif not found.young:
                await whole(month, cutoff)
        return spans

    async def _drop(self, month: Month, cutoff: int) -> bool:
        try:
            gone = await self.engine.store.write(retention.drop_month, month, cutoff)
        except Unavailable as error:  # somebody reads for long: the next walk tries again
            _log.info("a month is not dropped yet", month=month.name, because=error.message)
            return False
        if gone:
            self._count("months", 1)
            _log.info("a month of ended tasks was dropped", month=month.name)
        return gone

    # --- logs

    async def _logs(self) -> bool:
        cutoff = self._before(min(self.kept.logs, self.kept.tasks))
        if self._logs_walk.spans is None:
            self._logs_walk.spans = await self._begin(cutoff, self._empty_logs)
        if not self._logs_walk.spans:
            self._logs_walk.spans = None
            return False
        walked = await self.engine.store.logs(retention.logged_tasks, self._logs_walk.spans[0], self.batch.size)
        if walked.ids:
            keeping = await self.engine.store.read(retention.keeping_logs, walked.ids, cutoff)
            await self._delete_logs([task_id for task_id in walked.ids if task_id not in keeping])
        self._logs_walk.advance(walked.last)
        return True

    async def _delete_logs(self, ids: Sequence[str]) -> None:
        """Of tasks that are gone or ended long ago. What a crash leaves behind is met by the walk along the logs."""
        while ids:
            gone = await self.engine.store.logs(retention.delete_logs, ids, LOG_CHUNKS)
            self._chore("logs").removed += gone
            if gone < LOG_CHUNKS:
                return

    async def _empty_logs(self, month: Month, cutoff: int) -> bool:
        try:
            return await self.engine.store.write(retention.empty_logs_of_month, month, cutoff)
        except Unavailable as error:
            _log.info("logs of a month are not emptied yet", month=month.name, because=error.message)
            return False

    # --- what is small

    async def _fires(self) -> bool:
        return await self._few("fires", retention.delete_fires, self._before(self.kept.fires))

    async def _request_ids(self) -> bool:
        return await self._few("request ids", idempotency.delete_expired, self.engine.clock.now())

    async def _agents(self) -> bool:
        return await self._few("agents", retention.delete_agents, self._before(self.kept.agents))

    async def _schedules(self) -> bool:
        return await self._few("schedules", retention.delete_schedules, self._before(self.kept.deleted))

    async def _jobs(self) -> bool:
        return await self._few("jobs", retention.delete_jobs, self._before(self.kept.deleted))

    async def _few(self, what: str, delete: Callable[[Connection, int, int], int], before: int) -> bool:
        gone = await self._write(delete, before, SMALL)
        self._chore(what).removed += gone
        return gone == SMALL

    async def _revisions(self) -> bool:
        seen = await self._write(retention.delete_revisions, self._revision, self._before(self.kept.deleted), SMALL)
        self._revision = seen.last or (FIRST_ID, 0)
        self._chore("revisions").removed += seen.gone
        return seen.last is not None

    async def _demands(self) -> bool:
        """What tasks asked of their agents, once nothing refers to it."""
        cutoff = self._before(self.kept.tasks + DEMANDS_LONGER)
        seen = await self._write(retention.delete_requirements, cutoff, self.engine.clock.now(), SMALL)
        self._chore("demands").removed += seen.gone
        return seen.more

    async def _groups(self) -> bool:
        """Those whose tasks are gone."""
        last, gone = await self._write(groups.delete_empty, self._group, SMALL)
        self._group = last or FIRST_ID
        self._chore("groups").removed += gone
        return last is not None

    async def _uploads(self) -> bool:
        before = self._before(self.kept.uploads)
        gone = await self.outputs.drop_stale(before) + await self._artifacts.drop_stale(before)
        self._chore("uploads").removed += gone
        return gone > 0

    async def _space(self) -> bool:
        """Nothing of anybody's: pages of a SQLite file that are free."""
        freed = await self._write(dialect.give_back, FREED_PAGES)
        if self.engine.store.is_sqlite:
            freed += await self.engine.store.logs(dialect.give_back, FREED_PAGES)
        return freed > 0

    def _count(self, what: str, count: int) -> None:
        self.engine.store.measures.removed.labels(what).inc(count)

    def _chore(self, what: str) -> Chore:
        return next(chore for chore in self._chores if chore.what == what)
