"""`pawl agent`: starts an agent. Found by the `pawl` command through the entry points `pawl.commands`.

Reads settings, sets up what is said on stderr, and turns every expected mishap into one clear line and an exit code:
0 after a stop, 1 when the control plane does not want this agent, 2 when a setting is wrong, 3 when the machine does
not offer what the agent needs (state folder held by another agent, no work folder, ...).

Loaded by every `pawl` command, therefore it imports the agent itself only when one is started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pawl.settings import Loaded

    from agent.config import Settings

EXIT_UNWANTED = 1
EXIT_SETTINGS = 2
EXIT_MACHINE = 3
RELOADABLE = frozenset({"logging.level"})

log = logging.getLogger("pawl.agent")


def agent(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file; else ./agent.toml where there is one.")] = None,
    server: Annotated[str | None, typer.Option(help="Control plane, host:port of its gRPC.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the API key, mode 600; else PAWL_API_KEY_FILE or PAWL_API_KEY.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name, unique in the namespace. Default: the machine's.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Home namespace.")] = None,
    serves: Annotated[list[str] | None, typer.Option(help="Namespaces to take work from; repeat it.")] = None,
    slots: Annotated[int | None, typer.Option(help="Instances at once. Default 5.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Label as name=value; repeat it.")] = None,
    resource: Annotated[
        list[str] | None, typer.Option(help="Units of something jobs can ask for, as gpu=2; repeat it.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Identity, spool, caches.")] = None,
    work_dir: Annotated[Path | None, typer.Option(help="Where the tasks' own folders are made.")] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that running work may go on after SIGTERM; then it is stopped and given back."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Start an agent: it takes work from the control plane and runs it.

    SIGTERM or Ctrl-C: takes nothing new, lets running work finish for a while, says goodbye. A second one: at once.
    """
    if context.invoked_subcommand is not None:
        return
    from pawl.link import LinkEnded
    from pawl.settings import SettingsError

    from agent.config import check_key_place
    from agent.log_setup import set_up_logging
    from agent.statedir import StateDirError

    flags: dict[str, object] = {
        "server.url": server,
        "server.key_file": None if key_file is None else str(key_file),
        "agent.name": name,
        "agent.namespace": namespace,
        "agent.serves": serves or None,
        "agent.max_concurrent_tasks": slots,
        "agent.data_dir": None if data_dir is None else str(data_dir),
        "agent.drain_timeout": drain_timeout,
        "executor.work_dir": None if work_dir is None else str(work_dir),
        "logging.level": log_level,
        "logging.format": log_format,
    }
    try:
        flags |= _pairs("label", label) | _pairs("resource", resource)
        loaded = load_settings(config, os.environ, flags)
        loaded.settings.credential()
        check_key_place(loaded)
    except SettingsError as error:
        raise _fail(str(error), EXIT_SETTINGS) from None
    section = loaded.settings.logging
    set_up_logging(section.level, json=section.format == "json")
    try:
        asyncio.run(serve(loaded.settings, Reloading(loaded, lambda: load_settings(config, os.environ, flags))))
    except LinkEnded as error:
        raise _fail(str(error), EXIT_UNWANTED) from None
    except SettingsError as error:
        raise _fail(str(error), EXIT_SETTINGS) from None
    except (StateDirError, OSError) as error:
        raise _fail(str(error), EXIT_MACHINE) from None


def load_settings(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded[Settings]:
    """The agent's settings with their origins, as `pawl agent` would use them."""
    from agent.config import find_file, load

    return load(find_file(config, environ), environ, flags)


def settings_rows(config: Path | None) -> list[tuple[str, object, str]]:
    """Key, value and origin of every setting, for `pawl config show`. Raises ValueError that says what is wrong."""
    from pawl.settings import SettingsError

    try:
        return list(load_settings(config, os.environ, {}).rows())
    except SettingsError as error:
        raise ValueError(str(error)) from None


class Reloading:
    """Reads the settings again, as SIGHUP asks: takes up what a running agent can, says what waits for a restart."""

    def __init__(self, held: Loaded[Settings], reread: Callable[[], Loaded[Settings]]) -> None:
        self._held = {key: value for key, value, _ in held.rows()}
        self._reread = reread

    def __call__(self) -> None:
        """What is wrong in them changes nothing."""
        from pawl.settings import SettingsError

        from agent.log_setup import set_level

        try:
            loaded = self._reread()
        except SettingsError as error:
            log.error("settings were not read again: %s", error)
            return
        found = {key: value for key, value, _ in loaded.rows()}
        changed = {key for key in found.keys() | self._held.keys() if found.get(key) != self._held.get(key)}
        taken = changed & RELOADABLE
        set_level(loaded.settings.logging.level)
        self._held |= {key: found[key] for key in taken}
        log.warning(
            "settings were read again: %s; %s", _list("changed", taken), _list("need a restart", changed - taken)
        )


def _list(what: str, keys: set[str]) -> str:
    return f"{what}: {', '.join(sorted(keys)) or 'none'}"


async def serve(settings: Settings, reload: Callable[[], None]) -> None:
    """Run an agent until a signal asks it to stop, or its terminal is closed."""
    from pawl.terminal import Terminal

    from agent import machine
    from agent.agent import Agent, opened
    from agent.outfit import usual

    loop, terminal = asyncio.get_running_loop(), Terminal()
    async with opened(settings, usual) as parts:
        running = Agent(parts)
        machine.give_back_memory()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: running.stop() if terminal.gone else reload())
        log.info(
            "agent %s (Pawl %s, start %d): %d slots, executors %s, control plane %s",
            settings.name, machine.version(), parts.state.generation, settings.agent.max_concurrent_tasks,
            ", ".join(parts.executors), settings.address.target,
        )  # fmt: skip
        await running.run()
    log.info("stopped")


def _pairs(option: str, given: list[str] | None) -> dict[str, object]:
    """Settings of a section with free keys: `--label gpu=yes` is `labels.gpu`."""
    from pawl.settings import SettingsError

    settings: dict[str, object] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise SettingsError(f"--{option} {pair}: write it as name=value")
        settings[f"{option}s.{name}"] = value
    return settings


def _fail(message: str, code: int) -> typer.Exit:
    typer.echo(f"pawl agent: {message}", err=True)
    return typer.Exit(code)
