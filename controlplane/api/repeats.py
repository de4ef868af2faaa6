"""When a call is the same call again: its request id, and the content that both must have in common.

Two requests have the same content when they ask for the same thing, however they came: the namespace may stand in the
request, in a header or in the credential, an etag be quoted or not, and JSON be spaced and ordered by either client.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from controlplane.api.methods import Method
from controlplane.domain.idempotency import IdempotencyKey, fingerprint

LARGE_JSON = 16 * 1024  # beyond it JSON is compared by its bytes: reading it here would hold everybody up
_JSON = frozenset({"", "application/json"})


def idempotency_key(method: Method, request: Any, namespace: str) -> IdempotencyKey | None:
    """What a call with a request id is known by; `namespace` is the one that it is made in."""
    if not request.request_id:
        return None
    own = "namespace_id" if method.namespace_field else None
    return IdempotencyKey(namespace, method.name, request.request_id, content(request, method.resource_field, own))


def content(request: Message, resource_field: str | None, namespace_field: str | None = None) -> bytes:
    """The digest of a request without its request id, and without what only says where it is made."""
    plain: Any = type(request)()
    plain.CopyFrom(request)
    plain.ClearField("request_id")
    has_etag, has_parameters = _shape(plain.DESCRIPTOR, resource_field)
    if namespace_field is not None:
        plain.ClearField(namespace_field)
    if has_etag:
        plain.etag = plain.etag.strip().removeprefix("W/").strip('"')
    if resource_field is not None and plain.HasField(resource_field):
        resource = getattr(plain, resource_field)
        resource.ClearField("namespace_id")
        if has_parameters and resource.HasField("parameters"):
            _plain_payload(resource.parameters)
    return fingerprint(plain.SerializeToString(deterministic=True))


@functools.cache
def _shape(kind: Descriptor, resource_field: str | None) -> tuple[bool, bool]:
    """Whether such a request has an etag, and its resource parameters."""
    fields = kind.fields_by_name
    inner = None if resource_field is None else fields[resource_field].message_type
    return "etag" in fields, inner is not None and "parameters" in inner.fields_by_name


def _plain_payload(payload: Any) -> None:
    if payload.content_type not in _JSON:
        return
    payload.content_type = ""
    if len(payload.data) > LARGE_JSON:
        return
    try:
        value = json.loads(payload.data)
        payload.data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return  # no JSON, or none that is worth the trouble: its bytes count
