"""Templates of google/api/http.proto: which paths they match, which of several wins, and which are no templates."""

import dataclasses
import re

import pytest

from controlplane.api.methods import HttpRule
from controlplane.api.routes import Router, compile_rule
from tests.api.conformance import Front, methods

GET = methods()["conformance.v1.Echo/Get"]


# ---------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/v1/things", "/v1/things", []),
        ("/v1/{text}", "/v1/a", ["a"]),
        ("/v1/{text=*}", "/v1/a", ["a"]),
        ("/v1/{text=**}", "/v1/a/b", ["a/b"]),
        ("/v1/{text=**}", "/v1", [""]),
        ("/v1/{text=second/**}", "/v1/second", ["second"]),
        ("/v1/{text=second/**}", "/v1/second/a/b", ["second/a/b"]),
        ("/v1/{inner.name=a/*/b/*}/c/{text}", "/v1/a/1/b/2/c/3", ["a/1/b/2", "3"]),
        ("/v1/{inner.inner.name}:go", "/v1/a:go", ["a"]),
        ("/v1/{text=a/**}:go", "/v1/a/b/c:go", ["a/b/c"]),
        ("/v1:go", "/v1:go", []),
        ("/v1/*/x", "/v1/any/x", []),
        ("/v1/**", "/v1/any/thing", []),
        ("/v1/a-b.c_d~e", "/v1/a-b.c_d~e", []),
    ],
)
def test_every_form_of_template_matches_what_the_grammar_says(template: str, path: str, values: list[str]) -> None:
    found = compile_rule(GET, HttpRule("GET", template, "", ""))
    bare = path.removesuffix(f":{found.verb_suffix}") if found.verb_suffix else path
    match = found.pattern.fullmatch(bare)
    assert match is not None
    assert [one or "" for one in match.groups()] == values


@pytest.mark.parametrize(
    "template",
    [
        "",
        "v1/things",
        "/",
        "/v1/",
        "/v1//things",
        "/v1/{text",
        "/v1/text}",
        "/v1/{}",
        "/v1/{te xt}",
        "/v1/{text=}",
        "/v1/{text={i32}}",
        "/v1/{text=a/}",
        "/v1/{text=**/b}",
        "/v1/**/b",
        "/v1/{text=**}/b",
        "/v1/a*",
        "/v1/{text}x",
        "/v1/x{text}",
        "/v1/{text}:",
        "/v1/{text}:a:b",
        "/v1/{text}/{text}",
        "/v1/{nothing}",
        "/v1/{inner}",
        "/v1/{inner.nothing}",
        "/v1/{texts}",
        "/v1/{inners.name}",
        "/v1/{counts}",
    ],
)
def test_a_template_that_cannot_work_stops_the_server_from_starting(template: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(template))):
        compile_rule(GET, HttpRule("GET", template, "", ""))


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("Post", HttpRule("POST", "/v1/x", "nothing", "")),
        ("Post", HttpRule("POST", "/v1/x", "*", "nothing")),
    ],
)
def test_a_rule_that_names_what_its_messages_do_not_have_stops_it_too(method: str, rule: HttpRule) -> None:
    with pytest.raises(ValueError, match="nothing"):
        compile_rule(methods()[f"conformance.v1.Echo/{method}"], rule)


def test_two_rules_that_are_one_are_refused() -> None:
    rules = (HttpRule("GET", "/v1/{text}", "", ""), HttpRule("GET", "/v1/{inner.name}", "", ""))
    with pytest.raises(ValueError, match="bound twice"):
        Router([dataclasses.replace(GET, rules=rules)])


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/a/b", "/v1/a/b"),
        ("/v1/a/x", "/v1/a/{text}"),
        ("/v1/x/b", "/v1/{text}/b"),
        ("/v1/x/x", "/v1/{text}/{left}"),
        ("/v1/a/b/c", "/v1/a/**"),
        ("/v1/x/b/c", "/v1/{text=**}"),
    ],
)
def test_literals_beat_variables_and_variables_beat_two_stars_from_the_left(path: str, template: str) -> None:
    templates = ("/v1/{text=**}", "/v1/{text}/{left}", "/v1/a/**", "/v1/{text}/b", "/v1/a/{text}", "/v1/a/b")
    for order in (templates, templates[::-1]):
        rules = tuple(HttpRule("GET", one, "", "") for one in order)
        found = Router([dataclasses.replace(GET, rules=rules)]).match("GET", path)
        assert found is not None
        assert found.binding.rule.template == template


# ---------------------------------------------------------------- over HTTP


