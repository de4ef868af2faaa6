"""`pawl schedule`: run jobs at their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import json_payload, moment, pairs, span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.client import BlockingClient
    from pawl.v1.schedule_pb2 import Schedule

app = typer.Typer(help="Run jobs at their times.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Key = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name or id.", show_default=False)]
Cron = Annotated[str | None, typer.Option(metavar="EXPRESSION", help="Such as '*/5 * * * *'.")]
Every = Annotated[str | None, typer.Option(metavar="TIME", help="One fire every so many seconds, or 30s, 5m, 2h, 1d.")]
Zone = Annotated[str | None, typer.Option(metavar="ZONE", help="Time zone of --cron, such as Europe/Berlin; else UTC.")]
Start = Annotated[str | None, typer.Option(metavar="TIME", help="No fire before it.")]
End = Annotated[str | None, typer.Option(metavar="TIME", help="No fire after it.")]
Description = Annotated[str | None, typer.Option(help="For people.")]
Parameters = Annotated[
    str | None, typer.Option("--parameters", "-p", metavar="JSON|@FILE", help="What its tasks are given.")
]
Priority = Annotated[int | None, typer.Option(min=0, max=1000, help="Of its tasks; higher first.")]


@app.command("create", cls=RemoteCommand)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name for it.", show_default=False)],
    job: Annotated[str, typer.Option(help="The job, by name or id.", show_default=False)],
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = None,
    start: Start = None,
    end: End = None,
    description: Description = None,
    parameters: Parameters = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    priority: Priority = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not fire yet.")] = False,
) -> None:
    """Create a schedule: pawl schedule create nightly --job report --cron '0 2 * * *'"""
    session = Session.of(context)
    if (cron is None) == (every is None):
        raise typer.BadParameter("say when: either --cron or --every", param_hint="--cron")
    schedule, _ = _described(name, job, cron, every, timezone, start, end, description, parameters, env, tag, priority)
    if disabled:
        schedule.enabled = False
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.schedules.create(schedule)), "created")


@app.command("update", cls=RemoteCommand)
def update(
    context: typer.Context,
    key: Key,
    job: Annotated[str | None, typer.Option(help="The job, by name or id.")] = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = None,
    start: Start = None,
    end: End = None,
    description: Description = None,
    parameters: Parameters = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    priority: Priority = None,
    new_name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
) -> None:
    """Change what is given, leave the rest. --env and --tag replace all that was there."""
    session = Session.of(context)
    if cron is not None and every is not None:
        raise typer.BadParameter("either --cron or --every", param_hint="--cron")
    schedule, mask = _described(
        new_name, job, cron, every, timezone, start, end, description, parameters, env, tag, priority
    )
    if not mask:
        raise typer.BadParameter("nothing to change: give at least one option")
    with session.client() as pawl:
        schedule.id = key if new_name is None else pawl.call(lambda client: client.schedules.get(key)).id
        _told(session, pawl.call(lambda client: client.schedules.update(schedule, mask)), "updated")


def _described(
    name: str | None, job: str | None, cron: str | None, every: str | None, timezone: str | None, start: str | None,
    end: str | None, description: str | None, parameters: str | None, env: list[str] | None, tag: list[str] | None,
    priority: int | None,
) -> tuple[Schedule, list[str]]:  # fmt: skip
    """The schedule that the options describe, and which of its fields they speak of."""
    from pawl.services import instant
    from pawl.v1.schedule_pb2 import Schedule, ScheduleKind

    kind = ScheduleKind.Kind.CRON if cron is not None else ScheduleKind.Kind.INTERVAL if every is not None else None
    values = {
        "name": name,
        "job_id": job,
        "kind": kind,
        "cron_expression": cron if every is None else "",
        "interval_seconds": None if every is None else span(every, "--every"),
        "timezone": timezone,
        "start_time": None if start is None else instant(moment(start, "--start")),
        "end_time": None if end is None else instant(moment(end, "--end")),
        "description": description,
        "parameters": None if parameters is None else json_payload(parameters, "--parameters"),
        "environment": pairs(env, "--env") if env else None,
        "tags": pairs(tag, "--tag") if tag else None,
        "priority": priority,
    }
    mask = [field for field, value in values.items() if value is not None]
    schedule = Schedule(**{field: values[field] for field in mask})  # type: ignore[arg-type] # each value has its field's type, which a dict cannot say
    if cron is not None:
        mask.append("interval_seconds")  # the other kind's setting goes
    return schedule, mask


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, key: Key) -> None:
    """Show a schedule."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        schedule = pawl.call(lambda client: client.schedules.get(key))
    show.answer(session, schedule, _card(session, schedule))


