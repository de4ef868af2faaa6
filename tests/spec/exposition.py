"""`/metrics` as a strict reader takes it: both formats, with the rules that the library's parsers leave out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from google.rpc.code_pb2 import Code
from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_open_metrics
from prometheus_client.parser import text_string_to_metric_families as of_text

from controlplane.api.methods import table
from controlplane.api.observed import UNROUTED
from controlplane.domain.task import Status
from controlplane.store.agents import AgentStatus
from controlplane.version import VERSION

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# Every label with every value that it may ever have: what users name is in none of them.
LABELS: dict[str, frozenset[str]] = {
    "method": frozenset({*table(), UNROUTED}),
    "code": frozenset(Code.keys()),
    "front": frozenset({"grpc", "rest"}),
    "status": frozenset({*(one.name for one in Status), *(one.name for one in AgentStatus)}),
    "loop": frozenset(
        {"dispatcher", "timers", "scheduler", "reaper", "ageing", "groups", "upkeep", "clock", "partitions", "keys"}
    ),
    "use": frozenset({"write", "read", "logs"}),
    "version": frozenset({VERSION}),
    "way": frozenset({"in", "out"}),
    "what": frozenset(
        {"agents", "fires", "free space", "jobs", "logs", "months", "request ids", "revisions", "schedules", "tasks"}
        | {"demands", "groups", "uploads"}
    ),
    "writer": frozenset({"create tasks", "finish tasks", "start tasks", "progress", "signs of life"}),
}
_SUFFIXES = re.compile(r"_(bucket|sum|count|total|created)$")


@dataclass
class Family:
    """A metric: its type, help, and its samples by name and labels."""

    name: str
    type: str
    help: str
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def value(self, suffix: str = "", **labels: str) -> float:
        """One sample."""
        return self.samples[self.name + suffix, tuple(sorted(labels.items()))]

    def total(self, suffix: str, **labels: str) -> float:
        """The sum over the labels that are not given."""
        wanted = set(labels.items())
        return sum(
            value for (name, has), value in self.samples.items() if name == self.name + suffix and wanted <= set(has)
        )

    @property
    def labels(self) -> set[str]:
        """The names of its labels, without the limits of buckets."""
        return {label for _, has in self.samples for label, _ in has} - {"le"}


def read(client: httpx.Client) -> dict[str, Family]:
    """What is served, checked. Both formats must say the same of what does not change between two readings."""
    url = client.base_url.join("/metrics")
    text = client.get(url)
    assert text.headers["content-type"].startswith("text/plain; version="), text.headers
    opened = client.get(url, headers={"accept": OPEN_METRICS})
    assert opened.headers["content-type"].startswith("application/openmetrics-text"), opened.headers
    found = {one.name: one for one in _families(of_text(text.text))}
    again = {one.name: one for one in _families(of_open_metrics(opened.text))}  # type: ignore[no-untyped-call]
    _check_lines(text.text)
    assert opened.text.endswith("# EOF\n")
    assert {name: (one.type, one.help) for name, one in found.items()} == {
        name: (one.type, one.help) for name, one in again.items()
    }
    for one in found.values():
        _check(one)
    return found


def _families(parsed: Any) -> Iterator[Family]:
    seen = set()
    for one in parsed:
        assert one.name not in seen, f"{one.name} is there twice"
        seen.add(one.name)
        made = Family(one.name, one.type, one.documentation)
        for sample in one.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in made.samples, f"{key} is there twice"
            made.samples[key] = sample.value
        yield made


def _check_lines(text: str) -> None:
    """Help and type before the first sample of each family, which is in one piece, and no line of anything else."""
    current, done = "", set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in done, f"{current} comes in pieces"
            done.add(current)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == current, line
        else:
            name = re.split(r"[{ ]", line)[0]
            assert name in (current, f"{_SUFFIXES.sub('', current)}{name[len(_SUFFIXES.sub('', current)) :]}"), line


def _check(one: Family) -> None:
    assert re.fullmatch(r"pawl_[a-z][a-z0-9_]*", one.name), one.name
    assert re.fullmatch(r".{10,}\.", one.help), one.name
    assert one.type in ("counter", "gauge", "histogram"), one.name
    for (name, labels), value in one.samples.items():
        assert value == value, f"{name} is no number"
        assert one.type == "gauge" or value >= 0, name
        for label, word in labels:
            assert label == "le" or word in LABELS[label], f"{name} has {label}={word}"
    if one.type == "histogram":
        _check_histogram(one)


def _check_histogram(one: Family) -> None:
    """Buckets grow to the count, in every series."""
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (name, labels), value in one.samples.items():
        if name.endswith("_bucket"):
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    for rest, buckets in series.items():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts), (one.name, rest)
        assert max(buckets)[0] == float("inf")
        assert counts[-1] == one.value("_count", **dict(rest))
