"""The one table of errors: what Pawl says no with, as gRPC code and HTTP status, always with ErrorInfo.

Both fronts print what stands in a `Failure`; neither chooses a code. Anything that is no PawlError is a defect:
INTERNAL with an id that the log explains, and nothing of its insides.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from controlplane.domain import errors
from controlplane.domain.errors import PawlError
from controlplane.domain.key import without_secrets

DOMAIN = "pawl.dev"

# gRPC trailers are limited to 8 KiB by most clients, and a message travels twice in them: what callers sent is quoted
# in part only, or a long id would turn its own error into a transport failure.
_MESSAGE_BYTES = 512
_FACT_BYTES = 128
_FACTS = 12
_VIOLATION_BYTES = 2048

_log = structlog.get_logger("controlplane.api")


class Refused(PawlError):
    """What the transport says no to, before or instead of the domain. Its reason decides the codes."""

    reason = "NOT_OFFERED_HERE"


@dataclass(frozen=True, slots=True)
class Codes:
    """How one kind of refusal is called on either side."""

    grpc: grpc.StatusCode
    http: int


_CODE = grpc.StatusCode

BY_ERROR: Mapping[type[PawlError], Codes] = {
    errors.Invalid: Codes(_CODE.INVALID_ARGUMENT, 400),
    errors.NotFound: Codes(_CODE.NOT_FOUND, 404),
    errors.AlreadyExists: Codes(_CODE.ALREADY_EXISTS, 409),
    errors.IllegalTransition: Codes(_CODE.FAILED_PRECONDITION, 400),
    errors.Fenced: Codes(_CODE.ABORTED, 409),
    errors.EtagMismatch: Codes(_CODE.ABORTED, 409),
    errors.Unauthenticated: Codes(_CODE.UNAUTHENTICATED, 401),
    errors.Forbidden: Codes(_CODE.PERMISSION_DENIED, 403),
    errors.Exhausted: Codes(_CODE.RESOURCE_EXHAUSTED, 429),
    errors.Unavailable: Codes(_CODE.UNAVAILABLE, 503),
}

# Reasons of the transport, and those whose HTTP status is narrower than that of their kind.
BY_REASON: Mapping[str, Codes] = {
    "TOO_LARGE": Codes(_CODE.RESOURCE_EXHAUSTED, 413),
    "STORAGE_FULL": Codes(_CODE.RESOURCE_EXHAUSTED, 503),  # 429 would blame the caller
    "UNSUPPORTED_MEDIA_TYPE": Codes(_CODE.INVALID_ARGUMENT, 415),
    "NOT_ACCEPTABLE": Codes(_CODE.INVALID_ARGUMENT, 406),
    "METHOD_NOT_ALLOWED": Codes(_CODE.UNIMPLEMENTED, 405),
    "NOT_OFFERED_HERE": Codes(_CODE.UNIMPLEMENTED, 501),
    "REQUEST_IN_FLIGHT": Codes(_CODE.ABORTED, 409),
    "DEADLINE_EXCEEDED": Codes(_CODE.DEADLINE_EXCEEDED, 504),
    "CALL_CANCELLED": Codes(_CODE.CANCELLED, 499),
    "INTERNAL": Codes(_CODE.INTERNAL, 500),
}

# Refusals after which the same call may succeed by itself: seconds to wait where the error names none.
_RETRY_AFTER: Mapping[str, float] = {"OVERLOADED": 1.0, "UNAVAILABLE": 1.0, "REQUEST_IN_FLIGHT": 1.0}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as both fronts send it."""

    code: grpc.StatusCode
    http: int
    message: str
    reason: str
    details: tuple[Message, ...]
    retry_after_seconds: float | None

    def status(self) -> Status:
        """As google.rpc.Status, for trailers and for results of batches."""
        number: int = self.code.value[0]
        return Status(code=number, message=self.message, details=[_pack(one) for one in self.details])

    @property
    def retry_after(self) -> str | None:
        """The value of a Retry-After header: whole seconds, rounded up so that nobody comes too early."""
        return None if self.retry_after_seconds is None else str(max(1, math.ceil(self.retry_after_seconds)))


def failure_of(error: BaseException, *, if_match: bool = False, call_id: str = "") -> Failure:
    """Any error as a Failure. What is no PawlError is logged here, under the id that the caller is told."""
    if not isinstance(error, PawlError):
        error = _defect(error, call_id)
    codes = BY_REASON.get(error.reason) or BY_ERROR[_kind(error)]
    http = 412 if if_match and error.reason == "ETAG_MISMATCH" else codes.http
    retry = error.retry_after_seconds
    if retry is None:
        retry = _RETRY_AFTER.get(error.reason)
    return Failure(
        code=codes.grpc,
        http=http,
        message=_cut(error.message, _MESSAGE_BYTES),
        reason=error.reason,
        details=tuple(_details(error, retry)),
        retry_after_seconds=retry,
    )


def code_of(error: BaseException) -> str:
    """The name of the code that an error will have: for counting, nothing is logged."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    if not isinstance(error, PawlError):
        return "INTERNAL"
    return (BY_REASON.get(error.reason) or BY_ERROR[_kind(error)]).grpc.name


def _kind(error: PawlError) -> type[PawlError]:
    for kind in type(error).__mro__:
        if kind in BY_ERROR:
            return kind
    raise LookupError(f"{type(error).__name__} with reason {error.reason} has no line in the table")


def _defect(error: BaseException, call_id: str) -> PawlError:
    incident = getattr(error, "pawl_incident", "")  # the pipeline has told of it already
    if not incident:
        incident = secrets.token_hex(6)
        _log.error("internal error", incident=incident, request_id=call_id, exc_info=error)
    return Refused(
        f"internal error; the server's log explains it under {incident}",
        reason="INTERNAL",
        facts={"incident": incident},
    )


def _details(error: PawlError, retry: float | None) -> Iterable[Message]:
    facts = list(error.facts.items())[:_FACTS]
    metadata = {_cut(key, _FACT_BYTES): _cut(value, _FACT_BYTES) for key, value in facts}
    yield ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    violations = list(_violations(error))
    if violations:
        yield BadRequest(field_violations=violations)
    if retry is not None:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(retry * 1000))
        yield RetryInfo(retry_delay=delay)


def _violations(error: PawlError) -> Iterable[BadRequest.FieldViolation]:
    room = _VIOLATION_BYTES
    for one in error.violations:
        shown = BadRequest.FieldViolation(
            field=_cut(one.field, _FACT_BYTES), description=_cut(one.problem, _MESSAGE_BYTES), reason=error.reason
        )
        room -= shown.ByteSize()
        if room < 0:
            return
        yield shown


def _cut(text: str, limit: int) -> str:
    """At most so many bytes of UTF-8 without keys; halves of surrogate pairs, which no wire carries, become `?`."""
    raw = without_secrets(text).encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "…"


def _pack(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
