"""Tasks: the states, the transitions as data, and the one function that applies them.

Theory of operation. A task is in exactly one status; a transition is an input (somebody asked, an agent reported, time
passed); `TRANSITIONS` says for each status which inputs are legal and where they lead, and nothing else decides that.
`apply` returns the task after the transition and the effects that the caller must store in the same transaction. An
illegal pair raises and changes nothing. Whether a failure is retried is not decided here but in `retry.py`, which turns
a failure into `Retry` or `Fail`; the table only knows both.

Who moves a task on:

- PENDING: the dispatcher, once its time has come (a timer makes it ready) and an agent with its labels has a slot.
- LOCKED: the same claim that locked it, in the same transaction or the next.
- BLOCKED: the end of the nodes it waits for.
- DISPATCHED, RUNNING: the agent that holds it, by the newest token; when its lease is over, the reaper.
- SUSPENDED: a timer, an event or a child.
- PAUSED: a person. One whose agent keeps it (`paused_from`) stands still there: all that an agent can say of it counts,
  and what would make it wait again leaves it held.
- WAITING_RETRY: a timer.
- Whatever waits, also when its time is over: the timers (`MissStart`, `Expire`).
- SKIPPED, FAILED, CANCELLED, SUCCEEDED: final; only a person, by an explicit restart or by saying that its work is
  done, either of which is a new epoch.
- TIMED_OUT is a status of instances alone: the task itself is then WAITING_RETRY or FAILED.

Fencing. `token` grows with every placement. A result counts if it carries the newest token and none has been counted
for that token (`result_token`). So a late result of a lost placement still counts until the task is placed anew, a
repeated one never does, and one with an older token raises `Fenced`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from controlplane.domain.errors import Fenced, IllegalTransition


class Status(IntEnum):
    """Where a task or an instance is. The numbers are part of the contract."""

    PENDING = 1
    LOCKED = 2
    BLOCKED = 3
    DISPATCHED = 5
    RUNNING = 10
    TIMED_OUT = 20
    SUSPENDED = 25
    PAUSED = 30
    WAITING_RETRY = 35
    SKIPPED = 40
    FAILED = 90
    CANCELLED = 99
    SUCCEEDED = 100


FINAL = frozenset({Status.SKIPPED, Status.FAILED, Status.CANCELLED, Status.SUCCEEDED})
ON_AGENT = frozenset({Status.DISPATCHED, Status.RUNNING})


class Cause(IntEnum):
    """Why a placement is made."""

    FIRST = 1
    RETRY = 2
    RESUME = 3
    MOVED = 4


class DeadReason(IntEnum):
    """Why a failed task is a dead letter."""

    NONE = 0
    RETRIES_EXHAUSTED = 1
    NOT_RETRYABLE = 2
    AGENT_LOST = 3
    TIME_EXHAUSTED = 4


class Task(Struct, frozen=True, gc=False):
    """The narrow truth about a task. Instants are microseconds UTC."""

    id: str
    namespace_id: str
    job_id: str
    job_revision: int
    requirement_id: int
    schedule_id: str | None
    status: Status
    priority: int
    scheduled_at: int
    max_retries: int
    created_at: int
    updated_at: int
    attempt: int = 0
    epoch: int = 1
    token: int = 0
    result_token: int = 0
    stalled: int = 0
    cause: Cause = Cause.FIRST
    cancel_requested: bool = False
    dead_reason: DeadReason = DeadReason.NONE
    agent_id: str | None = None
    instance_id: str | None = None
    wake_at: int | None = None
    group_id: str | None = None  # what it was made with, and which part of the work it is
    shard_index: int | None = None
    shard_total: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    version: int = 1
    start_within: int | None = None  # microseconds that a wait for an agent may last
    end_within: int | None = None  # and all of it, from when it is due
    end_by: int | None = None  # the instant of that
    paused_from: Status | None = None  # where the attempt is that its agent holds still
    paused_at: int | None = None  # since when

    @property
    def on_agent(self) -> bool:
        """Whether an agent has it, running or held."""
        return self.status in ON_AGENT or self.paused_from is not None

    @property
    def is_final(self) -> bool:
        """Whether only an explicit restart moves it on."""
        return self.status in FINAL


# --- transitions -------------------------------------------------------------------------------------------------


class Transition(Struct, frozen=True, gc=False):
    """An input to the state machine. `by` and `why` are recorded when a person, or a loss, is behind it."""


class Said(Transition, frozen=True, gc=False):
    """Something extraordinary: recorded with who and why."""

    by: str = ""
    why: str = ""


class Reported(Transition, frozen=True, gc=False):
    """Something an agent says about the placement with this token, at an instant of the control plane's clock."""

    token: int
    at: int
    started_at: int | None = None


