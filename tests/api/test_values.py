"""Every kind of field as JSON and as text of a path or a query: what is taken, what is refused, and by which name."""

import json
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

from controlplane.api import json_text
from tests.api.conformance import Front


async def sent(front: Front, **fields: Any) -> Any:
    """What a body of these fields means."""
    return await front.asked("POST", "/v1/things", json.dumps(fields))


async def wrong(front: Front, body: str | bytes) -> str:
    """The path of the field for which a body is refused, or the message where the body itself is."""
    status, message = await front.refused("POST", "/v1/things", body)
    assert status == 400
    field, _, problem = message.partition(": ")
    assert problem or "body" in message or "JSON" in message
    return field


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", ["i32", "s32", "sf32"])
@pytest.mark.parametrize("given", ["-2147483648", "2147483647", '"5"', "5.0", "5e0", '"5e0"', '"5.0"', "-0", "50e-1"])
async def test_a_signed_number_of_32_bits(front: Front, kind: str, given: str) -> None:
    asked = await front.asked("POST", "/v1/things", f'{{"{kind}": {given}}}')
    assert getattr(asked, kind) == float(given.strip('"'))


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("u32", 0, 2**32 - 1),
        ("f32", 0, 2**32 - 1),
        ("i64", -(2**63), 2**63 - 1),
        ("s64", -(2**63), 2**63 - 1),
        ("sf64", -(2**63), 2**63 - 1),
        ("u64", 0, 2**64 - 1),
        ("f64", 0, 2**64 - 1),
    ],
)
async def test_whole_numbers_reach_to_their_ends_and_no_further(front: Front, kind: str, least: int, most: int) -> None:
    for edge in (least, most):
        assert getattr(await sent(front, **{kind: edge}), kind) == edge
        assert getattr(await sent(front, **{kind: str(edge)}), kind) == edge
    for beyond in (least - 1, most + 1):
        assert await wrong(front, f'{{"{kind}": {beyond}}}') == kind
        assert await wrong(front, f'{{"{kind}": "{beyond}"}}') == kind


@pytest.mark.parametrize(
    "given",
    [
        '"1_0"',
        '" 1"',
        '"1 "',
        '"٣"',
        '"+1"',
        '"0x1"',
        '"01"',
        '"1."',
        '".5"',
        '""',
        "1.5",
        "true",
        "[]",
        "{}",
        '"1e400"',
    ],
)
async def test_what_python_would_take_for_a_whole_number_is_none(front: Front, given: str) -> None:
    assert await wrong(front, f'{{"i32": {given}}}') == "i32"


@pytest.mark.parametrize(
    "given", ['"1_0"', '" 1"', '"٣"', '"nan"', '"inf"', '"INFINITY"', '"1e400"', "1e400", "true", '""']
)
async def test_what_python_would_take_for_a_number_is_none(front: Front, given: str) -> None:
    assert await wrong(front, f'{{"number": {given}}}') == "number"


@pytest.mark.parametrize(
    "given", ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1", "1_0", "'a'", "nul", "tRUE"]
)
async def test_what_is_no_json_is_no_number_either(front: Front, given: str) -> None:
    await wrong(front, f'{{"number": {given}}}')


async def test_a_number_of_thousands_of_digits_costs_nothing(front: Front) -> None:
    assert await wrong(front, f'{{"i64": {"9" * 5000}}}') == "i64"
    assert await wrong(front, f'{{"i64": "{"9" * 5000}"}}') == "i64"


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ("", b""),
        ("+/8=", b"\xfb\xff"),
        ("+/8", b"\xfb\xff"),
        ("-_8=", b"\xfb\xff"),
        ("-_8", b"\xfb\xff"),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YWJj", b"abc"),
    ],
)
async def test_bytes_come_in_both_alphabets_with_their_padding_or_without(
    front: Front, given: str, data: bytes
) -> None:
    assert (await sent(front, raw=given)).raw == data
    assert (await front.asked("GET", f"/v1/things/a?raw={given.replace('+', '%2B')}")).raw == data