async def test_a_variable_is_one_segment_and_is_decoded_wholly(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/a%2Fb%20c%3A+%C3%BC")).text == "a/b c:+ü"


async def test_a_variable_with_a_pattern_keeps_its_literals_and_escaped_slashes(front: Front) -> None:
    assert (await front.asked("GET", "/v1/deep/shelves/1/books/x%2Fy")).inner.name == "shelves/1/books/x%2Fy"


async def test_two_stars_match_any_number_of_segments_and_none(front: Front) -> None:
    assert (await front.asked("GET", "/v1/files/a/b/c")).text == "a/b/c"
    assert (await front.asked("GET", "/v1/files")).text == ""


async def test_several_variables_each_go_where_they_belong(front: Front) -> None:
    asked = await front.asked("GET", "/v1/two/x/and/y")
    assert (asked.inner.name, asked.text) == ("x", "y")


async def test_a_literal_is_more_specific_than_a_variable(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/fixed")).text == ""


async def test_a_verb_never_becomes_part_of_an_id(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/a:look")).text == "a"
    response = await front.ask("DELETE", "/v1/things/a:look")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert (await front.ask("DELETE", "/v1/things/a:nope")).status_code == 404


async def test_an_escaped_colon_is_data(front: Front) -> None:
    assert (await front.asked("DELETE", "/v1/things/a%3Alook")).text == "a:look"


@pytest.mark.parametrize("path", ["/v1/things/", "/v1//things", "/v1/things/a/", "/v1/two//and/y", "/V1/things/a"])
async def test_empty_segments_and_other_spellings_lead_nowhere(front: Front, path: str) -> None:
    assert (await front.refused("GET", path))[0] == 404


async def test_a_path_that_is_no_utf8_is_invalid(front: Front) -> None:
    assert await front.refused("GET", "/v1/things/%C3%28") == (400, "text: is no UTF-8")


async def test_nothing_there_is_json_like_every_other_error(front: Front) -> None:
    error = (await front.ask("GET", "/nothing")).json()["error"]
    assert (error["code"], error["status"], error["details"][0]["reason"]) == (404, "NOT_FOUND", "ROUTE_NOT_FOUND")


async def test_head_is_get_without_its_body_and_options_lists_methods(front: Front) -> None:
    head = await front.ask("HEAD", "/v1/things/a")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    assert (await front.ask("OPTIONS", "/v1/things/a")).headers["allow"] == "DELETE, GET, HEAD, PATCH, OPTIONS"


async def test_several_variables_may_stand_in_another_order_in_another_binding(front: Front) -> None:
    asked = await front.asked("GET", "/v1/owt/y/and/x")
    assert (asked.inner.name, asked.text) == ("x", "y")


async def test_variables_are_read_as_what_their_fields_are(front: Front) -> None:
    asked = await front.asked("GET", "/v1/numbers/-7/true/dark_blue/3")
    assert (asked.i32, asked.yes, asked.colour, asked.inner.inner.count) == (-7, True, 2, 3)
    wrong = {"x/true/1/3": "i32", "1/yes/1/3": "yes", "1/true/pink/3": "colour", "1/true/1/1.5": "inner.inner.count"}
    for path, field in wrong.items():
        status, message = await front.refused("GET", f"/v1/numbers/{path}")
        assert (status, message.partition(":")[0]) == (400, field)


async def test_a_wildcard_without_a_name_matches_and_is_forgotten(front: Front) -> None:
    assert (await front.asked("GET", "/v1/any/x/of/a/b")).ListFields() == []
    assert (await front.asked("GET", "/v1/any/x/of")).ListFields() == []


async def test_a_variable_of_several_segments_keeps_escaped_slashes_in_either_case(front: Front) -> None:
    assert (await front.asked("GET", "/v1/files/a%2Fb/c%2fd/%C3%BC%20%25")).text == "a%2Fb/c%2fd/ü %"


async def test_a_literal_at_the_end_of_a_variable_takes_its_verb(front: Front) -> None:
    assert (await front.asked("GET", "/v1/books/a:read")).text == "books/a"
    assert (await front.asked("GET", "/v1/trees/trees/a/b:grow")).text == "trees/a/b"
    assert (await front.asked("GET", "/v1/trees/x/y:look")).text == "x/y"


async def test_a_colon_in_an_earlier_segment_is_data(front: Front) -> None:
    assert (await front.asked("GET", "/v1/files/a:b/c")).text == "a:b/c"


@pytest.mark.parametrize("path", ["/v1/things/a:", "/v1/things/:look", "/v1/things/a:look:look", "/v1/things/a:LOOK"])
async def test_what_is_neither_a_verb_nor_escaped_leads_nowhere(front: Front, path: str) -> None:
    assert (await front.refused("GET", path))[0] == 404


async def test_an_escaped_letter_of_a_literal_is_another_path(front: Front) -> None:
    assert (await front.refused("GET", "/v1/%74hings/a"))[0] == 404


@pytest.mark.parametrize("path", ["/v1/things/%", "/v1/things/%2", "/v1/things/%zz", "/v1/files/%C3"])
async def test_a_broken_escape_is_invalid_and_no_data(front: Front, path: str) -> None:
    assert (await front.refused("GET", path))[0] == 400


async def test_an_escaped_nul_is_refused_by_the_name_of_its_field(front: Front) -> None:
    assert await front.refused("GET", "/v1/things/a%00b") == (400, "text: holds a NUL character")


async def test_dots_are_segments_and_go_nowhere(front: Front) -> None:
    assert (await front.asked("GET", "/v1/things/%2E%2E")).text == ".."
    assert (await front.asked("GET", "/v1/files/a/%2e%2e/b")).text == "a/../b"


async def test_a_method_of_ones_own_and_one_for_all_the_others(front: Front) -> None:
    assert (await front.asked("PURGE", "/v1/custom/a")).text == "a"
    assert (await front.ask("GET", "/v1/custom/a")).status_code == 405
    for verb in ("GET", "PUT", "PURGE", "DELETE"):
        assert (await front.asked(verb, "/v1/every/a")).text == "a"
    assert front.echo.calls[-1].method == "conformance.v1.Echo/Delete"


async def test_another_method_is_405_and_says_which_there_are(front: Front) -> None:
    response = await front.ask("PUT", "/v1/things/a")
    error = response.json()["error"]
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD, PATCH")
    assert (error["status"], error["details"][0]["reason"]) == ("UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    assert error["details"][0]["metadata"]["allowed"] == "DELETE, GET, HEAD, PATCH"


async def test_no_page_of_another_site_is_invited_by_cors(front: Front) -> None:
    response = await front.ask("OPTIONS", "/v1/things/a", access_control_request_method="GET")
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert (await front.ask("OPTIONS", "/nothing")).status_code == 404
