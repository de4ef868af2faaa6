"""Warm runs of plugins and of a process, on the executors themselves, beside an empty fork of a zygote's like.

What a run of a plugin adds to a fork is an instance, the call, its channels and the words between agent and zygote. One
run after the other: this is how long one takes, not how many go at once.
"""

import asyncio
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from agent.executors.base import Executor, LogStream, Outcome, Payload, Work
from agent.executors.process import ProcessConfig, ProcessExecutor
from agent.executors.wasm import WasmExecutor
from agent.keeper import Keeper
from agent.statedir import open_state_dir
from tests.bench.report import Row

EXAMPLES = Path(__file__).parents[2] / "plugins" / "examples"
PLUGINS = {"hello-c": b'{"name": "Ada"}', "wordcount-rust": b'"a b a"', "httpcheck-go": b"{}"}
"""With parameters; the one in Go ends with the error that its parameters are wrong, which costs what an answer does."""
PROGRAM = shutil.which("true") or "/bin/true"
FORK_FLOOR = "an empty fork of a process with Extism and the plugin in it"


class Ear:
    """Nobody listens."""

    def log(self, stream: LogStream, data: bytes) -> None:
        """Nothing."""

    def progress(self, percent: float, message: str) -> None:
        """Nothing."""

    def heartbeat(self) -> None:
        """Nothing."""

    def started(self) -> None:
        """Nothing."""

    def ended(self) -> None:
        """Nothing."""


async def measure(folder: Path, database: str, *, quick: bool, repeats: int) -> list[Row]:
    """A row for each plugin, and one for a process."""
    count = 10 if quick else 100
    names = [name for name in PLUGINS if not quick or name != "httpcheck-go"]  # a slow compile, for nothing
    rows: list[Row] = []
    async with _executors(folder) as (process, wasm):
        for name in names:
            module = EXAMPLES / name / "plugin.wasm"
            work = _plugin_work(name, hashlib.sha256(module.read_bytes()).hexdigest())
            rows.append(await _measured(name, database, wasm, work, count, repeats, partial(_fork, module, count)))
        work = _work("true", "process", {"cmd": PROGRAM}, None)
        rows.append(await _measured(PROGRAM, database, process, work, count, repeats, None))
    return rows


@asynccontextmanager
async def _executors(folder: Path) -> AsyncIterator[tuple[Executor, Executor]]:
    known = {hashlib.sha256(data).hexdigest(): data for data in _modules()}

    async def fetch(digest: str) -> bytes:
        return known[digest]

    state = await asyncio.to_thread(open_state_dir, folder / "plugin-runs")
    keeper = Keeper(state)
    await keeper.open()
    process = ProcessExecutor(keeper, ProcessConfig(work_dir=folder / "plugin-work"))
    wasm = WasmExecutor(keeper, fetch, folder / "plugin-wasm")
    try:
        await process.open()
        await wasm.open()
        yield process, wasm
    finally:
        await wasm.close()
        await process.close()
        await keeper.close()
        state.close()


def _modules() -> list[bytes]:
    return [(EXAMPLES / name / "plugin.wasm").read_bytes() for name in PLUGINS]


def _plugin_work(name: str, digest: str) -> Work:
    return _work(name, "wasm", {"plugin": digest}, Payload(PLUGINS[name], "application/json"))


def _work(name: str, executor: str, settings: dict[str, object], parameters: Payload | None) -> Work:
    return Work(
        namespace_id="default",
        task_id=name,
        instance_id=name,
        token=1,
        attempt=1,
        job_name=name,
        executor=executor,
        settings=settings,
        environment={},
        parameters=parameters,
    )


async def _measured(
    name: str,
    database: str,
    executor: Executor,
    work: Work,
    count: int,
    repeats: int,
    floor: Callable[[], float] | None,
) -> Row:
    row = Row("P1", database, f"one run of {name}, warm, p50", "ms", [], more=False)
    await _run(executor, work)
    cpu = 0.0
    for _ in range(repeats):
        if floor is not None:
            row.floor.append(await asyncio.to_thread(floor))
        seconds = []
        for _ in range(count):
            begun = time.perf_counter()
            outcome = await _run(executor, work)
            seconds.append(time.perf_counter() - begun)
            cpu += outcome.usage.user_cpu_seconds + outcome.usage.system_cpu_seconds
        row.values.append(statistics.median(seconds) * 1000)
    row.counters["CPU ms of its process"] = cpu / count / repeats * 1000
    if row.floor:
        row.floor_what = FORK_FLOOR
        row.counters["ms over the fork"] = statistics.median(row.values) - statistics.median(row.floor)
    return row


async def _run(executor: Executor, work: Work) -> Outcome:
    running = await executor.launch(work, Ear())
    return await running.wait()


def _fork(module: Path, count: int) -> float:
    """Milliseconds of a fork that ends at once, p50, in a process like the zygote."""
    command = [sys.executable, "-m", "tests.bench.plugin_runs", str(module), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


def empty_forks(module: Path, count: int) -> float:
    """Run in that process: the median of so many forks, in milliseconds."""
    from agent.executors.zygote import Build, load

    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    compiled = load(Build(digest, str(module), wasi=True, pages=4096))
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        seconds.append(time.perf_counter() - begun)
    assert compiled is not None
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    print(empty_forks(Path(sys.argv[1]), int(sys.argv[2])))
