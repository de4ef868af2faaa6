"""What a handler may know beside its request: who calls, in which namespace, until when, and under which ids.

Made by the pipeline, once per call. Not here: how any of it is found out (`pipeline.py`) or carried (the fronts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message
from pawl.tracing import Trace

from controlplane.domain.errors import Forbidden, PawlError
from controlplane.domain.idempotency import IdempotencyKey


class Credential(Protocol):
    """What a caller showed, for as long as it is good. Streams leave a listener, which is called when it ends."""

    over: PawlError | None
    listeners: set[Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. A principal with a namespace is bound to it, and to the `others`."""

    subject: str
    namespace_id: str | None
    roles: frozenset[str]
    others: frozenset[str] = frozenset()
    key_id: str | None = None
    expires_at: int | None = None
    credential: Credential | None = None

    @property
    def bound_to(self) -> tuple[str, ...] | None:
        """The namespaces that it may touch, the one it calls from first; None: all."""
        return None if self.namespace_id is None else (self.namespace_id, *sorted(self.others))

    def allows(self, namespace_id: str) -> bool:
        """Whether it may touch this namespace."""
        return self.namespace_id is None or namespace_id == self.namespace_id or namespace_id in self.others

    def check(self, namespace_id: str) -> None:
        """Raise Forbidden for a namespace that it may not touch, whether or not there is one."""
        if not self.allows(namespace_id):
            own = ", ".join(map(repr, self.bound_to or ()))
            raise Forbidden(
                f"{self.subject} is bound to {own} and may not touch namespace {namespace_id!r}",
                facts={"subject": self.subject, "namespace_id": namespace_id},
            )


@dataclass(slots=True)
class Call:
    """One call on its way through the pipeline."""

    method: str  # "pawl.v1.JobService/CreateJob"
    principal: Principal
    namespace_id: str
    deadline: float | None  # an instant of time.monotonic()
    metadata: Mapping[str, str]
    request_id: str  # X-Request-Id: names this call in logs; not the idempotency key
    idempotency: IdempotencyKey | None
    trace: Trace  # where in a trace this call is: what is handed on
    front: str  # "grpc" | "rest"
    response_headers: dict[str, str] = field(default_factory=dict)
    if_match: bool = False  # the etag came from If-Match: a mismatch is 412 instead of 409


@dataclass(frozen=True, slots=True)
class Reply:
    """What a unary call came to. `status_hint` is an HTTP status other than 200, where the answer itself says so."""

    message: Message
    headers: Mapping[str, str]
    status_hint: int | None = None
