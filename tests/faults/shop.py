"""A worker as its users write one: a script with functions, started with a server, a name and a folder."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass

import pawl
from pawl.worker import Ended

shop = pawl.Workflow("shop", version=os.environ.get("SHOP_VERSION", "1"))


@dataclass
class Order:
    item: str
    count: int = 1


@shop.task(timeout=float(os.environ.get("SHOP_TIMEOUT", "60")))
async def double(order: Order, ctx: pawl.Context) -> Order:
    """Twice as many."""
    ctx.log("doubling", order.item)
    return Order(order.item, order.count * 2)


@shop.task(isolation="process")
def apart(order: Order) -> Order:
    return Order(order.item, os.getpid())


@shop.task(max_retries=1, retry_interval=0.05)
def second_time(ctx: pawl.Context) -> int:
    if ctx.attempt == 1:
        raise pawl.RetryAfter(0.1)
    return ctx.attempt


@shop.task(lost_after_seconds=3)
async def block_the_loop(seconds: float) -> str:
    time.sleep(seconds)  # noqa: ASYNC251 - what nobody should do, and many do
    return "done"


@shop.task(lost_after_seconds=3)
async def wait_for_file(path: str, ctx: pawl.Context) -> str:
    ctx.log("waiting")
    while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240 - the test makes the file
        await asyncio.sleep(0.02)
    return ctx.instance_id


@shop.task()
async def both(order: Order) -> list[Order]:
    """Runs the others, as any client would."""
    first = await double.run(order, client=None)
    return [first, await apart.run(first)]


def hook(ended: Ended) -> None:
    sys.stderr.write(f"hook: {ended.job} {ended.code}\n")


if __name__ == "__main__":
    server, name, folder = sys.argv[1:]
    os.environ["PAWL_SERVER"] = server
    pawl.Worker(shop, name=name, data_dir=folder, on_failed=hook).run()
