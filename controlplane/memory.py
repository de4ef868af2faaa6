"""How the process takes memory from the system. Linux with glibc; elsewhere nothing is different."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h


def share_arenas() -> None:
    """Have all threads take memory from the same few pools. Left alone, each thread makes one of its own and keeps what
    it once took there, the largest answer that it ever read. Before there are threads.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
