"""What all commands that talk to a control plane share: the global options, the client, and how errors are told.

The global options may stand before the command and after it. Imports nothing heavy: the client is imported when a
command asks for it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from pawl.address import DEFAULT_SERVER
from pawl.cli.exits import Exits, exit_for

if TYPE_CHECKING:
    from rich.console import Console

    from pawl.client import BlockingClient
    from pawl.errors import PawlError

PANEL: Final = "Connection and output"
PATIENCE_SECONDS: Final = 2.0
"""A person waits for a restart, not for a server that is not there."""
PIPE_WIDTH: Final = 10_000
"""Whoever reads a pipe wants whole lines."""


class Output(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="HOST:PORT", rich_help_panel=PANEL,
        help=f"The control plane's gRPC address; else PAWL_SERVER, else {DEFAULT_SERVER}.",
    ),
]  # fmt: skip
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", rich_help_panel=PANEL, help="Else PAWL_NAMESPACE."),
]
OutputOption = Annotated[
    Output | None, typer.Option("--output", "-o", rich_help_panel=PANEL, help="How answers are printed.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0.1, rich_help_panel=PANEL, help="For one call; else 30."),
]
QuietOption = Annotated[
    bool | None, typer.Option("--quiet", "-q", rich_help_panel=PANEL, help="Only answers and errors.")
]
NoColorOption = Annotated[
    bool | None, typer.Option("--no-color", rich_help_panel=PANEL, help="Plain text; NO_COLOR does the same.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", rich_help_panel=PANEL,
        help="The API key; else PAWL_API_KEY. Others on this machine see options: better a file.",
    ),
]  # fmt: skip
KeyFileOption = Annotated[
    str | None,
    typer.Option(
        "--key-file", metavar="FILE", rich_help_panel=PANEL,
        help="A file with the API key, mode 600; else PAWL_API_KEY_FILE.",
    ),
]  # fmt: skip
COMMON: Final = ("server", "namespace", "api_key", "key_file", "output", "timeout", "quiet", "no_color")


@dataclass
class Session:
    """The global options of this run."""

    server: str | None = None
    namespace: str | None = None
    api_key: str | None = None  # not `key`: that is what commands call the name of their thing
    key_file: str | None = None
    output: Output | None = None
    timeout: float | None = None
    quiet: bool | None = None
    no_color: bool | None = None

    @staticmethod
    def of(context: typer.Context) -> Session:
        """The session of the run that a command belongs to."""
        return context.ensure_object(Session)

    def take(self, given: dict[str, Any]) -> None:
        """Note the options that were given."""
        for name in COMMON:
            if given.get(name) is not None:
                setattr(self, name, given[name])

    @property
    def address(self) -> str:
        """The control plane, as the person knows it."""
        return self.server or os.environ.get("PAWL_SERVER") or DEFAULT_SERVER

    @property
    def table(self) -> bool:
        """Whether answers are for people."""
        return self.output in (None, Output.TABLE)

    @contextmanager
    def client(self) -> Iterator[BlockingClient]:
        """A client for this run."""
        from pawl.client import BlockingClient, Client
        from pawl.connection import Patience
        from pawl.credential import Credential

        try:
            Credential.of(self.api_key, self.key_file)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--key-file" if self.key_file else "--key") from None
        try:
            made = Client(
                self.server,
                namespace=self.namespace,
                key=self.api_key,
                key_file=self.key_file,
                timeout=self.timeout or 30.0,
                patience=Patience(seconds=PATIENCE_SECONDS),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--server") from None
        with BlockingClient(made) as client:
            yield client

    def out(self) -> Console:
        """Where answers go."""
        return self._console(stderr=False)

    def err(self) -> Console:
        """Where everything else goes."""
        return self._console(stderr=True)

    def note(self, text: str) -> None:
        """Say what was done, unless the person wants quiet."""
        if not self.quiet:
            self.err().print(text, style="dim", markup=False)

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() else int(os.environ.get("COLUMNS") or PIPE_WIDTH)
        return Console(stderr=stderr, no_color=self.no_color or None, highlight=False, width=width, soft_wrap=False)


class RemoteCommand(TyperCommand):
    """A command that asks a control plane: has the global options too, and ends in one clear line when a call fails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {spelling for param in self.params for spelling in param.opts}
        self._common = [param for param in common_options() if not own.intersection(param.opts)]
        self.params += self._common

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; the global ones go to the session, the others to the command."""
        rest = super().parse_args(ctx, args)
        session = Session.of(ctx)
        session.take({param.name: ctx.params.pop(param.name, None) for param in self._common if param.name})
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The help's lists."""
        write_options(self.get_params(ctx), ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; calls that fail and interruptions end it with their exit code."""
        from pawl.errors import PawlError

        try:
            return super().invoke(ctx)
        except PawlError as error:
            session = Session.of(ctx)
            tell(session, error)
            raise typer.Exit(exit_for(error)) from None


def write_options(params: list[Any], ctx: Any, formatter: Any) -> None:
    """The help's lists of arguments and options, those that all commands share last."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None:
            kind = "Arguments" if param.param_type_name == "argument" else param.rich_help_panel or "Options"
            panels.setdefault(kind, []).append((_PLAIN_TYPE.sub("", record[0]), record[1]))
    for panel in sorted(panels, key=lambda one: (one == PANEL, one != "Arguments")):
        with formatter.section(panel):
            formatter.write_dl(panels[panel])


_PLAIN_TYPE: Final = re.compile(r" <(?:bool|str|list\[str\])>")  # says nothing that the help does not say better


def common_options() -> list[Any]:
    """The global options as parameters of a command, made once."""
    if not _COMMON_OPTIONS:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)

        @app.command()
        def options(
            server: ServerOption = None,
            namespace: NamespaceOption = None,
            api_key: KeyOption = None,
            key_file: KeyFileOption = None,
            output: OutputOption = None,
            timeout: TimeoutOption = None,
            quiet: QuietOption = None,
            no_color: NoColorOption = None,
        ) -> None:
            """Never run: it is only asked for its parameters."""

        _COMMON_OPTIONS.extend(typer.main.get_command(app).params)
    return _COMMON_OPTIONS


