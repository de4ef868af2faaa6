"""What a connection may send that is no request, and what it is told: over real sockets and the real parser."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from controlplane.api import http_wire
from controlplane.api.rest_front import RestFront
from controlplane.domain.errors import Unavailable
from tests.api.conformance import Front


@dataclass
class Settings:
    """Of the front."""

    allowed_hosts: tuple[str, ...] = ()
    max_connections: int = 100


@dataclass
class Answer:
    """What came back over a connection: status, headers in lower case, body; `closed` when the server hung up."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


class Wire:
    """A server before an echo, and raw connections to it."""

    def __init__(self, port: int, front: Front) -> None:
        self.port = port
        self.front = front
        self.echo = front.echo

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, *pieces: bytes) -> Answer:
        """Send these bytes and read one answer."""
        async with asyncio.timeout(20), self.connection() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await read(reader)


async def read(reader: asyncio.StreamReader) -> Answer:
    """One answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split(" ")[1]), headers, body)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Front()
    await made.client.aclose()
    listener = socket.create_server(("127.0.0.1", 0))
    front = RestFront(made.pipeline, Settings(), metrics_text=made.metrics_text, socket=listener)
    async with asyncio.TaskGroup() as group:
        group.create_task(front.serve())
        yield Wire(listener.getsockname()[1], made)
        await front.stop(0)


GET = b"GET /v1/things/a HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,  # a client that speaks TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # one that speaks HTTP/2
        b"BREW /v1/things/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/things/a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/things/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/things/a HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /v1/things/a HTTP/1.1\r\n\r\n",
        GET + b"Host: other\r\n\r\n",
        GET + b"A B: c\r\n\r\n",
        GET + b"A: b\x00c\r\n\r\n",
        GET + b"Content-Length: -1\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
async def test_what_is_no_http_is_answered_as_every_other_error_is(wire: Wire, sent: bytes) -> None:
    answer = await wire.say(sent)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert (answer.error["code"], answer.error["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.error["details"][0]["reason"] == "MALFORMED_REQUEST"
    assert answer.headers["x-request-id"]
    assert answer.headers["connection"] == "close"
    assert not wire.echo.asked


@pytest.mark.parametrize("ended", [True, False])
async def test_a_head_beyond_its_cap_is_431(wire: Wire, ended: bool) -> None:
    long = GET + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 1000) for number in range(70))
    pieces = [long, b"\r\n"] if ended else [long, *[b"z: " + b"y" * 30_000] * 10]
    try:
        answer = await wire.say(*pieces)
    except ConnectionResetError:
        assert not ended  # closed while we still wrote: the answer may be lost, the memory is not
    else:
        assert (answer.status, answer.error["status"]) == (431, "RESOURCE_EXHAUSTED")
    assert not wire.echo.asked


async def test_a_long_address_is_431_too(wire: Wire) -> None:
    answer = await wire.say(b"GET /v1/things/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 431


async def test_trailers_have_a_cap_as_well(wire: Wire) -> None:
    chunked = b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    try:
        answer = await wire.say(chunked, *[b"z: " + b"y" * 30_000] * 20)
    except ConnectionResetError:
        pass
    else:
        assert answer.status == 431


async def test_a_head_that_does_not_come_is_not_waited_for(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_wire, "HEAD_SECONDS", 0.05)
    answer = await wire.say(GET)
    assert (answer.status, answer.error["status"]) == (408, "DEADLINE_EXCEEDED")


async def test_garbage_after_a_request_does_not_spoil_its_answer(wire: Wire) -> None:
    async with asyncio.timeout(20), wire.connection() as (reader, writer):
        writer.write(GET + b"\r\n")
        assert (await read(reader)).status == 200
        writer.write(b"garbage\r\n\r\n")
        assert (await read(reader)).status == 400
        assert await reader.read() == b""


async def test_requests_may_follow_each_other_without_waiting(wire: Wire) -> None:
    async with asyncio.timeout(20), wire.connection() as (reader, writer):
        writer.write((GET + b"\r\n") * 3)
        assert [(await read(reader)).status for _ in range(3)] == [200] * 3


async def test_an_upgrade_that_is_not_offered_is_answered_over_http(wire: Wire) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    body = b'{"i32": 1}'
    post = b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n" + upgrade + b"\r\n" + body
    async with asyncio.timeout(20), wire.connection() as (reader, writer):
        for pieces in ([post + GET + b"\r\n"], [post[:-5], post[-5:], GET, b"\r\n"], [post[:-10], body, GET + b"\r\n"]):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            assert json.loads((await read(reader)).body)["i32"] == 1
            assert (await read(reader)).status == 200


async def test_a_proxy_is_not_what_this_is(wire: Wire) -> None:
    answer = await wire.say(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert (answer.status, answer.error["status"]) == (501, "UNIMPLEMENTED")


async def test_a_body_is_asked_for_only_when_it_will_be_read(wire: Wire) -> None:
    head = b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with asyncio.timeout(20), wire.connection() as (reader, writer):
        writer.write(head % 2)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await read(reader)).status == 200
    assert (await wire.say(head % (11 << 20))).status == 413


async def test_a_body_that_is_too_large_is_refused_by_its_declared_size_and_by_what_comes(wire: Wire) -> None:
    head = b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\n"
    piece = b" " * (1 << 20)
    declared = await wire.say(head + b"Content-Length: %d\r\n\r\n" % (11 << 20), *[piece] * 11)
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    undeclared = await wire.say(head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 11, b"0\r\n\r\n")
    for answer in (declared, undeclared):
        assert (answer.status, answer.error["details"][0]["reason"]) == (413, "TOO_LARGE")


async def test_an_absolute_target_and_a_fragment_mean_their_path(wire: Wire) -> None:
    answer = await wire.say(b"GET http://localhost/v1/things/a?i32=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 200
    assert wire.echo.asked[-1].text == "a"


@pytest.mark.parametrize("target", [b"http://localhost", b"http://localhost?i32=1", b"http://localhost/"])
async def test_an_absolute_target_without_a_path_is_the_root(wire: Wire, target: bytes) -> None:
    root = await wire.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await wire.say(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
    assert (answer.status, answer.body) == (root.status, root.body)


@pytest.mark.parametrize("target", [b"http://elsewhere.example/v1/things/a", b"http://localhost@elsewhere.example:80/"])
async def test_the_host_of_an_absolute_target_wins_over_the_header(wire: Wire, target: bytes) -> None:
    answer = await wire.say(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
    assert (answer.status, answer.error["details"][0]["reason"]) == (403, "FOREIGN_ORIGIN")


async def test_a_transfer_encoding_that_is_not_read_is_501_and_not_taken_for_a_body(wire: Wire) -> None:
    head = b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    answer = await wire.say(head + b"2\r\n{}\r\n0\r\n\r\n")
    assert (answer.status, answer.error["status"], wire.echo.asked) == (501, "UNIMPLEMENTED", [])


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream", "application/json"])
async def test_a_client_of_http_1_0_gets_a_stream_without_chunks(wire: Wire, accept: str) -> None:
    async def bytes_of(version: str) -> bytes:
        async with asyncio.timeout(20), wire.connection() as (reader, writer):
            head = f"GET /v1/watch HTTP/{version}\r\nHost: localhost\r\nAccept: {accept}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n")
            return await reader.read()

    head, _, body = (await bytes_of("1.0")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    chunks = (await bytes_of("1.1")).partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert body == b"".join(chunks[1::2])


async def test_a_client_of_http_1_0_is_told_by_a_reset_that_a_file_broke_off(wire: Wire) -> None:
    wire.echo.failure = Unavailable("broken")
    async with asyncio.timeout(20), wire.connection() as (reader, writer):
        writer.write(b"GET /v1/download HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Get", GET + b"\r\n"),
        ("Post", b"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
        ("Watch", b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"),
    ],
)
async def test_a_connection_that_is_closed_cancels_its_call(wire: Wire, name: str, sent: bytes) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def unary(call: object, request: object) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def stream(call: object, request: object) -> AsyncIterator[object]:
        await unary(call, request)
        yield request

    wire.front.pipeline._handlers[f"conformance.v1.Echo/{name}"] = stream if name == "Watch" else unary
    async with asyncio.timeout(20):
        async with wire.connection() as (_, writer):
            writer.write(sent)
            await began.wait()
        await cancelled.wait()


async def test_connections_beyond_the_limit_are_refused_and_those_that_came_in_time_are_not(wire: Wire) -> None:
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(wire.connection())
        for _ in range(Settings.max_connections):
            await stack.enter_async_context(wire.connection())
        late = await wire.say(GET + b"\r\n")
        assert (late.status, late.headers["connection"], late.headers["retry-after"]) == (503, "close", "1")
        probe = await wire.say(b"GET /health HTTP/1.1\r\nHost: probe\r\n\r\n")
        assert probe.status == 404, "as the echo answers, who has no health"
        writer.write(GET + b"\r\n")
        assert (await read(reader)).status == 200
