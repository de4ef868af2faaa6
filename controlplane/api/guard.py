"""A developer's laptop is not an open door: which requests a browser may have been talked into, and are refused.

While no credentials are asked for, HTTP answers only to its own names (a page elsewhere can point its name at
127.0.0.1) and refuses what another origin's page sends. Health probes are spared: they name hosts as they like and
change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from controlplane.domain.errors import Forbidden

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROBES = frozenset({"/health", "/api/v1/system/health"})
_SAFE_SITES = frozenset({"same-origin", "none", ""})


class Guard:
    """Checks the Host and the origin of requests. `enforced` is off where credentials are asked for."""

    def __init__(self, allowed_hosts: Collection[str] = (), *, enforced: bool = True) -> None:
        self._named = frozenset(host.lower() for host in allowed_hosts)
        self._enforced = enforced

    @property
    def enforced(self) -> bool:
        """Whether what has passed is no page of another site."""
        return self._enforced

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raise Forbidden for requests that did not come from here."""
        if not self._enforced or path in PROBES:
            return
        host = headers.get("host", "").lower()
        if not self._ours(host):
            raise Forbidden(
                f"this server does not answer to the name {host!r}; [server] allowed_hosts names more",
                reason="FOREIGN_ORIGIN",
                facts={"host": host},
            )
        self._check_origin(host, headers)

    def _check_origin(self, host: str, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "").lower()
        if origin is not None:
            there = origin.lower().partition("://")[2]
            if self._is_named(there):
                return
            if there != host or site == "cross-site":
                raise Forbidden(
                    f"pages of {origin!r} may not call this server", reason="FOREIGN_ORIGIN", facts={"origin": origin}
                )
        elif site not in _SAFE_SITES:
            raise Forbidden(
                f"a page of another site may not call this server (Sec-Fetch-Site: {site})",
                reason="FOREIGN_ORIGIN",
                facts={"sec_fetch_site": site},
            )

    def _ours(self, host: str) -> bool:
        return _name(host) in LOCAL or self._is_named(host)

    def _is_named(self, host: str) -> bool:
        return host in self._named or _name(host) in self._named


def _name(host: str) -> str:
    """Without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
