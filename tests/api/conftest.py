"""The pipeline with the nouns behind it, over an empty database."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from controlplane.api.jobs import JobService
from controlplane.api.methods import table
from controlplane.api.namespaces import NamespaceService
from controlplane.api.pipeline import Pipeline
from controlplane.api.plugins import PluginService
from controlplane.api.schedules import ScheduleService
from controlplane.engine.context import Engine
from controlplane.engine.jobs import Jobs
from controlplane.engine.namespaces import Namespaces
from controlplane.engine.plugins import Plugins
from controlplane.engine.schedules import Schedules
from controlplane.engine.tasks import Tasks
from tests.api.conformance import Front
from tests.engine.conftest import engine, jobs, stopped, tasks

__all__ = ["engine", "jobs", "stopped", "tasks"]

NOUNS = ("Job", "Namespace", "Schedule", "Plugin")


@dataclass
class Nouns:
    """Calls in the form of JSON, as the REST front would make them; `headers` are those of the last answer."""

    pipeline: Pipeline
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, method: str, request: Mapping[str, Any], **metadata: str) -> dict[str, Any]:
        """A unary call, such as `Job/CreateJob`."""
        found = self.pipeline.methods["pawl.v1." + method.replace("/", "Service/")]
        message = ParseDict(dict(request), found.input())
        reply = await self.pipeline.unary(found, message, metadata, "grpc")
        self.headers = dict(reply.headers)
        return MessageToDict(reply.message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)

    async def upload(self, *parts: Message) -> dict[str, Any]:
        """A client stream."""

        async def send() -> AsyncIterator[Message]:
            for part in parts:
                yield part

        found = self.pipeline.methods["pawl.v1.PluginService/UploadPlugin"]
        reply = await self.pipeline.client_stream(found, send(), {}, "grpc")
        return MessageToDict(reply.message, preserving_proto_field_name=True)

    async def download(self, reference: str) -> bytes:
        """A server stream."""
        found = self.pipeline.methods["pawl.v1.PluginService/DownloadPlugin"]
        answers = self.pipeline.stream(found, ParseDict({"id": reference}, found.input()), {}, "grpc")
        return b"".join([answer.data async for answer in answers])  # type: ignore[attr-defined]  # they are HttpBody


@pytest.fixture
def nouns(engine: Engine, tasks: Tasks, jobs: Jobs) -> Nouns:
    """The four nouns as callers reach them."""
    namespaces = Namespaces(engine, tasks)
    services: dict[str, object] = {
        "pawl.v1.JobService": JobService(jobs),
        "pawl.v1.NamespaceService": NamespaceService(namespaces),
        "pawl.v1.ScheduleService": ScheduleService(Schedules(engine)),
        "pawl.v1.PluginService": PluginService(Plugins(engine)),
    }
    methods = {name: method for name, method in table().items() if method.service in services}
    return Nouns(Pipeline(methods, services, namespace_exists=namespaces.exists))


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """The REST front before the conformance service."""
    made = Front()
    yield made
    await made.client.aclose()
