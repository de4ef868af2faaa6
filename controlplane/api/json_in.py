"""JSON into what a protobuf constructor takes: nested dicts with the proto's own field names.

One reader per message type, made once. A message that can hold a payload is read straight from the text, so that the
payload keeps its own bytes; the others from the values that the scanner gives. Both spellings of a name, aliases
included, lead to the field, and two spellings at once are refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from pawl.v1 import types_pb2

from controlplane.api import json_scalars as scalars
from controlplane.api import json_text
from controlplane.api.json_scalars import Bad
from controlplane.api.methods import is_repeated

Fields = dict[str, Any]

ALIAS: Any = types_pb2.alias  # an extension: its generated stub does not say of which type
PAYLOAD = "pawl.v1.Payload"
CONTENT_TYPE, TEXT, DATA = "@content_type", "@text", "@data"

_MAX_VALUE_DEPTH = 30  # each level costs up to three of the hundred that protobuf's own decoders allow
_MAX_SAFE = 2**53

_NULL = "google.protobuf.NullValue"
_NULLABLE = frozenset({PAYLOAD, "google.protobuf.Value", _NULL})
_ONE_WORD = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"})
WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


class FieldReader:
    """How one field is read, from a value or from the text."""

    def __init__(self, field: FieldDescriptor) -> None:
        self.field = field
        self.name = field.name
        self.repeated = is_repeated(field)
        message = field.message_type
        self.is_map = message is not None and bool(message.GetOptions().map_entry)
        self.message = None if message is None or self.is_map or special_reader(message) else reader_of(message)
        self.oneof = None
        if field.containing_oneof is not None and not field.containing_oneof.name.startswith("_"):
            self.oneof = field.containing_oneof.name
        kind = message or field.enum_type
        self.takes_null = kind is not None and not self.is_map and kind.full_name in _NULLABLE
        self._one = _map_reader(message) if self.is_map and message is not None else single_reader(field)
        self._payload = message is not None and message.full_name == PAYLOAD
        # Whether a payload may be inside, so that the bytes themselves are wanted.
        self.needs_text = self._payload or (self.message is not None and self.message.needs_text)
        self._boolean = field.type == FieldDescriptor.TYPE_BOOL

    @property
    def fits_query(self) -> bool:
        """Whether a query can hold it: single values, and lists of them."""
        message = self.field.message_type
        return message is None or (message.full_name in WRAPPERS or message.full_name in _ONE_WORD)

    def read_text(self, text: str) -> Any:
        """One value from a path or a query. Raises Bad."""
        if self._boolean:
            return scalars.read_bool_text(text)
        message = self.field.message_type
        if message is not None and message.full_name == "google.protobuf.BoolValue":
            return {"value": scalars.read_bool_text(text)}
        return self._one(text)

    def read(self, value: Any) -> Any:
        """From a value. Raises Bad."""
        if not self.repeated or self.is_map:
            return self._one(value)
        if not isinstance(value, list):
            raise Bad(f"must be a list, not {scalars.kind_of(value)}")
        return [self._item(index, item) for index, item in enumerate(value)]

    def _item(self, index: int, item: Any) -> Any:
        try:
            if item is None and not self.takes_null:
                raise Bad("must not be null")
            return self._one(item)
        except Bad as bad:
            raise bad.inside(f"[{index}]")

    def read_at(self, text: str, start: int) -> tuple[Any, int]:
        """From the text, and where the value ends. None for null. Raises Bad."""
        if not self.needs_text or text.startswith("null", start):
            value, end = json_text.scan(text, start)
            if value is None and self._payload and not self.repeated:
                return {"data": b"null", "content_type": "application/json"}, end
            return (None if value is None and not self.takes_null else self.read(value)), end
        if not self.repeated:
            return self._one_at(text, start)
        if text[start : start + 1] != "[":
            raise Bad(f"must be a list, not {scalars.kind_of(json_text.scan(text, start)[0])}")
        items: list[Any] = []

        def item(index: int, position: int) -> int:
            try:
                value, end = self._one_at(text, position)
            except Bad as bad:
                raise bad.inside(f"[{index}]")
            items.append(value)
            return end

        return items, json_text.walk_array(text, start, item)

    def _one_at(self, text: str, start: int) -> tuple[Any, int]:
        return read_payload(text, start) if self.message is None else self.message.read_at(text, start)


class MessageReader:
    """How one message type is read. Not complete until `reader_of` has filled it: types may contain themselves."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.fields: dict[str, FieldReader] = {}
        self.needs_text = False

    def fill(self) -> None:
        """Make the fields' readers."""
        for field in self.descriptor.fields:
            reader = FieldReader(field)
            self.needs_text = self.needs_text or reader.needs_text
            aliases: Sequence[str] = field.GetOptions().Extensions[ALIAS]
            for spelling in (field.name, field.camelcase_name, field.json_name, *aliases):
                self.fields[spelling] = reader

    def read(self, value: Any) -> Fields:
        """From a value. Raises Bad."""
        if not isinstance(value, dict):
            raise Bad(f"must be an object, not {scalars.kind_of(value)}")
        into: Fields = {}
        spelt: dict[str, str] = {}
        for key, inner in value.items():
            field = self.take(key, spelt)
            if inner is None and not field.takes_null:
                continue
            try:
                self.put(into, field, field.read(inner))
            except Bad as bad:
                raise bad.inside(field.name)
        return into

    def read_at(self, text: str, start: int) -> tuple[Fields, int]:
        """From the text, and where the object ends. Raises Bad."""
        if text[start : start + 1] != "{":
            raise Bad(f"must be an object, not {scalars.kind_of(json_text.scan(text, start)[0])}")
        into: Fields = {}
        spelt: dict[str, str] = {}

        def member(key: str, position: int) -> int:
            field = self.take(key, spelt)
            try:
                value, end = field.read_at(text, position)
                if value is not None:
                    self.put(into, field, value)
            except Bad as bad:
                raise bad.inside(field.name)
            return end

        return into, json_text.walk_object(text, start, member)

    def take(self, key: str, spelt: dict[str, str]) -> FieldReader:
        """The field of a key, once per field. Raises Bad."""
        field = self.fields.get(key)
        if field is None:
            raise Bad(self._unknown(key), key[:128])
        other = spelt.setdefault(field.name, key)
        if other != key:
            raise Bad(f"is given twice, as {other} and as {key}", field.name)
        return field

    def put(self, into: Fields, field: FieldReader, value: Any) -> None:
        """Set a field; two of one oneof are refused. Raises Bad."""
        if field.oneof is not None:
            for other in self.descriptor.oneofs_by_name[field.oneof].fields:
                if other.name in into:
                    raise Bad(f"excludes {other.name}: only one of them may be given")
        into[field.name] = value

    def _unknown(self, key: str) -> str:
        names = [field.name for field in self.descriptor.fields]
        near = difflib.get_close_matches(key[:64], names, n=1)
        hint = f"; did you mean {near[0]}?" if near else (f"; there are {', '.join(names)}" if names else "")
        return f"there is no such field{hint}"


