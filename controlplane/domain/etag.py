"""Etags: a resource's version, which grows by one with every write."""

from __future__ import annotations

from controlplane.domain.errors import EtagMismatch


def check_etag(noun: str, name: str, version: int, etag: int | None) -> None:
    """Raise EtagMismatch unless the caller's version is the present one; None means any."""
    if etag is not None and etag != version:
        raise EtagMismatch(
            f"{noun} {name!r} is at version {version}, not {etag}: read it again",
            facts={"version": str(version), "etag": str(etag)},
        )
