"""One job, told to Pawl by three kinds of clients: generated stubs, one that learns the API by reflection, and curl.

Each has a control plane, an agent and an empty database of its own. What lies in the tables afterwards is the same to
the byte, but for ids, times and what the machine measured. Not about answers: those are compared by the parity suite.
"""

import base64
import importlib
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from controlplane.store import normalise_url
from controlplane.store.tables import log_metadata, metadata
from tests.spec.conftest import end, serving, start_agent

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("curl") is None, reason="not on this machine: curl"),
]

# The bytes of the input are part of the promise: spaces, an escape, a number that no float keeps.
PARAMETERS: Final = '{"who": "J\\u00fcrgen",  "amount": 2.50, "n": 12345678901234567890}'

# Of whom a row speaks and when it was written differ, and what was measured; these columns are nothing else.
MEASURED: Final = {
    "version": "how often a row was written depends on which writes met in one commit",
    "metrics": "seconds and bytes of a real process",
    "traceparent": "made anew for each call",
}
TIMES: Final = re.compile(r"(.*_at|at|fire_time)")
# What belongs to the agent and to the server's own loops, of which each client has another.
NOT_OURS: Final = {"sched_agent", "sched_loop_lease", "sched_schema"}


@dataclass(frozen=True)
class Step:
    """A call as proto JSON, and how `google.api.http` writes it; `body` is the field that is the body, '*' for all."""

    rpc: str
    verb: str
    path: str
    body: str
    request: Mapping[str, Any]


_PAYLOAD: Final = {"data": base64.b64encode(PARAMETERS.encode()).decode(), "content_type": "application/json"}
_SCRIPT: Final = """echo "to stderr" >&2; cat; [ "$PAWL_ATTEMPT" = 2 ] || exit 3
printf '{"ok": 1.0}' > "$PAWL_OUTPUT_FILE" """
_JOB: Final = {
    "name": "report",
    "description": "Nightly – ünïcode",
    "environment": {"A": "job", "B": ""},
    "config": {
        "cmd": "bash",
        "args": ["-c", _SCRIPT, ""],
        "environment": {"A": "config"},
        "max_retries": 1,
        "retry_interval": 0.25,
        "timeout": 12.5,
        "priority": 0,
    },
}
_TASK: Final = {
    "job_id": "report",
    "parameters": _PAYLOAD,
    "tags": {"customer": "ü-42", "empty": ""},
    "environment": {"C": "task", "D": "too", "E": ""},
    "priority": 700,
    "timeout": 9.5,
}
_SCHEDULE: Final = {
    "name": "noon",
    "job_id": "report",
    "kind": "CRON",
    "cron_expression": "0 0 12 * * ?",
    "timezone": "Asia/Shanghai",
    "start_time": "2990-01-01T00:00:00Z",
    "parameters": _PAYLOAD,
    "tags": {"by": "schedule", "for": "all"},
}
STEPS: Final = (
    Step("JobService/CreateJob", "POST", "/jobs", "job", {"job": _JOB, "request_id": "job"}),
    Step(
        "JobService/UpdateJob",
        "PATCH",
        "/jobs/report",
        "job",
        {"job": {"id": "report", "config": {"grace_seconds": 0.5}, "enabled": True}, "etag": "1"},
    ),
    Step("ScheduleService/CreateSchedule", "POST", "/schedules", "schedule", {"schedule": _SCHEDULE}),
    Step("TaskService/RunTask", "POST", "/tasks:run", "task", {"task": _TASK, "request_id": "t", "wait_seconds": 20}),
    Step(
        "TaskService/BatchCreateTasks",
        "POST",
        "/tasks:batchCreate",
        "*",
        {"requests": [{"task": {"job_id": "report", "scheduled_at": "2990-01-01T00:00:00Z"}, "request_id": "later"}]},
    ),
    Step("JobService/DisableJob", "POST", "/jobs/report:disable", "*", {"id": "report"}),
)


class Stubs:
    """A program written against the generated code."""

    def __init__(self, http: str, address: str) -> None:
        self.channel: Any = grpc.insecure_channel(address)

    def call(self, step: Step) -> dict[str, Any]:
        """One call of a stub's method with a generated message."""
        service, _, rpc = step.rpc.partition("/")
        noun = service.removesuffix("Service").lower()
        pb2 = importlib.import_module(f"pawl.v1.{noun}_pb2")
        stub = getattr(importlib.import_module(f"pawl.v1.{noun}_pb2_grpc"), f"{service}Stub")(self.channel)
        request = json_format.ParseDict(dict(step.request), getattr(pb2, f"{rpc}Request")())
        return _read(getattr(stub, rpc)(request, timeout=30))


