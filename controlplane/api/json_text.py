"""JSON as it may come in: UTF-8, no key twice, no NaN, bounded nesting. Everything else is refused in words.

The scanner is the standard library's, steered value by value: that is what gives a payload's own slice of the body.
Not here: what the values mean (`json_in.py`).
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable
from itertools import accumulate
from json.decoder import scanstring  # type: ignore[attr-defined] # public for json.scanner; the stubs lack it
from typing import Any, NoReturn

from controlplane.domain.errors import Exhausted, Invalid

MAX_DEPTH = 100
MAX_VALUES = 1_000_000  # ten mebibytes of `[[],[],...]` would be a gigabyte of objects and seconds of work

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HALF_PAIR = re.compile(r"\\u[dD][89abAB]")
_BRACKETS = bytes({91: 1, 123: 1, 93: 255, 125: 255}.get(code, 0) for code in range(256))
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_CHUNK = 1 << 16


def malformed(problem: str, **facts: str) -> Invalid:
    """What is no JSON that we take."""
    return Invalid(problem, reason="MALFORMED_REQUEST", facts=facts)


def read_text(body: bytes) -> str:
    """The body as text, its nesting measured. Raises Invalid."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"the body is no UTF-8 (byte {error.start})")
    if text.startswith("\ufeff"):
        raise malformed("the body starts with a byte order mark")
    opened = body.count(b"[") + body.count(b"{")
    if opened > MAX_DEPTH:
        _check_depth(body)
    if opened + body.count(b",") > MAX_VALUES:
        _check_values(body)
    if _HALF_PAIR.search(text):
        _check_surrogates(text)
    return text


def _check_depth(body: bytes) -> None:
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NO_BRACKETS)
    depth = 0
    for start in range(0, len(brackets), _CHUNK):
        levels = list(accumulate(array("b", brackets[start : start + _CHUNK]), initial=depth))
        if max(levels) > MAX_DEPTH:
            raise malformed(f"the JSON is nested deeper than {MAX_DEPTH} levels")
        depth = levels[-1]


def _check_values(body: bytes) -> None:
    bare = _STRING.sub(b"", body)
    if bare.count(b"[") + bare.count(b"{") + bare.count(b",") > MAX_VALUES:
        raise Exhausted(
            f"the JSON holds more than {MAX_VALUES} values", reason="TOO_LARGE", facts={"limit_values": str(MAX_VALUES)}
        )


def _check_surrogates(text: str) -> None:
    """Half of a surrogate pair is a string that no other JSON reader can hold."""
    try:
        json.dumps(scan_whole(text), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise malformed("the JSON holds half of a surrogate pair")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise malformed(f"the key {key[:64]!r} stands twice in one object", key=key)
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise malformed(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    # Python refuses to convert numbers of thousands of digits; a payload may hold them, no field of ours can.
    return int(digits) if len(digits) < 400 else float("inf")


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer)
# The decoder without its skipping of white space; the stubs lack it.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined] # see above


def scan(text: str, start: int) -> tuple[Any, int]:
    """The value that starts here and where it ends. Raises Invalid."""
    try:
        return _scan(text, start)
    except StopIteration as stop:
        raise malformed(f"the JSON is malformed at character {stop.value}")
    except json.JSONDecodeError as error:
        raise malformed(f"the JSON is malformed: {error.msg} at character {error.pos}")
    except RecursionError:
        raise malformed("the JSON is nested too deep")


def scan_whole(text: str) -> Any:
    """The one value in a text. Raises Invalid."""
    value, end = scan(text, skip(text, 0))
    check_end(text, end)
    return value


def skip(text: str, start: int) -> int:
    """Past white space."""
    if text[start : start + 1] > " ":  # the usual case, without a search
        return start
    found = _SPACE.match(text, start)
    assert found is not None
    return found.end()


def check_end(text: str, end: int) -> None:
    """Nothing comes after the value. Raises Invalid."""
    end = skip(text, end)
    if end != len(text):
        raise malformed(f"the JSON goes on after its end, at character {end}")


def walk_object(text: str, start: int, member: Callable[[str, int], int]) -> int:
    """Call `member(key, start of its value)`, which gives back the value's end, for each member. Raises Invalid."""
    position = skip(text, start + 1)
    if text[position : position + 1] == "}":
        return position + 1
    seen: set[str] = set()
    while True:
        if text[position : position + 1] != '"':
            raise malformed(f"the JSON is malformed: expected a key at character {position}")
        try:
            key, position = scanstring(text, position + 1, True)
        except json.JSONDecodeError as error:
            raise malformed(f"the JSON is malformed: {error.msg} at character {error.pos}")
        if key in seen:
            raise malformed(f"the key {key[:64]!r} stands twice in one object", key=key)
        seen.add(key)
        position = skip(text, position)
        if text[position : position + 1] != ":":
            raise malformed(f"the JSON is malformed: expected ':' at character {position}")
        position = skip(text, member(key, skip(text, position + 1)))
        following = text[position : position + 1]
        if following == "}":
            return position + 1
        if following != ",":
            raise malformed(f"the JSON is malformed: expected ',' or '}}' at character {position}")
        position = skip(text, position + 1)


def walk_array(text: str, start: int, item: Callable[[int, int], int]) -> int:
    """The same for the items of a list: `item(index, start)`. Raises Invalid."""
    position = skip(text, start + 1)
    if text[position : position + 1] == "]":
        return position + 1
    index = 0
    while True:
        position = skip(text, item(index, position))
        following = text[position : position + 1]
        if following == "]":
            return position + 1
        if following != ",":
            raise malformed(f"the JSON is malformed: expected ',' or ']' at character {position}")
        position = skip(text, position + 1)
        index += 1