_readers: dict[str, MessageReader] = {}


def reader_of(descriptor: Descriptor) -> MessageReader:
    """The reader of a message type: one per type."""
    reader = _readers.get(descriptor.full_name)
    if reader is None:
        reader = _readers[descriptor.full_name] = MessageReader(descriptor)
        reader.fill()
    return reader


def read_payload(text: str, start: int) -> tuple[Fields, int]:
    """A user's value: JSON as its own slice of the text, or the long form. Raises Bad."""
    value, end = json_text.scan(text, start)
    if isinstance(value, dict) and CONTENT_TYPE in value:
        return _long_form(value), end
    return {"data": text[start:end].encode("utf-8"), "content_type": "application/json"}, end


def _long_form(value: dict[str, Any]) -> Fields:
    extra = set(value) - {CONTENT_TYPE, TEXT, DATA}
    if extra or (TEXT in value) == (DATA in value):
        raise Bad(f"with {CONTENT_TYPE} there must be either {TEXT} or {DATA}, and nothing else")
    try:
        content_type = scalars.read_string(value[CONTENT_TYPE])
        if TEXT in value:
            return {"data": scalars.read_string(value[TEXT]).encode("utf-8"), "content_type": content_type}
        return {"data": scalars.read_bytes(value[DATA]), "content_type": content_type}
    except Bad as bad:
        raise Bad(f"in its long form: {bad.problem}")


# ---------------------------------------------------------------- single values


def single_reader(field: FieldDescriptor) -> Callable[[Any], Any]:
    """How one value of a field is read, repeated or not."""
    if field.enum_type is not None:
        if field.enum_type.full_name == _NULL:
            return _read_null
        return scalars.enum_reader(field.enum_type)
    message = field.message_type
    if message is None:
        return scalars.SCALARS[field.type]
    special = special_reader(message)
    return special if special is not None else reader_of(message).read


