"""Options that many commands have in common: pages of lists, names and values."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pawl.cli.values import json_value

FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="JSON", help="""Rows to show: '{"status": {"eq": "FAILED"}}'; a list of such: or."""
    ),
]
OrderOption = Annotated[
    list[str] | None, typer.Option("--order-by", metavar="FIELD", help="Sort by it, -FIELD downwards; repeat it.")
]
LimitOption = Annotated[int, typer.Option("--limit", "-l", min=1, max=1000, help="Rows to show.")]
PageTokenOption = Annotated[str, typer.Option("--page-token", metavar="TOKEN", help="Go on where a list stopped.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable; repeat it.")
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Tag; repeat it.")]
TaskLabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Label its agent must have, beside the job's; repeat it."),
]
RepeatOption = Annotated[
    str, typer.Option("--request-id", metavar="ID", help="A repeat of this command goes on where it was cut off.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")]
CancelTasksOption = Annotated[bool, typer.Option("--cancel-tasks", help="Cancel unfinished tasks with it.")]


def question(
    given: dict[str, Any], filter: str | None, order_by: list[str] | None, limit: int, page_token: str
) -> dict[str, Any]:
    """The arguments of a list: conditions that have options of their own, and a filter, all of which must hold.

    A condition that is None was not given. An empty one was: a variable of the shell that is not set must not widen
    what is found.
    """
    conditions: Any = {field: {"eq": value} for field, value in given.items() if value is not None}
    if filter is not None:
        wanted = json_value(filter, "--filter")
        if isinstance(wanted, dict):
            conditions = _both(conditions, wanted)
        elif isinstance(wanted, list) and all(isinstance(one, dict) for one in wanted):
            conditions = [_both(conditions, one) for one in wanted]
        else:
            raise typer.BadParameter("must be an object or a list of objects", param_hint="--filter")
    return {
        "filter": conditions or None,
        "order_by": order_by or (),
        "page_size": limit,
        "page_token": page_token,
    }


def _both(conditions: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """A filter in which both hold. A field that both compare with one value would lose one of the two: refused."""
    both = {**conditions, **wanted}
    for field in conditions.keys() & wanted.keys():
        if not isinstance(wanted[field], dict):
            continue  # the server says what is wrong with it
        if "eq" in wanted[field]:
            raise typer.BadParameter(f"{field} has an option that says it already: say it once", param_hint="--filter")
        both[field] = {**conditions[field], **wanted[field]}
    return both
