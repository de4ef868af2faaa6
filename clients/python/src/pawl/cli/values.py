"""What people type, as values: names and values, JSON or a file of it, times. Errors name the option."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from pawl.v1.types_pb2 import Payload

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SHORTEST_SPAN: Final = 0.001


def pairs(given: Iterable[str] | None, option: str) -> dict[str, str]:
    """`name=value`, several times."""
    read: dict[str, str] = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"write it as NAME=VALUE, not {one!r}", param_hint=option)
        read[name] = value
    return read


def text_or_file(given: str) -> bytes:
    """The words themselves, `@file`, or `@-` for stdin."""
    if not given.startswith("@"):
        return given.encode()
    return read_file(given[1:])


def read_file(name: str) -> bytes:
    """A file's bytes; `-` is stdin."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {name}: {error.strerror}") from None


def json_payload(given: str, option: str) -> Payload:
    """JSON or a file of it as a payload, its bytes as they were written."""
    from pawl.payload import JSON
    from pawl.v1.types_pb2 import Payload

    data = text_or_file(given).strip()
    json_value(data, option)
    return Payload(data=data, content_type=JSON)


def json_value(data: bytes | str, option: str) -> Any:
    """JSON, read."""
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        raise typer.BadParameter("is not UTF-8 text", param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(
            f"is not JSON: {error}. Text needs quotes of its own: '\"text\"'", param_hint=option
        ) from None


def span(given: str, option: str) -> float:
    """Seconds: `90`, `0.5`, or with a unit, `30s`, `5m`, `2h`, `1d`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)", given.strip())
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if seconds < SHORTEST_SPAN:
        raise typer.BadParameter(
            f"{given!r} is no length of time: write seconds, or 30s, 5m, 2h, 1d", param_hint=option
        )
    return seconds


def moment(given: str, option: str) -> datetime:
    """`2026-01-31T08:00` (local unless it says a zone), `08:00` today or tomorrow, or `+90s`, `+5m`, `+2h`, `+1d`."""
    now = datetime.now(UTC)
    relative = re.fullmatch(r"\+(\d+(?:\.\d+)?)([smhd])", given)
    if relative:
        return now + timedelta(seconds=float(relative[1]) * _UNITS[relative[2]])
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", given)
    try:
        if clock:
            local = now.astimezone()
            at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
            return at if at > local else at + timedelta(days=1)
        return datetime.fromisoformat(given).astimezone(UTC)
    except ValueError:
        raise typer.BadParameter(
            f"{given!r} is no time: write 2026-01-31T08:00, 08:00, or +5m", param_hint=option
        ) from None
