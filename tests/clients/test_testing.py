"""The test kit, used as its users use it: on functions of their own, without a control plane."""

import asyncio
import logging
import os
from dataclasses import dataclass

import pawl
import pytest
from pawl.testing import FakeContext, run, run_blocking

shop = pawl.Workflow("shop")


@dataclass
class Order:
    item: str
    count: int = 1


@shop.task()
async def double(order: Order, ctx: pawl.Context) -> Order:
    ctx.log("doubling", order.item)
    ctx.progress(50, "half")
    ctx.heartbeat()
    logging.getLogger("shop").warning("careful")
    await asyncio.sleep(0)
    return Order(order.item, order.count * 2)


@shop.task(isolation="process")
def declined(order: Order) -> None:
    raise pawl.NonRetryable(f"no {order.item}", code="OUT_OF_STOCK")


@shop.task()
async def patient() -> None:
    await asyncio.Event().wait()


@shop.task()
def polling(ctx: pawl.Context) -> str:
    while not ctx.wait(0.001):
        pass
    ctx.raise_if_cancelled()
    return "never"


@shop.task()
def crooked() -> object:
    return object()


async def test_a_function_runs_with_its_values_as_they_would_travel() -> None:
    ran = await run(double, Order("apple", 2))
    assert ran.output == Order("apple", 4)
    assert ran.logs == ["doubling apple", "WARNING shop: careful"]
    assert ran.reports == [(50.0, "half")]
    assert ran.context.heartbeats == 1
    assert ran.failed is None


async def test_plain_json_is_taken_as_well() -> None:
    assert (await run(double, {"item": "pear"})).output == Order("pear", 2)


async def test_what_would_not_fit_fails_here_too() -> None:
    with pytest.raises(pawl.InvalidInput, match="count"):
        await run(double, {"item": "pear", "count": "many"})
    with pytest.raises(pawl.InvalidInput, match="no parameters"):
        await run(double)
    with pytest.raises(pawl.TaskError, match="no JSON"):
        await run(crooked)


def test_a_failure_is_the_functions_own_error_or_what_a_worker_reports() -> None:
    with pytest.raises(pawl.NonRetryable, match="no apple"):
        run_blocking(declined, Order("apple"))
    failed = run_blocking(declined, Order("apple"), catch=True).failed
    assert failed is not None
    assert (failed.code, failed.message, failed.retryable) == ("OUT_OF_STOCK", "no apple", False)


async def test_a_cancel_reaches_both_kinds_of_functions() -> None:
    with pytest.raises(asyncio.CancelledError):
        await run(patient, cancel_after=0)
    with pytest.raises(pawl.TaskCancelled):
        await run(polling, cancel_after=0)


async def test_a_function_stays_a_function() -> None:
    context = FakeContext(attempt=3)
    assert await double(Order("fig", 3), context) == Order("fig", 6)
    assert context.logs == ["doubling fig"]
    assert context.attempt == 3


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@shop.task()
def fails(how: str) -> None:
    match how:
        case "a name that is no text":
            raise FileNotFoundError(os.fsdecode(b"no such file: \xff"))
        case "no words":
            raise Unspeakable
        case "a code that is none":
            raise pawl.TaskError("words", code=7)  # type: ignore[arg-type]
        case "never":
            raise pawl.RetryAfter(float("inf"))
        case "before":
            raise pawl.RetryAfter(-1)


@pytest.mark.parametrize(
    ("how", "code", "message", "after"),
    [
        ("a name that is no text", "FileNotFoundError", r"no such file: \udcff", None),
        ("no words", "Unspeakable", "an error that cannot be shown: ValueError", None),
        ("a code that is none", "7", "words", None),
        ("never", "RetryAfter", "to be tried again in inf s", None),
        ("before", "RetryAfter", "to be tried again in -1 s", 0.0),
    ],
)
async def test_any_error_can_be_reported(how: str, code: str, message: str, after: float | None) -> None:
    failed = (await run(fails, how, catch=True)).failed
    assert failed is not None
    assert (failed.code, failed.message, failed.retry_after) == (code, message, after)
    failed.trace.encode()


def test_words_about_progress_that_are_no_text_are_made_text() -> None:
    context = FakeContext()
    context.progress(1, os.fsdecode(b"at \xff"))
    assert context.reports == [(1, "at ?")]
