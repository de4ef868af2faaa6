"""PluginService: requests to use cases and back. Two ways to send a module, one to store it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from pawl.v1 import plugin_pb2

from controlplane.api import translate
from controlplane.api.call import Call
from controlplane.domain.errors import Invalid
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.plugin import Grant
from controlplane.engine.plugins import MAX_MODULE_BYTES, Plugins, too_large

MEDIA_TYPE = "application/wasm"

CREATE_PLUGIN = "pawl.v1.PluginService/CreatePlugin"


class PluginService:
    """`pawl.v1.PluginService`."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    async def upload_plugin(
        self, call: Call, requests: AsyncIterator[plugin_pb2.UploadPluginRequest]
    ) -> plugin_pb2.Plugin:
        """Stores a plugin, sent in pieces."""
        start, module = await _collect(requests)
        key = _key(call, start.request_id, start, module)
        made = await self._plugins.create(call.namespace_id, module, start.name, start.version, key)
        return translate.plugin(made)

    async def create_plugin(self, call: Call, request: plugin_pb2.CreatePluginRequest) -> plugin_pb2.Plugin:
        """Stores a plugin, sent whole."""
        key = _key(call, request.request_id, request, request.module.data)
        made = await self._plugins.create(call.namespace_id, request.module.data, request.name, request.version, key)
        return translate.plugin(made)

    async def get_plugin(self, call: Call, request: plugin_pb2.GetPluginRequest) -> plugin_pb2.Plugin:
        """Reads a plugin by digest, name@version, or name."""
        return translate.plugin(await self._plugins.get(call.namespace_id, translate.read_key(request.id, "id")))

    async def download_plugin(self, call: Call, request: plugin_pb2.DownloadPluginRequest) -> AsyncIterator[HttpBody]:
        """Reads the module's bytes."""
        async for piece in self._plugins.download(call.namespace_id, translate.read_key(request.id, "id")):
            yield HttpBody(content_type=MEDIA_TYPE, data=piece)

    async def list_plugins(self, call: Call, request: plugin_pb2.ListPluginsRequest) -> plugin_pb2.ListPluginsResponse:
        """Lists plugins, page by page."""
        page, found = await self._plugins.list(translate.read_question(call.namespace_id, request))
        return plugin_pb2.ListPluginsResponse(data=map(translate.plugin, found), **translate.page_fields(page))

    async def report_plugin(self, call: Call, request: plugin_pb2.ReportPluginRequest) -> plugin_pb2.Plugin:
        """An agent says whether the module compiles."""
        found = await self._plugins.report(
            call.namespace_id,
            translate.read_key(request.id, "id"),
            agent_id=translate.read_key(request.agent_id, "agent_id"),
            compiles=request.compiles,
            reason=request.reason,
        )
        return translate.plugin(found)

    async def grant_plugin(self, call: Call, request: plugin_pb2.GrantPluginRequest) -> plugin_pb2.Plugin:
        """Allows a plugin what it may reach."""
        wanted = Grant(
            http=tuple(request.http), http_private=tuple(request.http_private), secrets=tuple(request.secrets)
        )
        key = translate.read_key(request.id, "id")
        by = call.principal.subject
        return translate.plugin(await self._plugins.grant(call.namespace_id, key, wanted, by, call.idempotency))

    async def revoke_plugin_grant(self, call: Call, request: plugin_pb2.RevokePluginGrantRequest) -> plugin_pb2.Plugin:
        """Takes a plugin's grant away."""
        key = translate.read_key(request.id, "id")
        return translate.plugin(await self._plugins.revoke(call.namespace_id, key, call.idempotency))

    async def sign_plugin(self, call: Call, request: plugin_pb2.SignPluginRequest) -> plugin_pb2.Plugin:
        """Adds a signature."""
        key = translate.read_key(request.id, "id")
        signed = await self._plugins.sign(
            call.namespace_id, key, request.public_key, request.signature, call.idempotency
        )
        return translate.plugin(signed)

    async def delete_plugin(self, call: Call, request: plugin_pb2.DeletePluginRequest) -> Empty:
        """Deletes a plugin that nothing needs."""
        await self._plugins.delete(call.namespace_id, translate.read_key(request.id, "id"), call.idempotency)
        return Empty()


async def _collect(
    requests: AsyncIterator[plugin_pb2.UploadPluginRequest],
) -> tuple[plugin_pb2.UploadPluginStart, bytes]:
    """The pieces of an upload together. Raises Invalid, Exhausted before memory grows beyond the limit."""
    start: plugin_pb2.UploadPluginStart | None = None
    module = bytearray()
    async for request in requests:
        if request.HasField("start"):
            if start is not None:
                raise Invalid.field("start", "is sent once, in the first message")
            start = request.start
        elif start is None:
            raise Invalid.field("start", "is required in the first message")
        else:
            module += request.data
            if len(module) > MAX_MODULE_BYTES:
                raise too_large()
    if start is None:
        raise Invalid.field("start", "is required in the first message")
    return start, bytes(module)


def _key(
    call: Call,
    request_id: str,
    named: plugin_pb2.UploadPluginStart | plugin_pb2.CreatePluginRequest,
    module: bytes,
) -> IdempotencyKey | None:
    """The key of an upload, in pieces or whole: two ways of making one call, so a repeat may take the other."""
    if not request_id:
        return None
    said = plugin_pb2.UploadPluginStart(name=named.name, version=named.version).SerializeToString(deterministic=True)
    return IdempotencyKey(call.namespace_id, CREATE_PLUGIN, request_id, fingerprint(said + b"\0" + module))