_COMMON_OPTIONS: Final[list[Any]] = []


def tell(session: Session, error: PawlError) -> None:
    """One line that says what is wrong, and where it helps one that says what to do next."""
    from rich.text import Text

    message, advice = _words(session, error)
    console = session.err()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if advice:
        console.print(Text(advice, style="dim"), soft_wrap=True)


def fail(session: Session, message: str, code: Exits) -> typer.Exit:
    """An exit with a line that says why."""
    from rich.text import Text

    session.err().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    return typer.Exit(code)


def _words(session: Session, error: PawlError) -> tuple[str, str]:
    if error.code == "UNAVAILABLE" and not error.reason:
        cause = error.message.rpartition(": ")[2] if "connect" in error.message.lower() else error.message
        return (
            f"no answer from {session.address} ({cause})",
            "Is the control plane running? Start one with: pawl dev. Another one: --server HOST:PORT or PAWL_SERVER.",
        )
    if error.code == "DEADLINE_EXCEEDED":
        return (
            f"{session.address} did not answer in {session.timeout or 30:g} s; what was asked may have happened",
            "Look before you repeat it, or give it longer: --timeout SECONDS.",
        )
    return str(error), _ADVICE.get(error.reason, "")


_ADVICE: Final = {
    "NAMESPACE_NOT_FOUND": "Namespaces: pawl namespace list. Make one: pawl namespace create NAME.",
    "NAME_TAKEN": "Change the one that is there with `update`, or describe it in a file and use: pawl apply -f FILE.",
    "HAS_UNFINISHED_TASKS": "Wait for them, or cancel them with it: --cancel-tasks.",
    "NO_MATCHING_AGENT": "Agents: pawl agent list. What the job asks of them: pawl job get NAME.",
    "JOB_DISABLED": "Let it run again: pawl job enable NAME.",
    "ETAG_MISMATCH": "It has changed since it was read: look again, then repeat.",
    "UNAUTHENTICATED": "Keys: --key-file FILE, PAWL_API_KEY_FILE or PAWL_API_KEY. An admin makes one: pawl key create.",
    "FORBIDDEN": "What your key may do: pawl key list.",
    "OVERLOADED": "Repeat it in a moment.",
}
