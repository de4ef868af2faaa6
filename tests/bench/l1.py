"""L1: lists at size. Pages of tasks and attempts out of many narrow rows, each way to ask once cold and then often.

In this process, as the control plane does it: the use case with its transaction and its thread, without a call around
it. The rows are made by `many.py`, in shares that are hard on lists. There is no floor: 50 ms is what is promised for
every question that an index serves, and the figures say which took longer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.domain.page import parse_page
from controlplane.engine.instances import Instances
from controlplane.engine.lists import Question
from controlplane.store.query import Page
from tests.bench import many
from tests.bench.databases import Database
from tests.bench.many import Many
from tests.bench.report import Row, percentile
from tests.bench.stage import Stage
from tests.engine.stage import MovedClock, Replica, opened

ROWS, QUICK_ROWS = 1_000_000, 3_000
TIMES, QUICK_TIMES = 20, 2
PROMISED_MS = 50.0
PATIENCE_MS = 4_000.0  # what took this long together has shown what it is
FAILED_NIGHT = 5  # it begins after this part of the rows: `many.py`

Ask = Callable[[Question], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to ask. `served` says that an index does it, so that the promise holds."""

    what: str
    ask: Ask
    filter: Any = None
    order_by: Sequence[str] = ()
    page: dict[str, Any] | None = None
    namespace: str = "default"
    served: bool = True


