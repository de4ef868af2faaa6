"""Path, query and body become one message: google/api/http.proto as a spec, and where transcoders go wrong."""

import gzip
import json

import pytest

from tests.api.conformance import Front

# ---------------------------------------------------------------- query


async def test_query_names_come_in_both_cases_and_reach_into_messages(front: Front) -> None:
    asked = await front.asked("GET", "/v1/things/a?inner.count=3&afterVersion=2&texts=x&texts=y&spelled=s")
    assert (asked.inner.count, asked.after_version, list(asked.texts), asked.spelt) == (3, 2, ["x", "y"], "s")


async def test_plus_in_a_query_is_a_space(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/a?left=b+c%2B")).left == "b c+"


async def test_every_single_value_fits_a_query(front: Front) -> None:
    query = (
        "colour=dark_blue&yes=true&i64=-9007199254740993&number=1e3&raw=_-8&at=2026-01-02T03:04:05Z&span=1.5s"
        "&mask=aB,c.dE&wrappedText=t&wrapped_yes=false&wrapped_i64=7&maybe=0"
    )
    asked = await front.asked("GET", f"/v1/things/a?{query}")
    assert (asked.colour, asked.yes, asked.i64, asked.number, asked.raw) == (
        2,
        True,
        -9007199254740993,
        1e3,
        b"\xff\xef",
    )
    assert (asked.at.seconds, asked.span.nanos, list(asked.mask.paths)) == (1767323045, 500_000_000, ["a_b", "c.d_e"])
    assert (asked.wrapped_text.value, asked.HasField("wrapped_yes"), asked.wrapped_i64.value) == ("t", True, 7)
    assert asked.HasField("maybe")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("nothing=1", "nothing"),
        ("inner.nothing=1", "inner.nothing"),
        ("i32=1&i32=2", "i32"),
        ("i32=1_0", "i32"),
        ("i32=%201", "i32"),
        ("i32=%D9%A3", "i32"),
        ("i32=2147483648", "i32"),
        ("u32=-1", "u32"),
        ("number=nan", "number"),
        ("yes", "yes"),
        ("yes=True", "yes"),
        ("raw=***", "raw"),
        ("colour=pink", "colour"),
        ("at=yesterday", "at"),
        ("at=2026-02-30T00:00:00Z", "at"),
        ("span=1", "span"),
        ("counts=1", "counts"),
        ("inners=1", "inners"),
        ("inner=1", "inner"),
        ("struct=1", "struct"),
        ("payload=1", "payload"),
        ("left=a&right=1", "right"),
        ("text=b", "text"),
        ("after_version=1&afterVersion=1", "after_version"),
        ("left=%C3%28", "left"),
    ],
)
async def test_a_wrong_query_parameter_is_refused_by_its_name(front: Front, query: str, field: str) -> None:
    status, message = await front.refused("GET", f"/v1/things/a?{query}")
    assert (status, message.partition(":")[0]) == (400, field)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("count=1", "count: there is no such parameter; did you mean inner.count?"),
        ("tekst=1", "tekst: there is no such parameter; did you mean text?"),
        ("inner.nam=1", "inner.nam: there is no such parameter; did you mean inner.name?"),
        ("inner=1", "inner: cannot be a query parameter as a whole, but its fields can: inner.name and so on"),
        ("counts=1", "counts: cannot be a query parameter: it stands in the body only"),
        ("qqqqqqqq=1", "qqqqqqqq: there is no such parameter"),
    ],
)
async def test_a_query_that_is_nearly_right_is_told_what_would_be(front: Front, query: str, hint: str) -> None:
    assert await front.refused("GET", f"/v1/things/a?{query}") == (400, hint)


async def test_system_parameters_are_not_ours_to_refuse(front: Front) -> None:
    await front.asked("GET", "/v1/things/a?$alt=json")


async def test_a_body_of_everything_leaves_no_query(front: Front) -> None:
    assert (await front.refused("POST", "/v1/things?text=a", "{}"))[0] == 400


async def test_a_query_cannot_overrule_the_body(front: Front) -> None:
    assert (await front.refused("POST", "/v1/inner/a?inner.count=1", "{}"))[0] == 400


# ---------------------------------------------------------------- body


async def test_a_body_may_repeat_what_the_path_says_but_not_contradict_it(front: Front) -> None:
    assert (await front.asked("POST", "/v1/inner/a", '{"name": "a", "count": 1}')).inner.count == 1
    status, message = await front.refused("POST", "/v1/inner/a", '{"name": "b"}')
    assert (status, message) == (400, "inner.name: is 'b' in the body, but 'a' in the path")


async def test_a_body_where_none_is_taken_is_refused(front: Front) -> None:
    assert (await front.refused("DELETE", "/v1/things/a", "{}"))[0] == 400


async def test_both_cases_of_a_name_and_its_alias_mean_one_field_once(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", '{"innerByName": {"a": {"count": 1}}}')).inner_by_name[
        "a"
    ].count == 1
    status, message = await front.refused("POST", "/v1/things", '{"spelt": "a", "spelled": "a"}')
    assert (status, message) == (400, "spelt: is given twice, as spelt and as spelled")


