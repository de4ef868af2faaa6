"""NamespaceService: requests to use cases and back."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from pawl.v1 import access_pb2

from controlplane.api import translate
from controlplane.api.call import Call
from controlplane.domain.namespace import DEFAULT, Namespace
from controlplane.engine.namespaces import Namespaces


class NamespaceService:
    """`pawl.v1.NamespaceService`."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    async def create_namespace(self, call: Call, request: access_pb2.CreateNamespaceRequest) -> access_pb2.Namespace:
        """Creates a namespace."""
        return _answer(
            call, await self._namespaces.create(translate.read_namespace(request.namespace), call.idempotency)
        )

    async def get_namespace(self, call: Call, request: access_pb2.GetNamespaceRequest) -> access_pb2.Namespace:
        """Reads a namespace."""
        return _answer(call, await self._namespaces.get(_allowed(call, request.id, "id")))

    async def list_namespaces(
        self, call: Call, request: access_pb2.ListNamespacesRequest
    ) -> access_pb2.ListNamespacesResponse:
        """Lists namespaces, page by page."""
        page, found = await self._namespaces.list(translate.read_question(DEFAULT, request), call.principal.bound_to)
        return access_pb2.ListNamespacesResponse(data=map(translate.namespace, found), **translate.page_fields(page))

    async def update_namespace(self, call: Call, request: access_pb2.UpdateNamespaceRequest) -> access_pb2.Namespace:
        """Changes a namespace: its description, its cap."""
        changed = await self._namespaces.update(
            _allowed(call, request.namespace.id, "namespace.id"),
            translate.namespace_change(request.namespace, request.update_mask),
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return _answer(call, changed)

    async def delete_namespace(self, call: Call, request: access_pb2.DeleteNamespaceRequest) -> Empty:
        """Deletes a namespace with its jobs and schedules."""
        await self._namespaces.delete(
            _allowed(call, request.id, "id"),
            cascade=translate.read_cascade(request.cascade),
            by=call.principal.subject,
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return Empty()


def _allowed(call: Call, name: str, path: str) -> str:
    """A namespace that the caller may touch. Raises Invalid, Forbidden."""
    found = translate.read_key(name, path)
    call.principal.check(found)
    return found


def _answer(call: Call, one: Namespace) -> access_pb2.Namespace:
    call.response_headers["etag"] = translate.write_etag(one.version)
    return translate.namespace(one)
