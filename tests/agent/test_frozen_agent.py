"""An agent that is frozen cannot count leases: its keeper ends its single plugin runs, and the zygote lives on."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent import procfs
from agent.executors.guest import GUEST_NAME
from agent.keeper import Keeper

ROOT = Path(__file__).resolve().parents[2]
WITHIN = 30.0

# Like an agent: a keeper, an executor over it, leases. What it is told on stdin it does; what it finds it says.
AGENT_LIKE = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from agent.executors.base import Limits, Work
from agent.executors.wasm import WasmExecutor
from agent.keeper import Keeper
from tests.agent.wasm_stage import RecordingSink, digest, execute

def say(**facts):
    print(json.dumps(facts), flush=True)

async def main():
    modules = {digest(one): one for one in (execute("(call $spin)"), execute("(call $put (call $word))", word="hello"))}
    spin, hello = modules
    async def fetch(wanted):
        return modules[wanted]
    keeper = Keeper()
    await keeper.open()
    executor = WasmExecutor(keeper, fetch, Path(sys.argv[1]))
    await executor.open()
    def work(name, plugin):
        return Work("default", name, name, 1, 1, "job", "wasm", {"plugin": plugin}, {}, None, Limits())
    async def launch(name, plugin):
        return await executor.launch(work(name, plugin), RecordingSink())
    leased, free = await launch("leased", spin), await launch("free", spin)
    keeper.lease_many({"leased.1": (float(sys.argv[3]), float(sys.argv[3])), "free.1": (None, None)})
    zygote = next(child for key, child in keeper._children.items() if key.startswith("wasm-zygote"))
    say(zygote=zygote.pid, keeper=keeper.pid)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line == b"renew\\n":
            keeper.lease_many({"leased.1": (60.0, 60.0)})
            say(renewed=True)
        elif line == b"outcome\\n":
            ended = await leased.wait()
            say(signal=ended.signal)
        elif line == b"hello\\n":
            ended = await (await launch("after", hello)).wait()
            say(output=ended.output.data.decode())
    await free.stop(0)
    await executor.close()
    await keeper.close()

asyncio.run(main())
"""


class Frozen:
    """The process, with its conversation."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def heard(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN):
            return dict(json.loads(await self._process.stdout.readline()))

    async def told(self, word: str) -> dict[str, Any]:
        """What it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self.heard()

    def signal(self, number: int) -> None:
        """STOP and CONT."""
        self._process.send_signal(number)


@asynccontextmanager
async def agent_like(folder: Path, lease_seconds: float) -> AsyncIterator[Frozen]:
    """An agent-like process with two plugin runs, one of them leased for so long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT_LIKE, str(folder), str(ROOT), str(lease_seconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield Frozen(process)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(WITHIN):
            assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # its keeper ends what it started
        await process.wait()


def children_of(pid: int) -> set[int]:
    """The children that run."""
    found = set()
    for other in procfs.pids():
        with suppress(OSError):
            stat = Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == pid and stat[0] not in "ZX":
                found.add(other)
    return found


def guests_of(zygote: int) -> set[int]:
    """Its children that run a plugin: the spare that waits for the next run is none."""
    found = set()
    for child in children_of(zygote):
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == GUEST_NAME.decode():
                found.add(child)
    return found


def open_files(pid: int) -> int:
    """How many it has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def soon(fact: Any) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(WITHIN):
        while not fact():  # noqa: ASYNC110 - facts about other processes have no event
            await asyncio.sleep(0.02)


async def test_the_keeper_ends_a_frozen_agents_run_at_its_lease_and_nothing_else(tmp_path: Path) -> None:
    async with agent_like(tmp_path, 1.0) as frozen:
        facts = await frozen.heard()
        began = procfs.boot_clock()
        await soon(lambda: len(guests_of(facts["zygote"])) == 2)
        guests = guests_of(facts["zygote"])
        frozen.signal(signal.SIGSTOP)
        await soon(lambda: len(guests_of(facts["zygote"])) == 1)
        assert procfs.boot_clock() - began > 0.5  # at its lease's end and not because of the freeze
        assert facts["zygote"] in children_of(facts["keeper"])
        frozen.signal(signal.SIGCONT)
        assert await frozen.told("outcome") == {"signal": signal.SIGKILL}
        assert await frozen.told("hello") == {"output": "hello"}  # of the same zygote
        await soon(lambda: guests_of(facts["zygote"]) < guests)


async def test_a_renewed_run_outlives_its_first_lease(tmp_path: Path) -> None:
    async with agent_like(tmp_path, 3.0) as one:
        facts = await one.heard()
        first_ends = procfs.boot_clock() + 3.0
        assert await one.told("renew") == {"renewed": True}
        one.signal(signal.SIGSTOP)
        await soon(lambda: procfs.boot_clock() > first_ends + 0.5)
        assert len(guests_of(facts["zygote"])) == 2
        one.signal(signal.SIGCONT)


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    """A keeper of this process."""
    keeper = Keeper()
    await keeper.open()
    try:
        yield keeper
    finally:
        await keeper.close()


async def test_a_charge_that_has_ended_is_forgotten_and_costs_no_open_file(keeper: Keeper) -> None:
    assert keeper.pid is not None
    pid = keeper.pid
    before = open_files(pid)
    for number in range(20):
        sleeping = await asyncio.create_subprocess_exec("sleep", "300")
        keeper.take_charge(f"run-{number}", os.pidfd_open(sleeping.pid))
        keeper.lease_many({f"run-{number}": (0.0, 0.0)})
        async with asyncio.timeout(WITHIN):
            assert await sleeping.wait() == -signal.SIGKILL
    await soon(lambda: open_files(pid) == before)


async def test_one_that_was_never_leased_is_not_told_to_the_keeper(keeper: Keeper) -> None:
    sleeping = await asyncio.create_subprocess_exec("sleep", "300")
    pidfd = os.pidfd_open(sleeping.pid)
    keeper.take_charge("run", pidfd)
    keeper.let_go("run")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pidfd)
    keeper.lease_many({"run": (0.0, 0.0)})
    assert sleeping.returncode is None
    sleeping.kill()
    await sleeping.wait()