class Reflecting:
    """A program that has never seen our proto files: it asks the server what there is."""

    def __init__(self, http: str, address: str) -> None:
        self.channel: Any = grpc.insecure_channel(address)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))

    def call(self, step: Step) -> dict[str, Any]:
        """One call with messages made from the server's own description."""
        service, _, rpc = step.rpc.partition("/")
        method = self.pool.FindServiceByName(f"pawl.v1.{service}").FindMethodByName(rpc)
        request, answer = (message_factory.GetMessageClass(one) for one in (method.input_type, method.output_type))
        send = self.channel.unary_unary(
            f"/pawl.v1.{step.rpc}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return _read(send(json_format.ParseDict(dict(step.request), request()), timeout=30))


class Curl:
    """Somebody at a shell."""

    def __init__(self, http: str, address: str) -> None:
        self.http = http

    def call(self, step: Step) -> dict[str, Any]:
        """One command. What is not in the body is a query parameter; JSON payloads stand there as they are."""
        query: dict[str, Any] = {}
        body: Any = step.request
        if step.body != "*":
            body = step.request[step.body]
            query = {name: value for name, value in step.request.items() if name != step.body}
        text = json.dumps(body).replace(json.dumps(_PAYLOAD), PARAMETERS)
        url = f"{self.http}/api/v1{step.path}?" + "&".join(f"{name}={value}" for name, value in query.items())
        command = ["curl", "-sS", "-X", step.verb, url, "-H", "Content-Type: application/json", "--data-binary", "@-"]
        ended = subprocess.run(command, input=text.encode(), capture_output=True, timeout=40, check=True)
        answer: dict[str, Any] = json.loads(ended.stdout)
        assert "details" not in answer.get("error", {}), answer  # a failed task has an error too, but no details
        return answer


def _read(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@contextmanager
def _database(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/pawl.db"
        return
    server = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


def stored(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, with ids as `id-1`, `id-2` in the order in which they were made."""
    engine = sa.create_engine(normalise_url(url))
    try:
        with engine.connect() as connection:
            found = {
                name: [dict(row) for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()]
                for name, table in metadata.tables.items()
                if name not in NOT_OURS | set(log_metadata.tables)
            }
    finally:
        engine.dispose()
    # UUIDv7 sort by the time they were made, so the same story gives the same names.
    ids = sorted({text for rows in found.values() for row in rows for text in _ids(row)})
    names = {text: f"id-{number}" for number, text in enumerate(ids, 1)}
    return {
        name: [{key: _shown(key, value, names) for key, value in row.items() if key not in MEASURED} for row in rows]
        for name, rows in found.items()
    }


def _ids(row: Mapping[str, Any]) -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, str) and len(value) == 36 and name not in ("digest", "content"):
            try:
                yield str(uuid.UUID(value))
            except ValueError:
                continue


def _shown(key: str, value: Any, names: Mapping[str, str]) -> Any:
    if TIMES.fullmatch(key):
        return value and "time"
    return names.get(value, value) if isinstance(value, str) else value


def tell(client: Stubs | Reflecting | Curl) -> None:
    """The whole story, by one client."""
    answers = [client.call(step) for step in STEPS]
    done = answers[3]
    assert (done["status"], done["attempt"]) == ("SUCCEEDED", 2), done
    again = client.call(STEPS[3])
    assert again["id"] == done["id"], "a repeat of the request id is the same task"


def test_the_same_job_by_three_kinds_of_clients_leaves_the_same_rows_but_for_ids_and_times(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    left: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for client in (Stubs, Reflecting, Curl):
        folder = tmp_path / client.__name__
        folder.mkdir()
        with ExitStack() as stack:
            url = stack.enter_context(_database(request, kind, folder))
            addresses = stack.enter_context(serving(url, folder))
            agent = start_agent(addresses.grpc, folder / "agent")
            stack.callback(end, agent)
            tell(client(addresses.http, addresses.grpc))
            left[client.__name__] = stored(url)
    rows = left["Stubs"]
    assert [row["name"] for row in rows["sched_job"]] == ["report"]
    assert {len(rows[name]) for name in ("sched_job_revision", "sched_task", "sched_task_instance")} == {2}
    assert rows["sched_task_data"][0]["parameters"] == PARAMETERS.encode()
    assert rows["sched_schedule"][0]["parameters"] == PARAMETERS.encode()
    assert [row["output"] for row in rows["sched_task_instance"]][-1] == b'{"ok": 1.0}'
    assert len(rows["sched_request"]) == 3
    for name in ("Reflecting", "Curl"):
        assert left[name] == rows, f"{name} and generated stubs differ"


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database."""
    name: str = request.param
    return name
