"""Which keys open anything, what finding that out costs, and what holds while the database is away."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from controlplane.domain.errors import Exhausted, Unauthenticated, Unavailable
from controlplane.domain.key import PREFIX_LENGTH, SECRET_BYTES, KeyDraft, write_key
from controlplane.engine import credentials as module
from controlplane.engine.credentials import MAX_WAITING, Credentials
from controlplane.engine.keys import make
from controlplane.store import Store, keys
from controlplane.store.migrations import migrate
from tests.engine.stage import MovedClock, replica


class Watched(Store):
    """The real thing, which counts what is read, and can be away, or slow until somebody says so."""

    reads = 0
    away = False
    gate: asyncio.Event | None = None
    asked: asyncio.Event

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.answers: list[Any] = []  # late ones, given instead of newer ones

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        """As ever, unless it is away."""
        self.reads += 1
        if self.gate is not None:
            self.asked.set()
            await self.gate.wait()
        if self.away:
            raise Unavailable("the database does not answer")
        if self.answers and args[0] is keys.by_prefix:
            return self.answers.pop()
        return await super().read(*args, **kwargs)


@dataclass
class Stage:
    """A replica's credentials over a database."""

    store: Watched
    clock: MovedClock
    credentials: Credentials
    over: list[str] = field(default_factory=list)

    async def key(self, expires_at: int | None = None) -> str:
        """The text of a new key."""
        draft = KeyDraft(f"k-{secrets.token_hex(4)}", "", frozenset({"viewer"}), None, expires_at)
        new_id = replica(self.store, self.clock).engine.new_id()
        made = await self.store.write(make, draft, "test", new_id, self.clock.now())
        return made.text

    async def revoke(self, text: str) -> None:
        """Somebody revokes it on another replica."""
        held = await self.store.write(keys.by_prefix, text.split("_")[1])
        assert held is not None
        await self.store.write(keys.revoke, [held.id], "somebody", self.clock.now())

    @contextmanager
    def later(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """What holds when so much time has passed since the last look."""
        with monkeypatch.context() as patch:
            patch.setattr(module, "FRESH_SECONDS", module.FRESH_SECONDS - seconds)
            yield


@pytest.fixture
async def stage(migrated_url: str) -> AsyncIterator[Stage]:
    """On each kind of database."""
    store, clock = Watched(migrated_url), MovedClock()
    store.open()
    migrate(store, clock.now())
    yield Stage(store, clock, Credentials(replica(store, clock).engine))
    store.close()


def unknown() -> str:
    """A well-formed key that nobody has."""
    return write_key(secrets.token_bytes(PREFIX_LENGTH + SECRET_BYTES))[1]


async def test_a_key_costs_one_read_and_then_none(stage: Stage) -> None:
    text = await stage.key()
    before = stage.store.reads
    for _ in range(5):
        await stage.credentials.find(text)
    assert stage.store.reads - before == 1


@pytest.mark.parametrize("text", ["", "pawl_", "x" * 100_000, "pawl_abcdefghijkl_" + "0" * 49, "ü" * 67])
async def test_what_is_no_key_costs_no_read(stage: Stage, text: str) -> None:
    before = stage.store.reads
    with pytest.raises(Unauthenticated, match="the key is not valid"):
        await stage.credentials.find(text)
    assert stage.store.reads == before


async def test_a_key_with_a_known_prefix_and_another_secret_is_not_valid(stage: Stage) -> None:
    right, other = await stage.key(), unknown()
    start = f"{right.rpartition('_')[0]}_{other.rpartition('_')[2][:-6]}"
    from controlplane.domain.key import _check

    with pytest.raises(Unauthenticated, match="the key is not valid"):
        await stage.credentials.find(start + _check(start))


async def test_guesses_are_looked_up_two_at_a_time_and_beyond_a_hundred_not_at_all(stage: Stage) -> None:
    held = await stage.key()
    await stage.credentials.find(held)
    stage.store.gate, stage.store.asked, before = asyncio.Event(), asyncio.Event(), stage.store.reads
    async with asyncio.TaskGroup() as group:
        guesses = [group.create_task(_outcome(stage.credentials.find(unknown()))) for _ in range(MAX_WAITING)]
        await asyncio.wait_for(stage.store.asked.wait(), 10)
        assert stage.store.reads - before == module.GUESSES_AT_ONCE
        with pytest.raises(Exhausted):
            await stage.credentials.find(unknown())
        assert (await stage.credentials.find(held)).over is None  # whose key is held waits for nobody
        stage.store.gate.set()
    assert {guess.result() for guess in guesses} == {"the key is not valid"}


async def test_a_key_that_was_not_looked_at_for_too_long_is_read_again_before_it_counts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await stage.key()
    await stage.credentials.find(text)
    await stage.revoke(text)
    await stage.credentials.find(text)  # within the time that is promised
    with stage.later(2.0, monkeypatch), pytest.raises(Unauthenticated, match="the key was revoked"):
        await stage.credentials.find(text)


async def test_looks_read_keys_only_when_one_has_changed(stage: Stage) -> None:
    texts = [await stage.key() for _ in range(3)]
    helds = [await stage.credentials.find(text) for text in texts]

    async def reads() -> int:
        before = stage.store.reads
        await stage.credentials.look()
        return stage.store.reads - before

    assert [await reads() for _ in range(3)] == [2, 1, 1]  # whether something has changed; and the keys, once
    await stage.revoke(texts[1])
    assert [await reads(), await reads()] == [2, 1]
    assert [held.over is None for held in helds] == [True, False, True]
    await stage.credentials.find(await stage.key())
    assert [await reads(), await reads()] == [2, 1]
    looked_at = helds[0].looked_at
    await stage.credentials.look()
    assert helds[0].looked_at > looked_at


async def test_a_key_that_is_revoked_while_it_is_read_for_the_first_time_is_found_out(stage: Stage) -> None:
    other, text = await stage.key(), await stage.key()
    await stage.credentials.find(other)
    found = await stage.store.write(keys.by_prefix, text.split("_")[1])
    stage.store.answers.append(found)  # what was read before the next line, and comes after it
    await stage.revoke(text)
    await stage.credentials.look()
    held = await stage.credentials.find(text)
    assert held.over is None
    await stage.credentials.look()
    assert held.over is not None


async def test_a_look_tells_the_streams_of_keys_that_have_ended(stage: Stage) -> None:
    second = 1_000_000
    revoked, expires, stays = [await stage.key(at) for at in (None, stage.clock.now() + second, None)]
    for name, text in (("revoked", revoked), ("expires", expires), ("stays", stays)):
        held = await stage.credentials.find(text)
        held.listeners.add(partial(stage.over.append, name))
    await stage.revoke(revoked)
    await stage.credentials.look()
    assert stage.over == ["revoked"]
    stage.clock.move(1.0)
    await stage.credentials.look()
    assert stage.over == ["revoked", "expires"]
    with pytest.raises(Unauthenticated, match="the key has expired"):
        await stage.credentials.find(expires)
    assert (await stage.credentials.find(stays)).over is None


async def test_while_the_database_is_away_nobody_new_is_let_in_and_open_streams_stay(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = await stage.key(), await stage.key()
    held = await stage.credentials.find(known)
    held.listeners.add(lambda: stage.over.append("known"))
    stage.store.away = True
    with pytest.raises(Unavailable):
        await stage.credentials.find(new)
    with pytest.raises(Unavailable):
        await stage.credentials.look()
    assert stage.over == []
    with stage.later(2.0, monkeypatch), pytest.raises(Unavailable):
        await stage.credentials.find(known)
    stage.store.away = False
    with stage.later(2.0, monkeypatch):
        assert await stage.credentials.find(known) is held


async def test_an_end_is_told_while_uses_cannot_be_written(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    text = await stage.key()
    held = await stage.credentials.find(text)
    held.listeners.add(lambda: stage.over.append("it"))
    await stage.revoke(text)

    async def full(*_: Any) -> Any:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(module, "USE_SECONDS", 0.0)
    monkeypatch.setattr(stage.store, "write", full)
    await stage.credentials.look()
    assert stage.over == ["it"]


async def _outcome(what: Any) -> str:
    try:
        await what
    except Unauthenticated as error:
        return error.message
    return "let in"
