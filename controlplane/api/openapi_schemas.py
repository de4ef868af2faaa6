"""JSON schemas of messages for the OpenAPI document, with the proto files' comments as descriptions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from controlplane.api.json_in import ALIAS, WRAPPERS
from controlplane.api.json_scalars import BIG_INTEGERS
from controlplane.api.methods import is_output_only, is_repeated, is_required
from controlplane.api.openapi_limits import limits_of

Json = dict[str, Any]

_F = FieldDescriptor
_NUMBERS: dict[int, Json] = {
    **{kind: {"type": "integer", "format": "int32"} for kind in (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32)},
    **{kind: {"type": "integer", "format": "uint32", "minimum": 0} for kind in (_F.TYPE_UINT32, _F.TYPE_FIXED32)},
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "format": "byte", "contentEncoding": "base64"},
    **{kind: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"} for kind in BIG_INTEGERS},
}
_ANY: Json = {"description": "Any JSON value."}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Field paths with commas between."},
    "google.protobuf.Value": _ANY,
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    },
}
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The gRPC code by name."},
                "message": {"type": "string", "description": "For people."},
                "details": {
                    "type": "array",
                    "description": "google.rpc.ErrorInfo always; BadRequest and RetryInfo where they apply.",
                    "items": _WELL_KNOWN["google.protobuf.Any"],
                },
            },
        }
    },
}


class Comments:
    """The leading comments of everything in our proto files, by full name."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._found: dict[str, str] = {}
        for file in files.file:
            names = _names(file)
            for location in file.source_code_info.location:
                name = names.get(tuple(location.path))
                if name is not None and location.leading_comments:
                    self._found[name] = _paragraphs(location.leading_comments)

    def of(self, full_name: str) -> str:
        """The comment, or nothing."""
        return self._found.get(full_name, "")


def _paragraphs(text: str) -> str:
    """Lines of one paragraph joined; paragraphs apart."""
    blocks = "\n".join(line.strip() for line in text.strip().split("\n")).split("\n\n")
    return "\n\n".join(" ".join(block.split("\n")) for block in blocks)


