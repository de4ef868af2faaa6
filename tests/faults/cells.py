"""The matrix: what befalls a run, by what runs it, and what must come of it.

One table of the cells that exist, one of those that cannot, with the reason. Every job of the matrix may be tried twice
(`max_retries: 1`), so that `attempts` says what a failure is worth: 2 where another attempt may help, 1 where not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

KINDS: Final = (
    "success",
    "exit-code",
    "exception",
    "signal",
    "timeout",
    "output-flood",
    "cancel-queued",
    "cancel-starting",
    "cancel-running",
    "cancel-finishing",
    "agent-killed",
    "link-cut",
    "control-plane-killed",
)
EXECUTORS: Final = ("process", "wasm", "http")

Cell = tuple[str, str]
"""(executor, kind)"""


@dataclass(frozen=True)
class End:
    """What a task and its placements say at the end."""

    status: str
    code: str = ""
    """TaskError.code of the task: of its last attempt."""
    exit_code: int | None = None
    """Of the last placement, as `signal`."""
    signal: int | None = None
    attempts: int = 1
    placements: tuple[str, ...] | None = None
    """The error code of each, in order; left out: one for each attempt, all like the task's."""
    cancel_requested: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Of the placements."""
        return (self.code,) * self.attempts if self.placements is None else self.placements


SUCCESS: Final = End("SUCCEEDED")
EXIT_0: Final = End("SUCCEEDED", exit_code=0)
NEVER_STARTED: Final = End("CANCELLED", attempts=0, cancel_requested=True)
CANCELLED: Final = End("CANCELLED", "CANCELLED", cancel_requested=True)
TIMED_OUT: Final = End("FAILED", "TIMEOUT", attempts=2)
KILL: Final = 9
SEGV: Final = 11
TERM: Final = 15


def _ends(name: str, **by_executor: End) -> dict[Cell, End]:
    return {(executor, name): end for executor, end in by_executor.items()}


def _everywhere(name: str, change: Callable[[End], End] = lambda end: end) -> dict[Cell, End]:
    """Success wherever it runs; a request alone has no exit code."""
    return _ends(name, process=change(EXIT_0), wasm=change(EXIT_0), http=change(SUCCESS))


def _wins_over_the_cancel(end: End) -> End:
    return replace(end, cancel_requested=True)


def _moved(end: End) -> End:
    return replace(end, placements=("AGENT_LOST", ""))


CELLS: Final[dict[Cell, End]] = {
    **_everywhere("success"),
    **_ends(
        "exit-code",
        process=End("FAILED", "EXIT_3", exit_code=3, attempts=2),
        wasm=End("FAILED", "EXIT_3", exit_code=3),  # a plugin says by error_set when another attempt may help
        http=End("FAILED", "HTTP_422"),  # the status is its exit code
    ),
    **_ends(
        "exception",
        process=End("FAILED", "EXIT_1", exit_code=1, attempts=2),  # of an interpreter, whose words are in the message
        wasm=End("FAILED", "BOOM", exit_code=1, attempts=2),
        http=End("FAILED", "HTTP_FAILED", attempts=2),  # an endpoint that breaks off in the middle of its answer
    ),
    **_ends(
        "signal",
        process=End("FAILED", "SIGNAL_SEGV", signal=SEGV, attempts=2),
        wasm=End("SUCCEEDED", exit_code=0, attempts=2, placements=("PLUGIN_CRASH", "")),  # killed from outside, once
    ),
    **_ends(
        "timeout",
        process=End("FAILED", "TIMEOUT", signal=TERM, attempts=2),
        wasm=End("FAILED", "TIMEOUT", signal=KILL, attempts=2),
        http=TIMED_OUT,
    ),
    **_ends(
        "output-flood",
        process=EXIT_0,
        wasm=EXIT_0,
        http=End("FAILED", "HTTP_RESPONSE_TOO_LARGE"),  # not read to its end
    ),
    **_ends("cancel-queued", process=NEVER_STARTED, wasm=NEVER_STARTED, http=NEVER_STARTED),
    **_ends("cancel-starting", process=CANCELLED, wasm=CANCELLED, http=CANCELLED),
    **_ends(
        "cancel-running",
        process=End("CANCELLED", "CANCELLED", signal=TERM, cancel_requested=True),
        wasm=End("CANCELLED", "CANCELLED", signal=KILL, cancel_requested=True),
        http=CANCELLED,
    ),
    **_everywhere("cancel-finishing", _wins_over_the_cancel),
    **_everywhere("agent-killed", _moved),  # a loss is no attempt
    **_everywhere("link-cut"),
    **_everywhere("control-plane-killed"),
}

IMPOSSIBLE: Final[dict[Cell, str]] = {
    ("http", "signal"): "an endpoint's process is its own: the agent sees an answer or none",
}
