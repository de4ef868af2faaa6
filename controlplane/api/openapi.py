"""The OpenAPI 3.1 document, made from the descriptor set: the same bindings, messages and comments that are served.

`document(descriptor_set)` is what `proto/generate.py` calls; the result is checked in as `openapi.json`. The order is
that of the proto files, so the same contract always gives the same bytes. Schemas of messages stand in
`openapi_schemas.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from controlplane.api.methods import HTTP_BODY, Kind, Method, is_repeated, is_required, table
from controlplane.api.openapi_examples import EXAMPLES
from controlplane.api.openapi_limits import BY_UUID, PRINTABLE, TAGS_PATTERN, UUID_PATTERN
from controlplane.api.openapi_schemas import Comments, Schemas
from controlplane.api.routes import template_parameters
from controlplane.version import VERSION

Json = dict[str, Any]

_ABOUT = (
    "The REST form of `pawl.v1`. 64-bit integers are strings; instants are RFC 3339 in UTC. Every call takes `$fields`,"
    " the paths of an answer that are wanted (`id,config.cmd`), and `$alt` (json, ndjson, sse)."
)
_IDEMPOTENCY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Another way to give request_id: a repeat of the same call returns what the first one made.",
    "schema": {"type": "string", "minLength": 1, "pattern": PRINTABLE},
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "The version this change is based on, as the ETag header gave it; 412 when it is another by now.",
    "schema": {"type": "string", "pattern": TAGS_PATTERN},
}
_NAMESPACE: Json = {
    "name": "pawl-namespace",
    "in": "header",
    "description": "The namespace, where the request itself names none. Default `default`.",
    "schema": {"type": "string"},
}
_SCALARS_IN_QUERY = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"})


def document(descriptor_set: bytes) -> Json:
    """The whole document. Comments come from the descriptor set: generated Python code has none."""
    comments = Comments(descriptor_pb2.FileDescriptorSet.FromString(descriptor_set))
    schemas = Schemas(comments)
    paths: Json = {}
    tags: Json = {}
    for method in table().values():
        tag = method.service.rpartition(".")[2].removesuffix("Service")
        for index, rule in enumerate(method.rules):
            path, _ = template_parameters(rule.template)
            operation = _operation(method, index, comments, schemas, tag)
            paths.setdefault(path, {})[rule.verb.lower()] = operation
            tags[tag] = {"name": tag, "description": comments.of(method.service)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pawl",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": list(tags.values()),
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": _error_response()},
            "schemas": schemas.all(),
        },
    }


def _operation(method: Method, index: int, comments: Comments, schemas: Schemas, tag: str) -> Json:
    rule = method.rules[index]
    service, _, rpc = method.name.partition("/")
    text = comments.of(f"{service}.{rpc}")
    operation: Json = {
        "operationId": f"{tag}_{rpc}" + (f"_{index + 1}" if index else ""),
        "summary": text.partition(". ")[0].rstrip("."),
        "description": text,
        "tags": [tag],
        "parameters": list(_parameters(method, index, schemas)),
        "responses": {"200": _answer(method, schemas), "default": {"$ref": "#/components/responses/Error"}},
    }
    if rpc == "GetHealth":
        operation["responses"]["503"] = _answer(method, schemas)
    body = _body(method, rule.body, schemas)
    if body is not None:
        operation["requestBody"] = body
        if method.name in EXAMPLES:
            body["content"]["application/json"]["example"] = EXAMPLES[method.name]
    return operation


# ---------------------------------------------------------------- what goes in


def _parameters(method: Method, index: int, schemas: Schemas) -> Iterable[Json]:
    rule = method.rules[index]
    descriptor: Any = method.input.DESCRIPTOR
    _, variables = template_parameters(rule.template)
    for name, path in variables.items():
        field = _field_at(descriptor, path)
        schema = {**schemas.field(field, described=False), "minLength": 1}
        if name == "id" and method.service in BY_UUID:
            schema["pattern"] = UUID_PATTERN
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": schemas.comment(field),
            "schema": {key: value for key, value in schema.items() if key != "readOnly"},
        }
    if rule.body != "*":
        yield from _query(descriptor, "", rule.body, set(variables.values()), schemas)
    if method.has_request_id:
        yield _IDEMPOTENCY
    if method.has_etag:
        yield _IF_MATCH
    if method.namespaced:
        yield _NAMESPACE


def _field_at(descriptor: Descriptor, path: str) -> FieldDescriptor:
    *parents, last = path.split(".")
    for part in parents:
        inner = descriptor.fields_by_name[part].message_type
        assert inner is not None  # a template that the router takes has messages on the way
        descriptor = inner
    return descriptor.fields_by_name[last]


def _query(descriptor: Descriptor, prefix: str, body: str, taken: set[str], schemas: Schemas) -> Iterable[Json]:
    """The fields that a query can hold: single values, lists of them, and those of messages beside the body."""
    for field in descriptor.fields:
        path = prefix + field.name
        if path == body or path in taken:
            continue
        message = field.message_type
        if message is None or message.full_name in _SCALARS_IN_QUERY:
            schema = schemas.field(field, described=False)
            if schema.pop("readOnly", False):
                continue
            parameter: Json = {"name": path, "in": "query", "description": schemas.comment(field), "schema": schema}
            if is_required(field) and not prefix:
                parameter["required"] = True
            yield parameter
        elif message.full_name.startswith("pawl.v1.") and message.name != "Payload" and _is_single(field):
            yield from _query(message, f"{path}.", "", taken, schemas)


def _is_single(field: FieldDescriptor) -> bool:
    return not is_repeated(field)


def _body(method: Method, where: str, schemas: Schemas) -> Json | None:
    if not where:
        return None
    descriptor: Any = method.input.DESCRIPTOR
    if where == "*":
        required = any(is_required(field) and field.name not in _in_path(method) for field in descriptor.fields)
        return _json_body(schemas.reference(descriptor, without=_in_path(method)), required=required)
    field = descriptor.fields_by_name[where]
    if field.message_type is not None and field.message_type.full_name == HTTP_BODY:
        content: Json = {"application/wasm": {"schema": {}}, "application/octet-stream": {"schema": {}}}
        return {"required": True, "description": schemas.comment(field), "content": content}
    schema = schemas.reference(field.message_type) if method.whole_resource else schemas.patch(field.message_type)
    return _json_body(schema, required=True)


def _in_path(method: Method) -> frozenset[str]:
    return frozenset(path for rule in method.rules for path in template_parameters(rule.template)[1].values())


def _json_body(schema: Json, *, required: bool) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


# ---------------------------------------------------------------- what comes out


def _answer(method: Method, schemas: Schemas) -> Json:
    descriptor: Any = method.output.DESCRIPTOR
    if descriptor.full_name == HTTP_BODY:
        return {"description": "The bytes.", "content": {"application/octet-stream": {"schema": {}}}}
    schema = schemas.reference(descriptor)
    if method.kind is Kind.SERVER_STREAM:
        error = {"$ref": "#/components/schemas/Error"}
        item: Json = {"anyOf": [schema, error]}
        return {
            "description": "A stream. An error on the way is its last line, element, or the event `error`.",
            "content": {
                "application/x-ndjson": {"schema": item},
                "text/event-stream": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": item}},
            },
        }
    answer: Json = {"description": "OK", "content": {"application/json": {"schema": schema}}}
    version = descriptor.fields_by_name.get("version")
    if version is not None and version.type == FieldDescriptor.TYPE_INT32:
        answer["headers"] = {"ETag": {"description": "The version, quoted.", "schema": {"type": "string"}}}
    return answer


def _error_response() -> Mapping[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": "Why there is no answer.", "content": content}
