"""Both fronts are the same API: every RPC of the descriptors, with good, bad and hostile input, over both, compared.

A new RPC is in here by existing: the story must use it, and the bad and hostile inputs are made from its descriptor.
"""

import itertools
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from pawl.v1 import agent_pb2, plugin_pb2

from controlplane.api.methods import Kind, Method, is_required, table
from tests.spec.conftest import Plane
from tests.spec.story import GRPC_ONLY, HELLO, NOWHERE, OUTCOME_ONLY, STORY, Memory
from tests.spec.two_fronts import Outcome, as_http, refusal

METHODS = {name.removeprefix("pawl.v1."): method for name, method in table().items()}
BOTH = sorted(METHODS.keys() - GRPC_ONLY.keys())

# Differences between the fronts that are meant, each with its reason.
EXCEPTIONS = {
    "undecodable bytes": "gRPC: bytes that are no message; REST: text that is no JSON. The same code and reason",
    "unknown fields": "binary protobuf ignores numbers that it does not know, JSON refuses names that do not exist",
    "aliases": "second spellings exist in JSON only",
    "oversized messages": "gRPC's transport refuses them before any of our code: the same code without ErrorInfo",
    "unset path variables": "an empty variable is another path: NOT_FOUND instead of INVALID_ARGUMENT",
}


def test_every_rpc_is_in_the_story() -> None:
    assert {step.method for step in STORY} | GRPC_ONLY.keys() == METHODS.keys()


def test_every_rpc_has_a_rest_form_unless_it_is_listed_as_grpc_only() -> None:
    assert {name for name, method in METHODS.items() if not method.rules} == GRPC_ONLY.keys()


@contextmanager
def connected(plane: Plane, namespace: str) -> Iterator[None]:
    """An agent with an open stream in this namespace."""
    outgoing: queue.SimpleQueue[agent_pb2.ConnectRequest | None] = queue.SimpleQueue()
    hello = agent_pb2.Hello()
    hello.CopyFrom(HELLO)
    hello.namespace_id, hello.state_id = namespace, f"state-{namespace}"
    outgoing.put(agent_pb2.ConnectRequest(seq=1, hello=hello))
    answers = plane.grpc.channel.stream_stream(
        "/pawl.v1.AgentService/Connect",
        request_serializer=agent_pb2.ConnectRequest.SerializeToString,
        response_deserializer=agent_pb2.ConnectResponse.FromString,
    )(iter(outgoing.get, None), timeout=60)
    assert next(answers).WhichOneof("message") == "welcome"
    try:
        yield
    finally:
        outgoing.put(None)
        answers.cancel()


def test_the_story_of_every_rpc_ends_the_same_on_both_fronts(plane: Plane, wasm_module: bytes) -> None:
    tellings = {front: Memory(f"by-{front}", wasm_module) for front in ("grpc", "rest")}
    names = {memory.namespace: "NAMESPACE" for memory in tellings.values()}
    create, rest_of_the_story = STORY[:8], STORY[8:]
    for step in create:
        tell(plane, step, tellings, names)
    with connected(plane, "by-grpc"), connected(plane, "by-rest"):
        for step in rest_of_the_story:
            tell(plane, step, tellings, names)


def tell(plane: Plane, step: Any, tellings: dict[str, Memory], names: dict[str, str]) -> None:
    """One step on both fronts."""
    method = METHODS[step.method]
    outcomes = {}
    for front in (plane.grpc, plane.rest):
        memory = tellings[front.name]
        outcomes[front.name] = outcome = front.call(method, step.make(memory))
        assert outcome.code == step.expect, (front.name, step.method, outcome)
        if step.name:
            memory.answers[step.name] = outcome.messages[0]
    if step.method not in OUTCOME_ONLY:
        assert outcomes["grpc"].alike(names) == outcomes["rest"].alike(names), step.method


