"""Task groups: many tasks that one call made, and what they have come to together.

A group's members are ordinary tasks: each is placed, retried and ended like any other. What the group knows of them is
a tally of how they ended; its status is a pure function of that tally and of its policy (`verdict`), so it is right
whatever the order in which members end, and after a member was run again.

The rule. A policy asks for so many successes (`needed`). The group has SUCCEEDED once there are as many, and has FAILED
once there cannot be: at once, while others still run. Where failures alone would not have kept it from succeeding, the
cancelled ones are to blame, and it is CANCELLED. A skipped member counts as if it had never been there. Everything else
is RUNNING. A verdict only changes by what a person does to ended members, or by failures that come after cancellations.

Not here: how members are made (`engine/groups.py`), and how the tally is kept (`store/groups.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from controlplane.domain.task import FINAL, Status, Task

MAX_MEMBERS = 10_000
MAX_PARAMETERS_BYTES = 32 << 20  # of all members together: each keeps its own


class Mode(IntEnum):
    """What a member is."""

    BROADCAST = 1  # a task for each agent that matched when the group was made
    SHARDED = 2  # a part of the work, on whichever agent


class Policy(IntEnum):
    """What is asked of the members together."""

    ALL = 1
    ANY = 2
    AT_LEAST = 3
    MAX_FAILED = 4


COUNTING = frozenset({Policy.AT_LEAST, Policy.MAX_FAILED})


@dataclass(frozen=True, slots=True)
class Tally:
    """How many members there are, and how those that have ended did."""

    total: int
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0

    @property
    def unfinished(self) -> int:
        """Members that have not ended."""
        return self.total - self.succeeded - self.failed - self.cancelled - self.skipped

    def moved(self, before: Status, after: Status) -> Tally:
        """The tally after a member went from one status to another."""
        counts = {name: getattr(self, name) for name in _COUNTED.values()}
        if before in _COUNTED:
            counts[_COUNTED[before]] -= 1
        if after in _COUNTED:
            counts[_COUNTED[after]] += 1
        return replace(self, **counts)


_COUNTED: Mapping[Status, str] = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "skipped",
}
assert set(_COUNTED) == FINAL


def needed(policy: Policy, count: int, tally: Tally) -> int:
    """How many members have to succeed. `count` is what AT_LEAST and MAX_FAILED speak of."""
    running = tally.total - tally.skipped
    return {
        Policy.ALL: running,
        Policy.ANY: min(1, running),
        Policy.AT_LEAST: min(count, running),
        Policy.MAX_FAILED: max(0, running - count),
    }[policy]


def verdict(policy: Policy, count: int, tally: Tally) -> Status:
    """RUNNING, SUCCEEDED, FAILED or CANCELLED."""
    wanted = needed(policy, count, tally)
    if tally.succeeded >= wanted and not (policy is Policy.MAX_FAILED and tally.unfinished):
        return Status.SUCCEEDED
    without_failed = tally.total - tally.skipped - tally.failed
    if without_failed < wanted:
        return Status.FAILED
    return Status.CANCELLED if without_failed - tally.cancelled < wanted else Status.RUNNING


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it stands. Instants are microseconds UTC.

    `cancel_rest`: as soon as it is decided, what has not ended is cancelled. `closing`: that is going on, because it
    was decided or because somebody asked for it.
    """

    id: str
    namespace_id: str
    job_id: str
    job_revision: int
    mode: Mode
    policy: Policy
    policy_count: int
    cancel_rest: bool
    tally: Tally
    created_at: int
    updated_at: int
    status: Status = Status.RUNNING
    closing: bool = False
    closed_by: str = ""
    closed_why: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    decided_at: int | None = None
    finished_at: int | None = None
    version: int = 1


def shard_environment(task: Task) -> dict[str, str]:
    """What a member's program is told of its part. By the control plane: an agent that does not know of groups hands
    these on like all others.
    """
    if task.shard_total is None:
        return {}
    return {
        "PAWL_GROUP_ID": str(task.group_id),
        "PAWL_SHARD_INDEX": str(task.shard_index),
        "PAWL_SHARD_TOTAL": str(task.shard_total),
    }


def after(group: Group, moves: Iterable[tuple[Status, Status]], now: int) -> Group:
    """The group after members went from one status to another."""
    tally = group.tally
    for before, then in moves:
        tally = tally.moved(before, then)
    status = verdict(group.policy, group.policy_count, tally)
    decided = status is not Status.RUNNING
    newly = decided and group.status is Status.RUNNING
    closing = (group.closing or (newly and group.cancel_rest)) and tally.unfinished > 0
    return replace(
        group,
        tally=tally,
        status=status,
        closing=closing,
        closed_why=f"its group is decided: {status.name}" if closing and not group.closing else group.closed_why,
        decided_at=(group.decided_at or now) if decided else None,
        finished_at=None if tally.unfinished else group.finished_at or now,
        updated_at=max(now, group.updated_at),
        version=group.version + 1,
    )


def close(group: Group, by: str, why: str, now: int) -> Group:
    """Somebody wants the rest cancelled."""
    return replace(group, closing=True, closed_by=by, closed_why=why, updated_at=now, version=group.version + 1)


def reopen(group: Group, now: int) -> Group:
    """Somebody wants members run again: nothing of it is cancelled any more by what was decided before."""
    return replace(group, closing=False, closed_by="", closed_why="", updated_at=now, version=group.version + 1)
