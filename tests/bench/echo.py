"""F1, the floor of a call: an empty unary gRPC call, as often as the same callers can make it in the same run.

The server is a process of its own, set up as Pawl's gRPC front is (the same library and options, the same loop); it
reads nothing, decides nothing, stores nothing. What a call of Pawl costs beside it is Pawl.
"""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import uvloop
from pawl.channel import CHANNEL_OPTIONS

from controlplane.api.grpc_wire import Limits
from tests.bench.plane import cpu_seconds
from tests.postgres import die_with_parent

METHOD = "bench.Echo/Call"
CALLERS = 64
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Echo:
    """A server that answers nothing to nothing."""

    channel: grpc.aio.Channel
    pid: int

    async def rate(self, count: int, callers: int = CALLERS) -> tuple[float, float, float]:
        """Calls a second, and CPU microseconds a call of the server and of the callers."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/{METHOD}")
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await call(b"", timeout=30.0)

        server, own, begun = cpu_seconds(self.pid), time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
        seconds = time.perf_counter() - begun
        each = 1e6 / count
        return count / seconds, (cpu_seconds(self.pid) - server) * each, (time.process_time() - own) * each


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Echo]:
    """One, ended with the block or with us."""
    child = subprocess.Popen(  # noqa: ASYNC220 # a start of milliseconds, before anything is measured
        [sys.executable, "-m", "tests.bench.echo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call: takes no lock that a thread could hold
    )
    try:
        assert child.stdout is not None
        port = int(await asyncio.to_thread(child.stdout.readline))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=list(CHANNEL_OPTIONS)) as channel:
            echo = Echo(channel, child.pid)
            await echo.rate(200)
            yield echo
    finally:
        child.terminate()
        child.wait(STOP_SECONDS)
        assert child.stdout is not None
        child.stdout.close()


async def _answer(request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    return request


async def _serve() -> None:
    server = grpc.aio.server(options=Limits().options())
    service, _, method = METHOD.partition("/")
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {method: grpc.unary_unary_rpc_method_handler(_answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
