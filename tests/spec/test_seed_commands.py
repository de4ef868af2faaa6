"""The commands of the users' guide, from "is it up" to "cancel a task", sent with curl as printed, ids replaced.

The guide's agent is `agent-01`; here a real one runs beside a real control plane, on each database.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.spec.conftest import end, serving, start_agent

PRINTED_ADDRESS = "http://localhost:8080"
PRINTED_JOB = "550e8400-e29b-41d4-a716-446655440000"
PRINTED_TASK = "550e8400-e29b-41d4-a716-446655440001"

HEALTH = "curl http://localhost:8080/api/v1/system/health"
DOCS = "curl http://localhost:8080/docs"  # printed as `open`, which is a browser
METRICS = "curl http://localhost:8080/api/v1/system/metrics"
GATEWAY = "curl http://localhost:8080/api/v1/gateway/stats"

CREATE_JOB = r"""curl -X POST http://localhost:8080/api/v1/jobs/item \
  -H "Content-Type: application/json" \
  -d '{
    "namespace_id": "default",
    "name": "hello-world-job",
    "description": "Hello World 示例任务",
    "environment": {
      "MESSAGE": "Hello from hetuflow!"
    },
    "config": {
      "timeout": 300,
      "max_retries": 2,
      "retry_interval": 30,
      "cmd": "bash",
      "args": ["-c", "echo $MESSAGE"],
      "capture_output": true,
      "max_output_size": 1024000
    }
  }'"""

CREATE_SCHEDULE = r"""curl -X POST http://localhost:8080/api/v1/schedules/item \
  -H "Content-Type: application/json" \
  -d '{
    "job_id": "550e8400-e29b-41d4-a716-446655440000",
    "name": "every-minute",
    "kind": "interval",
    "cron_expression": null,
    "interval_seconds": 60,
    "enabled": true,
    "start_time": null,
    "end_time": null
  }'"""

PAGE_TASKS = r"""curl -X POST http://localhost:8080/api/v1/tasks/page \
  -H "Content-Type: application/json" \
  -d '{
    "filter": {
      "job_id": {"eq": "550e8400-e29b-41d4-a716-446655440000"}
    },
    "page": {"page": 1, "page_size": 10}
  }'"""

PAGE_INSTANCES = r"""curl -X POST http://localhost:8080/api/v1/task-instances/page \
  -H "Content-Type: application/json" \
  -d '{
    "filter": {
      "job_id": {"eq": "550e8400-e29b-41d4-a716-446655440000"}
    },
    "page": {"page": 1, "page_size": 10}
  }'"""

QUERY_AGENTS = r"""curl -X POST http://localhost:8080/api/v1/agents/query \
  -H "Content-Type: application/json" \
  -d '{"page": {"page": 1, "page_size": 20}}'"""

GET_AGENT = "curl http://localhost:8080/api/v1/agents/agent-01"

UPDATE_AGENT = r"""curl -X POST http://localhost:8080/api/v1/agents/agent-01/update \
  -H "Content-Type: application/json" \
  -d '{
    "labels": {
      "env": "staging",
      "capacity": "high"
    }
  }'"""

RUNNING_TASKS = r"""curl -X POST http://localhost:8080/api/v1/tasks/page \
  -H "Content-Type: application/json" \
  -d '{
    "filter": {"status": {"eq": 10}},
    "page": {"page": 1, "page_size": 20}
  }'"""

RETRY = "curl -X POST http://localhost:8080/api/v1/tasks/550e8400-e29b-41d4-a716-446655440001/retry"
CANCEL = "curl -X POST http://localhost:8080/api/v1/tasks/550e8400-e29b-41d4-a716-446655440001/cancel"

FAILED_INSTANCES = r"""curl -X POST http://localhost:8080/api/v1/task-instances/page \
  -H "Content-Type: application/json" \
  -d '{
    "filter": {"status": {"eq": 90}},
    "page": {"page": 1, "page_size": 10}
  }'"""

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("curl") is None, reason="not on this machine: curl"),
]


