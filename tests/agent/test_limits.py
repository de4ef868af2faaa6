"""What a run may use is held, by control groups where they can be had, by looking elsewhere; the reason is exact."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent import cgroups, procfs
from agent.executors.base import Limits, LogStream, Outcome, Work
from agent.executors.process import ProcessConfig, ProcessExecutor, ProcessRun
from agent.keeper import Keeper, TaskUser

DEADLINE = 30.0
OFFERED = cgroups.look().trees
MIB = 1 << 20
SLEEP = f"sleep 3{os.getpid()}"  # of this test run alone

# Of 512 processes at most: one without end took a whole machine with it before its limit was noticed.
BOMB = "f() { [ $1 -gt 0 ] && { f $(($1 - 1)) & f $(($1 - 1)) & wait; }; sleep 60; }; f 8"


class Notes:
    """A sink that forgets."""

    def log(self, stream: LogStream, data: bytes) -> None:
        pass

    def progress(self, percent: float, message: str) -> None:
        pass

    def heartbeat(self) -> None:
        pass

    def started(self) -> None:
        pass

    def ended(self) -> None:
        pass


class Bench:
    """An executor with its keeper."""

    def __init__(self, keeper: Keeper, config: ProcessConfig) -> None:
        self.keeper = keeper
        self.executor = ProcessExecutor(keeper, config)
        self._token = 0

    async def launch(self, *argv: str, **limits: float) -> ProcessRun:
        self._token += 1
        work = Work(
            namespace_id="ns", task_id="task", instance_id="instance", token=self._token, attempt=1, job_name="job",
            executor="process", settings={"cmd": argv[0], "args": list(argv[1:])}, environment={}, parameters=None,
            limits=Limits(**limits),  # type: ignore[arg-type]  # passes options through
        )  # fmt: skip
        return await self.executor.launch(work, Notes())

    async def run(self, *argv: str, **limits: float) -> Outcome:
        async with asyncio.timeout(DEADLINE):
            return await (await self.launch(*argv, **limits)).wait()

    async def python(self, script: str, **limits: float) -> Outcome:
        return await self.run(sys.executable, "-S", "-c", script, **limits)


@pytest.fixture(params=["control groups", "looking"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """With what the machine offers, and with nothing but looking."""
    groups = request.param == "control groups"
    if groups and set(OFFERED) != set(cgroups.CONTROLLERS):
        pytest.skip(f"not on this machine: control groups: {cgroups.look().problems}")
    keeper = Keeper()
    await keeper.open()
    bench = Bench(keeper, ProcessConfig(tmp_path / "work", cgroups=groups))
    await bench.executor.open()
    try:
        yield bench
    finally:
        await bench.executor.close()
        await keeper.close()
        assert procfs.marked(keeper._mark) == []
        assert leftovers(keeper._mark) == []


def leftovers(mark: str) -> list[str]:
    """Folders of control groups that a keeper left."""
    return [tree.base for tree in OFFERED.values() if os.path.exists(f"{tree.base}/pawl-{mark}")]


async def soon(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 - facts about other processes have no event
            await asyncio.sleep(0.01)


def code(outcome: Outcome) -> str:
    return "" if outcome.failure is None else outcome.failure.code


GROWS = "x = []\nwhile True: x.append(b'x' * (1 << 20))"


async def test_more_memory_than_allowed_ends_the_run_and_is_the_reason(bench: Bench) -> None:
    outcome = await bench.python(GROWS, memory_bytes=64 * MIB)
    assert outcome.failure is not None
    assert outcome.failure.code == "OUT_OF_MEMORY"
    assert "max_memory_mb allows: 64 MiB" in outcome.failure.message
    assert outcome.signal == signal.SIGKILL
    assert outcome.usage.peak_memory_bytes >= 60 * MIB


async def test_memory_is_that_of_all_processes_together(bench: Bench) -> None:
    grows = "x = b'x' * (30 << 20); import time; time.sleep(60)"
    script = f"""for i in 1 2 3 4; do {sys.executable} -S -c "{grows}" & done; wait"""
    outcome = await bench.run("bash", "-c", script, memory_bytes=64 * MIB)
    assert code(outcome) == "OUT_OF_MEMORY"


async def test_a_child_that_ran_out_of_memory_is_the_reason_even_if_its_parent_says_otherwise(bench: Bench) -> None:
    outcome = await bench.run("bash", "-c", f'{sys.executable} -S -c "{GROWS}"; exit 3', memory_bytes=64 * MIB)
    assert code(outcome) == "OUT_OF_MEMORY"


async def test_memory_that_is_shared_is_counted_once(bench: Bench) -> None:
    script = """
