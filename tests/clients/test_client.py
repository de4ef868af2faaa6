"""The client against a real control plane and a real agent."""

import asyncio

import pytest
from pawl.client import BlockingClient, Client
from pawl.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidArgument, NotFound, PawlError
from pawl.payload import value_of
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.schedule_pb2 import Schedule, ScheduleKind
from pawl.v1.task_pb2 import LogEntry, Task


def echo(name: str, script: str = "cat") -> Job:
    return Job(name=name, config=JobConfig(cmd="bash", args=["-c", script]))


async def test_a_task_is_run_and_its_output_comes_back(client: Client, agent: str, name: str) -> None:
    await client.jobs.create(echo(name))
    task = await client.tasks.run(name, {"who": "world"}, tags={"kind": "test"})
    assert task.status == Task.Status.SUCCEEDED
    assert task.output.data == b'{"who":"world"}'
    assert task.agent_id == agent


async def test_a_payload_of_bytes_arrives_as_it_was(client: Client, agent: str, name: str) -> None:
    await client.jobs.create(echo(name, 'printf "%s" "$(wc -c)"'))
    task = await client.tasks.run(name, b"\x00\xff\x00")
    assert value_of(task.output) == "3"


async def test_a_task_without_parameters_has_none(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    assert not (await client.tasks.create(name)).HasField("parameters")
    assert (await client.tasks.create(name, None)).parameters.data == b"null"


async def test_watching_ends_with_the_task(client: Client, agent: str, name: str) -> None:
    await client.jobs.create(echo(name, "exit 3"))
    made = await client.tasks.create(name)
    seen = [task.status async for task in client.tasks.watch(made.id)]
    assert seen[-1] == Task.Status.FAILED


async def test_logs_are_followed_until_the_task_ends(client: Client, agent: str, name: str) -> None:
    await client.jobs.create(echo(name, "echo one; echo two >&2"))
    made = await client.tasks.create(name)
    entries = [(one.stream, one.text) async for one in client.tasks.logs(made.id, follow=True)]
    assert sorted(entries) == [(LogEntry.Stream.STDOUT, "one\n"), (LogEntry.Stream.STDERR, "two\n")]


async def test_a_repeat_with_the_same_request_id_makes_one_task(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    first = await client.tasks.create(name, request_id=f"{name}-1")
    assert (await client.tasks.create(name, request_id=f"{name}-1")).id == first.id
    with pytest.raises(AlreadyExists) as refused:
        await client.tasks.create(name, priority=7, request_id=f"{name}-1")
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_every_row_of_a_list_is_reached(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    made = await client.tasks.create_many(Task(job_id=name, tags={"run": name}) for _ in range(7))
    ids = {one.id for one in made if isinstance(one, Task)}
    found = [task.id async for task in client.tasks.all(filter={"tags.run": {"eq": name}}, page_size=3)]
    assert len(found) == 7
    assert set(found) == ids


async def test_one_bad_task_of_a_batch_fails_alone(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    good, bad = await client.tasks.create_many([Task(job_id=name), Task(job_id=f"{name}-not")])
    assert isinstance(good, Task)
    assert isinstance(bad, NotFound)
    assert bad.reason == "RESOURCE_NOT_FOUND"


async def test_what_is_missing_is_not_found(client: Client, name: str) -> None:
    with pytest.raises(NotFound, match=name) as refused:
        await client.jobs.get(name)
    assert refused.value.code == "NOT_FOUND"
    assert not refused.value.repeatable


async def test_a_bad_field_is_named(client: Client, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await client.jobs.create(Job(name=name, config=JobConfig(cmd="true", timeout=-1)))
    assert [one.field for one in refused.value.fields] == ["job.config.timeout"]
    assert "job.config.timeout" in str(refused.value)


async def test_an_old_etag_changes_nothing(client: Client, name: str) -> None:
    job = await client.jobs.create(echo(name))
    await client.jobs.update(Job(id=job.id, description="mine"), ["description"])
    with pytest.raises(Conflict):
        await client.jobs.update(Job(id=job.id, description="yours"), ["description"], etag=str(job.version))
    assert (await client.jobs.get(name)).description == "mine"


async def test_names_are_looked_up_in_the_clients_namespace(client: Client, server: str, name: str) -> None:
    await client.jobs.create(echo(name))
    async with Client(server, namespace=f"{name}-nowhere") as elsewhere:
        with pytest.raises(NotFound) as refused:
            await elsewhere.jobs.get(name)
    assert refused.value.reason == "NAMESPACE_NOT_FOUND"


async def test_schedules_tell_their_next_fires(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    kind = ScheduleKind.Kind.CRON
    made = await client.schedules.create(Schedule(name=name, job_id=name, kind=kind, cron_expression="0 2 * * *"))
    fires = (await client.schedules.preview(Schedule(id=made.id), 3)).fires
    assert [fire.seconds % 86_400 for fire in fires] == [7_200] * 3
    await client.schedules.delete(name)


async def test_a_job_with_unfinished_tasks_is_deleted_with_them_only(client: Client, name: str) -> None:
    await client.jobs.create(Job(name=name, config=JobConfig(cmd="true", labels={"nobody": "has it"})))
    await client.tasks.create(name)
    with pytest.raises(FailedPrecondition) as refused:
        await client.jobs.delete(name)
    assert refused.value.reason == "HAS_UNFINISHED_TASKS"
    await client.jobs.delete(name, cancel_tasks=True)


async def test_a_waiting_task_explains_itself(client: Client, name: str) -> None:
    await client.jobs.create(Job(name=name, config=JobConfig(cmd="true", labels={"nobody": "has it"})))
    made = await client.tasks.create(name)
    assert (await client.tasks.explain(made.id)).message
    await client.tasks.cancel(made.id, "enough")
    assert (await client.tasks.get(made.id)).cancel_reason == "enough"


def test_blocking_code_makes_the_same_calls(server: str, agent: str, name: str) -> None:
    with BlockingClient(Client(server)) as pawl:
        pawl.call(lambda client: client.jobs.create(echo(name, "echo hello")))
        task = pawl.call(lambda client: client.tasks.run(name))
        lines = [one.text for one in pawl.each(lambda client: client.tasks.logs(task.id))]
    assert lines == ["hello\n"]


async def test_many_calls_share_a_client(client: Client, name: str) -> None:
    await client.jobs.create(echo(name))
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(client.tasks.create(name)) for _ in range(50)]
    assert len({task.result().id for task in made}) == 50


async def test_every_error_is_a_pawl_error(client: Client) -> None:
    with pytest.raises(PawlError):
        await client.tasks.get("no-id")
