"""The gRPC side: bytes, sizes, metadata, deadlines, cancelling, slow readers, limits, health, reflection, ports."""

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status  # type: ignore[import-untyped] # ships no types
from pawl.errors import from_call

from controlplane.api import grpc_front
from controlplane.api.grpc_wire import MAX_METADATA, READ, Limits
from controlplane.api.http import metadata_of
from controlplane.api.methods import Method
from controlplane.api.pipeline import Pipeline
from controlplane.domain.errors import EtagMismatch, NotFound
from tests.api.conformance import Echo, exists, methods
from tests.api.raw_http2 import ACK, PING, Raw, connected

ECHO = "conformance.v1.Echo"
GET, WATCH, COLLECT = f"/{ECHO}/Get", f"/{ECHO}/Watch", f"/{ECHO}/Collect"
DEADLINE = 10.0
MIB = 1 << 20
OK, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 0, 2, 3, 4, 8, 12, 14


class Served:
    """The echo behind a real port."""

    def __init__(self, echo: Echo, pipeline: Pipeline, front: grpc_front.GrpcFront) -> None:
        self.echo = echo
        self.pipeline = pipeline
        self.front = front
        self.channel: Any = grpc.aio.insecure_channel(f"127.0.0.1:{front.port}")
        self.method: Method = methods()[f"{ECHO}/Get"]

    def answer_with(self, message: Any) -> None:
        """What every call is answered with, the stream after a first answer."""

        async def one(call: object, request: Any) -> Any:
            return message

        async def many(call: object, request: Any) -> AsyncIterator[Any]:
            yield type(message)(version=1)
            yield message

        self.pipeline._handlers.update({f"{ECHO}/Get": one, f"{ECHO}/Watch": many, f"{ECHO}/Collect": one})

    async def get(self, timeout: float | None = 5, **fields: Any) -> Any:
        """A unary call."""
        call = self.channel.unary_unary(f"/{ECHO}/Get")
        return self.method.output.FromString(
            await call(self.method.input(**fields).SerializeToString(), timeout=timeout)
        )


