"""The task functions of the matrix, and the worker that runs them: `python functions.py SERVER NAME DATA_DIR`.

Each kind is there twice, inline and in a process of its own. What a function needs to know is in its job's environment.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pawl
from pawl.context import Context

SLOTS = 16

inline = pawl.Workflow("inline")
forked = pawl.Workflow("forked")


async def _held(ctx: Context) -> None:
    """Show itself at the endpoint, and wait there until it may go on."""
    ctx.log("before")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ctx.environment["ENDPOINT"]))
    try:
        writer.write(f"GET /held/{ctx.job} HTTP/1.0\r\n\r\n".encode())
        assert (await reader.read(12)).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
    ctx.log("after")


def _held_blocking(ctx: Context) -> None:
    """The same, in code that is not async, and with a stray."""
    ctx.log("before")
    subprocess.Popen(["sh", "-c", "trap '' TERM; exec setsid sleep 1000"])
    with socket.create_connection(("127.0.0.1", int(ctx.environment["ENDPOINT"]))) as connection:
        connection.sendall(f"GET /held/{ctx.job} HTTP/1.0\r\n\r\n".encode())
        assert connection.recv(12).startswith(b"HTTP/1.1 200")
    ctx.log("after")


@inline.task("success")
async def inline_success(ctx: Context) -> str:
    ctx.log("before")
    ctx.log("after")
    return "done"


@inline.task("held")
async def inline_held(ctx: Context) -> str:
    await _held(ctx)
    return "done"


@inline.task("exit-code")
async def inline_exit_code(_: Any = None) -> None:
    sys.exit(3)


@inline.task("exception")
async def inline_exception(_: Any = None) -> None:
    raise ValueError("boom")


@inline.task("output-flood")
async def inline_output_flood(size: int) -> str:
    return "x" * (size - 2)


@forked.task("success", isolation="process")
def forked_success(ctx: Context) -> str:
    ctx.log("before")
    ctx.log("after")
    return "done"


@forked.task("held", isolation="process")
def forked_held(ctx: Context) -> str:
    _held_blocking(ctx)
    return "done"


@forked.task("exit-code", isolation="process")
def forked_exit_code(_: Any = None) -> None:
    os._exit(3)


@forked.task("exception", isolation="process")
def forked_exception(_: Any = None) -> None:
    raise ValueError("boom")


@forked.task("signal", isolation="process")
def forked_signal(_: Any = None) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@forked.task("memory", isolation="process")
def forked_memory(megabytes: int) -> int:
    return len(b"x" * (megabytes << 20))


@forked.task("output-flood", isolation="process")
def forked_output_flood(size: int) -> str:
    return "x" * (size - 2)


@forked.task("fork-bomb", isolation="process")
def forked_fork_bomb(processes: int) -> None:
    left = processes
    while left:
        try:
            subprocess.Popen(["sleep", "1000"])
            left -= 1
        except OSError:  # as many as there may be: go on trying
            time.sleep(0.05)
    time.sleep(1000)


if __name__ == "__main__":
    server, name, data_dir = sys.argv[1:]
    worker = pawl.Worker(
        inline, forked, server=server, name=name, data_dir=data_dir, slots=SLOTS, drain_timeout=5, register=False
    )
    worker.run()
