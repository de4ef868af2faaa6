"""The REST front: HTTP to messages, the pipeline, messages to JSON. A bare ASGI application, and the server around it.

Which paths there are stands in the proto files; this front adds only what is no RPC: `/metrics`, `/docs`,
`/openapi.json` and a page that points to them.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn
from google.protobuf.message import Message

from controlplane.api import docs
from controlplane.api.call import Reply
from controlplane.api.guard import Guard
from controlplane.api.http import (
    MAX_BODY,
    MAX_MODULE,
    Receive,
    Scope,
    Send,
    check_json_type,
    deadline_of,
    etag_matches,
    headers_of,
    metadata_of,
    read_body,
    respond,
)
from controlplane.api.json_out import encode, encode_tree, tree_of
from controlplane.api.methods import HTTP_BODY, Kind
from controlplane.api.pipeline import Pipeline, call_id
from controlplane.api.routes import Match, Router
from controlplane.api.status import Failure, Refused, failure_of
from controlplane.api.stream import (
    AHEAD,
    HEARTBEAT_SECONDS,
    PATIENCE_SECONDS,
    PIECES_AHEAD,
    ClientGone,
    Feed,
    Framing,
    attended,
    framing_for,
    only_gone,
    watch,
)
from controlplane.api.transcode import build_request, takes_raw_body
from controlplane.domain.errors import Invalid, NotFound, PawlError

MetricsText = Callable[[], Awaitable[bytes]]
_JSON = ("content-type", "application/json")


class RestApp:
    """The ASGI application."""

    def __init__(self, pipeline: Pipeline, guard: Guard, metrics_text: MetricsText) -> None:
        self._pipeline = pipeline
        self._guard = guard
        self._metrics_text = metrics_text
        self._router = Router(pipeline.methods.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            headers = headers_of(scope)
            await _Exchange(self, scope, receive, send, headers).run()

    # What an exchange needs of the application.

    def admit(self, path: str, headers: Mapping[str, str]) -> None:
        """Raise Forbidden for what the guard refuses."""
        self._guard.check(path, headers)

    def find(self, verb: str, path: str) -> Match:
        """The binding. Raises NotFound or Refused."""
        found = self._router.match(verb, path)
        if found is not None:
            return found
        allowed = self._router.allowed(path)
        if not allowed:
            raise NotFound(f"there is nothing at {path}", reason="ROUTE_NOT_FOUND", facts={"path": path})
        raise Refused(
            f"{path} has {', '.join(allowed)}, not {verb}",
            reason="METHOD_NOT_ALLOWED",
            facts={"path": path, "method": verb, "allowed": ", ".join(allowed)},
        )

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods of a path."""
        return self._router.allowed(path)

    async def page(self, path: str) -> docs.Page | None:
        """What is no RPC."""
        if path == "/metrics":
            return docs.Page("text/plain; version=0.0.4; charset=utf-8", await self._metrics_text())
        return docs.page(path)

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
        self._verb: str = scope["method"]
        self._raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self._query: bytes = scope.get("query_string", b"")
        self._metadata = metadata_of(headers)
        self._metadata["x-request-id"] = self._id = call_id(self._metadata)
        self._started = False
        self._camel = True

    async def run(self) -> None:
        """Answer, whatever happens."""
        try:
            await self._answer(self._path())
        except (ClientGone, ConnectionResetError):
            return  # nobody is there to be told
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
        self._app.admit(path, self._headers)
        verb = "GET" if self._verb == "HEAD" else self._verb
        if verb == "GET":
            page = await self._app.page(path)
            if page is not None:
                await self._whole(200, page.body, ("content-type", page.content_type), *page.headers.items())
                return
        if verb == "OPTIONS" and (allowed := self._app.allowed(path)):
            await self._whole(204, b"", ("allow", ", ".join((*allowed, "OPTIONS"))))
            return
        match = self._app.find(verb, path)
        deadline = deadline_of(self._headers)
        request = await self._request(match)
        if match.binding.method.kind is Kind.SERVER_STREAM:
            await self._stream(match, request, deadline)
        else:
            await self._unary(match, request, deadline)

    async def _request(self, match: Match) -> Message:
        try:
            return await self._decoded(match)
        except PawlError as error:
            self._app.pipeline.undecodable(match.binding.method, "rest", error)
            raise

    async def _decoded(self, match: Match) -> Message:
        raw = takes_raw_body(match)
        body = await read_body(self._receive, self._headers, MAX_MODULE if raw else MAX_BODY)
        if body and not raw:
            check_json_type(self._headers)
        request = build_request(match, self._query, body, self._headers.get("content-type", ""))
        if match.binding.method.kind is Kind.SERVER_STREAM:
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

    # ------------------------------------------------------------ unary

    async def _unary(self, match: Match, request: Message, deadline: float | None) -> None:
        method = match.binding.method
        work = self._app.pipeline.unary(method, request, self._metadata, "rest", deadline=deadline)
        reply: Reply = await attended(self._receive, work)
        headers = [*reply.headers.items()]
        etag = reply.headers.get("etag") or self._version_of(reply.message)
        if etag and "etag" not in reply.headers:
            headers.append(("etag", etag))
        wanted = self._headers.get("if-none-match")
        if etag and wanted and match.binding.rule.verb == "GET" and etag_matches(wanted, etag):
            await self._whole(304, b"", *headers)
            return
        content_type, body = self._body(match, reply.message)
        await self._whole(reply.status_hint or 200, body, ("content-type", content_type), *headers)

    def _version_of(self, message: Any) -> str:
        version = getattr(message, "version", None)
        return f'"{version}"' if isinstance(version, int) and version and self._verb in ("GET", "HEAD", "PATCH") else ""

    def _body(self, match: Match, message: Any) -> tuple[str, bytes]:
        if message.DESCRIPTOR.full_name == HTTP_BODY:
            return message.content_type or "application/octet-stream", message.data
        part = match.binding.rule.response_body
        if part:
            return "application/json", encode_tree(tree_of(message, camel=False)[part])
        return "application/json", encode(message, camel=self._camel)

    # ------------------------------------------------------------ streams

    async def _stream(self, match: Match, request: Message, deadline: float | None) -> None:
        method = match.binding.method
        answers = self._app.pipeline.stream(method, request, self._metadata, "rest", deadline=deadline)
        raw = method.output.DESCRIPTOR.full_name == HTTP_BODY
        feed = Feed(answers, PIECES_AHEAD if raw else AHEAD)
        failure: Exception | None = None
        with only_gone():
            async with asyncio.TaskGroup() as group:
                pulling = group.create_task(feed.run())
                watching = group.create_task(watch(self._receive))
                try:
                    if raw:
                        await self._send_raw(feed)
                    else:
                        await self._send_framed(feed, framing_for(self._headers.get("accept", ""), camel=self._camel))
                except Exception as error:
                    failure = error
                finally:
                    pulling.cancel()
                    watching.cancel()
        if failure is not None:
            raise failure

    async def _send_framed(self, feed: Feed, framing: Framing) -> None:
        first, waiting = True, PATIENCE_SECONDS
        while True:
            try:
                taken = await feed.take(waiting)
            except TimeoutError:
                await self._begin(framing.media_type)
                await self._piece(framing.beat)
            except StopAsyncIteration:
                await self._begin(framing.media_type)
                await self._piece(framing.end(first), last=True)
                return
            except Exception as error:
                if not self._started:
                    raise
                await self._piece(
                    framing.error(self._error_body(failure_of(error, call_id=self._id)), first), last=True
                )
                return
            else:
                await self._begin(framing.media_type)
                pieces = []
                for message in taken:
                    pieces.append(framing.item(message, first))
                    first = False
                await self._piece(b"".join(pieces))
            waiting = HEARTBEAT_SECONDS

    async def _send_raw(self, feed: Feed) -> None:
        """Pieces of one file. An error after the first cuts the connection: there is no other way to say it."""
        while True:
            try:
                taken: list[Any] = await feed.take(3600.0)
            except StopAsyncIteration:
                await self._begin("application/octet-stream")
                await self._piece(b"", last=True)
                return
            await self._begin(taken[0].content_type or "application/octet-stream")
            await self._piece(b"".join(message.data for message in taken))

    async def _begin(self, media_type: str) -> None:
        if self._started:
            return
        self._started = True
        headers = [
            (b"content-type", media_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
            # What a task gave may call itself HTML: in a browser it must not act in this server's name.
            (b"content-security-policy", b"sandbox"),
            (b"x-request-id", self._id.encode()),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _piece(self, body: bytes, *, last: bool = False) -> None:
        if body or last:
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    # ------------------------------------------------------------ answers

    async def _fail(self, error: Exception) -> None:
        failure = failure_of(error, if_match="if-match" in self._headers, call_id=self._id)
        headers = [_JSON]
        if failure.retry_after is not None:
            headers.append(("retry-after", failure.retry_after))
        if failure.http == 401:
            headers.append(("www-authenticate", "Bearer"))
        if isinstance(error, Refused) and "allowed" in error.facts:
            headers.append(("allow", error.facts["allowed"]))
        if failure.http == 413:
            headers.append(("connection", "close"))  # the rest of the body is not worth reading
        await self._whole(failure.http, self._error_body(failure), *headers)

    def _error_body(self, failure: Failure) -> bytes:
        status = tree_of(failure.status(), camel=self._camel)
        error = {"code": failure.http, "status": failure.code.name, "message": failure.message}
        return encode_tree({"error": {**error, "details": status["details"]}})

    async def _whole(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self._started = True
        await respond(
            self._send,
            status,
            body,
            (*headers, ("x-request-id", self._id)),
            request_headers=self._headers,
            without_body=self._verb == "HEAD",
        )


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
        guarded: bool = True,
    ) -> None:
        self.app = RestApp(pipeline, Guard(settings.allowed_hosts, enforced=guarded), metrics_text)
        # Head and body are two writes: without this the second waits 40 ms for the client's delayed acknowledgement.
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self._socket = socket
        self._finished = asyncio.Event()
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http="httptools",
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=settings.max_connections,
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
        self._server.should_exit = True
        await self._finished.wait()


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more than this server to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
