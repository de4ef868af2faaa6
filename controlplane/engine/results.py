"""What agents report, and what is concluded when they cannot: starts, results, refusals, losses. In batches.

A report counts by its token (`domain.task`). One that comes too late is kept as evidence on its instance, and its
sender is told so by being acknowledged: repeating it would change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import structlog
from msgspec.structs import replace

from controlplane.domain.errors import Fenced, IllegalTransition, Unavailable
from controlplane.domain.retry import after_failure, after_loss
from controlplane.domain.task import (
    Confirm,
    EndInstance,
    Release,
    Start,
    Status,
    Step,
    Succeed,
    Task,
    Transition,
    apply,
)
from controlplane.engine.context import Engine
from controlplane.engine.revisions import Revisions
from controlplane.store import Connection, artifacts, outputs, tasks
from controlplane.store.committer import Committer
from controlplane.store.tasks import AGENT_LOST, InstanceEnd

_log = structlog.get_logger("controlplane.results")

LEASE_EXPIRED = "LEASE_EXPIRED"  # an agent out of reach ended the work itself, before its lease did


@dataclass(frozen=True, slots=True)
class Ref:
    """One placement, by what proves the right to it. `within`: the namespaces that whoever names it may touch."""

    task_id: str
    instance_id: str
    token: int
    within: frozenset[str] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Result:
    """How an agent says a placement ended; instants of the control plane's clock. `artifacts`: digests by name, of
    files that were put before; `progress`: the last that it said, percent and words.
    """

    ref: Ref
    end: InstanceEnd
    retry_after: int | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    progress: tuple[float, str] | None = None


class Verdict(Enum):
    """What became of a report."""

    COUNTED = 1
    LATE = 2
    UNKNOWN = 3


class Results:
    """The use cases of reports."""

    def __init__(self, engine: Engine, revisions: Revisions) -> None:
        self._engine = engine
        self._revisions = revisions
        # Waits of the batch that is being written, in each of two writers: one that begins again begins them again.
        self._waits: dict[str, list[float]] = {"starts": [], "ends": []}
        self._running: list[Task] = []  # of the batch of starts that is being written
        self.finishing: Committer[Result, Verdict] = Committer(
            engine.store, "finish tasks", self.finish_many, self._finished, weigh=lambda one: len(one.end.output or b"")
        )
        self.starting: Committer[tuple[Ref, int], bool] = Committer(
            engine.store, "start tasks", self.start_many, self._started
        )
        self.progressing: Committer[tuple[Ref, float, str], None] = Committer(
            engine.store, "progress", self.progress_many, self._progressed
        )

    # --- results

    def finish_many(self, connection: Connection, items: Sequence[Result]) -> Sequence[Verdict | Exception]:
        """Many results in one transaction, and what became of each."""
        now = self._engine.clock.now()
        waits = self._waits["ends"] = []
        present = self._present(connection, [item.ref for item in items])
        self._revisions.load(connection, {(one.job_id, one.job_revision) for one in present.values()})
        steps: list[tuple[Task, Step]] = []
        ends: dict[tuple[str, int], InstanceEnd] = {}
        verdicts: list[Verdict | Exception] = []
        late: list[Result] = []
        kept: list[Result] = []
        put = outputs.complete_of(connection, [_placement(item) for item in items if item.end.output_digest])
        for item in items:
            before = present.get(item.ref.task_id)
            if before is None or not _is_of(item.ref, before):
                verdicts.append(Verdict.UNKNOWN)
                continue
            try:
                step = apply(before, self._transition(before, item), now)
                if not _has_output(item, put):
                    # Dropped before the result came: the agent still has it, and puts it again before it repeats this.
                    verdicts.append(Unavailable(f"the output of instance {item.ref.instance_id} is not stored"))
                    continue
                if not _has_artifacts(connection, item):
                    verdicts.append(Unavailable(f"the artifacts of instance {item.ref.instance_id} are not stored"))
                    continue
            except (Fenced, IllegalTransition):
                late.append(item)
                verdicts.append(Verdict.LATE)
                continue
            ends[item.ref.task_id, item.ref.token] = item.end
            kept.append(item)
            waits += _wait(before, item.end.started_at)
            steps.append((before, step))
            present[before.id] = step.task
            verdicts.append(Verdict.COUNTED)
        tasks.save_many(connection, steps, ends=ends)
        held = [key for key, end in ends.items() if end.output_digest]
        for item in late:  # after the others: what counts in the same batch makes a repeat of it no evidence
            end = item.end if _has_output(item, put) else replace(item.end, output_digest=None)
            if tasks.record_late(connection, item.ref.task_id, item.ref.token, item.ref.instance_id, end):
                if end.output_digest:
                    held.append(_placement(item))
                if _has_artifacts(connection, item):
                    kept.append(item)
        for task_id, token in held:
            outputs.hand_over(connection, task_id, token)
        self._keep(connection, kept)
        return verdicts

    def _present(self, connection: Connection, refs: Sequence[Ref]) -> dict[str, Task]:
        """The tasks of these placements: as they were placed here, else as they are stored. From memory comes only what
        agrees with the report, so that all it can lead to is a step, which is written nowhere but on what it was made
        from. That a report says nothing new is never concluded from memory.
        """
        known = self._engine.placed.take([ref.task_id for ref in refs])
        for ref in refs:
            one = known.get(ref.task_id)
            if one is not None and (ref.token, ref.instance_id) != (one.token, one.instance_id):
                del known[ref.task_id]
        return known | tasks.load_many(connection, [ref.task_id for ref in refs if ref.task_id not in known])

    @staticmethod
    def _keep(connection: Connection, items: Sequence[Result]) -> None:
        """What few results have beside their ends."""
        for item in items:
            if item.artifacts:
                artifacts.name(connection, item.ref.task_id, item.ref.token, item.artifacts)
        said = [(item.ref.task_id, item.ref.token, *item.progress) for item in items if item.progress is not None]
        if said:
            tasks.set_progress(connection, said)

    def _transition(self, before: Task, item: Result) -> Transition:
        end, token = item.end, item.ref.token
        if token != before.token:
            return Succeed(token=token, at=end.finished_at)  # fenced whatever it says
        if end.status is Status.SUCCEEDED:
            return Succeed(token=token, at=end.finished_at, started_at=end.started_at)
        if end.status is Status.CANCELLED and before.cancel_requested:
            return Confirm(token=token, at=end.finished_at, started_at=end.started_at)
        policy = self._revisions.spec(before).config.retry_policy
        if end.status is Status.CANCELLED or end.error_code == LEASE_EXPIRED:
            # Its own agent stopped it (lease, shutdown) and nobody had asked: it did not fail, it is placed anew. If
            # the reaper has concluded that already, the report says nothing new.
            if not before.on_agent:
                raise Fenced(f"placement {token} of task {before.id} was given up before its agent stopped it")
            why = f"stopped by its agent: {end.error_message or end.error_code or ''}"
            return replace(after_loss(before, policy, why), reported=True)
        retryable = end.error_retryable is not False
        return after_failure(
            before,
            policy,
            token=token,
            at=end.finished_at,
            started_at=end.started_at,
            code=end.error_code or "",
            retryable=retryable,
            retry_after=item.retry_after,
        )

    def _finished(self, items: Sequence[Result], verdicts: Sequence[Verdict | Exception]) -> None:
        counted = [item for item, verdict in zip(items, verdicts, strict=True) if verdict is Verdict.COUNTED]
        self._observe_waits("ends")
        for item in counted:
            if item.end.started_at is not None:
                seconds = max(0, item.end.finished_at - item.end.started_at) / 1e6
                self._engine.store.measures.run.labels(item.end.status.name).observe(seconds)
        self._hint(item.ref.task_id for item in counted)

    def _observe_waits(self, which: str) -> None:
        waits, self._waits[which] = self._waits[which], []
        for seconds in waits:
            self._engine.store.measures.wait.observe(seconds)

    def _hint(self, ids: Iterable[str]) -> None:
        self._engine.wakeups.hint(*(f"task:{task_id}" for task_id in ids))

    # --- starts and progress

    def start_many(self, connection: Connection, items: Sequence[tuple[Ref, int]]) -> Sequence[bool | Exception]:
        """Many starts in one transaction; whether each was news."""
        now = self._engine.clock.now()
        self._running.clear()
        present = self._present(connection, [ref for ref, _ in items])
        steps: list[tuple[Task, Step]] = []
        started: list[tuple[str, int, int]] = []
        waits = self._waits["starts"] = []
        outcomes: list[bool | Exception] = []
        for ref, at in items:
            before = present.get(ref.task_id)
            try:
                known = before is not None and _is_of(ref, before)
                step = (
                    None
                    if before is None or not known
                    else apply(before, Start(token=ref.token, at=now, started_at=at), now)
                )
            except (Fenced, IllegalTransition):
                step = None  # a repeated or overtaken start says nothing new
            outcomes.append(step is not None)
            if step is not None and before is not None:
                steps.append((before, step))
                present[before.id] = step.task
                started.append((ref.task_id, ref.token, at))
                waits += _wait(before, at)
        tasks.save_many(connection, steps)
        tasks.start_instances(connection, started)
        self._running += [step.task for _, step in steps]
        return outcomes

    def _started(self, items: Sequence[tuple[Ref, int]], _: Sequence[bool | Exception]) -> None:
        self._observe_waits("starts")
        self._engine.placed.keep(self._running)
        self._engine.wakeups.hint(*(f"task:{ref.task_id}" for ref, _ in items))

    @staticmethod
    def progress_many(connection: Connection, items: Sequence[tuple[Ref, float, str]]) -> Sequence[Exception | None]:
        """What is said of placements that are open. Who names another's, or one that has ended, changes nothing."""
        open_now = tasks.open_placements(connection, {ref.task_id for ref, _, _ in items})
        known = [
            (ref.task_id, ref.token, percent, text)
            for ref, percent, text in items
            if (space := open_now.get((ref.task_id, ref.token, ref.instance_id))) is not None
            and (ref.within is None or space in ref.within)
        ]
        tasks.set_progress(connection, known)
        return [None] * len(items)

    def _progressed(self, items: Sequence[tuple[Ref, float, str]], _: Sequence[Exception | None]) -> None:
        self._engine.wakeups.hint(*{f"task:{ref.task_id}" for ref, _, _ in items})

    # --- placements that come to nothing

    async def release(self, refs: Sequence[Ref]) -> None:
        """Placements that never began: their tasks wait again, at no cost."""
        await self._conclude(refs, lambda one: Release(token=one.token), lambda _: None)

    async def lose(self, refs: Sequence[Ref], why: str) -> None:
        """Placements whose agent is lost: their tasks are placed anew, or fail when that was once too often."""

        def transition(one: Task) -> Transition:
            return after_loss(one, self._revisions.spec(one).config.retry_policy, why)

        def end(now: int) -> InstanceEnd:
            return InstanceEnd(Status.FAILED, now, error_code=AGENT_LOST, error_message=why, error_retryable=True)

        for one in await self._conclude(refs, transition, end):
            facts = {"task": one.id, "agent": one.agent_id, "stalled": one.stalled, "status": one.status.name}
            _log.warning("a task stalled: its agent was lost", **facts)

    async def _conclude(
        self,
        refs: Sequence[Ref],
        transition: Callable[[Task], Transition],
        end: Callable[[int], InstanceEnd | None],
    ) -> list[Task]:
        """The tasks as they are afterwards, but for those that somebody else was faster with."""

        def work(connection: Connection) -> list[Task]:
            now = self._engine.clock.now()
            present = tasks.load_many(connection, (ref.task_id for ref in refs))
            self._revisions.load(connection, {(one.job_id, one.job_revision) for one in present.values()})
            steps: list[tuple[Task, Step]] = []
            ends: dict[tuple[str, int], InstanceEnd] = {}
            for ref in refs:
                before = present.get(ref.task_id)
                # Somebody may have been faster: a result, or another look at the same loss.
                if before is None or before.token != ref.token or not before.on_agent or not _is_of(ref, before):
                    continue
                try:
                    step = apply(before, transition(before), now)
                except IllegalTransition:
                    continue  # refused although it runs: its agent contradicts itself, and what it does next counts
                steps.append((before, step))
                present[before.id] = step.task
                concluded = end(now)
                for effect in step.effects:
                    if isinstance(effect, EndInstance) and concluded is not None:
                        ends[before.id, effect.token] = concluded
            tasks.save_many(connection, steps, ends=ends)
            return [step.task for _, step in steps]

        if not refs:
            return []
        changed = await self._engine.store.write(work)
        self._hint(one.id for one in changed)
        return changed


def _wait(before: Task, started_at: int | None) -> list[float]:
    """Seconds from when it could run to its first start, if this report is the first to tell of that."""
    if before.started_at is not None or started_at is None:
        return []
    return [max(0, started_at - max(before.created_at, before.scheduled_at)) / 1e6]


def _placement(item: Result) -> tuple[str, int]:
    return item.ref.task_id, item.ref.token


def _has_output(item: Result, put: Mapping[tuple[str, int], str]) -> bool:
    """Whether the output that the result names, if it names one, is stored and its own."""
    return item.end.output_digest is None or put.get(_placement(item)) == item.end.output_digest


def _has_artifacts(connection: Connection, item: Result) -> bool:
    """Whether all the artifacts that the result names, if it names any, are stored."""
    return not item.artifacts or artifacts.has_all(connection, item.ref.task_id, item.ref.token, item.artifacts)


def _is_of(ref: Ref, one: Task) -> bool:
    """Whether the newest token comes with its instance: tokens can be counted up to, ids of instances not guessed. Who
    has learnt one all the same must be allowed where its task is.
    """
    if ref.within is not None and one.namespace_id not in ref.within:
        return False
    return ref.token != one.token or ref.instance_id == one.instance_id
