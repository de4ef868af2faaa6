"""What a plugin may ask of the world, through the real executor: as granted, within budgets, and never said aloud."""

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pawl.wasm import with_metadata

from agent.egress import Egress
from agent.executors.base import Limits, LogStream, Outcome
from agent.executors.host_calls import Grant, HostCalls
from agent.executors.wasm_budget import Ceiling
from agent.secrets import Secrets
from tests.agent.http_site import Site, site
from tests.agent.wasm_stage import WITHIN, RecordingSink, Stage, digest, execute, guest, opened, outcome

TOKEN = 'tok"en-4711'


def granting(grant: Grant, secrets: Secrets | None = None) -> HostCalls:
    async def find(namespace_id: str, _: str) -> Grant:
        assert namespace_id == "default"
        return grant

    return HostCalls(find, secrets, Egress(response_bytes=10_000))


def asking(op: Mapping[str, object]) -> bytes:
    """A plugin that makes one call and puts out its answer."""
    return execute("(call $put (call $pawl (call $op)))", op=json.dumps(op))


def http(one: Site, path: str = "/", **args: object) -> bytes:
    return asking({"op": "http", "args": {"url": one.url(path), **args}})


def near(*sites: Site) -> Grant:
    return Grant(http_private=tuple(f"127.0.0.1:{one.port}" for one in sites))


def answer(result: Outcome) -> dict[str, Any]:
    assert result.output is not None, result.failure
    said: dict[str, Any] = json.loads(result.output.data)
    return said


async def run(folder: Path, module: bytes, host_calls: HostCalls, **options: object) -> Outcome:
    async with opened(folder, host_calls=host_calls) as stage:
        return await stage.run(stage.work(module, **options))  # type: ignore[arg-type]  # options are those of work()


# http


async def test_a_granted_host_is_called_and_its_answer_comes_back(tmp_path: Path) -> None:
    async with site() as one:
        one.text("/thing", b'{"a": 1}', "200 OK", "X-Two: a", "X-Two: b")
        module = http(one, "/thing", method="POST", headers={"X-Key": "v"}, body="hello")
        said = answer(await run(tmp_path, module, granting(near(one))))["ok"]
        assert (said["status"], said["body"], said["url"]) == (200, '{"a": 1}', one.url("/thing"))
        assert said["headers"]["x-two"] == "a, b"
        assert one.heard[0].startswith("POST /thing ")
        assert one.heard[0].endswith("hello")


async def test_bytes_that_are_no_text_come_back_in_base64_and_go_out_of_it(tmp_path: Path) -> None:
    async with site() as one:
        one.text("/", b"\xff\x00")
        module = http(one, method="PUT", body_base64="/wA=")
        said = answer(await run(tmp_path, module, granting(near(one))))["ok"]
        assert said["body_base64"] == "/wA="
        assert one.heard[0].endswith("\xff\x00")


async def test_a_redirect_to_a_host_without_a_grant_is_refused(tmp_path: Path) -> None:
    async with site() as one, site() as other:
        one.redirect("/", other.url("/loot"))
        said = answer(await run(tmp_path, http(one), granting(near(one))))
        assert said["error"]["code"] == "HTTP_HOST_NOT_GRANTED"
        assert not other.heard


async def test_an_answer_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    async with site() as one:
        one.text("/", b"x" * 10_001)
        said = answer(await run(tmp_path, http(one), granting(near(one))))
        assert said["error"]["code"] == "HTTP_RESPONSE_TOO_LARGE"


async def test_http_calls_have_a_budget_of_their_own(tmp_path: Path) -> None:
    async with site() as one:
        one.text("/", b"ok")
        op = json.dumps({"op": "http", "args": {"url": one.url("/")}})
        code = "(drop (call $pawl (call $op))) (drop (call $pawl (call $op))) (call $put (call $pawl (call $op)))"
        async with opened(tmp_path, host_calls=granting(near(one)), ceiling=Ceiling(http_calls=2)) as stage:
            said = answer(await stage.run(stage.work(execute(code, op=op))))
            assert said["error"]["code"] == "HTTP_CALLS_EXHAUSTED"
            assert len(one.heard) == 2
            answer(await stage.run(stage.work(execute(code, op=op))))  # another run has a budget of its own
            assert len(one.heard) == 4


