"""Messages as JSON by the rules of the REST API, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.protojson import NotThisMessage, read, to_value
from pawl.v1.job_pb2 import Job
from pawl.v1.system_pb2 import SystemMetrics
from pawl.v1.task_pb2 import Task
from pawl.v1.types_pb2 import Payload


def test_fields_without_presence_are_printed_and_unset_ones_are_not() -> None:
    printed = to_value(Task())
    assert printed["id"] == ""
    assert printed["attempt"] == 0
    assert printed["tags"] == {}
    assert printed["status"] == "UNSPECIFIED"
    assert not {"priority", "output", "created_at"} & printed.keys()


def test_instants_have_microseconds_and_long_numbers_are_text() -> None:
    task = read({"created_at": "2026-01-31T09:00:00.5+01:00"}, Task)
    assert to_value(task)["created_at"] == "2026-01-31T08:00:00.500000Z"
    assert to_value(SystemMetrics(ready=2**60, tasks={"RUNNING": 3}))["ready"] == str(2**60)


@pytest.mark.parametrize(
    ("held", "printed"),
    [
        (Payload(data=b'{"a": 1}'), {"a": 1}),
        (Payload(data=b"null", content_type="application/json"), None),
        (Payload(data="hé".encode(), content_type="text/plain"), {"@content_type": "text/plain", "@text": "hé"}),
        (Payload(data=b"\xff", content_type="text/plain"), {"@content_type": "text/plain", "@data": "/w=="}),
        (Payload(data=b"\x00", content_type="image/png"), {"@content_type": "image/png", "@data": "AA=="}),
        (
            Payload(data=b'{"@content_type": "x"}'),
            {"@content_type": "application/json", "@data": "eyJAY29udGVudF90eXBlIjogIngifQ=="},
        ),
    ],
)
def test_payloads_are_inline(held: Payload, printed: Any) -> None:
    assert to_value(Task(output=held))["output"] == printed


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_any_json_value_travels_as_a_payload(value: Any) -> None:
    assert to_value(read({"parameters": value}, Task))["parameters"] == value


def test_other_spellings_are_read() -> None:
    task = read({"jobId": "a", "state": "running", "priority": "7"}, Task)
    assert (task.job_id, task.status, task.priority) == ("a", Task.Status.RUNNING, 7)
    assert read({"status": "Task.Status.FAILED"}, Task).status == Task.Status.FAILED
    assert read({"status": 90}, Task).status == Task.Status.FAILED


@pytest.mark.parametrize(
    ("given_", "field", "words"),
    [
        ({"nme": "x"}, "nme", "no such field"),
        ({"config": {"cmd": 3}}, "config.cmd", "quotes"),
        ({"config": {"args": "x"}}, "config.args", "list"),
        ({"config": {"args": ["x", 1]}}, "config.args[1]", "text"),
        ({"environment": {"PORT": 8080}}, "environment.PORT", "quotes"),
        ({"config": {"max_retries": 1.5}}, "config.max_retries", "whole number"),
        ({"config": {"max_retries": 2**31}}, "config.max_retries", "whole number"),
        ({"config": {"timeout": True}}, "config.timeout", "number"),
        ({"enabled": "yes"}, "enabled", "true or false"),
        ({"status": "on"}, "status", "ENABLED, DISABLED"),
        ({"status": "ENABLED", "state": "ENABLED"}, "state", "twice"),
        ({"created_at": "noon"}, "created_at", "2026"),
        ([], "", "object"),
    ],
)
def test_wrong_data_is_named_by_its_path(given_: Any, field: str, words: str) -> None:
    with pytest.raises(NotThisMessage, match=words) as refused:
        read(given_, Job)
    assert refused.value.field == field


def test_what_is_printed_can_be_read() -> None:
    task = Task(id="a", tags={"k": "v"}, priority=3, output=Payload(data=b"\x01", content_type="image/png"))
    assert read(to_value(task), Task) == task
