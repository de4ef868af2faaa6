"""Who calls, and whether they may. The rules stand in `methods.py`; this applies them.

A refusal names the caller by the id of the key, never by anything of what was shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from controlplane.api.call import Principal
from controlplane.api.methods import ALL_ROLES, Method, Reach
from controlplane.domain.errors import Forbidden, Unauthenticated
from controlplane.engine.credentials import Credentials

Authenticate = Callable[[Mapping[str, str]], Awaitable[Principal]]

_ANYBODY = Principal("anonymous", None, ALL_ROLES)


async def anonymous(metadata: Mapping[str, str]) -> Principal:
    """Everybody is the same somebody with every role: what holds where no credentials are asked for."""
    return _ANYBODY


def by_key(credentials: Credentials) -> Authenticate:
    """Callers show a key: `authorization: Bearer pawl_...`."""

    async def authenticate(metadata: Mapping[str, str]) -> Principal:
        scheme, _, text = metadata.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Unauthenticated("this server asks for a key: send it as Authorization: Bearer pawl_...")
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
        return _ANYBODY
    principal = await authenticate(metadata)
    if principal.roles.isdisjoint(method.roles):
        raise Forbidden(
            f"{principal.subject} may not call {method.name}: it takes one of the roles {sorted(method.roles)}",
            facts={"subject": principal.subject, "method": method.name},
        )
    if method.reach is Reach.EVERYWHERE and principal.namespace_id is not None:
        raise Forbidden(
            f"{principal.subject} may not call {method.name}: that takes a key which is good in all namespaces",
            facts={"subject": principal.subject, "method": method.name},
        )
    return principal


def without_secret(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What handlers see of a call's metadata."""
    if "authorization" not in metadata:
        return metadata
    return {name: value for name, value in metadata.items() if name != "authorization"}
