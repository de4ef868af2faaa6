"""A call with a request id happens once, whichever front it comes by and whichever its repeat takes."""

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2
from pawl.v1 import (
    job_pb2,
    job_pb2_grpc,
    plugin_pb2,
    plugin_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
    types_pb2,
)

from tests.spec.conftest import Plane

SPACE = "repeats"
WAIT = 20

Call = Callable[[str], str]
_numbers = itertools.count()


class Fronts:
    """The same calls by either front, each with an id of the resource that came of it."""

    def __init__(self, plane: Plane) -> None:
        self.http = plane.rest.client
        self.jobs: Any = job_pb2_grpc.JobServiceStub(plane.grpc.channel)
        self.tasks: Any = task_pb2_grpc.TaskServiceStub(plane.grpc.channel)
        self.plugins: Any = plugin_pb2_grpc.PluginServiceStub(plane.grpc.channel)
        self.http.post("/api/v1/namespaces", json={"id": SPACE})
        self.http.post("/api/v1/jobs", json={"namespace_id": SPACE, "name": "any", "config": {"cmd": "true"}})

    def by_grpc(self, key: str, data: bytes = b'{"a":1,"b":[2]}', **changes: Any) -> str:
        """CreateTask, with everything in fields."""
        task = task_pb2.Task(job_id="any", namespace_id=SPACE, parameters=types_pb2.Payload(data=data), **changes)
        made = self.tasks.CreateTask(task_pb2.CreateTaskRequest(task=task, request_id=key), timeout=WAIT)
        return str(made.id)

    def by_rest(self, key: str) -> str:
        """The same, as a person with curl would write it, with what can be in headers in headers."""
        body = '{ "parameters": {"b": [2], "a": 1}, "job_id": "any" }'
        headers = {"pawl-namespace": SPACE, "idempotency-key": key, "content-type": "application/json"}
        answer = self.http.post("/api/v1/tasks", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def by_batch(self, key: str) -> str:
        """The same, as the only one of a batch."""
        task = task_pb2.Task(job_id="any", parameters=types_pb2.Payload(data=b'{"a":1, "b":[2]}'))
        batch = task_pb2.BatchCreateTasksRequest(
            requests=[task_pb2.CreateTaskRequest(task=task, request_id=key)], namespace_id=SPACE
        )
        return str(self.tasks.BatchCreateTasks(batch, timeout=WAIT).results[0].task.id)

    def count(self) -> int:
        """How many tasks there are."""
        return int(self.http.get("/api/v1/tasks", headers={"pawl-namespace": SPACE}).json()["total"])


@pytest.fixture(scope="module")
def fronts(plane: Plane) -> Fronts:
    return Fronts(plane)


def new_key(what: str) -> str:
    return f"{what}-{next(_numbers)}"


def details(error: Any) -> tuple[status_pb2.Status, dict[str, Any]]:
    """What a refusal over gRPC says, its details by the names of their types."""
    status = status_pb2.Status()
    for name, value in error.trailing_metadata():
        if name == "grpc-status-details-bin":
            status.MergeFromString(value)
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            one = kind()
            if packed.Unpack(one):
                found[kind.DESCRIPTOR.name] = one
    return status, found


@pytest.mark.parametrize("order", list(itertools.permutations(("grpc", "rest", "batch"), 2)), ids="-then-".join)
def test_a_repeat_by_another_way_makes_nothing_and_has_the_same_answer(fronts: Fronts, order: tuple[str, str]) -> None:
    ways: dict[str, Call] = {"grpc": fronts.by_grpc, "rest": fronts.by_rest, "batch": fronts.by_batch}
    key, before = new_key("across"), fronts.count()
    first, second = (ways[way](key) for way in order)
    assert first == second
    assert fronts.count() == before + 1


def test_the_header_the_query_and_the_field_are_one_key_and_may_not_contradict(fronts: Fronts) -> None:
    key = new_key("header")
    made = fronts.by_grpc(key, b"1")
    body = {"job_id": "any", "namespace_id": SPACE, "parameters": 1}
    assert fronts.http.post(f"/api/v1/tasks?request_id={key}", json=body).json()["id"] == made
    quoted = {"idempotency-key": f'"{key}"'}  # as the IETF's draft writes it
    assert fronts.http.post("/api/v1/tasks", json=body, headers=quoted).json()["id"] == made
    both = fronts.http.post(f"/api/v1/tasks?request_id={key}", json=body, headers=quoted)
    assert both.json()["id"] == made
    refused = fronts.http.post(f"/api/v1/tasks?request_id=other-{key}", json=body, headers=quoted)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_other_content_under_a_used_key_is_refused_by_both_fronts_and_names_the_field(fronts: Fronts) -> None:
    key = new_key("reused")
    fronts.by_grpc(key)
    before = fronts.count()
    with pytest.raises(grpc.RpcError) as refused:
        fronts.by_grpc(key, priority=7)
    status, said = details(refused.value)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert said["ErrorInfo"].reason == "REQUEST_ID_REUSED"
    assert said["ErrorInfo"].metadata["request_id"] == key
    assert [one.field for one in said["BadRequest"].field_violations] == ["request_id"]
    assert "RetryInfo" not in said  # the same again would be refused again
    headers = {"pawl-namespace": SPACE, "idempotency-key": key}
    answer = fronts.http.post("/api/v1/tasks", json={"job_id": "any", "priority": 7}, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"], error["message"]) == (409, "ALREADY_EXISTS", status.message)
    assert fronts.count() == before


def test_a_refusal_is_repeated_by_the_other_front_though_the_call_would_succeed_now(fronts: Fronts) -> None:
    key, name = new_key("refused"), new_key("later")
    headers = {"pawl-namespace": SPACE, "idempotency-key": key}
    first = fronts.http.post("/api/v1/tasks", json={"job_id": name}, headers=headers)
    assert first.status_code == 404
    fronts.http.post("/api/v1/jobs", json={"namespace_id": SPACE, "name": name, "config": {"cmd": "true"}})
    task = task_pb2.Task(job_id=name, namespace_id=SPACE)
    with pytest.raises(grpc.RpcError) as refused:
        fronts.tasks.CreateTask(task_pb2.CreateTaskRequest(task=task, request_id=key), timeout=WAIT)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == first.json()["error"]["message"]


def test_a_change_under_an_etag_is_made_once_by_either_front(fronts: Fronts) -> None:
    key, name = new_key("etag"), new_key("job")
    made = fronts.http.post("/api/v1/jobs", json={"namespace_id": SPACE, "name": name, "config": {"cmd": "true"}})
    job = job_pb2.Job(id=made.json()["id"], namespace_id=SPACE, description="new")
    request = job_pb2.UpdateJobRequest(job=job, etag="1", request_id=key)
    request.update_mask.paths.append("description")
    changed = fronts.jobs.UpdateJob(request, timeout=WAIT)
    assert changed.version == 2
    repeated = fronts.http.patch(
        f"/api/v1/jobs/{job.id}?update_mask=description",
        json={"description": "new"},
        headers={"pawl-namespace": SPACE, "idempotency-key": key, "if-match": '"1"'},
    )
    assert (repeated.status_code, repeated.json()["version"]) == (200, 2), repeated.text


def test_a_delete_is_repeated_by_the_other_front(fronts: Fronts) -> None:
    key, name = new_key("delete"), new_key("gone")
    fronts.http.post("/api/v1/jobs", json={"namespace_id": SPACE, "name": name, "config": {"cmd": "true"}})
    request = job_pb2.DeleteJobRequest(id=name, namespace_id=SPACE, request_id=key)
    assert fronts.jobs.DeleteJob(request, timeout=WAIT) == Empty()
    headers = {"pawl-namespace": SPACE, "idempotency-key": key}
    assert fronts.http.delete(f"/api/v1/jobs/{name}", headers=headers).status_code == 200
    assert fronts.http.delete(f"/api/v1/jobs/{name}", headers=headers | {"idempotency-key": "x"}).status_code == 404


def test_an_upload_in_pieces_is_repeated_whole(fronts: Fronts, wasm_module: bytes) -> None:
    key = new_key("plugin")
    start = plugin_pb2.UploadPluginStart(name="hello", version="1", namespace_id=SPACE, request_id=key)
    pieces = [plugin_pb2.UploadPluginRequest(start=start), plugin_pb2.UploadPluginRequest(data=wasm_module)]
    made = fronts.plugins.UploadPlugin(iter(pieces), timeout=WAIT)
    headers = {"pawl-namespace": SPACE, "idempotency-key": key, "content-type": "application/wasm"}
    path = "/api/v1/plugins?name=hello&version=1"
    repeated = fronts.http.post(path, content=wasm_module, headers=headers)
    assert (repeated.status_code, repeated.json()["digest"]) == (200, made.digest)
    other = fronts.http.post("/api/v1/plugins?name=other&version=1", content=wasm_module, headers=headers)
    assert other.json()["error"]["details"][0]["reason"] == "REQUEST_ID_REUSED"
    whole = plugin_pb2.CreatePluginRequest(
        module=HttpBody(data=wasm_module), name="hello", version="1", namespace_id=SPACE, request_id=key
    )
    assert fronts.plugins.CreatePlugin(whole, timeout=WAIT).digest == made.digest


def test_a_repeat_while_the_first_is_in_flight_waits_for_it_or_is_told_to_come_back(fronts: Fronts) -> None:
    key = new_key("flight")
    body = {"job_id": "any", "namespace_id": SPACE}
    task = task_pb2.Task(job_id="any", namespace_id=SPACE)
    asked = task_pb2.RunTaskRequest(task=task, request_id=key, wait_seconds=WAIT)
    path, headers = f"/api/v1/tasks:run?wait_seconds={WAIT}", {"idempotency-key": key}
    before = fronts.count()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fronts.tasks.RunTask, asked, timeout=2 * WAIT)
        while fronts.count() == before:
            assert not first.done()
        hasty = fronts.http.post(path, json=body, headers=headers | {"x-server-timeout": "0.3"})
        error = hasty.json()["error"]
        assert (hasty.status_code, error["status"]) == (409, "ABORTED"), error
        assert error["details"][0]["reason"] == "REQUEST_IN_FLIGHT"
        assert "1s" in json.dumps(error["details"])
        assert hasty.headers["retry-after"] == "1"
        with pytest.raises(grpc.RpcError) as refused:
            fronts.tasks.RunTask(asked, timeout=0.5)
        assert refused.value.code() is grpc.StatusCode.ABORTED
        assert details(refused.value)[1]["RetryInfo"].retry_delay.seconds == 1
        patient = threads.submit(fronts.http.post, path, json=body, headers=headers)
        newest = fronts.http.get("/api/v1/tasks", headers={"pawl-namespace": SPACE}).json()["data"][0]["id"]
        fronts.http.post(f"/api/v1/tasks/{newest}:cancel", headers={"pawl-namespace": SPACE})
        ended, repeated = first.result(WAIT), patient.result(WAIT)
    assert (ended.id, ended.status) == (newest, task_pb2.Task.Status.CANCELLED)
    assert (repeated.json()["id"], repeated.json()["status"]) == (newest, "CANCELLED")
    assert fronts.count() == before + 1


def test_a_namespace_made_under_a_key_is_found_again(fronts: Fronts) -> None:
    key, name = new_key("space"), new_key("space")
    headers = {"idempotency-key": key}
    made = [fronts.http.post("/api/v1/namespaces", json={"id": name}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in made] == [200, 200]
    assert made[0].json() == made[1].json()
