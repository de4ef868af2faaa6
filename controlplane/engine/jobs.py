"""Jobs as people ask for them: create, read, list, change, enable, disable, delete.

Each use case is load → decide → save, in one transaction. Not here: what a field may hold (`domain/job_rules.py`) and
the wire form (`api/translate.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid, NotFound
from controlplane.domain.etag import check_etag
from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.job import Job, JobSpec, JobStatus
from controlplane.domain.job_rules import job_problems
from controlplane.domain.plugin import PluginStatus
from controlplane.domain.task import Task
from controlplane.engine import demands, lists
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.engine.options import check_options
from controlplane.engine.tasks import Tasks
from controlplane.store import Connection, jobs, namespaces, plugins, schedules, tasks
from controlplane.store.query import Page

JOBS = Queryable(
    "job",
    (
        Field("id", Kind.ID, indexed=True),
        Field("name", Kind.TEXT, indexed=True),
        Field(
            "status",
            Kind.ENUM,
            enum_values={one.name: int(one) for one in JobStatus},
            enum_name="pawl.v1.Job.Status",
            aliases=("state",),
        ),
        Field("revision", Kind.INT),
        Field("created_at", Kind.INSTANT, indexed=True),
        Field("updated_at", Kind.INSTANT),
    ),
)


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job as a caller wants it. Its plugin may be named in any way; without a status it keeps the one it has."""

    name: str
    spec: JobSpec
    status: JobStatus | None = None


