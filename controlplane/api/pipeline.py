"""The one path of every call: who, may they, is it well-formed, which namespace, seen before, until when; then the
handler; then errors, trace and metrics. Both fronts are thin adapters over it and decide nothing.

Errors leave as they are (PawlError, or anything for a defect): the fronts print them with `status.failure_of`.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import Message
from pawl.v1 import system_pb2

from controlplane.api.access import Authenticate, admit, anonymous, without_secret
from controlplane.api.call import Call, Principal, Reply
from controlplane.api.intake import Intake
from controlplane.api.methods import HTTP_BODY, Method
from controlplane.api.observed import UNROUTED, Observed, Told, Watch
from controlplane.api.repeats import idempotency_key
from controlplane.api.standing import OverdueError, Standing
from controlplane.api.status import Refused, code_of
from controlplane.api.structure import Structure
from controlplane.api.within import Within
from controlplane.domain.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from controlplane.telemetry import Metrics, Tracing

NamespaceExists = Callable[[str], Awaitable[bool]]
Handler = Callable[[Call, Any], Any]

DEFAULT_NAMESPACE = "default"
LONGEST_NAMESPACE = 63
LONGEST_WAIT_FOR_REPEAT = 30.0
# A server that stops goes on until nothing came for as long as a call may need from its caller's hand to ours, where
# all are busy; and no longer than this in all.
QUIET_SECONDS = 0.2
LINGER_SECONDS = 1.0

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)


class Pipeline:
    """Runs calls. `services` maps a service's full name to the object with its handlers.

    Raises LookupError when a method of the table has no handler: a server with a hole must not start.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        services: Mapping[str, object],
        *,
        namespace_exists: NamespaceExists,
        authenticate: Authenticate = anonymous,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.methods = methods
        self.metrics = metrics or Metrics()
        self.intake = Intake()
        self._watch = Watch(self.metrics, tracing or Tracing())
        self._namespace_exists = namespace_exists
        self._authenticate = authenticate
        self._handlers = {name: _handler(method, services) for name, method in methods.items()}
        self._structures = {name: Structure(method) for name, method in methods.items()}
        self._in_flight: dict[tuple[str, str, str], list[asyncio.Future[None]]] = {}  # who waits for each
        self._watching: set[Standing] = set()
        self._leaving = False
        self._stopping = False
        self._last_came = 0.0  # of time.monotonic()

    async def unary(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str],
        front: str,
        *,
        deadline: float | None = None,
        raw: bytes | None = None,
        principal: Principal | None = None,
    ) -> Reply:
        """One request, one answer. `deadline` is an instant of time.monotonic(), `raw` the request's bytes if known,
        `principal` what `check` has just found.
        """
        with self._observed(method, metadata, front) as seen, _Until(deadline):
            call = await self._admit(method, request, metadata, front, deadline, seen, raw, principal)
            if call.idempotency is None:
                answer = await self._handlers[method.name](call, request)
            else:
                answer = await self._once_at_a_time(call, request)
        return Reply(answer, call.response_headers, _status_hint(answer))

    async def stream(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str],
        front: str,
        *,
        deadline: float | None = None,
        raw: bytes | None = None,
        principal: Principal | None = None,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[Message]:
        """One request, many answers. Close the iterator to end the call. What the service says in headers stands in
        `headers` before its first answer.
        """
        with self._observed(method, metadata, front) as seen:
            with _Until(deadline):
                call = await self._admit(method, request, metadata, front, deadline, seen, raw, principal)
            if headers is not None:
                call.response_headers = headers
            answers = self._handlers[method.name](call, request)
            endless = method.output.DESCRIPTOR.full_name != HTTP_BODY  # a file ends by itself, and is of no use in part
            try:
                async for answer in self._answers(answers, call.principal, deadline, endless=endless):
                    yield answer
            finally:
                await _close(answers)

    async def client_stream(
        self,
        method: Method,
        requests: AsyncIterator[Message],
        metadata: Mapping[str, str],
        front: str,
        *,
        deadline: float | None = None,
    ) -> Reply:
        """Many requests, one answer. The first one says which namespace is meant."""
        with self._observed(method, metadata, front) as seen, _Until(deadline):
            principal = await self._authorise(method, metadata, seen)
            first = await anext(requests, None)
            if first is None:
                raise Invalid(f"{method.name} needs at least one message", reason="MALFORMED_REQUEST")
            self._structures[method.name].check(first, None)
            namespace = _choose_namespace([_first_namespace(first)], metadata, principal)
            await self._check_namespace(namespace)
            call = _call(method, principal, namespace, metadata, front, deadline, seen)
            with Standing(principal.credential) as standing:
                answer = await self._handlers[method.name](call, _chain(first, requests, standing))
        return Reply(answer, call.response_headers)

    async def bidi(
        self, method: Method, requests: AsyncIterator[Message], metadata: Mapping[str, str], front: str
    ) -> AsyncIterator[Message]:
        """Both sides stream. What the messages mean, the namespace included, is the handler's business."""
        with self._observed(method, metadata, front) as seen:
            if self._leaving:
                raise _stopping()
            principal = await self._authorise(method, metadata, seen)
            namespace = _choose_namespace([], metadata, principal)
            answers = self._handlers[method.name](
                _call(method, principal, namespace, metadata, front, None, seen), requests
            )
            try:
                with Standing(principal.credential) as standing:
                    while (answer := await standing.next(answers)) is not None:
                        yield answer
            finally:
                await _close(answers)

    async def check(self, method: Method, metadata: Mapping[str, str], front: str) -> Principal:
        """Who calls, before a front takes the trouble to read a body. Raises Unauthenticated, Forbidden."""
        try:
            return await admit(self._authenticate, method, metadata)
        except (Unauthenticated, Forbidden) as error:
            self.undecodable(method, front, error)
            raise

    def undecodable(self, method: Method, front: str, error: Exception) -> None:
        """Count what a front could not make a message of."""
        self._watch.refused(method.name, front, error, code_of(error))

    def turned_away(self, front: str, error: Exception, request_id: str, method: str = UNROUTED) -> None:
        """A front answers with this error: what did not come through here is counted and told of now."""
        self._watch.turned_away(Told(method, front, request_id, timed=False), error, code_of(error))

    async def linger(self, grace: float) -> None:
        """Go on for a moment before the fronts close: gRPC cancels, and HTTP cuts, calls that were sent before the
        server began to stop and that it has not looked at yet.
        """
        self._leaving = self._watch.leaving = True
        began = time.monotonic()
        while True:
            quiet = max(began, self._last_came) + QUIET_SECONDS
            left = min(quiet, began + min(LINGER_SECONDS, grace)) - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)

    @property
    def leaving(self) -> bool:
        """Whether the server has begun to stop."""
        return self._leaving

    def end_streams(self) -> None:
        """Tell everybody who watches to call again, for good: the server stops, and watching would never end."""
        self._stopping = True
        for standing in tuple(self._watching):
            standing.end(_stopping())

    # ------------------------------------------------------------ the steps

    async def _admit(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str],
        front: str,
        deadline: float | None,
        seen: Observed,
        raw: bytes | None,
        principal: Principal | None,
    ) -> Call:
        if principal is None:
            principal = await self._authorise(method, metadata, seen)
        else:
            seen.told.principal = principal.subject
        _fill_from_headers(method, request, metadata)
        self._structures[method.name].check(request, raw)
        namespace = _choose_namespace(_named_namespaces(method, request), metadata, principal)
        if method.namespaced:
            await self._check_namespace(namespace)
        call = _call(method, principal, namespace, metadata, front, deadline, seen)
        if method.has_request_id:
            call.idempotency = idempotency_key(method, request, namespace)
        return call

    async def _answers(
        self, answers: AsyncIterator[Message], principal: Principal, deadline: float | None, *, endless: bool
    ) -> AsyncIterator[Message]:
        """The same answers; each is waited for until the deadline, the end of the credential or that of the server."""
        with Standing(principal.credential) as standing:
            if endless:
                self._watching.add(standing)
                if self._stopping:
                    standing.end(_stopping())
            try:
                while (answer := await standing.next(answers, deadline)) is not None:
                    yield answer
            except OverdueError:
                raise _too_late() from None
            finally:
                self._watching.discard(standing)

    async def _authorise(self, method: Method, metadata: Mapping[str, str], seen: Observed) -> Principal:
        principal = await admit(self._authenticate, method, metadata)
        seen.told.principal = principal.subject
        return principal

    async def _check_namespace(self, namespace: str) -> None:
        if len(namespace) > LONGEST_NAMESPACE or not await self._namespace_exists(namespace):
            raise NotFound.of_namespace(namespace)

    async def _once_at_a_time(self, call: Call, request: Message) -> Message:
        """A repeat waits for the first of its kind, so that it finds the outcome instead of racing for it."""
        assert call.idempotency is not None
        key = (call.namespace_id, call.method, call.idempotency.request_id)
        while (waiting := self._in_flight.get(key)) is not None:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(ended)
            await _wait_for_earlier(ended, call)
        self._in_flight[key] = []
        try:
            answer: Message = await self._handlers[call.method](call, request)
            return answer
        finally:
            for ended in self._in_flight.pop(key):
                if not ended.done():
                    ended.set_result(None)

    def _observed(self, method: Method, metadata: Mapping[str, str], front: str) -> Observed:
        self._last_came = time.monotonic()
        return Observed(self._watch, method.name, front, metadata, call_id(metadata))


