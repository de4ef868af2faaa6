"""What commands that act on many tasks have in common: which tasks are meant, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pawl.cli import options, show
from pawl.cli.session import Session
from pawl.cli.values import pairs

if TYPE_CHECKING:
    from pawl.client import BlockingClient
    from pawl.v1.task_pb2 import ActOnTasksResponse


def which(
    pawl: BlockingClient,
    job: str | None,
    status: str | None,
    tag: list[str] | None,
    filter: str | None,
    *,
    everything: bool,
) -> Any:
    """The filter that the options describe. Nothing said is not everything: that has an option of its own."""
    job_id = pawl.call(lambda client: client.jobs.get(job)).id if job is not None else None
    tags = {f"tags.{name}": value for name, value in pairs(tag, "--tag").items()}
    given = {"job_id": job_id, "status": status and status.upper(), **tags}
    wanted = options.question(given, filter, None, 1, "")["filter"]
    if wanted is None and not everything:
        raise typer.BadParameter("say which: --job, --status, --tag, --filter, or --all")
    return wanted or {}


def tell(session: Session, answer: ActOnTasksResponse, action: str) -> None:
    """Print what came of it."""
    would = "would change" if answer.dry_run else "changed"
    people = show.card(
        [
            ("found", f"{answer.matched:,}" + (" and more: repeat the command" if answer.has_more else "")),
            (would, f"{answer.changed:,}"),
            (f"cannot {action}", f"{answer.refused:,}" if answer.refused else None),
            *(("", one.message) for one in answer.refusals[:5]),
        ]
    )
    show.answer(session, answer, people)
