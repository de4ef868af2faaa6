"""Messages as JSON and back, exactly as the REST API writes and reads them under /api/v1.

Field names as in the proto files, enums by their bare names, instants with microseconds, 64-bit numbers as text, fields
without presence printed even when zero, unset messages left out, payloads inline. Reading also takes lowerCamelCase,
aliases, and enums in any case or by number; its errors name the field. Pure: walks descriptors, touches nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from pawl.payload import JSON, canonical_json
from pawl.v1.types_pb2 import Payload, alias

M = TypeVar("M", bound=Message)

PAYLOAD: Final = Payload.DESCRIPTOR.full_name
TIMESTAMP: Final = "google.protobuf.Timestamp"
WELL_KNOWN: Final = frozenset(
    f"google.protobuf.{name}" for name in ("Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Any")
)
_INT64: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_FLOAT: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_ALIAS: Final[Any] = alias  # the stubs type an extension by what it extends only when they can see the pool
_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class NotThisMessage(ValueError):
    """The JSON is no such message; `field` says where, by path."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description


# ---------------------------------------------------------------- writing


def to_json(message: Message, indent: int | None = None) -> str:
    """A message as JSON text."""
    return json.dumps(to_value(message), ensure_ascii=False, indent=indent)


def to_value(message: Message) -> Any:
    """A message as what `json.dumps` takes: a dict, but for payloads and protobuf's own value types."""
    name = message.DESCRIPTOR.full_name
    if isinstance(message, Payload):
        return payload_value(message)
    if name == TIMESTAMP:
        return _instant(message)
    if name in WELL_KNOWN:
        return MessageToDict(message)
    written = {}
    fields: Any = message.DESCRIPTOR.fields  # the stubs know two classes of descriptors, and mix them
    for field in fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        written[field.name] = _field_value(field, getattr(message, field.name))
    return written


def payload_value(held: Payload) -> Any:
    """A payload inline: JSON as itself, text and bytes in the long form, and so is what only claims to be JSON."""
    content_type = held.content_type or JSON
    if content_type == JSON:
        try:
            value = json.loads(held.data.decode(), parse_constant=_refuse, parse_float=_finite)
            if b"\\u" in held.data:  # half of a surrogate pair can be escaped, but not printed
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return _long(content_type, held.data)
        ambiguous = isinstance(value, dict) and "@content_type" in value
        return {"@content_type": content_type, "@text": held.data.decode()} if ambiguous else value
    if content_type.startswith("text/"):
        try:
            return {"@content_type": content_type, "@text": held.data.decode()}
        except UnicodeDecodeError:
            pass  # says text, is not: the bytes are kept as they are
    return _long(content_type, held.data)


def _long(content_type: str, data: bytes) -> dict[str, str]:
    return {"@content_type": content_type, "@data": base64.b64encode(data).decode()}


def _field_value(field: FieldDescriptor, value: Any) -> Any:
    entry = _map_entry(field)
    if entry is not None:
        kind = entry.fields_by_name["value"]
        return {_key_text(key): _one_value(kind, one) for key, one in sorted(value.items())}
    if field.is_repeated:
        return [_one_value(field, one) for one in value]
    return _one_value(field, value)


