"""`pawl health`, `pawl info`, `pawl metrics`: how the control plane is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pawl.cli.exits import Exits
from pawl.cli.session import RemoteCommand, Session

if TYPE_CHECKING:
    from rich.text import Text

    from pawl.v1.system_pb2 import Health

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
            ("commit", f"p50 {found.commit_seconds_p50 * 1e3:.1f} ms, p99 {found.commit_seconds_p99 * 1e3:.1f} ms"),
            ("process", f"{found.process_memory_bytes / 2**20:.0f} MiB, {found.process_cpu_seconds:.1f} s of CPU"),
        ]
    )
    show.answer(session, found, people)
