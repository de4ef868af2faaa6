"""How long an attempt may still run: its timeout, its silence, and what is left of its task's total time.

Pure: whoever asks says what time it is (of the boot clock, in seconds). While an attempt is paused its timeout and its
silence stand still; the total time does not.
"""

from __future__ import annotations

import math

TIMEOUT = "TIMEOUT"
TOTAL_TIMEOUT = "TOTAL_TIMEOUT"
HEARTBEAT_TIMEOUT = "HEARTBEAT_TIMEOUT"


class Clocks:
    """The clocks of one attempt. 0 seconds of a timeout, or None, are no limit."""

    def __init__(self, now: float, timeout: float, heartbeat: float, total_left: float | None) -> None:
        self._timeout = timeout if timeout > 0 else math.inf
        self._heartbeat = heartbeat if heartbeat > 0 else math.inf
        self._total_at = math.inf if total_left is None else now + total_left
        self._started_at = math.inf
        self._heard_at = math.inf
        self._paused_at: float | None = None

    @property
    def paused(self) -> bool:
        """Whether two of them stand still."""
        return self._paused_at is not None

    def start(self, now: float) -> None:
        """The program runs."""
        self._started_at = self._heard_at = now

    def hear(self, now: float) -> None:
        """It showed that it is alive."""
        self._heard_at = now

    def stop(self) -> None:
        """It has ended: nothing can be over any more."""
        self._total_at = self._timeout = self._heartbeat = math.inf

    def pause(self, now: float) -> None:
        """Stand still."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Go on from there."""
        if self._paused_at is not None:
            # What was started or heard in between, on its way when the pause came, counts from now.
            self._started_at += now - max(self._paused_at, min(self._started_at, now))
            self._heard_at += now - max(self._paused_at, min(self._heard_at, now))
            self._paused_at = None

    def next_at(self) -> float:
        """When the first of them is over; infinite if none ever is."""
        return min(at for at, _ in self._ends())

    def over(self, now: float) -> str | None:
        """Which of them is over."""
        at, code = min(self._ends())
        return code if at <= now else None

    def _ends(self) -> list[tuple[float, str]]:
        if self._paused_at is not None:
            return [(self._total_at, TOTAL_TIMEOUT)]
        return [
            (self._total_at, TOTAL_TIMEOUT),
            (self._started_at + self._timeout, TIMEOUT),
            (self._heard_at + self._heartbeat, HEARTBEAT_TIMEOUT),
        ]
