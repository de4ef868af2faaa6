"""Every known way in which a plugin has harmed its host, and what must come of it: a failed run and a living agent."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from agent.executors import guest as inside
from agent.executors import wasm_messages as wire
from agent.executors.base import LaunchError, Limits, Payload
from agent.executors.host_calls import Caller
from agent.executors.wasm import LARGE_BYTES
from agent.executors.wasm_budget import Budget, Ceiling
from agent.executors.wasm_run import FrameChannel, Host, WasmRun
from agent.executors.zygote import COMPILED_KEPT, SPARES_KEPT
from tests.agent.hostile import HOSTILE, End, Hostile, whole
from tests.agent.wasm_stage import WITHIN, RecordingSink, Stage, digest, execute, guest, opened, outcome

HELLO = execute("(call $put (call $hello))", hello="hello")
SMALL = Limits(memory_bytes=64 << 20)
MANY_CALLS = Ceiling(host_calls=100_000_000)
"""A neighbour asks without a pause until it is told to end."""

asynchronous = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One executor and one zygote for all: each test also shows that the ones before it left no harm."""
    async with opened(tmp_path_factory.mktemp("wasm"), ceiling=MANY_CALLS) as stage:
        yield stage


def proc(process: int, name: str) -> str:
    """What the system says of a process; nothing once it is gone."""
    try:
        return Path(f"/proc/{process}/{name}").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(process: int) -> list[int]:
    return [int(word) for word in proc(process, f"task/{process}/children").split()]


def named(process: int, name: bytes) -> list[int]:
    return [child for child in children(process) if proc(child, "comm").strip() == name.decode()]


async def guests(process: int, count: int) -> list[int]:
    """So many processes that run a plugin, once there are so many: spares are no guests."""
    await until(lambda: len(named(process, inside.GUEST_NAME)) == count)
    return named(process, inside.GUEST_NAME)


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def is_alive(process: int) -> bool:
    status = proc(process, "stat").rpartition(")")[2].split()
    return bool(status) and status[0] not in "ZX"


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not fact():  # noqa: ASYNC110  # the system gives no event for what /proc says
            await asyncio.sleep(0.002)


async def until_gone(process: int) -> None:
    await until(lambda: not is_alive(process))


async def check_well(stage: Stage) -> None:
    """The same zygote still serves."""
    assert len(stage.launcher.started) == 1
    assert (await stage.run(stage.work(HELLO))).failure is None


# What is known to do harm


def some(*ends: End) -> list[Hostile]:
    return [one for one in HOSTILE if one.end in ends]


@asynccontextmanager
async def beside_a_neighbour(stage: Stage, hostile: Hostile) -> AsyncIterator[None]:
    """A run of the same plugin goes on meanwhile, and ends well when it is told to."""
    if not hostile.neighbour:  # the harm is done before the entry is chosen: no run of this plugin can be well
        yield
        return
    neighbour = await stage.start(stage.work(hostile.module, entry="waits", limits=SMALL))
    yield
    async with asyncio.timeout(WITHIN):
        await neighbour.stop(WITHIN)
    assert (await outcome(neighbour)).failure is None


@asynchronous
@pytest.mark.parametrize("hostile", some(End.REFUSED), ids=str)
async def test_what_must_not_be_seen_by_native_code_is_refused(stage: Stage, hostile: Hostile) -> None:
    with pytest.raises(LaunchError) as caught:
        await stage.run(stage.work(hostile.module))
    assert caught.value.failure.code == "PLUGIN_REFUSED"
    assert hostile.words in caught.value.failure.message
    assert not caught.value.failure.retryable
    await check_well(stage)


@asynchronous
@pytest.mark.parametrize("hostile", some(End.FAILS), ids=str)
async def test_what_crashes_or_fills_its_process_fails_its_own_run_alone(stage: Stage, hostile: Hostile) -> None:
    async with beside_a_neighbour(stage, hostile):
        result = await stage.run(stage.work(hostile.module, limits=SMALL))
        assert result.failure is not None
        assert hostile.words in ("", result.failure.code)
        if not hostile.neighbour:  # called while the runtime's own pointers are null
            assert "SIGSEGV" in result.failure.message
            assert result.signal == signal.SIGSEGV
        assert result.usage.peak_memory_bytes < 250 << 20
        await check_well(stage)


