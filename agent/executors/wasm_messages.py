"""What the agent, the zygote and a guest's process say to each other.

Two channels. The *control* channel (one SOCK_SEQPACKET pair, agent ↔ zygote) carries small messages, one a packet, with
file descriptors beside them. The *run* channel (one SOCK_STREAM pair for each run, agent ↔ guest's process) carries
frames: four bytes of length, big endian, then msgpack. The zygote never sees a run's data.

What comes from a guest's process is not trusted: the agent checks every length before it takes the bytes, and a frame
that does not decode ends the run.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

FRAME_HEAD: Final = 4
MAX_SMALL_FRAME: Final = 256 << 10
"""Of everything but a result. A log message is cut well below it."""
MAX_LOG_MESSAGE: Final = 64 << 10
MAX_REQUEST_BYTES: Final = 1 << 20
"""Of one call by a guest."""
MAX_ERROR_TEXT: Final = 8 << 10
FAILURE_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")


# Control: agent to zygote


class Launch(msgspec.Struct, tag="launch", frozen=True):
    """Fork a process for a run. Descriptors beside it: the run channel, stderr, and stdout if `wasi`."""

    run: int
    digest: str
    path: str
    wasi: bool
    memory_bytes: int
    cpu_seconds: int
    open_files: int
    cpu_cores: float | None = None


class Kill(msgspec.Struct, tag="kill", frozen=True):
    """End this run's process at once. Answered by Exited, or by Refused where there is no process yet."""

    run: int


class Hold(msgspec.Struct, tag="hold", frozen=True):
    """Stop this run's process, or let it go on."""

    run: int
    still: bool


# Control: zygote to agent


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The zygote serves."""

    extism: str


class Forked(msgspec.Struct, tag="forked", frozen=True):
    """The run has a process. A descriptor of it (a pidfd) beside it, where the system has them."""

    run: int
    pid: int


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The run got no process."""

    run: int
    code: str
    message: str
    retryable: bool


class Exited(msgspec.Struct, tag="exited", frozen=True):
    """The run's process is gone and reaped."""

    run: int
    exit_code: int | None
    signal: int | None
    user_cpu_seconds: float
    system_cpu_seconds: float
    peak_memory_bytes: int
    throttled_seconds: float = 0.0


ToZygote = Launch | Kill | Hold
FromZygote = Ready | Forked | Refused | Exited


# Run: agent to guest


class Begin(msgspec.Struct, tag="begin", frozen=True):
    """All that a run needs; the first frame."""

    entry: str
    config: dict[str, str]
    parameters: bytes
    output_bytes: int
    log_bytes: int
    log_lines: int
    host_calls: int


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """The agent's reply to Ask, as the guest gets it."""

    reply: bytes


class CancelRequested(msgspec.Struct, tag="cancel", frozen=True):
    """Somebody wants the run to end; the next heartbeat tells the guest."""


# Run: guest to agent


class Log(msgspec.Struct, tag="log", frozen=True):
    """A line."""

    level: str
    message: str
    fields: str = ""


class Ask(msgspec.Struct, tag="ask", frozen=True):
    """A call that only the agent can answer. One at a time: the guest waits for its Answer."""

    request: bytes


class Alive(msgspec.Struct, tag="alive", frozen=True):
    """The guest's heartbeat; not each of them, when they come thick."""


class Progress(msgspec.Struct, tag="progress", frozen=True):
    """How far the guest says it is."""

    percent: float
    message: str


class Returned(msgspec.Struct, tag="returned", frozen=True):
    """The guest's function ended without an error. `output` is cut to the limit, `output_size` is the size before."""

    output: bytes
    output_size: int


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """The guest's function did not succeed."""

    code: str
    message: str
    retryable: bool = False
    retry_after_seconds: float | None = None
    exit_code: int | None = None


ToGuest = Begin | Answer | CancelRequested
FromGuest = Log | Alive | Progress | Ask | Returned | Failed


def frame(message: ToGuest | FromGuest) -> bytes:
    """A message as it goes over a run channel."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(FRAME_HEAD, "big") + body


def cut(text: str, most: int) -> str:
    """The text, or its beginning with a note of how much is missing."""
    return text if len(text) <= most else f"{text[:most]} … {len(text) - most} more characters"
