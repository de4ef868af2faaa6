"""The loop that keeps the line to the other replicas: says what is to be said, and opens it again when it breaks.

The first word leaves at once; while there is more and more to say, words are spaced, so that a busy replica says much
in few. Never two at once, and never in the transaction that they tell of.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import structlog

from controlplane.domain.errors import Unavailable
from controlplane.engine.context import Engine
from controlplane.store.notices import Line
from controlplane.store.wakeup import wait

SHORTEST_REST = 0.001
LONGEST_REST = 0.02
FIRST_PAUSE = 0.5  # before a line that broke is opened again
LONGEST_PAUSE = 30.0
FAREWELL_SECONDS = 1.0

_log = structlog.get_logger("controlplane.loops")


async def tell_others(engine: Engine, *, first_pause: float = FIRST_PAUSE) -> None:
    """For ever. While there is no line the sweeps serve."""
    pause = first_pause
    heard = engine.store.measures.notices.labels("in")

    def take(text: str) -> None:
        heard.inc()
        engine.replicas.heard(text)

    while True:
        try:
            async with engine.store.notices(take, engine.replicas.due.set) as line:
                pause = first_pause
                await _talk(engine, line)
        except Unavailable as error:
            _log.warning("replicas do not hear each other for now", error=str(error))
        except Exception:  # hints are not worth a replica
            _log.exception("the line to the other replicas failed")
        finally:
            engine.replicas.end()
        await asyncio.sleep(random.uniform(pause / 2, pause))
        pause = min(2 * pause, LONGEST_PAUSE)


async def _talk(engine: Engine, line: Line) -> None:
    """Until the line breaks. Raises Unavailable then."""
    replicas, sent = engine.replicas, engine.store.measures.notices.labels("out")
    rest = SHORTEST_REST
    replicas.begin()
    try:
        while True:
            if not replicas.due.is_set():
                rest = SHORTEST_REST
                await wait(replicas.due, replicas.until_hello())
            replicas.due.clear()
            line.check()
            text = replicas.next_word()
            if text is not None:
                await line.say(text)
                sent.inc()
                await asyncio.sleep(rest)
                rest = min(2 * rest, LONGEST_REST)
    except asyncio.CancelledError:
        # So that nobody goes on telling a replica that has stopped.
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await line.say(replicas.farewell())
        raise
