"""Settings in layers: defaults, then a TOML file, then the environment, then flags; each value knows where it is from.

One reader for every program of Pawl; what the settings are stands with each program. Read once at the start and
frozen. A key that nobody knows is an error, wherever it stands: a setting that is silently ignored is worse than one
that is missing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

# Greedy up to the last @ of the authority: a password may hold one.
_USER_PASSWORD: Final = re.compile(r"(?<=://)([^/?#@:]*:)[^/?#]*(?=@)")
_PASSWORD_PARAMETER: Final = re.compile(r"((?:password|sslpassword|token)=)[^&#]*", re.IGNORECASE)
# Keys whose values are nobody's business, whatever they look like.
_SECRETS: Final = frozenset({"key", "password", "secret", "token"})
# What Kubernetes sets in every container for a Service named pawl-server or pawl-agent: no settings of ours.
_SERVICE_LINK: Final = re.compile(r"(?:PORT|SERVICE)_[A-Z0-9_]+|PORT")


class SettingsError(Exception):
    """A setting is unknown or wrong; the message names it and says where it came from."""


@dataclass(frozen=True)
class Scheme(Generic[S]):
    """What a program can be told: a struct of structs (the sections), and how its keys are spelt elsewhere."""

    type: type[S]
    # Sections whose keys are free, such as labels.
    maps: frozenset[str] = frozenset()
    # Keys whose values are written with commas in the environment.
    lists: frozenset[str] = frozenset()
    # Second spellings of keys.
    aliases: Mapping[str, str] = field(default_factory=dict)
    # Variables with names of their own, the weaker ones first; PAWL_<SECTION>_<KEY> is stronger than all of them.
    variables: tuple[tuple[str, str], ...] = ()
    # Sections that no other program reads: an unknown PAWL_<SECTION>_... of these is an error.
    own_sections: frozenset[str] = frozenset()
    # Variables that look like settings and are none.
    not_settings: frozenset[str] = frozenset()

    @cached_property
    def known(self) -> frozenset[str]:
        """Every key but those of the maps."""
        sections = msgspec.to_builtins(self.type())
        return frozenset(f"{name}.{key}" for name, keys in sections.items() if name not in self.maps for key in keys)


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """Settings, and for each key the place that decided it."""

    settings: S
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Key, value and origin of every setting, for `config show`: what people paste into tickets, so no secret."""
        for section, values in msgspec.to_builtins(self.settings).items():
            for key, value in values.items():
                shown = without_password(value) if isinstance(value, str) else value
                if key in _SECRETS and value:
                    shown = "***"
                yield f"{section}.{key}", shown, self.origin(f"{section}.{key}")

    def origin(self, key: str) -> str:
        """Which place decided this key."""
        return self.origins.get(key, "default")


def without_password(text: str) -> str:
    """A URL as it may be shown; any other text as it is."""
    if "://" not in text:
        return text
    hidden = _USER_PASSWORD.sub(r"\1***", text)
    return _PASSWORD_PARAMETER.sub(r"\1***", hidden)


def load(scheme: Scheme[S], file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded[S]:
    """Put the layers together. `flags` has dotted keys (`agent.name`); those that are None were not given.

    Raises SettingsError.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    layers = (*_of_file(scheme, file), *_of_environment(scheme, environ), *_of_flags(flags))
    spelt: dict[tuple[str, str], str] = {}
    for key, value, origin in layers:
        known = _known(scheme, key, origin)
        # Only within a file: each variable and each flag is an origin of its own, and those have an order.
        if spelt.setdefault((known, origin), key) != key:
            raise SettingsError(f"{known}: is given twice, as {spelt[known, origin]} and as {key} ({origin})")
        values[known], origins[known] = value, origin
    tree: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
    try:
        settings = msgspec.convert(tree, scheme.type, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        raise SettingsError(f"{key}: {message} ({origins.get(key, 'default')})") from None
    return Loaded(settings, origins)


def _of_file(scheme: Scheme[Any], file: Path | None) -> Iterator[tuple[str, object, str]]:
    if file is None:
        return
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    sections = scheme.type.__struct_fields__
    for section, values in tree.items():
        if section not in sections:
            raise SettingsError(f"{file}: unknown section [{section}]; known are {_list(sections)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: {section} must be a section: [{section}]")
        for key, value in values.items():
            yield f"{section}.{key}", value, f"file {file}"


def _of_environment(scheme: Scheme[Any], environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    for variable, key in scheme.variables:
        if environ.get(variable):
            yield key, environ[variable], f"environment {variable}"
    named = {variable for variable, _ in scheme.variables} | scheme.not_settings
    for variable, value in sorted(environ.items()):
        prefix, _, rest = variable.partition("_")
        section, _, key = rest.partition("_")
        section = section.lower()
        if prefix != "PAWL" or not key or section not in scheme.type.__struct_fields__ or variable in named:
            continue
        if _SERVICE_LINK.fullmatch(key) and section not in scheme.maps:
            continue
        # Variables of processes keep their case, everything else is lower case as in the file.
        key = f"{section}.{key if section in scheme.maps else key.lower()}"
        if section in scheme.own_sections or key in scheme.known:
            is_list = scheme.aliases.get(key, key) in scheme.lists
            words: object = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
            yield key, words, f"environment {variable}"


def _of_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for key, value in flags.items():
        if value is not None:
            yield key, value, "flag"


def _known(scheme: Scheme[Any], key: str, origin: str) -> str:
    key = scheme.aliases.get(key, key)
    section = key.partition(".")[0]
    if section not in scheme.maps and key not in scheme.known:
        known = _list(name.partition(".")[2] for name in scheme.known if name.startswith(f"{section}."))
        raise SettingsError(f"{key}: unknown setting ({origin}); [{section}] has {known}")
    return key


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
