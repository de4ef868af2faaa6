"""The agent's settings: defaults, then agent.toml, then the environment, then flags; each value knows where it is from.

Read once at the start and frozen. A key that nobody knows is an error, wherever it stands: a setting that is silently
ignored is worse than one that is missing. Of the environment, `PAWL_AGENT_*` and `PAWL_EXECUTOR_*` are the agent's own
and checked like a file, and so are `PAWL_PLUGINS_*` and `PAWL_LOGGING_*`; `PAWL_SERVER_*` is shared with the server, so
only the agent's keys are taken from it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from pawl import settings as layers
from pawl.address import DEFAULT_SERVER, Address, parse
from pawl.credential import FILE_VARIABLE, KEY_VARIABLE, Credential, too_open
from pawl.hosts import HostRule
from pawl.settings import Loaded, Scheme, SettingsError

from agent.executors.http import HttpLimits
from agent.executors.process import DEFAULT_PATH
from agent.executors.wasm_budget import Ceiling
from agent.taskuser import TaskUserError, task_user

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OURS: Final = frozenset({"process", "wasm", "http", "function"})
"""Executors that Pawl has; others are named beside them."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

MAX_RESOURCES: Final = 64
MAX_UNITS: Final = 1_000_000

Seconds = Annotated[float, Meta(gt=0, le=86_400 * 366)]


class AgentSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[agent]"""

    # Unique in its namespace. Empty: the machine's name.
    name: str = ""
    # Where its row and its name live.
    namespace: str = "default"
    # Namespaces where it takes work. Empty: its own.
    serves: tuple[str, ...] = ()
    # How many instances it runs at once.
    max_concurrent_tasks: Annotated[int, Meta(ge=1, le=10_000)] = 5
    # Longest time between signs of life; the control plane and short leases ask for a shorter one.
    heartbeat_interval: Seconds = 30.0
    # Work is pushed; this bounds how long free slots go unsaid when nothing happens.
    task_check_interval: Seconds = 10.0
    # How long running work may go on after SIGTERM before it is stopped and given back.
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400 * 366)] = 10.0
    # Identity, spool and caches. Empty: $XDG_STATE_HOME/pawl/agent/<name>.
    data_dir: str = ""
    # Whom programs run as when root started the agent: name, uid or uid:gid. Empty: as the agent itself.
    task_user: str = ""


class ExecutorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[executor]"""

    # Where the tasks' own folders are made. Empty: inside data_dir.
    work_dir: str = ""
    # Whether a task's folder is removed after its end.
    cleanup_enabled: bool = True
    # How often folders that could not be removed are tried again.
    cleanup_interval: Seconds = 3600.0
    # Which kinds of work it takes.
    enabled: tuple[Literal["process", "wasm", "http"], ...] = ("process", "wasm", "http")
    # PATH of processes that bring none.
    path: str = DEFAULT_PATH
    # Whether control groups may hold the limits of runs. Without them they are held by looking.
    cgroups: bool = True
    # Processes, with their threads, of a run whose job does not say how many. 0: any number.
    max_processes: Annotated[int, Meta(ge=0, le=4_194_304)] = 4096


class PluginsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[plugins]: what plugins may use here. A job may ask for another amount of memory, a plugin only for less."""

    # Public keys (`ed25519:...`). If there are any, only plugins signed with one of them run here.
    trusted_keys: tuple[str, ...] = ()
    # Secrets in files, `<namespace>/<name>`; beside the variables PAWL_SECRET_<NAME>, which serve the home namespace.
    secrets_dir: str = ""
    # Memory of one run, in MiB.
    memory_mb: Annotated[int, Meta(ge=1, le=16_384)] = 256
    # Processor time of one run.
    cpu_seconds: Annotated[int, Meta(ge=1, le=86_400 * 366)] = 3600
    # Calls of one run, but for log lines.
    host_calls: Annotated[int, Meta(ge=0, le=2**31)] = 10_000
    # Of them, http.
    http_calls: Annotated[int, Meta(ge=0, le=2**31)] = 100
    # Lines that one run may log.
    log_lines: Annotated[int, Meta(ge=0, le=2**31)] = 100_000
    # Elements of each of a plugin's tables.
    table_elements: Annotated[int, Meta(ge=0, le=10_000_000)] = 1_000_000

    @property
    def ceiling(self) -> Ceiling:
        """The same for the executor."""
        return Ceiling(
            memory_bytes=self.memory_mb << 20,
            cpu_seconds=self.cpu_seconds,
            host_calls=self.host_calls,
            http_calls=self.http_calls,
            log_lines=self.log_lines,
            table_elements=self.table_elements,
        )


class HttpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[http]: where work of the executor http may go."""

    # Hosts (`host`, `host:port`, `host:*`, `*.domain`) whose addresses need not be public.
    private_hosts: tuple[str, ...] = ()
    # Secrets that a job's headers may name as ${secret:NAME}, each with the hosts that it is sent to.
    secrets: dict[str, tuple[str, ...]] = {}

    @property
    def limits(self) -> HttpLimits:
        """The same for the executor."""
        return HttpLimits(self.private_hosts, self.secrets)


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: where the control plane is."""

    # host:port of its gRPC; a scheme is accepted (ws://, http://, grpc:// plain; wss://, https://, grpcs:// with TLS).
    url: str = DEFAULT_SERVER
    # The API key that it shows. Better in a file, or in the environment.
    key: str = ""
    # A file that holds the key, of mode 600; read again when it has changed.
    key_file: str = ""


class LoggingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[logging]: what the agent says of itself, on stderr."""

    # debug, info, warn (or warning), error.
    level: str = "info"
    # text or json.
    format: str = "text"


class TelemetrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[telemetry]"""

    # Where spans go by OTLP over HTTP. Empty: nowhere. What is traced was decided when the task was created.
    otlp_endpoint: Annotated[str, Meta(pattern=r"^(https?://\S+)?$")] = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    agent: AgentSection = AgentSection()
    executor: ExecutorSection = ExecutorSection()
    plugins: PluginsSection = PluginsSection()
    http: HttpSection = HttpSection()
    server: ServerSection = ServerSection()
    logging: LoggingSection = LoggingSection()
    telemetry: TelemetrySection = TelemetrySection()
    # Executors of others' making: name = "module:factory", or "/path/file.py:factory".
    executors: dict[str, str] = {}
    # What the agent can be chosen by, beside the `sys_*` that it sets itself.
    labels: dict[str, str] = {}
    # Units of what it has beside slots, such as gpu = 2: jobs that ask for some take them up.
    resources: dict[str, int | str] = {}
    # The lowest layer of every process's environment.
    environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The agent's name, made from the machine's where none is set."""
        return self.agent.name or name_from_host(socket.gethostname())

    @property
    def units(self) -> dict[str, int]:
        """What it has beside slots, by name."""
        return {name: int(count) for name, count in self.resources.items()}

    @property
    def data_dir(self) -> Path:
        """The agent's own folder."""
        if self.agent.data_dir:
            return Path(self.agent.data_dir).expanduser().absolute()
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "pawl" / "agent" / self.name

    @property
    def work_dir(self) -> Path:
        """Where the tasks' own folders are made."""
        if self.executor.work_dir:
            return Path(self.executor.work_dir).expanduser().absolute()
        return self.data_dir / "work"

    @property
    def secrets_dir(self) -> Path | None:
        """Where the plugins' secrets lie in files, if anywhere."""
        return Path(self.plugins.secrets_dir).expanduser().absolute() if self.plugins.secrets_dir else None

    @property
    def address(self) -> Address:
        """Where the control plane is."""
        return parse(self.server.url)

    def credential(self) -> Credential:
        """What it shows to the control plane. Raises SettingsError, also for a file that cannot be used."""
        try:
            return Credential(self.server.key, self.server.key_file or None)
        except ValueError as error:
            raise SettingsError(f"server.key: {error}") from None


SCHEME: Final = Scheme(
    Settings,
    maps=frozenset({"labels", "resources", "environment", "executors"}),
    lists=frozenset({"agent.serves", "executor.enabled", "plugins.trusted_keys", "http.private_hosts"}),
    aliases={"agent.slots": "agent.max_concurrent_tasks"},
    variables=(
        ("SERVER_URL", "server.url"),
        ("PAWL_SERVER", "server.url"),
        (FILE_VARIABLE, "server.key_file"),
        (KEY_VARIABLE, "server.key"),
    ),
    own_sections=frozenset(
        {"agent", "executor", "plugins", "http", "logging", "labels", "resources", "environment", "executors"}
    ),
    not_settings=frozenset({"PAWL_AGENT_CONFIG"}),
)


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded[Settings]:
    """Put the layers together. `flags` has dotted keys (`agent.name`); those that are None were not given.

    Raises SettingsError.
    """
    loaded = layers.load(SCHEME, file, environ, flags)
    _check(loaded)
    return _one_key(loaded)


def _one_key(loaded: Loaded[Settings]) -> Loaded[Settings]:
    """A key and a file with one: that of the stronger place holds, as with every setting. Raises SettingsError."""
    server = loaded.settings.server
    if not server.key or not server.key_file:
        return loaded
    by_key, by_file = (_rank(loaded.origin(f"server.{name}")) for name in ("key", "key_file"))
    if by_key == by_file:
        where = f"{loaded.origin('server.key')}, {loaded.origin('server.key_file')}"
        raise SettingsError(f"server.key: is given, and server.key_file too: choose one ({where})")
    weaker = "key" if by_key < by_file else "key_file"
    kept = msgspec.structs.replace(loaded.settings, server=msgspec.structs.replace(server, **{weaker: ""}))
    return Loaded(kept, loaded.origins)


