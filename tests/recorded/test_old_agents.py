"""Agents of earlier releases are understood by today's control plane: what they said then has the same answers now."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from pawl.v1 import agent_pb2

from controlplane.api import link
from controlplane.config import DatabaseSection, ServerSection, Settings
from controlplane.wiring import Addresses, ControlPlane
from tests.recorded.lines import (
    OF_LATER,
    Line,
    conversations,
    input_of,
    lacks,
    of_a_later_version,
    output_of,
    read,
    renamed,
    text_of,
)

SECONDS = 30.0
BEAT_SECONDS = 0.5
BEATS_FROM = 1_000_000
WELCOMED = 2  # messages of a control plane, after which an agent may speak
INSTANT = re.compile(r"(.*_)?at")
Fact = tuple[str, Mapping[str, Any]]

# What is another one each time, beside instants.
PASSING = {"session_id", "server_version", "traceparent", "version", "metrics", "etag"}


def lasting(said: Any) -> Any:
    """Plain data without what is another one each time."""
    if isinstance(said, Mapping):
        return {key: lasting(value) for key, value in said.items() if not (key in PASSING or INSTANT.fullmatch(key))}
    return [lasting(one) for one in said] if isinstance(said, list) else said


def facts(message: Message) -> list[Fact]:
    """What a message of the control plane says, each thing for itself: how they are put together is its own affair."""
    text = text_of(message)
    for kind in ("assign", "cancel"):
        if kind in text:
            return [(kind, lasting(item)) for item in text[kind]["items"]]
    return [(kind, lasting(value)) for kind, value in text.items() if kind not in ("seq", "ack")]


class Stream:
    """A stream of a recorded agent to today's control plane."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        connect: Any = channel.stream_stream(
            "/pawl.v1.AgentService/Connect",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=agent_pb2.ConnectResponse.FromString,
        )
        self.call = connect()
        self.heard: list[Fact] = []
        self.messages: list[agent_pb2.ConnectResponse] = []
        self.acknowledged = 0
        self.received = 0
        self.news = asyncio.Condition()
        self.over = False
        self._sent = 0
        self._numbers: dict[int, int] = {}  # of messages: now, by what they were then
        self._writing = asyncio.Lock()

    async def listen(self) -> None:
        """Until its end."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            async for message in self.call:
                async with self.news:
                    self.heard += facts(message)
                    self.messages.append(message)
                    self.acknowledged = max(self.acknowledged, message.ack)
                    self.received = max(self.received, message.seq)
                    self.news.notify_all()
        async with self.news:
            self.over = True
            self.news.notify_all()

    async def beat(self) -> None:
        """Signs of life beside the recorded ones: a replay may take longer than a lease."""
        async with self.news:
            await self.news.wait_for(lambda: self.received >= WELCOMED or self.over)
        for beat in itertools.count(BEATS_FROM):
            if self.over:
                return
            heartbeat = agent_pb2.Heartbeat(beat=beat)
            await self._send(agent_pb2.ConnectRequest(seq=1, heartbeat=heartbeat), 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS), self.news:
                    await self.news.wait_for(lambda: self.over)

    async def say(self, message: agent_pb2.ConnectRequest) -> None:
        """Say it; what it acknowledges is what was heard here, which may be put together otherwise than then."""
        message.ack = min(self.received, message.ack) if message.seq else self.received
        await self._send(message, message.seq)

    async def _send(self, message: agent_pb2.ConnectRequest, then: int) -> None:
        async with self._writing:
            if message.seq:
                self._sent += 1
                self._numbers[then] = message.seq = self._sent
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await self.call.write(message)

    async def hear(self, kind: str, old: Mapping[str, Any]) -> None:
        """Wait for a fact of this kind that says all this, and take it."""

        def close() -> list[tuple[int, list[str]]]:
            return [(at, differs(new)) for at, (what, new) in enumerate(self.heard) if what == kind]

        def differs(new: Mapping[str, Any]) -> list[str]:
            later = kind == "renew" and int(new["beat"]) > int(old["beat"])  # one answer for several signs of life
            return [] if later else lacks(old, new)

        def found() -> int | None:
            return next((at for at, missing in close() if not missing), None)

        try:
            async with asyncio.timeout(SECONDS), self.news:
                await self.news.wait_for(lambda: found() is not None or self.over)
        except TimeoutError:
            pass
        at = found()
        assert at is not None, f"no {kind} like {old}: {[missing for _, missing in close()]}, heard {self.heard}"
        del self.heard[at]

    async def told(self, then: int) -> None:
        """Wait until the message that had this number is acknowledged."""
        number = self._numbers[then] if then else 0
        async with asyncio.timeout(SECONDS), self.news:
            await self.news.wait_for(lambda: self.acknowledged >= number or self.over)
        assert self.acknowledged >= number, f"message {then} was acknowledged then"

    async def settled(self) -> None:
        """Wait until everything that was said is acknowledged, or the stream is over."""
        number = self._sent
        async with asyncio.timeout(SECONDS), self.news:
            await self.news.wait_for(lambda: self.acknowledged >= number or self.over)


class OldAgents:
    """The agents and users of a recording, against a control plane that is served at `url` of a database."""

    def __init__(self, group: asyncio.TaskGroup, url: str, folder: Path, *, later: bool) -> None:
        self._group = group
        self._url = url
        self._folder = folder
        self._later = later
        self._names: dict[str, str] = {}
        self._streams: dict[int, Stream] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def against_today(cls, url: str, folder: Path, *, later: bool = False) -> AsyncIterator[Self]:
        """With a control plane of today over this database."""
        async with asyncio.TaskGroup() as group:
            agents = cls(group, url, folder, later=later)
            await agents._server_starts()
            try:
                yield agents
            finally:
                for stream in agents._streams.values():
                    stream.call.cancel()
                await agents._server_stops()

    async def replay(self, lines: list[Line]) -> None:
        """Go through the recording: say what was said, and wait for what was answered."""
        for line in lines:
            match line.by:
                case "agent" if not line.call:
                    await self._say(line)
                case "server":
                    await self._hear(line)
                case "world":
                    await self._happens(line)
                case _:
                    await self._call(line)

    async def told(self, stream: int, ack: int) -> None:
        """Wait until so much of a stream is acknowledged."""
        await self._streams[stream].told(ack)

    async def _say(self, line: Line) -> None:
        assert isinstance(line.message, agent_pb2.ConnectRequest)
        if line.stream not in self._streams:
            stream = self._streams[line.stream] = Stream(self._channel)
            self._group.create_task(stream.listen())
            self._group.create_task(stream.beat())
        message = self._now(line.message)
        if self._later and message.HasField("hello"):
            message.hello.features.append("of-a-later-version")
        await self._streams[line.stream].say(message)

    async def _hear(self, line: Line) -> None:
        assert isinstance(line.message, agent_pb2.ConnectResponse)
        stream = self._streams[line.stream]
        for item in line.message.assign.items:
            await self._learn(stream, item.instance)
        for kind, old in facts(renamed(line.message, self._names)):
            await stream.hear(kind, old)
        await stream.told(line.message.ack)

    async def _learn(self, stream: Stream, ref: agent_pb2.InstanceRef) -> None:
        """The placement's id of today, by its task and token."""
        task, token = self._names[ref.task_id], ref.token

        def found() -> list[str]:
            refs = [item.instance for message in stream.messages for item in message.assign.items]
            return [one.instance_id for one in refs if (one.task_id, one.token) == (task, token)]

        async with asyncio.timeout(SECONDS), stream.news:
            await stream.news.wait_for(found)
        [self._names[ref.instance_id]] = found()

    async def _call(self, line: Line) -> None:
        assert line.message is not None
        call: Any = self._channel.unary_unary(
            f"/{line.call}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=output_of(line.call).FromString,
        )
        for stream in self._streams.values():
            await stream.settled()  # as users saw it then
        until = time.monotonic() + SECONDS
        while True:
            new = text_of(await call(self._now(line.message), timeout=SECONDS))
            for key in ("id", "job_id"):
                if key in line.answer:
                    self._names[str(line.answer[key])] = str(new[key])
            missing = lacks(lasting(renamed_text(line.answer, self._names)), lasting(new))
            looks = line.call.rpartition("/")[2].startswith("Get")
            if not missing or not looks or time.monotonic() > until:
                break
            await asyncio.sleep(0.05)  # a look at something that another party is just doing
        assert not missing, f"{line.call}: {missing}"

    async def _happens(self, line: Line) -> None:
        if line.does == "cut":
            self._streams[line.stream].call.cancel()
        elif line.does == "server stops":
            self._plane.stop()
        elif line.does == "server starts":
            await self._server_stops()
            await self._server_starts()

    def _now(self, message: Any) -> Any:
        found = renamed(message, self._names)
        return of_a_later_version(found) if self._later else found

    async def _server_starts(self) -> None:
        """In this loop: gRPC does not serve two loops of a process."""
        server = ServerSection(host="127.0.0.1", http_port=0, grpc_port=0, data_dir=str(self._folder))
        self._plane = ControlPlane(Settings(server=server, database=DatabaseSection(url=self._url)))
        ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
        self._served = self._group.create_task(self._plane.run(ready.set_result))
        async with asyncio.timeout(SECONDS):
            self._channel = grpc.aio.insecure_channel((await ready).grpc)

    async def _server_stops(self) -> None:
        self._plane.stop()
        await asyncio.wait({self._served})
        await self._channel.close()


