"""What only shows when real work has been done: figures that count it, a Python program as the users' guide has it."""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from agent.executors.process import DEFAULT_PATH
from tests.spec import exposition
from tests.spec.conftest import Plane, end, serving, start_agent

DEADLINE = 30.0
SLOTS = 5  # an agent's default


class Rest:
    """A control plane with agent-01, over REST."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=f"{address}/api/v1", timeout=20, trust_env=False)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def run(self, job: str) -> str:
        return str(self.post("/tasks", {"job_id": job})["id"])

    def reaches(self, task: str, status: str) -> dict[str, Any]:
        found = eventually(lambda: self.get(f"/tasks/{task}"), lambda one: one["status"] == status)
        return dict(found)


def eventually(look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """What was seen when it held, within a deadline."""
    deadline = time.monotonic() + DEADLINE
    while not holds(found := look()):
        assert time.monotonic() < deadline, repr(found)
        threading.Event().wait(0.05)
    return found


@pytest.fixture
def rest(migrated_url: str, tmp_path: Path) -> Iterator[Rest]:
    """On each kind of database, for one test alone: the figures are of nothing else."""
    with ExitStack() as stack:
        addresses = stack.enter_context(serving(migrated_url, tmp_path))
        path = f"{Path(sys.executable).parent}{os.pathsep}{DEFAULT_PATH}"  # this Python is `python`, wherever it lies
        stack.callback(
            end,
            start_agent(
                addresses.grpc, tmp_path / "agent", PAWL_EXECUTOR_PATH=path, PAWL_HTTP_PRIVATE_HOSTS="127.0.0.1:*"
            ),
        )
        rest = Rest(addresses.http)
        stack.callback(rest.client.close)
        eventually(lambda: rest.post("/agents/query", {}), lambda page: page["total"] == 1)
        yield rest


def test_figures_count_what_was_done_and_what_runs(rest: Rest) -> None:
    rest.post("/jobs", {"name": "works", "config": {"cmd": "true"}})
    rest.post("/jobs", {"name": "fails", "config": {"cmd": "false"}})
    rest.post("/jobs", {"name": "long", "config": {"cmd": "sleep", "args": ["600"], "grace_seconds": 1}})
    done = [rest.run("works"), rest.run("works")]
    failed, running = rest.run("fails"), rest.run("long")
    for task in done:
        rest.reaches(task, "SUCCEEDED")
    rest.reaches(failed, "FAILED")
    rest.reaches(running, "RUNNING")

    # Used slots are what the agent said last: a moment after its last result.
    metrics = eventually(lambda: rest.get("/system/metrics"), lambda one: one["slots_used"] == "1")
    assert metrics["tasks"] == {"SUCCEEDED": "2", "FAILED": "1", "RUNNING": "1"}
    assert metrics["agents"] == {"ONLINE": "1"}
    assert (metrics["slots_used"], metrics["slots_free"]) == ("1", str(SLOTS - 1))
    assert (metrics["ready"], metrics["oldest_ready_seconds"], metrics["schedules_active"]) == ("0", 0, "0")
    assert metrics["created_per_second"] > 0
    assert metrics["finished_per_second"] > metrics["failed_per_second"] > 0

    served = exposition.read(rest.client)
    assert served["pawl_task_run_seconds"].total("_count", status="SUCCEEDED") == 2
    assert served["pawl_task_run_seconds"].total("_count", status="FAILED") == 1
    assert served["pawl_task_wait_seconds"].value("_count") == 4
    assert served["pawl_task_placing_seconds"].value("_count") == 4
    assert served["pawl_commit_seconds"].value("_count") >= 4
    assert served["pawl_commit_batch_items"].value("_sum", writer="create tasks") == 4
    assert served["pawl_commit_batch_items"].value("_sum", writer="finish tasks") == 3
    assert [served[f"pawl_{what}_tasks"].value("_total") for what in ("new", "finished", "failed")] == [4, 3, 1]

    stats = eventually(lambda: rest.get("/gateway/stats"), lambda one: one["unacknowledged"] == "0")
    assert (stats["agents_online"], stats["streams_open"], stats["total_connections"]) == (1, 1, "1")
    assert (stats["refused"], stats["takeovers"]) == ("0", "0")
    assert stats["clients"] == 2, "the agent's stream, and the call that asks"
    # It said at least: hello, its free slots, four times that it takes a task or how it ended.
    assert int(stats["messages_in"]) >= 3
    assert int(stats["messages_out"]) >= 3
    assert int(stats["bytes_in"]) > int(stats["messages_in"])
    assert int(stats["bytes_out"]) > int(stats["messages_out"])

    page = rest.post("/tasks/page", {"filter": {"status": {"eq": 10}}, "page": {"page": 1, "page_size": 20}})
    assert ([one["id"] for one in page["data"]], page["total"]) == ([running], 1)
    rest.post(f"/tasks/{running}/cancel", {})
    rest.reaches(running, "CANCELLED")
    page = rest.post("/tasks/page", {"filter": {"status": {"eq": 10}}, "page": {"page": 1, "page_size": 20}})
    assert (page["data"], page["total"]) == ([], 0)


def test_every_figure_is_true(rest: Rest) -> None:
    rest.post("/jobs", {"name": "tries", "config": {"cmd": "false", "max_retries": 2, "retry_interval": 0.01}})
    rest.post("/jobs", {"name": "nowhere", "config": {"cmd": "true", "labels": {"planet": "mars"}}})
    rest.post("/schedules", {"name": "later", "job_id": "tries", "kind": "INTERVAL", "interval_seconds": 3600})
    hungry = "import time\nkept = bytearray(80_000_000)\nwhile time.process_time() < 0.3: pass"
    rest.post("/jobs", {"name": "hungry", "config": {"cmd": "python", "args": ["-S", "-c", hungry]}})
    fed = rest.run("hungry")
    tried, waiting, given_up = rest.run("tries"), rest.run("nowhere"), rest.run("nowhere")
    rest.reaches(tried, "FAILED")
    rest.post(f"/tasks/{given_up}/cancel", {})
    rest.reaches(fed, "SUCCEEDED")
    (instance,) = rest.post("/task-instances/query", {"filter": {"task_id": {"eq": fed}}})["data"]
    used = instance["metrics"]
    assert used["user_cpu_seconds"] + used["system_cpu_seconds"] >= 0.3
    assert used["wall_seconds"] >= 0.3
    assert 80_000_000 < int(used["peak_memory_bytes"]) < 400_000_000

    said = eventually(lambda: rest.get("/system/metrics"), lambda one: one["tasks"].get("CANCELLED") == "1")
    assert said["tasks"] == {"SUCCEEDED": "1", "FAILED": "1", "CANCELLED": "1", "PENDING": "1"}
    # Tasks, not attempts: three tries of one are one that ended.
    assert [said[f"{what}_per_second"] * 60 for what in ("created", "finished", "failed")] == [4, 3, 1]
    assert (said["ready"], said["schedules_active"], said["schedule_lag_seconds"]) == ("1", "1", 0)
    assert said["oldest_ready_seconds"] > 0
    assert rest.get(f"/tasks/{waiting}")["status"] == "PENDING"
    assert 0 < said["commit_seconds_p50"] <= said["commit_seconds_p99"] < 60
    assert said["process_cpu_seconds"] > 0
    assert int(said["process_memory_bytes"]) > 10_000_000
    assert 0 <= said["oldest_beat_seconds"] < 60
    for nothing in ("results_waiting", "spool_bytes", "log_bytes", "writes_waiting", "spans_exported", "spans_dropped"):
        assert said[nothing] == "0", nothing
    served = exposition.read(rest.client)
    assert served["pawl_task_run_seconds"].total("_count", status="FAILED") == 3
    assert [served[f"pawl_{what}_tasks"].value("_total") for what in ("new", "finished", "failed")] == [4, 3, 1]


def test_every_timeout_ends_what_it_bounds_with_its_own_code(rest: Rest) -> None:
    def job(name: str, script: str, **config: Any) -> None:
        rest.post(
            "/jobs", {"name": name, "config": {"cmd": "sh", "args": ["-c", script], "grace_seconds": 1, **config}}
        )

    job("nowhere", "true", labels={"gpu": "yes"}, schedule_to_start_timeout_seconds=4)
    job("silent", "sleep 600", heartbeat_timeout_seconds=1)
    job("alive", "for i in 1 2 3 4 5 6; do touch $PAWL_PROGRESS_FILE; sleep 0.4; done", heartbeat_timeout_seconds=1.5)
    job("long", "sleep 600", total_timeout_seconds=2, max_retries=5, retry_interval=0)
    job("again", "exit 1", total_timeout_seconds=3, max_retries=100, retry_interval=0.4)
    tasks = {name: rest.run(name) for name in ("nowhere", "silent", "alive", "long", "again")}
    explained = rest.get(f"/tasks/{tasks['nowhere']}:explain")
    assert (explained["reason"], explained["next_timeout"]) == ("NO_MATCHING_LABELS", "SCHEDULE_TO_START_TIMEOUT")

    def ended(name: str, status: str = "FAILED") -> tuple[str, str]:
        found = rest.reaches(tasks[name], status)
        return found.get("error", {}).get("code", ""), found["dead_reason"]

    assert ended("nowhere") == ("SCHEDULE_TO_START_TIMEOUT", "TIME_EXHAUSTED")
    assert ended("silent") == ("HEARTBEAT_TIMEOUT", "RETRIES_EXHAUSTED")
    assert ended("long") == ("TOTAL_TIMEOUT", "TIME_EXHAUSTED")
    assert ended("again")[1] == "TIME_EXHAUSTED"
    assert 3 <= rest.get(f"/tasks/{tasks['again']}")["attempt"] < 20
    assert ended("alive", "SUCCEEDED") == ("", "UNSPECIFIED")


def test_what_runs_is_paused_resumed_and_cancelled_and_what_cannot_be_says_so(rest: Rest, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    script = f"while :; do echo . >> {ticks}; sleep 0.05; done"
    rest.post("/jobs", {"name": "ticks", "config": {"cmd": "sh", "args": ["-c", script], "timeout": 600}})

    def size() -> int:
        return ticks.stat().st_size if ticks.exists() else 0

    def grows() -> bool:
        before = size()
        threading.Event().wait(0.4)
        return size() > before

    task = rest.run("ticks")
    rest.reaches(task, "RUNNING")
    eventually(size, lambda found: found > 0)
    paused = rest.post(f"/tasks/{task}:pause", {"reason": "a look"})
    assert (paused["status"], paused["agent_id"] != "") == ("PAUSED", True)
    eventually(grows, lambda going: not going)
    explained = rest.get(f"/tasks/{task}:explain")
    assert (explained["reason"], explained.get("next_timeout", "")) == ("PAUSED", "")
    assert rest.post("/tasks:act", {"action": "RESUME", "filter": {"status": {"eq": "PAUSED"}}})["changed"] == 1
    eventually(grows, bool)
    rest.post(f"/tasks/{task}:pause", {})
    rest.post(f"/tasks/{task}:cancel", {"reason": "enough"})
    assert rest.reaches(task, "CANCELLED")["cancel_reason"] == "enough"

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            answer.wait(DEADLINE)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    asked, answer = threading.Event(), threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{site.server_address[1]}/"
        rest.post("/jobs", {"name": "calls", "config": {"executor": "http", "http": {"url": url}}})
        call = rest.run("calls")
        assert asked.wait(DEADLINE)
        refused = rest.client.post(f"/tasks/{call}:pause", json={})
        answer.set()
        rest.reaches(call, "SUCCEEDED")
        site.shutdown()
    assert refused.status_code == 400
    assert refused.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert refused.json()["error"]["details"][0]["reason"] == "EXECUTOR_CANNOT_PAUSE"


def test_a_python_script_imports_from_the_pythonpath_of_its_job(rest: Rest, tmp_path: Path) -> None:
    scripts, here = tmp_path / "opt" / "app" / "scripts", tmp_path / "here"
    scripts.mkdir(parents=True)
    here.mkdir()
    (scripts / "rows.py").write_text("def count(name):\n    return len(open(name).read().split())\n")
    (here / "data.csv").write_text("a\nb\nc\n")
    (here / "script.py").write_text(
        "import os, sys\nimport rows\n"
        "print(sys.argv[1:], rows.count(sys.argv[2]), os.environ['PYTHONPATH'], rows.__file__, sep='\\n')\n"
    )
    config = {
        "cmd": "python",
        "args": ["script.py", "--input", "data.csv"],
        "environment": {"PYTHONPATH": str(scripts)},
        "cwd": str(here),
    }
    job = rest.post("/jobs/item", {"name": "script", "config": config})
    assert job["config"]["environment"] == {"PYTHONPATH": str(scripts)}
    done = rest.reaches(rest.run("script"), "SUCCEEDED")
    said = done["output"]["@text"].splitlines()
    assert said == ["['--input', 'data.csv']", "3", str(scripts), str(scripts / "rows.py")]

    # A program that cannot be found there is that program's error, in its own words.
    config["environment"] = {"PYTHONPATH": "/opt/app/scripts"}
    rest.post("/jobs/item", {"name": "elsewhere", "config": config})
    failed = rest.reaches(rest.run("elsewhere"), "FAILED")
    assert failed["error"]["code"] == "EXIT_1"
    assert "No module named 'rows'" in failed["error"]["message"]


def test_an_endpoint_that_is_busy_is_called_again_and_its_answer_is_the_output(rest: Rest) -> None:
    keys: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["idempotency-key"])
            self.send_response(503 if len(keys) == 1 else 200)
            self.send_header("retry-after", "0")
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"got": %s}' % body)

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what it saw."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {"executor": "http", "http": {"url": f"http://127.0.0.1:{server.server_port}/"}, "max_retries": 3}
        rest.post("/jobs", {"name": "call", "config": {**config, "retry": {"retry_on": ["HTTP_5*"]}}})
        task = str(rest.post("/tasks", {"job_id": "call", "parameters": {"n": 1}})["id"])
        done = rest.reaches(task, "SUCCEEDED")
        server.shutdown()
    assert (done["attempt"], done["output"]) == (2, {"got": {"n": 1}})
    assert keys == [task, task]


def test_an_artifact_is_a_file_to_save_and_never_a_page_of_this_server(rest: Rest) -> None:
    names = ["site/über;x=1.html", "plain.txt", "empty"]
    script = 'cd "$PAWL_ARTIFACTS_DIR"; mkdir site; for name in "$@"; do echo "<script>" > "$name"; done; : > empty'
    config = {"cmd": "sh", "args": ["-c", script, "sh", *names[:2]], "artifacts": {"max_files": 3}}
    job = rest.post("/jobs", {"name": "leaves", "config": config})
    assert job["config"]["artifacts"] == {
        "max_files": 3, "max_file_size": 104_857_600, "max_total_size": 268_435_456,
    }  # fmt: skip
    task = rest.run("leaves")
    rest.reaches(task, "SUCCEEDED")
    listed = rest.get(f"/tasks/{task}/artifacts")
    assert [one["name"] for one in listed["data"]] == sorted(names)
    assert listed["attempt"] == 1
    for one in listed["data"]:
        path = f"/tasks/{task}/artifacts/{quote(one['name'])}"
        got = rest.client.get(path)
        assert (got.status_code, str(len(got.content))) == (200, one["size"])
        assert hashlib.sha256(got.content).hexdigest() == one["digest"]
        assert got.headers["content-type"] == one["content_type"]
        assert got.headers["content-length"] == one["size"]
        assert got.headers["etag"] == f'"{one["digest"]}"'
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"] == "sandbox"
        said = got.headers["content-disposition"]
        assert said.startswith("attachment; filename=")
        assert said.endswith(f"filename*=UTF-8''{quote(one['name'].rpartition('/')[2], safe='')}")
        assert said.count(";") == 2
        again = rest.client.get(path, headers={"if-none-match": got.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = rest.client.head(path)
        assert (head.status_code, head.headers["etag"], head.content) == (200, got.headers["etag"], b"")
    for missing in ("nothing", "site", "plain.txt/", "%2e%2e/x"):
        assert rest.client.get(f"/tasks/{task}/artifacts/{quote(missing)}").status_code in (400, 404)
    instance = listed["instance_id"]
    part = rest.client.get(f"/tasks/{task}/artifacts/plain.txt?instance_id={instance}&offset=3")
    assert part.text == "ript>\n"
    assert rest.client.get(f"/tasks/{task}/artifacts/plain.txt?offset=99").status_code == 400


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"cmd": "true", "artifacts": {"max_files": 0}}, "job.config.artifacts.max_files"),
        ({"cmd": "true", "artifacts": {"max_file_size": 1 << 30}}, "job.config.artifacts.max_file_size"),
        ({"cmd": "true", "output_content_type": "json"}, "job.config.output_content_type"),
        ({"cmd": "true", "output_content_type": "text/html\r\nx: y"}, "job.config.output_content_type"),
        ({"executor": "http", "http": {"url": "http://x/"}, "artifacts": {}}, "job.config.artifacts"),
        (
            {"executor": "http", "http": {"url": "http://x/"}, "output_content_type": "text/csv"},
            "job.config.output_content_type",
        ),
    ],
)
def test_what_a_job_says_of_its_files_and_its_output_is_checked(plane: Plane, config: Any, field: str) -> None:
    answer = plane.rest.client.post("/api/v1/jobs", json={"name": "bad", "config": config})
    assert answer.status_code == 400
    assert field in answer.text
