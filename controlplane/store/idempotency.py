"""The record of request ids: written in the transaction of the effect, so both exist or neither."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.idempotency import IdempotencyKey
from controlplane.store import dialect
from controlplane.store.tables import idempotency

KEEP = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the first call came to: the resource it made or touched, or how it was refused (JSON)."""

    fingerprint: bytes
    resource_id: str
    refusal: str | None


def find_many(connection: Connection, keys: Iterable[IdempotencyKey], now: int) -> dict[IdempotencyKey, Outcome]:
    """Outcomes of keys that were used and have not expired."""
    wanted = list(keys)
    if not wanted:
        return {}
    # Which have expired is looked at here: asked of the database, it is tempted to read everything that has not.
    rows = connection.execute(sa.select(idempotency).where(_are_of(connection, wanted)))
    found = {(row.namespace_id, row.method, row.request_id): row for row in rows if row.expires_at > now}
    outcomes = {}
    for key in wanted:
        row = found.get((key.namespace_id, key.method, key.request_id))
        if row is not None:
            outcomes[key] = Outcome(bytes(row.fingerprint), row.resource_id, row.refusal)
    return outcomes


def insert_many(connection: Connection, used: Sequence[tuple[IdempotencyKey, str, str | None]], now: int) -> None:
    """Record (key, resource id, refusal). An expired row with the same key makes room; a living one raises
    IntegrityError: another replica was faster, and the whole transaction is repeated.
    """
    if not used:
        return
    connection.execute(
        idempotency.delete().where(_are_of(connection, [key for key, _, _ in used]), idempotency.c.expires_at <= now)
    )
    dialect.insert_rows(
        connection,
        idempotency,
        [
            {
                "namespace_id": key.namespace_id,
                "method": key.method,
                "request_id": key.request_id,
                "fingerprint": key.fingerprint,
                "resource_id": resource_id,
                "refusal": refusal,
                "expires_at": now + KEEP,
            }
            for key, resource_id, refusal in used
        ],
    )


def _are_of(connection: Connection, keys: Sequence[IdempotencyKey]) -> sa.ColumnElement[bool]:
    columns = (idempotency.c.namespace_id, idempotency.c.method, idempotency.c.request_id)
    wanted = [(key.namespace_id, key.method, key.request_id) for key in keys]
    return dialect.keyed(columns, wanted, arrays=dialect.is_postgres(connection))


def delete_expired(connection: Connection, now: int, limit: int = 10_000) -> int:
    """Forget keys whose day is over; how many."""
    old = sa.select(idempotency.c.namespace_id, idempotency.c.method, idempotency.c.request_id)
    old = old.where(idempotency.c.expires_at <= now).limit(limit)
    key = sa.tuple_(idempotency.c.namespace_id, idempotency.c.method, idempotency.c.request_id)
    return connection.execute(idempotency.delete().where(key.in_(old))).rowcount
