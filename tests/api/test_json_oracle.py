"""protobuf's own JSON as an oracle, in both directions, over every shape of the conformance contract.

What we read, `json_format` reads as the same message; what it refuses, we refuse; what we write, it reads back; what it
writes, we read back. Where we differ it is on purpose, and stands in `DELIBERATE` with its reason: a difference of
another kind fails.
"""

import json
import math
from functools import lru_cache
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.api.json_in import reader_of
from controlplane.api.json_out import encode
from controlplane.api.methods import is_repeated
from controlplane.api.routes import Router
from controlplane.api.transcode import NO_QUERY, build_request
from controlplane.domain.errors import PawlError
from tests.api.conformance import methods

POST = methods()["conformance.v1.Echo/Post"]
EVERYTHING: Any = POST.input
MATCH = Router([POST]).match("POST", "/v1/things")
# A payload has a form of its own, of which protobuf knows nothing.
FIELDS = [field for field in EVERYTHING.DESCRIPTOR.fields if field.name not in ("payload", "payloads")]
LARGEST_FLOAT = 3.4028234663852886e38

# Why the two may differ about one and the same text: part of the refusal, ours or protobuf's, and the reason.
DELIBERATE: dict[str, str] = {
    # We take, protobuf does not.
    "Invalid enum value": "enums are taken in any case of letters",
    'must not contain "_"s': "masks are taken in either case of letters",
    "Float value too large": "its reader refuses the largest float that its writer prints",
    "does not match format": "RFC 3339 allows a small t and a small z",
    # Protobuf takes, we do not.
    "must be base64": "it skips what is no base64, or fills in what is missing",
    "must be a whole number": "it takes what int() takes: digits of other scripts, underlines, blanks, truth values",
    "must be a number": "it takes what float() takes: blanks, underlines, truth values",
    "must be one of": "it takes for the number of an enum what int() takes",
    "must lie between": "it lets the number of an enum run over",
    "must be null": "it takes any number and any truth value for null",
    "must be an object": "it takes an empty list, or an empty text, for an empty message",
    "beyond 2^53": "it rounds a whole number in a Value to the nearest double",
    "must be an instant": "it takes a point without decimals after it",
    "must be a duration": "it takes blanks, a point without decimals, and decimals that it drops",
    "must be field paths": "it takes any text for a mask",
    "names its type without a slash": "it takes any text for the address of a type",
}
# What only several fields, or several levels, can come to.
OF_TWO_FIELDS: dict[str, str] = {
    "is given twice": "it takes two spellings of one field, and the last one wins",
    "in two spellings": "it takes two keys of a map that mean the same number",
    "excludes": "it takes two of one oneof when one of them is null",
    "nested deeper": "here a Value may be thirty levels deep",
}


def ours(text: str) -> tuple[Any, str]:
    """The message, or why not."""
    assert MATCH is not None
    try:
        return build_request(MATCH, NO_QUERY, text.encode("utf-8", "surrogatepass"), "application/json"), ""
    except PawlError as error:
        return None, error.message


def theirs(text: str) -> tuple[Any, str]:
    """The same of protobuf."""
    try:
        return json_format.Parse(text, EVERYTHING()), ""
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return None, str(error) or type(error).__name__


# ---------------------------------------------------------------- messages


def one_nan(number: float) -> float:
    """JSON has one NaN, the wire has many."""
    return math.nan if math.isnan(number) else number


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_F = FieldDescriptor
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), st.integers(-(2**31), 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), st.integers(0, 2**32 - 1)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), st.integers(0, 2**64 - 1)),
    _F.TYPE_DOUBLE: st.floats().map(one_nan),
    _F.TYPE_FLOAT: st.floats(width=32).map(one_nan).filter(lambda one: not math.isclose(abs(one), LARGEST_FLOAT)),
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_STRING: texts,
    _F.TYPE_BYTES: st.binary(max_size=8),
}
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
_WELL_KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "google.protobuf.Timestamp": st.builds(
        dict, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999)
    ),
    "google.protobuf.Duration": st.integers(-(10**12), 10**12).map(
        lambda nanos: {"seconds": int(nanos / 1e9), "nanos": int(math.fmod(nanos, 10**9))}
    ),
    "google.protobuf.FieldMask": st.lists(st.sampled_from(["a", "a_b", "c.d_e"]), max_size=3).map(
        lambda paths: {"paths": paths}
    ),
    "google.protobuf.Empty": st.just({}),
}


