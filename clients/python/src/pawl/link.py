"""The stream between an agent (or a worker) and the control plane: the agent's end.

Theory of operation. Each direction numbers its messages from 1 and says with each message how far it has taken in the
other one; what is not acknowledged is not done. A stream that breaks is replaced by a new one for ever: the hello names
what is running and what has ended, the control plane says what of it still counts, and results that nobody has
acknowledged are sent again. So a result is delivered at least once, and the token in it makes that enough.

One reader and one writer serve a stream. Whoever has something to say leaves it in the outbox and wakes the writer;
what gathers while a message is being written is the next batch, so an idle agent adds no delay and a busy one sends
large messages. Signs of life and results go before everything that can wait.

This is transport and bookkeeping only. What to run, and what a lease means, is the peer's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import grpc
import grpc.aio

from pawl.channel import rest
from pawl.v1 import agent_pb2, agent_pb2_grpc

PROTOCOL_VERSION: Final = 1
BATCH_BYTES: Final = 1 << 20
"""A batch is closed when it has reached this size."""
WELCOME_SECONDS: Final = 10.0
FIRST_BACKOFF_SECONDS: Final = 0.1
LAST_BACKOFF_SECONDS: Final = 5.0
TROUBLE_SECONDS: Final = 60.0
QUIET_BEATS: Final = 4
QUIET_SECONDS: Final = 5.0
"""No word for so many beats, and for so long, means that the other side is gone though the connection looks alive."""
KEY_ADVICE: Final = " (the key: PAWL_API_KEY_FILE or PAWL_API_KEY)"
FATAL_CODES: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION})

Call = grpc.aio.StreamStreamCall[agent_pb2.ConnectRequest, agent_pb2.ConnectResponse]

_INCIDENT: Final = re.compile(r"\b[0-9a-f]{12}\b")

log = logging.getLogger("pawl.link")


def boot_clock() -> float:
    """Seconds since boot, running on while the machine sleeps: leases are counted with it."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LinkEnded(Exception):
    """The control plane ended this agent's stream for good."""


class TakenOver(LinkEnded):
    """A newer start of the same agent has the stream now."""


class Deleted(LinkEnded):
    """The agent was deleted on the control plane."""


class Refused(LinkEnded):
    """The control plane does not take this agent; connecting again would not change that."""


class _Broken(Exception):
    """The other side broke the rules of the stream; it is replaced by a new one."""


@dataclass(slots=True)
class Result:
    """The end of a run, from the moment it is known until it is acknowledged. Instants are of the boot clock."""

    item: agent_pb2.Finished.Item
    finished_at: float
    started_at: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        """The instance and its token."""
        return self.item.instance.instance_id, self.item.instance.token

    def aged(self) -> agent_pb2.Finished.Item:
        """The item with its ages as of now."""
        now = boot_clock()
        self.item.finished_seconds_ago = max(0.0, now - self.finished_at)
        if self.started_at is not None:
            self.item.started_seconds_ago = max(0.0, now - self.started_at)
        return self.item


