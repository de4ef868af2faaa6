"""What is packed here, against what the driver makes of the same lists and PostgreSQL of both."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, SmallInteger, String, Text

from controlplane.store.arrays import ID, Kind, array_of, kind_of

Ask = Callable[[Kind, list[Any]], str]

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
KINDS = {
    "smallint": (kind_of(SmallInteger()), st.integers(-(2**15), 2**15 - 1)),
    "integer": (kind_of(Integer()), st.integers(-(2**31), 2**31 - 1)),
    "bigint": (kind_of(BigInteger()), st.integers(-(2**63), 2**63 - 1)),
    "boolean": (kind_of(Boolean()), st.booleans()),
    "double": (kind_of(Double()), st.floats(allow_nan=False)),
    "string": (kind_of(String(63)), TEXT),
    "text": (kind_of(Text()), TEXT),
    "bytes": (kind_of(LargeBinary()), st.binary(max_size=40)),
    "id": (ID, st.uuids().map(str)),
}


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as made:
        yield made


@pytest.mark.parametrize("name", KINDS)
def test_a_packed_array_is_the_one_that_the_driver_makes(connection: psycopg.Connection, name: str) -> None:
    kind, values = KINDS[name]

    @given(st.lists(st.none() | values, min_size=1, max_size=8) | st.lists(values, min_size=1, max_size=8))
    @settings(max_examples=30, deadline=None)
    def agree(given_values: list[Any]) -> None:
        asked = f"SELECT $1::{kind.name}[]::text".encode()
        packed = connection.pgconn.exec_params(asked, [array_of(kind, given_values)], param_formats=[1]).get_value(0, 0)
        theirs = [uuid.UUID(one) if kind is ID and one else one for one in given_values]
        row = connection.execute(f"SELECT %s::{kind.name}[]::text", [theirs]).fetchone()
        assert row is not None
        assert packed is not None
        assert packed.decode() == row[0]

    agree()
