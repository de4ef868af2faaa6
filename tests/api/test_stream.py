"""Streams over HTTP in both directions: how they are framed, where they go on, how they fail."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from controlplane.api import rest_front
from controlplane.api.bodies import MAX_BODY
from controlplane.api.stream import FRAMINGS, one_line
from controlplane.domain.errors import Invalid, Unavailable
from tests.api.conformance import Front

NDJSON, SSE, ARRAY = "application/x-ndjson", "text/event-stream", "application/json"


class Connection:
    """An ASGI connection by hand: the body comes piece by piece, and the client closes when it is told to."""

    def __init__(self, verb: str, path: str, *pieces: bytes, open_end: bool = False, **headers: str) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Any] = []
        self._more = asyncio.Event()
        self.pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces or (b"",)]
        if not open_end:
            self.pieces[-1]["more_body"] = False
        named = [
            (b"host", b"localhost"),
            *((name.replace("_", "-").encode(), one.encode()) for name, one in headers.items()),
        ]
        self.scope = {
            "type": "http",
            "method": verb,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": named,
        }

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            return self.pieces.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self._more.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for a fact about what has been sent."""
        while not fact():
            self._more.clear()
            await self._more.wait()

    async def run(self, front: Front) -> Any:
        """Let the front answer."""
        async with asyncio.timeout(10):
            await front.app(self.scope, self.receive, self.send)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


# ---------------------------------------------------------------- what a server sends


async def test_each_form_of_a_stream_is_framed_to_the_byte(front: Front) -> None:
    async def two(call: object, request: Any) -> AsyncIterator[Any]:
        for version in (1, 2):
            yield type(request)(version=version)

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = two
    url = "/v1/watch?$fields=version"
    one, other = '{"version":1}', '{"version":2}'
    framed = {
        NDJSON: f"{one}\n{other}\n",
        SSE: f"retry: 2000\nid: 1\ndata: {one}\n\nid: 2\ndata: {other}\n\nevent: end\ndata: {{}}\n\n",
        ARRAY: f"[{one},{other}]",
    }
    for kind, text in framed.items():
        response = await front.ask("GET", url, accept=kind)
        assert (response.headers["content-type"], response.text) == (kind, text)
        assert (response.headers["cache-control"], response.headers["vary"]) == ("no-store", "accept")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", NDJSON),
        ("*/*", NDJSON),
        ("application/*", NDJSON),
        ("application/ndjson", NDJSON),
        ("application/jsonl", NDJSON),
        ("text/*", SSE),
        ("application/json, text/event-stream;q=0.9", ARRAY),
        ("text/html, text/event-stream;q=0.1, application/json;q=0.2", ARRAY),
    ],
)
async def test_the_form_of_a_stream_is_what_accept_prefers(front: Front, accept: str, kind: str) -> None:
    assert (await front.ask("GET", "/v1/watch", accept=accept)).headers["content-type"] == kind


async def test_the_head_of_a_stream_has_no_body_and_ends(front: Front) -> None:
    response = await front.ask("HEAD", "/v1/watch")
    assert (response.status_code, response.content) == (200, b"")


async def test_a_part_of_each_answer_can_be_what_is_streamed(front: Front) -> None:
    async def parts(call: object, request: Any) -> AsyncIterator[Any]:
        yield type(request)(inner={"name": "a"})
        yield type(request)()

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = parts
    assert (await front.ask("GET", "/v1/watch/inner")).text == '{"name":"a","count":0}\nnull\n'


async def test_a_payload_of_several_lines_is_one_line_of_a_stream(front: Front) -> None:
    async def payload(call: object, request: Any) -> AsyncIterator[Any]:
        yield type(request)(payload={"data": b'{\n"a":\r\n1}', "content_type": "application/json"})

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = payload
    for kind in (NDJSON, SSE):
        text = (await front.ask("GET", "/v1/watch?$fields=payload", accept=kind)).text
        assert '{"payload":{ "a":  1}}' in text
    assert one_line(b'{"a":"\\n"}') == b'{"a":"\\n"}'


