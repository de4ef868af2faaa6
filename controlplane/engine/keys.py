"""Keys as people ask for them. Who holds one, and what it opens now, is `credentials.py`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.domain.errors import AlreadyExists, Forbidden, IllegalTransition, Invalid, NotFound
from controlplane.domain.etag import check_etag
from controlplane.domain.filter import COMPARISON, TEXTUAL, Field, Kind, Op, Queryable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.ids import is_id
from controlplane.domain.key import (
    PREFIX_LENGTH,
    SECRET_BYTES,
    Authority,
    Key,
    KeyDraft,
    digest_of,
    excess,
    key_problems,
    write_key,
)
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.store import Connection, keys, namespaces
from controlplane.store.query import Page

_NEVER_NULL = frozenset({Op.NULL})
KEYS = Queryable(
    "key",
    (
        Field("id", Kind.ID, indexed=True),
        Field("name", Kind.TEXT, TEXTUAL - _NEVER_NULL),
        Field("prefix", Kind.TEXT, TEXTUAL - _NEVER_NULL, indexed=True),
        Field("created_by", Kind.TEXT, TEXTUAL - _NEVER_NULL),
        Field("created_at", Kind.INSTANT, COMPARISON - _NEVER_NULL),
        Field("expires_at", Kind.INSTANT),
        Field("last_used_at", Kind.INSTANT),
        Field("revoked_at", Kind.INSTANT),
    ),
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, and its text if this call made it."""

    key: Key
    text: str


class Keys:
    """The use cases of keys. `revoked` is told of each key that this replica ends."""

    def __init__(self, engine: Engine, revoked: Callable[[str], None]) -> None:
        self._engine = engine
        self._revoked = revoked

    async def create(self, draft: KeyDraft, maker: Authority, request: IdempotencyKey | None) -> NewKey:
        """A stored key; of a repeat without its text. Raises Invalid, Forbidden, NotFound, AlreadyExists."""
        if problems := list(key_problems(draft, self._engine.clock.now())):
            raise Invalid.fields(problems)
        if too_much := list(excess(draft, maker)):
            message = "; ".join(f"{one.field}: {one.problem}" for one in too_much)
            raise Forbidden(message, violations=too_much, facts={"field": too_much[0].field})

        def effect(connection: Connection, now: int) -> tuple[str, NewKey]:
            for space in draft.namespaces or ():
                namespaces.hold(connection, space)
            made = make(connection, draft, maker.subject, self._engine.new_id(), now)
            return made.key.id, made

        def reread(connection: Connection, key_id: str) -> NewKey:
            return NewKey(_required(connection, key_id, maker), "")

        return await once(self._engine, request, effect, reread)

    async def get(self, named: str, who: Authority) -> Key:
        """The key. Raises NotFound, also for one that may not be seen."""
        return await self._engine.store.read(_required, named, who)

    async def list(self, question: Question, who: Authority) -> tuple[Page, list[Key]]:
        """One page of the keys that may be seen. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[Key]]:
            page = lists.ask(connection, KEYS, keys.listing(who), question)
            return page, keys.of_rows(connection, page.rows)

        return await self._engine.store.read(read)

    async def revoke(
        self, named: str, who: Authority, *, force: bool, etag: int | None, request: IdempotencyKey | None
    ) -> Key:
        """End a key. Raises NotFound, EtagMismatch, IllegalTransition for the last one that is an admin everywhere."""

        def effect(connection: Connection, now: int) -> tuple[str, Key]:
            admins = keys.unbound_admins(connection, now)  # locked before the key, by everybody in the same order
            before = _required(connection, named, who, lock=True)
            check_etag("key", before.id, before.version, etag)
            if before.revoked_at is not None:
                return before.id, before
            if admins == [before.id] and not force:
                message = (
                    f"{before.name!r} is the last key that is an admin everywhere: make another first, or force it"
                )
                raise IllegalTransition(message, reason="PROTECTED_RESOURCE", facts={"key": before.id})
            keys.revoke(connection, [before.id], who.subject, now)
            return before.id, _required(connection, before.id, who)

        after = await once(self._engine, request, effect, lambda connection, key_id: _required(connection, key_id, who))
        self._revoked(after.id)
        return after


def make(connection: Connection, draft: KeyDraft, by: str, key_id: str, now: int) -> NewKey:
    """Store a new key, whoever asked for it. Raises AlreadyExists."""
    anybody = Authority(by, frozenset({"admin"}), None)
    if keys.find(connection, draft.name, anybody) is not None:
        message = f"there is a key {draft.name!r} already"
        raise AlreadyExists(message, facts={"resource": "key", "name": draft.name})
    prefix, text = write_key(secrets.token_bytes(PREFIX_LENGTH + SECRET_BYTES))
    new = Key(
        id=key_id,
        prefix=prefix,
        digest=digest_of(text),
        name=draft.name,
        description=draft.description,
        roles=draft.roles,
        namespaces=draft.namespaces,
        created_by=by,
        created_at=now,
        expires_at=draft.expires_at,
        last_used_at=None,
        revoked_at=None,
        revoked_by=None,
        version=1,
    )
    keys.insert(connection, new)
    return NewKey(new, text)


def _required(connection: Connection, named: str, who: Authority, *, lock: bool = False) -> Key:
    found = keys.find(connection, named, who, lock=lock)
    if found is None:
        what = "key with the id" if is_id(named) else "key named"
        raise NotFound(f"there is no {what} {named!r}", facts={"resource": "key", "id": named})
    return found
