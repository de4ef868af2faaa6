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
    "memory",
    "output-flood",
    "fork-bomb",
    "cancel-queued",
    "cancel-starting",
    "cancel-running",
    "cancel-finishing",
    "agent-killed",
    "link-cut",
    "control-plane-killed",
)
INLINE: Final = "function-inline"
FORKED: Final = "function-process"
EXECUTORS: Final = ("process", "wasm", "http", INLINE, FORKED)

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
    return {(executor.replace("_", "-"), name): end for executor, end in by_executor.items()}


def _everywhere(name: str, change: Callable[[End], End] = lambda end: end) -> dict[Cell, End]:
    """Success wherever it runs; only what has a process of its own has an exit code."""
    ends = {"process": EXIT_0, "wasm": EXIT_0, "http": SUCCESS, "function_inline": SUCCESS, "function_process": EXIT_0}
    return _ends(name, **{executor: change(end) for executor, end in ends.items()})


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
        function_inline=End("FAILED", "SystemExit", attempts=2),  # which does not take the worker along
        function_process=End("FAILED", "EXIT_3", exit_code=3, attempts=2),
    ),
    **_ends(
        "exception",
        process=End("FAILED", "EXIT_1", exit_code=1, attempts=2),  # of an interpreter, whose words are in the message
        wasm=End("FAILED", "BOOM", exit_code=1, attempts=2),
        http=End("FAILED", "HTTP_FAILED", attempts=2),  # an endpoint that breaks off in the middle of its answer
        function_inline=End("FAILED", "ValueError", attempts=2),
        function_process=End("FAILED", "ValueError", exit_code=1, attempts=2),
    ),
    **_ends(
        "signal",
        process=End("FAILED", "SIGNAL_SEGV", signal=SEGV, attempts=2),
        wasm=End("SUCCEEDED", exit_code=0, attempts=2, placements=("PLUGIN_CRASH", "")),  # killed from outside, once
        function_process=End("FAILED", "SIGNAL_SEGV", signal=SEGV, attempts=2),
    ),
    **_ends(
        "timeout",
        process=End("FAILED", "TIMEOUT", signal=TERM, attempts=2),
        wasm=End("FAILED", "TIMEOUT", signal=KILL, attempts=2),
        http=TIMED_OUT,
        function_inline=TIMED_OUT,
        function_process=End("FAILED", "TIMEOUT", exit_code=1, attempts=2),  # it hears TERM as an exception
    ),
    **_ends(
        "memory",
        process=End("FAILED", "OUT_OF_MEMORY", signal=KILL, attempts=2),
        wasm=End("FAILED", "PLUGIN_OUT_OF_MEMORY"),
        function_process=End("FAILED", "OUT_OF_MEMORY", signal=KILL, attempts=2),
    ),
    **_ends(
        "output-flood",
        process=EXIT_0,
        wasm=EXIT_0,
        http=End("FAILED", "HTTP_RESPONSE_TOO_LARGE"),  # not read to its end
        function_inline=SUCCESS,
        function_process=EXIT_0,
    ),
    **_ends(
        "fork-bomb",
        process=End("FAILED", "TOO_MANY_PROCESSES", signal=KILL, attempts=2),
        function_process=End("FAILED", "TOO_MANY_PROCESSES", signal=KILL, attempts=2),
    ),
    **_everywhere("cancel-queued", lambda _: NEVER_STARTED),
    **_everywhere("cancel-starting", lambda _: CANCELLED),
    **_ends(
        "cancel-running",
        process=End("CANCELLED", "CANCELLED", signal=TERM, cancel_requested=True),
        wasm=End("CANCELLED", "CANCELLED", signal=KILL, cancel_requested=True),
        http=CANCELLED,
        function_inline=CANCELLED,
        function_process=End("CANCELLED", "CANCELLED", exit_code=1, cancel_requested=True),
    ),
    **_everywhere("cancel-finishing", _wins_over_the_cancel),
    **_everywhere("agent-killed", _moved),  # a loss is no attempt
    **_everywhere("link-cut"),
    **_everywhere("control-plane-killed"),
}

IMPOSSIBLE: Final[dict[Cell, str]] = {
    (INLINE, "signal"): "its process is the worker: a signal that ends it is the kind agent-killed",
    (INLINE, "memory"): "its memory is the worker's, which no job bounds",
    (INLINE, "fork-bomb"): "what it starts belongs to the worker, which no job bounds",
    ("http", "signal"): "an endpoint's process is its own: the agent sees an answer or none",
    ("http", "memory"): "an endpoint's memory is its own; what an answer takes of the agent's is the output's limit",
    ("http", "fork-bomb"): "nothing runs on the agent",
    ("wasm", "fork-bomb"): "a guest has no way to make a process: nothing that it may import starts one",
}