@dataclass
class Terminal:
    """Somebody who follows the guide at a shell."""

    address: str
    agent: subprocess.Popen[bytes]
    job: str = ""
    answers: dict[str, Any] = field(default_factory=dict)

    def prints(self, command: str, task: str = "") -> str:
        """What a command of the guide prints."""
        command = command.replace(PRINTED_ADDRESS, self.address).replace(PRINTED_JOB, self.job or PRINTED_JOB)
        if task:
            command = command.replace(PRINTED_TASK, task)
        ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def sees(self, command: str, task: str = "") -> dict[str, Any]:
        """The JSON that a command of the guide prints; no error."""
        printed: dict[str, Any] = json.loads(self.prints(command, task))
        assert set(printed) != {"error"}, printed  # a failed task has an `error` too, among other fields
        return printed

    def waits(self, fact: Callable[[], Any], what: str) -> Any:
        """Look again and again, as somebody at a shell would."""
        for _ in range(300):
            if found := fact():
                return found
            with_agent_alive(self.agent)
        pytest.fail(f"not seen: {what}")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the guide takes for granted: a job that fails, one that is long."""
        return self.sees(f"curl -X POST {PRINTED_ADDRESS}/api/v1/{path} -d '{json.dumps(body)}'")

    def task(self, number: str) -> dict[str, Any]:
        """A task as it is now."""
        return self.sees(f"curl {PRINTED_ADDRESS}/api/v1/tasks/{number}")

    def reaches(self, number: str, status: str) -> dict[str, Any]:
        """Wait for a task's status."""

        def there() -> dict[str, Any] | None:
            found = self.task(number)
            return found if found["status"] == status else None

        found: dict[str, Any] = self.waits(there, f"task {number} {status}")
        return found


def with_agent_alive(agent: subprocess.Popen[bytes]) -> None:
    """A moment's rest that ends the test if the agent has ended."""
    try:
        code = agent.wait(0.1)
    except subprocess.TimeoutExpired:
        return
    pytest.fail(f"the agent ended with {code}")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def terminal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A server and agent-01, with the guide's first job and schedule created."""
    folder = tmp_path_factory.mktemp("guide")
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/pawl.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            url = server.url(stack.enter_context(server.database()))
        addresses = stack.enter_context(serving(url, folder))
        agent = start_agent(addresses.grpc, folder / "agent")
        stack.callback(end, agent)
        terminal = Terminal(addresses.http, agent)
        terminal.answers["job"] = terminal.sees(CREATE_JOB)
        terminal.job = terminal.answers["job"]["id"]
        terminal.answers["schedule"] = terminal.sees(CREATE_SCHEDULE)
        terminal.waits(lambda: terminal.sees(QUERY_AGENTS)["data"], "agent-01")
        yield terminal


def test_the_server_says_that_it_serves(terminal: Terminal) -> None:
    health = terminal.sees(HEALTH)
    assert health["status"] == "SERVING"
    assert {"database", "dispatcher", "scheduler"} <= {check["name"] for check in health["checks"]}


def test_the_docs_are_a_page(terminal: Terminal) -> None:
    page = terminal.prints(DOCS)
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "swagger" in page.lower()


def test_metrics_and_gateway_stats_count_the_agent(terminal: Terminal) -> None:
    assert terminal.sees(GATEWAY)["agents_online"] == 1
    assert terminal.sees(METRICS)


def test_the_first_job_is_stored_as_it_was_written(terminal: Terminal) -> None:
    job = terminal.answers["job"]
    assert (job["name"], job["namespace_id"], job["description"]) == (
        "hello-world-job",
        "default",
        "Hello World 示例任务",
    )
    assert job["environment"] == {"MESSAGE": "Hello from hetuflow!"}
    wanted = {"timeout": 300, "max_retries": 2, "retry_interval": 30, "cmd": "bash", "args": ["-c", "echo $MESSAGE"]}
    assert {name: job["config"][name] for name in wanted} == wanted
    assert (job["config"]["capture_output"], job["config"]["max_output_size"]) == (True, 1_024_000)
    assert job["status"] == "ENABLED"


def test_every_minute_has_a_slot_each_minute(terminal: Terminal) -> None:
    schedule = terminal.answers["schedule"]
    assert (schedule["kind"], schedule["interval_seconds"], schedule["enabled"]) == ("INTERVAL", 60, True)
    assert schedule["job_id"] == terminal.job
    preview = terminal.sees(f"curl '{PRINTED_ADDRESS}/api/v1/schedules/{schedule['id']}:preview?count=3'")["fires"]
    slots = [datetime.fromisoformat(slot) for slot in [schedule["created_at"], *preview]]
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(slots[1:])} == {60}
    assert (slots[1] - slots[0]).total_seconds() % 60 == pytest.approx(0, abs=1e-5), "counted from its creation"


