"""What a task function is given beside its input: who it is, and how it speaks while it runs.

Safe from any thread. Where its words go is the worker's matter: a run has a voice, which tests replace.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pawl.failures import TaskCancelled
from pawl.v1.types_pb2 import Payload


class Voice(Protocol):
    """Where a run's words go. None of these waits; all may be called from any thread."""

    def log(self, data: bytes) -> None:
        """Lines for the task's log."""
        ...

    def progress(self, percent: float, message: str) -> None:
        """How far it is, 0 to 100."""
        ...

    def heartbeat(self) -> None:
        """It is alive."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run of which task it is."""

    task_id: str
    instance_id: str = ""
    attempt: int = 1
    job: str = ""
    namespace: str = "default"
    environment: Mapping[str, str] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)


class Context:
    """One run of a task function.

    `task_id` is the same for every attempt: the idempotency key for what the function does elsewhere. `attempt` counts
    from 1. `environment` is what job, schedule and task set. `trace` holds the W3C headers to pass on.
    """

    def __init__(self, identity: Identity, voice: Voice, parameters: Payload | None = None) -> None:
        self._identity = identity
        self._voice = voice
        self._stop = threading.Event()
        self._reason = ""
        self.parameters = parameters
        """The input as it came, undecoded; None if there is none."""

    @property
    def task_id(self) -> str:
        """The task."""
        return self._identity.task_id

    @property
    def instance_id(self) -> str:
        """This placement of this attempt."""
        return self._identity.instance_id

    @property
    def attempt(self) -> int:
        """Which try, from 1."""
        return self._identity.attempt

    @property
    def job(self) -> str:
        """The job, `<workflow>.<task>`."""
        return self._identity.job

    @property
    def namespace(self) -> str:
        """The namespace of the task."""
        return self._identity.namespace

    @property
    def environment(self) -> Mapping[str, str]:
        """What job, schedule and task set, merged."""
        return self._identity.environment

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers that carry the trace on: `traceparent` and its companions."""
        return self._identity.trace

    def log(self, *words: object) -> None:
        """A line for the task's log, made as `print` makes it."""
        self._voice.log((" ".join(map(str, words)) + "\n").encode("utf-8", "replace"))

    def progress(self, percent: float, message: str = "") -> None:
        """How far it is, 0 to 100. May be said as often as one likes: the newest counts."""
        self._voice.progress(percent, str(message).encode("utf-8", "replace").decode())

    def heartbeat(self) -> None:
        """A sign of life, for jobs with a heartbeat timeout. Progress counts as one."""
        self._voice.heartbeat()

    # The end that comes from outside.

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end. Code that is not async has to look, may clean up, and returns or raises."""
        return self._stop.is_set()

    @property
    def reason(self) -> str:
        """Why it is to end; empty while it is not."""
        return self._reason

    def raise_if_cancelled(self) -> None:
        """TaskCancelled if the run is to end."""
        if self._stop.is_set():
            raise TaskCancelled(self._reason)

    def wait(self, seconds: float) -> bool:
        """Sleep in code that is not async, and wake when the run is to end: True then. Not for code that is async."""
        return self._stop.wait(seconds)

    def cancel(self, reason: str) -> None:
        """Tell the function that it is to end; the worker's and the tests' word."""
        self._reason = self._reason or reason
        self._stop.set()


current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("pawl_context", default=None)
"""The run that the present code belongs to, in its threads and asyncio tasks."""


class Silence:
    """A voice that nobody hears."""

    def log(self, data: bytes) -> None:
        """Not kept."""

    def progress(self, percent: float, message: str) -> None:
        """Not kept."""

    def heartbeat(self) -> None:
        """Not kept."""


def is_async_cancel(error: BaseException) -> bool:
    """Whether this is how a run ends that was told to."""
    return isinstance(error, TaskCancelled | asyncio.CancelledError)
