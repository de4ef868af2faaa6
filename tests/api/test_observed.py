"""What a refused call's line says of its fields: names of the contract, nothing that somebody has sent."""

import logging
import re
from pathlib import Path

import pytest

import controlplane
from controlplane.api.observed import shown
from controlplane.log_setup import OWN, LogLevels


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
