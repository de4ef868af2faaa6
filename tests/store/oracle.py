"""What the control plane should do with tasks, said once more and as simply as possible, in memory.

Written from the contract and not from the code: no tables, no transitions, no effects. A run of random operations
compares the two after every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Answer = str  # "ok", a verdict, or the name of a refusal
Outcome = Literal["SUCCEEDED", "FAILED", "NOT_RETRYABLE", "RETRY_AFTER", "TIMED_OUT", "CANCELLED", "LEASE_EXPIRED"]

FINAL = {"SKIPPED", "FAILED", "CANCELLED", "SUCCEEDED"}
ON_AGENT = {"DISPATCHED", "RUNNING"}
RETRY_AFTER = 7


@dataclass
class OracleJob:
    """What of a job matters here; seconds."""

    name: str
    max_retries: int
    retry_interval: int
    max_stalled: int


@dataclass
class OracleInstance:
    """One placement."""

    status: str = "DISPATCHED"
    given_up: bool = False
    late: bool = False


@dataclass
class OracleTask:
    """One task; instants in seconds of the run."""

    id: str
    job: OracleJob
    priority: int
    scheduled_at: int
    status: str = "PENDING"
    attempt: int = 0
    same_attempt: bool = False
    token: int = 0
    counted: bool = True
    stalled: int = 0
    epoch: int = 1
    cancel_requested: bool = False
    dead: str = "NONE"
    ready_at: int | None = None
    timer: int | None = None
    instances: dict[int, OracleInstance] = field(default_factory=dict)

    def wait(self, now: int) -> None:
        """Until an agent takes it, or first until its time comes."""
        self.status = "PENDING"
        self.ready_at, self.timer = (None, self.scheduled_at) if self.scheduled_at > now else (now, None)

    def end(self, status: str) -> None:
        """Nothing more comes of it."""
        self.status = status
        self.ready_at = self.timer = None

    def ready(self, now: int) -> None:
        """An agent may take it at once."""
        self.status, self.ready_at, self.timer = "PENDING", now, None


class Oracle:
    """All tasks, and what each operation should answer."""

    def __init__(self) -> None:
        self.now = 0
        self.tasks: dict[str, OracleTask] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}  # (method, request id) → (content, task id or refusal)

    # --- people

    def created(self, task_id: str, job: OracleJob, priority: int, scheduled_at: int) -> None:
        """A new task."""
        one = OracleTask(task_id, job, priority, scheduled_at)
        one.wait(self.now)
        self.tasks[task_id] = one

    def cancel(self, task_id: str) -> Answer:
        """Ends what nobody has; asks the agent of what one has."""
        one = self.tasks.get(task_id)
        if one is None:
            return "NotFound"
        if one.status == "CANCELLED" or one.cancel_requested:
            return "ok"
        if one.status in FINAL:
            return "IllegalTransition"
        one.cancel_requested = True
        if one.status not in ON_AGENT:
            one.end("CANCELLED")
        return "ok"

    def retry(self, task_id: str) -> Answer:
        """The next attempt at once, or a new epoch."""
        one = self.tasks.get(task_id)
        if one is None:
            return "NotFound"
        if one.status in FINAL:
            one.epoch += 1
            one.attempt = one.stalled = 0
            one.same_attempt = one.cancel_requested = False
            one.counted, one.dead = True, "NONE"
        elif one.status != "WAITING_RETRY":
            return "IllegalTransition"
        one.ready(self.now)
        return "ok"

    def update(self, task_id: str, priority: int, scheduled_at: int) -> Answer:
        """Another priority and time for what is not placed."""
        one = self.tasks.get(task_id)
        if one is None:
            return "NotFound"
        if one.status not in ("PENDING", "WAITING_RETRY"):
            return "IllegalTransition"
        one.priority, one.scheduled_at = priority, scheduled_at
        if one.status == "PENDING":
            one.wait(self.now)
        return "ok"

    def delete(self, task_id: str) -> Answer:
        """Only what has ended."""
        one = self.tasks.get(task_id)
        if one is None:
            return "NotFound"
        if one.status not in FINAL:
            return "IllegalTransition"
        del self.tasks[task_id]
        return "ok"

    # --- time and the dispatcher

    def fire(self) -> None:
        """Timers that are due."""
        for one in self.tasks.values():
            if one.timer is not None and one.timer <= self.now:
                if one.status == "WAITING_RETRY":
                    one.wait(self.now)
                else:
                    one.ready(self.now)

    def next_in_line(self, count: int) -> list[str]:
        """Who is placed when so many slots are free."""
        waiting = [one for one in self.tasks.values() if one.ready_at is not None]
        waiting.sort(key=lambda one: (-one.priority, one.ready_at, one.id))
        return [one.id for one in waiting[:count]]

    def placed(self, task_id: str) -> None:
        """An agent got it."""
        one = self.tasks[task_id]
        one.status, one.ready_at = "DISPATCHED", None
        one.token += 1
        one.counted = False
        if not (one.same_attempt and one.attempt):
            one.attempt += 1
        one.instances[one.token] = OracleInstance()

    # --- agents

    def start(self, task_id: str, token: int) -> bool:
        """Whether the start is news."""
        one = self.tasks.get(task_id)
        if one is None or one.token != token or one.status != "DISPATCHED":
            return False
        one.status = one.instances[token].status = "RUNNING"
        return True

    def finish(self, task_id: str, token: int, outcome: Outcome) -> Answer:
        """What becomes of a result."""
        one = self.tasks.get(task_id)
        if one is None:
            return "UNKNOWN"
        instance = one.instances[token]
        stopped_itself = outcome == "LEASE_EXPIRED" or (outcome == "CANCELLED" and not one.cancel_requested)
        late = token != one.token or one.counted or one.status in FINAL
        if late or (stopped_itself and one.status not in ON_AGENT):
            return "LATE"
        one.counted = True
        if stopped_itself:
            self._lost(one)
        else:
            self._ended(one, outcome)
        instance.status = outcome if outcome in ("SUCCEEDED", "TIMED_OUT", "CANCELLED") else "FAILED"
        instance.given_up = False
        return "COUNTED"

    def keep_evidence(self, task_id: str, token: int) -> None:
        """What came too late is kept when the whole batch was judged: a result that counts in it is the better word."""
        instance = self.tasks[task_id].instances[token]
        instance.late = instance.late or instance.given_up

    def _ended(self, one: OracleTask, outcome: Outcome) -> None:
        if outcome in ("SUCCEEDED", "CANCELLED"):
            one.end(outcome)
        elif outcome == "NOT_RETRYABLE":
            one.end("FAILED")
            one.dead = "NOT_RETRYABLE"
        elif one.cancel_requested or one.attempt > one.job.max_retries:
            one.end("FAILED")
            one.dead = "RETRIES_EXHAUSTED"
        else:
            one.end("WAITING_RETRY")
            one.timer = self.now + (RETRY_AFTER if outcome == "RETRY_AFTER" else one.job.retry_interval)
            one.same_attempt = False

    def _lost(self, one: OracleTask) -> None:
        if one.cancel_requested:
            one.end("CANCELLED")
            return
        one.stalled += 1
        if one.stalled > one.job.max_stalled:
            one.end("FAILED")
            one.dead = "AGENT_LOST"
        else:
            one.ready(self.now)
            one.same_attempt = True

    def lose(self, task_id: str, token: int) -> None:
        """The agent is lost; says the reaper."""
        one = self.tasks.get(task_id)
        if one is not None and one.token == token and one.status in ON_AGENT:
            one.instances[token].status, one.instances[token].given_up = "FAILED", True
            self._lost(one)

    def refuse(self, task_id: str, token: int) -> None:
        """The agent did not begin it."""
        one = self.tasks.get(task_id)
        if one is not None and one.token == token and one.status == "DISPATCHED":
            one.instances[token].status = "CANCELLED"
            one.counted = True
            if one.cancel_requested:
                one.end("CANCELLED")
            else:
                one.ready(self.now)
                one.same_attempt = True
