"""Options of `pawl job` that say where its tasks run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pawl.cli.values import pairs

if TYPE_CHECKING:
    from pawl.v1.job_pb2 import JobConfig, LabelRule

Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="RULE",
        help="Rule for an agent's labels: 'gpu>=2', zone!=a, 'zone in a,b', ssd; repeat it.",
    ),
]
Prefer = Annotated[
    list[str] | None,
    typer.Option("--prefer", metavar="[WEIGHT:]RULE", help="Agents that are taken first, as 50:zone=a; repeat it."),
]
Strategy = Annotated[
    str | None, typer.Option(metavar="HOW", help="Which agent: least-loaded, round-robin, random or sticky.")
]
StickyKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="sticky: tasks with one key go to one agent: '${tags.customer}'.")
]
Agents = Annotated[list[str] | None, typer.Option("--agent", metavar="NAME", help="Only this agent; repeat it.")]
Slots = Annotated[int | None, typer.Option(min=1, help="Slots of its agent that a task takes up.")]
Resources = Annotated[
    list[str] | None,
    typer.Option(
        "--resource", metavar="NAME=UNITS", help="Units of a resource that a task takes up, as gpu=1; repeat it."
    ),
]
MaxRunning = Annotated[int | None, typer.Option(min=0, help="Tasks of it on agents at once; 0: any number.")]

_SIGNS: Final = {"=": "EQ", "!=": "NOT", ">": "GT", ">=": "GTE", "<": "LT", "<=": "LTE"}
_COMPARED: Final = re.compile(r"(?P<label>[^=!<>\s]+)\s*(?P<sign>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
_LISTED: Final = re.compile(r"(?P<label>\S+)\s+(?P<no>not\s+)?in\s+(?P<values>\S.*)", re.DOTALL)
_NAMED: Final = re.compile(r"(?P<no>!)?(?P<label>[^=!<>\s]+)")
_WEIGHT: Final = re.compile(r"(-?[0-9]+):(.+)", re.DOTALL)


def values(
    require: list[str] | None,
    prefer: list[str] | None,
    strategy: str | None,
    sticky_key: str | None,
    agents: list[str] | None,
    slots: int | None,
    resources: list[str] | None,
    max_running: int | None,
) -> dict[str, object]:
    """The fields of a job that the options speak of, and None for the others."""
    return {
        "config.placement.required": [_rule(one, "--require") for one in require] if require else None,
        "config.placement.preferred": [_weighed(one) for one in prefer] if prefer else None,
        "config.placement.strategy": None if strategy is None else _strategy(strategy),
        "config.placement.sticky_key": sticky_key,
        "config.placement.agents": agents or None,
        "config.placement.slots": slots,
        "config.placement.resources": _units(resources) if resources else None,
        "config.max_running": max_running,
    }


def _rule(text: str, option: str) -> LabelRule:
    from pawl.v1.job_pb2 import LabelRule

    if (found := _LISTED.fullmatch(text)) is not None:
        listed = [one.strip() for one in found["values"].split(",")]
        return LabelRule(label=found["label"], op="NOT_IN" if found["no"] else "IN", values=listed)
    if (found := _COMPARED.fullmatch(text)) is not None and found["value"][:1] not in ("=", "<", ">"):  # as in a=>1
        return LabelRule(label=found["label"], op=_SIGNS[found["sign"]], values=[found["value"]])
    if (found := _NAMED.fullmatch(text)) is not None:
        return LabelRule(label=found["label"], op="NOT_EXISTS" if found["no"] else "EXISTS")
    raise typer.BadParameter(
        f"{text!r} is no rule: write zone=a, zone!=a, 'gpu>=2', 'zone in a,b', 'zone not in a,b', ssd or '!ssd'",
        param_hint=option,
    )


def _weighed(text: str) -> LabelRule:
    found = _WEIGHT.fullmatch(text)
    if found is None:
        return _rule(text, "--prefer")
    rule = _rule(found[2], "--prefer")
    rule.weight = max(-(2**31), min(int(found[1]), 2**31 - 1))
    return rule


def _strategy(word: str) -> int:
    from pawl.v1.job_pb2 import PlacementRules

    name = word.upper().replace("-", "_")
    if name not in ("LEAST_LOADED", "ROUND_ROBIN", "RANDOM", "STICKY"):
        raise typer.BadParameter(
            f"{word!r} is not least-loaded, round-robin, random or sticky", param_hint="--strategy"
        )
    return PlacementRules.Strategy.Value(name)


def _units(given: list[str]) -> dict[str, int]:
    read = {}
    for name, count in pairs(given, "--resource").items():
        if not (count.isascii() and count.isdecimal() and len(count) < 10):
            raise typer.BadParameter(f"{name} is how many, as a whole number, not {count!r}", param_hint="--resource")
        read[name] = int(count)
    return read


def shown(config: JobConfig) -> str | None:
    """What a job says of where it runs, for people; None if it says nothing."""
    rules = config.placement
    words = [f"must have {_words(rule)}" for rule in rules.required]
    words += [f"likes {_words(rule)} ({rule.weight})" for rule in rules.preferred]
    if rules.agents:
        words.append(f"only on {', '.join(rules.agents)}")
    if rules.strategy not in (rules.UNSPECIFIED, rules.LEAST_LOADED):
        key = f" by {rules.sticky_key}" if rules.sticky_key else ""
        words.append(rules.Strategy.Name(rules.strategy).lower().replace("_", " ") + key)
    if rules.HasField("slots") and rules.slots != 1:
        words.append(f"takes {rules.slots} slots")
    words += [f"takes {rules.resources[name]} {name}" for name in sorted(rules.resources)]
    if config.max_running:
        words.append(f"at most {config.max_running} at once")
    return "\n".join(words) or None


def _words(rule: LabelRule) -> str:
    name = rule.Operator.Name(rule.op)
    if name in ("EXISTS", "NOT_EXISTS"):
        return rule.label if name == "EXISTS" else f"!{rule.label}"
    if name in ("IN", "NOT_IN"):
        return f"{rule.label} {name.lower().replace('_', ' ')} {','.join(rule.values)}"
    sign = next((sign for sign, op in _SIGNS.items() if op == name), "=")
    return f"{rule.label}{sign}{','.join(rule.values)}"
