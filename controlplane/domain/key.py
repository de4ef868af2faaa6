"""API keys: how one is written, what it allows, and that nobody makes one stronger than himself.

A key is `pawl_<prefix>_<secret><check>`: the prefix finds its row and may be shown, the secret (256 random bits) is
known to its holder alone, the check (CRC-32) lets typing errors and the false finds of secret scanners be told without
a database. Only a SHA-256 of the whole is stored: of so much chance no slower digest is needed.

Pure. Not here: chance and clocks, which callers bring, and where keys are looked up (`engine/credentials.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.domain.errors import Violation
from controlplane.domain.job_rules import MAX_DESCRIPTION, name_violations, text_problems

ROLES = ("admin", "operator", "submitter", "viewer", "agent")  # in the order of Key.Role and of the stored bits
PREFIX_LENGTH = 12
SECRET_BYTES = 32
MAX_NAMESPACES = 64

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
_CHECK_LENGTH = 6
_KEY = re.compile(rf"pawl_([{_BASE32}]{{{PREFIX_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECK_LENGTH}}}")
_LOOKS_LIKE_ONE = re.compile(rf"(pawl_[{_BASE32}]{{{PREFIX_LENGTH}}}_)[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it stands, without its secret. Instants are microseconds UTC."""

    id: str
    prefix: str
    digest: bytes
    name: str
    description: str
    roles: frozenset[str]
    namespaces: tuple[str, ...] | None  # None: everywhere. The first one is where names are looked up by default
    created_by: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None
    revoked_by: str | None
    version: int

    @property
    def subject(self) -> str:
        """How history, logs and traces name whoever holds it."""
        return f"key:{self.id}"

    def lives(self, now: int) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """A key as a caller wants it."""

    name: str
    description: str
    roles: frozenset[str]
    namespaces: tuple[str, ...] | None
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Authority:
    """What somebody who makes or looks at keys may do himself. `key_id` is his own key, if he has one."""

    subject: str
    roles: frozenset[str]
    namespaces: tuple[str, ...] | None
    expires_at: int | None = None
    key_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Admins see keys; everybody else sees his own."""
        return "admin" in self.roles


def write_key(chance: bytes) -> tuple[str, str]:
    """The prefix and the text of a new key, of PREFIX_LENGTH + SECRET_BYTES random bytes."""
    if len(chance) != PREFIX_LENGTH + SECRET_BYTES:
        raise ValueError(f"a key is made of {PREFIX_LENGTH + SECRET_BYTES} random bytes")
    prefix = "".join(_BASE32[byte % 32] for byte in chance[:PREFIX_LENGTH])
    start = f"pawl_{prefix}_{_base62(int.from_bytes(chance[PREFIX_LENGTH:]), _SECRET_LENGTH)}"
    return prefix, start + _check(start)


def prefix_of(text: str) -> str | None:
    """The prefix of what is written as a key and has the right check; None for anything else."""
    found = _KEY.fullmatch(text)
    if found is None or _check(text[:-_CHECK_LENGTH]) != text[-_CHECK_LENGTH:]:
        return None
    return found[1]


def without_secrets(text: str) -> str:
    """The same text with every key in it cut after its prefix: people put keys where names belong."""
    return _LOOKS_LIKE_ONE.sub(r"\1…", text) if "pawl_" in text else text


def digest_of(text: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def is_right(key: Key | None, digest: bytes) -> bool:
    """Whether a digest is this key's; takes as long when there is none."""
    return hmac.compare_digest(bytes(32) if key is None else key.digest, digest) and key is not None


def key_problems(draft: KeyDraft, now: int, path: str = "key") -> Iterator[Violation]:
    """What is wrong with a new key by itself."""
    yield from name_violations(draft.name, f"{path}.name")
    yield from text_problems(draft.description, f"{path}.description", MAX_DESCRIPTION)
    if not draft.roles:
        yield Violation(f"{path}.roles", "must name at least one role")
    if draft.namespaces is not None:
        if len(draft.namespaces) > MAX_NAMESPACES:
            yield Violation(
                f"{path}.namespaces", f"has {len(draft.namespaces):,}, at most {MAX_NAMESPACES} are allowed"
            )
        for index, one in enumerate(draft.namespaces):
            yield from name_violations(one, f"{path}.namespaces[{index}]")
    if draft.expires_at is not None and draft.expires_at <= now:
        yield Violation(f"{path}.expires_at", "must lie in the future")


def excess(draft: KeyDraft, maker: Authority, path: str = "key") -> Iterator[Violation]:
    """Where a new key would be stronger than who makes it."""
    more = draft.roles - maker.roles
    if more and not maker.is_admin:
        yield Violation(f"{path}.roles", f"{', '.join(sorted(more))}: not among your own")
    if maker.namespaces is not None:
        if draft.namespaces is None:
            yield Violation(f"{path}.namespaces", f"must be named: your own are {', '.join(maker.namespaces)}")
        elif foreign := [one for one in draft.namespaces if one not in maker.namespaces]:
            yield Violation(f"{path}.namespaces", f"{', '.join(foreign)}: not among your own")
    if maker.expires_at is not None and (draft.expires_at is None or draft.expires_at > maker.expires_at):
        yield Violation(f"{path}.expires_at", "must not be later than that of your own key")


def roles_to_bits(roles: frozenset[str]) -> int:
    """Roles as they are stored."""
    return sum(1 << index for index, role in enumerate(ROLES) if role in roles)


def roles_of_bits(bits: int) -> frozenset[str]:
    """Stored roles."""
    return frozenset(role for index, role in enumerate(ROLES) if bits >> index & 1)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), _CHECK_LENGTH)
