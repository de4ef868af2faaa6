"""Databases of earlier revisions, with data: brought to today's schema they say what they said, and go on."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.task import Status
from controlplane.engine.results import Ref, Verdict
from controlplane.engine.system import Pulse
from controlplane.engine.tasks import Tasks
from controlplane.loops.holder import Holder
from controlplane.loops.scheduler import Scheduler
from controlplane.store import Store, idempotency
from controlplane.store.idempotency import Outcome
from controlplane.store.migrations import LATEST, current, migrate
from controlplane.store.tables import log_metadata, metadata
from tests.engine.stage import NOW, SECOND, arrival, opened, placed, replica
from tests.recorded.databases import FOLDER, HOUR, TASKS, Api, api, load, meaning
from tests.recorded.lines import lacks

REVISIONS = sorted(int(file.name[:4]) for file in FOLDER.glob("*.meaning.json"))
LATER = NOW + 70 * SECOND  # when they were recorded, and a little


def recorded(revision: int, url: str) -> str:
    """The script that makes a database of this revision."""
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    return (FOLDER / f"{revision:04d}.{kind}.sql").read_text()


def said_then(revision: int) -> dict[str, Any]:
    """What the API said of it."""
    found: dict[str, Any] = json.loads((FOLDER / f"{revision:04d}.meaning.json").read_text())
    return found


def test_every_revision_is_recorded() -> None:
    missing = set(range(1, LATEST + 1)) - set(REVISIONS)
    assert not missing, f"record revisions {sorted(missing)}: .venv/bin/python -m tests.recorded.databases"


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_database_of_an_earlier_revision_means_the_same_after_migration(
    revision: int, database_url: str, tmp_path: Path
) -> None:
    load(recorded(revision, database_url), database_url)
    async with api(database_url, tmp_path / "plane", LATER) as one:
        assert one.store.transact_now(current) == LATEST
        now = await meaning(one)
    missing = lacks(said_then(revision), now)
    assert not missing, "\n".join(missing[:20])


def test_recordings_have_a_task_in_every_state() -> None:
    for revision in REVISIONS:
        then = said_then(revision)["default"]
        assert {task["status"] for task in then["tasks"]} == {one.name for one in Status}
        assert all(then[noun] for noun in ("jobs", "instances", "logs", "schedules", "fires", "agents", "plugins"))


def test_what_a_server_of_an_earlier_revision_reads_and_writes_is_still_there(
    database_url: str, tmp_path: Path
) -> None:
    """It goes on working while the first server of a later release has brought the schema up to date."""
    old, new = Store(f"sqlite:///{tmp_path}/old/pawl.db"), Store(database_url)
    (tmp_path / "old").mkdir()
    load(recorded(1, old.url), old.url)
    old.open()
    new.open()
    try:
        migrate(new, NOW)
        for described, before, after in ((metadata, old._writer, new._writer), (log_metadata, old._logs, new._logs)):
            with before.connect() as reading, after.begin() as writing:
                then, now = sa.inspect(reading), sa.inspect(writing)
                for name in set(then.get_table_names()) - {"sched_schema"}:
                    table = described.tables[name]
                    columns = [column["name"] for column in then.get_columns(name)]
                    assert set(columns) <= {column["name"] for column in now.get_columns(name)}, "it reads these"
                    writing.execute(table.delete())
                    rows = reading.execute(sa.select(*(table.c[column] for column in columns))).mappings().all()
                    for row in rows:
                        writing.execute(table.insert().values(**row))  # it names these, and no others
    finally:
        old.close()
        new.close()


async def test_what_was_under_way_in_the_first_revision_goes_on(database_url: str, tmp_path: Path) -> None:
    load(recorded(1, database_url), database_url)
    then = {task["tags"]["name"]: task for task in said_then(1)["default"]["tasks"] if "name" in task.get("tags", {})}
    async with api(database_url, tmp_path / "plane", LATER) as one:
        await requests_are_known(one, then)
        await placements_go_on(one, then)
        await what_is_due_comes(one, then)


def by_an_earlier_server(request_id: str, resource_id: str) -> dict[str, Any]:
    """The row that it writes when it has done what was asked."""
    asked = {"namespace_id": "default", "method": "CreateTask", "request_id": request_id, "fingerprint": bytes(32)}
    return asked | {"resource_id": resource_id, "refusal": None, "expires_at": LATER}


def test_servers_of_two_releases_do_nothing_twice_beside_each_other(postgres_url: str) -> None:
    earlier = metadata.tables["sched_idempotency"]
    written = [by_an_earlier_server(*named) for named in (("one", "name"), ("other", ""))]
    one, other = (IdempotencyKey("default", "CreateTask", name, bytes(16)) for name in ("one", "other"))
    with opened(postgres_url) as replica:
        store = replica.engine.store
        store.transact_now(lambda connection: connection.execute(earlier.insert(), written[0]))
        assert store.transact_now(idempotency.find_many, [one], NOW) == {one: Outcome(bytes(16), "name", None)}
        store.transact_now(idempotency.insert_many, [(other, "name", None)], LATER)
        with pytest.raises(sa.exc.IntegrityError):
            store.transact_now(lambda connection: connection.execute(earlier.insert(), written[1]))
        store.transact_now(lambda connection: connection.execute(earlier.delete()))  # they have expired, it says
        assert store.transact_now(idempotency.find_many, [one, other], NOW).keys() == {other}


async def requests_are_known(one: Api, then: dict[str, Any]) -> None:
    """A repeat of a call of then gives what the call gave then."""
    for number, name in enumerate(TASKS):
        task = {"job_id": "good", "priority": 900 - number, "tags": {"name": name}, "environment": {"N": str(number)}}
        task["parameters"] = {"data": "eyJuIjogMX0=", "content_type": "application/json"}
        again = await one("TaskService/CreateTask", task=task, request_id=f"make-{name}")
        assert again["id"] == then[name]["id"]


async def placements_go_on(one: Api, then: dict[str, Any]) -> None:
    """An agent that comes back keeps what it has, its results count, and what waits is placed."""
    stage = replica(one.store, one.clock)
    instances = {found["task_id"]: found for found in said_then(1)["default"]["instances"]}
    refs = [Ref(key, instances[key]["id"], 1) for key in (then["running"]["id"], then["placed"]["id"])]
    hello = arrival("agent", running=refs, labels={"zone": "a"}, executors=[{"name": "process", "abi": 0}], slots=20)
    session, plan = await stage.greet(hello)
    assert (plan.keep, plan.stop, [ref for ref, _ in plan.cancel]) == (refs, [], refs[:1])
    assert await stage.finish(refs[0], Status.CANCELLED) is Verdict.COUNTED
    assert await stage.finish(refs[1]) is Verdict.COUNTED
    session.free = 1
    await stage.place()
    [ready] = placed(session)
    assert (ready.ref.task_id, ready.ref.token) == (then["asked"]["id"], 1)


async def what_is_due_comes(one: Api, then: dict[str, Any]) -> None:
    """Retries and schedules of then, in their time."""
    before = {task["id"] for task in (await one("TaskService/ListTasks", page={"page_size": 1000}))["data"]}
    one.clock.move(HOUR)
    await replica(one.store, one.clock).timers.fire()
    assert (await one("TaskService/GetTask", id=then["again"]["id"]))["status"] == "PENDING"
    pulse = Pulse("scheduler")
    scheduler = Scheduler(one.engine, Tasks(one.engine, lambda *_: None), Holder(one.engine, "s", "one"), pulse=pulse)
    await scheduler.sweep()
    made = [
        task
        for task in (await one("TaskService/ListTasks", page={"page_size": 1000}))["data"]
        if task["id"] not in before
    ]
    assert [(task["job_name"], task["parameters"]["data"]) for task in made] == [("good", "e30=")]
