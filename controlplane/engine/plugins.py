"""Plugins as people ask for them: store, read, download, report, delete.

A module is checked by its structure alone and never compiled here; the first agent that compiles it reports. Its bytes
are what it is: the same bytes again are the same plugin, whatever they are called.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
from pawl import wasm
from pawl.hosts import HostRule

from controlplane.domain.errors import AlreadyExists, Exhausted, IllegalTransition, Invalid, NotFound, Violation
from controlplane.domain.filter import Field, Kind, Queryable
from controlplane.domain.idempotency import IdempotencyKey
from controlplane.domain.plugin import (
    MAX_REASON,
    MAX_SIGNATURES,
    Grant,
    Plugin,
    PluginStatus,
    Signature,
    grant_problems,
    plugin_problems,
    reported,
)
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.idempotency import once
from controlplane.engine.lists import Question
from controlplane.store import Connection, blobs, namespaces, plugins
from controlplane.store.query import Page

MAX_MODULE_BYTES = wasm.MAX_MODULE_BYTES
MAX_ENTRIES = 1_000
NAMED = 3  # how many obstacles a refusal names

PLUGINS = Queryable(
    "plugin",
    (
        Field("digest", Kind.TEXT, indexed=True),
        Field("name", Kind.TEXT, indexed=True),
        Field("version", Kind.TEXT),
        Field(
            "status",
            Kind.ENUM,
            enum_values={one.name: int(one) for one in PluginStatus},
            enum_name="pawl.v1.Plugin.Status",
            aliases=("state",),
        ),
        Field("size", Kind.INT),
        Field("created_at", Kind.INSTANT),
    ),
    key=("digest",),
)


class Plugins:
    """The use cases of plugins."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(
        self, namespace_id: str, module: bytes, name: str, version: str, key: IdempotencyKey | None
    ) -> Plugin:
        """A stored plugin, named as asked or as it calls itself. Raises Invalid, Exhausted, AlreadyExists."""
        if len(module) > MAX_MODULE_BYTES:
            raise too_large()
        described = await asyncio.to_thread(_described, module)
        name, version = _names(described, name, version)
        described = replace(described, namespace_id=namespace_id, name=name, version=version)
        if problems := list(plugin_problems(described.name, described.version)):
            raise Invalid.fields(problems)

        def effect(connection: Connection, now: int) -> tuple[str, Plugin]:
            namespaces.hold(connection, namespace_id)
            stored = plugins.find(connection, namespace_id, described.digest)
            if stored is not None:
                _check_same(stored, described)
                return stored.digest, _once_more(connection, stored, now)
            if described.name:
                named = plugins.find_named(connection, namespace_id, described.name, described.version)
                if named is not None:
                    raise _taken(named)
            new = replace(described, created_at=now, updated_at=now)
            blobs.hold(connection, new.digest, module, now)
            plugins.insert(connection, new)
            return new.digest, new

        return await once(self._engine, key, effect, _reread(namespace_id))

    async def get(self, namespace_id: str, reference: str) -> Plugin:
        """By digest, `name@version`, or name (the newest). Raises NotFound."""
        return await self._engine.store.read(_required, namespace_id, reference)

    async def download(self, namespace_id: str, reference: str) -> AsyncIterator[bytes]:
        """The module's bytes, piece by piece. Raises NotFound."""
        found = await self.get(namespace_id, reference)
        number = 0
        while (piece := await self._engine.store.read(blobs.chunk, found.digest, number)) is not None:
            yield piece
            number += 1

    async def list(self, question: Question) -> tuple[Page, list[Plugin]]:
        """One page of plugins. Raises Invalid."""

        def read(connection: Connection) -> tuple[Page, list[Plugin]]:
            page = lists.ask(connection, PLUGINS, plugins.listing(question.namespace_id), question)
            return page, [plugins.of_row(row) for row in page.rows]

        return await self._engine.store.read(read)

    async def report(self, namespace_id: str, digest: str, *, agent_id: str, compiles: bool, reason: str) -> Plugin:
        """What an agent found out. A plugin that one agent has compiled stays READY. Raises NotFound."""

        def report(connection: Connection) -> Plugin:
            before = _required(connection, namespace_id, digest, lock=True)
            status = reported(before.status, compiles)
            why = f"{agent_id}: {reason or 'it does not compile'}"[:MAX_REASON]
            refused = why if status is PluginStatus.REJECTED else ""
            if (status, refused) == (before.status, before.reject_reason):
                return before
            after = replace(before, status=status, reject_reason=refused, updated_at=self._engine.clock.now())
            plugins.update_status(connection, after)
            return after

        return await self._engine.store.write(report)

    async def grant(
        self, namespace_id: str, reference: str, grant: Grant, by: str, request: IdempotencyKey | None
    ) -> Plugin:
        """The plugin with this grant in place of any before. Raises Invalid, NotFound."""
        problems = [*grant_problems(grant), *_host_problems("http", grant.http)]
        if problems := [*problems, *_host_problems("http_private", grant.http_private)]:
            raise Invalid.fields(problems)

        def change(before: Plugin, now: int) -> Plugin:
            same = before.grant is not None and replace(before.grant, granted_by="", granted_at=0) == grant
            return before if same else replace(before, grant=replace(grant, granted_by=by, granted_at=now))

        return await self._change_trust(namespace_id, reference, change, request)

    async def revoke(self, namespace_id: str, reference: str, request: IdempotencyKey | None) -> Plugin:
        """The plugin without a grant. Raises NotFound."""
        return await self._change_trust(namespace_id, reference, lambda before, _: replace(before, grant=None), request)

    async def sign(
        self, namespace_id: str, reference: str, public_key: str, signature: bytes, request: IdempotencyKey | None
    ) -> Plugin:
        """The plugin with this signature, one of a key at most. Raises Invalid, NotFound, Exhausted."""

        def change(before: Plugin, now: int) -> Plugin:
            new = _checked(before, public_key, signature, now)
            others = tuple(one for one in before.signatures if one.public_key != public_key)
            if any(one.signature == new.signature for one in before.signatures):
                return before
            if len(others) >= MAX_SIGNATURES:
                raise Exhausted(f"a plugin has at most {MAX_SIGNATURES} signatures", reason="TOO_LARGE")
            return replace(before, signatures=(*others, new))

        return await self._change_trust(namespace_id, reference, change, request)

    async def _change_trust(
        self,
        namespace_id: str,
        reference: str,
        change: Callable[[Plugin, int], Plugin],
        request: IdempotencyKey | None,
    ) -> Plugin:
        def effect(connection: Connection, now: int) -> tuple[str, Plugin]:
            before = _required(connection, namespace_id, reference, lock=True)
            after = change(before, now)
            if after != before:
                after = replace(after, updated_at=now)
                plugins.update_trust(connection, after)
            return after.digest, after

        return await once(self._engine, request, effect, _reread(namespace_id))

    async def delete(self, namespace_id: str, reference: str, request: IdempotencyKey | None) -> None:
        """Delete it; its bytes go with the last that refers to them. Raises NotFound, IllegalTransition (in use)."""

        def effect(connection: Connection, _: int) -> tuple[str, None]:
            before = _required(connection, namespace_id, reference, lock=True)
            if waiting := plugins.unfinished_tasks_referring(connection, namespace_id, before.digest, NAMED):
                raise _in_use(before, "unfinished tasks need it", waiting, "HAS_UNFINISHED_TASKS")
            if users := plugins.jobs_referring(connection, namespace_id, before.digest, NAMED):
                raise _in_use(before, "enabled jobs run it", users, "ILLEGAL_TRANSITION")
            plugins.delete(connection, namespace_id, before.digest)
            blobs.release(connection, before.digest)
            return before.digest, None

        await once(self._engine, request, effect, lambda _connection, _id: None)


