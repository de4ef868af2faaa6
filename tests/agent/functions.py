"""Task functions that tests run: what they do is their whole point."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import pawl

suite = pawl.Workflow("suite", version="7")
STARTED: dict[str, threading.Event] = {}
RELEASE = threading.Event()


@dataclass
class Order:
    """An input."""

    item: str
    count: int = 1
    tags: list[str] = field(default_factory=list)


class OutOfStock(Exception):
    """An error with a name of its own."""


def begun(task_id: str) -> threading.Event:
    """Set when the function of this task runs."""
    return STARTED.setdefault(task_id, threading.Event())


async def double(order: Order, ctx: pawl.Context) -> Order:
    """Twice as many."""
    ctx.log("doubling", order.item)
    ctx.progress(50, "half")
    logging.getLogger("shop").warning("counting")
    await asyncio.sleep(0)
    return Order(order.item, order.count * 2, [ctx.task_id, str(ctx.attempt), ctx.job, ctx.namespace])


async def alive(ctx: pawl.Context) -> None:
    """Says so."""
    ctx.heartbeat()


def double_blocking(order: Order, ctx: pawl.Context) -> Order:
    """The same without a loop."""
    ctx.log("doubling", order.item)
    ctx.progress(50, "half")
    logging.getLogger("shop").warning("counting")
    return Order(order.item, order.count * 2, [ctx.task_id, str(ctx.attempt), ctx.job, ctx.namespace])


def fail(kind: str) -> None:
    """Fail in the way that is asked for."""
    if kind == "own":
        raise OutOfStock("no more apples")
    if kind == "final":
        raise pawl.NonRetryable("the card was declined", code="CARD_DECLINED")
    if kind == "later":
        raise pawl.RetryAfter(7.5, "come back")
    if kind == "exit":
        raise SystemExit(3)
    raise ValueError(kind)


async def fail_async(kind: str) -> None:
    """The same on a loop."""
    await asyncio.sleep(0)
    fail(kind)


async def wait_for_ever(ctx: pawl.Context) -> None:
    """Until it is cancelled; cleans up."""
    begun(ctx.task_id).set()
    ctx.log("begun")
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log("cleaned up")


def poll(ctx: pawl.Context) -> str:
    """Looks whether it is to end."""
    begun(ctx.task_id).set()
    ctx.log("begun")
    while not ctx.wait(0.01):
        pass
    ctx.log("saw it")
    return "ended by itself"


def spin(ctx: pawl.Context) -> None:
    """Never looks; Python all the same."""
    begun(ctx.task_id).set()
    ctx.log("begun")
    while True:
        time.sleep(0.001)


def deaf(ctx: pawl.Context) -> str:
    """Hears nothing at all until it is let go."""
    begun(ctx.task_id).set()
    while True:
        try:
            RELEASE.wait()
        except BaseException:
            continue
        return "too late"


def many(size: int) -> str:
    """A large output."""
    return "x" * size


def chatter(lines: int, ctx: pawl.Context) -> None:
    """Many words at once."""
    for number in range(lines):
        ctx.log(f"{number:08d}", "y" * 1_000)


def tick(ctx: pawl.Context) -> None:
    """Says for ever that it goes on."""
    while True:
        ctx.progress(1.0, "tick")
        time.sleep(0.02)


def whose(ctx: pawl.Context) -> dict[str, object]:
    """Where it runs."""
    sys.stdout.write("to stdout\n")
    return {"pid": os.getpid(), "secret": os.environ.get("SHOP_SECRET"), "zone": os.environ.get("ZONE"),
            "cwd": os.getcwd(), "ctx": ctx.environment.get("ZONE")}  # fmt: skip


def die() -> None:
    """Without a word."""
    os._exit(5)


def die_well() -> None:
    """Without a word, and as if all were well."""
    os._exit(0)


def eat() -> int:
    """More memory than anybody has."""
    held = []
    for _ in range(4_096):
        held.append(bytearray(1 << 20))
        held[-1][::4_096] = b"\1" * 256
    return len(held)


def nothing() -> None:
    """Takes nothing, gives nothing."""


_ALL = (
    alive,
    double,
    double_blocking,
    fail,
    fail_async,
    wait_for_ever,
    poll,
    spin,
    deaf,
    many,
    chatter,
    whose,
    nothing,
)
INLINE = {one.__name__: suite.task(one.__name__)(one) for one in _ALL}

# In processes of their own: what is found in this module by the function's name is the task.
apart = pawl.Workflow("apart", version="7")
alive = apart.task(isolation="process")(alive)
double = apart.task(isolation="process")(double)
double_blocking = apart.task(isolation="process")(double_blocking)
fail = apart.task(isolation="process")(fail)
wait_for_ever = apart.task(isolation="process")(wait_for_ever)
spin = apart.task(isolation="process")(spin)
deaf = apart.task(isolation="process")(deaf)
many = apart.task(isolation="process")(many)
chatter = apart.task(isolation="process")(chatter)
whose = apart.task(isolation="process")(whose)
die = apart.task(isolation="process")(die)
die_well = apart.task(isolation="process")(die_well)
eat = apart.task(isolation="process")(eat)
tick = apart.task(isolation="process")(tick)
APART = {one.name.partition(".")[2]: one for one in apart}
