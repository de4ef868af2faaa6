import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.hosts import HostRule

from agent.egress import Egress, EgressError, Reach, Request, Response, Target, may_call
from tests.agent.http_site import Site, site

WITHIN = 10.0


def near(*sites: Site) -> Reach:
    return Reach.of((), [f"127.0.0.1:{one.port}" for one in sites])


async def fetch(request: Request, reach: Reach, **options: float) -> Response:
    async with asyncio.timeout(WITHIN):
        return await Egress(**options).fetch(request, reach)  # type: ignore[arg-type]  # options are those of Egress


async def refusal(request: Request, reach: Reach, **options: float) -> EgressError:
    with pytest.raises(EgressError) as caught:
        await fetch(request, reach, **options)
    return caught.value


async def test_a_request_arrives_as_it_was_given_and_its_answer_comes_back() -> None:
    async with site() as one:
        one.text("/a?b=c", b"made", "201 Created", "X-Thing: yes")
        request = Request("POST", one.url("/a?b=c"), {"X-Mine": "ä"}, b"body")
        answer = await fetch(request, near(one))
        assert (answer.status, answer.body, answer.url) == (201, b"made", one.url("/a?b=c"))
        assert ("x-thing", "yes") in answer.headers
        [heard] = one.heard
        assert heard.startswith("POST /a?b=c HTTP/1.1\r\n")
        assert f"host: 127.0.0.1:{one.port}\r\n" in heard.lower()
        assert "x-mine: ä\r\n" in heard.lower()
        assert heard.endswith("\r\n\r\nbody")


async def test_an_error_status_is_an_answer() -> None:
    async with site() as one:
        one.text("/", b"gone", "410 Gone")
        assert (await fetch(Request("GET", one.url("/")), near(one))).status == 410


async def test_a_host_that_nobody_granted_is_not_called() -> None:
    async with site() as one, site() as other:
        error = await refusal(Request("GET", other.url("/")), near(one))
        assert error.code == "HTTP_HOST_NOT_GRANTED"
        assert not other.heard


async def test_a_redirect_to_a_host_that_nobody_granted_is_not_followed() -> None:
    async with site() as one, site() as other:
        one.redirect("/", other.url("/loot"))
        other.text("/loot", b"loot")
        error = await refusal(Request("GET", one.url("/")), near(one))
        assert error.code == "HTTP_HOST_NOT_GRANTED"
        assert str(other.port) in str(error)
        assert not other.heard


async def test_a_redirect_to_another_granted_host_leaves_credentials_behind() -> None:
    async with site() as one, site() as other:
        one.redirect("/", other.url("/there"))
        other.text("/there", b"ok")
        headers = {"Authorization": "Bearer t", "Cookie": "c=1", "X-Kept": "k"}
        answer = await fetch(Request("GET", one.url("/"), headers), near(one, other))
        assert (answer.body, answer.url) == (b"ok", other.url("/there"))
        assert "authorization" in one.heard[0].lower()
        heard = other.heard[0].lower()
        assert "authorization" not in heard
        assert "cookie" not in heard
        assert "x-kept" in heard


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [("302 Found", "GET", ""), ("303 See Other", "GET", ""), ("307 Temporary Redirect", "POST", "body")],
)
async def test_what_a_redirect_makes_of_a_post(status: str, method: str, body: str) -> None:
    async with site() as one:
        one.redirect("/", "/there", status)
        one.text("/there", b"ok")
        await fetch(Request("POST", one.url("/"), {}, b"body"), near(one))
        assert one.heard[1].startswith(f"{method} /there ")
        assert one.heard[1].endswith(f"\r\n\r\n{body}")


async def test_a_circle_of_redirects_ends() -> None:
    async with site() as one:
        one.redirect("/", "/")
        error = await refusal(Request("GET", one.url("/"), redirects=3), near(one))
        assert error.code == "HTTP_TOO_MANY_REDIRECTS"
        assert len(one.heard) == 4


async def test_without_redirects_the_redirect_itself_is_the_answer() -> None:
    async with site() as one:
        one.redirect("/", "http://elsewhere.example/")
        assert (await fetch(Request("GET", one.url("/"), redirects=0), near(one))).status == 302


async def test_a_granted_name_that_leads_into_the_agents_network_is_refused_unless_granted_as_such() -> None:
    async with site() as one:
        one.text("/", b"inside")
        request = Request("GET", one.url("/", "localhost"))
        error = await refusal(request, Reach.of([f"localhost:{one.port}"]))
        assert error.code == "HTTP_ADDRESS_REFUSED"
        assert not one.heard
        assert (await fetch(request, Reach.of([], [f"localhost:{one.port}"]))).body == b"inside"


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]"])
async def test_other_spellings_of_an_inner_address_are_the_same_address(spelling: str) -> None:
    async with site() as one:
        reach = Reach.of([f"{spelling}:{one.port}"])
        error = await refusal(Request("GET", one.url("/", spelling)), reach)
        assert error.code in ("HTTP_ADDRESS_REFUSED", "HTTP_FAILED")  # not every system reads them all
        assert not one.heard