def _host_problems(name: str, hosts: tuple[str, ...]) -> Iterator[Violation]:
    for index, host in enumerate(hosts):
        try:
            HostRule.of(host)
        except ValueError as error:
            yield Violation(f"{name}[{index}]", str(error))


def _checked(one: Plugin, public_key: str, signature: bytes, now: int) -> Signature:
    from pawl import signatures  # a server begins without the libraries for this, which take long to load

    try:
        good = signatures.verify(public_key, one.digest, signature)
    except signatures.KeyInvalid as error:
        raise Invalid.field("public_key", str(error)) from None
    if not good:
        raise Invalid.field("signature", f"was not made with this key for sha256:{one.digest}")
    return Signature(public_key, signature.hex(), signatures.key_id(public_key), now)


def too_large() -> Exhausted:
    """The refusal for a module beyond the limit."""
    message = f"a plugin has at most {MAX_MODULE_BYTES:,} bytes"
    return Exhausted(message, reason="TOO_LARGE", facts={"limit": str(MAX_MODULE_BYTES)})


def _described(module: bytes) -> Plugin:
    """What the module's bytes say. Slow for large ones (a walk over all sections): never inside a transaction."""
    try:
        accepted = wasm.validate(module, entry=None)
    except wasm.ModuleRefused as refused:
        raise Invalid(
            f"module: {refused.message}",
            reason="PLUGIN_REJECTED",
            violations=[Violation("module", refused.message)],
            facts={"rule": refused.reason.value},
        )
    metadata = accepted.metadata
    declared = tuple(entry.name for entry in metadata.entries) if metadata else ()
    entries = declared or tuple(name for name in accepted.exports if _is_entry(accepted, name))
    if not entries:
        raise Invalid(
            "module: exports no function that a task can call, () -> () or () -> (i32)",
            reason="PLUGIN_REJECTED",
            violations=[Violation("module", "exports no function that a task can call")],
            facts={"rule": wasm.Reason.ENTRY_MISSING.value},
        )
    said: dict[str, Any] = msgspec.to_builtins(metadata) if metadata else {}
    return Plugin(
        namespace_id="",
        digest=hashlib.sha256(module).hexdigest(),
        name=metadata.name if metadata else "",
        version=metadata.version if metadata else "",
        status=PluginStatus.STORED,
        reject_reason="",
        size=len(module),
        created_at=0,
        updated_at=0,
        metadata=said,
        entries=entries[:MAX_ENTRIES],
    )