def check_key_place(loaded: Loaded[Settings]) -> None:
    """Settings that others may read are no place for a key. Raises SettingsError."""
    kind, _, path = loaded.origin("server.key").partition(" ")
    if loaded.settings.server.key and kind == "file" and too_open(Path(path).stat().st_mode):
        raise SettingsError(f"server.key: others can read or change {path}; run: chmod 600 {path}, or use key_file")


def _rank(origin: str) -> int:
    return ("file", "environment", "flag").index(origin.partition(" ")[0])


def find_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: the one that was named, else the first of the usual places that exists."""
    named = given or (Path(environ["PAWL_AGENT_CONFIG"]) if environ.get("PAWL_AGENT_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"{named}: no such settings file")
        return named
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    usual = (Path("agent.toml"), Path(home) / "pawl" / "agent.toml")
    return next((path for path in usual if path.is_file()), None)


def _check(loaded: Loaded[Settings]) -> None:
    """What a type cannot say."""
    settings = loaded.settings

    def refuse(key: str, message: str) -> None:
        raise SettingsError(f"{key}: {message} ({loaded.origin(key)})")

    names = [("agent.namespace", settings.agent.namespace), *(("agent.serves", name) for name in settings.agent.serves)]
    if settings.agent.name:
        names.append(("agent.name", settings.agent.name))
    for key, name in names:
        if not NAME.fullmatch(name) or _UUID.fullmatch(name):
            refuse(key, f"{name!r} must be 1 to 63 letters, digits, '.', '_' or '-', begin with one of the first two,"
                        " and be no UUID")  # fmt: skip
    if settings.logging.level.upper() not in {"DEBUG", "INFO", "WARN", "WARNING", "ERROR"}:
        refuse("logging.level", f"{settings.logging.level!r} is none of debug, info, warn, error")
    if settings.logging.format not in {"text", "json"}:
        refuse("logging.format", f"{settings.logging.format!r} is neither text nor json")
    try:
        task_user(settings.agent.task_user)
    except TaskUserError as error:
        refuse("agent.task_user", str(error))
    _check_each(settings, refuse)
    try:
        parse(settings.server.url)
    except ValueError as error:
        refuse("server.url", str(error))


def _check_resources(settings: Settings, refuse: Callable[[str, str], None]) -> None:
    if len(settings.resources) > MAX_RESOURCES:
        refuse("resources", f"has {len(settings.resources)} entries, at most {MAX_RESOURCES} are allowed")
    for name, count in settings.resources.items():
        if name == "slots":
            refuse("resources.slots", "slots are no resource; set agent.max_concurrent_tasks")
        if not NAME.fullmatch(name) or _UUID.fullmatch(name):
            refuse(f"resources.{name}", "must be named with 1 to 63 letters, digits, '.', '_' or '-', as agents are")
        text = str(count)
        if not (text.isascii() and text.isdecimal() and len(text) < 8 and int(text) <= MAX_UNITS):
            refuse(f"resources.{name}", f"must be 0 to {MAX_UNITS:,} units, not {text[:64]!r}")


def _check_each(settings: Settings, refuse: Callable[[str, str], None]) -> None:
    """The members of lists and maps."""
    for label in settings.labels:
        if label.startswith("sys_"):
            refuse(f"labels.{label}", "labels that begin with sys_ are set by the agent itself")
    _check_resources(settings, refuse)
    for name in settings.environment:
        if not name or "=" in name or "\0" in name:
            refuse(f"environment.{name}", "is no name of an environment variable")
    for name in settings.executors:
        if not NAME.fullmatch(name) or name in OURS:
            refuse(f"executors.{name}", "is no name for an executor" if name not in OURS else "is one of ours")
    for text in settings.plugins.trusted_keys:
        if (problem := _key_problem(text)) is not None:
            refuse("plugins.trusted_keys", f"{text!r}: {problem}")
    lists = {"http.private_hosts": settings.http.private_hosts}
    lists |= {f"http.secrets.{name}": hosts for name, hosts in settings.http.secrets.items()}
    for key, hosts in lists.items():
        for host in hosts:
            try:
                HostRule.of(host)
            except ValueError as error:
                refuse(key, str(error))


def _key_problem(text: str) -> str | None:
    from pawl.signatures import KeyInvalid, key_id  # cryptography: only where keys are used

    try:
        key_id(text)
    except KeyInvalid as error:
        return str(error)
    return None


def name_from_host(hostname: str) -> str:
    """A name that the rule allows, from whatever the machine is called."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", hostname).strip("._-")[:63] or "agent"
    return f"agent-{name}"[:63] if _UUID.fullmatch(name) else name
