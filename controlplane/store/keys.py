"""Keys and where they are good. Secrets never come here: only their digests do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.ids import is_id
from controlplane.domain.key import Authority, Key, roles_of_bits, roles_to_bits
from controlplane.store import dialect
from controlplane.store.query import Listing
from controlplane.store.tables import key, key_namespace

ADMIN = roles_to_bits(frozenset({"admin"}))


def seen_by(who: Authority) -> sa.ColumnElement[bool]:
    """The keys that somebody may look at: admins those that are good only where they are admins, others their own."""
    if not who.is_admin:
        return key.c.id == who.key_id
    if who.namespaces is None:
        return sa.true()
    foreign = key_namespace.c.namespace_id.not_in(who.namespaces)
    elsewhere = sa.exists().where(key_namespace.c.key_id == key.c.id, foreign)
    return sa.and_(key.c.everywhere.is_(False), ~elsewhere)


def find(connection: Connection, named: str, who: Authority, *, lock: bool = False) -> Key | None:
    """The key with this id, or the living one with this name, if it may be seen."""
    match = key.c.id == named.lower() if is_id(named) else sa.and_(key.c.name == named, key.c.revoked_at.is_(None))
    statement = sa.select(key).where(match, seen_by(who))
    return _one(connection, dialect.for_update(statement) if lock else statement)


def by_prefix(connection: Connection, prefix: str) -> Key | None:
    """The key that is written with this prefix."""
    return _one(connection, sa.select(key).where(key.c.prefix == prefix))


def by_ids(connection: Connection, ids: Iterable[str]) -> dict[str, Key]:
    """Keys by id."""
    rows = connection.execute(sa.select(key).where(dialect.one_of(connection, key.c.id, list(ids)))).all()
    return {one.id: one for one in of_rows(connection, rows)}


def listing(who: Authority) -> Listing:
    """The keys that somebody may look at."""
    return Listing(sa.select(key).where(seen_by(who)), key.c)


def of_rows(connection: Connection, rows: Sequence[Row[Any]]) -> list[Key]:
    """Rows of the table with their namespaces."""
    spaces: dict[str, list[str]] = {row.id: [] for row in rows if not row.everywhere}
    if spaces:
        found = sa.select(key_namespace).where(key_namespace.c.key_id.in_(spaces))
        for row in connection.execute(found.order_by(key_namespace.c.position)):
            spaces[row.key_id].append(row.namespace_id)
    return [_of_row(row, spaces) for row in rows]


def insert(connection: Connection, new: Key) -> None:
    """A new one. Raises IntegrityError when the name or the prefix is taken."""
    values = {name: getattr(new, name) for name in Key.__slots__ if name not in ("roles", "namespaces")}
    values |= {"roles": roles_to_bits(new.roles), "everywhere": new.namespaces is None}
    connection.execute(key.insert().values(**values))
    for position, space in enumerate(new.namespaces or ()):
        connection.execute(key_namespace.insert().values(key_id=new.id, namespace_id=space, position=position))


def revoke(connection: Connection, ids: Iterable[str], by: str, now: int) -> None:
    """These open nothing any more."""
    statement = key.update().where(key.c.id.in_(list(ids)), key.c.revoked_at.is_(None))
    connection.execute(statement.values(revoked_at=now, revoked_by=by, version=key.c.version + 1))


def unbound_admins(connection: Connection, now: int) -> list[str]:
    """Ids of the living keys that may do everything everywhere, locked so that two of them cannot end each other."""
    living = sa.or_(key.c.expires_at.is_(None), key.c.expires_at > now)
    admin = key.c.roles.bitwise_and(ADMIN) != 0
    statement = sa.select(key.c.id).where(key.c.revoked_at.is_(None), living, key.c.everywhere, admin)
    return list(connection.execute(dialect.for_update(statement.order_by(key.c.id))).scalars())


def any_living(connection: Connection, now: int) -> bool:
    """Whether there is a key that opens anything."""
    living = sa.or_(key.c.expires_at.is_(None), key.c.expires_at > now)
    found = sa.select(key.c.id).where(key.c.revoked_at.is_(None), living).limit(1)
    return connection.execute(found).first() is not None


def mark(connection: Connection) -> int:
    """Grows with every new key and with every change of one, of uses apart: versions only grow, and no row goes."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(key.c.version), 0))).scalar_one())


def note_uses(connection: Connection, uses: Mapping[str, int]) -> None:
    """When each was last used."""
    for key_id, at in sorted(uses.items()):
        newer = sa.or_(key.c.last_used_at.is_(None), key.c.last_used_at < at)
        connection.execute(key.update().where(key.c.id == key_id, newer).values(last_used_at=at))


def leave_namespace(connection: Connection, namespace_id: str, by: str, now: int) -> None:
    """A deleted namespace takes its name out of all keys, for a namesake is another place; a key that was good nowhere
    else is revoked."""
    of = sa.select(key_namespace.c.key_id).where(key_namespace.c.namespace_id == namespace_id)
    touched = list(connection.execute(of).scalars())
    if not touched:
        return
    connection.execute(key_namespace.delete().where(key_namespace.c.namespace_id == namespace_id))
    left = sa.select(key_namespace.c.key_id).where(key_namespace.c.key_id.in_(touched))
    homeless = set(touched) - set(connection.execute(left).scalars())
    revoke(connection, homeless, by, now)
    changed = key.update().where(key.c.id.in_(set(touched) - homeless))
    connection.execute(changed.values(version=key.c.version + 1))


def _one(connection: Connection, statement: sa.Select[Any]) -> Key | None:
    rows = connection.execute(statement).all()
    return of_rows(connection, rows)[0] if rows else None


def _of_row(row: Row[Any], spaces: Mapping[str, Sequence[str]]) -> Key:
    return Key(
        id=row.id,
        prefix=row.prefix,
        digest=bytes(row.digest),
        name=row.name,
        description=row.description,
        roles=roles_of_bits(row.roles),
        namespaces=None if row.everywhere else tuple(spaces[row.id]),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        version=row.version,
    )