def _one_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return to_value(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.cpp_type in _INT64:
        return str(value)
    if field.cpp_type in _FLOAT:
        return _float_value(value)
    return value


def _float_value(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key_text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _instant(message: Any) -> str:
    text: str = message.ToJsonString()
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction[:6]:0<6}Z"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


# ---------------------------------------------------------------- reading


def read(value: Any, kind: type[M], path: str = "") -> M:
    """A message of JSON data. Raises NotThisMessage."""
    message = kind()
    _read_into(message, value, path)
    return message


def field_of(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """The field that a JSON member stands for: by its name, its lowerCamelCase name or an alias."""
    found = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    if found is not None:
        return found
    return next((one for one in descriptor.fields if name in one.GetOptions().Extensions[_ALIAS]), None)


def _read_into(message: Message, value: Any, path: str) -> None:
    if isinstance(message, Payload):
        message.CopyFrom(_read_payload(value, path))
        return
    if message.DESCRIPTOR.full_name in WELL_KNOWN:
        try:
            ParseDict(value, message)
        except (ParseError, ValueError, TypeError, AttributeError):
            raise NotThisMessage(path, _WANTED.get(message.DESCRIPTOR.full_name, "is not readable")) from None
        return
    if not isinstance(value, Mapping):
        raise NotThisMessage(path, f"must be an object with fields, not {_said(value)}")
    given: dict[str, str] = {}
    descriptor: Any = message.DESCRIPTOR
    for name, one in value.items():
        field = field_of(descriptor, str(name))
        if field is None:
            raise NotThisMessage(_join(path, str(name)), f"no such field; there are {_names(descriptor)}")
        if field.name in given:
            raise NotThisMessage(_join(path, str(name)), f"given twice, also as {given[field.name]!r}")
        given[field.name] = str(name)
        if one is not None or _takes_null(field):
            _read_field(message, field, one, _join(path, field.name))


def _read_field(message: Message, field: FieldDescriptor, value: Any, path: str) -> None:
    entry = _map_entry(field)
    if entry is not None:
        _read_map(getattr(message, field.name), entry, value, path)
    elif field.is_repeated:
        if not isinstance(value, list | tuple):
            raise NotThisMessage(path, f"must be a list, not {_said(value)}")
        target = getattr(message, field.name)
        for index, one in enumerate(value):
            if field.message_type is not None:
                _read_into(target.add(), one, f"{path}[{index}]")
            else:
                target.append(_scalar(field, one, f"{path}[{index}]"))
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
        _read_into(getattr(message, field.name), value, path)
    else:
        setattr(message, field.name, _scalar(field, value, path))


def _read_map(target: Any, entry: Descriptor, value: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise NotThisMessage(path, f"must be an object of names and values, not {_said(value)}")
    kind = entry.fields_by_name["value"]
    for key, one in value.items():
        if kind.message_type is not None:
            _read_into(target[str(key)], one, _join(path, str(key)))
        else:
            target[str(key)] = _scalar(kind, one, _join(path, str(key)))


def _scalar(field: FieldDescriptor, value: Any, path: str) -> Any:
    if field.enum_type is not None:
        return _enum(field.enum_type, value, path)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(value, path)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if not isinstance(value, str):
            raise NotThisMessage(path, f"must be text, not {_said(value)}; put it in quotes")
        return value
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise NotThisMessage(path, f"must be true or false, not {_said(value)}")
        return value
    return _whole(field, value, path) if field.cpp_type in _BOUNDS else _decimal(value, path)


def _whole(field: FieldDescriptor, value: Any, path: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    low, high = _BOUNDS[field.cpp_type]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise NotThisMessage(path, f"must be a whole number from {low} to {high}, not {_said(value)}")
    return value


def _decimal(value: Any, path: str) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    try:
        if isinstance(value, bool):
            raise ValueError("a yes or no is no number")
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise NotThisMessage(path, f"must be a number, not {_said(value)}") from None


def _enum(kind: EnumDescriptor, value: Any, path: str) -> int:
    if isinstance(value, str):
        wanted = value.rpartition(".")[2].upper()
        if wanted in kind.values_by_name:
            return kind.values_by_name[wanted].number
    elif isinstance(value, int) and not isinstance(value, bool) and value in kind.values_by_number:
        return value
    named = ", ".join(one.name for one in kind.values if one.number)
    raise NotThisMessage(path, f"must be one of {named}, not {_said(value)}")


def _bytes(value: Any, path: str) -> bytes:
    try:
        text = str(value).replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NotThisMessage(path, f"must be base64, not {_said(value)}") from None


def _read_payload(value: Any, path: str) -> Payload:
    if isinstance(value, Mapping) and "@content_type" in value:
        content_type = value["@content_type"]
        if not isinstance(content_type, str):
            raise NotThisMessage(_join(path, "@content_type"), f"must be text, not {_said(content_type)}")
        if isinstance(value.get("@text"), str) and len(value) == 2:
            return Payload(data=value["@text"].encode(), content_type=content_type)
        if isinstance(value.get("@data"), str) and len(value) == 2:
            return Payload(data=_bytes(value["@data"], _join(path, "@data")), content_type=content_type)
        raise NotThisMessage(path, 'beside "@content_type" there must be "@text" or "@data", and nothing else')
    try:
        return Payload(data=canonical_json(value).encode(), content_type="application/json")
    except (TypeError, ValueError) as error:
        raise NotThisMessage(path, str(error)) from None


_WANTED: Final = {
    TIMESTAMP: "must be an instant such as 2026-01-31T08:00:00Z",
    "google.protobuf.Duration": "must be a duration such as 1.5s",
    "google.protobuf.Struct": "must be an object",
}


def _takes_null(field: FieldDescriptor) -> bool:
    named = "" if field.message_type is None else field.message_type.full_name
    return named in (PAYLOAD, "google.protobuf.Value")


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    kind = field.message_type
    return kind if kind is not None and kind.GetOptions().map_entry else None


def _names(descriptor: Descriptor) -> str:
    return ", ".join(field.name for field in descriptor.fields)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _said(value: Any) -> str:
    """A value as the person who wrote it would recognise it, cut short."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
    return text if len(text) <= 60 else f"{text[:57]}..."
