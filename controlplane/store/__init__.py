"""The only room that knows SQL. `Store` runs plain functions of a Connection on threads, each in one transaction.

Synchronous SQLAlchemy Core on purpose: a hop to a thread costs less than the greenlets of the async engine, and on
SQLite one writer thread is the write lock. What fails because of the database itself leaves as `Unavailable`, never as
a claim that nothing happened: a commit whose answer was lost may have happened.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controlplane.domain.errors import Fenced, PawlError, Unavailable
from controlplane.domain.task import Status
from controlplane.store import batches, dialect, ended
from controlplane.store.filelock import FileLock
from controlplane.store.files import StoreFiles
from controlplane.store.notices import Heard, Line, connected
from controlplane.store.tables import PARTITIONED
from controlplane.store.threads import Threads
from controlplane.telemetry import Measures

P = ParamSpec("P")
R = TypeVar("R")

STATEMENT_SECONDS = 30
TRANSIENT_TRIES = 5  # a deadlock or a serialisation failure is repeated; the victim has done nothing
QUEUE_SECONDS = 5.0  # what a call waits for a thread, and so for a connection
TELL_SECONDS = 10.0
READERS_STATEMENTS = 32  # prepared ones that a reader of SQLite keeps: lists come in many shapes, 10 KB each
POSTGRES_ARGUMENTS = {
    "connect_timeout": 5,
    "application_name": "pawl",
    "prepare_threshold": 2,
    "client_encoding": "UTF8",  # which packed text is in
    # Nothing here takes long. A statement that does, and a server that has gone without a word, give their thread back;
    # migrations ask for more.
    "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000}",
    "tcp_user_timeout": STATEMENT_SECONDS * 1000,
}

_log = structlog.get_logger("controlplane.store")


class Store:
    """The door to the database: `read` and `write` run a function of a Connection; `open` and `close` frame it."""

    def __init__(self, url: str, *, pool_size: int = 20, max_lifetime: float = 3600.0) -> None:
        self.url = normalise_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self.commit_seconds: deque[float] = deque(maxlen=1000)
        self.measures = Measures()
        self.on_ended: Callable[[Sequence[Status]], None] = lambda _: None  # told on the thread that has committed
        self.on_groups: Callable[[Sequence[str]], None] = lambda _: None  # groups that have counted, likewise
        self.on_waiting: Callable[[Collection[int]], None] = lambda _: None  # demands that something waits with anew
        self.on_timed: Callable[[], None] = lambda: None  # something waits for a time
        self.repeated = 0  # transactions that a deadlock or a serialisation failure had begin again
        self._tell_at = 0.0
        self._max_lifetime = max_lifetime
        self._lock: FileLock | None = None
        self._engines: list[Engine] = []
        self._reader: Engine
        self._writer: Engine
        self._logs: Engine
        # A third of the connections to PostgreSQL writes. There are never more threads than connections for them: who
        # waits shall wait in our queue, and be told what for.
        self._writing = max(1, pool_size // 3)
        self._reading = max(1, pool_size - self._writing)
        readers = 4 if self.is_sqlite else max(1, min(pool_size // 2, self._reading - 1))  # one is for the logs
        writers = 1 if self.is_sqlite else max(1, min(max(2, pool_size // 4), self._writing))
        self._read_threads = Threads(readers, "read")
        self._write_threads = Threads(writers, "write")
        self._log_threads = Threads(1, "logs")

    def exists(self) -> bool:
        """Whether there is anything to open: a SQLite file is made by the first who opens it."""
        return not self.is_sqlite or StoreFiles.of_url(self.url).exist()

    def open(self) -> None:
        """Take the file's lock (SQLite) and make the engines. Raises Unavailable with what to do about it."""
        self._open()
        self._count_statements()

    def _open(self) -> None:
        if self.is_sqlite:
            self._open_sqlite()
        else:
            self._writer = self._postgres(self._writing)
            self._reader = self._postgres(max(1, self._reading - 1))
            self._logs = self._postgres(1)
            self._engines = [self._writer, self._reader, self._logs]
            for engine in self._engines:
                dialect.load_ids_as_text(engine)
                dialect.ask_after_rest(engine)
                batches.frame_transactions(engine, always=engine is not self._reader)
            dialect.prefer_indexes(self._writer)
            dialect.plan_each(self._reader)
            dialect.plan_each(self._logs)
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
            pool_use_lifo=True,  # the one that rested least: it is warm, and need not be asked whether it still stands
            pool_recycle=int(self._max_lifetime),
            isolation_level="AUTOCOMMIT",  # transactions are framed by hand
            connect_args=POSTGRES_ARGUMENTS,
        )

    def notices(self, heard: Heard, lost: Callable[[], None]) -> AbstractAsyncContextManager[Line]:
        """A line to the other replicas, on a connection beside the pools. PostgreSQL only."""
        _, parameters = self._writer.dialect.create_connect_args(self._writer.url)
        return connected({**parameters, **POSTGRES_ARGUMENTS}, heard, lost)

    def _open_sqlite(self) -> None:
        files = StoreFiles.of_url(self.url)
        files.main.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(files.lock)
        self._lock.acquire()
        files.settle()
        self._writer = sa.create_engine(self.url, pool_size=1, connect_args={"check_same_thread": False})
        self._reader = sa.create_engine(
            self.url, pool_size=5, connect_args={"check_same_thread": False, "cached_statements": READERS_STATEMENTS}
        )
        self._logs = sa.create_engine(f"sqlite:///{files.logs}", pool_size=2, connect_args={"check_same_thread": False})
        dialect.configure_sqlite(self._writer, writer=True)
        dialect.configure_sqlite(self._reader, writer=False)
        dialect.configure_sqlite(self._logs, writer=True)
        self._engines = [self._writer, self._reader, self._logs]
        self._knock(self._writer)
        self._knock(self._logs)

    def _count_statements(self) -> None:
        for name, engine in (("write", self._writer), ("read", self._reader), ("logs", self._logs)):
            batches.count_statements(engine, self.measures.statements.labels(name).inc)

    def close(self) -> None:
        """Finish what runs, give the connections back and release the file."""
        for threads in (self._read_threads, self._write_threads, self._log_threads):
            threads.shutdown()
        for engine in self._engines:
            engine.dispose()
        if self._lock is not None:
            self._lock.release()

    async def read(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that only reads, in a transaction of its own. Raises Unavailable."""
        work = partial(self.transact, self._reader, function, *args, **kwargs)
        return await self._read_threads.run(work, QUEUE_SECONDS)

    async def write(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in a transaction and commit it. It may run again after a deadlock, so it must only use SQL.
        Raises Unavailable, and Exhausted when the disk is full.
        """
        work = partial(self.transact, self._writer, function, *args, **kwargs)
        return await self._write_threads.run(work, QUEUE_SECONDS)

    async def write_batch(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same for what many wait for already, in a queue with bounds of its own: it waits for its turn, however
        long that takes, instead of sending them all away.
        """
        return await self._write_threads.run(partial(self.transact, self._writer, function, *args, **kwargs), None)

    async def logs(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function on the logs, which have a writer of their own (and a file of their own on SQLite)."""
        work = partial(self.transact, self._logs, function, *args, **kwargs)
        return await self._log_threads.run(work, QUEUE_SECONDS)

    def transact(
        self, engine: Engine, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """One transaction on the calling thread. What is overtaken, or the victim of a deadlock, begins again."""
        for attempt in range(1, TRANSIENT_TRIES + 1):
            began, committing = time.perf_counter(), False
            try:
                with engine.connect() as connection:
                    ended.begin(connection)
                    with connection.begin():
                        result = function(connection, *args, **kwargs)
                        committing = True
                    self._tell_of(connection)
                if engine is self._writer:
                    seconds = time.perf_counter() - began
                    self.commit_seconds.append(seconds)
                    self.measures.commit.observe(seconds)
                return result
            except Fenced:
                # Somebody changed what this was made from. Made again it is made from what is there now.
                if attempt == TRANSIENT_TRIES:
                    raise
            except IntegrityError:
                raise  # the caller knows which constraint it tried
            except PoolTimeout as error:
                raise Unavailable(dialect.SILENT, retry_after_seconds=1.0) from error
            except DBAPIError as error:
                # A connection that broke while it rested, or in the middle: nothing of this was committed.
                again = dialect.is_transient(error) or (error.connection_invalidated and not committing)
                if again and attempt < TRANSIENT_TRIES:
                    self.repeated += 1
                    continue
                if (refusal := dialect.refusal_of(error)) is None:
                    raise
                self._log_refusal(refusal, error)
                raise refusal from error
        raise AssertionError("unreachable")

    def _tell_of(self, connection: Connection) -> None:
        """What was noted while it was written is committed."""
        if statuses := ended.taken(connection):
            self.on_ended(statuses)
        if ids := ended.taken_groups(connection):
            self.on_groups(ids)
        if numbers := ended.taken_waiting(connection):
            self.on_waiting(numbers)
        if ended.taken_timed(connection):
            self.on_timed()

    def transact_now(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A write on the calling thread: for commands that run before the loop does (migrate)."""
        return self.transact(self._writer, function, *args, **kwargs)

    def transact_logs_now(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same on the logs."""
        return self.transact(self._logs, function, *args, **kwargs)

    def _log_refusal(self, refusal: PawlError, error: DBAPIError) -> None:
        """Callers are told what to do; what the database said is for the log, now and then while it goes on."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            _log.warning("the database refuses", reason=refusal.reason, said=" ".join(str(error.orig).split()))

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


__all__ = ["PARTITIONED", "Connection", "IntegrityError", "Row", "Store", "normalise_url"]
