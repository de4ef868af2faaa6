"""A service that answers with what it was asked, from a contract that is compiled here and nowhere else."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from pawl.v1 import types_pb2

from controlplane.api.call import Call
from controlplane.api.guard import Guard
from controlplane.api.methods import ADMIN, EVERYONE, Method, Reach, table
from controlplane.api.pipeline import Pipeline
from controlplane.api.rest_front import RestApp

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What the contract imports must be in the pool before it.
USED = (
    annotations_pb2,
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    httpbody_pb2,
    struct_pb2,
    timestamp_pb2,
    types_pb2,
    wrappers_pb2,
)


@lru_cache(maxsize=1)
def methods() -> dict[str, Method]:
    """The table of the conformance contract."""
    tools = importlib.util.find_spec("grpc_tools")
    common = importlib.util.find_spec("google.api")
    assert tools is not None
    assert tools.submodule_search_locations is not None
    assert common is not None
    assert common.submodule_search_locations is not None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.binpb"
        paths = (
            HERE,
            ROOT / "proto",
            Path(next(iter(common.submodule_search_locations))).parents[1],
            Path(next(iter(tools.submodule_search_locations))) / "_proto",
        )
        command = [sys.executable, "-m", "grpc_tools.protoc", *(f"--proto_path={path}" for path in paths)]
        subprocess.run([*command, f"--descriptor_set_out={target}", "conformance.proto"], check=True, timeout=60)
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool: Any = descriptor_pool.Default()
    pool.Add(files.file[0])
    module = SimpleNamespace(DESCRIPTOR=pool.FindFileByName("conformance.proto"))
    roles = dict.fromkeys((method.name for method in module.DESCRIPTOR.services_by_name["Echo"].methods), EVERYONE)
    roles["Delete"] = ADMIN  # what a viewer may not call is a change
    reach = {f"conformance.v1.Echo/{name}": Reach.KNOWN for name in roles}
    return dict(table([module], {"conformance.v1.Echo": roles}, reach))


class Echo:
    """Keeps what it was asked and answers with it; `failure` is raised instead, or in the middle of a stream."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.calls: list[Call] = []
        self.failure: Exception | None = None

    async def get(self, call: Call, request: Any) -> Any:
        """The request."""
        self.asked.append(request)
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure
        return request

    delete = post = nothing = convert = get

    async def attach(self, call: Call, request: Any) -> Any:
        """The file of the request."""
        return (await self.get(call, request)).file

    async def describe(self, call: Call, request: Any) -> Any:
        """The names of what is inside."""
        found = struct_pb2.ListValue()
        found.extend(sorted((await self.get(call, request)).fields))
        return found

    async def collect(self, call: Call, requests: AsyncIterator[Any]) -> Any:
        """The last request, with the texts and the bytes of all."""
        texts, data = [], []
        last: Any = None
        async for last in requests:
            await self.get(call, last)
            texts.append(last.text)
            data.append(last.file.data)
        answer = type(last)()
        answer.CopyFrom(last)
        answer.texts.extend(texts)
        answer.file.data = b"".join(data)
        return answer

    async def download(self, call: Call, request: Any) -> AsyncIterator[Any]:
        """The file of the request and then another, which breaks off after `failure`."""
        yield httpbody_pb2.HttpBody(content_type=request.text or "text/plain", data=b"abc")
        if self.failure is not None:
            raise self.failure
        yield httpbody_pb2.HttpBody(data=b"def")

    async def watch(self, call: Call, request: Any) -> AsyncIterator[Any]:
        """The request with versions after the one named, up to 3."""
        self.asked.append(request)
        if self.failure is not None and request.text == "at once":
            raise self.failure
        for version in range(request.after_version + 1, 4):
            yield type(request)(text="a\nb", version=version)
        if self.failure is not None:
            raise self.failure


async def exists(namespace: str) -> bool:
    """Only the default namespace does."""
    return namespace == "default"


class Front:
    """The REST front before an echo."""

    def __init__(self, *, guarded: bool = True) -> None:
        self.echo = Echo()
        self.pipeline = Pipeline(methods(), {"conformance.v1.Echo": self.echo}, namespace_exists=exists)
        self.app = RestApp(self.pipeline, Guard(enforced=guarded), self.metrics_text)
        transport = httpx.ASGITransport(app=self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")

    async def metrics_text(self, accept: str) -> tuple[str, bytes]:
        return self.pipeline.metrics.text(accept)

    async def ask(self, verb: str, url: str, body: str | bytes | None = None, **headers: str) -> httpx.Response:
        """One request; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(verb, url, content=body, headers=named)

    async def asked(self, verb: str, url: str, body: str | bytes | None = None, **headers: str) -> Any:
        """What the service was asked. Fails unless the answer is 200."""
        response = await self.ask(verb, url, body, **headers)
        assert response.status_code == 200, response.text
        return self.echo.asked[-1]

    async def refused(self, verb: str, url: str, body: str | bytes | None = None, **headers: str) -> tuple[int, str]:
        """Status and message. Fails when the service was reached."""
        before = len(self.echo.asked)
        response = await self.ask(verb, url, body, **headers)
        assert len(self.echo.asked) == before, "the service was reached"
        return response.status_code, response.json()["error"]["message"]
