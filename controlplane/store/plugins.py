"""Plugins by digest and by name, and who refers to one."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.job_rules import digest_of_reference
from controlplane.domain.plugin import Grant, Plugin, PluginStatus, Signature
from controlplane.store import dialect
from controlplane.store.query import Listing
from controlplane.store.tables import job, job_revision, plugin, task


def of_row(row: Row[Any]) -> Plugin:
    """A row of the table."""
    return Plugin(
        namespace_id=row.namespace_id,
        digest=row.digest,
        name=row.name or "",
        version=row.plugin_version or "",
        status=PluginStatus(row.status),
        reject_reason=row.reject_reason,
        size=row.size,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=msgspec.json.decode(row.metadata),
        entries=tuple(msgspec.json.decode(row.entries)),
        grant=msgspec.json.decode(row.granted, type=Grant) if row.granted else None,
        signatures=msgspec.json.decode(row.signatures, type=tuple[Signature, ...]),
    )


def find(connection: Connection, namespace_id: str, reference: str, *, lock: bool = False) -> Plugin | None:
    """By digest (hex, with or without `sha256:`), `name@version`, or name: then the newest of that name."""
    statement = sa.select(plugin).where(plugin.c.namespace_id == namespace_id)
    digest = digest_of_reference(reference)
    name, _, version = reference.partition("@")
    if digest is not None:
        statement = statement.where(plugin.c.digest == digest)
    elif version:
        statement = statement.where(plugin.c.name == name, plugin.c.plugin_version == version)
    else:
        newest = (plugin.c.created_at.desc(), plugin.c.digest)
        statement = statement.where(plugin.c.name == name).order_by(*newest).limit(1)
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


def find_named(connection: Connection, namespace_id: str, name: str, version: str) -> Plugin | None:
    """The one plugin with exactly this name and version; an empty version is a version too."""
    statement = sa.select(plugin).where(
        plugin.c.namespace_id == namespace_id, plugin.c.name == name, plugin.c.plugin_version == version
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else of_row(row)


def listing(namespace_id: str) -> Listing:
    """A namespace's plugins."""
    select = sa.select(plugin).where(plugin.c.namespace_id == namespace_id)
    return Listing(select, {**dict(plugin.c.items()), "version": plugin.c.plugin_version})


def insert(connection: Connection, new: Plugin) -> None:
    """A new one. Raises IntegrityError when the digest or the name with its version is taken.

    A plugin without a name has NULL there, so that nameless ones do not compete; a name without a version has an empty
    text, so that they do.
    """
    connection.execute(
        plugin.insert().values(
            namespace_id=new.namespace_id,
            digest=new.digest,
            name=new.name or None,
            plugin_version=new.version if new.name else None,
            status=int(new.status),
            reject_reason=new.reject_reason,
            size=new.size,
            metadata=msgspec.json.encode(new.metadata).decode(),
            entries=msgspec.json.encode(new.entries).decode(),
            created_at=new.created_at,
            updated_at=new.updated_at,
        )
    )


def update_status(connection: Connection, changed: Plugin) -> None:
    """What an agent found out."""
    connection.execute(
        plugin.update()
        .where(plugin.c.namespace_id == changed.namespace_id, plugin.c.digest == changed.digest)
        .values(status=int(changed.status), reject_reason=changed.reject_reason, updated_at=changed.updated_at)
    )


def update_trust(connection: Connection, changed: Plugin) -> None:
    """What it was granted and who signed it."""
    connection.execute(
        plugin.update()
        .where(plugin.c.namespace_id == changed.namespace_id, plugin.c.digest == changed.digest)
        .values(
            granted="" if changed.grant is None else msgspec.json.encode(changed.grant).decode(),
            signatures=msgspec.json.encode(changed.signatures).decode(),
            updated_at=changed.updated_at,
        )
    )


def delete(connection: Connection, namespace_id: str, digest: str) -> None:
    """The row; its bytes are released by `blobs.release`."""
    connection.execute(plugin.delete().where(plugin.c.namespace_id == namespace_id, plugin.c.digest == digest))


def digests(connection: Connection, namespace_id: str) -> list[str]:
    """All digests of a namespace."""
    return list(connection.execute(sa.select(plugin.c.digest).where(plugin.c.namespace_id == namespace_id)).scalars())


def jobs_referring(connection: Connection, namespace_id: str, digest: str, limit: int) -> list[str]:
    """Names of enabled jobs whose present revision runs this plugin."""
    statement = (
        sa.select(job.c.name)
        .join(job_revision, sa.and_(job_revision.c.job_id == job.c.id, job_revision.c.revision == job.c.revision))
        .where(job.c.namespace_id == namespace_id, job.c.deleted_at.is_(None), job.c.status == 1, _names(digest))
        .order_by(job.c.name)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def unfinished_tasks_referring(connection: Connection, namespace_id: str, digest: str, limit: int) -> list[str]:
    """Ids of tasks that have not ended and whose revision runs this plugin."""
    statement = (
        sa.select(task.c.id)
        .join(
            job_revision,
            sa.and_(job_revision.c.job_id == task.c.job_id, job_revision.c.revision == task.c.job_revision),
        )
        .where(task.c.namespace_id == namespace_id, task.c.finished_at.is_(None), _names(digest))
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def _names(digest: str) -> sa.ColumnElement[bool]:
    """Whether a revision's spec names the digest as its plugin.

    The spec is JSON text written by one encoder, so the member has one spelling. Users' maps hold texts only and their
    quotes are escaped, so nothing else can look like it.
    """
    return sa.func.replace(job_revision.c.spec, f'"wasm":{{"plugin":"{digest}"', "") != job_revision.c.spec
