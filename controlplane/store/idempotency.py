"""The record of request ids: written in the transaction of the effect, so both exist or neither."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.domain.idempotency import IdempotencyKey
from controlplane.store import dialect
from controlplane.store.tables import idempotency


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the first call came to: the resource it made or touched, or how it was refused (JSON)."""

    fingerprint: bytes
    resource_id: str
    refusal: str | None


_ONE = sa.select(idempotency).where(
    idempotency.c.namespace_id == sa.bindparam("space"),
    idempotency.c.method == sa.bindparam("method"),
    idempotency.c.request_id == sa.bindparam("request"),
)  # ready made, for what every call asks


def find_many(connection: Connection, keys: Iterable[IdempotencyKey], now: int) -> dict[IdempotencyKey, Outcome]:
    """Outcomes of keys that were used and have not expired. An expired one goes: whoever asks is about to use the key
    again, and upkeep, which takes the others, may not have come by.
    """
    wanted = list(keys)
    if not wanted:
        return {}
    # Which have expired is looked at here: asked of the database, it is tempted to read everything that has not.
    if len(wanted) == 1:
        [one] = wanted
        named = {"space": one.namespace_id, "method": one.method, "request": one.request_id}
        rows = connection.execute(_ONE, named).all()
    else:
        rows = connection.execute(sa.select(idempotency).where(_are_of(connection, wanted))).all()
    found = {(row.namespace_id, row.method, row.request_id): row for row in rows if row.expires_at > now}
    if len(found) < len(rows):
        connection.execute(idempotency.delete().where(_are_of(connection, wanted), idempotency.c.expires_at <= now))
    outcomes = {}
    for key in wanted:
        row = found.get((key.namespace_id, key.method, key.request_id))
        if row is not None:
            outcomes[key] = Outcome(bytes(row.fingerprint), row.resource_id, row.refusal)
    return outcomes


def insert_many(
    connection: Connection, used: Sequence[tuple[IdempotencyKey, str, str | None]], expires_at: int
) -> None:
    """Record (key, resource id, refusal) of keys that `find_many` has not found. Raises IntegrityError when another
    replica was faster: the whole transaction is repeated.
    """
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
                "expires_at": expires_at,
            }
            for key, resource_id, refusal in used
        ],
    )


def _are_of(connection: Connection, keys: Sequence[IdempotencyKey]) -> sa.ColumnElement[bool]:
    columns = (idempotency.c.namespace_id, idempotency.c.method, idempotency.c.request_id)
    wanted = [(key.namespace_id, key.method, key.request_id) for key in keys]
    return dialect.keyed(columns, wanted, arrays=dialect.is_postgres(connection))