def same(method: Method, by_grpc: Outcome, by_rest: Outcome, code: str) -> None:
    """Both refused, with the same code and reason, and in words."""
    assert (by_grpc.code, by_grpc.reason) == (by_rest.code, by_rest.reason), (method.name, by_grpc, by_rest)
    assert by_grpc.code == code, (method.name, by_grpc)
    assert by_grpc.text == by_rest.text, method.name


def filled(method: Method, **fields: Any) -> Message:
    """A request whose required fields are there, by names that exist nowhere."""
    request = method.input()
    _fill(request, deep=method.whole_resource)
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def _fill(message: Message, *, deep: bool) -> None:
    descriptor: Any = message.DESCRIPTOR
    for field in descriptor.fields:
        if not is_required(field) and not (field.name == "id" and not deep):
            continue
        if field.message_type is not None:
            getattr(message, field.name).SetInParent()
            _fill(getattr(message, field.name), deep=deep)
            if field.message_type.full_name == "google.api.HttpBody":
                getattr(message, field.name).data = b"no module"  # over REST no bytes are no module
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, "no-such-thing")
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(message, field.name, b"no such thing")
        elif field.enum_type is not None and field.is_repeated:
            getattr(message, field.name).append(1)
        elif field.enum_type is not None:
            setattr(message, field.name, 1)


def in_path(method: Method) -> set[str]:
    """Fields that stand in the path of the first binding."""
    return {piece.partition("}")[0].partition("=")[0] for piece in method.rules[0].template.split("{")[1:]}