def renamed_text(said: Any, names: Mapping[str, str]) -> Any:
    """The same for plain data."""
    if isinstance(said, Mapping):
        return {key: renamed_text(value, names) for key, value in said.items()}
    if isinstance(said, list):
        return [renamed_text(one, names) for one in said]
    return names.get(said, said) if isinstance(said, str) else said


@pytest.mark.parametrize("file", conversations(), ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_an_agent_of_an_earlier_release_is_served_as_it_was_then(
    file: Path, migrated_url: str, tmp_path: Path
) -> None:
    async with OldAgents.against_today(migrated_url, tmp_path) as agents:
        await agents.replay(read(file))


@pytest.mark.parametrize("file", conversations(), ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_what_an_agent_of_a_later_release_says_beyond_that_is_ignored(file: Path, tmp_path: Path) -> None:
    async with OldAgents.against_today(f"sqlite:///{tmp_path}/pawl.db", tmp_path, later=True) as agents:
        await agents.replay(read(file))


async def test_a_server_of_a_later_version_answers_in_the_version_that_an_agent_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = link.PROTOCOL_VERSIONS[-1]
    monkeypatch.setattr(link, "PROTOCOL_VERSIONS", (version, version + 1))
    file = next(one for one in conversations() if one.match(f"protocol-{version}-*/run.jsonl"))
    async with OldAgents.against_today(f"sqlite:///{tmp_path}/pawl.db", tmp_path) as agents:
        await agents.replay(read(file))


async def test_a_message_of_a_kind_that_nobody_knows_yet_is_acknowledged_and_skipped(tmp_path: Path) -> None:
    hello = agent_pb2.Hello(protocol_version=1, agent_id="later", state_id="s", generation=1, slots=1)
    hello.executors.add(name="process")
    unknown = agent_pb2.ConnectRequest(seq=2)
    unknown.MergeFromString(OF_LATER)
    credits = agent_pb2.Credits(free={"slots": 1})
    said = [agent_pb2.ConnectRequest(seq=1, hello=hello), unknown, agent_pb2.ConnectRequest(seq=3, credits=credits)]
    async with OldAgents.against_today(f"sqlite:///{tmp_path}/pawl.db", tmp_path) as agents:
        await agents.replay([Line({"from": "agent", "stream": 1}, message) for message in said])
        await agents.told(1, 3)


def test_recordings_are_read_by_their_bytes() -> None:
    """A field that got another number would still look the same in words."""
    for file in conversations():
        spoken = [line for line in read(file) if line.by in ("agent", "server")]
        assert spoken
        assert all("wire" in line.said for line in spoken)
    assert input_of("pawl.v1.AgentService/Connect") is agent_pb2.ConnectRequest
