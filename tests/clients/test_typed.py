"""What functions take and give, by their types: dataclasses, structs, models, plain JSON, bytes and text."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl.failures import InvalidInput, InvalidOutput
from pawl.typed import Codec, encode
from pawl.v1.types_pb2 import Payload

JSON = "application/json"


class Size(Enum):
    SMALL = "small"


@dataclass
class Order:
    item: str
    count: int = 1
    due: datetime | None = None
    size: Size = Size.SMALL
    parts: list["Order"] = field(default_factory=list)


class Struct(msgspec.Struct):
    item: str
    count: int = 1


class Model(pydantic.BaseModel):
    item: str
    count: int = pydantic.Field(default=1, ge=1)


class Named(NamedTuple):
    item: str
    number: int


class Typed(TypedDict):
    item: str


def held(value: Any) -> Payload:
    return Payload(data=json.dumps(value).encode(), content_type=JSON)


@pytest.mark.parametrize(
    ("of", "value"),
    [
        (Order, Order("a", 2, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), parts=[Order("b")])),
        (Struct, Struct("a", 2)),
        (Model, Model(item="a", count=2)),
        (list[Model], [Model(item="a"), Model(item="b")]),
        (Model | None, Model(item="a")),
        (dict[str, Order], {"x": Order("a")}),
        (Named, Named("a", 1)),
        (Typed, {"item": "a"}),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (timedelta, timedelta(seconds=90)),
        (int, 7),
        (float, 1.5),
        (bool, True),
        (str, "text"),
        (Any, {"a": [1, None, "x"]}),
    ],
)
def test_a_value_travels_and_comes_back_as_it_was(of: Any, value: Any) -> None:
    codec = Codec(of)
    written = codec.write(value)
    assert written is not None
    assert written.content_type == JSON
    assert codec.read(written) == value


@pytest.mark.parametrize("of", [Order, Struct, Model])
@pytest.mark.parametrize(
    ("wrong", "place"), [({"item": 1}, "item"), ({"item": "a", "count": "x"}, "count"), ({}, "item")]
)
def test_what_does_not_fit_is_refused_with_its_place(of: Any, wrong: Any, place: str) -> None:
    with pytest.raises(InvalidInput, match=place):
        Codec(of).read(held(wrong))


def test_the_rules_of_a_model_are_kept() -> None:
    with pytest.raises(InvalidInput, match="greater than or equal to 1"):
        Codec(Model).read(held({"item": "a", "count": 0}))


def test_broken_json_is_refused() -> None:
    for of in (Any, Order, Model):
        with pytest.raises(InvalidInput):
            Codec(of).read(Payload(data=b"{", content_type=JSON))


def test_bytes_are_the_payload_as_it_is() -> None:
    assert Codec(bytes).read(Payload(data=b"\xff", content_type="application/octet-stream")) == b"\xff"
    assert Codec(bytes).read(held(1)) == b"1"
    written = Codec(bytes).write(b"\xff")
    assert written == Payload(data=b"\xff", content_type="application/octet-stream")


def test_text_is_taken_as_text() -> None:
    text = Payload(data="grün".encode(), content_type="text/plain; charset=utf-8")
    assert Codec(str).read(text) == "grün"
    assert Codec(Any).read(text) == "grün"
    with pytest.raises(InvalidInput, match="text/plain"):
        Codec(Order).read(text)


def test_a_payload_is_taken_and_given_untouched() -> None:
    image = Payload(data=b"\x89PNG", content_type="image/png")
    assert Codec(Payload).read(image) == image
    assert Codec(Any).write(image) == image


def test_no_parameters_are_null_or_an_object_without_members() -> None:
    assert Codec(Any).read(None) is None
    assert Codec(int | None).read(None) is None
    assert Codec(dict[str, int]).read(None) == {}

    @dataclass
    class Empty:
        pass

    assert Codec(Empty).read(None) == Empty()
    with pytest.raises(InvalidInput, match="no parameters"):
        Codec(Order).read(None)


def test_a_value_without_a_type_is_written_by_its_own() -> None:
    for value in (Order("a"), Struct("a"), Model(item="a")):
        written = encode({"order": value})
        assert written is not None
        assert json.loads(written.data)["order"]["item"] == "a"


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": {1, object()}}, lambda: None])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidOutput):
        Codec().write(value)


def test_equal_values_give_equal_bytes() -> None:
    assert encode({"b": 1, "a": 2.0}) == encode({"a": 2, "b": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values.filter(lambda value: value is not None))
def test_any_json_value_comes_back(value: Any) -> None:
    written = Codec().write(value)
    assert written is not None
    assert Codec().read(written) == value
