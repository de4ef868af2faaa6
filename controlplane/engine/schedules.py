"""Schedules as people ask for them: create, read, list, change, enable, disable, delete, preview, fires.

Not here: firing (`loops/scheduler.py`) and which slots a rule has (`domain/schedule.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controlplane.domain import schedule
from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid, NotFound
from controlplane.domain.etag import check_etag
from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.schedule_rules import (
    Schedule,
    ScheduleSpec,
    ScheduleStatus,
    rule_problems,
    schedule_problems,
)
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.store import Connection, jobs, namespaces, schedules
from controlplane.store.query import Page
from controlplane.store.schedules import Fire

HINT = "schedules"
MAX_PREVIEW = 1_000

SCHEDULES = Queryable(
    "schedule",
    (
        Field("id", Kind.ID, indexed=True),
        Field("name", Kind.TEXT, indexed=True),
        Field("job_id", Kind.ID, indexed=True),
        Field(
            "kind",
            Kind.ENUM,
            enum_values={"CRON": 1, "INTERVAL": 2},
            enum_name="pawl.v1.ScheduleKind.Kind",
        ),
        Field(
            "status",
            Kind.ENUM,
            enum_values={one.name: int(one) for one in ScheduleStatus},
            enum_name="pawl.v1.Schedule.Status",
            aliases=("state",),
        ),
        Field("timezone", Kind.TEXT),
        Field("next_fire_at", Kind.INSTANT, indexed=True),
        Field("last_fire_at", Kind.INSTANT),
        Field("fire_count", Kind.INT),
        Field("created_at", Kind.INSTANT),
        Field("updated_at", Kind.INSTANT),
    ),
)
FIRES = Queryable("schedule fire", (Field("fire_time", Kind.INSTANT, indexed=True),), key=("fire_time",))


@dataclass(frozen=True, slots=True)
class ScheduleDraft:
    """A schedule as a caller wants it. `job` is an id or a name; without a status it keeps the one it has."""

    name: str
    job: str
    kind: schedule.Kind
    timezone: str
    spec: ScheduleSpec
    parameters: bytes | None = None
    parameters_type: str | None = None
    status: ScheduleStatus | None = None


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as it is shown."""

    schedule: Schedule
    job_name: str


