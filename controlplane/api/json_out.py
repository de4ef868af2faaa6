"""Protobuf messages to JSON, by a writer per message type that is made once.

Fields without presence are printed with their zero value, unset ones with presence are absent; enums by bare name,
64-bit integers as strings, instants in UTC with microseconds, a payload as what it is. No reflection on the way.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from controlplane.api import json_scalars as scalars
from controlplane.api.json_in import CONTENT_TYPE, DATA, PAYLOAD, TEXT, WRAPPERS
from controlplane.api.methods import is_repeated

Convert = Callable[[Any], Any]

_ABSENT: Any = object()
_encode = msgspec.json.Encoder().encode
_well_formed = msgspec.json.Decoder(msgspec.Raw).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class MessageWriter:
    """Prints one message type in one case of field names."""

    def __init__(self, descriptor: Descriptor, *, camel: bool) -> None:
        self._descriptor = descriptor
        self._camel = camel
        self._fields: list[tuple[str, int, Any, Convert | None]] = []

    def fill(self) -> None:
        """Make the fields' converters, and what each is printed as that is not set."""
        unset = message_factory.GetMessageClass(self._descriptor)()
        for field in self._descriptor.fields:
            convert = _field_converter(field, self._camel)
            zero = _ABSENT
            if not field.has_presence:
                value = getattr(unset, field.name)
                zero = value if convert is None else convert(value)
            self._fields.append((printed_name(field, camel=self._camel), field.number, zero, convert))

    def tree(self, message: Any) -> dict[str, Any]:
        """The message as what msgspec encodes, in the order of the contract. For reading: what is empty is shared."""
        # All that is set in one call: to ask for each field costs twice as much, and most are not set.
        given = {field.number: value for field, value in message.ListFields()}
        out: dict[str, Any] = {}
        for key, number, zero, convert in self._fields:
            if number in given:
                value = given[number]
                out[key] = value if convert is None else convert(value)
            elif zero is not _ABSENT:
                out[key] = zero
        return out

    def part(self, message: Any, name: str) -> Any:
        """The value of one field; None where it is unset."""
        field = self._descriptor.fields_by_name[name]
        return self.tree(message).get(printed_name(field, camel=self._camel))


def printed_name(field: FieldDescriptor, *, camel: bool) -> str:
    """What a field is called in JSON."""
    return field.json_name if camel else field.name


_writers: dict[tuple[str, bool], MessageWriter] = {}


def writer_of(descriptor: Descriptor, *, camel: bool) -> MessageWriter:
    """The writer of a message type: one per type and case."""
    key = (descriptor.full_name, camel)
    writer = _writers.get(key)
    if writer is None:
        writer = _writers[key] = MessageWriter(descriptor, camel=camel)
        writer.fill()
    return writer


def encode(message: Message, *, camel: bool) -> bytes:
    """A message as JSON."""
    return _encode(tree_of(message, camel=camel))


def tree_of(message: Message, *, camel: bool) -> Any:
    """A message as what msgspec encodes: for answers that put it inside something of their own."""
    descriptor: Any = message.DESCRIPTOR
    convert = _special(descriptor, camel)
    return writer_of(descriptor, camel=camel).tree(message) if convert is None else convert(message)


def encode_tree(tree: Any) -> bytes:
    """The second half of `encode`."""
    return _encode(tree)


