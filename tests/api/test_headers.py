"""Headers of requests: metadata, deadlines, versions, idempotency keys, types of bodies, and what of it comes back."""

import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.api.call import Call
from controlplane.api.http import deadline_of, metadata_of, response_header
from controlplane.api.negotiate import tags_of
from controlplane.domain.errors import EtagMismatch, Invalid
from tests.api.conformance import Front

# ---------------------------------------------------------------- metadata


async def test_what_is_passed_on_is_a_list_and_everything_else_stays_outside(front: Front) -> None:
    passed = {
        "baggage": "a=b",
        "tracestate": "a=b",
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-00",
        "x_request_id": "r-1",
    }
    await front.asked("GET", "/v1/things/a", cookie="c", x_forwarded_for="1.2.3.4", te="trailers", **passed)
    assert dict(front.echo.calls[-1].metadata) == {name.replace("_", "-"): one for name, one in passed.items()}


async def test_a_prefix_makes_any_header_metadata(front: Front) -> None:
    await front.asked("GET", "/v1/things/a", grpc_metadata_tier="gold", **{"Grpc-Metadata-X.Y": "1, 2"})
    metadata = front.echo.calls[-1].metadata
    assert (metadata["tier"], metadata["x.y"]) == ("gold", "1, 2")


async def test_metadata_in_a_prefix_does_not_overrule_the_header_itself(front: Front) -> None:
    await front.asked("GET", "/v1/things/a", baggage="a=b", grpc_metadata_baggage="c=d")
    assert front.echo.calls[-1].metadata["baggage"] == "a=b"


@pytest.mark.parametrize("given", ["AP8=", "AP8"])
def test_binary_metadata_is_base64_with_or_without_padding(given: str) -> None:
    assert metadata_of({"grpc-metadata-x-bin": given}) == {"x-bin": "AP8="}


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc-metadata-grpc-timeout": "1S"},
        {"grpc-metadata-:path": "/"},
        {"grpc-metadata-": "a"},
        {"grpc-metadata-a b": "a"},
        {"grpc-metadata-x-bin": "***"},
        {"grpc-metadata-x-bin": "AP8=="[:-3] + "!"},
        {"grpc-metadata-x": "ü"},
        {"grpc-metadata-x": "a\x01"},
    ],
)
def test_metadata_that_grpc_could_not_carry_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        metadata_of(headers)


async def test_what_a_service_says_comes_back_in_a_prefix_but_for_http_s_own(front: Front) -> None:
    async def answer(call: Call, request: Any) -> Any:
        call.response_headers.update({"etag": '"5"', "tier": "gold"})
        return request

    front.pipeline._handlers["conformance.v1.Echo/Get"] = answer
    headers = (await front.ask("GET", "/v1/things/a")).headers
    assert (headers["etag"], headers["grpc-metadata-tier"]) == ('"5"', "gold")
    assert response_header("location") == "location"
    assert response_header("set-cookie") == "grpc-metadata-set-cookie"


async def test_repeated_headers_are_one_with_commas(front: Front) -> None:
    pairs = [("grpc-metadata-a", "1"), ("grpc-metadata-a", "2"), ("host", "localhost")]
    await front.client.get("/v1/things/a", headers=pairs)
    assert front.echo.calls[-1].metadata["a"] == "1, 2"


async def test_the_namespace_of_a_header_is_that_of_the_call(front: Front) -> None:
    await front.asked("GET", "/v1/things/a", pawl_namespace="default")
    assert front.echo.calls[-1].namespace_id == "default"


# ---------------------------------------------------------------- deadlines


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"grpc-timeout": "1H"}, 3600),
        ({"grpc-timeout": "2M"}, 120),
        ({"grpc-timeout": "5S"}, 5),
        ({"grpc-timeout": "5000m"}, 5),
        ({"grpc-timeout": "5000000u"}, 5),
        ({"grpc-timeout": "99999999n"}, 0.099999999),
        ({"grpc-timeout": "99999999H"}, 99999999 * 3600),
        ({"grpc-timeout": "0S"}, 0),
        ({"x-server-timeout": "5"}, 5),
        ({"x-server-timeout": "0.25"}, 0.25),
        ({"grpc-timeout": "5S", "x-server-timeout": "7"}, 5),
        ({"grpc-timeout": "9S", "x-server-timeout": "7"}, 7),
    ],
)
def test_a_deadline_is_the_earlier_of_what_two_headers_say(headers: dict[str, str], seconds: float) -> None:
    deadline = deadline_of(headers)
    assert deadline is not None
    assert deadline - time.monotonic() == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc-timeout": ""},
        {"grpc-timeout": "5"},
        {"grpc-timeout": "S"},
        {"grpc-timeout": "5s"},
        {"grpc-timeout": "-5S"},
        {"grpc-timeout": "1.5S"},
        {"grpc-timeout": "123456789S"},
        {"grpc-timeout": "٥S"},
        {"x-server-timeout": ""},
        {"x-server-timeout": "-1"},
        {"x-server-timeout": "1e3"},
        {"x-server-timeout": "5S"},
        {"x-server-timeout": "inf"},
    ],
)
def test_what_is_no_deadline_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        deadline_of(headers)