async def measure(stage: Stage) -> list[Row]:
    """A row for each shape."""
    total = stage.rows or stage.number(ROWS, QUICK_ROWS)
    with stage.server.database() as database:
        with opened(database.url):
            pass  # the schema, and nobody who writes
        begun = time.perf_counter()
        made = await asyncio.to_thread(many.fill, database, total, time.time_ns() // 1000)
        filled = time.perf_counter() - begun
        with opened(database.url, MovedClock(made.end)) as replica:
            rows = [
                await _measured(shape, database, stage.number(TIMES, QUICK_TIMES)) for shape in shapes(replica, made)
            ]
    rows[0].counters |= {"rows": f"{total:,}", "made in s": filled}
    return rows


def shapes(replica: Replica, made: Many) -> Iterator[Shape]:
    """What people ask for, and what is hard."""

    async def tasks(question: Question) -> Page:
        return (await replica.tasks.page(question))[0]

    instances = Instances(replica.engine).page
    job, schedule = many.job_id(7), many.schedule_id(3)
    middle = made.at(made.total // 2)
    night = made.at(made.total // FAILED_NIGHT)
    hour = {"gte": _instant(middle), "lt": _instant(middle + 3_600_000_000)}
    yield Shape("the newest tasks", tasks)
    yield Shape("the newest tasks, 1,000 of them", tasks, page={"page_size": 1_000})
    yield Shape("tasks, the last page that numbers reach", tasks, page={"page": 500})
    yield Shape("a namespace that fell asleep", tasks, namespace=many.ASLEEP)
    yield Shape("created_at rising", tasks, order_by=["created_at"])
    yield Shape("created_at falling", tasks, order_by=["-created_at"])
    yield Shape("an hour of created_at", tasks, {"created_at": hour})
    yield Shape("an hour of created_at, failed", tasks, {"created_at": hour, "status": {"eq": "FAILED"}})
    yield Shape("an hour of scheduled_at, in its order", tasks, {"scheduled_at": hour}, ["scheduled_at"])
    yield Shape("scheduled_at falling", tasks, order_by=["-scheduled_at"])
    yield Shape("status SUCCEEDED, nearly all", tasks, {"status": {"eq": "SUCCEEDED"}})
    yield Shape("status FAILED, one night long ago", tasks, {"status": {"eq": "FAILED"}})
    yield Shape("status RUNNING, a few", tasks, {"status": {"eq": "RUNNING"}})
    yield Shape("status FAILED or CANCELLED", tasks, {"status": {"in": ["FAILED", "CANCELLED"]}})
    yield Shape("status not SUCCEEDED", tasks, {"status": {"not": "SUCCEEDED"}})
    yield Shape("status FAILED or RUNNING as alternatives", tasks, [{"status": {"eq": 90}}, {"status": {"eq": 10}}])
    yield Shape("a job of a hundredth", tasks, {"job_id": {"eq": job}})
    yield Shape("a job that ran long ago", tasks, {"job_id": {"eq": many.job_id(1000)}})
    yield Shape("three jobs", tasks, {"job_id": {"in": [many.job_id(n) for n in (1, 2, 3)]}})
    yield Shape("a job, failed", tasks, {"job_id": {"eq": job}, "status": {"eq": "FAILED"}})
    yield Shape("a job, CANCELLED, none", tasks, {"job_id": {"eq": job}, "status": {"eq": "CANCELLED"}})
    yield Shape("a schedule", tasks, {"schedule_id": {"eq": schedule}})
    yield Shape("a tag's value, one of 97", tasks, {"tags.customer": {"eq": "c7"}})
    yield Shape("a tag's value, nearly every tag", tasks, {"tags.env": {"eq": "prod"}})
    yield Shape("three values of a tag", tasks, {"tags.customer": {"in": ["c1", "c2", "c3"]}})
    yield Shape("a tag's value, failed", tasks, {"tags.env": {"eq": "prod"}, "status": {"eq": "FAILED"}}, served=False)
    yield Shape("a task by its id", tasks, {"id": {"eq": made.id(made.total // 2)}})
    yield Shape("the newest attempts", instances)
    yield Shape("a task's attempts", instances, {"task_id": {"eq": made.id(made.total // 2)}})
    yield Shape("an attempt by its id", instances, {"id": {"eq": made.id(made.total // 2)}})
    some = [made.id(made.total // part) for part in (2, 3, 7)]
    yield Shape("three attempts by their ids", instances, {"id": {"in": some}})
    yield Shape("attempts from one id to another", instances, {"id": {"gte": made.id(made.total // 3), "lt": some[0]}})
    yield Shape("a job's attempts", instances, {"job_id": {"eq": job}})
    yield Shape("a job's attempts, failed", instances, {"job_id": {"eq": job}, "status": {"eq": "FAILED"}})
    yield Shape("attempts FAILED", instances, {"status": {"eq": "FAILED"}})
    yield Shape("attempts FAILED or TIMED_OUT", instances, {"status": {"in": ["FAILED", "TIMED_OUT"]}})
    yield Shape("attempts, created_at falling", instances, order_by=["-created_at"])
    yield Shape("an hour of attempts", instances, {"created_at": hour})
    days = {"gte": _instant(middle), "lt": _instant(middle + 3 * many.DAY)}
    yield Shape("three days of attempts", instances, {"created_at": days})
    yield Shape("an agent's tasks", tasks, {"agent_id": {"eq": "agent-7"}}, served=False)
    yield Shape(
        "finished in one hour",
        tasks,
        {"finished_at": {"gte": _instant(night), "lt": _instant(night + 10**9)}},
        served=False,
    )
    yield Shape("priority falling", tasks, order_by=["-priority"], served=False)


async def _measured(shape: Shape, database: Database, times: int) -> Row:
    question = Question(shape.namespace, shape.filter, shape.order_by, parse_page(**(shape.page or {})))
    page, first = await _timed(shape, question)
    taken: list[float] = []
    begun = time.process_time() + database.cpu_seconds()
    while len(taken) < times and sum(taken) < PATIENCE_MS:
        page, one = await _timed(shape, question)
        taken.append(one)
    used = 1e3 * (time.process_time() + database.cpu_seconds() - begun) / len(taken)
    row = Row("L1", database.kind, shape.what, "ms, p50", [percentile(taken, 0.5)], more=False)
    worst = percentile(taken, 0.95)
    row.counters = {"p95": worst, "least": min(taken), "first": first, "CPU ms": used}
    row.counters |= {"shown": float(len(page.rows)), "total": float(page.total)}
    if worst > PROMISED_MS:
        row.counters["over"] = f"{PROMISED_MS:.0f} ms" + ("" if shape.served else ", no one index serves it")
    return row


async def _timed(shape: Shape, question: Question) -> tuple[Page, float]:
    begun = time.perf_counter()
    page = await shape.ask(question)
    return page, 1e3 * (time.perf_counter() - begun)


def _instant(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 1_000_000))
