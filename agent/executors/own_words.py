"""What a run says of its own failure: a program in PAWL_ERROR_FILE, a plugin by `error_set`.

    echo 'no paper' > "$PAWL_ERROR_FILE"; exit 1
    echo '{"code": "NO_PAPER", "message": "tray 2", "retryable": true, "retry_after_seconds": 60}' > "$PAWL_ERROR_FILE"

Plain text is the message. Of an object every member may be left out. Not the place for when it counts. Plugins' own
processes import this: nothing here may cost them memory.
"""

from __future__ import annotations

import math

import msgspec

from agent.executors.wasm_messages import FAILURE_CODE

MOST_BYTES = 65_536
_NOT_FOR_RUNS = "LEASE_EXPIRED"  # what the agent alone can know


class OwnWords(msgspec.Struct, frozen=True):
    """None and empty text: it did not say."""

    code: str = ""
    message: str = ""
    retryable: bool | None = None
    retry_after_seconds: float | None = None


def own_words(text: str) -> OwnWords:
    """As far as they are of use: no code that is none, no wait that is none."""
    try:
        said = msgspec.json.decode(text, type=OwnWords)
    except msgspec.DecodeError:
        return OwnWords(message=text)
    after = said.retry_after_seconds
    return OwnWords(
        code=said.code if FAILURE_CODE.fullmatch(said.code) and said.code != _NOT_FOR_RUNS else "",
        message=said.message,
        retryable=said.retryable,
        retry_after_seconds=after if after is not None and math.isfinite(after) and after >= 0 else None,
    )
