"""Between the wire and the domain: task groups. Pure functions. What a group's tasks have in common is read as a
task is, so that it is said, checked and refused alike.
"""

from __future__ import annotations

from pawl.tracing import Trace
from pawl.v1 import group_pb2, task_pb2

from controlplane.api import translate, translate_tasks
from controlplane.api.translate import timestamp
from controlplane.domain.errors import Invalid, Violation
from controlplane.domain.group import COUNTING, MAX_MEMBERS, Mode, Policy
from controlplane.engine.groups import GroupView, NewGroup

_OF_TASKS = (
    "job_id",
    "parameters",
    "environment",
    "tags",
    "priority",
    "scheduled_at",
    "timeout",
    "schedule_to_start_timeout_seconds",
    "total_timeout_seconds",
    "labels",
)


def read_new_group(message: group_pb2.TaskGroup, namespace_id: str, trace: Trace) -> NewGroup:
    """A group as a caller wants it. Raises Invalid."""
    given = {field.name: value for field, value in message.ListFields() if field.name in _OF_TASKS}
    mode = translate.read_enum(message.mode, Mode, "group.mode")
    if mode is None:
        raise Invalid.field("group.mode", "is required: BROADCAST for every agent that matches, or SHARDED")
    policy = translate.read_enum(message.policy, Policy, "group.policy") or Policy.ALL
    problems = [*_count_problems(message, policy), *_mode_problems(message, mode)]
    if problems:
        raise Invalid.fields(problems)
    return NewGroup(
        task=translate_tasks.read_new_task(task_pb2.Task(**given), namespace_id, None, trace, "group"),
        mode=mode,
        shards=message.shards if message.HasField("shards") else len(message.shard_parameters),
        parameters=[
            translate.read_payload(one, f"group.shard_parameters[{index}]")
            for index, one in enumerate(message.shard_parameters)
        ],
        policy=policy,
        policy_count=message.policy_count,
        cancel_rest=message.cancel_rest,
    )


def _count_problems(message: group_pb2.TaskGroup, policy: Policy) -> list[Violation]:
    path, given = "group.policy_count", message.HasField("policy_count")
    least = 1 if policy is Policy.AT_LEAST else 0
    if policy not in COUNTING:
        return [Violation(path, f"is of AT_LEAST and MAX_FAILED; {policy.name} counts nothing")] if given else []
    if not given:
        return [Violation(path, f"is required for {policy.name}: how many")]
    if not least <= message.policy_count <= MAX_MEMBERS:
        return [Violation(path, f"must be {least} to {MAX_MEMBERS:,}, not {message.policy_count}")]
    if policy is Policy.AT_LEAST and message.HasField("shards") and message.policy_count > message.shards >= 1:
        return [Violation(path, f"is {message.policy_count}, and there are only {message.shards} shards")]
    return []


def _mode_problems(message: group_pb2.TaskGroup, mode: Mode) -> list[Violation]:
    inputs = len(message.shard_parameters)
    if mode is Mode.BROADCAST:
        found = []
        if message.HasField("shards"):
            found.append(Violation("group.shards", "is of SHARDED: the agents that match are counted"))
        if inputs:
            found.append(Violation("group.shard_parameters", "is of SHARDED: leave it out, and use parameters"))
        return found
    found = []
    if not message.HasField("shards") and not inputs:
        found.append(Violation("group.shards", f"is required for SHARDED: 1 to {MAX_MEMBERS:,}"))
    elif message.HasField("shards") and not 1 <= message.shards <= MAX_MEMBERS:
        found.append(Violation("group.shards", f"must be 1 to {MAX_MEMBERS:,}, not {message.shards}"))
    elif inputs > MAX_MEMBERS or (message.HasField("shards") and inputs not in (0, message.shards)):
        wanted = f"one for each of the {message.shards} shards" if message.shards else f"at most {MAX_MEMBERS:,}"
        found.append(Violation("group.shard_parameters", f"has {inputs:,} entries, must have {wanted}"))
    if inputs and message.HasField("parameters"):
        found.append(Violation("group.parameters", "is for all alike: leave it out, or shard_parameters"))
    return found


def group(view: GroupView) -> group_pb2.TaskGroup:
    """A group as it is shown."""
    one, tally = view.group, view.group.tally
    return group_pb2.TaskGroup(
        id=one.id,
        namespace_id=one.namespace_id,
        job_id=one.job_id,
        job_name=view.job_name,
        job_revision=one.job_revision,
        mode=group_pb2.TaskGroup.Mode.Name(int(one.mode)),
        shards=tally.total if one.mode is Mode.SHARDED else None,
        labels=one.labels,
        policy=group_pb2.GroupPolicy.Policy.Name(int(one.policy)),
        policy_count=one.policy_count if one.policy in COUNTING else None,
        cancel_rest=one.cancel_rest,
        tags=one.tags,
        status=int(one.status),  # type: ignore[arg-type]  # the numbers are the contract's own
        tally=group_pb2.GroupTally(
            total=tally.total,
            waiting=max(0, tally.unfinished - view.on_agents),
            on_agents=view.on_agents,
            succeeded=tally.succeeded,
            failed=tally.failed,
            cancelled=tally.cancelled,
            skipped=tally.skipped,
        ),
        cancelling=one.closing,
        cancel_reason=one.closed_why,
        created_at=timestamp(one.created_at),
        updated_at=timestamp(one.updated_at),
        decided_at=timestamp(one.decided_at),
        finished_at=timestamp(one.finished_at),
        version=one.version,
    )
