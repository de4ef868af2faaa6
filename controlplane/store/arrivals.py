"""What new tasks ask before they are stored, in one message where the database is a message away."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.job import Job
from controlplane.store import idempotency, jobs
from controlplane.store.idempotency import Outcome
from controlplane.store.ready_made import ask


def look_up(
    connection: Connection, keys: Collection[IdempotencyKey], wanted: Collection[tuple[str, str]], now: int
) -> tuple[dict[IdempotencyKey, Outcome], dict[tuple[str, str], Job]]:
    """The outcomes of request ids that were used, and jobs by (namespace, id or name)."""
    used, named = idempotency.question(connection, keys), jobs.questions(wanted)
    answers = ask(connection, [*([used] if used else ()), *named.values()])
    known = idempotency.outcomes(connection, keys, answers.pop(0) if used else None, now)
    if len(named) < len(wanted):
        return known, jobs.find_many(connection, wanted)
    return known, jobs.found_of(dict(zip(named, answers, strict=True)))
