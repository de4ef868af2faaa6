"""Task functions in tests: called here, with no control plane, and with all that a worker would do to their values.

    async def test_hello_greets() -> None:
        ran = await pawl.testing.run(hello, Name("Ada"))
        assert ran.output == Greeting("hello Ada")
        assert ran.logs == ["greeting Ada"]

The input is written as a task carries it and read back in the function's type, and so is the output: what would not
survive the way to a worker does not survive this. A function that fails raises its own error, unless it is asked for
what a worker would report: `run(..., catch=True)`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pawl.calling import LogCapture, call_async, call_blocking
from pawl.context import Context, Identity
from pawl.failures import Failed
from pawl.v1.types_pb2 import Payload
from pawl.workflow import TaskFunction


class Recorder:
    """A voice that keeps what was said."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.progress_said: list[tuple[float, str]] = []
        self.heartbeats = 0

    def log(self, data: bytes) -> None:
        """Kept."""
        self.said += data

    def progress(self, percent: float, message: str) -> None:
        """Kept."""
        self.progress_said.append((percent, message))

    def heartbeat(self) -> None:
        """Counted."""
        self.heartbeats += 1


class FakeContext(Context):
    """A context without a worker, for calling a function by hand: `await hello(Name("Ada"), FakeContext())`.

    What the function said is in `logs`, `reports` (percent and words) and `heartbeats`; `cancel("why")` ends it.
    """

    def __init__(
        self,
        *,
        task_id: str = "",
        attempt: int = 1,
        job: str = "test",
        namespace: str = "default",
        environment: Mapping[str, str] | None = None,
        parameters: Payload | None = None,
    ) -> None:
        identity = Identity(
            task_id=task_id or str(uuid.uuid4()),
            instance_id=str(uuid.uuid4()),
            attempt=attempt,
            job=job,
            namespace=namespace,
            environment=dict(environment or {}),
        )
        self._recorder = Recorder()
        super().__init__(identity, self._recorder, parameters)

    @property
    def logs(self) -> list[str]:
        """Lines of the log."""
        return self._recorder.said.decode("utf-8", "replace").splitlines()

    @property
    def reports(self) -> list[tuple[float, str]]:
        """Words about progress, in order."""
        return list(self._recorder.progress_said)

    @property
    def heartbeats(self) -> int:
        """How often it showed that it is alive."""
        return self._recorder.heartbeats


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run. `failed` is what a worker would report, None for a success."""

    output: Any
    logs: list[str]
    reports: list[tuple[float, str]]
    failed: Failed | None = None
    context: FakeContext = field(default_factory=FakeContext)


async def run(
    task: TaskFunction[..., Any],
    input: Any = ...,
    *,
    attempt: int = 1,
    task_id: str = "",
    environment: Mapping[str, str] | None = None,
    cancel_after: float | None = None,
    catch: bool = False,
) -> Ran:
    """Run a function as a worker would, whatever its isolation. Raises what it raises, unless `catch` is given.

    `cancel_after`: seconds after which it is told to end, as by somebody who cancels the task.
    """
    parameters = None if input is ... else task.encoded(input)
    context = FakeContext(
        task_id=task_id, attempt=attempt, job=task.name, environment=environment, parameters=parameters
    )
    capture = LogCapture()
    logging.getLogger().addHandler(capture)
    try:
        called = await _called(task, context, parameters, cancel_after)
    finally:
        logging.getLogger().removeHandler(capture)
    if called.error is not None and not catch:
        raise called.error
    output = None if called.output is None else task.shape.writes.read(called.output)
    return Ran(output, context.logs, context.reports, called.failed, context)


def run_blocking(task: TaskFunction[..., Any], input: Any = ..., **given: Any) -> Ran:
    """The same for tests that are not async."""
    return asyncio.run(run(task, input, **given))


async def _called(
    task: TaskFunction[..., Any], context: FakeContext, parameters: Payload | None, cancel_after: float | None
) -> Any:
    async with asyncio.TaskGroup() as group:
        if task.is_async:
            call = group.create_task(call_async(task, context, parameters))
        else:
            call = group.create_task(asyncio.to_thread(call_blocking, task, context, parameters))
        if cancel_after is not None:
            await asyncio.wait([call], timeout=cancel_after)
            context.cancel("the test")
            if task.is_async:
                call.cancel()
    return call.result()