async def test_a_deadline_that_has_passed_reaches_nobody(front: Front) -> None:
    status, _ = await front.refused("POST", "/v1/things", "{}", grpc_timeout="0S")
    assert status == 504


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('"3"', ("3",)),
        ("3", ("3",)),
        ('W/"3"', ("3",)),
        ('w/"3"', ("3",)),
        ('"1", W/"2" ,"3"', ("1", "2", "3")),
        ('""', ("",)),
        ("*", ("*",)),
        (" * ", ("*",)),
        ('"a,b"', ("a,b",)),
    ],
)
def test_etags_are_a_list_strong_or_weak_or_a_star(value: str, tags: tuple[str, ...]) -> None:
    assert tags_of(value, "If-Match") == tags


@pytest.mark.parametrize("value", ["", " ", '"3', '3"', '"1" "2"', ",", '"1",,"2"', ", ".join(['"1"'] * 17)])
def test_what_is_no_list_of_etags_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match="If-Match"):
        tags_of(value, "If-Match")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"if_none_match": '"7"'}, 304),
        ({"if_none_match": 'W/"7"'}, 304),
        ({"if_none_match": '"1", "7"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"8"'}, 200),
        ({"if_match": '"7"'}, 200),
        ({"if_match": '"1", "7"'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"8"'}, 412),
        ({"if_match": '"8"', "if_none_match": '"7"'}, 412),
    ],
)
async def test_a_read_may_depend_on_the_version(front: Front, header: dict[str, str], status: int) -> None:
    response = await front.ask("GET", "/v1/things/a?version=7", **header)
    assert response.status_code == status
    if status == 304:
        assert (response.content, response.headers["etag"]) == (b"", '"7"')
        assert "content-length" not in response.headers
    if status == 412:
        assert response.json()["error"]["status"] == "ABORTED"


async def test_a_change_that_has_no_version_says_so(front: Front) -> None:
    assert await front.refused("DELETE", "/v1/things/a", if_none_match="*") == (
        400,
        "If-None-Match: conformance.v1.Echo/Delete does not look at it",
    )
    assert (await front.refused("GET", "/v1/things/a", if_none_match="x y"))[1].startswith("If-None-Match: ")