@asynccontextmanager
async def serving(table: Mapping[str, Method] | None = None, **limits: Any) -> AsyncIterator[Served]:
    """A front with these limits."""
    echo = Echo()
    pipeline = Pipeline(table or methods(), {ECHO: echo}, namespace_exists=exists)
    front = await grpc_front.serve(pipeline, "127.0.0.1:0", limits=Limits(**limits))
    made = Served(echo, pipeline, front)
    try:
        yield made
    finally:
        await made.channel.close()
        await front.stop(0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A front as it is without settings."""
    async with serving() as made:
        yield made


def refusal(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    """Code, and the reason that programs read."""
    return error.code().name, from_call(error).reason


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact of other tasks."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 # it has no event
            await asyncio.sleep(0.01)


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
        await served.get(text="late", timeout=0.5)
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


# --- bytes


async def outcome(served: Served, kind: str, *bodies: bytes, **options: Any) -> tuple[str, str]:
    """What a bare client sees of a call with these bytes."""
    channel = served.channel
    try:
        if kind == "unary":
            await channel.unary_unary(GET)(bodies[0], timeout=DEADLINE, **options)
        elif kind == "answers":
            [_ async for _ in channel.unary_stream(WATCH)(bodies[0], timeout=DEADLINE, **options)]
        else:
            await channel.stream_unary(COLLECT)(iter(bodies), timeout=DEADLINE, **options)
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    return "OK", ""


KINDS = ["unary", "answers", "upload"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", gzip.compress(b"a", mtime=0)[:-1], b"\x1f\x8b"]
)
async def test_what_is_no_message_is_refused_with_a_reason(served: Served, kind: str, raw: bytes) -> None:
    assert await outcome(served, kind, raw) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert served.echo.calls == []


@pytest.mark.parametrize("path", [GET, WATCH, COLLECT])
async def test_a_call_that_brings_no_message_is_refused_and_does_not_hang(served: Served, path: str) -> None:
    call = served.channel.stream_stream(path)(iter(()), timeout=DEADLINE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [_ async for _ in call]
    assert refusal(caught.value) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


@pytest.mark.parametrize("path", [GET, WATCH])
async def test_a_request_that_does_not_come_is_not_waited_for(path: str) -> None:
    async with serving(patience_seconds=0.2) as served, connected(served.front.port) as raw, asyncio.timeout(DEADLINE):
        answer = await raw.answer(raw.open(path))
        assert (answer.code, answer.reason) == (UNAVAILABLE, "UNAVAILABLE")
        assert served.echo.calls == []


async def test_what_is_no_message_in_the_middle_of_an_upload_ends_it(served: Served) -> None:
    good = served.method.input(text="a").SerializeToString()
    assert await outcome(served, "upload", good, b"\xff\xff\xff", good) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert len(served.echo.calls) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_that_have_ended_do_not_count_among_those_of_their_connection_until_garbage_is_collected(
    kind: str,
) -> None:
    async with serving(max_calls=20) as served:
        gc.disable()
        try:
            for _ in range(60):
                served.echo.failure = None
                assert await outcome(served, kind, b"") == ("OK", "")
                assert await outcome(served, kind, b"\xff\xff\xff") == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
                served.echo.failure = NotFound.of("thing", "x", "default")
                assert await outcome(served, kind, b"") == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
        finally:
            gc.enable()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_may_have_the_limit_and_no_byte_more(kind: str) -> None:
    async with serving(max_message=MIB) as served:
        overhead = len(served.method.input(text="x" * MIB).SerializeToString()) - MIB
        fits, large = (served.method.input(text="x" * (MIB - overhead + more)).SerializeToString() for more in (0, 1))
        if kind != "upload":  # its answer is larger than what was sent
            served.answer_with(served.method.output())
            assert await outcome(served, kind, fits) == ("OK", "")
        assert await outcome(served, kind, large) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
        # Beyond twice the limit it is not even read, and the library has no reasons.
        assert await outcome(served, kind, large * 3) == ("RESOURCE_EXHAUSTED", "")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_too_large_is_an_error_with_a_reason(kind: str) -> None:
    async with serving(max_message=MIB) as served:
        large = served.method.output(text="x" * (MIB + 1))
        served.answer_with(large)
        assert await outcome(served, kind, b"") == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


async def test_what_was_done_is_told_however_long_the_telling_is() -> None:
    name = f"{ECHO}/Get"
    changing = {**methods(), name: replace(methods()[name], mutates=True)}
    async with serving(changing, max_message=MIB) as served:
        served.answer_with(served.method.output(text="x" * (MIB + 1)))
        assert await outcome(served, "unary", b"") == ("OK", "")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_compressed_message_is_inflated_up_to_the_limit(kind: str) -> None:
    async with serving(max_message=MIB) as served:
        served.channel = grpc.aio.insecure_channel(f"127.0.0.1:{served.front.port}", compression=grpc.Compression.Gzip)
        small = served.method.input(text="x" * 1000).SerializeToString()
        bomb = served.method.input(text="x" * 20 * MIB).SerializeToString()
        assert await outcome(served, kind, small) == ("OK", "")
        assert await outcome(served, kind, bomb) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
        assert len(served.echo.asked) == 1


async def test_two_zips_behind_each_other_are_no_message(served: Served) -> None:
    assert await outcome(served, "unary", gzip.compress(b"") * 2) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


# --- what no library sends


@pytest.fixture
async def raw(served: Served) -> AsyncIterator[Raw]:
    """A connection on which nothing is checked."""
    async with connected(served.front.port) as made:
        yield made


WIRE: dict[str, tuple[list[tuple[bytes, bytes]], int, str]] = {
    "nothing special": ([], OK, ""),
    "what is not ours may be anything": ([(b"x-name", "ü".encode()), (b"x-more", b"a\x00b")], OK, ""),
    "ours in UTF-8": ([(b"pawl-namespace", "ü".encode())], INVALID_ARGUMENT, "INVALID_FIELD"),
    "ours with a control character": ([(b"idempotency-key", b"a\x01b")], INVALID_ARGUMENT, "INVALID_FIELD"),
    "ours with a line break": ([(b"authorization", b"a\r\nb")], INVALID_ARGUMENT, "INVALID_FIELD"),
    "ours twice": ([(b"pawl-namespace", b"default")] * 2, INVALID_ARGUMENT, "INVALID_FIELD"),
    "too long": ([(b"x-name", b"a" * MAX_METADATA)], RESOURCE_EXHAUSTED, "TOO_LARGE"),
    "far too long": ([(b"x-name", b"a" * 100_000)], RESOURCE_EXHAUSTED, ""),
    "too many": ([(b"x-%d" % number, b"a") for number in range(500)], RESOURCE_EXHAUSTED, "TOO_LARGE"),
    "far too many": ([(b"x-%d" % number, b"a") for number in range(5000)], RESOURCE_EXHAUSTED, ""),
    "binary": ([(b"x-name-bin", b"AAH/")], OK, ""),
    "no time at all": ([(b"grpc-timeout", b"0n")], DEADLINE_EXCEEDED, "|DEADLINE_EXCEEDED"),  # the library's or ours
    "more time than there is": ([(b"grpc-timeout", b"99999999H")], OK, ""),
    "an encoding that is not taken": ([(b"grpc-encoding", b"deflate")], UNIMPLEMENTED, ""),
}


@pytest.mark.parametrize("what", WIRE)
async def test_metadata_is_taken_or_refused_with_a_code(served: Served, raw: Raw, what: str) -> None:
    extra, code, reason = WIRE[what]
    answer = await raw.call(GET, extra=extra)
    assert answer.code == code, answer.trailers
    assert answer.reason in reason.split("|"), answer.trailers
    assert len(served.echo.asked) == (code == OK)
    assert (await raw.call(GET)).code == OK, "the connection goes on"


RESET: dict[str, list[tuple[bytes, bytes]]] = {
    "a name in capitals": [(b"X-Name", b"a")],
    "no name": [(b"", b"a")],
    "a name with a space": [(b"a b", b"a")],
    "binary that is not base64": [(b"x-name-bin", b"*****")],
    "no number in the timeout": [(b"grpc-timeout", b"soon")],
    "a negative timeout": [(b"grpc-timeout", b"-1S")],
    "a timeout without its unit": [(b"grpc-timeout", b"1")],
    "a timeout with a fraction": [(b"grpc-timeout", b"1.5S")],
    "an encoding that nobody knows": [(b"grpc-encoding", b"br")],
}


@pytest.mark.parametrize("what", RESET)
async def test_what_is_no_metadata_ends_its_call_and_no_other(served: Served, raw: Raw, what: str) -> None:
    answer = await raw.call(GET, extra=RESET[what])
    assert answer.reset == 2, "INTERNAL_ERROR"
    assert served.echo.asked == []
    assert (await raw.call(GET)).code == OK


async def test_whoever_has_not_taken_the_settings_is_held_to_our_own_limit(served: Served) -> None:
    async with connected(served.front.port, greeting=False) as raw:
        answer = await raw.call(GET, extra=[(b"x-name", b"a" * 100_000)])
        assert (answer.code, answer.reason) == (RESOURCE_EXHAUSTED, "TOO_LARGE")
    assert served.echo.asked == []


def test_both_fronts_read_the_same_metadata() -> None:
    headers = dict.fromkeys((*READ, "x-anything", "cookie"), "a")
    assert set(metadata_of(headers)) == READ


# --- time


async def test_a_stream_and_an_upload_end_at_their_deadline(served: Served) -> None:
    async def forever(call: object, request: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()

    served.pipeline._handlers[f"{ECHO}/Watch"] = forever

    async def endless() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.Event().wait()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [_ async for _ in served.channel.unary_stream(WATCH)(b"", timeout=0.2)]
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.channel.stream_unary(COLLECT)(endless(), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not any(door.inside for door in served.front._doors.values()))


@pytest.mark.parametrize("kind", ["answers", "upload"])
async def test_whoever_cancels_a_stream_ends_the_work_on_it(served: Served, kind: str) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def watched(call: object, request: Any) -> AsyncIterator[Any]:
        began.set()
        try:
            yield request
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def collected(call: object, requests: AsyncIterator[Any]) -> Any:
        began.set()
        try:
            return [one async for one in requests]
        finally:
            ended.set()

    async def endless() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.Event().wait()

    served.pipeline._handlers.update({f"{ECHO}/Watch": watched, f"{ECHO}/Collect": collected})
    if kind == "answers":
        call = served.channel.unary_stream(WATCH)(b"")
    else:
        call = served.channel.stream_unary(COLLECT)(endless())
    async with asyncio.timeout(DEADLINE):
        await began.wait()
        call.cancel()
        await ended.wait()
    await until(lambda: not served.front._doors["calls"].inside)


async def test_a_reader_who_does_not_read_is_left_after_a_time_and_holds_one_message_until_then() -> None:
    async with serving(patience_seconds=0.3) as served:
        made = 0
        ended = asyncio.Event()

        async def watched(call: object, request: Any) -> AsyncIterator[Any]:
            nonlocal made
            try:
                while True:
                    made += 1
                    yield type(request)(text="x" * 64_000)
            finally:
                ended.set()

        served.pipeline._handlers[f"{ECHO}/Watch"] = watched
        async with connected(served.front.port) as raw, asyncio.timeout(DEADLINE):
            stream = raw.open(WATCH)
            raw.message(stream)
            await ended.wait()  # nothing was read, and no window was ever opened
            assert made <= 4, "one that fits the window, one in the library's hands, one in ours"
            raw.window(stream, MIB)
            raw.window(0, MIB)
            answer = await raw.answer(stream)
        assert (answer.code, answer.reason) == (UNAVAILABLE, "UNAVAILABLE")
        assert "nothing of this stream was read for 0.3 s" in answer.trailers["grpc-message"]


async def test_an_upload_that_stands_still_is_ended() -> None:
    async with serving(patience_seconds=0.2) as served:

        async def stalled() -> AsyncIterator[bytes]:
            yield b""
            await asyncio.Event().wait()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.channel.stream_unary(COLLECT)(stalled(), timeout=DEADLINE)
        assert refusal(caught.value) == ("UNAVAILABLE", "UNAVAILABLE")
        assert "nothing of this upload came for 0.2 s" in (caught.value.details() or "")


# --- how many


async def test_calls_beyond_the_limit_are_refused_and_the_place_is_free_again() -> None:
    async with serving(max_calls=2) as served:
        go = asyncio.Event()

        async def waiting(call: object, request: Any) -> Any:
            await go.wait()
            return request

        served.pipeline._handlers[f"{ECHO}/Get"] = waiting
        async with connected(served.front.port) as one, connected(served.front.port) as other:
            held = [(raw, raw.open(GET)) for raw in (one, other)]
            for raw, stream in held:
                raw.message(stream)
            await until(lambda: served.front._doors["calls"].inside == 2)
            assert await outcome(served, "unary", b"") == ("RESOURCE_EXHAUSTED", "OVERLOADED")
            go.set()
            assert [(await raw.answer(stream)).code for raw, stream in held] == [OK, OK]
        assert await outcome(served, "unary", b"") == ("OK", "")


async def test_connections_beyond_the_limit_are_closed_and_the_others_go_on() -> None:
    async with serving(max_connections=2) as served, connected(served.front.port) as one, connected(served.front.port):
        async with connected(served.front.port, greeting=False) as third:
            assert await third.over()
        assert (await one.call(GET)).code == OK


# --- connections


async def test_an_old_connection_is_told_to_go_and_its_calls_finish() -> None:
    async with serving(max_connection_age_seconds=0.3, max_connection_age_grace_seconds=DEADLINE) as served:
        began, go = asyncio.Event(), asyncio.Event()

        async def slowly(call: object, request: Any) -> Any:
            began.set()
            await go.wait()
            return request

        served.pipeline._handlers[f"{ECHO}/Get"] = slowly
        async with connected(served.front.port) as raw, asyncio.timeout(DEADLINE):
            stream = raw.open(GET)
            raw.message(stream)
            await began.wait()
            while raw.goaway is None:
                frame = await raw.frame()
                assert frame is not None
            assert b"max_age" in raw.goaway
            go.set()
            # The first GOAWAY only announces; a PING tells the server that it has arrived.
            assert (await raw.answer(stream)).code == OK


async def test_a_client_that_pings_too_often_is_cut_off_and_others_are_not(served: Served) -> None:
    async with connected(served.front.port) as raw, connected(served.front.port) as calm:
        async with asyncio.timeout(DEADLINE):
            raw.ping()
            while (frame := await raw.frame()) is not None:
                if frame.kind == PING and frame.flags & ACK:
                    raw.ping()
        assert raw.goaway == b"too_many_pings"
        assert (await calm.call(GET)).code == OK


async def test_a_client_that_does_not_answer_is_asked_and_then_left() -> None:
    async with (
        serving(keepalive_seconds=1.0, keepalive_timeout_seconds=1.0) as served,
        connected(served.front.port) as raw,
    ):
        began, ended = asyncio.Event(), asyncio.Event()

        async def forever(call: object, request: Any) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        served.pipeline._handlers[f"{ECHO}/Get"] = forever
        raw.message(raw.open(GET))
        async with asyncio.timeout(DEADLINE):
            await began.wait()
            await ended.wait()  # its pings were not answered, so nobody waits for what the call would bring


# --- health and reflection, as their own clients see them


async def test_whoever_watches_health_is_told_when_the_server_stops(served: Served) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service=service)) for service in ("", ECHO)]
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
    states = health_pb2.HealthCheckResponse
    async with asyncio.timeout(DEADLINE):
        assert [(await watch.read()).status for watch in watches] == [states.SERVING] * 2
        assert (await unknown.read()).status == states.SERVICE_UNKNOWN
        await served.front.not_serving()
        assert [(await watch.read()).status for watch in watches] == [states.NOT_SERVING] * 2


async def test_health_of_what_there_is_not_is_not_found(served: Served) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_client_without_the_contract_calls_by_reflection(served: Served) -> None:
    def ask() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{served.front.port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert {ECHO, "grpc.health.v1.Health"} < set(database.get_services())
            pool = DescriptorPool(database)
            method = pool.FindServiceByName(ECHO).FindMethodByName("Get")
            kind = GetMessageClass(method.input_type)
            call: Any = channel.unary_unary(GET)
            answer = call(kind(text="a").SerializeToString(), timeout=DEADLINE)
            return GetMessageClass(method.output_type).FromString(answer)

    assert (await asyncio.to_thread(ask)).text == "a"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_says_of_what_there_is_not_that_there_is_not(served: Served, version: str) -> None:
    ask = served.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="nobody"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="nothing.proto"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="conformance.proto"),
    ]
    answers = [answer async for answer in ask(iter(questions), timeout=DEADLINE)]
    assert [one.error_response.error_code for one in answers] == [5, 5, 0]
    assert answers[2].file_descriptor_response.file_descriptor_proto


# --- stopping


async def test_who_calls_while_the_server_stops_is_told_so_and_streams_go_on_elsewhere(served: Served) -> None:
    began = asyncio.Event()

    async def forever(call: object, request: Any) -> AsyncIterator[Any]:
        yield request
        began.set()
        await asyncio.Event().wait()

    go = asyncio.Event()

    async def slowly(call: object, request: Any) -> Any:
        await go.wait()
        return request

    served.pipeline._handlers.update({f"{ECHO}/Watch": forever, f"{ECHO}/Get": slowly})
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        watching = group.create_task(outcome(served, "answers", b""))
        in_flight = group.create_task(outcome(served, "unary", b""))
        await began.wait()
        await until(lambda: served.front._doors["calls"].inside == 2)
        group.create_task(served.front.stop(DEADLINE))
        assert await watching == ("UNAVAILABLE", "UNAVAILABLE")
        assert await outcome(served, "unary", b"") == ("UNAVAILABLE", "UNAVAILABLE")
        go.set()
        assert await in_flight == ("OK", "")
