"""What the server says of itself, on stderr: how a line is made, and how much is said, which can change while it runs.

One line per happening, for people or as JSON; also what libraries say through `logging`. A line that is written while a
call is answered carries that call's ids (`about_this_call`), so that a caller's request id or trace finds it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

SEVERITIES: Final = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
# Whose level may be changed: our own, and libraries whose words hold nothing of a user's. Not SQLAlchemy: it would
# print what is stored.
FAMILIES: Final = ("controlplane", "asyncio", "apscheduler", "grpc", "opentelemetry", "uvicorn")

# Ours that have a name of their own. They come into being with their first line, which may be long after a change.
OWN: Final = tuple(
    f"controlplane.{name}"
    for name in ("agents", "api", "calls", "dev", "link", "loops", "results", "retention", "store", "upkeep")
)

Event = MutableMapping[str, Any]


class Ids(Protocol):
    """What a line of the log says of the call it belongs to."""

    def ids(self) -> Mapping[str, str]:
        """Request id, and trace and span where there is a trace."""
        ...


about_this_call: ContextVar[Ids | None] = ContextVar("about_this_call", default=None)


def set_up_logging(*, level: str = "info", json: bool = False) -> None:
    """Once, before anything is said."""
    number = severity_of(level)
    shared: list[Any] = [
        _with_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _one_line,
    ]
    # Plain traces: the rich ones print local variables, and those hold credentials and users' payloads.
    plain = structlog.dev.plain_traceback
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    if json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # What a web server says of its own start and end is said by us already.
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def severity_of(word: str) -> int:
    """The number of a level by its name in any case; `warn` is `warning`."""
    return SEVERITIES["WARNING" if word.upper() == "WARN" else word.upper()]


def _with_ids(_: Any, __: str, event: Event) -> Event:
    call = about_this_call.get()
    if call is not None:
        for name, value in call.ids().items():
            event.setdefault(name, value)
    return event


def _one_line(_: Any, __: str, event: Event) -> Event:
    """What callers sent may stand in a line: it must not be able to begin another one, nor colour a terminal."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = value.encode("unicode_escape").decode("ascii")
    return event


class Sparing:
    """Lets so many lines a second through, and counts the others: a flood of refused calls must not fill a disk."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._said = 0
        self._held_back = 0

    def admits(self) -> bool:
        """Whether this line may be written."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._said = second, 0
        self._said += 1
        if self._said > self._per_second:
            self._held_back += 1
            return False
        return True

    def take_held_back(self) -> int:
        """How many were not written since this was last asked."""
        held_back, self._held_back = self._held_back, 0
        return held_back


@dataclass(frozen=True, slots=True)
class Change:
    """A level that was changed; `until` is an instant of time.monotonic(), None where it does not end by itself."""

    level: int
    until: float | None


class LogLevels:
    """The levels of this process's loggers. `later` calls a function after so many seconds (a loop's call_later)."""

    def __init__(self, configured: str, later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._configured = severity_of(configured)
        self._later = later
        self._changes: dict[str, Change] = {}

    @property
    def configured(self) -> str:
        """What the settings say."""
        return logging.getLevelName(self._configured)

    @property
    def level(self) -> str:
        """What holds where nothing else is said."""
        return logging.getLevelName(logging.getLogger().level)

    def changed(self) -> Mapping[str, Change]:
        """Changes that hold now, by logger; the root is the empty name."""
        return dict(self._changes)

    def knows(self, name: str) -> bool:
        """Whether the level of this logger may be changed."""
        if name in FAMILIES or name in OWN or not name:
            return True
        return name.startswith(tuple(f"{one}." for one in FAMILIES)) and any(
            known == name or known.startswith(f"{name}.") for known in logging.root.manager.loggerDict
        )

    def change(self, name: str, level: str | None, seconds: float = 0.0) -> None:
        """Set a level, or what the settings say (None). It goes back by itself after so many seconds, if any."""
        if level is None:
            self._restore(name)
            return
        change = Change(severity_of(level), time.monotonic() + seconds if seconds > 0 else None)
        self._changes[name] = change
        logging.getLogger(name).setLevel(change.level)
        if seconds > 0:
            self._later(seconds, lambda: self._over(name, change))

    def configure(self, level: str) -> None:
        """The settings say something else now. What was changed by hand keeps its time."""
        self._configured = severity_of(level)
        if "" not in self._changes:
            logging.getLogger().setLevel(self._configured)

    def _over(self, name: str, change: Change) -> None:
        if self._changes.get(name) is change:  # else it was changed again meanwhile
            self._restore(name)
            structlog.get_logger("controlplane").info("log level is back", of=name or "all", to=self.level)

    def _restore(self, name: str) -> None:
        self._changes.pop(name, None)
        quiet = max(self._configured, logging.WARNING) if name == "uvicorn.error" else logging.NOTSET
        logging.getLogger(name).setLevel(self._configured if not name else quiet)
