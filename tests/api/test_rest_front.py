"""The HTTP side of the REST front: headers, versions, time limits, streams, the guard, pages."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.api.rest_front import RestApp
from controlplane.domain.errors import Exhausted, Invalid, NotFound, Unauthenticated, Unavailable
from tests.api.conformance import Front

# ---------------------------------------------------------------- headers


async def test_a_request_id_is_echoed_and_one_is_made_for_those_who_have_none(front: Front) -> None:
    assert (await front.ask("GET", "/v1/things/a", x_request_id="my-1")).headers["x-request-id"] == "my-1"
    assert (await front.ask("GET", "/nothing", x_request_id="my-2")).headers["x-request-id"] == "my-2"
    for unfit in ("", "a b", "x" * 129):
        made = (await front.ask("GET", "/v1/things/a", x_request_id=unfit)).headers["x-request-id"]
        assert made
        assert made != unfit


async def test_only_listed_headers_and_grpc_metadata_reach_the_service(front: Front) -> None:
    traceparent = f"00-{'1' * 32}-{'2' * 16}-00"
    await front.asked("GET", "/v1/things/a", cookie="c", grpc_metadata_tier="gold", traceparent=traceparent)
    call = front.echo.calls[-1]
    assert dict(call.metadata) == {"tier": "gold", "traceparent": traceparent, "x-request-id": call.request_id}
    assert (call.trace.traceparent, call.front, call.namespace_id) == (traceparent, "rest", "default")


@pytest.mark.parametrize(
    "headers", [{"grpc_timeout": "5x"}, {"grpc_timeout": "123456789S"}, {"x_server_timeout": "-1"}]
)
async def test_a_time_limit_that_is_none_is_refused(front: Front, headers: dict[str, str]) -> None:
    assert (await front.refused("GET", "/v1/things/a", **headers))[0] == 400


async def test_a_time_limit_becomes_the_calls_deadline(front: Front) -> None:
    await front.asked("GET", "/v1/things/a", grpc_timeout="5S")
    deadline = front.echo.calls[-1].deadline
    assert deadline is not None
    assert 4 < deadline - time.monotonic() <= 5


async def test_a_call_beyond_its_deadline_is_504(front: Front) -> None:
    async def forever(call: object, request: object) -> None:
        await asyncio.Event().wait()

    front.pipeline._handlers["conformance.v1.Echo/Get"] = forever
    response = await front.ask("GET", "/v1/things/a", x_server_timeout="0.01")
    assert (response.status_code, response.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")


# ---------------------------------------------------------------- versions


async def test_a_read_gives_an_etag_and_asking_for_it_again_gives_304(front: Front) -> None:
    first = await front.ask("GET", "/v1/things/a?version=7")
    assert first.headers["etag"] == '"7"'
    for tag in ('"7"', 'W/"7"', '"1", "7"', "*"):
        again = await front.ask("GET", "/v1/things/a?version=7", if_none_match=tag)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"7"')
    assert (await front.ask("GET", "/v1/things/a?version=7", if_none_match='"8"')).status_code == 200


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("failure", "status", "header"),
    [
        (Unavailable("x", retry_after_seconds=1.2), 503, ("retry-after", "2")),
        (Exhausted("x"), 429, ("retry-after", "1")),
        (Unauthenticated("x"), 401, ("www-authenticate", 'Bearer realm="pawl"')),
        (NotFound("x"), 404, ("content-type", "application/json")),
    ],
)
async def test_errors_carry_what_the_client_should_do(
    front: Front, failure: Exception, status: int, header: tuple[str, str]
) -> None:
    front.echo.failure = failure
    response = await front.ask("GET", "/v1/things/a")
    assert response.status_code == status
    assert response.headers[header[0]] == header[1]


async def test_a_defect_tells_an_id_and_nothing_of_its_insides(front: Front) -> None:
    front.echo.failure = RuntimeError("password=hunter2")
    response = await front.ask("GET", "/v1/things/a")
    error = response.json()["error"]
    assert (response.status_code, error["status"], error["details"][0]["reason"]) == (500, "INTERNAL", "INTERNAL")
    assert error["details"][0]["metadata"]["incident"] in error["message"]
    assert "hunter2" not in response.text


async def test_violations_are_a_bad_request_in_the_details(front: Front) -> None:
    front.echo.failure = Invalid.field("inner.name", "is odd")
    details = (await front.ask("GET", "/api/v1/things/a")).json()["error"]["details"]
    assert [one["@type"].rpartition(".")[2] for one in details] == ["ErrorInfo", "BadRequest"]
    assert details[1]["field_violations"] == [
        {"field": "inner.name", "description": "is odd", "reason": "INVALID_FIELD"}
    ]


async def test_a_quoted_id_never_makes_an_error_too_long(front: Front) -> None:
    front.echo.failure = NotFound("x" * 100_000 + "ü" * 100_000, facts={"id": "y" * 100_000})
    assert len((await front.ask("GET", "/v1/things/a")).content) < 2_000


# ---------------------------------------------------------------- streams


async def test_a_stream_is_lines_of_json_by_default(front: Front) -> None:
    response = await front.ask("GET", "/v1/watch")
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["version"] for line in lines] == [1, 2, 3]


async def test_a_stream_is_server_sent_events_where_asked_for(front: Front) -> None:
    response = await front.ask("GET", "/v1/watch", accept="text/event-stream")
    events = response.text.split("\n\n")
    assert events[0].startswith("retry: 2000\nid: 1\ndata: {")
    assert events[1].startswith("id: 2\ndata: {")
    assert events[3] == "event: end\ndata: {}"


async def test_the_last_event_id_is_where_a_browser_goes_on(front: Front) -> None:
    response = await front.ask("GET", "/v1/watch", accept="text/event-stream", last_event_id="2")
    assert response.text.count("data: {") == 2  # version 3 and the end
    assert (await front.refused("GET", "/v1/watch", last_event_id="x"))[0] == 400


async def test_a_stream_is_one_array_where_json_is_asked_for(front: Front) -> None:
    assert [one["version"] for one in (await front.ask("GET", "/v1/watch", accept="application/json")).json()] == [
        1,
        2,
        3,
    ]
    assert (await front.ask("GET", "/v1/watch?after_version=3", accept="application/json")).json() == []


async def test_an_error_before_the_first_answer_is_an_ordinary_one(front: Front) -> None:
    front.echo.failure = NotFound("gone")
    assert (await front.ask("GET", "/v1/watch?text=at%20once")).status_code == 404


async def test_an_error_in_mid_stream_is_visible_in_every_framing(front: Front) -> None:
    front.echo.failure = Unavailable("gone")
    lines = (await front.ask("GET", "/v1/watch")).text.splitlines()
    assert json.loads(lines[-1])["error"]["status"] == "UNAVAILABLE"
    array = (await front.ask("GET", "/v1/watch", accept="application/json")).json()
    assert (len(array), array[-1]["error"]["status"]) == (4, "UNAVAILABLE")
    events = (await front.ask("GET", "/v1/watch", accept="text/event-stream")).text
    assert '\n\nevent: error\ndata: {"error":' in events
    assert "event: end" not in events


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream", "application/json"])
async def test_a_stream_that_gives_up_waiting_for_something_ends_with_that_error(front: Front, accept: str) -> None:
    """A TimeoutError from below is not the front's own patience, which only sends a sign of life."""
    front.echo.failure = TimeoutError("the database")
    async with asyncio.timeout(5):
        response = await front.ask("GET", "/v1/watch", accept=accept)
    assert '"status":"INTERNAL"' in response.text
    assert "the database" not in response.text


