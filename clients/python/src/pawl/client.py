"""The client: jobs, tasks, schedules, agents, plugins, namespaces and keys of a control plane, as typed async calls.

    async with Client() as pawl:
        await pawl.jobs.create(Job(name="hello", config=JobConfig(cmd="echo", args=["hello"])))
        task = await pawl.tasks.run("hello", parameters={"who": "world"})
        print(value_of(task.output))

Messages are the generated ones of `pawl.v1`. Every mutation carries a request id, so calls are repeated by themselves
while the server is out of reach; give your own `request_id` to make a repeat by another process safe too. Every failure
is a `pawl.errors.PawlError`. Code that is not async uses `BlockingClient`, which is a loop around this one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Self, TypeVar

from pawl.address import DEFAULT_SERVER
from pawl.connection import Connection, Patience
from pawl.credential import Credential
from pawl.groups import TaskGroups
from pawl.services import Agents, Jobs, Keys, Namespaces, Plugins, Schedules, System, TaskInstances, Tasks

T = TypeVar("T")


class Client:
    """A connection to a control plane.

    `server` is host:port (else PAWL_SERVER, else localhost:8081), `namespace` where names are looked up (else
    PAWL_NAMESPACE, else the credential's), `timeout` the seconds a call may take unless it says otherwise. `key` is the
    API key, `key_file` a file that holds it and is read again when it changes (else PAWL_API_KEY, else
    PAWL_API_KEY_FILE, else none). Tasks that are created at the same time go in one call, unless `coalesce` is false:
    each has an answer of its own all the same. Opens the connection with its first call. Raises ValueError for an
    address that is none, and for a key or a file that cannot be used.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        namespace: str | None = None,
        key: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        patience: Patience | None = None,
        coalesce: bool = True,
    ) -> None:
        server = server or os.environ.get("PAWL_SERVER") or DEFAULT_SERVER
        namespace = os.environ.get("PAWL_NAMESPACE", "") if namespace is None else namespace
        credential = Credential.of(key, None if key_file is None else os.fspath(key_file))
        self.connection = Connection(server, namespace, timeout, patience or Patience(), credential)
        self.jobs = Jobs(self.connection)
        self.tasks = Tasks(self.connection, coalesce)
        self.task_instances = TaskInstances(self.connection)
        self.groups = TaskGroups(self.connection)
        self.schedules = Schedules(self.connection)
        self.agents = Agents(self.connection)
        self.plugins = Plugins(self.connection)
        self.namespaces = Namespaces(self.connection)
        self.keys = Keys(self.connection)
        self.system = System(self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()


class BlockingClient:
    """The same calls for code that is not async: one loop that turns while a call waits. Not for several threads.

    with BlockingClient(Client()) as pawl:
        task = pawl.call(lambda client: client.tasks.run("hello"))
        for line in pawl.each(lambda client: client.tasks.logs(task.id)):
            print(line.text, end="")
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self.client.close())
        finally:
            self._runner.close()

    def call(self, what: Callable[[Client], Awaitable[T]]) -> T:
        """Make one call, or several in one coroutine. Ctrl-C cancels it."""

        async def awaited() -> T:
            return await what(self.client)

        return self._runner.run(awaited())

    def each(self, what: Callable[[Client], AsyncIterator[T]]) -> Iterator[T]:
        """Go through a stream. Leaving the loop early ends the stream."""

        async def opened() -> AsyncIterator[T]:
            return what(self.client)  # in the loop: a call belongs to the one it was made in

        async def following() -> list[T]:
            try:
                return [await anext(stream)]
            except StopAsyncIteration:
                return []

        stream = self._runner.run(opened())
        try:
            while found := self._runner.run(following()):
                yield found[0]
        finally:
            close = getattr(stream, "aclose", None)  # of generators, which ours are; not promised by AsyncIterator
            if close is not None:
                self._runner.run(close())