def write_payload(payload: Any) -> Any:
    """JSON as itself; text and bytes in their long forms. What claims to be JSON and is not, is shown as bytes."""
    data, content_type = payload.data, payload.content_type or "application/json"
    if content_type == "application/json":
        kind = _json_kind(data)
        if kind == "plain":
            return msgspec.Raw(data)
        if kind == "ambiguous":
            return {CONTENT_TYPE: content_type, TEXT: data.decode()}
    elif content_type.startswith("text/"):
        try:
            return {CONTENT_TYPE: content_type, TEXT: data.decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {CONTENT_TYPE: content_type, DATA: base64.b64encode(data).decode()}


def _json_kind(data: bytes) -> str:
    """Whether bytes can stand in an answer as they are: a broken payload must not break the answer around it."""
    try:
        text = data.decode("utf-8")
        _well_formed(data)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return "broken"
    if "@content_type" in text or "\\u0040" in text:
        try:
            if CONTENT_TYPE in _members(data):
                return "ambiguous"
        except msgspec.ValidationError:
            pass  # no object
    return "plain"


# ---------------------------------------------------------------- converters


def _field_converter(field: FieldDescriptor, camel: bool) -> Convert | None:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return _map_converter(message, camel)
    one = _single_converter(field, camel)
    if not is_repeated(field):
        return one
    if one is None:
        return list
    return lambda values: [one(value) for value in values]


def _single_converter(field: FieldDescriptor, camel: bool) -> Convert | None:
    if field.enum_type is not None:
        return _enum_converter(field.enum_type)
    if field.message_type is not None:
        return _special(field.message_type, camel) or writer_of(field.message_type, camel=camel).tree
    if field.type in scalars.BIG_INTEGERS:
        return str
    return _SCALARS.get(field.type)


def _enum_converter(descriptor: EnumDescriptor) -> Convert:
    if descriptor.full_name == "google.protobuf.NullValue":
        return lambda number: None
    names = {one.number: one.name for one in reversed(descriptor.values)}
    return lambda number: names.get(number, number)


def _map_converter(entry: Descriptor, camel: bool) -> Convert:
    one = _single_converter(entry.fields_by_name["value"], camel)
    boolean = entry.fields_by_name["key"].type == FieldDescriptor.TYPE_BOOL

    # By key: protobuf's own order changes from call to call, and the same answer should have the same bytes.
    def convert(found: Any) -> dict[str, Any]:
        return {
            (("true" if key else "false") if boolean else str(key)): found[key] if one is None else one(found[key])
            for key in sorted(found)
        }

    return convert


def _special(message: Descriptor, camel: bool) -> Convert | None:
    """Types whose JSON is no object of their fields."""
    name = message.full_name
    if name in WRAPPERS:
        inner = _single_converter(message.fields_by_name["value"], camel)
        return lambda wrapper: wrapper.value if inner is None else inner(wrapper.value)
    if name == "google.protobuf.Any":
        return lambda packed: _write_any(packed, camel)
    if name == "google.protobuf.FieldMask" and camel:
        return lambda mask: ",".join(scalars.camel_path(path) for path in mask.paths)
    return _SPECIAL.get(name)


def _write_any(packed: Any, camel: bool) -> dict[str, Any]:
    """A packed message with its type beside its fields; of unknown types the bytes, never an error."""
    if not packed.type_url and not packed.value:
        return {}
    pool = descriptor_pool.Default()
    try:
        descriptor = pool.FindMessageTypeByName(packed.type_url.rpartition("/")[2])
        message = message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}
    tree = tree_of(message, camel=camel)
    if _special(descriptor, camel) is None:
        return {"@type": packed.type_url, **tree}
    return {"@type": packed.type_url, "value": tree}


def _write_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _write_struct(value.struct_value)
    if kind == "list_value":
        return [_write_value(one) for one in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and 0 < abs(number) < 2**53 else scalars.write_double(number)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _write_struct(struct: Any) -> dict[str, Any]:
    return {key: _write_value(value) for key, value in struct.fields.items()}


_SCALARS: dict[int, Convert] = {
    FieldDescriptor.TYPE_BYTES: lambda value: base64.b64encode(value).decode(),
    FieldDescriptor.TYPE_DOUBLE: scalars.write_double,
    FieldDescriptor.TYPE_FLOAT: scalars.write_float,
}

_SPECIAL: dict[str, Convert] = {
    PAYLOAD: write_payload,
    "google.protobuf.Timestamp": lambda one: scalars.write_timestamp(one.seconds, one.nanos),
    "google.protobuf.Duration": lambda one: scalars.write_duration(one.seconds, one.nanos),
    "google.protobuf.FieldMask": lambda one: ",".join(one.paths),
    "google.protobuf.Value": _write_value,
    "google.protobuf.Struct": _write_struct,
    "google.protobuf.ListValue": lambda one: [_write_value(value) for value in one.values],
}
