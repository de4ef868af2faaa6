"""The executor http: one request is the attempt, its answer the outcome."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from pawl.tracing import Trace

from agent.executors.base import LaunchError, Limits, LogStream, Outcome, Payload, Shard, Work
from agent.executors.http import HttpExecutor, HttpLimits
from agent.secrets import Secrets
from tests.agent.http_site import site

TASK = "01900000-0000-7000-8000-000000000001"
NEAR = ("127.0.0.1:*",)
TRACE = Trace(f"00-{'1' * 32}-{'2' * 16}-01", "vendor=x")


class Said:
    """What a run says, kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[LogStream, bytes]] = []
        self.starts = 0

    def log(self, stream: LogStream, data: bytes) -> None:
        self.lines.append((stream, data))

    def progress(self, percent: float, message: str) -> None:
        raise AssertionError("a request has no progress")

    def heartbeat(self) -> None:
        raise AssertionError("a request gives no sign of life")

    def started(self) -> None:
        self.starts += 1

    def ended(self) -> None:
        raise AssertionError("the end of a request is its answer")


def work(url: str, parameters: Payload | None = None, limits: Limits | None = None, **settings: object) -> Work:
    return Work(
        namespace_id="default",
        task_id=TASK,
        instance_id="instance",
        token=1,
        attempt=2,
        job_name="call",
        executor="http",
        settings={"url": url, **settings},
        environment={},
        parameters=parameters,
        limits=limits or Limits(),
        trace=TRACE,
    )


@asynccontextmanager
async def executor(
    private: tuple[str, ...] = NEAR, secrets: Mapping[str, tuple[str, ...]] | None = None, **environ: str
) -> AsyncIterator[HttpExecutor]:
    one = HttpExecutor(HttpLimits(private, secrets or {}), Secrets("default", environ))
    await one.open()
    yield one
    await one.close()


async def ran(one: HttpExecutor, what: Work, said: Said | None = None) -> Outcome:
    async with asyncio.timeout(20):
        return await (await one.launch(what, said or Said())).wait()


async def code(one: HttpExecutor, what: Work) -> tuple[str, bool]:
    failure = (await ran(one, what)).failure
    assert failure is not None
    return failure.code, failure.retryable


async def test_the_parameters_are_the_body_and_the_answer_is_the_output() -> None:
    said = Said()
    async with site() as one, executor() as http:
        one.text("/do", b'{"ok": 1}', "201 Created", "Content-Type: application/json")
        what = work(one.url("/do"), Payload(b'{"n": 2}', "application/json"), headers={"X-Team": "a"})
        outcome = await ran(http, what, said)
    assert outcome.failure is None
    assert outcome.output == Payload(b'{"ok": 1}', "application/json")
    assert said.starts == 1
    head, _, body = one.heard[0].partition("\r\n\r\n")
    assert (head.splitlines()[0], body) == ("POST /do HTTP/1.1", '{"n": 2}')
    sent = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])
    assert (sent["content-type"], sent["x-team"]) == ("application/json", "a")
    assert (sent["idempotency-key"], sent["pawl-task-id"], sent["pawl-attempt"]) == (TASK, TASK, "2")
    assert (sent["traceparent"], sent["tracestate"]) == (TRACE.traceparent, TRACE.tracestate)


async def test_a_request_says_which_part_of_a_group_it_is() -> None:
    async with site() as one, executor() as http:
        one.text("/", b"", "204 No Content")
        one.text("/", b"", "204 No Content")
        await ran(http, replace(work(one.url("/")), shard=Shard("a-group", 2, 5)))
        await ran(http, work(one.url("/")))
    heard = [one.lower() for one in one.heard]
    for header in ("pawl-group-id: a-group", "pawl-shard-index: 2", "pawl-shard-total: 5"):
        assert header in heard[0]
        assert header not in heard[1]


async def test_a_get_has_no_body_and_an_empty_answer_is_no_output() -> None:
    async with site() as one, executor() as http:
        one.text("/", b"", "204 No Content")
        outcome = await ran(http, work(one.url("/"), Payload(b"{}", "application/json"), method="GET"))
    assert (outcome.failure, outcome.output) == (None, None)
    assert one.heard[0].startswith("GET / ")
    assert "content-type" not in one.heard[0].lower()


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("404 x", False), ("400 x", False), ("408 x", True), ("429 x", True), ("500 x", True), ("503 x", True)],
)
async def test_what_may_help_if_it_is_tried_again_is_said_to_be_so(status: str, retryable: bool) -> None:
    said = Said()
    async with site() as one, executor() as http:
        one.text("/", b"why it failed", status)
        outcome = await ran(http, work(one.url("/")), said)
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == (f"HTTP_{status[:3]}", retryable)
    assert (LogStream.STDERR, b"why it failed\n") in said.lines


async def test_the_wait_that_the_endpoint_asks_for_goes_to_the_control_plane() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    async with site() as one, executor() as http:
        one.text("/seconds", b"", "503 Busy", "Retry-After: 7")
        one.text("/date", b"", "429 Slowly", f"Retry-After: {later}")
        one.text("/nonsense", b"", "503 Busy", "Retry-After: soon")
        waits = []
        for path in ("/seconds", "/date", "/nonsense"):
            failure = (await ran(http, work(one.url(path)))).failure
            assert failure is not None
            waits.append(failure.retry_after_seconds)
    assert waits[0] == 7
    assert waits[1] is not None
    assert 3500 < waits[1] <= 3600
    assert waits[2] is None


