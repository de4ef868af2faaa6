"""What a group has come to, compared with an oracle that plays out every way in which it could go on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.group import Group, Mode, Policy, Tally, after, close, needed, reopen, verdict
from controlplane.domain.task import FINAL, Status

GOING = (Status.PENDING, Status.DISPATCHED, Status.RUNNING, Status.WAITING_RETRY, Status.PAUSED)
NAMES = {
    "S": Status.SUCCEEDED,
    "F": Status.FAILED,
    "C": Status.CANCELLED,
    "K": Status.SKIPPED,
    "r": Status.RUNNING,
}


def tally(members: Sequence[Status]) -> Tally:
    """Counted by hand."""
    found = Counter(members)
    return Tally(
        total=len(members),
        succeeded=found[Status.SUCCEEDED],
        failed=found[Status.FAILED],
        cancelled=found[Status.CANCELLED],
        skipped=found[Status.SKIPPED],
    )


def is_success(policy: Policy, count: int, succeeded: int, total: int) -> bool:
    """Of members that have all ended, skipped ones left out: what the policy's words say."""
    match policy:
        case Policy.ALL:
            return succeeded == total
        case Policy.ANY:
            return succeeded >= 1 or total == 0
        case Policy.AT_LEAST:
            return succeeded >= count or succeeded == total
        case Policy.MAX_FAILED:
            return total - succeeded <= count


def oracle(policy: Policy, count: int, members: Sequence[Status]) -> Status:
    """By every way in which those that go on may end, each well or not."""
    present = [one for one in members if one is not Status.SKIPPED]
    done = sum(one is Status.SUCCEEDED for one in present)
    going = sum(one not in FINAL for one in present)
    cancelled = sum(one is Status.CANCELLED for one in present)
    ways = [is_success(policy, count, done + more, len(present)) for more in range(going + 1)]
    if all(ways):
        # It asks that all of them were tried, so it is not decided while one is.
        return Status.RUNNING if policy is Policy.MAX_FAILED and going else Status.SUCCEEDED
    if any(ways):
        return Status.RUNNING
    # Had nobody cancelled anything, could it have succeeded?
    could = any(is_success(policy, count, done + more, len(present)) for more in range(going + cancelled + 1))
    return Status.CANCELLED if could else Status.FAILED


policies = st.sampled_from(Policy)
counts = st.integers(0, 7)
members = st.lists(st.sampled_from((*GOING, *FINAL)), max_size=6)


@given(policies, counts, members)
def test_a_verdict_is_what_every_way_to_go_on_leads_to(policy: Policy, count: int, found: list[Status]) -> None:
    assert verdict(policy, count, tally(found)) is oracle(policy, count, found)


@pytest.mark.parametrize(
    ("policy", "count", "story", "status"),
    [
        (Policy.ALL, 0, "SSS", Status.SUCCEEDED),
        (Policy.ALL, 0, "SrS", Status.RUNNING),
        (Policy.ALL, 0, "Frr", Status.FAILED),
        (Policy.ALL, 0, "FCC", Status.FAILED),
        (Policy.ALL, 0, "SCr", Status.CANCELLED),
        (Policy.ALL, 0, "SKS", Status.SUCCEEDED),
        (Policy.ALL, 0, "KK", Status.SUCCEEDED),
        (Policy.ANY, 0, "rSr", Status.SUCCEEDED),
        (Policy.ANY, 0, "FFr", Status.RUNNING),
        (Policy.ANY, 0, "FFF", Status.FAILED),
        (Policy.ANY, 0, "FCC", Status.CANCELLED),
        (Policy.ANY, 0, "FK", Status.FAILED),
        (Policy.AT_LEAST, 2, "SSr", Status.SUCCEEDED),
        (Policy.AT_LEAST, 2, "SFr", Status.RUNNING),
        (Policy.AT_LEAST, 2, "FFr", Status.FAILED),
        (Policy.AT_LEAST, 2, "SK", Status.SUCCEEDED),
        (Policy.MAX_FAILED, 1, "SSr", Status.RUNNING),
        (Policy.MAX_FAILED, 1, "SSF", Status.SUCCEEDED),
        (Policy.MAX_FAILED, 1, "FFr", Status.FAILED),
        (Policy.MAX_FAILED, 0, "SSF", Status.FAILED),
        (Policy.MAX_FAILED, 1, "FCr", Status.CANCELLED),
    ],
)
def test_what_each_policy_makes_of_its_members(policy: Policy, count: int, story: str, status: Status) -> None:
    found = [NAMES[one] for one in story]
    assert verdict(policy, count, tally(found)) is status
    assert oracle(policy, count, found) is status