async def test_a_run_that_waits_for_an_answer_is_ended_at_once_and_its_neighbour_is_not(tmp_path: Path) -> None:
    async with site() as one, opened(tmp_path, host_calls=granting(near(one))) as stage:
        module = http(one, "/never", timeout_seconds=30)
        running = await stage.start(stage.work(module))
        neighbour = await stage.start(stage.work(module))
        async with asyncio.timeout(WITHIN):
            await one.until_heard(2)
            await running.stop(0)
        assert (await outcome(running)).signal == signal.SIGKILL
        one.answers["/later"] = lambda: b""
        one.silent.set()  # closes the connection without a word
        assert answer(await outcome(neighbour))["error"]["code"] == "HTTP_FAILED"


async def test_the_wish_to_end_is_told_after_a_call_that_was_under_way(tmp_path: Path) -> None:
    async with site() as one, opened(tmp_path, host_calls=granting(near(one))) as stage:
        code = "(drop (call $pawl (call $op))) (call $put (call $pawl (call $beat)))"
        op = json.dumps({"op": "http", "args": {"url": one.url("/never"), "timeout_seconds": 30}})
        running = await stage.start(stage.work(execute(code, op=op, beat='{"op": "heartbeat"}')))
        async with asyncio.timeout(WITHIN):
            await one.until_heard(1)
            stopping = asyncio.gather(running.stop(WITHIN))
            await asyncio.sleep(0)
            one.silent.set()
            await stopping
        assert answer(await outcome(running)) == {"ok": {"cancel_requested": True}}


async def test_a_grant_that_cannot_be_read_grants_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    async def find(_: str, __: str) -> Grant:
        raise ConnectionError("out of reach")

    said = answer(await run(tmp_path, asking({"op": "secret", "name": "KEY"}), HostCalls(find)))["error"]
    assert (said["code"], said["retryable"]) == ("GRANT_UNKNOWN", True)


async def test_an_agent_that_serves_no_calls_says_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.executor.open()
    try:
        said = answer(await stage.run(stage.work(asking({"op": "secret", "name": "KEY"}))))
    finally:
        await stage.close()
    assert said["error"]["code"] == "UNAVAILABLE"


# secrets


def holding(**values: str) -> Secrets:
    return Secrets("default", {f"PAWL_SECRET_{name}": value for name, value in values.items()} | {"HOME": "/root"})


async def test_a_granted_secret_is_given_and_nothing_that_is_kept_shows_it(tmp_path: Path) -> None:
    module = execute(
        """(local $reply i64) (local.set $reply (call $pawl (call $op)))
           (call $log_warn (local.get $reply)) (call $put (call $pawl (call $op)))""",
        op='{"op": "secret", "name": "KEY"}',
    )
    sink = RecordingSink()
    host_calls = granting(Grant(secrets=("KEY",)), holding(KEY=TOKEN))
    async with opened(tmp_path, host_calls=host_calls) as stage:
        result = await stage.run(stage.work(module), sink)
    assert answer(result) == {"ok": {"value": "***"}}
    assert sink.text() == 'WARN {"ok":{"value":"***"}}\n'


async def test_the_plugin_itself_sees_the_value(tmp_path: Path) -> None:
    module = execute(
        """(local $reply i64) (local.set $reply (call $pawl (call $op)))
           (call $output_set (local.get $reply) (i64.const 20))""",
        op='{"op": "secret", "name": "KEY"}',
    )
    result = await run(tmp_path, module, granting(Grant(secrets=("KEY",)), holding(KEY="abcdefgh")))
    assert result.output is not None
    assert result.output.data == b'{"ok":{"value":"abcd'  # a piece of it, which nobody can know


