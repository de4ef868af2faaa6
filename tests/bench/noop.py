"""A worker that runs nothing: it takes every assignment and reports its end at once. A process of its own.

So that the control plane is measured and not what runs on agents. The stream is the SDK's own, and so is the executor
that it offers, `function`; what is simulated is only the function. `worker.py` starts it and speaks with it in lines.
It can be many workers at once, each with a connection of its own.
"""

import argparse
import asyncio
import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence

import grpc.aio
import uvloop
from pawl.channel import CHANNEL_OPTIONS
from pawl.link import PROTOCOL_VERSION, Link, Result, boot_clock
from pawl.v1 import agent_pb2, task_pb2

from tests.bench.lines import Mouth, spoken

FUNCTION = "bench.noop"


class Noop:
    """One worker with so many slots, of which it offers `offered`. Starts are instants of `time.perf_counter`, which on
    this system is one clock for all processes.
    """

    def __init__(self, address: str, *, slots: int, offered: int, starts: bool, mouth: Mouth, label: str = "") -> None:
        self._slots = slots
        self._labels = dict([label.split("=", 1)]) if label else {}
        self._offered = offered
        self._starts = starts
        self._mouth = mouth
        self._name = f"bench-{uuid.uuid4().hex[:8]}"
        self._held: dict[tuple[str, int], agent_pb2.InstanceRef] = {}
        # Workers of one process would share one connection else.
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._link = Link(self._channel, self)

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

    # The peer of the link.

    def hello(self) -> agent_pb2.Hello:
        """Who it is."""
        return agent_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            agent_id=self._name,
            state_id=self._name,
            generation=1,
            executors=[agent_pb2.ExecutorInfo(name=one) for one in ("function", "process")],
            functions=[agent_pb2.FunctionInfo(name=FUNCTION, code_version="1")],
            slots=self._slots,
            labels=self._labels,
            hostname=socket.gethostname(),
            agent_version="bench",
            finished=list(self._held.values()),
            pid=os.getpid(),
        )

    def reconciled(self, welcome: agent_pb2.Welcome, reconcile: agent_pb2.Reconcile) -> None:
        """A stream is open."""
        self._link.credits(self._offered)
        self._mouth.say(connected=True)

    def assigned(self, items: Sequence[agent_pb2.Assign.Item]) -> None:
        """Take all, finish all."""
        now, boot = time.perf_counter(), boot_clock()
        for item in items:
            ref = item.instance
            self._held[ref.instance_id, ref.token] = ref
            end = agent_pb2.Finished.Item(instance=ref, status=task_pb2.Task.SUCCEEDED, exit_code=0)
            self._link.finished(Result(end, finished_at=boot, started_at=boot))
        self._link.accept([item.instance for item in items], [])
        self._link.credits(self._offered)
        if self._starts:
            self._mouth.say(started=[[item.instance.task_id, now] for item in items])

    def acknowledged(self, results: Iterable[Result]) -> None:
        """These are durable."""
        count = 0
        for result in results:
            count += self._held.pop(result.key, None) is not None
        if count:
            self._mouth.say(acknowledged=count)

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
        self._mouth.say(connected=False)

    def metrics(self) -> agent_pb2.AgentMetrics:
        """Nobody asks."""
        return agent_pb2.AgentMetrics()


def main() -> None:
    """One worker or several alike, until they are told to leave or nobody is there to tell them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.noop")
    parser.add_argument("address")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--offered", type=int, required=True)
    parser.add_argument("--starts", action="store_true", help="tell of each start")
    parser.add_argument("--label", default="", help="key=value")
    parser.add_argument("--streams", type=int, default=1, help="how many workers it is")
    given = parser.parse_args()

    async def serve() -> None:
        async with spoken() as (lines, mouth):

            def one() -> Noop:
                return Noop(given.address, slots=given.slots, offered=given.offered, starts=given.starts, mouth=mouth,
                            label=given.label)  # fmt: skip

            noops = [one() for _ in range(given.streams)]
            async with asyncio.TaskGroup() as group:
                for noop in noops:
                    group.create_task(noop.run())
                async for line in lines:
                    if line.startswith(b"offer "):
                        for noop in noops:
                            noop.offer(int(line[6:]))
                    elif line == b"leave\n":
                        break
                for noop in noops:
                    noop.leave()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