class Lock(Transition, frozen=True, gc=False):
    """A dispatcher claims the task."""


class Dispatch(Transition, frozen=True, gc=False):
    """The claimed task is handed to an agent: a new instance, a new token, which is above what the task remembers and
    above what may have been given in a life that a restored database does not remember.
    """

    agent_id: str
    instance_id: str
    above: int = 0


class Release(Transition, frozen=True, gc=False):
    """The placement was never begun (not delivered, or refused): no attempt, no loss."""

    token: int


class Start(Reported, frozen=True, gc=False):
    """The program runs."""


class Succeed(Reported, frozen=True, gc=False):
    """The attempt succeeded."""


class Fail(Reported, frozen=True, gc=False):
    """The attempt failed, and there is no other."""

    dead_reason: DeadReason = DeadReason.NONE


class Retry(Reported, frozen=True, gc=False):
    """The attempt failed; the next is due at `wake_at`."""

    wake_at: int = 0


class Confirm(Reported, frozen=True, gc=False):
    """The attempt was stopped because somebody cancelled the task."""


class Lose(Said, frozen=True, gc=False):
    """The placement is lost, and the task may be placed anew. `reported`: its own agent said so, which is a result."""

    reported: bool = False


class GiveUp(Said, frozen=True, gc=False):
    """The placement is lost once too often."""

    reported: bool = False


class Wake(Transition, frozen=True, gc=False):
    """The time of the next attempt has come."""


class RetryNow(Said, frozen=True, gc=False):
    """A person does not want to wait for the next attempt."""


class Cancel(Said, frozen=True, gc=False):
    """Nobody has it: it ends at once."""


class RequestCancel(Said, frozen=True, gc=False):
    """An agent has it: it ends when the agent confirms or the lease is over."""


class Skip(Said, frozen=True, gc=False):
    """It is decided not to run it."""


class Pause(Said, frozen=True, gc=False):
    """A person holds it."""


class Unpause(Said, frozen=True, gc=False):
    """A person lets it go."""


class MissStart(Said, frozen=True, gc=False):
    """No agent began it in time, and that is the end."""

    dead_reason: DeadReason = DeadReason.TIME_EXHAUSTED


class PutOff(Said, frozen=True, gc=False):
    """No agent began it in time, which counts as an attempt; the next wait begins at `wake_at`."""

    wake_at: int = 0


class Expire(Said, frozen=True, gc=False):
    """Its total time is over while nobody has it."""


class ForceSuccess(Said, frozen=True, gc=False):
    """A person decides that its work is done, by whatever means. Of an ended task this begins and ends an epoch."""


class Unblock(Transition, frozen=True, gc=False):
    """What it waited for has ended."""


class Suspend(Reported, frozen=True, gc=False):
    """A durable task waits and leaves its agent."""


class Resume(Transition, frozen=True, gc=False):
    """What a suspended task waits for has come."""


class Restart(Said, frozen=True, gc=False):
    """A person runs a finished task again: a new epoch."""


_LATE: Mapping[type[Transition], Status] = {
    Succeed: Status.SUCCEEDED,
    Fail: Status.FAILED,
    Retry: Status.WAITING_RETRY,
    Confirm: Status.CANCELLED,
}

