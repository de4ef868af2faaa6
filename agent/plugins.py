"""Plugins between the control plane and the WASM executor: fetched, trusted or not, granted what they are; reported.

The control plane never compiles a plugin; the first agent that does tells it whether that works. Whose signature counts
is this agent's setting and nobody else's: a control plane in wrong hands can hand out modules, but not make them run
where signatures are asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import grpc
import grpc.aio
from pawl.v1 import plugin_pb2, plugin_pb2_grpc

from agent.executors.base import Executor, Failure, LaunchError, Running, Sink, Work
from agent.executors.host_calls import Grant
from agent.executors.wasm import DIGEST

LARGEST_PLUGIN_BYTES: Final = 32 << 20
FETCH_SECONDS: Final = 60.0
REPORT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 5.0
GRANT_SECONDS: Final = 2.0
"""How long a grant that was read holds: so long may one be used that was revoked meanwhile."""
GRANTS_KEPT: Final = 256
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

    async def look(self, namespace_id: str, digest: str) -> plugin_pb2.Plugin:
        """What the control plane knows of a plugin. LookupError: there is none. ConnectionError: unknown just now."""
        request = plugin_pb2.GetPluginRequest(id=digest, namespace_id=namespace_id)
        try:
            return await self._stub.GetPlugin(request, timeout=LOOK_SECONDS, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LookupError(error.details() or "not found") from error
            raise ConnectionError(f"{error.code().name}: {error.details()}") from error

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


class Grants:
    """What plugins are allowed, as the control plane says; read again when it is older than a moment.

    An answer that does not come grants nothing: what was allowed before may have been revoked meanwhile.
    """

    def __init__(self, source: PluginSource) -> None:
        self._source = source
        self._read: dict[tuple[str, str], tuple[float, Grant]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def find(self, namespace_id: str, digest: str) -> Grant:
        """The grant of a plugin. Raises LookupError, ConnectionError."""
        key = (namespace_id, digest)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:  # many calls at once are one look
                until, grant = self._read.get(key, (0.0, Grant()))
                if time.monotonic() < until:
                    return grant
                found = (await self._source.look(namespace_id, digest)).grant
                grant = Grant(tuple(found.http), tuple(found.http_private), tuple(found.secrets))
                self._read.pop(key, None)
                self._read[key] = time.monotonic() + GRANT_SECONDS, grant
                while len(self._read) > GRANTS_KEPT:
                    del self._read[next(iter(self._read))]
                return grant
        finally:
            if not lock.locked():
                self._locks.pop(key, None)


class Trust:
    """Whether a plugin may run here: signed with a key that this agent trusts, or with any, where none is named."""

    def __init__(self, source: PluginSource, keys: Sequence[str] = ()) -> None:
        self._source = source
        self._keys = frozenset(keys)
        self._trusted: set[tuple[str, str]] = set()

    async def check(self, namespace_id: str, digest: str) -> None:
        """LaunchError if it may not, or if nobody can say just now. A good signature stays good."""
        if not self._keys or (namespace_id, digest) in self._trusted or not DIGEST.fullmatch(digest):
            return  # the executor itself refuses what is no digest
        try:
            found = await self._source.look(namespace_id, digest)
        except LookupError as error:
            raise LaunchError(Failure("PLUGIN_NOT_FOUND", f"no plugin {digest}: {error}", retryable=False)) from None
        except ConnectionError as error:
            message = f"the signatures of plugin {digest[:12]} cannot be read: {error}"
            raise LaunchError(Failure("PLUGIN_FETCH_FAILED", message)) from None
        if not any(self._is_good(one, digest) for one in found.signatures):
            raise LaunchError(Failure("PLUGIN_UNTRUSTED", self._words(found, digest), retryable=False))
        self._trusted.add((namespace_id, digest))

    def _is_good(self, one: plugin_pb2.PluginSignature, digest: str) -> bool:
        from pawl import signatures  # cryptography, 9 MB: only where keys are used

        # Verified here, whatever the control plane has verified before.
        return one.public_key in self._keys and signatures.verify(one.public_key, digest, one.signature)

    def _words(self, found: plugin_pb2.Plugin, digest: str) -> str:
        from pawl import signatures

        wanted = ", ".join(sorted(map(signatures.key_id, self._keys)))
        by = ", ".join(one.key_id for one in found.signatures)
        signed = f"signed with {by}" if by else "not signed"
        return f"plugin sha256:{digest} is {signed}; this agent runs what is signed with {wanted}"


class ReportingExecutor:
    """The WASM executor: asks whether a plugin is trusted before, tells the control plane whether it compiles after."""

    def __init__(self, inner: Executor, source: PluginSource, trust: Trust | None = None) -> None:
        self.name = inner.name
        self.can_pause: bool = getattr(inner, "can_pause", False)
        self.not_held: Mapping[str, str] = getattr(inner, "not_held", {})
        self._inner = inner
        self._source = source
        self._trust = trust or Trust(source)
        self._reported: set[str] = set()
        self._reports: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue(maxsize=256)

    async def open(self) -> None:
        """See the executor."""
        await self._inner.open()

    async def launch(self, work: Work, sink: Sink) -> Running:
        """See the executor."""
        digest = str(work.settings.get("plugin", ""))
        self._source.note(digest, work.namespace_id)
        await self._trust.check(work.namespace_id, digest)
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
