"""Records a database with something of everything in it, as data for tests of later releases.

    .venv/bin/python -m tests.recorded.databases      where a revision of the schema has no recording yet

For each revision `NNNN.sqlite.sql`, `NNNN.postgresql.sql` (scripts that make such a database, as the databases' own
tools write them) and `NNNN.meaning.json`: what the API said of it. The rows are what this release stores; those of
earlier revisions leave out what their tables have no place for. Run it with each release; what is recorded stays.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from google.protobuf.json_format import ParseDict
from pawl.v1 import plugin_pb2

from controlplane.config import DatabaseSection, ServerSection, Settings
from controlplane.domain.task import Status
from controlplane.engine.system import Pulse
from controlplane.engine.tasks import Tasks
from controlplane.loops.holder import Holder
from controlplane.loops.scheduler import Scheduler
from controlplane.store import Store, blobs, logs, migrations
from controlplane.store.logs import Chunk, pack
from controlplane.store.migrations import migrate
from controlplane.store.tables import log_metadata, metadata
from controlplane.wiring import ControlPlane
from tests.engine.stage import NOW, MovedClock, placed, replica
from tests.engine.test_plugins import module
from tests.postgres import Postgres, find
from tests.recorded.lines import text_of

FOLDER = Path(__file__).resolve().parents[1] / "data" / "schema"
HOUR = 3600
TASKS = (
    "done",
    "again",
    "failed",
    "stopped",
    "running",
    "placed",
    "asked",
    *(f"spare-{number}" for number in range(7)),
)
# What no use case of today leaves a task in, and later ones will: the schema has a place for it.
SPARE = {
    "spare-0": Status.LOCKED, "spare-1": Status.BLOCKED, "spare-2": Status.TIMED_OUT, "spare-3": Status.SUSPENDED,
    "spare-4": Status.PAUSED, "spare-5": Status.SKIPPED,
}  # fmt: skip


class Api:
    """A control plane whose loops do not run, over a database; its time stands still."""

    def __init__(self, url: str, folder: Path, at: int) -> None:
        server = ServerSection(data_dir=str(folder))
        self.plane = ControlPlane(Settings(server=server, database=DatabaseSection(url=url)))
        self.store = Store(url)
        self.clock = MovedClock(at)
        self.engine = replica(self.store, self.clock).engine
        self.plane._build(self.engine)

    async def __call__(self, method: str, **request: Any) -> dict[str, Any]:
        """A call, as plain data."""
        found = self.plane.pipeline.methods[f"pawl.v1.{method}"]
        reply = await self.plane.pipeline.unary(found, ParseDict(request, found.input()), {}, "grpc")
        return text_of(reply.message)

    async def each(self, method: str, **request: Any) -> list[dict[str, Any]]:
        """A call that answers with a stream."""
        found = self.plane.pipeline.methods[f"pawl.v1.{method}"]
        answers = self.plane.pipeline.stream(found, ParseDict(request, found.input()), {}, "grpc")
        return [text_of(one) async for one in answers]


@asynccontextmanager
async def api(url: str, folder: Path, at: int = NOW) -> AsyncIterator[Api]:
    """Over a database that is brought to today's schema."""
    one = Api(url, folder, at)
    one.store.open()
    try:
        migrate(one.store, one.clock.now())
        async with asyncio.TaskGroup() as group:
            for committer in one.plane.committers():
                group.create_task(committer.run())
            try:
                yield one
            finally:
                for committer in one.plane.committers():
                    committer.close()
    finally:
        one.plane._store.close()
        one.store.close()


async def fill(one: Api) -> None:
    """Something of everything, by the use cases of this release."""
    await one("NamespaceService/CreateNamespace", namespace={"id": "team", "description": "Others."})
    config = {
        "cmd": "sh",
        "args": ["-c", "echo $WHO"],
        "max_retries": 1,
        "retry_interval": HOUR,
        "labels": {"zone": "a"},
    }
    job = {"name": "good", "description": "says hello", "environment": {"WHO": "Ada"}, "config": config}
    await one("JobService/CreateJob", job=job, request_id="make-good")
    await one("JobService/UpdateJob", job={"name": "good", "config": {"timeout": 60}}, update_mask="config.timeout")
    await one("JobService/CreateJob", job={"name": "off", "config": {"cmd": "true"}})
    await one("JobService/DisableJob", id="off")
    await one("JobService/CreateJob", job={"name": "gone", "config": {"cmd": "true"}})
    await one("JobService/DeleteJob", id="gone")
    await one("JobService/CreateJob", job={"name": "good", "namespace_id": "team", "config": {"cmd": "true"}})
    await make_plugin(one)
    every = {"kind": "INTERVAL", "interval_seconds": 60, "job_id": "good"}
    await one("ScheduleService/CreateSchedule", schedule={**every, "name": "often", "parameters": {"data": "e30="}})
    noon = {"kind": "CRON", "cron_expression": "0 12 * * *", "timezone": "Europe/Berlin", "job_id": "good"}
    await one("ScheduleService/CreateSchedule", schedule={**noon, "name": "noon"})
    await one("ScheduleService/DisableSchedule", id="noon")
    await one("KeyService/CreateKey", key={"name": "ann", "roles": ["OPERATOR"], "namespaces": ["default"]})
    tasks = {}
    for number, name in enumerate(TASKS):
        task = {"job_id": "good", "priority": 900 - number, "tags": {"name": name}, "environment": {"N": str(number)}}
        task["parameters"] = {"data": "eyJuIjogMX0=", "content_type": "application/json"}
        tasks[name] = (await one("TaskService/CreateTask", task=task, request_id=f"make-{name}"))["id"]
    await one("TaskService/CreateTask", task={"job_id": "good", "scheduled_at": "2026-02-01T00:00:00Z"})
    await act(one, tasks)
    one.store.transact_now(set_aside, {tasks[name]: status for name, status in SPARE.items()}, one.clock.now())
    one.clock.move(61)
    scheduler = Scheduler(one.engine, Tasks(one.engine, _nobody), Holder(one.engine, "s", "one"), pulse=Pulse("s"))
    await scheduler.sweep()


