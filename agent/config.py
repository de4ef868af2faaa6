"""The agent's settings: defaults, then agent.toml, then the environment, then flags; each value knows where it is from.

Read once at the start and frozen. A key that nobody knows is an error, wherever it stands: a setting that is silently
ignored is worse than one that is missing. Of the environment, `PAWL_AGENT_*` and `PAWL_EXECUTOR_*` are the agent's own
and checked like a file; `PAWL_SERVER_*` and `PAWL_LOGGING_*` are shared with other parts, so only the agent's keys are
taken from them.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from agent.executors.process import DEFAULT_PATH

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DEFAULT_PORT: Final = 8081
_TLS_SCHEMES: Final = frozenset({"https", "grpcs", "wss"})
_PLAIN_SCHEMES: Final = frozenset({"http", "grpc", "ws"})
OWN_SECTIONS: Final = frozenset({"agent", "executor", "labels", "environment"})
MAPS: Final = frozenset({"labels", "environment"})
LISTS: Final = frozenset({"agent.serves", "executor.enabled"})
"""Written with commas in the environment."""
ALIASES: Final[Mapping[str, str]] = {"agent.slots": "agent.max_concurrent_tasks"}
"""Second spellings of keys."""
ENVIRONMENT_ALIASES: Final = (("SERVER_URL", "server.url"), ("PAWL_SERVER", "server.url"))
"""Variables with names of their own, the weaker ones first; `PAWL_SERVER_URL` is stronger than both."""

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


class ExecutorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[executor]"""

    # Where the tasks' own folders are made. Empty: inside data_dir.
    work_dir: str = ""
    # Whether a task's folder is removed after its end.
    cleanup_enabled: bool = True
    # How often folders that could not be removed are tried again.
    cleanup_interval: Seconds = 3600.0
    # Which kinds of work it takes.
    enabled: tuple[Literal["process", "wasm"], ...] = ("process", "wasm")
    # PATH of processes that bring none.
    path: str = DEFAULT_PATH


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: where the control plane is."""

    # host:port of its gRPC; a scheme is accepted (ws://, http://, grpc:// plain; wss://, https://, grpcs:// with TLS).
    url: str = f"localhost:{DEFAULT_PORT}"


class LoggingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[logging]: what the agent says of itself, on stderr."""

    # debug, info, warning, error.
    level: str = "info"
    # text or json.
    format: str = "text"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    agent: AgentSection = AgentSection()
    executor: ExecutorSection = ExecutorSection()
    server: ServerSection = ServerSection()
    logging: LoggingSection = LoggingSection()
    # What the agent can be chosen by, beside the `sys_*` that it sets itself.
    labels: dict[str, str] = {}
    # The lowest layer of every process's environment.
    environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The agent's name, made from the machine's where none is set."""
        return self.agent.name or name_from_host(socket.gethostname())

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
    def address(self) -> Address:
        """Where the control plane is."""
        return address_of(self.server.url)


@dataclass(frozen=True, slots=True)
class Address:
    """A gRPC target."""

    target: str
    tls: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each key the place that decided it."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Key, value and origin of every setting, for `config show`."""
        for section, values in msgspec.to_builtins(self.settings).items():
            for key, value in values.items():
                yield f"{section}.{key}", value, self.origins.get(f"{section}.{key}", "default")


