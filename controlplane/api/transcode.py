"""A request over HTTP as the message it means: path variables, query parameters and body, after google/api/http.proto.

Everything is gathered in one tree of fields and becomes a message in one constructor call. Not here: finding the
binding (`routes.py`), reading JSON (`json_in.py`), HTTP itself (`rest_front.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.message import Message

from controlplane.api import json_text
from controlplane.api.json_in import PAYLOAD, FieldReader, Fields, MessageReader, reader_of
from controlplane.api.json_scalars import Bad
from controlplane.api.methods import HTTP_BODY, Method, is_output_only
from controlplane.api.routes import Match
from controlplane.domain.errors import Invalid


def takes_raw_body(match: Match) -> bool:
    """Whether the body is no JSON but a file."""
    method, body = match.binding.method, match.binding.rule.body
    if body in ("", "*"):
        return False
    message = method.input.DESCRIPTOR.fields_by_name[body].message_type
    return message is not None and message.full_name == HTTP_BODY


def build_request(match: Match, query: bytes, body: bytes, content_type: str) -> Message:
    """The request message. Raises Invalid with the path of the field."""
    binding = match.binding
    method, rule = binding.method, binding.rule
    descriptor: Any = method.input.DESCRIPTOR
    reader = reader_of(descriptor)
    try:
        if takes_raw_body(match):
            fields: Fields = {rule.body: {"data": body, "content_type": content_type}} if body else {}
        else:
            fields = _read_body(reader, rule.body, body)
        for path, text in match.variables:
            _set_variable(reader, fields, path, text)
        if query:
            taken = {path for path, _ in match.variables}
            _read_query(reader, fields, query, rule.body, taken)
        _imply_mask(method, reader, fields, rule.body)
    except Bad as bad:
        if not bad.path:
            raise json_text.malformed(f"the body {bad.problem}")
        raise Invalid.field(bad.path, bad.problem)
    return method.input(**fields)


# ---------------------------------------------------------------- body


def _read_body(reader: MessageReader, where: str, body: bytes) -> Fields:
    if not body or body.isspace():
        return {}
    if not where:
        raise json_text.malformed("this call takes no body")
    text = json_text.read_text(body)
    start = json_text.skip(text, 0)
    if where == "*":
        fields, end = reader.read_at(text, start)
        json_text.check_end(text, end)
        return fields
    field = reader.fields[where]
    try:
        value, end = field.read_at(text, start)
        if value is None:
            raise Bad("must not be null")
    except Bad as bad:
        raise bad.inside(where)
    json_text.check_end(text, end)
    return {where: value}


# ---------------------------------------------------------------- path and query


def _set_variable(reader: MessageReader, fields: Fields, path: str, text: str) -> None:
    target, field, name = _walk(reader, fields, path)
    value = _read_text(field, text, name)
    present = target.get(field.name)
    if present is not None and present != "" and present != value:
        raise Bad(f"is {present!r} in the body, but {text!r} in the path", name)
    target[field.name] = value


def _walk(reader: MessageReader, fields: Fields, path: str) -> tuple[Fields, FieldReader, str]:
    """The dict that holds the last field of a path, that field, and the path in the proto's own names."""
    *parents, last = path.split(".")
    names: list[str] = []
    for part in parents:
        field = reader.fields.get(part)
        if field is None:
            raise Bad("there is no such parameter", path[:128])
        if field.message is None or field.repeated:
            raise Bad("cannot be reached into by a parameter: it stands in the body only", field.name)
        names.append(field.name)
        if field.oneof is not None and field.name not in fields:
            reader.put(fields, field, {})
        fields = fields.setdefault(field.name, {})
        reader = field.message
    field = reader.fields.get(last)
    if field is None:
        raise Bad("there is no such parameter", path[:128])
    return fields, field, ".".join((*names, field.name))


def _read_text(field: FieldReader, text: str, name: str) -> Any:
    try:
        return field.read_text(text)
    except Bad as bad:
        raise Bad(bad.problem, name)


def _read_query(reader: MessageReader, fields: Fields, query: bytes, body: str, taken: set[str]) -> None:
    given = _parse_query(query)
    if body == "*" and given:
        raise Bad("this call takes no query parameters: it belongs into the body", next(iter(given))[:128])
    seen: set[str] = set()
    for path, texts in given.items():
        name = _canonical(reader, path)
        if name in taken:
            raise Bad("is part of the path already", name)
        if body and (name == body or name.startswith(f"{body}.")):
            raise Bad("is part of the body already", name)
        if name in seen:
            raise Bad("is given in two spellings", name)
        seen.add(name)
        _set_parameter(reader, fields, path, name, texts)


def _canonical(reader: MessageReader, path: str) -> str:
    return _walk(reader, {}, path)[2]


def _set_parameter(reader: MessageReader, fields: Fields, path: str, name: str, texts: list[str]) -> None:
    target, field, _ = _walk(reader, fields, path)
    if field.is_map or not field.fits_query:
        raise Bad("cannot be a query parameter", name)
    if field.repeated:
        target[field.name] = [_read_text(field, text, name) for text in texts]
        return
    if len(texts) > 1:
        raise Bad("is given more than once", name)
    owner = reader
    for part in path.split(".")[:-1]:
        inner = owner.fields[part].message
        assert inner is not None  # _walk went this way
        owner = inner
    try:
        owner.put(target, field, _read_text(field, texts[0], name))
    except Bad as bad:
        raise Bad(bad.problem, name)


def _parse_query(query: bytes) -> Mapping[str, list[str]]:
    """Names and values in order; `+` is a space, as every client library writes it. `$...` are system parameters."""
    found: dict[str, list[str]] = {}
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            key = _decode(name, "the query")
            if not key.startswith("$"):
                found.setdefault(key, []).append(_decode(value, key))
    return found


def _decode(raw: bytes, name: str) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("is no UTF-8", name[:128])


# ---------------------------------------------------------------- updates


def _imply_mask(method: Method, reader: MessageReader, fields: Fields, body: str) -> None:
    """`{"description": ""}` in an update means what it says.

    A message cannot tell an empty field from one left out, the JSON can: where something was set to its zero value and
    no mask says what changes, the mask becomes what the body named.
    """
    if body in ("", "*") or "update_mask" not in reader.fields or fields.get("update_mask"):
        return
    inner = reader.fields[body].message
    if inner is None or not isinstance(fields.get(body), dict):
        return
    named = list(_named(inner, fields[body], ""))
    if any(zero for _, zero in named):
        fields["update_mask"] = {"paths": [path for path, _ in named]}


def _named(reader: MessageReader, fields: Fields, path: str) -> Iterable[tuple[str, bool]]:
    """Paths that a caller may change, each with whether it is set to a zero that the wire would lose."""
    for name, value in fields.items():
        field = reader.fields[name]
        if is_output_only(field.field) or (not path and name in ("id", "namespace_id")):
            continue
        message = field.field.message_type
        whole = field.repeated or message is None or message.full_name == PAYLOAD or field.message is None
        if whole:
            yield path + name, not field.field.has_presence and not value
        elif field.message is not None:
            yield from _named(field.message, value, f"{path}{name}.")
