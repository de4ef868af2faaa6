"""KeyService: requests to use cases and back."""

from __future__ import annotations

from pawl.v1 import access_pb2

from controlplane.api import translate
from controlplane.api.call import Call, Principal
from controlplane.domain.errors import Invalid
from controlplane.domain.key import ROLES, Authority, Key, KeyDraft
from controlplane.domain.namespace import DEFAULT
from controlplane.engine.keys import Keys


class KeyService:
    """`pawl.v1.KeyService`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def create_key(self, call: Call, request: access_pb2.CreateKeyRequest) -> access_pb2.Key:
        """Creates a key."""
        made = await self._keys.create(_read_key(request.key), _authority(call.principal), call.idempotency)
        answer = _answer(call, made.key)
        answer.secret = made.text
        return answer

    async def get_key(self, call: Call, request: access_pb2.GetKeyRequest) -> access_pb2.Key:
        """Reads a key."""
        return _answer(call, await self._keys.get(translate.read_key(request.id, "id"), _authority(call.principal)))

    async def list_keys(self, call: Call, request: access_pb2.ListKeysRequest) -> access_pb2.ListKeysResponse:
        """Lists keys, page by page."""
        question = translate.read_question(DEFAULT, request)
        page, found = await self._keys.list(question, _authority(call.principal))
        return access_pb2.ListKeysResponse(data=map(as_message, found), **translate.page_fields(page))

    async def revoke_key(self, call: Call, request: access_pb2.RevokeKeyRequest) -> access_pb2.Key:
        """Ends a key for good."""
        ended = await self._keys.revoke(
            translate.read_key(request.id, "id"),
            _authority(call.principal),
            force=request.force,
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return _answer(call, ended)


def _authority(who: Principal) -> Authority:
    return Authority(who.subject, who.roles, who.bound_to, who.expires_at, who.key_id)


def _answer(call: Call, one: Key) -> access_pb2.Key:
    call.response_headers["etag"] = translate.write_etag(one.version)
    return as_message(one)


def as_message(one: Key) -> access_pb2.Key:
    """A key as it is shown, without its secret."""

    def instant(at: int | None) -> object:
        return None if at is None else translate.timestamp(at)

    return access_pb2.Key(
        id=one.id,
        name=one.name,
        description=one.description,
        roles=[role.upper() for role in ROLES if role in one.roles],
        namespaces=one.namespaces,
        expires_at=instant(one.expires_at),  # type: ignore[arg-type] # None leaves it unset, whatever the stubs say
        prefix=one.prefix,
        created_by=one.created_by,
        created_at=translate.timestamp(one.created_at),
        last_used_at=instant(one.last_used_at),  # type: ignore[arg-type] # as above
        revoked_at=instant(one.revoked_at),  # type: ignore[arg-type] # as above
        revoked_by=one.revoked_by or "",
        version=one.version,
    )


def _read_key(message: access_pb2.Key) -> KeyDraft:
    for index, number in enumerate(message.roles):
        if not 1 <= number <= len(ROLES):
            listed = ", ".join(f"{role.upper()} ({number})" for number, role in enumerate(ROLES, 1))
            raise Invalid.field(f"key.roles[{index}]", f"must be one of {listed}, not {number}")
    until = None
    if message.HasField("expires_at"):
        until = translate.read_timestamp(message.expires_at, "key.expires_at")
    return KeyDraft(
        name=message.name,
        description=message.description,
        roles=frozenset(ROLES[number - 1] for number in message.roles),
        namespaces=tuple(dict.fromkeys(message.namespaces)) or None,
        expires_at=until,
    )
