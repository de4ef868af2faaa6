"""`pawl namespace`: boundaries of names and rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options
from pawl.cli.session import RemoteCommand, Session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.v1.access_pb2 import Namespace

app = typer.Typer(
    help="Boundaries of names and rights.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAMESPACE", help="Its name.", show_default=False)]
Description = Annotated[str, typer.Option(help="For people.")]
MaxRunning = Annotated[
    int | None, typer.Option(min=0, max=10_000_000, help="Tasks of it on agents at once; 0: any number.")
]


@app.command("create", cls=RemoteCommand)
def create(context: typer.Context, name: Name, description: Description = "", max_running: MaxRunning = None) -> None:
    """Create a namespace."""
    from pawl.v1.access_pb2 import Namespace

    session = Session.of(context)
    with session.client() as pawl:
        new = Namespace(id=name, description=description, max_running=max_running)
        made = pawl.call(lambda client: client.namespaces.create(new))
    _told(session, made, "created")


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, name: Name) -> None:
    """Show a namespace."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.namespaces.get(name))
    show.answer(session, found, _card(session, found))


@app.command("list", cls=RemoteCommand)
def list_namespaces(
    context: typer.Context,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List namespaces."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({}, filter, order_by, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.namespaces.list(**asked))
    people = show.table("name", "created", "description")
    for one in page.data:
        people.add_row(one.id, show.when(session, one, "created_at"), one.description)
    show.listing(session, page, people, "No namespaces.")


@app.command("update", cls=RemoteCommand)
def update(
    context: typer.Context,
    name: Name,
    description: Annotated[str | None, typer.Option(help="For people.", show_default=False)] = None,
    max_running: MaxRunning = None,
) -> None:
    """Change a namespace's description, or how many of its tasks may be on agents at once."""
    from pawl.v1.access_pb2 import Namespace

    session = Session.of(context)
    given = {"description": description, "max_running": max_running}
    mask = [field for field, value in given.items() if value is not None]
    if not mask:
        raise typer.BadParameter("nothing to change: give at least one option")
    changed = Namespace(id=name, description=description or "", max_running=max_running)
    with session.client() as pawl:
        made = pawl.call(lambda client: client.namespaces.update(changed, mask))
    _told(session, made, "updated")


@app.command("delete", cls=RemoteCommand)
def delete(context: typer.Context, name: Name, cancel_tasks: options.CancelTasksOption = False) -> None:
    """Delete a namespace with its jobs and schedules."""
    session = Session.of(context)
    with session.client() as pawl:
        pawl.call(lambda client: client.namespaces.delete(name, cancel_tasks=cancel_tasks))
    session.note(f"namespace {name} deleted")


def _told(session: Session, one: Namespace, done: str) -> None:
    from pawl.cli import show

    session.note(f"namespace {one.id} {done}")
    show.answer(session, one, _card(session, one))


def _card(session: Session, one: Namespace) -> RenderableType:
    from pawl.cli import show

    return show.card(
        [
            ("name", one.id),
            ("description", one.description),
            ("at most", f"{one.max_running:,} tasks on agents at once" if one.max_running else None),
            ("created", show.when(session, one, "created_at")),
            ("changed", show.when(session, one, "updated_at")),
        ]
    )