async def test_if_match_is_the_etag_of_the_request_and_a_mismatch_is_412(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", "{}", if_match='W/"7"')).etag == '"7"'
    assert (await front.asked("POST", "/v1/things", '{"etag": "7"}', if_match='"7"')).etag == '"7"'
    assert (await front.refused("POST", "/v1/things", '{"etag": "8"}', if_match='"7"'))[0] == 400
    assert (await front.asked("POST", "/v1/things", "{}", if_match='"of another server"')).etag == '"0"'
    front.echo.failure = EtagMismatch("this is version 9")
    assert (await front.ask("POST", "/v1/things", "{}", if_match='"7"')).status_code == 412
    assert (await front.ask("POST", "/v1/things", '{"etag": "7"}')).status_code == 409


async def test_of_several_versions_in_if_match_the_one_that_holds_is_changed(front: Front) -> None:
    async def change(call: Call, request: Any) -> Any:
        front.echo.asked.append(request)
        if request.etag.strip('"') != "7":
            raise EtagMismatch("this is version 7")
        return request

    front.pipeline._handlers["conformance.v1.Echo/Post"] = change
    for given, status in (('"5", W/"7", "9"', 200), ('"7"', 200), ('"5", "6"', 412)):
        front.echo.asked.clear()
        assert (await front.ask("POST", "/v1/things", "{}", if_match=given)).status_code == status
    assert [one.etag for one in front.echo.asked] == ['"5"', '"6"']


# ---------------------------------------------------------------- doing it once


@pytest.mark.parametrize("given", ["order-1", '"order-1"', ' "order-1" '])
async def test_an_idempotency_key_is_the_request_id_in_quotes_or_without(front: Front, given: str) -> None:
    assert (await front.asked("POST", "/v1/things", "{}", idempotency_key=given)).request_id == "order-1"
    call = front.echo.calls[-1]
    assert call.idempotency is not None
    assert call.idempotency.request_id == "order-1"


@pytest.mark.parametrize("given", ["", '""', '"ü"', "x" * 129])
async def test_a_key_that_cannot_be_one_is_refused(front: Front, given: str) -> None:
    response = await front.client.post("/v1/things", content="{}", headers=[(b"idempotency-key", given.encode())])
    assert response.status_code == 400
    assert not front.echo.asked


async def test_a_quoted_key_may_hold_quotes(front: Front) -> None:
    asked = await front.asked("POST", "/v1/things", "{}", idempotency_key='"a\\"b"')
    assert asked.request_id == 'a"b'


async def test_a_key_in_a_header_and_another_in_a_field_contradict_each_other(front: Front) -> None:
    assert (await front.asked("POST", "/v1/things", '{"request_id": "a"}', idempotency_key="a")).request_id == "a"
    status, message = await front.refused("POST", "/v1/things", '{"request_id": "b"}', idempotency_key="a")
    assert (status, message) == (400, "request_id: contradicts the header Idempotency-Key")


# ---------------------------------------------------------------- bodies


@pytest.fixture
async def open_front() -> AsyncIterator[Front]:
    """A front that asks for credentials instead of checking where a page comes from."""
    made = Front(guarded=False)
    yield made
    await made.client.aclose()


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
        "",
    ],
)
async def test_json_is_read_however_it_is_called(front: Front, kind: str) -> None:
    assert (await front.asked("POST", "/v1/things", '{"i32": 1}', content_type=kind)).i32 == 1


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-ndjson",
        "multipart/form-data",
        "json",
        "application/json; charset=latin-1",
    ],
)
async def test_anything_else_is_415_and_says_what_is_read(front: Front, kind: str) -> None:
    response = await front.ask("POST", "/v1/things", "{}", content_type=kind)
    assert not front.echo.asked
    assert (response.status_code, response.headers["accept-post"]) == (415, "application/json")
    assert response.json()["error"]["details"][0]["reason"] == "UNSUPPORTED_MEDIA_TYPE"
    patched = await front.ask("PATCH", "/v1/things/a", "{}", content_type=kind)
    assert (patched.status_code, patched.headers["accept-patch"]) == (415, "application/json")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_what_another_sites_page_can_send_is_read_only_from_who_is_no_page(open_front: Front, kind: str) -> None:
    assert (await open_front.refused("POST", "/v1/things", "{}", content_type=kind, cookie="a=b"))[0] == 415
    if kind != "text/plain":
        await open_front.asked("POST", "/v1/things", "{}", content_type=kind, authorization="Bearer x")


async def test_gzip_in_is_one_member_or_several_and_may_be_empty(front: Front) -> None:
    packed = gzip.compress(b'{"i32"') + gzip.compress(b": 1}")
    assert (await front.asked("POST", "/v1/things", packed, content_encoding="gzip")).i32 == 1
    assert (await front.asked("POST", "/v1/things", packed, content_encoding="X-GZip")).i32 == 1
    assert (await front.asked("POST", "/v1/things", b"", content_encoding="gzip")).i32 == 0
    assert (await front.asked("POST", "/v1/things", b"{}", content_encoding="identity")).i32 == 0


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_another_encoding_is_415_and_says_which_are_read(front: Front, encoding: str) -> None:
    response = await front.ask("POST", "/v1/things", gzip.compress(b"{}"), content_encoding=encoding)
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "gzip, identity")


async def test_a_bomb_of_many_members_is_stopped_as_well(front: Front) -> None:
    bomb = gzip.compress(b" " * (1 << 20)) * 12
    assert (await front.refused("POST", "/v1/things", bomb, content_encoding="gzip"))[0] == 413
    assert (await front.refused("POST", "/v1/things", gzip.compress(b"{}") + b"tail", content_encoding="gzip"))[
        0
    ] == 400


async def test_a_call_that_takes_no_body_refuses_one(front: Front) -> None:
    for verb in ("GET", "DELETE"):
        assert await front.refused(verb, "/v1/things/a", "{}") == (400, "this call takes no body")
        assert (await front.asked(verb, "/v1/things/a", " ")).text == "a"


async def test_a_request_id_is_in_every_answer_of_every_kind(front: Front) -> None:
    for verb, url, body in (
        ("GET", "/v1/things/a", None),
        ("GET", "/v1/watch", None),
        ("GET", "/v1/download", None),
        ("GET", "/nothing", None),
        ("OPTIONS", "/v1/things/a", None),
        ("POST", "/v1/things", "{"),
        ("GET", "/metrics", None),
    ):
        response = await front.ask(verb, url, body, x_request_id="my-1")
        assert response.headers["x-request-id"] == "my-1"
        made = (await front.ask(verb, url, body)).headers["x-request-id"]
        assert made != (await front.ask(verb, url, body)).headers["x-request-id"]