def special_reader(message: Descriptor) -> Callable[[Any], Any] | None:
    """Types whose JSON is no object of their fields."""
    if message.full_name in WRAPPERS:
        inner = scalars.SCALARS[message.fields_by_name["value"].type]
        return lambda value: {"value": inner(value)}
    return _SPECIAL.get(message.full_name)


def _read_null(value: Any) -> int:
    if value is not None and value != "NULL_VALUE":
        raise Bad("must be null")
    return 0


def _map_reader(entry: Descriptor) -> Callable[[Any], dict[Any, Any]]:
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    read_key: Callable[[Any], Any] = scalars.SCALARS[key_field.type]
    if key_field.type == FieldDescriptor.TYPE_BOOL:
        read_key = scalars.read_bool_text
    read_value = single_reader(value_field)

    def read(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise Bad(f"must be an object, not {scalars.kind_of(value)}")
        found: dict[Any, Any] = {}
        for key, inner in value.items():
            try:
                name = read_key(key)
                if name in found:
                    raise Bad("is given twice, in two spellings")
                found[name] = read_value(inner)
            except Bad as bad:
                raise bad.inside(f"[{key[:64]}]")
        return found

    return read


def _no_payload(value: Any) -> Any:
    raise Bad("a payload stands in the body only")


def read_value(value: Any) -> Value:
    """Any JSON as google.protobuf.Value. Raises Bad for what a double cannot hold."""
    message = Value()
    _fill_value(message, value, 0)
    return message


def _fill_value(message: Value, value: Any, depth: int) -> None:
    if depth > _MAX_VALUE_DEPTH:
        raise Bad(f"is nested deeper than {_MAX_VALUE_DEPTH} levels")
    if value is None:
        message.null_value = 0  # type: ignore[assignment] # NULL_VALUE, an open enum
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, dict):
        message.struct_value.SetInParent()
        _fill_struct(message.struct_value, value, depth)
    elif isinstance(value, list):
        message.list_value.SetInParent()
        _fill_list(message.list_value, value, depth)
    elif isinstance(value, int) and abs(value) > _MAX_SAFE:
        raise Bad("holds a whole number beyond 2^53: write it as a string")
    else:
        message.number_value = scalars.read_double(value)


def _fill_struct(message: Struct, value: dict[str, Any], depth: int) -> None:
    for key, inner in value.items():
        _fill_value(message.fields[key], inner, depth + 1)


def _fill_list(message: ListValue, value: list[Any], depth: int) -> None:
    for inner in value:
        _fill_value(message.values.add(), inner, depth + 1)


def _read_struct(value: Any) -> Struct:
    if not isinstance(value, dict):
        raise Bad(f"must be an object, not {scalars.kind_of(value)}")
    return read_value(value).struct_value


def _read_list(value: Any) -> ListValue:
    if not isinstance(value, list):
        raise Bad(f"must be a list, not {scalars.kind_of(value)}")
    return read_value(value).list_value


def _read_any(value: Any) -> Fields:
    """A message with its type beside its fields. Raises Bad for types that are not known here."""
    if not isinstance(value, dict) or (value and not isinstance(value.get("@type"), str)):
        raise Bad("must be an object with @type")
    if not value:
        return {}
    url: str = value["@type"]
    if "/" not in url:
        raise Bad("names its type without a slash before it, such as type.googleapis.com/google.protobuf.Duration")
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(url.rpartition("/")[2])
    except KeyError:
        raise Bad(f"is of a type that is not known here: {url[:128]!r}")
    rest = {key: inner for key, inner in value.items() if key != "@type"}
    special = special_reader(descriptor)
    if special is not None and rest.keys() != {"value"}:
        raise Bad(f"must have @type and value, for that is how a {descriptor.full_name} is written")
    fields = reader_of(descriptor).read(rest) if special is None else special(rest["value"])
    message = fields if isinstance(fields, Message) else message_factory.GetMessageClass(descriptor)(**fields)
    return {"type_url": url, "value": message.SerializeToString()}


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Any": _read_any,
    PAYLOAD: _no_payload,
    "google.protobuf.Timestamp": scalars.read_timestamp,
    "google.protobuf.Duration": scalars.read_duration,
    "google.protobuf.FieldMask": scalars.read_mask,
    "google.protobuf.Value": read_value,
    "google.protobuf.Struct": _read_struct,
    "google.protobuf.ListValue": _read_list,
}
