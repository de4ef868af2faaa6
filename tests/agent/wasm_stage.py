"""What the tests of plugins stand on: guests written as WAT, a launcher of real processes, a sink that remembers.

Not a fake of anything: the executor, the zygote and Extism are the real ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pawl.tracing import Trace
from wasmtime import wat2wasm

from agent.executors.base import Limits, LogStream, Outcome, Payload, Running, Work
from agent.executors.host_calls import HostCalls
from agent.executors.wasm import WasmExecutor
from agent.executors.wasm_budget import Ceiling

WITHIN = 20.0
"""Seconds after which a fact that did not come fails the test."""

IMPORTS = """
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
  (import "extism:host/env" "log_warn" (func $log_warn (param i64)))
  (import "pawl" "call" (func $pawl (param i64) (result i64)))
"""

SUPPORT = """
  (func $handle (param $at i32) (param $n i32) (result i64) (local $h i64) (local $i i32)
    (local.set $h (call $alloc (i64.extend_i32_u (local.get $n))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (call $store_u8 (i64.add (local.get $h) (i64.extend_i32_u (local.get $i)))
        (i32.load8_u (i32.add (local.get $at) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $h))
  (func $put (param $h i64) (call $output_set (local.get $h) (call $length (local.get $h))))
  (func $spin (loop $again (br $again)))
"""


def guest(body: str, *, imports: str = "", memory: str = "(memory 1)", **texts: str) -> bytes:
    """A plugin out of WAT. Each text is a function `$name` that gives a handle to it."""
    parts, at = [], 0
    for name, text in texts.items():
        data = text.encode()
        escaped = "".join(f"\\{byte:02x}" for byte in data)
        parts.append(f'(data (i32.const {at}) "{escaped}")')
        parts.append(f"(func ${name} (result i64) (call $handle (i32.const {at}) (i32.const {len(data)})))")
        at += len(data)
    return bytes(wat2wasm(f"(module {IMPORTS} {imports} {memory} {SUPPORT} {' '.join(parts)} {body})"))


def execute(code: str, **texts: str) -> bytes:
    """A plugin whose `execute_task` is this code, in the form without a result."""
    return guest(f'(func (export "execute_task") {code})', **texts)


def digest(module: bytes) -> str:
    return hashlib.sha256(module).hexdigest()


@dataclass
class RecordingSink:
    """Keeps what a run says."""

    lines: list[tuple[LogStream, bytes]] = field(default_factory=list)
    reports: list[tuple[float, str]] = field(default_factory=list)
    starts: int = 0
    beats: int = 0
    spoke: asyncio.Event = field(default_factory=asyncio.Event)

    def log(self, stream: LogStream, data: bytes) -> None:
        self.lines.append((stream, data))
        self.spoke.set()

    def progress(self, percent: float, message: str) -> None:
        self.reports.append((percent, message))
        self.spoke.set()

    def heartbeat(self) -> None:
        self.beats += 1
        self.spoke.set()

    def started(self) -> None:
        self.starts += 1

    def ended(self) -> None:
        pass

    def text(self, stream: LogStream = LogStream.LOG) -> str:
        return b"".join(data for kind, data in self.lines if kind is stream).decode()


class Process:
    """A Child in a session of its own."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen

    async def wait(self) -> int:
        return await asyncio.to_thread(self._popen.wait)

    def kill_group(self, sig: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, sig)


SEAT = """
import os, sys
for pair in sys.argv[1].split():
    os.dup2(*map(int, pair.split(":")))
os.execv(sys.argv[2], sys.argv[2:])
"""


class RealLauncher:
    """Starts real processes."""

    def __init__(self) -> None:
        self.started: list[Process] = []

    async def start(
        self, key: str, argv: list[str], env: dict[str, str], cwd: str, fds: list[tuple[int, int]]
    ) -> Process:
        pairs = " ".join(f"{here}:{there}" for here, there in fds)
        command = [sys.executable, "-c", SEAT, pairs, *argv]
        popen = subprocess.Popen(command, env=env, cwd=cwd, start_new_session=True, pass_fds=[here for here, _ in fds])  # noqa: ASYNC220  # the keeper's way, a vfork
        process = Process(popen)
        self.started.append(process)
        return process

    def take_charge(self, key: str, pidfd: int) -> None:
        """Nobody counts leases here."""
        os.close(pidfd)

    def let_go(self, key: str) -> None:
        """Nothing is kept of it."""


class Stage:
    """A running executor with plugins to fetch."""

    def __init__(self, folder: Path, host_calls: HostCalls | None = None, ceiling: Ceiling | None = None) -> None:
        self.plugins: dict[str, bytes] = {}
        self.fetches: list[str] = []
        self.launcher = RealLauncher()
        self.host_calls = host_calls or HostCalls()
        self.executor = WasmExecutor(
            self.launcher, self._fetch, folder, ceiling=ceiling or Ceiling(), host_calls=self.host_calls
        )
        self._count = 0

    async def _fetch(self, wanted: str) -> bytes:
        self.fetches.append(wanted)
        await asyncio.sleep(0)
        return self.plugins[wanted]

    @property
    def zygote(self) -> Process:
        return self.launcher.started[-1]

    def add(self, module: bytes) -> str:
        self.plugins[digest(module)] = module
        return digest(module)

    def work(
        self,
        module: bytes,
        *,
        entry: str | None = None,
        config: Mapping[str, object] | None = None,
        parameters: Payload | None = None,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Work:
        self._count += 1
        settings: dict[str, object] = {"plugin": self.add(module)}
        if entry is not None:
            settings["entry"] = entry
        if config is not None:
            settings["config"] = config
        return Work(
            namespace_id="default",
            task_id=f"task-{self._count}",
            instance_id=f"instance-{self._count}",
            token=1,
            attempt=2,
            job_name="a-plugin",
            executor="wasm",
            settings=settings,
            environment=environment or {},
            parameters=parameters,
            limits=limits or Limits(),
            trace=Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=abc", "customer=1"),
        )

    async def start(self, work: Work, sink: RecordingSink | None = None) -> Running:
        async with asyncio.timeout(WITHIN):
            return await self.executor.launch(work, sink or RecordingSink())

    async def run(self, work: Work, sink: RecordingSink | None = None) -> Outcome:
        running = await self.start(work, sink)
        return await outcome(running)

    async def close(self) -> None:
        try:
            await self.executor.close()
        finally:
            for process in self.launcher.started:
                process.kill_group(signal.SIGKILL)


@asynccontextmanager
async def opened(
    folder: Path, *, host_calls: HostCalls | None = None, ceiling: Ceiling | None = None
) -> AsyncIterator[Stage]:
    """An executor that is open, and closed with all it started at the end."""
    stage = Stage(folder, host_calls, ceiling)
    await stage.executor.open()
    serving = asyncio.get_running_loop().create_task(stage.host_calls.serve())
    try:
        yield stage
    finally:
        await stage.close()
        serving.cancel()
        await asyncio.wait([serving])


async def outcome(running: Running) -> Outcome:
    async with asyncio.timeout(WITHIN):
        return await running.wait()
