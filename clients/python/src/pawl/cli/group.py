"""`pawl group`: a job on every agent that matches, or in so many shards, as one thing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pawl.cli import options
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import json_payload, json_value, moment, pairs, text_or_file

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.client import BlockingClient, Client
    from pawl.v1.group_pb2 import TaskGroup
    from pawl.v1.task_pb2 import Task
    from pawl.v1.types_pb2 import Payload

SHOWN = 100  # tasks whose outputs are fetched for people

app = typer.Typer(
    help="Run a job on every agent, or in shards.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

GroupId = Annotated[str, typer.Argument(metavar="ID", help="The group's id.", show_default=False)]
GroupIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The groups' ids.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept with the tasks.")]


@app.command("run", cls=RemoteCommand)
def run(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="JOB", help="Name or id.", show_default=False)],
    on_all: Annotated[bool, typer.Option("--on-all", help="A task for each connected agent that matches.")] = False,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Only agents that have it; repeat it."),
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, max=10_000, help="So many tasks, on any agents.")] = None,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE", help="A list: a task for each entry, which is what that task is given."),
    ] = None,
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON|@FILE", help="What each task is given.")
    ] = None,
    any_: Annotated[bool, typer.Option("--any", help="One success is enough. Else all have to succeed.")] = False,
    at_least: Annotated[
        int | None, typer.Option(min=1, max=10_000, metavar="N", help="N successes are enough.")
    ] = None,
    max_failed: Annotated[int | None, typer.Option(min=0, max=10_000, metavar="N", help="N may fail.")] = None,
    cancel_rest: Annotated[
        bool, typer.Option("--cancel-rest", help="Cancel the others as soon as it is clear what it comes to.")
    ] = False,
    start_within: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="A task that no agent has begun by then fails.")
    ] = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    priority: Annotated[int | None, typer.Option(min=0, max=1000, help="0 to 1000, higher first.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before: 2026-01-31T08:00, 08:00, +5m.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="An attempt may run so long.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until all tasks have ended.")] = False,
    request_id: Annotated[str, typer.Option(metavar="ID", help="Makes a repeat of this command the same group.")] = "",
) -> None:
    """Run a job on every agent (--on-all) or in shards: pawl group run cleanup --on-all --wait"""
    from pawl.cli import show
    from pawl.services import instant
    from pawl.v1.group_pb2 import TaskGroup

    session = Session.of(context)
    if on_all == (shards is not None or inputs is not None):
        raise typer.BadParameter("say where it runs: --on-all, or --shards or --inputs")
    policy, count = _policy(any_, at_least, max_failed)
    wanted = TaskGroup(
        job_id=key,
        mode=TaskGroup.BROADCAST if on_all else TaskGroup.SHARDED,
        labels=pairs(label, "--label"),
        shards=shards,
        shard_parameters=[] if inputs is None else _inputs(inputs),
        parameters=None if parameters is None else json_payload(parameters, "--parameters"),
        policy=policy,
        policy_count=count,
        cancel_rest=cancel_rest,
        schedule_to_start_timeout_seconds=start_within,
        environment=pairs(env, "--env"),
        tags=pairs(tag, "--tag"),
        priority=priority,
        scheduled_at=None if at is None else instant(moment(at, "--at")),
        timeout=timeout,
    )
    with session.client() as pawl:
        group = pawl.call(lambda client: client.groups.create(wanted, request_id))
        if wait:
            _until_end(session, pawl, group)
        else:
            show.answer(session, group, _started(group))


def _policy(any_: bool, at_least: int | None, max_failed: int | None) -> tuple[Any, int | None]:
    from pawl.v1.group_pb2 import GroupPolicy

    if any_ + (at_least is not None) + (max_failed is not None) > 1:
        raise typer.BadParameter("only one of --any, --at-least and --max-failed")
    if any_:
        return GroupPolicy.ANY, None
    if at_least is not None:
        return GroupPolicy.AT_LEAST, at_least
    return (GroupPolicy.ALL, None) if max_failed is None else (GroupPolicy.MAX_FAILED, max_failed)


def _inputs(given: str) -> list[Payload]:
    """A payload for each entry of a list."""
    from pawl.payload import payload

    entries = json_value(text_or_file(given), "--inputs")
    if not isinstance(entries, list) or not entries:
        raise typer.BadParameter("must be a list with an entry for each task", param_hint="--inputs")
    return [payload(one) for one in entries]


@app.command("list", cls=RemoteCommand)
def list_groups(
    context: typer.Context,
    job: Annotated[str | None, typer.Option(help="Of this job, by name or id.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Such as RUNNING or FAILED.")] = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List groups, newest first."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        job_id = pawl.call(lambda client: client.jobs.get(job)).id if job is not None else None
        given = {"job_id": job_id, "status": status and status.upper()}
        asked = options.question(given, filter, order_by, limit, page_token)
        page = pawl.call(lambda client: client.groups.list(**asked))
    people = show.table("id", "status", "job", "tasks", "created")
    for one in page.data:
        people.add_row(
            one.id,
            show.status(show.enum_name(one, "status")),
            one.job_name,
            _tally(one),
            show.when(session, one, "created_at"),
        )
    show.listing(session, page, people, "No such groups. Make one: pawl group run JOB --on-all")


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, group_id: GroupId) -> None:
    """Show a group and how its tasks do."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        group = pawl.call(lambda client: client.groups.get(group_id))
        people = _whole(session, pawl, group) if session.table else ""
    show.answer(session, group, people)