@pytest.mark.parametrize("name", BOTH)
def test_a_missing_required_field_is_named_on_both_fronts(plane: Plane, name: str) -> None:
    method = METHODS[name]
    descriptor: Any = method.input.DESCRIPTOR
    required = [field.name for field in descriptor.fields if is_required(field)]
    left_out = [field for field in required if not {p for p in in_path(method) if p.split(".")[0] == field}]
    if not left_out:
        return  # EXCEPTIONS: unset path variables
    request = filled(method)
    for field in left_out:
        request.ClearField(field)
    by_grpc = plane.grpc.call(method, request)
    verb, url, body, headers = as_http(request, method.rules[0])
    by_rest = plane.rest.raw(method, verb, url, None if method.rules[0].body not in ("", "*") else body, headers)
    same(method, by_grpc, by_rest, "INVALID_ARGUMENT")
    assert left_out[0] in by_grpc.text


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].namespace_field])
def test_an_unknown_namespace_is_not_found_on_both_fronts(plane: Plane, name: str) -> None:
    method = METHODS[name]
    request = filled(method, namespace_id="nowhere")
    same(method, plane.grpc.call(method, request), plane.rest.call(method, request), "NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "key"),
    list(
        itertools.product(
            [name for name in BOTH if "id" in METHODS[name].input.DESCRIPTOR.fields_by_name],
            ["no-such-thing", NOWHERE, "0" * 64, "a b/ü?#%", "-", "not-a-uuid-" + "9" * 300],
        )
    ),
)
def test_an_unknown_or_malformed_id_is_refused_alike_and_never_a_defect(plane: Plane, name: str, key: str) -> None:
    method = METHODS[name]
    request = filled(method, id=key)
    by_grpc, by_rest = plane.grpc.call(method, request), plane.rest.call(method, request)
    assert by_grpc.code in ("NOT_FOUND", "INVALID_ARGUMENT"), (name, by_grpc)
    same(method, by_grpc, by_rest, by_grpc.code)


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].has_request_id])
@pytest.mark.parametrize("request_id", ["ü", "a\nb", "x" * 129])
def test_a_malformed_request_id_is_named_on_both_fronts(plane: Plane, name: str, request_id: str) -> None:
    method = METHODS[name]
    request = filled(method, request_id=request_id)
    by_grpc = plane.grpc.call(method, request)
    same(method, by_grpc, plane.rest.call(method, request), "INVALID_ARGUMENT")
    assert "request_id" in by_grpc.text


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].namespace_field])
def test_a_nul_character_is_refused_on_both_fronts(plane: Plane, name: str) -> None:
    method = METHODS[name]
    request = filled(method, namespace_id="a\0b")
    same(method, plane.grpc.call(method, request), plane.rest.call(method, request), "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].has_etag])
def test_an_etag_that_is_no_version_is_refused_on_both_fronts(plane: Plane, name: str) -> None:
    method = METHODS[name]
    request = filled(method, etag="yesterday")
    by_grpc, by_rest = plane.grpc.call(method, request), plane.rest.call(method, request)
    assert by_grpc.code in ("INVALID_ARGUMENT", "NOT_FOUND")
    same(method, by_grpc, by_rest, by_grpc.code)


@pytest.mark.parametrize("name", [name for name in BOTH if "page" in METHODS[name].input.DESCRIPTOR.fields_by_name])
@pytest.mark.parametrize("page", [{"page": 0}, {"page_size": 1001}, {"page_size": -1}, {"page_token": "x"}])
def test_a_page_that_does_not_exist_is_refused_on_both_fronts(plane: Plane, name: str, page: dict[str, Any]) -> None:
    method = METHODS[name]
    request = filled(method)
    for field, value in page.items():
        setattr(request.page, field, value)  # type: ignore[attr-defined] # every list request has a page
    by_grpc, by_rest = plane.grpc.call(method, request), plane.rest.call(method, request)
    same(method, by_grpc, by_rest, by_grpc.code)
    assert by_grpc.code in ("INVALID_ARGUMENT", "NOT_FOUND")


# ---------------------------------------------------------------- hostile


HOSTILE_BYTES = {
    "no message": b"\xff\xff\xff",
    "cut short": b"\x0a\x7f\x01",
    "a group that never ends": b"\x0b" * 200,
    "a string that is no UTF-8": b"\x0a\x02\xc3\x28\x12\x02\xc3\x28\x1a\x02\xc3\x28",
}


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"AgentService/Connect"}))
@pytest.mark.parametrize("kind", HOSTILE_BYTES)
def test_bytes_that_are_no_message_are_invalid_and_never_a_defect(plane: Plane, name: str, kind: str) -> None:
    outcome = plane.grpc.raw(METHODS[name], HOSTILE_BYTES[kind])
    assert outcome.code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND"), outcome
    if kind in ("no message", "cut short"):
        assert (outcome.code, outcome.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
        assert METHODS[name].input.DESCRIPTOR.full_name in outcome.text


HOSTILE_TEXT = {
    "no JSON": b"{",
    "bad UTF-8": b'{"id": "\xc3\x28"}',
    "no object": b"[]",
    "a number": b"5",
    "a nested bomb": b'{"filter": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "an endless bomb": b'{"a":' * 50_000,
    "a key twice": b'{"id": "a", "id": "b"}',
    "not a number": b'{"id": NaN}',
    "half a surrogate pair": b'{"id": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "something after it": b"{} {}",
}


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].rules[0].body not in ("", "module")])
@pytest.mark.parametrize("kind", HOSTILE_TEXT)
def test_text_that_is_no_request_is_invalid_and_never_a_defect(plane: Plane, name: str, kind: str) -> None:
    method = METHODS[name]
    verb, url, _, _ = as_http(filled(method), method.rules[0])
    outcome = plane.rest.raw(method, verb, url, HOSTILE_TEXT[kind])
    assert outcome.code == "INVALID_ARGUMENT", (name, outcome)
    assert outcome.reason in ("MALFORMED_REQUEST", "INVALID_FIELD")


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].rules[0].body not in ("", "module")])
@pytest.mark.parametrize("value", [b"{}", b"[]", b'"x"', b"-1.5", b"true", b"null", b"1e999", b'{"a":{"b":[1]}}'])
def test_a_value_of_any_wrong_type_names_its_field_and_is_never_a_defect(plane: Plane, name: str, value: bytes) -> None:
    method = METHODS[name]
    verb, url, _, _ = as_http(filled(method), method.rules[0])
    descriptor: Any = method.input.DESCRIPTOR
    where = method.rules[0].body
    if where != "*":
        descriptor = descriptor.fields_by_name[where].message_type
    for field in descriptor.fields:
        body = b'{"' + field.name.encode() + b'": ' + value + b"}"
        response = plane.rest.client.request(verb, url, content=body, headers={"x-server-timeout": "5"})
        assert response.status_code < 500, (name, body, response.text)
        if response.status_code != 200:
            refusal(response)


