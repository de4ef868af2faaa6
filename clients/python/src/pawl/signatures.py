"""Signatures of plugins: Ed25519 over a plugin's digest, detached from its bytes.

A key is text: `ed25519:` and 32 bytes in base64 for a public one, PEM for a private one (as `openssl genpkey` writes
it).
What is signed is not the bare digest but a sentence with it, so that no signature made for something else can be taken
for one of a plugin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PREFIX: Final = "ed25519:"
SIGNATURE_BYTES: Final = 64
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class KeyInvalid(ValueError):
    """This is no key; the message says why and shows nothing of it."""


def signed_text(digest: str) -> bytes:
    """What a signature of the plugin with this digest is made over."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a digest has 64 hex digits in lower case")
    return f"pawl plugin sha256:{digest}\n".encode()


def new_private_key() -> bytes:
    """A new private key, PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_of(private_pem: bytes) -> str:
    """The public key that belongs to a private one. Raises KeyInvalid."""
    raw = _private(private_pem).public_key().public_bytes_raw()
    return PREFIX + base64.b64encode(raw).decode()


def sign(private_pem: bytes, digest: str) -> bytes:
    """The signature of the plugin with this digest. Raises KeyInvalid."""
    return _private(private_pem).sign(signed_text(digest))


def verify(public_key: str, digest: str, signature: bytes) -> bool:
    """Whether the signature was made with this key for this digest. Raises KeyInvalid."""
    try:
        _public(public_key).verify(signature, signed_text(digest))
    except InvalidSignature:
        return False
    return True


def key_id(public_key: str) -> str:
    """How people tell keys apart: the first 16 hex digits of the key's sha256. Raises KeyInvalid."""
    return hashlib.sha256(_public(public_key).public_bytes_raw()).hexdigest()[:16]


def _public(text: str) -> Ed25519PublicKey:
    if not text.startswith(PREFIX):
        raise KeyInvalid(f"a public key is written as {PREFIX}<32 bytes in base64>")
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        raise KeyInvalid(f"a public key is written as {PREFIX}<32 bytes in base64>") from None


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid("not a private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyInvalid("not an Ed25519 key; make one with `pawl plugin keygen FILE`")
    return key
