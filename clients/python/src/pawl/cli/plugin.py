"""`pawl plugin`: store and fetch WebAssembly plugins."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session, fail
from pawl.cli.values import read_file

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.v1.plugin_pb2 import Plugin

app = typer.Typer(
    help="Store and fetch WebAssembly plugins.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Key = Annotated[str, typer.Argument(metavar="PLUGIN", help="name, name@version, or the digest.", show_default=False)]


@app.command("push", cls=RemoteCommand)
def push(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The .wasm file; - is stdin.", show_default=False)],
    name: Annotated[str, typer.Option(help="Else what the module says of itself.")] = "",
    version: Annotated[str, typer.Option(help="Else what the module says of itself.")] = "",
) -> None:
    """Store a plugin; prints its digest. Pushing the same bytes again changes nothing."""
    from pawl.cli import show

    session = Session.of(context)
    module = read_file(file)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.upload(module, name, version))
    session.note(f"plugin {_called(plugin)} stored, {len(module):,} bytes")
    show.answer(session, plugin, plugin.digest)


@app.command("list", cls=RemoteCommand)
def list_plugins(
    context: typer.Context,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List plugins."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({}, filter, order_by, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.plugins.list(**asked))
    people = show.table("plugin", "status", "size", "digest")
    for one in page.data:
        people.add_row(_called(one), show.status(show.enum_name(one, "status")), f"{one.size:,}", one.digest)
    show.listing(session, page, people, "No plugins. Store one: pawl plugin push FILE.wasm")


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, key: Key) -> None:
    """Show a plugin."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.get(key))
    show.answer(session, plugin, _card(session, plugin))


@app.command("download", cls=RemoteCommand)
def download(
    context: typer.Context,
    key: Key,
    to: Annotated[str | None, typer.Option("--to", metavar="FILE", help="Else NAME.wasm here; - is stdout.")] = None,
) -> None:
    """Fetch a plugin's module; its digest is checked."""
    session = Session.of(context)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.get(key))
        module = pawl.call(lambda client: client.plugins.download(plugin.digest))
    if hashlib.sha256(module).hexdigest() != plugin.digest:
        raise fail(session, f"what came has another digest than {plugin.digest}: nothing written", Exits.INTERNAL)
    if to == "-":
        sys.stdout.buffer.write(module)
        return
    target = Path(to or f"{plugin.name or plugin.digest}.wasm")
    try:
        target.write_bytes(module)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {target}: {error.strerror}", param_hint="--to") from None
    session.note(f"{target}: {len(module):,} bytes")


@app.command("delete", cls=RemoteCommand)
def delete(context: typer.Context, key: Key) -> None:
    """Delete a plugin."""
    session = Session.of(context)
    with session.client() as pawl:
        pawl.call(lambda client: client.plugins.delete(key))
    session.note(f"plugin {key} deleted")


def _called(one: Plugin) -> str:
    return f"{one.name}@{one.version}" if one.version else one.name


def _card(session: Session, one: Plugin) -> RenderableType:
    from pawl.cli import show

    return show.card(
        [
            ("plugin", _called(one)),
            ("digest", one.digest),
            ("namespace", one.namespace_id),
            ("status", show.status(show.enum_name(one, "status"))),
            ("rejected", one.reject_reason),
            ("size", f"{one.size:,} bytes"),
            ("entries", ", ".join(one.entries)),
            ("stored", show.when(session, one, "created_at")),
        ]
    )
