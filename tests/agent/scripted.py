"""A control plane whose part of the conversation is written in the test.

It is a real grpc.aio server on loopback that speaks the generated service; only what it decides comes from a script:

    await plane.play(opens(), hears("hello"), says(welcome()), says(reconcile()),
                     says(assign(work(1, "true"))), hears("taken", 1), hears("finished", 1))

`hears` waits for a fact with a deadline and passes over what else is said; acknowledgements and renewals are given at
once unless the test turns them off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.api import httpbody_pb2
from pawl.link import LinkEnded
from pawl.v1 import agent_pb2, job_pb2, plugin_pb2

from agent.agent import Agent, opened
from agent.config import load
from agent.outfit import usual

DEADLINE = 15.0
Step = Callable[["ScriptedControlPlane"], Awaitable[Any]]
Heard = tuple[str, Any]


def ref(number: int, token: int = 1) -> agent_pb2.InstanceRef:
    """The placement that tests call by a number."""
    return agent_pb2.InstanceRef(
        task_id=f"00000000-0000-7000-8000-{number:012d}",
        instance_id=f"00000000-0000-7000-9000-{number:06d}{token:06d}",
        token=token,
    )


def number_of(instance: agent_pb2.InstanceRef) -> int:
    """And back."""
    return int(instance.task_id[-12:])


def work(number: int, cmd: str, *args: str, token: int = 1, **settings: Any) -> agent_pb2.Assign.Item:
    """An assignment of a process. Settings that are no field of the config are fields of the assignment."""
    item = {key: settings.pop(key) for key in tuple(settings) if key in agent_pb2.Assign.Item.DESCRIPTOR.fields_by_name}
    item.setdefault("timeout_seconds", 60.0)
    item.setdefault("lease_seconds", 60.0)
    return agent_pb2.Assign.Item(
        instance=ref(number, token),
        attempt=1,
        namespace_id="default",
        job_id="job",
        job_name="a-job",
        job_revision=1,
        config=job_pb2.JobConfig(cmd=cmd, args=args, **settings),
        **item,
    )


def shell(number: int, script: str, **settings: Any) -> agent_pb2.Assign.Item:
    """An assignment of a line of shell."""
    return work(number, "sh", "-c", script, **settings)


def welcome(
    *, window: int = 64, heartbeat: float = 5.0, started_after: float = 0.0, version: int = 1
) -> agent_pb2.ConnectResponse:
    """The first answer."""
    return agent_pb2.ConnectResponse(
        welcome=agent_pb2.Welcome(
            protocol_version=version,
            session_id="session",
            heartbeat_seconds=heartbeat,
            server_version="test",
            window=window,
            started_after_seconds=started_after,
        )
    )


def reconcile(
    *,
    keep: tuple[agent_pb2.InstanceRef, ...] = (),
    stop: tuple[agent_pb2.InstanceRef, ...] = (),
    forget: tuple[agent_pb2.InstanceRef, ...] = (),
    paused: tuple[agent_pb2.InstanceRef, ...] = (),
) -> agent_pb2.ConnectResponse:
    """The second answer."""
    return agent_pb2.ConnectResponse(reconcile=agent_pb2.Reconcile(keep=keep, stop=stop, forget=forget, paused=paused))


def assign(*items: agent_pb2.Assign.Item) -> agent_pb2.ConnectResponse:
    """Work."""
    return agent_pb2.ConnectResponse(assign=agent_pb2.Assign(items=items))


def cancel(number: int, reason: str = "") -> agent_pb2.ConnectResponse:
    """Stop an instance."""
    item = agent_pb2.Cancel.Item(instance=ref(number), reason=reason)
    return agent_pb2.ConnectResponse(cancel=agent_pb2.Cancel(items=[item]))


def pause(*numbers: int) -> agent_pb2.ConnectResponse:
    """Hold instances still."""
    return agent_pb2.ConnectResponse(pause=agent_pb2.Pause(instances=map(ref, numbers)))


def resume(*numbers: int) -> agent_pb2.ConnectResponse:
    """Let instances go on."""
    return agent_pb2.ConnectResponse(resume=agent_pb2.Resume(instances=map(ref, numbers)))


def drain() -> agent_pb2.ConnectResponse:
    """Take nothing new."""
    return agent_pb2.ConnectResponse(drain=agent_pb2.Drain(reason="a test"))


def goodbye(reason: agent_pb2.Goodbye.Reason, message: str = "", after: float = 0.0) -> agent_pb2.ConnectResponse:
    """The last word."""
    return agent_pb2.ConnectResponse(
        goodbye=agent_pb2.Goodbye(reason=reason, message=message, reconnect_after_seconds=after)
    )


# The steps of a script.


def opens() -> Step:
    """The agent opens a stream; what follows is about that one."""
    return lambda plane: plane.next_stream()


def says(*messages: agent_pb2.ConnectResponse) -> Step:
    """The control plane speaks."""

    async def step(plane: ScriptedControlPlane) -> None:
        for message in messages:
            await plane.stream.say(message)

    return step


def hears(kind: str, number: int | None = None, **expected: Any) -> Step:
    """The agent says something of this kind, about this placement, with these values."""
    return lambda plane: plane.stream.hear(kind, number, expected)


def acks(upto: int | None = None) -> Step:
    """The control plane acknowledges what it has got."""
    return lambda plane: plane.stream.acknowledge(upto)


def says_numbered(seq: int, message: agent_pb2.ConnectResponse) -> Step:
    """The control plane numbers a message wrongly."""

    async def step(plane: ScriptedControlPlane) -> None:
        plane.stream._sent = seq - 1
        await plane.stream.say(message)

    return step


def cuts() -> Step:
    """The stream breaks."""

    async def step(plane: ScriptedControlPlane) -> None:
        plane.stream.cut.set()

    return step


def does(action: Callable[[], object]) -> Step:
    """The test does something."""

    async def step(_: ScriptedControlPlane) -> None:
        done = action()
        if asyncio.iscoroutine(done):
            await done

    return step


def begins(**terms: Any) -> Step:
    """The agent connects and is welcomed; everything it names goes on."""

    async def step(plane: ScriptedControlPlane) -> agent_pb2.Hello:
        stream = await plane.next_stream()
        hello: agent_pb2.Hello = await stream.hear("hello", None, {})
        await stream.say(welcome(**terms))
        await stream.say(reconcile(keep=tuple(hello.running)))
        return hello

    return step


class Stream:
    """One stream, and all that was heard on it."""

    def __init__(self, plane: ScriptedControlPlane, context: Any) -> None:
        self._plane = plane
        self._context = context
        self._sent = 0
        self._told = 0
        self._heard: list[Heard] = []
        self._taken: set[int] = set()
        self._news = asyncio.Condition()
        self._writing = asyncio.Lock()
        self.received = 0
        self.messages: list[agent_pb2.ConnectRequest] = []
        self.cut = asyncio.Event()
        self.ended = asyncio.Event()

    async def serve(self, requests: AsyncIterator[agent_pb2.ConnectRequest]) -> None:
        async for request in requests:
            self.messages.append(request)
            if request.seq:
                assert request.seq == self.received + 1, "numbers are dense"
                self.received = request.seq
                assert self.received - self._told <= self._plane.window, "the window is kept"
            async with self._news:
                self._heard += _events(request)
                self._news.notify_all()
            if request.HasField("heartbeat") and self._plane.renews:
                renew = agent_pb2.Renew(beat=request.heartbeat.beat)
                await self.say(agent_pb2.ConnectResponse(renew=renew))
            if request.seq and self._plane.acks:
                await self.acknowledge(None)
            if request.HasField("leave"):
                return

    async def say(self, message: agent_pb2.ConnectResponse) -> None:
        sent = agent_pb2.ConnectResponse()
        sent.CopyFrom(message)
        async with self._writing:
            self._sent += 1
            sent.seq = self._sent
            if self._plane.acks:
                self._told = self.received
            sent.ack = self._told
            if message.HasField("welcome"):
                self._plane.window = message.welcome.window
            await self._context.write(sent)

    async def acknowledge(self, upto: int | None) -> None:
        async with self._writing:
            self._told = self.received if upto is None else upto
            await self._context.write(agent_pb2.ConnectResponse(ack=self._told))

    async def hear(self, kind: str, number: int | None, expected: dict[str, Any]) -> Any:
        def find() -> tuple[int, Any] | None:
            for at, (what, value) in enumerate(self._heard):
                if at not in self._taken and what == kind and _matches(value, number, expected):
                    return at, value
            return None

        try:
            async with asyncio.timeout(DEADLINE), self._news:
                await self._news.wait_for(lambda: find() is not None)
                found = find()
        except TimeoutError:
            raise AssertionError(f"never heard {kind} {number or ''} {expected}; heard {self._heard}") from None
        assert found is not None
        self._taken.add(found[0])
        return found[1]

    def count(self, kind: str, number: int | None = None) -> int:
        """How often something was said."""
        return sum(1 for what, value in self._heard if what == kind and _matches(value, number, {}))


class ScriptedControlPlane:
    """The server. `async with` starts and stops it; `restart` makes another one on the same port."""

    def __init__(self) -> None:
        self.acks = True
        self.renews = True
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.refused = 0
        self.log_failures = 0
        self.window = 64
        self.logs: dict[int, dict[int, list[agent_pb2.AppendLogsRequest.Line]]] = {}
        self.log_calls = 0
        self.plugins: dict[str, bytes] = {}
        self.reports: asyncio.Queue[plugin_pb2.ReportPluginRequest] = asyncio.Queue()
        self.port = 0
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._stream: Stream | None = None
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> ScriptedControlPlane:
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 10 << 20)]
        )
        self._server.add_generic_rpc_handlers(self._handlers())
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        """The calls that an agent makes, and no others."""
        connect = grpc.stream_stream_rpc_method_handler(
            self.connect, agent_pb2.ConnectRequest.FromString, agent_pb2.ConnectResponse.SerializeToString
        )
        append_logs = grpc.unary_unary_rpc_method_handler(
            self.append_logs, agent_pb2.AppendLogsRequest.FromString, agent_pb2.AppendLogsResponse.SerializeToString
        )
        download = grpc.unary_stream_rpc_method_handler(
            self.download, plugin_pb2.DownloadPluginRequest.FromString, httpbody_pb2.HttpBody.SerializeToString
        )
        report = grpc.unary_unary_rpc_method_handler(
            self.report, plugin_pb2.ReportPluginRequest.FromString, plugin_pb2.Plugin.SerializeToString
        )
        return [
            grpc.method_handlers_generic_handler(
                "pawl.v1.AgentService", {"Connect": connect, "AppendLogs": append_logs}
            ),
            grpc.method_handlers_generic_handler(
                "pawl.v1.PluginService", {"DownloadPlugin": download, "ReportPlugin": report}
            ),
        ]

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def stop(self) -> None:
        """It dies."""
        await self.__aexit__()

    async def restart(self) -> None:
        """It is there again."""
        await self.__aenter__()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def stream(self) -> Stream:
        assert self._stream is not None, "the script must begin with opens() or begins()"
        return self._stream

    async def play(self, *steps: Step) -> list[Any]:
        """Go through a script; what was heard, in its order."""
        return [heard for step in steps if (heard := await step(self)) is not None]

    async def next_stream(self) -> Stream:
        async with asyncio.timeout(DEADLINE):
            self._stream = await self._streams.get()
        return self._stream

    def log_text(self, number: int) -> bytes:
        """The log of a placement as it was stored."""
        chunks = self.logs.get(number, {})
        assert sorted(chunks) == list(range(1, len(chunks) + 1)), "chunks are dense"
        return b"".join(line.data for at in sorted(chunks) for line in chunks[at])

    async def connect(self, request_iterator: Any, context: Any) -> None:
        if self.refusal is not None:
            self.refused += 1
            await context.abort(*self.refusal)
        stream = Stream(self, context)
        self._streams.put_nowait(stream)
        serving = asyncio.get_running_loop().create_task(stream.serve(request_iterator))
        cutting = asyncio.get_running_loop().create_task(stream.cut.wait())
        try:
            await asyncio.wait({serving, cutting}, return_when=asyncio.FIRST_COMPLETED)
            if stream.cut.is_set():
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
        finally:
            cutting.cancel()
            if serving.done() and not serving.cancelled() and serving.exception() is not None:
                stream._heard.append(("broken", serving.exception()))
            serving.cancel()
            stream.ended.set()

    async def append_logs(self, request: agent_pb2.AppendLogsRequest, context: Any) -> agent_pb2.AppendLogsResponse:
        self.log_calls += 1
        if self.log_failures > 0:
            self.log_failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no logs now")
        stored = 0
        for chunk in request.chunks:
            chunks = self.logs.setdefault(number_of(chunk.instance), {})
            if chunk.number not in chunks:
                chunks[chunk.number] = list(chunk.lines)
                stored += 1
        return agent_pb2.AppendLogsResponse(stored=stored)

    async def download(self, request: plugin_pb2.DownloadPluginRequest, context: Any) -> Any:
        data = self.plugins.get(request.id)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such plugin")
        assert data is not None
        for at in range(0, len(data), 65536):
            yield httpbody_pb2.HttpBody(content_type="application/wasm", data=data[at : at + 65536])

    async def report(self, request: plugin_pb2.ReportPluginRequest, context: Any) -> plugin_pb2.Plugin:
        self.reports.put_nowait(request)
        return plugin_pb2.Plugin(digest=request.id)


def _events(request: agent_pb2.ConnectRequest) -> list[Heard]:
    """A message as single facts."""
    kind = request.WhichOneof("message")
    match kind:
        case None:
            return [("ack", request.ack)]
        case "accepted":
            return [("taken", item) for item in request.accepted.taken] + [
                ("refused", item) for item in request.accepted.refused
            ]
        case "started" | "progress" | "finished":
            return [(kind, item) for item in getattr(request, kind).items]
        case "credits":
            return [("credits", request.credits.free["slots"])]
    return [(kind, getattr(request, kind))]


def _matches(value: Any, number: int | None, expected: dict[str, Any]) -> bool:
    if number is not None:
        if isinstance(value, int):
            return value == number
        instance = value if isinstance(value, agent_pb2.InstanceRef) else value.instance
        if number_of(instance) != number:
            return False
    return all(_field(value, name) == wanted for name, wanted in expected.items())


def _field(value: Any, path: str) -> Any:
    for name in path.split("__"):
        value = getattr(value, name)
    return value


async def until(condition: Callable[[], object]) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 # facts of other processes have no event
            await asyncio.sleep(0.01)


class RunningAgent:
    """An agent in this process."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.error: BaseException | None = None
        self._over = asyncio.Event()

    async def live(self) -> None:
        try:
            await self.agent.run()
        except LinkEnded as error:
            self.error = error
        finally:
            self._over.set()

    async def end(self) -> BaseException | None:
        """Wait for its end; why it ended, if not by a stop."""
        async with asyncio.timeout(DEADLINE):
            await self._over.wait()
        return self.error


@contextlib.asynccontextmanager
async def running_agent(plane: ScriptedControlPlane, folder: Path, **settings: Any) -> AsyncIterator[RunningAgent]:
    """A whole agent in this process, with a keeper of its own; stopped at once in the end."""
    flags = {
        "agent.name": "an-agent",
        "agent.data_dir": str(folder / "state"),
        "server.url": plane.target,
        "executor.enabled": ["process"],
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    async with opened(load(None, {}, flags).settings, usual) as parts, asyncio.TaskGroup() as group:
        running = RunningAgent(Agent(parts))
        group.create_task(running.live())
        try:
            yield running
        finally:
            running.agent.stop()
            running.agent.stop()
            await running.end()