TRANSITIONS: Mapping[Status, Mapping[type[Transition], Status]] = {
    Status.PENDING: {
        Lock: Status.LOCKED,
        Cancel: Status.CANCELLED,
        Skip: Status.SKIPPED,
        Pause: Status.PAUSED,
        ForceSuccess: Status.SUCCEEDED,
        MissStart: Status.FAILED,
        PutOff: Status.WAITING_RETRY,
        Expire: Status.FAILED,
        **_LATE,
    },
    Status.LOCKED: {Dispatch: Status.DISPATCHED, Release: Status.PENDING, Cancel: Status.CANCELLED},
    Status.BLOCKED: {
        Unblock: Status.PENDING,
        Cancel: Status.CANCELLED,
        Skip: Status.SKIPPED,
        Pause: Status.PAUSED,
        ForceSuccess: Status.SUCCEEDED,
        Expire: Status.FAILED,
    },
    Status.DISPATCHED: {
        Start: Status.RUNNING,
        Release: Status.PENDING,
        Lose: Status.PENDING,
        GiveUp: Status.FAILED,
        RequestCancel: Status.DISPATCHED,
        Cancel: Status.CANCELLED,
        Suspend: Status.SUSPENDED,
        Pause: Status.PAUSED,
        **_LATE,
    },
    Status.RUNNING: {
        Lose: Status.PENDING,
        GiveUp: Status.FAILED,
        RequestCancel: Status.RUNNING,
        Cancel: Status.CANCELLED,
        Suspend: Status.SUSPENDED,
        Pause: Status.PAUSED,
        **_LATE,
    },
    Status.SUSPENDED: {Resume: Status.PENDING, Cancel: Status.CANCELLED, Expire: Status.FAILED},
    Status.PAUSED: {
        Unpause: Status.PENDING,
        Cancel: Status.CANCELLED,
        Skip: Status.SKIPPED,
        ForceSuccess: Status.SUCCEEDED,
        Expire: Status.FAILED,
    },
    Status.WAITING_RETRY: {
        Wake: Status.PENDING,
        RetryNow: Status.PENDING,
        Cancel: Status.CANCELLED,
        Skip: Status.SKIPPED,
        Pause: Status.PAUSED,
        ForceSuccess: Status.SUCCEEDED,
        Expire: Status.FAILED,
        **_LATE,
    },
    Status.SKIPPED: {Restart: Status.PENDING, ForceSuccess: Status.SUCCEEDED},
    Status.FAILED: {Restart: Status.PENDING, ForceSuccess: Status.SUCCEEDED},
    Status.CANCELLED: {Restart: Status.PENDING, ForceSuccess: Status.SUCCEEDED},
    Status.SUCCEEDED: {Restart: Status.PENDING},
}

# What would make a task wait again ends it when somebody has asked to cancel it meanwhile.
WHEN_CANCEL_REQUESTED: Mapping[type[Transition], Status] = {
    Release: Status.CANCELLED,
    Lose: Status.CANCELLED,
    Suspend: Status.CANCELLED,
}

# A paused attempt that its agent keeps. Let go, it is where it was; None: that.
HELD: Mapping[type[Transition], Status | None] = {
    Start: Status.PAUSED,
    Unpause: None,
    Release: Status.PAUSED,
    Lose: Status.PAUSED,
    GiveUp: Status.FAILED,
    RequestCancel: None,
    Cancel: Status.CANCELLED,
    Succeed: Status.SUCCEEDED,
    Fail: Status.FAILED,
    Retry: Status.PAUSED,
    Confirm: Status.CANCELLED,
}

# --- effects -----------------------------------------------------------------------------------------------------


class MakeReady(Struct, frozen=True, gc=False):
    """The task waits for an agent from this instant on; a later instant is a timer's business first."""

    at: int


class Unready(Struct, frozen=True, gc=False):
    """The task no longer waits: its ready row or timer goes."""


