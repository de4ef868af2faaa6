"""Single values between JSON, text and protobuf: numbers, enums, bytes, instants, durations, masks.

Strict where Python is lenient: no `1_0`, no blanks, no digits of other scripts, no bad base64. Every function takes a
JSON value (text of a query is a str) and raises `Bad` with what is allowed; paths are the callers' business.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Reader = Callable[[Any], Any]


class Bad(Exception):
    """A value that is not allowed. `path` grows on the way out."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def inside(self, name: str) -> Bad:
        """The same, seen from the message around it."""
        separator = "" if not self.path or self.path.startswith("[") else "."
        self.path = f"{name}{separator}{self.path}"
        return self


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[-+][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*|[A-Za-z0-9_-]*", re.ASCII)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s", re.ASCII)
_MASK_PATH = re.compile(r"\*|[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_UPPER = re.compile(r"[A-Z]")
_LOWER = re.compile(r"_([a-z])")
_MAX_DURATION = 315_576_000_000


def read_string(value: Any) -> str:
    """Text, without halves of surrogate pairs."""
    if not isinstance(value, str):
        raise Bad(f"must be a string, not {kind_of(value)}")
    return value


def read_bool(value: Any) -> bool:
    """true or false; from a query their names."""
    if isinstance(value, bool):
        return value
    raise Bad(f"must be true or false, not {kind_of(value)}")


def read_bool_text(value: str) -> bool:
    """A yes or no in a query."""
    if value not in ("true", "false"):
        raise Bad("must be true or false")
    return value == "true"


def integer_reader(low: int, high: int) -> Reader:
    """A whole number in a range: as a number (1, 1.0, 1e2) or in a string."""

    def read(value: Any) -> int:
        if isinstance(value, str):
            if _INTEGER.fullmatch(value) and len(value) <= 20:
                value = int(value)
            elif _NUMBER.fullmatch(value) and len(value) <= 64:
                value = _whole(value)
            else:
                raise Bad("must be a whole number")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            found = "" if isinstance(value, float) else f", not {kind_of(value)}"
            raise Bad(f"must be a whole number{found}")
        if not low <= value <= high:
            raise Bad(f"must lie between {low} and {high}")
        return value

    return read


def _whole(text: str) -> int | float:
    """A number with a point or an exponent, to the last digit: a float would round beyond 2^53."""
    number = Decimal(text)
    if number.is_zero() or (number.adjusted() < 20 and number == number.to_integral_value()):
        return int(number)
    return float(text)


def read_double(value: Any) -> float:
    """A number; NaN and the infinities by their names, as protobuf's JSON has them."""
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if not _NUMBER.fullmatch(value) or len(value) > 400:
            raise Bad("must be a number")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Bad(f"must be a number, not {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise Bad("is too large for a number")
    return number


def read_float(value: Any) -> float:
    """A number that 32 bits can hold."""
    number = read_double(value)
    if math.isinf(_as_float(number)) and not math.isinf(number):
        raise Bad("is too large for a 32-bit number")
    return number


def read_bytes(value: Any) -> bytes:
    """Base64 or base64url, one or the other, with all of its padding or none; nothing else in between."""
    text = read_string(value)
    bare = text.rstrip("=")
    if _BASE64.fullmatch(bare) and len(bare) % 4 != 1 and (bare == text or len(text) == len(bare) + -len(bare) % 4):
        return base64.b64decode(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4))
    raise Bad("must be base64")


def enum_reader(descriptor: EnumDescriptor) -> Reader:
    """An enum by bare name in any case, full name, or number (unknown ones are the domain's to refuse)."""
    numbers: dict[str, int] = {}
    for one in descriptor.values:
        for name in (one.name, f"{descriptor.full_name}.{one.name}", f"{descriptor.name}.{one.name}"):
            numbers.setdefault(name.upper(), one.number)
    # Names as they are written come first: two may differ in nothing but case.
    exact = {one.name: one.number for one in descriptor.values}
    listed = ", ".join(one.name for one in descriptor.values if one.number)
    whole = integer_reader(-(2**31), 2**31 - 1)

    def read(value: Any) -> Any:
        if isinstance(value, str):
            found = exact.get(value)
            if found is None:
                found = numbers.get(value.upper())
            if found is not None:
                return found
            if not _INTEGER.fullmatch(value):
                raise Bad(f"must be one of {listed}, not {value[:64]!r}")
        return whole(value)

    return read


def read_timestamp(value: Any) -> dict[str, int]:
    """RFC 3339 with a zone."""
    found = _TIME.fullmatch(read_string(value))
    if found is None:
        raise Bad("must be an instant such as 2026-01-31T12:00:00Z")
    day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        seconds = int((moment - _EPOCH).total_seconds())
    except (ValueError, OverflowError):
        raise Bad("is no instant of the calendar")
    if not _FIRST <= seconds <= _LAST:
        raise Bad("must lie in the years 0001 to 9999")
    return {"seconds": seconds, "nanos": int((fraction or "").ljust(9, "0"))}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799


def read_duration(value: Any) -> dict[str, int]:
    """Seconds with an `s`: `1.5s`."""
    found = _DURATION.fullmatch(read_string(value))
    if found is None:
        raise Bad("must be a duration such as 1.5s")
    sign, whole, fraction = found.groups()
    seconds, nanos = int(whole), int((fraction or "").ljust(9, "0"))
    if seconds > _MAX_DURATION:
        raise Bad("is too long")
    return {"seconds": -seconds if sign else seconds, "nanos": -nanos if sign else nanos}


def read_mask(value: Any) -> dict[str, list[str]]:
    """Paths with commas between, in either case of letters."""
    text = read_string(value)
    paths = text.split(",") if text else []
    for path in paths:
        if not _MASK_PATH.fullmatch(path):
            raise Bad("must be field paths with commas between, such as name,config.timeout")
    return {"paths": [snake_path(path) for path in paths]}


def snake_path(path: str) -> str:
    """config.maxRetries → config.max_retries; a path with an underline is in snake_case already."""
    return path if "_" in path else _UPPER.sub(lambda one: "_" + one[0].lower(), path)


def camel_path(path: str) -> str:
    """config.max_retries → config.maxRetries."""
    return _LOWER.sub(lambda one: one[1].upper(), path)


def write_timestamp(seconds: int, nanos: int) -> str:
    """RFC 3339 in UTC with microseconds, always; what is finer, and is nothing of ours, is not lost."""
    return f"{_second(seconds)}.{nanos // 1000:06d}Z" if nanos % 1000 == 0 else f"{_second(seconds)}.{nanos:09d}Z"


@lru_cache(maxsize=8192)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def write_duration(seconds: int, nanos: int) -> str:
    """Seconds with as many decimals as it takes."""
    sign = "-" if seconds < 0 or nanos < 0 else ""
    fraction = f"{abs(nanos):09d}".rstrip("0")
    return f"{sign}{abs(seconds)}{'.' + fraction if fraction else ''}s"


def write_double(value: float) -> float | str:
    """A number, or the name of what JSON has no number for."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def write_float(value: float) -> float | str:
    """The shortest decimal that gives the same 32-bit number."""
    for digits in range(6, 9):
        shown = float(f"{value:.{digits}g}")
        if _as_float(shown) == value:
            return write_double(shown)
    return write_double(value if not math.isfinite(value) else float(f"{value:.9g}"))


def _as_float(value: float) -> float:
    """Rounded to 32 bits; infinite beyond their range."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.inf
    return rounded


def kind_of(value: Any) -> str:
    """What a JSON value is, in a caller's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "a string", dict: "an object", list: "a list"}
    return names.get(type(value), "a number")


_F = FieldDescriptor
SCALARS: dict[int, Callable[[Any], Any]] = {
    _F.TYPE_STRING: read_string,
    _F.TYPE_BOOL: read_bool,
    _F.TYPE_BYTES: read_bytes,
    _F.TYPE_DOUBLE: read_double,
    _F.TYPE_FLOAT: read_float,
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), integer_reader(-(2**31), 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), integer_reader(-(2**63), 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), integer_reader(0, 2**32 - 1)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), integer_reader(0, 2**64 - 1)),
}
BIG_INTEGERS = frozenset({_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64, _F.TYPE_UINT64, _F.TYPE_FIXED64})
