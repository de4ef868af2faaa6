"""Hosts as a grant names them: one way to write them, for those who grant and for those who hold to it."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

ANY_PORT: Final = 0
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


@dataclass(frozen=True, slots=True)
class HostRule:
    """`host`, `host:port`, `host:*` or `*.domain`; without a port the usual ones of http and https."""

    host: str
    port: int | None = None

    @classmethod
    def of(cls, text: str) -> HostRule:
        """ValueError says what is wrong with it."""
        host, port = _split_port(text.strip().lower())
        bare = host.removeprefix("*.")
        if not is_host(bare):
            raise ValueError(f"{text!r} is no host: write example.com, *.example.com, 10.0.0.1 or example.com:8443")
        if host != bare and ("." not in bare or as_address(bare) is not None):
            raise ValueError(f"{text!r}: a wildcard needs a domain of two labels at least")
        return cls(host, port)

    def matches(self, host: str, port: int, scheme: str) -> bool:
        """Does a request to this host and port fall under the rule?"""
        usual = self.port is None and port == DEFAULT_PORTS[scheme]
        if not usual and self.port not in (port, ANY_PORT):
            return False
        return host == self.host or (self.host.startswith("*.") and host.endswith(self.host[1:]))


def as_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that this text spells out, if it does."""
    with suppress(ValueError):
        return ipaddress.ip_address(text.partition("%")[0])
    return None


def is_host(text: str) -> bool:
    """Is this a host's name in lower case, or an address?"""
    return len(text) <= 253 and (as_address(text) is not None or _NAME.fullmatch(text) is not None) and "%" not in text


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        digits = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            return text, None
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
    else:
        return text, None
    if not digits and text.endswith("]"):
        return host, None
    if digits == "*":
        return host, ANY_PORT
    if not digits.isdecimal() or not digits.isascii() or not 0 < int(digits) < 65536:
        raise ValueError(f"{text!r}: the port must be a number from 1 to 65535, or *")
    return host, int(digits)
