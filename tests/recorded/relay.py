"""A relay between real agents and a real control plane that writes down what they say.

Messages pass as they are, in both directions; a stream can be cut, the control plane kept from being heard,
and an agent can vanish without the control plane noticing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import Message
from pawl.v1 import agent_pb2

from tests.recorded.lines import AGENT_TO_SERVER, SERVER_TO_AGENT, output_of, text_of, wire_of

CONNECT = "/pawl.v1.AgentService/Connect"
APPEND_LOGS = "pawl.v1.AgentService/AppendLogs"
SECONDS = 30.0
# What a machine says of itself is nobody's business.
HOST = "host"
LABELS = {"sys_hostname": HOST, "sys_os_release": "6.1", "sys_memory_mb": "8192"}


class Stream:
    """One agent's stream through the relay."""

    def __init__(self, number: int, upstream: Any) -> None:
        self.number = number
        self.upstream = upstream
        self.muted = False
        self.kept = False
        self.cut = asyncio.Event()


class Relay:
    """Between `async with` and its end, at `address`. `said` is the conversation so far."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.messages: list[tuple[str, Message]] = []
        self.streams: list[Stream] = []
        self.closed: set[str] = set()
        self._news = asyncio.Condition()
        self._channel: grpc.aio.Channel | None = None
        self._port = 0
        self._pumps: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        connect: Any = grpc.stream_stream_rpc_method_handler(self._connect)
        append_logs: Any = grpc.unary_unary_rpc_method_handler(self._append_logs)
        handlers = {"Connect": connect, "AppendLogs": append_logs}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("pawl.v1.AgentService", handlers)])
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)
        for stream in self.streams:
            stream.upstream.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    @property
    def address(self) -> str:
        """Where agents find the control plane."""
        return f"127.0.0.1:{self._port}"

    def to(self, target: str) -> None:
        """Which control plane is behind it."""
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = grpc.aio.insecure_channel(target, options=options)

    async def call(self, method: str, request: Message, fact: Callable[[Any], bool] = lambda _: True) -> Message:
        """A user calls the control plane. An answer about which the fact is not true is not written down."""
        assert self._channel is not None
        unary: Any = self._channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=output_of(method).FromString,
        )
        line = {"from": "user", "call": method, "message": text_of(request)}
        await self._note(line)  # before what it leads to
        answer: Message = await unary(request, timeout=SECONDS)
        if fact(answer):
            line["answer"] = text_of(answer)
        else:
            self.said = [one for one in self.said if one is not line]
        return answer

    async def cuts(self, stream: Stream) -> None:
        """Nothing passes on it any more."""
        stream.cut.set()
        await self.happens("cut", stream=stream.number)

    async def happens(self, what: str, **more: Any) -> None:
        """Something in the world."""
        await self._note({"from": "world", "does": what, **more})

    async def hears(self, by: str, kind: str, fact: Callable[[Any], bool] = lambda _: True, *, after: int = 0) -> Any:
        """Wait until somebody says something of this kind about which this is true."""

        def find() -> Any:
            for who, message in self.messages[after:]:
                if who == by and message.WhichOneof("message") == kind and fact(getattr(message, kind)):
                    return getattr(message, kind)
            return None

        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: find() is not None)
        return find()

    def write(self, file: Path) -> None:
        """Keep the conversation, without hellos that met no control plane."""
        answered = sorted({line["stream"] for line in self.said if line["from"] == "server"})
        numbers = {number: at for at, number in enumerate(answered, 1)}
        kept = [line for line in self.said if "stream" not in line or line["stream"] in numbers]
        lines = [{**line, "stream": numbers[line["stream"]]} if "stream" in line else line for line in kept]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    async def _note(self, line: dict[str, Any], message: Message | None = None) -> None:
        async with self._news:
            self.said.append(line)
            if message is not None:
                self.messages.append((str(line["from"]), message))
            self._news.notify_all()

    async def _heard(self, by: str, stream: Stream, raw: bytes) -> bytes:
        message = (AGENT_TO_SERVER if by == "agent" else SERVER_TO_AGENT).FromString(raw)
        if isinstance(message, agent_pb2.ConnectRequest) and message.HasField("hello"):
            message.hello.hostname = HOST
            message.hello.labels.update(LABELS)
        line = {"from": by, "stream": stream.number, "message": text_of(message), "wire": wire_of(message)}
        await self._note(line, message)
        return message.SerializeToString()

    async def _connect(self, requests: AsyncIterator[bytes], context: Any) -> None:
        first = await anext(aiter(requests), None)
        if first is None or self._channel is None:
            return
        name = agent_pb2.ConnectRequest.FromString(first).hello.agent_id
        if name in self.closed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the wire is cut")
        open_stream: Any = self._channel.stream_stream(CONNECT)
        upstream = open_stream(metadata=tuple(context.invocation_metadata() or ()))
        stream = Stream(len(self.streams) + 1, upstream)
        self.streams.append(stream)
        down = asyncio.ensure_future(self._down(stream, context))  # noqa: TID251 # outlives the agent where it is kept
        up = asyncio.ensure_future(self._up(stream, first, requests))  # noqa: TID251 # ended below
        cut = asyncio.ensure_future(stream.cut.wait())  # noqa: TID251 # ended below
        self._pumps.add(down)
        try:
            await asyncio.wait({down, up, cut}, return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not stream.cut.is_set():
                await asyncio.wait({down, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            cut.cancel()
            if not stream.kept:
                upstream.cancel()
        if stream.cut.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the wire is cut")

    async def _up(self, stream: Stream, first: bytes, requests: AsyncIterator[bytes]) -> None:
        await stream.upstream.write(await self._heard("agent", stream, first))
        async for raw in requests:
            if not stream.cut.is_set():
                await stream.upstream.write(await self._heard("agent", stream, raw))
        if not stream.kept:
            await stream.upstream.done_writing()

    async def _down(self, stream: Stream, context: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            async for raw in stream.upstream:
                if stream.muted or stream.cut.is_set():
                    continue
                raw = await self._heard("server", stream, raw)
                with contextlib.suppress(Exception):  # a kept stream has nobody at its end
                    await context.write(raw)

    async def _append_logs(self, raw: bytes, context: Any) -> bytes:
        request = agent_pb2.AppendLogsRequest.FromString(raw)
        if self._channel is None or request.agent_id in self.closed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the wire is cut")
        assert self._channel is not None
        metadata = tuple(context.invocation_metadata() or ())
        append: Any = self._channel.unary_unary(f"/{APPEND_LOGS}")
        answer = await append(raw, timeout=SECONDS, metadata=metadata)
        told = text_of(agent_pb2.AppendLogsResponse.FromString(answer))
        line = {"from": "agent", "call": APPEND_LOGS, "message": text_of(request), "wire": wire_of(request)}
        await self._note({**line, "answer": told})
        return bytes(answer)
