"""The gRPC front: bytes to messages, the pipeline, messages to bytes; beside it health and reflection.

Handlers are built from the table of methods and decode the bytes themselves (`grpc_wire.py`), so that whatever is wrong
with them is refused with a reason like any other mistake, and not by the library in its own words.

Answers of a stream are written one by one, and each must be taken in within a time: a reader who does not read keeps
one message here and nothing else, and in the end not even that.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from controlplane.api import reflection
from controlplane.api.grpc_wire import MAX_MESSAGE, Door, Limits, decode, encode, metadata_of
from controlplane.api.methods import Kind, Method
from controlplane.api.observed import peer
from controlplane.api.pipeline import Pipeline, call_id
from controlplane.api.status import failure_of
from controlplane.api.within import Within
from controlplane.domain.errors import Invalid, PawlError, Unavailable

# What the library may take to send the last answers, once all calls are answered.
LAST_WORDS_SECONDS = 1.0
_IDLE_LOOK_SECONDS = 0.02

Context = grpc.aio.ServicerContext[Any, Any]
__all__ = ["MAX_MESSAGE", "GrpcFront", "Limits", "serve"]


class GrpcFront:
    """A running gRPC server. `port` is the bound one."""

    def __init__(
        self,
        pipeline: Pipeline,
        server: grpc.aio.Server,
        probes: health.aio.HealthServicer,
        doors: Mapping[str, Door],
        port: int,
    ) -> None:
        self.port = port
        self._pipeline = pipeline
        self._server = server
        self._probes = probes
        self._doors = doors

    async def not_serving(self) -> None:
        """Tell health probes, for good: the first step of shutting down."""
        await self._probes.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Refuse new calls with a reason, end streams, let those in flight finish for so long, then cancel them.

        The library is told last of all: a call that it has not looked at by then it answers with CANCELLED.
        """
        await self.not_serving()
        deadline = time.monotonic() + grace
        await self._pipeline.linger(grace)
        for door in self._doors.values():
            door.close()
        self._pipeline.end_streams()
        while any(door.inside for door in self._doors.values()) and time.monotonic() < deadline:  # noqa: ASYNC110 # once
            await asyncio.sleep(_IDLE_LOOK_SECONDS)
        await self._server.stop(min(grace, LAST_WORDS_SECONDS))


async def serve(
    pipeline: Pipeline,
    address: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    limits: Limits | None = None,
) -> GrpcFront:
    """Bind and start. Raises OSError when the address is taken: two servers must never share a port silently."""
    limits = limits or Limits()
    server = grpc.aio.server(options=limits.options())
    # Whoever hoards calls must not keep the agents out, so each kind has a door of its own.
    doors = {"calls": Door(limits.max_calls, "calls"), "agents": Door(limits.max_calls, "agents' streams")}
    services = sorted({method.service for method in pipeline.methods.values()})
    made = {f"/{name}": _Handler(pipeline, method, limits, doors).made() for name, method in pipeline.methods.items()}
    server.add_generic_rpc_handlers([_Handlers(made)])
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    for service in services:
        await probes.set(service, health_pb2.HealthCheckResponse.SERVING)
    reflection.add_to(server, [*services, health.SERVICE_NAME])
    _check_free(address)
    try:
        port = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address} for gRPC: {error}") from error
    if port == 0:
        raise OSError(f"cannot listen on {address} for gRPC: is another server using it?")
    await server.start()
    return GrpcFront(pipeline, server, probes, doors, port)


def _check_free(address: str) -> None:
    """The library says of a port that cannot be had neither why nor so in one line. Raises OSError, which does."""
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
            probe.listen(1)
        except OSError as error:
            raise OSError(f"cannot listen on {address} for gRPC: {error.strerror}") from error


