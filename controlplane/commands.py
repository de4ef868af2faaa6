"""`pawl server`, `dev`, `migrate`, `doctor` and `config`: found by the `pawl` command through its entry points.

Each turns settings into work, and every expected mishap into one line that says what to do next. Exit codes: 0 after a
stop, 2 when a setting is wrong or the first key is missing, 4 when what shall be made is there, 5 when the database or
a port cannot be had. Imports of the control plane itself are
inside the functions: `pawl --help` loads this module.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pawl.settings import Loaded

    from controlplane.config import Settings
    from controlplane.devmode import AgentProcess
    from controlplane.engine.keys import NewKey
    from controlplane.wiring import Addresses, ControlPlane

EXIT_DEFECT = 1
EXIT_SETTINGS = 2
EXIT_CONFLICT = 4
EXIT_UNAVAILABLE = 5

ConfigOption = Annotated[Path | None, typer.Option(help="Settings file; else ./config.toml where there is one.")]
DatabaseOption = Annotated[str | None, typer.Option(help="sqlite:///PATH or postgresql://USER@HOST/NAME.")]
DataDirOption = Annotated[Path | None, typer.Option(help="Database file and identity. Default: under XDG_STATE_HOME.")]
HttpPortOption = Annotated[int | None, typer.Option(help="REST, /docs, /metrics. Default 8080.")]
GrpcPortOption = Annotated[int | None, typer.Option(help="gRPC: agents and clients. Default 8081.")]
LogLevelOption = Annotated[str | None, typer.Option(help="debug, info, warn or error.")]
OutputOption = Annotated[str, typer.Option("--output", "-o", help="table or json.")]
LogFormatOption = Annotated[str | None, typer.Option(help="text or json.")]


server = typer.Typer(add_completion=False, rich_markup_mode=None)


@server.callback(invoke_without_command=True)
def _server(
    context: typer.Context,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option(help="Address to bind. Default 0.0.0.0.")] = None,
    http_port: HttpPortOption = None,
    grpc_port: GrpcPortOption = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve anybody: ask for no keys.")] = False,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Start a control plane: REST and gRPC, scheduler and dispatcher. SIGTERM stops it in order.

    Whoever calls must show a key; `pawl server init` makes the first one.
    """
    flags = _flags(database, data_dir, http_port, grpc_port, log_level, log_format)
    flags |= {"server.host": host, "server.insecure": insecure or None}
    if context.invoked_subcommand is not None:
        context.obj = (config, flags)
        return
    loaded = _load(config, flags)
    settings = loaded.settings
    authentication = not settings.server.insecure

    def ready(addresses: Addresses) -> None:
        _announce(addresses, settings)
        if not authentication:
            _warn_of_open_door(settings)

    _run(loaded, _reader(config, flags), ready, authentication=authentication)


@server.command("init")
def server_init(
    context: typer.Context,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    name: Annotated[str | None, typer.Option(help="The key's name. Default: admin.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Another admin key beside those that exist, such as after a loss.")
    ] = False,
    output: OutputOption = "table",
) -> None:
    """Make the first admin key, and the database where there is none. Prints the key, once: it is stored nowhere.

    Works on the database itself, so it asks for no key. A SQLite server must not be running meanwhile.
    """
    from controlplane.domain.errors import AlreadyExists, Invalid, Unavailable
    from controlplane.first_key import AdminExists, make_first_key

    _check_output(output)
    before_config, before = context.obj if isinstance(context.obj, tuple) else (None, {})
    own = {key: value for key, value in _flags(database, data_dir, None, None, None, None).items() if value is not None}
    settings = _load(config or before_config, {**before, **own}).settings
    try:
        made = make_first_key(settings.database_url, name, again=again)
    except AdminExists as error:
        advice = (
            "Make others with it: pawl key create NAME --role ROLE. If it is lost, make another one:"
            " pawl server init --again; and end the lost one: pawl key revoke NAME"
        )
        raise _fail(f"{error.message}\n{advice}", EXIT_CONFLICT) from None
    except AlreadyExists as error:
        raise _fail(f"{error.message}; choose another with --name", EXIT_CONFLICT) from None
    except Invalid as error:
        raise _fail(f"--name {name}: {error.violations[0].problem}", EXIT_SETTINGS) from None
    except (Unavailable, OSError) as error:
        raise _fail(getattr(error, "message", str(error)), EXIT_UNAVAILABLE) from None
    _tell_key(made, output)


