"""`/metrics` says what the API says, in the form that Prometheus reads."""

import queue
import re
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from pawl.v1 import agent_pb2, agent_pb2_grpc, system_pb2
from prometheus_client.parser import text_string_to_metric_families

from tests.spec import exposition
from tests.spec.conftest import Plane
from tests.spec.test_with_an_agent import eventually

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(pawl_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)


def families(plane: Plane) -> dict[str, dict[str, float]]:
    text = plane.rest.client.get("/metrics").text
    return {
        family.name: {sample.labels.get("status", ""): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def some_tasks(plane: Plane) -> None:
    client = plane.rest.client
    client.post("/api/v1/jobs", json={"name": "counted", "config": {"cmd": "true"}})
    for _ in range(3):
        assert client.post("/api/v1/tasks", json={"job_id": "counted"}).status_code == 200


def test_every_figure_of_the_api_is_in_the_exposition(plane: Plane) -> None:
    found = families(plane)
    for field in system_pb2.SystemMetrics.DESCRIPTOR.fields:
        assert f"pawl_{field.name}" in found
    for field in system_pb2.GatewayStats.DESCRIPTOR.fields:
        assert f"pawl_gateway_{field.name.removeprefix('total_')}" in found


@pytest.mark.parametrize("round", ["before", "after refused calls"])
def test_the_exposition_is_clean_and_what_callers_send_makes_no_series(plane: Plane, round: str) -> None:
    if round != "before":
        for number in range(20):
            plane.rest.client.get(f"/api/v1/nowhere-{number}")
            plane.rest.client.get(f"/api/v1/jobs/no-such-{number}")
            plane.rest.client.request("BREW", f"/pot-{number}")
            with pytest.raises(grpc.RpcError):
                plane.grpc.channel.unary_unary(f"/pawl.v1.Nothing/Method{number}")(b"", timeout=5)
            with pytest.raises(grpc.RpcError):
                plane.grpc.channel.unary_unary("/pawl.v1.JobService/GetJob")(b"\xff\xff", timeout=5)
    found = exposition.read(plane.rest.client)
    assert sum(len(one.samples) for one in found.values()) < 2_000
    if round != "before":
        calls = found["pawl_calls"]
        assert calls.total("_total", method="pawl.v1.JobService/GetJob", code="NOT_FOUND", front="rest") >= 20
        assert calls.total("_total", method="pawl.v1.JobService/GetJob", code="INVALID_ARGUMENT", front="grpc") >= 20
        assert calls.total("_total", method="none", front="rest") >= 20


def test_every_call_is_counted_once_and_timed(plane: Plane) -> None:
    of = {"method": "pawl.v1.NamespaceService/GetNamespace", "code": "OK", "front": "rest"}

    def counted() -> tuple[float, float, float]:
        found = exposition.read(plane.rest.client)
        seconds = found["pawl_call_seconds"]
        return found["pawl_calls"].total("_total", **of), seconds.total("_count", **of), seconds.total("_sum", **of)

    before = counted()
    for _ in range(5):
        assert plane.rest.client.get("/api/v1/namespaces/default").status_code == 200
    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (5, 5)
    assert 0 < after[2] - before[2] < 5


def test_the_table_of_the_page_is_what_is_served(plane: Plane) -> None:
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in ROW.findall((ROOT / "controlplane" / "OBSERVING.md").read_text())
    }
    served = {
        f"{name}_total" if one.type == "counter" else name: one
        for name, one in exposition.read(plane.rest.client).items()
    }
    assert documented.keys() == served.keys()
    for name, one in served.items():
        kind, labels, text = documented[name]
        assert (kind, text) == (one.type, one.help), name
        assert one.labels == labels or not one.samples, name


def test_both_places_count_the_same_tasks(plane: Plane) -> None:
    some_tasks(plane)
    # Figures from the database are kept for two seconds, the same ones for both.
    said = plane.rest.client.get("/api/v1/system/metrics").json()
    found = families(plane)
    counted = {status: count for status, count in found["pawl_tasks"].items() if count}
    assert {status: int(count) for status, count in said["tasks"].items()} == counted
    assert "FAILED" in found["pawl_tasks"], "what there is none of is a figure too"
    assert float(said["ready"]) == found["pawl_ready"][""]


def test_the_help_of_a_figure_is_the_contracts_comment(plane: Plane) -> None:
    text = plane.rest.client.get("/metrics").text
    assert "# HELP pawl_oldest_ready_seconds Seconds that the oldest of them has waited." in text
    assert "# TYPE pawl_gateway_messages_in_total counter" in text


def test_messages_that_an_agent_has_not_acknowledged_are_counted(plane: Plane) -> None:
    said: queue.SimpleQueue[agent_pb2.ConnectRequest | None] = queue.SimpleQueue()

    def stats() -> dict[str, Any]:
        answer: dict[str, Any] = plane.rest.client.get("/api/v1/gateway/stats").json()
        return answer

    def until_unacknowledged(count: int) -> None:
        end = time.monotonic() + 10
        while stats()["unacknowledged"] != str(count):
            assert time.monotonic() < end, stats()

    hello = agent_pb2.Hello(protocol_version=1, agent_id="counting", state_id="s", generation=1, slots=1)
    hello.executors.add(name="process")
    answers = agent_pb2_grpc.AgentServiceStub(plane.grpc.channel).Connect(iter(said.get, None))
    said.put(agent_pb2.ConnectRequest(seq=1, hello=hello))
    assert [next(answers).WhichOneof("message") for _ in range(2)] == ["welcome", "reconcile"]
    until_unacknowledged(2)
    said.put(agent_pb2.ConnectRequest(ack=1))
    until_unacknowledged(1)
    assert stats()["agents_online"] == 1
    answers.cancel()
    until_unacknowledged(0)


def test_replicas_speak_to_each_other_on_postgresql_alone(plane: Plane, request: pytest.FixtureRequest) -> None:
    def said() -> float:
        return exposition.read(plane.rest.client)["pawl_notices"].total("_total", way="out")

    if request.node.callspec.params["plane"] == "sqlite":
        assert said() == 0
    else:
        eventually(said, lambda words: words >= 1)
