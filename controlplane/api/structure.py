"""What can be said against a request by looking at its shape alone: required fields, NUL in strings, request ids.

Compiled once per message type. Not here: rules about values (domain) and whether bytes or JSON are a message at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from controlplane.api.methods import Method, is_repeated, is_required
from controlplane.domain.errors import Invalid, Violation

REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")

_STRING = FieldDescriptor.TYPE_STRING
_MESSAGE = FieldDescriptor.TYPE_MESSAGE


@dataclass(frozen=True, slots=True)
class _Need:
    """One field to look at: whether it must be there, and what must be inside if it is."""

    name: str
    present: Callable[[Message], bool]
    required: bool
    repeated: bool
    inside: tuple[_Need, ...]


class Structure:
    """The checks of one method's request."""

    def __init__(self, method: Method) -> None:
        self._method = method
        descriptor: Any = method.input.DESCRIPTOR
        self._needs = _needs(descriptor, deep=method.whole_resource)

    def check(self, request: Message, raw: bytes | None) -> None:
        """Raise Invalid with every violation. `raw` is the request as bytes, where the caller has them."""
        found = list(_missing(request, self._needs, "")) if _lacks(request, self._needs) else []
        request_id = getattr(request, "request_id", "")
        if request_id and not REQUEST_ID.fullmatch(request_id):
            found.append(Violation("request_id", "must be 1 to 128 printable ASCII characters"))
        # A zero byte in the message is rare and may be part of a number: only then is every string looked at.
        if b"\0" in (request.SerializeToString() if raw is None else raw):
            found.extend(_nuls(request, ""))
        if found:
            raise Invalid.fields(found)


def _needs(descriptor: Descriptor, *, deep: bool, above: tuple[str, ...] = ()) -> tuple[_Need, ...]:
    found = []
    for field in descriptor.fields:
        inside: tuple[_Need, ...] = ()
        message = field.message_type
        if deep and message is not None and _is_ours(message) and message.full_name not in above:
            inside = _needs(message, deep=True, above=(*above, descriptor.full_name))
        if is_required(field) or inside:
            found.append(_Need(field.name, _presence(field), is_required(field), is_repeated(field), inside))
    return tuple(found)


def _is_ours(descriptor: Descriptor) -> bool:
    return descriptor.full_name.startswith("pawl.") and not descriptor.GetOptions().map_entry


def _presence(field: FieldDescriptor) -> Callable[[Message], bool]:
    name = field.name
    if field.has_presence:
        return lambda message: message.HasField(name)
    return lambda message: bool(getattr(message, name))


def _lacks(message: Message, needs: tuple[_Need, ...]) -> bool:
    """Whether something is missing: nearly always nothing is, and then nobody needs its path."""
    for need in needs:
        if not need.present(message):
            if need.required:
                return True
        elif need.inside and need.repeated:
            if any(_lacks(item, need.inside) for item in getattr(message, need.name)):
                return True
        elif need.inside and _lacks(getattr(message, need.name), need.inside):
            return True
    return False


def _missing(message: Message, needs: tuple[_Need, ...], path: str) -> Iterator[Violation]:
    for need in needs:
        if not need.present(message):
            if need.required:
                yield Violation(path + need.name, "is required")
        elif need.inside and need.repeated:
            for index, item in enumerate(getattr(message, need.name)):
                yield from _missing(item, need.inside, f"{path}{need.name}[{index}].")
        elif need.inside:
            yield from _missing(getattr(message, need.name), need.inside, f"{path}{need.name}.")


def _nuls(message: Message, path: str) -> Iterator[Violation]:
    for field, value in message.ListFields():
        where = path + field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _nuls_in_map(field.message_type, value, where)
        elif field.type == _MESSAGE:
            items = enumerate(value) if is_repeated(field) else ((None, value),)
            for index, item in items:
                yield from _nuls(item, f"{where}." if index is None else f"{where}[{index}].")
        elif field.type == _STRING:
            texts = value if is_repeated(field) else (value,)
            if any("\0" in text for text in texts):
                yield Violation(where, "holds a NUL character")


def _nuls_in_map(entry: Descriptor, value: object, where: str) -> Iterator[Violation]:
    inner = entry.fields_by_name["value"]
    for key, item in value.items():  # type: ignore[attr-defined] # a map of any kind: the stubs know no common class
        shown = f"{where}[{key}]".replace("\0", "\\0")
        if "\0" in str(key) or (inner.type == _STRING and "\0" in item):
            yield Violation(shown, "holds a NUL character")
        elif inner.type == _MESSAGE:
            yield from _nuls(item, f"{shown}.")