@given(policies, counts, members)
def test_a_decided_group_stays_so_while_its_members_end(policy: Policy, count: int, found: list[Status]) -> None:
    """Whatever becomes of the others. Only failures that come later than cancellations say more than those."""
    before = verdict(policy, count, tally(found))
    going = [number for number, one in enumerate(found) if one not in FINAL]
    for end in FINAL:
        for number in going:
            then = [end if place == number else one for place, one in enumerate(found)]
            now = verdict(policy, count, tally(then))
            if before is Status.CANCELLED:
                assert now in (Status.CANCELLED, Status.FAILED)
            elif before is not Status.RUNNING:
                assert now is before


def group(total: int, policy: Policy = Policy.ALL, count: int = 0, **fields: object) -> Group:
    made = Group("g", "default", "j", 1, Mode.SHARDED, policy, count, False, Tally(total), 1, 1)
    return replace(made, **fields)  # type: ignore[arg-type]  # fields by name


@given(
    policies, counts, st.lists(st.tuples(st.integers(0, 4), st.sampled_from((*GOING, *FINAL))), max_size=30), st.data()
)
def test_a_tally_is_the_same_however_the_moves_are_batched(
    policy: Policy, count: int, moves: list[tuple[int, Status]], data: st.DataObject
) -> None:
    """Members end, begin anew and end again, in batches of any size: the group is what counting them afresh makes."""
    held, one, at = [Status.PENDING] * 5, group(5, policy, count), 1
    while moves:
        size = data.draw(st.integers(1, len(moves)))
        batch, moves, at = moves[:size], moves[size:], at + 1
        told = []
        for member, then in batch:
            told.append((held[member], then))
            held[member] = then
        one = after(one, told, at)
        assert one.tally == tally(held)
        assert one.status is oracle(policy, count, held)
        assert (one.decided_at is None) == (one.status is Status.RUNNING)
        assert (one.finished_at is None) == bool(one.tally.unfinished)


@given(policies, counts, members)
def test_a_group_never_needs_more_than_it_has(policy: Policy, count: int, found: list[Status]) -> None:
    counted = tally(found)
    assert 0 <= needed(policy, count, counted) <= counted.total - counted.skipped


def test_the_rest_is_cancelled_once_it_is_decided_and_only_where_that_is_asked_for() -> None:
    failed = [(Status.RUNNING, Status.FAILED)]
    asked = after(group(3, cancel_rest=True), failed, 5)
    assert (asked.status, asked.closing, asked.decided_at) == (Status.FAILED, True, 5)
    assert "FAILED" in asked.closed_why
    assert not after(group(3), failed, 5).closing
    assert not after(group(1, cancel_rest=True), failed, 5).closing, "there is no rest"
    ended = after(asked, [(Status.PENDING, Status.CANCELLED)] * 2, 9)
    assert (ended.closing, ended.finished_at, ended.decided_at) == (False, 9, 5)


def test_a_group_of_which_members_run_again_is_open_again() -> None:
    one = after(group(2), [(Status.RUNNING, Status.FAILED), (Status.RUNNING, Status.SUCCEEDED)], 5)
    again = after(reopen(one, 6), [(Status.FAILED, Status.PENDING)], 6)
    assert (again.status, again.decided_at, again.finished_at) == (Status.RUNNING, None, None)
    assert (again.tally.failed, again.tally.unfinished) == (0, 1)
    assert after(again, [(Status.RUNNING, Status.SUCCEEDED)], 7).status is Status.SUCCEEDED


def test_what_was_decided_long_ago_cancels_nobody_who_begins_anew() -> None:
    one = after(group(2, Policy.ANY, cancel_rest=True), [(Status.RUNNING, Status.SUCCEEDED)], 5)
    one = after(one, [(Status.RUNNING, Status.CANCELLED)], 6)
    again = after(one, [(Status.CANCELLED, Status.PENDING)], 7)
    assert (again.status, again.closing) == (Status.SUCCEEDED, False)


def test_somebody_who_closes_a_group_is_remembered_until_it_is_opened_again() -> None:
    closed = close(group(2), "ann", "not needed", 5)
    assert (closed.closing, closed.closed_by, closed.closed_why) == (True, "ann", "not needed")
    opened = reopen(closed, 6)
    assert (opened.closing, opened.closed_by, opened.closed_why) == (False, "", "")
