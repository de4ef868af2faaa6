"""What a plugin may ask of the world: `http` and `secret`, answered by the agent and only as granted.

The request comes out of a process that runs a stranger's code, so nothing in it is believed: the grant is looked up by
the digest that this agent itself started, at the moment of the call. What needs no rights (log, progress, heartbeat) is
answered inside the guest's process and never comes here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agent.egress import Egress, EgressError, Reach, Request
from agent.redaction import Redactor
from agent.secrets import Secrets, SecretUnreadable

OPS: Final = ("http", "secret")

log = logging.getLogger("pawl.agent.plugins")


class Grant(msgspec.Struct, frozen=True):
    """What an operator allows a plugin, by its digest."""

    http: tuple[str, ...] = ()
    """Hosts, as `HostRule` reads them."""
    http_private: tuple[str, ...] = ()
    """Hosts that may have addresses of the agent's own network."""
    secrets: tuple[str, ...] = ()


FindGrant = Callable[[str, str], Awaitable[Grant]]
"""The grant of a namespace's plugin by digest; an empty one if there is none. Any error: unknown just now."""


@dataclass(slots=True)
class Caller:
    """A run, as its calls know it."""

    namespace_id: str
    digest: str
    http_calls: int
    redactor: Redactor = field(default_factory=Redactor)
    task: asyncio.Task[None] | None = None
    gone: bool = False

    def leave(self) -> None:
        """The run is over: nobody waits for an answer."""
        self.gone = True
        if self.task is not None:
            self.task.cancel()


class _Rejected(Exception):
    """Answered with an error."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class _Asked(msgspec.Struct):
    op: str
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _HttpArgs(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: str | None = None
    body_base64: str | None = None
    timeout_seconds: float = 10.0
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class _Call:
    caller: Caller
    request: bytes
    answer: Callable[[bytes], None]


async def no_grants(_: str, __: str) -> Grant:
    """Nothing is granted to anybody."""
    return Grant()


class HostCalls:
    """Answers calls, each in a task of its own below `serve`."""

    def __init__(
        self, find_grant: FindGrant = no_grants, secrets: Secrets | None = None, egress: Egress | None = None
    ) -> None:
        self._find_grant = find_grant
        self._secrets = secrets or Secrets("", {})
        self._egress = egress or Egress()
        self._group: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Answer calls until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await asyncio.Event().wait()
        finally:
            self._group = None

    def submit(self, caller: Caller, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Answer this request some time; not at all if the caller leaves before that."""
        call = _Call(caller, request, answer)
        if self._group is None:
            answer(_error("UNAVAILABLE", "this agent answers no calls just now", retryable=True))
        else:
            caller.task = self._group.create_task(self._serve_one(call))

    async def _serve_one(self, call: _Call) -> None:
        try:
            reply = msgspec.json.encode({"ok": await self._reply(call.caller, call.request)})
        except (_Rejected, EgressError) as rejected:
            reply = _error(rejected.code, str(rejected), retryable=rejected.retryable)
        except Exception:  # one defect must not take the other runs' calls along
            log.exception("a call of plugin %s failed", call.caller.digest[:12])
            reply = _error("INTERNAL", "the call failed in the agent")
        if not call.caller.gone:
            call.answer(reply)

    async def _reply(self, caller: Caller, request: bytes) -> Mapping[str, object]:
        try:
            asked = msgspec.json.decode(request, type=_Asked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Rejected("INVALID_ARGUMENT", f"the request is not {{op, name, args}} in JSON: {error}") from None
        match asked.op:
            case "http":
                return await self._http(caller, asked.args)
            case "secret":
                return await self._secret(caller, asked)
            case _:
                raise _Rejected("UNSUPPORTED_OP", "the op is not offered here")

    async def _granted(self, caller: Caller) -> Grant:
        try:
            return await self._find_grant(caller.namespace_id, caller.digest)
        except Exception as error:  # whatever the transport raises: without an answer nothing is granted
            raise _Rejected(
                "GRANT_UNKNOWN", f"the plugin's grant cannot be read now: {error}", retryable=True
            ) from None

    async def _secret(self, caller: Caller, asked: _Asked) -> Mapping[str, object]:
        if not asked.name:
            raise _Rejected("INVALID_ARGUMENT", "name: the secret's name is required")
        grant = await self._granted(caller)
        shown = repr(asked.name[:64])
        if asked.name not in grant.secrets:
            raise _Rejected("SECRET_NOT_GRANTED", f"no grant for the secret {shown}")
        try:
            value = await asyncio.to_thread(self._secrets.get, caller.namespace_id, asked.name)
        except SecretUnreadable as error:
            raise _Rejected("SECRET_NOT_FOUND", f"this agent cannot read the secret {shown}: {error}") from None
        if value is None:
            raise _Rejected("SECRET_NOT_FOUND", f"this agent has no secret {shown}")
        caller.redactor.learn(value)  # before the guest has it: from here on it could be said
        return {"value": value}

    async def _http(self, caller: Caller, args: msgspec.Raw) -> Mapping[str, object]:
        caller.http_calls -= 1
        if caller.http_calls < 0:
            raise _Rejected("HTTP_CALLS_EXHAUSTED", "the run has made all the http calls that it may make")
        request = _http_request(args)
        grant = await self._granted(caller)
        try:
            reach = Reach.of(grant.http, grant.http_private)
        except ValueError as error:  # written by a server that knows other rules: then nothing is granted
            raise _Rejected("HTTP_HOST_NOT_GRANTED", f"the grant cannot be read: {error}") from None
        response = await self._egress.fetch(request, reach)
        headers: dict[str, str] = {}
        for name, value in response.headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        reply: dict[str, Any] = {"status": response.status, "url": response.url, "headers": headers}
        try:
            reply["body"] = response.body.decode()
        except UnicodeDecodeError:
            reply["body_base64"] = base64.b64encode(response.body).decode()
        return reply


def _http_request(raw: msgspec.Raw) -> Request:
    try:
        args = msgspec.json.decode(raw, type=_HttpArgs)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Rejected("INVALID_ARGUMENT", f"args: {error}") from None
    if args.body is not None and args.body_base64 is not None:
        raise _Rejected("INVALID_ARGUMENT", "args.body: give it once, as body or as body_base64")
    body = (args.body or "").encode()
    if args.body_base64 is not None:
        try:
            body = base64.b64decode(args.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise _Rejected("INVALID_ARGUMENT", "args.body_base64: is not base64") from None
    return Request(args.method, args.url, args.headers, body, args.timeout_seconds, args.redirects)


def _error(code: str, message: str, *, retryable: bool = False) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message, "retryable": retryable}})
