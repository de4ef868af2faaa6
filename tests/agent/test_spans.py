"""Every way in which an attempt ends is in its span, and what the agent logs of it has its ids."""

import asyncio
import json
import logging
import secrets
from pathlib import Path
from typing import Any

import pytest
from pawl.v1 import agent_pb2

from agent.log_setup import JsonLines, Lines
from tests.agent.scripted import (
    ScriptedControlPlane,
    assign,
    begins,
    cancel,
    hears,
    number_of,
    running_agent,
    says,
    shell,
    until,
    work,
)
from tests.spec.collector import Collector, Span

TRACE = secrets.token_hex(16)


def traced(item: agent_pb2.Assign.Item, *, sampled: bool = True) -> agent_pb2.Assign.Item:
    """The same assignment, below a span of its own number."""
    item.traceparent = f"00-{TRACE}-{number_of(item.instance):016x}-{'01' if sampled else '00'}"
    item.tracestate = "vendor=abc"
    return item


def by_number(spans: list[Span]) -> dict[int, Span]:
    return {int(one.parent, 16): one for one in spans}


async def test_every_way_in_which_an_attempt_ends_is_in_its_span(tmp_path: Path) -> None:
    with Collector() as collector:
        async with (
            ScriptedControlPlane() as plane,
            running_agent(plane, tmp_path, telemetry__otlp_endpoint=collector.endpoint, agent__max_concurrent_tasks=20),
        ):
            deaf = "trap '' TERM; while :; do sleep 60 & wait; done"
            items = [
                shell(1, "true"),
                shell(2, "exit 3"),
                shell(3, "kill -9 $$"),
                shell(4, "sleep 60", timeout_seconds=0.2, grace_seconds=0.1),
                shell(5, "sleep 60"),
                work(6, "no-such-command"),
                work(7, "", executor="quantum"),
                shell(8, deaf, timeout_seconds=0.2, grace_seconds=0.1),
                shell(9, "sleep 60"),
            ]
            await plane.play(begins(), says(assign(*map(traced, items))), hears("taken", 9))
            await plane.play(hears("started", 5), says(cancel(5, "a secret reason")))
            await plane.play(*(hears("finished", number) for number in range(1, 9)))
        # The agent has gone, and has given the ninth back.
        spans = await asyncio.to_thread(collector.until, lambda found: len(found) == 9)
    found = {
        number: (one.attributes["pawl.task.status"], one.status, one.message)
        for number, one in sorted(by_number(spans).items())
    }
    assert found == {
        1: ("SUCCEEDED", "OK", ""),
        2: ("FAILED", "ERROR", "EXIT_3"),
        3: ("FAILED", "ERROR", "SIGNAL_KILL"),
        4: ("TIMED_OUT", "ERROR", "TIMEOUT"),
        5: ("CANCELLED", "ERROR", "CANCELLED"),
        6: ("FAILED", "ERROR", "COMMAND_NOT_FOUND"),
        7: ("FAILED", "ERROR", "EXECUTOR_NOT_FOUND"),
        8: ("TIMED_OUT", "ERROR", "TIMEOUT"),
        9: ("given back", "ERROR", "given back"),
    }
    assert {(one.trace, one.kind, one.state, one.name) for one in spans} == {
        (TRACE, "CONSUMER", "vendor=abc", "attempt a-job")
    }
    assert by_number(spans)[3].attributes["process.exit.signal"] == 9
    assert not [body for body in collector.raw if b"a secret reason" in body]


async def test_what_nobody_wants_makes_no_span_and_the_program_still_knows_its_trace(tmp_path: Path) -> None:
    with Collector() as collector:
        async with (
            ScriptedControlPlane() as plane,
            running_agent(plane, tmp_path, telemetry__otlp_endpoint=collector.endpoint),
        ):
            item = traced(shell(1, "echo $TRACEPARENT"), sampled=False)
            *_, done = await plane.play(begins(), says(assign(item)), hears("finished", 1))
    assert done.output.data.decode().strip() == f"00-{TRACE}-{1:016x}-00"
    assert collector.requests == 0


class Kept(logging.Handler):
    """Every line as a formatter makes it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.mark.parametrize("formatter", [Lines(), JsonLines()], ids=["text", "json"])
async def test_a_line_about_an_attempt_has_its_ids(tmp_path: Path, formatter: logging.Formatter) -> None:
    kept, logger = Kept(formatter), logging.getLogger("pawl.agent")
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    try:
        async with ScriptedControlPlane() as plane, running_agent(plane, tmp_path):
            items = [traced(shell(number, f"exit {number}"), sampled=False) for number in (1, 2)]
            await plane.play(begins(), says(assign(*items)), hears("finished", 1), hears("finished", 2))
            await until(lambda: len([line for line in kept.lines if "the attempt ended" in line]) == 2)
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)
    for item in items:
        wanted = {
            "task_id": item.instance.task_id,
            "attempt": "1",
            "job": "a-job",
            "trace_id": TRACE,
            "span_id": f"{number_of(item.instance):016x}",
        }
        (line,) = [one for one in kept.lines if "the attempt ended" in one and item.instance.task_id in one]
        said = json.loads(line) if line.startswith("{") else _words(line)
        assert wanted.items() <= said.items(), line
    assert [line for line in kept.lines if "connected to" in line and "task_id" not in line]


def _words(line: str) -> dict[str, Any]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    record = logging.LogRecord("pawl.agent", logging.INFO, "f", 1, "said %s", ("a\n2026 ERROR forged \x1b[31m",), None)
    assert Lines().format(record).count("\n") == 0
    assert "\x1b" not in Lines().format(record)
    assert json.loads(JsonLines().format(record))["event"].count("\n") == 1
