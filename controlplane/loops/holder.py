"""One holder per loop: replicas agree in the database on who runs it.

The lease keeps replicas from doing the same work twice over; it is not what makes the work right. What a loop does is
guarded by rows (locks, keys, versions), so that a holder which slept through its lease does no harm.
"""

from __future__ import annotations

import time

from controlplane.engine.context import Engine
from controlplane.store import leases

LEASE_SECONDS = 3.0


class Holder:
    """This process's claim on one loop. `identity` outlives a restart: it names the replica, not the process."""

    def __init__(self, engine: Engine, name: str, identity: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.name = name
        self.token: int | None = None
        self._engine = engine
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_at = 0.0
        self._over_at = 0.0

    @property
    def holds(self) -> bool:
        """Whether this process may run the loop now, as far as it knows without asking."""
        return self.token is not None and time.monotonic() < self._over_at

    async def hold(self) -> bool:
        """Whether this process may run the loop now; takes or renews the lease when that is due."""
        asked = time.monotonic()
        if self.token is not None and asked < self._renew_at:
            return True
        now = self._engine.clock.now()
        if self.token is not None and not await self._engine.store.write(
            leases.renew, self.name, self.token, now, self._lease_seconds
        ):
            self.token = None
        elif self.token is None:
            self.token = await self._engine.store.write(
                leases.take, self.name, self._identity, now, self._lease_seconds
            )
        # Counted from before the question, so that we never believe longer than the database does.
        self._renew_at = asked + self._lease_seconds / 3
        self._over_at = asked + self._lease_seconds
        return self.token is not None

    async def release(self) -> None:
        """Leave in good order: the next holder need not wait for the lease to run out."""
        if self.token is not None:
            token, self.token = self.token, None
            await self._engine.store.write(leases.release, self.name, token)