def test_a_schedule_fires_and_the_printed_queries_find_its_tasks_and_instances(terminal: Terminal) -> None:
    quick = terminal.sees(
        CREATE_SCHEDULE.replace("every-minute", "every-second").replace(
            '"interval_seconds": 60', '"interval_seconds": 1'
        )
    )

    def fired() -> list[dict[str, Any]]:
        rows = terminal.sees(PAGE_TASKS)["data"]
        found = [row for row in rows if row["schedule_id"] == quick["id"] and row["status"] == "SUCCEEDED"]
        return found if len(found) > 1 else []

    tasks = terminal.waits(fired, "two tasks of every-second")
    terminal.sees(f"curl -X POST {PRINTED_ADDRESS}/api/v1/schedules/every-second/disable")
    assert {row["job_name"] for row in tasks} == {"hello-world-job"}
    assert terminal.task(tasks[0]["id"])["output"]["@text"] == "Hello from hetuflow!\n"

    page = terminal.sees(PAGE_INSTANCES)
    instances = {row["task_id"]: row for row in page["data"]}
    assert (page["page"], page["page_size"]) == (1, 10)
    for row in tasks:
        one = instances[row["id"]]
        assert (one["agent_id"], one["status"], one["attempt"], one["exit_code"]) == ("agent-01", "SUCCEEDED", 1, 0)


def test_an_agent_is_listed_shown_and_relabelled(terminal: Terminal) -> None:
    page = terminal.sees(QUERY_AGENTS)
    assert [(one["id"], one["status"]) for one in page["data"]] == [("agent-01", "ONLINE")]
    assert page["total"] == 1
    before = terminal.sees(GET_AGENT)
    assert (before["id"], before["slots"]) == ("agent-01", 5)
    after = terminal.sees(UPDATE_AGENT)
    for answer in (after, terminal.sees(GET_AGENT)):
        assert {"env": "staging", "capacity": "high"}.items() <= answer["labels"].items()
        assert answer["labels"]["sys_os"] == before["labels"]["sys_os"], "what the agent says of itself stays"


def test_new_labels_of_an_agent_bring_it_the_work_that_waited_for_them(terminal: Terminal) -> None:
    config = {"cmd": "true", "labels": {"capacity": "high", "env": "staging"}}
    terminal.post("jobs/item", {"name": "picky", "config": config})
    task = terminal.post("tasks/item", {"job_id": "picky"})
    terminal.sees(UPDATE_AGENT)
    terminal.reaches(task["id"], "SUCCEEDED")


def test_a_running_task_is_found_by_the_number_of_its_status_and_cancelled(terminal: Terminal) -> None:
    terminal.post("jobs/item", {"name": "long", "config": {"cmd": "sleep", "args": ["600"]}})
    task = terminal.post("tasks/item", {"job_id": "long"})["id"]

    def running() -> bool:
        return task in {row["id"] for row in terminal.sees(RUNNING_TASKS)["data"]}

    terminal.waits(running, "the task among those with status 10")
    assert terminal.sees(CANCEL, task)["cancel_requested"]
    assert terminal.reaches(task, "CANCELLED")["attempt"] == 1
    assert not running()


def test_a_failed_task_is_found_and_retried(terminal: Terminal) -> None:
    terminal.post("jobs/item", {"name": "failing", "config": {"cmd": "false"}})
    task = terminal.post("tasks/item", {"job_id": "failing"})["id"]
    failed = terminal.reaches(task, "FAILED")
    assert failed["error"]["code"] == "EXIT_1"
    assert task in {row["task_id"] for row in terminal.sees(FAILED_INSTANCES)["data"]}

    assert terminal.sees(RETRY, task)["epoch"] == 2
    again = terminal.reaches(task, "FAILED")
    assert (again["epoch"], again["attempt"]) == (2, 1)


def test_a_finished_task_cannot_be_cancelled_and_the_answer_says_why(terminal: Terminal) -> None:
    done = terminal.post("jobs/hello-world-job:run?wait_seconds=20", {})
    assert done["status"] == "SUCCEEDED"
    error = json.loads(terminal.prints(CANCEL, done["id"]))["error"]
    assert (error["code"], error["status"]) == (400, "FAILED_PRECONDITION")
    assert "SUCCEEDED" in error["message"]


def test_the_ids_as_printed_are_nobodys_and_the_answer_says_so(terminal: Terminal) -> None:
    for command in (RETRY, CANCEL):
        error = json.loads(terminal.prints(command))["error"]
        assert (error["code"], error["status"]) == (404, "NOT_FOUND")
        assert PRINTED_TASK in error["message"]
