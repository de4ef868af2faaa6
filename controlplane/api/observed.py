"""One call as it is seen from outside: counted, timed, traced, and told of in the log when it comes to nothing.

Each refused or failed call is one line: who called what from where, under which request id, what it came to and after
how long; at the level `debug` each other call too. A caller's own mistake is `info`, a refused credential and what the
server could not do are `warning`, a defect is `error` with its trace. Never what was sent: messages of INVALID_ARGUMENT
quote it, so only the names of the fields are written. A flood of such lines is thinned, the flood itself is said.
"""

from __future__ import annotations

import functools
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import structlog
from pawl.tracing import Trace

from controlplane.api.grpc_wire import READ
from controlplane.api.methods import table
from controlplane.api.status import code_of
from controlplane.domain.errors import PawlError
from controlplane.domain.key import without_secrets
from controlplane.log_setup import Sparing, about_this_call
from controlplane.telemetry import Metrics, Tracing, place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

LINES_A_SECOND = 50
UNKNOWN = "(unknown)"
UNROUTED = "none"  # the method of a call that names none that there is
_LONGEST = 200
_FIELDS = 5

# Set by the front that a call came in by: asked only when there is something to tell.
peer: ContextVar[Callable[[], str] | None] = ContextVar("peer", default=None)

_OURS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED"})
_ATTENTION = _OURS | {"UNAUTHENTICATED", "PERMISSION_DENIED"}
_QUOTING = frozenset({"INVALID_ARGUMENT", "UNAUTHENTICATED"})  # their messages hold what was sent

_log = structlog.get_logger("controlplane.calls")
_lines = logging.getLogger("controlplane.calls")  # the same, asked whether it says anything: structlog's costs more


class Watch:
    """What all calls are counted and told with. `leaving` is set when the server stops, which is no failure."""

    def __init__(self, metrics: Metrics, tracing: Tracing) -> None:
        self.metrics = metrics
        self.tracing = tracing
        self.leaving = False
        self._sparing = Sparing(LINES_A_SECOND)

    def refused(self, method: str, front: str, error: BaseException, code: str) -> None:
        """Count what never became a call; it is told of when a front answers."""
        self.metrics.refused(method, code, front)
        _mark(error, "pawl_counted", True)

    def turned_away(self, call: Told, error: BaseException, code: str) -> None:
        """Count and tell, unless both is done."""
        if call.request_id in _told(error):
            return
        if not getattr(error, "pawl_counted", False):
            self.metrics.refused(call.method, code, call.front)
        self.tell(call, error, code)

    def tell(self, call: Told, error: BaseException, code: str) -> None:
        """Write the line about a call that came to nothing."""
        told = _told(error)
        told.add(call.request_id)
        _mark(error, "pawl_told", told)
        level = self._level(code)
        if level < logging.ERROR:
            if not _lines.isEnabledFor(level) or not self._sparing.admits():
                return
            held_back = self._sparing.take_held_back()
            if held_back:
                _log.warning("refused calls that were not logged, one by one", count=held_back)
        words = "call failed" if code in _OURS else "call cancelled" if code == "CANCELLED" else "call refused"
        facts: dict[str, object] = call.facts() | _facts(error, code)
        if code == "INTERNAL" and not isinstance(error, PawlError):
            facts |= {"incident": incident_of(error), "exc_info": error}
        _log.log(level, words, **facts)

    def _level(self, code: str) -> int:
        if code in ("INTERNAL", "UNKNOWN", "DATA_LOSS"):
            return logging.ERROR
        if code == "CANCELLED" or (self.leaving and code == "UNAVAILABLE"):
            return logging.DEBUG
        return logging.WARNING if code in _ATTENTION else logging.INFO


