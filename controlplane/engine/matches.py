"""Which agents meet which demands, remembered: each pair is compared once, and again when the agent's labels change. So
what a placement costs does not grow with the number of rules.

Not every demand that there ever was is in mind: of those that nothing waits for, the last used. One that is wanted
again is learnt again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from controlplane.domain.job import Requirement
from controlplane.domain.matching import Offer, can_run
from controlplane.domain.placement import owner_of, score

IDLE = 4096
"""Demands that nothing waits for and that are kept in mind. When there are more, the half that was used last stays."""


@dataclass(slots=True)
class _Met:
    """What one agent meets, as far as it has been looked at: demands with how much each prefers it."""

    labels: Mapping[str, str]
    looked_at: int = 0
    scores: dict[int, int] = field(default_factory=dict)


class Matches:
    """The demands that this replica has in mind, and who meets them. From one thread at a time."""

    def __init__(self) -> None:
        self._demands: dict[int, Requirement] = {}  # the last used at the end
        self._order: list[int] = []  # the last learnt at the end
        self.any_sticky = False  # whether the agents of other replicas have a say, too
        self.any_capped = False
        self.changes = 0  # grows with what is in mind, and with what goes
        self._met: dict[str, _Met] = {}

    def __len__(self) -> int:
        return len(self._demands)

    def __getitem__(self, number: int) -> Requirement:
        return self._demands[number]

    @property
    def numbers(self) -> Set[int]:
        """All that are in mind."""
        return self._demands.keys()

    def strange(self, numbers: Collection[int]) -> set[int]:
        """Which of these demands are not in mind."""
        return {number for number in numbers if number not in self._demands}

    def learn(self, found: Iterable[tuple[int, Requirement]]) -> None:
        """Demands that were added, or are wanted again."""
        for number, demand in found:
            if number not in self._demands:
                self._demands[number] = demand
                self._order.append(number)
                self._mind(demand)
                self.changes += 1

    def use(self, numbers: Iterable[int]) -> None:
        """Work of these is being placed."""
        for number in numbers:
            self._demands[number] = self._demands.pop(number)

    def forget_idle(self, waiting: Collection[int]) -> bool:
        """Let go of demands that have not been used for long, if there are many, but of none that something waits for.
        Whether any went.
        """
        if len(self._demands) <= IDLE + len(waiting):
            return False
        self.changes += 1
        idle = [number for number in self._demands if number not in waiting]
        gone = set(idle[: -IDLE // 2])
        self._demands = {number: demand for number, demand in self._demands.items() if number not in gone}
        staying = [place for place, number in enumerate(self._order) if number not in gone]
        for met in self._met.values():
            met.looked_at = bisect_left(staying, met.looked_at)
            met.scores = {number: score for number, score in met.scores.items() if number not in gone}
        self._order = [self._order[place] for place in staying]
        self.any_sticky = self.any_capped = False
        for demand in self._demands.values():
            self._mind(demand)
        return True

    def _mind(self, demand: Requirement) -> None:
        self.any_sticky |= demand.bucket is not None
        self.any_capped |= bool(demand.capped_job)

    def seen(self, session_id: str, labels: Mapping[str, str]) -> Mapping[int, int] | None:
        """What `scores` says of an agent, if there is nothing that it has to be compared with; else None."""
        met = self._met.get(session_id)
        if met is None or met.labels is not labels or met.looked_at < len(self._order):
            return None
        return met.scores

    def scores(self, session_id: str, offer: Offer) -> Mapping[int, int]:
        """The demands that an agent meets, each with how much it prefers the agent."""
        met = self._met.get(session_id)
        if met is None or met.labels is not offer.labels:
            met = self._met[session_id] = _Met(offer.labels)
        new = self._order[met.looked_at :]
        for number in new:
            demand = self._demands[number]
            if can_run(offer, demand):
                met.scores[number] = score(demand.preferred, offer.labels)
        met.looked_at += len(new)
        return met.scores

    def forget(self, session_ids: Set[str]) -> None:
        """Only these streams are left."""
        for gone in self._met.keys() - session_ids:
            del self._met[gone]


def owner(demand: Requirement, offers: Iterable[Offer]) -> str | None:
    """The agent that a demand with a key belongs to, one of those that may run it and are preferred most. None for a
    demand without a key, or if there is no such agent.
    """
    if demand.bucket is None:
        return None
    able = {
        one.agent: score(demand.preferred, one.labels) for one in offers if not one.draining and can_run(one, demand)
    }
    best = max(able.values(), default=0)
    return owner_of(demand.bucket, [agent for agent, weight in able.items() if weight == best])
