"""Request ids: what makes a repeated call the same call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """(namespace, method, request id), with the fingerprint of the request's content without the id."""

    namespace_id: str
    method: str
    request_id: str
    fingerprint: bytes


def fingerprint(serialised: bytes) -> bytes:
    """SHA-256 of a request serialised deterministically without its request id."""
    return hashlib.sha256(serialised).digest()