@app.command("wait", cls=RemoteCommand)
def wait_for(context: typer.Context, group_id: GroupId) -> None:
    """Wait until all tasks of a group have ended; the exit code says what they came to."""
    session = Session.of(context)
    with session.client() as pawl:
        _until_end(session, pawl, pawl.call(lambda client: client.groups.get(group_id)))


@app.command("cancel", cls=RemoteCommand)
def cancel(context: typer.Context, group_ids: GroupIds, reason: Reason = "") -> None:
    """Cancel what has not ended of groups. Running tasks are stopped, which takes a moment."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        for group_id in group_ids:
            group = _cancel(pawl, group_id, reason)
            show.answer(session, group, _line(group))


def _cancel(pawl: BlockingClient, group_id: str, reason: str) -> TaskGroup:
    return pawl.call(lambda client: client.groups.cancel(group_id, reason))


@app.command("retry", cls=RemoteCommand)
def retry(context: typer.Context, group_ids: GroupIds, reason: Reason = "") -> None:
    """Run the tasks of groups again that have failed or were cancelled."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        for group_id in group_ids:
            group = _retry(pawl, group_id, reason)
            show.answer(session, group, _line(group))


def _retry(pawl: BlockingClient, group_id: str, reason: str) -> TaskGroup:
    return pawl.call(lambda client: client.groups.retry(group_id, reason))


@app.command("delete", cls=RemoteCommand)
def delete(context: typer.Context, group_ids: GroupIds) -> None:
    """Delete groups that have ended, with their tasks."""
    session = Session.of(context)
    with session.client() as pawl:
        for group_id in group_ids:
            _delete(pawl, group_id)
            session.note(f"task group {group_id} deleted")


def _delete(pawl: BlockingClient, group_id: str) -> None:
    pawl.call(lambda client: client.groups.delete(group_id))


def _until_end(session: Session, pawl: BlockingClient, group: TaskGroup) -> None:
    """Wait for the end of all tasks, and leave with the exit code of what they came to. Ctrl-C leaves them running."""
    from pawl.cli import show
    from pawl.v1.task_pb2 import Task

    try:
        ended = pawl.call(lambda client: _follow(session, client, group))
    except (KeyboardInterrupt, asyncio.CancelledError):
        session.err().print(f"The tasks go on. Stop them: pawl group cancel {group.id}", style="dim", soft_wrap=True)
        raise typer.Exit(Exits.CANCELLED) from None
    show.answer(session, ended, _whole(session, pawl, ended) if session.table else "")
    if ended.status != Task.Status.SUCCEEDED:
        session.err().print(_line(ended), soft_wrap=True)
        raise typer.Exit(Exits.CANCELLED if ended.status == Task.Status.CANCELLED else Exits.TASK_FAILED)


