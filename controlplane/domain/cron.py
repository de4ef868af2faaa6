"""Cron expressions: reading them, and the next instant at which one fires in a time zone.

Pure: an instant comes in as microseconds UTC and goes out the same way; there is no clock here, and the only thing
read is the IANA database, once per zone, by zoneinfo. What a schedule does with its slots (window, missed slots) is in
`schedule.py`.

Forms
    5 fields  minute hour day-of-month month day-of-week
    6 fields  second first
    7 fields  second first, year (1970-2099) last
    @hourly @daily @midnight @weekly @monthly @yearly @annually

Terms, joined by commas
    *  a  a-b  */n  a/n (from a to the field's end)  a-b/n  JAN-DEC  SUN-SAT
    ?            in one of day-of-month and day-of-week: this field does not restrict
    L  L-3  LW  L-3W  15W      day-of-month: last day, third before it, last weekday, weekday nearest to the 15th
    5L  FRIL  MON#2            day-of-week: the last Friday, the second Monday of the month
    H  H(0-29)  H/15           a value drawn from the caller's seed: equal for equal seeds, spread over many

Decided where cron dialects disagree
    Numbers of weekdays. 0 or 7 is Sunday and 1 Monday (Unix), except in a Quartz expression, where 1 is Sunday and
    7 Saturday. An expression is Quartz when it has 7 fields, or 6 fields and a `?`. Names mean the same everywhere.
    Both day fields restricted: either may match, as in Unix; `0 0 13 * FRI` is each 13th and each Friday. A field
    that starts with `*` or is `?` does not count as restricted, then both must match.
    Ranges that wrap. SAT-MON in every form, since a week is a circle; 22-2 and NOV-FEB in Quartz expressions only,
    as there; days of the month and years never.
    A month without the day has no fire: `31W` skips April, as `31` does; `LW` is there for the end of the month.
    A step beyond the field (`*/90` minutes) is refused: it never does what its author meant.

Where the clock of the zone jumps
    An entry with fixed hours runs once: at the first valid instant after a gap that swallowed it, and only at the
    first of two equal times. An entry whose hour field is `*`, has a step or names all 24 hours follows elapsed time:
    it fires at every instant whose local time matches, so the hour that comes twice fires twice and none is moved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND_US = 1_000_000
_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time of no zone yet: the zone is what is being asked
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
# Two days of margin, so that no zone's offset leaves the years that datetime can hold.
_FIRST = (date(1, 1, 3).toordinal() - _EPOCH_ORDINAL) * _DAY
_LAST = (date(9999, 12, 29).toordinal() - _EPOCH_ORDINAL) * _DAY
# Any date and weekday that exists at all comes back within 40 years (29 February around a century without one).
_HORIZON_YEARS = 41
MAX_LENGTH = 256

_MONTHS = {"JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6}
_MONTHS |= {"JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12}
_WEEKDAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_SPREAD = re.compile(r"(?<![A-Z])H(?![A-Z])")
_TERM = re.compile(
    r"(?:(?P<star>\*)|H(?:\((?P<low>[A-Z0-9]+)-(?P<high>[A-Z0-9]+)\))?|(?P<first>[A-Z0-9]+)(?:-(?P<last>[A-Z0-9]+))?)"
    r"(?:/(?P<step>[0-9]+))?"
)
_LAST_DAY = re.compile(r"L(?:-(?P<back>[0-9]+))?(?P<weekday>W)?")
_NEAREST = re.compile(r"(?P<day>[0-9]+)W")
_LAST_OF_KIND = re.compile(r"(?P<day>[A-Z]{3}|[0-9]+)L")
_NTH_OF_KIND = re.compile(r"(?P<day>[A-Z0-9]+)#(?P<nth>[0-9]+)")
_ZONE = re.compile(r"(?!posix/|right/|localtime$|posixrules$)[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class CronError(ValueError):
    """The expression cannot be read; `field` and `position` (from 1) say where, or are empty when it is the whole."""

    def __init__(self, message: str, field: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.field = field
        self.position = position


class ZoneError(ValueError):
    """The time zone is not in the IANA database."""


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of that name; ZoneError otherwise. `localtime` and the like differ per machine: refused."""
    if _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of the database, such as "Europe"
            pass
    raise ZoneError(f"{name[:64]!r} is not a time zone; allowed is an IANA name such as 'UTC' or 'Europe/Berlin'")


