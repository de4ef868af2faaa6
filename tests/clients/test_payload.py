"""Values as payloads: equal values give equal bytes."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.payload import BYTES, canonical_json, payload, value_of
from pawl.v1.types_pb2 import Payload

JSON_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_canonical_json_is_the_value_itself(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_double(value: float) -> None:
    assert float(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_members_does_not_matter(value: dict[str, int]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"), (1e-7, "1e-7"), (-0.0, "0"),
        (333333333.33333329, "333333333.3333333"), (4.50, "4.5"), (2e-3, "0.002"), (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (10**30, "1" + "0" * 30), (100.0, "100"),
    ],
)  # fmt: skip # a table
def test_numbers_are_written_as_ecmascript_writes_them(value: float, text: str) -> None:
    assert canonical_json(value) == text


def test_members_are_sorted_by_utf_16() -> None:
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: 2}, {"a": object()}, "\ud800", {1, 2}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested"):
        canonical_json(loop)


def test_bytes_stay_bytes_and_payloads_stay_themselves() -> None:
    assert payload(b"\x00").content_type == BYTES
    assert value_of(payload(b"\x00")) == b"\x00"
    held = Payload(data=b"x", content_type="text/plain")
    assert payload(held) is held
    assert value_of(held) == "x"
