"""Task groups as callers ask for them: what is refused, with the field that is wrong, and what becomes of the rest."""

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from pawl.tracing import NOWHERE
from pawl.v1 import group_pb2

from controlplane.api import translate_groups
from controlplane.domain.errors import Invalid
from controlplane.domain.group import Group, Mode, Policy, Tally
from controlplane.domain.task import Status
from controlplane.engine.groups import GroupView, NewGroup
from controlplane.engine.tasks import Deadlines

JSON = {"data": "MQ==", "content_type": "application/json"}


def read(**body: Any) -> NewGroup:
    message = ParseDict({"job_id": "hello", **body}, group_pb2.TaskGroup())
    return translate_groups.read_new_group(message, "default", NOWHERE)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "group.mode"),
        ({"mode": 7}, "group.mode"),
        ({"mode": "SHARDED"}, "group.shards"),
        ({"mode": "SHARDED", "shards": 0}, "group.shards"),
        ({"mode": "SHARDED", "shards": -1}, "group.shards"),
        ({"mode": "SHARDED", "shards": 10_001}, "group.shards"),
        ({"mode": "SHARDED", "shards": 2, "shard_parameters": [JSON]}, "group.shard_parameters"),
        ({"mode": "SHARDED", "shard_parameters": [JSON], "parameters": JSON}, "group.parameters"),
        ({"mode": "SHARDED", "shard_parameters": [JSON] * 10_001}, "group.shard_parameters"),
        ({"mode": "BROADCAST", "shards": 2}, "group.shards"),
        ({"mode": "BROADCAST", "shard_parameters": [JSON]}, "group.shard_parameters"),
        ({"mode": "BROADCAST", "labels": {"": "b"}}, "group.labels."),
        ({"mode": "BROADCAST", "policy": 9}, "group.policy"),
        ({"mode": "BROADCAST", "policy": "AT_LEAST"}, "group.policy_count"),
        ({"mode": "BROADCAST", "policy": "AT_LEAST", "policy_count": 0}, "group.policy_count"),
        ({"mode": "BROADCAST", "policy": "MAX_FAILED", "policy_count": -1}, "group.policy_count"),
        ({"mode": "BROADCAST", "policy": "ANY", "policy_count": 2}, "group.policy_count"),
        ({"mode": "SHARDED", "shards": 2, "policy": "AT_LEAST", "policy_count": 3}, "group.policy_count"),
        ({"mode": "BROADCAST", "priority": 1_001}, "group.priority"),
        ({"mode": "BROADCAST", "environment": {"PAWL_SHARD_INDEX": "7"}}, "group.environment.PAWL_SHARD_INDEX"),
        ({"mode": "BROADCAST", "schedule_to_start_timeout_seconds": -1}, "group.schedule_to_start_timeout_seconds"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(**body)
    assert field in [one.field for one in refused.value.violations]


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        read(mode="BROADCAST", shards=2, policy="AT_LEAST", shard_parameters=[JSON])
    named = {one.field for one in refused.value.violations}
    assert named == {"group.shards", "group.policy_count", "group.shard_parameters"}


def test_the_inputs_say_how_many_shards_there_are() -> None:
    new = read(mode="SHARDED", shard_parameters=[JSON, JSON])
    assert (new.shards, new.parameters) == (2, [(b"1", "application/json")] * 2)
    assert (new.policy, new.cancel_rest) == (Policy.ALL, False)


def test_what_the_tasks_have_in_common_is_read_as_a_task_is() -> None:
    new = read(
        mode="BROADCAST",
        parameters=JSON,
        environment={"A": "1"},
        tags={"t": "x"},
        labels={"disk": "ssd"},
        priority=7,
        timeout=3,
        total_timeout_seconds=9,
        schedule_to_start_timeout_seconds=2.5,
        scheduled_at="2026-01-31T08:00:00Z",
        policy="MAX_FAILED",
        policy_count=0,
        cancel_rest=True,
    )
    assert (new.task.job, new.task.priority, new.task.deadlines) == ("hello", 7, Deadlines(2.5, 9))
    data = new.task.data
    assert (data.parameters, data.environment, data.tags, data.timeout) == (b"1", {"A": "1"}, {"t": "x"}, 3)
    assert data.labels == {"disk": "ssd"}
    assert new.task.scheduled_at == 1_769_846_400_000_000
    assert (new.mode, new.policy, new.policy_count, new.cancel_rest) == (Mode.BROADCAST, Policy.MAX_FAILED, 0, True)


def test_a_group_is_shown_with_where_its_tasks_are() -> None:
    tally = Tally(10, succeeded=3, failed=1, cancelled=1, skipped=1)
    one = Group("g", "default", "j", 4, Mode.SHARDED, Policy.AT_LEAST, 3, True, tally, 1, 2, status=Status.SUCCEEDED)
    shown = translate_groups.group(GroupView(one, "hello", on_agents=3))
    counts = {field.name: value for field, value in shown.tally.ListFields()}
    assert counts == {
        "total": 10,
        "waiting": 1,
        "on_agents": 3,
        "succeeded": 3,
        "failed": 1,
        "cancelled": 1,
        "skipped": 1,
    }
    assert (shown.status, shown.policy_count, shown.shards) == (100, 3, 10)
    assert not shown.HasField("finished_at")