class SetTimer(Struct, frozen=True, gc=False):
    """Look at the task again at this instant."""

    at: int


class Place(Struct, frozen=True, gc=False):
    """A new instance with this token is on this agent."""

    agent_id: str
    instance_id: str
    token: int


class EndInstance(Struct, frozen=True, gc=False):
    """The instance with this token has ended like this."""

    token: int
    status: Status


class StopOnAgent(Struct, frozen=True, gc=False):
    """The agent is to stop the instance with this token."""

    token: int
    why: str


class StoodStill(Struct, frozen=True, gc=False):
    """The instance with this token was paused for so many microseconds more."""

    token: int
    micros: int


class Record(Struct, frozen=True, gc=False):
    """Keep who did this and why."""

    transition: str
    from_status: Status
    to_status: Status
    by: str
    why: str


Effect = MakeReady | Unready | SetTimer | Place | EndInstance | StopOnAgent | StoodStill | Record


class Step(Struct, frozen=True, gc=False):
    """The task after a transition, and what must be stored with it."""

    task: Task
    effects: tuple[Effect, ...]


def create(task: Task, now: int) -> Step:
    """The first step of a new task in PENDING: it is ready, or a timer makes it so."""
    return Step(task, (_wait_for_agent(task, now),))


def place(task: Task, dispatch: Dispatch, now: int) -> Step:
    """Both transitions in one transaction: nobody ever sees LOCKED, and the row is written once."""
    locked = apply(task, Lock(), now)
    dispatched = apply(locked.task, dispatch, now)
    return Step(dispatched.task, (*locked.effects, *dispatched.effects))


def create_placed(task: Task, dispatch: Dispatch, now: int) -> Step:
    """The first step of a new task that an agent gets in the transaction that makes it: it has never waited."""
    step = place(task, dispatch, now)
    return Step(step.task, tuple(effect for effect in step.effects if isinstance(effect, Place)))


def apply(task: Task, transition: Transition, now: int) -> Step:
    """The task after the transition, and its effects.

    Raises IllegalTransition when the table has no such pair, Fenced when a report carries another token than the
    newest or repeats one that was counted. In both cases nothing has changed.
    """
    target = target_of(task, transition)
    if isinstance(transition, Reported):
        _check_token(task, transition)
    if target is None:
        raise IllegalTransition(
            f"task {task.id} is {task.status.name}: {_refusal(task, type(transition))}",
            facts={"task_id": task.id, "status": task.status.name, "transition": type(transition).__name__},
        )
    if task.cancel_requested:
        target = WHEN_CANCEL_REQUESTED.get(type(transition), target)
    moved = replace(task, status=target, updated_at=now, version=task.version + 1)
    step = _CONSEQUENCES[type(transition)](moved, transition, now, task)
    if task.paused_from is not None and not isinstance(transition, Start):
        step = _no_longer_held(step, task, now)
    if isinstance(transition, Said) and (transition.by or transition.why):
        record = Record(type(transition).__name__, task.status, step.task.status, transition.by, transition.why)
        return Step(step.task, (*step.effects, record))
    return step


# What people ask for, in the words in which they do.
ASKED: Mapping[type[Said], str] = {
    Cancel: "cancel",
    RequestCancel: "cancel",
    Restart: "retry",
    RetryNow: "retry",
    Pause: "pause",
    Unpause: "resume",
    Skip: "skip",
    ForceSuccess: "force success",
}


def _refusal(task: Task, kind: type[Transition]) -> str:
    """That it is not possible; and what is, where a person asked."""
    asked = next((word for one, word in ASKED.items() if one is kind), None)
    if asked is None:
        return f"{kind.__name__} is not possible"
    possible = sorted({word for one, word in ASKED.items() if target_of(task, one()) is not None})
    return f"{asked} is not possible" + (f", only {' or '.join(possible)}" if possible else "")


