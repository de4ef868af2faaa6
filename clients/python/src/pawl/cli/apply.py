"""`pawl apply`: create or update what a file describes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import read_file

if TYPE_CHECKING:
    from rich.text import Text

    from pawl.client import Client
    from pawl.manifest import Change, Document, Step

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DONE = {"create": "created", "update": "updated", "unchanged": "unchanged"}
WOULD = {"create": "would be created", "update": "would be updated", "unchanged": "unchanged"}
STYLES = {"create": "green", "update": "yellow", "unchanged": "dim"}


@app.command("apply", cls=RemoteCommand)
def apply(
    context: typer.Context,
    file: Annotated[
        list[str], typer.Option("--file", "-f", metavar="FILE", help="YAML or JSON; - is stdin; repeat it.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
) -> None:
    """Create or update what files describe: documents of kind Job, Schedule or Namespace.

    What a document says is made true; what it leaves out keeps its value. Applying it again changes nothing.
    """
    from pawl.manifest import Applier, BadManifest, documents

    session = Session.of(context)
    try:
        wanted = [one for name in file for one in documents(read_file(name), "stdin" if name == "-" else name)]
    except BadManifest as error:
        raise typer.BadParameter(str(error), param_hint="--file") from None
    told: list[Step] = []
    with session.client() as pawl:
        for document in wanted:
            step = pawl.call(_one(Applier, document, dry_run))
            told.append(step)
            if session.table:
                session.out().print(_line(step, dry_run=dry_run), soft_wrap=True)
    if not session.table:
        from pawl.cli import show

        show.structured(session, [_data(step) for step in told])


def _one(applier: Any, document: Document, dry_run: bool) -> Any:
    async def make(client: Client) -> Step:
        step: Step = await applier(client, dry_run=dry_run).apply(document)
        return step

    return make


def _line(step: Step, *, dry_run: bool) -> Text:
    from rich.text import Text

    words = WOULD if dry_run else DONE
    line = Text.assemble(f"{step.document.kind} {step.document.name} ", (words[step.action], STYLES[step.action]))
    if step.action == "update" or dry_run:
        for change in step.changes:
            line.append_text(_difference(change))
    return line


def _difference(change: Change) -> Text:
    from rich.text import Text

    before, after = _said(change.before), _said(change.after)
    if not before:
        return Text.assemble(("\n  + ", "green"), f"{change.path}: {after}")
    if not after:
        return Text.assemble(("\n  - ", "red"), f"{change.path}: {before}")
    return Text.assemble(("\n  ~ ", "yellow"), f"{change.path}: ", (before, "red"), " → ", (after, "green"))


def _said(value: Any) -> str:
    from pawl.manifest import MISSING

    return "" if value is MISSING else json.dumps(value, ensure_ascii=False)


def _data(step: Step) -> dict[str, Any]:
    from pawl.manifest import MISSING

    changes = [
        {"path": one.path}
        | ({} if one.before is MISSING else {"before": one.before})
        | ({} if one.after is MISSING else {"after": one.after})
        for one in step.changes
    ]
    return {"kind": step.document.kind, "name": step.document.name, "action": step.action, "changes": changes}
