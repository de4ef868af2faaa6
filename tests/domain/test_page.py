"""Which pages can be asked for, and what a page token can and cannot be used for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import Invalid
from controlplane.domain.filter import EVERYTHING, Field, Kind, Queryable, parse_filter, parse_order
from controlplane.domain.page import PageRequest, parse_page, query_digest, read_token, write_token

JOB = Queryable("job", (Field("id", Kind.ID), Field("name", Kind.TEXT), Field("created_at", Kind.INSTANT)))
ORDER = parse_order([], JOB)
QUERY = query_digest("default", "job", EVERYTHING, ORDER)
POSITION = (1_767_225_600_000_000, "01890a5d-ac96-774b-bcce-b302099a8057")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({}, PageRequest(1, 20)),
        ({"page": 3, "page_size": 10}, PageRequest(3, 10, 20)),
        ({"page": 3}, PageRequest(3, 20, 40)),
        ({"limit": 1000}, PageRequest(1, 1000)),
        ({"limit": 10, "offset": 25}, PageRequest(3, 10, 25)),
        ({"offset": 10_000}, PageRequest(501, 20, 10_000)),
        ({"page_token": "abc", "page_size": 5}, PageRequest(0, 5, token="abc")),
    ],
)
def test_a_page_is_asked_for_by_number_offset_or_token(asked: dict[str, Any], meant: PageRequest) -> None:
    assert parse_page(**asked) == meant


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"page": 0}, "page.page"),
        ({"page": -1}, "page.page"),
        ({"page": 501}, "page.page"),
        ({"page_size": 0}, "page.page_size"),
        ({"page_size": 1001}, "page.page_size"),
        ({"limit": -5}, "page.limit"),
        ({"offset": -1}, "page.offset"),
        ({"offset": 10_001}, "page.offset"),
        ({"page": 1, "offset": 0}, "page.offset"),
        ({"page": 1, "page_token": "x"}, "page.page_token"),
        ({"offset": 1, "page_token": "x"}, "page.page_token"),
        ({"page_size": 10, "limit": 10}, "page.limit"),
    ],
)
def test_what_is_out_of_range_or_contradicts_itself_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_page(**asked)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_a_token_gives_back_its_position() -> None:
    assert read_token(write_token(POSITION, QUERY), ORDER, QUERY) == POSITION


def other_queries() -> list[bytes]:
    narrowed = parse_filter({"name": {"eq": "a"}}, JOB)
    return [
        query_digest("other", "job", EVERYTHING, ORDER),
        query_digest("default", "task", EVERYTHING, ORDER),
        query_digest("default", "job", narrowed, ORDER),
        query_digest("default", "job", EVERYTHING, parse_order(["created_at"], JOB)),
    ]


@pytest.mark.parametrize("query", other_queries())
def test_a_token_of_another_query_is_refused(query: bytes) -> None:
    refused(write_token(POSITION, query))


def test_a_token_of_another_secret_is_refused() -> None:
    token = write_token(POSITION, QUERY, b"one")
    with pytest.raises(Invalid):
        read_token(token, ORDER, QUERY, b"other")
    assert read_token(token, ORDER, QUERY, b"one") == POSITION


@given(st.integers(min_value=0), st.sampled_from("abcXYZ019-_=%é"))
def test_a_damaged_token_is_refused(place: int, letter: str) -> None:
    token = write_token(POSITION, QUERY)
    place %= len(token)
    damaged = token[:place] + letter + token[place + 1 :]
    if damaged != token:
        refused(damaged)


@given(st.text(max_size=60))
def test_what_never_was_a_token_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "position",
    [
        (),
        POSITION[:1],
        ("text", POSITION[1]),
        (True, POSITION[1]),
        (2**63, POSITION[1]),
        (POSITION[0], "no id"),
        (POSITION[0], 5),
    ],
)
def test_a_forged_position_of_other_types_is_refused(position: tuple[Any, ...]) -> None:
    refused(write_token(position, QUERY))


def refused(token: str) -> None:
    with pytest.raises(Invalid) as error:
        read_token(token, ORDER, QUERY)
    assert error.value.reason == "INVALID_PAGE_TOKEN"
    assert error.value.violations[0].field == "page.page_token"