class Schedules:
    """The use cases of schedules."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, namespace_id: str, draft: ScheduleDraft, key: IdempotencyKey | None) -> ScheduleView:
        """A stored schedule, active unless the draft says otherwise. Raises Invalid, NotFound (job), AlreadyExists."""
        _check(drafted(namespace_id, draft, "", self._engine.clock.now()))

        def effect(connection: Connection, now: int) -> tuple[str, ScheduleView]:
            new = drafted(namespace_id, draft, self._engine.new_id(), now)
            namespaces.hold(connection, namespace_id)
            if schedules.find(connection, namespace_id, draft.name) is not None:
                raise AlreadyExists(
                    f"there is a schedule {draft.name!r} in namespace {namespace_id!r} already",
                    facts={"resource": "schedule", "name": draft.name, "namespace_id": namespace_id},
                )
            new, job_name = _with_job(connection, new, draft.job)
            new = _timed(new, now)
            schedules.insert(connection, new)
            return new.id, ScheduleView(new, job_name)

        view = await once(self._engine, key, effect, _reread(namespace_id))
        self._engine.wakeups.hint(HINT)
        return view

    async def get(self, namespace_id: str, key: str) -> ScheduleView:
        """The schedule with this id or name. Raises NotFound."""
        return await self._engine.store.read(_view, namespace_id, key)

    async def list(self, question: Question) -> tuple[Page, list[ScheduleView]]:
        """One page of schedules. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[ScheduleView]]:
            page = lists.ask(connection, SCHEDULES, schedules.listing(question.namespace_id), question)
            found = [schedules.of_row(row) for row in page.rows]
            names = jobs.names(connection, {one.job_id for one in found})
            return page, [ScheduleView(one, names.get(one.job_id, "")) for one in found]

        return await self._engine.store.read(read)

    async def update(
        self,
        namespace_id: str,
        key: str,
        change: Callable[[ScheduleView], ScheduleDraft],
        *,
        etag: int | None,
        request: IdempotencyKey | None,
    ) -> ScheduleView:
        """What `change` makes of the present schedule. Raises Invalid, NotFound, EtagMismatch, IllegalTransition."""

        def effect(connection: Connection, now: int) -> tuple[str, ScheduleView]:
            before = _required(connection, namespace_id, key, lock=True)
            check_etag("schedule", before.name, before.version, etag)
            draft = change(ScheduleView(before, ""))
            if draft.name != before.name:
                raise Invalid.field("schedule.name", f"a schedule keeps its name, which is {before.name!r}")
            return before.id, _save(connection, before, draft, now)

        view = await once(self._engine, request, effect, _reread(namespace_id))
        self._engine.wakeups.hint(HINT)
        return view

    async def set_status(
        self, namespace_id: str, key: str, status: ScheduleStatus, request: IdempotencyKey | None
    ) -> ScheduleView:
        """Enable or disable it; repeating changes nothing. Raises NotFound, IllegalTransition (its window is over)."""

        def change(before: ScheduleView) -> ScheduleDraft:
            return replace(draft_of(before.schedule), status=status)

        return await self.update(namespace_id, key, change, etag=None, request=request)

    async def delete(self, namespace_id: str, key: str, *, etag: int | None, request: IdempotencyKey | None) -> None:
        """Delete it softly. Raises NotFound, EtagMismatch."""

        def effect(connection: Connection, now: int) -> tuple[str, None]:
            before = _required(connection, namespace_id, key, lock=True)
            check_etag("schedule", before.name, before.version, etag)
            schedules.delete(connection, before.id, now)
            return before.id, None

        await once(self._engine, request, effect, lambda _connection, _id: None)

    async def preview(
        self, namespace_id: str, wanted: str | ScheduleDraft, after: int | None, count: int
    ) -> tuple[Schedule, Sequence[int]]:
        """The next slots of a stored schedule (id or name) or of one that is only thought of. Raises Invalid."""
        if not 1 <= count <= MAX_PREVIEW:
            raise Invalid.field("count", f"must be 1 to {MAX_PREVIEW:,}, not {count}")
        now = self._engine.clock.now()
        if isinstance(wanted, str):
            one = (await self.get(namespace_id, wanted)).schedule
        else:
            # As if it were made at the earliest moment that is asked about: it has no slot before its creation.
            one = drafted(namespace_id, wanted, "", now if after is None else min(now, after))
            if problems := list(rule_problems(one)):
                raise Invalid.fields(problems)
        slots = await self._engine.store.read(
            lambda _: schedule.preview(one.rule(), now if after is None else after, count)
        )
        return one, slots

    async def fires(self, key: str, question: Question) -> tuple[Page, Sequence[Fire]]:
        """One page of what became of a schedule's slots, the newest first. Raises NotFound, Invalid."""

        def read(connection: Connection) -> tuple[Page, list[Fire]]:
            one = _required(connection, question.namespace_id, key)
            # The schedule's id in the namespace's place: a token belongs to this schedule's slots alone.
            mine = replace(question, namespace_id=one.id)
            page = lists.ask(connection, FIRES, schedules.fires_listing(one.id), mine, ("-fire_time",))
            return page, [schedules.fire_of_row(row) for row in page.rows]

        return await self._engine.store.read(read)


def drafted(namespace_id: str, draft: ScheduleDraft, schedule_id: str, now: int) -> Schedule:
    """The draft as a new schedule whose job and slots are not looked up yet."""
    return Schedule(
        id=schedule_id,
        namespace_id=namespace_id,
        name=draft.name,
        job_id="",
        kind=draft.kind,
        status=_wanted(draft.status) or ScheduleStatus.ACTIVE,
        timezone=draft.timezone or "UTC",
        spec=draft.spec,
        parameters=draft.parameters,
        parameters_type=draft.parameters_type,
        next_fire_at=None,
        last_fire_at=None,
        fire_count=0,
        version=1,
        created_at=now,
        updated_at=now,
    )


