"""Where work runs, with real agents: by rules, by what it takes up, by caps, and by labels that change meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.spec.conftest import end, serving, start_agent
from tests.spec.test_with_an_agent import eventually

AGENTS = {
    "small": {"PAWL_LABELS_memory": "8", "PAWL_LABELS_tier": "basic"},
    "large": {"PAWL_LABELS_memory": "64", "PAWL_RESOURCES_gpu": "1"},
}


class Fleet:
    """A control plane with two agents, over REST."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=f"{address}/api/v1", timeout=20, trust_env=False)

    def call(self, verb: str, path: str, status: int = 200, **given: Any) -> dict[str, Any]:
        answer = self.client.request(verb, path, **given)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def job(self, name: str, script: str, **config: Any) -> dict[str, Any]:
        body = {"name": name, "config": {"cmd": "sh", "args": ["-c", script], **config}}
        return self.call("POST", "/jobs", json=body)

    def run(self, job: str, **more: Any) -> str:
        return str(self.call("POST", "/tasks", json={"job_id": job, **more})["id"])

    def ended(self, task: str) -> dict[str, Any]:
        found = eventually(lambda: self.call("GET", f"/tasks/{task}"), lambda one: "finished_at" in one)
        assert found["status"] == "SUCCEEDED", found
        return dict(found)

    def why(self, task: str, reason: str) -> dict[str, Any]:
        look = lambda: self.call("GET", f"/tasks/{task}:explain")  # noqa: E731 - it is looked again
        return dict(eventually(look, lambda one: one["reason"] == reason))


@pytest.fixture
def fleet(migrated_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        addresses = stack.enter_context(serving(migrated_url, tmp_path))
        for name, more in AGENTS.items():
            stack.callback(end, start_agent(addresses.grpc, tmp_path / name, name, **more))
        fleet = Fleet(addresses.http)
        stack.callback(fleet.client.close)
        eventually(lambda: fleet.call("POST", "/agents/query", json={}), lambda page: page["total"] == len(AGENTS))
        yield fleet


def test_work_runs_where_its_rules_its_needs_and_its_caps_allow(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.call("GET", "/agents/large")["resources"] == {"gpu": 1}

    required = [{"label": "memory", "op": "gte", "values": ["16"]}, {"label": "tier", "op": "NOT", "values": ["basic"]}]
    made = fleet.job("big", "true", placement={"required": required})
    assert [rule["op"] for rule in made["config"]["placement"]["required"]] == ["GTE", "NOT"]
    assert fleet.ended(fleet.run("big"))["agent_id"] == "large"

    refused = fleet.call(
        "POST", "/jobs", 400, json={"name": "bad", "config": {"cmd": "true", "placement": {
            "required": [{"label": "memory", "op": "gt", "values": ["much"]}], "slots": 0}}},
    )  # fmt: skip
    details = refused["error"]["details"]
    named = {one["field"] for detail in details for one in detail.get("field_violations", ())}
    assert named == {"job.config.placement.required[0].values[0]", "job.config.placement.slots"}

    # One GPU: one at a time, although there are slots for more. A folder that is there already fails the run.
    alone = f"mkdir {tmp_path}/gpu && until test -e {tmp_path}/go; do sleep 0.02; done; rmdir {tmp_path}/gpu"
    fleet.job("train", alone, placement={"slots": 2, "resources": {"gpu": 1}})
    training = [fleet.run("train") for _ in range(3)]
    assert fleet.why(training[2], "NO_FREE_RESOURCES")["details"]["missing.gpu"] == "1"
    (tmp_path / "go").touch()
    assert {fleet.ended(task)["agent_id"] for task in training} == {"large"}

    # At most one at once; a cap that is raised lets the next one go.
    fleet.job("careful", f"until test -e {tmp_path}/done; do sleep 0.02; done", max_running=1)
    first, second = fleet.run("careful"), fleet.run("careful")
    eventually(lambda: fleet.call("GET", f"/tasks/{first}"), lambda one: one["agent_id"])
    fleet.why(second, "MAX_RUNNING_REACHED")
    fleet.call("PATCH", "/jobs/careful", json={"config": {"max_running": 2}})
    eventually(lambda: fleet.call("GET", f"/tasks/{second}"), lambda one: one["agent_id"])
    (tmp_path / "done").touch()
    assert {fleet.ended(task)["agent_id"] for task in (first, second)} <= set(AGENTS)

    assert fleet.call("PATCH", "/jobs/careful", json={"config": {"max_running": 0}})["config"]["max_running"] == 0
    for most in (7, 0):
        assert fleet.call("PATCH", "/namespaces/default", json={"max_running": most})["max_running"] == most

    # Labels of one task, and of an agent that is given them while it runs.
    fleet.job("anywhere", "true")
    waiting = fleet.run("anywhere", labels={"zone": "b"})
    assert "lacks zone=b" in fleet.why(waiting, "NO_MATCHING_LABELS")["message"]
    fleet.call("PATCH", "/agents/small", json={"labels": {"zone": "b"}})
    done = fleet.ended(waiting)
    assert (done["agent_id"], done["labels"]) == ("small", {"zone": "b"})