def _names(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Full names by their place in the file, as source_code_info counts."""
    found: dict[tuple[int, ...], str] = {}
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        found[6, index] = name
        found.update({(6, index, 2, i): f"{name}.{rpc.name}" for i, rpc in enumerate(service.method)})
    for index, message in enumerate(file.message_type):
        found.update(_names_in(message, (4, index), file.package))
    return found


def _names_in(message: Any, place: tuple[int, ...], prefix: str) -> dict[tuple[int, ...], str]:
    name = f"{prefix}.{message.name}"
    found = {place: name}
    found.update({(*place, 2, i): f"{name}.{field.name}" for i, field in enumerate(message.field)})
    for i, enum in enumerate(message.enum_type):
        found[(*place, 4, i)] = f"{name}.{enum.name}"
        found.update({(*place, 4, i, 2, j): f"{name}.{enum.name}.{one.name}" for j, one in enumerate(enum.value)})
    for i, inner in enumerate(message.nested_type):
        found.update(_names_in(inner, (*place, 3, i), name))
    return found


class Schemas:
    """Schemas that have been asked for, each once, by the name that references use."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._made: dict[str, Json] = {"Error": _ERROR}

    def all(self) -> Json:
        """Everything that references point to, by name."""
        return dict(sorted(self._made.items()))

    def comment(self, field: FieldDescriptor) -> str:
        """What the proto file says of a field."""
        return self._comments.of(field.full_name)

    def reference(self, message: Descriptor | None, *, without: frozenset[str] = frozenset()) -> Json:
        """A message type. `without`: fields that stand in the path, and so not in the body."""
        assert message is not None
        special = self._special(message)
        if special is not None:
            return special
        name = _short(message)
        if name not in self._made:
            self._made[name] = {}
            self._made[name].update(self._message(message, required=True, without=without))
        return {"$ref": f"#/components/schemas/{name}"}

    def patch(self, message: Descriptor | None) -> Json:
        """A resource of which only some fields are given."""
        assert message is not None
        name = f"{_short(message)}Change"
        if name not in self._made:
            self._made[name] = self._message(message, required=False, without=frozenset())
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor, *, described: bool = True) -> Json:
        """One field."""
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            schema: Json = {"type": "object", "additionalProperties": self._one(message.fields_by_name["value"])}
        elif is_repeated(field):
            schema = {"type": "array", "items": self._one(field)}
            if field.enum_type is not None:  # in a list there is no such thing as left out
                schema["items"] = {**schema["items"], "not": {"const": field.enum_type.values_by_number[0].name}}
        else:
            schema = {**self._one(field), **limits_of(field)}
        if described and (text := self.comment(field)):
            schema["description"] = text
        if is_output_only(field):
            schema["readOnly"] = True
        return schema

    def _message(self, message: Descriptor, *, required: bool, without: frozenset[str]) -> Json:
        fields = [field for field in message.fields if field.name not in without]
        schema: Json = {"type": "object"}
        if text := self._comments.of(message.full_name):
            schema["description"] = text
        schema["properties"] = properties = dict(self._properties(fields))
        needed = [field.name for field in fields if required and is_required(field)]
        if needed:
            schema["required"] = needed
        for name in needed:
            if properties[name].get("type") == "string":
                properties[name].setdefault("minLength", 1)  # proto3 does not tell an empty text from none
        one_spelling = [{"not": {"required": list(both)}} for both in _spellings(fields)]
        if one_spelling:
            schema["allOf"] = one_spelling
        schema["additionalProperties"] = False
        return schema

    def _properties(self, fields: Iterable[FieldDescriptor]) -> Iterable[tuple[str, Json]]:
        for field in fields:
            yield field.name, self.field(field)
            aliases: list[str] = list(field.GetOptions().Extensions[ALIAS])
            for alias in aliases:
                yield (
                    alias,
                    {
                        "writeOnly": True,
                        "description": f"Another spelling of `{field.name}`.",
                        **self._one(field),
                        **limits_of(field),
                    },
                )

    def _one(self, field: FieldDescriptor) -> Json:
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is not None:
            return self.reference(field.message_type)
        return dict(_NUMBERS[field.type])

    def _special(self, message: Descriptor) -> Json | None:
        if message.full_name in WRAPPERS:
            return self._one(message.fields_by_name["value"])
        if message.full_name == "pawl.v1.Payload":
            self._made.setdefault("Payload", {"description": self._comments.of(message.full_name)})
            return {"$ref": "#/components/schemas/Payload"}
        found = _WELL_KNOWN.get(message.full_name)
        return None if found is None else dict(found)

    def _enum(self, enum: EnumDescriptor) -> Json:
        """By name. Input takes any case and numbers too, which a list of values would forbid to say."""
        name = _short(enum)
        if name not in self._made:
            lines = [f"- `{one.name}`: {self._comments.of(f'{enum.full_name}.{one.name}')}" for one in enum.values]
            text = "\n".join((self._comments.of(enum.full_name), "", *lines))
            self._made[name] = {"type": "string", "enum": [one.name for one in enum.values], "description": text}
        return {"$ref": f"#/components/schemas/{name}"}


def _spellings(fields: Iterable[FieldDescriptor]) -> Iterable[tuple[str, str]]:
    """Pairs of names that mean one field: only one of them may be given."""
    for field in fields:
        aliases: list[str] = list(field.GetOptions().Extensions[ALIAS])
        yield from itertools.combinations((field.name, *aliases), 2)


def _short(descriptor: Any) -> str:
    """Job.Status → JobStatus; types of other packages keep theirs, so that no two have one name."""
    own = str(descriptor.full_name)
    if own.startswith("pawl.v1."):
        return own.removeprefix("pawl.v1.").replace(".", "")
    return own.replace(".", "_")
