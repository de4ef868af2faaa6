"""Callers that create tasks over both fronts and repeat, with the same request id, whatever had no answer."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx
from pawl.client import Client

from tests.faults.cluster import Cluster

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1
REPEAT_EVERY = 10
"""One call of so many is made again although it was answered: a network delivers things twice."""
UNANSWERED = frozenset({502, 503, 504})


@dataclass
class Load:
    """What was asked for, and what was acknowledged."""

    cluster: Cluster
    job: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Task ids by request id."""
    repeated: int = 0
    """Calls without an answer that were made again."""

    async def run(self, tasks: int, callers: int) -> None:
        """Create so many tasks by so many callers, half of them over each front."""
        numbers = iter(range(tasks))
        limits = httpx.Limits(max_connections=callers)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            rest = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self.cluster.server.http, limits=limits, timeout=30, trust_env=False)
            )
            channels = [await stack.enter_async_context(self.cluster.client(PATIENCE_SECONDS)) for _ in range(4)]
            done = group.create_task(self._all(numbers, callers, rest, channels))
            await done

    async def _all(self, numbers: Iterator[int], callers: int, rest: httpx.AsyncClient, channels: list[Client]) -> None:
        async with asyncio.TaskGroup() as group:
            for caller, channel in zip(range(callers), itertools.cycle(channels), strict=False):
                if caller % 2:
                    group.create_task(self._over_rest(numbers, rest))
                else:
                    group.create_task(self._over_grpc(numbers, channel))

    async def _over_grpc(self, numbers: Iterator[int], pawl: Client) -> None:
        for number in numbers:
            request_id = f"grpc-{number}"
            task = await pawl.tasks.create(self.job, {"number": number}, request_id=request_id)
            self._acknowledge(request_id, task.id)
            if number % REPEAT_EVERY == 0:
                again = await pawl.tasks.create(self.job, {"number": number}, request_id=request_id)
                self._acknowledge(request_id, again.id)

    async def _over_rest(self, numbers: Iterator[int], rest: httpx.AsyncClient) -> None:
        for number in numbers:
            request_id = f"rest-{number}"
            self._acknowledge(request_id, await self._post(rest, number, request_id))
            if number % REPEAT_EVERY == 0:
                self._acknowledge(request_id, await self._post(rest, number, request_id))

    async def _post(self, rest: httpx.AsyncClient, number: int, request_id: str) -> str:
        body = {"job_id": self.job, "parameters": {"number": number}}
        giving_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < giving_up:
            try:
                answer = await rest.post("/api/v1/tasks", json=body, headers={"idempotency-key": request_id})
            except httpx.TransportError:
                pass
            else:
                if answer.status_code not in UNANSWERED:
                    assert answer.status_code == 200, answer.text
                    return str(json.loads(answer.content)["id"])
            self.repeated += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"{request_id} had no answer for {PATIENCE_SECONDS:g} s")

    def _acknowledge(self, request_id: str, task_id: str) -> None:
        known = self.acknowledged.setdefault(request_id, task_id)
        assert known == task_id, f"{request_id} made two tasks: {known} and {task_id}"
