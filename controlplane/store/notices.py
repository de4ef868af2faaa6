"""What replicas on one PostgreSQL tell each other: short texts on one channel, LISTEN and NOTIFY.

On a connection of its own, outside every transaction that stores something: a commit with a NOTIFY in it waits for
every other such commit. A text may be lost, with its connection for one; whoever listens must be right without it.
There is nothing of this on SQLite, where one process has the file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from controlplane.domain.errors import Unavailable

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CHANNEL = "pawl"
MOST_BYTES = 7_999  # PostgreSQL's own bound of a payload
ANSWER_SECONDS = 10.0  # what a connection may be silent for when it is asked something
FLUSH_SECONDS = 0.001  # a payload finds room in the socket's buffer, or soon does

Heard = Callable[[str], None]
"""Takes what others say."""


class Line:
    """An open connection to the others. On the loop's thread.

    It reads whatever comes, so the driver's own way of waiting for an answer is not used; nor would that one let go of
    a server that has stopped in the middle of it.
    """

    def __init__(self, connection: AsyncConnection[Any], heard: Heard, lost: Callable[[], None]) -> None:
        self._connection = connection
        self._driver = connection.pgconn
        self._heard = heard
        self._lost = lost
        self._number = connection.info.backend_pid
        # The driver closes its own where the connection breaks, and somebody else's may have that number at once.
        self._socket = os.dup(connection.fileno())
        self._answer: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def say(self, text: str) -> None:
        """Send a text of at most MOST_BYTES to all who listen. Raises Unavailable when the connection is gone."""
        await self._ask(b"SELECT pg_notify($1, $2)", [CHANNEL.encode(), text.encode()])

    def check(self) -> None:
        """Raises Unavailable when the connection is gone."""
        if self._error is not None:
            raise _gone(self._error) from self._error

    async def listen(self) -> None:
        """Begin to hear the others. Raises Unavailable."""
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        await self._ask(f"LISTEN {CHANNEL}".encode(), [])

    async def close(self) -> None:
        """Hear nothing more."""
        self._stop_reading()
        os.close(self._socket)
        await self._connection.close()

    async def _ask(self, statement: bytes, values: list[bytes]) -> None:
        from psycopg import Error

        self.check()
        if self._answer is not None:
            raise _gone(InterruptedError("an answer was not waited for"))
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._driver.send_query_params(statement, values)
                while self._driver.flush():  # noqa: ASYNC110 - the driver tells of no room
                    await asyncio.sleep(FLUSH_SECONDS)
                await self._answer
        except (Error, OSError, TimeoutError) as error:
            self._error = error
            raise _gone(error) from error
        self._answer = None

    def _stop_reading(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)

    def _read(self) -> None:
        from psycopg import Error

        try:
            self._driver.consume_input()
            while (notice := self._driver.notifies()) is not None:
                if notice.be_pid != self._number:  # whoever speaks hears itself, too
                    self._heard(notice.extra.decode(errors="replace"))
            if self._answer is not None:
                self._take_answer(self._answer)
        except (Error, OSError) as error:
            self._stop_reading()
            self._error = error
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)
            self._lost()

    def _take_answer(self, answer: asyncio.Future[None]) -> None:
        from psycopg import OperationalError
        from psycopg.pq import ExecStatus

        while not self._driver.is_busy():
            result = self._driver.get_result()
            if result is None:
                if not answer.done():
                    answer.set_result(None)
                return
            if result.status == ExecStatus.FATAL_ERROR:
                raise OperationalError(result.error_message.decode(errors="replace"))


@asynccontextmanager
async def connected(parameters: Mapping[str, Any], heard: Heard, lost: Callable[[], None]) -> AsyncIterator[Line]:
    """A line that listens; `parameters` are the driver's. `lost` is told when the connection breaks while nobody says
    anything. Raises Unavailable when there is no connection to be had.
    """
    from psycopg import AsyncConnection, Error

    try:
        named = {**parameters, "application_name": "pawl notices"}
        connection = await AsyncConnection.connect(**named, autocommit=True)
    except (Error, OSError) as error:
        raise _gone(error) from error
    line = Line(connection, heard, lost)
    try:
        await line.listen()
        yield line
    finally:
        await line.close()


def _gone(error: Exception) -> Unavailable:
    said = " ".join(str(error).split()) or type(error).__name__
    return Unavailable(f"no word goes to other replicas: {said}", retry_after_seconds=1.0)
