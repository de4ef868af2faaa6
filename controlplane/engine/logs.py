"""Logs: taken in from agents, read by people, from a cursor that survives restarts of either side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from controlplane.domain.errors import Invalid
from controlplane.engine.context import Engine
from controlplane.store import logs
from controlplane.store.logs import Chunk

CHUNKS_AT_ONCE = 16
KNOWN_SECONDS = 1.0  # so long it is remembered that an instance is there


@dataclass(frozen=True, slots=True)
class LogPosition:
    """After this line: (token, number of the chunk, number of the line in it)."""

    token: int = 0
    number: int = 0
    line: int = -1

    def text(self) -> str:
        """The cursor as callers keep it."""
        return f"{self.token}.{self.number}.{self.line}"

    @classmethod
    def parse(cls, text: str) -> LogPosition:
        """Raises Invalid for what is no cursor."""
        parts = text.split(".")
        if not text:
            return cls()
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
            raise Invalid.field("after", "must be the cursor of a log entry")
        return cls(*map(int, parts))


@dataclass(frozen=True, slots=True)
class LogLine:
    """A piece of a log, and where reading goes on after it."""

    position: LogPosition
    instance_id: str
    attempt: int
    stream: int
    at: int
    data: bytes


class Logs:
    """The use cases of logs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[tuple[str, int, str], str] = {}
        self._forget_at = 0.0

    async def append(self, chunks: Sequence[Chunk], agents_of: str) -> int:
        """Store chunks of instances that agents of this namespace have; others are dropped. How many were new."""
        known = await self._instances({(one.task_id, one.token) for one in chunks}, agents_of)
        wanted = [one for one in chunks if known.get((one.task_id, one.token)) == one.instance_id]
        stored = await self._engine.store.logs(logs.append, wanted) if wanted else 0
        self._engine.wakeups.hint(*{f"logs:{one.task_id}" for one in wanted})
        return stored

    async def _instances(self, keys: Set[tuple[str, int]], agents_of: str) -> Mapping[tuple[str, int], str]:
        """The instances of these keys that agents of this namespace have. Who prints much comes many times a second."""
        now = time.monotonic()
        if now >= self._forget_at:
            self._known, self._forget_at = {}, now + KNOWN_SECONDS
        new = [key for key in keys if (*key, agents_of) not in self._known]
        if new:
            found = await self._engine.store.read(logs.known_instances, new, agents_of)
            self._known |= {(*key, agents_of): instance_id for key, instance_id in found.items()}
        return {key: one for key in keys if (one := self._known.get((*key, agents_of))) is not None}

    async def read(self, task_id: str, instance_id: str | None, after: LogPosition) -> list[LogLine]:
        """The next lines after a position; empty at the present end."""
        chunks = await self._engine.store.logs(
            logs.read, task_id, instance_id, (after.token, after.number), CHUNKS_AT_ONCE
        )
        if not chunks:
            return []
        attempts = await self._engine.store.read(logs.attempts_of, task_id)
        return [
            LogLine(
                LogPosition(chunk.token, chunk.number, index), chunk.instance_id, attempts.get(chunk.token, 0), *line
            )
            for chunk in chunks
            for index, line in enumerate(chunk.lines)
            if (chunk.token, chunk.number, index) > (after.token, after.number, after.line)
        ]
