"""How the priority of what waits grows, so that nothing starves behind what is always more important."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.job_rules import MAX_PRIORITY

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Ageing:
    """A wait of each `interval` (microseconds) is worth `step`, up to the greatest priority that there is.

    What has grown that far comes before what has just been made with it, for among equals the oldest is first. A large
    backlog must not grow past everything as one: only the first `at_once` of each demand and priority grow at a time.
    So it moves, and what is important still passes most of it.
    """

    interval: int
    step: int
    at_once: int = AT_ONCE
    top: int = MAX_PRIORITY

    def priority(self, said: int, waited: int) -> int:
        """What a priority counts for after so long a wait."""
        return min(self.top, said + self.step * max(0, waited // self.interval))
