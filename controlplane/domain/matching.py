"""Which agent may run what, and what stands in the way where none may.

A pure function of a snapshot: the requirement of the work on one side, what agents offer on the other. Which of those
that may should stands in `seating.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from controlplane.domain.job import Requirement

BUSY = 0.9  # share of its processors beyond which a machine comes after the others


@dataclass(frozen=True, slots=True)
class Offer:
    """What a connected agent offers. `counts_units`: whether it knows of work that takes more than one slot. `cpu`: the
    share of its processors in use, 0 to 1.
    """

    agent: str
    serves: frozenset[str]
    executors: frozenset[str]
    labels: Mapping[str, str]
    slots: int
    free: int
    draining: bool = False
    functions: frozenset[str] = frozenset()
    running: int = 0
    resources: Mapping[str, int] = field(default_factory=dict)
    free_resources: Mapping[str, int] = field(default_factory=dict)
    counts_units: bool = True
    cpu: float = 0.0

    @property
    def name(self) -> str:
        """Its name without its home namespace."""
        return self.agent.rpartition("/")[2]

    @property
    def units(self) -> dict[str, int]:
        """All that it has."""
        return {**self.resources, "slots": self.slots}

    @property
    def free_units(self) -> dict[str, int]:
        """What of it is free."""
        return {**self.free_resources, "slots": self.free}


class Obstacle(Enum):
    """What stands between some work and all agents: the nearest miss is named."""

    NO_AGENT = 1
    NO_EXECUTOR = 2
    NO_MATCHING_LABELS = 3
    NO_FREE_SLOTS = 4
    NONE = 5
    NO_NAMED_AGENT = 6
    TOO_LARGE = 7
    NO_FREE_RESOURCES = 8
    STICKY_AGENT_FULL = 9


def can_run(offer: Offer, requirement: Requirement) -> bool:
    """Whether this agent may run it at all: namespace, executor and function, its name, its labels, and its size."""
    return (
        requirement.namespace_id in offer.serves
        and has_executor(offer, requirement)
        and is_named(offer, requirement)
        and not missing_labels(offer, requirement)
        and is_large_enough(offer, requirement)
    )


def has_executor(offer: Offer, requirement: Requirement) -> bool:
    """Whether this agent has the executor of the work, and the function where the work is one."""
    if requirement.executor not in offer.executors:
        return False
    return not requirement.function or requirement.function in offer.functions


def is_named(offer: Offer, requirement: Requirement) -> bool:
    """Whether the work is for any agent, or names this one."""
    return not requirement.agents or offer.name in requirement.agents


def missing_labels(offer: Offer, requirement: Requirement) -> dict[str, str]:
    """Labels that the work demands and the agent does not have, each with what it should be."""
    missing = {key: value for key, value in requirement.labels.items() if _label(offer, key) != value}
    for rule in requirement.required:
        if not rule.meets(offer.labels):
            before = missing.get(rule.label)
            missing[rule.label] = rule.wanted if before is None else f"{before} and {rule.wanted}"
    return missing


def _label(offer: Offer, key: str) -> str | None:
    """Who it is cannot be said by an agent of itself."""
    return offer.agent if key == OWN_AGENT else offer.labels.get(key)


OWN_AGENT = "sys_agent"  # a label that every agent has by the control plane's doing: its home namespace and its name


def only_on(requirement: Requirement, agent: str) -> Requirement:
    """The same, of this agent alone, by the name of its offer."""
    return replace(requirement, labels={**requirement.labels, OWN_AGENT: agent})


def describe(requirement: Requirement, missing: Mapping[str, str]) -> str:
    """Missing labels for people: `gpu=yes`, as the work's labels say it, and `memory >= 16`, as a rule does."""
    return ", ".join(
        f"{key}={value}" if requirement.labels.get(key) == value else f"{key} {value}" for key, value in missing.items()
    )


def is_large_enough(offer: Offer, requirement: Requirement) -> bool:
    """Whether the work fits into the agent while that runs nothing else."""
    if not offer.counts_units and is_large(requirement):
        return False
    return fits(offer.units, requirement.units)


def is_large(requirement: Requirement) -> bool:
    """Whether it takes more than one slot, so that others can stand in its way by taking less."""
    return requirement.slots > 1 or bool(requirement.resources)


def fits(free: Mapping[str, int], need: Mapping[str, int]) -> bool:
    """Whether there is as much of everything as is needed."""
    return all(free.get(unit, 0) >= count for unit, count in need.items())


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why some work is not placed, or that nothing stands in its way. `missing`: labels with what they should be, or
    units with how many are needed.
    """

    obstacle: Obstacle
    nearest: str = ""
    missing: Mapping[str, str] | None = None


def explain(requirement: Requirement, offers: Iterable[Offer], owner: str | None = None) -> Verdict:
    """The obstacle for this work among these agents; `nearest` is the agent that misses the fewest labels. `owner`: the
    agent that its key belongs to, where it has one.
    """
    serving = [offer for offer in offers if requirement.namespace_id in offer.serves and not offer.draining]
    if not serving:
        return Verdict(Obstacle.NO_AGENT)
    named = [offer for offer in serving if is_named(offer, requirement)]
    if not named:
        return Verdict(Obstacle.NO_NAMED_AGENT)
    able = [offer for offer in named if has_executor(offer, requirement)]
    if not able:
        return Verdict(Obstacle.NO_EXECUTOR, nearest=named[0].agent)
    labelled = [offer for offer in able if not missing_labels(offer, requirement)]
    if not labelled:
        nearest = min(able, key=lambda offer: (len(missing_labels(offer, requirement)), offer.agent))
        return Verdict(Obstacle.NO_MATCHING_LABELS, nearest.agent, missing_labels(nearest, requirement))
    return _explain_room(requirement, labelled, owner)


def _explain_room(requirement: Requirement, labelled: Sequence[Offer], owner: str | None) -> Verdict:
    need = requirement.units
    large = [offer for offer in labelled if is_large_enough(offer, requirement)]
    if not large:
        nearest = min(labelled, key=lambda offer: (len(_short(offer.units, need)), offer.agent))
        return Verdict(Obstacle.TOO_LARGE, nearest.agent, _short(nearest.units, need))
    mine = [offer for offer in large if owner is None or offer.agent == owner]
    if any(fits(offer.free_units, need) for offer in mine):
        return Verdict(Obstacle.NONE, nearest=mine[0].agent)
    if owner is not None:
        return Verdict(Obstacle.STICKY_AGENT_FULL, owner)
    nearest = min(large, key=lambda offer: (len(_short(offer.free_units, need)), offer.agent))
    missing = _short(nearest.free_units, need)
    if requirement.slots == 1 and set(missing) == {"slots"}:
        return Verdict(Obstacle.NO_FREE_SLOTS, nearest=nearest.agent)
    return Verdict(Obstacle.NO_FREE_RESOURCES, nearest.agent, missing)


def _short(have: Mapping[str, int], need: Mapping[str, int]) -> dict[str, str]:
    return {unit: str(count) for unit, count in need.items() if have.get(unit, 0) < count}
