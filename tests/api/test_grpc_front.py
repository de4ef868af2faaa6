"""The gRPC side: bytes, deadlines, cancelling, health, reflection, ports that are taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped] # ships no types

from controlplane.api import grpc_front
from controlplane.api.methods import Method
from controlplane.api.pipeline import Pipeline
from controlplane.domain.errors import EtagMismatch, NotFound
from tests.api.conformance import Echo, exists, methods

ECHO = "conformance.v1.Echo"


class Served:
    """The echo behind a real port."""

    def __init__(self, echo: Echo, pipeline: Pipeline, front: grpc_front.GrpcFront) -> None:
        self.echo = echo
        self.pipeline = pipeline
        self.front = front
        self.channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{front.port}")
        self.method: Method = methods()[f"{ECHO}/Get"]

    async def get(self, timeout: float | None = 5, **fields: Any) -> Any:
        """A unary call."""
        call = self.channel.unary_unary(f"/{ECHO}/Get")
        return self.method.output.FromString(
            await call(self.method.input(**fields).SerializeToString(), timeout=timeout)
        )


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    echo = Echo()
    pipeline = Pipeline(methods(), {ECHO: echo}, namespace_exists=exists)
    front = await grpc_front.serve(pipeline, "127.0.0.1:0")
    made = Served(echo, pipeline, front)
    yield made
    await made.channel.close()
    await front.stop(0)


async def test_a_call_goes_through_the_pipeline(served: Served) -> None:
    assert (await served.get(text="a")).text == "a"
    call = served.echo.calls[0]
    assert (call.front, call.namespace_id, call.method) == ("grpc", "default", f"{ECHO}/Get")
    assert call.deadline is not None


async def test_an_error_has_its_details_in_the_trailers(served: Served) -> None:
    served.echo.failure = NotFound.of("thing", "ü", "default")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.get()
    status = rpc_status.from_call(caught.value)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert status.message == "there is no thing 'ü' in namespace 'default'"
    assert [one.type_url.rpartition(".")[2] for one in status.details] == ["ErrorInfo"]


async def test_an_endless_message_does_not_break_the_trailers(served: Served) -> None:
    served.echo.failure = EtagMismatch("ü" * 100_000, facts={f"k{n}": "v" * 1000 for n in range(100)})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.get()
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert rpc_status.from_call(caught.value) is not None


async def test_a_stream_of_answers_arrives_one_by_one(served: Served) -> None:
    call = served.channel.unary_stream(f"/{ECHO}/Watch")(b"")
    output: Any = served.method.output
    assert [output.FromString(raw).version async for raw in call] == [1, 2, 3]


async def test_a_caller_who_cancels_or_runs_out_of_time_cancels_the_handler(served: Served) -> None:
    began, ended = asyncio.Queue[str](), asyncio.Queue[str]()

    async def forever(call: object, request: Any) -> None:
        began.put_nowait(request.text)
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(request.text)

    served.pipeline._handlers[f"{ECHO}/Get"] = forever
    call = served.channel.unary_unary(f"/{ECHO}/Get")(served.method.input(text="cancelled").SerializeToString())
    assert await began.get() == "cancelled"
    call.cancel()
    assert await ended.get() == "cancelled"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.get(text="late", timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await ended.get() == "late"


async def test_health_knows_every_service_and_says_when_it_stops(served: Served) -> None:
    check = served.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for service in ("", ECHO):
        answer = await check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await served.front.not_serving()
    answer = await check(health_pb2.HealthCheckRequest(service=ECHO))
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_our_services_and_itself(served: Served, version: str) -> None:
    ask = served.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=ECHO),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"grpc.reflection.{version}.ServerReflection"),
    ]
    answers = [answer async for answer in ask(iter(questions), timeout=5)]
    assert ECHO in [one.name for one in answers[0].list_services_response.service]
    assert all(answer.file_descriptor_response.file_descriptor_proto for answer in answers[1:])


async def test_two_servers_never_share_a_port(served: Served) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{served.front.port}"):
        await grpc_front.serve(served.pipeline, f"127.0.0.1:{served.front.port}")


async def test_a_call_in_flight_finishes_while_the_server_stops(served: Served) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slowly(call: object, request: Any) -> Any:
        began.set()
        await go.wait()
        return request

    served.pipeline._handlers[f"{ECHO}/Get"] = slowly
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        answer = group.create_task(served.get(text="a"))
        await began.wait()
        group.create_task(served.front.stop(5))
        go.set()
    assert (await answer).text == "a"
