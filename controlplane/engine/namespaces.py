"""Namespaces as people ask for them, and whether one exists, which every call asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid
from controlplane.domain.etag import check_etag
from controlplane.domain.filter import COMPARISON, TEXTUAL, Field, Kind, Op, Queryable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.namespace import DEFAULT, Namespace, namespace_problems
from controlplane.domain.task import Task
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.jobs import unfinished_tasks
from controlplane.engine.lists import Question
from controlplane.engine.tasks import Tasks
from controlplane.store import Connection, blobs, jobs, keys, namespaces, plugins, schedules, tasks
from controlplane.store.query import Page

REMEMBER_SECONDS = 1.0
MAX_REMEMBERED = 10_000
DELETED_NAMESPACE = "its namespace was deleted"

_NEVER_NULL = frozenset({Op.NULL})
NAMESPACES = Queryable(
    "namespace",
    (
        Field("id", Kind.TEXT, TEXTUAL - _NEVER_NULL, indexed=True),
        Field("created_at", Kind.INSTANT, COMPARISON - _NEVER_NULL),
        Field("updated_at", Kind.INSTANT, COMPARISON - _NEVER_NULL),
    ),
)


@dataclass(frozen=True, slots=True)
class NamespaceDraft:
    """A namespace as a caller wants it."""

    id: str
    description: str
    max_running: int = 0


class Namespaces:
    """The use cases of namespaces."""

    def __init__(self, engine: Engine, tasks: Tasks) -> None:
        self._engine = engine
        self._tasks = tasks
        self._known: dict[str, float] = {}

    async def exists(self, namespace_id: str) -> bool:
        """Whether there is such a namespace. One that was deleted by another replica may seem to live for a second."""
        now = time.monotonic()
        if self._known.get(namespace_id, 0.0) > now:
            return True
        found = await self._engine.store.read(namespaces.find, namespace_id)
        if found is None:
            self._known.pop(namespace_id, None)
            return False
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[namespace_id] = now + REMEMBER_SECONDS
        return True

    async def create(self, draft: NamespaceDraft, key: IdempotencyKey | None) -> Namespace:
        """A stored namespace. Raises Invalid, AlreadyExists."""
        if problems := list(namespace_problems(draft.id, draft.description, draft.max_running)):
            raise Invalid.fields(problems)

        def effect(connection: Connection, now: int) -> tuple[str, Namespace]:
            if namespaces.find(connection, draft.id) is not None:
                message = f"there is a namespace {draft.id!r} already"
                raise AlreadyExists(message, facts={"resource": "namespace", "name": draft.id})
            new = Namespace(draft.id, draft.description, 1, now, now, draft.max_running)
            namespaces.insert(connection, new)
            return new.id, new

        return await once(self._engine, key, effect, _required)

    async def get(self, namespace_id: str) -> Namespace:
        """The namespace. Raises NotFound."""
        return await self._engine.store.read(_required, namespace_id)

    async def list(self, question: Question, only: tuple[str, ...] | None = None) -> tuple[Page, list[Namespace]]:
        """One page of namespaces, of some or of all. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[Namespace]]:
            page = lists.ask(connection, NAMESPACES, namespaces.listing(only), question, ("id",))
            return page, [namespaces.of_row(row) for row in page.rows]

        return await self._engine.store.read(read)

    async def update(
        self,
        namespace_id: str,
        change: Callable[[Namespace], NamespaceDraft],
        *,
        etag: int | None,
        request: IdempotencyKey | None,
    ) -> Namespace:
        """Another description or cap. Raises Invalid, NotFound, EtagMismatch."""

        def effect(connection: Connection, now: int) -> tuple[str, Namespace]:
            before = _required(connection, namespace_id, lock=True)
            check_etag("namespace", before.id, before.version, etag)
            draft = change(before)
            if draft.id != before.id:
                raise Invalid.field("namespace.id", f"a namespace keeps its name, which is {before.id!r}")
            if problems := list(namespace_problems(draft.id, draft.description, draft.max_running)):
                raise Invalid.fields(problems)
            changed = replace(before, description=draft.description, max_running=draft.max_running)
            if changed == before:
                return before.id, before
            after = replace(changed, version=before.version + 1, updated_at=now)
            namespaces.update(connection, after)
            return after.id, after

        return await once(self._engine, request, effect, _required)

    async def delete(
        self, namespace_id: str, *, cascade: bool, by: str, etag: int | None, request: IdempotencyKey | None
    ) -> None:
        """Delete it with its jobs, schedules and plugins. Raises NotFound, EtagMismatch, IllegalTransition."""
        on_agents: list[Task] = []

        def effect(connection: Connection, now: int) -> tuple[str, None]:
            on_agents.clear()
            if namespace_id == DEFAULT:
                message = f"the namespace {DEFAULT!r} stays"
                raise IllegalTransition(message, reason="PROTECTED_RESOURCE", facts={"namespace_id": DEFAULT})
            before = _required(connection, namespace_id, lock=True)
            check_etag("namespace", before.id, before.version, etag)
            if cascade:
                unfinished = tasks.unfinished_of_namespace(connection, before.id)
                on_agents.extend(self._tasks.cancel_many(connection, unfinished, by, DELETED_NAMESPACE, now))
            elif tasks.unfinished_of_namespace(connection, before.id, limit=1):
                raise unfinished_tasks("namespace", before.id)
            _empty(connection, before.id, now)
            keys.leave_namespace(connection, before.id, by, now)
            return before.id, None

        def unfinished(connection: Connection) -> list[str]:
            """None of a namespace that cannot be deleted: the effect says why."""
            found = namespaces.find(connection, namespace_id)
            if found is None or namespace_id == DEFAULT or etag not in (None, found.version):
                return []
            return tasks.unfinished_of_namespace(connection, namespace_id)

        if cascade:
            await self._tasks.cancel_ahead(unfinished, request, by=by, why=DELETED_NAMESPACE)
        await once(self._engine, request, effect, lambda _connection, _id: None)
        self._known.pop(namespace_id, None)
        self._tasks.stop_all(on_agents, DELETED_NAMESPACE)


def _empty(connection: Connection, namespace_id: str, now: int) -> None:
    jobs.delete_of_namespace(connection, namespace_id, now)
    schedules.delete_of_namespace(connection, namespace_id, now)
    for digest in plugins.digests(connection, namespace_id):
        plugins.delete(connection, namespace_id, digest)
        blobs.release(connection, digest)
    namespaces.delete(connection, namespace_id)


def _required(connection: Connection, namespace_id: str, *, lock: bool = False) -> Namespace:
    found = namespaces.find(connection, namespace_id, lock=lock)
    if found is None:
        raise namespaces.missing(namespace_id)
    return found