class Told:
    """What a line says of a call."""

    __slots__ = ("_began", "front", "method", "principal", "request_id")

    def __init__(self, method: str, front: str, request_id: str, *, timed: bool = True) -> None:
        self.method = method
        self.front = front
        self.request_id = request_id
        self.principal = ""
        self._began = time.perf_counter() if timed else None

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def facts(self) -> dict[str, object]:
        """Who, what, from where, after how long."""
        found: dict[str, object] = {"method": self.method, "front": self.front, "request_id": self.request_id}
        if self.principal:
            found["principal"] = self.principal
        asked = peer.get()
        if asked is not None:
            found["peer"] = asked()
        return found if self._began is None else found | {"milliseconds": round(self.seconds * 1000, 1)}


class Observed(AbstractContextManager["Observed"]):
    """Frames one call. `trace` is its place in a trace, which is handed on."""

    __slots__ = ("_span", "_watch", "told", "trace")

    def __init__(self, watch: Watch, method: str, front: str, metadata: Mapping[str, str], request_id: str) -> None:
        self._watch = watch
        self.told = Told(method, front, request_id)
        caller = Trace.of(metadata)
        self._span: Span | None = watch.tracing.begin(method, front, caller)
        self.trace = place_of(self._span, caller)

    def ids(self) -> Mapping[str, str]:
        """For every line that is written while this call is answered."""
        found = {"request_id": self.told.request_id}
        if self.trace.traceparent:
            found |= {"trace_id": self.trace.trace_id, "span_id": self.trace.span_id}
        return found

    def __enter__(self) -> Observed:
        self._watch.metrics.began(self.told.front)
        about_this_call.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = "OK" if error is None else code_of(error)
        self._watch.metrics.ended(self.told.method, code, self.told.front, self.told.seconds)
        if self._span is not None:
            self._span.set_attribute("pawl.request.id", self.told.request_id)
            self._span.set_attribute("enduser.id", self.told.principal)
            self._watch.tracing.end(self._span, code, "" if error is None else _reason(error))
        if error is not None:
            self._watch.tell(self.told, error, code)
        elif _lines.isEnabledFor(logging.DEBUG):
            _log.debug("call answered", **self.told.facts(), code=code)
        about_this_call.set(None)


def incident_of(error: BaseException) -> str:
    """The id under which the log explains a defect; the same one however often it is asked for."""
    known: str = getattr(error, "pawl_incident", "") or secrets.token_hex(6)
    _mark(error, "pawl_incident", known)
    return known


def _told(error: BaseException) -> set[str]:
    """The calls that this error was told of. One may end many calls, when they shared a transaction."""
    found: set[str] = getattr(error, "pawl_told", set())
    return found


def _mark(error: BaseException, name: str, value: object) -> None:
    with suppress(AttributeError):  # an exception without room for it is told of twice, which is better than never
        setattr(error, name, value)


def _reason(error: BaseException) -> str:
    return error.reason if isinstance(error, PawlError) else type(error).__name__


def shown(path: str) -> str:
    """The path of a field as far as the contract knows its names: the others are what somebody has sent."""
    bare = re.sub(r"\[(?!\d+\])[^\]]*\]", "[]", path[:_LONGEST])  # keys of maps are users' words, indexes are not
    known = _known_names()
    return ".".join(part if part.partition("[")[0] in known else UNKNOWN for part in bare.split("."))[:64]


@functools.cache
def _known_names() -> frozenset[str]:
    """Of all fields in all requests, as proto and as JSON, and of the headers that are read."""
    found = {"metadata", "If-Match", "If-None-Match", "Last-Event-ID", "Accept", "Grpc-Timeout", *READ}
    seen: set[str] = set()
    waiting: list[Any] = [method.input.DESCRIPTOR for method in table().values()]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            found |= {field.name, field.json_name}
            if field.message_type is not None:
                waiting.append(field.message_type)
    return frozenset(found)


def _facts(error: BaseException, code: str) -> dict[str, object]:
    facts: dict[str, object] = {"code": code}
    if not isinstance(error, PawlError):
        return facts
    facts["reason"] = error.reason
    if error.violations:
        facts["fields"] = [shown(without_secrets(one.field)) for one in error.violations[:_FIELDS]]
    if code not in _QUOTING:
        facts["message"] = without_secrets(error.message)[:_LONGEST]
    return facts
