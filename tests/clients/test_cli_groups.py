"""`pawl group` at a terminal, and groups from code; with agents they are in `tests/spec/test_groups_with_agents.py`."""

from collections.abc import Callable

import pytest
from pawl.client import Client
from pawl.errors import PawlError
from pawl.v1.group_pb2 import GroupPolicy, TaskGroup
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.clients.conftest import Ran
from tests.clients.test_cli import data

Pawl = Callable[..., Ran]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--on-all, or --shards or --inputs"),
        (("--on-all", "--shards", "2"), "--on-all, or --shards or --inputs"),
        (("--on-all", "--any", "--at-least", "1"), "only one of"),
        (("--shards", "0"), "--shards"),
        (("--inputs", "{}"), "--inputs"),
        (("--inputs", "[]"), "--inputs"),
        (("--shards", "2", "--inputs", "[1]"), "group.shard_parameters"),
        (("--shards", "2", "--at-least", "3"), "group.policy_count"),
        (("--shards", "2", "--at-least", "9" * 12), "--at-least"),
    ],
)
def test_what_cannot_be_a_group_is_wrong_usage(pawl: Pawl, arguments: tuple[str, ...], said: str) -> None:
    ran = pawl("group", "run", "anything", *arguments)
    assert ran.code == 2
    assert said in ran.err


def whole(text: str) -> str:
    """As one line: it may be broken at the terminal's width."""
    return " ".join(text.split())


def test_a_group_of_nobody_is_refused(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nobody=has-it", "--", "true")
    ran = pawl("group", "run", name, "--on-all")
    assert ran.code == 4
    assert "no connected agent matches" in ran.err
    assert pawl("group", "run", "no-such-job", "--shards", "2").code == 3


def test_a_group_is_made_shown_cancelled_run_again_and_deleted(pawl: Pawl, name: str) -> None:
    pawl("job", "create", name, "--label", "nobody=has-it", "--", "true")
    made = data(pawl("group", "run", name, "--inputs", "[1, {}, null]", "--max-failed", "1", "-o", "json"))
    group = str(made["id"])
    shown = pawl("group", "get", group).out
    for words in ("in 3 shards, policy MAX_FAILED 1", "3 in all, 3 waiting", "RUNNING"):
        assert words in shown
    assert group in pawl("group", "list", "--job", name).out
    assert pawl("task", "list", "--group", group).out.count("PENDING") == 3
    assert pawl("group", "delete", group).code == 4
    cancelled = pawl("group", "cancel", group, "--reason", "enough")
    assert "3 cancelled" in whole(cancelled.out)
    waited = pawl("group", "wait", group)
    assert waited.code == 130
    assert "enough" in whole(waited.out)
    assert "3 waiting" in whole(pawl("group", "retry", group).out)
    assert pawl("group", "cancel", group).code == 0
    assert pawl("group", "delete", group).code == 0
    assert pawl("group", "get", group).code == 3


async def test_a_group_is_waited_for_as_long_as_one_likes(client: Client, name: str) -> None:
    config = JobConfig(cmd="true", labels={"nobody": "has-it"})
    await client.jobs.create(Job(name=name, config=config))
    wanted = TaskGroup(job_id=name, mode=TaskGroup.SHARDED, shards=3, policy=GroupPolicy.ANY)
    group = await client.groups.create(wanted)
    assert (await client.groups.wait(group.id, 0.05)).status == Task.RUNNING
    first, *others = [task async for task in client.groups.members(group.id)]
    assert [task.shard_index for task in (first, *others)] == [0, 1, 2]
    await client.tasks.force_success(first.id)
    decided = await client.groups.wait(group.id, decided=True)
    assert (decided.status, decided.tally.waiting) == (Task.SUCCEEDED, 2)
    for task in others:
        await client.tasks.skip(task.id)
    ended = await client.groups.wait(group.id)
    assert (ended.status, ended.tally.skipped) == (Task.SUCCEEDED, 2)
    await client.groups.delete(group.id)
    with pytest.raises(PawlError) as gone:
        await client.groups.get(group.id)
    assert gone.value.code == "NOT_FOUND"
