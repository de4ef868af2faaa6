"""`$fields`: the part of an answer that the caller wants, as a mask over what is printed.

Paths are those of a FieldMask, in either case of letters: `id,config.timeout`. A path goes through lists into each of
their elements (`data.id`), and into maps by key, or by `*` for every key. Not here: field masks of updates, which are
a matter of the request.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from controlplane.api.json_in import FieldReader, reader_of
from controlplane.api.json_out import printed_name
from controlplane.domain.errors import Invalid

PARAMETER = "$fields"
Mask = dict[str, Any]  # printed name → the mask of what is inside, or None for all of it
_MAX_PARTS = 1000


def read_mask(text: str, answer: Descriptor, *, camel: bool) -> Mask | None:
    """The mask of these paths; None where they ask for everything. Raises Invalid for what an answer does not have."""
    if text == "*":
        return None
    if text.count(",") + text.count(".") > _MAX_PARTS:
        raise Invalid.field(PARAMETER, f"names more than {_MAX_PARTS} fields")
    mask: Mask = {}
    for path in text.split(","):
        _add(mask, path, answer, camel)
    return mask


def _add(mask: Mask, path: str, descriptor: Descriptor, camel: bool) -> None:
    parts = path.strip().split(".")
    message: Descriptor | None = descriptor
    while parts:
        if message is None:
            raise Invalid.field(PARAMETER, f"{path[:128]!r} goes on where there is no field inside")
        field = _field(message, parts.pop(0), path)
        message = None if field.message is None else field.message.descriptor
        mask = _enter(mask, printed_name(field.field, camel=camel), last=not parts)
        if field.is_map and parts:
            mask, message = _enter(mask, parts.pop(0), last=not parts), _value_type(field.field)


def _field(message: Descriptor, part: str, path: str) -> FieldReader:
    field = reader_of(message).fields.get(part)
    if field is None:
        raise Invalid.field(PARAMETER, f"{path[:128]!r}: the answer has no field {part[:64]!r} there")
    return field


def _enter(mask: Mask, name: str, *, last: bool) -> Mask:
    """One level down; a whole field is not narrowed by a path into it."""
    if last:
        mask[name] = None
        return {}
    inner = mask.setdefault(name, {})
    return inner if inner is not None else {}


def _value_type(field: FieldDescriptor) -> Descriptor | None:
    entry = field.message_type
    assert entry is not None  # of a map
    message = entry.fields_by_name["value"].message_type
    return message if message is not None and reader_of(entry).fields["value"].message is not None else None


def prune(tree: Any, mask: Mask | None) -> Any:
    """What of a printed answer the mask leaves."""
    if mask is None:
        return tree
    if isinstance(tree, list):
        return [prune(one, mask) for one in tree]
    if isinstance(tree, dict):
        every = mask.get("*", _NOTHING)
        left = ((key, value, mask.get(key, every)) for key, value in tree.items())
        return {key: prune(value, inner) for key, value, inner in left if inner is not _NOTHING}
    return tree


_NOTHING: Any = object()