async def test_a_secret_is_hidden_before_an_output_is_cut(tmp_path: Path) -> None:
    module = execute("(call $put (call $pawl (call $op)))", op='{"op": "secret", "name": "KEY"}')
    host_calls = granting(Grant(secrets=("KEY",)), holding(KEY="a1b2c3d4" * 1000))
    async with opened(tmp_path, host_calls=host_calls) as stage:
        result = await stage.run(stage.work(module, limits=Limits(output_bytes=100)))
    assert answer(result) == {"ok": {"value": "***"}}


async def test_an_error_and_progress_that_hold_a_secret_are_shown_without_it(tmp_path: Path) -> None:
    module = execute(
        "(call $error_set (call $pawl (call $op)))", op='{"op": "secret", "name": "KEY"}', words="never used"
    )
    result = await run(tmp_path, module, granting(Grant(secrets=("KEY",)), holding(KEY=TOKEN)))
    assert result.failure is not None
    assert "***" in result.failure.message
    assert "4711" not in result.failure.message


@pytest.mark.parametrize(
    ("name", "code"), [("OTHER", "SECRET_NOT_GRANTED"), ("GONE", "SECRET_NOT_FOUND"), ("HOME", "SECRET_NOT_FOUND")]
)
async def test_what_is_not_granted_or_not_there_is_not_given(tmp_path: Path, name: str, code: str) -> None:
    host_calls = granting(Grant(secrets=("GONE", "HOME")), holding(OTHER=TOKEN))
    assert answer(await run(tmp_path, asking({"op": "secret", "name": name}), host_calls))["error"]["code"] == code


def test_secrets_in_files_belong_to_a_namespace_and_those_of_the_environment_to_the_home_one(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "KEY").write_text("from a file\n")
    (tmp_path / "outside").write_text("x")
    secrets = Secrets("default", {"PAWL_SECRET_KEY": "from the environment"}, tmp_path)
    assert secrets.get("default", "KEY") == "from the environment"
    assert secrets.get("shop", "KEY") == "from a file"
    assert secrets.get("other", "KEY") is None
    for namespace_id, name in (("shop", "../outside"), ("..", "KEY"), ("", "outside"), (".", "outside"), ("shop", "")):
        assert secrets.get(namespace_id, name) is None


# What the metadata of a plugin limits


def limited(module: bytes, **limits: float) -> bytes:
    return with_metadata(module, {"abi": 1, "name": "limited", "version": "1", "limits": limits})


def code_of(result: Outcome) -> str:
    assert result.failure is not None, result
    return result.failure.code


SPIN = execute("(call $spin)")
GROW = execute("(loop $more (drop (memory.grow (i32.const 16))) (br $more))")
ASK = execute("(loop $more (drop (call $pawl (call $op))) (br $more))", op='{"op": "heartbeat"}')


@pytest.mark.parametrize(
    ("module", "limits", "code"),
    [
        (SPIN, {"timeout_seconds": 0.2}, "PLUGIN_TIMEOUT"),
        (SPIN, {"cpu_seconds": 1}, "PLUGIN_CPU_EXHAUSTED"),
        (GROW, {"memory_mb": 8}, "PLUGIN_OUT_OF_MEMORY"),
        (ASK, {"host_calls": 20}, "PLUGIN_HOST_CALLS_EXHAUSTED"),
    ],
)
async def test_a_limit_of_the_plugin_itself_ends_the_run_by_name(
    tmp_path: Path, module: bytes, limits: dict[str, float], code: str
) -> None:
    assert code_of(await run(tmp_path, limited(module, **limits), HostCalls())) == code


