"""A control plane that asks for keys, and callers who show one. No test lives here."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pawl.v1 import access_pb2

from controlplane.api.methods import table
from controlplane.config import DatabaseSection, ServerSection, Settings, TelemetrySection
from controlplane.first_key import make_first_key
from controlplane.wiring import Addresses, ControlPlane
from tests.spec.two_fronts import GrpcFront, Outcome, RestFront

METHODS = {name.removeprefix("pawl.v1."): method for name, method in table().items()}
DEADLINE = 30.0
# Promised for all replicas: a key that was revoked opens nothing after this, and its streams have ended.
ENDED_WITHIN = 2.0
_numbers = itertools.count(1)


class _Showing:
    """A channel that sends a key with every call."""

    def __init__(self, channel: Any, key: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),)

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        """`unary_unary` and its like."""
        made = getattr(self._channel, kind)
        return lambda *about, **more: partial(made(*about, **more), metadata=self._metadata)


class Caller:
    """Somebody with a key, or with none, at both fronts of a control plane."""

    def __init__(self, addresses: Addresses, key: str = "", namespace: str = "") -> None:
        self.key = key
        self.grpc, self.rest = GrpcFront(addresses.grpc), RestFront(addresses.http)
        self._channel = self.grpc.channel
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if key:
            self.grpc.channel = _Showing(self._channel, key)
        if namespace:
            headers["pawl-namespace"] = namespace
        self.rest.client.headers.update(headers)
        self.fronts: dict[str, GrpcFront | RestFront] = {"grpc": self.grpc, "rest": self.rest}

    @property
    def http(self) -> httpx.Client:
        """For what is no RPC."""
        return self.rest.client

    def call(self, name: str, front: str = "grpc", **fields: Any) -> Outcome:
        """A call, such as `JobService/GetJob`."""
        return self.fronts[front].call(METHODS[name], METHODS[name].input(**fields))

    def does(self, name: str, **fields: Any) -> Any:
        """What a call that must succeed answers."""
        outcome = self.call(name, **fields)
        assert outcome.code == "OK", (name, outcome)
        return outcome.messages[0]

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
        self.rest.client.close()


class Keyed:
    """One or more replicas over one database, and its first admin."""

    def __init__(self, replicas: list[Addresses], admin_key: str, stack: ExitStack) -> None:
        self.replicas = replicas
        self._stack = stack
        self.admin = self.caller(admin_key)

    @property
    def addresses(self) -> Addresses:
        """Of the first replica."""
        return self.replicas[0]

    def caller(self, key: str = "", replica: int = 0, namespace: str = "") -> Caller:
        """Somebody who shows this key."""
        made = Caller(self.replicas[replica], key, namespace)
        self._stack.callback(made.close)
        return made

    def new_key(self, *roles: str, namespaces: tuple[str, ...] = (), **fields: Any) -> access_pb2.Key:
        """A key with its secret."""
        wanted = access_pb2.Key(name=f"k-{next(_numbers)}", roles=[one.upper() for one in roles], **fields)
        wanted.namespaces.extend(namespaces)
        made: access_pb2.Key = self.admin.does("KeyService/CreateKey", key=wanted)
        return made

    def with_role(self, *roles: str, namespaces: tuple[str, ...] = (), **fields: Any) -> Caller:
        """Somebody with a new key."""
        return self.caller(self.new_key(*roles, namespaces=namespaces, **fields).secret)

    def namespace(self) -> str:
        """A new one."""
        name = f"space-{next(_numbers)}"
        self.admin.does("NamespaceService/CreateNamespace", namespace={"id": name})
        return name

    def revoke(self, key: access_pb2.Key) -> float:
        """Revoke it; the instant of time.monotonic() when that was answered."""
        self.admin.does("KeyService/RevokeKey", id=key.id)
        return time.monotonic()


@contextmanager
def keyed(url: str, folder: Path, replicas: int = 1, *, collector: str = "", **server: Any) -> Iterator[Keyed]:
    """Replicas that ask for keys. Each serves in a thread with a loop of its own, and traces all if it may."""
    admin = make_first_key(url, None, again=True)
    with ExitStack() as stack:
        found = [
            stack.enter_context(_serving(url, folder / f"replica-{number}", collector, **server))
            for number in range(replicas)
        ]
        yield Keyed(found, admin.text, stack)


@contextmanager
def _serving(url: str, folder: Path, collector: str, **server: Any) -> Iterator[Addresses]:
    section = ServerSection(host="127.0.0.1", http_port=0, grpc_port=0, data_dir=str(folder), **server)
    settings = Settings(
        server=section,
        database=DatabaseSection(url=url, pool_size=6),
        telemetry=TelemetrySection(otlp_endpoint=collector, sample_ratio=1.0),
    )
    ready: Future[Addresses] = Future()
    stop: list[Callable[[], Any]] = []

    async def run() -> None:
        plane = ControlPlane(settings, authentication=True)
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(plane.stop))
        await plane.run(ready.set_result)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="control plane")
    thread.start()
    try:
        yield ready.result(DEADLINE)
    finally:
        for call in stop:
            call()
        thread.join(DEADLINE)
    assert not thread.is_alive(), "the control plane did not stop"


def eventually(look: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = DEADLINE) -> Any:
    """What was seen when it held, within a deadline."""
    deadline = time.monotonic() + seconds
    while not holds(found := look()):
        assert time.monotonic() < deadline, repr(found)
        threading.Event().wait(0.05)
    return found