@pytest.mark.parametrize("given", ['"RED"', '"red"', '"conformance.v1.Everything.Colour.RED"', "1", '"1"'])
async def test_an_enum_is_taken_by_name_in_any_case_and_by_number(front: Front, given: str) -> None:
    assert (await front.asked("POST", "/v1/things", f'{{"colour": {given}}}')).colour == 1


async def test_null_is_a_field_left_out(front: Front) -> None:
    asked = await front.asked("POST", "/v1/things", '{"text": null, "maybe": null, "inner": null, "texts": null}')
    assert asked.ListFields() == []


async def test_an_any_valued_field_takes_null_as_a_value(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", '{"value": null}')).value.WhichOneof("kind") == "null_value"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"inner": {"nothing": 1}}', "inner.nothing"),
        ('{"inners": [{}, {"count": "x"}]}', "inners[1].count"),
        ('{"inner_by_name": {"k": {"count": 1.5}}}', "inner_by_name[k].count"),
        ('{"texts": ["a", null]}', "texts[1]"),
        ('{"texts": "a"}', "texts"),
        ('{"i64": "9223372036854775808"}', "i64"),
        ('{"number": 1e400}', "number"),
        ('{"yes": "true"}', "yes"),
        ('{"raw": "a"}', "raw"),
        ('{"left": "a", "right": 1}', "right"),
        ('{"value": 9007199254740993}', "value"),
        ('{"struct": []}', "struct"),
        ('{"payload": {"@content_type": "text/plain"}}', "payload"),
        ('{"payload": {"@content_type": "a/b", "@data": "***"}}', "payload"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_path(front: Front, body: str, field: str) -> None:
    status, message = await front.refused("POST", "/v1/things", body)
    assert (status, message.partition(":")[0]) == (400, field)


async def test_whole_numbers_may_be_written_with_a_point_or_in_a_string(front: Front) -> None:
    asked = await front.asked("POST", "/v1/things", '{"i32": 2.0, "i64": "12", "u32": 1e2, "number": "0.5"}')
    assert (asked.i32, asked.i64, asked.u32, asked.number) == (2, 12, 100, 0.5)


async def test_a_payload_keeps_its_own_slice_of_the_body(front: Front) -> None:
    inline = '{"b": 1e2,\n "a": [1.50, 12345678901234567890123, "\\u00fc"]}'
    asked = await front.asked("POST", "/v1/things", f'{{"text": "a", "payload" :  {inline} , "payloads": [ 1 , null]}}')
    assert asked.payload.data == inline.encode()
    assert [one.data for one in asked.payloads] == [b"1", b"null"]
    assert asked.payload.content_type == "application/json"


async def test_null_is_a_payload(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", '{"payload": null}')).payload.data == b"null"


AMBIGUOUS = '{"@content_type": 1}'


@pytest.mark.parametrize(
    ("given", "data", "content_type"),
    [
        ({"@content_type": "text/plain", "@text": "ü"}, "ü".encode(), "text/plain"),
        ({"@content_type": "a/b", "@data": "AP8="}, b"\x00\xff", "a/b"),
        (
            {"@content_type": "application/json", "@text": '{"@content_type": 1}'},
            b'{"@content_type": 1}',
            "application/json",
        ),
    ],
)
async def test_the_long_form_of_a_payload_goes_in_and_comes_out(
    front: Front, given: dict[str, str], data: bytes, content_type: str
) -> None:
    response = await front.ask("POST", "/v1/things", json.dumps({"payload": given}))
    asked = front.echo.asked[-1].payload
    assert (asked.data, asked.content_type) == (data, content_type)
    assert response.json()["payload"] == given


async def test_a_payload_that_only_claims_to_be_json_does_not_break_the_answer(front: Front) -> None:
    long_form = {"@content_type": "application/json", "@data": "eyJhIjo="}
    response = await front.ask("POST", "/v1/things", json.dumps({"payload": long_form}))
    assert response.json()["payload"] == long_form


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "application/problem+json; charset=utf-8"]
)
async def test_json_goes_by_several_names(front: Front, kind: str) -> None:
    assert (await front.asked("POST", "/v1/things", '{"i32": 1}', content_type=kind)).i32 == 1


async def test_another_content_type_is_refused(front: Front) -> None:
    assert (await front.refused("POST", "/v1/things", "a: 1", content_type="text/yaml"))[0] == 415


async def test_a_gzipped_body_is_read_within_the_same_cap(front: Front) -> None:
    packed = gzip.compress(b'{"i32": 1}')
    assert (await front.asked("POST", "/v1/things", packed, content_encoding="gzip")).i32 == 1
    bomb = gzip.compress(b" " * (11 << 20))
    assert (await front.refused("POST", "/v1/things", bomb, content_encoding="gzip"))[0] == 413
    assert (await front.refused("POST", "/v1/things", packed[:-4], content_encoding="gzip"))[0] == 400
    assert (await front.refused("POST", "/v1/things", b"no gzip", content_encoding="gzip"))[0] == 400
    assert (await front.refused("POST", "/v1/things", b"{}", content_encoding="br"))[0] == 415
