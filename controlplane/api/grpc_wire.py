"""What comes in and goes out over gRPC, as bytes: sizes, compression, metadata, and who may still call.

The library refuses some of this by itself, but without a reason that a program can read, and after the harm: it
inflates a compressed message before anybody has asked how large it becomes. So its own limits stand a little above
ours, and it hands messages over as they came. Pure but for the door, which counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from controlplane.api.methods import Method
from controlplane.domain.errors import Exhausted, Invalid, Unavailable

MAX_MESSAGE = 10 * 1024 * 1024
# No message begins so: 0x1f is field 3 of wire type 7, which does not exist. What begins so is gzip.
_GZIP = b"\x1f\x8b"
MAX_METADATA = 16 * 1024
_METADATA_OVERHEAD = 32  # of each entry, as HTTP/2 counts
_MAX_CALLS_A_CONNECTION = 1000
# The names that HTTP's headers have on their way to the pipeline; a test keeps both lists alike.
READ = frozenset(
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
OF_A_TRACE = frozenset({"baggage", "traceparent", "tracestate"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gRPC server takes from strangers."""

    max_message: int = MAX_MESSAGE
    max_calls: int = 10_000
    max_connections: int = 10_000
    patience_seconds: float = 60.0
    keepalive_seconds: float = 30.0
    keepalive_timeout_seconds: float = 10.0
    min_ping_interval_seconds: float = 5.0
    max_connection_age_seconds: float = 0.0
    max_connection_age_grace_seconds: float = 60.0

    def options(self) -> list[tuple[str, int]]:
        """As the library is told."""
        found = [
            # Two servers on one port would share its connections silently.
            ("grpc.so_reuseport", 0),
            # Up to twice our own limit a message is read and refused with a reason; beyond, the library stops reading.
            ("grpc.max_receive_message_length", 2 * self.max_message),
            ("grpc.max_send_message_length", -1),
            # Messages come as they were sent, and are inflated here, up to the limit. Only gzip is known.
            ("grpc.per_message_decompression", 0),
            ("grpc.compression_enabled_algorithms_bitset", 0b101),
            # One bound instead of two, for between its own the library draws lots; ours, with a reason, is below it. It
            # holds for those who have acknowledged the server's settings: others may send 16 MiB to be refused by us.
            ("grpc.max_metadata_size", 2 * MAX_METADATA),
            ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA),
            ("grpc.max_concurrent_streams", min(self.max_calls, _MAX_CALLS_A_CONNECTION)),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout_seconds)),
            # Of the pings that the library sends for its own ends; while one is out it sends none of ours.
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout_seconds)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", _milliseconds(self.min_ping_interval_seconds)),
            ("grpc.http2.max_ping_strikes", 2),
        ]
        if self.max_connection_age_seconds:
            found += [
                ("grpc.max_connection_age_ms", _milliseconds(self.max_connection_age_seconds)),
                ("grpc.max_connection_age_grace_ms", _milliseconds(self.max_connection_age_grace_seconds)),
            ]
        return found


class Door:
    """Counts the calls that are inside, refuses those beyond the limit, and is closed once, for good."""

    def __init__(self, most: int, what: str) -> None:
        self.inside = 0
        self._most = most
        self._what = what
        self._closed = False

    def __enter__(self) -> None:
        if self._closed:
            raise Unavailable("the server stops; call again, here or elsewhere", retry_after_seconds=1.0)
        if self.inside >= self._most:
            raise Exhausted(
                f"{self.inside} {self._what} are open, which is the limit", facts={"limit": str(self._most)}
            )
        self.inside += 1

    def __exit__(self, *_: object) -> None:
        self.inside -= 1

    def close(self) -> None:
        """Refuse everybody; who is inside stays."""
        self._closed = True


def decode(method: Method, raw: bytes, limit: int) -> tuple[Message, bytes]:
    """The request and its plain bytes. Raises Invalid for what is none, Exhausted for what is too large."""
    if len(raw) > limit:
        raise _too_large(f"the message has {len(raw)} bytes", limit)
    if raw[:2] == _GZIP:
        raw = _inflated(raw, limit)
    try:
        return method.input.FromString(raw), raw
    except DecodeError:
        name = method.input.DESCRIPTOR.full_name
        raise Invalid(f"not a {name}: the bytes do not decode", reason="MALFORMED_REQUEST", facts={"type": name})


def _inflated(raw: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(raw, limit + 1)
    except zlib.error:
        raise Invalid("the message is no gzip, though it begins as one", reason="MALFORMED_REQUEST")
    if len(plain) > limit:
        raise _too_large(f"the message has more than {limit} bytes once it is decompressed", limit)
    if not inflater.eof or inflater.unused_data:
        raise Invalid("the message is no whole gzip", reason="MALFORMED_REQUEST")
    return plain


def encode(method: Method, answer: Message, limit: int) -> bytes:
    """The answer as bytes. Raises Exhausted for one that is too large, unless it tells of something that was done."""
    raw = answer.SerializeToString()
    if len(raw) > limit and not method.mutates:
        raise _too_large(f"the answer has {len(raw)} bytes; ask for less, such as a smaller page", limit)
    return raw


def _too_large(what: str, limit: int) -> Exhausted:
    return Exhausted(f"{what}; the limit is {limit} bytes", reason="TOO_LARGE", facts={"limit_bytes": str(limit)})


def metadata_of(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """What of the metadata the pipeline sees: the same names as of HTTP's headers. The rest is nobody's business here.

    Raises Exhausted for too much of it, Invalid for one that is there twice or has something else in it than printable
    ASCII. Not for those of a trace, which the caller's own libraries write: W3C has lists of them joined, and what is
    malformed not looked at.
    """
    found: dict[str, str] = {}
    room = MAX_METADATA
    for name, value in pairs:
        room -= len(name) + len(value) + _METADATA_OVERHEAD
        if room < 0:
            raise _too_large("the metadata of this call is too long", MAX_METADATA)
        if name not in READ or not isinstance(value, str):
            continue
        if name in OF_A_TRACE:
            found[name] = f"{found[name]},{value}" if name in found else value
            continue
        if name in found:
            raise Invalid.field(f"metadata.{name}", "is there more than once")
        if not (value.isascii() and value.isprintable()):
            raise Invalid.field(f"metadata.{name}", "must be printable ASCII")
        found[name] = value
    return found


def _milliseconds(seconds: float) -> int:
    """As the library counts; what is too long for it is as good as never."""
    return min(round(seconds * 1000), (1 << 31) - 1)
