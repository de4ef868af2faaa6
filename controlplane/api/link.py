"""AgentService.Connect: one agent's stream, from hello to goodbye.

Numbers and acknowledgements. Each side counts its messages from 1 and acknowledges what it has taken in. This side
acknowledges a message only when everything in it, and in all before it, is committed: an agent may then forget it. A
report that could not be committed ends the stream, and the agent sends it again on the next one; its token makes the
repetition harmless. Signs of life are the exception, for there are so many: they are stored together some moments
later, nothing that comes behind one waits for that, and neither they nor their answers are acknowledged by messages of
their own.

One reader and one writer. The reader turns messages into use cases and waits for no commit, as long as not too much is
under way; the writer drains the session's outbox into as few messages as fit, within the window of unacknowledged ones.

Whoever does not play by these rules harms nobody else. An agent that sends more than is committed is not read from,
which the transport hands on to it; one that takes nothing in is told goodbye after a time; one that breaks the order
is told which rule it broke.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pawl.v1 import agent_pb2

from controlplane.api import translate_tasks
from controlplane.domain.errors import (
    Exhausted,
    IllegalTransition,
    Invalid,
    NotFound,
    PawlError,
    Unavailable,
    Violation,
)
from controlplane.domain.job_rules import label_problems, name_violations, resource_problems, text_problems
from controlplane.domain.placement import PlacementRules
from controlplane.engine.agents import Agents, Arrival, Beat, Reconciliation
from controlplane.engine.backlog import ROOM_HINT
from controlplane.engine.context import Engine
from controlplane.engine.options import schema_problem
from controlplane.engine.results import Ref, Results
from controlplane.engine.sessions import (
    AssignWork,
    EndStream,
    PauseWork,
    RenewLeases,
    ResumeWork,
    Session,
    Sessions,
    StopWork,
    ToAgent,
    add_units,
)
from controlplane.store.committer import Committer
from controlplane.version import VERSION

if TYPE_CHECKING:
    from controlplane.api.call import Call

_log = structlog.get_logger("controlplane.link")

I = TypeVar("I")  # noqa: E741 - an item of a committer
PROTOCOL_VERSIONS = (1,)
WINDOW = 64
BATCH_BYTES = 1 << 20
MESSAGE_BYTES = 4 << 20
# What of one agent may be on its way into commits; beyond it the agent is not read from.
UNCOMMITTED_MESSAGES = WINDOW
UNCOMMITTED_BYTES = 8 << 20
UNCOMMITTED_ITEMS = 2_000
HELLO_SECONDS = 10.0
MAX_NAMED = 1_000
MAX_SLOTS = 100_000
MAX_CODE_VERSION = 255
HEARTBEAT_SECONDS = 5.0
STARTED_AFTER_SECONDS = 0.25
RENEWAL_SECONDS = 3 * HEARTBEAT_SECONDS  # a renewal is acknowledged with the sign of life that comes after it


@dataclass(slots=True)
class _Stream:
    """The numbers of one stream."""

    session: Session
    within: frozenset[str] | None = None  # the namespaces of the key that opened it; None: all
    sent: int = 0
    acknowledged: int = 0  # by the agent
    committed: int = 0  # of the agent's messages, without a gap
    told: int = 0  # the last acknowledgement that left
    to_tell: int = 0  # the one that has to leave soon; those of signs of life ride with the renewals
    owed: int = 0  # the last message that the agent has to acknowledge soon, for the same reason
    pending: deque[_Taken] = field(default_factory=deque)
    pending_bytes: int = 0
    items: int = 0  # in commits
    beats: int = 0  # among them
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = field(default_factory=time.monotonic)  # the last acknowledgement that was news
    # (seq, what the placements in it take up) of what is not acknowledged yet
    assigned: deque[tuple[int, Mapping[str, int]]] = field(default_factory=deque)
    left: bool = False
    failure: Exception | None = None

    def advance(self) -> None:
        """Acknowledge what is committed without a gap; a failed commit ends the stream."""
        while self.pending and self.failure is None and all(future.done() for future in self.pending[0].futures):
            taken = self.pending.popleft()
            self.pending_bytes -= taken.size
            self.failure = next(filter(None, map(_failure, taken.futures)), None)
            if self.failure is None:
                self.committed = taken.seq
                if not taken.is_beat:
                    self.to_tell = taken.seq
        self.moved.set()
        if self.to_tell > self.told or self.failure is not None:
            self.session.wake.set()

    def beaten(self, number: int, done: asyncio.Future[Any]) -> None:
        """A sign of life is stored, and answered; or is not."""
        self.beats -= 1
        error = _failure(done)
        if error is None:
            self.session.send(RenewLeases(number))
        else:
            self.failure = self.failure or error
            self.session.wake.set()
        self.moved.set()

    def settled(self, _: asyncio.Future[Any]) -> None:
        """An item is committed, or is not."""
        self.items -= 1
        self.moved.set()

    async def room(self, items: int) -> None:
        """Wait until less than so many items are under way, and not too many messages."""
        while self.failure is None and (
            self.items >= items
            or len(self.pending) + self.beats >= UNCOMMITTED_MESSAGES
            or (self.pending and self.pending_bytes >= UNCOMMITTED_BYTES)
        ):
            self.moved.clear()
            await self.moved.wait()

    def take_ack(self, ack: int) -> None:
        """The agent has taken in everything up to this number."""
        if ack > self.sent:
            raise Invalid.field("ack", f"is {ack}, and only {self.sent} messages were sent")
        if ack > self.acknowledged:
            self.acknowledged = ack
            self.heard_at = time.monotonic()
        while self.assigned and self.assigned[0][0] <= self.acknowledged:
            self.assigned.popleft()
        if self.session.outbox:
            self.session.wake.set()

    def silent_until(self, patience: float) -> float | None:
        """When the agent will have acknowledged nothing for too long (time.monotonic); None when it owes nothing."""
        if self.owed > self.acknowledged:
            return self.heard_at + patience
        return self.heard_at + max(patience, RENEWAL_SECONDS) if self.sent > self.acknowledged else None

    def in_flight(self) -> Counter[str]:
        """What placements take up that the agent's last word about its free units did not know of."""
        total: Counter[str] = Counter()
        for one in self.session.outbox:
            if isinstance(one, AssignWork):
                total.update(one.units)
        for _, units in self.assigned:
            total.update(units)
        return total


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message of the agent and what it waits for."""

    seq: int
    size: int
    futures: list[asyncio.Future[Any]]
    is_beat: bool


def _failure(future: asyncio.Future[Any]) -> Exception | None:
    """Why something was not committed. A defect counts as much as a refusal: acknowledged is what is durable."""
    error = None if future.cancelled() else future.exception()
    if future.cancelled() or isinstance(error, asyncio.CancelledError):
        return Unavailable("what was reported was not committed; report it again")
    return error if isinstance(error, Exception) else None


class Link:
    """The stream's side of the control plane.

    `patience`: seconds for which an agent may acknowledge nothing. `age`: seconds after which a stream is replaced by
    a new one, so that agents spread over replicas again; 0: never.
    """

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        agents: Agents,
        results: Results,
        *,
        namespace_exists: Callable[[str], Awaitable[bool]],
        patience: float = 60.0,
        age: float = 0.0,
    ) -> None:
        self._namespace_exists = namespace_exists
        self._patience = patience
        self._age = age
        self._engine = engine
        self._sessions = sessions
        self._agents = agents
        self._results = results

    async def connect(
        self, call: Call, requests: AsyncIterator[agent_pb2.ConnectRequest]
    ) -> AsyncIterator[agent_pb2.ConnectResponse]:
        """Serve one agent until one side ends the stream."""
        try:
            hello = await _first(requests)
            arrival = _read_hello(hello, call.namespace_id)
            for space in dict.fromkeys((arrival.key[0], *arrival.serves)):
                call.principal.check(space)
                if not await self._namespace_exists(space):
                    raise NotFound.of_namespace(space)
            session, plan = await self._agents.arrive(arrival)
        except PawlError:
            self._sessions.traffic.refused += 1
            raise
        bound_to = call.principal.bound_to
        within = None if bound_to is None else frozenset(bound_to)
        stream = _Stream(session, within, committed=hello.seq if hello is not None else 0)
        try:
            yield self._number(stream, welcome=_welcome(session, arrival.protocol_version))
            yield self._number(stream, reconcile=_reconcile(plan))
            async with self._reading(stream, requests):
                async for message in self._write(stream):
                    yield message
        finally:
            self._sessions.traffic.unacknowledged -= stream.sent - stream.acknowledged
            await self._agents.leave(session, on_purpose=stream.left)
            # What was placed and never left this process has not begun.
            unsent = [one for one in session.outbox if isinstance(one, AssignWork)]
            await self._results.release([placement.ref for one in unsent for placement in one.placements])

    @asynccontextmanager
    async def _reading(self, stream: _Stream, requests: AsyncIterator[agent_pb2.ConnectRequest]) -> AsyncIterator[None]:
        """The reader runs beside the writer and ends with it.

        No TaskGroup: this frames the yields of an async generator, whose close would leave a group as an exception
        group around GeneratorExit.
        """
        reader = asyncio.create_task(self._read(stream, requests))  # noqa: TID251 - see above; awaited below
        try:
            yield
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    # --- agent to control plane

    async def _read(self, stream: _Stream, requests: AsyncIterator[agent_pb2.ConnectRequest]) -> None:
        try:
            await self._read_all(stream, requests)
        except Exception as error:  # a defect too must end the stream, which nobody would read from any more
            stream.failure = stream.failure or error
        stream.session.closed = True
        stream.session.wake.set()
        stream.moved.set()

    async def _read_all(self, stream: _Stream, requests: AsyncIterator[agent_pb2.ConnectRequest]) -> None:
        expected = stream.committed + 1
        async for request in requests:
            size = request.ByteSize()
            if size > MESSAGE_BYTES:
                raise Invalid.field("message", f"has {size} bytes; an agent's messages have at most {MESSAGE_BYTES}")
            self._sessions.traffic.messages_in += 1
            self._sessions.traffic.bytes_in += size
            before = stream.acknowledged
            stream.take_ack(request.ack)
            self._sessions.traffic.unacknowledged -= stream.acknowledged - before
            if request.seq == 0:
                continue
            if request.seq != expected:
                raise Invalid.field("seq", f"is {request.seq}, expected {expected}")
            expected += 1
            stream.pending_bytes += size
            futures = await self._take(stream, request)
            stream.pending.append(_Taken(request.seq, size, futures, request.HasField("heartbeat")))
            for future in stream.pending[-1].futures:
                future.add_done_callback(lambda _: stream.advance())
            stream.advance()
            if stream.left or stream.failure is not None:
                return
            await stream.room(UNCOMMITTED_ITEMS)

    async def _take(self, stream: _Stream, request: agent_pb2.ConnectRequest) -> list[asyncio.Future[Any]]:
        kind = request.WhichOneof("message")
        session = stream.session
        if kind == "credits":
            self._credit(stream, request.credits)
            return []
        now = self._engine.clock.now()
        if kind == "finished":
            results = (translate_tasks.read_result(item, now, stream.within) for item in request.finished.items)
            return [await self._submit(stream, self._results.finishing, one) for one in results]
        if kind == "started":
            named = [
                (translate_tasks.read_ref(one.instance, within=stream.within), one) for one in request.started.items
            ]
            starts = ((where, translate_tasks.since(where, now - _age(one.seconds_ago), now)) for where, one in named)
            return [await self._submit(stream, self._results.starting, one) for one in starts]
        if kind == "heartbeat":
            # Nothing waits for its commit but the renewal that answers it: an agent that is not answered beats again.
            metrics = translate_tasks.read_agent_metrics(request.heartbeat.metrics)
            stream.beats += 1
            beat = await self._submit(stream, self._agents.beating, Beat(session, metrics, now))
            beat.add_done_callback(partial(stream.beaten, request.heartbeat.beat))
            return []
        if kind == "progress":
            reports = (translate_tasks.read_progress(item, stream.within) for item in request.progress.items)
            return [await self._submit(stream, self._results.progressing, one) for one in reports]
        if kind == "accepted":
            refused = [translate_tasks.read_ref(one, within=stream.within) for one in request.accepted.refused]
            await self._results.release(refused)
            return []
        if kind == "leave":
            stream.left = True
            return []
        if kind is None:
            # From a newer agent of the same version: what must not be skipped it would have asked for in the version.
            _log.debug("a message of an unknown kind was skipped", agent=session.key[1])
            return []
        raise Invalid.field("message", "is not one that an agent sends after its hello")

    @staticmethod
    async def _submit(stream: _Stream, committer: Committer[I, Any], item: I) -> asyncio.Future[Any]:
        """Hand an item to a commit. What is too much, of this agent or of all, is answered by not reading on."""
        while stream.failure is None and stream.items >= UNCOMMITTED_ITEMS:
            stream.moved.clear()
            await stream.moved.wait()
        while True:
            try:
                future = committer.enqueue(item)
            except Exhausted:
                await asyncio.sleep(0.05)
            else:
                stream.items += 1
                future.add_done_callback(stream.settled)
                return future

    def _credit(self, stream: _Stream, credits: agent_pb2.Credits) -> None:
        session = stream.session
        if "slots" not in credits.free:
            raise Invalid.field("credits.free", "must have the key 'slots'")
        free = min(max(credits.free["slots"], 0), session.slots)
        in_flight = stream.in_flight()
        session.free = max(0, free - in_flight["slots"])
        session.running = session.slots - free + in_flight["slots"]
        session.free_resources = {
            name: max(0, min(credits.free.get(name, 0), most) - in_flight[name])
            for name, most in session.resources.items()
        }
        if session.free:
            self._engine.wakeups.hint(ROOM_HINT)

    # --- control plane to agent

    async def _write(self, stream: _Stream) -> AsyncIterator[agent_pb2.ConnectResponse]:
        session = stream.session
        expiry = time.monotonic() + self._age * random.uniform(1.1, 1.2) if self._age else None
        while True:
            await self._something_to_say(stream, expiry)
            while session.outbox and session.farewell is None and stream.sent - stream.acknowledged < WINDOW:
                if session.backed_up:
                    self._engine.wakeups.hint(ROOM_HINT)  # there is room for work again, or soon
                message = session.outbox.popleft()
                for fields, units in _bodies(message):
                    response = self._number(stream, **fields)
                    if units:
                        stream.assigned.append((response.seq, units))
                    yield response
            if session.farewell is not None:
                yield self._number(stream, goodbye=_goodbye(session.farewell))
                return
            if stream.to_tell > stream.told:
                yield self._bare(stream)
            if isinstance(stream.failure, Invalid):
                broken = EndStream("PROTOCOL_ERROR", stream.failure.message)
                yield self._number(stream, goodbye=_goodbye(broken))
            if stream.failure is not None:
                raise stream.failure
            if session.closed:
                return

    async def _something_to_say(self, stream: _Stream, expiry: float | None) -> None:
        """Wait for it. Raises Unavailable when the agent has acknowledged nothing for too long."""
        silent = stream.silent_until(self._patience)
        due = min((one for one in (silent, expiry) if one is not None), default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await stream.session.wake.wait()
        stream.session.wake.clear()
        silent = stream.silent_until(self._patience)
        if silent is not None and time.monotonic() >= silent:
            raise Unavailable(
                f"this agent acknowledged nothing for {self._patience:g} s; connect again", retry_after_seconds=1.0
            )
        if expiry is not None and time.monotonic() >= expiry:
            stream.session.end(EndStream("SHUTTING_DOWN", "this stream is old; connect again"))

    def _number(self, stream: _Stream, **message: Any) -> agent_pb2.ConnectResponse:
        can_wait = "renew" in message  # to be acknowledged with the next sign of life
        if stream.sent == stream.acknowledged or (stream.owed <= stream.acknowledged and not can_wait):
            stream.heard_at = time.monotonic()
        stream.sent += 1
        if not can_wait:
            stream.owed = stream.sent
        self._sessions.traffic.unacknowledged += 1
        stream.told = stream.committed
        return self._count(agent_pb2.ConnectResponse(seq=stream.sent, ack=stream.committed, **message))

    def _bare(self, stream: _Stream) -> agent_pb2.ConnectResponse:
        stream.told = stream.committed
        return self._count(agent_pb2.ConnectResponse(ack=stream.committed))

    def _count(self, response: agent_pb2.ConnectResponse) -> agent_pb2.ConnectResponse:
        self._sessions.traffic.messages_out += 1
        self._sessions.traffic.bytes_out += response.ByteSize()
        return response


async def _first(requests: AsyncIterator[agent_pb2.ConnectRequest]) -> agent_pb2.ConnectRequest | None:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            return await anext(requests, None)
    except TimeoutError:
        raise Unavailable(f"no hello came within {HELLO_SECONDS:g} s; connect again", retry_after_seconds=1.0)


def _age(seconds: float) -> int:
    return round(min(max(seconds if math.isfinite(seconds) else 0.0, 0.0), 86_400.0 * 366) * 1_000_000)


# ---------------------------------------------------------------- messages


def _read_hello(request: agent_pb2.ConnectRequest | None, namespace_id: str) -> Arrival:
    if request is None or request.WhichOneof("message") != "hello":
        raise Invalid.field("message", "the first message must be the hello")
    hello = request.hello
    if hello.protocol_version not in PROTOCOL_VERSIONS:
        spoken = ", ".join(map(str, PROTOCOL_VERSIONS))
        older = "the server" if hello.protocol_version > PROTOCOL_VERSIONS[-1] else "the agent"
        raise IllegalTransition(
            f"this agent speaks version {hello.protocol_version} of the stream, this server {spoken}: upgrade {older}",
            reason="PROTOCOL_VERSION_UNSUPPORTED",
            facts={"agent_version": str(hello.protocol_version), "server_versions": spoken},
        )
    problems = list(_hello_problems(hello))
    if problems:
        raise Invalid.fields(problems)
    home = hello.namespace_id or namespace_id
    return Arrival(
        key=(home, hello.agent_id),
        state_id=hello.state_id,
        generation=hello.generation,
        labels=dict(hello.labels),
        serves=tuple(hello.serves) or (home,),
        executors=[_executor(one, hello) for one in hello.executors],
        slots=hello.slots,
        hostname=_storable(hello.hostname, 255),
        agent_version=_storable(hello.agent_version, 63),
        protocol_version=hello.protocol_version,
        running=[translate_tasks.read_ref(one, "hello.running") for one in hello.running],
        finished=[translate_tasks.read_ref(one, "hello.finished") for one in hello.finished],
        resources=dict(hello.resources),
        counts_units="units" in hello.features,
    )


def _executor(one: agent_pb2.ExecutorInfo, hello: agent_pb2.Hello) -> dict[str, Any]:
    """An executor as it is kept, with the schema of its options or its functions where it has any."""
    kept: dict[str, Any] = {"name": one.name, "abi": one.abi, "can_pause": one.can_pause}
    if one.options_schema:
        kept["options_schema"] = one.options_schema
    if one.name == "function" and hello.functions:
        kept["functions"] = [{"name": each.name, "code_version": each.code_version} for each in hello.functions]
    return kept


def _storable(text: str, most: int) -> str:
    """What an agent says of itself, as far as it can be stored."""
    return text[:most].replace("\x00", "\ufffd")


def _hello_problems(hello: agent_pb2.Hello) -> Iterator[Violation]:
    yield from name_violations(hello.agent_id, "hello.agent_id")
    yield from label_problems(hello.labels, "hello.labels")
    yield from resource_problems(hello.resources, "hello.resources", least=0)
    if not 1 <= len(hello.state_id) <= 64 or not hello.state_id.isprintable():
        yield Violation("hello.state_id", "must be 1 to 64 printable characters, made with the agent's state folder")
    if not 1 <= hello.slots <= MAX_SLOTS:
        yield Violation("hello.slots", f"must be 1 to {MAX_SLOTS:,}")
    if not hello.executors:
        yield Violation("hello.executors", "must name at least one executor")
    for field_name in ("executors", "serves", "features", "functions"):
        if len(getattr(hello, field_name)) > MAX_NAMED:
            yield Violation(f"hello.{field_name}", f"may name at most {MAX_NAMED:,}")
            return
    for index, one in enumerate(hello.executors):
        yield from name_violations(one.name, f"hello.executors[{index}].name")
        if (problem := schema_problem(one.options_schema)) is not None:
            yield Violation(f"hello.executors[{index}].options_schema", problem)
    if hello.functions and all(one.name != "function" for one in hello.executors):
        yield Violation("hello.functions", "needs the executor 'function' among hello.executors")
    for index, function in enumerate(hello.functions):
        yield from name_violations(function.name, f"hello.functions[{index}].name")
        yield from text_problems(function.code_version, f"hello.functions[{index}].code_version", MAX_CODE_VERSION)
    if hello.namespace_id:
        yield from name_violations(hello.namespace_id, "hello.namespace_id")
    for index, space in enumerate(hello.serves):
        yield from name_violations(space, f"hello.serves[{index}]")


def _welcome(session: Session, version: int) -> agent_pb2.Welcome:
    """In the version that the agent asked for: one that knows no newer one would leave."""
    return agent_pb2.Welcome(
        protocol_version=version,
        session_id=session.session_id,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        server_version=VERSION,
        window=WINDOW,
        started_after_seconds=STARTED_AFTER_SECONDS,
    )


def _reconcile(plan: Reconciliation) -> agent_pb2.Reconcile:
    def refs(found: list[Ref]) -> list[agent_pb2.InstanceRef]:
        return [translate_tasks.ref(one) for one in found]

    return agent_pb2.Reconcile(
        keep=refs(plan.keep), stop=refs(plan.stop), forget=refs(plan.forget), paused=refs(plan.paused)
    )


def _bodies(message: ToAgent) -> Iterator[tuple[dict[str, Any], Mapping[str, int]]]:
    """The messages that say this, each with what the placements in it take up."""
    if isinstance(message, AssignWork):
        yield from _assignments(message)
    elif isinstance(message, StopWork):
        items = [agent_pb2.Cancel.Item(instance=translate_tasks.ref(ref), reason=why) for ref, why in message.refs]
        yield {"cancel": agent_pb2.Cancel(items=items)}, {}
    elif isinstance(message, RenewLeases):
        yield {"renew": agent_pb2.Renew(beat=message.beat)}, {}
    elif isinstance(message, PauseWork):
        yield {"pause": agent_pb2.Pause(instances=map(translate_tasks.ref, message.refs))}, {}
    elif isinstance(message, ResumeWork):
        yield {"resume": agent_pb2.Resume(instances=map(translate_tasks.ref, message.refs))}, {}
    else:
        yield {"drain": agent_pb2.Drain(reason=message.reason)}, {}


def _goodbye(last: EndStream) -> agent_pb2.Goodbye:
    return agent_pb2.Goodbye(
        reason=last.reason,
        message=last.message,
        reconnect_after_seconds=last.reconnect_after,
    )


def _assignments(message: AssignWork) -> Iterator[tuple[dict[str, Any], Mapping[str, int]]]:
    """Batches closed at 1 MiB; a single larger placement travels alone."""
    batch: list[agent_pb2.Assign.Item] = []
    rules: list[PlacementRules] = []
    size = 0
    for one in message.placements:
        item = translate_tasks.placement(one)
        if batch and size + item.ByteSize() > BATCH_BYTES:
            yield {"assign": agent_pb2.Assign(items=batch)}, add_units(rules)
            batch, rules, size = [], [], 0
        batch.append(item)
        rules.append(one.config.placement)
        size += item.ByteSize()
    if batch:
        yield {"assign": agent_pb2.Assign(items=batch)}, add_units(rules)
