"""The bytes of requests that are being worked on, over both fronts together: beyond a bound new ones are refused.

Doors and connections bound how many calls there are; this bounds what they weigh, for a call may bring 10 MiB.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from controlplane.domain.errors import Exhausted

MAX_IN_HAND = 128 << 20


class Intake:
    """Counts what is in hand. One for a control plane."""

    def __init__(self, most: int | None = None) -> None:
        self.in_hand = 0
        self.most = MAX_IN_HAND if most is None else most

    def hold(self, size: int = 0) -> Hold:
        """What one request brings: so many bytes at once, more as they come. Raises Exhausted."""
        held = Hold(self)
        held.take(size)
        return held


class Hold:
    """The bytes of one request; forgotten at the end of the `with` block."""

    __slots__ = ("_intake", "_size")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._size = 0

    def take(self, size: int) -> None:
        """So many more. Raises Exhausted."""
        intake = self._intake
        if size and intake.in_hand + size > intake.most:
            raise Exhausted(
                f"requests of {intake.in_hand} bytes are being worked on; the limit is {intake.most}: come back soon",
                facts={"limit_bytes": str(intake.most)},
                retry_after_seconds=1.0,
            )
        intake.in_hand += size
        self._size += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._intake.in_hand -= self._size
        self._size = 0