# ---- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    size: int  # of values that differ: day-of-week has 8 numbers for 7 days
    names: dict[str, int] = field(default_factory=dict)
    wraps: bool = False

    def allowed(self) -> str:
        words = list(self.names)
        return f"{self.low}-{self.high}" + (f" or {words[0]}-{words[-1]}" if words else "")


_SECOND = _Field("second", 0, 59, 60)
_MINUTE = _Field("minute", 0, 59, 60)
_HOUR = _Field("hour", 0, 23, 24)
_DOM = _Field("day-of-month", 1, 31, 31)
_MONTH = _Field("month", 1, 12, 12, _MONTHS)
_DOW_UNIX = _Field("day-of-week", 0, 7, 7, _WEEKDAYS, wraps=True)
_DOW_QUARTZ = _Field("day-of-week", 1, 7, 7, {name: n + 1 for name, n in _WEEKDAYS.items()}, wraps=True)
_YEAR = _Field("year", 1970, 2099, 130)
_H_HIGHEST_DAY = 28  # the last day that every month has


@dataclass(frozen=True, slots=True)
class _Text:
    """One field's text with all that is needed to read it and to say what is wrong with it."""

    field: _Field
    text: str
    position: int
    count: int
    seed: str

    def error(self, problem: str) -> CronError:
        place = f"{self.field.name} (field {self.position} of {self.count})"
        return CronError(f"{place} is {self.text!r}: {problem}", self.field.name, self.position)

    @property
    def restricts(self) -> bool:
        return not self.text.startswith(("*", "?"))

    def terms(self) -> list[str]:
        return self.text.split(",")

    def value(self, word: str) -> int:
        if word in self.field.names:
            return self.field.names[word]
        if word.isdigit() and self.field.low <= int(word) <= self.field.high:
            return int(word)
        raise self.error(f"{word!r} is out of place; allowed are {self.field.allowed()}")

    def values(self, term: str) -> Sequence[int]:
        """What a plain term stands for, in the field's own numbers."""
        match = _TERM.fullmatch(term)
        if match is None:
            raise self.error(self._unreadable(term))
        step = self._step(match["step"])
        if match["star"]:
            return range(self.field.low, self.field.high + 1, step or 1)
        if match["first"] is None:
            return self._spread(match["low"], match["high"], step)
        first = self.value(match["first"])
        if match["last"] is not None:
            return self._range(first, self.value(match["last"]))[:: step or 1]
        return range(first, self.field.high + 1, step) if step else (first,)

    def _unreadable(self, term: str) -> str:
        if "?" in term:
            return "'?' may stand only alone, in day-of-month or day-of-week"
        if re.search(r"[LW#]", term):
            return f"{term!r} cannot be read; L, W and LW belong to day-of-month, 5L and MON#2 to day-of-week"
        return f"{term!r} cannot be read; allowed are *, a-b, */n and values {self.field.allowed()}, joined by commas"

    def _step(self, text: str | None) -> int | None:
        if text is None:
            return None
        if not 1 <= int(text) <= self.field.size:
            raise self.error(f"step {text} is out of place; allowed are 1-{self.field.size}")
        return int(text)

    def _range(self, first: int, last: int) -> Sequence[int]:
        if first <= last:
            return range(first, last + 1)
        if not self.field.wraps:
            forward = f"{first}-{self.field.high},{self.field.low}-{last}"
            raise self.error(f"the range {first}-{last} runs backwards; write it as two, {forward}")
        low, size = self.field.low, self.field.size
        return [(first - low + n) % size + low for n in range((last - first) % size + 1)]

    def _spread(self, low_text: str | None, high_text: str | None, step: int | None) -> Sequence[int]:
        if self.field is _YEAR:
            raise self.error("H may stand in every field but year")
        low = self.field.low if low_text is None else self.value(low_text)
        highest = _H_HIGHEST_DAY if self.field is _DOM else self.field.low + self.field.size - 1
        high = highest if high_text is None else self.value(high_text)
        if high < low:
            raise self.error(f"the range of H, {low}-{high}, runs backwards")
        drawn = int.from_bytes(blake2b(f"{self.field.name}\0{self.seed}".encode(), digest_size=8).digest(), "big")
        if step is None:
            return (low + drawn % (high - low + 1),)
        return range(low + drawn % min(step, high - low + 1), high + 1, step)


