"""`pawl agent`: look after agents; without a sub-command it starts one, where pawl-engine is installed.

The engine's entry point `agent` is a function that starts an agent. It becomes the body of the group made here, so that
`pawl agent --slots 4` and `pawl agent list` are one command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pawl.cli import options
from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import pairs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.v1.agent_pb2 import Agent

HELP = (
    "Without a command: start an agent, which takes work from the control plane and runs it. Else: look after agents."
)


class AgentGroup(TyperGroup):
    """The options that start an agent are also good for finding the control plane."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; where the control plane is goes to the session too."""
        rest = super().parse_args(ctx, args)
        given = {name: ctx.params.get(name) for name in ("server", "namespace", "key_file")}
        Session.of(ctx).take({name: value for name, value in given.items() if isinstance(value, str)})
        return rest


app = typer.Typer(cls=AgentGroup, help=HELP, invoke_without_command=True, add_completion=False, rich_markup_mode=None)

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Its name.", show_default=False)]


def group(start: Callable[[], Any] | None, rest: list[str]) -> Any:
    """The command `pawl agent`, with the engine's way of starting one where there is one and it may be wanted."""
    ours = {one.name for one in app.registered_commands}
    body = _needs_engine if start is None or (rest and rest[0] in ours) else start()
    app.callback(invoke_without_command=True, help=HELP)(body)
    command = typer.main.get_command(app)
    command.name = "agent"
    return command


def _needs_engine(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo("error: starting an agent is part of pawl-engine: pip install pawl-engine", err=True)
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exits.USAGE)


@app.command("list", cls=RemoteCommand)
def list_agents(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Such as ONLINE or LOST.")] = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List agents."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({"status": status and status.upper()}, filter, order_by, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.agents.list(**asked))
    people = show.table("name", "status", "busy", "host", "last sign")
    for one in page.data:
        people.add_row(
            one.id, show.status(show.enum_name(one, "status")), f"{one.running}/{one.slots}", one.hostname,
            show.when(session, one, "last_beat_at"),
        )  # fmt: skip
    show.listing(session, page, people, "No agents. Start one: pawl agent")


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, agent_id: AgentId) -> None:
    """Show an agent."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.agents.get(agent_id))
    show.answer(session, found, _card(session, found))


@app.command("label", cls=RemoteCommand)
def label(
    context: typer.Context,
    agent_id: AgentId,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE|NAME-...", help="Labels to set; NAME- removes.", show_default=False),
    ],
) -> None:
    """Set and remove labels: pawl agent label builder-1 gpu=yes old-"""
    from pawl.cli import show

    session = Session.of(context)
    removed = {one[:-1] for one in changes if one.endswith("-") and "=" not in one}
    wanted = pairs([one for one in changes if not (one.endswith("-") and "=" not in one)], "NAME=VALUE")
    with session.client() as pawl:
        before = pawl.call(lambda client: client.agents.get(agent_id))
        own = {name: value for name, value in before.labels.items() if not name.startswith("sys_")}
        labels = {name: value for name, value in {**own, **wanted}.items() if name not in removed}
        etag = str(before.version)
        after = pawl.call(lambda client: client.agents.set_labels(agent_id, labels, etag))
    show.answer(session, after, _card(session, after))


@app.command("drain", cls=RemoteCommand)
def drain(context: typer.Context, agent_id: AgentId) -> None:
    """Let an agent finish what it has and give it nothing new."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.agents.drain(agent_id))
    session.note(f"agent {agent_id} drains; it has {found.running} running")
    show.answer(session, found, _card(session, found))


@app.command("delete", cls=RemoteCommand)
def delete(context: typer.Context, agent_id: AgentId) -> None:
    """Forget an agent that is gone."""
    session = Session.of(context)
    with session.client() as pawl:
        pawl.call(lambda client: client.agents.delete(agent_id))
    session.note(f"agent {agent_id} deleted")


def _card(session: Session, one: Agent) -> RenderableType:
    from pawl.cli import show

    return show.card(
        [
            ("name", one.id),
            ("namespace", one.namespace_id),
            ("status", show.status(show.enum_name(one, "status"))),
            ("busy", f"{one.running} of {one.slots} slots"),
            ("resources", ", ".join(f"{one.resources[name]} {name}" for name in sorted(one.resources))),
            ("labels", "\n".join(f"{name}={one.labels[name]}" for name in sorted(one.labels))),
            ("executors", ", ".join(f"{e.name} (ABI {e.abi})" if e.abi else e.name for e in one.executors)),
            ("functions", "\n".join(f"{f.name} ({f.code_version})" for f in one.functions)),
            ("serves", ", ".join(one.serves)),
            ("host", one.hostname),
            ("version", one.agent_version),
            ("load", f"{one.metrics.load_average:.2f}" if one.HasField("metrics") else None),
            ("connected", show.when(session, one, "connected_at")),
            ("last sign", show.when(session, one, "last_beat_at")),
        ]
    )
