"""Groups of tasks with real agents: on each of them, in shards, and with one that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.spec.conftest import end, serving, start_agent
from tests.spec.test_with_an_agent import eventually

AGENTS = ("north", "east", "south")


class Place:
    """A control plane with three agents, by REST and by the command line."""

    def __init__(self, http: str, grpc: str, agents: dict[str, subprocess.Popen[bytes]]) -> None:
        self.client = httpx.Client(base_url=f"{http}/api/v1", timeout=30, trust_env=False)
        self.grpc = grpc
        self.agents = agents

    def call(self, verb: str, path: str, **given: Any) -> dict[str, Any]:
        answer = self.client.request(verb, path, **given)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def pawl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from pawl.cli import main; sys.exit(main())", *arguments]
        environment = {**os.environ, "PAWL_SERVER": self.grpc, "COLUMNS": "200"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL, env=environment
        )

    def job(self, name: str, script: str, **config: Any) -> None:
        self.call("POST", "/jobs", json={"name": name, "config": {"cmd": "sh", "args": ["-c", script], **config}})

    def group(self, **body: Any) -> str:
        return str(self.call("POST", "/task-groups", json=body)["id"])

    def members(self, group: str) -> list[dict[str, Any]]:
        body = {"filter": {"group_id": {"eq": group}}, "order_by": ["shard_index"], "page": {"page_size": 100}}
        return list(self.call("POST", "/tasks/page", json=body)["data"])

    def outputs(self, group: str) -> list[Any]:
        return [self.call("GET", f"/tasks/{one['id']}")["output"]["@text"].strip() for one in self.members(group)]

    def kill(self, agent: str) -> None:
        self.agents[agent].kill()
        self.agents[agent].wait(20)


@pytest.fixture
def place(migrated_url: str, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        addresses = stack.enter_context(serving(migrated_url, tmp_path))
        agents = {}
        for name in AGENTS:
            labels = {"PAWL_LABELS_sky": "blue" if name != "south" else "grey"}
            agents[name] = start_agent(addresses.grpc, tmp_path / name, name, **labels)
            stack.callback(end, agents[name])
        place = Place(addresses.http, addresses.grpc, agents)
        stack.callback(place.client.close)
        eventually(lambda: place.call("POST", "/agents/query", json={}), lambda page: page["total"] == len(AGENTS))
        yield place


def test_a_job_runs_on_every_agent_and_in_shards(place: Place, tmp_path: Path) -> None:
    place.job("where", 'echo "$PAWL_SHARD_INDEX of $PAWL_SHARD_TOTAL"')

    everywhere = place.pawl("group", "run", "where", "--on-all", "--wait", "--output", "json")
    assert everywhere.returncode == 0, everywhere.stderr
    group = json.loads(everywhere.stdout)
    assert (group["status"], group["tally"]["succeeded"], group["mode"]) == ("SUCCEEDED", 3, "BROADCAST")
    assert [one["agent_id"] for one in place.members(group["id"])] == sorted(AGENTS)
    assert place.outputs(group["id"]) == ["0 of 3", "1 of 3", "2 of 3"]

    blue = place.group(job_id="where", mode="BROADCAST", labels={"sky": "blue"})
    ended = place.call("GET", f"/task-groups/{blue}:wait", params={"wait_seconds": 30})
    assert (ended["status"], ended["tally"]["total"]) == ("SUCCEEDED", 2)
    assert [one["agent_id"] for one in place.members(blue)] == ["east", "north"]

    place.job("sum", "read numbers; echo $(($(echo $numbers | tr -d '[]' | tr , +)))")
    shards = place.group(job_id="sum", mode="SHARDED", shard_parameters=[[1, 2], [3, 4], [5, 6, 7]])
    ended = place.call("GET", f"/task-groups/{shards}:wait", params={"wait_seconds": 30})
    assert (ended["status"], ended["tally"]["succeeded"], ended["shards"]) == ("SUCCEEDED", 3, 3)
    assert place.outputs(shards) == ["3", "7", "18"]
    shown = place.pawl("group", "get", shards)
    assert "in 3 shards, policy ALL" in shown.stdout
    assert "18" in shown.stdout
    listed = place.pawl("group", "list", "--status", "SUCCEEDED")
    assert listed.stdout.count("SUCCEEDED") == 3

    # The first failure ends the others, running or not; once the cause is gone all of them are run again.
    flag = tmp_path / "flag"
    place.job("flaky", 'test -e "$FLAG" && exit; test $PAWL_SHARD_INDEX = 0 && exit 3; exec sleep 600')
    flaky = place.pawl("group", "run", "flaky", "--shards", "20", "--cancel-rest", "--env", f"FLAG={flag}", "--wait")
    assert flaky.returncode == 1, flaky.stderr
    assert "1 failed, 19 cancelled" in flaky.stderr
    assert "its group is decided: FAILED" in flaky.stdout
    [failed] = place.call("POST", "/task-groups/page", json={"filter": {"status": {"eq": "FAILED"}}})["data"]
    flag.touch()
    again = place.pawl("group", "retry", failed["id"])
    assert again.returncode == 0, again.stderr
    waited = place.pawl("group", "wait", failed["id"])
    assert waited.returncode == 0, waited.stderr
    assert {one["epoch"] for one in place.members(failed["id"])} == {2}


def test_what_a_killed_agent_had_of_a_broadcast_waits_for_it_alone(place: Place) -> None:
    place.job("nap", "exec sleep 600", lost_after_seconds=3, grace_seconds=1)
    group = place.group(job_id="nap", mode="BROADCAST")
    eventually(lambda: place.call("GET", f"/task-groups/{group}"), lambda one: one["tally"]["on_agents"] == 3)
    eventually(lambda: {one["status"] for one in place.members(group)}, lambda found: found == {"RUNNING"})
    place.kill("east")
    # It is lost and waits for the same agent, whatever room the others have.
    eventually(lambda: place.members(group)[0]["status"], lambda status: status == "PENDING")
    lost = place.members(group)[0]
    why = place.call("GET", f"/tasks/{lost['id']}:explain")
    assert why["reason"] == "NO_AGENT"
    assert "only agent 'east' may run it" in why["message"]
    assert why["details"]["shard_total"] == "3"
    tally = place.call("GET", f"/task-groups/{group}")["tally"]
    assert (tally["waiting"], tally["on_agents"]) == (1, 2)
    cancelled = place.call("POST", f"/task-groups/{group}:cancel", json={"reason": "enough"})
    assert cancelled["status"] == "CANCELLED"
    ended = place.call("GET", f"/task-groups/{group}:wait", params={"wait_seconds": 30})
    assert (ended["tally"]["cancelled"], ended["cancelling"]) == (3, False)
    # Whoever starts one now finds two agents.
    refound = place.group(job_id="nap", mode="BROADCAST")
    assert [one["shard_total"] for one in place.members(refound)] == [2, 2]
    place.call("POST", f"/task-groups/{refound}:cancel", json={})