def _bits(values: Iterable[int]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _mask(text: _Text) -> int:
    return _bits(value for term in text.terms() for value in text.values(term))


# ---- days of a month -------------------------------------------------------------------------------------------------
# Which days match depends only on the month's length and the weekday of its first day: 28 kinds of month. Each term
# becomes a function from the kind to a mask of days (bit 1 = the first), and the masks are made once, when reading.

_DaysOf = Callable[[int, int], int]


def _weekday(day: int, first: int) -> int:
    """The weekday (Sunday 0) of a day in a month that starts on weekday `first`."""
    return (first + day - 1) % 7


_DAYS_OF_WEEKDAY = [[_bits(d for d in range(1, 32) if _weekday(d, first) == w) for w in range(7)] for first in range(7)]


def _plain_days(days: int) -> _DaysOf:
    return lambda length, first: days


def _nearest_weekday(day: int, length: int, first: int) -> int:
    """The Monday-to-Friday nearest to `day` that does not leave the month."""
    weekday = _weekday(day, first)
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def _nearest(day: int) -> _DaysOf:
    return lambda length, first: 1 << _nearest_weekday(day, length, first) if day <= length else 0


def _from_end(back: int, weekday: bool) -> _DaysOf:
    def days(length: int, first: int) -> int:
        day = length - back
        if day < 1:
            return 0
        return 1 << (_nearest_weekday(day, length, first) if weekday else day)

    return days


def _weekdays(weekdays: int) -> _DaysOf:
    def days(length: int, first: int) -> int:
        return sum(mask for weekday, mask in enumerate(_DAYS_OF_WEEKDAY[first]) if weekdays >> weekday & 1)

    return days


def _nth_weekday(weekday: int, nth: int) -> _DaysOf:
    return lambda length, first: 1 << ((weekday - first) % 7 + 1 + 7 * (nth - 1))


def _last_weekday(weekday: int) -> _DaysOf:
    return lambda length, first: 1 << (length - (_weekday(length, first) - weekday) % 7)


def _day_term(text: _Text, term: str) -> _DaysOf:
    if match := _LAST_DAY.fullmatch(term):
        back = int(match["back"] or 0)
        if back > 30:
            raise text.error(f"{term!r} leaves the month; allowed are L-0 to L-30")
        return _from_end(back, weekday=match["weekday"] is not None)
    if match := _NEAREST.fullmatch(term):
        return _nearest(text.value(match["day"]))
    return _plain_days(_bits(text.values(term)))


def _weekday_term(text: _Text, term: str) -> _DaysOf:
    sunday = text.field.names["SUN"]
    if match := _LAST_OF_KIND.fullmatch(term):
        return _last_weekday((text.value(match["day"]) - sunday) % 7)
    if match := _NTH_OF_KIND.fullmatch(term):
        if not 1 <= int(match["nth"]) <= 5:
            raise text.error(f"{term!r} is out of place; after '#' are allowed 1-5")
        return _nth_weekday((text.value(match["day"]) - sunday) % 7, int(match["nth"]))
    if term == "L":
        if text.field is not _DOW_QUARTZ:
            raise text.error("a lone L has no day; write SAT, or 5L for the last Friday of the month")
        return _weekdays(1 << _WEEKDAYS["SAT"])
    return _weekdays(_bits((value - sunday) % 7 for value in text.values(term)))


def _days(dom: _Text, dow: _Text) -> tuple[int, ...]:
    """The days that match, per kind of month: index (length - 28) * 7 + weekday of the first."""
    if dom.text == "?" and dow.text == "?":
        raise dow.error("'?' may stand in day-of-month or in day-of-week, not in both")
    by_date = [_day_term(dom, term) for term in (["*"] if dom.text == "?" else dom.terms())]
    by_weekday = [_weekday_term(dow, term) for term in (["*"] if dow.text == "?" else dow.terms())]
    either = dom.restricts and dow.restricts
    masks = []
    for length in range(28, 32):
        month = (1 << (length + 1)) - 2
        for first in range(7):
            dates = weekdays = 0
            for term in by_date:
                dates |= term(length, first)
            for term in by_weekday:
                weekdays |= term(length, first)
            masks.append((dates | weekdays if either else dates & weekdays) & month)
    return tuple(masks)


# ---- the entry -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cron:
    """A compiled expression. Sets of values are bit masks."""

    expression: str
    quartz: bool  # 1 is Sunday
    follows_elapsed: bool  # see the module's text on clocks that jump
    seconds: int
    minutes: int
    hours: int
    days: tuple[int, ...]
    months: int
    years: tuple[int, ...]  # ascending; empty: every year

    def next_after(self, instant_us: int, zone: str) -> int | None:
        """The first fire strictly after the instant, microseconds UTC; None when there is none."""
        tz = zone_of(zone)
        now = instant_us // SECOND_US
        if now >= _LAST:
            return None
        now = max(now, _FIRST)
        found = self._elapsed(tz, now) if self.follows_elapsed else self._fixed(tz, now)
        return None if found is None or found > _LAST else found * SECOND_US

    def _fixed(self, tz: tzinfo, now: int) -> int | None:
        local = (_EPOCH_UTC + timedelta(seconds=now)).astimezone(tz)
        wall = now + _offset(local)
        if local.fold:  # these wall times have had their turn: go on where the repeated stretch ends
            before, after = _offsets(tz, wall)
            wall = _transition(tz, wall - before, wall - after) + before - 1
        found = self._wall_from(wall + 1)
        if found is None:
            return None
        before, after = _offsets(tz, found)
        return found - before if before >= after else _transition(tz, found - after, found - before)

    def _elapsed(self, tz: tzinfo, now: int) -> int | None:
        local = (_EPOCH_UTC + timedelta(seconds=now)).astimezone(tz)
        start = now + _offset(local) + 1
        before, after = _offsets(tz, start - 1)
        if before > after and not local.fold:  # the wall times around here come a second time
            change = _transition(tz, start - 1 - before, start - 1 - after)
            found = self._wall_from(start)
            if found is not None and found < change + before:
                return found - before
            start = change + after
        while (found := self._wall_from(start)) is not None:
            before, after = _offsets(tz, found)
            if before >= after:
                return found - before if found - before > now else found - after
            start = _transition(tz, found - after, found - before) + after
        return None

    def _wall_from(self, wall: int) -> int | None:
        """The first wall time (seconds since 1970 on the wall) that matches, `wall` itself included."""
        days, of_day = divmod(wall, _DAY)
        day = date.fromordinal(days + _EPOCH_ORDINAL)
        if self._matches(day) and (time := self._time_from(of_day)) is not None:
            return days * _DAY + time
        ordinal = self._day_after(day)
        if ordinal is None:
            return None
        midnight = self._time_from(0)
        return None if midnight is None else (ordinal - _EPOCH_ORDINAL) * _DAY + midnight

    def _time_from(self, of_day: int) -> int | None:
        hour, rest = divmod(of_day, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1 and (later := self.seconds >> second):
                return of_day + _lowest(later)
            if later := self.minutes >> (minute + 1):
                return hour * 3600 + (minute + 1 + _lowest(later)) * 60 + _lowest(self.seconds)
        if later := self.hours >> (hour + 1):
            return (hour + 1 + _lowest(later)) * 3600 + _lowest(self.minutes) * 60 + _lowest(self.seconds)
        return None

    def _matches(self, day: date) -> bool:
        if not self.months >> day.month & 1 or (self.years and day.year not in self.years):
            return False
        return bool(self._days_of(day.year, day.month) >> day.day & 1)

    def _days_of(self, year: int, month: int) -> int:
        first = date(year, month, 1).isoweekday() % 7
        return self.days[(_length(year, month) - 28) * 7 + first]

    def _day_after(self, day: date) -> int | None:
        """The ordinal of the first matching day after `day`."""
        later = -1 << (day.day + 1)
        first_month = day.month
        for year in self._years_from(day.year):
            if year != day.year:
                first_month, later = 1, -1
            for month in range(first_month, 13):
                if self.months >> month & 1 and (days := self._days_of(year, month) & later):
                    return date(year, month, _lowest(days)).toordinal()
                later = -1
        return None

    def _years_from(self, year: int) -> Iterable[int]:
        if self.years:
            return (named for named in self.years if named >= year)
        return range(year, min(year + _HORIZON_YEARS, 10_000))


def _length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


# ---- the zone --------------------------------------------------------------------------------------------------------


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else offset.days * _DAY + offset.seconds


def _offsets(tz: tzinfo, wall: int) -> tuple[int, int]:
    """The offsets that a wall time has before and after a jump: equal when it is a plain time, falling when it comes
    twice, rising when it lies in a gap."""
    moment = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=tz)
    return _offset(moment), _offset(moment.replace(fold=1))


def _transition(tz: tzinfo, before: int, after: int) -> int:
    """The first second of the new offset, given seconds UTC with before < it <= after."""
    old = _offset((_EPOCH_UTC + timedelta(seconds=before)).astimezone(tz))
    while after - before > 1:
        middle = (before + after) // 2
        if _offset((_EPOCH_UTC + timedelta(seconds=middle)).astimezone(tz)) == old:
            before = middle
        else:
            after = middle
    return after


# ---- the front door --------------------------------------------------------------------------------------------------


def parse(expression: str, seed: str = "") -> Cron:
    """Compile an expression; CronError names the field that is wrong. `seed` feeds H and nothing else."""
    if len(expression) > MAX_LENGTH:
        raise CronError(f"the expression has {len(expression)} characters; allowed are {MAX_LENGTH}")
    if not expression.isascii():
        raise CronError("the expression has characters that are not ASCII")
    # Expressions without H compile to the same thing for every schedule: share them in the cache.
    return _compile(expression, seed if _SPREAD.search(expression.upper()) else "")


@lru_cache(maxsize=16_384)
def _compile(expression: str, seed: str) -> Cron:
    words = _expand(expression).upper().split()
    if len(words) not in (5, 6, 7):
        raise CronError(
            f"the expression has {len(words)} fields; allowed are 5 (minute hour day-of-month month day-of-week), "
            f"6 (second first), 7 (second first, year last), or one of {' '.join(ALIASES)}"
        )
    quartz = len(words) == 7 or (len(words) == 6 and "?" in words)
    texts = _fields(words, quartz, seed)
    hours = _mask(texts["hour"])
    months = _mask(texts["month"])
    years = texts.get("year")
    return Cron(
        expression=expression,
        quartz=quartz,
        follows_elapsed=bool(re.search(r"[*/]", texts["hour"].text)) or hours == (1 << 24) - 1,
        seconds=_mask(texts["second"]) if "second" in texts else 1,
        minutes=_mask(texts["minute"]),
        hours=hours,
        days=_days(texts["day-of-month"], texts["day-of-week"]),
        months=months,
        years=() if years is None or years.text == "*" else _years(years),
    )


def _years(text: _Text) -> tuple[int, ...]:
    return tuple(sorted({value for term in text.terms() for value in text.values(term)}))


def _expand(expression: str) -> str:
    alias = expression.strip().lower()
    if not alias.startswith("@"):
        return expression
    if alias == "@reboot":
        raise CronError(f"@reboot names no time, so no schedule can follow it; allowed are {' '.join(ALIASES)}")
    if alias not in ALIASES:
        raise CronError(f"{alias!r} is not known; allowed are {' '.join(ALIASES)}")
    return ALIASES[alias]


def _fields(words: list[str], quartz: bool, seed: str) -> dict[str, _Text]:
    fields = [_MINUTE, _HOUR, _DOM, _MONTH, _DOW_QUARTZ if quartz else _DOW_UNIX]
    if len(words) > 5:
        fields.insert(0, _SECOND)
    if len(words) > 6:
        fields.append(_YEAR)
    texts = {}
    for position, (kind, word) in enumerate(zip(fields, words, strict=True), 1):
        if quartz and kind in (_SECOND, _MINUTE, _HOUR, _MONTH):
            kind = replace(kind, wraps=True)
        texts[kind.name] = _Text(kind, word, position, len(words), seed)
    return texts