@pytest.mark.parametrize("given", ["***", "YQ=", "YQ===", "Y", "=", "YW Jj", "YWJj\n", "+_8=", "ÿ", "YQ==YQ=="])
async def test_bytes_that_are_no_base64_are_refused_instead_of_skipped(front: Front, given: str) -> None:
    assert await wrong(front, json.dumps({"raw": given})) == "raw"


# ---------------------------------------------------------------- enums


@pytest.mark.parametrize(
    ("given", "number"), [(-1, -1), (77, 77), ("77", 77), ("conformance.v1.Everything.Colour.RED", 1), ("Red", 1)]
)
async def test_an_enum_is_open_as_proto3_says(front: Front, given: object, number: int) -> None:
    assert (await sent(front, colour=given)).colour == number


@pytest.mark.parametrize("given", ["pink", "", "1.5", 1.5, 2**31, True, [], {}])
async def test_what_is_neither_a_name_nor_a_number_is_no_enum(front: Front, given: object) -> None:
    assert await wrong(front, json.dumps({"colour": given})) == "colour"


# ---------------------------------------------------------------- instants, durations, masks


@pytest.mark.parametrize(
    ("given", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01t00:00:00z", 0, 0),
        ("1970-01-01T01:00:00+01:00", 0, 0),
        ("1969-12-31T23:59:59.5Z", -1, 500_000_000),
        ("2026-01-02T03:04:05.000000001Z", 1767323045, 1),
        ("0001-01-01T00:00:00Z", -62135596800, 0),
        ("9999-12-31T23:59:59.999999999Z", 253402300799, 999_999_999),
    ],
)
async def test_an_instant_is_rfc_3339(front: Front, given: str, seconds: int, nanos: int) -> None:
    asked = await sent(front, at=given)
    assert (asked.at.seconds, asked.at.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-1-2T03:04:05Z",
        "2026-02-30T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.0000000001Z",
        "2026-01-02T03:04:05+99:00",
        "0001-01-01T00:00:00+01:00",
        "10000-01-01T00:00:00Z",
        "٢٠٢٦-01-02T03:04:05Z",
        "",
        1767323045,
        {"seconds": 1},
    ],
)
async def test_what_is_no_instant_is_refused(front: Front, given: object) -> None:
    assert await wrong(front, json.dumps({"at": given})) == "at"


@pytest.mark.parametrize(
    ("given", "seconds", "nanos"),
    [
        ("0s", 0, 0),
        ("1s", 1, 0),
        ("-0.5s", 0, -500_000_000),
        ("1.000000001s", 1, 1),
        ("315576000000s", 315576000000, 0),
    ],
)
async def test_a_duration_is_seconds_with_an_s(front: Front, given: str, seconds: int, nanos: int) -> None:
    asked = await sent(front, span=given)
    assert (asked.span.seconds, asked.span.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    "given", ["1", "1m", "s", ".5s", "1.s", "1 s", "1.0000000001s", "315576000001s", "1e3s", "", 1, "+1s"]
)
async def test_what_is_no_duration_is_refused(front: Front, given: object) -> None:
    assert await wrong(front, json.dumps({"span": given})) == "span"


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("", []),
        ("a", ["a"]),
        ("fooBar,baz.quxQuux", ["foo_bar", "baz.qux_quux"]),
        ("foo_bar", ["foo_bar"]),
        ("*", ["*"]),
    ],
)
async def test_a_mask_is_paths_with_commas_in_either_case(front: Front, given: str, paths: list[str]) -> None:
    assert list((await sent(front, mask=given)).mask.paths) == paths


@pytest.mark.parametrize("given", [",", "a,", "a b", "a..b", ".a", "a[0]", 1, ["a"], {"paths": ["a"]}])
async def test_what_is_no_mask_is_refused(front: Front, given: object) -> None:
    assert await wrong(front, json.dumps({"mask": given})) == "mask"


