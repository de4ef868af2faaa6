"""What is too large for the stream, outputs and artifacts: on disk until their results are acknowledged, put piece by
piece before.

An output is written, and synced, before the result that names its digest is spooled, so whatever dies in between finds
it again; so are artifacts (`agent.artifacts`). A result is handed on to the stream when the control plane has all that
it names and has found the digests right; pieces that were put before a link was cut or a process died are not put
again. Knows nothing of how results travel: `agent.agent` hands them in and gets them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from pawl.errors import from_call
from pawl.link import Result
from pawl.v1 import agent_pb2, task_pb2

from agent.artifacts import ArtifactFolder

INLINE_BYTES: Final = 1 << 20
"""Up to here an output travels inside its result."""
PIECE_BYTES: Final = 1 << 20
CALL_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.1
LAST_PAUSE_SECONDS: Final = 5.0
PUT_AT_ONCE: Final = 2
DEFAULT_MAX_BYTES: Final = 1 << 30
REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Answers that repeating does not change: the result then goes without its output, and says so."""

Answer = agent_pb2.PutOutputResponse | agent_pb2.PutArtifactResponse
Put = Callable[[agent_pb2.PutOutputRequest], Awaitable[agent_pb2.PutOutputResponse]]
PutArtifact = Callable[[agent_pb2.PutArtifactRequest], Awaitable[agent_pb2.PutArtifactResponse]]

log = logging.getLogger("pawl.agent.outputs")


