"""HTTP on behalf of code that is not trusted: only to hosts that somebody granted, within sizes and times.

Every hop is judged anew, a redirect as strictly as the first request: its host must be granted, and the addresses that
the host has *now* must be public (else a name under a stranger's control would open the agent's own network). The
connection goes to the very address that was judged. Nothing of the agent goes along: no proxy, no cookies, no
credentials of its own. Not the place for who may call whom: a `Reach` comes from whoever decides that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import httpcore
from pawl.hosts import DEFAULT_PORTS, HostRule, as_address, is_host

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS: Final = 10
MAX_URL: Final = 8192
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 32 << 10
FORBIDDEN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"}
)
"""What frames the message is the client's own; `proxy-*` as well."""
PRIVATE_HEADERS: Final = frozenset({"authorization", "cookie", "x-api-key"})
"""Do not follow a redirect to another origin."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class EgressError(Exception):
    """A request that was not made or not answered. `code` is UPPER_SNAKE and stable."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests may go. Hosts of `private` may have addresses of the agent's own network as well."""

    public: tuple[HostRule, ...] = ()
    private: tuple[HostRule, ...] = ()

    @classmethod
    def of(cls, public: Iterable[str], private: Iterable[str] = ()) -> Reach:
        """ValueError says which rule is none."""
        return cls(tuple(map(HostRule.of, public)), tuple(map(HostRule.of, private)))

    def judge(self, target: Target) -> bool:
        """Whether the target may have a private address. Raises EgressError where it may not be called at all."""
        where = (target.host, target.port, target.scheme)
        if any(rule.matches(*where) for rule in self.private):
            return True
        if not any(rule.matches(*where) for rule in self.public):
            raise EgressError("HTTP_HOST_NOT_GRANTED", f"no grant for {target.origin}")
        return False


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, checked and in one spelling."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        return self.origin + self.path

    @classmethod
    def of(cls, url: str) -> Target:
        """Raises EgressError."""
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise _invalid("url", f"must be printable ASCII without spaces, at most {MAX_URL} characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _invalid("url", "is no URL") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise _invalid("url", "must begin with http:// or https://")
        if "@" in parts.netloc or "\\" in parts.netloc:
            raise _invalid("url", "must hold no user name")
        host = (parts.hostname or "").lower().removesuffix(".")
        if not is_host(host):
            raise _invalid("url", "has no host that can be called")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to send."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_seconds: float = 10.0
    redirects: int = 5
    """Followed at most."""

    def check(self) -> None:
        """Raises EgressError that names the field."""
        if self.method not in METHODS:
            raise _invalid("method", f"must be one of {', '.join(METHODS)}")
        if not 0 <= self.redirects <= MOST_REDIRECTS:
            raise _invalid("redirects", f"must be a whole number from 0 to {MOST_REDIRECTS}")
        if len(self.headers) > MAX_HEADERS:
            raise _invalid("headers", f"at most {MAX_HEADERS}")
        if sum(len(name) + len(value) for name, value in self.headers.items()) > MAX_HEADER_BYTES:
            raise _invalid("headers", f"at most {MAX_HEADER_BYTES} bytes")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise _invalid("headers", f"{name[:100]!r} is no name of a header")
            if name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("proxy-"):
                raise _invalid(f"headers.{name}", "is set by the agent alone")
            if not _HEADER_VALUE.fullmatch(value):
                raise _invalid(f"headers.{name}", "holds characters that a header cannot")


@dataclass(frozen=True, slots=True)
class Response:
    """What came back from the last hop."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    url: str


class Egress:
    """The client. One for an agent; a request has a connection of its own, and leaves none behind."""

    def __init__(self, *, response_bytes: int = 1 << 20, longest_seconds: float = 60.0) -> None:
        self._response_bytes = response_bytes
        self._longest_seconds = longest_seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def fetch(self, request: Request, reach: Reach) -> Response:
        """The answer of the last hop, whatever its status. Raises EgressError."""
        request.check()
        if not 0 < request.timeout_seconds <= self._longest_seconds:
            raise _invalid("timeout_seconds", f"must be more than 0 and at most {self._longest_seconds:g}")
        target = Target.of(request.url)
        try:
            async with asyncio.timeout(request.timeout_seconds):
                return await self._follow(request, target, reach)
        except (TimeoutError, httpcore.TimeoutException):
            message = f"{target.origin} did not answer within {request.timeout_seconds:g} s"
            raise EgressError("HTTP_TIMEOUT", message, retryable=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise EgressError("HTTP_FAILED", f"{target.origin}: {_words(error)}", retryable=True) from None

    async def _follow(self, request: Request, target: Target, reach: Reach) -> Response:
        method, body, headers = request.method, request.body, dict(request.headers)
        for _ in range(request.redirects + 1):
            response = await self._once(target, method, headers, body, may_be_private=reach.judge(target))
            location = next((value for name, value in response.headers if name == "location"), "")
            if response.status not in REDIRECTS or not location or request.redirects == 0:
                return response
            following = Target.of(urljoin(target.url, quote(location.strip(), safe="%/:=&?~#+!$,;'@()*[]")))
            if target.scheme == "https" and following.scheme == "http":
                raise EgressError("HTTP_REDIRECT_REFUSED", f"{target.origin} redirects from https to http")
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
            if following.origin != target.origin:
                headers = {name: value for name, value in headers.items() if name.lower() not in PRIVATE_HEADERS}
            target = following
        raise EgressError("HTTP_TOO_MANY_REDIRECTS", f"more than {request.redirects} redirects")

    async def _once(
        self, target: Target, method: str, headers: Mapping[str, str], body: bytes, *, may_be_private: bool
    ) -> Response:
        backend = _JudgedNetwork(may_be_private)
        sent = [(b"Host", target.origin.partition("://")[2].encode()), (b"Connection", b"close")]
        sent += [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            sent.append((b"Content-Length", str(len(body)).encode()))
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        tls = self._tls if target.scheme == "https" else None
        async with (
            httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=backend, max_connections=1) as pool,
            pool.stream(method, url, headers=sent, content=body) as response,
        ):
            received = bytearray()
            async for piece in response.aiter_stream():
                received += piece
                if len(received) > self._response_bytes:
                    message = f"{target.origin} answers with more than {self._response_bytes} bytes"
                    raise EgressError("HTTP_RESPONSE_TOO_LARGE", message)
            got = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers]
            return Response(response.status, got, bytes(received), target.url)


class _JudgedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, and to nothing else."""

    def __init__(self, may_be_private: bool) -> None:
        self._may_be_private = may_be_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _addresses(host, port)
        taken = [address for address in addresses if may_call(address, private=self._may_be_private)]
        if not taken:
            shown = ", ".join(addresses[:3])
            raise EgressError("HTTP_ADDRESS_REFUSED", f"{host} is at {shown}, which is not public and not granted")
        failed: Exception | None = None
        for address in taken[:4]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, OSError) as error:
                failed = error
        raise failed or httpcore.ConnectError(host)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"no socket is called: {path}")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _addresses(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def may_call(address: str, *, private: bool) -> bool:
    """Whether a connection to this address is allowed. Addresses that carry another are judged by that one."""
    known = as_address(address)
    if known is None or known.is_multicast or known.is_unspecified:
        return False
    if private:
        return True
    inner = _inner(known)
    if inner is not None:
        return may_call(str(inner), private=False)
    return known.is_global and not known.is_reserved


def _inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _invalid(name: str, message: str) -> EgressError:
    return EgressError("INVALID_ARGUMENT", f"args.{name}: {message}")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
