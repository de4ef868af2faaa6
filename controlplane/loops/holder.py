"""One holder per loop: replicas agree in the database on who runs it.

The lease keeps replicas from doing the same work twice over; it is not what makes the work right. What a loop does is
guarded by rows (locks, keys, versions), so that a holder which slept through its lease does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from controlplane.engine.context import Engine
from controlplane.store import leases
from controlplane.store.glance import Lease

LEASE_SECONDS = 3.0


class Together:
    """The claims of one process, which are renewed by one commit: one for each would be most of what a control plane
    does that has nothing to do. A loop that has not come round for as long as a lease lasts loses its own all the same.
    """

    def __init__(self) -> None:
        self.claims: list[Holder] = []
        self.renewing = asyncio.Lock()


class Holder:
    """This process's claim on one loop. `identity` outlives a restart: it names the replica, not the process."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        identity: str,
        *,
        together: Together | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.name = name
        self.token: int | None = None
        self._engine = engine
        self._identity = identity
        self._together = together or Together()
        self._together.claims.append(self)
        self._lease_seconds = lease_seconds
        self._asked_at = 0.0
        self._renew_at = 0.0
        self._over_at = 0.0

    @property
    def holds(self) -> bool:
        """Whether this process may run the loop now, as far as it knows without asking."""
        return self.token is not None and time.monotonic() < self._over_at

    async def hold(self) -> bool:
        """Whether this process may run the loop now; takes or renews the lease when that is due."""
        asked = self._asked_at = time.monotonic()
        if self.token is None:
            now = self._engine.clock.now()
            self.token = await self._engine.store.write(
                leases.take, self.name, self._identity, now, self._lease_seconds
            )
            self._counts_from(asked)
        elif asked >= self._renew_at:
            await self._renew()
        return self.token is not None

    async def _renew(self) -> None:
        async with self._together.renewing:
            asked, now = time.monotonic(), self._engine.clock.now()
            if asked < self._renew_at:
                return  # renewed by another while we waited
            alive = asked - self._lease_seconds
            claims = {
                one: one.token for one in self._together.claims if one.token is not None and one._asked_at > alive
            }
            tokens = {one.name: token for one, token in claims.items()}
            kept = await self._engine.store.write(leases.renew, tokens, now, self._lease_seconds)
            for one, token in claims.items():
                if one.token == token:  # it may have been released meanwhile
                    one.token = token if one.name in kept else None
                    one._counts_from(asked)

    def _counts_from(self, asked: float) -> None:
        """From before the question, so that we never believe longer than the database does."""
        self._renew_at = asked + self._lease_seconds / 2
        self._over_at = asked + self._lease_seconds

    def free_at(self, leases: Mapping[str, Lease]) -> int:
        """From when on this process may take the loop, by the leases that there are."""
        lease = leases.get(self.name)
        return 0 if lease is None or lease.holder == self._identity else lease.expires_at

    async def release(self) -> None:
        """Leave in good order: the next holder need not wait for the lease to run out."""
        if self.token is not None:
            token, self.token = self.token, None
            await self._engine.store.write(leases.release, self.name, token)
