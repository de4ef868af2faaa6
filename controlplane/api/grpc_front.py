"""The gRPC front: bytes to messages, the pipeline, messages to bytes; beside it health and reflection.

Handlers are built from the table of methods and decode the bytes themselves, so that bytes which are no message are
INVALID_ARGUMENT with a reason like any other mistake, and not an INTERNAL of the library.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from controlplane.api.methods import Kind, Method
from controlplane.api.pipeline import Pipeline
from controlplane.api.status import failure_of
from controlplane.domain.errors import Invalid

MAX_MESSAGE = 10 * 1024 * 1024
_ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"

Context = grpc.aio.ServicerContext[Any, Any]


class GrpcFront:
    """A running gRPC server. `port` is the bound one."""

    def __init__(
        self, pipeline: Pipeline, server: grpc.aio.Server, probes: health.aio.HealthServicer, port: int
    ) -> None:
        self.port = port
        self._pipeline = pipeline
        self._server = server
        self._probes = probes

    async def not_serving(self) -> None:
        """Tell health probes, for good: the first step of shutting down."""
        await self._probes.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, end streams, let those in flight finish for so long, then cancel them."""
        await self.not_serving()
        await self._pipeline.linger(grace)
        self._pipeline.end_streams()
        await self._server.stop(grace)


async def serve(
    pipeline: Pipeline,
    address: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    max_message: int = MAX_MESSAGE,
) -> GrpcFront:
    """Bind and start. Raises OSError when the address is taken: two servers must never share a port silently."""
    server = grpc.aio.server(options=_options(max_message))
    services = sorted({method.service for method in pipeline.methods.values()})
    for service in services:
        own = {name.partition("/")[2]: m for name, m in pipeline.methods.items() if m.service == service}
        handlers = {name: _handler(pipeline, method) for name, method in own.items()}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    for service in services:
        await probes.set(service, health_pb2.HealthCheckResponse.SERVING)
    _add_reflection(server, services)
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
    return GrpcFront(pipeline, server, probes, port)


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


def _options(max_message: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _handler(pipeline: Pipeline, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
    make = {
        Kind.UNARY: (grpc.unary_unary_rpc_method_handler, _unary),
        Kind.SERVER_STREAM: (grpc.unary_stream_rpc_method_handler, _server_stream),
        Kind.CLIENT_STREAM: (grpc.stream_unary_rpc_method_handler, _client_stream),
        Kind.BIDI: (grpc.stream_stream_rpc_method_handler, _bidi),
    }
    build: Any
    adapt: Any
    build, adapt = make[method.kind]
    handler: grpc.RpcMethodHandler[Any, Any] = build(adapt(pipeline, method))
    return handler


def _unary(pipeline: Pipeline, method: Method) -> Any:
    async def handle(raw: bytes, context: Context) -> bytes:
        metadata = _metadata(context)
        try:
            request = _decode(pipeline, method, raw)
            reply = await pipeline.unary(method, request, metadata, "grpc", deadline=_deadline(context), raw=raw)
        except Exception as error:
            await _abort(context, error, metadata)
        if reply.headers:
            context.set_trailing_metadata(tuple(reply.headers.items()))
        return reply.message.SerializeToString()

    return handle


def _server_stream(pipeline: Pipeline, method: Method) -> Any:
    async def handle(raw: bytes, context: Context) -> AsyncIterator[bytes]:
        metadata = _metadata(context)
        try:
            request = _decode(pipeline, method, raw)
            answers = pipeline.stream(method, request, metadata, "grpc", deadline=_deadline(context), raw=raw)
            async with aclosing(answers) as open_answers:  # type: ignore[type-var] # an async generator
                async for answer in open_answers:
                    yield answer.SerializeToString()
        except Exception as error:
            await _abort(context, error, metadata)

    return handle


def _client_stream(pipeline: Pipeline, method: Method) -> Any:
    async def handle(raws: AsyncIterator[bytes], context: Context) -> bytes:
        metadata = _metadata(context)
        try:
            requests = _decoded(pipeline, method, raws)
            reply = await pipeline.client_stream(method, requests, metadata, "grpc", deadline=_deadline(context))
        except Exception as error:
            await _abort(context, error, metadata)
        return reply.message.SerializeToString()

    return handle


def _bidi(pipeline: Pipeline, method: Method) -> Any:
    async def handle(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        metadata = _metadata(context)
        try:
            answers = pipeline.bidi(method, _decoded(pipeline, method, raws), metadata, "grpc")
            async with aclosing(answers) as open_answers:  # type: ignore[type-var] # an async generator
                async for answer in open_answers:
                    yield answer.SerializeToString()
        except Exception as error:
            await _abort(context, error, metadata)

    return handle


def _decode(pipeline: Pipeline, method: Method, raw: bytes) -> Message:
    try:
        return method.input.FromString(raw)
    except DecodeError:
        name = method.input.DESCRIPTOR.full_name
        error = Invalid(f"not a {name}: the bytes do not decode", reason="MALFORMED_REQUEST", facts={"type": name})
        pipeline.undecodable(method, "grpc", error)
        raise error


async def _decoded(pipeline: Pipeline, method: Method, raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for raw in raws:
        yield _decode(pipeline, method, raw)


def _metadata(context: Context) -> Mapping[str, str]:
    pairs: Any = context.invocation_metadata()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _deadline(context: Context) -> float | None:
    left: Any = context.time_remaining()  # None without a deadline, whatever the stubs say
    return None if left is None else time.monotonic() + left


async def _abort(context: Context, error: Exception, metadata: Mapping[str, str]) -> NoReturn:
    """End the call with this error."""
    failure = failure_of(error, if_match="if-match" in metadata, call_id=metadata.get("x-request-id", ""))
    trailers: list[tuple[str, Any]] = [("grpc-status-details-bin", failure.status().SerializeToString())]
    if failure.retry_after_seconds is not None:
        trailers.append(("grpc-retry-pushback-ms", str(int(failure.retry_after_seconds * 1000))))
    await context.abort(failure.code, failure.message, tuple(trailers))
    raise AssertionError("abort raises")


# ---------------------------------------------------------------- reflection


def _add_reflection(server: grpc.aio.Server, services: list[str]) -> None:
    """v1alpha is what the library serves; v1 has the same messages under another package name."""
    _declare_reflection_v1()
    names = [*services, health.SERVICE_NAME, f"{_ALPHA}.ServerReflection", f"{_V1}.ServerReflection"]
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call] # generated without types
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    v1 = grpc.method_handlers_generic_handler(f"{_V1}.ServerReflection", {"ServerReflectionInfo": handler})
    server.add_generic_rpc_handlers([v1])


def _declare_reflection_v1() -> None:
    """Put the v1 file, made of the v1alpha one, into the pool: strict clients describe the service they speak to."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName("grpc/reflection/v1/reflection.proto")
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1
        for message in file.message_type:
            for field in message.field:
                if field.type_name:
                    field.type_name = field.type_name.replace(_ALPHA, _V1)
        for method in file.service[0].method:
            method.input_type = method.input_type.replace(_ALPHA, _V1)
            method.output_type = method.output_type.replace(_ALPHA, _V1)
        pool.Add(file)
