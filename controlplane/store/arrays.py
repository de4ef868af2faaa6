"""Columns of many rows as PostgreSQL takes them: arrays in binary.

The driver makes arrays of lists as well, but asks anew for each list what its elements are, and each of them for its
bytes. The rows of a task have seventy columns, and what they hold is known here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

_HEAD: Final = struct.Struct(">iiIii").pack
"""Dimensions, whether an element is null, the element's type; then of the dimension how many, and the first's index."""
_LENGTH: Final = struct.Struct(">i").pack
_NULL: Final = _LENGTH(-1)


class Kind(NamedTuple):
    """A type of elements: its name, its number in PostgreSQL, which never changes, and what makes bytes of them."""

    name: str
    number: int
    pack: Callable[[Sequence[Any]], bytes]


def array_of(kind: Kind, values: Sequence[Any]) -> bytes:
    """These values, of which there is one at least; None is null."""
    first, count = values[0], len(values)
    if values[-1] == first and values.count(first) == count:  # most columns of a batch say the same of every row
        one = _NULL if first is None else kind.pack((first,))
        return _HEAD(1, int(first is None), kind.number, count, 1) + one * count
    if None not in values:
        return _HEAD(1, 0, kind.number, count, 1) + kind.pack(values)
    parts = [_NULL if value is None else kind.pack((value,)) for value in values]
    return _HEAD(1, 1, kind.number, count, 1) + b"".join(parts)


def _fixed(code: str) -> Callable[[Sequence[Any]], bytes]:
    """Numbers of one length: all of them at once."""
    size = struct.calcsize(">" + code)

    @lru_cache(maxsize=64)
    def packer(count: int) -> Callable[..., bytes]:
        return struct.Struct(">" + f"i{code}" * count).pack

    def pack(values: Sequence[Any]) -> bytes:
        return packer(len(values))(*chain.from_iterable(zip(repeat(size), values)))

    return pack


def _long(to_bytes: Callable[[Any], bytes]) -> Callable[[Sequence[Any]], bytes]:
    """What has a length of its own."""

    def pack(values: Sequence[Any]) -> bytes:
        parts: list[bytes] = []
        for value in values:
            one = to_bytes(value)
            parts += (_LENGTH(len(one)), one)
        return b"".join(parts)

    return pack


def id_bytes(value: str) -> bytes:
    """The 16 bytes of an id."""
    return bytes.fromhex(value.replace("-", ""))


def _ids(values: Sequence[str]) -> bytes:
    """Ids with their lengths, all of them at once."""
    return bytes.fromhex("".join([f"{_ID_LENGTH}{value}" for value in values]).replace("-", ""))


_ID_LENGTH: Final = _LENGTH(16).hex()
ID: Final = Kind("uuid", 2950, _ids)
COUNT: Final = Kind("bigint", 20, _fixed("q"))
_KINDS: Final = (
    (sa.SmallInteger, Kind("smallint", 21, _fixed("h"))),
    (sa.BigInteger, COUNT),
    (sa.Integer, Kind("integer", 23, _fixed("i"))),
    (sa.Boolean, Kind("boolean", 16, _fixed("?"))),
    (sa.Double, Kind("double precision", 701, _fixed("d"))),
    (sa.String, Kind("text", 25, _long(str.encode))),
    (sa.LargeBinary, Kind("bytea", 17, _long(bytes))),
)


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """What a column of this type holds, if that is no id. Text without its length: a cast to VARCHAR(n) would cut what
    is too long, and the column refuses it.
    """
    return next(kind for one, kind in _KINDS if isinstance(type_, one))


def id_text(value: bytes) -> str:
    """An id's text, of its 16 bytes."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
