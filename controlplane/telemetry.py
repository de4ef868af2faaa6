"""What can be seen from outside: traces and metrics. Set up once in the wiring and handed on.

Cheap when nobody looks: a call without a sampled traceparent makes no span at all unless it is drawn at random, and
calls are counted in plain numbers. Not here: what the figures of the domain are, and the log.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, StatusCode
from pawl.tracing import NOWHERE, Spans, Trace, below
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from opentelemetry.sdk.trace.export import SpanExporter

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_BOUNDS = [*map(floatToGoString, _SECONDS), "+Inf"]  # as buckets are called
_MINUTES = (300.0, 900.0, 3600.0, 14_400.0, 86_400.0)


class Metrics:
    """The process's registry, with what every call counts. Others register their own collectors on `registry`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves it bare
        self.registry = CollectorRegistry()
        self._calls = _Calls()
        self.registry.register(self._calls)

    def began(self, front: str) -> None:
        """A call has arrived."""
        self._calls.open[front] += 1

    def ended(self, method: str, code: str, front: str, seconds: float) -> None:
        """A call has been answered."""
        self._calls.open[front] -= 1
        self._calls.of[method, code, front].take(seconds)

    def refused(self, method: str, code: str, front: str) -> None:
        """A call never became one: what came in was no such message."""
        self._calls.of[method, code, front].refused += 1

    def open_calls(self) -> int:
        """Calls that are open now, streams included."""
        return sum(self._calls.open.values())

    def text(self, accept: str) -> tuple[str, bytes]:
        """Everything, as OpenMetrics where `accept` asks for it, else in Prometheus' text format; media type first."""
        encode, media_type = choose_encoder(accept)
        return media_type, encode(self.registry)


class _Tally:
    """Calls of one (method, code, front): how many never became one, and how many took no longer than each bound."""

    __slots__ = ("refused", "seconds", "within")

    def __init__(self) -> None:
        self.refused = 0
        self.seconds = 0.0
        self.within = [0] * (len(_SECONDS) + 1)

    def take(self, seconds: float) -> None:
        """One that was answered."""
        self.seconds += seconds
        self.within[bisect_left(_SECONDS, seconds)] += 1


class _Calls(Collector):
    """What calls are counted with. Every call pays for it, and all are counted on the loop's thread: so not the
    library's own counters, which take a lock each, five a call.
    """

    def __init__(self) -> None:
        self.open: defaultdict[str, int] = defaultdict(int)
        self.of: defaultdict[tuple[str, str, str], _Tally] = defaultdict(_Tally)

    def collect(self) -> Iterator[Metric]:
        """Three families."""
        names = ("method", "code", "front")
        calls = CounterMetricFamily("pawl_calls", "Calls that have ended.", labels=names)
        spans = HistogramMetricFamily(
            "pawl_call_seconds",
            "Time from the arrival of a call to its answer; of streams: to their end.",
            labels=names,
        )
        for labels, tally in tuple(self.of.items()):
            buckets = list(zip(_BOUNDS, accumulate(tally.within), strict=True))
            answered = buckets[-1][1]
            calls.add_metric(labels, answered + tally.refused)
            if answered:
                spans.add_metric(labels, buckets, tally.seconds)
        in_flight = GaugeMetricFamily("pawl_calls_in_flight", "Calls that are open now.", labels=("front",))
        for front, count in tuple(self.open.items()):
            in_flight.add_metric((front,), count)
        return iter((calls, spans, in_flight))


