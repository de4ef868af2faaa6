"""Runs tasks as WebAssembly plugins, never inside the agent.

A plugin is code that nobody here wrote, run by a large native library: the ways it can crash, hang or fill the process
around it are known and many. So it runs in a process of its own, forked from a zygote that has it compiled; the agent
reads what comes from there within limits, and ends it from outside.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from pawl.wasm import DEFAULT_ENTRY, PAGE_BYTES, ModuleRefused

import agent
from agent.executors import wasm_messages as wire
from agent.executors.base import Failure, LaunchError, LogStream, Running, Sink, Work
from agent.executors.host_calls import Caller, HostCalls
from agent.executors.plugin_store import Fetch, Plugin, PluginStore
from agent.executors.wasm_budget import DEFAULT_CEILING, Budget, Ceiling, table_elements
from agent.executors.wasm_run import FrameChannel, Host, OutputPipe, WasmRun
from agent.executors.zygote_link import Launcher, ZygoteLink
from agent.keeper import KeeperLost

DEFAULT_OPEN_FILES: Final = 64
CLOSE_GRACE_SECONDS: Final = 0.0
MAX_CONFIG_BYTES: Final = 1 << 20
LARGE_BYTES: Final = 512 << 10
"""A plugin beyond it is forked from another zygote. A fork copies the tables of all pages that its parent has: one of
megabytes would slow every run of a small one (a fork of 6 ms became one of 11)."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class WasmSettings:
    """A job's settings for this executor, checked."""

    plugin: str
    entry: str = DEFAULT_ENTRY
    config: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> WasmSettings:
        """LaunchError names the field that is wrong."""
        plugin, entry, config = settings.get("plugin"), settings.get("entry") or DEFAULT_ENTRY, settings.get("config")
        if not isinstance(plugin, str) or not DIGEST.fullmatch(plugin):
            raise _invalid("plugin", "must be the plugin's sha256 digest, 64 hex digits in lower case")
        if not isinstance(entry, str):
            raise _invalid("entry", "must be the name of an exported function")
        if config is None:
            config = {}
        if not isinstance(config, Mapping):
            raise _invalid("config", "must be a map of strings")
        for key, value in config.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise _invalid(f"config.{key}", "must be a string")
        if sum(len(key) + len(value) for key, value in config.items()) > MAX_CONFIG_BYTES:
            raise _invalid("config", f"takes more than {MAX_CONFIG_BYTES} bytes")
        return cls(plugin, entry, dict(config))


def _invalid(name: str, message: str) -> LaunchError:
    return LaunchError(Failure("INVALID_SETTINGS", f"settings.{name}: {message}", retryable=False))