def _nobody(*_: object) -> None:
    """Nobody is told to stop."""


async def make_plugin(one: Api) -> None:
    """A small plugin, and a job of it."""

    async def parts() -> AsyncIterator[Any]:
        yield plugin_pb2.UploadPluginRequest(start=plugin_pb2.UploadPluginStart(name="small", version="1.0"))
        yield plugin_pb2.UploadPluginRequest(data=module())

    found = one.plane.pipeline.methods["pawl.v1.PluginService/UploadPlugin"]
    await one.plane.pipeline.client_stream(found, parts(), {}, "grpc")
    config = {"executor": "wasm", "wasm": {"plugin": "small@1.0"}}
    await one("JobService/CreateJob", job={"name": "plug", "config": config})


async def act(one: Api, tasks: Mapping[str, str]) -> None:
    """An agent works: each of these tasks gets as far as its name says."""
    stage = replica(one.store, one.clock, "one")
    known = {"labels": {"zone": "a"}, "executors": [{"name": "process", "abi": 0}], "slots": 20}
    session = await stage.connect("agent", free=6, **known)
    one.clock.move(1)
    await stage.place()
    refs = {ref.task_id: ref for ref in (placement.ref for placement in placed(session))}
    ref = {name: refs[tasks[name]] for name in TASKS[:6]}
    for name in ("done", "again", "failed", "stopped", "running"):
        await stage.start(ref[name])
        lines = pack([(1, one.clock.now(), f"{name}: grüße\n".encode())])
        chunk = Chunk(ref[name].task_id, 1, 1, ref[name].instance_id, lines)
        one.store.transact_logs_now(logs.append, [chunk])
    one.clock.move(2)
    await stage.finish(ref["done"], exit_code=0, output=b"hello Ada\n", output_type="text/plain", output_size=10)
    again, never = (
        {"error_code": "EXIT_3", "error_retryable": True},
        {"error_code": "NO_PROGRAM", "error_retryable": False},
    )
    await stage.finish(ref["again"], Status.FAILED, exit_code=3, error_message="exit code 3", **again)
    await stage.finish(ref["failed"], Status.FAILED, error_message="there is no such program", **never)
    await stage.cancel(ref["stopped"].task_id, "enough")
    await stage.finish(ref["stopped"], Status.CANCELLED, signal=15)
    await one("TaskService/CancelTask", id=tasks["running"], reason="too long")
    await one("TaskService/CancelTask", id=tasks["spare-6"], reason="before it began")
    one.store.transact_now(blobs.hold, "ab" * 32, b"a large output", one.clock.now())


def set_aside(connection: sa.Connection, statuses: Mapping[str, Status], now: int) -> None:
    """Put tasks in states by hand."""
    task, ready = metadata.tables["sched_task"], metadata.tables["sched_ready"]
    for key, status in statuses.items():
        ended = now if status == Status.SKIPPED else None
        connection.execute(task.update().where(task.c.id == key).values(status=int(status), finished_at=ended))
        connection.execute(ready.delete().where(ready.c.task_id == key))


async def meaning(one: Api) -> dict[str, Any]:
    """What the API says of everything in a database."""
    page = {"page": {"page_size": 1000}, "order_by": ["id"]}
    found: dict[str, Any] = {}
    for space in ("default", "team"):
        within = {"namespace_id": space}
        tasks = (await one("TaskService/ListTasks", **page, **within)).get("data", [])
        found[space] = {
            "jobs": (await one("JobService/ListJobs", **page, **within)).get("data", []),
            "tasks": [await one("TaskService/GetTask", id=task["id"], **within) for task in tasks],
            "logs": {task["id"]: await one.each("TaskService/ReadTaskLogs", id=task["id"], **within) for task in tasks},
            "instances": (await one("TaskInstanceService/ListTaskInstances", **page, **within)).get("data", []),
            "schedules": (await one("ScheduleService/ListSchedules", **page, **within)).get("data", []),
            "agents": (await one("AgentService/ListAgents", **page, **within)).get("data", []),
            "plugins": (await one("PluginService/ListPlugins", **within)).get("data", []),
        }
    for schedule in found["default"]["schedules"]:
        fires = await one("ScheduleService/ListScheduleFires", id=schedule["id"])
        found["default"].setdefault("fires", {})[schedule["name"]] = fires.get("data", [])
    found["keys"] = (await one("KeyService/ListKeys")).get("data", [])
    found["namespaces"] = (await one("NamespaceService/ListNamespaces")).get("data", [])
    return found


