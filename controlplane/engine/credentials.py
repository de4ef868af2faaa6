"""Which key a caller showed, and for how long it stays good.

A key that was found is held in memory, by its digest, so that a call costs no read of the database. What is held is
looked at again every LOOK_SECONDS by a loop on each replica; an entry that was not looked at for FRESH_SECONDS is read
again before it counts. So a key that is revoked anywhere opens nothing after FRESH_SECONDS, and streams that it opened
are told within LOOK_SECONDS and the time of a read. A look that finds no change anywhere reads no key. While the
database is away nobody new is let in, and streams that are open stay: an outage must not cost the agents their leases.

Guessing. 256 random bits are not guessed; what guesses can do is cost reads. Text without the right check costs none;
the rest is read GUESSES_AT_ONCE at a time, and those whose keys are held never wait behind them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from controlplane.domain.errors import Exhausted, PawlError, Unauthenticated, Unavailable
from controlplane.domain.key import Key, digest_of, is_right, prefix_of
from controlplane.engine.context import Engine
from controlplane.store import keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOK_SECONDS = 0.5
FRESH_SECONDS = 1.5
KEPT_SECONDS = 600.0  # since the last use, while no stream is open
MAX_HELD = 100_000
GUESSES_AT_ONCE = 2
MAX_WAITING = 100
USE_SECONDS = 60.0  # how exact `last_used_at` is

LONGEST = 256  # of what is looked at at all; a key is 67 characters

# What is said of a key → what programs read of it. Whoever has the secret may know why it is no use.
NOT_VALID = "the key is not valid"
REVOKED = "the key was revoked"
EXPIRED = "the key has expired"
NARROWED = "the key has lost a namespace; call again"
_FACTS = {NOT_VALID: "unknown", REVOKED: "revoked", EXPIRED: "expired", NARROWED: "changed"}


class Held:
    """A key that was shown here. `listeners` are called when it ends; then `over` says why."""

    __slots__ = ("key", "listeners", "looked_at", "mark", "over", "used_at")

    def __init__(self, key: Key, looked_at: float) -> None:
        self.key = key
        self.looked_at = looked_at  # of time.monotonic(), before the read
        self.used_at = looked_at
        self.mark = -1  # `keys.mark` of a state of the table that this is known to agree with
        self.over: PawlError | None = None
        self.listeners: set[Callable[[], None]] = set()

    def end(self, why: str) -> None:
        """It opens nothing any more."""
        self.over = _refusal(why)
        for listener in tuple(self.listeners):
            listener()


class Credentials:
    """The keys that are in use on this replica."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[bytes, Held] = {}
        self._guesses = asyncio.Semaphore(GUESSES_AT_ONCE)
        self._waiting = 0
        self._refresh = asyncio.Lock()
        self._uses: dict[str, int] = {}
        self._uses_written = time.monotonic()

    async def find(self, text: str) -> Held:
        """The living key that this is. Raises Unauthenticated, Exhausted, Unavailable."""
        if len(text) > LONGEST:
            raise _refusal(NOT_VALID)
        digest = digest_of(text)
        held = self._held.get(digest)
        if held is None:
            held = await self._first_time(text, digest)
        elif time.monotonic() - held.looked_at > FRESH_SECONDS:
            async with self._refresh:  # one read for all who wait
                if time.monotonic() - held.looked_at > FRESH_SECONDS:
                    await self._look_at([held])
        self._check(held)
        held.used_at = time.monotonic()
        self._uses[held.key.id] = self._engine.clock.now()
        return held

    def revoked(self, key_id: str) -> None:
        """This replica has just revoked it."""
        for held in self._of(key_id):
            self._end(held, REVOKED)

    async def look(self) -> float:
        """One look at everything that is held; when the next is due."""
        if self._held:
            self._forget()
            await self._look_at_all()
        with suppress(Unavailable):  # a database that cannot be written to must not keep us from looking
            await self._note_uses()
        return LOOK_SECONDS

    async def any_living(self) -> bool:
        """Whether there is a key that opens anything."""
        return await self._engine.store.read(keys.any_living, self._engine.clock.now())

    # ------------------------------------------------------------

    async def _first_time(self, text: str, digest: bytes) -> Held:
        prefix = prefix_of(text)
        if prefix is None:
            raise _refusal(NOT_VALID)
        async with self._turn():
            known = self._held.get(digest)
            if known is not None:
                return known
            began = time.monotonic()
            found = await self._engine.store.read(keys.by_prefix, prefix)
        if not is_right(found, digest) or found is None:
            raise _refusal(NOT_VALID)
        held = Held(found, began)
        self._check(held)
        if len(self._held) < MAX_HELD:
            # Somebody else may have shown it meanwhile: his streams listen to his entry.
            held = self._held.setdefault(digest, held)
        return held

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= MAX_WAITING:
            raise Exhausted("too many unknown keys are being looked up; repeat it in a moment", retry_after_seconds=1.0)
        self._waiting += 1
        try:
            async with self._guesses:
                yield
        finally:
            self._waiting -= 1

    def _check(self, held: Held) -> None:
        """Raise Unauthenticated for one that has ended. Whoever has the secret may know why."""
        if held.over is None and not held.key.lives(self._engine.clock.now()):
            self._end(held, EXPIRED if held.key.revoked_at is None else REVOKED)
        if held.over is not None:
            raise _refusal(held.over.message)

    async def _look_at_all(self) -> None:
        began = time.monotonic()
        mark = await self._engine.store.read(keys.mark)  # before the keys, which then are as new, or newer
        now = self._engine.clock.now()
        changed = []
        for held in tuple(self._held.values()):
            if held.mark != mark:
                changed.append(held)
            elif held.key.lives(now):
                held.looked_at = max(held.looked_at, began)
            else:
                self._end(held, EXPIRED)
        if changed:
            await self._look_at(changed)
            for held in changed:
                held.mark = mark

    async def _look_at(self, some: list[Held]) -> None:
        began = time.monotonic()
        found = await self._engine.store.read(keys.by_ids, [held.key.id for held in some])
        now = self._engine.clock.now()
        for held in some:
            new = found.get(held.key.id)
            if new is None or not new.lives(now):
                self._end(held, EXPIRED if new is not None and new.revoked_at is None else REVOKED)
            elif new.namespaces != held.key.namespaces:
                # It opens less than its streams were opened with: they come again, and see.
                self._end(held, NARROWED)
            else:
                held.looked_at = began

    def _end(self, held: Held, why: str) -> None:
        self._held = {digest: one for digest, one in self._held.items() if one is not held}
        if held.over is None:
            held.end(why)

    def _of(self, key_id: str) -> list[Held]:
        return [held for held in self._held.values() if held.key.id == key_id]

    def _forget(self) -> None:
        long_ago = time.monotonic() - KEPT_SECONDS
        kept = {digest: held for digest, held in self._held.items() if held.listeners or held.used_at > long_ago}
        self._held = kept

    async def _note_uses(self) -> None:
        if not self._uses or time.monotonic() - self._uses_written < USE_SECONDS:
            return
        await self.write_uses()

    async def write_uses(self) -> None:
        """Store when each key was last used."""
        uses, self._uses = self._uses, {}
        self._uses_written = time.monotonic()
        await self._engine.store.write(keys.note_uses, uses)


def _refusal(why: str) -> Unauthenticated:
    return Unauthenticated(why, facts={"key": _FACTS[why]})
