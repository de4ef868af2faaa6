"""Statements that travel to PostgreSQL together, and what it answered: libpq's pipeline mode by way of psycopg's `pq`.

What every task pays for goes this way. A cursor of the driver looks at each statement anew, dumps its values, asks the
socket whether it would take and give something, and makes a result that has rows: 0.1 ms for a statement whose answer
is that it did not fail. Here a statement is prepared once for a connection, its values are bytes when they come, and
the socket is asked when somebody wants to know how it went.

Between two exchanges the connection is as the driver left it, for whoever uses a cursor.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from psycopg import Connection, Error, OperationalError, errors
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

Prepared = dict[str, bytes]
"""The names of the statements that a connection has prepared, by their text."""
_numbers: Final = itertools.count()
_UNKNOWN_STATEMENT: Final = "26000"
_BINARY: Final = 1
_FAILED: Final = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.BAD_RESPONSE})


class _Sent(NamedTuple):
    statement: str
    prepares: bytes | None
    """The name that it gives the statement; None: it runs it."""


class Exchange:
    """What one transaction sends. Nothing has an answer before `settle`, or failed before it."""

    def __init__(self, driver: Connection[object], prepared: Prepared) -> None:
        self._pg: PGconn = driver.pgconn
        self._prepared = prepared
        self._sent: list[_Sent] = []
        self.begun = False

    @property
    def open(self) -> bool:
        """Whether something was sent that nobody has heard of yet."""
        return bool(self._sent)

    def begin(self) -> None:
        """Have a transaction from here on, unless there is one."""
        if not self.begun:
            self.begun = True
            self.send("BEGIN")

    def send(self, statement: str, values: Sequence[bytes] = ()) -> None:
        """Have this run behind what was sent before; values are in binary, and the statement says of what type."""
        if not self._sent:
            self._pg.enter_pipeline_mode()
        if not values:  # BEGIN and its like, which have no plan
            self._pg.send_query_params(statement.encode(), None)
        else:
            name = self._prepared.get(statement) or self._prepare(statement)
            self._pg.send_query_prepared(name, values, [_BINARY] * len(values))
        self._sent.append(_Sent(statement, None))

    def _prepare(self, statement: str) -> bytes:
        for sent in self._sent:
            if sent.prepares is not None and sent.statement == statement:
                return sent.prepares
        name = f"pawl_{next(_numbers)}".encode()
        self._pg.send_prepare(name, statement.encode())
        self._sent.append(_Sent(statement, name))
        return name

    def settle(self) -> list[PGresult]:
        """The answers, in the order of the statements. Raises the first one's error; nothing behind it did run."""
        if not self._sent:
            return []
        sent, self._sent = self._sent, []
        self._pg.pipeline_sync()
        answers = self._answers()
        self._pg.exit_pipeline_mode()
        failure: Error | None = None
        found: list[PGresult] = []
        for one, answer in zip(sent, answers, strict=True):
            if answer.status in _FAILED:
                failure = failure or errors.error_from_result(answer)
            elif one.prepares is not None:
                self._prepared[one.statement] = one.prepares
            else:
                found.append(answer)
        if failure is not None:
            if failure.sqlstate == _UNKNOWN_STATEMENT:  # somebody had the session forget: begin again, without them
                self._prepared.clear()
            raise failure
        return found

    def roll_back(self) -> None:
        """Leave nothing of the transaction. What failed in it has been told, and of a connection that broke the server
        knows by itself.
        """
        with suppress(Error):
            self.settle()
        if self._pg.status == ConnStatus.OK and self._pg.transaction_status != TransactionStatus.IDLE:
            with suppress(Error):
                self.send("ROLLBACK")
                self.settle()

    def _answers(self) -> list[PGresult]:
        """Everything up to the end of the exchange."""
        pg = self._pg
        poll = select.poll()
        poll.register(pg.socket, select.POLLIN | select.POLLOUT)
        while pg.flush():  # more than the socket holds: what comes back meanwhile is taken, or both sides wait
            if any(event & ~select.POLLOUT for _, event in poll.poll()):
                pg.consume_input()
        poll.modify(pg.socket, select.POLLIN)
        answers: list[PGresult] = []
        while True:
            while pg.is_busy():
                poll.poll()
                pg.consume_input()
            answer = pg.get_result()
            if answer is None:  # between two statements
                if pg.status != ConnStatus.OK:
                    raise OperationalError("the connection is lost")
            elif answer.status == ExecStatus.PIPELINE_SYNC:
                return answers
            else:
                answers.append(answer)