def target_of(task: Task, transition: Transition) -> Status | None:
    """Where the tables say that this leads; None where they have no such pair."""
    if isinstance(transition, Pause) and task.cancel_requested:
        return None
    if task.paused_from is None:
        return TRANSITIONS.get(task.status, {}).get(type(transition))
    if type(transition) not in HELD:
        return None
    return HELD[type(transition)] or task.paused_from


def _no_longer_held(step: Step, before: Task, now: int) -> Step:
    """Whatever ends a hold on an agent: the time for which it stood still is kept with its instance."""
    stood = StoodStill(before.token, max(0, now - (before.paused_at or now)))
    waiting = (MakeReady, SetTimer)
    held = step.task.status is Status.PAUSED
    effects = tuple(one for one in step.effects if not (held and isinstance(one, waiting)))
    free = replace(step.task, paused_from=None, paused_at=None, wake_at=None if held else step.task.wake_at)
    return Step(free, (*effects, stood))


def _check_token(task: Task, report: Reported) -> None:
    # A start repeated after a reconnect is harmless; a result counts once per token.
    newest = report.token == task.token
    counted = report.token == task.result_token
    if not newest or counted or (isinstance(report, Start) and task.status is Status.PENDING):
        raise Fenced(
            f"task {task.id} has token {task.token}; token {report.token} has no say any more",
            facts={"task_id": task.id, "token": str(report.token), "newest_token": str(task.token)},
        )


def _wait_for_agent(task: Task, now: int) -> Effect:
    return SetTimer(task.scheduled_at) if task.scheduled_at > now else MakeReady(now)


def _lock(task: Task, _: Transition, __: int, ___: Task) -> Step:
    return Step(task, (Unready(),))


def _dispatch(task: Task, transition: Transition, _: int, __: Task) -> Step:
    assert isinstance(transition, Dispatch)
    moved = task.cause in (Cause.MOVED, Cause.RESUME)
    placed = replace(
        task,
        token=max(task.token, transition.above) + 1,
        attempt=task.attempt if moved and task.attempt else task.attempt + 1,
        agent_id=transition.agent_id,
        instance_id=transition.instance_id,
    )
    return Step(placed, (Place(transition.agent_id, transition.instance_id, placed.token),))


def _release(task: Task, transition: Transition, now: int, before: Task) -> Step:
    assert isinstance(transition, Release)
    if before.status is Status.LOCKED:
        return Step(task, (MakeReady(now),))
    _check_token(before, Reported(token=transition.token, at=now))
    end = EndInstance(transition.token, Status.CANCELLED)
    if task.status is Status.CANCELLED:
        return Step(replace(task, finished_at=now, result_token=transition.token), (end,))
    # A placement that never began used its token but is no attempt: the next one repeats this attempt's number.
    again = replace(task, cause=Cause.MOVED, result_token=transition.token)
    return Step(again, (end, MakeReady(now)))


def _start(task: Task, transition: Transition, _: int, __: Task) -> Step:
    assert isinstance(transition, Start)
    started = transition.started_at or transition.at
    held = None if task.paused_from is None else Status.RUNNING
    return Step(replace(task, started_at=task.started_at or started, paused_from=held), ())


def _result(task: Task, report: Reported, before: Task, **changes: object) -> Task:
    started = before.started_at or report.started_at
    return replace(task, started_at=started, result_token=report.token, wake_at=None, **changes)


def _waiting_effects(before: Task) -> tuple[Effect, ...]:
    """A late result finds the task waiting again: what made it wait goes."""
    return (Unready(),) if before.status in (Status.PENDING, Status.WAITING_RETRY) else ()


def _finish(task: Task, transition: Transition, _: int, before: Task) -> Step:
    """Succeed, Fail and Confirm: the task and the instance end alike."""
    assert isinstance(transition, Succeed | Fail | Confirm)
    reason = transition.dead_reason if isinstance(transition, Fail) else DeadReason.NONE
    done = _result(task, transition, before, finished_at=transition.at, dead_reason=reason)
    return Step(done, (*_waiting_effects(before), EndInstance(transition.token, task.status)))


