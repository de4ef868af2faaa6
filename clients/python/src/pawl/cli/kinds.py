"""Functions of workers and executors that agents add, as options of `pawl job create` and `update`, and as shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli.values import json_payload

if TYPE_CHECKING:
    from pawl.v1.job_pb2 import JobConfig

Function = Annotated[
    str | None, typer.Option("--function", metavar="WORKFLOW.TASK", help="function: which one of a worker's.")
]
Options = Annotated[
    str | None,
    typer.Option("--options", metavar="JSON|@FILE", help="The settings of an --executor that agents have added."),
]


def values(function: str | None, options: str | None) -> dict[str, object]:
    """The options as fields of a job."""
    return {
        "config.function.name": function,
        "config.options": None if options is None else json_payload(options, "--options"),
    }


def shown(config: JobConfig) -> str | None:
    """What a job of such a kind runs; None for the others."""
    if config.executor == "function":
        return f"function {config.function.name}"
    if config.executor in ("", "process", "wasm", "http"):
        return None
    return f"{config.executor} {config.options.data.decode('utf-8', 'replace')}".rstrip()
