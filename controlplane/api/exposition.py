"""`/metrics`: the figures of SystemMetrics and GatewayStats for Prometheus, beside what every call counts.

Made from the messages themselves, with the contract's own comments as help texts: a figure that is added to the
contract appears here by existing, and both places can only say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import resources
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from pawl.v1 import agent_pb2, system_pb2, task_pb2
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controlplane.api.system import SystemService
from controlplane.domain.errors import PawlError
from controlplane.version import VERSION

if TYPE_CHECKING:
    from controlplane.telemetry import Metrics

# What only grows. `total_connections` loses its prefix, since Prometheus adds one of its own.
COUNTERS = frozenset(
    {
        "bytes_in",
        "bytes_out",
        "messages_in",
        "messages_out",
        "process_cpu_seconds",
        "refused",
        "spans_dropped",
        "spans_exported",
        "takeovers",
        "total_connections",
    }
)

# Of each figure that is told by status: all there are.
STATUSES = {
    "tasks": [word for word, number in task_pb2.Task.Status.items() if number],
    "agents": [word for word, number in agent_pb2.Agent.Status.items() if number],
}

_PREFIXES = ((system_pb2.SystemMetrics, "pawl_"), (system_pb2.GatewayStats, "pawl_gateway_"))


class Exposition(Collector):
    """Register once with the registry; `text` reads the figures and writes everything."""

    def __init__(self, system: SystemService, metrics: Metrics) -> None:
        self._system = system
        self._metrics = metrics
        self._figures: list[tuple[str, Message]] = []
        self._helps = {prefix: _comments(kind.DESCRIPTOR.name) for kind, prefix in _PREFIXES}
        metrics.registry.register(self)

    async def text(self, accept: str = "") -> tuple[str, bytes]:
        """Media type and text, as `accept` asks. Without a database there are still the figures of the process."""
        self._figures = [("pawl_gateway_", self._system.gateway())]
        with suppress(PawlError):
            self._figures.append(("pawl_", await self._system.figures()))
        return self._metrics.text(accept)

    def collect(self) -> Iterator[Any]:
        """One family a field."""
        for prefix, message in self._figures:
            for field in message.DESCRIPTOR.fields:
                yield _family(prefix, field.name, getattr(message, field.name), self._helps[prefix][field.name])
        for what, count in self._system.totals().items():
            words = {"new": "were created", "finished": "ended", "failed": "failed for good"}[what]
            counter = CounterMetricFamily(f"pawl_{what}_tasks", f"Tasks that {words}, since the start of this process.")
            counter.add_metric([], count)
            yield counter
        ages = GaugeMetricFamily("pawl_loop_age_seconds", "Time since a loop last went round.", labels=["loop"])
        for loop, seconds in self._system.turns():
            ages.add_metric([loop], seconds)
        yield ages
        info = GaugeMetricFamily("pawl_info", "Always 1: which version runs here.", labels=["version"])
        info.add_metric([VERSION], 1)
        yield info


def _family(prefix: str, name: str, value: Any, text: str) -> CounterMetricFamily | GaugeMetricFamily:
    if isinstance(value, Mapping) or hasattr(value, "items"):
        labelled = GaugeMetricFamily(prefix + name, text, labels=["status"])
        # None is a figure too: a series that comes and goes cannot be compared with what it was.
        for status in STATUSES[name]:
            labelled.add_metric([status], value.get(status, 0))
        return labelled
    if name in COUNTERS:
        counter = CounterMetricFamily(prefix + name.removeprefix("total_"), text)
        counter.add_metric([], value)
        return counter
    gauge = GaugeMetricFamily(prefix + name, text)
    gauge.add_metric([], value)
    return gauge


def _comments(message: str) -> dict[str, str]:
    """The contract's comment on each field of a message of system.proto."""
    found = FileDescriptorSet.FromString(resources.files("pawl.v1").joinpath("descriptors.binpb").read_bytes())
    file = next(one for one in found.file if one.name == "pawl/v1/system.proto")
    index = next(number for number, one in enumerate(file.message_type) if one.name == message)
    described: DescriptorProto = file.message_type[index]
    texts = {
        tuple(one.path): re.sub(r"\s+", " ", one.leading_comments).strip() for one in file.source_code_info.location
    }
    return {field.name: texts[4, index, 2, number] for number, field in enumerate(described.field)}