async def test_a_silent_stream_shows_that_it_lives_where_its_form_has_a_way(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_front, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(rest_front, "HEARTBEAT_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def slow(call: object, request: Any) -> AsyncIterator[Any]:
        await go_on.wait()
        yield type(request)(version=1)

    front.pipeline._handlers["conformance.v1.Echo/Watch"] = slow
    for kind, beat in ((SSE, b": alive\n\n"), (ARRAY, b" "), (NDJSON, b"")):
        go_on.clear()
        connection = Connection("GET", "/v1/watch", accept=kind)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(connection.run(front))
            least = 2 if beat else 0
            await connection.until(lambda: bool(connection.sent) and connection.body.count(beat or b"x") >= least)  # noqa: B023 # awaited here
            go_on.set()
        assert connection.body.startswith(beat)
        if kind == ARRAY:
            assert [one["version"] for one in json.loads(connection.body)] == [1]


async def test_a_file_that_breaks_off_is_cut_and_not_ended(front: Front) -> None:
    front.echo.failure = Unavailable("gone")
    connection = Connection("GET", "/v1/download")
    await connection.run(front)
    assert connection.body == b"abc"
    assert connection.sent[-1]["more_body"], "the last piece was not said to be the last"


async def test_an_error_in_mid_stream_has_all_that_an_ordinary_one_has(front: Front) -> None:
    front.echo.failure = Unavailable("gone", retry_after_seconds=3)
    last = json.loads((await front.ask("GET", "/v1/watch")).text.splitlines()[-1])["error"]
    assert (last["code"], last["status"], last["message"]) == (503, "UNAVAILABLE", "gone")
    assert [one["@type"].rpartition(".")[2] for one in last["details"]] == ["ErrorInfo", "RetryInfo"]


async def test_a_defect_in_mid_stream_tells_nothing_of_its_insides(front: Front) -> None:
    front.echo.failure = RuntimeError("password=hunter2")
    text = (await front.ask("GET", "/v1/watch", accept=SSE)).text
    assert "event: error" in text
    assert "hunter2" not in text


async def test_every_form_of_a_stream_has_a_word_for_its_end_and_one_for_a_failure() -> None:
    for kind, framing in FRAMINGS.items():
        assert framing.media_type == kind
        assert b"boom" in framing.error(b'{"error":"boom"}', True)
        assert framing.error(b"{}", True) != framing.end(True)


@pytest.mark.parametrize("last", ["1", "2", "3"])
async def test_a_reader_goes_on_after_the_last_event_it_has_seen(front: Front, last: str) -> None:
    text = (await front.ask("GET", "/v1/watch", accept=SSE, last_event_id=last)).text
    ids = [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]
    assert ids == [str(version) for version in range(int(last) + 1, 4)]


async def test_what_the_query_says_of_where_to_go_on_wins_over_the_header(front: Front) -> None:
    text = (await front.ask("GET", "/v1/watch?after_version=2", accept=SSE, last_event_id="1")).text
    assert text.count("id: ") == 1


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
async def test_an_event_id_that_is_none_of_this_stream_is_refused(front: Front, last: str) -> None:
    assert (await front.refused("GET", "/v1/watch", last_event_id=last))[0] == 400


# ---------------------------------------------------------------- what a client sends


LINES = b'{"text": "a"}\n{"text": "b"}\r\n\n  \n{"text": "c"}'


@pytest.mark.parametrize("body", [LINES, LINES + b"\n", b' [ {"text": "a"} , {"text": "b"}, {"text": "c"} ] '])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "application/jsonl", ""])
async def test_a_client_stream_is_lines_or_an_array_whatever_it_is_called(front: Front, body: bytes, kind: str) -> None:
    answer = await front.ask("POST", "/v1/collect", body, content_type=kind)
    assert answer.json()["texts"] == ["a", "b", "c"]