# ---------------------------------------------------------------- wrappers, any, struct


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("wrapped_text", "", ""),
        ("wrapped_yes", False, False),
        ("wrapped_i64", "-9223372036854775808", -(2**63)),
        ("wrapped_u64", 2**64 - 1, 2**64 - 1),
        ("wrapped_i32", 0, 0),
        ("wrapped_u32", 4294967295, 4294967295),
        ("wrapped_number", "NaN", None),
        ("wrapped_small", 0.5, 0.5),
        ("wrapped_raw", "_-8", b"\xff\xef"),
    ],
)
async def test_a_wrapper_is_its_value_and_is_there(front: Front, name: str, given: object, value: object) -> None:
    asked = await sent(front, **{name: given})
    assert asked.HasField(name)
    assert value is None or getattr(asked, name).value == value
    assert not (await sent(front, **{name: None})).HasField(name)
    assert await wrong(front, json.dumps({name: {"value": given}})) == name


async def test_a_wrapper_in_a_query_is_its_value_too(front: Front) -> None:
    asked = await front.asked("GET", "/v1/things/a?wrapped_yes=true&wrapped_number=1e3&wrapped_raw=_-8&wrapped_u32=0")
    assert (asked.wrapped_yes.value, asked.wrapped_number.value, asked.wrapped_raw.value) == (True, 1000.0, b"\xff\xef")
    assert asked.HasField("wrapped_u32")


async def test_an_any_is_a_message_with_its_type(front: Front) -> None:
    asked = await sent(front, any={"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"})
    span = Duration()
    assert asked.any.Unpack(span)
    assert span.nanos == 500_000_000
    inner = {"@type": "type.googleapis.com/conformance.v1.Inner", "count": 3}
    answer = (await front.ask("POST", "/v1/things", json.dumps({"any": inner}))).json()
    assert answer["any"] == {"name": "", **inner}
    assert (await sent(front, any={})).any == AnyMessage()


@pytest.mark.parametrize(
    "given",
    [
        [],
        {"count": 3},
        {"@type": 1},
        {"@type": "Inner"},
        {"@type": "x/no.Such"},
        {"@type": "x/conformance.v1.Inner", "nothing": 1},
        {"@type": "x/google.protobuf.Duration"},
        {"@type": "x/google.protobuf.Duration", "value": "1s", "more": 1},
    ],
)
async def test_what_is_no_message_of_a_known_type_is_no_any(front: Front, given: object) -> None:
    assert (await wrong(front, json.dumps({"any": given}))).startswith("any")


async def test_a_struct_takes_any_object_within_its_depth(front: Front) -> None:
    deep: Any = 1
    for _ in range(25):
        deep = {"a": deep}
    assert (await sent(front, struct=deep)).struct.fields["a"].WhichOneof("kind") == "struct_value"
    for _ in range(10):
        deep = {"a": deep}
    assert (await wrong(front, json.dumps({"struct": deep}))).startswith("struct")


# ---------------------------------------------------------------- lists, maps, oneofs


async def test_lists_of_every_kind_are_taken(front: Front) -> None:
    asked = await sent(
        front,
        s64s=["-1", 2],
        doubles=[1, "NaN"],
        bools=[True],
        raws=["YQ", "YQ=="],
        colours=["RED", 2],
        ats=["1970-01-01T00:00:01Z"],
        values=[None, [], {"a": 1}],
        wrapped_numbers=[5],
    )
    assert (list(asked.s64s), list(asked.raws), list(asked.colours)) == ([-1, 2], [b"a", b"a"], [1, 2])
    assert [one.WhichOneof("kind") for one in asked.values] == ["null_value", "list_value", "struct_value"]


async def test_a_repeated_field_in_a_query_is_repeated(front: Front) -> None:
    asked = await front.asked("GET", "/v1/things/a?numbers=1&texts=x&numbers=2&colours=red&colours=2&numbers=1")
    assert (list(asked.numbers), list(asked.texts), list(asked.colours)) == ([1, 2, 1], ["x"], [1, 2])
    assert await front.refused("GET", "/v1/things/a?numbers=1&numbers=x") == (400, "numbers: must be a whole number")