@asynchronous
@pytest.mark.parametrize("hostile", some(End.HANGS), ids=str)
async def test_what_hangs_is_killed_from_outside_alone(stage: Stage, hostile: Hostile) -> None:
    async with beside_a_neighbour(stage, hostile):
        running = await stage.start(stage.work(hostile.module, limits=SMALL))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await running.wait()
        async with asyncio.timeout(WITHIN):
            await running.stop(0)
        assert (await outcome(running)).signal == signal.SIGKILL
        await check_well(stage)


@asynchronous
@pytest.mark.parametrize("hostile", some(End.EITHER), ids=str)
async def test_what_corrupts_its_own_memory_has_no_effect_outside(stage: Stage, hostile: Hostile) -> None:
    async with beside_a_neighbour(stage, hostile):
        running = await stage.start(stage.work(hostile.module, limits=SMALL))
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await running.wait()
        await running.stop(0)
        await outcome(running)
        await check_well(stage)


@asynchronous
async def test_a_handle_out_of_thin_air(stage: Stage) -> None:
    code = "(call $put (call $pawl (i64.const 0x7fffffffffff)))"  # the kernel knows no such block: it has length 0
    result = await stage.run(stage.work(execute(code)))
    assert result.failure is not None or b"INVALID_ARGUMENT" in (result.output.data if result.output else b"")
    await check_well(stage)


# Ends from outside


@asynchronous
async def test_ending_one_run_leaves_another_of_the_same_plugin_alone(stage: Stage) -> None:
    module = whole('(func (export "execute_task") (call $spin))')
    neighbour = await stage.start(stage.work(module, entry="waits"))
    victim = await stage.start(stage.work(module, entry="waits"))
    await victim.stop(0)
    assert (await outcome(victim)).signal == signal.SIGKILL
    async with asyncio.timeout(WITHIN):
        await neighbour.stop(WITHIN)
    assert (await outcome(neighbour)).failure is None


@asynchronous
async def test_a_kill_by_the_system_may_be_retried(stage: Stage) -> None:
    running = await stage.start(stage.work(execute("(call $spin)")))
    [process] = await guests(stage.zygote.pid, 1)
    os.kill(process, signal.SIGKILL)
    result = await outcome(running)
    assert result.failure is not None
    assert (result.failure.code, result.failure.retryable) == ("PLUGIN_CRASH", True)
    assert "SIGKILL" in result.failure.message
    await check_well(stage)


@asynchronous
async def test_when_the_zygote_dies_its_runs_fail_and_the_next_launch_has_a_new_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        running = [await stage.start(stage.work(execute("(call $spin)"))) for _ in range(3)]
        processes = await guests(stage.zygote.pid, 3)
        os.kill(stage.zygote.pid, signal.SIGKILL)
        for one in running:
            result = await outcome(one)
            assert result.failure is not None
            assert (result.failure.code, result.failure.retryable) == ("PLUGIN_CRASH", True)
        for process in processes:
            await until_gone(process)
        assert (await stage.run(stage.work(HELLO))).failure is None
        assert len(stage.launcher.started) == 2


@asynchronous
async def test_when_the_agent_goes_the_zygote_and_its_guests_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        running = await stage.start(stage.work(execute("(call $spin)")))
        [process] = await guests(stage.zygote.pid, 1)
        stage.executor._zygotes[False]._die()  # closes the control channel, as the end of the agent does
        await until_gone(process)
        await until_gone(stage.zygote.pid)
        assert (await outcome(running)).failure is not None


