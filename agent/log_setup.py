"""What the agent says of itself, on stderr: one line per happening, for people or as JSON.

A line that is written while an attempt is worked on carries the attempt's ids, with those of its trace, so that a task
or a trace finds it. What programs print is not in here: that is the log of their instance.
"""

from __future__ import annotations

import json as jsons
import logging
import sys
from datetime import UTC, datetime

from agent.spans import attempt_ids

CHATTY = ("asyncio", "grpc")


class Lines(logging.Formatter):
    """One line for people: when, how grave, who, what, and which attempt."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 # logging's name
        """As ISO 8601 in UTC, like the server's."""
        del datefmt
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's name
        """What comes from outside may stand in a line: it must not begin another one, nor colour a terminal."""
        line = one_line(super().formatMessage(record))
        ids = attempt_ids.get()
        return line if ids is None else " ".join((line, *(f"{name}={one_line(value)}" for name, value in ids.items())))


class JsonLines(Lines):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """The same facts, each under its name."""
        found = {
            "timestamp": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **(attempt_ids.get() or {}),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return jsons.dumps(found, ensure_ascii=False)


def set_up_logging(level: str, *, json: bool) -> None:
    """What the agent and its libraries say goes to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json else Lines())
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """How much is said, from now on."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(root.level, logging.INFO))


def one_line(text: str) -> str:
    """The text without what ends a line or means something to a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
