"""`pawl dead-letter`: tasks that failed for good, until somebody runs them again or lets them go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import pairs

if TYPE_CHECKING:
    from pawl.services import Bulk

app = typer.Typer(
    help="List, replay and purge what failed for good.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

OfJob = Annotated[str | None, typer.Option("--job", help="Of this job, by name or id.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the task.")]


@app.command("list", cls=RemoteCommand)
def list_dead_letters(
    context: typer.Context,
    job: OfJob = None,
    tag: options.TagOption = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List them, newest first."""
    from pawl.cli import show

    session = Session.of(context)
    conditions = {f"tags.{name}": value for name, value in pairs(tag, "--tag").items()}
    with session.client() as pawl:
        job_id = pawl.call(lambda client: client.jobs.get(job)).id if job is not None else None
        asked = options.question({"job_id": job_id, **conditions}, filter, order_by, limit, page_token)
        page = pawl.call(lambda client: client.tasks.dead_letters(**asked))
    people = show.table("id", "job", "why", "attempts", "ended")
    for task in page.data:
        why = show.enum_name(task, "dead_reason")
        people.add_row(task.id, task.job_name, why, str(task.attempt), show.when(session, task, "finished_at"))
    show.listing(session, page, people, "Nothing failed for good.")


@app.command("replay", cls=RemoteCommand)
def replay(
    context: typer.Context,
    job: OfJob = None,
    tag: options.TagOption = None,
    filter: options.FilterOption = None,
    everything: Everything = False,
    reason: Reason = "",
    dry_run: options.DryRunOption = False,
    request_id: options.RepeatOption = "",
) -> None:
    """Run them again, each in a new epoch: pawl dead-letter replay --job import"""
    from pawl.cli import bulk

    session = Session.of(context)
    with session.client() as pawl:
        wanted = bulk.which(pawl, job, None, tag, filter, everything=everything)
        given: Bulk = {"reason": reason, "dry_run": dry_run, "request_id": request_id}
        answer = pawl.call(lambda client: client.tasks.replay_dead_letters(wanted, **given))
    bulk.tell(session, answer, "replay")


@app.command("purge", cls=RemoteCommand)
def purge(
    context: typer.Context,
    job: OfJob = None,
    tag: options.TagOption = None,
    filter: options.FilterOption = None,
    everything: Everything = False,
    dry_run: options.DryRunOption = False,
    request_id: options.RepeatOption = "",
) -> None:
    """Delete them with their instances and logs."""
    from pawl.cli import bulk

    session = Session.of(context)
    with session.client() as pawl:
        wanted = bulk.which(pawl, job, None, tag, filter, everything=everything)
        given: Bulk = {"dry_run": dry_run, "request_id": request_id}
        answer = pawl.call(lambda client: client.tasks.purge_dead_letters(wanted, **given))
    bulk.tell(session, answer, "purge")
