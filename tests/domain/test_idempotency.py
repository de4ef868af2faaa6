"""What request ids are kept as."""

from dataclasses import replace

from controlplane.domain.idempotency import DIGEST_BYTES, IdempotencyKey, digests_of, fingerprint

KEY = IdempotencyKey("default", "pawl.v1.TaskService/CreateTask", "r-1", fingerprint(b"content"))


def test_a_key_is_known_by_namespace_method_and_request_id_and_not_by_its_content() -> None:
    others = [replace(KEY, namespace_id="other"), replace(KEY, method="other"), replace(KEY, request_id="other")]
    assert len({one.digest for one in (KEY, *others)}) == 4
    assert replace(KEY, fingerprint=fingerprint(b"other")).digest == KEY.digest


def test_what_is_kept_of_a_key_and_of_a_content_is_sixteen_bytes() -> None:
    assert len(KEY.digest) == len(KEY.fingerprint) == DIGEST_BYTES == 16


def test_the_keys_of_a_namespace_lie_together() -> None:
    first, last = digests_of("default")
    assert first < KEY.digest < last
    assert not first < replace(KEY, namespace_id="other").digest < last
    assert len(first) == len(last) == DIGEST_BYTES