class _Handlers(grpc.GenericRpcHandler):
    """All methods in one table: of a handler for each service the library asks one after the other, for every call."""

    def __init__(self, made: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._made = made

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """What serves the method of a call; None for one that there is not."""
        return self._made.get(details.method)


class _Handler:
    """One method, as the library calls it."""

    def __init__(self, pipeline: Pipeline, method: Method, limits: Limits, doors: Mapping[str, Door]) -> None:
        self._pipeline = pipeline
        self._method = method
        self._limits = limits
        self._door = doors["agents" if method.kind is Kind.BIDI else "calls"]

    def made(self) -> grpc.RpcMethodHandler[Any, Any]:
        """For the library."""
        make: Mapping[Kind, tuple[Any, Any]] = {
            # One request is read here as well: of a call that brings none the library says nothing, ever.
            Kind.UNARY: (grpc.stream_unary_rpc_method_handler, self._unary),
            Kind.SERVER_STREAM: (grpc.stream_stream_rpc_method_handler, self._server_stream),
            Kind.CLIENT_STREAM: (grpc.stream_unary_rpc_method_handler, self._client_stream),
            Kind.BIDI: (grpc.stream_stream_rpc_method_handler, self._bidi),
        }
        build, handle = make[self._method.kind]
        handler: grpc.RpcMethodHandler[Any, Any] = build(handle)
        return handler

    async def _unary(self, _: object, context: Context) -> bytes:
        call = _Incoming(context, self._pipeline, self._method)
        try:
            raw = await self._only(context)
            with self._door, self._pipeline.intake.hold(len(raw)):
                metadata = call.metadata()
                # Nobody makes us decode who may not call.
                principal = await self._pipeline.check(self._method, metadata, "grpc")
                request, plain = self._decode(raw)
                reply = await self._pipeline.unary(
                    self._method, request, metadata, "grpc", deadline=call.deadline, raw=plain, principal=principal
                )
                answer = encode(self._method, reply.message, self._limits.max_message)
        except Exception as error:
            return call.refuse(error)
        call.close(reply.headers)
        return answer

    async def _client_stream(self, _: object, context: Context) -> bytes:
        call = _Incoming(context, self._pipeline, self._method)
        try:
            with self._door:
                metadata = call.metadata()
                pieces = self._decoded(_without_long_pauses(context, self._limits.patience_seconds))
                reply = await self._pipeline.client_stream(
                    self._method, pieces, metadata, "grpc", deadline=call.deadline
                )
                answer = encode(self._method, reply.message, self._limits.max_message)
        except Exception as error:
            return call.refuse(error)
        call.close(reply.headers)
        return answer

    async def _server_stream(self, _: object, context: Context) -> None:
        call = _Incoming(context, self._pipeline, self._method)
        try:
            raw = await self._only(context)
            with self._door, self._pipeline.intake.hold(len(raw)):
                metadata = call.metadata()
                # Nobody makes us decode who may not call.
                principal = await self._pipeline.check(self._method, metadata, "grpc")
                request, plain = self._decode(raw)
                answers = self._pipeline.stream(
                    self._method, request, metadata, "grpc", deadline=call.deadline, raw=plain, principal=principal
                )
                await self._send(answers, call)
        except Exception as error:
            call.refuse(error)
        else:
            call.close({})

    async def _bidi(self, _: object, context: Context) -> None:
        call = _Incoming(context, self._pipeline, self._method)
        try:
            with self._door:
                metadata = call.metadata()
                requests = self._decoded(_messages(context))
                await self._send(self._pipeline.bidi(self._method, requests, metadata, "grpc"), call)
        except Exception as error:
            call.refuse(error)
        else:
            call.close({})

    async def _send(self, answers: AsyncIterator[Message], call: _Incoming) -> None:
        async with aclosing(answers) as open_answers:  # type: ignore[type-var] # an async generator
            async for answer in open_answers:
                raw = encode(self._method, answer, self._limits.max_message)
                await call.write(raw, self._limits.patience_seconds)

    async def _only(self, context: Context) -> bytes:
        """The request of a call that has one. Raises Invalid where none comes, Unavailable where it does not come in
        time.
        """
        try:
            with Within(self._limits.patience_seconds):
                raw: Any = await context.read()
        except TimeoutError:
            raise Unavailable(
                f"the request did not come within {self._limits.patience_seconds:g} s; nothing was done",
                retry_after_seconds=1.0,
            )
        if raw is grpc.aio.EOF:
            error = Invalid(f"{self._method.name} needs a message, and none came", reason="MALFORMED_REQUEST")
            self._pipeline.undecodable(self._method, "grpc", error)
            raise error
        return bytes(raw)

    def _decode(self, raw: bytes) -> tuple[Message, bytes]:
        try:
            return decode(self._method, raw, self._limits.max_message)
        except PawlError as error:
            self._pipeline.undecodable(self._method, "grpc", error)
            raise

    async def _decoded(self, raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            yield self._decode(raw)[0]


async def _messages(context: Context) -> AsyncIterator[bytes]:
    """What the caller sends. Not through the library's iterator: it and its call hold each other, and a call whose
    messages were not all read stays among those of its connection until the garbage collector comes by.
    """
    while (raw := await context.read()) is not grpc.aio.EOF:
        yield raw


async def _without_long_pauses(context: Context, patience: float) -> AsyncIterator[bytes]:
    """The pieces of an upload. Raises Unavailable when the next one does not come."""
    while True:
        try:
            with Within(patience):
                raw = await context.read()
        except TimeoutError:
            raise Unavailable(f"nothing of this upload came for {patience:g} s; send it again", retry_after_seconds=1.0)
        if raw is grpc.aio.EOF:
            return
        yield raw


class _Incoming:
    """One call as it came in, and how it is answered."""

    def __init__(self, context: Context, pipeline: Pipeline, method: Method) -> None:
        peer.set(context.peer)
        self._context = context
        self._pipeline = pipeline
        self._method = method
        self._if_match = False
        self._id = ""
        left: Any = context.time_remaining()  # None without a deadline, whatever the stubs say
        self.deadline = None if left is None else time.monotonic() + left

    def metadata(self) -> dict[str, str]:
        """What the pipeline reads of it. Raises Invalid."""
        pairs: Any = self._context.invocation_metadata()
        found = metadata_of(pairs)
        self._if_match = "if-match" in found
        found["x-request-id"] = self._id = call_id(found)
        return found

    async def write(self, raw: bytes, patience: float) -> None:
        """One answer of a stream. Raises Unavailable when nobody takes it in."""
        try:
            with Within(patience):
                await self._context.write(raw)
        except TimeoutError:
            raise Unavailable(
                f"nothing of this stream was read for {patience:g} s; open it again from the last answer",
                retry_after_seconds=1.0,
            )
        except grpc.aio.InternalError:
            # The connection broke while we wrote: the call is over, and nobody is there to be told.
            raise asyncio.CancelledError from None

    def close(self, headers: Mapping[str, str]) -> None:
        """The last metadata of a call that succeeded."""
        self._context.set_trailing_metadata((("x-request-id", self._id), *headers.items()))

    def refuse(self, error: Exception) -> bytes:
        """Let the call end with this error, once its handler returns this, which nobody reads.

        Not by the library's `abort`: that keeps what it raises where what it raises leads back to, and only the garbage
        collector ends such a ring. Until then the call counts among those of its connection, which is refused further
        ones when there are too many.
        """
        self._pipeline.turned_away("grpc", error, self._id, self._method.name)
        failure = failure_of(error, if_match=self._if_match, call_id=self._id)
        trailers: list[tuple[str, Any]] = [("grpc-status-details-bin", failure.status().SerializeToString())]
        if failure.retry_after_seconds is not None:
            trailers.append(("grpc-retry-pushback-ms", str(int(failure.retry_after_seconds * 1000))))
        if self._id:
            trailers.append(("x-request-id", self._id))
        self._context.set_code(failure.code)
        self._context.set_details(failure.message)
        self._context.set_trailing_metadata(tuple(trailers))
        return b""