class ConfigError(Exception):
    """A setting is unknown or wrong; the message names it and says where it came from."""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Put the layers together. `flags` has dotted keys (`agent.name`); those that are None were not given."""
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for key, value, origin in (*_of_file(file), *_of_environment(environ), *_of_flags(flags)):
        known = _known(key, origin)
        values[known], origins[known] = value, origin
    tree: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        raise ConfigError(f"{key}: {message} ({origins.get(key, 'default')})") from None
    _check(settings, origins)
    return Loaded(settings, origins)


def find_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: the one that was named, else the first of the usual places that exists."""
    named = given or (Path(environ["PAWL_AGENT_CONFIG"]) if environ.get("PAWL_AGENT_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named}: no such settings file")
        return named
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    usual = (Path("agent.toml"), Path(home) / "pawl" / "agent.toml")
    return next((path for path in usual if path.is_file()), None)


def _of_file(file: Path | None) -> Iterator[tuple[str, object, str]]:
    if file is None:
        return
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    for section, values in tree.items():
        if section not in Settings.__struct_fields__:
            raise ConfigError(f"{file}: unknown section [{section}]; known are {_list(Settings.__struct_fields__)}")
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: {section} must be a section: [{section}]")
        for key, value in values.items():
            yield f"{section}.{key}", value, f"file {file}"


def _of_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    for variable, key in ENVIRONMENT_ALIASES:
        if environ.get(variable):
            yield key, environ[variable], f"environment {variable}"
    for variable, value in sorted(environ.items()):
        prefix, _, rest = variable.partition("_")
        section, _, key = rest.partition("_")
        section = section.lower()
        if prefix != "PAWL" or not key or section not in Settings.__struct_fields__ or variable == "PAWL_AGENT_CONFIG":
            continue
        # Variables of processes keep their case, everything else is lower case as in the file.
        key = key if section == "environment" else key.lower()
        if section in OWN_SECTIONS or f"{section}.{key}" in KNOWN:
            listed: object = value
            if f"{section}.{key}" in LISTS:
                listed = [part.strip() for part in value.split(",") if part.strip()]
            yield f"{section}.{key}", listed, f"environment {variable}"


def _of_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for key, value in flags.items():
        if value is not None:
            yield key, value, "flag"


def _known(key: str, origin: str) -> str:
    key = ALIASES.get(key, key)
    section = key.partition(".")[0]
    if section not in MAPS and key not in KNOWN:
        known = _list(name.partition(".")[2] for name in KNOWN if name.startswith(f"{section}."))
        raise ConfigError(f"{key}: unknown setting ({origin}); [{section}] has {known}")
    return key


def _check(settings: Settings, origins: Mapping[str, str]) -> None:
    """What a type cannot say."""

    def refuse(key: str, message: str) -> None:
        raise ConfigError(f"{key}: {message} ({origins.get(key, 'default')})")

    names = [("agent.namespace", settings.agent.namespace), *(("agent.serves", name) for name in settings.agent.serves)]
    if settings.agent.name:
        names.append(("agent.name", settings.agent.name))
    for key, name in names:
        if not NAME.fullmatch(name) or _UUID.fullmatch(name):
            refuse(key, f"{name!r} must be 1 to 63 letters, digits, '.', '_' or '-', begin with one of the first two,"
                        " and be no UUID")  # fmt: skip
    if settings.logging.level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        refuse("logging.level", f"{settings.logging.level!r} is none of debug, info, warning, error")
    if settings.logging.format not in {"text", "json"}:
        refuse("logging.format", f"{settings.logging.format!r} is neither text nor json")
    for label in settings.labels:
        if label.startswith("sys_"):
            refuse(f"labels.{label}", "labels that begin with sys_ are set by the agent itself")
    for name in settings.environment:
        if not name or "=" in name or "\0" in name:
            refuse(f"environment.{name}", "is no name of an environment variable")
    try:
        address_of(settings.server.url)
    except ValueError as error:
        refuse("server.url", str(error))


def address_of(url: str) -> Address:
    """Read `host`, `host:port` or a URL with one of the schemes that people write."""
    text = url.strip()
    if "://" not in text:
        text = f"grpc://{text}"
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in _TLS_SCHEMES | _PLAIN_SCHEMES:
        raise ValueError(f"{url!r}: the scheme {scheme!r} is none of {_list(_PLAIN_SCHEMES | _TLS_SCHEMES)}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from None
    if not host:
        raise ValueError(f"{url!r} names no host; write host:{DEFAULT_PORT}")
    shown = f"[{host}]" if ":" in host else host
    return Address(f"{shown}:{port or DEFAULT_PORT}", scheme in _TLS_SCHEMES)


def name_from_host(hostname: str) -> str:
    """A name that the rule allows, from whatever the machine is called."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", hostname).strip("._-")[:63] or "agent"
    return f"agent-{name}"[:63] if _UUID.fullmatch(name) else name


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _keys() -> Iterator[str]:
    for section, values in msgspec.to_builtins(Settings()).items():
        if section not in MAPS:
            for key in values:
                yield f"{section}.{key}"


KNOWN: Final = frozenset(_keys())
"""Every key but those of the maps."""
