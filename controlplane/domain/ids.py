"""Ids and names: what they look like and which are allowed.

Ids are UUIDv7 in canonical text; their first 48 bits are milliseconds since the epoch, from which a row's partition
follows. Not here: making ids, which needs a clock and chance (`controlplane.wiring` passes a maker in).
"""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
RESERVED_NAMES = frozenset({"item", "page", "query", "create"})
NAME_RULE = (
    "must match [A-Za-z0-9][A-Za-z0-9._-]{0,62}, not look like a UUID, and not be one of item, page, query, create"
)


def is_id(text: str) -> bool:
    """Whether this is a UUID in text form; upper case is read as well."""
    return UUID.fullmatch(text.lower()) is not None


def name_problem(name: str) -> str | None:
    """What is wrong with a name, or None."""
    if NAME.fullmatch(name) is None or is_id(name) or name.lower() in RESERVED_NAMES:
        return NAME_RULE
    return None


def id_at(instant: int, chance: int) -> str:
    """The UUIDv7 of an instant (microseconds UTC) and 62 random bits. The twelve bits after the milliseconds hold the
    microseconds (RFC 9562, 6.2, method 3), so ids rise as instants do, and as `chance` does within one.
    """
    milliseconds, rest = divmod(instant, 1000)
    digits = f"{milliseconds << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | chance:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_time(uuid7: str) -> int:
    """The instant inside a UUIDv7, microseconds UTC, to the millisecond."""
    return int(uuid7[:8] + uuid7[9:13], 16) * 1000


def first_id_at(instant: int) -> str:
    """The smallest UUIDv7-shaped id of this instant (microseconds UTC): a bound for ranges and partitions."""
    digits = f"{max(0, instant) // 1000:012x}"
    return f"{digits[:8]}-{digits[8:12]}-0000-0000-000000000000"
