"""The only room that knows SQL. `Store` runs plain functions of a Connection on threads, each in one transaction.

Synchronous SQLAlchemy Core on purpose: a hop to a thread costs less than the greenlets of the async engine, and on
SQLite one writer thread is the write lock. What fails because of the database itself leaves as `Unavailable`, never as
a claim that nothing happened: a commit whose answer was lost may have happened.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controlplane.domain.errors import Unavailable
from controlplane.store import dialect
from controlplane.store.filelock import FileLock
from controlplane.store.files import StoreFiles
from controlplane.store.tables import PARTITIONED
from controlplane.telemetry import Measures

P = ParamSpec("P")
R = TypeVar("R")

STATEMENT_SECONDS = 30
TRANSIENT_TRIES = 5  # a deadlock or a serialisation failure is repeated; the victim has done nothing
TRANSIENT_STATES = frozenset({"40001", "40P01"})


class Store:
    """The door to the database: `read` and `write` run a function of a Connection; `open` and `close` frame it."""

    def __init__(self, url: str, *, pool_size: int = 20, max_lifetime: float = 3600.0) -> None:
        self.url = normalise_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self.commit_seconds: deque[float] = deque(maxlen=1000)
        self.measures = Measures()
        self.repeated = 0  # transactions that a deadlock or a serialisation failure had begin again
        self._pool_size = pool_size
        self._max_lifetime = max_lifetime
        self._lock: FileLock | None = None
        self._engines: list[Engine] = []
        self._reader: Engine
        self._writer: Engine
        self._logs: Engine
        readers = 4 if self.is_sqlite else max(2, pool_size // 2)
        writers = 1 if self.is_sqlite else max(2, pool_size // 4)
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix="read")
        self._write_threads = ThreadPoolExecutor(writers, thread_name_prefix="write")
        self._log_threads = ThreadPoolExecutor(1, thread_name_prefix="logs")

    def exists(self) -> bool:
        """Whether there is anything to open: a SQLite file is made by the first who opens it."""
        return not self.is_sqlite or StoreFiles.of_url(self.url).exist()

    def open(self) -> None:
        """Take the file's lock (SQLite) and make the engines. Raises Unavailable with what to do about it."""
        if self.is_sqlite:
            self._open_sqlite()
        else:
            # A third of the connections writes: there are threads for about as many.
            writing = max(1, self._pool_size // 3)
            self._writer = self._postgres(writing)
            self._reader = self._logs = self._postgres(max(1, self._pool_size - writing))
            dialect.prefer_indexes(self._writer)
            self._engines = [self._writer, self._reader]
            self._knock(self._writer)

    def _knock(self, engine: Engine) -> None:
        """Whoever starts a server is told which database it was and what that said, not to repeat a call."""
        try:
            with engine.connect() as connection:
                found = dialect.version_number(connection)
        except DBAPIError as error:
            self.close()
            said = " ".join(str(error.orig).split())
            raise Unavailable(f"{engine.url.render_as_string(hide_password=True)}: {said}") from error
        refusal = dialect.too_old(is_postgres=not self.is_sqlite, found=found)
        if refusal:
            self.close()
            raise Unavailable(f"{engine.url.render_as_string(hide_password=True)}: {refusal}")

    def _postgres(self, connections: int) -> Engine:
        return sa.create_engine(
            self.url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=5,
            pool_recycle=int(self._max_lifetime),
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "pawl",
                "prepare_threshold": 2,
                # Nothing here takes long. A statement that does, and a server that has gone without a word, give their
                # thread back; migrations ask for more.
                "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000}",
                "tcp_user_timeout": STATEMENT_SECONDS * 1000,
            },
        )

    def _open_sqlite(self) -> None:
        files = StoreFiles.of_url(self.url)
        files.main.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(files.lock)
        self._lock.acquire()
        files.settle()
        self._writer = sa.create_engine(self.url, pool_size=1, connect_args={"check_same_thread": False})
        self._reader = sa.create_engine(self.url, pool_size=5, connect_args={"check_same_thread": False})
        self._logs = sa.create_engine(f"sqlite:///{files.logs}", pool_size=2, connect_args={"check_same_thread": False})
        dialect.configure_sqlite(self._writer, writer=True)
        dialect.configure_sqlite(self._reader, writer=False)
        dialect.configure_sqlite(self._logs, writer=True)
        self._engines = [self._writer, self._reader, self._logs]
        self._knock(self._writer)
        self._knock(self._logs)

    def close(self) -> None:
        """Finish what runs, give the connections back and release the file."""
        for threads in (self._read_threads, self._write_threads, self._log_threads):
            threads.shutdown(wait=True)
        for engine in self._engines:
            engine.dispose()
        if self._lock is not None:
            self._lock.release()

    async def read(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that only reads, in a transaction of its own."""
        return await self._on(self._read_threads, self._reader, function, *args, **kwargs)

    async def write(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in a transaction and commit it. It may run again after a deadlock, so it must only use SQL."""
        return await self._on(self._write_threads, self._writer, function, *args, **kwargs)

    async def logs(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function on the logs, which have a writer of their own (and a file of their own on SQLite)."""
        return await self._on(self._log_threads, self._logs, function, *args, **kwargs)

    async def _on(
        self,
        threads: ThreadPoolExecutor,
        engine: Engine,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        def work() -> R:
            return self.transact(engine, function, *args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("the server is shutting down") from error
            raise

    def transact(
        self, engine: Engine, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """One transaction on the calling thread; deadlock victims are repeated."""
        for attempt in range(1, TRANSIENT_TRIES + 1):
            began = time.perf_counter()
            try:
                with engine.connect() as connection, connection.begin():
                    result = function(connection, *args, **kwargs)
                if engine is self._writer:
                    seconds = time.perf_counter() - began
                    self.commit_seconds.append(seconds)
                    self.measures.commit.observe(seconds)
                return result
            except IntegrityError:
                raise  # the caller knows which constraint it tried
            except (DBAPIError, PoolTimeout) as error:
                if attempt < TRANSIENT_TRIES and _is_transient(error):
                    self.repeated += 1
                    continue
                if isinstance(error, OperationalError | PoolTimeout) or getattr(error, "connection_invalidated", False):
                    raise Unavailable(
                        "the database does not answer; repeat the call with the same request id",
                        retry_after_seconds=1.0,
                    ) from error
                raise
        raise AssertionError("unreachable")

    def transact_now(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A write on the calling thread: for commands that run before the loop does (migrate)."""
        return self.transact(self._writer, function, *args, **kwargs)

    def transact_logs_now(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same on the logs."""
        return self.transact(self._logs, function, *args, **kwargs)

    def connections_in_use(self) -> int:
        """Connections taken from the pools now."""
        return sum(engine.pool.checkedout() for engine in self._engines if isinstance(engine.pool, sa.QueuePool))


def normalise_url(url: str) -> str:
    """One spelling: `postgres://` and `postgresql://` mean psycopg; a bare path means a SQLite file.

    Raises ValueError that says what is allowed.
    """
    for scheme in ("postgres://", "postgresql://", "postgresql+psycopg://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        if path in ("", ":memory:"):
            raise ValueError("a SQLite database in memory would lose what was acknowledged; name a file")
        return "sqlite:///" + str(Path(path).expanduser().absolute())
    if "://" in url:
        raise ValueError(
            f"database url {url.split('://')[0]}://... is not known; use sqlite:///PATH or postgresql://..."
        )
    return "sqlite:///" + str(Path(url).expanduser().absolute())


def _is_transient(error: Exception) -> bool:
    return getattr(getattr(error, "orig", None), "sqlstate", None) in TRANSIENT_STATES


__all__ = ["PARTITIONED", "Connection", "IntegrityError", "Row", "Store", "normalise_url"]
