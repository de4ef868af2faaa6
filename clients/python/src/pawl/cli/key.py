"""`pawl key`: who may call, as what, where and until when."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import options
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session, fail

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.v1.access_pb2 import Key

app = typer.Typer(
    help="Who may call, as what, where and until when.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


class Role(StrEnum):
    """What a key may do."""

    ADMIN = "admin"
    OPERATOR = "operator"
    SUBMITTER = "submitter"
    VIEWER = "viewer"
    AGENT = "agent"


Named = Annotated[str, typer.Argument(metavar="KEY", help="Its name or id.", show_default=False)]


@app.command("create", cls=RemoteCommand)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="For people; unique.", show_default=False)],
    role: Annotated[list[Role], typer.Option("--role", "-r", help="What it may do; repeat it.", show_default=False)],
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Where it is good; repeat it. Else everywhere."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="When it ends: 90d, 12h, 2030-01-31. Else never."),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Create a key and print it, once: it is stored nowhere.

    The key alone goes to stdout: (umask 077; pawl key create ci --role submitter > ci.key)
    """
    from pawl.services import instant
    from pawl.v1.access_pb2 import Key

    session = Session.of(context)
    wanted = Key(
        name=name,
        description=description,
        roles=[one.value.upper() for one in role],
        namespaces=namespace or (),
        expires_at=None if expires is None else instant(_end(expires)),
    )
    with session.client() as pawl:
        made = pawl.call(lambda client: client.keys.create(wanted))
    if not made.secret:
        # The first answer was lost on its way, and what answers now does not know the secret any more.
        message = f"the key {name} was made, but its secret was lost on the way: pawl key revoke {made.id}, and repeat"
        raise fail(session, message, Exits.UNAVAILABLE)
    _tell_new(session, made)


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, key: Named) -> None:
    """Show a key, without its secret, which nobody has but its holder."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.keys.get(key))
    show.answer(session, found, _card(session, found))


@app.command("list", cls=RemoteCommand)
def list_keys(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", "-a", help="The revoked ones too.")] = False,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List keys: all that an admin may see, or your own."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({}, filter, order_by, limit, page_token)
    if not all and filter is None:
        asked["filter"] = {"revoked_at": {"null": True}}
    with session.client() as pawl:
        page = pawl.call(lambda client: client.keys.list(**asked))
    people = show.table("name", "roles", "namespaces", "key", "state", "expires", "last used")
    for one in page.data:
        people.add_row(
            one.name,
            _roles(one),
            _spaces(one),
            _start(one),
            show.status(_state(one)),
            show.when(session, one, "expires_at") or "never",
            show.when(session, one, "last_used_at") or "never",
        )
    show.listing(session, page, people, "No keys.")


@app.command("revoke", cls=RemoteCommand)
def revoke(
    context: typer.Context,
    key: Named,
    force: Annotated[bool, typer.Option("--force", help="Also the last one that is an admin everywhere.")] = False,
) -> None:
    """End a key for good. Within two seconds it opens nothing, and the streams that it opened are ended."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        ended = pawl.call(lambda client: client.keys.revoke(key, force=force))
    session.note(f"key {ended.name} revoked")
    show.answer(session, ended, _card(session, ended))


def _end(given: str) -> datetime:
    """An instant, or a length of time from now, with or without the plus."""
    from pawl.cli.values import moment

    length = re.fullmatch(r"\d+(\.\d+)?[smhd]", given)
    return moment(f"+{given}" if length else given, "--expires")


def _tell_new(session: Session, made: Key) -> None:
    """The secret alone on stdout, so that it can be sent to a file; what else there is to know on stderr."""
    from pawl.cli import show
    from pawl.protojson import to_value

    session.note(f"key {made.name} created; it is shown this once")
    if not session.table:
        show.structured(session, to_value(made))
        return
    if not session.quiet:
        session.err().print(_card(session, made))
    typer.echo(made.secret)


def _card(session: Session, one: Key) -> RenderableType:
    from pawl.cli import show

    return show.card(
        [
            ("id", one.id),
            ("name", one.name),
            ("description", one.description),
            ("roles", _roles(one)),
            ("namespaces", _spaces(one)),
            ("key", _start(one)),
            ("state", show.status(_state(one))),
            ("expires", show.when(session, one, "expires_at")),
            ("last used", show.when(session, one, "last_used_at")),
            ("created", show.when(session, one, "created_at")),
            ("by", one.created_by),
            ("revoked", show.when(session, one, "revoked_at")),
            ("by", one.revoked_by),
        ]
    )


def _roles(one: Key) -> str:
    from pawl.v1.access_pb2 import Key

    return ", ".join(Key.Role.Name(role).lower() for role in one.roles)


def _spaces(one: Key) -> str:
    return ", ".join(one.namespaces) or "everywhere"


def _start(one: Key) -> str:
    return f"pawl_{one.prefix}_…"


def _state(one: Key) -> str:
    """For people, by this machine's clock; the server decides by its own."""
    if one.HasField("revoked_at"):
        return "REVOKED"
    if one.HasField("expires_at") and one.expires_at.ToDatetime(UTC) <= datetime.now(UTC):
        return "EXPIRED"
    return "ACTIVE"