def one_of(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """One value of a field, as a constructor takes it."""
    if field.enum_type is not None:
        if field.enum_type.full_name == "google.protobuf.NullValue":
            return st.just(0)
        return st.sampled_from([0, 1, 2, 77])
    message = field.message_type
    if message is None:
        return _SCALARS[field.type]
    if message.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[message.full_name]
    return fields_of(message, depth + 1)


@lru_cache
def fields_of(message: Any, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields of a message type."""
    if depth > 2:
        return st.just({})
    some: dict[str, st.SearchStrategy[Any]] = {}
    for field in message.fields:
        kind = field.message_type
        if kind is not None and kind.full_name in _BY_JSON:
            continue
        if kind is not None and kind.GetOptions().map_entry:
            key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
            if value.message_type is None or value.message_type.full_name not in _BY_JSON:
                some[field.name] = st.dictionaries(one_of(key, depth), one_of(value, depth), max_size=2)
        else:
            one = one_of(field, depth)
            some[field.name] = st.lists(one, max_size=2) if is_repeated(field) else one
    names = st.lists(st.sampled_from(sorted(some)), max_size=5, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: some[name] for name in chosen}))


# Types that are no plain fields to a constructor: filled from JSON below.
_BY_JSON = frozenset(
    {
        "pawl.v1.Payload",
        "google.protobuf.Any",
        "google.protobuf.Value",
        "google.protobuf.Struct",
        "google.protobuf.ListValue",
    }
)
free = st.fixed_dictionaries(
    {},
    optional={
        "value": json_values,
        "struct": st.dictionaries(texts, json_values, max_size=3),
        "list": st.lists(json_values, max_size=3),
        "values": st.lists(json_values, max_size=3),
        "byText": st.dictionaries(texts, json_values, max_size=2),
        "any": st.sampled_from(
            [
                {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"},
                {"@type": "type.googleapis.com/conformance.v1.Inner", "count": 3},
                {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": [1]}},
            ]
        ),
    },
)


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """A message of every shape that the contract has."""
    message = EVERYTHING(**draw(fields_of(EVERYTHING.DESCRIPTOR, 0)))
    return json_format.ParseDict(draw(free), message)


# ---------------------------------------------------------------- what is written


@settings(max_examples=60)
@given(messages(), st.booleans())
def test_what_we_write_protobuf_reads_as_the_same_message(message: Any, camel: bool) -> None:
    if not camel:
        message.ClearField("mask")  # its paths are written in the case of the fields, which protobuf does not read
    text = encode(message, camel=camel).decode()
    assert same(json_format.Parse(text, EVERYTHING()), message)


@settings(max_examples=60)
@given(messages(), st.booleans(), st.booleans())
def test_what_protobuf_writes_we_read_as_the_same_message(message: Any, snake: bool, zeros: bool) -> None:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=snake, always_print_fields_with_no_presence=zeros
    )
    read, refused = ours(text)
    assert not refused
    assert same(read, message)


@settings(max_examples=60)
@given(messages())
def test_what_we_write_is_what_protobuf_writes(message: Any) -> None:
    written = json.loads(encode(message, camel=True))
    told = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    assert alike(written, told)


def same(one: Any, other: Any) -> bool:
    """Equal, NaN included."""
    return bool(one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True))


def alike(one: Any, other: Any) -> bool:
    """The same JSON but for how many decimals an instant or a duration has, and a float its digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return _trimmed(one) == _trimmed(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _trimmed(text: str) -> str:
    """An instant or a duration without the zeros at its end."""
    head, point, tail = text.rpartition(".")
    if not point or tail[-1:] not in ("Z", "s"):
        return text.replace("Z", "")
    digits = tail[:-1].rstrip("0")
    return head + (f".{digits}" if digits else "") + tail[-1].replace("Z", "")


# ---------------------------------------------------------------- what is read


ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        1.5,
        1e2,
        -0.0,
        2**31,
        2**32,
        2**53 + 1,
        2**63,
        2**64,
        3.4028235e38,
        1e39,
        1e300,
    ),
    *(
        "",
        "0",
        "1",
        "-1",
        "1.0",
        "1.5",
        "1e2",
        "1_0",
        " 1",
        "1 ",
        "٣",
        "+1",
        "01",
        "0x1",
        "nan",
        "NaN",
        "inf",
        "Infinity",
    ),
    *("true", "True", "RED", "red", "UNSPECIFIED", "77", "NULL_VALUE", "null"),
    *("YQ", "YQ==", "YQ=", "Y", "***", "_-8=", "+/8=", "+_8=", "YW Jj"),
    *("1s", "1.5s", "-1.5s", "1.0000000001s", ".5s", "1.s", "1e3s", "315576000001s", "1 s"),
    *("2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02T03:04:05.123+01:00", "2026-01-02T03:04:05"),
    *(
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "2026-01-02",
    ),
    *("2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1234567891Z", "2026-01-02 03:04:05Z"),
    *("a,b.c", "fooBar", "foo_bar", "a b", "a,", "*", "\ud800", "ü"),
    *([], {}, [1], [[]], [{}], [None], ["a"], {"a": 1}, {"1": 1}, {"1": "a"}, {"true": 1}, {"x": {}}, {"a": [None]}),
    *({"count": 1}, {"value": 1}, {"text": "a"}, {"paths": ["a"]}, {"seconds": 1}, {"contentType": "a", "data": "YQ"}),
    {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"},
    {"@type": "type.googleapis.com/google.protobuf.Duration"},
    {"@type": "google.protobuf.Duration", "value": "1s"},
    {"@type": "type.googleapis.com/conformance.v1.Inner", "count": 1},
    {"@type": "type.googleapis.com/no.Such"},
)
odd = st.sampled_from(ODD) | texts
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False) | odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([field.name for field in FIELDS] + ["1", "@type", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from([name for field in FIELDS for name in (field.name, field.json_name)])


def why_they_differ(body: Any) -> str | None:
    """The reason of whoever refused what the other took. Fails where both took it for different messages."""
    text = json.dumps(body)
    read, our_reason = ours(text)
    told, their_reason = theirs(text)
    if read is not None and told is not None:
        assert same(read, told), text
    return None if (read is None) == (told is None) else our_reason or their_reason


def shapes(field: FieldDescriptor, value: Any) -> list[Any]:
    """A value as it is and as a field's kind wants it."""
    if not is_repeated(field):
        return [value]
    kind = field.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return [value, [value]]
    return [value, {"1": value}, {"a": value}, {"true": value}]


def test_of_every_field_and_every_odd_value_both_make_the_same_message_or_none() -> None:
    """And every difference that is meant is met: the list does not outlive what it lists."""
    met: set[str] = set()
    for field in FIELDS:
        for value in ODD:
            for shape in shapes(field, value):
                reason = why_they_differ({field.name: shape})
                if reason is not None:
                    found = [words for words in DELIBERATE if words in reason]
                    assert found, (field.name, shape, reason)
                    met.update(found)
    assert met == DELIBERATE.keys()


@settings(max_examples=200)
@given(st.dictionaries(names, anything, max_size=3))
def test_of_any_json_both_make_the_same_message_or_none(body: dict[str, Any]) -> None:
    reason = why_they_differ(body)
    assert reason is None or any(words in reason for words in (*DELIBERATE, *OF_TWO_FIELDS)), reason


def test_the_largest_float_is_why_protobufs_reader_is_not_used() -> None:
    message = EVERYTHING(small=LARGEST_FLOAT)
    for text in (encode(message, camel=True).decode(), json_format.MessageToJson(message)):
        assert ours(text)[0] == message
    with pytest.raises(json_format.ParseError, match="too large"):
        json_format.Parse(json_format.MessageToJson(message), EVERYTHING())
    assert reader_of(EVERYTHING.DESCRIPTOR).read({"small": 3.4028235e38})["small"] == 3.4028235e38