class WasmExecutor:
    """The Executor named `wasm`.

    `state_dir` becomes a folder of the agent's own (0700): it holds plugins and native code compiled from them.
    """

    name = "wasm"
    can_pause = True

    def __init__(
        self,
        launcher: Launcher,
        fetch: Fetch,
        state_dir: Path,
        *,
        ceiling: Ceiling = DEFAULT_CEILING,
        host_calls: HostCalls | None = None,
    ) -> None:
        """`host_calls` must be served by whoever made it; without it nothing is granted to any plugin."""
        self._launcher = launcher
        self._state_dir = state_dir
        self._store = PluginStore(state_dir / "plugins", fetch, partial(table_elements, ceiling))
        self._ceiling = ceiling
        self._host_calls = host_calls or HostCalls()
        self._zygotes: dict[bool, ZygoteLink] = {}
        self._zygote_lock = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._runs: set[WasmRun] = set()
        self._closed = False

    async def open(self) -> None:
        """Start the zygote. Raises RuntimeError if plugins cannot run here."""
        if importlib.util.find_spec("extism_sys") is None:
            raise RuntimeError("plugins need the package extism, which is not installed")
        if not sys.platform.startswith("linux"):
            raise RuntimeError(f"plugins run on Linux only for now, this is {sys.platform}")
        self._closed = False
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state_dir.chmod(0o700)
        self._store.open()
        cache = self._state_dir / "compiled"
        cache.mkdir(mode=0o700, exist_ok=True)
        cache.chmod(0o700)  # holds native code: who can write here runs code in the zygote
        self._cache_settings.write_text(f"[cache]\ndirectory = {_toml(str(cache.resolve()))}\n", encoding="utf-8")
        try:
            await self._living_zygote(large=False)
        except (OSError, TimeoutError, KeeperLost) as error:
            raise RuntimeError(f"the process that plugins are forked from does not start: {error}") from error

    async def launch(self, work: Work, sink: Sink) -> Running:
        settings = WasmSettings.of(work.settings)
        plugin = await self._store.get(settings.plugin)
        try:
            plugin.module.check_entry(settings.entry)
        except ModuleRefused as refused:
            raise _invalid("entry", refused.message) from None
        metadata = plugin.module.metadata
        budget = Budget.of(self._ceiling, work.limits, metadata)
        _check_memory(plugin, budget)
        try:
            zygote = await self._living_zygote(large=plugin.module.size > LARGE_BYTES)
        except (OSError, TimeoutError, KeeperLost) as error:
            raise LaunchError(Failure("SPAWN_FAILED", f"no process for plugins: {error}")) from error
        number = next(self._numbers)
        entry = None if metadata is None else metadata.entry(settings.entry)
        host = Host(
            kill=partial(zygote.kill, number),
            hold=partial(zygote.hold, number),
            give_up=zygote.give_up,
            charge=partial(self._launcher.take_charge, work.key),
            caller=Caller(work.namespace_id, plugin.digest, budget.http_calls),
            ask=self._host_calls.submit,
        )
        run = WasmRun(_begin(work, settings, budget), budget, sink, entry, host)
        message = wire.Launch(
            run=number,
            digest=plugin.run_digest,
            path=str(plugin.path),
            wasi=plugin.module.wasi,
            memory_bytes=budget.memory_bytes,
            cpu_seconds=budget.cpu_seconds,
            open_files=max(work.limits.open_files or DEFAULT_OPEN_FILES, 16),
            cpu_cores=work.limits.cpu_cores,
        )
        self._runs.add(run)
        run.on_end(lambda: self._ended(work.key, run))
        try:
            await zygote.launch(message, await self._channels(run, plugin), run)
        except OSError as error:
            run.abandon()
            raise LaunchError(Failure("SPAWN_FAILED", f"no process for the plugin: {error}")) from error
        except BaseException:
            run.abandon()
            raise
        sink.started()
        return run

    def _ended(self, key: str, run: WasmRun) -> None:
        self._launcher.let_go(key)
        self._runs.discard(run)

    async def close(self) -> None:
        """Kill every run and end the zygote."""
        self._closed = True
        for run in tuple(self._runs):
            await run.stop(CLOSE_GRACE_SECONDS)
        async with self._zygote_lock:
            while self._zygotes:
                await self._zygotes.popitem()[1].close()

    @property
    def _cache_settings(self) -> Path:
        return self._state_dir / "compiled.toml"

    async def _living_zygote(self, *, large: bool) -> ZygoteLink:
        """The zygote for large plugins or the one for all others; the former begins with the first that needs it."""
        async with self._zygote_lock:
            if self._closed:
                raise OSError("the executor is closed")
            zygote = self._zygotes.get(large)
            if zygote is not None and zygote.dead:
                await self._zygotes.pop(large).close()
                zygote = None
            if zygote is None:
                zygote = ZygoteLink()
                log = "zygote-large.log" if large else "zygote.log"
                await zygote.start(self._launcher, self._environment(), self._state_dir, log)
                self._zygotes[large] = zygote
            return zygote

    def _environment(self) -> dict[str, str]:
        # Nothing of the agent's own environment: a guest's process inherits this.
        here = str(Path(agent.__file__).resolve().parent.parent)
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONPATH": here,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONSAFEPATH": "1",  # no module out of the folder it happens to start in
            "EXTISM_CACHE_CONFIG": str(self._cache_settings.resolve()),
            "EXTISM_ENABLE_WASI_OUTPUT": "1",
        }

    async def _channels(self, run: WasmRun, plugin: Plugin) -> list[int]:
        """Open the run's channels at this end; returns the descriptors of the other end, in the order of the wire."""
        loop = asyncio.get_running_loop()
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        descriptors = [theirs.detach()]
        try:
            await loop.create_unix_connection(lambda: FrameChannel(run), sock=mine)
            streams = [LogStream.STDERR, LogStream.STDOUT] if plugin.module.wasi else [LogStream.STDERR]
            for stream in streams:
                reader, writer = os.pipe()
                descriptors.append(writer)
                await loop.connect_read_pipe(partial(OutputPipe, run, stream), os.fdopen(reader, "rb"))
        except BaseException:
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)
            raise
        return descriptors


def _check_memory(plugin: Plugin, budget: Budget) -> None:
    needed = plugin.module.memory_pages * PAGE_BYTES
    if needed > budget.memory_bytes:
        message = f"the plugin begins with {needed} bytes of memory and may have {budget.memory_bytes}"
        raise LaunchError(Failure("PLUGIN_OUT_OF_MEMORY", message, retryable=False))


def _begin(work: Work, settings: WasmSettings, budget: Budget) -> wire.Begin:
    parameters = work.parameters
    return wire.Begin(
        entry=settings.entry,
        config={
            **{f"env.{name}": value for name, value in work.environment.items()},
            **settings.config,
            "task.id": work.task_id,
            "task.instance_id": work.instance_id,
            "task.attempt": str(work.attempt),
            "task.job": work.job_name,
            "task.namespace_id": work.namespace_id,
            "task.traceparent": work.trace.traceparent,
            "task.tracestate": work.trace.tracestate,
            "task.baggage": work.trace.baggage,
            "task.content_type": parameters.content_type if parameters is not None else "",
            **_shard(work),
        },
        parameters=parameters.data if parameters is not None else b"",
        output_bytes=budget.output_bytes,
        log_bytes=budget.log_bytes,
        log_lines=budget.log_lines,
        host_calls=budget.host_calls,
    )


def _shard(work: Work) -> dict[str, str]:
    if work.shard is None:
        return {}
    return {
        "task.group_id": work.shard.group_id,
        "task.shard_index": str(work.shard.index),
        "task.shard_total": str(work.shard.total),
    }


def _toml(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
