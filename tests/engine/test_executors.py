"""Executors beside our own: functions go to the workers that have them, options are what the agents declare."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.api.link import _read_hello
from controlplane.domain.errors import Invalid
from controlplane.domain.job import FunctionSpec, JobConfig, JobSpec, Requirement
from controlplane.engine.explain import Explain
from controlplane.engine.jobs import JobDraft
from controlplane.engine.options import MAX_SCHEMA_BYTES, schema_problem
from tests.engine.stage import Replica, opened, placed

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"image": {"type": "string"}, "ports": {"type": "array", "items": {"type": "integer"}}},
        "required": ["image"],
        "additionalProperties": False,
    }
)


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


def functions(*names: str) -> list[dict[str, Any]]:
    """What a worker with these functions has."""
    return [{"name": "function", "abi": 0, "functions": [{"name": name, "code_version": "1"} for name in names]}]


def executor(name: str, schema: str = "") -> list[dict[str, Any]]:
    """What an agent with an executor of its own has."""
    return [{"name": name, "abi": 0, **({"options_schema": schema} if schema else {})}]


async def define(one: Replica, name: str, **config: Any) -> str:
    """The id of a new job that is no process."""
    return (await one.jobs.create("default", JobDraft(name, JobSpec("", {}, JobConfig(**config))), None)).id


async def define_function(one: Replica, name: str) -> None:
    """A job that is a function."""
    await define(one, name, executor="function", function=FunctionSpec(name))


async def test_a_function_goes_only_to_workers_that_have_it(one: Replica) -> None:
    await define_function(one, "greet.hello")
    [task] = await one.create("greet.hello")
    agent = await one.connect("agent")
    other = await one.connect("other", executors=functions("greet.bye"))
    assert await one.place() == 0
    worker = await one.connect("worker", executors=functions("greet.bye", "greet.hello"))
    assert await one.place() == 1
    assert [placement.ref.task_id for placement in placed(worker)] == [task.id]
    assert not placed(agent)
    assert not placed(other)


async def test_work_for_a_shell_never_reaches_a_worker(one: Replica) -> None:
    await one.job()
    await one.create()
    await one.connect("worker", executors=functions("greet.hello"))
    assert await one.place() == 0


async def test_explain_names_the_function_that_no_worker_has(one: Replica) -> None:
    await define_function(one, "greet.hello")
    [task] = await one.create("greet.hello")
    await one.connect("worker", executors=functions("greet.bye"))
    explain = Explain(one.engine, one.tasks, one.placing, one.sessions, one.agents)
    told = await explain.task("default", task.id)
    assert told.reason == "NO_EXECUTOR"
    assert "function 'greet.hello'" in told.message


def test_a_demand_without_a_function_is_written_as_before_there_were_any() -> None:
    assert Requirement("default", "process", {}).canonical() == '{"executor":"process","labels":{}}'
    assert "greet.hello" in Requirement("default", "function", {}, "greet.hello").canonical()


async def test_an_executor_that_no_agent_offers_is_refused(one: Replica) -> None:
    await one.connect("agent", executors=executor("podman"))
    with pytest.raises(Invalid, match="'docker' is not offered") as refused:
        await define(one, "a", executor="docker")
    assert [violation.field for violation in refused.value.violations] == ["job.config.executor"]


async def test_an_executor_of_another_namespace_is_not_offered(one: Replica) -> None:
    await one.connect("agent", executors=executor("docker"), serves=("elsewhere",))
    with pytest.raises(Invalid, match="not offered"):
        await define(one, "a", executor="docker")


async def test_options_are_checked_against_what_the_agents_declare(one: Replica) -> None:
    await one.connect("agent", executors=executor("docker", SCHEMA))
    await define(one, "good", executor="docker", options='{"image": "alpine", "ports": [80]}')
    with pytest.raises(Invalid) as refused:
        await define(one, "bad", executor="docker", options='{"image": "alpine", "ports": [80, "x"]}')
    assert [violation.field for violation in refused.value.violations] == ["job.config.options.ports[1]"]
    with pytest.raises(Invalid, match="image"):
        await define(one, "none", executor="docker")


async def test_a_changed_job_is_checked_again(one: Replica) -> None:
    await one.connect("agent", executors=executor("docker", SCHEMA))
    job = await define(one, "a", executor="docker", options='{"image": "alpine"}')

    def change(_: Any) -> JobDraft:
        return JobDraft("a", JobSpec("", {}, JobConfig(executor="docker", options='{"picture": "alpine"}')))

    with pytest.raises(Invalid, match="image"):
        await one.jobs.update("default", job, change, etag=None, request=None)


async def test_options_fit_if_one_of_the_living_agents_takes_them(one: Replica) -> None:
    older = await one.connect("older", executors=executor("docker", SCHEMA))
    await one.connect("newer", executors=executor("docker", '{"required": ["picture"]}'))
    await define(one, "old", executor="docker", options='{"image": "alpine"}')
    await define(one, "new", executor="docker", options='{"picture": "alpine"}')
    await one.agents.leave(older, on_purpose=True)
    with pytest.raises(Invalid, match="picture"):
        await define(one, "late", executor="docker", options='{"image": "alpine"}')


async def test_options_reach_the_agent_as_they_were_written(one: Replica) -> None:
    agent = await one.connect("agent", executors=executor("docker"))
    await define(one, "a", executor="docker", options='{"b": 1, "a": 1.50}')
    await one.create("a")
    await one.place()
    [placement] = placed(agent)
    assert placement.config.options == '{"b": 1, "a": 1.50}'


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "[]",
        '{"type": "thing"}',
        '{"$ref": "http://127.0.0.1:9/elsewhere"}',
        '{"pattern": "("}',
        '{"a": "' + "x" * MAX_SCHEMA_BYTES + '"}',
    ],
)
def test_what_is_no_schema_is_refused_with_the_hello(schema: str) -> None:
    assert schema_problem(schema)


async def test_a_pattern_that_would_take_for_ever_is_judged_at_once(one: Replica) -> None:
    await one.connect("agent", executors=executor("docker", '{"properties": {"a": {"pattern": "^(a+)+$"}}}'))
    with pytest.raises(Invalid, match=r"options\.a"):
        await define(one, "a", executor="docker", options=json.dumps({"a": "a" * 10_000 + "!"}))


def test_a_hello_brings_functions_and_schemas() -> None:
    from pawl.v1 import agent_pb2

    hello = agent_pb2.Hello(
        protocol_version=1, agent_id="w", state_id="s", generation=1, slots=1,
        executors=[{"name": "function"}, {"name": "docker", "options_schema": SCHEMA}],
        functions=[{"name": "greet.hello", "code_version": "7"}],
    )  # fmt: skip
    arrival = _read_hello(agent_pb2.ConnectRequest(seq=1, hello=hello), "default")
    assert arrival.functions == ["greet.hello"]
    assert arrival.executors[1]["options_schema"] == SCHEMA
    alone = agent_pb2.Hello()
    alone.CopyFrom(hello)
    del alone.executors[0]
    with pytest.raises(Invalid, match="needs the executor 'function'"):
        _read_hello(agent_pb2.ConnectRequest(seq=1, hello=alone), "default")
    hello.functions.add(name="no/name")
    with pytest.raises(Invalid, match=r"hello.functions\[1\]"):
        _read_hello(agent_pb2.ConnectRequest(seq=1, hello=hello), "default")