def choices(message: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every enum field of a request and of what is in it, with the message that it stands in."""
    for field in message.DESCRIPTOR.fields:
        if field.enum_type is not None:
            yield message, field
        elif field.message_type is not None and not field.is_repeated and depth < 3:
            yield from choices(getattr(message, field.name), depth + 1)


@pytest.mark.parametrize("name", [name for name in BOTH if any(choices(METHODS[name].input()))])
def test_a_number_that_stands_for_nothing_is_refused_by_its_field_or_unread(plane: Plane, name: str) -> None:
    method = METHODS[name]
    for place, _ in enumerate(choices(filled(method))):
        request = filled(method)
        inner, field = list(choices(request))[place]
        if field.is_repeated:
            getattr(inner, field.name).append(99)
        else:
            setattr(inner, field.name, 99)
        over_grpc, over_rest = plane.grpc.call(method, request), plane.rest.call(method, request)
        assert over_grpc.code == over_rest.code, (field.full_name, over_grpc, over_rest)
        assert over_grpc.code not in ("INTERNAL", "UNKNOWN"), (field.full_name, over_grpc)


@pytest.mark.parametrize("name", [name for name in BOTH if METHODS[name].rules[0].body not in ("", "module")])
def test_an_unknown_field_is_refused_by_its_path(plane: Plane, name: str) -> None:
    method = METHODS[name]
    verb, url, _, _ = as_http(filled(method), method.rules[0])
    outcome = plane.rest.raw(method, verb, url, b'{"no_such_field": 1}')
    where = "" if method.rules[0].body == "*" else f"{method.rules[0].body}."
    assert (outcome.code, outcome.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert outcome.text.startswith(f"{where}no_such_field:")


def test_an_oversized_request_is_exhausted_on_both_fronts(plane: Plane) -> None:
    method = METHODS["TaskService/CreateTask"]
    body = b'{"job_id": "x", "cancel_reason": "' + b"y" * (11 << 20) + b'"}'
    by_rest = plane.rest.raw(method, "POST", "/api/v1/tasks", body)
    by_grpc = plane.grpc.raw(method, method.input(task={"cancel_reason": "y" * (11 << 20)}).SerializeToString())
    assert (by_rest.code, by_rest.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert by_grpc.code == "RESOURCE_EXHAUSTED"  # EXCEPTIONS: oversized messages


@pytest.mark.parametrize("name", BOTH)
def test_every_binding_of_an_rpc_leads_to_it(plane: Plane, name: str) -> None:
    method = METHODS[name]
    if method.kind is not Kind.UNARY or method.mutates or name in OUTCOME_ONLY:
        return
    request = filled(method)
    outcomes = {plane.rest.call(method, request, rule).alike({}).__repr__() for rule in method.rules}
    assert len(outcomes) == 1, name


# ---------------------------------------------------------------- gRPC only


def test_an_upload_is_the_same_plugin_as_a_create(plane: Plane, wasm_module: bytes) -> None:
    start = plugin_pb2.UploadPluginRequest(start={"name": "sent-in-pieces", "version": "1"})
    pieces = [wasm_module[at : at + 1000] for at in range(0, len(wasm_module), 1000)]
    parts = [start, *(plugin_pb2.UploadPluginRequest(data=piece) for piece in pieces)]
    uploaded = plane.grpc.channel.stream_unary(
        "/pawl.v1.PluginService/UploadPlugin",
        request_serializer=plugin_pb2.UploadPluginRequest.SerializeToString,
        response_deserializer=plugin_pb2.Plugin.FromString,
    )(iter(parts), timeout=20)
    read = plane.rest.call(METHODS["PluginService/GetPlugin"], plugin_pb2.GetPluginRequest(id="sent-in-pieces@1"))
    assert read.messages == (uploaded,)
