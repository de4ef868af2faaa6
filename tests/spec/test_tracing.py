"""One trace from the caller over the server and an agent to the program, as a collector sees it."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pawl.tracing import Trace
from pawl.v1 import job_pb2, job_pb2_grpc, task_pb2, task_pb2_grpc

from tests.spec.collector import Collector, Span
from tests.spec.conftest import end, serving, start_agent
from tests.spec.two_fronts import GrpcFront, RestFront

CANARY = "c4n4ry-7f3a"
WAIT, CREATE = "wait for an agent", "pawl.v1.TaskService/CreateTask"


@dataclass(frozen=True)
class Stage:
    """A control plane that traces whatever nobody has decided about, an agent, and their collector."""

    collector: Collector
    grpc: GrpcFront
    rest: RestFront

    def create(self, front: str, job: str, headers: dict[str, str]) -> str:
        """A task with a secret for a parameter, created under these headers; its id."""
        if front == "rest":
            body = {"job_id": job, "parameters": {"password": CANARY}, "environment": {"TOKEN": CANARY}}
            answer = self.rest.client.post("/api/v1/tasks", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"])
        wanted = task_pb2.Task(job_id=job, environment={"TOKEN": CANARY})
        wanted.parameters.data = json.dumps({"password": CANARY}).encode()
        stub = task_pb2_grpc.TaskServiceStub(self.grpc.channel)
        request = task_pb2.CreateTaskRequest(task=wanted)
        return str(stub.CreateTask(request, metadata=tuple(headers.items()), timeout=20).id)

    def job(self, name: str, script: str, **config: Any) -> None:
        """A job of shell."""
        made = job_pb2.Job(name=name, config=job_pb2.JobConfig(cmd="sh", args=["-c", script], **config))
        job_pb2_grpc.JobServiceStub(self.grpc.channel).CreateJob(job_pb2.CreateJobRequest(job=made), timeout=20)

    def ended(self, task: str) -> task_pb2.Task:
        """The task, once it has ended."""
        stub = task_pb2_grpc.TaskServiceStub(self.grpc.channel)
        for seen in stub.WatchTask(task_pb2.WatchTaskRequest(id=task), timeout=30):
            if seen.HasField("finished_at"):
                found: task_pb2.Task = stub.GetTask(task_pb2.GetTaskRequest(id=task), timeout=20)
                return found
        raise AssertionError("the watch ended before the task")

    def attempts(self, task: str, count: int) -> list[Span]:
        """All spans, once those of so many attempts of a task have arrived from the agent and from the server."""

        def mine(spans: list[Span]) -> list[Span]:
            return [one for one in spans if one.attributes.get("pawl.task.id") == task]

        self.collector.until(lambda spans: len(mine(spans)) >= 2 * count)
        traces = {one.trace for one in mine(self.collector.spans())}
        # The span of the call is of the same process as the wait and may arrive in another batch.
        return self.collector.until(
            lambda spans: all(any(one.trace == trace and one.name != WAIT for one in spans) for trace in traces)
        )


def a_trace(*, sampled: bool = True) -> Trace:
    return Trace(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{'01' if sampled else '00'}")


def named(spans: list[Span], trace: Trace, prefix: str) -> list[Span]:
    found = [one for one in spans if one.trace == trace.trace_id and one.name.startswith(prefix)]
    return sorted(found, key=lambda one: one.began)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("traced")
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/pawl.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            url = server.url(stack.enter_context(server.database()))
        collector = stack.enter_context(Collector())
        addresses = stack.enter_context(serving(url, folder, otlp_endpoint=collector.endpoint, sample_ratio=1.0))
        agent = start_agent(addresses.grpc, folder / "agent", PAWL_TELEMETRY_OTLP_ENDPOINT=collector.endpoint)
        stack.callback(end, agent)
        grpc_front, rest_front = GrpcFront(addresses.grpc), RestFront(addresses.http)
        stack.callback(grpc_front.channel.close)
        stack.callback(rest_front.client.close)
        made = Stage(collector, grpc_front, rest_front)
        made.job("tells", 'echo "$TRACEPARENT|$TRACESTATE|$BAGGAGE"')
        made.job("fails", "exit 3", max_retries=2, retry_interval=0.01)
        yield made


@pytest.mark.parametrize("front", ["grpc", "rest"])
def test_one_trace_leads_from_the_call_to_the_program(stage: Stage, front: str) -> None:
    caller = a_trace()
    headers = {"traceparent": caller.traceparent, "tracestate": "vendor=abc", "baggage": f"customer={CANARY}"}
    task = stage.create(front, "tells", headers)
    said = stage.ended(task).output.data.decode().strip()
    spans = stage.attempts(task, 1)

    (call,) = named(spans, caller, CREATE)
    (wait,) = named(spans, caller, WAIT)
    (attempt,) = named(spans, caller, "attempt ")
    assert [call.parent, wait.parent, attempt.parent] == [caller.span_id, call.span, wait.span]
    assert [call.kind, wait.kind, attempt.kind] == ["SERVER", "PRODUCER", "CONSUMER"]
    assert [call.status, wait.status, attempt.status] == ["UNSET", "UNSET", "OK"]
    assert {one.state for one in (call, wait, attempt)} == {"vendor=abc"}
    assert all(one.began <= one.ended for one in (call, wait, attempt))
    assert said == f"00-{caller.trace_id}-{attempt.span}-01|vendor=abc|customer={CANARY}"

    assert (call.attributes["rpc.method"], call.attributes["pawl.front"]) == ("CreateTask", front)
    assert (call.attributes["rpc.grpc.status_code"], len(call.attributes["pawl.request.id"])) == ("OK", 16)
    for one in (wait, attempt):
        assert (one.attributes["pawl.job.name"], one.attributes["pawl.agent.name"]) == ("tells", "agent-01")
        assert (one.attributes["pawl.task.attempt"], one.attributes["pawl.namespace"]) == (1, "default")
    assert (attempt.attributes["pawl.task.status"], attempt.attributes["process.exit.code"]) == ("SUCCEEDED", 0)
    assert call.resource == wait.resource
    assert (call.resource["service.name"], attempt.resource["service.name"]) == ("pawl-server", "pawl-agent")
    assert attempt.resource["service.instance.id"] == "agent-01"
    assert call.resource["service.version"] == attempt.resource["service.version"]


def test_retries_are_siblings_and_say_why_each_failed(stage: Stage) -> None:
    caller = a_trace()
    task = stage.create("rest", "fails", {"traceparent": caller.traceparent})
    assert stage.ended(task).status == task_pb2.Task.FAILED
    spans = stage.attempts(task, 3)
    (call,) = named(spans, caller, CREATE)
    waits, attempts = named(spans, caller, WAIT), named(spans, caller, "attempt ")
    assert [one.parent for one in waits] == [call.span] * 3
    assert [one.parent for one in attempts] == [one.span for one in waits]
    assert [one.attributes["pawl.task.attempt"] for one in attempts] == [1, 2, 3]
    assert [(one.status, one.message, one.attributes["error.type"]) for one in attempts] == [
        ("ERROR", "EXIT_3", "EXIT_3")
    ] * 3


@pytest.mark.parametrize("front", ["grpc", "rest"])
def test_a_caller_who_wants_no_spans_has_none_but_keeps_the_trace(stage: Stage, front: str) -> None:
    unwanted, wanted = a_trace(sampled=False), a_trace()
    first = stage.create(front, "tells", {"traceparent": unwanted.traceparent})
    assert stage.ended(first).output.data.decode().strip() == f"{unwanted.traceparent}||"
    second = stage.create(front, "tells", {"traceparent": wanted.traceparent})
    spans = stage.attempts(second, 1)  # nothing of the first can be on its way still: each process sends in order
    assert not [one for one in spans if one.trace == unwanted.trace_id]


@pytest.mark.parametrize("front", ["grpc", "rest"])
@pytest.mark.parametrize("traceparent", ["", f"00-{'0' * 32}-{'1' * 16}-01"], ids=["none", "all zero"])
def test_without_a_sound_trace_a_call_begins_its_own(stage: Stage, front: str, traceparent: str) -> None:
    headers = {"traceparent": traceparent, "tracestate": "lost=1"} if traceparent else {}
    task = stage.create(front, "tells", headers)
    trace, state, _ = stage.ended(task).output.data.decode().strip().split("|")
    own = Trace(trace)
    assert (own.sampled, state) == (True, "")
    spans = stage.collector.until(lambda found: bool(named(found, own, CREATE)))
    assert [one.parent for one in named(spans, own, CREATE)] == [""]


def test_a_newer_version_of_the_header_is_read_as_what_is_known_of_it(stage: Stage) -> None:
    known = a_trace()
    newer = f"42{known.traceparent[2:]}-what-is-to-come"
    task = stage.create("rest", "tells", {"traceparent": newer})
    trace = stage.ended(task).output.data.decode().split("|")[0]
    assert Trace(trace).trace_id == known.trace_id


def test_lists_of_a_trace_that_come_in_parts_are_joined(stage: Stage) -> None:
    trace = a_trace()
    pairs = [("traceparent", trace.traceparent), ("tracestate", "a=1"), ("tracestate", "b=2"), ("baggage", "x=1")]
    answer = stage.rest.client.post("/api/v1/tasks", json={"job_id": "tells"}, headers=[*pairs, ("baggage", "y=2")])
    said = [stage.ended(str(answer.json()["id"])).output.data.decode().strip()]
    request = task_pb2.CreateTaskRequest(task={"job_id": "tells"})
    stub = task_pb2_grpc.TaskServiceStub(stage.grpc.channel)
    made = stub.CreateTask(request, metadata=(*pairs, ("baggage", "y=2")), timeout=20)
    said.append(stage.ended(made.id).output.data.decode().strip())
    for line in said:
        _, state, baggage = line.split("|")
        assert (state.replace(" ", ""), baggage.replace(" ", "")) == ("a=1,b=2", "x=1,y=2")


def test_each_fire_of_a_schedule_begins_a_trace(stage: Stage) -> None:
    body = {"name": "often", "job_id": "tells", "kind": "INTERVAL", "interval_seconds": 1}
    made = stage.rest.client.post("/api/v1/schedules", json=body)
    assert made.status_code == 200, made.text
    spans = stage.collector.until(
        lambda found: (
            len([one for one in found if one.name == "fire"]) >= 2
            and any(_below(found, one, "attempt tells") for one in found if one.name == "fire")
        )
    )
    stage.rest.client.delete("/api/v1/schedules/often")
    fires = [one for one in spans if one.name == "fire"]
    assert {(one.kind, one.parent, one.status) for one in fires} == {("INTERNAL", "", "UNSET")}
    assert {one.attributes["pawl.schedule.id"] for one in fires} == {made.json()["id"]}
    assert len({one.trace for one in fires}) == len(fires)


def _below(spans: list[Span], root: Span, name: str) -> bool:
    """Whether an attempt's wait, of this root's trace, is the root's child."""
    attempts = [one for one in spans if one.trace == root.trace and one.name == name]
    waits = {one.span: one.parent for one in spans if one.trace == root.trace and one.name == WAIT}
    return any(waits.get(one.parent) == root.span for one in attempts)


