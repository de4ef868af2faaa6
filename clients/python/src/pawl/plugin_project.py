"""A plugin's folder on its author's machine: made from a template, built into one module.

What a folder holds: the source, `build.sh` (compiles it to the file that it is told), `plugin.json` (the metadata) and
`tests/*.json` (cases). `build.sh` is the author's: any language that makes WebAssembly will do. JavaScript needs no
compiler: its engine is built already and gets the script written into it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from pawl.plugin_metadata import MetadataInvalid
from pawl.script_engine import ScriptTooLarge, with_script
from pawl.wasm import Module, ModuleRefused, validate, with_metadata

LANGUAGES: Final = ("c", "rust", "go", "assemblyscript", "zig", "javascript")
METADATA: Final = "plugin.json"
MODULE: Final = "plugin.wasm"
SCRIPT: Final = "plugin.js"
BUILD: Final = "build.sh"
CASES: Final = "tests"
_RAW: Final = "plugin.raw.wasm"
_TEMPLATES: Final = "plugin_templates"
_NO_TOOLCHAIN: Final = 127
_HIDDEN: Final = {"gitignore": ".gitignore"}
_NOT_COPIED: Final = frozenset({"engine.wasm", "engine.LICENSE", "__pycache__"})


class ProjectError(Exception):
    """What is wrong with a plugin's folder, in words for its author."""


class ToolchainMissing(ProjectError):
    """The compiler that the folder's build.sh needs is not there."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished module."""

    path: Path
    module: Module
    data: bytes


def create(folder: Path, language: str, name: str) -> list[Path]:
    """Make a plugin's folder; it must not hold anything yet. The files made, sorted. Raises ProjectError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is there already and not empty")
    words = {"name": name, "language": language}
    made: list[Path] = []
    try:
        for template in ("common", language):
            made += _copy(files("pawl").joinpath(_TEMPLATES, template), folder, words)
    except OSError as error:
        raise ProjectError(f"{folder} cannot be made: {error.strerror}") from error
    return sorted(made)


def _copy(source: Traversable, target: Path, words: Mapping[str, str]) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for one in source.iterdir():
        path = target / _HIDDEN.get(one.name, one.name)
        if one.name in _NOT_COPIED:
            continue
        if one.is_dir():
            made += _copy(one, path, words)
            continue
        text = one.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace("{{" + word + "}}", value)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
        made.append(path)
    return made


def metadata_of(folder: Path) -> Mapping[str, Any]:
    """What plugin.json says. Raises ProjectError."""
    path = folder / METADATA
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path}: no such file; `pawl plugin new {folder}` makes a plugin's folder") from None
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ProjectError(f"{path}: must be a JSON object")
    return found


def build(folder: Path, to: Path | None = None) -> Built:
    """Compile, put the metadata in, check. Raises ProjectError with what the compiler said."""
    metadata = metadata_of(folder)
    raw = _scripted(folder) if _is_script(folder, metadata) else _compiled(folder)
    try:
        data = with_metadata(raw, metadata)
        module = validate(data, None)
    except MetadataInvalid as error:
        raise ProjectError(f"{folder / METADATA}: {error}") from None
    except ModuleRefused as refused:
        raise ProjectError(f"Pawl does not take this module ({refused.reason.value}): {refused.message}") from None
    path = to or folder / MODULE
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ProjectError(f"cannot write {path}: {error.strerror}") from error
    return Built(path, module, data)


def _is_script(folder: Path, metadata: Mapping[str, Any]) -> bool:
    said = metadata.get("build")
    is_javascript = isinstance(said, dict) and said.get("language") == "javascript"
    return is_javascript and not (folder / BUILD).exists()


def _scripted(folder: Path) -> bytes:
    path = folder / SCRIPT
    try:
        script = path.read_bytes()
        script.decode()
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ProjectError(f"{path}: is not UTF-8") from None
    engine = files("pawl").joinpath(_TEMPLATES, "javascript", "engine.wasm").read_bytes()
    try:
        return with_script(engine, script)
    except ScriptTooLarge as error:
        raise ProjectError(f"{path}: {error}") from None


def _compiled(folder: Path) -> bytes:
    if not (folder / BUILD).is_file():
        raise ProjectError(f"{folder / BUILD}: no such file; it compiles the plugin to the file it is given as $1")
    raw = folder / _RAW
    raw.unlink(missing_ok=True)
    environment = {"PYTHON": sys.executable, **os.environ}
    try:
        command, nothing = ["sh", f"./{BUILD}", _RAW], subprocess.DEVNULL
        done = subprocess.run(command, cwd=folder, env=environment, stdin=nothing, capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if done.returncode == _NO_TOOLCHAIN:
            raise ToolchainMissing(said or f"{BUILD} found no compiler")
        if done.returncode != 0 or not raw.is_file():
            raise ProjectError(f"{BUILD} failed with {done.returncode}:\n{said or 'it said nothing'}")
        return raw.read_bytes()
    except OSError as error:
        raise ProjectError(f"{BUILD} cannot be run: {error}") from error
    finally:
        raw.unlink(missing_ok=True)
