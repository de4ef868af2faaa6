"""A collector of spans: a real OTLP/HTTP receiver on loopback that keeps what it is sent, and can refuse it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2

DEADLINE = 30.0
Kind = trace_pb2.Span.SpanKind
Status = trace_pb2.Status.StatusCode


@dataclass(frozen=True)
class Span:
    """A span as it arrived; ids in hex."""

    name: str
    kind: str
    trace: str
    span: str
    parent: str
    state: str
    status: str
    message: str
    began: int
    ended: int
    attributes: dict[str, Any]
    resource: dict[str, Any] = field(repr=False)


class Collector:
    """Receives on `/v1/traces`. `refuse` is the HTTP status of every answer while it is set."""

    def __init__(self, port: int = 0) -> None:
        self.refuse = 0
        self.requests = 0
        self.raw: list[bytes] = []
        self._spans: list[Span] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces", self.path
                status = collector._take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """What goes into settings."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self) -> list[Span]:
        """What has arrived until now."""
        with self._changed:
            return list(self._spans)

    def until(self, holds: Callable[[list[Span]], bool]) -> list[Span]:
        """Everything, once it holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self._spans), DEADLINE), self._spans
            return list(self._spans)

    def until_asked(self, times: int) -> None:
        """Wait until it has had so many requests."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.requests >= times, DEADLINE)

    def _take(self, body: bytes) -> int:
        with self._changed:
            self.requests += 1
            status = self.refuse or 200
            if status == 200:
                self.raw.append(body)
                self._spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()
            return status


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            name=one.name,
            kind=Kind.Name(one.kind).removeprefix("SPAN_KIND_"),
            trace=one.trace_id.hex(),
            span=one.span_id.hex(),
            parent=one.parent_span_id.hex(),
            state=one.trace_state,
            status=Status.Name(one.status.code).removeprefix("STATUS_CODE_"),
            message=one.status.message,
            began=one.start_time_unix_nano,
            ended=one.end_time_unix_nano,
            attributes=_values(one.attributes),
            resource=_values(group.resource.attributes),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for one in scope.spans
    ]


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