class _Until(Within):
    """Bounds a block by a deadline, and says so in our own words when it passes."""

    __slots__ = ("_deadline",)

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        super().__init__(0.0 if deadline is None else deadline - time.monotonic())

    def __enter__(self) -> None:
        if self._deadline is None:
            return
        if self._seconds <= 0:
            raise Refused("the deadline had passed before anything was done", reason="DEADLINE_EXCEEDED")
        super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._deadline is None:
            return
        try:
            super().__exit__(kind, error, trace)
        except TimeoutError:
            raise _too_late() from error


def _too_late() -> Refused:
    return Refused(
        "the deadline passed; what was asked may have happened: repeat it with the same request id",
        reason="DEADLINE_EXCEEDED",
    )


def _stopping() -> Unavailable:
    return Unavailable("the server stops; call again and go on from the last answer", retry_after_seconds=1.0)


def _handler(method: Method, services: Mapping[str, object]) -> Handler:
    handler = getattr(services.get(method.service), method.attribute, None)
    if handler is None:
        raise LookupError(f"{method.name} has no handler {method.attribute!r}")
    found: Handler = handler
    return found


def _call(
    method: Method,
    principal: Principal,
    namespace: str,
    metadata: Mapping[str, str],
    front: str,
    deadline: float | None,
    seen: Observed,
) -> Call:
    return Call(
        method=method.name,
        principal=principal,
        namespace_id=namespace,
        deadline=deadline,
        metadata=without_secret(metadata),
        request_id=seen.told.request_id,
        idempotency=None,
        trace=seen.trace,
        front=front,
        if_match="if-match" in metadata,
    )


