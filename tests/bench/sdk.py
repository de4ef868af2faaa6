"""A worker as users write one, with a function that does nothing. A process of its own, which `worker.py` starts.

All that an agent does for a task is in its figures: the lease, the result's way over the disk, the context. It says
when its function began, by its own clock, and when it had ended; stored it is a little later.
"""

import argparse
import asyncio
import tempfile
import time

import pawl
from pawl.worker import Ended

from tests.bench.lines import Mouth, spoken

bench = pawl.Workflow("bench")
mouths: list[Mouth] = []


@bench.task()
async def noop(ctx: pawl.Context) -> None:
    """Nothing, and when."""
    mouths[0].say(started=[[ctx.task_id, time.perf_counter()]])


async def serve(address: str, slots: int) -> None:
    """One worker, until it is told to leave or nobody is there to tell it."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="pawl-bench-sdk-") as folder:
        async with spoken() as (lines, mouth):
            mouths.append(mouth)

            def ended(_: Ended) -> None:
                loop.call_soon_threadsafe(lambda: mouth.say(acknowledged=1))

            worker = pawl.Worker(bench, server=address, register=False, slots=slots, data_dir=folder,
                                 on_completed=ended)  # fmt: skip
            async with asyncio.TaskGroup() as group:
                group.create_task(worker.serve())
                async for line in lines:
                    if line == b"leave\n":
                        break
                worker.stop()


def main() -> None:
    """The worker."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sdk")
    parser.add_argument("address")
    parser.add_argument("--slots", type=int, required=True)
    given, _ = parser.parse_known_args()
    asyncio.run(serve(given.address, given.slots))


if __name__ == "__main__":
    main()
