"""The plugins an agent has on its disk: fetched by digest, verified, validated, kept.

What is kept is only ever what its name says: the digest is checked when the bytes arrive and again when a file is first
used after a start. It is a cache and not a registry: losing it costs a download.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pawl.plugin_metadata import Metadata
from pawl.wasm import Module, ModuleRefused, validate, with_table_limit

from agent.executors.base import Failure, LaunchError

Fetch = Callable[[str], Awaitable[bytes]]
"""Downloads a plugin by its digest. LookupError: there is no such plugin. Anything else: it may work later."""

MAX_KEPT_BYTES: Final = 1 << 30
"""Of all files together; the ones used longest ago go first."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is on the disk and that Pawl takes.

    What runs is not the module itself but the same with a limit on its tables: the runtime has none of its own.
    """

    digest: str
    path: Path
    run_digest: str
    module: Module


class PluginStore:
    """Finds plugins by digest; each is fetched and checked once, however many runs ask at the same time."""

    def __init__(self, folder: Path, fetch: Fetch, table_elements: Callable[[Metadata | None], int]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._table_elements = table_elements
        self._known: dict[str, Plugin] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)  # compiled code is looked up by these bytes: nobody else may change them
        for pattern in ("*.part", "*.run"):
            for left in self._folder.glob(pattern):
                left.unlink(missing_ok=True)

    async def get(self, digest: str) -> Plugin:
        """The plugin of this digest; LaunchError says why there is none."""
        known = self._known.get(digest)
        if known is not None and known.path.exists():
            return known
        lock = self._locks.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                known = self._known.get(digest)
                if known is None or not known.path.exists():
                    known = self._known[digest] = await self._obtain(digest)
                return known
        finally:
            self._locks.pop(digest, None)

    async def _obtain(self, digest: str) -> Plugin:
        path = self._folder / f"{digest}.wasm"
        data = await asyncio.to_thread(_read_verified, path, digest)
        if data is None:
            data = await self._download(digest)
            await asyncio.to_thread(self._keep, path, data)
        try:
            return await asyncio.to_thread(self._prepare, digest, data)
        except ModuleRefused as refused:
            message = f"plugin {digest[:12]} is refused ({refused.reason.value}): {refused.message}"
            raise LaunchError(Failure("PLUGIN_REFUSED", message, retryable=False)) from None

    def _prepare(self, digest: str, data: bytes) -> Plugin:
        """Check the module and write what runs. Written anew after each start: its limit is this agent's setting."""
        module = validate(data, None)
        limited = with_table_limit(data, self._table_elements(module.metadata))
        path = self._folder / f"{digest}.run"
        self._keep(path, limited)
        return Plugin(digest, path, hashlib.sha256(limited).hexdigest(), module)

    async def _download(self, digest: str) -> bytes:
        try:
            data = await self._fetch(digest)
        except LookupError as error:
            message = f"no plugin with the digest {digest}: {error}"
            raise LaunchError(Failure("PLUGIN_NOT_FOUND", message, retryable=False)) from error
        except Exception as error:  # whatever the transport raises: the run cannot start now, and may later
            raise LaunchError(Failure("PLUGIN_FETCH_FAILED", f"plugin {digest} did not arrive: {error}")) from error
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            message = f"asked for the plugin {digest}, got bytes with the digest {found}"
            raise LaunchError(Failure("PLUGIN_DIGEST_MISMATCH", message))
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LaunchError(
                Failure("PLUGIN_FETCH_FAILED", f"the plugin cannot be kept in {path}: {error}")
            ) from error
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self._folder.iterdir())
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total <= MAX_KEPT_BYTES:
                return
            if file.stem != newest.stem:
                file.unlink(missing_ok=True)
                total -= size


def _read_verified(path: Path, digest: str) -> bytes | None:
    """The file's bytes if they are what its name says; None if there is no such file. A damaged one is removed."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() == digest:
        with suppress(OSError):
            os.utime(path)
        return data
    path.unlink(missing_ok=True)
    return None
