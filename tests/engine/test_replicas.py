"""What replicas tell each other, and to whom nothing is told. No line here: words are carried by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from controlplane.engine.backlog import READY_HINT, ROOM_HINT, TIMERS_HINT
from controlplane.engine.replicas import (
    ASKED_HINT,
    HELLO_SECONDS,
    KNOWN_SECONDS,
    MOST_DEMANDS,
    MOST_KEYS,
    MOST_WAITING,
    WATCHING_SECONDS,
    Replicas,
    Word,
)
from controlplane.store.notices import MOST_BYTES


@dataclass
class Side:
    """One replica, its clock, and what it made of what it heard."""

    at: float = 1_000.0
    connected: int = 0
    woken: list[str] = field(default_factory=list)
    waiting: list[Sequence[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replicas = Replicas(lambda: self.at)
        self.replicas.agents = lambda: self.connected
        self.replicas.wake = self.woken.extend
        self.replicas.waits = lambda numbers: self.waiting.append(list(numbers))
        self.replicas.begin()

    def says(self) -> Word | None:
        """The next word, which fits a payload."""
        text = self.replicas.next_word()
        assert len((text or "").encode()) <= MOST_BYTES
        return None if text is None else msgspec.json.decode(text, type=Word)

    def hears(self, word: Word | None) -> None:
        """What another said."""
        assert word is not None
        self.replicas.heard(msgspec.json.encode(word).decode())

    def stores(self, *numbers: int) -> None:
        """A commit, and the hint that follows."""
        self.replicas.grown(numbers)
        self.replicas.pass_on([READY_HINT])


def meet(*sides: Side) -> None:
    """Until nobody has anything to say."""
    while any(talk(one, sides) for one in sides):
        pass


def talk(one: Side, sides: Sequence[Side]) -> bool:
    """One says what it has to say to the others; whether it had."""
    word = one.says()
    for other in sides:
        if word is not None and other is not one:
            other.hears(word)
    return word is not None


@pytest.fixture
def pair() -> tuple[Side, Side]:
    """Two that know each other; the second has agents and a watcher."""
    one, two = Side(), Side(connected=1)
    two.replicas.watched()
    meet(one, two)
    return one, two


def test_a_lone_replica_says_nothing_but_hello() -> None:
    alone = Side(connected=1)
    word = alone.says()
    assert word is not None
    assert word.greets
    alone.stores(1, 2)
    alone.replicas.pass_on([TIMERS_HINT, ROOM_HINT, ASKED_HINT, "task:x"])
    alone.replicas.watched()
    assert alone.says() is None
    alone.at += HELLO_SECONDS
    hello = alone.says()
    assert hello is not None
    assert (hello.stored, hello.demands, hello.keys, hello.greets) == (False, [], [], False)
    assert alone.says() is None


def test_whoever_begins_to_listen_is_answered_once_and_knows_everybody() -> None:
    one, two, three = Side(connected=1), Side(), Side()
    meet(one, two)
    assert (len(one.replicas), len(two.replicas)) == (1, 1)
    meet(three, one, two)
    assert [len(side.replicas) for side in (one, two, three)] == [2, 2, 2]
    assert three.replicas.agents_elsewhere
    assert not three.replicas.watched_elsewhere


def test_what_waits_is_told_once_to_those_with_agents(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.stores(7, 3)
    one.stores(7)
    word = one.says()
    two.hears(word)
    assert two.waiting == [[3, 7]]
    assert one.says() is None
    two.stores(7)
    assert two.says() is None, "the first has no agents, and nobody watches there"


def test_nothing_that_was_heard_is_said_again(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.stores(7)
    one.replicas.pass_on([TIMERS_HINT, "task:x"])
    meet(one, two)
    assert two.woken == [TIMERS_HINT, "task:x"]
    assert (one.woken, one.waiting) == ([], [])
    assert two.says() is None


def test_agents_that_connect_are_told_of_at_once_where_somebody_listens(pair: tuple[Side, Side]) -> None:
    one, two = pair
    assert not two.replicas.agents_elsewhere
    one.replicas.due.clear()
    one.connected = 1
    one.replicas.pass_on([ROOM_HINT])
    assert one.replicas.due.is_set()
    meet(one, two)
    assert two.replicas.agents_elsewhere
    one.replicas.due.clear()
    one.replicas.pass_on([ROOM_HINT])
    assert not one.replicas.due.is_set(), "it is said, and room alone concerns nobody else"


def test_single_things_are_told_only_while_somebody_watches_elsewhere(pair: tuple[Side, Side]) -> None:
    one, two = pair
    two.replicas.pass_on(["task:x"])
    assert two.says() is None
    one.replicas.watched()
    meet(one, two)
    two.replicas.pass_on(["task:x", "logs:x", "group:y"])
    word = two.says()
    assert word is not None
    assert word.keys == ["task:x", "logs:x", "group:y"]
    one.at += WATCHING_SECONDS
    meet(one, two)
    two.replicas.pass_on(["task:x"])
    assert two.says() is None


def test_hints_for_a_loop_that_runs_here_concern_nobody_else(pair: tuple[Side, Side]) -> None:
    one, _ = pair
    holds = True
    one.replicas.kept_here = {TIMERS_HINT: lambda: holds}
    one.replicas.pass_on([TIMERS_HINT])
    assert one.says() is None
    holds = False
    one.replicas.pass_on([TIMERS_HINT])
    word = one.says()
    assert word is not None
    assert word.keys == [TIMERS_HINT]


def test_more_demands_than_a_word_holds_are_told_of_without_numbers(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.stores(*(2**62 + number for number in range(MOST_DEMANDS)))
    one.replicas.pass_on([f"group:{number:036}" for number in range(MOST_KEYS)])
    two.hears(one.says())
    assert len(two.waiting[0]) == MOST_DEMANDS
    one.stores(*range(MOST_DEMANDS + 1))
    two.hears(one.says())
    assert two.waiting[1:] == [[]]


def test_more_keys_than_a_word_holds_follow_in_further_words_up_to_a_bound(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.replicas.pass_on([f"task:{number:036}" for number in range(2 * MOST_WAITING)])
    one.replicas.due.clear()
    two.hears(one.says())
    assert len(two.woken) == MOST_KEYS
    assert one.replicas.due.is_set()
    meet(one, two)
    assert len(two.woken) == MOST_WAITING
    assert len(set(two.woken)) == MOST_WAITING


def test_whoever_falls_silent_or_leaves_is_told_nothing(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.at += KNOWN_SECONDS + 1
    assert one.says() is not None  # a hello
    assert len(one.replicas) == 0
    one.stores(1)
    assert one.says() is None
    one.replicas.heard(two.replicas.farewell())
    two.replicas.heard(one.replicas.farewell())
    assert len(two.replicas) == 0


def test_a_line_that_broke_leaves_nothing_to_be_said_on_the_next(pair: tuple[Side, Side]) -> None:
    one, two = pair
    one.stores(1)
    one.replicas.pass_on([TIMERS_HINT, "task:x"])
    one.replicas.end()
    one.replicas.begin()
    word = one.says()
    assert word is not None
    assert (word.greets, word.stored, word.keys) == (True, False, [])
    two.hears(word)
    meet(one, two)
    assert (len(one.replicas), len(two.replicas)) == (1, 1)


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"speaker":1}', '{"speaker":"x","demands":["a"]}', "[" * 3000])
def test_what_is_no_word_is_not_heard(pair: tuple[Side, Side], text: str) -> None:
    one, _ = pair
    one.replicas.heard(text)
    assert (len(one.replicas), one.woken, one.waiting) == (1, [], [])


def test_a_word_of_a_newer_version_is_understood_as_far_as_it_can_be(pair: tuple[Side, Side]) -> None:
    one, _ = pair
    one.replicas.heard('{"speaker":"new","later":{"x":1},"keys":["timers"]}')
    assert (len(one.replicas), one.woken) == (2, ["timers"])
