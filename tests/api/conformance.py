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
from google.api import annotations_pb2
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from pawl.v1 import types_pb2

from controlplane.api.call import Call
from controlplane.api.guard import Guard
from controlplane.api.methods import EVERYONE, Method, table
from controlplane.api.pipeline import Pipeline
from controlplane.api.rest_front import RestApp

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What the contract imports must be in the pool before it.
USED = (annotations_pb2, types_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)


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
    roles = dict.fromkeys(("Get", "Delete", "Post", "Watch"), EVERYONE)
    return dict(table([module], {"conformance.v1.Echo": roles}))


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

    delete = get
    post = get

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

    def __init__(self) -> None:
        self.echo = Echo()
        self.pipeline = Pipeline(methods(), {"conformance.v1.Echo": self.echo}, namespace_exists=exists)
        app: Any = RestApp(self.pipeline, Guard(), self._metrics)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8080")

    async def _metrics(self) -> bytes:
        return self.pipeline.metrics.text()

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
