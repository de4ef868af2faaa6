"""Which agent may run what, and which of those that may should.

A pure function of a snapshot: the requirement of the work on one side, what agents offer on the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from controlplane.domain.job import Requirement


@dataclass(frozen=True, slots=True)
class Offer:
    """What a connected agent offers."""

    agent: str
    serves: frozenset[str]
    executors: frozenset[str]
    labels: Mapping[str, str]
    slots: int
    free: int
    draining: bool = False
    functions: frozenset[str] = frozenset()


class Obstacle(Enum):
    """What stands between some work and all agents: the nearest miss is named."""

    NO_AGENT = 1
    NO_EXECUTOR = 2
    NO_MATCHING_LABELS = 3
    NO_FREE_SLOTS = 4
    NONE = 5


def can_run(offer: Offer, requirement: Requirement) -> bool:
    """Whether this agent may run it at all: namespace, executor and function, and every label among the agent's."""
    return (
        requirement.namespace_id in offer.serves
        and has_executor(offer, requirement)
        and not missing_labels(offer, requirement)
    )


def has_executor(offer: Offer, requirement: Requirement) -> bool:
    """Whether this agent has the executor of the work, and the function where the work is one."""
    if requirement.executor not in offer.executors:
        return False
    return not requirement.function or requirement.function in offer.functions


def missing_labels(offer: Offer, requirement: Requirement) -> dict[str, str]:
    """Labels that the work demands and the agent does not have."""
    return {key: value for key, value in requirement.labels.items() if _label(offer, key) != value}


def _label(offer: Offer, key: str) -> str | None:
    """Who it is cannot be said by an agent of itself."""
    return offer.agent if key == OWN_AGENT else offer.labels.get(key)


OWN_AGENT = "sys_agent"  # a label that every agent has by the control plane's doing: its home namespace and its name


def only_on(requirement: Requirement, agent: str) -> Requirement:
    """The same, of this agent alone, by the name of its offer."""
    return replace(requirement, labels={**requirement.labels, OWN_AGENT: agent})


def spread(free: Mapping[str, int], running: Mapping[str, int], count: int) -> list[str]:
    """Agents for `count` placements, the least loaded first; an agent appears once per placement it gets."""
    room, load = dict(free), dict(running)
    chosen: list[str] = []
    while len(chosen) < count:
        candidates = [agent for agent, left in room.items() if left > 0]
        if not candidates:
            break
        agent = min(candidates, key=lambda name: (load.get(name, 0), -room[name], name))
        room[agent] -= 1
        load[agent] = load.get(agent, 0) + 1
        chosen.append(agent)
    return chosen


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why some work is not placed, or that nothing stands in its way."""

    obstacle: Obstacle
    nearest: str = ""
    missing: Mapping[str, str] | None = None


def explain(requirement: Requirement, offers: Iterable[Offer]) -> Verdict:
    """The obstacle for this work among these agents; `nearest` is the agent that misses the fewest labels."""
    serving = [offer for offer in offers if requirement.namespace_id in offer.serves and not offer.draining]
    if not serving:
        return Verdict(Obstacle.NO_AGENT)
    able = [offer for offer in serving if has_executor(offer, requirement)]
    if not able:
        return Verdict(Obstacle.NO_EXECUTOR, nearest=serving[0].agent)
    matching: Sequence[Offer] = [offer for offer in able if can_run(offer, requirement)]
    if not matching:
        nearest = min(able, key=lambda offer: (len(missing_labels(offer, requirement)), offer.agent))
        return Verdict(Obstacle.NO_MATCHING_LABELS, nearest.agent, missing_labels(nearest, requirement))
    if all(offer.free <= 0 for offer in matching):
        return Verdict(Obstacle.NO_FREE_SLOTS, nearest=matching[0].agent)
    return Verdict(Obstacle.NONE, nearest=matching[0].agent)
