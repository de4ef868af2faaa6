"""Requests of any RPC, made from its descriptor: mostly meaningful, partly odd, never chosen by hand.

A request is drawn as a tree (field name → value), in which some strings stand for something that differs between two
tellings of the same sequence: the namespace, and what earlier answers were called. `Telling.build` puts those in. Not
here: bytes that are no request (`noise.py`), sending and comparing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from hypothesis import strategies as st

from controlplane.api.methods import Method, is_required
from tests.spec.story import NOWHERE

NAMESPACE = "<namespace>"
SAID = ("wait_seconds", "namespace_id")
MEMORY = 12  # how far back an id may lie
_REMEMBERED = re.compile(r"<(job|task|schedule|plugin|agent|key)-(\d+)>")

Tree = dict[str, Any]


@dataclass
class Telling:
    """One front's side of a sequence: its namespace, and the ids of its answers by noun, newest last."""

    namespace: str
    ids: dict[str, list[str]] = field(default_factory=dict)

    def build(self, method: Method, tree: Tree) -> Message:
        """The request, with this telling's names in it."""
        return method.input(**self._fill(tree))

    def remember(self, message: Message) -> None:
        """Keep the id of an answer, if it has one."""
        noun = message.DESCRIPTOR.name.lower()
        found = getattr(message, "id", "")
        if isinstance(found, str) and found:
            known = self.ids.setdefault(noun, [])
            if found not in known:
                known.append(found)

    def _fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._fill(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._fill(one) for one in value]
        if isinstance(value, str):
            return _REMEMBERED.sub(self._recall, value).replace(NAMESPACE, self.namespace)
        return value

    def _recall(self, found: re.Match[str]) -> str:
        known = self.ids.get(found[1], [])
        return known[-1 - int(found[2]) % len(known)] if known else NOWHERE


# ---------------------------------------------------------------- leaves


