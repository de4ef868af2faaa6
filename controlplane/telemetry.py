"""What can be seen from outside: traces, metrics and logs. Set up once in the wiring and handed on.

Cheap when nobody looks: a call without a sampled traceparent makes no span at all unless it is drawn at random, and
the counters of each (method, code, front) are bound once. Not here: what the figures of the domain are.
"""

from __future__ import annotations

import logging
import random
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """The process's registry, with what every call counts. Others register their own collectors on `registry`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves it bare
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "pawl_calls", "Calls that have ended.", ("method", "code", "front"), registry=self.registry
        )
        self._seconds = Histogram(
            "pawl_call_seconds",
            "Time from the arrival of a call to its answer; of streams: to their end.",
            ("method", "front"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge("pawl_calls_in_flight", "Calls that are open now.", ("front",), registry=self.registry)
        self._bound: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._gauges: dict[str, Gauge] = {}
        self._open = 0

    def began(self, front: str) -> None:
        """A call has arrived."""
        self._open += 1
        self._gauge(front).inc()

    def ended(self, method: str, code: str, front: str, seconds: float) -> None:
        """A call has been answered."""
        self._open -= 1
        self._gauge(front).dec()
        bound = self._bound.get((method, code, front))
        if bound is None:
            bound = (self._calls.labels(method, code, front), self._seconds.labels(method, front))
            self._bound[method, code, front] = bound
        bound[0].inc()
        bound[1].observe(seconds)

    def refused(self, method: str, code: str, front: str) -> None:
        """A call never became one: what came in was no such message."""
        self._calls.labels(method, code, front).inc()

    def open_calls(self) -> int:
        """Calls that are open now, streams included."""
        return self._open

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, front: str) -> Gauge:
        gauge = self._gauges.get(front)
        if gauge is None:
            gauge = self._gauges[front] = self._in_flight.labels(front)
        return gauge


class Tracing:
    """Makes the span of a call, or none. `ratio` of the calls that come without a decision are sampled here."""

    def __init__(self, exporter: SpanExporter | None = None, *, ratio: float = 0.0, version: str = "") -> None:
        self._provider: TracerProvider | None = None
        self._ratio = ratio
        if exporter is not None:
            resource = Resource.create({"service.name": "pawl", "service.version": version})
            self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._provider.get_tracer("pawl.controlplane", version)

    def begin(self, method: str, front: str, metadata: Mapping[str, str]) -> Span | None:
        """The span of this call if it is sampled. The caller ends it with `end`."""
        if self._provider is None:
            return None
        parent = _parent(metadata)
        if parent is None:
            if random.random() >= self._ratio:  # sampling, not secrecy
                return None
        elif not parent.trace_flags.sampled:
            return None
        service, _, name = method.partition("/")
        context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "pawl.front": front}
        span: Any = self._tracer.start_span(method, context=context, kind=SpanKind.SERVER, attributes=attributes)
        return span  # type: ignore[no-any-return] # the SDK's class: the API's return type hides it

    def end(self, span: Span, code: str, message: str = "") -> None:
        """End the span of a call with the code it came to."""
        span.set_attribute("rpc.grpc.status_code", code)
        if code in ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"):
            span.set_status(StatusCode.ERROR, message)
        span.end()

    def shutdown(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Sends spans to a collector over HTTP. Imported here: most processes never send one."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # 100 ms

    return OTLPSpanExporter(endpoint=endpoint)


def traceparent_of(span: Span | None, metadata: Mapping[str, str]) -> str:
    """What to hand on: this call's span, else what came in if it is well-formed, else nothing."""
    if span is not None:
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    incoming = metadata.get("traceparent", "")
    return incoming if _TRACEPARENT.fullmatch(incoming) else ""


def _parent(metadata: Mapping[str, str]) -> SpanContext | None:
    found = _TRACEPARENT.fullmatch(metadata.get("traceparent", ""))
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    if not trace_id or not span_id:
        return None
    state = TraceState.from_header([metadata["tracestate"]]) if "tracestate" in metadata else TraceState()
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state)


def set_up_logging(*, level: str = "info", json: bool = False) -> None:
    """One line per happening, on stderr: for people, or as JSON. Also what libraries say through `logging`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain traces: the rich ones print local variables, and those hold credentials and users' payloads.
    plain = structlog.dev.plain_traceback
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    if json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # What a web server says of its own start and end is said by us already.
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
