"""Who calls, and whether they may. The rules stand in `methods.py`; this applies them.

A refusal names the caller by the id of the key, never by anything of what was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from controlplane.api.call import Principal
from controlplane.api.methods import ALL_ROLES, Method, Reach
from controlplane.domain.errors import Forbidden, PawlError, Unauthenticated
from controlplane.domain.key import ROLES
from controlplane.engine.credentials import Credentials

Authenticate = Callable[[Mapping[str, str]], Awaitable[Principal]]

_ANYBODY = Principal("anonymous", None, ALL_ROLES)
NOBODY = Principal("anonymous", None, frozenset())
PROBE_SECONDS = 0.5  # what finding out who asks may add to a probe
_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


async def anonymous(metadata: Mapping[str, str]) -> Principal:
    """Everybody is the same somebody with every role: what holds where no credentials are asked for."""
    return _ANYBODY


def by_key(credentials: Credentials) -> Authenticate:
    """Callers show a key: `authorization: Bearer pawl_...`."""

    async def authenticate(metadata: Mapping[str, str]) -> Principal:
        scheme, _, text = metadata.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Unauthenticated(
                "this server asks for a key: send it as Authorization: Bearer pawl_...", facts={"key": "missing"}
            )
        held = await credentials.find(text.strip())
        key = held.key
        return Principal(
            subject=key.subject,
            # The empty name is no namespace's: a key that has lost all of its own opens none.
            namespace_id=None if key.namespaces is None else next(iter(key.namespaces), ""),
            roles=key.roles,
            others=frozenset(key.namespaces[1:] if key.namespaces else ()),
            key_id=key.id,
            expires_at=key.expires_at,
            credential=held,
        )

    return authenticate


async def admit(authenticate: Authenticate, method: Method, metadata: Mapping[str, str]) -> Principal:
    """Whoever calls, if they may call this. Raises Unauthenticated, Forbidden."""
    if method.reach is Reach.ANYBODY:
        return await _known_or_nobody(authenticate, metadata)
    principal = await authenticate(metadata)
    if principal.roles.isdisjoint(method.roles):
        needed, has = (", ".join(role for role in ROLES if role in some) for some in (method.roles, principal.roles))
        raise Forbidden(
            f"{principal.subject} may not call {method.name}: it takes one of the roles {needed}, and this key has"
            f" {has or 'none'}",
            facts={"subject": principal.subject, "method": method.name, "roles": needed},
        )
    if method.reach is Reach.EVERYWHERE and principal.namespace_id is not None:
        raise Forbidden(
            f"{principal.subject} may not call {method.name}: that takes a key which is good in all namespaces",
            facts={"subject": principal.subject, "method": method.name},
        )
    return principal


async def _known_or_nobody(authenticate: Authenticate, metadata: Mapping[str, str]) -> Principal:
    """Who asks what anybody may ask; whoever cannot be known, now or at all, is nobody and is told less."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await authenticate(metadata)
    except (PawlError, TimeoutError):
        return NOBODY


def without_secret(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What handlers see of a call's metadata."""
    if _SECRETS.isdisjoint(metadata):
        return metadata
    return {name: value for name, value in metadata.items() if name not in _SECRETS}
