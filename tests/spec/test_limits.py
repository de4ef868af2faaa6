"""What users see of limits: exact reasons that retries can name, figures of what was ended, and what nothing held."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.spec.conftest import end, serving, start_agent
from tests.spec.test_with_an_agent import Rest, eventually

GROWS = "x = []\nwhile True: x.append(b'x' * (1 << 20))"


@pytest.fixture
def rest(migrated_url: str, tmp_path: Path) -> Iterator[Rest]:
    with ExitStack() as stack:
        addresses = stack.enter_context(serving(migrated_url, tmp_path))
        stack.callback(end, start_agent(addresses.grpc, tmp_path / "agent"))
        rest = Rest(addresses.http)
        stack.callback(rest.client.close)
        eventually(lambda: rest.post("/agents/query", {}), lambda page: page["total"] == 1)
        yield rest


def ended(rest: Rest, name: str, status: str, *argv: str, **config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A job's only task and its last instance."""
    program = {"cmd": argv[0], "args": list(argv[1:])} if argv else {}
    rest.post("/jobs", {"name": name, "config": program | config})
    task = rest.reaches(rest.run(name), status)
    return task, rest.get(f"/task-instances/{task['instance_id']}")


def test_limits_are_held_reported_and_named_by_retries(rest: Rest) -> None:
    memory = {"resource_limits": {"max_memory_mb": 64}, "max_retries": 3, "retry_interval": 0}
    python = (sys.executable, "-S", "-c")
    task, instance = ended(rest, "hungry", "FAILED", *python, GROWS, **memory, retry={"fail_on": ["OUT_OF_MEMORY"]})
    assert (task["error"]["code"], task["attempt"], task["dead_reason"]) == ("OUT_OF_MEMORY", 1, "NOT_RETRYABLE")
    assert "max_memory_mb" in task["error"]["message"]
    assert int(instance["metrics"]["peak_memory_bytes"]) > 50 << 20
    assert instance["signal"] == 9

    bomb = ("bash", "-c", "f() { f | f & }; f; sleep 60")
    task, _ = ended(rest, "bomb", "FAILED", *bomb, resource_limits={"max_processes": 50})
    assert task["error"]["code"] == "TOO_MANY_PROCESSES"

    limits = {"max_execution_time_secs": 0.3, "max_output_size_bytes": 1000}
    flood = ("bash", "-c", "seq 1 20000; exec sleep 60")
    task, instance = ended(rest, "slow", "FAILED", *flood, timeout=30, resource_limits=limits)
    assert (task["error"]["code"], instance["status"]) == ("TIMEOUT", "TIMED_OUT")
    assert "resource_limits.max_execution_time_secs of 0.3 s" in task["error"]["message"]
    assert instance["output_truncated"]
    assert "bytes left out]" in task["output"]["@text"]
    assert len(task["output"]["@text"]) <= 1000
    assert instance["limits_not_enforced"] == []

    http = {"executor": "http", "http": {"url": "http://127.0.0.1:9/"}}
    task, instance = ended(rest, "call", "FAILED", **http, resource_limits={"max_memory_mb": 9, "max_processes": 9})
    assert [one["limit"] for one in instance["limits_not_enforced"]] == ["max_memory_mb", "max_processes"]
    assert "no process" in instance["limits_not_enforced"][0]["reason"]