async def test_a_limit_of_the_plugin_cannot_raise_the_agents_nor_the_jobs(tmp_path: Path) -> None:
    ceiling = Ceiling(host_calls=20)
    async with opened(tmp_path, ceiling=ceiling) as stage:
        greedy = limited(ASK, host_calls=1_000_000)
        assert code_of(await stage.run(stage.work(greedy))) == "PLUGIN_HOST_CALLS_EXHAUSTED"
        module = limited(execute("(call $put (call $text))", text="x" * 2000), output_bytes=1_000_000)
        result = await stage.run(stage.work(module, limits=Limits(output_bytes=100)))
        assert (result.output_truncated, result.output_size) == (True, 2000)


async def test_output_beyond_the_plugins_own_limit_is_cut_with_a_word(tmp_path: Path) -> None:
    module = limited(execute("(call $put (call $text))", text="x" * 2000), output_bytes=200)
    result = await run(tmp_path, module, HostCalls())
    assert result.output is not None
    assert (len(result.output.data), result.output_size, result.output_truncated) == (200, 2000, True)
    assert b"bytes left out" in result.output.data


async def test_log_lines_beyond_their_number_are_dropped_with_a_word(tmp_path: Path) -> None:
    module = execute(
        """(local $i i32) (loop $more (call $log_warn (call $line))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $more (i32.lt_u (local.get $i) (i32.const 100))))""",
        line="x",
    )
    sink = RecordingSink()
    async with opened(tmp_path) as stage:
        assert (await stage.run(stage.work(limited(module, log_lines=5)), sink)).failure is None
    assert sink.text().splitlines() == ["WARN x"] * 5 + ["WARN log limit of 5 lines reached; the rest is dropped"]


GROWING = """
  (table $t 1 funcref) (func $more (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
  (func (export "execute_task") (result i32) (i32.add
    (i32.mul (i32.const 10) (i32.ne (call $more (i32.const 8)) (i32.const -1)))
    (i32.ne (call $more (i32.const 2)) (i32.const -1))))
"""


@pytest.mark.parametrize(("most", "code"), [(1000, "EXIT_11"), (9, "EXIT_10"), (3, "EXIT_1")])
async def test_a_table_does_not_grow_beyond_its_limit(tmp_path: Path, most: int, code: str) -> None:
    assert code_of(await run(tmp_path, limited(guest(GROWING), table_elements=most), HostCalls())) == code


async def test_what_runs_in_place_of_a_plugin_is_still_that_plugin(tmp_path: Path) -> None:
    asked: list[str] = []

    async def find(_: str, digest_: str) -> Grant:
        asked.append(digest_)
        return Grant()

    module = guest(
        '(table 1 funcref) (func (export "execute_task") (call $put (call $pawl (call $op))))',
        op='{"op": "secret", "name": "KEY"}',
    )
    await run(tmp_path, module, HostCalls(find))
    assert asked == [digest(module)]


# Standard output


async def test_a_secret_that_a_wasi_plugin_prints_in_pieces_is_hidden(tmp_path: Path) -> None:
    module = guest(
        """(func (export "execute_task")
             (drop (call $pawl (call $op)))
             (i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 6))
             (i32.store (i32.const 1032) (i32.const 6)) (i32.store (i32.const 1036) (i32.const 9))
             (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1048)))
             (drop (call $fd_write (i32.const 1) (i32.const 1032) (i32.const 1) (i32.const 1048))))""",
        imports='(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))',
        memory='(memory (export "memory") 1)',
        printed="is hunter22, yes",
        op='{"op": "secret", "name": "KEY"}',
    )
    sink = RecordingSink()
    host_calls = granting(Grant(secrets=("KEY",)), holding(KEY="hunter22"))
    async with opened(tmp_path, host_calls=host_calls) as stage:
        assert (await stage.run(stage.work(module), sink)).failure is None
    assert sink.text(LogStream.STDOUT) == "is ***, ye"


def test_every_op_of_the_agent_is_known_in_the_guests_process() -> None:
    from agent.executors import guest as inside
    from agent.executors.host_calls import OPS

    assert set(OPS) == inside.AGENT_OPS
