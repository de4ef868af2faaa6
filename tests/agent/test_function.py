"""The executor function: calls in the worker and in processes of their own; each ends as its function does."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pawl.calling import LogCapture
from pawl.context import Identity
from pawl.function_process import Spec, spec_of
from pawl.v1.job_pb2 import JobConfig
from pawl.workflow import TaskFunction, Workflow

from agent.executors.base import LaunchError, Limits, LogStream, Outcome, Pausable, Payload, Running, Work
from agent.executors.function import FunctionExecutor, MarkedWords
from agent.executors.process import ProcessConfig, ProcessExecutor
from agent.keeper import Keeper
from agent.limits import not_held
from tests.agent import functions

TASK = "01900000-0000-7000-8000-00000000000{}"
DEADLINE = 30.0
MISSING: Any = object()
Function = TaskFunction[..., Any]


class Said:
    """What a run says, kept."""

    def __init__(self) -> None:
        self.streams: dict[LogStream, bytearray] = {stream: bytearray() for stream in LogStream}
        self.reports: list[tuple[float, str]] = []
        self.starts = self.beats = 0

    def log(self, stream: LogStream, data: bytes) -> None:
        self.streams[stream] += data

    def progress(self, percent: float, message: str) -> None:
        self.reports.append((percent, message))

    def heartbeat(self) -> None:
        self.beats += 1

    def started(self) -> None:
        self.starts += 1

    def ended(self) -> None:
        pass

    def text(self, stream: LogStream = LogStream.LOG) -> str:
        return self.streams[stream].decode()


class Stage:
    """An executor whose functions run on a loop of another thread, as those of a worker do."""

    def __init__(self, executor: FunctionExecutor) -> None:
        self.executor = executor
        self.said = Said()
        self._token = 0

    def work(self, function: Function, value: Any, limits: Limits | None, environment: Mapping[str, str]) -> Work:
        self._token += 1
        return Work(
            namespace_id="shop",
            task_id=TASK.format(self._token),
            instance_id="instance",
            token=self._token,
            attempt=2,
            job_name=function.name,
            executor="function",
            settings={"name": function.name},
            environment=environment,
            parameters=None if value is MISSING else Payload(json.dumps(value).encode(), "application/json"),
            limits=limits or Limits(),
        )

    async def begin(
        self, function: Function, value: Any = MISSING, *, limits: Limits | None = None, **environment: str
    ) -> tuple[Running, Work]:
        self.said = Said()
        work = self.work(function, value, limits, environment)
        functions.STARTED.pop(work.task_id, None)
        return await self.executor.launch(work, self.said), work

    async def run(self, function: Function, value: Any = MISSING, **more: Any) -> Outcome:
        running, _ = await self.begin(function, value, **more)
        async with asyncio.timeout(DEADLINE):
            return await running.wait()

    async def output(self, function: Function, value: Any = MISSING, **more: Any) -> Any:
        outcome = await self.run(function, value, **more)
        assert outcome.failure is None, outcome.failure
        assert outcome.output is not None
        assert outcome.output.content_type == "application/json"
        return json.loads(outcome.output.data)

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not fact():  # noqa: ASYNC110 - facts of other threads and processes
                await asyncio.sleep(0.01)


@contextmanager
def loop_of_another_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def staged(processes: ProcessExecutor | None, *known: Function) -> AsyncIterator[Stage]:
    with loop_of_another_thread() as loop:
        executor = FunctionExecutor(known, loop, processes)
        await executor.open()
        try:
            yield Stage(executor)
        finally:
            functions.RELEASE.set()
            await executor.close()


@pytest.fixture
async def inline() -> AsyncIterator[Stage]:
    functions.RELEASE.clear()
    async with staged(None, *functions.INLINE.values()) as stage:
        yield stage


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Stage]:
    keeper = Keeper()
    await keeper.open()
    try:
        config = ProcessConfig(tmp_path / "work", environment={**os.environ, "SHOP_SECRET": "s3cret"})
        async with staged(ProcessExecutor(keeper, config), *functions.APART.values()) as stage:
            yield stage
    finally:
        await keeper.close()


# Inline.


@pytest.mark.parametrize("name", ["double", "double_blocking"])
async def test_a_function_gets_its_input_and_context_and_returns_its_output(inline: Stage, name: str) -> None:
    output = await inline.output(functions.INLINE[name], {"item": "apple", "count": 2})
    assert output == {"item": "apple", "count": 4, "tags": [TASK.format(1), "2", f"suite.{name}", "shop"]}
    assert inline.said.text() == "doubling apple\n"
    assert inline.said.reports == [(50.0, "half")]
    assert inline.said.starts == 1


async def test_what_a_function_says_through_logging_is_in_its_log(inline: Stage) -> None:
    import logging

    capture = LogCapture()
    logging.getLogger().addHandler(capture)
    try:
        await inline.output(functions.INLINE["double"], {"item": "apple"})
        assert "WARNING shop: counting\n" in inline.said.text()
        await inline.output(functions.INLINE["double_blocking"], {"item": "apple"})
        assert "WARNING shop: counting\n" in inline.said.text()
    finally:
        logging.getLogger().removeHandler(capture)


async def test_a_heartbeat_is_no_progress(inline: Stage, apart: Stage) -> None:
    for stage, task in ((inline, functions.INLINE["alive"]), (apart, functions.APART["alive"])):
        await stage.run(task)
        assert (stage.said.beats, stage.said.reports) == (1, [])


async def test_a_function_without_anything_needs_and_gives_nothing(inline: Stage) -> None:
    outcome = await inline.run(functions.INLINE["nothing"])
    assert outcome.failure is None
    assert outcome.output is None


@pytest.mark.parametrize("name", ["fail", "fail_async"])
async def test_an_error_is_called_what_its_class_is_called_with_its_traceback_in_the_log(
    inline: Stage, name: str
) -> None:
    outcome = await inline.run(functions.INLINE[name], "own")
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.message) == ("OutOfStock", "no more apples")
    assert outcome.failure.retryable
    trace = inline.said.text(LogStream.STDERR)
    assert 'raise OutOfStock("no more apples")' in trace
    assert "pawl/calling.py" not in trace


async def test_an_error_says_whether_and_when_to_try_again(inline: Stage) -> None:
    final = (await inline.run(functions.INLINE["fail"], "final")).failure
    assert final is not None
    assert (final.code, final.retryable) == ("CARD_DECLINED", False)
    later = (await inline.run(functions.INLINE["fail_async"], "later")).failure
    assert later is not None
    assert (later.code, later.retryable, later.retry_after_seconds) == ("RetryAfter", True, 7.5)


@pytest.mark.parametrize("name", ["fail", "fail_async"])
async def test_a_function_that_exits_ends_its_attempt_and_not_the_worker(inline: Stage, name: str) -> None:
    failure = (await inline.run(functions.INLINE[name], "exit")).failure
    assert failure is not None
    assert failure.code == "SystemExit"
    assert (await inline.run(functions.INLINE["nothing"])).failure is None


async def test_parameters_that_do_not_fit_fail_for_good_and_name_the_place(inline: Stage) -> None:
    for wrong, place in (({"item": 3}, "$.item"), ({}, "item"), ([], "object"), ({"item": "a", "tags": [1]}, "tags")):
        failure = (await inline.run(functions.INLINE["double"], wrong)).failure
        assert failure is not None
        assert (failure.code, failure.retryable) == ("InvalidInput", False)
        assert place in failure.message


async def test_a_function_that_the_worker_does_not_have_is_refused(inline: Stage) -> None:
    other = Workflow("other").task()(functions.nothing)
    with pytest.raises(LaunchError) as refused:
        await inline.run(other)
    assert refused.value.failure.code == "FUNCTION_NOT_FOUND"
    assert refused.value.failure.retryable


async def test_an_async_function_is_cancelled_at_once_and_cleans_up(inline: Stage) -> None:
    running, work = await inline.begin(functions.INLINE["wait_for_ever"])
    await inline.until(functions.begun(work.task_id).is_set)
    async with asyncio.timeout(DEADLINE):
        await running.stop(60)
        outcome = await running.wait()
    assert outcome.failure is not None
    assert inline.said.text() == "begun\ncleaned up\n"
    assert not inline.said.text(LogStream.STDERR)
    assert inline.executor.lingering == 0


async def test_a_blocking_function_sees_that_it_is_to_end_and_may_finish(inline: Stage) -> None:
    running, work = await inline.begin(functions.INLINE["poll"])
    await inline.until(functions.begun(work.task_id).is_set)
    async with asyncio.timeout(DEADLINE):
        await running.stop(60)
        outcome = await running.wait()
    assert outcome.failure is None
    assert outcome.output == Payload(b'"ended by itself"', "application/json")


async def test_a_blocking_function_that_does_not_look_is_interrupted_after_the_grace(inline: Stage) -> None:
    running, work = await inline.begin(functions.INLINE["spin"])
    await inline.until(functions.begun(work.task_id).is_set)
    async with asyncio.timeout(DEADLINE):
        await running.stop(0.05)
        outcome = await running.wait()
    assert outcome.failure is not None
    assert not outcome.left_running
    assert inline.executor.lingering == 0


async def test_a_function_that_cannot_be_ended_is_left_behind_and_takes_its_slot_until_it_ends(inline: Stage) -> None:
    running, work = await inline.begin(functions.INLINE["deaf"])
    await inline.until(functions.begun(work.task_id).is_set)
    async with asyncio.timeout(DEADLINE):
        await running.stop(0)
        outcome = await running.wait()
    assert outcome.left_running
    assert outcome.failure is not None
    assert not outcome.failure.retryable
    assert inline.executor.lingering == 1
    functions.RELEASE.set()
    await inline.until(lambda: inline.executor.lingering == 0)


async def test_a_stop_before_the_first_line_runs_ends_it_too(inline: Stage) -> None:
    running, _ = await inline.begin(functions.INLINE["wait_for_ever"])
    async with asyncio.timeout(DEADLINE):
        await running.stop(60)
        assert (await running.wait()).failure is not None


async def test_a_later_stop_shortens_the_grace(inline: Stage) -> None:
    running, work = await inline.begin(functions.INLINE["spin"])
    await inline.until(functions.begun(work.task_id).is_set)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        patient = group.create_task(running.stop(3_600))
        await asyncio.sleep(0)
        group.create_task(running.stop(0))
        await running.wait()
        await patient


async def test_an_output_beyond_the_limit_keeps_both_ends_and_is_no_json_any_more(inline: Stage, apart: Stage) -> None:
    for stage, task, size in (
        (inline, functions.INLINE["many"], 2_000),
        (apart, functions.APART["many"], 2_000),
        (apart, functions.APART["many"], 100_000),
    ):
        outcome = await stage.run(task, size, limits=Limits(output_bytes=1_000))
        assert outcome.output is not None
        assert len(outcome.output.data) <= 1_000
        assert outcome.output.data.startswith(b'"xxx')
        assert outcome.output.data.endswith(b'xxx"')
        left_out = size + 2 - outcome.output.data.count(b"x") - 2
        assert b"[pawl: %d bytes left out]" % left_out in outcome.output.data
        assert outcome.output.content_type.startswith("text/plain")
        assert (outcome.output_size, outcome.output_truncated) == (size + 2, True)


async def test_a_flood_of_words_is_bounded_and_says_what_it_left_out(inline: Stage) -> None:
    outcome = await inline.run(functions.INLINE["chatter"], 20_000)
    assert outcome.failure is None
    text = inline.said.text()
    kept = text.count("y" * 1_000)
    assert text.startswith("00000000 ")
    assert kept == 20_000 or "bytes left out]" in text


def test_limits_that_nothing_holds_inline_are_told() -> None:
    loop = asyncio.new_event_loop()
    executor = FunctionExecutor(functions.INLINE.values(), loop, None)
    config = JobConfig(executor="function", function={"name": "suite.double"}, resource_limits={"max_memory_mb": 64})
    assert [name for name, _ in not_held(executor, config)] == ["max_memory_mb"]
    loop.close()


# In a process of its own.


@pytest.mark.parametrize("name", ["double", "double_blocking"])
async def test_a_process_of_its_own_makes_no_difference_to_a_function(apart: Stage, name: str) -> None:
    output = await apart.output(functions.APART[name], {"item": "apple", "count": 2})
    assert output == {"item": "apple", "count": 4, "tags": [TASK.format(1), "2", f"apart.{name}", "shop"]}
    assert apart.said.text().splitlines()[:2] == ["doubling apple", "WARNING shop: counting"]
    assert apart.said.reports == [(50.0, "half")]


async def test_it_has_the_environment_of_the_worker_and_of_the_task(apart: Stage) -> None:
    output = await apart.output(functions.APART["whose"], ZONE="a")
    assert output["pid"] != os.getpid()
    assert (output["secret"], output["zone"], output["ctx"]) == ("s3cret", "a", "a")
    assert output["cwd"] == os.getcwd()
    assert apart.said.text(LogStream.STDOUT) == "to stdout\n"


async def test_errors_come_back_from_it_with_class_words_and_traceback(apart: Stage) -> None:
    own = (await apart.run(functions.APART["fail"], "own")).failure
    assert own is not None
    assert (own.code, own.message, own.retryable) == ("OutOfStock", "no more apples", True)
    assert 'raise OutOfStock("no more apples")' in apart.said.text(LogStream.STDERR)
    final = (await apart.run(functions.APART["fail"], "final")).failure
    assert final is not None
    assert (final.code, final.retryable) == ("CARD_DECLINED", False)
    later = (await apart.run(functions.APART["fail"], "later")).failure
    assert later is not None
    assert later.retry_after_seconds == 7.5
    wrong = (await apart.run(functions.APART["double"], {"item": 3})).failure
    assert wrong is not None
    assert (wrong.code, wrong.retryable) == ("InvalidInput", False)


async def test_a_process_that_dies_is_told_apart_from_a_function_that_fails(apart: Stage) -> None:
    died = (await apart.run(functions.APART["die"])).failure
    assert died is not None
    assert died.code == "EXIT_5"
    quiet = (await apart.run(functions.APART["die_well"])).failure
    assert quiet is not None
    assert quiet.code == "NO_RESULT"


@pytest.mark.parametrize("name", ["wait_for_ever", "spin"])
async def test_term_cancels_a_function_in_its_process(apart: Stage, name: str) -> None:
    running, _ = await apart.begin(functions.APART[name])
    await apart.until(lambda: "begun" in apart.said.text())
    async with asyncio.timeout(DEADLINE):
        await running.stop(60)
        outcome = await running.wait()
    assert outcome.failure is not None
    assert outcome.exit_code == 1
    if name == "wait_for_ever":
        assert "cleaned up" in apart.said.text()


async def test_a_function_in_its_process_can_be_held_still_and_goes_on(apart: Stage, inline: Stage) -> None:
    assert (apart.executor.can_pause, inline.executor.can_pause) == (True, False)
    running, _ = await apart.begin(functions.APART["tick"])
    assert isinstance(running, Pausable)
    await apart.until(lambda: len(apart.said.reports) > 2)
    running.pause()
    await asyncio.sleep(0.3)  # what was on its way has come
    before = len(apart.said.reports)
    await asyncio.sleep(0.5)
    assert len(apart.said.reports) == before
    running.resume()
    await apart.until(lambda: len(apart.said.reports) > before)
    async with asyncio.timeout(DEADLINE):
        await running.stop(0)
        await running.wait()


async def test_what_ended_a_process_from_outside_is_the_reason_whatever_its_function_says(tmp_path: Path) -> None:
    keeper = Keeper()
    await keeper.open()
    try:
        processes = ProcessExecutor(keeper, ProcessConfig(tmp_path / "work", environment=os.environ))
        async with staged(processes, *functions.APART.values()) as apart:
            running, work = await apart.begin(functions.APART["wait_for_ever"])
            await apart.until(lambda: "begun" in apart.said.text())
            keeper.lease_many({work.key: (0.0, DEADLINE)})
            async with asyncio.timeout(DEADLINE):
                outcome = await running.wait()
    finally:
        await keeper.close()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.exit_code) == ("LEASE_EXPIRED", 1)
    assert "cleaned up" in apart.said.text()


async def test_a_deaf_function_is_killed_with_its_process(apart: Stage) -> None:
    running, _ = await apart.begin(functions.APART["deaf"])
    async with asyncio.timeout(DEADLINE):
        await running.stop(0.5)
        outcome = await running.wait()
    assert outcome.failure is not None
    assert outcome.signal in (9, 15)  # TERM before it had its handler
    assert apart.executor.lingering == 0


async def test_memory_is_limited_in_a_process_of_its_own(apart: Stage) -> None:
    outcome = await apart.run(functions.APART["eat"], limits=Limits(memory_bytes=200 << 20))
    assert outcome.failure is not None
    assert outcome.failure.code in ("MemoryError", "OUT_OF_MEMORY")


def test_a_function_that_only_this_process_has_cannot_have_a_process_of_its_own() -> None:
    @Workflow("here").task(isolation="process")
    def local() -> None: ...

    with pytest.raises(ValueError, match="can be imported"):
        spec_of(local)


@pytest.mark.parametrize("name", ["shop.app", "shop.__main__"])
def test_a_program_that_is_a_module_is_found_as_that_module(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(functions.nothing, "__module__", "__main__")
    spec = spec_of(Workflow("shop").task(isolation="process")(functions.nothing))
    assert (spec.module, spec.main, spec.attribute) == (name, "", "nothing")
    assert Spec.of(spec.encoded()) == spec


# The words of a function's process.


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"plain\n", b"half", b"\x1epawl-", b"\x1e", b"W", b"L"]), max_size=12), st.data())
def test_marked_words_are_taken_out_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    word = b'\x1epawl-secret {"log": "said\\n"}\n'
    whole = b"".join(word if part == b"W" else part for part in parts)
    said = Said()
    ear = MarkedWords(said, "secret")
    at = 0
    while at < len(whole):
        step = data.draw(st.integers(1, 40))
        ear.log(LogStream.STDERR, whole[at : at + step])
        at += step
    ear.flush()
    assert bytes(said.streams[LogStream.STDERR]) == whole.replace(word, b"")
    assert said.text() == "said\n" * whole.count(word)


def test_words_with_another_secret_are_just_text() -> None:
    said = Said()
    ear = MarkedWords(said, "secret")
    ear.log(LogStream.STDERR, b'\x1epawl-guess {"progress": [99, "x"]}\n')
    ear.flush()
    assert said.reports == []
    assert b"guess" in said.streams[LogStream.STDERR]


def test_an_identity_says_where_its_trace_goes_on() -> None:
    assert Identity("t", trace={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}).trace["traceparent"]