import os, time
x = b'x' * (30 << 20)
for _ in range(5):
    if os.fork() == 0:
        time.sleep(0.4)
        os._exit(0)
for _ in range(5):
    os.wait()
"""
    outcome = await bench.python(script, memory_bytes=64 * MIB)
    assert code(outcome) == ""
    assert 30 * MIB < outcome.usage.peak_memory_bytes < 64 * MIB


async def test_within_its_limits_a_run_is_left_alone(bench: Bench) -> None:
    script = "x = b'x' * (20 << 20); import time; time.sleep(0.2)"
    outcome = await bench.python(script, memory_bytes=64 * MIB, cpu_cores=1.0, processes=4, open_files=64)
    assert code(outcome) == ""


async def test_without_a_limit_memory_is_not_limited(bench: Bench) -> None:
    outcome = await bench.python("x = b'x' * (150 << 20); import time; time.sleep(0.15)")
    assert code(outcome) == ""
    assert outcome.usage.peak_memory_bytes > 150 * MIB


async def test_a_fork_bomb_is_ended_by_its_number_of_processes(bench: Bench) -> None:
    run = await bench.launch("bash", "-c", BOMB, processes=50)
    async with asyncio.timeout(DEADLINE):
        outcome = await run.wait()
    assert outcome.failure is not None
    assert outcome.failure.code == "TOO_MANY_PROCESSES"
    assert "max_processes allows: 50" in outcome.failure.message
    assert procfs.marked(bench.keeper._mark) == [bench.keeper.pid] or procfs.marked(bench.keeper._mark) == []


async def test_a_bomb_whose_every_process_has_a_session_of_its_own_is_ended_too(bench: Bench) -> None:
    script = "import os, time\nfor _ in range(9):\n    if os.fork() == 0: os.setsid()\ntime.sleep(60)"  # 512 at most
    outcome = await bench.python(script, processes=50)
    assert code(outcome) == "TOO_MANY_PROCESSES"
    await soon(lambda: procfs.marked(bench.keeper._mark) in ([], [bench.keeper.pid]))


async def test_threads_count_as_processes(bench: Bench) -> None:
    script = "import threading, time\nfor _ in range(40): threading.Thread(target=time.sleep, args=(20,)).start()"
    assert code(await bench.python(script, processes=20)) == "TOO_MANY_PROCESSES"


async def test_a_run_beyond_its_share_of_the_processor_is_slowed_down_and_not_ended(bench: Bench) -> None:
    usage = (await bench.python("import time\nwhile time.process_time() < 0.12: pass", cpu_cores=0.05)).usage
    assert usage.wall_seconds > 1.0
    assert usage.cpu_throttled_seconds > 0


async def test_the_share_is_that_of_all_processes_together(bench: Bench) -> None:
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    script = f'for i in 1 2 3; do setsid {sys.executable} -S -c "{burn}" & done; wait'
    usage = (await bench.run("bash", "-c", script, cpu_cores=0.1)).usage
    assert usage.wall_seconds > 0.6  # 0.3 s of work at a tenth of the processor, less what was had before a look
    assert usage.cpu_throttled_seconds > 0


async def test_a_run_that_is_kept_from_the_processor_hears_its_end(bench: Bench) -> None:
    run = await bench.launch("bash", "-c", "trap 'exit 7' TERM; while :; do :; done", cpu_cores=0.1)
    await soon(lambda: (stat := procfs.stat_of(run.child.pid)) is not None and stat.cpu_seconds >= 0.05)
    await run.stop(DEADLINE)
    assert (await run.wait()).exit_code == 7


async def test_one_that_was_stopped_on_purpose_is_not_set_going_by_its_share(bench: Bench) -> None:
    run = await bench.launch("bash", "-c", "while :; do :; done", cpu_cores=0.5)
    await soon(lambda: (stat := procfs.stat_of(run.child.pid)) is not None and stat.cpu_seconds >= 0.1)
    run.signal(signal.SIGSTOP)
    await soon(lambda: state(run.child.pid) == "T")
    await asyncio.sleep(0.4)  # several looks
    assert state(run.child.pid) == "T"
    await run.stop(0)
    assert (await run.wait()).signal == signal.SIGKILL


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_open_files_are_limited_for_each_process(bench: Bench) -> None:
    outcome = await bench.python("open_ = [open('/dev/null') for _ in range(40)]", open_files=20)
    assert code(outcome) == "EXIT_1"
    assert outcome.failure is not None
    assert "Too many open files" in outcome.failure.message


async def test_what_a_killed_run_used_is_told_for_all_its_processes(bench: Bench) -> None:
    burn = "x = b'x' * (20 << 20)\nwhile True: pass"
    run = await bench.launch("bash", "-c", f'for i in 1 2; do {sys.executable} -S -c "{burn}" & done; wait')

    def burnt() -> bool:
        pids = [pid for pid in procfs.marked(bench.keeper._mark) if pid != run.child.pid]
        stats = [stat for pid in pids if (stat := procfs.stat_of(pid)) is not None]
        return len(stats) == 2 and all(stat.cpu_seconds > 0.2 for stat in stats)

    await soon(burnt)
    await run.stop(0)
    usage = (await run.wait()).usage
    assert usage.user_cpu_seconds + usage.system_cpu_seconds >= 0.4
    assert usage.peak_memory_bytes > 40 * MIB  # of both
    assert usage.wall_seconds > 0.2


async def test_bytes_that_were_written_are_told(bench: Bench) -> None:
    script = "import os\nf = open('f', 'wb', 0)\nf.write(b'x' * (4 << 20))\nos.fsync(f.fileno())"
    assert (await bench.python(script)).usage.written_bytes >= 4 * MIB


async def test_who_holds_a_limit_is_known(bench: Bench) -> None:
    run = await bench.launch("true", memory_bytes=64 * MIB, cpu_cores=0.5, processes=9)
    await run.wait()
    expected = "control group, version" if bench.executor._config.cgroups else "sampling"
    assert set(run.child.held_by) == {"memory", "cpu", "processes"}
    assert all(words.startswith(expected) for words in run.child.held_by.values())


async def test_what_left_its_group_and_forgot_its_origin_ends_with_a_bounded_run(bench: Bench) -> None:
    hides = f"(env -i setsid sh -c '{SLEEP} & exec {SLEEP}' &); sleep 0.2"
    assert code(await bench.run("sh", "-c", hides, processes=20)) == ""
    await soon(lambda: sleepers() == set())


def sleepers() -> set[int]:
    """What sleeps so long."""
    found, wanted = set(), SLEEP.replace(" ", "\0").encode() + b"\0"
    for pid in procfs.pids():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == wanted:
                found.add(pid)
        except OSError:
            pass
    return found


async def test_when_the_keeper_is_killed_nothing_of_a_bounded_run_is_left(bench: Bench) -> None:
    run = await bench.launch("sh", "-c", f"env -i setsid {SLEEP} & exec {SLEEP}", memory_bytes=64 * MIB, processes=9)
    await soon(lambda: len(sleepers()) == 2)
    assert bench.keeper.pid is not None
    os.kill(bench.keeper.pid, signal.SIGKILL)
    assert code(await run.wait()) == "KEEPER_LOST"
    await soon(lambda: leftovers(bench.keeper._mark) == [])
    assert procfs.marked(bench.keeper._mark) == []
    if bench.executor._config.cgroups:
        assert sleepers() == set(), "what forgot its origin is in the group all the same"
    for pid in sleepers():
        os.kill(pid, signal.SIGKILL)


async def test_without_limits_of_the_job_the_agents_ceiling_ends_a_fork_bomb(tmp_path: Path) -> None:
    keeper = Keeper()
    await keeper.open()
    bench = Bench(keeper, ProcessConfig(tmp_path / "work", max_processes=60))
    await bench.executor.open()
    try:
        outcome = await bench.run("bash", "-c", BOMB)
        assert code(outcome) == "TOO_MANY_PROCESSES"
        assert outcome.failure is not None
        assert "executor.max_processes" in outcome.failure.message
        script = "for i in $(seq 80); do sleep 0.4 & done; wait"
        assert code(await bench.run("bash", "-c", script, processes=200)) == "", "the job's own takes its place"
    finally:
        await bench.executor.close()
        await keeper.close()


@pytest.mark.skipif(os.getuid() != 0, reason="not on this machine: only root may choose the user")
async def test_a_task_user_is_held_by_the_same_limits(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as outer:  # pytest's own folders let nobody else pass
        os.chmod(outer, 0o711)
        groups = bench.executor._config.cgroups
        config = ProcessConfig(Path(outer) / "work", user=TaskUser(65534, 65534), cgroups=groups)
        bench.executor = ProcessExecutor(bench.keeper, config)
        await bench.executor.open()
        script = "import os\nassert os.getuid() == 65534\n" + GROWS
        outcome = await bench.run("/usr/bin/env", "python3", "-S", "-c", script, memory_bytes=64 * MIB)
        assert code(outcome) == "OUT_OF_MEMORY"
