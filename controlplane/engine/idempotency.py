"""Doing something once per request id, whoever repeats it and whenever within a day (a setting).

The key is written in the effect's transaction. A repeat finds it and reads the resource again; the same id with other
content is refused. A refusal by the domain is an outcome as well: it is recorded after its transaction was rolled back,
so that a repeat gets the same answer. What could not be decided (the database was gone) is recorded nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from controlplane.domain import errors
from controlplane.domain.errors import AlreadyExists, PawlError, Violation
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.engine.context import Engine
from controlplane.store import Connection, IntegrityError, idempotency
from controlplane.store.idempotency import Outcome

P = ParamSpec("P")
R = TypeVar("R")

# Refusals that say something about the state when the call was made. The others may end differently when repeated.
_OUTCOMES = (errors.NotFound, errors.AlreadyExists, errors.IllegalTransition, errors.EtagMismatch)


async def once(
    engine: Engine,
    key: IdempotencyKey | None,
    effect: Callable[[Connection, int], tuple[str, R]],
    reread: Callable[[Connection, str], R],
) -> R:
    """Run `effect(connection, now)` in a transaction unless the key was used; then `reread(connection, resource_id)`.

    `effect` answers (resource id, result). Raises what the effect or the first call was refused with, AlreadyExists
    with reason REQUEST_ID_REUSED when the id was used for something else, and the reread's NotFound when the resource
    is gone since.
    """

    def transaction(connection: Connection) -> R:
        now = engine.clock.now()
        if key is not None:
            outcome = idempotency.find_many(connection, [key], now).get(key)
            if outcome is not None:
                raise_refusal(key, outcome)
                return reread(connection, outcome.resource_id)
        resource_id, result = effect(connection, now)
        if key is not None:
            idempotency.insert_many(connection, [(key, resource_id, None)], now + engine.request_ids_kept)
        return result

    try:
        return await _write(engine, transaction)
    except _OUTCOMES as refusal:
        if key is None or refusal.reason == "REQUEST_ID_REUSED":
            raise
        if await _write(engine, record_refusal, key, refusal, engine.clock.now(), engine.request_ids_kept):
            raise
    # The same call, made at the same time, was faster: what we were refused with is what it had done.
    return await engine.store.write(transaction)


async def _write(
    engine: Engine, transaction: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """A transaction; once more if a rival took the key or the name between our look and our write."""
    try:
        return await engine.store.write(transaction, *args, **kwargs)
    except IntegrityError:
        return await engine.store.write(transaction, *args, **kwargs)


def raise_refusal(key: IdempotencyKey, outcome: Outcome) -> None:
    """Raise if the first call was refused, or if it was another call."""
    if outcome.fingerprint != key.fingerprint:
        method = key.method.rpartition("/")[2]
        problem = f"{key.request_id!r} was used for {method} with other content: a new call needs a new id"
        raise AlreadyExists(
            f"request_id: {problem}",
            reason="REQUEST_ID_REUSED",
            violations=[Violation("request_id", problem)],
            facts={"field": "request_id", "request_id": key.request_id},
        )
    if outcome.refusal is not None:
        raise decode_refusal(outcome.refusal)


def record_refusal(connection: Connection, key: IdempotencyKey, refusal: PawlError, now: int, kept: int) -> bool:
    """Keep a refusal as the outcome of its key; False if the key has an outcome already."""
    if key in idempotency.find_many(connection, [key], now):
        return False
    idempotency.insert_many(connection, [(key, "", encode_refusal(refusal))], now + kept)
    return True


def encode_refusal(refusal: PawlError) -> str:
    """A refusal as JSON."""
    violations = [(one.field, one.problem) for one in refusal.violations]
    fields = [type(refusal).__name__, refusal.message, refusal.reason, violations, refusal.facts]
    return msgspec.json.encode(fields).decode()


def decode_refusal(text: str) -> PawlError:
    """The refusal again."""
    kind, message, reason, violations, facts = msgspec.json.decode(text)
    error: type[PawlError] = getattr(errors, kind)
    return error(message, reason=reason, violations=[errors.Violation(*one) for one in violations], facts=facts)
