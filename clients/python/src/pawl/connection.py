"""A channel to the control plane and the rules of every call on it: request ids, deadlines, repeats, errors.

Theory of operation. A mutation is given a request id before it is first sent, so the same call can be repeated after
any failure that leaves its outcome open: the server answers a repeat with what the first one made. Unary calls are
repeated within their deadline while the server is unreachable; streams go on from where they were.

Knows nothing of what the calls mean: `client.py` does.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from pawl import address
from pawl.channel import CHANNEL_OPTIONS, rest
from pawl.credential import Credential
from pawl.errors import PawlError, from_call
from pawl.tracing import here

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call goes on trying. Pauses double from first to longest, each cut by chance, to half at most."""

    seconds: float = 15.0
    """For a call while the server is out of reach; never beyond the call's own deadline."""
    stream_seconds: float = 60.0
    """For a stream that has already brought something."""
    first_pause: float = 0.1
    longest_pause: float = 2.0

    def pause(self, attempt: int, error: PawlError) -> float:
        """Seconds before the next attempt."""
        grown = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 16))
        return max(error.retry_after or 0.0, grown * random.uniform(0.5, 1.0))


class Connection:
    """One channel. Made outside of a loop or in one; the channel is opened by the first call."""

    def __init__(
        self, server: str, namespace: str, timeout: float, patience: Patience, credential: Credential | None = None
    ) -> None:
        self.address = address.parse(server)
        self.credential = credential or Credential()
        self.namespace = namespace
        self._timeout = timeout
        self._patience = patience
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, for stubs."""
        if self._channel is None:
            target, options = self.address.target, list(CHANNEL_OPTIONS)
            if self.address.tls:
                self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=options)
            else:
                self._channel = grpc.aio.insecure_channel(target, options=options)
        return self._channel

    async def close(self) -> None:
        """Close the channel; calls on it end as CANCELLED."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def unary(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, timeout: float | None = None
    ) -> A:
        """Send a request until it is answered, refused, or out of time. Raises PawlError."""
        stamp(request)

        async def once(left: float) -> A:
            return await method(request, timeout=left, metadata=self.metadata)

        return await self.repeated(once, timeout)

    async def repeated(self, once: Callable[[float], Awaitable[A]], timeout: float | None = None) -> A:
        """Make a call, given the seconds left for it, until it is answered, refused, or out of time."""
        begun = time.monotonic()
        deadline = begun + (self._timeout if timeout is None else timeout)
        giving_up = min(deadline, begun + self._patience.seconds)
        for attempt in itertools.count():
            try:
                return await once(max(0.001, deadline - time.monotonic()))
            except grpc.aio.AioRpcError as error:
                failure = from_call(error)
            pause = self._patience.pause(attempt, failure)
            if not failure.repeatable or time.monotonic() + pause >= giving_up:
                raise failure
            await rest(self.channel, pause)
        raise AssertionError("counting never ends")  # for the type checker

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Q, A],
        request: Q,
        go_on_after: Callable[[A], None] | None = None,
    ) -> AsyncIterator[A]:
        """What a server stream brings. `go_on_after` notes in the request how far it came, so that a stream which
        breaks can be opened anew from there; without it a break after the first message is an error. Raises PawlError.
        """
        giving_up, attempt, moved = time.monotonic() + self._patience.seconds, 0, False
        while True:
            try:
                async for answer in method(request, metadata=self.metadata):
                    moved = True
                    if go_on_after is not None:
                        go_on_after(answer)
                    giving_up, attempt = time.monotonic() + self._patience.stream_seconds, 0
                    yield answer
                return
            except grpc.aio.AioRpcError as error:
                failure = from_call(error)
            pause = self._patience.pause(attempt, failure)
            lost_its_place = moved and go_on_after is None
            if not failure.repeatable or lost_its_place or time.monotonic() + pause >= giving_up:
                raise failure
            attempt += 1
            await rest(self.channel, pause)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call: also the caller's place in a trace, so that what a program asks for is in its."""
        namespace = (("pawl-namespace", self.namespace),) if self.namespace else ()
        return namespace + self.credential.metadata + here().headers()


def stamp(request: Message) -> None:
    """Give a mutation that has no request id one, so that it can be repeated."""
    if "request_id" in request.DESCRIPTOR.fields_by_name and not getattr(request, "request_id"):  # noqa: B009 # the type has it only sometimes
        setattr(request, "request_id", new_request_id())  # noqa: B010 # as above


def new_request_id() -> str:
    """A request id nobody else has."""
    return os.urandom(16).hex()