async def test_a_client_stream_is_cut_into_messages_wherever_its_bytes_are_cut(front: Front) -> None:
    for body in (LINES, b'[{"text": "a"}, {"text": "b"}, {"text": "c"}]'):
        for size in (1, 2, 7):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            connection = Connection("POST", "/v1/collect", *pieces)
            await connection.run(front)
            assert json.loads(connection.body)["texts"] == ["a", "b", "c"]


async def test_a_message_is_taken_before_the_next_has_come(front: Front) -> None:
    taken: list[str] = []

    async def collect(call: object, requests: AsyncIterator[Any]) -> Any:
        async for one in requests:
            taken.append(one.text)
            connection.gone.set()

    front.pipeline._handlers["conformance.v1.Echo/Collect"] = collect
    connection = Connection("POST", "/v1/collect", b'{"text": "a"}\n', b'{"te', open_end=True)
    await connection.run(front)
    assert taken == ["a"]


async def test_an_empty_client_stream_is_refused_for_want_of_a_message(front: Front) -> None:
    for body in (b"", b" \n ", b"[]"):
        status, message = await front.refused("POST", "/v1/collect", body)
        assert (status, message) == (400, "conformance.v1.Echo/Collect needs at least one message")


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b'{"text": "a"}\n{"text": 1}', 2),
        (b'{"text": "a"}\nnonsense', 2),
        (b'[{"text": "a"}, {}, {"i32": "x"}]', 3),
        (b"[1]", 1),
        (b'{"text": "a"} {"text": "b"}', 1),
    ],
)
async def test_a_wrong_message_of_a_stream_is_refused_by_its_number(front: Front, body: bytes, number: int) -> None:
    response = await front.ask("POST", "/v1/collect", body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["message"].startswith(f"message {number}: ")
    assert error["details"][0]["metadata"]["message"] == str(number)


async def test_an_array_that_never_ends_is_no_messages(front: Front) -> None:
    assert (await front.refused("POST", "/v1/collect", b'[{"text": "a"}'))[0] == 400
    assert (await front.refused("POST", "/v1/collect", b'[{"text": "a"}] {}'))[0] == 400


async def test_path_and_query_are_part_of_every_message_of_a_stream(front: Front) -> None:
    answer = await front.ask("POST", "/v1/collect/x?i32=5", b'{"name": "a"}\n{"name": "b"}')
    assert answer.json()["texts"] == ["x", "x"]
    assert [(one.i32, one.inner.name) for one in front.echo.asked] == [(5, "a"), (5, "b")]


async def test_a_stream_of_bytes_is_its_pieces(front: Front) -> None:
    connection = Connection("POST", "/v1/collect/x/file", b"ab", b"", b"cd", content_type="image/png")
    await connection.run(front)
    assert [one.file.data for one in front.echo.asked] == [b"ab", b"cd"]
    assert [one.file.content_type for one in front.echo.asked] == ["image/png", ""]


async def test_each_message_of_a_stream_has_the_cap_and_the_stream_has_none(front: Front) -> None:
    line = json.dumps({"raw": "A" * (MAX_BODY // 4)}).encode() + b"\n"
    assert (await front.ask("POST", "/v1/collect", line * 5)).status_code == 200
    assert (await front.refused("POST", "/v1/collect", b"[" + b" " * MAX_BODY))[0] == 413
    assert (await front.refused("POST", "/v1/collect", b" {" + b" " * MAX_BODY))[0] == 413


async def test_a_client_stream_may_be_gzipped_and_bombs_are_stopped(front: Front) -> None:
    answer = await front.ask("POST", "/v1/collect", gzip.compress(LINES), content_encoding="gzip")
    assert answer.json()["texts"] == ["a", "b", "c"]
    bomb = gzip.compress(b"{" + b" " * (MAX_BODY + 1))
    assert (await front.refused("POST", "/v1/collect", bomb, content_encoding="gzip"))[0] == 413


async def test_lines_are_read_for_streams_alone(front: Front) -> None:
    response = await front.ask("POST", "/v1/collect", LINES, content_type="text/yaml")
    assert (response.status_code, response.headers["accept-post"]) == (415, f"{ARRAY}, {NDJSON}")
    assert (await front.refused("POST", "/v1/things", b"{}", content_type=NDJSON))[0] == 415


# ---------------------------------------------------------------- who goes away


async def until_cancelled(front: Front, name: str, connection: Connection) -> None:
    """A handler waits for ever, the connection is closed, and the handler must be cancelled."""
    cancelled = asyncio.Event()

    async def unary(call: object, request: Any) -> None:
        try:
            if hasattr(request, "__aiter__"):
                await anext(request)
            connection.gone.set()
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def stream(call: object, request: Any) -> AsyncIterator[Any]:
        yield request
        await unary(call, request)

    front.pipeline._handlers[f"conformance.v1.Echo/{name}"] = stream if name == "Watch" else unary
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(connection.run(front))
        await cancelled.wait()


@pytest.mark.parametrize(
    ("name", "verb", "path", "body"),
    [
        ("Get", "GET", "/v1/things/a", b""),
        ("Post", "POST", "/v1/things", b"{}"),
        ("Watch", "GET", "/v1/watch", b""),
        ("Collect", "POST", "/v1/collect", b"{}"),
    ],
)
async def test_who_goes_away_cancels_a_call_of_every_kind(
    front: Front, name: str, verb: str, path: str, body: bytes
) -> None:
    connection = Connection(verb, path, body)
    await until_cancelled(front, name, connection)
    assert not [message for message in connection.sent if message.get("status", 200) != 200]


async def test_who_goes_away_in_the_middle_of_a_body_reaches_nobody(front: Front) -> None:
    connection = Connection("POST", "/v1/things", b'{"text"', open_end=True)
    connection.gone.set()
    await connection.run(front)
    assert not front.echo.asked
    assert not connection.sent


async def test_who_goes_away_in_the_middle_of_a_stream_ends_it_for_its_reader(front: Front) -> None:
    ended: list[BaseException] = []

    async def collect(call: object, requests: AsyncIterator[Any]) -> Any:
        try:
            async for _ in requests:
                connection.gone.set()
        except BaseException as error:
            ended.append(error)
            raise

    front.pipeline._handlers["conformance.v1.Echo/Collect"] = collect
    connection = Connection("POST", "/v1/collect", b"{}\n", open_end=True)
    await connection.run(front)
    assert ended
    assert not connection.sent


async def test_a_body_that_does_not_come_before_its_deadline_is_504(front: Front) -> None:
    connection = Connection("POST", "/v1/things", b"{", open_end=True, grpc_timeout="20m")
    await connection.run(front)
    assert connection.sent[0]["status"] == 504
    assert json.loads(connection.body)["error"]["details"][0]["metadata"] == {"part": "body"}


async def test_a_refused_stream_never_began(front: Front) -> None:
    front.echo.failure = Invalid.field("text", "is odd")
    assert (await front.ask("GET", "/v1/watch?text=at%20once")).status_code == 400


async def test_who_goes_away_is_counted_as_cancelled_and_is_no_defect(front: Front) -> None:
    async def collect(call: object, requests: AsyncIterator[Any]) -> Any:
        async for _ in requests:
            connection.gone.set()

    front.pipeline._handlers["conformance.v1.Echo/Collect"] = collect
    connection = Connection("POST", "/v1/collect", b"{}\n", open_end=True)
    await connection.run(front)
    text = (await front.ask("GET", "/metrics")).text
    assert 'pawl_calls_total{code="CANCELLED",front="rest",method="conformance.v1.Echo/Collect"} 1.0' in text
    assert 'code="INTERNAL"' not in text
