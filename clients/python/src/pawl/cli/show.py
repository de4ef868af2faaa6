"""How answers look: tables and cards for people, JSON and YAML for programs.

Ids and names are never cut: a column that must give way folds. Times are told twice, as a distance and as a time of
day in the local zone. Knows messages by shape alone; what is worth showing is each command's to say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from pawl.cli.session import Output, Session
from pawl.protojson import to_value

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import RenderableType

    from pawl.v1.types_pb2 import Payload

STYLES: Final = {
    "SUCCEEDED": "green", "ENABLED": "green", "ACTIVE": "green", "ONLINE": "green", "READY": "green",
    "SERVING": "green",
    "RUNNING": "cyan", "DISPATCHED": "cyan", "LOCKED": "cyan",
    "PENDING": "yellow", "WAITING_RETRY": "yellow", "DRAINING": "yellow", "STORED": "yellow", "DEGRADED": "yellow",
    "SUSPENDED": "yellow", "PAUSED": "yellow", "BLOCKED": "yellow", "DISCONNECTED": "yellow",
    "FAILED": "red", "TIMED_OUT": "red", "LOST": "red", "REJECTED": "red", "NOT_SERVING": "red",
}  # fmt: skip
NARROW: Final = 100
STEPS: Final = ((60, 1, "s"), (3600, 60, "m"), (86_400, 3600, "h"), (float("inf"), 86_400, "d"))


def answer(session: Session, message: Message, people: RenderableType) -> None:
    """Print an answer: the message itself for programs, what `people` holds for people."""
    if session.table:
        session.out().print(people)
    else:
        structured(session, to_value(message))


def structured(session: Session, value: Any) -> None:
    """Print data as JSON or YAML."""
    if session.output == Output.YAML:  # not `is`: the command line may give a plain str
        import yaml

        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)


def status(name: str) -> Text:
    """A status word in its colour, with a mark for those who see none."""
    return Text(f"● {name}", style=STYLES.get(name, "dim"), no_wrap=True)


def table(*columns: str) -> Table:
    """A table without lines; the first column, usually an id, is never cut."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold dim", expand=False)
    for index, column in enumerate(columns):
        made.add_column(column.upper(), no_wrap=index == 0, overflow="fold")
    return made


def card(rows: Iterable[tuple[str, RenderableType | None]]) -> Table:
    """One thing, a line per fact; facts that are empty are left out."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value is not None and value != "":
            made.add_row(name, value)
    return made


def listing(session: Session, message: Any, people: Table, nothing: str) -> None:
    """Print a page of a list; for people with a word on what is left out."""
    if not session.table:
        structured(session, to_value(message))
        return
    if not message.data:
        session.note(nothing)
        return
    session.out().print(people)
    if message.has_more and not session.quiet:
        more = f"{len(message.data)} of {message.total}{'+' if message.total_is_estimate else ''}"
        session.err().print(f"{more}; more: --page-token {message.next_page_token}", style="dim", soft_wrap=True)


def when(session: Session, message: Any, field: str) -> Text | None:
    """An instant of a message as a distance and a time of day; None where it is unset."""
    if not message.HasField(field):
        return None
    return instant(getattr(message, field), narrow=session.out().width < NARROW)


def instant(at: Timestamp, *, narrow: bool = False) -> Text:
    """An instant as a distance and a time of day."""
    then = at.ToDatetime(UTC)
    return Text.assemble(distance(then), " ", (clock(then, narrow=narrow), "dim"), no_wrap=True)


def distance(then: datetime, now: datetime | None = None) -> str:
    """How long ago, or in how long."""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = span(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for below, size, unit in STEPS:
        if seconds < below:
            return (
                f"{seconds:.1f}s"
                if seconds < 10 and not float(seconds).is_integer()
                else f"{seconds // size:.0f}{unit}"
            )
    raise AssertionError("the last step has no end")


def clock(then: datetime, *, narrow: bool = False) -> str:
    """The time of day, with as much of the date as today does not say."""
    local, today = then.astimezone(), datetime.now(UTC).astimezone()
    hour = "%H:%M" if narrow else "%H:%M:%S"
    if local.date() == today.date():
        return local.strftime(hour)
    return local.strftime(f"%m-%d {hour}" if local.year == today.year else f"%Y-%m-%d {hour}")


def words(values: dict[str, str] | Any) -> str:
    """A map as name=value."""
    return " ".join(f"{name}={values[name]}" for name in sorted(values))


def command_line(parts: Sequence[str]) -> str:
    """A program and its arguments as a shell would read them."""
    import shlex

    return shlex.join(parts)


def payload_text(held: Payload) -> str:
    """A payload for a person's eyes."""
    from pawl.payload import is_json

    if is_json(held) or held.content_type.startswith("text/"):
        return held.data.decode("utf-8", "replace").rstrip("\n")
    return f"({len(held.data):,} bytes of {held.content_type})"


def write_payload(held: Payload) -> None:
    """A payload's bytes on stdout, as they are; at a terminal with an end of line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(held.data)
    if sys.stdout.isatty() and not held.data.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def enum_name(message: Any, field: str) -> str:
    """The bare name of an enum field's value."""
    number = getattr(message, field)
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if known is None else str(known.name)