class Measures:
    """How long things take and how many go together; beside the figures of the API, for `/metrics` alone."""

    def __init__(self) -> None:
        self.wait = Histogram(
            "pawl_task_wait_seconds",
            "From the moment that a task could run to the start of its first attempt.",
            buckets=_SECONDS + _MINUTES,
            registry=None,
        )
        self.placing = Histogram(
            "pawl_task_placing_seconds",
            "From the moment that a task could run to its placement on an agent; every placement.",
            buckets=_SECONDS + _MINUTES,
            registry=None,
        )
        self.run = Histogram(
            "pawl_task_run_seconds",
            "Run time of attempts by how they ended.",
            ("status",),
            buckets=_SECONDS + _MINUTES,
            registry=None,
        )
        self.commit = Histogram(
            "pawl_commit_seconds", "Time of a writing transaction, commit included.", buckets=_SECONDS, registry=None
        )
        self.batch = Histogram(
            "pawl_commit_batch_items",
            "Items that one group commit took.",
            ("writer",),
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500),
            registry=None,
        )
        self.statements = Counter(
            "pawl_statements",
            "SQL statements by what they are for; one for many rows is one, BEGIN and COMMIT are none.",
            ("use",),
            registry=None,
        )
        self.notices = Counter(
            "pawl_notices",
            "Hints between the replicas on one PostgreSQL: NOTIFYs sent (out) and heard (in).",
            ("way",),
            registry=None,
        )
        self.removed = Counter(
            "pawl_retention_removed",
            "What was kept long enough and went, by its kind; months that were dropped whole count as one.",
            ("what",),
            registry=None,
        )
        self.strays = Gauge(
            "pawl_stray_tables",
            "Tables with rows in their default partition, which should be none.",
            registry=None,
        )

    def register(self, registry: CollectorRegistry) -> None:
        """Let a registry show them."""
        for one in (
            self.wait,
            self.placing,
            self.run,
            self.commit,
            self.batch,
            self.statements,
            self.notices,
            self.removed,
            self.strays,
        ):
            registry.register(one)


class Tracing:
    """Makes the spans of calls, of waits for an agent and of fires, or none.

    `ratio` of what comes without a decision is sampled here. What is not sampled makes no span object at all.
    """

    def __init__(
        self, exporter: SpanExporter | None = None, *, ratio: float = 0.0, version: str = "", instance: str = ""
    ) -> None:
        self.ratio = ratio
        self._spans = None
        if exporter is not None:
            self._spans = Spans(exporter, "pawl-server", instance=instance, version=version)

    @property
    def delivered(self) -> tuple[int, int]:
        """Spans that the collector has taken, and that were lost."""
        return (0, 0) if self._spans is None else (self._spans.exported, self._spans.dropped)

    def begin(self, method: str, front: str, caller: Trace) -> Span | None:
        """The span of this call if it is sampled. The caller ends it with `end`."""
        if self._spans is None or not self._wanted(caller):
            return None
        service, _, name = method.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "pawl.front": front}
        return self._spans.start(method, caller, SpanKind.SERVER, attributes)

    def end(self, span: Span, code: str, message: str = "") -> None:
        """End the span of a call with the code it came to."""
        assert self._spans is not None  # it made the span
        span.set_attribute("rpc.grpc.status_code", code)
        if code in ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"):
            span.set_status(StatusCode.ERROR, message)
        self._spans.end(span)

    def placed(self, trace: Trace, attributes: Mapping[str, str | int], since: int) -> Span | None:
        """A task that could run `since` is being placed: the span of its wait, to which what its agent does belongs.

        For sampled tasks alone. Like that of a fire it ends with `happened`, once what it tells of is committed;
        instants are microseconds of the control plane's clock.
        """
        if self._spans is None or not trace.sampled:
            return None
        return self._spans.start("wait for an agent", trace, SpanKind.PRODUCER, attributes, since * 1000)

    def fired(self, attributes: Mapping[str, str | int], since: int) -> Span | None:
        """A schedule makes a task: the span that begins a trace of its own, if this one is drawn."""
        if self._spans is None or not self._wanted(NOWHERE):
            return None
        return self._spans.start("fire", NOWHERE, SpanKind.INTERNAL, attributes, since * 1000)

    def happened(self, spans: Iterable[Span], now: int) -> None:
        """These are over, and true."""
        for span in spans:
            assert self._spans is not None  # it made them
            self._spans.end(span, now * 1000)

    def shutdown(self) -> None:
        """Send what is left; may block for a moment."""
        if self._spans is not None:
            self._spans.shutdown()

    def _wanted(self, caller: Trace) -> bool:
        if caller.traceparent:
            return caller.sampled
        return random.random() < self.ratio  # sampling, not secrecy


def place_of(span: Span | None, parent: Trace) -> Trace:
    """What to hand on: this span where there is one, else its parent."""
    return parent if span is None else below(span, parent)