async def test_every_stream_ends_at_its_deadline(front: Front) -> None:
    """Also where the loop's timer is a hair before the clock."""

    async def forever(_: Any, request: Any) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = forever
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(front.ask("GET", "/v1/watch", x_server_timeout=f"0.{10 + number}") for number in range(80))
        )
    assert all("DEADLINE_EXCEEDED" in answer.text.splitlines()[-1] for answer in answers)


async def test_a_server_that_stops_tells_watchers_to_call_again(front: Front) -> None:
    watching = asyncio.Event()

    async def forever(call: object, request: Any) -> AsyncIterator[Any]:
        yield request
        watching.set()
        await asyncio.Event().wait()

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = forever
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        answer = group.create_task(front.ask("GET", "/v1/watch"))
        await watching.wait()
        front.pipeline.end_streams()
    lines = [json.loads(line) for line in (await answer).text.splitlines()]
    assert [line.get("error", {}).get("status") for line in lines] == [None, "UNAVAILABLE"]
    assert (await front.ask("GET", "/v1/watch")).status_code == 503


# ---------------------------------------------------------------- clients that go away


class Connection:
    """An ASGI connection by hand: a request whose client closes when it is told to."""

    def __init__(self, path: str) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Any] = []
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("path", ["/v1/things/a", "/v1/watch"])
async def test_a_client_that_goes_away_cancels_its_call(front: Front, path: str) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def unary(call: object, request: object) -> None:
        await wait()

    async def stream(call: object, request: object) -> AsyncIterator[object]:
        await wait()
        yield request

    front.pipeline._handlers["conformance.v1.Echo/Get"] = unary
    front.pipeline._handlers["conformance.v1.Echo/Watch"] = stream
    app: RestApp = front.client._transport.app  # type: ignore[attr-defined] # httpx keeps it there
    connection = Connection(path)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(app(connection.scope, connection.receive, connection.send))
        await began.wait()
        connection.gone.set()
        await cancelled.wait()