class Outputs:
    """One folder of outputs, a file for each placement, and what brings them to the control plane."""

    def __init__(
        self,
        folder: Path,
        put: Put,
        wanted: Callable[[Result], bool],
        done: Callable[[Result], None],
        *,
        agent_id: str,
        namespace_id: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        artifacts: ArtifactFolder | None = None,
        put_artifact: PutArtifact | None = None,
    ) -> None:
        """`wanted` says whether anybody still waits for a result; `done` gets each when all that it names is stored."""
        self._artifacts = artifacts
        self._put_artifact = put_artifact
        self._folder = folder
        self._put = put
        self._wanted = wanted
        self._done = done
        self._agent_id = agent_id
        self._namespace_id = namespace_id
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        self._in_memory: dict[str, bytes] = {}
        self._queue: asyncio.Queue[Result] = asyncio.Queue()
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached; then no new work should be taken."""
        return self.waiting_bytes >= self._max_bytes

    @property
    def waiting_bytes(self) -> int:
        """What lies on disk until its result is acknowledged."""
        files = 0 if self._artifacts is None else self._artifacts.waiting_bytes
        return sum(self._sizes.values()) + files

    def open(self, names: Iterable[str]) -> None:
        """Find what an earlier start left; what belongs to none of these results is removed. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = set(names)
        if self._artifacts is not None:
            self._artifacts.open(known)
        for path in self._folder.iterdir():
            if path.name in known:
                self._sizes[path.name] = path.stat().st_size
            else:
                path.unlink()

    async def keep(self, result: Result) -> None:
        """Move the output out of the result. Returns when it is on disk; a disk that fails costs only the safety."""
        item, name = result.item, name_of(result)
        data = item.output.data
        digest = await asyncio.to_thread(self._write, name, data)
        self._sizes[name] = len(data)
        item.output_content_type = item.output.content_type
        item.output_digest = digest
        item.ClearField("output")

    def submit(self, result: Result) -> None:
        """Put what it names, now or when the control plane is in reach; then `done` gets it."""
        self.waiting += 1
        self._queue.put_nowait(result)

    async def remove(self, names: Iterable[str]) -> None:
        """Forget what belongs to acknowledged results; unknown names are ignored."""
        names = list(names)
        gone = [name for name in names if self._sizes.pop(name, None) is not None]
        for name in gone:
            self._in_memory.pop(name, None)
        if gone:
            await asyncio.to_thread(self._unlink, gone)
        if self._artifacts is not None and self._artifacts.holds(names):
            await asyncio.to_thread(self._artifacts.remove, names)

    async def run(self) -> None:
        """Put what is submitted, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PUT_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            result = await self._queue.get()
            try:
                await self._bring(result)
            finally:
                self.waiting -= 1
            self._done(result)

    async def _bring(self, result: Result) -> None:
        """All that it names, however often the link is cut. What cannot be brought is named no more."""
        item = result.item
        if item.output_digest:
            why = await self._bring_one(result, self._read, self._put_piece)
            if why:
                _give_up(result, why)
        for artifact in tuple(item.artifacts):
            why = await self._bring_one(
                result,
                functools.partial(self._read_artifact, digest=artifact.digest),
                functools.partial(self._put_artifact_piece, artifact=artifact),
            )
            if why:
                log.error("artifact %r of %s does not reach the control plane: %s", artifact.name, name_of(result), why)
                item.artifacts.remove(artifact)

    async def _bring_one(
        self,
        result: Result,
        read: Callable[[str, int], bytes],
        put: Callable[[Result, int, bytes], Awaitable[Answer]],
    ) -> str:
        """One of them, piece by piece. Why it cannot be brought; empty when it is there, or not wanted any more."""
        name, offset, pause = name_of(result), 0, FIRST_PAUSE_SECONDS
        while self._wanted(result):
            try:
                answer = await put(result, offset, await asyncio.to_thread(read, name, offset))
            except grpc.aio.AioRpcError as error:
                if error.code() in REFUSALS or _is_too_large(error):
                    return f"{error.code().name}: {error.details()}"
                log.debug("what belongs to %s waits: %s", name, error.details())
            except OSError as error:
                return str(error)
            else:
                if answer.complete:
                    return ""
                moved, offset = answer.stored > offset, answer.stored
                if moved:
                    pause = FIRST_PAUSE_SECONDS
                    continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return ""

    async def _put_piece(self, result: Result, offset: int, data: bytes) -> Answer:
        return await self._put(
            agent_pb2.PutOutputRequest(
                agent_id=self._agent_id,
                namespace_id=self._namespace_id,
                instance=result.item.instance,
                digest=result.item.output_digest,
                size=self._sizes.get(name_of(result), 0),
                offset=offset,
                data=data,
            )
        )

    async def _put_artifact_piece(
        self, result: Result, offset: int, data: bytes, *, artifact: task_pb2.Artifact
    ) -> Answer:
        assert self._put_artifact is not None  # nobody else takes artifacts in
        return await self._put_artifact(
            agent_pb2.PutArtifactRequest(
                agent_id=self._agent_id,
                namespace_id=self._namespace_id,
                instance=result.item.instance,
                name=artifact.name,
                content_type=artifact.content_type,
                digest=artifact.digest,
                size=artifact.size,
                offset=offset,
                data=data,
            )
        )

    # In threads.

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / name
        new = path.with_name(f"{name}.new")
        try:
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder_fd)
            finally:
                os.close(folder_fd)
        except OSError as error:
            log.error("the output of %s is kept in memory only: %s", name, error)
            self._in_memory[name] = data
            with contextlib.suppress(OSError):
                new.unlink()
        return hashlib.sha256(data).hexdigest()

    def _read(self, name: str, offset: int) -> bytes:
        if (held := self._in_memory.get(name)) is not None:
            return held[offset : offset + PIECE_BYTES]
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)

    def _read_artifact(self, name: str, offset: int, *, digest: str) -> bytes:
        assert self._artifacts is not None
        return self._artifacts.read(name, digest, offset)

    def _unlink(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / name).unlink()


def name_of(result: Result) -> str:
    """A placement's name on disk."""
    instance = result.item.instance
    return f"{instance.instance_id}.{instance.token}"


def has_cargo(result: Result) -> bool:
    """Whether it names anything that has to be there before it."""
    return bool(result.item.output_digest or result.item.artifacts)


def _is_too_large(error: grpc.aio.AioRpcError) -> bool:
    """RESOURCE_EXHAUSTED for good, and not for want of room at this moment."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and from_call(error).reason == "TOO_LARGE"


def _give_up(result: Result, why: str) -> None:
    log.error("the output of %s does not reach the control plane: %s", name_of(result), why)
    result.item.ClearField("output_digest")
    result.item.ClearField("output_content_type")
    result.item.output_truncated = True
