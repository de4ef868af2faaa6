"""Staying with a task until it ends: progress and log on stderr, output on stdout, its end as the exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC
from typing import TYPE_CHECKING, Any

import typer

from pawl.cli import show
from pawl.cli.exits import Exits
from pawl.cli.session import Session
from pawl.services import FINAL
from pawl.v1.task_pb2 import LogEntry, Task

if TYPE_CHECKING:
    from rich.text import Text

    from pawl.client import BlockingClient, Client


def until_end(session: Session, pawl: BlockingClient, task: Task, *, logs: bool) -> None:
    """Follow a task to its end and leave with its exit code. Ctrl-C leaves the task running, and says so."""
    try:
        ended = pawl.call(lambda client: _follow(session, client, task, logs=logs))
    except (KeyboardInterrupt, asyncio.CancelledError):
        session.err().print(f"The task goes on. Stop it: pawl task cancel {task.id}", style="dim", soft_wrap=True)
        raise typer.Exit(Exits.CANCELLED) from None
    told(session, ended)


def told(session: Session, task: Task) -> None:
    """Print how a task ended; leave with its exit code unless it SUCCEEDED."""
    if not session.table:
        show.answer(session, task, "")
    elif task.HasField("output"):
        show.write_payload(task.output)
    code = exit_of(task)
    if code is not Exits.OK:
        session.err().print(_why(task), soft_wrap=True)
        raise typer.Exit(code)


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
    live_line: Any = console.status(line(task), spinner="dots") if moving else nullcontext()
    said = ""
    with live_line:
        async for now in client.tasks.watch(task.id):
            if moving:
                live_line.update(line(now))
            elif not session.quiet and live and said != (said := show.enum_name(now, "status")):
                console.print(line(now), soft_wrap=True)
            if now.status in FINAL:
                return now
    return await client.tasks.get(task.id)


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
    if task.cancel_requested and task.status not in FINAL:
        told.append(" cancelling", style="yellow")
    if task.HasField("started_at") and task.HasField("finished_at"):
        seconds = (task.finished_at.ToNanoseconds() - task.started_at.ToNanoseconds()) / 1e9
        told.append(f" {show.span(max(0.0, seconds))}", style="dim")
    return told


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