def draft_of(one: Schedule) -> ScheduleDraft:
    """What a caller would say to have this schedule."""
    return ScheduleDraft(
        one.name, one.job_id, one.kind, one.timezone, one.spec, one.parameters, one.parameters_type, None
    )


def _wanted(status: ScheduleStatus | None) -> ScheduleStatus | None:
    """The status a caller asks for. ENDED comes from the window alone; sent back as it was read it asks for nothing."""
    return None if status is ScheduleStatus.ENDED else status


def _check(one: Schedule) -> None:
    if problems := schedule_problems(one):
        raise Invalid.fields(problems)


def _required(connection: Connection, namespace_id: str, key: str, *, lock: bool = False) -> Schedule:
    found = schedules.find(connection, namespace_id, key, lock=lock)
    if found is None:
        raise NotFound.of("schedule", key, namespace_id)
    return found


def _view(connection: Connection, namespace_id: str, key: str) -> ScheduleView:
    found = _required(connection, namespace_id, key)
    return ScheduleView(found, jobs.names(connection, [found.job_id]).get(found.job_id, ""))


def _reread(namespace_id: str) -> Callable[[Connection, str], ScheduleView]:
    return lambda connection, schedule_id: _view(connection, namespace_id, schedule_id)


def _with_job(connection: Connection, one: Schedule, key: str) -> tuple[Schedule, str]:
    """The schedule with its job's id. Locks the job, so that it cannot be deleted meanwhile. Raises NotFound."""
    found = jobs.find(connection, one.namespace_id, key, lock=True)
    if found is None:
        raise NotFound.of("job", key, one.namespace_id)
    return replace(one, job_id=found.id), found.name


def _timed(one: Schedule, now: int) -> Schedule:
    """The schedule with its next slot; without any it has ended."""
    if one.status is not ScheduleStatus.ACTIVE:
        return replace(one, next_fire_at=None)
    slot = schedule.next_fire(one.rule(), now)
    return replace(one, next_fire_at=slot, status=_going(slot))


def _going(slot: int | None) -> ScheduleStatus:
    return ScheduleStatus.ENDED if slot is None else ScheduleStatus.ACTIVE


def _save(connection: Connection, before: Schedule, draft: ScheduleDraft, now: int) -> ScheduleView:
    asked = _wanted(draft.status)
    changed = replace(
        before,
        kind=draft.kind,
        timezone=draft.timezone or "UTC",
        spec=draft.spec,
        parameters=draft.parameters,
        parameters_type=draft.parameters_type,
        status=asked or before.status,
    )
    _check(changed)
    same_rule = changed.rule() == before.rule()
    if before.status is ScheduleStatus.ENDED and asked is None and not same_rule:
        changed = replace(changed, status=ScheduleStatus.ACTIVE)
    if draft.job == before.job_id:
        job_name = jobs.names(connection, [before.job_id]).get(before.job_id, "")
    else:
        changed, job_name = _with_job(connection, changed, draft.job)
    if changed == before:
        return ScheduleView(before, job_name)
    # A slot that is due and not dealt with yet must not get lost because the description was edited.
    if not (same_rule and changed.status is before.status):
        changed = _timed(changed, now)
        if asked is ScheduleStatus.ACTIVE and changed.status is ScheduleStatus.ENDED:
            raise IllegalTransition(
                f"schedule {before.name!r} has no slot left: its end_time is over",
                facts={"schedule": before.name, "status": before.status.name},
            )
    if changed.status is ScheduleStatus.ACTIVE and before.status is not ScheduleStatus.ACTIVE:
        changed, job_name = _with_job(connection, changed, changed.job_id)
    changed = replace(changed, version=before.version + 1, updated_at=now)
    schedules.update(connection, changed)
    return ScheduleView(changed, job_name)
