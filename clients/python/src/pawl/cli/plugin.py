"""`pawl plugin`: store, sign, grant and fetch WebAssembly plugins; what their authors do is in `plugin_author`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options, plugin_author
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session, fail
from pawl.cli.values import read_file

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.v1.plugin_pb2 import Plugin

app = typer.Typer(
    help="Write, store and run WebAssembly plugins.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

plugin_author.add(app)

MODULE = "plugin.wasm"  # as pawl.plugin_project has it, which is not imported for every command
Key = Annotated[str, typer.Argument(metavar="PLUGIN", help="name, name@version, or the digest.", show_default=False)]


@app.command("push", cls=RemoteCommand)
def push(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A .wasm file, or a plugin's folder; - is stdin.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="Else what the module says of itself.")] = "",
    version: Annotated[str, typer.Option(help="Else what the module says of itself.")] = "",
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY-FILE", help="Sign it as well; see `plugin keygen`.")
    ] = None,
) -> None:
    """Store a plugin; prints its digest. Pushing the same bytes again changes nothing."""
    from pawl.cli import show

    session = Session.of(context)
    module = _module(session, file)
    seal = None if sign is None else _seal(session, sign, hashlib.sha256(module).hexdigest())
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.upload(module, name, version))
        if seal is not None:
            plugin = pawl.call(lambda client: client.plugins.sign(plugin.digest, *seal))
    session.note(f"plugin {_called(plugin)} stored, {len(module):,} bytes")
    show.answer(session, plugin, plugin.digest)


def _module(session: Session, file: str) -> bytes:
    if not Path(file).is_dir():
        return read_file(file)
    built = Path(file) / MODULE
    if not built.is_file():
        raise fail(session, f"{built}: no such file; build it: pawl plugin build {file}", Exits.NOT_FOUND)
    return read_file(str(built))


def _seal(session: Session, key_file: Path, digest: str) -> tuple[str, bytes]:
    """The public key, and the signature made with its private half."""
    signatures = plugin_author.signing(session)
    private = read_file(str(key_file))
    try:
        return signatures.public_key_of(private), signatures.sign(private, digest)
    except signatures.KeyInvalid as error:
        raise fail(session, f"{key_file}: {error}", Exits.USAGE) from None


@app.command("sign", cls=RemoteCommand)
def sign_plugin(
    context: typer.Context,
    key: Key,
    with_key: Annotated[
        Path,
        typer.Option("--with", metavar="KEY-FILE", help="The private key; see `plugin keygen`.", show_default=False),
    ],
) -> None:
    """Vouch for a plugin's digest with your key. What is signed here is what agents find with that digest, no other."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.get(key))
        seal = _seal(session, with_key, plugin.digest)
        plugin = pawl.call(lambda client: client.plugins.sign(plugin.digest, *seal))
    show.answer(session, plugin, _card(session, plugin))


@app.command("grant", cls=RemoteCommand)
def grant(
    context: typer.Context,
    key: Key,
    http: Annotated[
        list[str] | None,
        typer.Option("--http", metavar="HOST", help="May call it: example.com, *.example.com, host:8443."),
    ] = None,
    http_private: Annotated[
        list[str] | None, typer.Option("--http-private", metavar="HOST", help="The same in the agent's own network.")
    ] = None,
    secret: Annotated[list[str] | None, typer.Option("--secret", metavar="NAME", help="May read it.")] = None,
    as_asked: Annotated[bool, typer.Option("--as-asked", help="Also all that its metadata asks for.")] = False,
) -> None:
    """Allow a plugin what it may reach, in place of what it was allowed before. Belongs to the digest."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.get(key))
        asked = _asked(plugin)
        hosts, names = list(http or ()), list(secret or ())
        if as_asked:
            hosts, names = [*asked["http"], *hosts], [*asked["secrets"], *names]
        if not (hosts or names or http_private):
            words = _words(asked) or "nothing"
            message = f"say what: --http, --http-private, --secret or --as-asked; {_called(plugin)} asks for {words}"
            raise fail(session, message, Exits.USAGE)
        plugin = pawl.call(
            lambda client: client.plugins.grant(
                plugin.digest,
                http=dict.fromkeys(hosts),
                http_private=dict.fromkeys(http_private or ()),
                secrets=dict.fromkeys(names),
            )
        )
    show.answer(session, plugin, _card(session, plugin))


@app.command("revoke", cls=RemoteCommand)
def revoke(context: typer.Context, key: Key) -> None:
    """Take a plugin's grant away; agents hold to it within seconds, also for what runs."""
    session = Session.of(context)
    with session.client() as pawl:
        plugin = pawl.call(lambda client: client.plugins.revoke(key))
    session.note(f"plugin {_called(plugin)} may reach nothing")


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
    return f"{one.name}@{one.version}" if one.version else one.name or one.digest[:12]


def _asked(one: Plugin) -> dict[str, list[str]]:
    """What its metadata asks for."""
    capabilities = one.metadata.fields["capabilities"].struct_value.fields
    return {
        name: [value.string_value for value in capabilities[name].list_value.values] if name in capabilities else []
        for name in ("http", "secrets")
    }


def _words(reach: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(f"{name.replace('_', '-')}: {', '.join(values)}" for name, values in reach.items() if values)


def _card(session: Session, one: Plugin) -> RenderableType:
    from pawl.cli import show

    granted = {"http": one.grant.http, "http_private": one.grant.http_private, "secrets": one.grant.secrets}
    return show.card(
        [
            ("plugin", _called(one)),
            ("digest", one.digest),
            ("namespace", one.namespace_id),
            ("status", show.status(show.enum_name(one, "status"))),
            ("rejected", one.reject_reason),
            ("size", f"{one.size:,} bytes"),
            ("entries", ", ".join(one.entries)),
            ("asks for", _words(_asked(one))),
            ("granted", _words(granted)),
            ("signed by", ", ".join(signature.key_id for signature in one.signatures)),
            ("stored", show.when(session, one, "created_at")),
        ]
    )