async def test_an_answer_beyond_the_limit_is_cut_off() -> None:
    async with site() as one:
        one.text("/", b"x" * 10_000)
        error = await refusal(Request("GET", one.url("/")), near(one), response_bytes=1000)
        assert error.code == "HTTP_RESPONSE_TOO_LARGE"


async def test_a_host_that_does_not_answer_costs_no_more_than_the_time_asked_for() -> None:
    async with site() as one:
        error = await refusal(Request("GET", one.url("/never"), timeout_seconds=0.2), near(one))
        assert (error.code, error.retryable) == ("HTTP_TIMEOUT", True)
        one.silent.set()


async def test_a_host_that_drips_does_not_stretch_the_time() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _step in range(100):
            if writer.is_closing():
                break
            writer.write(b"x")
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        request = Request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=0.3)
        error = await refusal(request, Reach.of([], [f"127.0.0.1:{port}"]))
        assert error.code == "HTTP_TIMEOUT"


async def test_nobody_at_the_port_is_a_failure_that_may_pass() -> None:
    async with site() as one:
        port = one.port
    error = await refusal(Request("GET", f"http://127.0.0.1:{port}/"), Reach.of([], [f"127.0.0.1:{port}"]))
    assert (error.code, error.retryable) == ("HTTP_FAILED", True)


async def test_an_answer_that_is_no_http_is_a_failure() -> None:
    async with site() as one:
        one.answers["/"] = lambda: b"\x00\x01nonsense\r\n\r\n"
        assert (await refusal(Request("GET", one.url("/")), near(one))).code == "HTTP_FAILED"


@pytest.mark.parametrize(
    ("request_", "field_name"),
    [
        (Request("TRACE", "http://a.example/"), "args.method"),
        (Request("GET", "ftp://a.example/"), "args.url"),
        (Request("GET", "http://user:word@a.example/"), "args.url"),
        (Request("GET", "http://"), "args.url"),
        (Request("GET", "http://a.example/ x"), "args.url"),
        (Request("GET", "http://a.example:99999/"), "args.url"),
        (Request("GET", "http://a.example\\@b.example/"), "args.url"),
        (Request("GET", "http://ä.example/"), "args.url"),
        (Request("GET", "http://a.example/" + "x" * 9000), "args.url"),
        (Request("GET", "http://a.example/", {"Host": "b.example"}), "args.headers.Host"),
        (Request("GET", "http://a.example/", {"Proxy-Authorization": "b"}), "args.headers.Proxy-Authorization"),
        (Request("GET", "http://a.example/", {"A": "b\r\nC: d"}), "args.headers.A"),
        (Request("GET", "http://a.example/", {"A B": "c"}), "args.headers"),
        (Request("GET", "http://a.example/", {"A": "x" * 40_000}), "args.headers"),
        (Request("GET", "http://a.example/", timeout_seconds=61), "args.timeout_seconds"),
        (Request("GET", "http://a.example/", timeout_seconds=float("nan")), "args.timeout_seconds"),
        (Request("GET", "http://a.example/", redirects=11), "args.redirects"),
    ],
)
async def test_a_request_that_is_none_names_its_field(request_: Request, field_name: str) -> None:
    error = await refusal(request_, Reach.of(["a.example"]))
    assert error.code == "INVALID_ARGUMENT"
    assert str(error).startswith(field_name + ":")


@pytest.mark.parametrize(
    ("rule", "url", "matches"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("API.example.com", "http://api.EXAMPLE.com./x", True),
        ("api.example.com", "https://api.example.com:8443/", False),
        ("api.example.com:8443", "https://api.example.com:8443/", True),
        ("api.example.com:443", "https://api.example.com/", True),
        ("api.example.com:443", "http://api.example.com/", False),
        ("api.example.com", "https://evil-api.example.com/", False),
        ("api.example.com", "https://api.example.com.evil.example/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080/", True),
    ],
)
def test_which_hosts_a_rule_means(rule: str, url: str, matches: bool) -> None:
    target = Target.of(url)
    assert HostRule.of(rule).matches(target.host, target.port, target.scheme) is matches


@pytest.mark.parametrize(
    "rule", ["", "*", "*.com", "https://a.example", "a.example/x", "a b", "a.example:0", "*.1.2.3.4"]
)
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"host|port|wildcard"):
        HostRule.of(rule)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
     "ff02::1", "not an address"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_not_called(address: str) -> None:
    assert not may_call(address, private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_called(address: str) -> None:
    assert may_call(address, private=False)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://a.example/{text}"):
        try:
            target = Target.of(url)
        except EgressError as error:
            assert error.code == "INVALID_ARGUMENT"
        else:
            assert Target.of(target.url) == target
