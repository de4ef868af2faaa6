"""Staying with a task until it ends: progress and log on stderr, output on stdout, its end as the exit code."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from pawl.cli import show
from pawl.cli.exits import Exits
from pawl.cli.session import Session
from pawl.errors import PawlError
from pawl.services import FINAL
from pawl.v1.task_pb2 import LogEntry, Progress, Task

REASON_SECONDS = 2.0
PROGRESS_SECONDS = 1.0

if TYPE_CHECKING:
    from rich.text import Text

    from pawl.client import BlockingClient, Client


def until_end(session: Session, pawl: BlockingClient, task: Task, *, logs: bool) -> None:
    """Follow a task to its end and leave with its exit code. Ctrl-C leaves the task running, and says so."""
    try:
        ended = pawl.call(lambda client: _follow(session, client, task, logs=logs))
    except ExceptionGroup as several:
        raise _first(several) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        session.err().print(f"The task goes on. Stop it: pawl task cancel {task.id}", style="dim", soft_wrap=True)
        raise typer.Exit(Exits.CANCELLED) from None
    told(session, pawl, ended)


def _first(several: ExceptionGroup[Exception]) -> Exception:
    """What went wrong first in a group of tasks: the rest was cancelled for it."""
    one = several.exceptions[0]
    return _first(one) if isinstance(one, ExceptionGroup) else one


def told(session: Session, pawl: BlockingClient, task: Task) -> None:
    """Print how a task ended; leave with its exit code unless it SUCCEEDED."""
    if not session.table:
        show.answer(session, task, "")
    elif task.output_digest:
        write_output(pawl, task.id)
    elif task.HasField("output"):
        show.write_payload(task.output)
    code = exit_of(task)
    if code is not Exits.OK:
        session.err().print(_why(task), soft_wrap=True)
        raise typer.Exit(code)


def write_output(pawl: BlockingClient, task_id: str) -> None:
    """A task's output on stdout, piece by piece."""
    sys.stdout.flush()
    copy_output(pawl, task_id, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def copy_output(pawl: BlockingClient, task_id: str, file: BinaryIO) -> int:
    """A task's output into a file; how many bytes."""

    async def copy(client: Client) -> int:
        size = 0
        async for piece in client.tasks.output(task_id):
            size += file.write(piece.data)
        return size

    return pawl.call(copy)


def exit_of(task: Task) -> Exits:
    """The exit code that a task's end stands for."""
    if task.status == Task.Status.SUCCEEDED:
        return Exits.OK
    return Exits.CANCELLED if task.status == Task.Status.CANCELLED else Exits.TASK_FAILED


def _why(task: Task) -> Text:
    from rich.text import Text

    name = show.enum_name(task, "status")
    said = Text.assemble(("error: ", "bold red"), f"task {task.id} {name}")
    if task.status == Task.Status.CANCELLED and task.cancel_reason:
        said.append(f": {task.cancel_reason}")
    if task.HasField("error"):
        said.append(f": {task.error.code}: {task.error.message}" if task.error.message else f": {task.error.code}")
    if task.attempt > 1:
        said.append(f" (attempt {task.attempt})")
    return said.append(f"\nIts log: pawl task logs {task.id}", style="dim")


async def _follow(session: Session, client: Client, task: Task, *, logs: bool) -> Task:
    if not logs:
        return await _watch(session, client, task, live=True)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(session, client, task, live=False))
        group.create_task(_print_logs(session, client.tasks.logs(task.id, follow=True)))
    return watching.result()


async def _print_logs(session: Session, entries: AsyncIterator[LogEntry]) -> None:
    async for entry in entries:
        write_entry(session, entry, sys.stderr)


