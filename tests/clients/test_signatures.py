import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pawl import signatures

KEY = signatures.new_private_key()
PUBLIC = signatures.public_key_of(KEY)
DIGEST = "ab" * 32


def test_a_signature_is_good_for_its_key_and_its_digest_alone() -> None:
    signature = signatures.sign(KEY, DIGEST)
    assert len(signature) == signatures.SIGNATURE_BYTES
    assert signatures.verify(PUBLIC, DIGEST, signature)
    assert not signatures.verify(PUBLIC, "cd" * 32, signature)
    other = signatures.public_key_of(signatures.new_private_key())
    assert not signatures.verify(other, DIGEST, signature)
    assert not signatures.verify(PUBLIC, DIGEST, b"")


@given(st.integers(0, 511))
def test_a_signature_with_any_bit_changed_is_none(bit: int) -> None:
    signature = bytearray(signatures.sign(KEY, DIGEST))
    signature[bit // 8] ^= 1 << bit % 8
    assert not signatures.verify(PUBLIC, DIGEST, bytes(signature))


def test_a_signature_over_the_bare_digest_is_none() -> None:
    private = serialization.load_pem_private_key(KEY, None)
    assert isinstance(private, Ed25519PrivateKey)
    bare = private.sign(bytes.fromhex(DIGEST))
    assert not signatures.verify(PUBLIC, DIGEST, bare)


SOME = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "ed25519:*", f"rsa:ed25519:{SOME}", SOME])
def test_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(signatures.KeyInvalid, match="public key"):
        signatures.verify(text, DIGEST, b"")


def test_a_private_key_of_another_kind_is_refused() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for wrong in (pem, b"", b"-----BEGIN PRIVATE KEY-----", base64.b64encode(b"x" * 32)):
        with pytest.raises(signatures.KeyInvalid):
            signatures.sign(wrong, DIGEST)


def test_keys_are_told_apart_by_a_short_name() -> None:
    assert len(signatures.key_id(PUBLIC)) == 16
    assert signatures.key_id(PUBLIC) != signatures.key_id(signatures.public_key_of(signatures.new_private_key()))
