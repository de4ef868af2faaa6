"""Request ids: what makes a repeated call the same call.

Keys and contents are kept as digests of 16 bytes. That two calls of a day share one by chance is one in 10^13 for a
hundred million calls; two calls that were made to share one cost 2^48 trials for a key and 2^64 for a content, and
would fool nobody but their caller: a key is good inside a namespace, and what it leads to was made by the same key.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

DIGEST_BYTES = 16
SPACE_BYTES = 4  # with which the keys of a namespace begin, so that they lie together


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """(namespace, method, request id), with the fingerprint of the request's content without the id."""

    namespace_id: str
    method: str
    request_id: str
    fingerprint: bytes

    @property
    def digest(self) -> bytes:
        """What it is kept as: a digest of the namespace, then one of namespace, method and request id. None of them
        can have a line feed in it.
        """
        whole = f"{self.namespace_id}\n{self.method}\n{self.request_id}"
        return _space(self.namespace_id) + hashlib.sha256(whole.encode()).digest()[: DIGEST_BYTES - SPACE_BYTES]


def digests_of(namespace_id: str) -> tuple[bytes, bytes]:
    """Between which the digests of a namespace's keys lie, and, by rare chance, those of another one."""
    first, rest = _space(namespace_id), DIGEST_BYTES - SPACE_BYTES
    return first + bytes(rest), first + b"\xff" * rest


@functools.lru_cache(maxsize=1024)
def _space(namespace_id: str) -> bytes:
    return hashlib.sha256(namespace_id.encode()).digest()[:SPACE_BYTES]


def fingerprint(serialised: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of a request that was serialised deterministically without its request id."""
    return hashlib.sha256(serialised).digest()[:DIGEST_BYTES]
