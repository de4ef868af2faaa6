"""What replicas on one PostgreSQL tell each other: short texts on one channel, LISTEN and NOTIFY.

On a connection of its own, outside every transaction that stores something: a commit with a NOTIFY in it waits for
every other such commit. A text may be lost, with its connection for one; whoever listens must be right without it.
There is nothing of this on SQLite, where one process has the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from controlplane.domain.errors import Unavailable

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CHANNEL = "pawl"
MOST_BYTES = 7_999  # PostgreSQL's own bound of a payload
ANSWER_SECONDS = 10.0  # what a connection may be silent for when it is asked something

Heard = Callable[[str], None]
"""Takes what others say."""


class Line:
    """An open connection to the others. On the loop's thread."""

    def __init__(self, connection: AsyncConnection[Any], heard: Heard, lost: Callable[[], None]) -> None:
        self._number = connection.info.backend_pid
        self._connection = connection
        self._heard = heard
        self._lost = lost
        self._error: Exception | None = None
        self._socket = connection.fileno()  # asked later, a connection that broke has none

    async def say(self, text: str) -> None:
        """Send a text of at most MOST_BYTES to all who listen. Raises Unavailable when the connection is gone."""
        from psycopg import Error

        self.check()
        # While the driver waits for an answer it reads by itself, and tells of what it finds beside that.
        self._stop_reading()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text), prepare=True)
        except (Error, OSError, TimeoutError) as error:
            raise _gone(error) from error
        self._read_on()

    def check(self) -> None:
        """Raises Unavailable when the connection is gone."""
        if self._error is not None:
            raise _gone(self._error) from self._error

    async def listen(self) -> None:
        """Begin to hear the others."""
        self._connection.add_notify_handler(lambda notice: self._tell(notice.pid, notice.payload))
        await self._connection.execute(f"LISTEN {CHANNEL}")
        self._read_on()

    async def close(self) -> None:
        """Hear nothing more."""
        self._stop_reading()
        await self._connection.close()

    def _read_on(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _stop_reading(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)

    def _read(self) -> None:
        from psycopg import Error

        driver = self._connection.pgconn
        try:
            driver.consume_input()
            while (notice := driver.notifies()) is not None:
                self._tell(notice.be_pid, notice.extra.decode())
        except (Error, OSError) as error:
            self._stop_reading()
            self._error = error
            self._lost()

    def _tell(self, number: int, text: str) -> None:
        if number != self._number:  # whoever speaks hears itself, too
            self._heard(text)


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
        try:
            await line.listen()
        except (Error, OSError) as error:
            raise _gone(error) from error
        yield line
    finally:
        await line.close()


def _gone(error: Exception) -> Unavailable:
    said = " ".join(str(error).split()) or type(error).__name__
    return Unavailable(f"no word goes to other replicas: {said}", retry_after_seconds=1.0)
