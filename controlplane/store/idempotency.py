"""The record of request ids: written in the transaction of the effect, so both exist or neither."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.idempotency import IdempotencyKey, digests_of
from controlplane.domain.ids import UUID
from controlplane.store import batches, dialect
from controlplane.store.dialect import Id
from controlplane.store.ready_made import Question, ReadyMade, ask
from controlplane.store.tables import idempotency as earlier
from controlplane.store.tables import request


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the first call came to: the resource it made or touched, or how it was refused (JSON)."""

    fingerprint: bytes
    resource_id: str
    refusal: str | None


_ONE = ReadyMade(sa.select(request).where(request.c.digest == sa.bindparam("digest", type_=Id())))
_MANY = ReadyMade(sa.select(request).where(request.c.digest == sa.any_(sa.bindparam("digests", type_=sa.ARRAY(Id())))))


def find_many(connection: Connection, keys: Collection[IdempotencyKey], now: int) -> dict[IdempotencyKey, Outcome]:
    """Outcomes of keys that were used and have not expired. An expired one goes: whoever asks is about to use the key
    again, and upkeep, which takes the others, may not have come by.
    """
    asked = question(connection, keys)
    return outcomes(connection, keys, ask(connection, [asked])[0] if asked else None, now)


def question(connection: Connection, keys: Collection[IdempotencyKey]) -> Question | None:
    """What `outcomes` wants to know; None where that is nothing, or no question of the ready kind."""
    if keys and dialect.knows_arrays(connection):
        return _MANY.about(digests=[key.digest.hex() for key in keys])
    return _ONE.about(digest=next(iter(keys)).digest.hex()) if len(keys) == 1 else None


def outcomes(
    connection: Connection, keys: Collection[IdempotencyKey], rows: Sequence[Any] | None, now: int
) -> dict[IdempotencyKey, Outcome]:
    """What `find_many` finds, of the answer to the question. None: it was not asked."""
    if not keys or (rows is not None and not rows):
        return {}
    wanted = [(key, key.digest.hex()) for key in keys]
    if rows is None:
        mine = dialect.one_of(connection, request.c.digest, [digest for _, digest in wanted])
        rows = connection.execute(sa.select(request).where(mine)).all()
    if not rows:
        return {}
    # Which have expired is looked at here: asked of the database, it is tempted to read everything that has not.
    found = {_hex(row.digest): row for row in rows if row.expires_at > now}
    old = [row.digest for row in rows if row.expires_at <= now]
    if old:
        mine = dialect.one_of(connection, request.c.digest, old)
        connection.execute(request.delete().where(mine, request.c.expires_at <= now))
    return {key: _outcome(found[digest]) for key, digest in wanted if digest in found}


def _outcome(row: Row[Any]) -> Outcome:
    resource_id = row.resource_name if row.resource_id is None else row.resource_id
    return Outcome(bytes.fromhex(_hex(row.content)), resource_id or "", row.refusal)


def _hex(digest: str) -> str:
    return digest.replace("-", "")  # the databases read 16 bytes as an id


_COLUMNS = ("digest", "content", "resource_id", "expires_at", "namespace_id", "resource_name", "refusal")


def insert_many(
    connection: Connection, used: Sequence[tuple[IdempotencyKey, str, str | None]], expires_at: int
) -> None:
    """Record (key, resource id, refusal) of keys that `find_many` has not found. Raises IntegrityError when another
    replica was faster: the whole transaction is repeated.
    """
    rows = []
    for key, resource, refusal in used:
        as_id, as_name = (resource, None) if UUID.fullmatch(resource) else (None, resource or None)
        rows.append((key.digest.hex(), key.fingerprint.hex(), as_id, expires_at, key.namespace_id, as_name, refusal))
    batches.insert_tuples(connection, request, _COLUMNS, rows)


def forget(connection: Connection, namespace_id: str) -> None:
    """Those of a namespace that goes, so that a namesake does not answer for it."""
    first, last = (one.hex() for one in digests_of(namespace_id))
    mine = (request.c.digest.between(first, last), request.c.namespace_id == namespace_id)
    connection.execute(request.delete().where(*mine))
    connection.execute(earlier.delete().where(earlier.c.namespace_id == namespace_id))


def delete_expired(connection: Connection, now: int, limit: int) -> int:
    """Those whose time is over; how many."""
    old = sa.select(request.c.digest).where(request.c.expires_at <= now).order_by(request.c.expires_at).limit(limit)
    gone = connection.execute(request.delete().where(request.c.digest.in_(old))).rowcount
    key = (earlier.c.namespace_id, earlier.c.method, earlier.c.request_id)
    old = sa.select(*key).where(earlier.c.expires_at <= now).order_by(earlier.c.expires_at).limit(limit)
    connection.execute(earlier.delete().where(sa.tuple_(*key).in_(old)))
    return gone
