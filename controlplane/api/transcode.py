"""A request over HTTP as the message it means: path variables, query parameters and body, after google/api/http.proto.

Everything is gathered in one tree of fields and becomes a message in one constructor call. Not here: finding the
binding (`routes.py`), reading JSON (`json_in.py`), HTTP itself (`rest_front.py`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.message import Message

from controlplane.api import json_text
from controlplane.api.json_in import PAYLOAD, FieldReader, Fields, MessageReader, reader_of, special_reader
from controlplane.api.json_scalars import Bad
from controlplane.api.methods import HTTP_BODY, Method, is_output_only
from controlplane.api.routes import Match
from controlplane.domain.errors import Invalid

_BROKEN = re.compile(rb"%(?![0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Query:
    """What stands after the `?`: fields of the request, and the two system parameters."""

    given: Mapping[str, list[str]]
    fields: str | None = None  # $fields
    alt: str | None = None  # $alt


NO_QUERY = Query({})


def read_query(raw: bytes) -> Query:
    """Names and values in order; `+` is a space, as every client library writes it. Raises Invalid."""
    if not raw:
        return NO_QUERY
    found: dict[str, list[str]] = {}
    try:
        for part in raw.split(b"&"):
            if part:
                name, _, value = part.partition(b"=")
                key = _decode(name, "the query")
                if not key:
                    raise Bad("holds a value without a name", "the query")
                found.setdefault(key, []).append(_decode(value, key))
        system = {name: _only(name, found.pop(name)) for name in [*found] if name.startswith("$")}
    except Bad as bad:
        raise Invalid.field(bad.path, bad.problem)
    return Query(found, system.get("$fields"), system.get("$alt"))


def _only(name: str, values: list[str]) -> str:
    if name not in ("$fields", "$alt"):
        raise Bad("is no system parameter: there are $fields and $alt", name[:128])
    if len(values) > 1:
        raise Bad("is given more than once", name)
    return values[0]


def _decode(raw: bytes, name: str) -> str:
    if _BROKEN.search(raw):
        raise Bad("holds a % that is no escape", name[:128])
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("is no UTF-8", name[:128])


def takes_raw_body(match: Match) -> bool:
    """Whether the body is no JSON but bytes of any kind."""
    method, body = match.binding.method, match.binding.rule.body
    descriptor: Any = method.input.DESCRIPTOR
    if body in ("", "*"):
        return bool(body and descriptor.full_name == HTTP_BODY)
    message = descriptor.fields_by_name[body].message_type
    return message is not None and message.full_name == HTTP_BODY


def build_request(match: Match, query: Query, body: bytes, content_type: str) -> Message:
    """The request message. Raises Invalid with the path of the field."""
    binding = match.binding
    method, rule = binding.method, binding.rule
    descriptor: Any = method.input.DESCRIPTOR
    reader = reader_of(descriptor)
    try:
        if rule.body == "*" and (special := special_reader(descriptor)) is not None:
            return _special_request(method, special, body)
        if takes_raw_body(match):
            fields = _raw_body(rule.body, body, content_type)
        else:
            fields = _read_body(reader, rule.body, body)
        for path, text in match.variables:
            _set_variable(reader, fields, path, text)
        if query.given:
            taken = {path for path, _ in match.variables}
            _read_query(reader, fields, query.given, rule.body, taken)
        _imply_mask(method, reader, fields, rule.body)
    except Bad as bad:
        if not bad.path:
            raise json_text.malformed(f"the body {bad.problem}")
        raise Invalid.field(bad.path, bad.problem)
    except RecursionError:
        raise json_text.malformed("the body is nested too deep")
    return method.input(**fields)


# ---------------------------------------------------------------- body


def _special_request(method: Method, special: Callable[[Any], Any], body: bytes) -> Message:
    """A request that is no object of its fields in JSON, such as a Struct."""
    made = special(json_text.scan_whole(json_text.read_text(body)))
    return made if isinstance(made, Message) else method.input(**made)


def _raw_body(where: str, body: bytes, content_type: str) -> Fields:
    if where == "*":
        return {"data": body, "content_type": content_type}
    return {where: {"data": body, "content_type": content_type}} if body else {}


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
    owner, target, field, name = _walk(reader, fields, path)
    value = _read_text(field, text, name)
    present = target.get(field.name)
    if present is not None and present != "" and present != value:
        raise Bad(f"is {present!r} in the body, but {text!r} in the path", name)
    _put(owner, target, field, value, name)


def _walk(reader: MessageReader, fields: Fields, path: str) -> tuple[MessageReader, Fields, FieldReader, str]:
    """The reader and the dict that hold the last field of a path, that field, and the path in the proto's own names."""
    *parents, last = path.split(".")
    if len(parents) > json_text.MAX_DEPTH:
        raise Bad(f"is nested deeper than {json_text.MAX_DEPTH} levels", path[:128])
    names: list[str] = []
    for part in parents:
        field = reader.fields.get(part)
        if field is None:
            raise Bad("there is no such parameter", path[:128])
        if field.message is None or field.repeated:
            raise Bad("cannot be reached into by a parameter: it stands in the body only", field.name)
        names.append(field.name)
        if field.name not in fields:
            _put(reader, fields, field, {}, ".".join(names))
        fields = fields[field.name]
        reader = field.message
    field = reader.fields.get(last)
    if field is None:
        raise Bad(f"there is no such parameter{_near(reader, last, names)}", path[:128])
    return reader, fields, field, ".".join((*names, field.name))


