"""Task functions: what may be one, the job that it is, and what its author is told when something is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import pawl
import pytest
from pawl.failures import failed_by
from pawl.v1.job_pb2 import JobConfig, RetryRules
from pawl.v1.task_pb2 import Task
from pawl.worker import Worker

if TYPE_CHECKING:
    from tests.clients import nowhere  # type: ignore[attr-defined] # known to type checkers alone, as such names are


def test_a_function_is_the_job_of_its_workflow_and_its_name() -> None:
    shop = pawl.Workflow("shop", version="3")

    @shop.task(timeout=5, max_retries=2, labels={"zone": "a"}, retry=RetryRules(retry_on=["ConnectionError"]))
    def pack(order: dict[str, int]) -> int:
        """Pack an order.

        Carefully.
        """
        return order["count"]

    job = pack.job
    assert (job.name, job.description) == ("shop.pack", "Pack an order.\n\nCarefully.")
    assert (job.config.executor, job.config.function.name) == ("function", "shop.pack")
    assert (job.config.timeout, job.config.max_retries, dict(job.config.labels)) == (5, 2, {"zone": "a"})
    assert list(job.config.retry.retry_on) == ["ConnectionError"]
    assert pack.code_version == "3"
    assert pack({"count": 2}) == 2
    assert repr(pack) == "<task function shop.pack>"


def test_a_name_of_its_own_and_a_config_of_several_settings() -> None:
    shop = pawl.Workflow("shop")

    @shop.task("pack-it", config=JobConfig(timeout=5, priority=900), priority=100)
    async def pack() -> None: ...

    assert pack.name == "shop.pack-it"
    assert (pack.config.timeout, pack.config.priority) == (5, 100)


def test_without_a_version_the_source_says_which_code_it_is() -> None:
    def one() -> int:
        return 1

    def other() -> int:
        return 2

    first, again, second = (pawl.Workflow("shop").task("a")(code) for code in (one, one, other))
    assert first.code_version == again.code_version != second.code_version


@pytest.mark.parametrize("name", ["", "a/b", ".a", "ä", "x" * 64])
def test_names_follow_the_rule_of_jobs(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        pawl.Workflow(name)


def test_the_whole_name_of_a_task_is_bounded() -> None:
    with pytest.raises(ValueError, match="is no name"):
        pawl.Workflow("x" * 60).task("y" * 5)(_counts)


def test_two_tasks_of_one_name_are_refused() -> None:
    shop = pawl.Workflow("shop")
    shop.task("pack")(lambda: None)
    with pytest.raises(ValueError, match=r"two tasks 'shop\.pack'"):
        shop.task("pack")(lambda: None)
    with pytest.raises(ValueError, match="two functions"):
        Worker(shop, pawl.Workflow("shop").task("pack")(_counts))


def test_a_worker_without_functions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Worker(pawl.Workflow("shop"))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="timeot"):
        pawl.Workflow("shop").task(timeot=3)
    with pytest.raises(ValueError, match="isolation"):
        pawl.Workflow("shop").task(isolation="container")  # type: ignore[arg-type] # what is wrong here
    with pytest.raises(ValueError, match="executor"):
        pawl.Workflow("shop").task(executor="http")


def test_context_and_input_are_found_wherever_they_stand() -> None:
    shop = pawl.Workflow("shop")

    def first(ctx: pawl.Context, order: int) -> None: ...
    def second(order: int, context: pawl.Context) -> None: ...
    def bare(order, ctx) -> None: ...  # type: ignore[no-untyped-def] # the point
    def named(where: pawl.Context) -> None: ...
    def alone(ctx: int) -> None: ...

    def shape(code: Any) -> tuple[str | None, str | None]:
        found = shop.task(code.__name__)(code).shape
        return found.input, found.context

    assert shape(first) == ("order", "ctx")
    assert shape(second) == ("order", "context")
    assert shape(bare) == ("order", "ctx")
    assert shape(named) == (None, "where")
    assert shape(alone) == ("ctx", None)


def test_a_function_of_two_inputs_is_refused_where_it_is_defined() -> None:
    def two(a: int, b: int) -> None: ...
    def stars(*args: int) -> None: ...

    for code in (two, stars):
        with pytest.raises(TypeError, match=code.__name__):
            pawl.Workflow("shop").task()(code)


def test_a_type_that_is_not_known_at_run_time_is_named() -> None:
    def hidden(order: nowhere.Order) -> None: ...

    with pytest.raises(TypeError, match="nowhere"):
        pawl.Workflow("shop").task()(hidden)


def test_an_input_that_is_left_out_takes_the_default() -> None:
    def pack(count: int = 3) -> int:
        return count

    task = pawl.Workflow("shop").task()(pack)
    context = pawl.Context(None, None)  # type: ignore[arg-type] # not asked for anything
    assert task.bound(None, context) == {}
    assert task.bound(task.encoded(5), context) == {"count": 5}


def test_an_output_comes_back_in_its_type_or_as_the_failure_that_it_was() -> None:
    task = pawl.Workflow("shop").task("a")(_counts)
    done = Task(id="1", status=Task.Status.SUCCEEDED, output=task.shape.writes.write({"a": 1}))
    assert task.output_of(done) == {"a": 1}
    assert task.output_of(Task(id="1", status=Task.Status.SUCCEEDED)) is None
    failed = Task(id="1", status=Task.Status.FAILED)
    failed.error.code, failed.error.message = "ValueError", "no"
    with pytest.raises(pawl.TaskFailed, match="FAILED: no") as caught:
        task.output_of(failed)
    assert caught.value.code == "ValueError"


def _counts() -> dict[str, int]:
    return {}


async def _typed(shop: pawl.Workflow, done: Task) -> None:
    """For the type checker alone: what is called, run and read has the function's own types."""

    @shop.task()
    async def later(order: int, ctx: pawl.Context) -> str:
        return str(order)

    @shop.task()
    def at_once(order: int) -> str:
        return str(order)

    assert_type(await later(1, pawl.Context(None, None)), str)  # type: ignore[arg-type] # not called
    assert_type(at_once(1), str)
    assert_type(await later.run(1), str)
    assert_type(await at_once.run(1), str)
    assert_type(later.output_of(done), str)
    assert_type(at_once.output_of(done), str)
    at_once("1")  # type: ignore[arg-type] # what the checker finds


def test_a_workflow_of_one_task_runs_it_and_another_says_how_many_it_has() -> None:
    shop = pawl.Workflow("shop")
    with pytest.raises(ValueError, match="has 0 tasks"):
        shop._only()
    only = shop.task("a")(lambda: None)
    assert shop._only() is only


def test_codes_are_what_retry_rules_can_name() -> None:
    class Größe(Exception):
        pass

    assert failed_by(Größe("x")).code == "Gr__e"
    assert failed_by(pawl.TaskError("x", code="A B")).code == "A_B"
    assert failed_by(KeyError("k")).code == "KeyError"
    assert failed_by(ValueError()).message == "ValueError"
