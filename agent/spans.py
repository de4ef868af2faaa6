"""The span of each attempt, where somebody wants it: below what placed it, above what its program does.

Whether a task is traced was decided when it was created, so there is no ratio here. Without a collector, or for what is
not sampled, nothing is made, and the program is told the place in the trace that came with its assignment.

Also the ids of the attempt that a line of the agent's own log belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from pawl.tracing import Spans, Trace, below, collector
from pawl.v1 import agent_pb2, task_pb2

from agent import machine

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span
    from pawl.link import Result

NOT_REPORTED: Final = "given back"
"""What an attempt came to that says nothing: its agent was stopped, and the work is placed anew."""

attempt_ids: ContextVar[Mapping[str, str] | None] = ContextVar("attempt_ids", default=None)


def ids_of(item: agent_pb2.Assign.Item) -> Mapping[str, str]:
    """What a line of the log says of an attempt."""
    found = {"task_id": item.instance.task_id, "attempt": str(item.attempt), "job": item.job_name}
    trace = Trace.of({"traceparent": item.traceparent})
    return found | {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace.traceparent else found


class AttemptSpans:
    """Makes them. `endpoint` is the collector's, empty for none."""

    def __init__(self, endpoint: str, agent: str) -> None:
        self._spans = None
        if endpoint:
            self._spans = Spans(collector(endpoint), "pawl-agent", instance=agent, version=machine.version())
        self._agent = agent

    def begin(self, item: agent_pb2.Assign.Item) -> AttemptSpan | None:
        """The span of an attempt. From here on the assignment names it, and so does everything made of that."""
        trace = Trace.of({"traceparent": item.traceparent, "tracestate": item.tracestate})
        if self._spans is None or not trace.sampled:
            return None
        from opentelemetry.trace import SpanKind

        attributes: dict[str, str | int] = {
            "pawl.task.id": item.instance.task_id,
            "pawl.task.attempt": item.attempt,
            "pawl.instance.id": item.instance.instance_id,
            "pawl.job.name": item.job_name,
            "pawl.namespace": item.namespace_id,
            "pawl.agent.name": self._agent,
            "pawl.executor": item.config.executor or "process",
        }
        span = self._spans.start(f"attempt {item.job_name}", trace, SpanKind.CONSUMER, attributes)
        item.traceparent = below(span, trace).traceparent
        return AttemptSpan(self._spans, span)

    def shutdown(self) -> None:
        """Deliver what is left; may block for a moment."""
        if self._spans is not None:
            self._spans.shutdown()


class AttemptSpan:
    """The span of one attempt; ended once."""

    def __init__(self, spans: Spans, span: Span) -> None:
        self._spans = spans
        self._span = span
        self._ended = False

    def end(self, result: Result | None) -> None:
        """It has ended like this; None where nothing is reported of it."""
        if self._ended:
            return
        self._ended = True
        from opentelemetry.trace import StatusCode

        if result is None:
            self._span.set_attribute("pawl.task.status", NOT_REPORTED)
            self._span.set_status(StatusCode.ERROR, NOT_REPORTED)
        else:
            item = result.item
            self._span.set_attribute("pawl.task.status", task_pb2.Task.Status.Name(item.status))
            if item.HasField("exit_code"):
                self._span.set_attribute("process.exit.code", item.exit_code)
            if item.HasField("signal"):
                self._span.set_attribute("process.exit.signal", item.signal)
            if item.HasField("error"):
                # The code alone: the message of an error holds what the program said.
                self._span.set_attribute("error.type", item.error.code)
                self._span.set_status(StatusCode.ERROR, item.error.code)
            else:
                self._span.set_status(StatusCode.OK)
        self._spans.end(self._span)
