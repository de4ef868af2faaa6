"""What can go wrong with a call, as exceptions: one class per status code, with the details the server sent.

The text of an exception is the server's message and the fields it names. `reason` is one of the published
`pawl.v1.ErrorReasons.Reason` names, `fields` says which fields of the request are wrong, `retry_after` how long the
server asks to wait. Nothing here talks to a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import grpc
    import grpc.aio
    from google.rpc import status_pb2

STATUS_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request, and what is wrong with it."""

    field: str
    description: str


class PawlError(Exception):
    """A call that did not succeed."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        fields: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.metadata = dict(metadata)

    def __str__(self) -> str:
        told = [f"{one.field}: {one.description}" for one in self.fields if one.description not in self.message]
        return "; ".join([self.message, *told])

    @property
    def repeatable(self) -> bool:
        """Whether the same request, with the same request id, may be sent again."""
        return self.retry_after is not None


class InvalidArgument(PawlError):
    """The request is wrong; `fields` says where."""

    code = "INVALID_ARGUMENT"


class NotFound(PawlError):
    """There is no such thing in this namespace."""

    code = "NOT_FOUND"


class AlreadyExists(PawlError):
    """The name is taken, or the request id was used for another request."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(PawlError):
    """The state of the thing does not allow this."""

    code = "FAILED_PRECONDITION"


class Conflict(PawlError):
    """The thing has changed since it was read, or the same request is still being worked on."""

    code = "ABORTED"


class Unauthenticated(PawlError):
    """The credential is missing or not valid."""

    code = "UNAUTHENTICATED"


class PermissionDenied(PawlError):
    """The credential does not allow this."""

    code = "PERMISSION_DENIED"


class Exhausted(PawlError):
    """Too much at once, or too large."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(PawlError):
    """The server cannot be reached or cannot answer now. What was asked may have happened: repeat it with its id."""

    code = "UNAVAILABLE"

    @property
    def repeatable(self) -> bool:
        """Always: the request id makes a repeat safe."""
        return True


class DeadlineExceeded(PawlError):
    """No answer in time. What was asked may have happened: repeat it with its id."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(PawlError):
    """The call was given up, and not by its caller, who gets asyncio.CancelledError."""

    code = "CANCELLED"

    @property
    def repeatable(self) -> bool:
        """Without a reason it is the word of a library for what a stopping server had not looked at yet: as safe to
        repeat as Unavailable.
        """
        return not self.reason


class Unimplemented(PawlError):
    """The server does not offer this."""

    code = "UNIMPLEMENTED"


class Internal(PawlError):
    """A defect in the server; its log explains the id in the message."""

    code = "INTERNAL"


BY_CODE: Mapping[str, type[PawlError]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, Conflict, Unauthenticated, PermissionDenied,
            Exhausted, Unavailable, DeadlineExceeded, Cancelled, Unimplemented, Internal,
        )
    }
)  # fmt: skip


def from_call(error: grpc.aio.AioRpcError) -> PawlError:
    """The exception for a call that gRPC says has failed."""
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    kind = BY_CODE.get(error.code().name, PawlError)
    message = error.details() or error.code().name
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            try:
                return _detailed(kind, message, status_pb2.Status.FromString(value))
            except DecodeError:
                break  # a proxy's idea of details; the code and the message still stand
    return kind(message)


def from_status(status: status_pb2.Status) -> PawlError:
    """The exception for one result of a batch."""
    from google.rpc import code_pb2

    name = code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"
    return _detailed(BY_CODE.get(name, PawlError), status.message, status)


def _detailed(kind: type[PawlError], message: str, status: status_pb2.Status) -> PawlError:
    from google.rpc import error_details_pb2

    reason, metadata, retry_after = "", {}, None
    fields: list[FieldViolation] = []
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            fields += [FieldViolation(one.field, one.description) for one in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return kind(message, reason=reason, fields=fields, retry_after=retry_after, metadata=metadata)
