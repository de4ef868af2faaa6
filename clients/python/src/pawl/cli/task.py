"""`pawl task`: follow, explain, cancel and repeat runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import deadlines, options
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import json_payload, moment, pairs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import RenderableType

    from pawl.client import BlockingClient, Client
    from pawl.services import Bulk
    from pawl.v1.task_pb2 import Task, TaskExplanation, TaskInstance, TaskTransition

app = typer.Typer(
    help="Follow, explain, cancel and repeat runs.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The tasks' ids.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept with the task.")]


@app.command("create", cls=RemoteCommand)
def create(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="JOB", help="Name or id.", show_default=False)],
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON|@FILE", help="What it is given.")
    ] = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    priority: Annotated[int | None, typer.Option(min=0, max=1000, help="0 to 1000, higher first.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before: 2026-01-31T08:00, 08:00, +5m.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="An attempt may run so long.")
    ] = None,
    schedule_to_start_timeout: deadlines.Start = None,
    total_timeout: deadlines.Total = None,
    request_id: Annotated[str, typer.Option(metavar="ID", help="Makes a repeat of this command the same run.")] = "",
) -> None:
    """Run a job and do not wait for it: the same as `pawl job run` without --wait."""
    from pawl.cli.job import run

    run(
        context, key, parameters=parameters, env=env, tag=tag, priority=priority, at=at, timeout=timeout,
        schedule_to_start_timeout=schedule_to_start_timeout, total_timeout=total_timeout, request_id=request_id,
    )  # fmt: skip


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, task_id: TaskId) -> None:
    """Show a task with its output and what it went through."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        task = pawl.call(lambda client: client.tasks.get(task_id))
    show.answer(session, task, _card(session, task))