def _is_entry(module: wasm.Module, name: str) -> bool:
    if name.startswith("_"):  # `_initialize`, `__wasm_call_ctors`: what toolchains export for themselves
        return False
    try:
        module.check_entry(name)
    except wasm.ModuleRefused:
        return False
    return True


def _names(described: Plugin, name: str, version: str) -> tuple[str, str]:
    """What the caller says wins. Another name than the module's own takes no version from it."""
    if name and name != described.name:
        return name, version
    return name or described.name, version or described.version


def _check_same(stored: Plugin, asked: Plugin) -> None:
    if (asked.name, asked.version) not in (("", ""), (stored.name, stored.version)):
        raise AlreadyExists(
            f"these bytes are stored as {stored.label} already; a module has one name in a namespace",
            facts={"resource": "plugin", "digest": stored.digest, "name": stored.label},
        )


def _once_more(connection: Connection, stored: Plugin, now: int) -> Plugin:
    """Sending rejected bytes again asks the agents to try again; else nothing changes."""
    if stored.status is not PluginStatus.REJECTED:
        return stored
    again = replace(stored, status=PluginStatus.STORED, reject_reason="", updated_at=now)
    plugins.update_status(connection, again)
    return again


def _taken(named: Plugin) -> AlreadyExists:
    return AlreadyExists(
        f"{named.label} is another module, sha256:{named.digest}; a version never changes, so raise it",
        facts={"resource": "plugin", "digest": named.digest, "name": named.label},
    )


def _in_use(one: Plugin, what: str, by: list[str], reason: str) -> IllegalTransition:
    shown = ", ".join(by)
    message = f"plugin {one.label} cannot be deleted: {what} ({shown}{', ...' if len(by) == NAMED else ''})"
    return IllegalTransition(message, reason=reason, facts={"resource": "plugin", "digest": one.digest, "by": shown})


def _required(connection: Connection, namespace_id: str, reference: str, *, lock: bool = False) -> Plugin:
    found = plugins.find(connection, namespace_id, reference, lock=lock)
    if found is None:
        raise NotFound.of("plugin", reference, namespace_id)
    return found


def _reread(namespace_id: str) -> Callable[[Connection, str], Plugin]:
    return lambda connection, digest: _required(connection, namespace_id, digest)
