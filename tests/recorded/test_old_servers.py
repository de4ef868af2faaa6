"""Today's agent understands control planes of earlier releases: told what an agent was told then, it does the same."""

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message
from pawl.v1 import agent_pb2

from tests.agent.scripted import ScriptedControlPlane, Stream, number_of, ref
from tests.recorded.lines import Line, conversations, lacks, of_a_later_version, read, renamed, text_of

END_SECONDS = 30.0

# What writing to a stream says whose agent was killed.
GONE = (grpc.aio.UsageError, grpc.aio.InternalError)

# What the agent measures, and what it is on.
GREETING = ("protocol_version", "agent_id", "generation", "slots", "running", "finished")
MEASURED = {"metrics", "started_seconds_ago", "finished_seconds_ago", "seconds_ago"}


class OldServer:
    """The control plane of a recording, for one agent of it, against an agent of today."""

    def __init__(self, plane: ScriptedControlPlane, name: str, folder: Path, *, later: bool) -> None:
        self._plane = plane
        self._name = name
        self._folder = folder
        self._later = later
        self._names: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._told: dict[tuple[int, int], list[tuple[int, int]]] = {}  # results in each recorded message
        self._settled: set[tuple[int, int]] = set()
        self._streams: dict[int, Stream] = {}
        plane.acks = False  # as it was then

    async def replay(self, lines: list[Line]) -> None:
        """Go through the recording: say what was said, and wait for what was answered."""
        mine = {line.stream for line in lines if isinstance(line.message, agent_pb2.ConnectRequest)
                and line.message.hello.agent_id == self._name}  # fmt: skip
        for line in lines:
            if line.by == "world":
                await self._happens(line, mine)
            elif line.call.endswith("/AppendLogs"):
                await self._logs(line)
            elif line.by == "server" and line.stream in mine:
                await self._say(line)
            elif line.by == "agent" and line.stream in mine:
                await self._hear(line)

    async def _happens(self, line: Line, mine: set[int]) -> None:
        if line.does == "agent starts" and line.said["agent"] == self._name:
            await self.end()
            self._process = await started(self._plane, self._folder, self._name)
        elif line.does == "agent is killed" and line.said["agent"] == self._name:
            assert self._process is not None
            self._process.kill()
        elif line.does == "agent is told to stop" and line.said["agent"] == self._name:
            assert self._process is not None
            self._process.terminate()
        elif line.does == "cut" and line.stream in mine:
            self._plane.stream.cut.set()

    async def _say(self, line: Line) -> None:
        message = line.message
        assert isinstance(message, agent_pb2.ConnectResponse)
        for item in message.assign.items:
            self._name_it(item.instance)
        self._settled |= {key for at, keys in self._told.items() if at[0] == line.stream and at[1] <= message.ack
                          for key in keys}  # fmt: skip
        kind = message.WhichOneof("message")
        if kind not in (None, "renew"):  # beats are answered as they come
            now = renamed(message, self._names)
            with contextlib.suppress(*GONE):
                await self._streams[line.stream].say(of_a_later_version(now) if self._later else now)
        await self._acknowledge(self._streams[line.stream])

    async def _acknowledge(self, stream: Stream) -> None:
        """Everything up to the first result that was not acknowledged then."""
        upto = 0
        for message in stream.messages:
            if any(key_of(item.instance) not in self._settled for item in message.finished.items):
                break
            upto = max(upto, message.seq)
        with contextlib.suppress(*GONE):
            await stream.acknowledge(upto)

    async def _hear(self, line: Line) -> None:
        message = line.message
        assert isinstance(message, agent_pb2.ConnectRequest)
        kind = message.WhichOneof("message")
        if kind == "hello":
            self._settled.clear()
            self._streams[line.stream] = await self._greeted(self._now(message.hello))
        elif kind == "accepted":
            for one in message.accepted.taken:
                await self._plane.stream.hear("taken", number_of(self._now(one)), {})
        elif kind in ("started", "finished"):
            for item in getattr(message, kind).items:
                if kind == "finished":
                    key = key_of(self._now(item.instance))
                    self._told.setdefault((line.stream, message.seq), []).append(key)
                await self._same(kind, item)
        elif kind == "leave":
            await self._plane.stream.hear("leave", None, {})
            await self.end()
        await self._acknowledge(self._streams[line.stream])

    async def _greeted(self, then: agent_pb2.Hello) -> Stream:
        """The agent comes with what it came with then. One that is earlier than that is cut off until it does: it may
        have to find out first that a lease is over.
        """
        said = text_of(then)
        wanted = {name: said.get(name) for name in GREETING}
        async with asyncio.timeout(END_SECONDS):
            while True:
                stream = await self._plane.next_stream()
                missing = lacks(wanted, text_of(await stream.hear("hello", None, {})))
                if not missing:
                    return stream
                stream.cut.set()

    async def _same(self, kind: str, then: Message) -> None:
        """The agent says this now too, but for what is measured."""
        wanted = {key: value for key, value in text_of(self._now(then)).items() if key not in MEASURED}
        found = text_of(await self._plane.stream.hear(kind, int(wanted["instance"]["task_id"][-12:]), {}))
        missing = lacks(wanted, found)
        assert not missing, f"{kind}: {missing}"

    async def _logs(self, line: Line) -> None:
        """Each line that was shipped then is shipped now."""
        assert isinstance(line.message, agent_pb2.AppendLogsRequest)
        if line.message.agent_id != self._name:
            return
        for chunk in line.message.chunks:
            number = number_of(self._now(chunk.instance))
            then = b"".join(one.data for one in chunk.lines)
            async with asyncio.timeout(END_SECONDS):
                # Stdout and stderr may come in chunks of their own.
                while then not in self._plane.log_text(number):  # noqa: ASYNC110 # the plane tells of no chunks
                    await asyncio.sleep(0.02)

    def _name_it(self, instance: agent_pb2.InstanceRef) -> None:
        """Tests call placements by a number."""
        if instance.task_id not in self._names:
            self._names[instance.task_id] = ref(next(self._numbers)).task_id
        task = self._names[instance.task_id]
        self._names[instance.instance_id] = ref(int(task[-12:]), instance.token).instance_id

    def _now(self, message: Any) -> Any:
        return renamed(message, self._names)

    async def end(self) -> None:
        """The agent's process is gone."""
        if self._process is not None:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """End it if it is still there."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self.end()


def key_of(instance: agent_pb2.InstanceRef) -> tuple[int, int]:
    """A placement, as tests call it."""
    return number_of(instance), instance.token


async def started(plane: ScriptedControlPlane, folder: Path, name: str) -> asyncio.subprocess.Process:
    """`pawl agent` as a process of its own."""
    program = "import typer; from agent.commands import agent; typer.run(agent)"
    options = ["--data-dir", str(folder / name), "--server", plane.target, "--name", name, "--slots", "2"]
    options += ["--drain-timeout", "20", "--log-level", "warning"]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *options, env={**os.environ, "HOME": str(folder)}
    )


@asynccontextmanager
async def old_server(folder: Path, name: str, *, later: bool) -> AsyncIterator[OldServer]:
    """A control plane of a recording; its agent is ended with it."""
    async with ScriptedControlPlane() as plane:
        server = OldServer(plane, name, folder, later=later)
        try:
            yield server
        finally:
            await server.stop()


def parties() -> list[Any]:
    """Each conversation with each agent in it."""

    def names(file: Path) -> list[str]:
        said = (line.message for line in read(file) if isinstance(line.message, agent_pb2.ConnectRequest))
        return sorted({message.hello.agent_id for message in said if message.HasField("hello")})

    return [
        pytest.param(file, name, id=f"{file.parent.name}/{file.stem}-{name}")
        for file in conversations()
        for name in names(file)
    ]


@pytest.mark.parametrize(("file", "name"), parties())
async def test_an_agent_does_what_a_control_plane_of_an_earlier_release_told_it(
    file: Path, name: str, tmp_path: Path
) -> None:
    async with old_server(tmp_path, name, later=False) as server:
        await server.replay(read(file))


@pytest.mark.parametrize(("file", "name"), [one for one in parties() if one.id is not None and "run" in one.id])
async def test_what_a_control_plane_of_a_later_release_says_beyond_that_is_ignored(
    file: Path, name: str, tmp_path: Path
) -> None:
    async with old_server(tmp_path, name, later=True) as server:
        await server.replay(read(file))
