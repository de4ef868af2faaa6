"""What an answer looks like: zero values, names, parts, bytes, media types, `$fields`, compression, statuses."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.api.negotiate import choose, refuses_plain, takes_gzip
from controlplane.api.status import BY_ERROR, BY_REASON, Refused, failure_of
from controlplane.domain.errors import Exhausted, Invalid, Unavailable
from tests.api.conformance import Front

# ---------------------------------------------------------------- JSON


async def test_zero_values_are_printed_and_unset_presence_is_not(front: Front) -> None:
    answer = (await front.ask("GET", "/api/v1/things/a")).json()
    assert (answer["i32"], answer["i64"], answer["yes"], answer["raw"], answer["colour"]) == (
        0,
        "0",
        False,
        "",
        "UNSPECIFIED",
    )
    assert (answer["texts"], answer["counts"]) == ([], {})
    assert not {"maybe", "inner", "at", "left", "payload", "wrapped_text"} & answer.keys()


async def test_names_are_snake_case_under_api_v1_and_camel_case_elsewhere(front: Front) -> None:
    assert "after_version" in (await front.ask("GET", "/api/v1/things/a")).json()
    assert "afterVersion" in (await front.ask("GET", "/v1/things/a")).json()


async def test_what_goes_in_comes_out_the_same(front: Front) -> None:
    given: dict[str, Any] = {
        "i64": "-9223372036854775808",
        "u64": "18446744073709551615",
        "number": "-Infinity",
        "small": 3.4028235e38,
        "raw": "AAH/",
        "colour": "DARK_BLUE",
        "numbers": [1, -2],
        "inners": [{"name": "a", "count": 1}],
        "counts": {"a": 1},
        "right": 0,
        "maybe": 0,
        "at": "2026-01-02T03:04:05.000006Z",
        "span": "-1.5s",
        "value": {"a": [1, "b", None, True, {"c": 1.5}]},
        "struct": {"x": {"y": []}},
        "wrappedText": "",
        "wrappedI64": "5",
        "payload": {"n": 1},
    }
    answer = (await front.ask("POST", "/v1/things", json.dumps(given))).json()
    assert {key: answer[key] for key in given} == given


async def test_an_instant_of_any_zone_is_printed_in_utc_with_microseconds(front: Front) -> None:
    answer = (await front.ask("GET", "/v1/things/a?at=0099-12-31T23:30:00-01:00")).json()
    assert answer["at"] == "0100-01-01T00:30:00.000000Z"


async def test_a_part_of_the_answer_can_be_the_answer(front: Front) -> None:
    assert (await front.ask("POST", "/v1/part/inner", '{"inner": {"name": "x"}}')).json() == {
        "name": "x",
        "count": 0,
    }


async def test_long_answers_are_compressed_where_wanted(front: Front) -> None:
    body = json.dumps({"left": "x" * 5000})
    packed = await front.ask("POST", "/v1/things", body, accept_encoding="gzip")
    plain = await front.ask("POST", "/v1/things", body, accept_encoding="gzip;q=0")
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


async def test_the_largest_float_goes_in_and_comes_out(front: Front) -> None:
    for given in ("3.4028235e+38", "-3.4028235e+38", "1.17549435e-38", "1e-45", "0.1", "16777216.0"):
        answer = (await front.ask("POST", "/v1/things", f'{{"small": {given}}}')).text
        assert float(answer.partition('"small":')[2].partition(",")[0]) == pytest.approx(float(given), rel=1e-6)
        again = (await front.ask("POST", "/v1/things", answer)).text
        assert again == answer
    assert (await front.refused("POST", "/v1/things", '{"small": 3.4028236e+38}'))[0] == 400


async def test_what_is_no_number_in_json_is_printed_by_its_name(front: Front) -> None:
    answer = (await front.ask("POST", "/v1/things", '{"number": "NaN", "small": "Infinity"}')).json()
    assert (answer["number"], answer["small"]) == ("NaN", "Infinity")


async def test_an_enum_is_printed_by_name_and_an_unknown_one_by_number(front: Front) -> None:
    assert (await front.ask("GET", "/v1/things/a?colour=2")).json()["colour"] == "DARK_BLUE"
    assert (await front.ask("GET", "/v1/things/a?colour=77")).json()["colour"] == 77


async def test_every_64_bit_integer_is_a_string_and_every_smaller_one_a_number(front: Front) -> None:
    answer = (await front.ask("GET", "/v1/things/a")).json()
    assert {name for name in answer if answer[name] == "0"} == {"i64", "u64", "s64", "f64", "sf64"}
    assert {name for name in ("i32", "u32", "s32", "f32", "sf32", "number", "small") if answer[name] == 0} == {
        "i32",
        "u32",
        "s32",
        "f32",
        "sf32",
        "number",
        "small",
    }


async def test_a_message_of_a_type_that_is_not_known_is_bytes_and_no_error(front: Front) -> None:
    unknown = AnyMessage(type_url="type.example/some.Other", value=b"\xff")

    async def answer(call: object, request: Any) -> Any:
        return type(request)(
            any=unknown, anys=[AnyMessage(type_url="type.example/google.protobuf.Duration", value=b"\xff")]
        )

    front.pipeline._handlers["conformance.v1.Echo/Get"] = answer
    answered = (await front.ask("GET", "/v1/things/a")).json()
    assert answered["any"] == {"@type": "type.example/some.Other", "value": "/w=="}
    assert answered["anys"][0]["value"] == "/w=="


# ---------------------------------------------------------------- parts and bytes


@pytest.mark.parametrize(
    ("part", "sent", "answer"),
    [
        ("inner", {"inner": {"name": "x"}}, {"name": "x", "count": 0}),
        ("inner", {}, None),
        ("inners", {"inners": [{"name": "x"}, {}]}, [{"name": "x", "count": 0}, {"name": "", "count": 0}]),
        ("inners", {}, []),
        ("i64", {"i64": "5"}, "5"),
        ("i64", {}, "0"),
        ("text", {"text": "x"}, "x"),
        ("counts", {"counts": {"a": 1}}, {"a": 1}),
    ],
)
async def test_any_kind_of_field_can_be_the_whole_answer(
    front: Front, part: str, sent: dict[str, Any], answer: object
) -> None:
    assert (await front.ask("POST", f"/v1/part/{part}", json.dumps(sent))).json() == answer


async def test_a_body_of_bytes_goes_in_and_comes_out_with_its_type(front: Front) -> None:
    response = await front.ask("POST", "/v1/convert", b"\x00\xff", content_type="image/png")
    assert (response.content, response.headers["content-type"]) == (b"\x00\xff", "image/png")
    assert front.echo.asked[-1].content_type == "image/png"


async def test_bytes_may_stand_beside_other_fields(front: Front) -> None:
    response = await front.ask("POST", "/v1/attach/a?i32=1", b"{no json", content_type="text/csv; header=present")
    assert (response.content, response.headers["content-type"]) == (b"{no json", "text/csv; header=present")
    assert (front.echo.asked[-1].text, front.echo.asked[-1].i32) == ("a", 1)


async def test_bytes_of_a_file_cannot_act_in_this_servers_name(front: Front) -> None:
    response = await front.ask("POST", "/v1/convert", b"<script>", content_type="text/html")
    assert (response.headers["content-security-policy"], response.headers["x-content-type-options"]) == (
        "sandbox",
        "nosniff",
    )


async def test_a_type_that_no_header_can_carry_is_none(front: Front) -> None:
    file = {"file": {"content_type": "text/plain\r\nset-cookie: a=b", "data": "YWJj"}}
    response = await front.ask("POST", "/v1/part/file", json.dumps(file))
    assert (response.content, response.headers["content-type"]) == (b"abc", "application/octet-stream")
    assert "set-cookie" not in response.headers


async def test_a_stream_of_bytes_is_one_body_of_the_type_of_its_first_piece(front: Front) -> None:
    response = await front.ask("GET", "/v1/download?text=image/png")
    assert (response.content, response.headers["content-type"]) == (b"abcdef", "image/png")


async def test_nothing_is_an_empty_object(front: Front) -> None:
    for body in (None, "", " ", "{}"):
        assert (await front.ask("POST", "/v1/nothing", body)).json() == {}


async def test_requests_and_answers_may_be_no_objects_of_fields(front: Front) -> None:
    assert (await front.ask("POST", "/v1/describe", '{"b": 1, "a": {}}')).json() == ["a", "b"]
    assert (await front.refused("POST", "/v1/describe", "[]"))[0] == 400


# ---------------------------------------------------------------- media types


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "a/x"),
        ("*/*", "a/x"),
        ("a/y", "a/y"),
        ("A/Y", "a/y"),
        ("a/*", "a/x"),
        ("b/*", "b/z"),
        ("a/x;q=0.5, a/y", "a/y"),
        ("a/x;q=0.5, a/y;q=0.4, b/z;q=0.6", "b/z"),
        ("a/*;q=0.9, a/x;q=0.1", "a/y"),
        ("a/x;q=0, */*", "a/y"),
        ("a/x; q=0", None),
        ("*/*;q=0", None),
        ("c/c", None),
        ("text/html, c/c;q=0.9, */*;q=0.8", "a/x"),
        ("a/y;level=1;q=0.3", "a/y"),
        ("a/y;q=seven", "a/y"),
        ("nonsense", "a/x"),
    ],
)
def test_the_best_of_what_is_offered_is_chosen_by_weight_then_by_order(accept: str, chosen: str | None) -> None:
    assert choose(accept, ("a/x", "a/y", "b/z")) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "text/event-stream"])
async def test_who_takes_nothing_that_is_offered_is_told_before_anything_happens(front: Front, accept: str) -> None:
    status, message = await front.refused("POST", "/v1/things", "{}", accept=accept)
    assert (status, message) == (406, "this call answers with application/json: Accept names none of them")


async def test_who_takes_no_form_of_a_stream_is_told_which_there_are(front: Front) -> None:
    response = await front.ask("GET", "/v1/watch", accept="text/html")
    assert response.status_code == 406
    assert response.json()["error"]["details"][0]["metadata"]["offered"] == (
        "application/x-ndjson, text/event-stream, application/json"
    )


async def test_a_refusal_is_json_whatever_is_accepted(front: Front) -> None:
    response = await front.ask("GET", "/nothing", accept="text/html")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    ("alt", "kind"), [("json", "application/json"), ("sse", "text/event-stream"), ("ndjson", "application/x-ndjson")]
)
async def test_alt_says_for_links_what_accept_says_for_programs(front: Front, alt: str, kind: str) -> None:
    response = await front.ask("GET", f"/v1/watch?$alt={alt}", accept="text/html")
    assert response.headers["content-type"] == kind
    assert (await front.refused("GET", f"/v1/things/a?$alt={alt}"))[0] == 400 if alt != "json" else True


async def test_a_system_parameter_that_there_is_not_is_refused(front: Front) -> None:
    assert (await front.refused("GET", "/v1/things/a?$prettyPrint=1"))[1].startswith("$prettyPrint: ")
    assert (await front.refused("GET", "/v1/things/a?$alt=json&$alt=json"))[0] == 400
    assert (await front.refused("GET", "/v1/things/a?$alt=proto"))[0] == 400


# ---------------------------------------------------------------- $fields


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ("text,i32", {"text": "a", "i32": 7}),
        ("afterVersion", {"after_version": 0}),
        ("inner.name", {"inner": {"name": "n"}}),
        ("inner.inner.count,inner.name", {"inner": {"name": "n", "inner": {"count": 3}}}),
        ("inner,inner.name", {"inner": {"name": "n", "count": 0, "inner": {"name": "", "count": 3}}}),
        ("inner.name,inner", {"inner": {"name": "n", "count": 0, "inner": {"name": "", "count": 3}}}),
        ("inners.count", {"inners": [{"count": 1}, {"count": 2}]}),
        ("counts.x", {"counts": {"x": 1}}),
        ("inner_by_name.*.count", {"inner_by_name": {"k": {"count": 4}}}),
        ("inner_by_name.k.name", {"inner_by_name": {"k": {"name": ""}}}),
        ("maybe", {}),
    ],
)
async def test_fields_names_what_of_an_answer_is_wanted(front: Front, fields: str, left: dict[str, Any]) -> None:
    sent = {
        "text": "a",
        "i32": 7,
        "inner": {"name": "n", "inner": {"count": 3}},
        "inners": [{"count": 1}, {"count": 2}],
        "counts": {"x": 1, "y": 2},
        "inner_by_name": {"k": {"count": 4}},
    }
    assert (await front.ask("POST", f"/api/v1/things?$fields={fields}", json.dumps(sent))).json() == left


async def test_fields_is_a_star_for_everything_and_prunes_every_answer_of_a_stream(front: Front) -> None:
    whole = (await front.ask("GET", "/v1/things/a")).json()
    assert (await front.ask("GET", "/v1/things/a?$fields=*")).json() == whole
    lines = (await front.ask("GET", "/v1/watch?$fields=version")).text.splitlines()
    assert [json.loads(line) for line in lines] == [{"version": 1}, {"version": 2}, {"version": 3}]


@pytest.mark.parametrize("fields", ["nothing", "inner.nothing", "text.x", "", ",", "inner..name", "i32," * 1001])
async def test_fields_that_an_answer_does_not_have_are_refused_before_anything_happens(
    front: Front, fields: str
) -> None:
    status, message = await front.refused("GET", f"/v1/things/a?$fields={fields}")
    assert (status, message.partition(":")[0]) == (400, "$fields")


# ---------------------------------------------------------------- compression


@pytest.mark.parametrize(
    ("accept_encoding", "packs", "refuses"),
    [
        ("", False, False),
        ("gzip", True, False),
        ("GZIP", True, False),
        ("x-gzip", True, False),
        ("deflate, gzip;q=0.5", True, False),
        ("*", True, False),
        ("gzip;q=0", False, False),
        ("gzip;q=0.000", False, False),
        ("*;q=0", False, True),
        ("identity;q=0", False, True),
        ("gzip, identity;q=0", True, True),
        ("*;q=0, identity", False, False),
        ("br", False, False),
    ],
)
def test_encodings_have_weights_too(accept_encoding: str, packs: bool, refuses: bool) -> None:
    assert (takes_gzip(accept_encoding), refuses_plain(accept_encoding)) == (packs, refuses)


async def test_short_answers_and_events_are_left_as_they_are(front: Front) -> None:
    assert "content-encoding" not in (await front.ask("GET", "/v1/things/a", accept_encoding="gzip")).headers
    events = await front.ask("GET", "/v1/watch", accept="text/event-stream", accept_encoding="gzip")
    assert "content-encoding" not in events.headers


async def test_a_short_answer_is_compressed_for_who_takes_nothing_else(front: Front) -> None:
    response = await front.ask("GET", "/v1/part/none", accept_encoding="gzip, identity;q=0")
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["error"]["code"] == 404


# ---------------------------------------------------------------- statuses


def test_every_code_has_the_http_status_that_google_gives_it() -> None:
    told = {codes.grpc.name: codes.http for codes in BY_ERROR.values()}
    assert told == {
        "INVALID_ARGUMENT": 400,
        "FAILED_PRECONDITION": 400,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409,
        "ABORTED": 409,
        "RESOURCE_EXHAUSTED": 429,
        "UNAVAILABLE": 503,
    }
    narrower = {reason: codes.http for reason, codes in BY_REASON.items()}
    assert narrower["DEADLINE_EXCEEDED"] == 504
    assert narrower["CALL_CANCELLED"] == 499
    assert narrower["INTERNAL"] == 500
    assert BY_REASON["METHOD_NOT_ALLOWED"].grpc is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("seconds", "header"), [(0.001, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60")])
def test_retry_after_is_rounded_up(seconds: float, header: str) -> None:
    assert failure_of(Unavailable("x", retry_after_seconds=seconds)).retry_after == header


@pytest.mark.parametrize("failure", [Invalid.field("a", "b"), Exhausted("x"), Refused("x"), RuntimeError("x")])
async def test_every_error_has_its_reason_and_each_kind_of_detail_once(front: Front, failure: Exception) -> None:
    front.echo.failure = failure
    error = (await front.ask("GET", "/api/v1/things/a")).json()["error"]
    assert list(error) == ["code", "status", "message", "details"]
    kinds = [one["@type"].rpartition(".")[2] for one in error["details"]]
    assert kinds[0] == "ErrorInfo"
    assert len(set(kinds)) == len(kinds)
    assert (error["details"][0]["domain"], bool(error["details"][0]["reason"])) == ("pawl.dev", True)
