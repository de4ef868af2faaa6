"""What a job says about where it runs: rules about labels, what it takes up, and which of several agents is taken.

Pure values and the comparing of one rule with one agent's labels. Not here: how a job's rules become a demand
(`job.py`), which agents meet it (`matching.py`), and who gets what of their room (`seating.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum

BUCKETS = 128  # what keys are hashed into: each is a lane of its own, so that nobody reads past keys of other agents

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_TAG = re.compile(r"\$\{tags\.([^{}]*)\}")


class Operator(IntEnum):
    """How a label is compared. The numbers are those of the contract."""

    EQ = 1
    NOT = 2
    IN = 3
    NOT_IN = 4
    EXISTS = 5
    NOT_EXISTS = 6
    GT = 7
    GTE = 8
    LT = 9
    LTE = 10


NUMERIC = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_SIGNS = {
    Operator.EQ: "=",
    Operator.NOT: "!=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}


class Strategy(IntEnum):
    """Which of several agents that are preferred alike. The numbers are those of the contract."""

    LEAST_LOADED = 1
    ROUND_ROBIN = 2
    RANDOM = 3
    STICKY = 4


@dataclass(frozen=True, slots=True)
class LabelRule:
    """A rule about one label. `weight` is for preferred ones."""

    label: str
    op: Operator = Operator.EQ
    values: tuple[str, ...] = ()
    weight: int | None = None

    def meets(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it."""
        value = labels.get(self.label)
        if self.op in NUMERIC:
            return self._compares(value)
        if self.op is Operator.EXISTS:
            return value is not None
        if self.op is Operator.NOT_EXISTS:
            return value is None
        inside = value in self.values
        return inside if self.op in (Operator.EQ, Operator.IN) else not inside

    def _compares(self, value: str | None) -> bool:
        have, want = number(value or ""), number(self.values[0])
        if have is None or want is None:
            return False
        if self.op is Operator.GT:
            return have > want
        if self.op is Operator.GTE:
            return have >= want
        return have < want if self.op is Operator.LT else have <= want

    @property
    def wanted(self) -> str:
        """What the label should be, for people: `>= 2`."""
        if self.op is Operator.EXISTS:
            return "any value"
        if self.op is Operator.NOT_EXISTS:
            return "absent"
        if self.op in (Operator.IN, Operator.NOT_IN):
            return f"{'one' if self.op is Operator.IN else 'none'} of {', '.join(self.values)}"
        return f"{_SIGNS[self.op]} {self.values[0]}"


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """What a job says about where it runs, beside the labels that must be equal."""

    required: tuple[LabelRule, ...] = ()
    preferred: tuple[LabelRule, ...] = ()
    strategy: Strategy = Strategy.LEAST_LOADED
    sticky_key: str = ""
    agents: tuple[str, ...] = ()
    slots: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)


def number(text: str) -> Decimal | None:
    """The decimal number that a label spells, or None."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def score(preferred: Iterable[LabelRule], labels: Mapping[str, str]) -> int:
    """How welcome an agent with these labels is: what the rules weigh that it meets."""
    return sum(1 if rule.weight is None else rule.weight for rule in preferred if rule.meets(labels))


def holds_other_than_tags(sticky_key: str) -> bool:
    """Whether something in it looks like what stands for a tag and is none."""
    return "${" in _TAG.sub("", sticky_key)


def bucket_of(sticky_key: str, tags: Mapping[str, str], job_id: str) -> int:
    """Where a task's key falls. The key is the text with the task's tags in it; the job where there is none."""
    key = _TAG.sub(lambda found: tags.get(found[1], ""), sticky_key) or job_id
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % BUCKETS


def owner_of(bucket: int, agents: Collection[str]) -> str | None:
    """The agent that a bucket belongs to: of each pair of agents the same one always wins, so that only the buckets of
    an agent that goes, or those that one that comes wins, change hands.
    """

    def rank(agent: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{bucket}/{agent}".encode()).digest(), agent

    return max(agents, key=rank, default=None)