def call_id(metadata: Mapping[str, str]) -> str:
    """X-Request-Id if it is well-formed, else a new one."""
    given = metadata.get("x-request-id", "")
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(64):016x}"  # a name, no secret


def _fill_from_headers(method: Method, request: Any, metadata: Mapping[str, str]) -> None:
    """Idempotency-Key and If-Match are other ways of giving request_id and etag: fields win, contradictions do not."""
    key = metadata.get("idempotency-key")
    if key is not None and method.has_request_id:
        if not key:
            raise Invalid.field("Idempotency-Key", "must be 1 to 128 printable ASCII characters")
        if request.request_id and request.request_id != key:
            raise Invalid.field("request_id", "contradicts the header Idempotency-Key")
        request.request_id = key
    etag = metadata.get("if-match")
    if etag is None:
        return
    if method.has_etag:
        if request.etag and request.etag.strip('"') != etag.strip().strip('"'):
            raise Invalid.field("etag", "contradicts the header If-Match")
        request.etag = etag
    elif method.mutates:
        raise Invalid.field("If-Match", f"{method.name} does not look at versions")


def _named_namespaces(method: Method, request: Any) -> list[str]:
    """What the request says: its own field first, then its resource's."""
    named = [request.namespace_id] if method.namespace_field else []
    if method.resource_field is not None:
        inner = getattr(request, method.resource_field).namespace_id
        if inner and named and named[0] and named[0] != inner:
            raise Invalid.field(
                f"{method.resource_field}.namespace_id", f"is {inner!r}, but namespace_id is {named[0]!r}"
            )
        named.append(inner)
    return named


def _choose_namespace(named: list[str], metadata: Mapping[str, str], principal: Principal) -> str:
    from_call = next(filter(None, named), "") or metadata.get("pawl-namespace", "")
    chosen = from_call or principal.namespace_id or DEFAULT_NAMESPACE
    principal.check(chosen)
    return chosen


def _first_namespace(first: Message) -> str:
    """The namespace in the first message of an upload: in it, or in the part that it carries."""
    for _, value in ((None, first), *first.ListFields()):
        named = getattr(value, "namespace_id", "")
        if named:
            return str(named)
    return ""


async def _wait_for_earlier(ended: asyncio.Future[None], call: Call) -> None:
    patience = LONGEST_WAIT_FOR_REPEAT
    if call.deadline is not None:
        # Answer while the caller still listens: nine tenths of the time that is left.
        patience = min(patience, 0.9 * (call.deadline - time.monotonic()))
    try:
        async with asyncio.timeout(patience):
            await ended
    except TimeoutError:
        assert call.idempotency is not None
        raise Refused(
            f"request {call.idempotency.request_id!r} is still being worked on; repeat it",
            reason="REQUEST_IN_FLIGHT",
            facts={"request_id": call.idempotency.request_id},
        )


async def _chain(first: Message, rest: AsyncIterator[Message], standing: Standing) -> AsyncIterator[Message]:
    yield first
    while (one := await standing.next(rest)) is not None:
        yield one


async def _close(answers: object) -> None:
    close = getattr(answers, "aclose", None)
    if close is not None:
        await close()


def _status_hint(answer: Message) -> int | None:
    """An answer that is itself a status: probes read 503, people read why."""
    if isinstance(answer, system_pb2.Health) and answer.status == system_pb2.Health.NOT_SERVING:
        return 503
    return None
