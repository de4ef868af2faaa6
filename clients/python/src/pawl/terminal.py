"""Whether the terminal that a program was started at is still there, which decides what a SIGHUP means.

A service that gets one is asked to read its settings again. A program whose terminal was closed gets the same signal,
and whoever closed it does not expect it to live on and to hold its ports.
"""

from __future__ import annotations

import os


class Terminal:
    """The terminal of this process's standard streams, if it has one."""

    def __init__(self) -> None:
        self._was = _is_there()

    @property
    def gone(self) -> bool:
        """Whether there was one at the start, and is none now."""
        return self._was and not _is_there()


def _is_there() -> bool:
    return any(os.isatty(descriptor) for descriptor in range(3))  # a stream whose terminal hung up is none