@asynchronous
async def test_a_zygote_that_is_stuck_is_ended_with_what_it_has(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        running = await stage.start(stage.work(execute("(call $spin)")))
        [process] = await guests(stage.zygote.pid, 1)
        os.kill(stage.zygote.pid, signal.SIGSTOP)
        async with asyncio.timeout(WITHIN):
            await running.stop(0)
        await until_gone(process)
        assert (await stage.run(stage.work(HELLO))).failure is None


@asynchronous
async def test_a_large_plugin_is_forked_from_a_zygote_of_its_own_kind(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        assert (await stage.run(stage.work(HELLO))).failure is None
        padding = " " * LARGE_BYTES
        large = guest('(func (export "execute_task") (call $put (call $words)))', memory="(memory 20)", words=padding)
        assert (await stage.run(stage.work(large))).failure is None
        assert len(stage.launcher.started) == 2
        small, other = (process.pid for process in stage.launcher.started)
        running = await stage.start(stage.work(execute("(call $spin)")))
        await guests(small, 1)
        await guests(other, 0)
        os.kill(other, signal.SIGKILL)  # its end is nothing to the runs of the other
        await until(lambda: stage.executor._zygotes[True].dead)
        assert (await stage.run(stage.work(large))).failure is None
        await running.stop(0)
        assert len(stage.launcher.started) == 3


@asynchronous
async def test_a_plugin_that_has_run_has_a_spare_for_its_next_run_and_can_lose_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        assert (await stage.run(stage.work(HELLO))).failure is None
        await until(lambda: len(named(stage.zygote.pid, inside.SPARE_NAME)) == 1)
        [spare] = named(stage.zygote.pid, inside.SPARE_NAME)
        await until(lambda: descriptors(spare) == 4)  # warm: nothing of the zygote's but the door
        spinning = await stage.start(stage.work(execute("(call $spin)")))
        running = await stage.start(stage.work(HELLO))
        assert (await outcome(running)).failure is None
        await until_gone(spare)
        await until(lambda: bool(named(stage.zygote.pid, inside.SPARE_NAME)))
        for process in named(stage.zygote.pid, inside.SPARE_NAME):
            os.kill(process, signal.SIGKILL)
            await until_gone(process)
        assert (await stage.run(stage.work(HELLO))).failure is None
        await spinning.stop(0)
        await check_well(stage)


@asynchronous
async def test_spares_are_few(stage: Stage) -> None:
    for number in range(SPARES_KEPT + 2):
        assert (await stage.run(stage.work(execute("(call $put (call $name))", name=f"few {number}")))).failure is None
    await until(lambda: len(named(stage.zygote.pid, inside.SPARE_NAME)) == SPARES_KEPT)
    await check_well(stage)


@asynchronous
async def test_a_launch_that_is_given_up_leaves_nothing_running(stage: Stage) -> None:
    module = execute("(call $spin)", name="given up")
    launch = asyncio.gather(stage.executor.launch(stage.work(module), RecordingSink()))
    await until(lambda: any("compile" in proc(child, "cmdline") for child in children(stage.zygote.pid)))
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    await guests(stage.zygote.pid, 0)
    await until(lambda: not any("compile" in proc(child, "cmdline") for child in children(stage.zygote.pid)))
    await check_well(stage)


# What the processes are


@asynchronous
async def test_the_zygote_has_no_grpc_and_a_guest_has_few_rights(stage: Stage) -> None:
    await check_well(stage)
    assert "extism" in proc(stage.zygote.pid, "maps")
    assert "grpc" not in proc(stage.zygote.pid, "maps")
    sink = RecordingSink()
    module = execute("(call $log_warn (call $word)) (call $spin)", word="go")
    running = await stage.start(stage.work(module, limits=SMALL), sink)
    [process] = await guests(stage.zygote.pid, 1)
    try:
        async with asyncio.timeout(WITHIN):
            await sink.spoke.wait()
        limits, status = proc(process, "limits"), proc(process, "status")
        limit = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
        assert limit["Max core file size"] == "0"
        assert limit["Max open files"] == "64"
        assert int(limit["Max data size"]) < 400 << 20
        assert sorted(os.listdir(f"/proc/{process}/fd"))[:4] == ["0", "1", "2", "3"]
        assert "NoNewPrivs:\t1" in status
        if os.getuid() == 0:
            assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert os.getpgid(process) == os.getpgid(stage.zygote.pid)
    finally:
        await running.stop(0)


def test_the_throw_away_compiler_tells_what_is_wrong(tmp_path: Path) -> None:
    module = bytes(wat2wasm('(module (func (export "execute_task")))')) + b"\x0a\x00"
    path = tmp_path / "broken.wasm"
    path.write_bytes(module)
    argv = [sys.executable, "-m", "agent.executors.zygote", "compile", digest(module), str(path), "0", "64"]
    done = subprocess.run([*argv, str(os.getpid())], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr


@asynchronous
async def test_more_plugins_than_are_kept_compiled_all_run(stage: Stage) -> None:
    modules = [execute("(call $put (call $name))", name=f"plugin {number}") for number in range(COMPILED_KEPT + 2)]
    for module in (*modules, modules[0], modules[-1]):  # the first has made room for the last, and comes again
        result = await stage.run(stage.work(module))
        assert result.failure is None
    await check_well(stage)


@asynchronous
async def test_two_hundred_runs_at_once_all_end_well(stage: Stage) -> None:
    await check_well(stage)
    await until(lambda: bool(named(stage.zygote.pid, inside.SPARE_NAME)))
    before = descriptors(os.getpid()), descriptors(stage.zygote.pid)
    outcomes = await asyncio.gather(*(stage.run(stage.work(HELLO)) for _ in range(200)))
    assert all(one.failure is None for one in outcomes)
    await guests(stage.zygote.pid, 0)
    await until(lambda: descriptors(os.getpid()) <= before[0] and descriptors(stage.zygote.pid) <= before[1])


def test_under_uvloop_runs_end_and_are_stopped_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stage:
            spinning = await stage.start(stage.work(execute("(call $spin)")))
            outcomes = await asyncio.gather(*(stage.run(stage.work(HELLO)) for _ in range(20)))
            assert all(one.output == Payload(b"hello", "text/plain; charset=utf-8") for one in outcomes)
            await spinning.stop(0)
            assert (await outcome(spinning)).signal == signal.SIGKILL
            await check_well(stage)

    uvloop.run(main())


# A guest's process that is in other hands


async def hostile(*parts: bytes, output_bytes: int = 1000) -> str:
    """What the agent says of a process that sends these bytes and then waits."""
    killed = asyncio.Event()
    budget = Budget(1 << 20, 1, output_bytes, 1000, 1000, host_calls=10, http_calls=1)
    begin = wire.Begin("execute_task", {}, b"", output_bytes, 1000, 1000, 10)
    host = Host(killed.set, lambda _: None, killed.set, os.close, Caller("default", "", 1), lambda _, __, ___: None)
    run = WasmRun(begin, budget, RecordingSink(), None, host)
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: FrameChannel(run), sock=mine)
    with theirs:
        async with asyncio.timeout(WITHIN):
            await asyncio.to_thread(theirs.sendall, b"".join(parts))
            await killed.wait()
        run.exited(wire.Exited(1, None, signal.SIGKILL, 0, 0, 0))
    result = await outcome(run)
    assert result.failure is not None
    assert result.failure.code == "PLUGIN_CRASH"
    return result.failure.message


async def test_a_frame_that_announces_more_than_the_limit_ends_the_run() -> None:
    assert "announced a frame" in await hostile(b"\xff\xff\xff\xff")


async def test_a_frame_that_is_none_ends_the_run() -> None:
    assert "sent a frame that is none" in await hostile(b"\0\0\0\1\xc1")


async def test_an_output_over_the_limit_ends_the_run() -> None:
    assert "sent an output" in await hostile(wire.frame(wire.Returned(bytes(1001), 1001)))


async def test_progress_without_end_ends_the_run() -> None:
    assert "progress" in await hostile(wire.frame(wire.Progress(1.0, "x")) * 11)


async def test_two_calls_at_once_end_the_run() -> None:
    assert "a call that it may not" in await hostile(wire.frame(wire.Ask(b"{}")) * 2)


async def test_log_lines_without_end_end_the_run() -> None:
    assert "log lines" in await hostile(wire.frame(wire.Log("info", "x" * 60_000)) * 20)


# Pure parts


@given(st.binary(max_size=300), st.integers(0, 300))
def test_an_output_is_cut_to_its_limit_with_both_ends_kept(data: bytes, most: int) -> None:
    kept = inside.cut_output(data, len(data), most)
    assert len(kept) <= max(most, 0)
    if len(data) <= most:
        assert kept == data


def test_a_cut_output_says_how_much_is_missing() -> None:
    kept = inside.cut_output(b"a" * 500 + b"z" * 500, 1000, 100)
    head, marker, tail = kept.split(b"\n")
    assert len(kept) == 100
    assert len(head) + len(tail) + int(marker.split()[1]) == 1000
    assert set(head + tail) == {ord("a"), ord("z")}


@given(st.text(max_size=100))
def test_any_words_given_to_error_set_make_a_failure_with_a_good_code(text: str) -> None:
    failed = inside.failure(text, 0)
    assert wire.FAILURE_CODE.fullmatch(failed.code)


def test_a_negative_return_code_is_named_by_its_unsigned_form() -> None:
    assert inside._exit(-1).code == "EXIT_4294967295"
