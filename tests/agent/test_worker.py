"""A worker in a program that has a loop of its own, against a scripted control plane."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pawl
import pytest
from pawl.v1 import agent_pb2, task_pb2
from pawl.worker import Ended, Worker, WorkerError

from tests.agent.scripted import (
    ScriptedControlPlane,
    assign,
    begins,
    cancel,
    does,
    goodbye,
    hears,
    opens,
    ref,
    says,
    welcome,
)

DEADLINE = 30.0
Status = task_pb2.Task.Status
suite = pawl.Workflow("suite", version="7")
where: dict[str, int] = {}


@suite.task()
async def on_the_loop(text: str) -> str:
    where["async"] = threading.get_ident()
    return text.upper()


@suite.task()
def beside_it(text: str) -> str:
    where["blocking"] = threading.get_ident()
    return text.upper()


@suite.task()
async def patient(ctx: pawl.Context) -> None:
    ctx.progress(1, "waiting")
    await asyncio.Event().wait()


@suite.task()
def wrong() -> None:
    raise KeyError("no such thing")


@pytest.fixture
async def plane() -> AsyncIterator[ScriptedControlPlane]:
    async with ScriptedControlPlane() as made:
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def worker(plane: ScriptedControlPlane, **given: Any) -> Worker:
    return Worker(suite, server=plane.target, register=False, drain_timeout=5.0, **given)


@contextlib.asynccontextmanager
async def serving(one: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """A worker that serves beside the test, stopped at once in the end."""
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        running = group.create_task(one.serve())
        try:
            yield running
        finally:
            one.stop()
            one.stop()


def call(number: int, function: pawl.TaskFunction[..., Any], *value: object) -> agent_pb2.Assign.Item:
    """An assignment of a function."""
    item = agent_pb2.Assign.Item(
        instance=ref(number),
        attempt=1,
        namespace_id="default",
        job_id="job",
        job_name=function.name,
        job_revision=1,
        timeout_seconds=60,
        lease_seconds=60,
        config=function.config,
    )
    if value:
        item.parameters.CopyFrom(function.encoded(value[0]))
    return item


async def test_it_says_which_functions_it_has(plane: ScriptedControlPlane) -> None:
    async with serving(worker(plane, name="w", slots=3, labels={"zone": "a"})):
        hello, _ = await plane.play(begins(), hears("credits", 3))
    assert (hello.agent_id, hello.slots, hello.labels["zone"]) == ("w", 3, "a")
    assert [one.name for one in hello.executors] == ["function"]
    assert [(one.name, one.code_version) for one in hello.functions] == [(one.name, "7") for one in suite]


async def test_async_functions_run_on_the_programs_loop_and_others_beside_it(plane: ScriptedControlPlane) -> None:
    ended: list[Ended] = []
    async with serving(worker(plane, on_completed=ended.append)):
        items = assign(call(1, on_the_loop, "a"), call(2, beside_it, "b"))
        await plane.play(begins(), says(items), hears("finished"), hears("finished"))
    assert where["async"] == threading.get_ident()
    assert where["blocking"] != threading.get_ident()
    assert sorted((one.job, one.status) for one in ended) == [
        ("suite.beside_it", "SUCCEEDED"),
        ("suite.on_the_loop", "SUCCEEDED"),
    ]


async def test_a_failure_is_reported_and_told(plane: ScriptedControlPlane, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[Ended] = []

    def hook(one: Ended) -> None:
        ended.append(one)
        raise RuntimeError("a hook may break")

    async with serving(worker(plane, on_failed=hook)):
        *_, done = await plane.play(begins(), says(assign(call(1, wrong))), hears("finished", 1))
        assert (done.status, done.error.code, done.error.retryable) == (Status.FAILED, "KeyError", True)
        *_, after = await plane.play(says(assign(call(2, beside_it, "x"))), hears("finished", 2))
        assert after.status == Status.SUCCEEDED
    assert [(one.code, one.stalled) for one in ended] == [("KeyError", False)]
    assert "the hook for" in caplog.text


async def test_a_cancel_of_the_control_plane_reaches_a_function(plane: ScriptedControlPlane) -> None:
    async with serving(worker(plane)):
        script = (begins(), says(assign(call(1, patient))), hears("progress", 1), says(cancel(1, "enough")))
        *_, done = await plane.play(*script, hears("finished", 1))
    assert (done.status, done.error.code, done.error.message) == (Status.CANCELLED, "CANCELLED", "enough")


async def test_what_the_control_plane_gave_to_somebody_else_is_told_as_stalled(
    plane: ScriptedControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ended: list[Ended] = []
    async with serving(worker(plane, on_stalled=ended.append)):
        await plane.play(begins(), says(assign(call(1, patient))), hears("progress", 1))
        stop = agent_pb2.ConnectResponse(reconcile=agent_pb2.Reconcile(stop=[ref(1)]))
        await plane.play(does(plane.stream.cut.set), opens(), hears("hello"), says(welcome(), stop))
        while not ended:  # noqa: ASYNC110 - a fact of another thread
            await asyncio.sleep(0.01)
    assert [(one.stalled, one.code) for one in ended] == [(True, "SUPERSEDED")]
    assert "stalled" in caplog.text


async def test_serving_ends_after_a_stop_from_anywhere(plane: ScriptedControlPlane) -> None:
    one = worker(plane)
    async with serving(one) as running:
        await plane.play(begins(), hears("credits"))
        await asyncio.to_thread(one.stop)
        await plane.play(hears("leave"))
        await running


async def test_one_that_is_not_wanted_says_why(plane: ScriptedControlPlane) -> None:
    one = worker(plane)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        telling = group.create_task(_why(one))
        await plane.play(begins(), says(goodbye(agent_pb2.Goodbye.DELETED, "by a person")))
        assert "was deleted: by a person" in await telling


async def _why(one: Worker) -> str:
    with pytest.raises(WorkerError) as refused:
        await one.serve()
    return str(refused.value)


async def test_several_workers_of_a_machine_find_names_of_their_own(plane: ScriptedControlPlane) -> None:
    async with serving(worker(plane)):
        first, _ = await plane.play(begins(), hears("credits"))
        async with serving(worker(plane)):
            second, _ = await plane.play(begins(), hears("credits"))
    assert second.agent_id == f"{first.agent_id}-2"


async def test_a_name_of_ones_own_is_not_changed(plane: ScriptedControlPlane) -> None:
    async with serving(worker(plane, name="w")):
        await plane.play(begins(), hears("credits"))
        with pytest.raises(WorkerError, match="is held by"):
            await worker(plane, name="w").serve()


async def test_cancelling_serve_ends_the_worker(plane: ScriptedControlPlane) -> None:
    one = worker(plane)
    async with asyncio.timeout(DEADLINE):
        running = asyncio.get_running_loop().create_task(one.serve())
        await plane.play(begins(), says(assign(call(1, patient))), hears("progress", 1))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert not [thread for thread in threading.enumerate() if thread.name == "pawl-worker" and thread.is_alive()]
