"""An attempt alone, with an executor that does what the test says: who decides the status, and what is reported."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pawl.link import Result, boot_clock
from pawl.v1 import agent_pb2, job_pb2, task_pb2

from agent.attempt import Attempt, of_record, to_record, work_of
from agent.executors.base import Failure, LaunchError, Limits, Outcome, Payload, Sink, Work
from agent.limits import LARGEST_OUTPUT_BYTES, LOG_BYTES, doubtful
from agent.logs import LogShipper
from tests.agent.scripted import DEADLINE, ref, until, work

Status = task_pb2.Task


class Stage:
    """An executor, its only run, and the attempt's host in one: the test moves it on."""

    name = "stage"

    def __init__(self, *, launches: bool = True) -> None:
        self.sink: Sink | None = None
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.launched = asyncio.Event()
        self.may_launch = asyncio.Event()
        self.refusal: Exception | None = None
        self.graces: list[float] = []
        self.holds: list[str] = []
        self.starts = 0
        self.progress: list[task_pb2.Progress] = []
        self.started_after_seconds = 0.0
        self.group: asyncio.TaskGroup | None = None
        if launches:
            self.may_launch.set()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def launch(self, work: Work, sink: Sink) -> "Stage":
        self.sink = sink
        self.launched.set()
        await self.may_launch.wait()
        if self.refusal is not None:
            raise self.refusal
        sink.started()
        return self

    async def wait(self) -> Outcome:
        return await asyncio.shield(self.outcome)

    def pause(self) -> None:
        self.holds.append("pause")

    def resume(self) -> None:
        self.holds.append("resume")

    async def stop(self, grace_seconds: float) -> None:
        """Like a program that ends on TERM."""
        self.graces.append(grace_seconds)
        if not self.outcome.done():
            self.outcome.set_result(Outcome(failure=Failure("SIGNAL_TERM", "ended"), signal=15))
        await asyncio.sleep(0)

    def spawn_stop(self, attempt: Attempt, grace_seconds: float) -> None:
        assert self.group is not None
        self.group.create_task(attempt.end_run(grace_seconds))

    def program_started(self, attempt: Attempt) -> None:
        self.starts += 1

    def progressed(self, attempt: Attempt, progress: task_pb2.Progress) -> None:
        self.progress.append(progress)


async def _nowhere(_: agent_pb2.AppendLogsRequest) -> None: ...


@asynccontextmanager
async def attempting(stage: Stage, item: agent_pb2.Assign.Item) -> AsyncIterator[tuple[Attempt, asyncio.Task[Result]]]:
    attempt = Attempt(item, stage, stage, LogShipper(_nowhere, "a", "default").open(item.instance, 1000))
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        stage.group = group
        yield attempt, group.create_task(attempt.run())


async def test_an_attempt_without_failure_succeeded() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        stage.outcome.set_result(Outcome(exit_code=0, output=Payload(b"7", "application/json"), output_size=1))
        item = (await life).item
    assert (item.status, item.exit_code, item.output.data) == (Status.SUCCEEDED, 0, b"7")
    assert not item.HasField("error")


async def test_what_the_work_says_of_its_retry_reaches_the_result() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        stage.outcome.set_result(Outcome(failure=Failure("BUSY", "later", retry_after_seconds=7.5)))
        item = (await life).item
    assert (item.status, item.error.code, item.error.retryable) == (Status.FAILED, "BUSY", True)
    assert item.retry_after_seconds == 7.5