def test_a_call_that_is_refused_is_no_error_of_the_server_in_the_trace(stage: Stage) -> None:
    caller = a_trace()
    answer = stage.rest.client.get(f"/api/v1/jobs/{CANARY}", headers={"traceparent": caller.traceparent})
    assert answer.status_code == 404
    spans = stage.collector.until(lambda found: bool(named(found, caller, "pawl.v1.JobService/GetJob")))
    (call,) = named(spans, caller, "pawl.v1.JobService/GetJob")
    assert (call.attributes["rpc.grpc.status_code"], call.status) == ("NOT_FOUND", "UNSET")


def test_nothing_that_users_sent_is_in_a_span(stage: Stage) -> None:
    caller = a_trace()
    task = stage.create("rest", "tells", {"traceparent": caller.traceparent, "baggage": f"customer={CANARY}"})
    stage.attempts(task, 1)
    assert not [body for body in stage.collector.raw if CANARY.encode() in body]


def test_what_was_delivered_is_counted(stage: Stage) -> None:
    deadline = time.monotonic() + 20
    while int(stage.rest.client.get("/api/v1/system/metrics").json()["spans_exported"]) == 0:
        assert time.monotonic() < deadline
    assert stage.rest.client.get("/api/v1/system/metrics").json()["spans_dropped"] == "0"
