"""`pawl plugin new|build|test|keygen`: what a plugin's author does on their own machine. Needs no control plane."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pawl.cli.exits import Exits
from pawl.cli.session import OutputOption, QuietOption, Session, fail
from pawl.cli.values import pairs, text_or_file

if TYPE_CHECKING:
    from pawl.plugin_case import Case, Observed, Runner
    from pawl.plugin_project import Built

RUNNER: Final = "pawl.plugins"
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The plugin's folder.")]
_CASES_SHOWN: Final = 4000


def add(app: typer.Typer) -> None:
    """Put the commands into `pawl plugin`."""
    app.command("new")(new)
    app.command("build")(build)
    app.command("test")(run_here)
    app.command("keygen")(keygen)


def new(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made here.", show_default=False)],
    language: Annotated[
        str, typer.Option("--language", "-l", help="c, rust, go, assemblyscript, zig or javascript.")
    ] = "javascript",
    name: Annotated[str, typer.Option(help="The plugin's name; else the folder's.")] = "",
) -> None:
    """Make a plugin's folder: source, build.sh, plugin.json and two test cases."""
    from pawl.plugin_metadata import MetadataInvalid, encode_metadata
    from pawl.plugin_project import LANGUAGES, ProjectError, create

    session = Session.of(context)
    if language not in LANGUAGES:
        raise typer.BadParameter(f"{language!r} is none of {', '.join(LANGUAGES)}", param_hint="--language")
    called = name or folder.absolute().name
    try:
        encode_metadata({"abi": 1, "name": called, "version": "0.1.0"})
        made = create(folder, language, called)
    except MetadataInvalid as error:
        raise typer.BadParameter(f"{error}; give it with --name", param_hint="--name") from None
    except ProjectError as error:
        raise fail(session, str(error), Exits.CONFLICT) from None
    for path in made:
        typer.echo(path)
    session.note(f"next: pawl plugin build {folder} && pawl plugin test {folder}")


def build(
    context: typer.Context,
    folder: Folder = Path("."),
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Else DIR/plugin.wasm.")] = None,
) -> None:
    """Compile a plugin, put its metadata in and check it as the server would."""
    session = Session.of(context)
    built = _built(session, folder, to)
    import hashlib

    typer.echo(hashlib.sha256(built.data).hexdigest())
    session.note(f"{built.path}: {len(built.data):,} bytes, entries: {', '.join(built.module.entries)}")


def _built(session: Session, folder: Path, to: Path | None) -> Built:
    from pawl.plugin_project import ProjectError, ToolchainMissing
    from pawl.plugin_project import build as build_project

    try:
        return build_project(folder, to)
    except ToolchainMissing as missing:
        raise fail(session, f"{missing}", Exits.NOT_FOUND) from None
    except ProjectError as error:
        raise fail(session, str(error), Exits.USAGE) from None


def run_here(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A plugin's folder, or a .wasm file.")] = Path("."),
    case: Annotated[list[Path] | None, typer.Option("--case", metavar="FILE", help="Else DIR/tests/*.json.")] = None,
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON", help="Run once with these; @FILE reads a file.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="The same with text; @FILE reads a file.")] = None,
    config: Annotated[list[str] | None, typer.Option("--config", metavar="NAME=VALUE", help="Of that one run.")] = None,
    output: OutputOption = None,
    quiet: QuietOption = None,
) -> None:
    """Run a plugin here as an agent would, on its test cases or on parameters; nothing real is reached.

    A folder is run as it was built last.
    """
    from pawl.plugin_case import CaseInvalid

    session = Session.of(context)
    session.take({"output": output, "quiet": quiet})
    module = _module(session, path)
    try:
        if parameters is not None or text is not None:
            _run_once(session, module, _case_of(parameters, text, config))
        else:
            _run_cases(session, module, case or _cases_of(session, path))
    except CaseInvalid as error:
        raise fail(session, str(error), Exits.USAGE) from None


def _module(session: Session, path: Path) -> bytes:
    from pawl.plugin_project import MODULE

    file = path / MODULE if path.is_dir() else path
    try:
        return file.read_bytes()
    except FileNotFoundError:
        advice = f"; build it: pawl plugin build {path}" if path.is_dir() else ""
        raise fail(session, f"{file}: no such file{advice}", Exits.NOT_FOUND) from None
    except OSError as error:
        raise fail(session, f"{file}: {error.strerror}", Exits.USAGE) from None


