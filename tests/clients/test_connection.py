"""How calls are repeated, against a server that fails on purpose."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped] # ships no types
from pawl.client import Client
from pawl.connection import Patience
from pawl.errors import Cancelled, Exhausted, InvalidArgument, Unavailable
from pawl.v1 import job_pb2, job_pb2_grpc, task_pb2, task_pb2_grpc

QUICK = Patience(seconds=5.0, first_pause=0.01, longest_pause=0.05)


@dataclass
class Unsteady(job_pb2_grpc.JobServiceServicer, task_pb2_grpc.TaskServiceServicer):
    """Answers after `failures` refusals; streams break once."""

    failures: list[status_pb2.Status] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    watched: list[int] = field(default_factory=list)

    async def CreateJob(  # noqa: N802 # the generated name
        self, request: job_pb2.CreateJobRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> job_pb2.Job:
        self.request_ids.append(request.request_id)
        self.namespaces += [str(value) for key, value in context.invocation_metadata() or () if key == "pawl-namespace"]
        if self.failures:
            await context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
        return request.job

    async def WatchTask(  # noqa: N802 # the generated name
        self, request: task_pb2.WatchTaskRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[task_pb2.Task]:
        self.watched.append(request.after_version)
        for version in range(request.after_version + 1, 4):
            yield task_pb2.Task(id=request.id, version=version)
            if version == 2 and len(self.watched) == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")


@pytest.fixture
async def unsteady() -> AsyncIterator[tuple[Unsteady, str]]:
    server = grpc.aio.server()
    service = Unsteady()  # type: ignore[abstract] # the calls that no test makes stay unimplemented
    job_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    task_pb2_grpc.add_TaskServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield service, f"127.0.0.1:{port}"
    await server.stop(None)


def refusal(code: int, *details: object) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message="no")
    for one in details:
        packed = any_pb2.Any()
        packed.Pack(one)  # type: ignore[arg-type] # details are messages
        status.details.append(packed)
    return status


async def test_a_call_is_repeated_with_the_same_request_id(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    service.failures = [refusal(code_pb2.UNAVAILABLE)] * 3
    async with Client(address, namespace="team", patience=QUICK) as client:
        assert (await client.jobs.create(job_pb2.Job(name="a"))).name == "a"
    assert len(service.request_ids) == 4
    assert len(set(service.request_ids)) == 1
    assert service.request_ids[0]
    assert service.namespaces == ["team"] * 4


async def test_what_the_server_asks_to_repeat_is_repeated(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(20)
    service.failures = [refusal(code_pb2.RESOURCE_EXHAUSTED, retry)]
    async with Client(address, patience=QUICK) as client:
        await client.jobs.create(job_pb2.Job(name="a"))
    assert len(service.request_ids) == 2


async def test_what_a_stopping_server_had_not_looked_at_is_repeated(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    service.failures = [refusal(code_pb2.CANCELLED)]
    async with Client(address, patience=QUICK) as client:
        assert (await client.jobs.create(job_pb2.Job(name="a"))).name == "a"
    assert len(service.request_ids) == 2
    assert len(set(service.request_ids)) == 1


async def test_what_was_cancelled_for_a_reason_is_not_repeated(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    info = error_details_pb2.ErrorInfo(reason="CALL_CANCELLED", domain="pawl.dev")
    service.failures = [refusal(code_pb2.CANCELLED, info)]
    async with Client(address, patience=QUICK) as client:
        with pytest.raises(Cancelled):
            await client.jobs.create(job_pb2.Job(name="a"))
    assert len(service.request_ids) == 1


async def test_what_is_refused_is_not_repeated(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    violation = error_details_pb2.BadRequest.FieldViolation(field="job.name", description="is empty")
    info = error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="pawl.dev", metadata={"a": "b"})
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    service.failures = [refusal(code_pb2.INVALID_ARGUMENT, info, bad)]
    async with Client(address, patience=QUICK) as client:
        with pytest.raises(InvalidArgument) as refused:
            await client.jobs.create(job_pb2.Job())
    assert len(service.request_ids) == 1
    assert refused.value.reason == "INVALID_FIELD"
    assert refused.value.metadata == {"a": "b"}
    assert str(refused.value) == "no; job.name: is empty"


async def test_patience_ends(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(60)
    service.failures = [refusal(code_pb2.RESOURCE_EXHAUSTED, retry)]
    async with Client(address, patience=QUICK) as client:
        with pytest.raises(Exhausted) as refused:
            await client.jobs.create(job_pb2.Job(name="a"))
    assert refused.value.retry_after == 60.0


async def test_nobody_there_is_told_within_the_patience() -> None:
    begun = time.monotonic()
    async with Client("127.0.0.1:1", patience=Patience(seconds=0.5, first_pause=0.05)) as client:
        with pytest.raises(Unavailable):
            await client.jobs.get("a")
    assert time.monotonic() - begun < 5


async def test_a_broken_stream_goes_on_where_it_was(unsteady: tuple[Unsteady, str]) -> None:
    service, address = unsteady
    async with Client(address, patience=QUICK) as client:
        versions = [task.version async for task in client.tasks.watch("a")]
    assert versions == [1, 2, 3]
    assert service.watched == [0, 2]
