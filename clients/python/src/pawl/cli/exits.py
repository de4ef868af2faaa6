"""What the exit codes of `pawl` mean: one table, used by the code and shown by the help."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pawl.errors import PawlError


class Exits(IntEnum):
    """Exit codes."""

    OK = 0
    TASK_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    DENIED = 6
    INTERNAL = 70
    CANCELLED = 130


MEANINGS: Final = {
    Exits.OK: "done",
    Exits.TASK_FAILED: "the task failed",
    Exits.USAGE: "wrong usage or input",
    Exits.NOT_FOUND: "no such thing",
    Exits.CONFLICT: "exists, has changed, or its state forbids it",
    Exits.UNAVAILABLE: "no answer, or none in time",
    Exits.DENIED: "not allowed",
    Exits.INTERNAL: "a defect in Pawl",
    Exits.CANCELLED: "cancelled, or Ctrl-C",
}

_BY_CODE: Final = {
    "INVALID_ARGUMENT": Exits.USAGE,
    "UNIMPLEMENTED": Exits.USAGE,
    "NOT_FOUND": Exits.NOT_FOUND,
    "ALREADY_EXISTS": Exits.CONFLICT,
    "FAILED_PRECONDITION": Exits.CONFLICT,
    "ABORTED": Exits.CONFLICT,
    "UNAVAILABLE": Exits.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exits.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Exits.UNAVAILABLE,
    "UNAUTHENTICATED": Exits.DENIED,
    "PERMISSION_DENIED": Exits.DENIED,
    "CANCELLED": Exits.CANCELLED,
}


def exit_for(error: PawlError) -> Exits:
    """The exit code for a call that failed."""
    if error.reason == "TOO_LARGE":
        return Exits.USAGE  # waiting does not help
    return _BY_CODE.get(error.code, Exits.INTERNAL)
