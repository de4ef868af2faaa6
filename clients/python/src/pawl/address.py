"""Where the control plane is: what people write, as a gRPC target. Does not connect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEFAULT_SERVER: Final = "localhost:8081"
DEFAULT_PORT: Final = 8081

_PLAIN: Final = frozenset({"", "grpc", "http", "ws"})
_TLS: Final = frozenset({"grpcs", "https", "wss"})
_FORM: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(?::(?P<port>\d{1,5}))?/?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A gRPC target."""

    target: str
    tls: bool = False


def parse(text: str) -> Address:
    """`host`, `host:port`, and the same behind http://, ws://, grpc:// (plain) or https://, wss://, grpcs:// (TLS).

    Raises ValueError with words for the person who wrote it.
    """
    text = text.strip()
    if text.startswith("unix:"):
        return Address(text)
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a server address; write host:port, such as {DEFAULT_SERVER}")
    scheme = (found["scheme"] or "").lower()
    if scheme not in _PLAIN | _TLS:
        raise ValueError(f"{text!r}: unknown scheme {scheme!r}; write host:port, such as {DEFAULT_SERVER}")
    port = int(found["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65_535:
        raise ValueError(f"{text!r}: port {port} is not between 1 and 65535")
    return Address(f"{found['host']}:{port}", tls=scheme in _TLS)
