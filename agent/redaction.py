"""Takes secret values out of what a run says, before anybody keeps it.

Bytes in, bytes out, also where a value is cut by the borders of what arrives. It knows values as they are and as they
stand inside a JSON string; it cannot know what a program has made of one (its letters reversed, half a line each).
"""

from __future__ import annotations

import json
import re
from typing import Final

MASK: Final = b"***"
LEAST: Final = 4
"""Shorter values are not looked for: they would be found everywhere, and hiding them would tell where they are."""


class Redactor:
    """The secret values of one run; more may be learnt while it goes on."""

    def __init__(self) -> None:
        self._values: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None

    @property
    def idle(self) -> bool:
        """Nothing to look for."""
        return self._pattern is None

    def learn(self, value: str) -> None:
        """Look for this value from now on."""
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        self._values |= {form.encode() for form in forms if len(form.encode()) >= LEAST}
        if self._values:  # the longest first: one value may begin with another
            longest_first = sorted(self._values, key=lambda known: (-len(known), known))
            self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def clean(self, data: bytes) -> bytes:
        """Bytes that stand alone, without the values."""
        return data if self._pattern is None else self._pattern.sub(MASK, data)

    def clean_text(self, text: str) -> str:
        """The same for text."""
        if self._pattern is None:
            return text
        return self.clean(text.encode(errors="surrogatepass")).decode(errors="replace")

    def held(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a value."""
        for size in range(min(len(data), max(map(len, self._values), default=1) - 1), 0, -1):
            if any(value.startswith(data[-size:]) for value in self._values if len(value) > size):
                return size
        return 0


class RedactedStream:
    """A stream in pieces: what may be the beginning of a value waits for what follows."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What can be said now."""
        if self._redactor.idle and not self._rest:
            return data
        data = self._redactor.clean(self._rest + data)
        held = self._redactor.held(data)
        self._rest = data[len(data) - held :]
        return data[: len(data) - held]

    def end(self) -> bytes:
        """What was still waiting."""
        rest, self._rest = self._rest, b""
        return rest
