"""Keys: how one is written, and that nobody makes one stronger than himself."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.key import (
    PREFIX_LENGTH,
    ROLES,
    SECRET_BYTES,
    Authority,
    Key,
    KeyDraft,
    digest_of,
    excess,
    is_right,
    key_problems,
    prefix_of,
    roles_of_bits,
    roles_to_bits,
    without_secrets,
    write_key,
)

CHANCE = st.binary(min_size=PREFIX_LENGTH + SECRET_BYTES, max_size=PREFIX_LENGTH + SECRET_BYTES)
SOME_ROLES = st.sets(st.sampled_from(ROLES), min_size=1).map(frozenset)
SOME_SPACES = st.none() | st.sets(st.sampled_from("abcd"), min_size=1).map(tuple)
SOME_END = st.none() | st.integers(1, 100)
SCANNER = re.compile(r"\bpawl_[a-z2-7]{12}_[0-9A-Za-z]{49}\b")  # as the page about keys gives it


@given(CHANCE)
def test_a_key_is_found_by_secret_scanners_and_tells_its_prefix(chance: bytes) -> None:
    prefix, text = write_key(chance)
    assert SCANNER.search(f"key={text},") is not None
    assert prefix_of(text) == prefix


@given(CHANCE, CHANCE)
def test_different_chance_makes_different_keys(one: bytes, other: bytes) -> None:
    same = one[PREFIX_LENGTH:] == other[PREFIX_LENGTH:] and [x % 32 for x in one[:12]] == [x % 32 for x in other[:12]]
    assert (write_key(one)[1] == write_key(other)[1]) == same


@given(CHANCE, st.integers(5, 66), st.sampled_from("0aZ_ -é"))
def test_a_key_with_a_wrong_character_is_known_to_be_wrong_without_a_database(
    chance: bytes, at: int, other: str
) -> None:
    _, text = write_key(chance)
    changed = text[:at] + other + text[at + 1 :]
    assert (prefix_of(changed) is not None) == (changed == text)


@pytest.mark.parametrize(
    "text", ["", "pawl_", "pawl__", "Bearer", "pawl_aaaaaaaaaaaa_" + "0" * 49, "\ud800", "x" * 10_000]
)
def test_what_is_no_key_has_no_prefix(text: str) -> None:
    assert prefix_of(text) is None
    assert len(digest_of(text)) == 32


def test_a_key_is_made_of_all_its_chance() -> None:
    with pytest.raises(ValueError, match="44 random bytes"):
        write_key(b"short")


def key(text: str, **fields: object) -> Key:
    values: dict[str, object] = {
        "id": "1", "prefix": "p", "digest": digest_of(text), "name": "a", "description": "", "created_by": "x",
        "roles": frozenset({"admin"}), "namespaces": None, "created_at": 0, "expires_at": None, "last_used_at": None,
        "revoked_at": None, "revoked_by": None, "version": 1,
    }  # fmt: skip
    return Key(**(values | fields))  # type: ignore[arg-type] # by name


def test_only_the_whole_key_is_right() -> None:
    one = key("pawl_a_secret")
    assert is_right(one, digest_of("pawl_a_secret"))
    assert not is_right(one, digest_of("pawl_a_secreT"))
    assert not is_right(None, digest_of("pawl_a_secret"))
    assert not is_right(None, bytes(32))


def test_a_key_lives_until_it_expires_or_is_revoked() -> None:
    assert key("x").lives(10)
    assert key("x", expires_at=11).lives(10)
    assert not key("x", expires_at=10).lives(10)
    assert not key("x", revoked_at=9, revoked_by="y").lives(10)


@given(SOME_ROLES, SOME_ROLES, SOME_SPACES, SOME_SPACES, SOME_END, SOME_END)
def test_nobody_makes_a_key_that_is_stronger_than_his_own(
    own_roles: frozenset[str],
    roles: frozenset[str],
    own: tuple[str, ...] | None,
    spaces: tuple[str, ...] | None,
    own_end: int | None,
    end: int | None,
) -> None:
    maker = Authority("me", own_roles, own, own_end)
    named = {one.field for one in excess(KeyDraft("k", "", roles, spaces, end), maker)}
    assert ("key.roles" in named) == ("admin" not in own_roles and not roles <= own_roles)
    assert ("key.namespaces" in named) == (own is not None and (spaces is None or not set(spaces) <= set(own)))
    assert ("key.expires_at" in named) == (own_end is not None and (end is None or end > own_end))


@given(SOME_ROLES)
def test_roles_are_stored_as_bits(roles: frozenset[str]) -> None:
    assert roles_of_bits(roles_to_bits(roles)) == roles
    assert 1 <= roles_to_bits(roles) <= 31


def test_what_is_wrong_with_a_key_is_named() -> None:
    draft = KeyDraft("a b", "x" * 5000, frozenset(), ("good", "no good"), 5)
    assert [one.field for one in key_problems(draft, 5)] == [
        "key.name",
        "key.description",
        "key.roles",
        "key.namespaces[1]",
        "key.expires_at",
    ]
    many = KeyDraft("a", "", frozenset({"viewer"}), tuple(f"n{number}" for number in range(65)), None)
    assert [one.field for one in key_problems(many, 5)] == ["key.namespaces"]


def test_a_key_in_a_text_is_cut_after_its_prefix_whatever_stands_around_it() -> None:
    prefix, text = write_key(bytes(range(44)))
    for around in ("{}", "there is no key named '{}'", "/api/v1/keys/{}:revoke", "{}, {}"):
        shown = without_secrets(around.replace("{}", text))
        assert shown == around.replace("{}", f"pawl_{prefix}_…")
    assert without_secrets(text[:-20]) == f"pawl_{prefix}_…"
    assert without_secrets("pawl_client and pawl_server") == "pawl_client and pawl_server"
