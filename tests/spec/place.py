"""A control plane with agents that run plugins, over REST."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.spec.conftest import end, serving, start_agent
from tests.spec.test_with_an_agent import eventually

SLOTS = 8
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass
class Place:
    """A control plane, its agents, and what plugins do there. Jobs choose an agent by the label `trust`, its name."""

    client: httpx.Client
    agents: Mapping[str, subprocess.Popen[bytes]]
    made: list[str] = field(default_factory=list)

    def call(self, verb: str, path: str, **given: Any) -> dict[str, Any]:
        answer = self.client.request(verb, path, **given)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()) if answer.content else {}

    def push(self, module: bytes) -> str:
        headers = {"Content-Type": "application/wasm"}
        return str(self.call("POST", "/plugins", content=module, headers=headers)["digest"])

    def start(self, digest: str, on: str = "any", entry: str = "", timeout: float = 60) -> str:
        """The id of a task that runs this plugin."""
        self.made.append(f"job-{len(self.made)}")
        config: dict[str, Any] = {
            "executor": "wasm",
            "wasm": {"plugin": digest, "entry": entry or "execute_task"},
            "timeout": timeout,
        }
        config |= {"labels": {"trust": on}, "grace_seconds": 20}
        self.call("POST", "/jobs", json={"name": self.made[-1], "config": config})
        return str(self.call("POST", "/tasks", json={"job_id": self.made[-1]})["id"])

    def task(self, task: str, holds: Callable[[Any], bool]) -> dict[str, Any]:
        return dict(eventually(lambda: self.call("GET", f"/tasks/{task}"), holds))

    def ended(self, task: str) -> dict[str, Any]:
        return self.task(task, lambda one: one["status"] in ENDED)

    def answer(self, digest: str) -> dict[str, Any]:
        """What a plugin put out that asks one thing."""
        done = self.ended(self.start(digest))
        assert done["status"] == "SUCCEEDED", done
        return dict(done["output"])


@contextmanager
def opened(url: str, folder: Path, agents: Mapping[str, Mapping[str, str]]) -> Iterator[Place]:
    """Agents by name, each with more of an environment."""
    with ExitStack() as stack:
        addresses = stack.enter_context(serving(url, folder))
        processes = {}
        for name, more in agents.items():
            environment = {
                "PAWL_LABELS_trust": name,
                "PAWL_AGENT_SLOTS": str(SLOTS),
                "PAWL_PLUGINS_HOST_CALLS": "100000000",  # neighbours ask without a pause
                **more,
            }
            processes[name] = start_agent(addresses.grpc, folder / name, name, **environment)
            stack.callback(end, processes[name])
        client = stack.enter_context(httpx.Client(base_url=f"{addresses.http}/api/v1", timeout=30, trust_env=False))
        place = Place(client, processes)
        eventually(lambda: place.call("POST", "/agents/query", json={}), lambda page: page["total"] == len(agents))
        yield place
