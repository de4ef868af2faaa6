"""P1: real processes: `pawl agent` runs /bin/true. The floor starts it as often from a bare loop on as many threads.

What is added to a fork is the keeper, the task's own folder, the captured output, the spool and the placement. Beside
it, on the executors alone: one run of a plugin and one of a process.
"""

import asyncio
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench import plane, plugin_runs
from tests.bench.report import Row
from tests.bench.stage import Stage

SLOTS = 8
JOB = "bench-true"
PROGRAM = shutil.which("true") or "/bin/true"


async def measure(stage: Stage) -> list[Row]:
    """The rows of P1."""
    await stage.make_job(JOB, PROGRAM)
    count = stage.number(400, 20)
    row = Row("P1", stage.database.kind, f"{PROGRAM} on a real agent, {SLOTS} slots", "tasks/s", [])
    row.floor_what = "bare fork and exec in a loop"
    with plane.agent(stage.plane, stage.database.folder, SLOTS) as agent:
        await _run(stage, SLOTS)  # the agent is connected and its keeper is up
        row.floor.append(await asyncio.to_thread(_bare, count))
        used = 0.0
        for _ in range(stage.repeats):
            before = plane.cpu_seconds(agent)
            row.values.append(count / await _run(stage, count))
            used = (plane.cpu_seconds(agent) - before) / count
            row.floor.append(await asyncio.to_thread(_bare, count))
    row.counters["agent µs/task (without its keeper)"] = used * 1e6
    folder, kind = stage.database.folder, stage.database.kind
    return [row, *await plugin_runs.measure(folder, kind, quick=stage.quick, repeats=stage.repeats)]


async def _run(stage: Stage, count: int) -> float:
    """Seconds from the creation of so many tasks until all have ended."""
    begun = time.perf_counter()
    await stage.create_many(JOB, count)
    await stage.all_ended()
    return time.perf_counter() - begun


def _bare(count: int) -> float:
    """Starts a second."""

    def start(_: int) -> None:
        subprocess.run([PROGRAM], check=True, stdin=subprocess.DEVNULL)

    with ThreadPoolExecutor(SLOTS) as threads:
        begun = time.perf_counter()
        list(threads.map(start, range(count)))
        return count / (time.perf_counter() - begun)
