"""Calls that callers give up, or that run out of time: nothing of them is half done, and a repeat tells the truth."""

import random
import threading
import time
from typing import Any

import grpc
import pytest
from pawl.v1 import job_pb2, job_pb2_grpc, system_pb2, system_pb2_grpc, task_pb2, task_pb2_grpc

from tests.spec.conftest import Plane

CALLS = 150
DEADLINE = 20.0
GIVEN_UP = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


def stubs(plane: Plane, name: str) -> tuple[str, Any]:
    """The id of a new job, and the stub for tasks."""
    jobs: Any = job_pb2_grpc.JobServiceStub(plane.grpc.channel)
    job = job_pb2.Job(name=name, config=job_pb2.JobConfig(cmd="true"))
    made = jobs.CreateJob(job_pb2.CreateJobRequest(job=job), timeout=DEADLINE)
    return made.id, task_pb2_grpc.TaskServiceStub(plane.grpc.channel)


def test_a_call_that_is_given_up_is_done_or_not_and_its_repeat_tells_which(plane: Plane) -> None:
    chance = random.Random(4)
    job, tasks = stubs(plane, "given-up")
    requests = [
        task_pb2.CreateTaskRequest(task=task_pb2.Task(job_id="given-up"), request_id=f"given-up-{number}")
        for number in range(CALLS)
    ]
    calls = []
    for number, request in enumerate(requests):
        after = chance.uniform(0.001, 0.1)
        call = tasks.CreateTask.future(request, timeout=after if number % 2 else DEADLINE)
        if not number % 2:
            threading.Timer(after, call.cancel).start()
        calls.append(call)
    codes = [call.code() for call in calls]
    assert set(codes) <= GIVEN_UP | {grpc.StatusCode.OK}
    assert set(codes) & GIVEN_UP, "nobody was in a hurry"
    again = [tasks.CreateTask(one, timeout=DEADLINE).id for one in requests]
    assert [tasks.CreateTask(one, timeout=DEADLINE).id for one in requests] == again
    assert len(set(again)) == CALLS
    first = [call.result().id if code is grpc.StatusCode.OK else "" for call, code in zip(calls, codes, strict=True)]
    assert all(one in ("", told) for one, told in zip(first, again, strict=True))
    page = task_pb2.ListTasksRequest()
    page.filter.struct_value.update({"job_id": {"eq": job}})
    assert tasks.ListTasks(page, timeout=DEADLINE).total == CALLS


def test_a_call_that_is_given_up_holds_nothing(plane: Plane) -> None:
    _, tasks = stubs(plane, "waits")
    task = tasks.CreateTask(task_pb2.CreateTaskRequest(task=task_pb2.Task(job_id="waits")), timeout=DEADLINE)
    watches = [tasks.WatchTask(task_pb2.WatchTaskRequest(id=task.id)) for _ in range(20)]
    for watch in watches:
        assert next(watch).id == task.id
        watch.cancel()
    late = tasks.WatchTask(task_pb2.WatchTaskRequest(id=task.id), timeout=0.5)
    assert next(late).id == task.id
    with pytest.raises(grpc.RpcError):
        next(late)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    system: Any = system_pb2_grpc.SystemServiceStub(plane.grpc.channel)
    giving_up = time.monotonic() + DEADLINE
    while system.GetGatewayStats(system_pb2.GetGatewayStatsRequest(), timeout=DEADLINE).clients > 1:
        assert time.monotonic() < giving_up
        time.sleep(0.05)
