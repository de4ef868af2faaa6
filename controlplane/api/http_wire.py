"""HTTP below requests: a connection that sends something else is answered as every other error is, and then closed.

uvicorn's protocol with three things changed. Bytes that are no HTTP get an error of ours instead of a line of text. A
head (request line and headers) has a cap, as have trailers, for the parser has none: whoever never ends a header would
fill the memory. And a head has to come in time, or idle connections would use up all there are.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from asyncio.events import TimerHandle
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from controlplane.api.answers import error_body
from controlplane.api.bodies import too_large
from controlplane.api.json_text import malformed
from controlplane.api.negotiate import JSON
from controlplane.api.pipeline import call_id
from controlplane.api.status import Refused, failure_of
from controlplane.domain.errors import PawlError

MAX_HEAD = 64 * 1024
PLACE = "place"  # of a connection, in the state of its requests' scopes
HEAD_SECONDS = 30.0
_NO_LINGERING = struct.pack("ii", 1, 0)  # what closes a socket is then a reset instead of an orderly end
_AUTHORITY = re.compile(rb"[/?#]")  # ends it
_UPGRADING = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Application(Protocol):
    """What a connection needs of the application behind it."""

    def turned_away(self, error: PawlError, call_id: str) -> None:
        """Count and tell of what never became a request."""


class Connection(HttpToolsProtocol):
    """One connection of the HTTP server."""

    url = b""
    _to_no_end = 0  # bytes taken in since the parser last made something of them
    _head = False  # whether one has begun and is not whole
    _head_timer: TimerHandle | None = None
    _place = 0  # how many there were with this one when it came

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Nobody may stay for ever without a word."""
        super().connection_made(transport)
        self._place = len(self.connections)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below are called from inside."""
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        self._to_no_end += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if len(self.url) > MAX_HEAD:  # more than the parser's own limit of an address
                self._refuse(too_large("the head of the request", MAX_HEAD), 431)
            else:
                self._refuse(malformed(f"this is no HTTP/1.1: {_in_words(error)}"), 400)
        else:
            if self._to_no_end > MAX_HEAD:
                self._refuse(too_large("the head of the request", MAX_HEAD), 431)
            elif self._head and self._head_timer is None:  # most come whole, and need none
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._to_no_end = 0
        self._head = True

    def on_headers_complete(self) -> None:
        """The head is whole: the request begins."""
        self._to_no_end = 0
        self._head = False
        self._stop_timer()
        if not self.parser.should_upgrade():
            if not self.url.startswith((b"/", b"*")):
                self._take_apart()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._to_no_end = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _take_apart(self) -> None:
        """A target in full, as for a proxy, names its host better than the Host header does (RFC 9112, 3.2.2); without
        a path it means the root.
        """
        target = httptools.parse_url(self.url)
        named = _AUTHORITY.split(self.url.partition(b"://")[2], maxsplit=1)[0].rpartition(b"@")[2]
        self.headers[:] = [(name, named if name == b"host" else value) for name, value in self.headers]
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")

    def _stay_with_http(self, rest: bytes) -> None:
        """An upgrade that is not offered is answered over HTTP/1.1, as HTTP says (`curl --http2` asks for one).

        The parser has taken the head for the last thing that is HTTP, and the body for something else: so it reads both
        again, without the words that ask for the upgrade.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Refused("this is no proxy", reason="NOT_OFFERED_HERE"), 501)
            return
        version = self.parser.get_http_version().encode()
        kept = [(name, value) for name, value in self.headers if name not in _UPGRADING]
        asked = b",".join(value for name, value in self.headers if name == b"connection").lower()
        stays = b"close" if b"close" in asked else b"keep-alive"
        lines = (name + b": " + value + b"\r\n" for name, value in (*kept, (b"connection", stays)))
        self.parser = httptools.HttpRequestParser(self)
        head = b"".join((method, b" ", self.url, b" HTTP/", version, b"\r\n", *lines, b"\r\n"))
        self.data_received(head + rest)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["state"][PLACE] = self._place
        refusal = _wrong_with(cycle.scope)
        if refusal is not None:
            app = partial(self._say, cycle, *refusal)
        if cycle.scope["http_version"] == "1.0":
            app = partial(_without_chunks, app, cycle)
        super()._start_asgi_task(cycle, app)

    async def _say(self, cycle: RequestResponseCycle, error: PawlError, status: int, *_: object) -> None:
        headers, body = self._answer(error, status)
        await cycle.send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await cycle.send({"type": "http.response.body", "body": body, "more_body": False})

    def _too_slow(self) -> None:
        self._refuse(
            Refused("the head of the request did not come in time", reason="DEADLINE_EXCEEDED", facts={"part": "head"}),
            408,
        )

    def _refuse(self, error: PawlError, status: int) -> None:
        """Answer and close. In the middle of another answer nothing can be said: that one is let finish."""
        self._stop_timer()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            cycle.keep_alive = False
            return
        headers, body = self._answer(error, status)
        lines = (name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        self.transport.close()

    def _answer(self, error: PawlError, status: int) -> tuple[Iterable[tuple[bytes, bytes]], bytes]:
        """Headers and body. HTTP has statuses of its own for what happens here, so they are not those of the table."""
        request_id = call_id({})
        application: Application = self.config.app  # type: ignore[assignment] # what the server was made with
        application.turned_away(error, request_id)
        body = error_body(replace(failure_of(error), http=status), camel=False)
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request_id.encode()),
        ]
        return headers, body

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


async def _without_chunks(app: Any, cycle: RequestResponseCycle, scope: Any, receive: Any, send: Any) -> None:
    """HTTP/1.0 knows no chunks: what has no length ends with its connection, and what breaks off with a reset."""
    cycle.chunked_encoding = False

    async def bare(message: Any) -> None:
        cycle.expected_content_length += len(message.get("body", b""))
        await send(message)

    try:
        await app(scope, receive, bare)
    finally:
        if cycle.response_started and not cycle.response_complete:
            _reset(cycle.transport)


def _reset(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    transport.abort()


def _wrong_with(scope: Any) -> tuple[PawlError, int] | None:
    """What a parser that is content does not look at: a head that came in one piece, and whom it is for."""
    size, hosts, coded = len(scope["raw_path"]) + len(scope["query_string"]), 0, False
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            coded = True
    if size > MAX_HEAD:
        return too_large("the head of the request", MAX_HEAD), 431
    if coded:
        return Refused("of transfer encodings only chunked is read here", reason="NOT_OFFERED_HERE"), 501
    if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
        return malformed(f"a request has one Host header, this one has {hosts or 'none'}"), 400
    return None


def _in_words(error: Exception) -> str:
    """What the parser says, without the words around a callback's failure."""
    text = str(error.__context__ or error) if isinstance(error, httptools.HttpParserCallbackError) else str(error)
    return text[:200] or "it cannot be parsed"
