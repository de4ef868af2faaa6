"""The REST front: HTTP to messages, the pipeline, messages to JSON. A bare ASGI application, and the server around it.

Which paths there are stands in the proto files; this front adds only what is no RPC: `/metrics`, `/docs`,
`/openapi.json` and a page that points to them.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import uvicorn
from google.protobuf.message import Message

from controlplane.api import docs
from controlplane.api.answers import Printer, error_body
from controlplane.api.bodies import MAX_BODY, MAX_MODULE, Body, ClientGone
from controlplane.api.call import Principal, Reply
from controlplane.api.guard import PROBES, Guard
from controlplane.api.http import (
    Receive,
    Scope,
    Send,
    deadline_of,
    headers_of,
    metadata_of,
    respond,
    response_header,
)
from controlplane.api.http_wire import PLACE, Connection
from controlplane.api.intake import Hold
from controlplane.api.methods import Kind, Method
from controlplane.api.negotiate import JSON, NDJSON, check_body_type, names_version, tags_of
from controlplane.api.observed import UNROUTED, peer
from controlplane.api.pipeline import Pipeline, call_id
from controlplane.api.routes import Match, Router
from controlplane.api.status import Failure, Refused, failure_of
from controlplane.api.stream import (
    AHEAD,
    FRAMINGS,
    HEARTBEAT_SECONDS,
    PATIENCE_SECONDS,
    PIECES_AHEAD,
    Feed,
    Framing,
    attended,
    cursor_of,
    only_gone,
    watch,
)
from controlplane.api.transcode import Query, build_request, read_query, takes_raw_body
from controlplane.api.uploads import messages
from controlplane.domain.errors import EtagMismatch, Invalid, NotFound, PawlError, Unavailable

METRICS = "/metrics"
PRINTERS_KEPT = 1_000
SURE_SECONDS = 0.1  # how long what is known of a caller stands while the body comes; a key may end meanwhile
# What the Accept header says → media type and text.
MetricsText = Callable[[str], Awaitable[tuple[str, bytes]]]
# What a task gave may call itself HTML: in a browser it must not act in this server's name.
SANDBOX = ("content-security-policy", "sandbox")


class Crowded(Unavailable):
    """There are more connections than the settings allow; this one is closed with the answer."""


class RestApp:
    """The ASGI application."""

    def __init__(
        self,
        pipeline: Pipeline,
        guard: Guard,
        metrics_text: MetricsText,
        metrics_for: Method | None = None,
        connections: Callable[[], int] = lambda: 0,
        max_connections: int = 1,
    ) -> None:
        """`/metrics` is for whoever may call `metrics_for`, or for all. `connections` tells how many are open."""
        self._pipeline = pipeline
        self._guard = guard
        self._metrics_text = metrics_text
        self._metrics_for = metrics_for
        self._connections = connections
        self._max_connections = max_connections
        self._router = Router(pipeline.methods.values())
        self._printers: dict[tuple[int, str, bool], Printer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            headers = headers_of(scope)
            await _Exchange(self, scope, receive, send, headers).run()

    # What an exchange needs of the application.

    def admit(self, path: str, headers: Mapping[str, str], place: int) -> None:
        """Raise Forbidden for what the guard refuses, Crowded when too many are connected and this one came too late.

        Who came in time stays, or whoever opens connections could turn everybody away; and probes are answered, or a
        crowd at the door would have the server restarted.
        """
        crowded = place > self._max_connections and path not in PROBES
        if crowded and (connected := self._connections()) > self._max_connections:
            raise Crowded(
                f"{connected} connections are open, which is more than {self._max_connections}: come back soon",
                facts={"limit": str(self._max_connections)},
                retry_after_seconds=1.0,
            )
        self._guard.check(path, headers)

    def find(self, verb: str, path: str) -> Match:
        """The binding. Raises NotFound or Refused."""
        found = self._router.match(verb, path)
        if found is not None:
            return found
        allowed = self.allowed(path)
        if not allowed:
            raise NotFound(f"there is nothing at {path}", reason="ROUTE_NOT_FOUND", facts={"path": path})
        raise Refused(
            f"{path} has {', '.join(allowed)}, not {verb}",
            reason="METHOD_NOT_ALLOWED",
            facts={"path": path, "method": verb, "allowed": ", ".join(allowed)},
        )

    def printer(self, match: Match, query: Query, accept: str, *, camel: bool) -> Printer:
        """How answers are printed, which is the same for most calls of a method. Raises Invalid."""
        if query.fields is not None or query.alt is not None:
            return Printer(match, query, accept, camel=camel)
        key = (id(match.binding), accept, camel)  # the table of routes stays
        known = self._printers.get(key)
        if known is None:
            known = Printer(match, query, accept, camel=camel)
            if len(self._printers) < PRINTERS_KEPT:  # `accept` is anybody's word
                self._printers[key] = known
        return known

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods of a path."""
        if path == METRICS or docs.page(path) is not None:
            return ["GET", "HEAD"]
        return self._router.allowed(path)

    @property
    def guarded(self) -> bool:
        """Whether no page of another site gets past the guard."""
        return self._guard.enforced

    async def page(self, path: str, headers: Mapping[str, str]) -> docs.Page | None:
        """What is no RPC. The contract is no secret."""
        if path == METRICS:
            if self._metrics_for is not None:
                await self._pipeline.check(self._metrics_for, metadata_of(headers), "rest")
            return docs.Page(*await self._metrics_text(headers.get("accept", "")))
        return docs.page(path)

    def turned_away(self, error: PawlError, call_id: str) -> None:
        """Count and tell of what never became a request."""
        self._pipeline.turned_away("rest", error, call_id)

    @property
    def pipeline(self) -> Pipeline:
        """The path of every call."""
        return self._pipeline


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: RestApp, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        self._headers = headers
        peer.set(partial(_peer, scope))
        self._verb: str = scope["method"]
        self._raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self._query: bytes = scope.get("query_string", b"")
        self._place: int = scope.get("state", {}).get(PLACE, 0)
        self._id = call_id(headers)
        self._metadata: dict[str, str] = {}
        self._match: Match | None = None
        self._principal: Principal | None = None  # None: to be found out again
        self._held: Hold
        self._started = False
        self._camel = True

    async def run(self) -> None:
        """Answer, whatever happens."""
        try:
            with self._app.pipeline.intake.hold() as self._held:
                await self._answer(self._path())
        except ClientGone:
            return  # nobody is there to be told
        except PawlError as error:
            if not self._started:  # else a file that breaks off: the connection is cut, which is all that HTTP can say
                await self._fail(error)
        except Exception as error:
            if self._started:
                raise
            await self._fail(error)

    def _path(self) -> str:
        try:
            path = self._raw_path.decode("utf-8")
        except UnicodeDecodeError:
            raise Invalid("the path is no UTF-8", reason="MALFORMED_REQUEST")
        self._camel = not path.startswith(("/api/v1/", "/health"))
        return path

    async def _answer(self, path: str) -> None:
        self._app.admit(path, self._headers, self._place)
        verb = "GET" if self._verb == "HEAD" else self._verb
        if verb == "GET":
            page = await self._app.page(path, self._headers)
            if page is not None:
                await self._whole(200, page.body, ("content-type", page.content_type), *page.headers.items())
                return
        if verb == "OPTIONS" and (allowed := self._app.allowed(path)):
            await self._whole(204, b"", ("allow", ", ".join((*allowed, "OPTIONS"))))
            return
        self._match = match = self._app.find(verb, path)
        try:
            call = self._prepared(match)
        except PawlError as error:
            self._app.pipeline.undecodable(match.binding.method, "rest", error)
            raise
        # Nobody makes us read and decode a body who may not call.
        principal = await self._app.pipeline.check(match.binding.method, self._metadata, "rest")
        checked = time.monotonic()
        kind = match.binding.method.kind
        if kind is Kind.CLIENT_STREAM:
            await self._upload(call)
            return
        request = await self._request(call)
        if time.monotonic() - checked < SURE_SECONDS:
            self._principal = principal
        if kind is Kind.SERVER_STREAM:
            await self._stream(call, request)
        else:
            await self._unary(call, request)

    def _prepared(self, match: Match) -> _Prepared:
        """Everything that can be said before the body is there. Raises Invalid."""
        self._metadata = metadata_of(self._headers)
        self._metadata["x-request-id"] = self._id
        query = read_query(self._query)
        printer = self._app.printer(match, query, self._headers.get("accept", ""), camel=self._camel)
        deadline = deadline_of(self._headers)
        tags: tuple[str, ...] = ()
        if "if-match" in self._metadata:
            tags = tuple(map(_as_version, tags_of(self._metadata["if-match"], "If-Match")))
        unwanted: tuple[str, ...] = ()
        if "if-none-match" in self._headers:
            unwanted = tags_of(self._headers["if-none-match"], "If-None-Match")
            if match.binding.method.mutates:
                raise Invalid.field("If-None-Match", f"{match.binding.method.name} does not look at it")
        return _Prepared(match, query, printer, deadline, tags, unwanted)

    def _check_type(self, match: Match, *, stream: bool = False) -> None:
        own_page = self._app.guarded or "authorization" in self._headers
        check_body_type(self._headers, raw=takes_raw_body(match), stream=stream, own_page=own_page)

    async def _request(self, call: _Prepared) -> Message:
        try:
            return await self._decoded(call)
        except PawlError as error:
            self._app.pipeline.undecodable(call.match.binding.method, "rest", error)
            raise

    async def _decoded(self, call: _Prepared) -> Message:
        limit = MAX_MODULE if takes_raw_body(call.match) else MAX_BODY
        body = await Body(self._receive, self._headers, call.deadline, self._held.take).whole(limit)
        if body:
            self._check_type(call.match)
        request = build_request(call.match, call.query, body, self._headers.get("content-type", ""))
        if call.match.binding.method.kind is Kind.SERVER_STREAM:
            self._resume(request)
        return request

    def _resume(self, request: Any) -> None:
        """Last-Event-ID is where a browser that lost its connection goes on."""
        last = self._headers.get("last-event-id", "")
        fields = request.DESCRIPTOR.fields_by_name
        if last and "after" in fields and not request.after:
            request.after = last
        elif last and "after_version" in fields and not request.after_version:
            if not (last.isascii() and last.isdigit() and len(last) < 10):
                raise Invalid.field("Last-Event-ID", "must be the id of an event of this stream")
            request.after_version = int(last)

    # ------------------------------------------------------------ one answer

    async def _unary(self, call: _Prepared, request: Message) -> None:
        await self._give(call, await attended(self._receive, self._reply(call, request)))

    async def _reply(self, call: _Prepared, request: Message) -> Reply:
        """Several versions in If-Match are tried one after the other: the change is made on the first that holds."""
        method, pipeline = call.match.binding.method, self._app.pipeline
        if call.tags:
            self._metadata["if-match"] = _as_header(call.tags[0])
        for tag in call.tags[1:] if method.has_etag else ():
            attempt = method.input()
            attempt.CopyFrom(request)
            try:
                return await pipeline.unary(
                    method, attempt, self._metadata, "rest", deadline=call.deadline, principal=self._principal
                )
            except EtagMismatch:
                self._metadata["if-match"] = _as_header(tag)
        return await pipeline.unary(
            method, request, self._metadata, "rest", deadline=call.deadline, principal=self._principal
        )

    async def _upload(self, call: _Prepared) -> None:
        """A client stream: the service reads the body, and the client's leaving is looked for when it has been read."""
        method, pipeline = call.match.binding.method, self._app.pipeline
        body = Body(self._receive, self._headers)
        if self._headers.get("content-length") != "0":
            self._check_type(call.match, stream=True)
        requests = messages(call.match, call.query, body, self._headers.get("content-type", ""))

        async def afterwards() -> Any:
            await body.finished.wait()
            return await self._receive()

        async with aclosing(requests):  # type: ignore[type-var] # an async generator
            work = pipeline.client_stream(method, requests, self._metadata, "rest", deadline=call.deadline)
            await self._give(call, await attended(afterwards, work))

    async def _give(self, call: _Prepared, reply: Reply) -> None:
        headers = [(response_header(name), value) for name, value in reply.headers.items()]
        etag = reply.headers.get("etag") or self._version_of(reply.message)
        if etag and "etag" not in reply.headers:
            headers.append(("etag", etag))
        if etag and call.match.binding.rule.verb == "GET":
            if call.tags and not names_version(call.tags, etag):
                raise EtagMismatch(f"this is version {etag}, which If-Match does not name", facts={"etag": etag})
            if call.unwanted and names_version(call.unwanted, etag):
                await self._whole(304, b"", *headers)
                return
        if call.printer.raw:
            content_type, body = call.printer.file(reply.message)
            headers.append(SANDBOX)
        else:
            content_type, body = JSON, call.printer.encode(reply.message)
        await self._whole(reply.status_hint or 200, body, ("content-type", content_type), *headers)

    def _version_of(self, message: Any) -> str:
        version = getattr(message, "version", None)
        known = isinstance(version, int) and version and self._verb in ("GET", "HEAD", "PATCH")
        return f'"{version}"' if known else ""

    # ------------------------------------------------------------ streams

    async def _stream(self, call: _Prepared, request: Message) -> None:
        method, printer = call.match.binding.method, call.printer
        told: dict[str, str] = {}
        answers = self._app.pipeline.stream(
            method,
            request,
            self._metadata,
            "rest",
            deadline=call.deadline,
            principal=self._principal,
            headers=told,
        )
        feed = Feed(answers, PIECES_AHEAD if printer.raw else AHEAD)
        failure: Exception | None = None
        with only_gone():
            async with asyncio.TaskGroup() as group:
                pulling = group.create_task(feed.run())
                watching = group.create_task(watch(self._receive))
                try:
                    if printer.raw:
                        await self._send_raw(feed, call, told)
                    else:
                        await self._send_framed(feed, printer, FRAMINGS[printer.media_type])
                except Exception as error:
                    failure = error
                finally:
                    pulling.cancel()
                    watching.cancel()
        if failure is not None:
            raise failure

    async def _send_framed(self, feed: Feed, printer: Printer, framing: Framing) -> None:
        first, waiting, pieces = True, PATIENCE_SECONDS, [b""]
        while pieces:
            last = False
            try:
                taken = await feed.take(waiting)
            except StopAsyncIteration:
                pieces, last = [framing.end(first)], True
            except Exception as error:
                if not self._started:
                    raise
                failure = failure_of(error, call_id=self._id)
                pieces, last = [framing.error(self._error_body(failure), first)], True
            else:
                pieces = [] if taken else [framing.beat]
                for message in taken:
                    pieces.append(framing.item(printer.encode(message), cursor_of(message), first))
                    first = False
            await self._begin(framing.media_type)
            if self._verb == "HEAD":
                pieces, last = [], True
            await self._piece(b"".join(pieces), last=last)
            if last:
                return
            waiting = HEARTBEAT_SECONDS

    async def _send_raw(self, feed: Feed, call: _Prepared, told: Mapping[str, str]) -> None:
        """Pieces of one file. An error after the first cuts the connection: there is no other way to say it."""
        while True:
            try:
                taken = [call.printer.file(message) for message in await feed.take(HEARTBEAT_SECONDS)]
            except StopAsyncIteration:
                await self._begin("application/octet-stream")
                await self._piece(b"", last=True)
                return
            if not taken:
                continue
            headers = [(response_header(name), value) for name, value in told.items()]
            etag = told.get("etag")
            if not self._started and etag and call.unwanted and names_version(call.unwanted, etag):
                await self._whole(304, b"", ("etag", etag))
                return
            await self._begin(taken[0][0], headers)
            if self._verb == "HEAD":
                await self._piece(b"", last=True)
                return
            await self._piece(b"".join(data for _, data in taken))

    async def _begin(self, media_type: str, more: Sequence[tuple[str, str]] = ()) -> None:
        if self._started:
            return
        self._started = True
        headers = [
            (b"content-type", media_type.encode()),
            (b"cache-control", b"no-store"),
            (b"vary", b"accept"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
            (SANDBOX[0].encode(), SANDBOX[1].encode()),
            (b"x-request-id", self._id.encode()),
            *((name.encode(), value.encode()) for name, value in more),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _piece(self, body: bytes, *, last: bool = False) -> None:
        if body or last:
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    # ------------------------------------------------------------ answers

    async def _fail(self, error: Exception) -> None:
        method = UNROUTED if self._match is None else self._match.binding.method.name
        self._app.pipeline.turned_away("rest", error, self._id, method)
        failure = failure_of(error, if_match="if-match" in self._metadata, call_id=self._id)
        headers = [("content-type", JSON)]
        if failure.retry_after is not None:
            headers.append(("retry-after", failure.retry_after))
        if failure.http == 401:
            headers.append(("www-authenticate", _challenge(error)))
        if isinstance(error, Refused) and "allowed" in error.facts:
            headers.append(("allow", error.facts["allowed"]))
        if failure.http == 413 or isinstance(error, Crowded):
            headers.append(("connection", "close"))  # the rest of the body is not worth reading; or it makes room
        if isinstance(error, PawlError) and failure.http == 415:
            headers.append(self._what_is_taken(error))
        await self._whole(failure.http, self._error_body(failure), *headers)

    def _what_is_taken(self, error: PawlError) -> tuple[str, str]:
        if error.facts.get("field") == "Content-Encoding":
            return "accept-encoding", "gzip, identity"
        stream = self._match is not None and self._match.binding.method.kind is Kind.CLIENT_STREAM
        name = {"POST": "accept-post", "PATCH": "accept-patch"}.get(self._verb, "accept")
        return name, f"{JSON}, {NDJSON}" if stream else JSON

    def _error_body(self, failure: Failure) -> bytes:
        return error_body(failure, camel=self._camel)

    async def _whole(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self._started = True
        if self._app.pipeline.leaving and ("connection", "close") not in headers:
            headers = (*headers, ("connection", "close"))  # the next call should find another server, or none
        await respond(
            self._send,
            status,
            body,
            (*headers, ("x-request-id", self._id)),
            request_headers=self._headers,
            without_body=self._verb == "HEAD",
        )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A call before its body has been read. `tags` are If-Match, `unwanted` If-None-Match."""

    match: Match
    query: Query
    printer: Printer
    deadline: float | None
    tags: tuple[str, ...]
    unwanted: tuple[str, ...]


def _challenge(error: Exception) -> str:
    """RFC 6750: a key that was shown and is not good is an error of its own."""
    shown = isinstance(error, PawlError) and error.facts.get("key") not in (None, "missing")
    return 'Bearer realm="pawl", error="invalid_token"' if shown else 'Bearer realm="pawl"'


def _as_version(tag: str) -> str:
    """A tag that is none of ours is no mistake, but one that nothing has: as version 0 is."""
    return tag if tag == "*" or (tag.isascii() and tag.isdigit() and len(tag) < 10) else "0"


def _as_header(tag: str) -> str:
    return tag if tag == "*" else f'"{tag}"'


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


class HttpSettings(Protocol):
    """What of the settings concerns this front."""

    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...
    @property
    def max_connections(self) -> int: ...


class RestFront:
    """The HTTP server: `serve` runs until `stop`."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: HttpSettings,
        *,
        metrics_text: MetricsText,
        socket: sockets.socket,
        metrics_for: Method | None = None,
        guarded: bool = True,
    ) -> None:
        self.app = RestApp(
            pipeline,
            Guard(settings.allowed_hosts, enforced=guarded),
            metrics_text,
            metrics_for,
            connections=lambda: len(self._server.server_state.connections),
            max_connections=settings.max_connections,
        )
        # Head and body are two writes: without this the second waits 40 ms for the client's delayed acknowledgement.
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self._socket = socket
        self._finished = asyncio.Event()
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http=Connection,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
            )
        )

    async def serve(self) -> None:
        """Answer requests until stopped."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._finished.set()

    async def stop(self, grace: float) -> None:
        """Take no new connections, let calls in flight finish for so long, then cut them."""
        await self.app.pipeline.linger(grace)
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self.app.pipeline.end_streams()
        self._server.leave()
        await self._finished.wait()


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more than this server to stop. It is told when to end, and does not look
    ten times a second whether it shall; only the date in its answers needs a clock.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Until it is to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0 - time.time() % 1.0):
                    await self._leaving.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
