"""The first admin key, made where the database is: before it exists nobody can call, and after it is lost nobody can.

Whoever can write to the database can do everything with it, so nothing is given away here that he did not have. Not
here: keys that are made by calls (`engine/keys.py`), and what the command prints (`commands.py`).
"""

from __future__ import annotations

import time
from typing import Final

import uuid_utils

from controlplane.domain.errors import IllegalTransition, Invalid
from controlplane.domain.key import Authority, Key, KeyDraft, key_problems
from controlplane.engine.keys import NewKey, make
from controlplane.store import Connection, Store, dialect, keys
from controlplane.store.migrations import migrate

MAKER: Final = "pawl server init"
DEFAULT_NAME: Final = "admin"
_ANYBODY: Final = Authority(MAKER, frozenset({"admin"}), None)


class AdminExists(IllegalTransition):
    """There is a living key that is an admin everywhere."""

    reason = "PROTECTED_RESOURCE"


def make_first_key(url: str, name: str | None, *, again: bool) -> NewKey:
    """A key that is an admin everywhere, in a database that is made and brought up to date where it has to be.

    `again`: also beside those that exist. Raises AdminExists, AlreadyExists and Invalid (both the name), Unavailable.
    """
    store = Store(url, pool_size=2)
    store.open()
    try:
        migrate(store, _local_now())
        return store.transact_now(_make, name, again)
    finally:
        store.close()


def _make(connection: Connection, name: str | None, again: bool) -> NewKey:
    dialect.lock_for_migration(connection)  # of two who are the first at once, one is
    now = dialect.clock(connection) or _local_now()
    if not again and (admins := keys.by_ids(connection, keys.unbound_admins(connection, now))):
        raise AdminExists("there is an admin key already: " + ", ".join(map(_shown, admins.values())))
    draft = KeyDraft(
        name=name or _free_name(connection),
        description="Made on the server's machine.",
        roles=frozenset({"admin"}),
        namespaces=None,
        expires_at=None,
    )
    if problems := list(key_problems(draft, now)):
        raise Invalid.fields(problems)
    return make(connection, draft, MAKER, str(uuid_utils.uuid7()), now)


def _free_name(connection: Connection) -> str:
    name, number = DEFAULT_NAME, 1
    while keys.find(connection, name, _ANYBODY) is not None:
        number += 1
        name = f"{DEFAULT_NAME}-{number}"
    return name


def _shown(one: Key) -> str:
    return f"{one.name} (pawl_{one.prefix}_…)"


def _local_now() -> int:
    return time.time_ns() // 1000
