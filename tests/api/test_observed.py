"""What a refused call's line says of its fields: names of the contract, nothing that somebody has sent."""

import logging
import re
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pawl.tracing import NOWHERE, Trace

import controlplane
from controlplane.api.observed import shown
from controlplane.log_setup import OWN, LogLevels
from controlplane.telemetry import Tracing


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("job.config.max_retries", "job.config.max_retries"),
        ("job.config.maxRetries", "job.config.maxRetries"),
        ("requests[3].task.environment[A_SECRET]", "requests[3].task.environment[]"),
        ("a-secret", "(unknown)"),
        ("task.a-secret.deeper", "task.(unknown).(unknown)"),
        ("If-Match", "If-Match"),
        ("metadata.authorization", "metadata.authorization"),
        ("", "(unknown)"),
        ("x" * 10_000, "(unknown)"),
    ],
)
def test_only_names_of_the_contract_are_written(field: str, said: str) -> None:
    assert shown(field) == said


def test_every_logger_of_ours_can_be_changed_before_it_has_said_anything() -> None:
    named = set()
    for file in Path(controlplane.__path__[0]).rglob("*.py"):
        named |= set(re.findall(r'getlogger\("(controlplane\.\w+)"', file.read_text(), re.IGNORECASE))
        named |= set(re.findall(r'get_logger\("(controlplane\.\w+)"', file.read_text()))
    assert named == set(OWN)
    levels = LogLevels("info", lambda *_: None)
    assert all(levels.knows(name) for name in named)
    assert not levels.knows("sqlalchemy.engine")
    assert not levels.knows("controlplane.nothing")


def test_a_change_that_is_changed_again_does_not_end_the_later_one() -> None:
    later = []
    levels = LogLevels("info", lambda seconds, then: later.append((seconds, then)))
    name = "controlplane.calls"
    try:
        levels.change(name, "DEBUG", 60)
        levels.change(name, "ERROR", 600)
        later[0][1]()
        assert logging.getLogger(name).level == logging.ERROR
        levels.configure("warning")
        assert logging.getLogger(name).level == logging.ERROR, "what was changed by hand keeps its time"
        later[1][1]()
        assert (logging.getLogger(name).level, levels.changed()) == (logging.NOTSET, {})
    finally:
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_the_ratio_draws_where_nobody_has_decided_and_only_there(ratio: float, least: int, most: int) -> None:
    tracing = Tracing(InMemorySpanExporter(), ratio=ratio)
    decided = Trace(f"00-{'1' * 32}-{'2' * 16}-00"), Trace(f"00-{'1' * 32}-{'2' * 16}-01")
    drawn = [tracing.begin("a/B", "rest", NOWHERE) is not None for _ in range(1000)]
    drawn += [tracing.fired({}, 1) is not None for _ in range(1000)]
    assert least <= sum(drawn) <= most
    assert [tracing.begin("a/B", "rest", one) is not None for one in decided] == [False, True]
    assert [tracing.placed(one, {}, 1) is not None for one in (NOWHERE, *decided)] == [False, False, True]
    tracing.shutdown()
    assert Tracing(ratio=1.0).begin("a/B", "rest", NOWHERE) is None, "nowhere to send it"
