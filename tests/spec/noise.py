"""What is no request, or hardly one: broken bytes, values of the wrong type, odd paths, queries and headers.

Drawn from a method's bindings so that it reaches past the router. The only question is what the server says.
"""

import gzip
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from controlplane.api.methods import Method
from tests.spec.random_requests import _JSON

MAX_BODY = 400


@dataclass(frozen=True)
class HttpNoise:
    """One HTTP request."""

    verb: str
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


_SEGMENTS = st.one_of(
    st.sampled_from(
        ["alpha", "default", "%00", "%", "%ff", "%2F", "..%2f", "a:cancel", ":", "a:b:c", "-", "é", "01900000"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6).map(lambda one: quote(one, safe="")),
)
_HEADERS = st.sampled_from(
    [
        ("content-type", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/json; charset=latin-1"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-type", ";;;"),
        ("accept", "text/event-stream"),
        ("accept", "application/json;q=0, */*"),
        ("accept", "image/png"),
        ("accept-encoding", "gzip;q=x, br"),
        ("content-encoding", "gzip"),
        ("content-encoding", "br"),
        ("grpc-timeout", "1S"),
        ("grpc-timeout", "99999999999S"),
        ("grpc-timeout", "-1n"),
        ("x-server-timeout", "NaN"),
        ("if-match", '"1"'),
        ("if-match", "*, W/"),
        ("if-none-match", '"1", "2"'),
        ("idempotency-key", "k-1"),
        ("idempotency-key", '"k-2"'),
        ("idempotency-key", "x" * 200),
        ("traceparent", "00-" + "0" * 32 + "-1-01"),
        ("x-request-id", "a b"),
        ("pawl-namespace", "nowhere"),
        ("pawl-namespace", "\xe9"),
        ("grpc-metadata-x-bin", "***"),
        ("grpc-metadata-grpc-status", "0"),
        ("last-event-id", "-1"),
        ("authorization", "Bearer nobody"),
        ("range", "bytes=0-1"),
        ("expect", "x"),
        ("origin", "null"),
    ]
)
_PAIRS = st.one_of(
    st.sampled_from(
        ["page.page_size=x", "page=1", "$fields=id", "$fields=", "$alt=proto", "order_by", "a=1&a=2", "%ff=1"]
    ),
    st.tuples(
        st.sampled_from(["id", "namespace_id", "pageSize", "etag", "follow", "wait_seconds", "x"]), _SEGMENTS
    ).map("=".join),
)


def http_noise(method: Method) -> st.SearchStrategy[HttpNoise]:
    """HTTP requests near this RPC."""
    return st.builds(
        _http,
        st.sampled_from(method.rules),
        st.lists(_SEGMENTS, min_size=3, max_size=3),
        st.lists(_PAIRS, max_size=2),
        _bodies(method),
        st.lists(_HEADERS, max_size=3, unique_by=lambda one: one[0]),
        st.sampled_from(["", "", "", "", "GET", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE", "PROPFIND"]),
    )


def _http(
    rule: Any, parts: list[str], pairs: list[str], body: bytes, headers: list[tuple[str, str]], verb: str
) -> HttpNoise:
    left = iter(parts)
    path = re.sub(r"\{[^}]*\}", lambda _: next(left), rule.template)
    packed = gzip.compress(body) if ("content-encoding", "gzip") in headers and len(body) % 2 else body
    bodiless = (verb or rule.verb) in ("GET", "HEAD", "OPTIONS", "TRACE")
    return HttpNoise(
        verb or rule.verb, path + "?" * bool(pairs) + "&".join(pairs), b"" if bodiless else packed, tuple(headers)
    )


def _bodies(method: Method) -> st.SearchStrategy[bytes]:
    descriptor: Any = method.input.DESCRIPTOR
    names = [one.name for one in descriptor.fields]
    for one in descriptor.fields:
        if one.message_type is not None and one.message_type.full_name.startswith("pawl."):
            names += [inner.name for inner in one.message_type.fields]
    typed = st.dictionaries(st.sampled_from(names or ["id"]), _JSON, max_size=3).map(
        lambda one: json.dumps(one).encode()
    )
    broken = st.tuples(typed, st.integers(0, 60), st.binary(max_size=3)).map(
        lambda one: one[0][: one[1]] + one[2] + one[0][one[1] :]
    )
    return st.one_of(typed, broken, st.binary(max_size=20), st.sampled_from([b"", b"null", b"[]", b'{"id": 1e999}']))


def broken_messages(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Messages with a few bytes changed, cut short, or of nothing but chance."""
    return st.one_of(
        st.binary(max_size=60),
        st.tuples(valid, st.integers(0, MAX_BODY), st.binary(min_size=1, max_size=3)).map(_changed),
        st.tuples(valid, st.integers(0, MAX_BODY)).map(lambda one: one[0][: one[1]]),
    )


def _changed(drawn: tuple[bytes, int, bytes]) -> bytes:
    whole, where, change = drawn
    where = where % (len(whole) + 1)
    return whole[:where] + change + whole[where + len(change) :]