def _near(reader: MessageReader, last: str, above: list[str]) -> str:
    """What somebody may have meant: a field of that name further down, or one that is called nearly so."""
    known: dict[str, str] = {}
    for name, field in reader.fields.items():
        known.setdefault(name, name)
        if field.message is not None and not field.repeated:
            for inner in field.message.fields:
                known.setdefault(inner, f"{field.name}.{inner}")
    found = [last] if last in known else difflib.get_close_matches(last[:64], known, n=1)
    return f"; did you mean {'.'.join((*above, known[found[0]]))}?" if found else ""


def _put(owner: MessageReader, target: Fields, field: FieldReader, value: Any, name: str) -> None:
    try:
        owner.put(target, field, value)
    except Bad as bad:
        raise Bad(bad.problem, name)


def _read_text(field: FieldReader, text: str, name: str) -> Any:
    try:
        return field.read_text(text)
    except Bad as bad:
        raise Bad(bad.problem, name)


def _read_query(
    reader: MessageReader, fields: Fields, given: Mapping[str, list[str]], body: str, taken: set[str]
) -> None:
    if body == "*":
        raise Bad("this call takes no query parameters: it belongs into the body", next(iter(given))[:128])
    seen: set[str] = set()
    for path, texts in given.items():
        name = _walk(reader, {}, path)[3]
        if name in taken:
            raise Bad("is part of the path already", name)
        if body and (name == body or name.startswith(f"{body}.")):
            raise Bad("is part of the body already", name)
        if name in seen:
            raise Bad("is given in two spellings", name)
        seen.add(name)
        _set_parameter(reader, fields, path, name, texts)


def _set_parameter(reader: MessageReader, fields: Fields, path: str, name: str, texts: list[str]) -> None:
    owner, target, field, _ = _walk(reader, fields, path)
    if field.message is not None and not field.repeated and (inner := next(iter(field.message.fields), "")):
        raise Bad(f"cannot be a query parameter as a whole, but its fields can: {name}.{inner} and so on", name)
    if field.is_map or not field.fits_query:
        raise Bad("cannot be a query parameter: it stands in the body only", name)
    if field.repeated:
        target[field.name] = [_read_text(field, text, name) for text in texts]
        return
    if len(texts) > 1:
        raise Bad("is given more than once", name)
    _put(owner, target, field, _read_text(field, texts[0], name), name)


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