async def _follow(session: Session, client: Client, group: TaskGroup) -> TaskGroup:
    console = session.err()
    moving = console.is_terminal and not session.quiet
    if not moving:
        return await client.groups.wait(group.id)
    with console.status(_line(group), spinner="dots") as status:
        while not group.HasField("finished_at"):
            group = await client.groups.wait(group.id, 1.0)
            status.update(_line(group))
    return group


def _whole(session: Session, pawl: BlockingClient, group: TaskGroup) -> RenderableType:
    """The group with each of its tasks, and what those gave."""
    from rich.console import Group

    from pawl.cli import show

    card = show.card(
        [
            ("group", group.id),
            ("status", show.status(show.enum_name(group, "status"))),
            ("job", f"{group.job_name}, revision {group.job_revision}"),
            ("runs", _runs(group)),
            ("tasks", _tally(group)),
            ("cancelled", group.cancel_reason or None),
            ("created", show.when(session, group, "created_at")),
            ("decided", show.when(session, group, "decided_at")),
            ("ended", show.when(session, group, "finished_at")),
        ]
    )
    if group.tally.total > SHOWN:
        session.note(f"Its tasks: pawl task list --group {group.id}")
        return card
    people = show.table("#", "status", "agent", "task", "gave")
    for task in pawl.call(lambda client: _members(client, group.id)):
        name = show.status(show.enum_name(task, "status"))
        people.add_row(str(task.shard_index), name, task.agent_id, task.id, _gave(task))
    return Group(card, people)


async def _members(client: Client, group_id: str) -> list[Task]:
    """With their outputs, in the order of their shards."""
    found = [task.id async for task in client.groups.members(group_id)]
    return [await client.tasks.get(task_id) for task_id in found]


def _gave(task: Task) -> str:
    """Its first line."""
    from pawl.cli import show

    if task.HasField("error"):
        return f"{task.error.code}: {task.error.message}"
    if not task.HasField("output"):
        return "(too large: pawl task output ID)" if task.output_digest else ""
    first, _, more = show.payload_text(task.output).partition("\n")
    return first + (" …" if more else "")


def _runs(group: TaskGroup) -> str:
    from pawl.cli import show
    from pawl.v1.group_pb2 import TaskGroup

    where = "on every agent" if group.mode == TaskGroup.BROADCAST else f"in {group.shards:,} shards"
    labels = f" with {show.words(group.labels)}" if group.labels else ""
    policy = show.enum_name(group, "policy") + (f" {group.policy_count}" if group.HasField("policy_count") else "")
    return f"{where}{labels}, policy {policy}" + (", the rest is cancelled" if group.cancel_rest else "")


def _tally(group: TaskGroup) -> str:
    tally = group.tally
    counted = ("waiting", "on_agents", "succeeded", "failed", "cancelled", "skipped")
    told = [f"{getattr(tally, name):,} {name.replace('_', ' ')}" for name in counted if getattr(tally, name)]
    return ", ".join([f"{tally.total:,} in all", *told])


def _line(group: TaskGroup) -> RenderableType:
    from rich.text import Text

    from pawl.cli import show

    told = Text.assemble(show.status(show.enum_name(group, "status")), " ", group.job_name, " ", (group.id, "dim"))
    told.append(f" {_tally(group)}")
    return told.append(" cancelling", style="yellow") if group.cancelling else told


def _started(group: TaskGroup) -> RenderableType:
    from rich.text import Text

    return Text.assemble(
        ("group ", "dim"), group.id, (f" of {group.job_name}, {group.tally.total:,} tasks\n", "dim"),
        ("Wait for it: ", "dim"), f"pawl group wait {group.id}",
    )  # fmt: skip
