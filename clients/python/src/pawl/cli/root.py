"""The root of the command line: which commands there are, and how each is found when it is wanted.

`pawl --help` loads no command: names and help stand in a table here, modules are imported when they are run. The
engine's commands come through the entry points `pawl.commands`: each is a `typer.Typer` or a function.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from pawl.cli.exits import MEANINGS, Exits
from pawl.cli.session import (
    COMMON,
    KeyFileOption,
    KeyOption,
    NamespaceOption,
    NoColorOption,
    OutputOption,
    QuietOption,
    ServerOption,
    Session,
    TimeoutOption,
    write_options,
)

GROUP: Final = "pawl.commands"
WORK, FLEET, PLANE, TOOLS = "Work", "Agents and plugins", "The control plane", "Tools"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the SDK: where it is, and what the help says."""

    module: str
    help: str
    panel: str


COMMANDS: Final = {
    "job": Entry("job", "Define what can be run, and run it.", WORK),
    "task": Entry("task", "Follow, explain, cancel and repeat runs.", WORK),
    "group": Entry("group", "Run a job on every agent, or in shards.", WORK),
    "artifact": Entry("artifact", "List and get the files that tasks left.", WORK),
    "dead-letter": Entry("dead_letter", "List, replay and purge what failed for good.", WORK),
    "schedule": Entry("schedule", "Run jobs at their times.", WORK),
    "apply": Entry("apply", "Create or update what a file describes.", WORK),
    "agent": Entry("agent", "Start an agent; look after agents.", FLEET),
    "plugin": Entry("plugin", "Write, store and run WebAssembly plugins.", FLEET),
    "namespace": Entry("namespace", "Boundaries of names and rights.", PLANE),
    "key": Entry("key", "Who may call, as what, and until when.", PLANE),
    "health": Entry("system:health", "Whether the control plane serves.", PLANE),
    "info": Entry("system:info", "What the control plane is.", PLANE),
    "metrics": Entry("system:metrics", "What the control plane does, in numbers.", PLANE),
    "system": Entry("system:app", "How much a running control plane logs; its settings.", PLANE),
    "proto": Entry("proto", "The contract, for your own generator.", TOOLS),
}
ENGINE: Final = {
    "dev": "Everything on this machine: control plane and agent.",
    "server": "Start a control plane.",
    "migrate": "Bring a database's schema up to date.",
    "backup": "Copy a SQLite database while its server works.",
    "restore": "Put a backup in the place of a SQLite database.",
    "config": "Settings, and where each comes from.",
    "doctor": "Find out what is wrong on this machine.",
}
"""What pawl-engine adds; known here so that the help need not import it, and so that its absence can be explained."""


class Root(TyperGroup):
    """Commands by name; what the help asks for is a stand-in, what is run is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        installed = _engine()
        ours = [name for name in (*ENGINE, *COMMANDS) if name in COMMANDS or name in installed]
        return ours + sorted(set(installed) - set(ours))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The help's lists: commands by what they are about, options, exit codes."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                panels.setdefault(str(command.rich_help_panel), []).append((name, command.help or ""))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)
        write_options(self.get_params(ctx), ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """A stand-in with name and help."""
        if cmd_name in COMMANDS:
            entry = COMMANDS[cmd_name]
            return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)
        if cmd_name in ENGINE or cmd_name in _engine():
            panel = PLANE if cmd_name in ENGINE else TOOLS
            return TyperCommand(cmd_name, help=ENGINE.get(cmd_name, ""), rich_help_panel=panel)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command itself, loaded now."""
        self.commands: Any = dict.fromkeys(self.list_commands(ctx))  # read for its names, when it suggests one
        name, found, rest = super().resolve_command(ctx, args)
        if name is None or found is None:
            return name, found, rest
        return name, load(name, rest), rest


def load(name: str, rest: list[str]) -> Any:
    """Import a command and make it one that can be run on the rest of the line."""
    entry = COMMANDS.get(name)
    if name == "agent":
        from pawl.cli.agent import group

        return group(None if _engine().get(name) is None else lambda: _loaded(_engine()[name]), rest)
    if entry is not None:
        module, _, attribute = entry.module.partition(":")
        return _made(name, getattr(importlib.import_module(f"pawl.cli.{module}"), attribute or "app"))
    point = _engine().get(name)
    if point is None:
        return _made(name, _needs_engine(name))
    return _made(name, _loaded(point))


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        typer.echo(f"error: the installed pawl-engine cannot offer `pawl {point.name}`: {error}", err=True)
        raise typer.Exit(Exits.USAGE) from None


def _made(name: str, found: Any) -> Any:
    """A command of a typer application or of a function."""
    app = found
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, context_settings={"allow_interspersed_args": True})(found)
    command = typer.main.get_command(app)
    command.name = name
    return command


def _needs_engine(name: str) -> Callable[[], None]:
    def missing() -> None:
        typer.echo(f"error: `pawl {name}` is part of pawl-engine: pip install pawl-engine", err=True)
        raise typer.Exit(Exits.USAGE)

    return missing


def _engine() -> dict[str, EntryPoint]:
    if not _ENGINE_POINTS:
        _ENGINE_POINTS.update({point.name: point for point in entry_points(group=GROUP)})
    return _ENGINE_POINTS


_ENGINE_POINTS: Final[dict[str, EntryPoint]] = {}


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"pawl {version('pawl-sdk')}")
        except PackageNotFoundError:
            typer.echo("pawl, not installed")
        raise typer.Exit


app = typer.Typer(
    cls=Root, rich_markup_mode=None, no_args_is_help=True, context_settings={"help_option_names": ["--help", "-h"]}
)


@app.callback()
def root(
    context: typer.Context,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    api_key: KeyOption = None,
    key_file: KeyFileOption = None,
    output: OutputOption = None,
    timeout: TimeoutOption = None,
    quiet: QuietOption = None,
    no_color: NoColorOption = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Pawl: schedules work and keeps its progress.

    Start with `pawl dev`; then `pawl job create hello -- echo hello` and `pawl job run hello --wait`.
    """
    session = Session.of(context)
    session.take({name: context.params.get(name) for name in COMMON})
    # The engine's commands read their own settings: what was given before their name becomes their default.
    shared = ("server", "namespace", "key_file")
    given = {name: getattr(session, name) for name in shared if getattr(session, name) is not None}
    context.default_map = dict.fromkeys(_engine(), given)


def run() -> int:
    """Run the command line on the arguments of this process."""
    if "--no-color" in sys.argv[1:]:
        os.environ["NO_COLOR"] = "1"  # the help and usage errors are printed before options are read
    command = typer.main.get_command(app)
    try:
        ended = command.main(prog_name="pawl", standalone_mode=False)
    except typer.TyperException as error:
        _usage(error)
        return getattr(error, "exit_code", Exits.USAGE)
    except typer.Abort:
        return Exits.CANCELLED
    return ended if isinstance(ended, int) else Exits.OK


def _usage(error: typer.TyperException) -> None:
    """A usage error in two lines: what is wrong, and where the help is."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if not message:
        return  # the help has been printed
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)
    if context is not None:
        typer.secho(f"See: {context.command_path} --help", dim=True, err=True)
