"""What server and agent say of themselves, as real processes at the level `debug`: enough to find a call, never what
users sent; and what they take up when they are asked to read their settings again.
"""

import json
import os
import pty
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pawl.v1 import job_pb2, job_pb2_grpc

from tests.deploy.test_settings import DEADLINE, PAWL, Shell, eventually
from tests.postgres import free_port

CANARY = "c4n4ry-5ecret"
TRACE, SPAN = secrets.token_hex(16), secrets.token_hex(8)


@dataclass
class Stage:
    """A server that asks for keys and an agent, both at the level `debug`."""

    shell: Shell
    server: subprocess.Popen[bytes]
    agent: subprocess.Popen[bytes]
    client: httpx.Client
    grpc: str
    key: str

    def has_ended(self, task: str) -> bool:
        """Whether a task has."""
        return self.client.get(f"/tasks/{task}").json()["status"] in ("SUCCEEDED", "FAILED")

    def lines(self, program: str) -> list[dict[str, Any]]:
        """Its log, line by line, from either format."""
        return [
            json.loads(line) if line.startswith("{") else {"event": line, **_words(line)}
            for line in self.shell.said(program).splitlines()
        ]

    def until(self, program: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of which it holds."""
        found: dict[str, Any] = eventually(
            lambda: next((line for line in self.lines(program) if holds(line)), None), lambda: self.shell.said(program)
        )
        return found


def _words(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", re.sub(r"\x1b\[[0-9;]*m", "", line)))


def write_settings(home: Path, http: int, grpc_port: int, form: str, level: str, ratio: float = 1.0) -> None:
    """Both send their spans to a collector that is not there."""
    both = f'[logging]\nlevel = "{level}"\nformat = "{form}"\n[telemetry]\notlp_endpoint = "http://127.0.0.1:1"\n'
    server = f"[server]\nhttp_port = {http}\ngrpc_port = {grpc_port}\n"
    (home / "config.toml").write_text(f"{server}{both}sample_ratio = {ratio}\n")
    (home / "agent.toml").write_text(both)


@pytest.fixture(scope="module", params=["json", "text"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home, http, grpc_port = tmp_path_factory.mktemp("logs"), free_port(), free_port()
    write_settings(home, http, grpc_port, request.param, "debug")
    with ExitStack() as stack:
        shell = Shell(home, stack)
        made = subprocess.run(
            [PAWL, "server", "init", "--data-dir", home / "data", "-o", "json"],
            env=shell.environment, cwd=home, capture_output=True, text=True, timeout=DEADLINE, check=True,
        )  # fmt: skip
        key = str(json.loads(made.stdout)["secret"])
        server = shell.start("server", "--host", "127.0.0.1", "--data-dir", home / "data")
        eventually(lambda: _answers(http), lambda: shell.said("server"))
        options = ["--server", f"127.0.0.1:{grpc_port}", "--name", "talkative", "--data-dir", str(home / "agent")]
        agent = shell.start("agent", *options, PAWL_API_KEY=key)
        headers = {"authorization": f"Bearer {key}"}
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{http}/api/v1", headers=headers, trust_env=False, timeout=20)
        )
        eventually(lambda: "connected to" in shell.said("agent"), lambda: shell.said("agent"))
        yield Stage(shell, server, agent, client, f"127.0.0.1:{grpc_port}", key)


def _answers(http: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{http}/health", trust_env=False, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


def test_a_run_with_everything_said_holds_nothing_that_users_sent(stage: Stage) -> None:
    client = stage.client
    script = f'echo {CANARY}-out; echo {CANARY}-err >&2; echo $TOKEN; test -n "$FAILS" && exit 3; cat'
    job = {"name": "talks", "description": CANARY, "environment": {"TOKEN": f"{CANARY}-env"}}
    config = {"cmd": "sh", "args": ["-c", script], "max_retries": 1, "retry_interval": 0.01}
    assert client.post("/jobs", json={**job, "config": config}).status_code == 200
    sent = {"job_id": "talks", "parameters": {"password": f"{CANARY}-in"}, "tags": {"who": f"{CANARY}-tag"}}
    trace = {"traceparent": f"00-{TRACE}-{SPAN}-01", "baggage": f"b={CANARY}-baggage", "x-request-id": "find-me-1"}
    tasks = [
        client.post("/tasks", json={**sent, "environment": env}, headers=trace).json()["id"]
        for env in ({"MORE": f"{CANARY}-more"}, {"FAILS": f"{CANARY}-fails"})
    ]
    for task in tasks:
        eventually(partial(stage.has_ended, task), lambda: stage.shell.said("server"))
    refused = [
        client.post("/jobs", content=f'{{"name": "{CANARY}'.encode(), headers={"content-type": "application/json"}),
        client.post("/jobs", json={"name": "x", "config": {"cmd": "x", "timeout": f"{CANARY}-number"}}),
        client.post("/jobs", json={"name": f"{CANARY} no name", "config": {"cmd": f"{CANARY}-cmd"}}),
        client.get(f"/jobs/talks?{CANARY}={CANARY}"),
        client.post("/tasks/page", json={"filter": {"parameters": {"eq": f"{CANARY}-filter"}}}),
        client.get("/jobs", headers={"authorization": f"Bearer {CANARY}-key"}),
        client.get("/jobs", headers={"authorization": f"Bearer {stage.key[:-4]}nope"}),
        client.post("/plugins", content=f"{CANARY}-module".encode(), headers={"content-type": "application/wasm"}),
        client.put("/system/log-level", json={"level": "DEBUG", "logger": f"{CANARY}-logger"}),
    ]
    assert all(400 <= one.status_code < 500 for one in refused), [(one.request.url, one.text) for one in refused]
    secret = (("authorization", f"Bearer {CANARY}-grpc"),)
    with grpc.insecure_channel(stage.grpc) as channel, pytest.raises(grpc.RpcError):
        job_pb2_grpc.JobServiceStub(channel).GetJob(job_pb2.GetJobRequest(id="x"), metadata=secret, timeout=5)

    wanted = {"trace_id": TRACE, "request_id": "find-me-1", "code": "OK"}
    stage.until("server", lambda line: "call answered" in line["event"] and wanted.items() <= line.items())
    wanted = {"trace_id": TRACE, "task_id": tasks[1], "attempt": "2"}
    stage.until("agent", lambda line: "the attempt ended" in line["event"] and wanted.items() <= line.items())
    for program in ("server", "agent"):
        said = stage.shell.said(program)
        assert CANARY not in said, [line for line in said.splitlines() if CANARY in line]
        assert stage.key not in said
        assert stage.key[:-4] + "nope" not in said


def test_a_callers_request_id_and_trace_find_the_line_of_its_call(stage: Stage) -> None:
    ids = {"x-request-id": "find-me-2", "traceparent": f"00-{TRACE}-{SPAN}-00"}
    assert stage.client.get("/jobs/no-such-job", headers=ids).status_code == 404
    line = stage.until("server", lambda line: line.get("request_id") == "find-me-2")
    assert {"trace_id": TRACE, "span_id": SPAN, "code": "NOT_FOUND", "front": "rest"}.items() <= line.items()
    assert "call refused" in line["event"]


def test_a_collector_that_is_not_there_is_told_of_once_by_each(stage: Stage) -> None:
    client = stage.client
    client.post("/jobs", json={"name": "traced", "config": {"cmd": "true"}})
    traced = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    task = client.post("/tasks", json={"job_id": "traced"}, headers=traced).json()["id"]
    eventually(partial(stage.has_ended, task), lambda: stage.shell.said("server"))
    for program in ("server", "agent"):
        stage.until(program, lambda line: "spans are lost" in line["event"])
    # Until it has tried again, in vain, with spans that were made since.
    lost = int(stage.client.get("/system/metrics").json()["spans_dropped"])
    eventually(
        lambda: int(stage.client.get("/system/metrics").json()["spans_dropped"]) > lost,
        lambda: stage.shell.said("server"),
    )
    for program in ("server", "agent"):
        said = [line for line in stage.lines(program) if "spans" in line["event"]]
        assert len(said) == 1, said


def test_settings_are_read_again_when_asked_and_it_is_said_what_waits(stage: Stage) -> None:
    home = stage.shell.home
    form = "json" if stage.shell.said("server").startswith("{") else "text"
    http, grpc_port = stage.client.base_url.port or 0, int(stage.grpc.rpartition(":")[2])
    write_settings(home, http, grpc_port + 1, form, "warning", ratio=0.25)
    stage.server.send_signal(signal.SIGHUP)
    line = stage.until("server", lambda line: "settings were read again" in line["event"])
    said = line["event"] + str(line)
    assert all(key in said for key in ("logging.level", "telemetry.sample_ratio", "server.grpc_port"))
    rows = {one["key"]: one for one in stage.client.get("/system/settings").json()["data"]}
    assert rows["logging.level"]["value"] == "warning"
    assert rows["logging.level"]["origin"].startswith("file")
    assert rows["telemetry.sample_ratio"]["value"] == "0.25"
    assert rows["server.grpc_port"]["value"] == str(grpc_port), "what waits for a restart does not hold yet"
    level = stage.client.get("/system/log-level").json()
    assert (level["level"], level["configured"]) == ("WARNING", "WARNING")

    stage.agent.send_signal(signal.SIGHUP)
    line = stage.until("agent", lambda line: "settings were read again" in line["event"])
    assert "changed: logging.level; need a restart: none" in line["event"]

    (home / "config.toml").write_text("[server]\nno_such_key = 1\n")
    stage.server.send_signal(signal.SIGHUP)
    line = stage.until("server", lambda line: "settings were not read again" in line["event"])
    assert "no_such_key" in line["event"] + str(line)
    assert stage.client.get("/system/info").status_code == 200
    write_settings(home, http, grpc_port, form, "debug")
    for program in (stage.server, stage.agent):
        program.send_signal(signal.SIGHUP)
    back = lambda: stage.client.get("/system/log-level").json()["level"] == "DEBUG"  # noqa: E731
    eventually(back, lambda: stage.shell.said("server"))
    taken = lambda: stage.shell.said("agent").count("changed: logging.level") == 2  # noqa: E731
    eventually(taken, lambda: stage.shell.said("agent"))


def test_every_line_is_a_line(stage: Stage) -> None:
    for program in ("server", "agent"):
        lines = stage.lines(program)
        assert lines
        if stage.shell.said(program).startswith("{"):
            assert {"event", "level", "timestamp", "logger"} <= set.intersection(*(set(line) for line in lines))


def test_a_server_whose_terminal_is_closed_stops(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [PAWL, "dev", "--no-agent", "--http-port", "0", "--grpc-port", "0", "--data-dir", tmp_path / "data"],
            stdin=slave, stdout=log, stderr=log, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
    os.close(slave)
    try:
        deadline = time.monotonic() + DEADLINE
        while "Ctrl-C stops" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert process.poll() is None
        os.close(master)
        process.send_signal(signal.SIGHUP)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
