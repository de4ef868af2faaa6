"""What the replicas on one PostgreSQL tell each other, so that none has to wait for its own sweep.

Every word carries what its speaker wants to hear of: work, while agents are connected to it, and single things, while
somebody watches one there. Nobody is told what nobody wants, and a replica that hears no other says nothing but hello.
What was heard is never passed on. All of it is hints: what is lost is found by a sweep. On SQLite nobody speaks.

Here is what to say and what was heard; the line itself is `store/notices.py`, who sits at it `loops/telling.py`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from msgspec import Struct

from controlplane.engine.backlog import READY_HINT, ROOM_HINT
from controlplane.store.wakeup import is_watched

ASKED_HINT = "asked"  # something was asked of what an agent has: to stop it, to hold it still, to drain

HELLO_SECONDS = 10.0
KNOWN_SECONDS = 30.0  # who was silent for so long is gone
WATCHING_SECONDS = 60.0  # the next watcher comes soon after the last one, and would not be expected in time
MOST_DEMANDS = 50  # in one word; of more it only says that there are some
MOST_KEYS = 140  # likewise: with the demands at their longest they stay below the bound of a payload
MOST_WAITING = 1_000  # keys that have not been told yet; what comes on top is left to the sweeps


class Word(Struct, omit_defaults=True):
    """What one replica tells the others. `speaker` is new with each start."""

    speaker: str
    greets: bool = False  # it has just begun to listen, and knows nobody
    leaves: bool = False
    has_agents: bool = False
    watches: bool = False
    stored: bool = False  # something waits for an agent anew
    demands: list[int] = []  # with these; none: with too many to be told
    keys: list[str] = []


class Replicas:
    """The others, as this replica knows them. On the loop's thread, but for `grown`.

    The wiring sets what it asks and tells: `agents`, how many are connected here; `kept_here`, by hint whether the loop
    that it is for runs here; `wake`, for keys that were heard; `waits`, for demands that were heard.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.agents: Callable[[], int] = lambda: 0
        self.kept_here: Mapping[str, Callable[[], bool]] = {}
        self.watching: Callable[[], bool] = lambda: False
        self.wake: Callable[[Sequence[str]], object] = lambda _: None
        self.waits: Callable[[Collection[int]], object] = lambda _: None
        self.due = asyncio.Event()  # there may be something to say
        self.asked = False  # others were asked something of agents that are connected here
        self.agents_elsewhere = False
        self.watched_elsewhere = False
        self._speaker = secrets.token_hex(8)
        self._others: dict[str, tuple[float, Word]] = {}
        self._lock = threading.Lock()
        self._demands: set[int] = set()
        self._keys: dict[str, None] = {}
        self._greets = self._answers = False
        self._said = Word(self._speaker)
        self._watched_at = -WATCHING_SECONDS
        self._hello_at = 0.0

    def __len__(self) -> int:
        """How many others are known."""
        return len(self._others)

    # --- what happens here

    def grown(self, numbers: Collection[int]) -> None:
        """It is committed that something waits with these demands. From any thread; the hint `ready` follows."""
        if self.agents_elsewhere:
            with self._lock:
                self._demands.update(numbers)

    def pass_on(self, keys: Sequence[str]) -> None:
        """These hints were given here."""
        if not self._others:
            return
        for key in keys:
            if key == READY_HINT:
                if self._demands:
                    self.due.set()
            elif key == ROOM_HINT:
                if not self._said.has_agents:
                    self.due.set()  # the first of its agents has come
            elif self._wanted(key):
                self._keys[key] = None
                self.due.set()

    def _wanted(self, key: str) -> bool:
        if is_watched(key):
            return self.watched_elsewhere and len(self._keys) < MOST_WAITING
        kept_here = self.kept_here.get(key)
        return kept_here is None or not kept_here()

    def watched(self) -> None:
        """Somebody begins to watch a single thing here."""
        self._watched_at = self._clock()
        if self._others and not self._said.watches:
            self.due.set()

    # --- what to say

    def begin(self) -> None:
        """There is a line to the others."""
        self._greets = True
        self.due.set()

    def end(self) -> None:
        """There is none any more: nobody can be told anything."""
        self._others = {}
        self._count()
        self._keys = {}
        with self._lock:
            self._demands = set()
        self._said = Word(self._speaker)

    def farewell(self) -> str:
        """The last word."""
        return _written(Word(self._speaker, leaves=True))

    def until_hello(self) -> float:
        """Seconds until a hello is due."""
        return max(0.0, self._hello_at - self._clock())

    def next_word(self) -> str | None:
        """What is to be said now, or None. Each thing is said once."""
        now = self._clock()
        self._forget_silent(now)
        watches = self.watching() or now - self._watched_at < WATCHING_SECONDS
        word = Word(self._speaker, has_agents=self.agents() > 0, watches=watches)
        wants = (word.has_agents and not self._said.has_agents) or (watches and not self._said.watches)
        self._add_news(word)
        is_hello = self._greets or self._answers or now >= self._hello_at or (wants and bool(self._others))
        if not (is_hello or word.stored or word.keys):
            return None
        word.greets, self._greets, self._answers = self._greets, False, False
        self._hello_at = now + HELLO_SECONDS * random.uniform(0.9, 1.0)
        self._said = word
        return _written(word)

    def _add_news(self, word: Word) -> None:
        with self._lock:
            demands, self._demands = self._demands, set()
        word.stored = bool(demands)
        word.demands = sorted(demands) if len(demands) <= MOST_DEMANDS else []
        word.keys = list(self._keys)[:MOST_KEYS]
        for key in word.keys:
            del self._keys[key]
        if self._keys:
            self.due.set()

    # --- what was heard

    def heard(self, text: str) -> None:
        """Somebody else said this. What is no word is none: anybody may write to the channel."""
        try:
            word = msgspec.json.decode(text, type=Word)
        except msgspec.MsgspecError:
            return
        if word.leaves:
            self._others.pop(word.speaker, None)
        else:
            self._others[word.speaker] = self._clock(), word
        self._count()
        if word.greets:
            self._answers = True
            self.due.set()
        if ASKED_HINT in word.keys:
            self.asked = True
        self.wake(word.keys)
        if word.stored:
            self.waits(word.demands)

    def _forget_silent(self, now: float) -> None:
        silent = [speaker for speaker, (at, _) in self._others.items() if now - at > KNOWN_SECONDS]
        for speaker in silent:
            del self._others[speaker]
        if silent:
            self._count()

    def _count(self) -> None:
        self.agents_elsewhere = any(word.has_agents for _, word in self._others.values())
        self.watched_elsewhere = any(word.watches for _, word in self._others.values())


def _written(word: Word) -> str:
    return msgspec.json.encode(word).decode()
