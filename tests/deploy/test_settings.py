"""The settings of the users' guide, as printed there: both files load whole, and what they say is what happens."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pawl.client import BlockingClient, Client
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.postgres import free_port

DEADLINE = 30.0
PAWL = Path(sys.executable).with_name("pawl")

LOGGING = """\
[logging]
level = "debug"  # debug, info, warn, error
format = "json"  # json, text
"""

CONFIG = """\
# Server 配置优化
[server]
http_port = 8080
websocket_port = 8081
max_connections = 1000

[database]
pool_size = 20
max_lifetime = 3600  # 连接最大生命周期（秒）

[scheduler]
tick_interval = 1  # 调度器检查间隔（秒）
max_concurrent_tasks = 100  # 最大并发任务数
"""

AGENT = """\
# Agent 配置优化
[agent]
heartbeat_interval = 30  # 心跳间隔（秒）
task_check_interval = 10  # 任务检查间隔（秒）
max_concurrent_tasks = 5  # 最大并发任务数

[executor]
work_dir = "/tmp/hetuflow"
cleanup_enabled = true
cleanup_interval = 3600  # 清理间隔（秒）
"""

LABELS = """\
[labels]
env = "production"
region = "east"
gpu = "true"
"""

SERVER_SAYS = {
    "server.http_port": 8080,
    "server.grpc_port": 8081,
    "server.max_connections": 1000,
    "database.pool_size": 20,
    "database.max_lifetime": 3600.0,
    "scheduler.tick_interval": 1.0,
    "scheduler.max_concurrent_tasks": 100,
    "logging.level": "debug",
    "logging.format": "json",
}
AGENT_SAYS = {
    "agent.heartbeat_interval": 30.0,
    "agent.task_check_interval": 10.0,
    "agent.max_concurrent_tasks": 5,
    "executor.work_dir": "/tmp/hetuflow",
    "executor.cleanup_enabled": True,
    "executor.cleanup_interval": 3600.0,
    "logging.level": "debug",
    "logging.format": "json",
    "labels.env": "production",
    "labels.region": "east",
    "labels.gpu": "true",
}


class Shell:
    """`pawl` in a folder of its own, with an environment of its own. What was started ends with it."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"}
        self._stack = stack

    def shown(self, *arguments: str | Path) -> dict[str, dict[str, tuple[Any, str]]]:
        """`pawl config show --origin`: program, key, (value, origin)."""
        command: list[str | Path] = [PAWL, "config", "show", "--origin", "-o", "json", *arguments]
        ended = subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        found: dict[str, dict[str, tuple[Any, str]]] = {}
        for row in json.loads(ended.stdout):
            found.setdefault(row["program"], {})[row["key"]] = row["value"], row["origin"]
        return found

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start it; what it says goes to a file by the name of the command."""
        log = self._stack.enter_context((self.home / f"{arguments[0]}.log").open("wb"))
        process = subprocess.Popen(
            [PAWL, *arguments], env={**self.environment, **environment}, cwd=self.home, stdout=log, stderr=log
        )
        self._stack.callback(self._end, process)
        return process

    def said(self, command: str) -> str:
        return (self.home / f"{command}.log").read_text(errors="replace")

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with ExitStack() as stack:
        yield Shell(tmp_path, stack)


def eventually(holds: Callable[[], Any], said: Callable[[], str]) -> Any:
    """What it gave when it was true, within a deadline."""
    deadline = time.monotonic() + DEADLINE
    while not (found := holds()):
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)
    return found


def health(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/system/health", trust_env=False, timeout=5)
    except httpx.TransportError:
        return False
    return bool(answer.json()["status"] == "SERVING")


def test_config_toml_as_printed_is_what_the_server_uses_and_each_value_names_the_file(shell: Shell) -> None:
    file = shell.home / "config.toml"
    file.write_text(CONFIG + "\n" + LOGGING)
    for found in (shell.shown(), shell.shown("--config", file)):
        shown = {key: found["server"][key] for key in SERVER_SAYS}
        assert {key: value for key, (value, _) in shown.items()} == SERVER_SAYS
        assert {Path(origin.removeprefix("file ")).name for _, origin in shown.values()} == {"config.toml"}
        assert found["server"]["server.drain_seconds"][1] == "default"
    assert found["server"]["server.grpc_port"] == (8081, f"file {file}")


def test_agent_toml_as_printed_is_what_the_agent_uses_and_each_value_names_the_file(shell: Shell) -> None:
    file = shell.home / "agent.toml"
    file.write_text(AGENT + "\n" + LABELS + "\n" + LOGGING)
    for found in (shell.shown(), shell.shown("--agent-config", file)):
        shown = {key: found["agent"][key] for key in AGENT_SAYS if key in found["agent"]}
        assert {key: value for key, (value, _) in shown.items()} == AGENT_SAYS
        assert {Path(origin.removeprefix("file ")).name for _, origin in shown.values()} == {"agent.toml"}
        assert found["agent"]["server.url"][1] == "default"


def test_the_table_for_people_names_the_file_too(shell: Shell) -> None:
    (shell.home / "config.toml").write_text(CONFIG)
    command = [str(PAWL), "config", "show", "--origin"]
    ended = subprocess.run(
        command, env=shell.environment, cwd=shell.home, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert re.search(r"^ +server\.grpc_port +8081 +file config\.toml$", ended.stdout, re.MULTILINE)
    assert re.search(r"^ +logging\.level +info +default$", ended.stdout, re.MULTILINE)


@pytest.mark.timeout(120)
def test_server_and_agent_do_what_their_files_say(shell: Shell) -> None:
    http, grpc, work = free_port(), free_port(), shell.home / "work"
    printed = CONFIG.replace("8080", str(http)).replace("8081", str(grpc))
    (shell.home / "config.toml").write_text(printed + "\n" + LOGGING)
    (shell.home / "agent.toml").write_text(AGENT.replace("/tmp/hetuflow", str(work)) + "\n" + LABELS + "\n" + LOGGING)
    server = shell.start("server", "--insecure", "--host", "127.0.0.1", "--data-dir", shell.home / "data")
    eventually(lambda: health(http), lambda: shell.said("server"))
    options: list[str | Path] = [
        "--server",
        f"ws://127.0.0.1:{grpc}",
        "--name",
        "printed",
        "--data-dir",
        shell.home / "agent",
    ]
    agent = shell.start("agent", *options)
    with BlockingClient(Client(f"127.0.0.1:{grpc}")) as pawl:
        found = eventually(lambda: list(pawl.call(lambda c: c.agents.list()).data), lambda: shell.said("agent"))
        assert (found[0].id, found[0].slots) == ("printed", 5)
        assert {"env": "production", "region": "east", "gpu": "true"}.items() <= dict(found[0].labels).items()
        config = JobConfig(cmd="pwd", labels={"env": "production", "gpu": "true"})
        pawl.call(lambda c: c.jobs.create(Job(name="where", config=config)))
        task = pawl.call(lambda c: c.tasks.create("where"))
        done = pawl.call(lambda c: c.tasks.wait(task.id))
    assert done.status == Task.Status.SUCCEEDED
    folder = Path(done.output.data.decode().strip())
    assert folder.parent == work
    eventually(lambda: not folder.exists(), lambda: f"{folder} was not removed")
    for process, name in ((agent, "agent"), (server, "server")):
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        lines = [json.loads(line) for line in shell.said(name).splitlines()]  # each, from the first to the last
        assert lines
        assert {"event", "level", "timestamp"} <= set.intersection(*(set(line) for line in lines))


@pytest.mark.timeout(120)
def test_the_variables_of_the_compose_file_reach_server_and_agent(shell: Shell, postgres_url: str) -> None:
    http, grpc = free_port(), free_port()
    variables = {
        "DATABASE_URL": re.sub(r"^postgresql(\+\w+)?://", "postgres://", postgres_url),
        "REDIS_URL": "redis://redis:6379",  # printed there; nothing here needs it
        "PORT": str(http),
    }
    shell.start(
        "server", "--insecure", "--host", "127.0.0.1", "--data-dir", shell.home / "data", "--grpc-port", str(grpc),
        **variables,
    )  # fmt: skip
    eventually(lambda: health(http), lambda: shell.said("server"))
    options: list[str | Path] = ["--name", "composed", "--data-dir", shell.home / "agent"]
    shell.start("agent", *options, SERVER_URL=f"ws://127.0.0.1:{grpc}")
    with BlockingClient(Client(f"127.0.0.1:{grpc}")) as pawl:
        eventually(lambda: list(pawl.call(lambda c: c.agents.list()).data), lambda: shell.said("agent"))
        assert pawl.call(lambda c: c.system.info()).database.startswith("postgresql ")


def test_a_variable_wins_over_the_file_and_its_password_is_not_shown(shell: Shell) -> None:
    (shell.home / "config.toml").write_text(CONFIG)
    shell.environment |= {
        "DATABASE_URL": "postgres://postgres:password@postgres:5432/hetuflow",
        "PORT": "9090",
        "SERVER_URL": "ws://hetuflow-server:8081",
    }
    found = shell.shown()
    assert found["server"]["server.http_port"] == (9090, "environment PORT")
    assert found["server"]["database.url"] == (
        "postgres://postgres:***@postgres:5432/hetuflow",
        "environment DATABASE_URL",
    )
    assert found["agent"]["server.url"] == ("ws://hetuflow-server:8081", "environment SERVER_URL")
    assert found["server"]["server.grpc_port"] == (8081, "file config.toml")
    shell.environment |= {"PAWL_SERVER_HTTP_PORT": "9091", "PAWL_SERVER": "other:1"}
    found = shell.shown()
    assert found["server"]["server.http_port"] == (9091, "environment PAWL_SERVER_HTTP_PORT")
    assert found["agent"]["server.url"] == ("other:1", "environment PAWL_SERVER")


@pytest.mark.timeout(120)
def test_connections_beyond_max_connections_are_refused_until_one_goes(shell: Shell) -> None:
    http = free_port()
    (shell.home / "config.toml").write_text(CONFIG.replace("8080", str(http)).replace("= 1000", "= 5"))
    options = ["--insecure", "--host", "127.0.0.1", "--grpc-port", "0", "--data-dir", str(shell.home / "data")]
    shell.start("server", *options)
    eventually(lambda: health(http), lambda: shell.said("server"))
    with ExitStack() as stack:
        held = [
            stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{http}", trust_env=False)) for _ in range(6)
        ]
        answers = [client.get("/api/v1/system/info") for client in held]  # each keeps its connection, but the last
        assert answers[0].status_code == 200
        refused = answers[-1]
        assert (refused.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
    eventually(lambda: health(http), lambda: shell.said("server"))
