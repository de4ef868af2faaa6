"""An agent that runs nothing: it takes every assignment and reports its end at once.

So that the control plane is measured and not the start of processes. The stream is the SDK's own; what is simulated is
only the work. It counts every delivery, so that a task that was handed out twice is seen.
"""

import asyncio
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

import grpc.aio
from pawl.link import CHANNEL_OPTIONS, PROTOCOL_VERSION, Link, Result, boot_clock
from pawl.v1 import agent_pb2, task_pb2


class Worker:
    """One agent with so many slots; it begins with `offered` of them. Starts are instants of `time.perf_counter`."""

    def __init__(self, address: str, *, slots: int = 1000, offered: int | None = None) -> None:
        self.started_at: dict[str, float] = {}
        self.deliveries: Counter[str] = Counter()
        self.acknowledged_count = 0
        self.assign_messages = 0
        self.connected = asyncio.Event()
        self.slots = slots
        self._offered = slots if offered is None else offered
        self._name = f"bench-{uuid.uuid4().hex[:8]}"
        self._held: dict[tuple[str, int], agent_pb2.InstanceRef] = {}
        self._moved = asyncio.Event()
        self._channel = grpc.aio.insecure_channel(address, options=list(CHANNEL_OPTIONS))
        self._link = Link(self._channel, self)

    # What the bench says.

    async def run(self) -> None:
        """Keep the stream open until `leave`."""
        try:
            await self._link.run()
        finally:
            await self._channel.close()

    def leave(self) -> None:
        """Say goodbye once every result is acknowledged."""
        self._link.leave("the bench is over")

    def offer(self, slots: int) -> None:
        """Take so many tasks at once from now on."""
        self._offered = slots
        self._link.credits(slots)

    async def acknowledged_up_to(self, count: int, seconds: float) -> None:
        """Wait until so many results are durable. Raises TimeoutError with what was reached."""
        try:
            async with asyncio.timeout(seconds):
                while self.acknowledged_count < count:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.acknowledged_count:,} of {count:,} tasks ended in {seconds:g} s") from None

    async def start_of(self, task_id: str, seconds: float = 30.0) -> float:
        """When the task reached this worker. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while task_id not in self.started_at:
                self._moved.clear()
                await self._moved.wait()
        return self.started_at[task_id]

    # The peer of the link.

    def hello(self) -> agent_pb2.Hello:
        """Who it is."""
        return agent_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            agent_id=self._name,
            state_id=self._name,
            generation=1,
            executors=[agent_pb2.ExecutorInfo(name="process")],
            slots=self.slots,
            hostname=socket.gethostname(),
            agent_version="bench",
            finished=list(self._held.values()),
            pid=os.getpid(),
        )

    def reconciled(self, welcome: agent_pb2.Welcome, reconcile: agent_pb2.Reconcile) -> None:
        """A stream is open."""
        self._link.credits(self._offered)
        self.connected.set()

    def assigned(self, items: Sequence[agent_pb2.Assign.Item]) -> None:
        """Take all, finish all."""
        now, boot = time.perf_counter(), boot_clock()
        self.assign_messages += 1
        for item in items:
            ref = item.instance
            self.started_at.setdefault(ref.task_id, now)
            self.deliveries[ref.task_id] += 1
            self._held[ref.instance_id, ref.token] = ref
            end = agent_pb2.Finished.Item(instance=ref, status=task_pb2.Task.SUCCEEDED, exit_code=0)
            self._link.finished(Result(end, finished_at=boot, started_at=boot))
        self._link.accept([item.instance for item in items], [])
        self._link.credits(self._offered)
        self._moved.set()

    def acknowledged(self, results: Iterable[Result]) -> None:
        """These are durable."""
        for result in results:
            self._held.pop(result.key, None)
            self.acknowledged_count += 1
        self._moved.set()

    def renewed(self, sent_at: float) -> None:
        """Nothing lives long enough to need its lease."""

    def cancelled(self, items: Sequence[agent_pb2.Cancel.Item]) -> None:
        """Nothing is left to stop."""

    def paused(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Nothing runs long enough."""

    def resumed(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Nothing is held."""

    def drained(self, reason: str) -> None:
        """Nobody drains a bench."""

    def disconnected(self) -> None:
        """The link opens another stream."""
        self.connected.clear()

    def metrics(self) -> agent_pb2.AgentMetrics:
        """Nobody asks."""
        return agent_pb2.AgentMetrics()
