"""Ids and names: what they look like, and the instant inside an id."""

import uuid

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.ids import NAME_RULE, first_id_at, id_at, id_time, is_id, name_problem


def test_an_id_is_recognised_in_upper_case_too() -> None:
    made = str(uuid_utils.uuid7())
    assert is_id(made)
    assert is_id(made.upper())


A_UUID = "01a223d1-523f-74bd-baab-98f865d1eb17"


@pytest.mark.parametrize(
    "text", ["", "hello", "0190a000-0000-7000-8000-00000000000", "{0190a000-0000-7000-8000-000000000001}"]
)
def test_what_is_no_id_is_not_taken_for_one(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("name", ["a", "0", "Hello", "a.b_c-d", "x" * 63])
def test_a_name_may_hold_letters_digits_and_three_marks(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        ".a",
        "a b",
        "a/b",
        "ä",
        "a\n",
        "x" * 64,
        "item",
        "PAGE",
        "query",
        "create",
        "01a223d1-523f-74bd-baab-98f865d1eb17",
    ],
)
def test_a_wrong_name_is_answered_with_the_rule(name: str) -> None:
    assert name_problem(name) == NAME_RULE


@st.composite
def made_at(draw: st.DrawFn) -> tuple[int, str]:
    """An instant in whole milliseconds, and a UUIDv7 as it could have been made then."""
    milliseconds = draw(st.integers(0, 4_102_444_800_000))  # up to the year 2100
    chance = draw(st.integers(0, 2**74 - 1))
    number = milliseconds << 80 | 7 << 76 | (chance >> 62) << 64 | 2 << 62 | chance & 2**62 - 1
    return milliseconds * 1000, str(uuid.UUID(int=number))


@given(made_at())
def test_an_id_holds_the_millisecond_it_was_made_in(made: tuple[int, str]) -> None:
    instant, one = made
    assert is_id(one)
    assert id_time(one) == id_time(first_id_at(instant)) == instant


@given(made_at(), st.integers(0, 999))
def test_a_bound_is_no_greater_than_any_id_of_its_instant(made: tuple[int, str], within: int) -> None:
    instant, one = made
    assert first_id_at(instant + within) <= one < first_id_at(instant + 1000)


def test_no_instant_is_too_early_for_a_bound() -> None:
    assert first_id_at(-5) == "00000000-0000-0000-0000-000000000000"


@given(st.integers(0, 2**47), st.integers(0, 2**47), st.integers(0, 2**62 - 1), st.integers(0, 2**62 - 1))
def test_ids_lie_in_the_order_of_their_instants_to_the_microsecond(one: int, two: int, this: int, that: int) -> None:
    first, second = id_at(one, this), id_at(two, that)
    assert (first < second) == ((one, this) < (two, that))
    assert is_id(first)
    assert id_time(first) == one // 1000 * 1000
    assert (uuid.UUID(first).version, uuid.UUID(first).variant) == (7, uuid.RFC_4122)