@app.command("list", cls=RemoteCommand)
def list_tasks(
    context: typer.Context,
    job: Annotated[str | None, typer.Option(help="Of this job, by name or id.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Such as RUNNING or FAILED.")] = None,
    agent: Annotated[str | None, typer.Option(help="On this agent.")] = None,
    group: Annotated[str | None, typer.Option(metavar="ID", help="Of this group.")] = None,
    tag: options.TagOption = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List tasks, newest first."""
    from pawl.cli import show

    session = Session.of(context)
    conditions = {f"tags.{name}": value for name, value in pairs(tag, "--tag").items()}
    with session.client() as pawl:
        job_id = pawl.call(lambda client: client.jobs.get(job)).id if job is not None else None
        asked = options.question(
            {"job_id": job_id, "status": status and status.upper(), "agent_id": agent, "group_id": group, **conditions},
            filter, order_by, limit, page_token,
        )  # fmt: skip
        page = pawl.call(lambda client: client.tasks.list(**asked))
    people = show.table("id", "status", "job", "created")
    for task in page.data:
        people.add_row(
            task.id, show.status(show.enum_name(task, "status")), task.job_name, show.when(session, task, "created_at")
        )
    show.listing(session, page, people, "No such tasks. Run a job: pawl job run NAME")


@app.command("instances", cls=RemoteCommand)
def instances(
    context: typer.Context,
    task_id: TaskId,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """Show a task's placements on agents, newest first."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({"task_id": task_id}, None, None, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.task_instances.list(**asked))
    people = show.table("id", "status", "#", "agent", "ended", "used")
    for one in page.data:
        people.add_row(
            one.id,
            show.status(show.enum_name(one, "status")),
            str(one.attempt),
            one.agent_id,
            _ending(session, one),
            _used(one),
        )
    show.listing(session, page, people, "It has not been placed yet. Why: pawl task explain ID")


def _used(one: TaskInstance) -> str:
    """What its agent has measured: time, CPU, memory, and which limits it did not hold; empty while it runs."""
    if not one.HasField("metrics"):
        return ""
    used = one.metrics
    cpu = used.user_cpu_seconds + used.system_cpu_seconds
    slowed = f", slowed {used.cpu_throttled_seconds:.1f}s" if used.cpu_throttled_seconds >= 0.05 else ""
    loose = ", ".join(limit.limit for limit in one.limits_not_enforced)
    not_held = f"; not held: {loose}" if loose else ""
    return f"{used.wall_seconds:.1f}s, CPU {cpu:.1f}s{slowed}, {used.peak_memory_bytes / 2**20:.0f} MiB{not_held}"


@app.command("cancel", cls=RemoteCommand)
def cancel(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Cancel tasks. Running ones are stopped, which takes a moment."""
    from pawl.cli import following, show

    session = Session.of(context)
    with session.client() as pawl:
        for task_id in task_ids:
            task = _cancel(pawl, task_id, reason)
            show.answer(session, task, following.line(task))


def _cancel(pawl: BlockingClient, task_id: str, reason: str) -> Task:
    return pawl.call(lambda client: client.tasks.cancel(task_id, reason))


@app.command("retry", cls=RemoteCommand)
def retry(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Run finished tasks again; those that wait for a retry run at once."""
    from pawl.cli import following, show

    session = Session.of(context)
    with session.client() as pawl:
        for task_id in task_ids:
            task = _retry(pawl, task_id, reason)
            show.answer(session, task, following.line(task))


def _retry(pawl: BlockingClient, task_id: str, reason: str) -> Task:
    return pawl.call(lambda client: client.tasks.retry(task_id, reason))


@app.command("pause", cls=RemoteCommand)
def pause(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Hold tasks that wait; they do not start until they are resumed."""
    _each(context, task_ids, lambda client, task_id: client.tasks.pause(task_id, reason))


@app.command("resume", cls=RemoteCommand)
def resume(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Let held tasks go."""
    _each(context, task_ids, lambda client, task_id: client.tasks.resume(task_id, reason))


@app.command("skip", cls=RemoteCommand)
def skip(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Decide that waiting tasks are not run."""
    _each(context, task_ids, lambda client, task_id: client.tasks.skip(task_id, reason))


@app.command("succeed", cls=RemoteCommand)
def succeed(context: typer.Context, task_ids: TaskIds, reason: Reason = "") -> None:
    """Decide that waiting or ended tasks have succeeded, by whatever means."""
    _each(context, task_ids, lambda client, task_id: client.tasks.force_success(task_id, reason))


def _each(context: typer.Context, task_ids: list[str], act: Callable[[Client, str], Awaitable[Task]]) -> None:
    from pawl.cli import following, show

    session = Session.of(context)
    with session.client() as pawl:
        for task_id in task_ids:
            task = _acted(pawl, act, task_id)
            show.answer(session, task, following.line(task))


def _acted(pawl: BlockingClient, act: Callable[[Client, str], Awaitable[Task]], task_id: str) -> Task:
    return pawl.call(lambda client: act(client, task_id))


@app.command("act", cls=RemoteCommand)
def act_on_many(
    context: typer.Context,
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION", help="cancel, retry, pause, resume, skip, force-success or delete.", show_default=False
        ),
    ],
    job: Annotated[str | None, typer.Option(help="Tasks of this job, by name or id.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Such as PENDING or FAILED.")] = None,
    tag: options.TagOption = None,
    filter: options.FilterOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every task of the namespace.")] = False,
    reason: Reason = "",
    dry_run: options.DryRunOption = False,
    request_id: options.RepeatOption = "",
) -> None:
    """Do the same to many tasks: pawl task act cancel --job import --status PENDING --dry-run"""
    from pawl.cli import bulk
    from pawl.v1.task_pb2 import ActOnTasksRequest

    word = action.upper().replace("-", "_")
    if word not in ActOnTasksRequest.Action.keys() or word == "UNSPECIFIED":  # noqa: SIM118 # no dict
        raise typer.BadParameter(f"{action!r} is none of cancel, retry, pause, resume, skip, force-success, delete")
    session = Session.of(context)
    with session.client() as pawl:
        wanted = bulk.which(pawl, job, status, tag, filter, everything=everything)
        given: Bulk = {"reason": reason, "dry_run": dry_run, "request_id": request_id}
        answer = pawl.call(lambda client: client.tasks.act(word, wanted, **given))
    bulk.tell(session, answer, action)


@app.command("update", cls=RemoteCommand)
def update(
    context: typer.Context,
    task_id: TaskId,
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON|@FILE", help="What it is given.")
    ] = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    label: options.TaskLabelOption = None,
    priority: Annotated[int | None, typer.Option(min=0, max=1000, help="0 to 1000, higher first.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="For an attempt.")] = None,
    schedule_to_start_timeout: deadlines.Start = None,
    total_timeout: deadlines.Total = None,
) -> None:
    """Change a task that has not been placed yet. --env, --tag and --label replace all that was there."""
    from pawl.cli import show
    from pawl.services import instant
    from pawl.v1.task_pb2 import Task

    session = Session.of(context)
    given = {
        "parameters": None if parameters is None else json_payload(parameters, "--parameters"),
        "environment": pairs(env, "--env") if env else None,
        "tags": pairs(tag, "--tag") if tag else None,
        "labels": pairs(label, "--label") if label else None,
        "priority": priority,
        "scheduled_at": None if at is None else instant(moment(at, "--at")),
        "timeout": timeout,
        "schedule_to_start_timeout_seconds": schedule_to_start_timeout,
        "total_timeout_seconds": total_timeout,
    }
    mask = [name for name, value in given.items() if value is not None]
    if not mask:
        raise typer.BadParameter("nothing to change: give at least one option")
    changed = Task(id=task_id, **{name: given[name] for name in mask})  # type: ignore[arg-type] # each value has its field's type, which a dict cannot say
    with session.client() as pawl:
        task = pawl.call(lambda client: client.tasks.update(changed, mask))
    show.answer(session, task, _card(session, task))


@app.command("delete", cls=RemoteCommand)
def delete(context: typer.Context, task_ids: TaskIds) -> None:
    """Delete finished tasks with their instances and logs."""
    session = Session.of(context)
    with session.client() as pawl:
        for task_id in task_ids:
            _delete(pawl, task_id)
            session.note(f"task {task_id} deleted")


def _delete(pawl: BlockingClient, task_id: str) -> None:
    pawl.call(lambda client: client.tasks.delete(task_id))


@app.command("watch", cls=RemoteCommand)
def watch(context: typer.Context, task_id: TaskId) -> None:
    """Watch a task until it ends: its output, and the exit code of `pawl job run --wait`."""
    from pawl.cli import following

    session = Session.of(context)
    with session.client() as pawl:
        task = pawl.call(lambda client: client.tasks.get(task_id))
        following.until_end(session, pawl, task, logs=False)


@app.command("logs", cls=RemoteCommand)
def logs(
    context: typer.Context,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task ends.")] = False,
    instance: Annotated[str, typer.Option(metavar="ID", help="Of this placement only.")] = "",
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="Only what comes after this entry: its `cursor` in JSON.")
    ] = "",
    marked: Annotated[bool, typer.Option("--marked", help="Time, attempt and stream before each line.")] = False,
) -> None:
    """Print what a task printed: its stdout on stdout, everything else on stderr."""
    session = Session.of(context)
    with session.client() as pawl:
        _print_logs(session, pawl, task_id, follow=follow, instance=instance, after=after, marked=marked)


def _print_logs(
    session: Session, pawl: BlockingClient, task_id: str, *, follow: bool, instance: str, after: str, marked: bool
) -> None:
    from pawl.cli import following, show
    from pawl.v1.task_pb2 import LogEntry

    found = False
    for entry in pawl.each(lambda client: client.tasks.logs(task_id, follow=follow, instance_id=instance, after=after)):
        found = True
        if not session.table:
            show.answer(session, entry, "")
            continue
        printed = marked or entry.stream == LogEntry.Stream.STDOUT
        following.write_entry(session, entry, sys.stdout if printed else sys.stderr, marked=marked)
    if not found:
        session.note("It has printed nothing more." if after else "It has printed nothing.")


@app.command("output", cls=RemoteCommand)
def output(
    context: typer.Context,
    task_id: TaskId,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Into this file instead of stdout.")] = None,
) -> None:
    """Print what a task's last attempt gave, its bytes as they are, however large."""
    from pawl.cli import following

    session = Session.of(context)
    with session.client() as pawl:
        if to is None:
            following.write_output(pawl, task_id)
            return
        # Beside it and then in its place: a file of this name is always a whole output.
        part = to.with_name(f".{to.name}.part")
        try:
            with part.open("wb") as file:
                size = following.copy_output(pawl, task_id, file)
            part.replace(to)
        except OSError as error:
            raise typer.BadParameter(f"{to}: {error.strerror}", param_hint="--to") from error
        finally:
            part.unlink(missing_ok=True)
        session.note(f"{size:,} bytes written to {to}")


@app.command("artifacts", cls=RemoteCommand)
def artifacts(
    context: typer.Context,
    task_id: TaskId,
    instance: Annotated[str, typer.Option(metavar="ID", help="Of this placement.")] = "",
) -> None:
    """List the files that the last attempt left: the same as `pawl artifact list`."""
    from pawl.cli.artifact import list_artifacts

    list_artifacts(context, task_id, instance)


@app.command("explain", cls=RemoteCommand)
def explain(context: typer.Context, task_id: TaskId) -> None:
    """Say why a task does not move, and who will move it."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        told = pawl.call(lambda client: client.tasks.explain(task_id))
    people = show.card(
        [
            ("status", show.status(show.enum_name(told, "status"))),
            ("reason", show.enum_name(told, "reason")),
            ("", told.message),
            ("moved by", told.moved_by),
            ("next", show.when(session, told, "next_at")),
            ("next timeout", _next_timeout(session, told)),
            *sorted(told.details.items()),
        ]
    )
    show.answer(session, told, people)


def _next_timeout(session: Session, told: TaskExplanation) -> RenderableType | None:
    from rich.text import Text

    from pawl.cli import show

    at = show.when(session, told, "next_timeout_at")
    return None if at is None else Text.assemble(f"{told.next_timeout} ", at)


def _ending(session: Session, one: TaskInstance) -> RenderableType:
    from rich.text import Text

    from pawl.cli import following, show

    ended = show.when(session, one, "finished_at")
    if ended is None:
        return Text(following.progress(one.progress) if one.HasField("progress") else "")
    if one.HasField("signal"):
        ended.append(f" signal {one.signal}", style="red")
    elif one.HasField("exit_code"):
        ended.append(f" exit {one.exit_code}", style="red" if one.exit_code else "dim")
    return ended


def _card(session: Session, task: Task) -> RenderableType:
    from rich.text import Text

    from pawl.cli import following, show

    error = Text(f"{task.error.code}: {task.error.message}", style="red") if task.HasField("error") else None
    return show.card(
        [
            ("id", task.id),
            ("namespace", task.namespace_id),
            ("job", f"{task.job_name} revision {task.job_revision}"),
            ("status", show.status(show.enum_name(task, "status"))),
            ("error", error),
            ("dead letter", show.enum_name(task, "dead_reason") if task.dead_reason else None),
            ("cancel", f"requested {task.cancel_reason}".rstrip() if task.cancel_requested else None),
            ("attempt", f"{task.attempt} of {task.max_retries + 1}" if task.attempt else None),
            ("agent", task.agent_id),
            ("schedule", task.schedule_id),
            *deadlines.rows(task),
            ("priority", str(task.priority) if task.HasField("priority") else None),
            ("tags", show.words(task.tags)),
            ("labels", show.words(task.labels)),
            ("environment", show.words(task.environment)),
            ("parameters", show.payload_text(task.parameters) if task.HasField("parameters") else None),
            ("progress", following.progress(task.progress) if task.HasField("progress") else None),
            ("output", _output(task)),
            ("created", show.when(session, task, "created_at")),
            ("not before", show.when(session, task, "scheduled_at")),
            ("next attempt", show.when(session, task, "next_attempt_at")),
            ("started", show.when(session, task, "started_at")),
            ("finished", show.when(session, task, "finished_at")),
            *(("", _transition(one)) for one in task.transitions),
        ]
    )


def _output(task: Task) -> str | None:
    from pawl.cli import show

    if task.output_digest:
        return f"sha256:{task.output_digest}; read it: pawl task output {task.id}"
    return show.payload_text(task.output) if task.HasField("output") else None


def _transition(one: TaskTransition) -> RenderableType:
    from rich.text import Text

    from pawl.cli import show

    by = f" by {one.subject}" if one.subject else ""
    why = f": {one.reason}" if one.reason else ""
    moved = f"{one.transition} {show.enum_name(one, 'from_status')} → {show.enum_name(one, 'to_status')}"
    return Text.assemble(moved, by, why, " ", show.instant(one.at), style="dim")