async def _watch(session: Session, client: Client, task: Task, *, live: bool) -> Task:
    """Each change as it comes: one line that changes at a terminal, else a line for each status."""
    console = session.err()
    moving = live and console.is_terminal and not session.quiet
    status: Any = console.status(line(task), spinner="dots") if moving else nullcontext()
    view = _View(task, status if moving else None, None if moving or session.quiet or not live else console)
    with status:
        async with asyncio.TaskGroup() as group:
            reasons = group.create_task(_say_reasons(client, view))
            async for now in client.tasks.watch(task.id):
                view.show(now)
                if now.status in FINAL:
                    break
            reasons.cancel()
    return view.task if view.task.status in FINAL else await client.tasks.get(task.id)


class _View:
    """The line on a task: moved by each change, and by what keeps it waiting."""

    def __init__(self, task: Task, moving: Any, console: Any) -> None:
        self.task = task
        self._moving = moving
        self._console = console
        self._said = ""
        self._progress = ""
        self._progress_at = 0.0

    def show(self, task: Task, reason: str = "") -> None:
        """Take in where the task is."""
        self.task = task
        name = show.enum_name(task, "status")
        words = line(task)
        if reason:
            words.append(f" {reason}", style="dim")
        if self._moving is not None:
            self._moving.update(words)
        elif self._console is not None and (self._said != name + reason or self._has_moved(task)):
            self._console.print(words, soft_wrap=True)
        self._said = name + reason

    def _has_moved(self, task: Task) -> bool:
        """Whether it has said more of its progress, and not a moment after the last time: lines stay."""
        now, said = time.monotonic(), progress(task.progress) if task.HasField("progress") else ""
        if said in ("", self._progress) or task.status in FINAL or now < self._progress_at + PROGRESS_SECONDS:
            return False
        self._progress, self._progress_at = said, now
        return True


async def _say_reasons(client: Client, view: _View) -> None:
    """Where a task waits for longer than a moment, say for what."""
    while True:
        before = view.task
        await asyncio.sleep(REASON_SECONDS)
        if view.task is before and before.status in (Task.Status.PENDING, Task.Status.BLOCKED):
            with suppress(PawlError):  # a comfort: whether the task can be followed is for the watch to find out
                told = await client.tasks.explain(before.id)
                if view.task is before:
                    view.show(before, told.message)


def line(task: Task) -> Text:
    """One line on where a task is."""
    from rich.text import Text

    told = Text.assemble(show.status(show.enum_name(task, "status")), " ", task.job_name, " ", (task.id, "dim"))
    if task.agent_id:
        told.append(f" on {task.agent_id}")
    if task.attempt > 1:
        told.append(f" attempt {task.attempt} of {task.max_retries + 1}", style="yellow")
    if task.status == Task.Status.WAITING_RETRY and task.HasField("next_attempt_at"):
        told.append(" again ").append_text(show.instant(task.next_attempt_at))
    if task.HasField("progress") and task.status not in FINAL:
        told.append(f" {progress(task.progress)}", style="cyan")
    if task.cancel_requested and task.status not in FINAL:
        told.append(" cancelling", style="yellow")
    if task.HasField("started_at") and task.HasField("finished_at"):
        seconds = (task.finished_at.ToNanoseconds() - task.started_at.ToNanoseconds()) / 1e9
        told.append(f" {show.span(max(0.0, seconds))}", style="dim")
    return told


def progress(one: Progress) -> str:
    """How far something says it is, in one line: what a program says never moves the cursor."""
    words = "".join(letter if letter.isprintable() else " " for letter in one.message)
    return f"{one.percent:g}% {words}".rstrip()


def write_entry(session: Session, entry: LogEntry, stream: Any, *, marked: bool = False) -> None:
    """A piece of log, as it was printed; `marked` puts time, attempt and stream before each line."""
    if not marked:
        stream.write(entry.text)
        stream.flush()
        return
    name = show.enum_name(entry, "stream").lower()
    at = show.clock(entry.time.ToDatetime(UTC))
    for text in entry.text.splitlines():
        stream.write(f"{at} #{entry.attempt} {name:<6} {text}\n")
    stream.flush()