class Peer(Protocol):
    """What a link works for. All of these return at once; none of them raises."""

    def hello(self) -> agent_pb2.Hello:
        """Who it is and what it has in hand. `running` and `finished` together name everything it knows."""
        ...

    def reconciled(self, welcome: agent_pb2.Welcome, reconcile: agent_pb2.Reconcile) -> None:
        """A stream is open. The peer says its credits and its starts anew; the link sends the results by itself."""
        ...

    def assigned(self, items: Sequence[agent_pb2.Assign.Item]) -> None:
        """Work, some of it perhaps known already."""
        ...

    def renewed(self, sent_at: float) -> None:
        """All leases hold anew, counted from this instant of the boot clock."""
        ...

    def cancelled(self, items: Sequence[agent_pb2.Cancel.Item]) -> None:
        """Instances to stop, some of them perhaps unknown."""
        ...

    def paused(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Instances to hold still, some of them perhaps unknown, or held already."""
        ...

    def resumed(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        """Instances to let go on, some of them perhaps unknown, or not held."""
        ...

    def drained(self, reason: str) -> None:
        """Take nothing new."""
        ...

    def acknowledged(self, results: Iterable[Result]) -> None:
        """These are committed, or nobody waits for them: they may be forgotten."""
        ...

    def disconnected(self) -> None:
        """The stream is gone; the link opens another."""
        ...

    def metrics(self) -> agent_pb2.AgentMetrics:
        """What the machine uses now."""
        ...


@dataclass(slots=True)
class Outbox:
    """What waits for the writer, each kind in its own queue."""

    beat: int = 0
    accepted: agent_pb2.Accepted = field(default_factory=agent_pb2.Accepted)
    results: deque[Result] = field(default_factory=deque)
    credits: Mapping[str, int] | None = None
    started: deque[agent_pb2.Started.Item] = field(default_factory=deque)
    progress: dict[str, agent_pb2.ProgressReports.Item] = field(default_factory=dict)
    leave: str | None = None

    def forget_stream(self) -> None:
        """Drop what only makes sense on the stream that is gone: the next hello says it all."""
        self.beat = 0
        self.accepted = agent_pb2.Accepted()
        self.credits = None
        self.started.clear()
        self.progress.clear()

    def take(self) -> tuple[agent_pb2.ConnectRequest, list[Result]] | None:
        """The next message, the most urgent kind first, and the results in it."""
        if self.accepted.taken or self.accepted.refused:
            message = agent_pb2.ConnectRequest(accepted=self.accepted)
            self.accepted = agent_pb2.Accepted()
            return message, []
        if self.results:
            return self._take_results()
        if self.credits is not None:
            message = agent_pb2.ConnectRequest(credits=agent_pb2.Credits(free=self.credits))
            self.credits = None
            return message, []
        if self.started:
            message = agent_pb2.ConnectRequest(started=agent_pb2.Started(items=self.started))
            self.started.clear()
            return message, []
        if self.progress:
            return self._take_progress(), []
        return None

    def _take_results(self) -> tuple[agent_pb2.ConnectRequest, list[Result]]:
        message = agent_pb2.ConnectRequest()
        taken: list[Result] = []
        size = 0
        while self.results:
            item = self.results[0].aged()
            size += item.ByteSize()
            if taken and size > BATCH_BYTES:
                break
            message.finished.items.append(item)
            taken.append(self.results.popleft())
        return message, taken

    def _take_progress(self) -> agent_pb2.ConnectRequest:
        message = agent_pb2.ConnectRequest()
        size = 0
        while self.progress and size < BATCH_BYTES:
            item = self.progress.pop(next(iter(self.progress)))
            size += item.ByteSize()
            message.progress.items.append(item)
        return message


class _Stream:
    """The numbers of one stream: what was sent and not acknowledged, what was taken in and not said."""

    def __init__(self) -> None:
        self.welcome: agent_pb2.Welcome | None = None
        self.open = False
        self.over = False
        self.window = 1
        self.sent = 0
        self.acknowledged = 0
        self.received = 0
        self.told = 0
        self.to_tell = 0  # renewals are acknowledged with the next sign of life, all else at once
        self.heard_at = boot_clock()
        self.under_way: deque[tuple[int, list[Result]]] = deque()
        self.beats: deque[tuple[int, float]] = deque()

    def number(self, message: agent_pb2.ConnectRequest, results: list[Result]) -> agent_pb2.ConnectRequest:
        """Give a message its place in the stream."""
        self.sent += 1
        message.seq = self.sent
        message.ack = self.told = self.received
        self.under_way.append((self.sent, results))
        return message

    @property
    def room(self) -> int:
        """How many messages may still be sent before the other side acknowledges one."""
        return self.window - (self.sent - self.acknowledged)

    def settle(self, ack: int) -> list[Result]:
        """Take in an acknowledgement; returns the results that it covers."""
        if ack > self.sent:
            raise _Broken(f"message {ack} was acknowledged, but only {self.sent} were sent")
        self.acknowledged = max(self.acknowledged, ack)
        done: list[Result] = []
        while self.under_way and self.under_way[0][0] <= ack:
            done += self.under_way.popleft()[1]
        return done

    def take_in(self, seq: int) -> bool:
        """Count a message of the other side; False if it carries nothing new."""
        if seq <= self.received:  # 0 too: a bare acknowledgement
            return False
        if seq != self.received + 1:
            raise _Broken(f"message {seq} came after message {self.received}")
        self.received = seq
        return True

    def beat_sent_at(self, beat: int) -> float | None:
        """When a beat was sent, if it is one that still waits for its answer. Forgets the ones before it."""
        found: float | None = None
        while self.beats and self.beats[0][0] <= beat:
            number, sent_at = self.beats.popleft()
            found = sent_at if number == beat else None
        return found


class Link:
    """Keeps a stream open for its peer until it is told to leave, or told for good that it is not wanted."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        peer: Peer,
        *,
        metadata: Callable[[], Sequence[tuple[str, str]]] = tuple,
        first_backoff_seconds: float = FIRST_BACKOFF_SECONDS,
        last_backoff_seconds: float = LAST_BACKOFF_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._channel = channel
        self._stub = agent_pb2_grpc.AgentServiceStub(channel)
        self._peer = peer
        self._metadata = metadata
        self._first_backoff = first_backoff_seconds
        self._last_backoff = last_backoff_seconds
        self._quiet = quiet_seconds
        self._outbox = Outbox()
        self._stream: _Stream | None = None
        self._call: Call | None = None
        self._wake = asyncio.Event()
        self._beats = 0
        self._period: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause: float | None = None
        self._left = False
        self._trouble = ("", 0.0)

    # What the peer says.

    @property
    def connected(self) -> bool:
        """Whether a stream is open and reconciled."""
        return self._stream is not None and self._stream.open

    @property
    def waiting_results(self) -> int:
        """Results that are not acknowledged."""
        under_way = sum(len(results) for _, results in self._stream.under_way) if self._stream else 0
        return len(self._outbox.results) + under_way

    def accept(self, taken: Iterable[agent_pb2.InstanceRef], refused: Iterable[agent_pb2.InstanceRef]) -> None:
        """Say what became of assignments."""
        self._outbox.accepted.taken.extend(taken)
        self._outbox.accepted.refused.extend(refused)
        self._wake.set()

    def started(self, item: agent_pb2.Started.Item) -> None:
        """Say that a program runs."""
        self._outbox.started.append(item)
        self._wake.set()

    def progress(self, item: agent_pb2.ProgressReports.Item) -> None:
        """Say how far a run is; replaces what was said of it and not sent yet."""
        self._outbox.progress[item.instance.instance_id] = item
        self._wake.set()

    def finished(self, result: Result) -> None:
        """Deliver a result, on this stream or on a later one."""
        self._outbox.progress.pop(result.item.instance.instance_id, None)
        self._outbox.results.append(result)
        self._wake.set()

    def withdraw(self, which: Callable[[Result], bool]) -> list[Result]:
        """Take back results that wait to be sent; those under way stay."""
        taken = [result for result in self._outbox.results if which(result)]
        self._outbox.results = deque(result for result in self._outbox.results if not which(result))
        return taken

    def credits(self, free: int, resources: Mapping[str, int] | None = None) -> None:
        """Say how many slots are free, and how much of the agent's resources; the last word counts."""
        self._outbox.credits = {**(resources or {}), "slots": free}
        self._wake.set()

    def beat_every(self, seconds: float | None) -> None:
        """Beat more often than the control plane asks for, because a lease is short; None: as it asks."""
        if seconds == self._period:
            return
        sooner = seconds is not None and (self._period is None or seconds < self._period)
        self._period = seconds
        if sooner and self.connected:
            self._beat_due()

    def leave(self, reason: str) -> None:
        """Once every result is acknowledged, say goodbye and let `run` return."""
        self._outbox.leave = reason
        self._left = True
        self._wake.set()

    # The life of the streams.

    async def run(self) -> None:
        """Keep a stream open. Returns after `leave`; LinkEnded says why there will never be another one."""
        backoff = self._first_backoff
        ended_at = boot_clock()
        while True:
            opened_at = boot_clock()
            was_open = await self._one_stream()
            if self._left and self._outbox.leave is None:
                return
            if was_open:
                ended_at = boot_clock()
            if was_open and boot_clock() - opened_at > self._last_backoff:
                backoff = self._first_backoff
            pause, self._pause = self._pause, None
            if pause is None:
                pause, backoff = backoff, min(backoff * 2, self._last_backoff)
            # Spread, so that the agents of a control plane that comes back do not come all at once.
            await rest(self._channel, pause * random.uniform(0.5, 1.0), away=boot_clock() - ended_at)

    async def _one_stream(self) -> bool:
        """Open a stream and serve it to its end. Whether it ever was reconciled."""
        stream = self._stream = _Stream()
        call = self._call = self._stub.Connect(metadata=tuple(self._metadata()))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WELCOME_SECONDS, call.cancel)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(call, stream))
                try:
                    await self._read(call, stream)
                finally:
                    writer.cancel()
        except ExceptionGroup as group_error:
            self._judge(_first(group_error))
        finally:
            self._timer.cancel()
            call.cancel()
            self._call = None
            self._end(stream)
        return stream.open

    def _end(self, stream: _Stream) -> None:
        """What the stream did not settle goes first on the next one."""
        unsettled = [result for _, results in stream.under_way for result in results]
        self._outbox.results.extendleft(reversed(unsettled))
        self._outbox.forget_stream()
        self._stream = None
        if stream.open:
            self._peer.disconnected()

    def _judge(self, error: BaseException) -> None:
        """Raise what ends the link; what another stream may mend is only said."""
        if isinstance(error, _Broken):
            log.error("the control plane broke the rules of the stream: %s", error)
            return
        if not isinstance(error, grpc.aio.AioRpcError):
            raise error
        code, details = error.code(), error.details() or ""
        if code in FATAL_CODES:
            raise Refused(
                f"the control plane refuses this agent, which speaks version {PROTOCOL_VERSION} of the agent stream:"
                f" {details} ({code.name})"
            )
        words = f"{code.name}: {details}"
        if code is grpc.StatusCode.UNAUTHENTICATED:
            words += KEY_ADVICE
        # The same trouble again is news once a minute: connecting goes on for ever. Incidents have ids of their own.
        trouble = _INCIDENT.sub("", words)
        told = trouble == self._trouble[0] and boot_clock() - self._trouble[1] < TROUBLE_SECONDS
        if self._pause is None and not self._left and not told:
            self._trouble = (trouble, boot_clock())
            log.warning("no stream to the control plane: %s", words)

    async def _read(self, call: Call, stream: _Stream) -> None:
        while True:
            try:
                message = await call.read()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # grpc.aio reports a call that we cut ourselves as a cancellation of whoever reads it.
                log.warning("no word from the control plane for too long: opening a new stream")
                return
            if not isinstance(message, agent_pb2.ConnectResponse):
                return
            stream.heard_at = boot_clock()
            done = stream.settle(message.ack)
            if done:
                self._peer.acknowledged(done)
            if stream.take_in(message.seq):
                if not message.HasField("renew"):
                    stream.to_tell = message.seq
                self._handle(stream, message)
            if stream.over:
                return
            self._wake.set()

    def _handle(self, stream: _Stream, message: agent_pb2.ConnectResponse) -> None:
        kind = message.WhichOneof("message")
        if stream.welcome is None:
            if kind == "goodbye":
                self._goodbye(stream, message.goodbye)
                return
            if kind != "welcome":
                raise _Broken(f"{kind} came before welcome")
            self._welcomed(stream, message.welcome)
            return
        match kind:
            case "reconcile":
                self._reconciled(stream, message.reconcile)
            case "assign":
                self._peer.assigned(message.assign.items)
            case "renew":
                sent_at = stream.beat_sent_at(message.renew.beat)
                if sent_at is not None:
                    self._peer.renewed(sent_at)
            case "cancel":
                self._peer.cancelled(message.cancel.items)
            case "pause" | "resume":
                self._hold(message)
            case "drain":
                self._peer.drained(message.drain.reason)
            case "goodbye":
                self._goodbye(stream, message.goodbye)
            case _:
                # From a newer control plane: what it may not do without it has asked for in the version.
                log.info("a message of an unknown kind was skipped")

    def _hold(self, message: agent_pb2.ConnectResponse) -> None:
        if message.HasField("pause"):
            self._peer.paused(message.pause.instances)
        else:
            self._peer.resumed(message.resume.instances)

    def _welcomed(self, stream: _Stream, welcome: agent_pb2.Welcome) -> None:
        if welcome.protocol_version != PROTOCOL_VERSION:
            older = "the control plane" if welcome.protocol_version < PROTOCOL_VERSION else "this agent"
            raise Refused(
                f"the control plane (Pawl {welcome.server_version}) speaks version {welcome.protocol_version} of the"
                f" agent stream, this agent version {PROTOCOL_VERSION}: upgrade {older}"
            )
        stream.welcome = welcome
        stream.window = max(1, welcome.window)

    def _reconciled(self, stream: _Stream, reconcile: agent_pb2.Reconcile) -> None:
        if stream.open or stream.welcome is None:
            return
        stream.open = True
        forget = {(ref.instance_id, ref.token) for ref in reconcile.forget}
        dropped = [result for result in self._outbox.results if result.key in forget]
        if dropped:
            self._outbox.results = deque(result for result in self._outbox.results if result.key not in forget)
            self._peer.acknowledged(dropped)
        self._peer.reconciled(stream.welcome, reconcile)
        self._beat_due()

    def _goodbye(self, stream: _Stream, goodbye: agent_pb2.Goodbye) -> None:
        stream.over = True
        reason = goodbye.reason
        if reason == agent_pb2.Goodbye.TAKEN_OVER:
            raise TakenOver(f"a newer start of this agent took over: {goodbye.message}")
        if reason == agent_pb2.Goodbye.DELETED:
            raise Deleted(f"this agent was deleted: {goodbye.message}")
        if reason == agent_pb2.Goodbye.PROTOCOL_ERROR:
            log.error("the control plane says that this agent broke the rules of the stream: %s", goodbye.message)
            return
        log.info("the control plane ends the stream: %s", goodbye.message)
        self._pause = max(self._first_backoff, goodbye.reconnect_after_seconds)

    def _beat_due(self) -> None:
        """Ask for a beat, and look whether the other side is still there."""
        stream, call = self._stream, self._call
        if stream is None or stream.welcome is None or call is None:
            return
        period = stream.welcome.heartbeat_seconds or QUIET_SECONDS
        if self._period is not None:
            period = min(period, self._period)
        if boot_clock() - stream.heard_at > max(self._quiet, QUIET_BEATS * period):
            call.cancel()
            return
        self._outbox.beat = self._beats + 1
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(period, self._beat_due)

    # The writer.

    async def _write(self, call: Call, stream: _Stream) -> None:
        # A stream that breaks is the reader's to judge: it sees the status, the writer only that it cannot write.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(stream.number(agent_pb2.ConnectRequest(hello=self._peer.hello()), []))
            while True:
                message = self._next(stream)
                if message is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await call.write(message)
                if message.HasField("leave"):
                    self._outbox.leave = None
                    await call.done_writing()
                    return

    def _next(self, stream: _Stream) -> agent_pb2.ConnectRequest | None:
        outbox = self._outbox
        if stream.open:
            if outbox.beat and stream.room > 0:
                return self._beat(stream)
            # One place is kept for signs of life, or a slow database would cost the leases.
            if stream.room > (1 if stream.window > 1 else 0):
                taken = outbox.take()
                if taken is not None:
                    return stream.number(*taken)
                if outbox.leave is not None and not any(results for _, results in stream.under_way):
                    return stream.number(agent_pb2.ConnectRequest(leave=agent_pb2.Leave(reason=outbox.leave)), [])
        if stream.to_tell > stream.told:
            stream.told = stream.received
            return agent_pb2.ConnectRequest(ack=stream.received)
        return None

    def _beat(self, stream: _Stream) -> agent_pb2.ConnectRequest:
        self._beats = self._outbox.beat
        self._outbox.beat = 0
        stream.beats.append((self._beats, boot_clock()))
        beat = agent_pb2.Heartbeat(beat=self._beats, metrics=self._peer.metrics())
        return stream.number(agent_pb2.ConnectRequest(heartbeat=beat), [])


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors in a group: of a reader and a writer that break together, either tells why."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
