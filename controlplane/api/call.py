"""What a handler may know beside its request: who calls, in which namespace, until when, and under which ids.

Made by the pipeline, once per call. Not here: how any of it is found out (`pipeline.py`) or carried (the fronts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from controlplane.domain.idempotency import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. A principal with a namespace is bound to it."""

    subject: str
    namespace_id: str | None
    roles: frozenset[str]


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
    traceparent: str
    front: str  # "grpc" | "rest"
    response_headers: dict[str, str] = field(default_factory=dict)
    if_match: bool = False  # the etag came from If-Match: a mismatch is 412 instead of 409


@dataclass(frozen=True, slots=True)
class Reply:
    """What a unary call came to. `status_hint` is an HTTP status other than 200, where the answer itself says so."""

    message: Message
    headers: Mapping[str, str]
    status_hint: int | None = None
