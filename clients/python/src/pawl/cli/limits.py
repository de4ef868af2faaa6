"""What a run may use, as options of `pawl job create` and `update`, and how a job's limits are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pawl.v1.job_pb2 import JobConfig

Memory = Annotated[int | None, typer.Option("--max-memory-mb", metavar="MIB", help="More memory ends the run.")]
Cpu = Annotated[
    float | None,
    typer.Option(
        "--max-cpu-percent", metavar="SHARE", help="Of the processor: 0.5 or 50 is half a core, 150 one and a half."
    ),
]
ExecutionTime = Annotated[
    float | None,
    typer.Option("--max-execution-time", metavar="SECONDS", help="As --timeout, also for tasks that bring their own."),
]
OutputSize = Annotated[
    int | None,
    typer.Option("--max-output-size", metavar="BYTES", help="Of more, both ends are kept."),
]
Processes = Annotated[
    int | None, typer.Option("--max-processes", metavar="N", help="More processes and threads end the run.")
]
OpenFiles = Annotated[int | None, typer.Option("--max-open-files", metavar="N", help="That each process may have.")]

_PATH = "config.resource_limits"


def values(
    memory: int | None,
    cpu: float | None,
    execution_time: float | None,
    output_size: int | None,
    processes: int | None,
    open_files: int | None,
) -> dict[str, object]:
    """The options as fields of a job."""
    return {
        f"{_PATH}.max_memory_mb": memory,
        f"{_PATH}.max_cpu_percent": cpu,
        f"{_PATH}.max_execution_time_secs": execution_time,
        f"{_PATH}.max_output_size_bytes": output_size,
        f"{_PATH}.max_processes": processes,
        f"{_PATH}.max_open_files": open_files,
    }


def doubt(percent: float | None) -> str:
    """A word about a share that may have been meant otherwise; mostly empty."""
    if percent is None or not 1 < percent < 5:
        return ""
    return f"--max-cpu-percent {percent:g} is {percent:g} % of one core; {percent:g} cores are {percent * 100:g}"


def shown(config: JobConfig) -> str | None:
    """A job's limits in a line."""
    limits = config.resource_limits
    if not config.HasField("resource_limits"):
        return None
    words = []
    if limits.HasField("max_memory_mb"):
        words.append(f"{limits.max_memory_mb} MiB")
    if limits.HasField("max_cpu_percent"):
        percent = limits.max_cpu_percent
        words.append(f"{percent if percent <= 1 else percent / 100:g} cores")
    if limits.HasField("max_execution_time_secs"):
        words.append(f"{limits.max_execution_time_secs:g} s")
    if limits.HasField("max_output_size_bytes"):
        words.append(f"{limits.max_output_size_bytes} bytes of output")
    if limits.HasField("max_processes"):
        words.append(f"{limits.max_processes} processes")
    if limits.HasField("max_open_files"):
        words.append(f"{limits.max_open_files} open files")
    return ", ".join(words)