@app.command("list", cls=RemoteCommand)
def list_schedules(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Such as ACTIVE or DISABLED.")] = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List schedules."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({"status": status and status.upper()}, filter, order_by, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.schedules.list(**asked))
    people = show.table("name", "status", "job", "when", "next")
    for one in page.data:
        people.add_row(
            one.name, show.status(show.enum_name(one, "status")), one.job_name, _times(one),
            show.when(session, one, "next_fire_at"),
        )  # fmt: skip
    show.listing(session, page, people, "No schedules. Make one: pawl schedule create NAME --job JOB --every 60")


@app.command("delete", cls=RemoteCommand)
def delete(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="SCHEDULE...", help="Names or ids.", show_default=False)],
) -> None:
    """Delete schedules. Their tasks stay."""
    session = Session.of(context)
    with session.client() as pawl:
        for key in keys:
            _delete(pawl, key)
            session.note(f"schedule {key} deleted")


def _delete(pawl: BlockingClient, key: str) -> None:
    pawl.call(lambda client: client.schedules.delete(key))


@app.command("enable", cls=RemoteCommand)
def enable(context: typer.Context, key: Key) -> None:
    """Let a schedule fire again."""
    session = Session.of(context)
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.schedules.enable(key)), "enabled")


@app.command("disable", cls=RemoteCommand)
def disable(context: typer.Context, key: Key) -> None:
    """Keep a schedule from firing."""
    session = Session.of(context)
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.schedules.disable(key)), "disabled")


@app.command("preview", cls=RemoteCommand)
def preview(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[SCHEDULE]", help="A stored one; else the options.")] = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = None,
    start: Start = None,
    end: End = None,
    count: Annotated[int, typer.Option("--count", "-c", min=1, max=1000, help="Fires to show.")] = 10,
    after: Annotated[str | None, typer.Option(metavar="TIME", help="Fires after it; else from now on.")] = None,
) -> None:
    """Show the next fires of a schedule, stored or only thought of: pawl schedule preview --cron '0 2 * * *'"""
    from pawl.cli import show

    session = Session.of(context)
    if (key is None) == (cron is None and every is None):
        raise typer.BadParameter("say which: a stored schedule, or --cron, or --every", param_hint="SCHEDULE")
    schedule, _ = _described(None, None, cron, every, timezone, start, end, None, None, None, None, None)
    schedule.id = key or ""
    from_then = None if after is None else moment(after, "--after")
    with session.client() as pawl:
        found = pawl.call(lambda client: client.schedules.preview(schedule, count, from_then))
    people = show.table("#", "fire", "local")
    for number, fire in enumerate(found.fires):
        local = found.local_fires[number] if number < len(found.local_fires) else ""
        people.add_row(str(number + 1), show.instant(fire), local)
    show.answer(session, found, people if found.fires else "No fires to come.")


@app.command("fires", cls=RemoteCommand)
def fires(
    context: typer.Context, key: Key, limit: options.LimitOption = 20, page_token: options.PageTokenOption = ""
) -> None:
    """Show what became of a schedule's fires."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.schedules.fires(key, limit, page_token))
    people = show.table("fire", "task or reason")
    for one in page.data:
        people.add_row(show.when(session, one, "fire_time"), one.task_id or one.reason)
    show.listing(session, page, people, "It has not fired yet. When it will: pawl schedule preview NAME")


def _told(session: Session, schedule: Schedule, done: str) -> None:
    from pawl.cli import show

    session.note(f"schedule {schedule.name} {done}")
    show.answer(session, schedule, _card(session, schedule))


def _times(one: Schedule) -> str:
    from pawl.v1.schedule_pb2 import ScheduleKind

    if one.kind == ScheduleKind.Kind.INTERVAL:
        return f"every {one.interval_seconds:g} s"
    return f"{one.cron_expression} {one.timezone}".rstrip()


def _card(session: Session, one: Schedule) -> RenderableType:
    from pawl.cli import show

    return show.card(
        [
            ("name", one.name),
            ("id", one.id),
            ("namespace", one.namespace_id),
            ("status", show.status(show.enum_name(one, "status"))),
            ("description", one.description),
            ("job", one.job_name or one.job_id),
            ("when", _times(one)),
            ("from", show.when(session, one, "start_time")),
            ("until", show.when(session, one, "end_time")),
            ("parameters", show.payload_text(one.parameters) if one.HasField("parameters") else None),
            ("environment", show.words(one.environment)),
            ("tags", show.words(one.tags)),
            ("priority", str(one.priority) if one.HasField("priority") else None),
            ("next fire", show.when(session, one, "next_fire_at")),
            ("last fire", show.when(session, one, "last_fire_at")),
            ("fires", str(one.fire_count)),
            ("created", show.when(session, one, "created_at")),
        ]
    )
