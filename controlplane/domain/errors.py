"""The ten ways in which Pawl says no. One table (`controlplane.api.status`) turns them into gRPC and HTTP codes.

Not here: codes, transports, log texts. An error carries a reason (the name of a value of `ErrorReasons.Reason`), a
message for people and the facts behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: its path in the request (`job.config.timeout`) and what is allowed."""

    field: str
    problem: str


class PawlError(Exception):
    """Base of the ten. `reason` names a published reason; `facts` holds every dynamic part of the message."""

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Iterable[Violation] = (),
        facts: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = tuple(violations)
        self.facts = dict(facts or {})
        self.retry_after_seconds = retry_after_seconds


class Invalid(PawlError):
    """The request is wrong whatever the state of the system: INVALID_ARGUMENT."""

    reason = "INVALID_FIELD"

    @classmethod
    def field(cls, field: str, problem: str) -> Invalid:
        """One field is wrong."""
        return cls(f"{field}: {problem}", violations=[Violation(field, problem)], facts={"field": field})

    @classmethod
    def fields(cls, violations: Iterable[Violation]) -> Invalid:
        """Several fields are wrong."""
        found = tuple(violations)
        message = "; ".join(f"{v.field}: {v.problem}" for v in found)
        return cls(message, violations=found, facts={"field": found[0].field} if found else {})


class NotFound(PawlError):
    """There is no such resource in this namespace: NOT_FOUND."""

    reason = "RESOURCE_NOT_FOUND"

    @classmethod
    def of(cls, noun: str, key: str, namespace_id: str) -> NotFound:
        """`noun` is the word of the glossary, `key` what the caller asked for."""
        return cls(
            f"there is no {noun} {key!r} in namespace {namespace_id!r}",
            facts={"resource": noun, "id": key, "namespace_id": namespace_id},
        )

    @classmethod
    def of_namespace(cls, namespace_id: str) -> NotFound:
        """The namespace itself."""
        facts = {"resource": "namespace", "id": namespace_id}
        return cls(f"there is no namespace {namespace_id!r}", reason="NAMESPACE_NOT_FOUND", facts=facts)


class AlreadyExists(PawlError):
    """The name or the request id is taken: ALREADY_EXISTS."""

    reason = "NAME_TAKEN"


class IllegalTransition(PawlError):
    """The status does not allow this: FAILED_PRECONDITION."""

    reason = "ILLEGAL_TRANSITION"


class Fenced(PawlError):
    """The token is not the newest one: ABORTED. What came with it is kept as evidence and changes nothing."""

    reason = "FENCED"


class EtagMismatch(PawlError):
    """The resource has changed since the caller read it: ABORTED, 412 for If-Match."""

    reason = "ETAG_MISMATCH"


class Unauthenticated(PawlError):
    """No valid credential: UNAUTHENTICATED."""

    reason = "UNAUTHENTICATED"


class Forbidden(PawlError):
    """The credential, or the page a browser calls from, may not do this: PERMISSION_DENIED."""

    reason = "FORBIDDEN"


class Exhausted(PawlError):
    """Too much at once, or too large: RESOURCE_EXHAUSTED."""

    reason = "OVERLOADED"


class Unavailable(PawlError):
    """Not now, or the outcome is unknown: UNAVAILABLE. Repeating with the same request id tells the truth."""

    reason = "UNAVAILABLE"
