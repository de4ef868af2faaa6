"""Who runs a loop: one row per loop, with a token that grows with every new holder."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from controlplane.store import dialect
from controlplane.store.tables import loop_lease


def take(connection: Connection, name: str, holder: str, now: int, seconds: float) -> int | None:
    """The new token, or None while somebody else's lease runs. A lease under the same name is one's own: a control
    plane that was restarted does not wait for its former self."""
    new = dialect.insert_ignoring(connection, loop_lease).values(name=name, holder=holder, token=0, expires_at=0)
    connection.execute(new)
    free = sa.or_(loop_lease.c.expires_at <= now, loop_lease.c.holder == holder)
    taken = (
        loop_lease.update()
        .where(loop_lease.c.name == name, free)
        .values(holder=holder, token=loop_lease.c.token + 1, expires_at=now + round(seconds * 1_000_000))
        .returning(loop_lease.c.token)
    )
    token: int | None = connection.execute(taken).scalar_one_or_none()
    return token


def renew(connection: Connection, tokens: Mapping[str, int], now: int, seconds: float) -> set[str]:
    """Let the leases with these tokens run on from now; the names of those that are still the ones with them."""
    renewed = (
        loop_lease.update()
        .where(sa.tuple_(loop_lease.c.name, loop_lease.c.token).in_(list(tokens.items())))
        .values(expires_at=now + round(seconds * 1_000_000))
        .returning(loop_lease.c.name)
    )
    return set(connection.execute(renewed).scalars())


def release(connection: Connection, name: str, token: int) -> None:
    """Let the next holder in at once."""
    released = loop_lease.update().where(loop_lease.c.name == name, loop_lease.c.token == token).values(expires_at=0)
    connection.execute(released)