@pytest.mark.parametrize(
    ("given", "name", "found"),
    [
        ({"by_i32": {"-1": "a"}}, "by_i32", {-1: "a"}),
        ({"by_i64": {"9223372036854775807": "YQ"}}, "by_i64", {2**63 - 1: b"a"}),
        ({"by_u64": {"0": True}}, "by_u64", {0: True}),
        ({"by_yes": {"true": "RED", "false": 2}}, "by_yes", {True: 1, False: 2}),
        ({"by_sf32": {"5": 1}}, "by_sf32", {5: 1.0}),
        ({"counts": {"": 1}}, "counts", {"": 1}),
    ],
)
async def test_maps_have_keys_of_every_kind(front: Front, given: dict[str, Any], name: str, found: object) -> None:
    assert dict(getattr(await sent(front, **given), name)) == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"by_i32": {"x": "a"}}', "by_i32[x]"),
        ('{"by_i32": {"1": "a", "1.0": "b"}}', "by_i32[1.0]"),
        ('{"by_yes": {"TRUE": 1}}', "by_yes[TRUE]"),
        ('{"counts": {"a": null}}', "counts[a]"),
        ('{"counts": []}', "counts"),
        ('{"inner_by_name": {"a": {"inner": {"count": "x"}}}}', "inner_by_name[a].inner.count"),
    ],
)
async def test_what_a_map_cannot_hold_is_refused_by_its_key(front: Front, body: str, field: str) -> None:
    assert await wrong(front, body) == field


async def test_only_one_of_a_oneof_may_be_given_anywhere(front: Front) -> None:
    assert (await sent(front, left="", right=None)).WhichOneof("choice") == "left"
    assert (await sent(front, none=None)).WhichOneof("choice") == "none"
    assert await wrong(front, '{"left": "", "right": 0}') == "right"
    assert await wrong(front, '{"middle": {}, "left": ""}') == "left"
    assert (await front.asked("GET", "/v1/choices/a")).left == "a"
    assert (await front.refused("GET", "/v1/choices/a?right=1"))[1].startswith("right: excludes left")
    assert (await front.refused("GET", "/v1/things/a?right=1&middle.count=1"))[1].startswith("middle: excludes right")


async def test_a_name_given_to_json_alone_is_taken_beside_the_fields_own(front: Front) -> None:
    assert (await sent(front, calledOtherwise="a")).renamed == "a"
    assert (await sent(front, renamed="a")).renamed == "a"
    answer = (await front.ask("POST", "/v1/things", '{"renamed": "a"}')).json()
    assert answer["calledOtherwise"] == "a"
    assert await wrong(front, '{"calledOtherwise": "a", "renamed": "a"}') == "renamed"


# ---------------------------------------------------------------- the body as a whole


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[]", "the body must be an object, not a list"),
        ("[{}]", "the body must be an object, not a list"),
        ("null", "the body must be an object, not null"),
        ("5", "the body must be an object, not a number"),
        ('"a"', "the body must be an object, not a string"),
        ("true", "the body must be an object, not true or false"),
    ],
)
async def test_a_body_that_is_no_object_is_refused_in_our_own_words(front: Front, body: str, words: str) -> None:
    assert await front.refused("POST", "/v1/things", body) == (400, words)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "{} {}",
        '{"a"}',
        "{'text': 'a'}",
        '{"text": "a",}',
        '{"text": "a\nb"}',
        '{"text": "\\x"}',
        "text=a",
        "\ufeff{}",
        b"\xff{}",
        b'{"text": "\xc3\x28"}',
        b'{"text": "\xed\xa0\x80"}',
        '{"text": "\\ud800"}',
        '{"\\udc00": 1}',
        "// a\n{}",
        "\x00",
    ],
)
async def test_what_is_no_json_is_refused(front: Front, body: str | bytes) -> None:
    await wrong(front, body)


