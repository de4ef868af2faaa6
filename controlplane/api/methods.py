"""The table of methods: every RPC of every service, who may call it, where its namespace stands, its HTTP rules.

Everything but the roles is read from the descriptors, so a new RPC is in the table by existing; without a line of its
own in `ROLES` the table refuses to be built. Not here: handlers (`pipeline.py` binds them) and paths' matching
(`routes.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from pawl.v1 import access_pb2, agent_pb2, group_pb2, job_pb2, plugin_pb2, schedule_pb2, system_pb2, task_pb2

HTTP_BODY = "google.api.HttpBody"

FILES = (access_pb2, agent_pb2, group_pb2, job_pb2, plugin_pb2, schedule_pb2, system_pb2, task_pb2)

ADMIN = frozenset({"admin"})
OPERATE = ADMIN | {"operator"}
SUBMIT = OPERATE | {"submitter"}
AGENT = ADMIN | {"agent"}
READ = SUBMIT | {"viewer"}  # a viewer may call exactly what changes nothing
EVERYONE = READ | {"agent"}
ALL_ROLES = EVERYONE

ROLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "pawl.v1.JobService": {
        "CreateJob": OPERATE,
        "GetJob": READ,
        "ListJobs": READ,
        "UpdateJob": OPERATE,
        "DeleteJob": OPERATE,
        "EnableJob": OPERATE,
        "DisableJob": OPERATE,
    },
    "pawl.v1.TaskService": {
        "CreateTask": SUBMIT,
        "BatchCreateTasks": SUBMIT,
        "RunTask": SUBMIT,
        "GetTask": READ,
        "ListTasks": READ,
        "UpdateTask": SUBMIT,
        "DeleteTask": OPERATE,
        "CancelTask": SUBMIT,
        "RetryTask": SUBMIT,
        "PauseTask": SUBMIT,
        "ResumeTask": SUBMIT,
        "SkipTask": SUBMIT,
        "ForceTaskSuccess": OPERATE,
        "ActOnTasks": OPERATE,
        "ListDeadLetters": READ,
        "ReplayDeadLetters": OPERATE,
        "PurgeDeadLetters": OPERATE,
        "WatchTask": READ,
        "ReadTaskLogs": READ,
        "ReadTaskOutput": READ,
        "ListTaskArtifacts": READ,
        "ReadTaskArtifact": READ,
        "ExplainTask": READ,
    },
    "pawl.v1.TaskGroupService": {
        "CreateTaskGroup": SUBMIT,
        "GetTaskGroup": READ,
        "ListTaskGroups": READ,
        "WaitTaskGroup": READ,
        "CancelTaskGroup": SUBMIT,
        "RetryTaskGroup": SUBMIT,
        "DeleteTaskGroup": OPERATE,
    },
    "pawl.v1.TaskInstanceService": {"GetTaskInstance": READ, "ListTaskInstances": READ, "ReadOutput": READ},
    "pawl.v1.ScheduleService": {
        "CreateSchedule": OPERATE,
        "GetSchedule": READ,
        "ListSchedules": READ,
        "UpdateSchedule": OPERATE,
        "DeleteSchedule": OPERATE,
        "EnableSchedule": OPERATE,
        "DisableSchedule": OPERATE,
        "PreviewSchedule": READ,
        "ListScheduleFires": READ,
    },
    "pawl.v1.AgentService": {
        "Connect": AGENT,
        "AppendLogs": AGENT,
        "PutOutput": AGENT,
        "PutArtifact": AGENT,
        "GetAgent": READ,
        "ListAgents": READ,
        "UpdateAgent": OPERATE,
        "DrainAgent": OPERATE,
        "DeleteAgent": OPERATE,
    },
    "pawl.v1.PluginService": {
        "UploadPlugin": OPERATE,
        "CreatePlugin": OPERATE,
        "GetPlugin": EVERYONE,
        "DownloadPlugin": EVERYONE,
        "ListPlugins": READ,
        "ReportPlugin": AGENT,
        "GrantPlugin": OPERATE,
        "RevokePluginGrant": OPERATE,
        "SignPlugin": OPERATE,
        "DeletePlugin": OPERATE,
    },
    "pawl.v1.NamespaceService": {
        "CreateNamespace": ADMIN,
        "GetNamespace": READ,
        "ListNamespaces": READ,
        "UpdateNamespace": ADMIN,
        "DeleteNamespace": ADMIN,
    },
    "pawl.v1.KeyService": {
        "CreateKey": ADMIN,
        "GetKey": EVERYONE,  # those who are no admins: their own
        "ListKeys": EVERYONE,
        "RevokeKey": ADMIN,
    },
    "pawl.v1.SystemService": {
        "GetHealth": EVERYONE,
        "GetInfo": EVERYONE,
        "GetMetrics": READ,
        "GetGatewayStats": READ,
        "GetLogLevel": READ,
        "UpdateLogLevel": ADMIN,
        "ListSettings": READ,
    },
}


class Reach(Enum):
    """How far a call reaches beyond one namespace, and so what a key must be good for."""

    NAMESPACE = "one namespace, which the pipeline checks"
    HANDLER = "what the key is bound to, which the handler checks"
    EVERYWHERE = "the whole control plane: a key that is bound to namespaces may not"
    KNOWN = "nothing of anybody's: any key will do"
    ANYBODY = "nothing of anybody's: no key is needed"


# Every RPC that is not about one namespace by its request's own fields.
REACH: Mapping[str, Reach] = {
    "pawl.v1.AgentService/Connect": Reach.HANDLER,  # the hello names namespaces
    "pawl.v1.PluginService/UploadPlugin": Reach.NAMESPACE,  # named in its first message
    "pawl.v1.NamespaceService/CreateNamespace": Reach.EVERYWHERE,
    "pawl.v1.NamespaceService/GetNamespace": Reach.HANDLER,
    "pawl.v1.NamespaceService/ListNamespaces": Reach.HANDLER,
    "pawl.v1.NamespaceService/UpdateNamespace": Reach.HANDLER,
    "pawl.v1.NamespaceService/DeleteNamespace": Reach.HANDLER,
    "pawl.v1.KeyService/CreateKey": Reach.HANDLER,
    "pawl.v1.KeyService/GetKey": Reach.HANDLER,
    "pawl.v1.KeyService/ListKeys": Reach.HANDLER,
    "pawl.v1.KeyService/RevokeKey": Reach.HANDLER,
    "pawl.v1.SystemService/GetHealth": Reach.ANYBODY,
    "pawl.v1.SystemService/GetInfo": Reach.KNOWN,
    "pawl.v1.SystemService/GetMetrics": Reach.EVERYWHERE,
    "pawl.v1.SystemService/GetGatewayStats": Reach.EVERYWHERE,
    "pawl.v1.SystemService/GetLogLevel": Reach.EVERYWHERE,
    "pawl.v1.SystemService/UpdateLogLevel": Reach.EVERYWHERE,
    "pawl.v1.SystemService/ListSettings": Reach.EVERYWHERE,
}

# Where REQUIRED inside a resource holds: an update sends the part that changes, a preview may name a stored schedule.
_WHOLE_RESOURCE = re.compile(r"Create|Run")


class Kind(Enum):
    """Which sides of a call are streams."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    CLIENT_STREAM = "client_stream"
    BIDI = "bidi"


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One binding of `google.api.http`: `body` is empty (none), `*` or the name of a field."""

    verb: str
    template: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    name: str  # "pawl.v1.JobService/CreateJob"
    service: str
    attribute: str  # of the service's class: "create_job"
    kind: Kind
    input: type[Message]
    output: type[Message]
    roles: frozenset[str]
    reach: Reach
    mutates: bool
    namespace_field: bool  # the request has a namespace_id of its own
    resource_field: str | None  # the field with the resource, if the resource has a namespace_id
    has_request_id: bool
    has_etag: bool
    whole_resource: bool
    rules: tuple[HttpRule, ...]

    @property
    def namespaced(self) -> bool:
        """Whether the call means something inside one namespace."""
        return self.namespace_field or self.resource_field is not None


def table(
    files: Iterable[Any] = FILES,
    roles: Mapping[str, Mapping[str, frozenset[str]]] = ROLES,
    reach: Mapping[str, Reach] = REACH,
) -> Mapping[str, Method]:
    """Every RPC of these generated modules by its full name. Raises LookupError where a line of a table is missing."""
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    found = {}
    for service in services:
        for descriptor in service.methods:
            method = _method(service, descriptor, roles, reach)
            found[method.name] = method
    return found


def _method(
    service: ServiceDescriptor,
    rpc: MethodDescriptor,
    roles: Mapping[str, Mapping[str, frozenset[str]]],
    reaches: Mapping[str, Reach],
) -> Method:
    name = f"{service.full_name}/{rpc.name}"
    allowed = roles.get(service.full_name, {}).get(rpc.name)
    if allowed is None:
        raise LookupError(f"{name} has no line in the table of roles")
    fields = rpc.input_type.fields_by_name
    resource_field = _resource_field(rpc.input_type)
    named = "namespace_id" in fields or resource_field is not None
    reach = Reach.NAMESPACE if named else reaches.get(name)
    if reach is None:
        raise LookupError(f"{name} names no namespace and has no line in the table of reach")
    return Method(
        name=name,
        service=service.full_name,
        attribute=snake(rpc.name),
        kind=_kind(rpc),
        input=message_factory.GetMessageClass(rpc.input_type),
        output=message_factory.GetMessageClass(rpc.output_type),
        roles=allowed,
        reach=reach,
        mutates="viewer" not in allowed,
        namespace_field="namespace_id" in fields,
        resource_field=resource_field,
        has_request_id="request_id" in fields,
        has_etag="etag" in fields,
        whole_resource=_WHOLE_RESOURCE.match(rpc.name) is not None,
        rules=tuple(_rules(rpc)),
    )


def snake(name: str) -> str:
    """CreateJob → create_job."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _kind(rpc: MethodDescriptor) -> Kind:
    if rpc.client_streaming:
        return Kind.BIDI if rpc.server_streaming else Kind.CLIENT_STREAM
    return Kind.SERVER_STREAM if rpc.server_streaming else Kind.UNARY


def _resource_field(request: Descriptor) -> str | None:
    for field in request.fields:
        message = None if is_repeated(field) or not is_required(field) else field.message_type
        if message is not None and "namespace_id" in message.fields_by_name:
            return field.name
    return None


def _rules(rpc: MethodDescriptor) -> Iterable[HttpRule]:
    options = rpc.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    main = options.Extensions[annotations_pb2.http]
    for rule in (main, *main.additional_bindings):
        pattern = rule.WhichOneof("pattern")
        if pattern == "custom":
            yield HttpRule(rule.custom.kind, rule.custom.path, rule.body, rule.response_body)
        elif pattern is not None:
            yield HttpRule(pattern.upper(), getattr(rule, pattern), rule.body, rule.response_body)


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field is a list or a map."""
    return bool(field.is_repeated)


def is_required(field: FieldDescriptor) -> bool:
    """Whether a caller must give this field (google.api.field_behavior)."""
    return _behaves(field, field_behavior_pb2.REQUIRED)


def is_output_only(field: FieldDescriptor) -> bool:
    """Whether only the server sets this field."""
    return _behaves(field, field_behavior_pb2.OUTPUT_ONLY)


def _behaves(field: FieldDescriptor, behavior: int) -> bool:
    return behavior in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
