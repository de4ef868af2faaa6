"""How a task function says that it failed, and what of an error is reported: a code, words, whether to try again.

Any exception fails the attempt and is tried again as the job's retry rules say; its code is the name of its class, so
that rules can name it (`retry_on=["ConnectionError"]`). The classes here say more than that. Pure.
"""

from __future__ import annotations

import asyncio
import math
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

MAX_CODE: Final = 64
MAX_MESSAGE: Final = 4_096
_OURS: Final = str(Path(__file__).parent)


class TaskError(Exception):
    """A failure with a code of its own. It is tried again as the job says, after `retry_after` seconds if given."""

    retryable = True

    def __init__(self, message: str = "", *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class NonRetryable(TaskError):
    """A failure that trying again would not mend: no further attempt is made."""

    retryable = False


class RetryAfter(TaskError):
    """Not now: the next attempt comes after so many seconds, if the job has one left."""

    def __init__(self, seconds: float, message: str = "", *, code: str = "") -> None:
        super().__init__(message or f"to be tried again in {seconds:g} s", code=code, retry_after=seconds)


class InvalidInput(NonRetryable):
    """The parameters of the task are not what the function takes."""


class InvalidOutput(NonRetryable):
    """What the function returned is nothing that can be stored."""


class TaskCancelled(BaseException):
    """The attempt is to end: somebody cancelled the task, it ran too long, or the worker stops.

    Raised in functions that are not async; in async ones it is asyncio.CancelledError. No Exception, so that
    `except Exception` does not swallow it.
    """


@dataclass(frozen=True, slots=True)
class Failed:
    """What is reported of an error. `trace`: the traceback from the function on, for the log."""

    code: str
    message: str
    retryable: bool = True
    retry_after: float | None = None
    trace: str = ""


def failed_by(error: BaseException) -> Failed:
    """What is reported of it. The frames of Pawl itself are left out of the traceback."""
    name = type(error).__name__
    words = _words(error)[:MAX_MESSAGE] or name
    trace = _sendable("".join(traceback.format_exception(type(error), error, _from_function_on(error.__traceback__))))
    if isinstance(error, TaskError):
        return Failed(_code(str(error.code) or name), words, error.retryable, _seconds(error.retry_after), trace)
    if isinstance(error, TaskCancelled | asyncio.CancelledError):
        return Failed("CANCELLED", "the function ended as if it had been cancelled", trace=trace)
    return Failed(_code(name), words, trace=trace)


def _words(error: BaseException) -> str:
    """What it says of itself, whatever it does when it is asked."""
    try:
        return _sendable(str(error))
    except Exception as broken:
        return f"an error that cannot be shown: {type(broken).__name__}"


def _sendable(text: str) -> str:
    """As UTF-8 can carry it: names of files that are none come as halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode()


def _seconds(wait: object) -> float | None:
    """A wait that is one."""
    if isinstance(wait, int | float) and math.isfinite(wait):
        return max(0.0, float(wait))
    return None


def _code(name: str) -> str:
    """As retry rules can name it."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "_.-") else "_" for one in name)[:MAX_CODE]


def _from_function_on(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames at its top that called the function; all of it if there are no others."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OURS):
        found = found.tb_next
    return found or trace
