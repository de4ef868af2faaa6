"""Messages as JSON by the rules of the REST API, and back."""

import json
from random import Random
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from pawl.protojson import NotThisMessage, read, to_value
from pawl.v1.access_pb2 import Namespace
from pawl.v1.agent_pb2 import Agent
from pawl.v1.job_pb2 import Job
from pawl.v1.plugin_pb2 import Plugin
from pawl.v1.schedule_pb2 import Schedule
from pawl.v1.system_pb2 import Health, SystemMetrics
from pawl.v1.task_pb2 import Task, TaskInstance
from pawl.v1.types_pb2 import Payload

from controlplane.api.json_out import encode


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
            {"@content_type": "application/json", "@text": '{"@content_type": "x"}'},
        ),
        (Payload(data=rb'"\ud83d\ude00"'), "\U0001f600"),
        (Payload(data=rb'"\ud83d"'), {"@content_type": "application/json", "@data": "Ilx1ZDgzZCI="}),
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


PAYLOADS = (
    (b'{"a": 1.50}', ""), (b"null", "application/json"), (b"x", "text/plain"), (b"\xff", "text/plain"),
    (b"nope", "application/json"), (b"\xff", ""), (b'{"@content_type":1}', ""), (b"\0", "image/png"), (b"", ""),
    (b"NaN", ""), (b"3", "APPLICATION/JSON"), (b"[1", "application/json; charset=utf-8"),
)  # fmt: skip # a table
SCALARS: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: ("", "a", 'é\n"', "\u2028<>&"),
    FieldDescriptor.CPPTYPE_BOOL: (True, False),
    FieldDescriptor.CPPTYPE_DOUBLE: (0.0, 1.0, 3600.0, 1e16, 1e-7, 0.1, float("inf"), float("nan")),
}
"""Values that JSON printers like to differ about."""


def fill(message: Any, chance: Random) -> None:
    """Give a message random content."""
    if isinstance(message, Payload):
        message.data, message.content_type = chance.choice(PAYLOADS)
    elif isinstance(message, Timestamp):
        message.seconds, message.nanos = chance.choice((0, 1_700_000_000, -5)), chance.choice((0, 1000, 500_000_000))
    elif message.DESCRIPTOR.full_name.startswith("pawl."):
        for found in message.DESCRIPTOR.fields:
            if chance.random() < 0.7:
                fill_field(message, found, chance)


def fill_field(message: Any, found: Any, chance: Random) -> None:
    value = getattr(message, found.name)
    if found.message_type is not None and found.message_type.GetOptions().map_entry:
        kind = found.message_type.fields_by_name["value"]
        if kind.message_type is None:
            value.update({name: scalar(kind, chance) for name in ("b", "a")})
    elif found.is_repeated:
        if found.message_type is not None:
            fill(value.add(), chance)
        else:
            value.extend((scalar(found, chance), scalar(found, chance)))
    elif found.message_type is not None:
        value.SetInParent()
        fill(value, chance)
    else:
        setattr(message, found.name, scalar(found, chance))


def scalar(found: Any, chance: Random) -> Any:
    if found.enum_type is not None:
        return chance.choice([*found.enum_type.values_by_number, 77])
    if found.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(3)
    return chance.choice(SCALARS.get(found.cpp_type, (0, 1, 5, 2**31 - 1)))


@pytest.mark.parametrize("kind", [Task, TaskInstance, Job, Schedule, Agent, Plugin, Namespace, SystemMetrics, Health])
@given(chance=st.randoms(use_true_random=True))
@settings(max_examples=40)
def test_the_rest_front_prints_the_same(kind: type[Message], chance: Random) -> None:
    message = kind()
    fill(message, chance)
    assert json.loads(json.dumps(to_value(message))) == json.loads(encode(message, camel=False))
