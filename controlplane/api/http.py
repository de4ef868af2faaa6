"""Pieces of HTTP: headers in and out, bodies with their caps, compression, time limits. No knowledge of methods."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from controlplane.api.json_text import malformed
from controlplane.domain.errors import Exhausted, Invalid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 10 * 1024 * 1024
MAX_MODULE = 32 * 1024 * 1024
COMPRESS_FROM = 1024
MAX_DRAINED = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0

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
_PREFIX = "grpc-metadata-"
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
    """What of the headers the pipeline sees: a list of names, and `grpc-metadata-*` without the prefix."""
    found = {name: value for name, value in headers.items() if name in _PASSED_ON}
    for name, value in headers.items():
        if name.startswith(_PREFIX):
            bare = name.removeprefix(_PREFIX)
            if bare and not bare.startswith("grpc-") and not bare.endswith("-bin"):
                found.setdefault(bare, value)
    return found


def deadline_of(headers: Mapping[str, str]) -> float | None:
    """The instant of time.monotonic() that Grpc-Timeout or X-Server-Timeout set. Raises Invalid."""
    given = headers.get("grpc-timeout")
    if given is not None:
        found = _GRPC_TIMEOUT.fullmatch(given)
        if found is None:
            raise Invalid.field("Grpc-Timeout", "must be up to 8 digits and one of H M S m u n, such as 5S")
        return time.monotonic() + int(found[1]) * _UNITS[found[2]]
    given = headers.get("x-server-timeout")
    if given is not None:
        if not _SERVER_TIMEOUT.fullmatch(given):
            raise Invalid.field("X-Server-Timeout", "must be seconds, such as 5 or 0.5")
        return time.monotonic() + float(given)
    return None


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body, decompressed. Raises Exhausted beyond the limit, Invalid for encodings that we do not know."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        if "100-continue" not in headers.get("expect", "").lower():
            await _drain(receive)
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionResetError("the client went away while it sent its body")
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            if message.get("more_body"):
                await _drain(receive)
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body"):
            break
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Invalid.field("Content-Encoding", "must be gzip or absent")
    return _gunzip(body, limit)


async def _drain(receive: Receive) -> None:
    """Read on and forget: closing a connection on which the client still writes would destroy the answer.

    Bounded, so that nobody can keep us reading for ever.
    """
    room = MAX_DRAINED
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while room > 0:
                message = await receive()
                room -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return


def _gunzip(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise malformed("the body is no gzip")
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof or inflater.unused_data:
        raise malformed("the body is no whole gzip")
    return plain


def _too_large(limit: int) -> Exhausted:
    return Exhausted(f"the body is larger than {limit} bytes", reason="TOO_LARGE", facts={"limit_bytes": str(limit)})


def check_json_type(headers: Mapping[str, str]) -> None:
    """JSON, however it is called. A form is read as JSON: it is what `curl -d` says of everything it sends.

    The guard or the Authorization header has settled by now that no foreign page sent it. Raises Invalid.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("", "application/json", "application/x-www-form-urlencoded") or kind.endswith("+json"):
        return
    raise Invalid.field("Content-Type", f"must be application/json, not {kind[:64]!r}")


def etag_matches(wanted: str, etag: str) -> bool:
    """Whether If-None-Match names this version."""
    return wanted.strip() == "*" or any(
        one.strip().removeprefix("W/").strip('"') == etag.strip('"') for one in wanted.split(",")
    )


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
    if len(body) > COMPRESS_FROM:
        out.append((b"vary", b"accept-encoding"))
        if _takes_gzip(request_headers.get("accept-encoding", "")):
            body = gzip.compress(body, 4, mtime=0)
            out.append((b"content-encoding", b"gzip"))
    if status not in (204, 304):
        out.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": out})
    await send({"type": "http.response.body", "body": b"" if without_body else body})


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.split(","):
        name, _, parameters = one.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