# ---------------------------------------------------------------- the guard


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"])
async def test_a_laptop_answers_to_its_own_names(front: Front, host: str) -> None:
    await front.asked("GET", "/v1/things/a", host=host)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://localhost:8080"},
    ],
)
async def test_a_page_of_another_origin_reaches_nothing(front: Front, headers: dict[str, str]) -> None:
    for verb, path in (("POST", "/v1/things"), ("GET", "/v1/watch"), ("GET", "/metrics"), ("GET", "/docs")):
        status, _ = await front.refused(verb, path, **headers)
        assert status == 403


async def test_a_page_of_our_own_is_no_stranger(front: Front) -> None:
    await front.asked("POST", "/v1/things", "{}", origin="http://localhost:8080", sec_fetch_site="same-origin")


async def test_health_probes_are_spared(front: Front) -> None:
    assert (await front.ask("GET", "/health", host="10.0.0.7")).status_code == 404  # past the guard; no such RPC here


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/openapi.json", "application/json"),
        ("/metrics", "text/plain"),
    ],
)
async def test_pages_for_people_come_from_the_package_alone(front: Front, path: str, kind: str) -> None:
    response = await front.ask("GET", path)
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, kind)
    if kind == "text/html":
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert "http://" not in response.text
        assert "https://" not in response.text


@pytest.mark.parametrize("path", ["/docs/../openapi.py", "/docs/LICENSE", "/docs/%2e%2e/docs.py"])
async def test_no_other_file_of_the_package_is_served(front: Front, path: str) -> None:
    assert (await front.ask("GET", path)).status_code == 404


async def test_every_call_is_counted_by_method_code_and_front(front: Front) -> None:
    await front.asked("GET", "/v1/things/a")
    front.echo.failure = NotFound("x")
    await front.ask("GET", "/v1/things/a")
    text = (await front.ask("GET", "/metrics")).text
    for code in ("OK", "NOT_FOUND"):
        assert f'pawl_calls_total{{code="{code}",front="rest",method="conformance.v1.Echo/Get"}} 1.0' in text
    assert 'pawl_calls_in_flight{front="rest"} 0.0' in text
