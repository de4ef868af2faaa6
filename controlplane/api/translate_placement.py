"""Between the wire and the domain: where work runs. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pawl.v1 import job_pb2

from controlplane.domain.errors import Invalid
from controlplane.domain.placement import LabelRule, Operator, PlacementRules, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterable


def placement(rules: PlacementRules) -> job_pb2.PlacementRules:
    """The rules as they are shown."""
    return job_pb2.PlacementRules(
        required=map(_rule, rules.required),
        preferred=map(_rule, rules.preferred),
        strategy=job_pb2.PlacementRules.Strategy.Name(int(rules.strategy)),
        sticky_key=rules.sticky_key,
        agents=rules.agents,
        slots=rules.slots,
        resources=rules.resources,
    )


def _rule(rule: LabelRule) -> job_pb2.LabelRule:
    return job_pb2.LabelRule(
        label=rule.label,
        op=job_pb2.LabelRule.Operator.Name(int(rule.op)),
        values=rule.values,
        weight=rule.weight,
    )


def read_placement(message: job_pb2.PlacementRules, path: str) -> PlacementRules:
    """The rules as a caller wants them, with the defaults in place of what is unset. Raises Invalid."""
    if message.strategy not in (0, *map(int, Strategy)):
        raise _no_number(f"{path}.strategy", Strategy, message.strategy)
    return PlacementRules(
        required=tuple(_read_rules(message.required, f"{path}.required", None)),
        preferred=tuple(_read_rules(message.preferred, f"{path}.preferred", 1)),
        strategy=Strategy(message.strategy or Strategy.LEAST_LOADED),
        sticky_key=message.sticky_key,
        agents=tuple(dict.fromkeys(message.agents)),
        slots=message.slots if message.HasField("slots") else 1,
        resources=dict(message.resources),
    )


def _read_rules(messages: Iterable[job_pb2.LabelRule], path: str, weight: int | None) -> Iterable[LabelRule]:
    for index, message in enumerate(messages):
        if message.op not in (0, *map(int, Operator)):
            raise _no_number(f"{path}[{index}].op", Operator, message.op)
        given = message.weight if message.HasField("weight") else weight
        yield LabelRule(message.label, Operator(message.op or Operator.EQ), tuple(message.values), given)


def _no_number(path: str, kind: type[Strategy] | type[Operator], number: int) -> Invalid:
    return Invalid.field(path, f"must be one of {', '.join(f'{one.name} ({int(one)})' for one in kind)}, not {number}")