def _cases_of(session: Session, path: Path) -> list[Path]:
    from pawl.plugin_project import CASES

    folder = (path if path.is_dir() else path.parent) / CASES
    found = sorted(folder.glob("*.json"))
    if not found:
        message = f"no cases in {folder}; give --case FILE, or --parameters JSON to run it once"
        raise fail(session, message, Exits.NOT_FOUND)
    return found


def _case_of(parameters: str | None, text: str | None, config: Sequence[str] | None) -> Case:
    import msgspec

    from pawl.plugin_case import CaseInvalid, parse

    given: dict[str, Any] = {"config": pairs(config, "--config")}
    try:
        if parameters is not None:
            given["parameters"] = msgspec.Raw(text_or_file(parameters))
            msgspec.json.decode(given["parameters"])
        if text is not None:
            given["text"] = text_or_file(text).decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CaseInvalid(f"--parameters: not JSON: {error}") from None
    return parse(msgspec.json.encode(given))


def _run_once(session: Session, module: bytes, case: Case) -> None:
    [seen] = _seen(session, module, [case])
    sys.stderr.write(seen.log)
    if seen.error is not None:
        hint = ", may be retried" if seen.error.retryable else ""
        raise fail(session, f"{seen.error.code}: {seen.error.message}{hint}", Exits.TASK_FAILED)
    sys.stdout.flush()
    sys.stdout.buffer.write(seen.output or b"")
    if seen.output and sys.stdout.isatty():
        sys.stdout.write("\n")
    session.note(f"{seen.seconds * 1000:.0f} ms, {seen.peak_memory_bytes >> 20} MiB")


def _run_cases(session: Session, module: bytes, files: Sequence[Path]) -> None:
    from pawl.cli import show
    from pawl.plugin_case import differences, read

    cases = [read(path) for path in files]
    seen = _seen(session, module, cases)
    results = [
        {"case": path.stem, "seconds": round(one.seconds, 3), "differences": list(differences(case.expect, one))}
        for path, case, one in zip(files, cases, seen, strict=True)
    ]
    failed = sum(1 for result in results if result["differences"])
    if session.table:
        for result, one in zip(results, seen, strict=True):
            _tell(result, one)
        typer.echo(f"{len(results) - failed} passed, {failed} failed")
    else:
        show.structured(session, {"passed": len(results) - failed, "failed": failed, "cases": results})
    if failed:
        raise typer.Exit(Exits.TASK_FAILED)


def _tell(result: dict[str, Any], seen: Observed) -> None:
    differs = result["differences"]
    typer.echo(f"{'FAILED' if differs else 'ok    '} {result['case']} ({seen.seconds * 1000:.0f} ms)")
    for line in differs:
        typer.echo(f"    {line}")
    if differs and seen.log:
        typer.echo(
            "    its log:\n" + "".join(f"      {line}\n" for line in seen.log[-_CASES_SHOWN:].splitlines()), nl=False
        )


def _seen(session: Session, module: bytes, cases: Sequence[Case]) -> Sequence[Observed]:
    from pawl.wasm import ModuleRefused

    runner = _runner(session)
    try:
        return runner(module, cases)
    except ModuleRefused as refused:
        message = f"Pawl does not take this module ({refused.reason.value}): {refused.message}"
        raise fail(session, message, Exits.USAGE) from None
    except RuntimeError as error:
        raise fail(session, f"plugins cannot run here: {error}", Exits.UNAVAILABLE) from None


def _runner(session: Session) -> Runner:
    for point in entry_points(group=RUNNER):
        if point.name == "run":
            runner: Runner = point.load()
            return runner
    message = "running a plugin here needs the engine: pip install pawl-engine"
    raise fail(session, message, Exits.UNAVAILABLE)


def keygen(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made here, mode 600.", show_default=False)],
) -> None:
    """Make a key to sign plugins with; prints the public key, which agents can be told to trust."""
    session = Session.of(context)
    signatures = signing(session)
    private = signatures.new_private_key()
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(private)
    except FileExistsError:
        raise fail(session, f"{file} is there already; a key is never written over", Exits.CONFLICT) from None
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror}", param_hint="FILE") from None
    typer.echo(signatures.public_key_of(private))
    session.note(f"{file}: keep it secret; its public half goes into plugins.trusted_keys of agents")


def signing(session: Session) -> Any:
    """The module that signs, where its library is installed."""
    try:
        from pawl import signatures
    except ImportError:
        message = "signing needs the package cryptography: pip install 'pawl-sdk[sign]'"
        raise fail(session, message, Exits.UNAVAILABLE) from None
    return signatures
