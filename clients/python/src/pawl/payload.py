"""A user's values as payloads, and payloads as values. Equal values give equal bytes, in every SDK.

JSON is written canonically (RFC 8785: members sorted, no spaces, numbers as ECMAScript writes them), except that
integers of any size are written out in full. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pawl.v1.types_pb2 import Payload

JSON = "application/json"
BYTES = "application/octet-stream"


def payload(value: Any) -> Payload:
    """A Payload stays, bytes stay bytes, everything else becomes JSON. Raises TypeError, ValueError."""
    if isinstance(value, Payload):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return Payload(data=bytes(value), content_type=BYTES)
    return Payload(data=canonical_json(value).encode(), content_type=JSON)


def value_of(held: Payload) -> Any:
    """The value in a payload: JSON read, text as str, everything else as bytes. Raises ValueError for broken JSON."""
    if is_json(held):
        return json.loads(held.data)
    if held.content_type.startswith("text/"):
        return held.data.decode("utf-8", "replace")
    return held.data


def is_json(held: Payload) -> bool:
    """Whether a payload says that it is JSON."""
    return held.content_type.partition(";")[0].strip().lower() in ("", JSON)


def canonical_json(value: Any) -> str:
    """JSON with one spelling for each value. Raises TypeError for what is not JSON, ValueError for NaN, cycles."""
    try:
        return "".join(_pieces(value))
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None


def _pieces(value: Any) -> list[str]:
    if value is None or isinstance(value, bool):
        return [{None: "null", True: "true", False: "false"}[value]]
    if isinstance(value, str):
        return [_text(value)]
    if isinstance(value, int):
        return [int.__repr__(value)]
    if isinstance(value, float):
        return [_number(value)]
    pieces: list[str] = []
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"a JSON object's members have text names, not {name!r}")
        for name in sorted(value, key=lambda one: one.encode("utf-16-be", "surrogatepass")):
            pieces += [",", _text(name), ":", *_pieces(value[name])]
        return ["{", *pieces[1:], "}"]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        for item in value:
            pieces += [",", *_pieces(item)]
        return ["[", *pieces[1:], "]"]
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value[:40]!r} has a lone surrogate, which no JSON text may have") from None
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript's Number::toString, which differs from Python's repr in where exponents begin."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    if value == 0:
        return "0"
    sign, digits, shift = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(shift)
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        text = f"{text[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"-{text}" if sign else text
