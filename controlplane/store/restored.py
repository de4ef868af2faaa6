"""What a database remembers of having been put back to an earlier moment: tokens go on above all that were given.

A backup does not know of the placements that were made after it. Their tokens must not be given again: an agent may
still run one of them, and whoever uses the token as a fence outside has seen it. So a restored database notes a floor,
and tasks that were there are placed above it. The floor is the time in seconds: it is above the tokens of any life that
this database has had and nobody remembers, also of an earlier restore of the same backup. A task would have to be
placed more than once a second through all of that life to come near it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import agent, loop_lease, restore

EPOCH_SECONDS: Final = 1_735_689_600
"""2025-01-01: seconds from here fit into a token until 2093."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Tasks created up to `at` get tokens above `token_floor`."""

    at: int = 0
    token_floor: int = 0

    def floor_for(self, created_at: int) -> int:
        """What the next token of a task from then must be above."""
        return self.token_floor if created_at <= self.at else 0


def floor_at(now: int) -> int:
    """The floor that a note brings."""
    return max(now // 1_000_000 - EPOCH_SECONDS, 1)


def newest(connection: Connection) -> Restored:
    """The last time that this database was put back; a floor of 0 if it never was."""
    row = connection.execute(sa.select(restore).order_by(restore.c.restored_at.desc()).limit(1)).one_or_none()
    return Restored() if row is None else Restored(row.restored_at, row.token_floor)


def mark(connection: Connection, now: int, *, taken_at: int | None = None) -> Restored:
    """Note before the first start that this database was put back: the streams and leases that it shows are over."""
    connection.execute(loop_lease.update().values(expires_at=0))
    connection.execute(agent.update().where(agent.c.status.in_((1, 2))).values(status=3))
    return note(connection, now, taken_at=taken_at)


def note(connection: Connection, now: int, *, taken_at: int | None = None) -> Restored:
    """Raise the floor: what happens from now on is above all that this database may have forgotten."""
    floor = max(newest(connection).token_floor + 1, floor_at(now))
    new = dialect.upsert(connection, restore, (restore.c.restored_at,), ("token_floor", "taken_at"))
    connection.execute(new.values(restored_at=now, token_floor=floor, taken_at=taken_at))
    return Restored(now, floor)