ODD_TEXT = (
    "",
    " ",
    "-",
    "a b/ü?#%",
    "item",
    "x" * 300,
    "0" * 64,
    NOWHERE,
    "𝔘\u202e",
    "%2F",
    "'\"\\",
    "$x",
    "a:b",
    "null",
)
WORDS = ("alpha", "beta", "Gamma.delta-1", "hello-world-job", "échantillon", "tail  ")
_text = st.one_of(st.sampled_from(WORDS), st.sampled_from(ODD_TEXT), st.text(st.characters(codec="utf-8"), max_size=12))
_number = st.one_of(
    st.sampled_from([0.0, 0.05, 1.0, 30.0, 2_000_000.0, -1.0, 1e308, 1e-9, float("inf"), float("nan")]),
    st.floats(0, 1e9),
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.sampled_from(WORDS), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def _ids(noun: str, named: bool) -> st.SearchStrategy[str]:
    remembered = [f"<{noun}-{back}>" for back in range(MEMORY)]
    names = [*WORDS[:4]] if named else []
    return st.one_of(st.sampled_from(remembered + names * 3), _text)


_NAMESPACES = st.sampled_from([*[NAMESPACE] * 12, "nowhere", "A b"])
# Names of what the whole server shares differ between two tellings.
_NAMESPACE_NAMES = st.sampled_from([f"{NAMESPACE}-x", f"{NAMESPACE}-y", "Ü", "A b", ""])

# What belongs to no namespace shares its request ids with everybody, hence the namespace in them.
_REQUEST_IDS = [f"{NAMESPACE}.{number}" for number in range(6)]

# Fields whose values mean something by their name. Times and intervals are far from now, so that nothing happens by
# itself while both tellings go on, and waits are short.
_BY_NAME: Mapping[str, st.SearchStrategy[Any]] = {
    "namespace_id": _NAMESPACES,
    "job_id": _ids("job", named=True),
    "task_id": _ids("task", named=False),
    "schedule_id": _ids("schedule", named=True),
    "agent_id": st.sampled_from([*WORDS[:3], NOWHERE]),
    "name": st.one_of(st.sampled_from(WORDS), _text),
    "interval_seconds": st.sampled_from([0.0, -1.0, 10_000_000.0, 1e300, float("nan")]),
    "cron_expression": st.sampled_from(["0 0 1 1 *", "0 0 12 31 12 ?", "@yearly", "61 * * * *", "* *", ""]),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Mars/Olympus", ""]),
    "wait_seconds": st.sampled_from([0.0, 0.01, 0.02, -1.0, float("nan")]),
    "etag": st.sampled_from(["", "1", '"2"', "*", "yesterday", "-1", "99999999999"]),
    "request_id": st.sampled_from([*[""] * 4, *_REQUEST_IDS, "ü", "x" * 129, f"{NAMESPACE} b"]),
    "order_by": st.lists(st.sampled_from(["id", "-id", "name", "-created_at", "status", "nope", ""]), max_size=2),
    "page_token": st.sampled_from(["", "x", "AAAA"]),
    "page_size": st.sampled_from([0, 1, 3, 20, 1000, 1001, -1]),
    "page": st.sampled_from([0, 1, 2, 501, -1]),
}
_FILTERED = ("id", "name", "status", "job_id", "created_at", "priority", "tags.a", "version", "agent_id", "nope")
_OPERATORS = ("eq", "not", "in", "not_in", "lt", "gte", "contains", "starts_with", "is_null", "between", "nope")


def _value(tree: Any) -> Value:
    return ParseDict(tree, Value())


_filters = st.one_of(
    st.dictionaries(
        st.sampled_from(_FILTERED),
        st.dictionaries(st.sampled_from(_OPERATORS), _JSON, min_size=1, max_size=2),
        max_size=2,
    ),
    _JSON,
).map(_value)

_WELL_KNOWN: Mapping[str, st.SearchStrategy[Any]] = {
    "google.protobuf.Timestamp": st.fixed_dictionaries(
        {"seconds": st.sampled_from([0, 1, 946_684_800, 4_000_000_000, 253_402_300_799]), "nanos": st.just(0)}
    ),
    "google.protobuf.Duration": st.fixed_dictionaries({"seconds": st.sampled_from([-1, 0, 5, 10**6])}),
    "google.protobuf.Value": _filters,
    "google.protobuf.Struct": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    "pawl.v1.Payload": st.fixed_dictionaries(
        {
            "data": st.sampled_from(
                [b"{}", b'{"a": [1, 2.50]}', b"\x00\xff", b"", b"null", b'"x"', b"{", b'{"@data": 1}']
            ),
            "content_type": st.sampled_from(["application/json", "text/plain", "x/y", "", "no type", "text/html; a=b"]),
        }
    ),
    "google.api.HttpBody": st.fixed_dictionaries(
        {
            "data": st.sampled_from([b"\0asm", b"\0asm\x01\0\0\0", b"x" * 99]),
            "content_type": st.just("application/wasm"),
        }
    ),
}


# ---------------------------------------------------------------- messages


@cache
def requests(method: Method) -> st.SearchStrategy[Tree]:
    """Trees of this RPC's request."""
    return _message(method.input.DESCRIPTOR, (), _noun(method))


def _noun(method: Method) -> str:
    noun = method.service.rpartition(".")[2].removesuffix("Service").lower()
    return "task" if noun == "taskinstance" else noun


def _message(descriptor: Any, outer: tuple[str, ...], noun: str) -> st.SearchStrategy[Tree]:
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return known
    always: dict[str, st.SearchStrategy[Any]] = {}
    sometimes: dict[str, st.SearchStrategy[Any]] = {}
    for one in descriptor.fields:
        if descriptor.full_name in outer or one.name == "update_mask":
            continue
        drawn = _field(one, (*outer, descriptor.full_name), noun)
        often = is_required(one) or one.name in ("id", "namespace_id", "page", "wait_seconds")
        (always if often else sometimes)[one.name] = drawn
    if "update_mask" in descriptor.fields_by_name:
        sometimes["update_mask"] = _masks(descriptor)
    return _tree(always, sometimes)


@st.composite
def _tree(
    draw: st.DrawFn, always: Mapping[str, st.SearchStrategy[Any]], sometimes: Mapping[str, st.SearchStrategy[Any]]
) -> Tree:
    """All that is required, now and then but one, and a little of the rest: with much of it, every request would carry
    something that refuses it. How long to wait is always said, for half a minute of nothing shows nothing; and where,
    for what one front makes in `default` is in the way of the other."""
    left_out = draw(st.integers(0, 12 * len(always))) if always else -1
    tree = {name: draw(one) for place, (name, one) in enumerate(always.items()) if place != left_out or name in SAID}
    if sometimes:
        for name in draw(st.lists(st.sampled_from(sorted(sometimes)), max_size=2, unique=True)):
            tree[name] = draw(sometimes[name])
    return tree


def _field(one: FieldDescriptor, outer: tuple[str, ...], noun: str) -> st.SearchStrategy[Any]:
    message: Any = one.message_type
    if message is not None and message.GetOptions().map_entry:
        values = _field(message.fields_by_name["value"], outer, noun)
        return st.dictionaries(st.sampled_from(["a", "B-2", "", "zone", "ü", "x" * 70, "1=2"]), values, max_size=2)
    single = _single(one, outer, noun)
    if not one.is_repeated or one.name == "order_by":
        return single
    return st.lists(single, max_size=3)


def _single(one: FieldDescriptor, outer: tuple[str, ...], noun: str) -> st.SearchStrategy[Any]:
    message: Any = one.message_type
    if message is not None:
        return _message(message, outer, noun)
    if one.name == "name" and noun == "key":
        return _NAMESPACE_NAMES
    if one.name == "namespaces":
        return _NAMESPACES
    if one.name == "id":
        return _NAMESPACE_NAMES if noun == "namespace" else _ids(noun, named=noun in ("job", "schedule"))
    named = _BY_NAME.get(one.name)
    if named is not None:
        return named
    if one.enum_type is not None:
        return st.sampled_from([*one.enum_type.values_by_number, 99])
    if one.type == FieldDescriptor.TYPE_STRING:
        return _text
    if one.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if one.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if one.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _number
    lowest = 0 if one.type in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64) else -1
    return st.sampled_from([lowest, 0, 1, 7, 500, 1000, 2**31 - 1])


def _masks(descriptor: Descriptor) -> st.SearchStrategy[Tree]:
    """Paths of the resource that the request carries, and a few that it does not."""
    fields: Any = descriptor.fields
    resource: Any = next((one.message_type for one in fields if is_required(one) and one.message_type), descriptor)
    paths = [one.name for one in resource.fields] + ["nope", "config.cmd", "*"]
    return st.fixed_dictionaries({"paths": st.lists(st.sampled_from(paths), max_size=3)})
