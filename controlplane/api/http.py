"""Pieces of HTTP: headers in, as metadata and time limits; answers out, compressed. No knowledge of methods.

Not here: bodies of requests (`bodies.py`), media types and versions (`negotiate.py`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from controlplane.api.bodies import Receive
from controlplane.api.negotiate import refuses_plain, takes_gzip
from controlplane.domain.errors import Invalid

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = ["Receive", "Scope", "Send", "deadline_of", "headers_of", "metadata_of", "respond", "response_header"]

COMPRESS_FROM = 1024
COMPRESS_ASIDE_FROM = 256 * 1024

_PASSED_ON = frozenset(
    {
        "authorization",
        "baggage",
        "idempotency-key",
        "if-match",
        "pawl-namespace",
        "traceparent",
        "tracestate",
        "x-request-id",
    }
)
# What answers may say by its own name; everything else keeps the prefix that marks it as metadata.
_SAID_PLAINLY = frozenset({"etag", "location", "retry-after", "link", "content-disposition", "content-length"})
_PREFIX = "grpc-metadata-"
_NAME = re.compile(r"[0-9a-z_.-]+", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_SERVER_TIMEOUT = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,9})?", re.ASCII)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names in lower case; repeated ones joined as HTTP says."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What of the headers the pipeline sees: a list of names, and `grpc-metadata-*` without the prefix.

    `-bin` values are base64 here as they are on gRPC's wire, and stay so. Raises Invalid for metadata that gRPC could
    not carry, and for `grpc-*`, which is gRPC's own.
    """
    found: dict[str, str] = {}
    prefixed: list[tuple[str, str]] = []
    for name, value in headers.items():
        if name in _PASSED_ON:
            found[name] = value
        elif name.startswith(_PREFIX):
            prefixed.append((name, value))
    if "idempotency-key" in found:
        found["idempotency-key"] = _unquoted(found["idempotency-key"])
    for name, value in prefixed:
        bare = name.removeprefix(_PREFIX)
        if not _NAME.fullmatch(bare) or bare.startswith("grpc-"):
            raise Invalid.field(name[:128], "is no name that metadata can have")
        found.setdefault(bare, _metadata_value(name, value))
    return found


def _metadata_value(name: str, value: str) -> str:
    if not name.endswith("-bin"):
        if not _VALUE.fullmatch(value):
            raise Invalid.field(name[:128], "must be printable ASCII: what is not has a name that ends in -bin")
        return value
    try:
        raw = base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid.field(name[:128], "must be base64")
    return base64.b64encode(raw).decode()


def _unquoted(value: str) -> str:
    """The IETF's draft writes the key as a string in quotes, most clients do not: both are the same key."""
    found = _QUOTED.fullmatch(value.strip())
    return re.sub(r"\\(.)", r"\1", found[1]) if found else value


def response_header(name: str) -> str:
    """How a header is called that the service set."""
    return name if name in _SAID_PLAINLY else _PREFIX + name


def deadline_of(headers: Mapping[str, str]) -> float | None:
    """The instant of time.monotonic() that Grpc-Timeout and X-Server-Timeout set, the earlier one. Raises Invalid."""
    limits: list[float] = []
    given = headers.get("grpc-timeout")
    if given is not None:
        found = _GRPC_TIMEOUT.fullmatch(given)
        if found is None:
            raise Invalid.field("Grpc-Timeout", "must be up to 8 digits and one of H M S m u n, such as 5S")
        limits.append(int(found[1]) * _UNITS[found[2]])
    given = headers.get("x-server-timeout")
    if given is not None:
        if not _SERVER_TIMEOUT.fullmatch(given):
            raise Invalid.field("X-Server-Timeout", "must be seconds, such as 5 or 0.5")
        limits.append(float(given))
    return time.monotonic() + min(limits) if limits else None


async def _compressed(body: bytes) -> bytes:
    """A large answer is compressed beside the event loop, which others wait for."""
    if len(body) < COMPRESS_ASIDE_FROM:
        return gzip.compress(body, 4, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, 4, mtime=0)


async def respond(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[str, str]],
    *,
    request_headers: Mapping[str, str],
    without_body: bool = False,
) -> None:
    """One whole answer, compressed where that pays and is wanted."""
    out = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    out.append((b"x-content-type-options", b"nosniff"))
    accepted = request_headers.get("accept-encoding", "")
    if len(body) > COMPRESS_FROM or (body and accepted and refuses_plain(accepted)):
        out.append((b"vary", b"accept-encoding"))
        if accepted and takes_gzip(accepted):
            body = await _compressed(body)
            out.append((b"content-encoding", b"gzip"))
    if status not in (204, 304):
        out.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": out})
    await send({"type": "http.response.body", "body": b"" if without_body else body})
