"""What travels of a trace: what is read, what is not believed; and spans that nobody takes, which cost nothing."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, use_span
from pawl.tracing import LEAVE_SECONDS, NOWHERE, Spans, Trace, collector, here

from tests.spec.collector import Collector

GOOD = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "00-xyz",
        GOOD.upper(),
        GOOD + "-more",
        GOOD.replace("a" * 32, "0" * 32),
        GOOD.replace("b" * 16, "0" * 16),
        "ff" + GOOD[2:],
        GOOD[:-1],
        GOOD + ", " + GOOD,
        "x" * 5000,
    ],
)
def test_a_malformed_traceparent_is_none_and_takes_its_tracestate_along(malformed: str) -> None:
    assert Trace.of({"traceparent": malformed, "tracestate": "a=1", "baggage": "b=2"}) == Trace("", "", "b=2")


def test_a_newer_version_is_read_as_what_is_known_of_it() -> None:
    assert Trace.of({"traceparent": "42" + GOOD[2:] + "-what-comes"}).traceparent == GOOD
    assert Trace.of({"traceparent": GOOD[:-2] + "ff"}).traceparent == GOOD, "flags that are not known are not handed on"
    assert not Trace.of({"traceparent": GOOD[:-2] + "fe"}).sampled


def test_a_list_that_is_too_long_or_not_printable_is_left_out_whole() -> None:
    said = {"traceparent": GOOD, "tracestate": "a=" + "x" * 511, "baggage": "b=ü"}
    assert Trace.of(said) == Trace(GOOD)
    assert Trace.of({"traceparent": GOOD, "tracestate": "a=" + "x" * 510}).tracestate
    assert not Trace.of({"baggage": "b=" + "x" * 8191}).baggage


def test_a_program_reads_its_place_from_its_environment_and_hands_it_on() -> None:
    environ = {"TRACEPARENT": GOOD, "TRACESTATE": "a=1", "BAGGAGE": "b=2", "PATH": "/bin"}
    trace = Trace.of_environment(environ)
    assert trace.environment() == {name: environ[name] for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE")}
    assert dict(trace.headers()) == {"traceparent": GOOD, "tracestate": "a=1", "baggage": "b=2"}
    assert (trace.trace_id, trace.span_id, trace.sampled) == ("a" * 32, "b" * 16, True)
    assert (NOWHERE.environment(), NOWHERE.trace_id, NOWHERE.sampled) == ({}, "", False)


# ---------------------------------------------------------------- a collector that does not take them


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def some_spans(spans: Spans, count: int) -> float:
    """Make and end so many; the seconds that it took."""
    began = time.perf_counter()
    for _ in range(count):
        spans.end(spans.start("one", NOWHERE, SpanKind.INTERNAL, {}))
    return time.perf_counter() - began


def until_lost(spans: Spans, count: int) -> None:
    deadline = time.monotonic() + 20
    while spans.dropped < count:
        assert time.monotonic() < deadline, spans.dropped


def test_a_dead_collector_costs_nothing_and_is_told_of_once(closed_port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = f"http://127.0.0.1:{closed_port}/v1/traces"
    spans = Spans(OTLPSpanExporter(endpoint=endpoint, timeout=0.2), "test")
    for batch in (1, 2, 3):
        assert some_spans(spans, 600) < 10.0, "whoever is traced does not wait"
        until_lost(spans, 600 * batch)
    began = time.monotonic()
    spans.shutdown()
    assert time.monotonic() - began < LEAVE_SECONDS + 1
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == 1, said
    assert "spans are lost" in said[0]
    assert spans.exported == 0


def test_spans_arrive_again_when_the_collector_takes_them_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pawl.tracing")
    with Collector() as receiver:
        receiver.refuse = 400
        spans = Spans(collector(receiver.endpoint), "test")
        some_spans(spans, 3)
        until_lost(spans, 3)
        receiver.refuse = 0
        some_spans(spans, 2)
        assert len(receiver.until(lambda found: len(found) == 2)) == 2
        spans.shutdown()
    assert (spans.exported, spans.dropped) == (2, 3)
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO"]
    assert "3 were lost" in caplog.records[1].getMessage()


def test_a_collector_that_never_answers_keeps_nobody_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spans = Spans(collector(f"http://127.0.0.1:{silent.getsockname()[1]}"), "test")
        some_spans(spans, 10)
        began = time.monotonic()
        spans.shutdown()
        assert time.monotonic() - began < LEAVE_SECONDS + 1


def test_what_may_wait_for_the_collector_is_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spans = Spans(collector(f"http://127.0.0.1:{silent.getsockname()[1]}"), "test")
        assert some_spans(spans, 10_000) < 10.0
        assert spans.dropped >= 10_000 - 2 * 2048 - 512
        spans.shutdown()


def test_a_call_is_below_the_span_that_its_caller_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", GOOD)
    monkeypatch.setenv("BAGGAGE", "b=2")
    assert here() == Trace(GOOD, "", "b=2")
    context = SpanContext(int("c" * 32, 16), int("d" * 16, 16), False, TraceFlags(1), TraceState([("v", "1")]))
    with use_span(NonRecordingSpan(context)):
        assert here() == Trace(f"00-{'c' * 32}-{'d' * 16}-01", "v=1", "b=2")
