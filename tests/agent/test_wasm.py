import asyncio
import json
import os
import resource
import signal
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from pawl.wasm import with_metadata

from agent.executors.base import LaunchError, Limits, LogStream, Outcome, Pausable, Payload, Shard
from agent.executors.wasm import WasmExecutor
from agent.executors.wasm_budget import Ceiling
from agent.keeper import Keeper
from tests.agent.wasm_stage import (
    WITHIN,
    Process,
    RealLauncher,
    RecordingSink,
    Stage,
    digest,
    execute,
    guest,
    opened,
    outcome,
)

HELLO = execute("(call $put (call $hello))", hello='{"greeting": "hello"}')
SPIN = execute("(call $spin)")
LIMITED = Limits(memory_bytes=64 << 20)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wasm")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """One executor for all: whatever a test does to it, the next one finds it well."""
    async with opened(folder) as stage:
        yield stage


def failure_of(outcome: Outcome) -> tuple[str, bool]:
    assert outcome.failure is not None, outcome
    return outcome.failure.code, outcome.failure.retryable


async def refusal(stage: Stage, module: bytes, **options: object) -> tuple[str, str]:
    with pytest.raises(LaunchError) as caught:
        await stage.run(stage.work(module, **options))  # type: ignore[arg-type]  # options are those of work()
    return caught.value.failure.code, caught.value.failure.message


# What a plugin can do


async def test_the_seed_form_runs_and_its_output_comes_back(stage: Stage) -> None:
    sink = RecordingSink()
    result = await stage.run(stage.work(HELLO), sink)
    assert result.failure is None
    assert result.exit_code == 0
    assert result.output == Payload(b'{"greeting": "hello"}', "application/json")
    assert (result.output_size, result.output_truncated) == (21, False)
    assert 0 < result.usage.wall_seconds < WITHIN
    assert result.usage.peak_memory_bytes > 0
    assert sink.starts == 1


async def test_the_input_is_the_parameters_bytes_as_they_are(stage: Stage) -> None:
    echo = execute("(call $output_set (call $input_offset) (call $input_length))")
    data = os.urandom(3 << 20)
    limits = Limits(output_bytes=4 << 20)
    result = await stage.run(stage.work(echo, parameters=Payload(data, "application/x-thing"), limits=limits))
    assert result.output == Payload(data, "application/octet-stream")


async def test_a_plugin_without_output_succeeds_with_none(stage: Stage) -> None:
    result = await stage.run(stage.work(execute("nop")))
    assert result.failure is None
    assert result.output is None


async def test_text_that_is_no_json_is_text(stage: Stage) -> None:
    result = await stage.run(stage.work(execute("(call $put (call $words))", words="hello")))
    assert result.output == Payload(b"hello", "text/plain; charset=utf-8")


async def test_the_metadata_says_what_type_the_output_has(stage: Stage) -> None:
    entries = [{"name": "execute_task", "output": {"content_type": "text/csv"}}]
    module = with_metadata(HELLO, {"abi": 1, "name": "csv", "version": "1", "entries": entries})
    result = await stage.run(stage.work(module))
    assert result.output is not None
    assert result.output.content_type == "text/csv"


async def test_another_entry_can_be_run(stage: Stage) -> None:
    module = guest('(func (export "resize") (result i32) (call $put (call $done)) i32.const 0)', done="1")
    result = await stage.run(stage.work(module, entry="resize"))
    assert result.output == Payload(b"1", "application/json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quality", "80"),
        ("task.job", "a-plugin"),
        ("task.attempt", "2"),
        ("task.traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
        ("task.tracestate", "vendor=abc"),
        ("task.baggage", "customer=1"),
        ("task.group_id", "a-group"),
        ("task.shard_index", "2"),
        ("task.shard_total", "5"),
    ],
)
async def test_a_plugin_reads_its_config_and_what_it_is_run_for(stage: Stage, key: str, value: str) -> None:
    module = execute("(call $put (call $config_get (call $key)))", key=key)
    work = stage.work(module, config={"quality": "80", "task.job": "forged", "task.shard_index": "forged"})
    result = await stage.run(replace(work, shard=Shard("a-group", 2, 5)))
    assert result.output is not None
    assert result.output.data.decode() == value


async def test_the_environment_of_the_job_is_config_and_the_agents_is_not_there(stage: Stage) -> None:
    module = execute("(call $put (call $config_get (call $key)))", key="env.COLOUR")
    result = await stage.run(stage.work(module, environment={"COLOUR": "red"}))
    assert result.output is not None
    assert result.output.data == b"red"


async def test_lines_logged_both_ways_come_out_while_it_runs(stage: Stage) -> None:
    op = {"op": "log", "args": {"level": "error", "message": "careful", "fields": {"row": 3}}}
    module = execute(
        "(call $log_warn (call $line)) (drop (call $pawl (call $op))) (call $spin)", line="hi", op=json.dumps(op)
    )
    sink = RecordingSink()
    running = await stage.start(stage.work(module), sink)
    async with asyncio.timeout(WITHIN):
        while sink.text() != 'WARN hi\nERROR careful {"row":3}\n':
            await sink.spoke.wait()
            sink.spoke.clear()
    await running.stop(0)


WAITS = "(loop $ask (br_if $ask (i64.ne (i64.const 32) (call $length (call $pawl (call $op))))))"
"""Asks for heartbeats until one says that somebody wants it to end."""


async def test_a_heartbeat_is_a_sign_of_life_though_not_each_of_many(stage: Stage) -> None:
    sink = RecordingSink()
    running = await stage.start(stage.work(execute(WAITS, op='{"op": "heartbeat"}')), sink)
    async with asyncio.timeout(WITHIN):
        while sink.beats < 2:
            await sink.spoke.wait()
            sink.spoke.clear()
    await running.stop(WITHIN)
    assert (await running.wait()).failure is None
    assert sink.beats < 200


@pytest.mark.parametrize("grace", [0.0, WITHIN])
async def test_a_paused_plugin_stands_still_goes_on_and_can_be_ended(stage: Stage, grace: float) -> None:
    sink = RecordingSink()
    running = await stage.start(stage.work(execute(WAITS, op='{"op": "heartbeat"}')), sink)
    assert isinstance(running, Pausable)

    async def beats() -> None:
        """Waits for one, and no longer: it beats as fast as it can, and may call its host only so often."""
        before = sink.beats
        async with asyncio.timeout(WITHIN):
            while sink.beats == before:  # noqa: ASYNC110 - what a run says has no event that outlasts a pause
                await asyncio.sleep(0.01)

    await beats()
    running.pause()
    await asyncio.sleep(0.1)  # what was on its way has come
    before = sink.beats
    await asyncio.sleep(0.5)
    assert sink.beats == before
    running.resume()
    await beats()
    running.pause()
    await running.stop(grace)
    assert (await running.wait()).failure is None or not grace


async def test_a_plugin_beyond_its_share_of_the_processor_is_slowed_down(stage: Stage) -> None:
    burns = execute(
        "(local $n i64) (local.set $n (i64.const 400000000))"
        " (loop $more (local.set $n (i64.sub (local.get $n) (i64.const 1)))"
        " (br_if $more (i64.ne (local.get $n) (i64.const 0))))"
    )
    result = await stage.run(stage.work(burns, limits=Limits(cpu_cores=0.1)), RecordingSink())
    assert result.failure is None
    usage = result.usage
    assert usage.cpu_throttled_seconds > 0
    assert usage.wall_seconds > 4 * (usage.user_cpu_seconds + usage.system_cpu_seconds)


async def test_progress_is_reported(stage: Stage) -> None:
    op = json.dumps({"op": "progress", "args": {"percent": 42.5, "message": "halfway"}})
    sink = RecordingSink()
    result = await stage.run(stage.work(execute("(call $put (call $pawl (call $op)))", op=op)), sink)
    assert sink.reports == [(42.5, "halfway")]
    assert result.output == Payload(b'{"ok":{}}', "application/json")


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ('{"op": "http", "args": {"url": "http://example.test"}}', "HTTP_HOST_NOT_GRANTED"),
        ('{"op": "http", "args": {}}', "INVALID_ARGUMENT"),
        ('{"op": "http", "args": {"url": "http://example.test", "follow": true}}', "INVALID_ARGUMENT"),
        ('{"op": "http", "args": {"url": "http://a.test", "body": "a", "body_base64": "YQ=="}}', "INVALID_ARGUMENT"),
        ('{"op": "http", "args": {"url": "http://a.test", "body_base64": "*"}}', "INVALID_ARGUMENT"),
        ('{"op": "secret", "name": "KEY"}', "SECRET_NOT_GRANTED"),
        ('{"op": "secret"}', "INVALID_ARGUMENT"),
        ('{"op": "kv.get"}', "UNSUPPORTED_OP"),
        ('{"op": "step.begin", "name": "charge"}', "UNSUPPORTED_OP"),
        ('{"op": "no-such"}', "UNSUPPORTED_OP"),
        ("{}", "INVALID_ARGUMENT"),
        ("not json", "INVALID_ARGUMENT"),
        ('{"op": "progress", "args": {"percent": 101}}', "INVALID_ARGUMENT"),
        ('{"op": "progress", "args": {"percent": "1"}}', "INVALID_ARGUMENT"),
        ('{"op": "log", "args": {"level": "loud", "message": "x"}}', "INVALID_ARGUMENT"),
        ('{"op": "log", "args": {}}', "INVALID_ARGUMENT"),
    ],
)
async def test_a_call_that_cannot_be_served_gets_an_error_and_the_plugin_goes_on(
    stage: Stage, request_text: str, code: str
) -> None:
    result = await stage.run(stage.work(execute("(call $put (call $pawl (call $op)))", op=request_text)))
    assert result.output is not None
    error = json.loads(result.output.data)["error"]
    assert error["code"] == code
    assert error["retryable"] is False


# How a plugin fails


@pytest.mark.parametrize(
    ("form", "text", "code", "retryable", "after"),
    [
        ("", "out of paper", "PLUGIN_ERROR", False, None),
        ("", '{"code": "NO_STOCK", "message": "none left"}', "NO_STOCK", False, None),
        ("", '{"code": "BUSY", "message": "later", "retryable": true, "retry_after_seconds": 2.5}', "BUSY", True, 2.5),
        ("", '{"code": "not upper snake", "message": "m"}', "PLUGIN_ERROR", False, None),
        ("(result i32)", '{"code": "BUSY", "retryable": true}', "BUSY", True, None),
    ],
)
async def test_an_error_that_the_plugin_sets_fails_the_run(
    stage: Stage, form: str, text: str, code: str, retryable: bool, after: float | None
) -> None:
    end = "(i32.const 7)" if form else ""
    module = guest(f'(func (export "execute_task") {form} (call $error_set (call $words)) {end})', words=text)
    result = await stage.run(stage.work(module))
    assert failure_of(result) == (code, retryable)
    assert result.failure is not None
    assert result.failure.retry_after_seconds == after


@pytest.mark.parametrize("number", [1, 42, 134])
async def test_a_code_other_than_0_fails_the_run_and_is_not_retried(stage: Stage, number: int) -> None:
    module = guest(f'(func (export "execute_task") (result i32) i32.const {number})')
    result = await stage.run(stage.work(module))
    assert failure_of(result) == (f"EXIT_{number}", False)
    assert result.exit_code == number


@pytest.mark.parametrize(
    "code",
    ["unreachable", "(drop (i32.div_u (i32.const 1) (i32.const 0)))", "(drop (i32.load (i32.const 70000)))"],
)
async def test_a_trap_fails_the_run(stage: Stage, code: str) -> None:
    assert failure_of(await stage.run(stage.work(execute(code)))) == ("PLUGIN_TRAP", False)


async def test_endless_recursion_is_a_trap(stage: Stage) -> None:
    module = guest('(func $f (export "execute_task") (call $f) (call $f))')
    assert failure_of(await stage.run(stage.work(module))) == ("PLUGIN_TRAP", False)


async def test_growing_memory_beyond_the_limit_is_told_as_such(stage: Stage) -> None:
    module = execute("(loop $more (drop (memory.grow (i32.const 64))) (br $more))")
    result = await stage.run(stage.work(module, limits=LIMITED))
    assert failure_of(result) == ("PLUGIN_OUT_OF_MEMORY", False)


async def test_a_plugin_that_begins_with_more_memory_than_it_may_have_is_not_started(stage: Stage) -> None:
    module = guest('(func (export "execute_task"))', memory="(memory 2000)")
    code, message = await refusal(stage, module, limits=LIMITED)
    assert code == "PLUGIN_OUT_OF_MEMORY"
    assert str(2000 * 65536) in message


async def test_without_descriptors_left_a_launch_fails_and_may_be_retried(stage: Stage) -> None:
    work = stage.work(HELLO)
    assert (await stage.run(work)).failure is None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
    try:
        with pytest.raises(LaunchError) as caught:
            await stage.run(work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.failure.code, caught.value.failure.retryable) == ("SPAWN_FAILED", True)
    assert (await stage.run(work)).failure is None


# What is refused before anything runs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "settings.plugin"),
        ({"plugin": "hello@1"}, "settings.plugin"),
        ({"plugin": digest(HELLO).upper()}, "settings.plugin"),
        ({"plugin": digest(HELLO), "entry": 3}, "settings.entry"),
        ({"plugin": digest(HELLO), "entry": "resize"}, "settings.entry"),
        ({"plugin": digest(HELLO), "config": []}, "settings.config"),
        ({"plugin": digest(HELLO), "config": {"quality": 80}}, "settings.config.quality"),
    ],
)
async def test_wrong_settings_name_the_field(stage: Stage, settings: dict[str, object], words: str) -> None:
    work = stage.work(HELLO)
    object.__setattr__(work, "settings", settings)
    with pytest.raises(LaunchError) as caught:
        await stage.executor.launch(work, RecordingSink())
    assert caught.value.failure.code == "INVALID_SETTINGS"
    assert not caught.value.failure.retryable
    assert words in caught.value.failure.message


async def test_an_unknown_digest_is_not_found(stage: Stage) -> None:
    work = stage.work(execute("nop", name="nobody has this"))
    stage.plugins.clear()
    with pytest.raises(LaunchError) as caught:
        await stage.executor.launch(work, RecordingSink())
    assert (caught.value.failure.code, caught.value.failure.retryable) == ("PLUGIN_NOT_FOUND", False)


async def test_bytes_with_another_digest_are_not_run(stage: Stage) -> None:
    module = execute("nop", name="somebody changed this")
    work = stage.work(module)
    stage.plugins[digest(module)] = SPIN
    with pytest.raises(LaunchError) as caught:
        await stage.executor.launch(work, RecordingSink())
    assert caught.value.failure.code == "PLUGIN_DIGEST_MISMATCH"


async def test_a_plugin_is_fetched_once_however_many_ask(stage: Stage) -> None:
    module = execute("nop", name="everybody wants this")
    outcomes = await asyncio.gather(*(stage.run(stage.work(module)) for _ in range(8)))
    assert all(one.failure is None for one in outcomes)
    assert stage.fetches.count(digest(module)) == 1


async def test_a_file_damaged_on_the_disk_is_fetched_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path) as stage:
            assert (await stage.run(stage.work(HELLO))).failure is None
            assert stage.fetches == [digest(HELLO)]
        (tmp_path / "plugins" / f"{digest(HELLO)}.wasm").write_bytes(SPIN)


async def test_what_holds_native_code_belongs_to_the_agent_alone(stage: Stage, folder: Path) -> None:
    await stage.run(stage.work(HELLO))
    for name in ("", "plugins", "compiled"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700
    assert list((folder / "compiled").rglob("*"))


async def test_code_that_is_not_well_typed_is_refused_by_the_compiler(stage: Stage) -> None:
    module = HELLO.replace(b"\x03\x40\x0c\x00\x0b\x0b", b"\x03\x40\x6a\x00\x0b\x0b")  # `br 0` becomes an addition
    assert module != HELLO
    code, message = await refusal(stage, module)
    assert code == "PLUGIN_COMPILE_FAILED"
    assert (code, message) == await refusal(stage, module)


# Limits


async def test_output_beyond_the_limit_keeps_its_beginning_and_its_end(stage: Stage) -> None:
    text = "a" * 5000 + "z" * 5000
    module = execute("(call $put (call $text))", text=text)
    result = await stage.run(stage.work(module, limits=Limits(output_bytes=1000)))
    assert result.failure is None
    assert result.output is not None
    assert (len(result.output.data), result.output_size, result.output_truncated) == (1000, 10000, True)
    head, marker, tail = result.output.data.decode().split("\n")
    assert set(head) == {"a"}
    assert set(tail) == {"z"}
    assert len(head) + len(tail) + int(marker.split()[1]) == 10000
    assert result.output.content_type == "text/plain; charset=utf-8"


async def test_log_lines_beyond_the_limit_are_dropped_with_a_word(stage: Stage) -> None:
    module = execute(
        """(local $i i32) (loop $more (call $log_warn (call $line))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $more (i32.lt_u (local.get $i) (i32.const 500))))""",
        line="x" * 100,
    )
    sink = RecordingSink()
    result = await stage.run(stage.work(module, limits=Limits(log_bytes=2000)), sink)
    assert result.failure is None
    assert "log limit of 2000 bytes reached" in sink.text()
    assert len(sink.text()) < 3000


async def test_host_calls_beyond_the_budget_end_the_run(folder: Path) -> None:
    async with opened(folder, ceiling=Ceiling(host_calls=50)) as stage:
        module = execute("(loop $more (drop (call $pawl (call $op))) (br $more))", op='{"op": "heartbeat"}')
        assert failure_of(await stage.run(stage.work(module))) == ("PLUGIN_HOST_CALLS_EXHAUSTED", False)


async def test_a_plugin_that_burns_its_cpu_limit_is_ended(folder: Path) -> None:
    async with opened(folder, ceiling=Ceiling(cpu_seconds=1)) as stage:
        result = await stage.run(stage.work(SPIN))
        assert failure_of(result) == ("PLUGIN_CPU_EXHAUSTED", False)


# Stopping


async def test_a_plugin_that_spins_is_killed_at_the_end_of_the_grace(stage: Stage) -> None:
    running = await stage.start(stage.work(SPIN))
    async with asyncio.timeout(WITHIN):
        await running.stop(0.05)
    result = await outcome(running)
    assert result.signal == signal.SIGKILL
    assert failure_of(result) == ("STOPPED", False)


async def test_a_plugin_that_asks_may_end_by_itself_during_the_grace(folder: Path) -> None:
    code = """
      (local $reply i64)
      (loop $ask
        (local.set $reply (call $pawl (call $op)))
        (br_if $ask (i64.ne (call $length (local.get $reply)) (i64.const 32))))
      (call $put (local.get $reply))"""  # the length of {"ok":{"cancel_requested":true}}; false is a byte longer
    async with opened(folder, ceiling=Ceiling(host_calls=10_000_000)) as stage:
        running = await stage.start(stage.work(execute(code, op='{"op": "heartbeat"}')))
        async with asyncio.timeout(WITHIN):
            await running.stop(15)
        result = await outcome(running)
        assert result.failure is None
        assert result.output is not None
        assert json.loads(result.output.data) == {"ok": {"cancel_requested": True}}


async def test_giving_up_the_wait_does_not_stop_the_run(stage: Stage) -> None:
    running = await stage.start(stage.work(SPIN))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await running.wait()
    await running.stop(0)
    assert (await outcome(running)).signal == signal.SIGKILL


async def test_closing_the_executor_ends_what_runs(folder: Path) -> None:
    async with opened(folder) as stage:
        running = [await stage.start(stage.work(SPIN)) for _ in range(3)]
    for one in running:
        assert (await outcome(one)).failure is not None
    assert await stage.zygote.wait() == 0


async def test_why_the_zygote_does_not_start_is_told(folder: Path) -> None:
    class Misled(RealLauncher):
        async def start(
            self, key: str, argv: list[str], env: dict[str, str], cwd: str, fds: list[tuple[int, int]]
        ) -> Process:
            return await super().start(key, [*argv[:-1], "nonsense"], env, cwd, fds)

    async def nothing(_: str) -> bytes:
        return b""

    with pytest.raises(RuntimeError, match="nonsense"):
        await WasmExecutor(Misled(), nothing, folder).open()


async def test_under_the_agents_keeper_plugins_run_and_nothing_is_left(folder: Path) -> None:
    async def fetch(_: str) -> bytes:
        return SPIN

    keeper = Keeper()
    await keeper.open()
    try:
        executor = WasmExecutor(keeper, fetch, folder)
        await executor.open()
        work = Stage(folder).work(SPIN)
        running = await executor.launch(work, RecordingSink())
        await running.stop(0)
        assert (await outcome(running)).signal == signal.SIGKILL
        left = await executor.launch(work, RecordingSink())
        await executor.close()
        assert (await outcome(left)).failure is not None
    finally:
        await keeper.close()


async def test_an_executor_without_a_way_to_start_processes_does_not_open(tmp_path: Path) -> None:
    class Broken(RealLauncher):
        async def start(
            self, key: str, argv: list[str], env: dict[str, str], cwd: str, fds: list[tuple[int, int]]
        ) -> Process:
            raise OSError("no processes left")

    async def nothing(_: str) -> bytes:
        return b""

    with pytest.raises(RuntimeError, match="no processes left"):
        await WasmExecutor(Broken(), nothing, tmp_path).open()


# Standard output of WASI plugins


async def test_what_a_wasi_plugin_prints_is_its_stdout(stage: Stage) -> None:
    module = guest(
        """(func (export "execute_task")
             (i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 6))
             (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1032)))
             (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1032))))""",
        imports='(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))',
        memory='(memory (export "memory") 1)',
        line="hello\n",
    )
    sink = RecordingSink()
    assert (await stage.run(stage.work(module), sink)).failure is None
    assert sink.text(LogStream.STDOUT) == "hello\n"
    assert sink.text(LogStream.STDERR) == "hello\n"


async def test_a_wasi_plugin_that_prints_without_end_costs_no_more_than_its_log_limit(stage: Stage) -> None:
    module = guest(
        """(func (export "execute_task")
             (i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 1000))
             (loop $more
               (br_if $more (i32.eqz
                 (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1032))))))""",
        imports='(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))',
        memory='(memory (export "memory") 1)',
        line="x" * 1000,
    )
    sink = RecordingSink()
    assert (await stage.run(stage.work(module, limits=Limits(log_bytes=100_000)), sink)).failure is None
    assert len(sink.text(LogStream.STDOUT)) < 1 << 20