@pytest.mark.parametrize(
    "body",
    [
        '{"text": "a", "text": "a"}',
        '{"inner": {"count": 1, "count": 2}}',
        '{"struct": {"a": 1, "a": 2}}',
        '{"counts": {"a": 1, "\\u0061": 2}}',
        '{"payload": {"a": 1, "a": 2}}',
        '{"afterVersion": 1, "after_version": 1}',
    ],
)
async def test_no_key_stands_twice(front: Front, body: str) -> None:
    status, message = await front.refused("POST", "/v1/things", body)
    assert status == 400
    assert "twice" in message


async def test_half_of_a_pair_is_no_string_and_a_whole_pair_is(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", '{"text": "\\ud83d\\ude00"}')).text == "😀"


async def test_depth_has_an_end_of_fields_and_of_parameters(front: Front) -> None:
    def nested(depth: int) -> str:
        return '{"inner": ' + '{"inner": ' * depth + "{}" + "}" * depth + "}"

    await front.asked("POST", "/v1/things", nested(90))
    for depth in (json_text.MAX_DEPTH, 100_000):
        assert (await front.refused("POST", "/v1/things", nested(depth)))[0] == 400
    reach = "inner." * 30 + "count=1"
    await front.asked("GET", f"/v1/things/a?{reach}")
    assert (await front.refused("GET", f"/v1/things/a?{'inner.' * 200}count=1"))[0] == 400


async def test_a_million_values_is_too_much_however_small_they_are(front: Front) -> None:
    body = '{"values": [' + "[]," * 1_000_001 + "[]]}"
    assert (await front.refused("POST", "/v1/things", body))[0] == 413


@pytest.mark.parametrize("body", ["", " ", "\n", "{}", " { } ", None])
async def test_a_body_of_nothing_is_a_message_of_nothing(front: Front, body: str | None) -> None:
    assert (await front.asked("POST", "/v1/things", body)).ListFields() == []


async def test_a_body_may_be_one_list(front: Front) -> None:
    assert list((await front.asked("POST", "/v1/texts", '["a", "b"]')).texts) == ["a", "b"]
    assert (await front.refused("POST", "/v1/texts", '{"texts": ["a"]}'))[1] == "texts: must be a list, not an object"
    assert (await front.refused("POST", "/v1/texts", "null"))[1] == "texts: must not be null"


async def test_beside_a_body_of_one_field_the_others_are_in_the_query(front: Front) -> None:
    asked = await front.asked("PUT", "/v1/inner/a?i32=1&deeper.text=b", '{"count": 2}')
    assert (asked.inner.name, asked.inner.count, asked.i32, asked.deeper.text) == ("a", 2, 1, "b")
    assert (await front.refused("PUT", "/v1/inner/a?inner.inner.count=1", "{}"))[1].startswith("inner.inner.count: ")


async def test_a_query_cannot_overrule_the_path(front: Front) -> None:
    for query in ("text=a", "text=b", "text="):
        assert await front.refused("GET", f"/v1/things/a?{query}") == (400, "text: is part of the path already")
    assert (await front.refused("POST", "/v1/inner/a?inner.name=b", "{}"))[0] == 400


@pytest.mark.parametrize(
    "query", ["=1", "%00=1", "a%=1", "text%2=1", "&&x&", "inner=", "inner.=1", ".text=1", "inner..count=1"]
)
async def test_a_query_of_odd_names_is_refused(front: Front, query: str) -> None:
    assert (await front.refused("GET", f"/v1/things/a?{query}"))[0] == 400


async def test_empty_parts_of_a_query_are_nothing(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/a?&&i32=1&")).i32 == 1
    assert (await front.asked("GET", "/v1/things/a?")).text == "a"
    assert (await front.asked("GET", "/v1/things/a?left")).HasField("left")
