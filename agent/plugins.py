"""Plugins between the control plane and the WASM executor: fetched by digest, and the first compile is reported.

The control plane never compiles a plugin; the first agent that does tells it whether that works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import grpc
import grpc.aio
from pawl.v1 import plugin_pb2, plugin_pb2_grpc

from agent.executors.base import Executor, LaunchError, Running, Sink, Work

LARGEST_PLUGIN_BYTES: Final = 32 << 20
FETCH_SECONDS: Final = 60.0
REPORT_SECONDS: Final = 5.0
COMPILE_FAILED: Final = "PLUGIN_COMPILE_FAILED"

Metadata = tuple[tuple[str, str], ...]

log = logging.getLogger("pawl.agent.plugins")


class PluginSource:
    """The control plane's plugins. A digest is looked up in the namespace of the work that names it."""

    def __init__(self, channel: grpc.aio.Channel, agent_id: str, metadata: Callable[[], Metadata] = tuple) -> None:
        self._stub = plugin_pb2_grpc.PluginServiceStub(channel)
        self._agent_id = agent_id
        self._metadata = metadata
        self._namespaces: dict[str, str] = {}

    def note(self, digest: str, namespace_id: str) -> None:
        """Remember where a digest may be asked for."""
        self._namespaces[digest] = namespace_id

    async def fetch(self, digest: str) -> bytes:
        """The module's bytes. LookupError: there is none."""
        request = plugin_pb2.DownloadPluginRequest(id=digest, namespace_id=self._namespaces.get(digest, ""))
        data = bytearray()
        try:
            async for piece in self._stub.DownloadPlugin(request, timeout=FETCH_SECONDS, metadata=self._metadata()):
                data += piece.data
                if len(data) > LARGEST_PLUGIN_BYTES:
                    raise LookupError(f"it is larger than {LARGEST_PLUGIN_BYTES} bytes")
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LookupError(error.details() or "not found") from error
            raise ConnectionError(f"{error.code().name}: {error.details()}") from error
        return bytes(data)

    async def report(self, digest: str, reason: str | None) -> bool:
        """Say that a plugin compiles, or why not. Whether that was taken."""
        request = plugin_pb2.ReportPluginRequest(
            id=digest,
            namespace_id=self._namespaces.get(digest, ""),
            agent_id=self._agent_id,
            compiles=reason is None,
            reason=reason or "",
        )
        try:
            await self._stub.ReportPlugin(request, timeout=REPORT_SECONDS, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            log.warning("plugin %s could not be reported: %s", digest[:12], error.details())
            return False
        return True


class ReportingExecutor:
    """The WASM executor, with a word to the control plane after the first launch of each plugin."""

    def __init__(self, inner: Executor, source: PluginSource) -> None:
        self.name = inner.name
        self._inner = inner
        self._source = source
        self._reported: set[str] = set()
        self._reports: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue(maxsize=256)

    async def open(self) -> None:
        """See the executor."""
        await self._inner.open()

    async def launch(self, work: Work, sink: Sink) -> Running:
        """See the executor."""
        digest = str(work.settings.get("plugin", ""))
        self._source.note(digest, work.namespace_id)
        try:
            running = await self._inner.launch(work, sink)
        except LaunchError as error:
            if error.failure.code == COMPILE_FAILED:
                self._report(digest, error.failure.message)
            raise
        self._report(digest, None)
        return running

    async def close(self) -> None:
        """See the executor."""
        await self._inner.close()

    def _report(self, digest: str, reason: str | None) -> None:
        if digest not in self._reported and not self._reports.full():
            self._reported.add(digest)
            self._reports.put_nowait((digest, reason))

    async def run(self) -> None:
        """Send the reports, for ever; one that fails is made again by the next launch."""
        while True:
            digest, reason = await self._reports.get()
            if not await self._source.report(digest, reason):
                self._reported.discard(digest)
