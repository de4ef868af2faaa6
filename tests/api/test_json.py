"""JSON in and out, for any input: what is read is what the standard library reads, and what is written is read back."""

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api import json_text
from controlplane.api.json_in import reader_of
from controlplane.api.json_out import encode
from controlplane.api.routes import Router
from controlplane.api.transcode import build_request, read_query
from controlplane.domain.errors import Invalid
from tests.api.conformance import methods

POST = methods()["conformance.v1.Echo/Post"]
EVERYTHING: Any = POST.input
MATCH = Router([POST]).match("POST", "/v1/things")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from([field.name for field in EVERYTHING.DESCRIPTOR.fields])
texts = st.text(st.characters(exclude_categories=["Cs"]))


def build(body: bytes, query: bytes = b"") -> Any:
    assert MATCH is not None
    return build_request(MATCH, read_query(query), body, "application/json")


@given(st.binary(max_size=200) | st.text('[]{}":,\\ 0123456789.eE-+nultrefas').map(str.encode))
def test_any_bytes_are_a_message_or_refused_in_words(body: bytes) -> None:
    try:
        build(body)
    except Invalid as refused:
        assert refused.message


@given(st.dictionaries(names, values, max_size=5))
def test_any_json_is_a_message_or_refused_by_the_name_of_its_field(body: dict[str, Any]) -> None:
    try:
        build(json.dumps(body).encode("utf-8", "replace"))
    except Invalid as refused:
        assert (
            refused.reason == "MALFORMED_REQUEST"
            or refused.violations[0].field.partition(".")[0].partition("[")[0] in body
        )


@given(st.binary(max_size=60))
def test_any_query_is_a_message_or_refused(query: bytes) -> None:
    try:
        build(b"", query)
    except Invalid as refused:
        assert refused.message


@given(values)
def test_a_payload_is_the_very_text_that_was_sent(value: Any) -> None:
    sent = json.dumps(value, indent=1, ensure_ascii=False)
    if "@content_type" in sent or any(0xD800 <= ord(one) < 0xE000 for one in sent):
        return
    assert build(f'{{"payload": {sent} }}'.encode()).payload.data == sent.encode()


messages = st.builds(
    EVERYTHING,
    text=texts,
    i32=st.integers(-(2**31), 2**31 - 1),
    i64=st.integers(-(2**63), 2**63 - 1),
    u64=st.integers(0, 2**64 - 1),
    number=st.floats(allow_nan=False),
    small=st.floats(width=32, allow_nan=False),
    yes=st.booleans(),
    raw=st.binary(),
    colour=st.sampled_from([0, 1, 2, 77]),
    texts=st.lists(texts, max_size=3),
    inners=st.lists(st.fixed_dictionaries({"name": texts, "count": st.integers(-5, 5)}), max_size=3),
    counts=st.dictionaries(texts, st.integers(-5, 5), max_size=3),
    maybe=st.none() | st.integers(-5, 5),
    at=st.builds(dict, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.just(123_456_000)),
    span=st.builds(dict, seconds=st.integers(0, 10**9), nanos=st.integers(0, 999_999_999)),
    wrapped_text=st.none() | st.builds(dict, value=texts),
    payload=st.none()
    | st.builds(
        dict,
        data=st.binary(max_size=20) | values.map(lambda one: json.dumps(one).encode()),
        content_type=st.sampled_from(["application/json", "text/plain", "a/b"]),
    ),
)


@given(messages, st.booleans())
def test_what_is_written_is_read_back_the_same(message: Any, camel: bool) -> None:
    text = encode(message, camel=camel).decode()
    assert EVERYTHING(**reader_of(EVERYTHING.DESCRIPTOR).read_at(text, 0)[0]) == message


@given(messages)
def test_others_read_what_we_write(message: Any) -> None:
    message.ClearField("payload")  # has a form of its own
    if math.isclose(abs(message.small), 3.4028234663852886e38):
        return  # protobuf's own reader refuses the largest float that it writes
    assert json_format.Parse(encode(message, camel=True), EVERYTHING()) == message


def test_nesting_has_an_end_that_strings_do_not_count_towards() -> None:
    deep = json_text.MAX_DEPTH
    assert json_text.read_text(b"[" * deep + b"]" * deep)
    assert json_text.read_text(json.dumps(["[" * 500 + '\\"{' * 500]).encode())
    assert json_text.read_text(b"[" + b"[]," * 1000 + b"[]]")
    with pytest.raises(Invalid, match="nested deeper"):
        json_text.read_text(b"[" * (deep + 1) + b"]" * (deep + 1))


def test_the_same_answer_has_the_same_bytes() -> None:
    keys = [f"key-{number:02}" for number in range(20)]
    message = build(json.dumps({"counts": dict.fromkeys(reversed(keys), 1)}).encode())
    assert list(json.loads(encode(message, camel=False))["counts"]) == keys