def _retry(task: Task, transition: Transition, _: int, before: Task) -> Step:
    assert isinstance(transition, Retry)
    end = EndInstance(transition.token, Status.FAILED)
    waiting = replace(_result(task, transition, before, cause=Cause.RETRY), wake_at=transition.wake_at)
    return Step(waiting, (*_waiting_effects(before), end, SetTimer(transition.wake_at)))


def _lose(task: Task, transition: Transition, now: int, _: Task) -> Step:
    assert isinstance(transition, Lose)
    end = EndInstance(task.token, Status.FAILED)
    lost = replace(task, result_token=task.token) if transition.reported else task
    if task.status is Status.CANCELLED:
        return Step(replace(lost, finished_at=now), (end,))
    return Step(replace(lost, cause=Cause.MOVED, stalled=task.stalled + 1), (end, MakeReady(now)))


def _give_up(task: Task, transition: Transition, now: int, _: Task) -> Step:
    assert isinstance(transition, GiveUp)
    lost = replace(task, stalled=task.stalled + 1, dead_reason=DeadReason.AGENT_LOST, finished_at=now)
    return Step(
        replace(lost, result_token=task.token) if transition.reported else lost,
        (EndInstance(task.token, Status.FAILED),),
    )


def _pend(task: Task, _: Transition, now: int, __: Task) -> Step:
    pending = replace(task, wake_at=None)
    return Step(pending, (_wait_for_agent(pending, now),))


def _unpause(task: Task, transition: Transition, now: int, before: Task) -> Step:
    return Step(task, ()) if before.paused_from is not None else _pend(task, transition, now, before)


def _miss_start(task: Task, transition: Transition, now: int, __: Task) -> Step:
    assert isinstance(transition, MissStart)
    return Step(replace(task, finished_at=now, dead_reason=transition.dead_reason), (Unready(),))


def _put_off(task: Task, transition: Transition, _: int, __: Task) -> Step:
    assert isinstance(transition, PutOff)
    waiting = replace(task, attempt=task.attempt + 1, cause=Cause.RETRY, wake_at=transition.wake_at)
    return Step(waiting, (Unready(), SetTimer(transition.wake_at)))


def _expire(task: Task, _: Transition, now: int, __: Task) -> Step:
    over = replace(task, finished_at=now, wake_at=None, dead_reason=DeadReason.TIME_EXHAUSTED)
    return Step(over, (Unready(),))


def _retry_now(task: Task, _: Transition, now: int, __: Task) -> Step:
    return Step(replace(task, wake_at=None), (Unready(), MakeReady(now)))


def _end_waiting(task: Task, _: Transition, now: int, before: Task) -> Step:
    """Cancel and Skip. A cancel on an agent ends the instance as well: its lease is over or nobody can confirm."""
    ended = replace(task, finished_at=now, wake_at=None, cancel_requested=task.status is Status.CANCELLED)
    if before.on_agent:
        return Step(ended, (EndInstance(task.token, Status.CANCELLED), StopOnAgent(task.token, "cancelled")))
    return Step(ended, (Unready(),))


def _request_cancel(task: Task, transition: Transition, _: int, __: Task) -> Step:
    assert isinstance(transition, RequestCancel)
    return Step(replace(task, cancel_requested=True), (StopOnAgent(task.token, transition.why),))


def _hold(task: Task, _: Transition, now: int, before: Task) -> Step:
    if before.status in ON_AGENT:
        return Step(replace(task, paused_from=before.status, paused_at=now), ())
    return Step(replace(task, wake_at=None), (Unready(),))


def _force_success(task: Task, _: Transition, now: int, before: Task) -> Step:
    # Nothing that still arrives may end it a second time.
    done = replace(task, finished_at=now, wake_at=None, dead_reason=DeadReason.NONE, result_token=task.token)
    if before.is_final:
        return Step(replace(done, epoch=task.epoch + 1, cancel_requested=False), ())
    return Step(done, (Unready(),))


