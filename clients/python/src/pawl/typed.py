"""Inputs and outputs of task functions as types say: dataclasses, msgspec structs, pydantic models, or plain JSON.

The types are the function's own annotations. JSON is read into them strictly, with an error that names the place; what
has no annotation is the plain JSON value. `bytes` is the payload as it is, `str` also takes `text/*`, and a `Payload`
is taken and given untouched. pydantic is used where a type is one of its models, and never imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from pawl.failures import InvalidInput, InvalidOutput
from pawl.payload import is_json, payload, value_of
from pawl.v1.types_pb2 import Payload

NONE = type(None)


class Codec:
    """Reads and writes the values of one type. TypeError for a type that JSON cannot be read into."""

    def __init__(self, of: Any = Any) -> None:
        self.type = of
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._adapter: Any = None
        if of in (Any, object, bytes, Payload):
            return
        if _is_pydantic(of):
            self._adapter = sys.modules["pydantic"].TypeAdapter(of)
        else:
            self._decoder = msgspec.json.Decoder(of)

    def read(self, held: Payload | None) -> Any:
        """A value of the type. Raises InvalidInput. Nothing is read as null, or else as an object without members."""
        if held is None:
            return self._nothing()
        if self.type is Payload:
            return held
        if self.type is bytes:
            return held.data
        if not is_json(held):
            return self._not_json(held)
        try:
            return self._parsed(held.data)
        except ValueError as error:  # msgspec's and pydantic's too
            raise InvalidInput(f"the parameters are not what the function takes: {_words(error)}") from None

    def write(self, value: Any) -> Payload | None:
        """As it is stored; None for nothing. Raises InvalidOutput."""
        if value is None:
            return None
        if isinstance(value, Payload | bytes | bytearray | memoryview):
            return payload(value)
        try:
            return payload(self._plain(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidOutput(f"what the function returned is no JSON: {_words(error)}") from None

    def _nothing(self) -> Any:
        if self.type in (Any, object):
            return None
        for data in (b"null", b"{}"):
            try:
                return b"" if self.type is bytes else Payload() if self.type is Payload else self._parsed(data)
            except ValueError:
                continue
        raise InvalidInput("the task has no parameters, and the function needs some")

    def _not_json(self, held: Payload) -> Any:
        if self.type in (Any, object):
            return value_of(held)
        if self.type is str and held.content_type.startswith("text/"):
            return held.data.decode("utf-8", "replace")
        raise InvalidInput(f"the parameters are {held.content_type}, and the function takes JSON")

    def _parsed(self, data: bytes) -> Any:
        if self._adapter is not None:
            return self._adapter.validate_json(data)
        return msgspec.json.decode(data) if self._decoder is None else self._decoder.decode(data)

    def _plain(self, value: Any) -> Any:
        """As JSON values: what a model holds is written by whoever made the model."""
        if self._adapter is not None:
            return self._adapter.dump_python(value, mode="json")
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_foreign)


def encode(value: Any) -> Payload | None:
    """Any value as it is stored, by its own type. Raises InvalidOutput."""
    return Codec().write(value)


def _foreign(value: Any) -> Any:
    """What msgspec does not know, inside of what it does."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _is_pydantic(of: Any) -> bool:
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if base is None:
        return False
    return any(
        hasattr(one, "__pydantic_validator__") or (isinstance(one, type) and issubclass(one, base))
        for one in _all_of(of)
    )


def _all_of(of: Any) -> Iterator[Any]:
    """A type and all that it is made of by its arguments."""
    yield of
    for one in get_args(of):
        yield from _all_of(one)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:1_000]
