"""One call of a task function: input read, function called, output written, and whatever happens is a value.

The same for a worker's own loop and threads, for the process of one function, and for tests. Nothing raised by a
function leaves here; what it says through `logging` goes to its task's log where `LogCapture` is installed.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pawl.context import Context, current
from pawl.failures import Failed, InvalidOutput, failed_by
from pawl.tracing import Trace, around_here
from pawl.v1.types_pb2 import Payload
from pawl.workflow import TaskFunction


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call. `failed is None` means that the function returned."""

    output: Payload | None = None
    failed: Failed | None = None
    error: BaseException | None = None


async def call_async(task: TaskFunction[..., Any], context: Context, parameters: Payload | None) -> Called:
    """Call an async function. Cancelling this cancels it."""
    try:
        with _in(context):
            value = await task.function(**task.bound(parameters, context))
            return Called(output=task.shape.writes.write(value))
    except BaseException as error:  # the end of a run is never the end of whoever runs it
        return Called(failed=failed_by(error), error=error)


def call_blocking(task: TaskFunction[..., Any], context: Context, parameters: Payload | None) -> Called:
    """Call a function that is not async, in a thread where it may take its time."""
    try:
        with _in(context):
            value = task.function(**task.bound(parameters, context))
            if inspect.iscoroutine(value):
                value.close()
                raise InvalidOutput("the function returned a coroutine: declare it with async def")
            return Called(output=task.shape.writes.write(value))
    except BaseException as error:  # see above
        return Called(failed=failed_by(error), error=error)


@contextmanager
def _in(context: Context) -> Iterator[None]:
    """Who is called in here belongs to this run."""
    told = current.set(context)
    traced = around_here.set(Trace.of(context.trace) if context.trace else None)
    try:
        yield
    finally:
        current.reset(told)
        around_here.reset(traced)


class LogCapture(logging.Handler):
    """What task functions say through `logging` goes to their task's log too. For the root logger."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """To the run that said it; what is said outside of one is not ours."""
        context = current.get()
        if context is None:
            return
        try:
            context.log(self.format(record))
        except Exception:
            self.handleError(record)