async def test_an_executor_that_breaks_at_a_stop_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()

    async def broken(_: float) -> None:
        stage.outcome.set_result(Outcome())
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(stage, "stop", broken)
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await stage.launched.wait()
        attempt.supersede()
        assert (await life).item.status == Status.CANCELLED


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError("of its own"), ZeroDivisionError("inside")])
async def test_whatever_an_executor_raises_fails_its_run_and_ends_no_agent(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    stage = Stage()

    async def breaks() -> Outcome:
        raise error

    monkeypatch.setattr(stage, "wait", breaks)
    async with attempting(stage, work(1, "x")) as (_, life):
        item = (await life).item
    assert (item.status, item.error.code) == (Status.FAILED, "EXECUTOR_BROKEN")


async def test_words_of_progress_that_are_no_text_are_made_text() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        await stage.launched.wait()
        assert stage.sink is not None
        stage.sink.progress(40, "half \ud83d")
        stage.outcome.set_result(Outcome())
        item = (await life).item
    assert (item.status, item.progress.percent, item.progress.message) == (Status.SUCCEEDED, 40, "half ?")


async def test_work_that_could_not_be_launched_never_started() -> None:
    stage = Stage()
    stage.refusal = LaunchError(Failure("NO_SUCH", "there is none", retryable=False))
    async with attempting(stage, work(1, "x")) as (_, life):
        result = await life
    assert (result.item.status, result.item.error.code, result.item.error.retryable) == (
        Status.FAILED,
        "NO_SUCH",
        False,
    )
    assert result.started_at is None


async def test_an_executor_that_breaks_fails_the_attempt_and_not_the_agent() -> None:
    stage = Stage()
    stage.refusal = ZeroDivisionError("inside")
    async with attempting(stage, work(1, "x")) as (_, life):
        item = (await life).item
    assert (item.status, item.error.code) == (Status.FAILED, "EXECUTOR_BROKEN")


@pytest.mark.parametrize(
    "failure",
    [Failure("CODE", "\ud800"), Failure("CODE", "", retry_after_seconds="soon")],  # type: ignore[arg-type]
)
async def test_a_failure_that_no_message_can_carry_is_a_failure_all_the_same(failure: Failure) -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        stage.outcome.set_result(Outcome(failure=failure))
        item = (await life).item
    assert (item.status, item.error.code) == (Status.FAILED, "EXECUTOR_BROKEN")


async def test_a_cancel_during_the_launch_ends_the_launch() -> None:
    stage = Stage(launches=False)
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await stage.launched.wait()
        attempt.cancel("changed my mind")
        item = (await life).item
    assert (item.status, item.error.message) == (Status.CANCELLED, "changed my mind")
    assert stage.graces == []


async def test_a_cancel_before_the_launch_launches_nothing() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (attempt, life):
        attempt.cancel("")
        item = (await life).item
    assert item.status == Status.CANCELLED
    assert not stage.launched.is_set()


async def test_the_first_reason_to_stop_decides_the_status() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x", grace_seconds=3.0)) as (attempt, life):
        await until(lambda: stage.starts)
        attempt.cancel("first")
        attempt.lease_over()
        item = (await life).item
    assert (item.status, item.error.message, item.signal) == (Status.CANCELLED, "first", 15)
    assert stage.graces[0] == 3.0


async def test_a_result_that_was_there_before_the_cancel_wins() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await until(lambda: stage.starts)
        stage.outcome.set_result(Outcome(exit_code=0))
        item = (await life).item
        attempt.cancel("too late")
    assert item.status == Status.SUCCEEDED


async def test_the_timeout_counts_from_the_start_of_the_program_and_names_the_limit() -> None:
    stage = Stage(launches=False)
    async with attempting(stage, work(1, "x", timeout_seconds=0.05)) as (_, life):
        await stage.launched.wait()
        await asyncio.wait({life}, timeout=0.1)  # the launch may take longer than the timeout
        assert not life.done()
        stage.may_launch.set()
        item = (await life).item
    assert (item.status, item.error.code) == (Status.TIMED_OUT, "TIMEOUT")
    assert "0.05 s" in item.error.message


async def test_an_attempt_that_says_nothing_for_too_long_is_stopped_and_may_be_tried_again() -> None:
    stage = Stage()
    item = work(1, "x", timeout_seconds=60.0)
    item.config.heartbeat_timeout_seconds = 0.2
    async with attempting(stage, item) as (_, life):
        await until(lambda: stage.starts)
        assert stage.sink is not None
        began = boot_clock()
        while boot_clock() - began < 0.5:  # alive for longer than it may be silent
            stage.sink.heartbeat()
            await asyncio.wait({life}, timeout=0.05)
        assert not life.done()
        result = (await life).item
    assert (result.status, result.error.code, result.error.retryable) == (Status.TIMED_OUT, "HEARTBEAT_TIMEOUT", True)
    assert "0.2 s" in result.error.message


async def test_a_report_of_progress_is_a_sign_of_life_whatever_it_says() -> None:
    stage = Stage()
    item = work(1, "x")
    item.config.heartbeat_timeout_seconds = 0.2
    async with attempting(stage, item) as (_, life):
        await until(lambda: stage.starts)
        assert stage.sink is not None
        began = boot_clock()
        while boot_clock() - began < 0.4:
            stage.sink.progress(float("nan"), "")
            await asyncio.wait({life}, timeout=0.05)
        assert not life.done()
        stage.outcome.set_result(Outcome(exit_code=0))
        await life


@pytest.mark.parametrize("launches", [True, False])
async def test_the_total_time_of_its_task_ends_an_attempt_launched_or_not(launches: bool) -> None:
    stage = Stage(launches=launches)
    async with attempting(stage, work(1, "x", timeout_seconds=60.0, total_seconds_left=0.1)) as (_, life):
        item = (await life).item
    assert (item.status, item.error.code, item.error.retryable) == (Status.TIMED_OUT, "TOTAL_TIMEOUT", False)
    assert item.HasField("started_seconds_ago") or launches or not stage.starts


async def test_a_paused_attempt_has_all_the_time_that_it_had_and_no_total_time_more() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x", timeout_seconds=0.3, total_seconds_left=1.0)) as (attempt, life):
        await until(lambda: stage.starts)
        attempt.pause()
        attempt.pause()  # said again
        await asyncio.wait({life}, timeout=0.5)
        assert not life.done()
        item = (await life).item
    assert (stage.holds, item.error.code) == (["pause"], "TOTAL_TIMEOUT")


async def test_an_attempt_that_goes_on_has_its_timeout_again() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x", timeout_seconds=0.2)) as (attempt, life):
        await until(lambda: stage.starts)
        attempt.pause()
        await asyncio.wait({life}, timeout=0.4)
        attempt.resume()
        attempt.resume()
        assert not life.done()
        item = (await life).item
    assert (stage.holds, item.error.code) == (["pause", "resume"], "TIMEOUT")


async def test_what_is_paused_before_its_launch_is_not_launched_and_can_be_cancelled() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (attempt, life):
        attempt.pause()
        await asyncio.wait({life}, timeout=0.05)
        assert not stage.launched.is_set()
        attempt.cancel("not needed")
        assert (await life).item.status == Status.CANCELLED
    assert not stage.launched.is_set()


async def test_what_is_paused_during_its_launch_is_held_as_soon_as_it_runs() -> None:
    stage = Stage(launches=False)
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await stage.launched.wait()
        attempt.pause()
        stage.may_launch.set()
        await until(lambda: stage.holds)
        attempt.resume()
        stage.outcome.set_result(Outcome(exit_code=0))
        assert (await life).item.status == Status.SUCCEEDED
    assert stage.holds == ["pause", "resume"]


async def test_what_is_being_stopped_is_not_held_any_more() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await until(lambda: stage.starts)
        attempt.cancel("now")
        attempt.pause()
        assert (await life).item.status == Status.CANCELLED
    assert stage.holds == []


async def test_a_discarded_run_that_was_being_cancelled_is_still_reported() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (attempt, life):
        await until(lambda: stage.starts)
        attempt.cancel("by a person")
        attempt.discard(0.0)
        item = (await life).item
    assert item.status == Status.CANCELLED
    assert not attempt.discarded


async def test_progress_is_kept_within_bounds_and_the_newest_counts() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        await until(lambda: stage.starts)
        assert stage.sink is not None
        for percent in (-5.0, 20.0, float("nan"), 50.0, 400.0):
            stage.sink.progress(percent, f"{percent}")
        await until(lambda: len(stage.progress) == 2)
        stage.outcome.set_result(Outcome(exit_code=0))
        await life
    assert [(one.percent, one.message) for one in stage.progress] == [(0.0, "-5.0"), (100.0, "400.0")]


@pytest.mark.parametrize(
    ("lease", "grace", "term_in", "kill_in"),
    [(60.0, 10.0, 45.0, 55.0), (60.0, 60.0, 40.0, 55.0), (3.0, 10.0, 1.5, 2.25)],
)
async def test_a_lease_ends_the_work_before_it_is_over(
    lease: float, grace: float, term_in: float, kill_in: float
) -> None:
    stage = Stage()
    stage.outcome.set_result(Outcome(exit_code=0))
    async with attempting(stage, work(1, "x", lease_seconds=lease, grace_seconds=grace)) as (attempt, _):
        assert attempt.renew(1000.0) == (1000.0 + term_in, 1000.0 + kill_in)


@pytest.mark.parametrize(("limit", "named"), [(0.05, "max_execution_time_secs of 0.05 s"), (60, "timeout of 0.05 s")])
async def test_of_two_limits_of_time_the_smaller_is_the_reason(limit: float, named: str) -> None:
    stage = Stage()
    limits = job_pb2.ResourceLimits(max_execution_time_secs=limit)
    async with attempting(stage, work(1, "x", timeout_seconds=0.05, resource_limits=limits)) as (_, life):
        item = (await life).item
    assert (item.status, item.error.code) == (Status.TIMED_OUT, "TIMEOUT")
    assert named in item.error.message


def test_of_two_limits_of_output_the_smaller_counts() -> None:
    limits = job_pb2.ResourceLimits(max_output_size_bytes=2000)
    assert work_of(work(1, "x", max_output_size=1000, resource_limits=limits)).limits.output_bytes == 1000
    assert work_of(work(1, "x", max_output_size=3000, resource_limits=limits)).limits.output_bytes == 2000


def test_limits_reach_the_executor_in_its_units() -> None:
    limits = job_pb2.ResourceLimits(max_memory_mb=64, max_cpu_percent=150, max_processes=9, max_open_files=99)
    found = work_of(work(1, "x", resource_limits=limits)).limits
    assert (found.memory_bytes, found.cpu_cores, found.processes, found.open_files) == (64 << 20, 1.5, 9, 99)
    assert work_of(work(1, "x")).limits == Limits(output_bytes=1 << 20, log_bytes=LOG_BYTES)


@pytest.mark.parametrize(
    ("percent", "cores", "doubted"),
    [(0.8, 0.8, False), (1, 1.0, False), (2, 0.02, True), (4.9, 0.049, True), (5, 0.05, False), (250, 2.5, False)],
)
def test_a_share_of_the_processor_is_a_part_of_a_core_or_percent_of_one(
    percent: float, cores: float, doubted: bool
) -> None:
    item = work(1, "x", resource_limits=job_pb2.ResourceLimits(max_cpu_percent=percent))
    assert work_of(item).limits.cpu_cores == pytest.approx(cores)
    assert bool(doubtful(item.config)) is doubted


async def test_a_limit_that_the_executor_does_not_hold_is_reported_with_the_reason() -> None:
    stage = Stage()
    stage.not_held = {"max_cpu_percent": "nobody looks", "max_processes": "nor here"}  # type: ignore[attr-defined]  # what an executor may have
    limits = job_pb2.ResourceLimits(max_cpu_percent=0.5, max_memory_mb=9)
    async with attempting(stage, work(1, "x", resource_limits=limits)) as (_, life):
        stage.outcome.set_result(Outcome(exit_code=0))
        item = (await life).item
    assert [(one.limit, one.reason) for one in item.limits_not_enforced] == [("max_cpu_percent", "nobody looks")]


def test_output_is_bounded_by_what_a_message_carries() -> None:
    assert work_of(work(1, "x", max_output_size=100 << 20)).limits.output_bytes == LARGEST_OUTPUT_BYTES
    assert work_of(work(1, "x")).limits.output_bytes == 1 << 20


def test_a_result_survives_the_spool_with_its_times() -> None:
    item = agent_pb2.Finished.Item(instance=ref(1), status=Status.SUCCEEDED, exit_code=0)
    now = boot_clock()
    back = of_record(to_record(Result(item, now - 2, now - 5)))
    assert back.item == item
    assert (back.finished_at, back.started_at) == (now - 2, now - 5)
    assert of_record(to_record(Result(item, now))).started_at is None


def test_a_result_from_before_a_reboot_keeps_its_age() -> None:
    item = agent_pb2.Finished.Item(instance=ref(1))
    record = bytearray(to_record(Result(item, 5_000_000.0, 4_999_990.0)))
    record[:16] = bytes(15) + b"\x01"  # another start of the machine, whose clock had counted further
    back = of_record(bytes(record))
    assert 0 <= boot_clock() - back.finished_at < 5
    assert back.started_at == pytest.approx(back.finished_at - 10)


async def test_nothing_overtakes_the_end_of_a_program_while_what_it_gave_is_taken_in() -> None:
    stage = Stage()
    item = work(1, "x", timeout_seconds=0.2)
    item.config.heartbeat_timeout_seconds = 0.1
    async with attempting(stage, item) as (attempt, life):
        await until(lambda: stage.starts)
        assert stage.sink is not None
        stage.sink.ended()
        attempt.cancel("too late")
        attempt.discard(0.0)
        await asyncio.wait({life}, timeout=0.4)  # both of its clocks would be over by now
        stage.outcome.set_result(Outcome(exit_code=0))
        done = await life
    assert (done.item.status, stage.graces, attempt.discarded) == (Status.SUCCEEDED, [], False)


async def test_the_last_word_about_progress_comes_with_the_result() -> None:
    stage = Stage()
    async with attempting(stage, work(1, "x")) as (_, life):
        await until(lambda: stage.sink is not None)
        assert stage.sink is not None
        for percent in range(10):
            stage.sink.progress(percent, "counting")
        stage.outcome.set_result(Outcome(exit_code=0))
        item = (await life).item
    assert (item.progress.percent, item.progress.message) == (9.0, "counting")