async def test_no_answer_may_help_if_it_is_tried_again() -> None:
    async with site() as one, executor() as http:
        gone = one.url("/")
        one.answers["/cut"] = lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"
        assert await code(http, work(one.url("/cut"))) == ("HTTP_FAILED", True)
    async with executor() as http:
        assert await code(http, work(gone)) == ("HTTP_FAILED", True)


async def test_redirects_stay_within_the_host_of_the_job() -> None:
    async with site() as one, site() as other, executor() as http:
        one.redirect("/away", other.url("/"))
        one.redirect("/here", one.url("/there"), "307 Temporary Redirect")
        one.text("/there", b"found")
        assert await code(http, work(one.url("/away"))) == ("HTTP_HOST_NOT_GRANTED", False)
        outcome = await ran(http, work(one.url("/here"), Payload(b"x", "text/plain")))
    assert outcome.output is not None
    assert outcome.output.data == b"found"
    assert one.heard[-1].endswith("\r\n\r\nx")
    assert not other.heard


async def test_an_answer_beyond_the_output_limit_fails_and_is_not_read_to_its_end() -> None:
    async with site() as one, executor() as http:
        one.text("/", b"x" * 2000)
        assert await code(http, work(one.url("/"), limits=Limits(output_bytes=1000))) == (
            "HTTP_RESPONSE_TOO_LARGE",
            False,
        )


async def test_the_agents_own_network_is_closed_but_for_the_hosts_that_its_owner_named() -> None:
    async with site() as one:
        one.text("/", b"ok")
        for private in ((), ("127.0.0.2:*",), ("127.0.0.1:1",)):
            async with executor(private) as http:
                failure = (await ran(http, work(one.url("/")))).failure
                assert failure is not None
                assert (failure.code, failure.retryable) == ("HTTP_ADDRESS_REFUSED", False)
                assert "private_hosts" in failure.message
        assert not one.heard


async def test_a_secret_goes_to_its_hosts_alone_and_into_nothing_that_is_kept() -> None:
    said = Said()
    headers = {"Authorization": "Bearer ${secret:TOKEN}"}
    async with site() as one, executor(secrets={"TOKEN": NEAR}, PAWL_SECRET_TOKEN="tok-4711-x") as http:
        one.text("/", b"you sent tok-4711-x", "500 x")
        outcome = await ran(http, work(one.url("/"), headers=headers), said)
        assert "bearer tok-4711-x" in one.heard[0].lower()
        assert "tok-4711" not in repr(outcome) + repr(said.lines)
    for granted in ({}, {"TOKEN": ("example.com",)}, {"OTHER": NEAR}):
        async with executor(secrets=granted, PAWL_SECRET_TOKEN="tok-4711-x") as http:
            with pytest.raises(LaunchError) as refused:
                await http.launch(work("http://127.0.0.1:1/", headers=headers), Said())
            assert refused.value.failure.code == "SECRET_NOT_GRANTED"
    async with executor(secrets={"TOKEN": NEAR}) as http:
        with pytest.raises(LaunchError) as missing:
            await http.launch(work("http://127.0.0.1:1/", headers=headers), Said())
        assert missing.value.failure.code == "SECRET_NOT_FOUND"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"url": "ftp://x/"}, "url"),
        ({"url": "http://u:p@x/"}, "url"),
        ({"method": "BREW"}, "method"),
        ({"headers": {"Host": "x"}}, "headers.Host"),
        ({"headers": {"A": "b\r\nC: d"}}, "headers.A"),
    ],
)
async def test_settings_that_make_no_request_are_named(settings: dict[str, object], field: str) -> None:
    async with executor() as http:
        with pytest.raises(LaunchError) as refused:
            await http.launch(work(**{"url": "http://127.0.0.1:1/", **settings}), Said())  # type: ignore[arg-type] # by name
    assert refused.value.failure.code == "INVALID_SETTINGS"
    assert field in refused.value.failure.message


async def test_stopping_a_run_breaks_its_connection_at_once_and_leaves_the_others(tmp_path: Path) -> None:
    async with site() as one, executor() as http:
        stopped = await http.launch(work(one.url("/never")), Said())
        other = await http.launch(work(one.url("/never")), Said())
        await one.until_heard(2)
        await stopped.stop(10)
        outcome = await stopped.wait()
        assert outcome.failure is not None
        assert outcome.failure.code == "STOPPED"
        waiting = asyncio.ensure_future(other.wait())  # noqa: TID251 # ended below
        await asyncio.sleep(0)
        assert not waiting.done()
        await http.close()
        assert (await waiting).failure is not None


async def test_a_run_stopped_before_it_began_has_an_end_too(tmp_path: Path) -> None:
    async with executor() as http:
        run = await http.launch(work("http://127.0.0.1:1/"), Said())
        await run.stop(0)
        assert (await run.wait()).failure is not None


def test_a_host_that_is_none_stops_the_agent_from_starting() -> None:
    with pytest.raises(ValueError, match="no host"):
        HttpExecutor(HttpLimits(("a b",)), Secrets("default", {}))
