"""What a program says of its own failure, in PAWL_ERROR_FILE:

    echo 'no paper' > "$PAWL_ERROR_FILE"; exit 1
    echo '{"code": "NO_PAPER", "message": "tray 2", "retryable": true, "retry_after_seconds": 60}' > "$PAWL_ERROR_FILE"

Plain text is the message. Of an object every member may be left out. It counts only when the program fails by its own
exit code: whoever was ended from outside is not asked why.
"""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec

from agent.executors.base import Failure
from agent.executors.wasm_messages import FAILURE_CODE

MOST_BYTES = 65_536
_LEASE_EXPIRED = "LEASE_EXPIRED"  # what the agent alone can know


class _Said(msgspec.Struct):
    code: str = ""
    message: str = ""
    retryable: bool = True
    retry_after_seconds: float | None = None


def in_own_words(failure: Failure, data: bytes) -> Failure:
    """The failure as the program tells it; what it does not say is as it was."""
    text = data.decode("utf-8", "replace").strip()
    if not text:
        return failure
    try:
        said = msgspec.json.decode(text.encode(), type=_Said)
    except msgspec.DecodeError:
        return replace(failure, message=text)
    after = said.retry_after_seconds
    waits = after is not None and math.isfinite(after) and after >= 0
    fits = FAILURE_CODE.fullmatch(said.code) and said.code != _LEASE_EXPIRED
    return Failure(
        code=said.code if fits else failure.code,
        message=said.message or failure.message,
        retryable=said.retryable,
        retry_after_seconds=after if waits else None,
    )
