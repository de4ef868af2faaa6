"""What an adapter in Python is made of: its roles, the conversation with the runner, and what its tasks note.

It runs in a peer's own environment and needs nothing but Python. A role is a process of its own, so that the runner can
kill one: `prepare` makes the schema and ends, `serve` prints the command of the peer's server and ends, `work` runs
tasks until it is ended, `speak` is the client and answers one line of JSON with another. Instants are nanoseconds of
CLOCK_MONOTONIC, which all processes of a machine share.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

BATCH = 500
CALLERS = 2
CREATE_SECONDS = 20.0


@dataclass(frozen=True)
class Given:
    """What the runner gives: addresses, a folder that is gone afterwards, and the file in which starts are noted."""

    folder: str
    starts: str
    slots: int
    database: str
    redis: str
    port: int
    admin_port: int
    endpoint_port: int
    node_port: int


class Client(Protocol):
    """A peer's client. An answer means that the peer has promised to run what was created."""

    async def create(self, index: int) -> None:
        """One task with a call of its own."""
        ...

    async def create_many(self, indexes: Sequence[int]) -> None:
        """Many with one call, where the peer has one."""
        ...


def given() -> Given:
    """What this process was given."""
    return Given(**json.loads(os.environ["PEER"]))


def noting() -> Callable[[int], None]:
    """What a task's first line calls. One write to a file that is only appended to: lines of threads do not mix, and
    what was written before a kill stays.
    """
    file = os.open(given().starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def started(index: int) -> None:
        os.write(file, b"%d %d\n" % (index, time.monotonic_ns()))

    return started


def run(
    *,
    client: Callable[[Given], AbstractAsyncContextManager[Client]],
    work: Callable[[Given], Coroutine[Any, Any, None] | None],
    prepare: Callable[[Given], Coroutine[Any, Any, None] | None] | None = None,
    serve: Callable[[Given], Sequence[str]] | None = None,
) -> None:
    """Be what the command line says."""
    role, settings = sys.argv[1], given()
    if role == "serve" and serve is not None:
        print(json.dumps({"command": list(serve(settings)), "environ": {}}))
    elif role == "speak":
        asyncio.run(_speak(client(settings)))
    else:
        step = {"prepare": prepare, "work": work}[role]
        done = step(settings) if step is not None else None
        if done is not None:
            asyncio.run(_awaited(done))


async def _awaited(what: Awaitable[None]) -> None:
    await what


async def _speak(opening: AbstractAsyncContextManager[Client]) -> None:
    # Whatever a library prints belongs to the log: stdout is the conversation.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with opening as client:
        print(json.dumps({"ready": True}), file=out, flush=True)
        while line := await lines.readline():
            print(json.dumps(await _answer(client, json.loads(line))), file=out, flush=True)


async def _answer(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """`begun` and `ended` are around the calls, `at` is when each task was asked for, `refused` who was not created."""
    indexes = range(asked["first"], asked["first"] + asked["count"])
    at: dict[int, int] = {}
    refused: dict[int, str] = {}

    async def one(index: int) -> None:
        at[index] = time.monotonic_ns()
        try:
            await asyncio.wait_for(client.create(index), CREATE_SECONDS)
        except Exception as error:  # a fault is being measured: who was refused is part of the answer
            refused[index] = f"{type(error).__name__}: {error}"[:300]

    begun = time.monotonic_ns()
    if asked["do"] == "create_many":
        batches = iter([indexes[start : start + BATCH] for start in range(0, len(indexes), BATCH)])
        await _all(_each(batches, client.create_many) for _ in range(CALLERS))
    elif asked["do"] == "create_each":
        left = iter(indexes)
        await _all(_each(left, one) for _ in range(asked["callers"]))
    else:
        async with asyncio.TaskGroup() as group:
            for turn, index in enumerate(indexes):  # an open loop: a call that hangs holds up no other
                await asyncio.sleep(max(0.0, (begun - time.monotonic_ns()) / 1e9 + turn * asked["every"]))
                group.create_task(one(index))
    ended = time.monotonic_ns()
    return {"begun": begun, "ended": ended, "at": sorted(at.items()), "refused": sorted(refused.items())}


async def _each(left: Iterable[Any], create: Callable[[Any], Awaitable[None]]) -> None:
    for one in left:
        await create(one)


async def _all(callers: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller)