def dev(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    http_port: HttpPortOption = None,
    grpc_port: GrpcPortOption = None,
    slots: Annotated[int | None, typer.Option(help="Instances at once. Default: cores x 4.")] = None,
    no_agent: Annotated[bool, typer.Option("--no-agent", help="Only the control plane.")] = False,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Everything on this machine: a control plane on loopback and an agent beside it. Ctrl-C stops both."""
    from controlplane.devmode import AgentProcess

    flags = _flags(database, data_dir, http_port, grpc_port, log_level, log_format) | {"server.host": "127.0.0.1"}
    loaded = _load(config, flags)
    settings = loaded.settings
    beside = None if no_agent else AgentProcess(settings, slots or (os.cpu_count() or 1) * 4)

    def ready(addresses: Addresses) -> None:
        if beside is not None:
            beside.start(addresses.grpc)
        _welcome(addresses, settings)

    try:
        _run(loaded, _reader(config, flags), ready, beside)
    finally:
        if beside is not None:
            beside.stop()


def migrate(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what is pending; exit 1 if anything is.")] = False,
    output: OutputOption = "table",
) -> None:
    """Bring a database's schema up to date. A server does this itself when it starts."""
    import time

    from controlplane.domain.errors import Unavailable
    from controlplane.store import Store, migrations

    _check_output(output)
    settings = _load(config, _flags(database, data_dir, None, None, None, None)).settings
    store = Store(settings.database_url)
    if check and not store.exists():  # looking must leave nothing behind, and opening would make the file
        _say_pending(list(range(1, migrations.LATEST + 1)), output)
    try:
        store.open()
    except Unavailable as error:
        raise _fail(error.message, EXIT_UNAVAILABLE) from None
    try:
        if check:
            _say_pending(migrations.pending(store), output)
        applied = migrations.migrate(store, time.time_ns() // 1000)
    except Unavailable as error:
        raise _fail(error.message, EXIT_UNAVAILABLE) from None
    finally:
        store.close()
    _say_revisions("applied", applied, output)


def _say_pending(waiting: list[int], output: str) -> NoReturn:
    _say_revisions("pending", waiting, output)
    raise typer.Exit(1 if waiting else 0)


def _say_revisions(what: str, revisions: Sequence[int], output: str) -> None:
    from controlplane.shown import as_json

    if output == "json":
        as_json({what: list(revisions)})
    else:
        typer.echo(f"{what}: {', '.join(map(str, revisions))}" if revisions else "the schema is up to date")


config = typer.Typer(
    help="Settings, and where each comes from.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@config.callback()
def _config() -> None:
    """Settings, and where each comes from: flags, environment, file, defaults."""


@config.command("show")
def config_show(
    config_file: Annotated[Path | None, typer.Option("--config", help="The server's settings file.")] = None,
    agent_config: Annotated[Path | None, typer.Option(help="The agent's settings file.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Also say where each value comes from.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="table, json or yaml.")] = "table",
) -> None:
    """Print every setting of the server and of the agent as they would be used."""
    from controlplane.shown import show

    rows = [("server", *row) for row in _load(config_file, {}).rows()]
    rows += [("agent", *row) for row in _agent_rows(agent_config)]
    try:
        show(rows, origin=origin, output=output)
    except ValueError as error:
        raise _fail(str(error), EXIT_SETTINGS) from None


def doctor(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    data_dir: DataDirOption = None,
    server_address: Annotated[str | None, typer.Option("--server", help="A running control plane to look at.")] = None,
    output: OutputOption = "table",
) -> None:
    """Find out what is wrong on this machine: settings, database, ports, a running server, what an agent can do."""
    from controlplane.doctor import examine, in_lines
    from controlplane.shown import as_json

    _check_output(output)
    settings = _load(config, _flags(database, data_dir, None, None, None, None)).settings
    verdicts = examine(settings, server_address or os.environ.get("PAWL_SERVER"))
    if output == "json":
        seen = [dict(zip(("verdict", "what", "seen"), one, strict=True)) for one in verdicts]
        as_json(seen)
        problems = sum(one["verdict"] == "bad" for one in seen)
    else:
        problems = in_lines(verdicts, typer.echo)
    raise typer.Exit(1 if problems else 0)


# ---------------------------------------------------------------- shared


def _check_output(output: str) -> None:
    if output not in ("table", "json"):
        raise _fail(f"--output {output}: must be table or json", EXIT_SETTINGS)


def _flags(
    database: str | None,
    data_dir: Path | None,
    http_port: int | None,
    grpc_port: int | None,
    log_level: str | None,
    log_format: str | None,
) -> dict[str, object]:
    return {
        "database.url": database,
        "server.data_dir": None if data_dir is None else str(data_dir),
        "server.http_port": http_port,
        "server.grpc_port": grpc_port,
        "logging.level": log_level,
        "logging.format": log_format,
    }


def _load(config: Path | None, flags: Mapping[str, object]) -> Loaded[Settings]:
    from pawl.settings import SettingsError

    from controlplane.config import load_settings
    from controlplane.store import normalise_url

    try:
        loaded = load_settings(config, os.environ, flags)
        normalise_url(loaded.settings.database_url)
    except SettingsError as error:
        raise _fail(str(error), EXIT_SETTINGS) from None
    except ValueError as error:
        raise _fail(f"database.url: {error}", EXIT_SETTINGS) from None
    return loaded


def _reader(config: Path | None, flags: Mapping[str, object]) -> Callable[[], Loaded[Settings]]:
    """Reads the settings again, as SIGHUP asks. What it makes raises SettingsError."""

    def read() -> Loaded[Settings]:
        from controlplane.config import load_settings

        return load_settings(config, os.environ, flags)

    return read


def _agent_rows(file: Path | None) -> list[tuple[str, object, str]]:
    """The agent's settings, through its own entry point: the control plane does not import agents."""
    from importlib.metadata import entry_points

    for point in entry_points(group="pawl.settings", name="agent"):
        rows: Callable[[Path | None], list[tuple[str, object, str]]] = point.load()
        try:
            return rows(file)
        except ValueError as error:
            raise _fail(str(error), EXIT_SETTINGS) from None
    return []


def _run(
    loaded: Loaded[Settings],
    reread: Callable[[], Loaded[Settings]],
    ready: Callable[[Addresses], None],
    beside: AgentProcess | None = None,
    *,
    authentication: bool = False,
) -> None:
    import asyncio
    import gc

    from controlplane.memory import share_arenas

    share_arenas()
    # All that the start imports and builds stays: to look through it for garbage takes a sixth of the start, and later
    # would hold up the loop for as long as that takes, now and then.
    gc.disable()

    def settled(addresses: Addresses) -> None:
        gc.freeze()
        # A call makes hardly any rings, but a batch makes some thousand objects that live as long as it does: at the
        # interpreter's own 700 they are looked through again and again, for 40 µs a call.
        gc.set_threshold(10_000, 20, 20)
        gc.enable()
        ready(addresses)

    from controlplane.log_setup import set_up_logging

    settings = loaded.settings
    json = settings.logging.format == "json"
    set_up_logging(level=settings.logging.level, json=json)
    # Else the library writes, in lines of its own, about each header that some stranger sends it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(loaded, reread, settled, beside, authentication=authentication))
    except Exception as error:
        raise _failed(error, json=json) from None


async def _serve(
    loaded: Loaded[Settings],
    reread: Callable[[], Loaded[Settings]],
    ready: Callable[[Addresses], None],
    beside: AgentProcess | None,
    *,
    authentication: bool,
) -> None:
    """Until a signal: first the agent beside us says goodbye, then the control plane stops. A second one: at once."""
    import asyncio
    import signal

    import structlog
    from pawl.terminal import Terminal

    from controlplane.wiring import ControlPlane

    settings, terminal = loaded.settings, Terminal()
    plane = ControlPlane(settings, authentication=authentication, origins=loaded.origins)
    asked = asyncio.Event()
    log = structlog.get_logger("controlplane")

    def ask(number: int) -> None:
        if asked.is_set():
            _end_at_once(number, settings, beside)
        log.info("received a signal, shutting down gracefully", signal=signal.Signals(number).name)
        asked.set()

    def hung_up() -> None:
        if terminal.gone:
            ask(signal.SIGHUP)
        else:
            _reload(plane, reread)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask, number)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)

    async def stop_in_order() -> None:
        await asked.wait()
        _say_what_it_waits_for(plane, plane.settings, beside)
        if beside is not None:
            await beside.leave()
        plane.stop()

    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(stop_in_order())]
        if beside is not None:
            helpers.append(group.create_task(beside.watch()))
        await plane.run(ready)
        for helper in helpers:
            helper.cancel()
    log.info("stopped")


def _reload(plane: ControlPlane, reread: Callable[[], Loaded[Settings]]) -> None:
    """SIGHUP: take up what changed in file and environment; what is wrong there changes nothing."""
    import structlog
    from pawl.settings import SettingsError

    log = structlog.get_logger("controlplane")
    try:
        taken, waiting = plane.reload(reread())
    except SettingsError as error:
        log.error("settings were not read again", reason=str(error))
    else:
        log.warning("settings were read again", changed=taken, need_a_restart=waiting)


def _say_what_it_waits_for(plane: ControlPlane, settings: Settings, beside: AgentProcess | None) -> None:
    """Nothing when it has nothing to wait for."""
    from controlplane.devmode import PATIENCE_SECONDS

    waits = []
    if beside is not None and plane.running:
        waits.append(f"{_counted(plane.running, 'running task')} (at most {PATIENCE_SECONDS:g} s)")
    if plane.calls:
        waits.append(f"{_counted(plane.calls, 'call')} in flight (at most {settings.server.drain_seconds:g} s)")
    if waits:
        _tell(settings, f"pawl: stopping, waiting for {' and '.join(waits)}; a second Ctrl-C ends it at once")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _end_at_once(number: int, settings: Settings, beside: AgentProcess | None) -> NoReturn:
    """Whoever asks twice does not want to wait. No worse than a kill, which everything acknowledged survives."""
    if beside is not None:
        beside.stop()
    _tell(settings, "pawl: ended at once; what ran is placed again after the next start")
    os._exit(128 + number)


def _failed(error: Exception, *, json: bool) -> typer.Exit:
    """The end of a server that could not go on: a mishap in one line, a defect with its trace, never in silence."""
    import structlog

    from controlplane.domain.errors import Unavailable
    from controlplane.wiring import NeedsKeyError

    log = structlog.get_logger("controlplane")
    first: BaseException = error
    expected = (Unavailable, OSError, NeedsKeyError)
    mishaps, defects = error.split(expected) if isinstance(error, ExceptionGroup) else (None, error)
    if mishaps is not None and defects is None:
        first = mishaps
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
    if not isinstance(first, expected):
        log.critical("the server failed", exc_info=error)
        return typer.Exit(EXIT_DEFECT)
    message = getattr(first, "message", str(first))
    code = EXIT_SETTINGS if isinstance(first, NeedsKeyError) else EXIT_UNAVAILABLE
    if not json:
        return _fail(message, code)
    log.critical("the server cannot serve", reason=message)
    return typer.Exit(code)


def _loop_factory() -> Callable[[], Any] | None:
    try:
        import uvloop
    except ImportError:  # not made for this system; asyncio's own loop does the same, slower
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory


def _announce(addresses: Addresses, settings: Settings) -> None:
    port = addresses.http.rpartition(":")[2]
    _tell(
        settings, f"pawl server: running on port {port}: HTTP {addresses.http} (docs at /docs), gRPC {addresses.grpc}"
    )


def _warn_of_open_door(settings: Settings) -> None:
    """In the log too, where whoever looks after the machine will find it."""
    import structlog

    where = f"port {settings.server.http_port} or {settings.server.grpc_port} of {settings.server.host}"
    structlog.get_logger("controlplane").warning(
        "serving without keys (--insecure): whoever reaches these ports may run any program on the agents", where=where
    )


def _tell_key(made: NewKey, output: str) -> None:
    """The key alone on stdout, so that it can be sent to a file; all else on stderr."""
    if output == "json":
        from pawl.cli.session import Output, Session
        from pawl.cli.show import structured
        from pawl.protojson import to_value

        from controlplane.api.keys import as_message

        message = as_message(made.key)
        message.secret = made.text
        structured(Session(output=Output.JSON), to_value(message))
        return
    typer.echo(
        f"admin key {made.key.name!r} made. It is shown this once: keep it where only you can read it.",
        err=True,
    )
    typer.echo(made.text)
    typer.echo(
        "Use it: export PAWL_API_KEY_FILE=FILE (mode 600). Agents and people get keys of their own:"
        " pawl key create NAME --role agent",
        err=True,
    )


def _tell(settings: Settings, words: str) -> None:
    """To a person; where stderr is JSON for a machine, as one more line of that."""
    if settings.logging.format == "json":
        import structlog

        structlog.get_logger("controlplane").info(words)
    else:
        typer.echo(words, err=True)


def _welcome(addresses: Addresses, settings: Settings) -> None:
    if settings.logging.format == "json":
        _announce(addresses, settings)
        return
    # Who has just cloned this has no `pawl` on the PATH: then by the path that started this one.
    program = "pawl" if shutil.which("pawl") else sys.argv[0]
    client = program if addresses.grpc.endswith(":8081") else f"{program} --server {addresses.grpc}"
    typer.echo(
        f"""
  Pawl is up, for this machine only.

    REST and docs   {addresses.http}/docs
    gRPC            {addresses.grpc}
    data            {settings.data_dir}

  Try it in another terminal:

    {client} job create hello -- bash -c 'echo hello from $PAWL_JOB, attempt $PAWL_ATTEMPT'
    {client} job run hello --wait

  Ctrl-C stops everything.
""",
        err=True,
    )


def _fail(message: str, code: int) -> typer.Exit:
    typer.echo(f"pawl: {message}", err=True)
    return typer.Exit(code)
