"""Enough of PromQL to find mistakes in our own dashboards and rules: its grammar, and instants against ranges.

Prometheus' own checker is a program that is not here; this one knows the functions that we use and no others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""\s*(?:
      (?P<duration>\d+(?:ms|[smhdwy])) | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?) |
      (?P<name>[A-Za-z_:][A-Za-z0-9_:]*) | (?P<text>"(?:[^"\\]|\\.)*") |
      (?P<sign>==|!=|=~|!~|>=|<=|[-+*/%^><=(){}\[\],])
    )""",
    re.VERBOSE,
)
AGGREGATIONS = {"sum": 0, "min": 0, "max": 0, "avg": 0, "count": 0, "topk": 1}  # how many arguments before the vector
# Each function: the types of its arguments, and of its result.
FUNCTIONS = {
    "rate": (("range",), "instant"),
    "increase": (("range",), "instant"),
    "histogram_quantile": (("scalar", "instant"), "instant"),
    "absent": (("instant",), "instant"),
    "time": ((), "scalar"),
}
PRECEDENCE = (
    ("or",),
    ("and", "unless"),
    ("==", "!=", ">", "<", ">=", "<="),
    ("+", "-"),
    ("*", "/", "%"),
)


class Malformed(Exception):
    """It is no PromQL that we know."""


@dataclass
class Query:
    """What an expression asks for: (metric, labels in its braces), and the labels that it groups or joins by."""

    selectors: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def parse(text: str) -> Query:
    """Read an expression. Raises Malformed."""
    reader = _Reader(text)
    kind = reader.expression(0)
    if reader.kind or kind == "range":
        raise Malformed(f"{text}: {'a range is no answer' if kind == 'range' else f'what is {reader.word!r}?'}")
    return reader.query


class _Reader:
    def __init__(self, text: str) -> None:
        self.query = Query()
        self._text = text
        self._at = 0
        self.kind = self.word = ""
        self._next()

    def _next(self) -> str:
        """Go to the next token; the word of the one before."""
        before = self.word
        if not self._text[self._at :].strip():
            self.kind = self.word = ""
            return before
        found = TOKEN.match(self._text, self._at)
        if found is None:
            raise Malformed(f"{self._text}: cannot read {self._text[self._at :]!r}")
        self._at, self.kind, self.word = found.end(), str(found.lastgroup), found[str(found.lastgroup)]
        return before

    def _take(self, word: str) -> None:
        if self.word != word or self.kind == "text":
            raise Malformed(f"{self._text}: {word!r} is missing before {self.word!r}")
        self._next()

    def _is(self, *words: str) -> bool:
        return self.word in words and self.kind != "text"

    def expression(self, level: int) -> str:
        """Operators of this precedence and above; the type of the result."""
        if level == len(PRECEDENCE):
            return self._operand()
        kind = self.expression(level + 1)
        while self._is(*PRECEDENCE[level]):
            sign = self._next()
            if self._is("on", "ignoring"):
                self._next()
                self.query.grouped |= self._labels()
            other = self.expression(level + 1)
            if "range" in (kind, other) or (sign in ("and", "or", "unless") and "scalar" in (kind, other)):
                raise Malformed(f"{self._text}: {kind} {sign} {other}")
            kind = "scalar" if kind == other == "scalar" else "instant"
        return kind

    def _operand(self) -> str:
        if self._is("-"):
            self._next()
            return self._operand()
        if self._is("("):
            self._next()
            kind = self.expression(0)
            self._take(")")
            return kind
        if self.kind == "number":
            self._next()
            return "scalar"
        if self.kind != "name":
            raise Malformed(f"{self._text}: {self.word!r} is no operand")
        name = self._next()
        if name in AGGREGATIONS:
            return self._aggregation(name)
        if self._is("("):
            return self._call(name)
        return self._selector(name)

    def _aggregation(self, name: str) -> str:
        if self._is("by", "without"):
            self._next()
            self.query.grouped |= self._labels()
        given = self._arguments()
        if self._is("by", "without"):
            self._next()
            self.query.grouped |= self._labels()
        if given != ["scalar"] * AGGREGATIONS[name] + ["instant"]:
            raise Malformed(f"{self._text}: {name} of {given}")
        return "instant"

    def _call(self, name: str) -> str:
        if name not in FUNCTIONS:
            raise Malformed(f"{self._text}: {name} is no function that we know")
        wanted, result = FUNCTIONS[name]
        given = self._arguments()
        if given != list(wanted):
            raise Malformed(f"{self._text}: {name} takes {wanted}, not {given}")
        return result

    def _arguments(self) -> list[str]:
        self._take("(")
        found: list[str] = []
        while not self._is(")"):
            found.append(self.expression(0))
            if not self._is(")"):
                self._take(",")
        self._take(")")
        return found

    def _labels(self) -> set[str]:
        self._take("(")
        found: set[str] = set()
        while not self._is(")"):
            if self.kind != "name":
                raise Malformed(f"{self._text}: {self.word!r} is no label")
            found.add(self._next())
            if not self._is(")"):
                self._take(",")
        self._take(")")
        return found

    def _selector(self, name: str) -> str:
        labels: set[str] = set()
        if self._is("{"):
            self._next()
            while not self._is("}"):
                labels.add(self._matcher())
                if not self._is("}"):
                    self._take(",")
            self._take("}")
        self.query.selectors.append((name, labels))
        kind = "instant"
        if self._is("["):
            self._next()
            self._duration()
            self._take("]")
            kind = "range"
        if self._is("offset"):
            self._next()
            self._duration()
        return kind

    def _matcher(self) -> str:
        if self.kind != "name":
            raise Malformed(f"{self._text}: {self.word!r} is no label")
        name = self._next()
        if not self._is("=", "!=", "=~", "!~"):
            raise Malformed(f"{self._text}: {name} {self.word!r} is no comparison")
        sign = self._next()
        if self.kind != "text":
            raise Malformed(f"{self._text}: the value of {name} needs quotes")
        value = self._next()[1:-1]
        if "~" in sign:
            re.compile(value)
        return name

    def _duration(self) -> None:
        if self.kind != "duration":
            raise Malformed(f"{self._text}: {self.word!r} is no duration")
        self._next()
