"""Creates that are asked for at the same time go in one call, and each has its own answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from google.rpc.code_pb2 import INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE
from google.rpc.status_pb2 import Status
from pawl.client import Client
from pawl.coalesce import DELAY_SECONDS, MOST, Creates
from pawl.errors import InvalidArgument, NotFound, PermissionDenied
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import BatchCreateTasksResponse, CreateTaskRequest, Task

Result = BatchCreateTasksResponse.Result


@dataclass
class Calls:
    """Where creates go: what was sent, and how batches are answered. Jobs that are called like a code fail with it."""

    alone: list[CreateTaskRequest] = field(default_factory=list)
    together: list[Sequence[CreateTaskRequest]] = field(default_factory=list)
    metadata: tuple[tuple[str, str], ...] = ()
    gate: asyncio.Event | None = None
    refuses_all: bool = False

    async def one(self, request: CreateTaskRequest) -> Task:
        self.alone.append(request)
        if request.task.job_id == "INVALID_ARGUMENT":
            raise InvalidArgument("task.priority: is wrong")
        await self._pass()
        return Task(id=request.request_id, job_id=request.task.job_id)

    async def many(self, requests: Sequence[CreateTaskRequest]) -> BatchCreateTasksResponse:
        self.together.append(list(requests))
        if self.refuses_all:
            raise PermissionDenied("not you")
        await self._pass()
        return BatchCreateTasksResponse(results=[_result(one) for one in requests])

    async def _pass(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    def creates(self) -> Creates:
        return Creates(self.one, self.many, lambda: self.metadata)


def _result(request: CreateTaskRequest) -> Result:
    codes = {"INVALID_ARGUMENT": INVALID_ARGUMENT, "NOT_FOUND": NOT_FOUND, "UNAVAILABLE": UNAVAILABLE}
    code = codes.get(request.task.job_id)
    if code is not None:
        return Result(error=Status(code=code, message=f"requests[7].task: {request.task.job_id}"))
    return Result(task=Task(id=request.request_id, job_id=request.task.job_id))


def request(job: str = "job", request_id: str = "") -> CreateTaskRequest:
    return CreateTaskRequest(task=Task(job_id=job), request_id=request_id)


async def test_one_create_goes_alone_and_waits_for_nobody() -> None:
    calls = Calls()
    made = await calls.creates().create(request("a"))
    assert made.job_id == "a"
    assert (len(calls.alone), calls.together) == (1, [])
    assert calls.alone[0].request_id


async def test_creates_of_the_same_moment_go_together_in_order() -> None:
    calls = Calls()
    creates = calls.creates()
    made = await asyncio.gather(*(creates.create(request(str(n))) for n in range(100)))
    assert [one.job_id for one in made] == [str(n) for n in range(100)]
    [batch] = calls.together
    assert len({one.request_id for one in batch}) == 100


async def test_what_comes_while_a_call_is_under_way_gathers_for_a_moment() -> None:
    calls = Calls(gate=asyncio.Event())
    creates = calls.creates()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(creates.create(request("first")))
        while not calls.alone:  # noqa: ASYNC110 - a fact of the code under test
            await asyncio.sleep(0)
        for n in range(10):
            group.create_task(creates.create(request(str(n))))
            await asyncio.sleep(0)  # one after the other, within the delay
        while not calls.together:  # noqa: ASYNC110 - as above
            await asyncio.sleep(DELAY_SECONDS)
        assert calls.gate is not None
        calls.gate.set()
    assert sum(map(len, calls.together)) + len(calls.alone) == 11
    assert len(calls.together) <= 3


async def test_a_batch_is_bounded_in_number_and_bytes() -> None:
    calls = Calls()
    creates = calls.creates()
    await asyncio.gather(*(creates.create(request()) for _ in range(MOST + 1)))
    assert ([len(batch) for batch in calls.together], len(calls.alone)) == ([MOST], 1)
    calls.together.clear()
    large = [CreateTaskRequest(task=Task(job_id="x" * 900_000)) for _ in range(5)]
    await asyncio.gather(*map(creates.create, large))
    assert all(len(batch) <= 2 for batch in calls.together)


async def test_a_refused_create_harms_no_other() -> None:
    calls = Calls()
    creates = calls.creates()
    good, missing, other = await asyncio.gather(
        *(creates.create(request(job)) for job in ("a", "NOT_FOUND", "b")), return_exceptions=True
    )
    assert isinstance(good, Task)
    assert isinstance(missing, NotFound)
    assert isinstance(other, Task)


async def test_a_wrong_create_is_answered_as_if_it_had_been_alone() -> None:
    calls = Calls()
    creates = calls.creates()
    _, wrong = await asyncio.gather(
        creates.create(request("a")), creates.create(request("INVALID_ARGUMENT")), return_exceptions=True
    )
    assert str(wrong) == "task.priority: is wrong"


async def test_what_may_be_repeated_is_repeated_with_its_own_request_id() -> None:
    calls = Calls()
    creates = calls.creates()
    _, made = await asyncio.gather(creates.create(request("a")), creates.create(request("UNAVAILABLE", "mine")))
    assert made.id == "mine"
    assert [one.request_id for one in calls.alone] == ["mine"]


async def test_a_call_that_fails_fails_all_and_is_not_made_again() -> None:
    calls = Calls(refuses_all=True)
    creates = calls.creates()
    found = await asyncio.gather(*(creates.create(request()) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [PermissionDenied] * 3
    assert (len(calls.together), calls.alone) == (1, [])


async def test_others_are_not_let_down_when_the_one_that_leads_is_cancelled() -> None:
    for rounds in range(3):
        calls = Calls(gate=asyncio.Event())
        creates = calls.creates()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            leader = group.create_task(creates.create(request("leader")))
            others = [group.create_task(creates.create(request(str(n), f"id-{n}"))) for n in range(3)]
            for _ in range(rounds):  # before it has joined, while it waits, while it sends
                await asyncio.sleep(0)
            leader.cancel()
            assert calls.gate is not None
            calls.gate.set()
        assert [one.result().id for one in others] == ["id-0", "id-1", "id-2"]


async def test_creates_of_different_callers_are_kept_apart() -> None:
    calls = Calls()
    creates = calls.creates()
    async with asyncio.TaskGroup() as group:
        for trace in ("one", "two"):
            calls.metadata = (("traceparent", trace),)
            first = group.create_task(creates.create(request()))
            second = group.create_task(creates.create(request()))
            await asyncio.wait([first, second])
    assert [len(batch) for batch in calls.together] == [2, 2]


async def test_a_task_of_another_namespace_goes_alone() -> None:
    calls = Calls()
    creates = calls.creates()
    elsewhere = CreateTaskRequest(task=Task(job_id="a", namespace_id="elsewhere"))
    await asyncio.gather(creates.create(request()), creates.create(elsewhere), creates.create(request()))
    assert elsewhere in calls.alone
    assert [len(batch) for batch in calls.together] == [2]


async def test_the_server_takes_what_goes_together(client: Client, name: str) -> None:
    await client.jobs.create(Job(name=name, config=JobConfig(cmd="true", labels={"nobody": "has this"})))
    asked = [client.tasks.create(name, number, request_id=f"{name}-{number}") for number in range(50)]
    bad = client.tasks.create(name, priority=5_000)
    *made, refused = await asyncio.gather(*asked, bad, return_exceptions=True)
    assert [one.parameters.data for one in made if isinstance(one, Task)] == [b"%d" % n for n in range(50)]
    assert isinstance(refused, InvalidArgument)
    assert refused.fields[0].field == "task.priority"
    again = await client.tasks.create(name, 7, request_id=f"{name}-7")
    assert isinstance(made[7], Task)
    assert again.id == made[7].id


async def test_a_client_may_send_each_alone() -> None:
    client = Client("localhost:1", coalesce=False)
    assert client.tasks._creates is None
    with pytest.raises(ValueError, match="address"):
        Client("no address at all")
    await client.close()