def _suspend(task: Task, transition: Transition, _: int, before: Task) -> Step:
    assert isinstance(transition, Suspend)
    if task.status is Status.CANCELLED:
        ended = _result(task, transition, before, finished_at=transition.at)
        return Step(ended, (EndInstance(transition.token, Status.CANCELLED),))
    parked = _result(task, transition, before, cause=Cause.RESUME)
    return Step(parked, (EndInstance(transition.token, Status.SUSPENDED),))


def _restart(task: Task, _: Transition, now: int, __: Task) -> Step:
    fresh = replace(
        task,
        epoch=task.epoch + 1,
        attempt=0,
        stalled=0,
        cause=Cause.FIRST,
        cancel_requested=False,
        dead_reason=DeadReason.NONE,
        started_at=None,
        finished_at=None,
        end_by=None if task.end_within is None else now + task.end_within,
        # Nothing that still arrives from the epoch before may end this one.
        result_token=task.token,
    )
    return Step(fresh, (MakeReady(now),))


_CONSEQUENCES = {
    Lock: _lock,
    Dispatch: _dispatch,
    Release: _release,
    Start: _start,
    Succeed: _finish,
    Fail: _finish,
    Retry: _retry,
    Confirm: _finish,
    Lose: _lose,
    GiveUp: _give_up,
    Wake: _pend,
    RetryNow: _retry_now,
    Cancel: _end_waiting,
    RequestCancel: _request_cancel,
    Skip: _end_waiting,
    Pause: _hold,
    Unpause: _unpause,
    MissStart: _miss_start,
    PutOff: _put_off,
    Expire: _expire,
    ForceSuccess: _force_success,
    Unblock: _pend,
    Suspend: _suspend,
    Resume: _pend,
    Restart: _restart,
}


def come_due(task: Task, now: int) -> Step:
    """What a timer means: the next attempt is due, or a planned time has come. A timer that outlived its cause means
    nothing. No task changes by its planned time coming, so only a wake-up is a transition.
    """
    if task.status is Status.WAITING_RETRY:
        return apply(task, Wake(), now)
    if task.status is Status.PENDING:
        return Step(task, (MakeReady(now),))
    return Step(task, ())


def end_by(end_within: int | None, begins: int) -> int | None:
    """When the total time of a task is over that is due at this instant."""
    return None if end_within is None else begins + end_within


def edit(
    task: Task,
    now: int,
    *,
    priority: int | None = None,
    scheduled_at: int | None = None,
    deadlines: tuple[int | None, int | None] | None = None,
) -> Step:
    """A person gives a task that is not on an agent another priority, time or deadlines (`start_within`, `end_within`).
    Raises IllegalTransition.
    """
    editable = (Status.PENDING, Status.BLOCKED, Status.WAITING_RETRY, Status.PAUSED)
    if task.status not in editable or task.on_agent:
        where = " on an agent" if task.paused_from is not None else ""
        raise IllegalTransition(
            f"task {task.id} is {task.status.name}{where}: it can be changed in PENDING, BLOCKED, WAITING_RETRY and"
            " PAUSED",
            facts={"task_id": task.id, "status": task.status.name},
        )
    start_within, end_within = deadlines or (task.start_within, task.end_within)
    at = task.scheduled_at if scheduled_at is None else scheduled_at
    moved = (at, end_within) != (task.scheduled_at, task.end_within)
    edited = replace(
        task,
        priority=task.priority if priority is None else priority,
        scheduled_at=at,
        start_within=start_within,
        end_within=end_within,
        end_by=end_by(end_within, max(task.created_at if task.epoch == 1 else now, at)) if moved else task.end_by,
        updated_at=now,
        version=task.version + 1,
    )
    if task.status is not Status.PENDING:
        return Step(edited, ())
    return Step(edited, (Unready(), _wait_for_agent(edited, now)))
