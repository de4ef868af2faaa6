"""The recorded form of a conversation: JSON lines, one for each thing that somebody said or did.

    {"from": "user",   "call": "pawl.v1.TaskService/CreateTask", "message": {...}, "answer": {...}}
    {"from": "agent",  "stream": 1, "message": {...}, "wire": "..."}
    {"from": "server", "stream": 1, "message": {...}, "wire": "..."}
    {"from": "agent",  "call": "pawl.v1.AgentService/AppendLogs", "message": {...}, "wire": "...", "answer": {...}}
    {"from": "world",  "does": "cut", "stream": 1}

`message` is for people, in proto JSON; `wire` (base64) is what really travelled, and what is replayed: a field that got
another number is read from it as what it is, an unknown one. Streams are numbered in the order in which they were
opened; `agent` of a stream is in its hello.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from pawl.v1 import agent_pb2

DATA = Path(__file__).resolve().parents[1] / "data" / "stream"
AGENT_TO_SERVER, SERVER_TO_AGENT = agent_pb2.ConnectRequest, agent_pb2.ConnectResponse

M = TypeVar("M", bound=Message)

# A field of a version that nobody knows yet: number 1000, a string.
OF_LATER = b"\xc2\x3e\x05later"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that somebody said or did."""

    said: Mapping[str, Any]
    message: Message | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """user, agent, server or world."""
        return str(self.said["from"])

    @property
    def stream(self) -> int:
        """Of which stream, from 1; 0: of none."""
        return int(self.said.get("stream", 0))

    @property
    def call(self) -> str:
        """The method of a call; empty: none."""
        return str(self.said.get("call", ""))

    @property
    def does(self) -> str:
        """What happens in the world."""
        return str(self.said.get("does", ""))


def text_of(message: Message) -> dict[str, Any]:
    """A message for people."""
    return MessageToDict(message, preserving_proto_field_name=True)


def wire_of(message: Message) -> str:
    """A message as it travels."""
    return base64.b64encode(message.SerializeToString(deterministic=True)).decode()


def conversations() -> list[Path]:
    """Every conversation of every release."""
    return sorted(DATA.glob("*/*.jsonl"))


def read(file: Path) -> list[Line]:
    """A conversation. Raises ParseError where today's contract does not know what was said then."""
    return [_line(json.loads(line)) for line in file.read_text().splitlines()]


def _line(said: Mapping[str, Any]) -> Line:
    if said["from"] == "world":
        return Line(said)
    if "call" in said:
        kind = input_of(str(said["call"]))
    else:
        kind = AGENT_TO_SERVER if said["from"] == "agent" else SERVER_TO_AGENT
    text = ParseDict(said["message"], kind())
    message = kind.FromString(base64.b64decode(said["wire"])) if "wire" in said else text
    assert message == text, f"the bytes do not mean any more what they meant: {said['message']}"
    return Line(said, message, said.get("answer", {}))


def input_of(method: str) -> type[Message]:
    """The class of what a method takes."""
    return message_factory.GetMessageClass(_method(method).input_type)


def output_of(method: str) -> type[Message]:
    """The class of what a method gives."""
    return message_factory.GetMessageClass(_method(method).output_type)


def _method(method: str) -> Any:
    service, _, name = method.partition("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]


def renamed(message: M, names: Mapping[str, str]) -> M:
    """A copy in which each of these strings is another one, wherever it stands as a whole; unknown fields stay."""
    copy = type(message)()
    copy.CopyFrom(message)
    for part in _parts(copy):
        for one, value in part.ListFields():
            if one.type != one.TYPE_STRING:
                continue
            if one.is_repeated:
                value[:] = [names.get(item, item) for item in value]
            elif value in names:
                setattr(part, one.name, names[value])
    return copy


def of_a_later_version(message: M) -> M:
    """A copy with a field that today's contract does not know, in each of its messages."""
    copy = type(message)()
    copy.CopyFrom(message)
    for part in _parts(copy):
        part.MergeFromString(OF_LATER)
    return copy


def _parts(message: Message) -> Iterator[Message]:
    """A message and all messages in it, but entries of maps."""
    yield message
    for one, value in message.ListFields():
        if one.message_type is None or one.message_type.GetOptions().map_entry:
            continue
        for part in value if one.is_repeated else (value,):
            yield from _parts(part)


def lacks(old: Any, new: Any, path: str = "") -> list[str]:
    """Where something new does not say all that the old one said, both as plain data. More may be said."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [found for key, value in old.items() for found in lacks(value, new.get(key), f"{path}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [found for at, pair in enumerate(zip(old, new, strict=True)) for found in lacks(*pair, f"{path}[{at}]")]
    return [] if old == new else [f"{path[1:]}: {old!r} became {new!r}"]
