"""R0: tasks created while no worker is connected, over gRPC and REST, one in a call and 500.

F1 is as many empty gRPC calls of as many callers. F2 is the same rows stored in the same batches. REST callers are
sockets that do next to nothing themselves (`rest.py`), gRPC callers are those of grpcio; what they cost is in the row.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pawl.connection import new_request_id

from tests.bench import rest
from tests.bench.databases import batches_since, newest
from tests.bench.report import Row
from tests.bench.stage import BATCH, NOOP, PATIENCE_SECONDS, Spent, Stage

CALLERS = 64
BATCH_CALLERS = 2
F1 = "F1: empty calls of the same callers"
F2 = "F2: raw SQL, same rows and commits"


Make = Callable[[Stage, int], Awaitable[tuple[float, list[bytes]]]]


@dataclass(frozen=True, slots=True)
class Front:
    """One way of asking: `make` creates so many tasks; it says how many a second, and the answers still to be read."""

    make: Make
    unary: bool
    row: Row


async def measure(stage: Stage) -> list[Row]:
    """The rows of R0. At the end a worker comes, so that the books can be closed."""
    await stage.make_noop()
    kind = stage.database.kind

    def front(what: str, make: Make, *, unary: bool) -> Front:
        return Front(make, unary, Row("R0", kind, what, "tasks/s", [], floor_what=F1 if unary else F2))

    fronts = [
        front(f"gRPC, {CALLERS} callers, one task in a call", _grpc, unary=True),
        front(f"REST, {CALLERS} connections, one task in a call", _rest, unary=True),
        front(f"gRPC, {BATCH_CALLERS} callers, {BATCH} tasks in a call", _grpc_batch, unary=False),
        front(f"REST, {BATCH_CALLERS} connections, {BATCH} tasks in a call", _rest_batch, unary=False),
    ]
    for _ in range(stage.repeats):
        for one in fronts:
            await _repeat(stage, one)
    for grpc, by_rest in (fronts[:2], fronts[2:]):
        by_rest.row.others["gRPC in the same run"] = grpc.row.values
    async with stage.worker(starts=False) as worker:
        await worker.acknowledged_up_to(len(stage.told), PATIENCE_SECONDS)
    return [one.row for one in fronts]


async def _repeat(stage: Stage, front: Front) -> None:
    count = stage.number(2_000, 100) if front.unary else stage.number(6_000, 1_000)
    since = newest(stage.database)
    with stage.spending(count) as spent:
        rate, answers = await front.make(stage, count)
    for answer in map(json.loads, answers):
        stage.told += [one["task"]["id"] for one in answer.get("results", [{"task": answer}])]
    inserted = batches_since(stage.database, since, ended=False).insert
    if front.unary:
        floor, _, _ = await (await stage.echo()).rate(count, CALLERS)
    else:
        floor = (await asyncio.to_thread(stage.floor.stored, count, inserted)).rate
    front.row.values.append(rate)
    front.row.floor.append(floor)
    front.row.counters = _counters(spent, inserted)


def _counters(spent: Spent, inserted: float) -> dict[str, str | float]:
    found = spent.counters()
    for without_a_worker in ("stream messages/task", "worker µs/task"):
        del found[without_a_worker]
    return {"batch": f"{inserted:.0f}"} | found


async def _grpc(stage: Stage, count: int) -> tuple[float, list[bytes]]:
    begun = time.perf_counter()
    await stage.create_each(NOOP, count, callers=CALLERS)
    return count / (time.perf_counter() - begun), []


async def _grpc_batch(stage: Stage, count: int) -> tuple[float, list[bytes]]:
    begun = time.perf_counter()
    await stage.create_many(NOOP, count, callers=BATCH_CALLERS)
    return count / (time.perf_counter() - begun), []


async def _rest(stage: Stage, count: int) -> tuple[float, list[bytes]]:
    body = json.dumps({"job_id": NOOP}).encode()
    asked = ((body, f"idempotency-key: {new_request_id()}\r\n") for _ in range(count))
    async with rest.callers(stage.plane.http, CALLERS) as made:
        begun = time.perf_counter()
        answers = await rest.each(made, asked, "/api/v1/tasks")
        seconds = time.perf_counter() - begun
    return count / seconds, answers


async def _rest_batch(stage: Stage, count: int) -> tuple[float, list[bytes]]:
    sizes = [min(BATCH, count - at) for at in range(0, count, BATCH)]
    asked = ((_requests(size), "") for size in sizes)
    async with rest.callers(stage.plane.http, BATCH_CALLERS) as made:
        begun = time.perf_counter()
        answers = await rest.each(made, asked, "/api/v1/tasks:batchCreate")
        seconds = time.perf_counter() - begun
    return count / seconds, answers


def _requests(size: int) -> bytes:
    asked = [{"task": {"job_id": NOOP}, "request_id": new_request_id()} for _ in range(size)]
    return json.dumps({"requests": asked}).encode()
