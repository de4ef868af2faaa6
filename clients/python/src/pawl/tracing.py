"""Where in a trace something happens, as W3C's headers carry it, and the spans of Pawl's own programs.

`Trace` is what travels: with calls, with stored tasks, with assignments, in the environment of programs. `Spans` makes
spans and sends them to a collector (OTLP over HTTP); it needs the OpenTelemetry SDK, which comes with the engine and is
imported when spans are wanted. Who wants none pays nothing: no span object is ever made for what is not sampled.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import SpanKind

MAX_TRACESTATE: Final = 512
MAX_BAGGAGE: Final = 8192
EXPORT_SECONDS: Final = 5.0
MAX_QUEUE: Final = 2048
"""Spans that wait for the collector; of more, the oldest are lost."""
LEAVE_SECONDS: Final = 3.0
"""How long the end of a program may wait for its last spans to be delivered."""

_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")

log = logging.getLogger("pawl.tracing")


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace. All empty: no trace."""

    traceparent: str = ""
    tracestate: str = ""
    baggage: str = ""

    @staticmethod
    def of(headers: Mapping[str, str]) -> Trace:
        """What these headers (in lower case) say; what is malformed or too long counts as not said, not as an error."""
        if "traceparent" not in headers and "baggage" not in headers:
            return NOWHERE
        traceparent = _normal(headers.get("traceparent", ""))
        tracestate = _fitting(headers.get("tracestate", ""), MAX_TRACESTATE) if traceparent else ""
        return Trace(traceparent, tracestate, _fitting(headers.get("baggage", ""), MAX_BAGGAGE))

    @staticmethod
    def of_environment(environ: Mapping[str, str]) -> Trace:
        """The same from a program's environment."""
        if "TRACEPARENT" not in environ and "BAGGAGE" not in environ:
            return NOWHERE  # asked for with every call, and each look into an environment costs a microsecond
        return Trace.of({name.lower(): environ.get(name, "") for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE")})

    @property
    def sampled(self) -> bool:
        """Whether who began the trace wants its spans."""
        return self.traceparent.endswith("1")  # the flags are normal: 00 or 01

    @property
    def trace_id(self) -> str:
        """The trace, 32 digits; empty without one."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """The span, 16 digits; empty without one."""
        return self.traceparent[36:52]

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What there is of it, for a call's metadata."""
        said = (("traceparent", self.traceparent), ("tracestate", self.tracestate), ("baggage", self.baggage))
        return tuple((name, value) for name, value in said if value)

    def environment(self) -> dict[str, str]:
        """What there is of it, for a program."""
        return {name.upper(): value for name, value in self.headers()}


NOWHERE: Final = Trace()


around_here: Final[ContextVar[Trace | None]] = ContextVar("pawl_trace", default=None)
"""Where the present run of a worker's function is; unset anywhere else."""


def here() -> Trace:
    """Where this program is: in the current span of its own OpenTelemetry, else where the run of a function is, else
    where its environment says it is.
    """
    around = around_here.get() or Trace.of_environment(os.environ)
    api = sys.modules.get("opentelemetry.trace")  # who has not imported it has no span
    context = None if api is None else api.get_current_span().get_span_context()
    if context is None or not context.is_valid:
        return around
    flags = context.trace_flags & 1
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    return Trace(traceparent, _fitting(context.trace_state.to_header(), MAX_TRACESTATE), around.baggage)


def _normal(traceparent: str) -> str:
    """Version 00 of it, which any later version is a superset of; empty if it is none."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None or (found[1] == "00" and found[5]) or not int(found[2], 16) or not int(found[3], 16):
        return ""
    return f"00-{found[2]}-{found[3]}-{int(found[4], 16) & 1:02x}"


def _fitting(value: str, limit: int) -> str:
    """Whole or not at all: half a list says something else."""
    return value if len(value) <= limit and _PRINTABLE.fullmatch(value) else ""


class Spans:
    """Makes spans and delivers them from a thread of its own. What cannot be delivered is dropped and counted."""

    def __init__(self, exporter: SpanExporter, service: str, *, instance: str = "", version: str = "") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        named = {"service.name": service, "service.version": version, "service.instance.id": instance}
        resource = Resource.create({name: value for name, value in named.items() if value})
        self._delivery = Delivery(exporter)
        delivery: Any = self._delivery  # an exporter in all but its base class, which is the SDK's to import
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(delivery, max_queue_size=MAX_QUEUE, schedule_delay_millis=1000)
        )
        self._ended = 0
        self._tracer = self._provider.get_tracer("pawl", version)

    def start(
        self,
        name: str,
        parent: Trace,
        kind: SpanKind,
        attributes: Mapping[str, str | int | float | bool],
        start_ns: int | None = None,
    ) -> Span:
        """A span below `parent`; one that begins a trace where that is empty."""
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        context = set_span_in_context(NonRecordingSpan(_span_context(parent))) if parent.traceparent else None
        span: Any = self._tracer.start_span(name, context, kind, dict(attributes), start_time=start_ns)
        return span  # type: ignore[no-any-return] # the SDK's class: the API's return type hides it

    def end(self, span: Span, end_ns: int | None = None) -> None:
        """The span is over, and waits for its delivery."""
        self._ended += 1
        span.end(end_ns)

    @property
    def exported(self) -> int:
        """Spans that the collector has taken."""
        return self._delivery.exported

    @property
    def dropped(self) -> int:
        """Spans that are lost: refused, or more than may wait."""
        handed = self._delivery.exported + self._delivery.refused
        return self._delivery.refused + max(0, self._ended - handed - MAX_QUEUE)

    def shutdown(self) -> None:
        """Deliver what is left, for a moment; then give up. Blocks, but not for long."""
        # The provider's own shutdown waits for 30 s, and nobody who stops a program wants to.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(LEAVE_SECONDS)
        if ending.is_alive():
            self._delivery.give_up()


def below(span: Span, parent: Trace) -> Trace:
    """The place of this span, with what its parent carried."""
    context = span.get_span_context()
    return replace(parent, traceparent=f"00-{context.trace_id:032x}-{context.span_id:016x}-01")


def _span_context(trace: Trace) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    state = TraceState.from_header([trace.tracestate]) if trace.tracestate else TraceState()
    flags = TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), True, flags, state)


def collector(endpoint: str) -> SpanExporter:
    """Sends spans to this OTLP/HTTP endpoint; one without a path gets the usual one."""
    from urllib.parse import urlsplit

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    bare = urlsplit(endpoint).path in ("", "/")
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces" if bare else endpoint, timeout=EXPORT_SECONDS)


class Delivery:
    """An exporter around the real one: says once that spans are lost, and once that they arrive again.

    The SDK and its exporter say it for every batch, which in a night is a disk full of the same line: their loggers are
    read here instead, for the reason.
    """

    LOGGERS: Final = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self._reason = ""
        self.exported = 0
        self.refused = 0
        for name in self.LOGGERS:
            logging.getLogger(name).addFilter(self._overhear)

    def _overhear(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        self._reason = record.getMessage()
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver some; called on the SDK's own thread."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(spans)
        except Exception as error:  # whatever it was, the next batch is tried
            result, self._reason = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
            if self._failing:
                self._failing = False
                log.info("the collector takes spans again; %d were lost", self.refused)
            return result
        self.refused += len(spans)
        if not self._failing:
            self._failing = True
            why = " ".join(self._reason.split())[:300]
            log.warning("spans are lost until the collector takes them: %s", why or "it refused them")
        return result

    def give_up(self) -> None:
        """Wait no longer for a collector that does not answer, nor tell of it: the program ends."""
        self._failing = True
        self._exporter.shutdown()

    def shutdown(self) -> None:
        """No more will come."""
        self._exporter.shutdown()
        for name in self.LOGGERS:
            logging.getLogger(name).removeFilter(self._overhear)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what the exporter holds back."""
        return self._exporter.force_flush(timeout_millis)
