"""The same call over gRPC and over REST, by clients that share no code with the server.

Not a client to copy: it writes requests as proto JSON says, with protobuf's own library, and reads back what it needs
for comparing (outcome, code, reason, message).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from controlplane.api.json_in import reader_of
from controlplane.api.methods import HttpRule, Kind, Method

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TOKEN = re.compile(r'(?<="next_page_token": ")[^"]+')  # holds the id of the last row
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True)
class Outcome:
    """What a call came to: `OK` with its messages, or a code with its reason."""

    code: str
    reason: str = ""
    messages: tuple[Message, ...] = ()
    text: str = ""

    def alike(self, names: Mapping[str, str]) -> Any:
        """What both fronts must agree on: ids, times and names that differ on purpose are masked."""
        if self.code != "OK":
            return self.code, self.reason
        return "OK", [masked(message, names) for message in self.messages]


def masked(message: Message, names: Mapping[str, str]) -> Any:
    """A message as JSON text without what no two calls have in common."""
    text = json.dumps(MessageToDict(message, preserving_proto_field_name=True), sort_keys=True)
    for name, mask in names.items():
        text = text.replace(name, mask)
    return json.loads(TOKEN.sub("TOKEN", TIME.sub("TIME", ID.sub("ID", text))))


class GrpcFront:
    """Calls over a gRPC channel."""

    name = "grpc"

    def __init__(self, address: str) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channel: Any = grpc.insecure_channel(address, options=options)

    def call(self, method: Method, request: Message) -> Outcome:
        """One call; of an endless stream the first answers."""
        return self.raw(method, request.SerializeToString())

    def raw(self, method: Method, body: bytes) -> Outcome:
        """One call with these bytes."""
        path = f"/{method.name}"
        try:
            if method.kind is Kind.UNARY:
                return Outcome(
                    "OK", messages=(method.output.FromString(self.channel.unary_unary(path)(body, timeout=20)),)
                )
            if method.kind is Kind.SERVER_STREAM:
                answers = self.channel.unary_stream(path)(body, timeout=20)
                return Outcome("OK", messages=tuple(method.output.FromString(one) for one in answers))
            stream = self.channel.stream_unary(path)(iter([body]), timeout=20)
            return Outcome("OK", messages=(method.output.FromString(stream),))
        except grpc.RpcError as error:
            return self._refusal(error)

    @staticmethod
    def _refusal(error: Any) -> Outcome:
        status = Status()
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status.MergeFromString(value)
        return Outcome(error.code().name, _reason(status), text=error.details())


class RestFront:
    """Calls over HTTP/1.1."""

    name = "rest"

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=20)

    def call(self, method: Method, request: Message, rule: HttpRule | None = None) -> Outcome:
        """One call by one binding; if none is named the first that can carry the request: a filter needs a body."""
        if rule is None:
            filtered = any(field.name == "filter" for field, _ in request.ListFields())
            rule = next(one for one in method.rules if one.body == "*" or not filtered)
        verb, url, body, headers = as_http(request, rule)
        return self.raw(method, verb, url, body, headers)

    def raw(
        self, method: Method, verb: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Outcome:
        """One call with these bytes."""
        response = self.client.request(verb, url, content=body, headers=dict(headers or {}))
        if response.status_code not in (200, 503) or (response.status_code == 503 and "error" in response.json()):
            return refusal(response)
        if method.output.DESCRIPTOR.full_name == "google.api.HttpBody":
            found = method.output(data=response.content, content_type=response.headers["content-type"])
            return Outcome("OK", messages=(found,))
        descriptor: Any = method.output.DESCRIPTOR
        reader: Any = reader_of(descriptor)
        lines = response.text.splitlines() if method.kind is Kind.SERVER_STREAM else [response.text]
        if method.kind is Kind.SERVER_STREAM and lines and lines[0].startswith('{"error"'):
            return refused(json.loads(lines[0])["error"])  # it took so long that the head had gone
        return Outcome("OK", messages=tuple(method.output(**reader.read_at(line, 0)[0]) for line in lines))


def refusal(response: httpx.Response) -> Outcome:
    """What an HTTP answer refuses with. Fails when it is not our error shape: no answer may be shapeless."""
    error = response.json()["error"]
    assert error["code"] == response.status_code
    return refused(error)


def refused(error: dict[str, Any]) -> Outcome:
    """What the object of an error says, in an answer or in the middle of one."""
    reasons = [one["reason"] for one in error["details"] if one["@type"].endswith("/google.rpc.ErrorInfo")]
    assert len(reasons) == 1, error
    return Outcome(error["status"], reasons[0], text=error["message"])


def as_http(request: Message, rule: HttpRule) -> tuple[str, str, bytes | None, dict[str, str]]:
    """A request message as verb, URL, body and headers."""
    tree = _long_payloads(request, MessageToDict(request, preserving_proto_field_name=True))
    path = re.sub(r"\{([^}=]+)(=[^}]*)?\}", lambda one: quote(str(_take(tree, one[1])), safe=""), rule.template)
    headers = {"content-type": "application/json"}
    body: bytes | None = None
    if rule.body == "*":
        body = json.dumps(tree).encode()
        tree = {}
    elif rule.body:
        part = tree.pop(rule.body, {})
        descriptor: Any = request.DESCRIPTOR.fields_by_name[rule.body].message_type
        if descriptor.full_name == "google.api.HttpBody":
            module: Any = getattr(request, rule.body)
            body, headers = module.data, {"content-type": module.content_type or "application/wasm"}
        else:
            body = json.dumps(part).encode()
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in _flat(tree, ""))
    return rule.verb, path + ("?" + query if query else ""), body, headers


def _take(tree: Any, path: str) -> Any:
    *parents, last = path.split(".")
    for part in parents:
        tree = tree.get(part, {})
    return tree.pop(last, "")


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _flat(one, f"{prefix}{name}.")
            else:
                yield prefix + name, one if isinstance(one, str) else json.dumps(one)


def _long_payloads(message: Message, tree: Any) -> Any:
    """Payloads in the form that REST takes for any bytes."""
    for field, value in message.ListFields():
        inner: Any = field.message_type
        if inner is None or inner.GetOptions().map_entry:
            continue
        if inner.full_name == "pawl.v1.Payload" and field.is_repeated:
            tree[field.name] = [_long(*pair) for pair in zip(value, tree[field.name], strict=True)]
        elif inner.full_name == "pawl.v1.Payload":
            tree[field.name] = _long(value, tree[field.name])
        elif inner.full_name.startswith("pawl.v1."):
            items = value if field.is_repeated else [value]
            trees = tree[field.name] if field.is_repeated else [tree[field.name]]
            for item, one in zip(items, trees, strict=True):
                _long_payloads(item, one)
    return tree


def _long(value: Any, tree: Mapping[str, str]) -> Mapping[str, str]:
    return {"@content_type": value.content_type or "application/json", "@data": tree.get("data", "")}


def _reason(status: Status) -> str:
    for packed in status.details:
        info = ErrorInfo()
        if packed.Unpack(info):
            return str(info.reason)
    return ""
