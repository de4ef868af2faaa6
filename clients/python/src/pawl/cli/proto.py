"""`pawl proto`: the contract as files, for anyone's own generator. Needs no control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="The contract, for your own generator.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def proto() -> None:
    """The contract, for your own generator."""


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.", show_default=False)],
) -> None:
    """Write Pawl's proto files, and those they import, into a folder: the include path of a generator."""
    from pawl.contract import files

    written = 0
    for name, text in files():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        except OSError as error:
            raise typer.BadParameter(f"cannot write {target}: {error.strerror}", param_hint="DIR") from None
        written += 1
    typer.echo(f"{folder}: {written} files", err=True)