class Jobs:
    """The use cases of jobs."""

    def __init__(self, engine: Engine, tasks: Tasks) -> None:
        self._engine = engine
        self._tasks = tasks

    async def create(self, namespace_id: str, draft: JobDraft, key: IdempotencyKey | None) -> Job:
        """A stored job, enabled unless the draft says otherwise. Raises Invalid, NotFound (plugin), AlreadyExists."""
        _check(draft)
        await check_options(self._engine, namespace_id, draft.spec.config)

        def effect(connection: Connection, now: int) -> tuple[str, Job]:
            namespaces.hold(connection, namespace_id)
            if jobs.find(connection, namespace_id, draft.name) is not None:
                raise AlreadyExists(
                    f"there is a job {draft.name!r} in namespace {namespace_id!r} already",
                    facts={"resource": "job", "name": draft.name, "namespace_id": namespace_id},
                )
            spec, job_id = _fixed(connection, namespace_id, draft.spec), self._engine.new_id()
            new = Job(
                id=job_id,
                namespace_id=namespace_id,
                name=draft.name,
                status=draft.status or JobStatus.ENABLED,
                revision=1,
                version=1,
                created_at=now,
                updated_at=now,
                spec=spec,
                requirement_id=demands.of_job(connection, namespace_id, spec.config, job_id, now),
            )
            jobs.insert(connection, new)
            return new.id, new

        return await once(self._engine, key, effect, _reread(namespace_id))

    async def get(self, namespace_id: str, key: str) -> Job:
        """The job with this id or name. Raises NotFound."""
        return await self._engine.store.read(_required, namespace_id, key)

    async def list(self, question: Question) -> tuple[Page, list[Job]]:
        """One page of jobs. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[Job]]:
            page = lists.ask(connection, JOBS, jobs.listing(question.namespace_id), question)
            return page, [jobs.of_row(row) for row in page.rows]

        return await self._engine.store.read(read)

    async def update(
        self,
        namespace_id: str,
        key: str,
        change: Callable[[Job], JobDraft],
        *,
        etag: int | None,
        request: IdempotencyKey | None,
    ) -> Job:
        """What `change` makes of the present job; a new revision if what it says has changed.

        Raises Invalid, NotFound (job, plugin), EtagMismatch.
        """
        await self._check_options(namespace_id, key, change)

        def effect(connection: Connection, now: int) -> tuple[str, Job]:
            before = _required(connection, namespace_id, key, lock=True)
            check_etag("job", before.name, before.version, etag)
            draft = change(before)
            if draft.name != before.name:
                raise Invalid.field("job.name", f"a job keeps its name, which is {before.name!r}")
            _check(draft)
            return before.id, _save(connection, before, draft, now)

        return await once(self._engine, request, effect, _reread(namespace_id))

    async def _check_options(self, namespace_id: str, key: str, change: Callable[[Job], JobDraft]) -> None:
        """Of the job as it is before the transaction, in which nothing slow is done."""
        before = await self._engine.store.read(jobs.find, namespace_id, key)
        wanted = None if before is None else change(before).spec.config
        if before is not None and wanted is not None and wanted != before.spec.config:
            await check_options(self._engine, namespace_id, wanted)

    async def set_status(self, namespace_id: str, key: str, status: JobStatus, request: IdempotencyKey | None) -> Job:
        """Enable or disable it; repeating changes nothing. Raises NotFound."""

        def change(before: Job) -> JobDraft:
            return JobDraft(before.name, before.spec, status)

        return await self.update(namespace_id, key, change, etag=None, request=request)

    async def delete(
        self,
        namespace_id: str,
        key: str,
        *,
        cascade: bool,
        by: str,
        etag: int | None,
        request: IdempotencyKey | None,
    ) -> None:
        """Delete it softly; its schedules stop. Raises NotFound, EtagMismatch, IllegalTransition (unfinished tasks)."""
        on_agents: list[Task] = []

        def effect(connection: Connection, now: int) -> tuple[str, None]:
            on_agents.clear()
            before = _required(connection, namespace_id, key, lock=True)
            check_etag("job", before.name, before.version, etag)
            if cascade:
                unfinished = tasks.unfinished_of_job(connection, before.id)
                on_agents.extend(self._tasks.cancel_many(connection, unfinished, by, DELETED_JOB, now))
            elif tasks.unfinished_of_job(connection, before.id, limit=1):
                raise unfinished_tasks("job", before.name)
            jobs.delete(connection, before.id, now)
            schedules.disable_of_job(connection, before.id, now)
            return before.id, None

        def unfinished(connection: Connection) -> list[str]:
            """None of a job that cannot be deleted: the effect says why."""
            found = jobs.find(connection, namespace_id, key)
            if found is None or etag not in (None, found.version):
                return []
            return tasks.unfinished_of_job(connection, found.id)

        if cascade:
            await self._tasks.cancel_ahead(unfinished, request, by=by, why=DELETED_JOB)
        await once(self._engine, request, effect, lambda _connection, _id: None)
        self._tasks.stop_all(on_agents, DELETED_JOB)


DELETED_JOB = "its job was deleted"


def unfinished_tasks(noun: str, name: str) -> IllegalTransition:
    """The refusal to delete what still has work."""
    return IllegalTransition(
        f"{noun} {name!r} has unfinished tasks; wait for them, or delete it with cascade=cancel",
        reason="HAS_UNFINISHED_TASKS",
        facts={"resource": noun, "name": name},
    )


def _check(draft: JobDraft) -> None:
    problems = job_problems(draft.name, draft.spec)
    if problems:
        raise Invalid.fields(problems)


def _required(connection: Connection, namespace_id: str, key: str, *, lock: bool = False) -> Job:
    found = jobs.find(connection, namespace_id, key, lock=lock)
    if found is None:
        raise NotFound.of("job", key, namespace_id)
    return found


def _reread(namespace_id: str) -> Callable[[Connection, str], Job]:
    return lambda connection, job_id: _required(connection, namespace_id, job_id)


def _fixed(connection: Connection, namespace_id: str, spec: JobSpec, before: JobSpec | None = None) -> JobSpec:
    """The same with the plugin's digest in place of its name, so that a revision always runs the same bytes."""
    wasm = spec.config.wasm
    if wasm is None or (before is not None and wasm == before.config.wasm):
        return spec
    found = plugins.find(connection, namespace_id, wasm.plugin)
    if found is None:
        raise NotFound.of("plugin", wasm.plugin, namespace_id)
    if found.status is PluginStatus.REJECTED:
        message = f"plugin {found.label} was rejected: {found.reject_reason}"
        raise IllegalTransition(message, facts={"resource": "plugin", "id": found.digest})
    if wasm.entry not in found.entries:
        exported = ", ".join(found.entries) or "none"
        raise Invalid.field("job.config.wasm.entry", f"{found.label} has no entry {wasm.entry!r}; it has {exported}")
    return replace(spec, config=replace(spec.config, wasm=replace(wasm, plugin=found.digest)))


def _save(connection: Connection, before: Job, draft: JobDraft, now: int) -> Job:
    spec = _fixed(connection, before.namespace_id, draft.spec, before.spec)
    changed = replace(before, status=draft.status or before.status, spec=spec)
    if changed == before:
        return before
    changed = replace(changed, version=before.version + 1, updated_at=now)
    if spec != before.spec:
        demand = demands.of_job(connection, before.namespace_id, spec.config, before.id, now)
        changed = replace(changed, revision=before.revision + 1, requirement_id=demand)
        jobs.insert_revision(connection, changed)
    jobs.update(connection, changed)
    return changed
