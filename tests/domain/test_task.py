"""The state machine: every pair of status and transition, the rules by name, and laws over random histories."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from controlplane.domain import task as machine
from controlplane.domain.diagram import redraw
from controlplane.domain.errors import Fenced, IllegalTransition
from controlplane.domain.retry import RetryPolicy, RetryRules, after_failure, after_loss, after_missed_start
from controlplane.domain.task import (
    FINAL,
    HELD,
    ON_AGENT,
    TRANSITIONS,
    WHEN_CANCEL_REQUESTED,
    Cancel,
    Cause,
    Confirm,
    DeadReason,
    Dispatch,
    EndInstance,
    Expire,
    Fail,
    ForceSuccess,
    GiveUp,
    Lock,
    Lose,
    MakeReady,
    MissStart,
    Pause,
    Place,
    PutOff,
    Record,
    Release,
    Reported,
    RequestCancel,
    Restart,
    Resume,
    Retry,
    RetryNow,
    SetTimer,
    Skip,
    Start,
    Status,
    Step,
    StoodStill,
    StopOnAgent,
    Succeed,
    Suspend,
    Task,
    Transition,
    Unblock,
    Unpause,
    Unready,
    Wake,
    apply,
    come_due,
    create,
    edit,
)
from tests.domain.draw import PAGE

NOW = 1_000_000
LATER = NOW + 500

NEW = Task(
    id="0190a000-0000-7000-8000-000000000001",
    namespace_id="default",
    job_id="0190a000-0000-7000-8000-00000000000a",
    job_revision=1,
    requirement_id=1,
    schedule_id=None,
    status=Status.PENDING,
    priority=500,
    scheduled_at=NOW,
    max_retries=2,
    created_at=NOW,
    updated_at=NOW,
)
POLICY = RetryPolicy(max_retries=2, interval=30, max_stalled=1)
PATIENT = replace(POLICY, rules=RetryRules(retry_on=("*",)))

# Each kind of transition, as somebody entitled to it would send it to the task.
SENT: dict[type[Transition], Callable[[Task], Transition]] = {
    Lock: lambda _: Lock(),
    Dispatch: lambda one: Dispatch("agent", f"instance-{one.token + 1}"),
    Release: lambda one: Release(one.token),
    Start: lambda one: Start(one.token, LATER),
    Succeed: lambda one: Succeed(one.token, LATER),
    Fail: lambda one: Fail(one.token, LATER, dead_reason=DeadReason.NOT_RETRYABLE),
    Retry: lambda one: Retry(one.token, LATER, wake_at=LATER + 30),
    Confirm: lambda one: Confirm(one.token, LATER),
    Suspend: lambda one: Suspend(one.token, LATER),
    Lose: lambda _: Lose("reaper", "gone"),
    GiveUp: lambda _: GiveUp("reaper", "gone again"),
    Wake: lambda _: Wake(),
    RetryNow: lambda _: RetryNow("ann", ""),
    Cancel: lambda _: Cancel("ann", "not needed"),
    RequestCancel: lambda _: RequestCancel("ann", "not needed"),
    Skip: lambda _: Skip("ann", ""),
    Pause: lambda _: Pause("ann", ""),
    Unpause: lambda _: Unpause("ann", ""),
    ForceSuccess: lambda _: ForceSuccess("ann", "done by hand"),
    Unblock: lambda _: Unblock(),
    Resume: lambda _: Resume(),
    MissStart: lambda _: MissStart("timers", "no agent"),
    PutOff: lambda _: PutOff("timers", "no agent", wake_at=LATER + 30),
    Expire: lambda _: Expire("timers", "too late"),
    Restart: lambda _: Restart("ann", "again"),
}
REPORTS = [kind for kind in SENT if issubclass(kind, Reported)]


def do(one: Task, *kinds: type[Transition]) -> Task:
    """The task after these transitions, each sent by somebody entitled to it."""
    for kind in kinds:
        one = apply(one, SENT[kind](one), LATER).task
    return one


RUN = (Lock, Dispatch, Start)

# A task in each status, with the uncounted placement that reports in that status need.
IN: dict[Status, Task] = {
    Status.PENDING: do(NEW, Lock, Dispatch, Lose),
    Status.LOCKED: do(NEW, Lock),
    Status.BLOCKED: structs.replace(NEW, status=Status.BLOCKED),
    Status.DISPATCHED: do(NEW, Lock, Dispatch),
    Status.RUNNING: do(NEW, *RUN),
    Status.TIMED_OUT: structs.replace(NEW, status=Status.TIMED_OUT),
    Status.SUSPENDED: do(NEW, *RUN, Suspend),
    Status.PAUSED: do(NEW, Lock, Dispatch, Lose, Pause),
    # Waits for its next attempt while a placement is uncounted: no path leads there, the table allows it.
    Status.WAITING_RETRY: structs.replace(do(NEW, *RUN, Retry), result_token=0),
    Status.SKIPPED: do(NEW, Skip),
    Status.FAILED: do(NEW, *RUN, GiveUp),
    Status.CANCELLED: do(NEW, Lock, Dispatch, Lose, Cancel),
    Status.SUCCEEDED: do(NEW, *RUN, Succeed),
}
PAIRS = [(status, kind) for status in Status for kind in SENT]
LEGAL = [(status, kind) for status, kind in PAIRS if kind in TRANSITIONS.get(status, {})]


def test_every_transition_of_the_module_is_known_to_this_test() -> None:
    kinds = {kind for kind in vars(machine).values() if isinstance(kind, type) and issubclass(kind, Transition)}
    assert kinds - {Transition, Reported, machine.Said} == set(SENT) == {kind for _, kind in LEGAL}


@pytest.mark.parametrize(("status", "kind"), LEGAL, ids=lambda one: getattr(one, "name", None) or one.__name__)
def test_a_legal_pair_leads_where_the_table_says(status: Status, kind: type[Transition]) -> None:
    before = IN[status]
    after = apply(before, SENT[kind](before), LATER).task
    assert after.status is TRANSITIONS[status][kind]
    assert (after.version, after.updated_at) == (before.version + 1, LATER)


@pytest.mark.parametrize(
    ("status", "kind"),
    sorted(set(PAIRS) - set(LEGAL), key=str),
    ids=lambda one: getattr(one, "name", None) or one.__name__,
)
def test_an_illegal_pair_raises_and_changes_nothing(status: Status, kind: type[Transition]) -> None:
    before = IN[status]
    copy = structs.replace(before)
    with pytest.raises((IllegalTransition, Fenced)) as refused:
        apply(before, SENT[kind](before), LATER)
    assert before == copy
    assert before.id in refused.value.message
    if kind not in REPORTS:
        assert isinstance(refused.value, IllegalTransition)
        assert refused.value.facts == {"task_id": before.id, "status": status.name, "transition": kind.__name__}


@pytest.mark.parametrize(
    ("before", "kind", "words"),
    [
        (IN[Status.SUCCEEDED], Pause, "is SUCCEEDED: pause is not possible, only retry"),
        (IN[Status.FAILED], Unpause, "is FAILED: resume is not possible, only force success or retry"),
        (IN[Status.RUNNING], ForceSuccess, "is RUNNING: force success is not possible, only cancel or pause"),
        (do(NEW, *RUN, Pause), Skip, "is PAUSED: skip is not possible, only cancel or resume"),
    ],
    ids=["ended", "failed", "running", "held"],
)
def test_a_refusal_says_in_peoples_words_what_is_possible(before: Task, kind: type[Transition], words: str) -> None:
    with pytest.raises(IllegalTransition) as refused:
        _step(before, kind)
    assert refused.value.message == f"task {before.id} {words}"


@pytest.mark.parametrize("kind", sorted(WHEN_CANCEL_REQUESTED, key=str))
def test_what_would_make_it_wait_ends_it_when_cancel_was_requested(kind: type[Transition]) -> None:
    step = _step(do(NEW, Lock, Dispatch, RequestCancel), kind)
    assert (step.task.status, step.task.finished_at) == (Status.CANCELLED, LATER)
    assert not any(isinstance(effect, MakeReady | SetTimer) for effect in step.effects)


def _step(one: Task, kind: type[Transition]) -> Step:
    return apply(one, SENT[kind](one), LATER)


# --- the beginning


def test_a_new_task_is_ready_or_waits_for_its_time() -> None:
    assert create(NEW, NOW).effects == (MakeReady(NOW),)
    assert create(structs.replace(NEW, scheduled_at=NOW + 1), NOW).effects == (SetTimer(NOW + 1),)


def test_a_placement_is_an_instance_with_the_next_token() -> None:
    locked = _step(NEW, Lock)
    assert locked.effects == (Unready(),)
    placed = _step(locked.task, Dispatch)
    assert placed.effects == (Place("agent", "instance-1", 1),)
    assert (placed.task.token, placed.task.attempt, placed.task.cause) == (1, 1, Cause.FIRST)
    assert placed.task.instance_id == "instance-1"


def test_a_claim_that_comes_to_nothing_leaves_the_task_ready() -> None:
    locked = do(NEW, Lock)
    step = apply(locked, Release(0), LATER)
    assert (step.task.status, step.task.token, step.effects) == (Status.PENDING, 0, (MakeReady(LATER),))


def test_a_start_is_told_once_and_the_first_one_counts() -> None:
    running = do(NEW, *RUN)
    assert running.started_at == LATER
    with pytest.raises(IllegalTransition):
        do(running, Start)
    again = do(running, Retry, Wake, Lock, Dispatch)
    assert apply(again, Start(again.token, LATER + 9), LATER + 9).task.started_at == LATER


# --- what people decide


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.SKIPPED])
def test_ended_work_that_a_person_calls_done_succeeds_in_an_epoch_of_its_own(status: Status) -> None:
    before = IN[status]
    step = _step(before, ForceSuccess)
    assert (step.task.status, step.task.epoch, step.task.finished_at) == (Status.SUCCEEDED, before.epoch + 1, LATER)
    assert (step.task.dead_reason, step.task.cancel_requested) == (DeadReason.NONE, False)
    [record] = step.effects
    assert isinstance(record, Record)
    assert (record.transition, record.by, record.why) == ("ForceSuccess", "ann", "done by hand")


def test_waiting_work_that_a_person_calls_done_never_starts_and_hears_no_late_result() -> None:
    waiting = do(NEW, Lock, Dispatch, Lose)
    late = SENT[Succeed](waiting)
    step = _step(waiting, ForceSuccess)
    assert step.effects[0] == Unready()
    assert step.task.epoch == waiting.epoch
    with pytest.raises(Fenced):
        apply(step.task, late, LATER)


# --- results and tokens


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_with_an_older_token_is_fenced(kind: type[Transition]) -> None:
    stale = SENT[kind](do(NEW, Lock, Dispatch))
    again = do(NEW, Lock, Dispatch, Lose, Lock, Dispatch)
    with pytest.raises(Fenced) as refused:
        apply(again, stale, LATER)
    assert refused.value.facts == {"task_id": NEW.id, "token": "1", "newest_token": "2"}


@pytest.mark.parametrize("kind", [Succeed, Fail, Retry, Confirm])
def test_a_result_counts_once_per_token(kind: type[Transition]) -> None:
    running = do(NEW, *RUN)
    result = SENT[kind](running)
    counted = apply(running, result, LATER).task
    with pytest.raises(Fenced):
        apply(counted, result, LATER)


@pytest.mark.parametrize(("kind", "status"), [(Succeed, Status.SUCCEEDED), (Fail, Status.FAILED)])
def test_a_late_result_of_a_lost_placement_counts_until_the_task_is_placed_anew(
    kind: type[Transition], status: Status
) -> None:
    running = do(NEW, *RUN)
    late = SENT[kind](running)
    lost = do(running, Lose)
    step = apply(lost, late, LATER)
    assert step.task.status is status
    assert step.effects == (Unready(), EndInstance(1, status))
    with pytest.raises(Fenced):
        apply(do(lost, Lock, Dispatch), late, LATER)


def test_a_loss_that_its_own_agent_reported_is_a_result_and_counts_once() -> None:
    running = do(NEW, *RUN)
    lost = apply(running, Lose("agent", "stopped", reported=True), LATER).task
    with pytest.raises(Fenced):
        apply(lost, Fail(running.token, LATER), LATER)
    given_up = apply(running, GiveUp("agent", "stopped", reported=True), LATER).task
    assert given_up.result_token == running.token


def test_nothing_of_the_epoch_before_ends_a_restarted_task() -> None:
    given_up = do(NEW, *RUN, GiveUp)
    late = Succeed(given_up.token, LATER)
    with pytest.raises(Fenced):
        apply(do(given_up, Restart), late, LATER)


def test_a_never_placed_task_takes_no_report() -> None:
    for kind in REPORTS:
        with pytest.raises(Fenced):
            apply(NEW, SENT[kind](NEW), LATER)


def test_a_result_without_a_start_says_itself_when_the_program_began() -> None:
    placed = do(NEW, Lock, Dispatch)
    assert apply(placed, Succeed(1, LATER, started_at=LATER - 7), LATER).task.started_at == LATER - 7


# --- what costs what


def test_a_refused_placement_costs_neither_attempt_nor_loss() -> None:
    placed = do(NEW, Lock, Dispatch)
    step = _step(placed, Release)
    assert step.effects == (EndInstance(1, Status.CANCELLED), MakeReady(LATER))
    again = do(step.task, Lock, Dispatch)
    assert (again.attempt, again.stalled, again.token) == (1, 0, 2)
    second = do(again, Start, Retry, Wake, Lock, Dispatch, Release, Lock, Dispatch)
    assert (second.attempt, second.stalled) == (2, 0)


@pytest.mark.parametrize("kind", [Succeed, Fail, Retry, Confirm])
def test_nothing_counts_of_a_placement_that_was_given_back(kind: type[Transition]) -> None:
    placed = do(NEW, Lock, Dispatch)
    result = SENT[kind](placed)
    with pytest.raises(Fenced):
        apply(do(placed, Release), result, LATER)


def test_a_release_with_an_older_token_is_fenced() -> None:
    again = do(NEW, Lock, Dispatch, Lose, Lock, Dispatch)
    with pytest.raises(Fenced):
        apply(again, Release(1), LATER)


def test_a_loss_costs_a_move_and_no_attempt() -> None:
    again = do(NEW, *RUN, Lose, Lock, Dispatch)
    assert (again.attempt, again.stalled, again.cause) == (1, 1, Cause.MOVED)


def test_a_failure_costs_an_attempt_and_waits_for_the_next() -> None:
    step = _step(do(NEW, *RUN), Retry)
    assert step.effects == (EndInstance(1, Status.FAILED), SetTimer(LATER + 30))
    assert step.task.wake_at == LATER + 30
    again = do(step.task, Wake, Lock, Dispatch)
    assert (again.attempt, again.cause, again.stalled, again.wake_at) == (2, Cause.RETRY, 0, None)


def test_a_resumed_task_goes_on_with_the_same_attempt() -> None:
    again = do(NEW, *RUN, Suspend, Resume, Lock, Dispatch)
    assert (again.attempt, again.cause, again.token) == (1, Cause.RESUME, 2)


def test_a_person_need_not_wait_for_the_next_attempt() -> None:
    step = _step(do(NEW, *RUN, Retry), RetryNow)
    assert step.effects[:2] == (Unready(), MakeReady(LATER))
    assert (step.task.status, step.task.wake_at) == (Status.PENDING, None)


def test_a_loss_too_often_is_a_dead_letter() -> None:
    dead = do(NEW, *RUN, GiveUp)
    assert (dead.dead_reason, dead.stalled, dead.finished_at) == (DeadReason.AGENT_LOST, 1, LATER)


def test_a_restart_begins_a_new_epoch_from_nothing_but_its_token() -> None:
    step = _step(do(NEW, *RUN, GiveUp), Restart)
    fresh = step.task
    assert (fresh.epoch, fresh.attempt, fresh.stalled, fresh.token) == (2, 0, 0, 1)
    assert (fresh.dead_reason, fresh.started_at, fresh.finished_at) == (DeadReason.NONE, None, None)
    assert step.effects[0] == MakeReady(LATER)
    assert do(fresh, Lock, Dispatch).token == 2


# --- cancel, pause, record


def test_a_cancel_ends_what_nobody_has_at_once() -> None:
    step = _step(do(NEW, *RUN, Retry), Cancel)
    assert (step.task.status, step.task.finished_at, step.task.wake_at) == (Status.CANCELLED, LATER, None)
    assert step.effects[0] == Unready()


def test_cancel_requested_ends_with_confirm_or_loss() -> None:
    asked = _step(do(NEW, *RUN), RequestCancel)
    assert (asked.task.status, asked.task.cancel_requested) == (Status.RUNNING, True)
    assert asked.effects[0] == StopOnAgent(1, "not needed")
    for kind in (Confirm, Lose):
        ended = do(asked.task, kind)
        assert (ended.status, ended.cancel_requested, ended.stalled) == (Status.CANCELLED, True, 0)


def test_a_result_that_comes_after_the_request_to_cancel_wins_and_the_request_stays_on_record() -> None:
    ended = do(NEW, *RUN, RequestCancel, Succeed)
    assert (ended.status, ended.cancel_requested) == (Status.SUCCEEDED, True)


def test_a_paused_task_waits_for_nothing_but_a_person() -> None:
    held = _step(do(NEW, *RUN, Retry), Pause)
    assert held.effects[0] == Unready()
    assert held.task.wake_at is None
    assert _step(held.task, Unpause).effects[0] == MakeReady(LATER)
    planned = structs.replace(held.task, scheduled_at=LATER + 1)
    assert _step(planned, Unpause).effects[0] == SetTimer(LATER + 1)


def test_what_a_person_or_a_loss_does_is_recorded_with_who_and_why() -> None:
    for kind, by, why in ((Cancel, "ann", "not needed"), (Skip, "ann", ""), (Pause, "", "looking")):
        step = apply(NEW, kind(by, why), LATER)
        assert step.effects[-1] == Record(kind.__name__, Status.PENDING, step.task.status, by, why)
    lost = apply(do(NEW, *RUN, RequestCancel), Lose("reaper", "gone"), LATER)
    assert lost.effects[-1] == Record("Lose", Status.RUNNING, Status.CANCELLED, "reaper", "gone")
    assert not any(isinstance(effect, Record) for effect in apply(NEW, Cancel(), LATER).effects)


# --- timers and edits


def test_a_timer_that_outlived_its_cause_means_nothing() -> None:
    for status in set(Status) - {Status.PENDING, Status.WAITING_RETRY}:
        assert come_due(IN[status], LATER) == Step(IN[status], ())


def test_a_planned_time_that_comes_makes_the_task_ready_and_changes_nothing() -> None:
    assert come_due(NEW, NOW) == Step(NEW, (MakeReady(NOW),))


def test_a_retry_that_is_due_still_waits_for_a_planned_time_set_meanwhile() -> None:
    waiting = edit(do(NEW, *RUN, Retry), LATER, scheduled_at=LATER + 99).task
    assert come_due(waiting, LATER + 30).effects == (SetTimer(LATER + 99),)


def test_an_edit_moves_what_waits_and_leaves_what_holds_it() -> None:
    assert edit(NEW, NOW, priority=9).effects == (Unready(), MakeReady(NOW))
    assert edit(NEW, NOW, scheduled_at=NOW + 5).effects == (Unready(), SetTimer(NOW + 5))
    waiting = do(NEW, *RUN, Retry)
    step = edit(waiting, LATER, priority=9)
    assert (step.effects, step.task.priority, step.task.wake_at) == ((), 9, waiting.wake_at)


@pytest.mark.parametrize("status", sorted(FINAL | ON_AGENT | {Status.LOCKED, Status.SUSPENDED}))
def test_what_is_placed_or_ended_is_not_edited(status: Status) -> None:
    with pytest.raises(IllegalTransition):
        edit(IN[status], LATER, priority=1)


def test_a_new_total_counts_from_when_the_task_is_due() -> None:
    edited = edit(NEW, LATER, deadlines=(None, 100)).task
    assert (edited.end_within, edited.end_by) == (100, NOW + 100)
    assert edit(edited, LATER, scheduled_at=LATER + 50).task.end_by == LATER + 150
    assert edit(edited, LATER, priority=9).task.end_by == NOW + 100
    assert edit(edited, LATER, deadlines=(None, None)).task.end_by is None


# --- what an agent holds still

HOLDS = {kind: do(NEW, *path, Pause) for kind, path in {"running": RUN, "placed": (Lock, Dispatch)}.items()}


@pytest.mark.parametrize("name", HOLDS)
@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_what_an_agent_holds_goes_where_the_table_says_and_nowhere_else(name: str, kind: type[Transition]) -> None:
    held = HOLDS[name]
    if kind not in HELD:
        with pytest.raises((IllegalTransition, Fenced)):
            _step(held, kind)
        return
    after = _step(held, kind).task
    assert after.status is (HELD[kind] or held.paused_from)
    assert (after.paused_from is None) == (kind is not Start)


def test_a_pause_keeps_the_placement_and_tells_how_long_it_stood_still() -> None:
    held = apply(do(NEW, *RUN), Pause(), LATER)
    assert (held.task.status, held.task.token, held.task.on_agent, held.effects) == (Status.PAUSED, 1, True, ())
    gone_on = apply(held.task, Unpause(), LATER + 70)
    assert (gone_on.task.status, gone_on.effects) == (Status.RUNNING, (StoodStill(1, 70),))


def test_a_program_that_starts_while_it_is_held_runs_when_it_is_let_go() -> None:
    held = do(NEW, Lock, Dispatch, Pause)
    assert do(held, Unpause).status is Status.DISPATCHED
    assert do(held, Start).status is Status.PAUSED
    assert do(held, Start, Unpause).status is Status.RUNNING


@pytest.mark.parametrize("kind", [Lose, Release, Retry])
def test_what_would_make_a_held_task_wait_leaves_it_held_by_a_person(kind: type[Transition]) -> None:
    step = _step(do(NEW, *RUN, Pause) if kind is not Release else do(NEW, Lock, Dispatch, Pause), kind)
    assert (step.task.status, step.task.on_agent) == (Status.PAUSED, False)
    assert not any(isinstance(effect, MakeReady | SetTimer) for effect in step.effects)
    assert do(step.task, Unpause).status is Status.PENDING


def test_a_cancel_lets_go_of_what_is_held_and_what_is_being_cancelled_is_not_held() -> None:
    stopping = _step(do(NEW, *RUN, Pause), RequestCancel)
    assert (stopping.task.status, stopping.task.cancel_requested) == (Status.RUNNING, True)
    assert StopOnAgent(1, "not needed") in stopping.effects
    with pytest.raises(IllegalTransition):
        do(stopping.task, Pause)


def test_what_an_agent_holds_is_not_edited() -> None:
    with pytest.raises(IllegalTransition, match="PAUSED on an agent"):
        edit(do(NEW, *RUN, Pause), LATER, priority=1)


# --- laws over random histories


class History:
    """A task with what the store would hold beside it, after any legal sequence of inputs."""

    def __init__(self) -> None:
        self.now = NOW
        step = create(structs.replace(NEW, scheduled_at=NOW + 3), NOW)
        self.task = step.task
        self.ready: int | None = None
        self.timer: int | None = None
        self.open: set[int] = set()
        self.ends: dict[int, list[Status]] = {}
        self.store(step)

    def store(self, step: Step) -> None:
        """Keep what the effects ask for, as strictly as the tables would."""
        for effect in step.effects:
            if isinstance(effect, Unready):
                self.ready = self.timer = None
        self.task = step.task
        for effect in step.effects:
            if isinstance(effect, MakeReady):
                assert self.ready is None, "a second ready row"
                self.ready = effect.at
            elif isinstance(effect, SetTimer):
                assert self.timer is None, "a second timer"
                self.timer = effect.at
            elif isinstance(effect, Place):
                assert effect.token not in self.ends, "a token was used twice"
                self.open.add(effect.token)
                self.ends[effect.token] = []
            elif isinstance(effect, EndInstance):
                self.open.discard(effect.token)
                self.ends[effect.token].append(effect.status)

    def send(self, kind: type[Transition], report_token: int) -> None:
        """One input; a refused one must change nothing."""
        before = self.task
        try:
            transition = self._transition(kind, report_token)
            step = come_due(before, self.now) if isinstance(transition, Wake) else apply(before, transition, self.now)
        except (IllegalTransition, Fenced):
            assert self.task == before
            return
        if isinstance(transition, Wake):
            self.timer = None  # the caller deals with the timer that woke it
        self.store(step)
        self.check(before, transition)

    def _transition(self, kind: type[Transition], token: int) -> Transition:
        if kind in (Fail, Retry):
            return after_failure(
                self.task,
                POLICY,
                token=token,
                at=self.now,
                started_at=None,
                code="EXIT_1",
                retryable=kind is Retry,
                retry_after=None,
            )
        if kind in (Lose, GiveUp):
            return after_loss(self.task, POLICY, "gone")
        if kind in (MissStart, PutOff):
            return after_missed_start(self.task, PATIENT if kind is PutOff else POLICY, self.now)
        if issubclass(kind, Reported):
            return kind(token, self.now)
        if kind is Release:
            return Release(token)
        if kind is Wake and (self.timer is None or self.timer > self.now):
            raise IllegalTransition("no timer is due")
        return SENT[kind](self.task)

    def check(self, before: Task, transition: Transition) -> None:
        """What holds after every step of every history."""
        one = self.task
        assert one.token in (before.token, before.token + 1)
        assert (one.token > before.token) == isinstance(transition, Dispatch)
        assert one.result_token <= one.token
        assert one.attempt <= POLICY.max_retries + 1
        assert one.stalled <= POLICY.max_stalled + 1
        assert (one.status in FINAL) == (one.finished_at is not None) == one.is_final
        assert (one.status is Status.WAITING_RETRY) == (one.wake_at is not None)
        assert self.open == ({one.token} if one.on_agent else set())
        assert (one.paused_from is None) == (one.paused_at is None)
        assert one.paused_from is None or one.status is Status.PAUSED
        waits = one.status in (Status.PENDING, Status.WAITING_RETRY)
        assert (self.ready is not None) + (self.timer is not None) == waits
        if one.status is Status.WAITING_RETRY:
            assert self.timer == one.wake_at
        if before.status in FINAL:
            assert isinstance(transition, Restart | ForceSuccess)
            assert one.epoch == before.epoch + 1
        else:
            assert one.epoch == before.epoch
        # An instance ends once; a late result that counts corrects the end that was concluded without it.
        for token, ends in self.ends.items():
            assert len(ends) <= 2
            assert len(ends) == bool(ends) or token == one.result_token or ends[0] is Status.FAILED


INPUTS = st.tuples(
    st.sampled_from(sorted(SENT, key=lambda kind: kind.__name__)),
    st.integers(0, 4),  # how many tokens ago the reported placement was
    st.integers(0, 40),  # how far the clock moves before
)
# Random inputs alone hardly ever run a task; half of them follow the common path.
COMMON = st.sampled_from([Lock, Dispatch, Start, Succeed, Retry, Lose, Wake, Release]).map(lambda kind: (kind, 0, 31))


@settings(max_examples=400)
@given(st.lists(st.one_of(COMMON, INPUTS), max_size=60))
def test_no_history_breaks_a_law(inputs: list[tuple[type[Transition], int, int]]) -> None:
    history = History()
    for kind, ago, passed in inputs:
        history.now += passed
        history.send(kind, max(0, history.task.token - ago))


# --- the picture


def test_the_committed_picture_is_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == redraw(page), "stale: run `python -m tests.domain.draw`"
    for status in TRANSITIONS:
        assert f"    {status.name} --> " in page


def test_a_page_without_a_place_for_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the diagram"):
        redraw("# empty\n")
