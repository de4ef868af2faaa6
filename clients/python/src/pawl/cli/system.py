"""`pawl health`, `pawl info`, `pawl metrics`, `pawl system`: how the control plane is, and how much it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session

if TYPE_CHECKING:
    from rich.text import Text

    from pawl.v1.system_pb2 import Health, LogLevel, SystemMetrics

LEVELS: Final = ("debug", "info", "warning", "error")
AS_CONFIGURED: Final = "configured"

app = typer.Typer(
    help="How much a running control plane logs; its settings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
health = typer.Typer(add_completion=False, rich_markup_mode=None)
info = typer.Typer(add_completion=False, rich_markup_mode=None)
metrics = typer.Typer(add_completion=False, rich_markup_mode=None)


@health.command(cls=RemoteCommand)
def show_health(context: typer.Context) -> None:
    """Say whether the control plane serves, and what was looked at. Exit code 5 when it does not serve."""
    from pawl.cli import show
    from pawl.v1.system_pb2 import Health

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.system.health())
    people = show.card(
        [
            ("status", show.status(show.enum_name(found, "status"))),
            ("version", found.version),
            ("up", show.span(found.uptime_seconds)),
            *((one.name, _check(one)) for one in found.checks),
        ]
    )
    show.answer(session, found, people)
    if found.status == Health.Status.NOT_SERVING:
        raise typer.Exit(Exits.UNAVAILABLE)


def _check(one: Health.Check) -> Text:
    from rich.text import Text

    from pawl.cli import show

    return Text.assemble(show.status(show.enum_name(one, "status")), (f" {one.latency_ms:.1f} ms {one.message}", "dim"))


@info.command(cls=RemoteCommand)
def show_info(context: typer.Context) -> None:
    """Say what the control plane is."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.system.info())
    people = show.card(
        [
            ("version", found.version),
            ("replica", found.replica_id),
            ("database", f"{found.database}, schema {found.schema_revision}"),
            ("agents' protocol", ", ".join(map(str, found.protocol_versions))),
            ("plugin ABI", ", ".join(map(str, found.plugin_abis))),
            ("schedule kinds", ", ".join(found.schedule_kinds)),
            ("authentication", "on" if found.authentication else "off"),
            ("started", show.when(session, found, "started_at")),
            ("its clock", show.when(session, found, "now")),
        ]
    )
    show.answer(session, found, people)


@metrics.command(cls=RemoteCommand)
def show_metrics(context: typer.Context) -> None:
    """Say what the control plane does, in numbers."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.system.metrics())
    people = show.card(
        [
            ("tasks", show.words(found.tasks) or "none"),
            ("created", f"{found.created_per_second:.2f} /s"),
            ("finished", f"{found.finished_per_second:.2f} /s"),
            ("failed", f"{found.failed_per_second:.2f} /s"),
            ("ready", f"{found.ready}, the oldest since {show.span(found.oldest_ready_seconds)}"),
            ("schedules", f"{found.schedules_active} active, {found.schedule_lag_seconds:.3f} s late"),
            ("agents", show.words(found.agents) or "none"),
            ("slots", f"{found.slots_used} used, {found.slots_free} free"),
            ("waiting", _waiting(found)),
            ("commit", f"p50 {found.commit_seconds_p50 * 1e3:.1f} ms, p99 {found.commit_seconds_p99 * 1e3:.1f} ms"),
            ("process", f"{found.process_memory_bytes / 2**20:.0f} MiB, {found.process_cpu_seconds:.1f} s of CPU"),
            ("spans", f"{found.spans_exported} delivered, {found.spans_dropped} lost" if _traces(found) else None),
        ]
    )
    show.answer(session, found, people)


def _waiting(found: SystemMetrics) -> str:
    """What has not arrived yet: here, and from the agents."""
    return f"{found.writes_waiting} writes; with agents {found.results_waiting} results, {found.log_bytes} bytes of log"


def _traces(found: SystemMetrics) -> bool:
    return bool(found.spans_exported or found.spans_dropped)


@app.command("log-level", cls=RemoteCommand)
def log_level(
    context: typer.Context,
    level: Annotated[
        str,
        typer.Argument(
            metavar="[LEVEL]",
            help="debug, info, warning, error; or configured: what the settings say again. None: only show.",
            show_default=False,
        ),
    ] = "",
    logger: Annotated[
        str, typer.Option(metavar="NAME", help="Only this logger and those below it, such as controlplane.api.")
    ] = "",
    lasting: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Go back by itself after this: 90, 30s, 10m, 2h.")
    ] = "",
) -> None:
    """Show or change how much the control plane logs, without a restart. The replica that answers is meant."""
    from pawl.cli import show
    from pawl.cli.values import span

    seconds = span(lasting, "--for") if lasting else 0.0
    word = _level(level, logger, lasting)
    session = Session.of(context)
    with session.client() as pawl:
        if word is None:
            found = pawl.call(lambda client: client.system.log_level())
        else:
            found = pawl.call(
                lambda client: client.system.change_log_level(word or None, logger=logger, seconds=seconds)
            )
    people = show.card(
        [
            ("level", _shown(session, found)),
            ("configured", show.enum_name(found, "configured").lower()),
            *((one.name, _shown(session, one)) for one in found.loggers),
            ("replica", found.replica_id),
        ]
    )
    show.answer(session, found, people)


def _level(given: str, logger: str, lasting: str) -> str | None:
    """The word as the contract has it, empty for the configured one; None where nothing is to be changed."""
    if not given:
        if logger or lasting:
            raise typer.BadParameter("needs a level", param_hint="--logger" if logger else "--for")
        return None
    word = {"warn": "warning"}.get(given.lower(), given.lower())
    if word == AS_CONFIGURED:
        if lasting:
            raise typer.BadParameter("what the settings say does not end", param_hint="--for")
        return ""
    if word not in LEVELS:
        known = ", ".join((*LEVELS, AS_CONFIGURED))
        raise typer.BadParameter(f"{given!r} is no level: write {known}", param_hint="LEVEL")
    return word.upper()


def _shown(session: Session, found: LogLevel | LogLevel.Logger) -> Text:
    from rich.text import Text

    from pawl.cli import show

    until = show.when(session, found, "until")
    return Text.assemble(show.enum_name(found, "level").lower(), *(() if until is None else (", ends ", until)))


@app.command("settings", cls=RemoteCommand)
def settings(context: typer.Context) -> None:
    """Show the settings of a running control plane, where each comes from, and which a reload (SIGHUP) takes up."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        found = pawl.call(lambda client: client.system.settings())
    people = show.table("setting", "value", "origin", "reload")
    for one in found.data:
        people.add_row(one.key, one.value, one.origin, "yes" if one.reloadable else "")
    show.answer(session, found, people)
