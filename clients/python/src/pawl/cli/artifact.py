"""`pawl artifact`: the files that tasks left."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from pawl.artifacts import name_problem
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session, fail

if TYPE_CHECKING:
    from pawl.client import BlockingClient, Client
    from pawl.v1.task_pb2 import Artifact, ListTaskArtifactsResponse

app = typer.Typer(
    help="List and get the files that tasks left.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.", show_default=False)]
Instance = Annotated[str, typer.Option(metavar="ID", help="Of this placement instead of the last.")]


@app.command("list", cls=RemoteCommand)
def list_artifacts(context: typer.Context, task_id: TaskId, instance: Instance = "") -> None:
    """List the files that the last attempt left."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = _found(pawl, task_id, instance)
    if session.table and not found.data:
        none = "It left no artifacts." if found.instance_id else "No attempt of it has ended yet."
        session.note(none)
        return
    people = show.table("name", "bytes", "type", "sha256")
    for one in found.data:
        people.add_row(one.name, f"{one.size:,}", one.content_type, one.digest[:12])
    show.answer(session, found, people)


@app.command("get", cls=RemoteCommand)
def get(
    context: typer.Context,
    task_id: TaskId,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Which; all of them by default.")
    ] = None,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to; `-` writes a single one to stdout.", show_default=False)
    ] = Path(),
    instance: Instance = "",
) -> None:
    """Get the files that the last attempt left, each whole and with the digest that it had."""
    session = Session.of(context)
    with session.client() as pawl:
        found = {one.name: one for one in _found(pawl, task_id, instance).data}
        missing = [name for name in names or () if name not in found]
        if missing:
            raise fail(session, f"task {task_id} has no artifact {missing[0]!r}", Exits.NOT_FOUND)
        wanted = [found[name] for name in names] if names else list(found.values())
        if str(to) == "-":
            if len(wanted) != 1:
                raise typer.BadParameter("`-` takes exactly one artifact: name it", param_hint="--to")
            _copy(session, pawl, task_id, instance, wanted[0], sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        for one in wanted:
            _save(session, pawl, task_id, instance, one, to)
    if not wanted:
        session.note("It left no artifacts.")


def _found(pawl: BlockingClient, task_id: str, instance: str) -> ListTaskArtifactsResponse:
    return pawl.call(lambda client: client.tasks.artifacts(task_id, instance))


def _save(session: Session, pawl: BlockingClient, task_id: str, instance: str, one: Artifact, folder: Path) -> None:
    """Beside its place and then in it: a file of this name is always a whole one. A server may be anybody's."""
    if (problem := name_problem(one.name)) is not None:
        raise fail(session, f"artifact {one.name!a} is not saved: its name {problem}", Exits.INTERNAL)
    target = folder / one.name
    part = target.with_name(f".{target.name[:200]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            _copy(session, pawl, task_id, instance, one, file)
        part.replace(target)
    except OSError as error:
        raise typer.BadParameter(f"{target}: {error.strerror}", param_hint="--to") from error
    finally:
        part.unlink(missing_ok=True)
    session.note(f"{target}: {one.size:,} bytes")


def _copy(session: Session, pawl: BlockingClient, task_id: str, instance: str, one: Artifact, file: BinaryIO) -> None:
    async def copy(client: Client) -> str:
        seen = hashlib.sha256()
        async for piece in client.tasks.artifact(task_id, one.name, instance):
            seen.update(piece.data)
            file.write(piece.data)
        return seen.hexdigest()

    if pawl.call(copy) != one.digest:
        raise fail(session, f"artifact {one.name!a} did not arrive as it was stored", Exits.INTERNAL)