# ---------------------------------------------------------------- from and to files


def load(script: str, url: str) -> None:
    """Make a database by a recorded script."""
    if url.startswith("sqlite:///"):
        main, _, chatter = script.partition(SECOND_FILE)
        path = Path(url.removeprefix("sqlite:///"))
        for part, file in ((main, path), (chatter, path.with_name(f"{path.stem}-logs{path.suffix}"))):
            with closing(sqlite3.connect(file)) as connection:
                connection.executescript(part)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script.encode())


SECOND_FILE = "-- the second file: logs\n"


def dump_sqlite(url: str) -> str:
    """Both files as a script."""
    path = Path(url.removeprefix("sqlite:///"))
    parts = []
    for file in (path, path.with_name(f"{path.stem}-logs{path.suffix}")):
        with closing(sqlite3.connect(file)) as connection:
            parts.append("".join(f"{line}\n" for line in connection.iterdump()))
    return SECOND_FILE.join(parts)


def dump_postgres(server: Postgres, url: str) -> str:
    """The database as pg_dump writes it, without what belongs to the session that loads it."""
    name = url.rpartition("/")[2]
    options = "--no-owner --no-privileges --rows-per-insert=100"
    ended = server.run(f'pg_dump {options} "{name}"', server.folder / "dumps")
    assert ended.returncode == 0, ended.stderr
    kept = (line for line in ended.stdout.splitlines() if line and not re.match(r"--|\\|SET |SELECT pg_catalog", line))
    return "".join(f"{line}\n" for line in kept)


def copy_rows(source: str, target: str) -> None:
    """Rows of a database into one of an earlier schema, as far as that has a place for them."""
    old, new = Store(source), Store(target)
    old.open()
    new.open()
    try:
        for described, before, after in ((metadata, old._writer, new._writer), (log_metadata, old._logs, new._logs)):
            with before.connect() as reading, after.begin() as writing:
                there = sa.inspect(writing)
                for table in described.sorted_tables:
                    if there.has_table(table.name):
                        names = [column["name"] for column in there.get_columns(table.name)]
                        rows = reading.execute(sa.select(*(table.c[name] for name in names))).mappings()
                        writing.execute(table.delete())
                        for row in rows:
                            writing.execute(table.insert().values(**row))
                if not new.is_sqlite and described is metadata:
                    # Given ids do not move what makes ids.
                    counter = "pg_get_serial_sequence('sched_requirement', 'id')"
                    writing.exec_driver_sql(f"SELECT setval({counter}, max(id)) FROM sched_requirement")
    finally:
        old.close()
        new.close()


def at_revision(url: str, revision: int) -> None:
    """A schema as it was then."""
    latest = migrations.LATEST
    migrations.LATEST = revision
    store = Store(url)
    store.open()
    try:
        migrate(store, NOW)
    finally:
        store.close()
        migrations.LATEST = latest


async def record(server: Postgres, folder: Path) -> None:
    """What is not recorded yet."""
    with server.database() as name:
        filled = server.url(name)
        async with api(filled, folder / "plane") as one:
            await fill(one)
        for revision in range(1, migrations.LATEST + 1):
            if not (FOLDER / f"{revision:04d}.meaning.json").exists():
                await record_one(server, filled, folder / f"{revision}", revision)
                sys.stdout.write(f"schema/{revision:04d}\n")


async def record_one(server: Postgres, filled: str, folder: Path, revision: int) -> None:
    """A revision, for both kinds of database, and what both say."""
    said = []
    with server.database() as name:
        for kind, target in (("sqlite", f"sqlite:///{folder}/pawl.db"), ("postgresql", server.url(name))):
            at_revision(target, revision)
            copy_rows(filled, target)
            script = dump_sqlite(target) if kind == "sqlite" else dump_postgres(server, target)
            (FOLDER / f"{revision:04d}.{kind}.sql").write_text(script)
            async with api(target, folder / "plane") as one:
                said.append(await meaning(one))
    assert said[0] == said[1], "both kinds of database say the same"
    text = json.dumps(said[0], indent=1, ensure_ascii=False, sort_keys=True)
    (FOLDER / f"{revision:04d}.meaning.json").write_text(text + "\n")


def main() -> None:
    """Record into tests/data/schema."""
    folder = Path(tempfile.mkdtemp(prefix="pawl-record-"))
    try:
        with Postgres(find()) as server:
            asyncio.run(record(server, folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
