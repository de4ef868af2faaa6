"""`pawl job`: define what can be run, and run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pawl.cli import deadlines, kinds, limits, options, placement
from pawl.cli.session import RemoteCommand, Session
from pawl.cli.values import json_payload, moment, pairs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pawl.client import BlockingClient
    from pawl.v1.job_pb2 import Job, JobConfig
    from pawl.v1.task_pb2 import Task

app = typer.Typer(
    help="Define what can be run, and run it.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Key = Annotated[str, typer.Argument(metavar="JOB", help="Name or id.", show_default=False)]
Program = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- PROGRAM ARG...", help="What a process runs, after two dashes.", show_default=False),
]
Description = Annotated[str | None, typer.Option(help="For people.")]
Executor = Annotated[
    str | None,
    typer.Option(help="process, wasm, http, function, or one that agents add; mostly follows."),
]
Cwd = Annotated[str | None, typer.Option(help="Working folder; else one of its own for each attempt.")]
Env = options.EnvOption
Label = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Label an agent must have; repeat it.")
]
Plugin = Annotated[str | None, typer.Option(help="wasm: the plugin: name, name@version or digest.")]
EntryPoint = Annotated[str | None, typer.Option("--entry", help="wasm: the function that is called.")]
PluginConfig = Annotated[
    list[str] | None, typer.Option("--config", metavar="NAME=VALUE", help="wasm: what the plugin reads; repeat it.")
]
Url = Annotated[str | None, typer.Option(help="http: what is called, with the parameters as its body.")]
Method = Annotated[str | None, typer.Option(help="http: GET, HEAD, POST (default), PUT, PATCH, DELETE or OPTIONS.")]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME=VALUE", help="http: a header; ${secret:NAME} is a secret; repeat it."),
]
Seconds = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="An attempt may run so long.")]
Retries = Annotated[int | None, typer.Option(min=0, help="How often a failed attempt is tried again.")]
Interval = Annotated[float | None, typer.Option(metavar="SECONDS", help="Between an attempt's end and the next.")]
Backoff = Annotated[str | None, typer.Option(metavar="HOW", help="How the waits grow: fixed, linear or exponential.")]
MaxInterval = Annotated[float | None, typer.Option(metavar="SECONDS", help="Beyond this no wait grows.")]
Jitter = Annotated[float | None, typer.Option(metavar="SHARE", help="What chance may take off a wait, 0 to 1.")]
MaxElapsed = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="No attempt begins later after the first one's start.")
]
RetryOn = Annotated[
    list[str] | None,
    typer.Option("--retry-on", metavar="CODE", help="Only such failures, as EXIT_75 or 'SIGNAL_*'; repeat it."),
]
FailOn = Annotated[
    list[str] | None, typer.Option("--fail-on", metavar="CODE", help="Never such failures, as TIMEOUT; repeat it.")
]
Grace = Annotated[float | None, typer.Option("--grace", metavar="SECONDS", help="Between TERM and KILL.")]
OutputType = Annotated[
    str | None, typer.Option("--output-type", metavar="TYPE", help="What its output is, as application/json.")
]
KeepArtifacts = Annotated[
    bool | None, typer.Option("--artifacts/--no-artifacts", help="Keep files that it leaves in PAWL_ARTIFACTS_DIR.")
]
Priority = Annotated[int | None, typer.Option(min=0, max=1000, help="0 to 1000, higher first.")]


@app.command("create", cls=RemoteCommand)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name for it.", show_default=False)],
    program: Program = None,
    description: Description = None,
    executor: Executor = None,
    cwd: Cwd = None,
    env: Env = None,
    label: Label = None,
    plugin: Plugin = None,
    entry: EntryPoint = None,
    config: PluginConfig = None,
    url: Url = None,
    method: Method = None,
    header: Header = None,
    function: kinds.Function = None,
    options_json: kinds.Options = None,
    timeout: Seconds = None,
    max_retries: Retries = None,
    retry_interval: Interval = None,
    retry_backoff: Backoff = None,
    retry_max_interval: MaxInterval = None,
    retry_jitter: Jitter = None,
    retry_max_elapsed: MaxElapsed = None,
    retry_on: RetryOn = None,
    fail_on: FailOn = None,
    grace: Grace = None,
    output_type: OutputType = None,
    artifacts: KeepArtifacts = None,
    priority: Priority = None,
    require: placement.Require = None,
    prefer: placement.Prefer = None,
    strategy: placement.Strategy = None,
    sticky_key: placement.StickyKey = None,
    agent: placement.Agents = None,
    slots: placement.Slots = None,
    resource: placement.Resources = None,
    max_running: placement.MaxRunning = None,
    max_memory_mb: limits.Memory = None,
    max_cpu_percent: limits.Cpu = None,
    max_execution_time: limits.ExecutionTime = None,
    max_output_size: limits.OutputSize = None,
    max_processes: limits.Processes = None,
    max_open_files: limits.OpenFiles = None,
    schedule_to_start_timeout: deadlines.Start = None,
    total_timeout: deadlines.Total = None,
    heartbeat_timeout: deadlines.Silence = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Make no tasks yet.")] = False,
) -> None:
    """Create a job: pawl job create hello -- echo hello"""
    session = Session.of(context)
    job, _ = _described(
        name, program, description, executor, cwd, env, label, plugin, entry, config, url, method, header,
        timeout, max_retries,
        retry_interval, retry_backoff, retry_max_interval, retry_jitter, retry_max_elapsed, retry_on, fail_on,
        grace, output_type, artifacts, priority,
        limits.values(
            max_memory_mb, max_cpu_percent, max_execution_time, max_output_size, max_processes, max_open_files
        ) | placement.values(require, prefer, strategy, sticky_key, agent, slots, resource, max_running)
        | kinds.values(function, options_json)
        | deadlines.values(schedule_to_start_timeout, total_timeout, heartbeat_timeout),
    )  # fmt: skip
    if doubt := limits.doubt(max_cpu_percent):
        session.note(doubt)
    if not any((program, plugin, url, function, executor)):
        words = "say what to run: `-- PROGRAM ARG...`, --plugin, --url, --function or --executor"
        raise typer.BadParameter(words, param_hint="PROGRAM")
    if disabled:
        job.enabled = False
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.jobs.create(job)), "created")


@app.command("update", cls=RemoteCommand)
def update(
    context: typer.Context,
    key: Key,
    program: Program = None,
    description: Description = None,
    executor: Executor = None,
    cwd: Cwd = None,
    env: Env = None,
    label: Label = None,
    plugin: Plugin = None,
    entry: EntryPoint = None,
    config: PluginConfig = None,
    url: Url = None,
    method: Method = None,
    header: Header = None,
    function: kinds.Function = None,
    options_json: kinds.Options = None,
    timeout: Seconds = None,
    max_retries: Retries = None,
    retry_interval: Interval = None,
    retry_backoff: Backoff = None,
    retry_max_interval: MaxInterval = None,
    retry_jitter: Jitter = None,
    retry_max_elapsed: MaxElapsed = None,
    retry_on: RetryOn = None,
    fail_on: FailOn = None,
    grace: Grace = None,
    output_type: OutputType = None,
    artifacts: KeepArtifacts = None,
    priority: Priority = None,
    require: placement.Require = None,
    prefer: placement.Prefer = None,
    strategy: placement.Strategy = None,
    sticky_key: placement.StickyKey = None,
    agent: placement.Agents = None,
    slots: placement.Slots = None,
    resource: placement.Resources = None,
    max_running: placement.MaxRunning = None,
    max_memory_mb: limits.Memory = None,
    max_cpu_percent: limits.Cpu = None,
    max_execution_time: limits.ExecutionTime = None,
    max_output_size: limits.OutputSize = None,
    max_processes: limits.Processes = None,
    max_open_files: limits.OpenFiles = None,
    schedule_to_start_timeout: deadlines.Start = None,
    total_timeout: deadlines.Total = None,
    heartbeat_timeout: deadlines.Silence = None,
    new_name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
) -> None:
    """Change what is given, leave the rest. Options that can be repeated replace all that was there."""
    session = Session.of(context)
    job, mask = _described(
        new_name, program, description, executor, cwd, env, label, plugin, entry, config, url, method, header,
        timeout, max_retries,
        retry_interval, retry_backoff, retry_max_interval, retry_jitter, retry_max_elapsed, retry_on, fail_on,
        grace, output_type, artifacts, priority,
        limits.values(
            max_memory_mb, max_cpu_percent, max_execution_time, max_output_size, max_processes, max_open_files
        ) | placement.values(require, prefer, strategy, sticky_key, agent, slots, resource, max_running)
        | kinds.values(function, options_json)
        | deadlines.values(schedule_to_start_timeout, total_timeout, heartbeat_timeout),
    )  # fmt: skip
    if doubt := limits.doubt(max_cpu_percent):
        session.note(doubt)
    if not mask:
        raise typer.BadParameter("nothing to change: give at least one option")
    with session.client() as pawl:
        if new_name is None:
            job.id = key
        else:
            job.id = pawl.call(lambda client: client.jobs.get(key)).id
        _told(session, pawl.call(lambda client: client.jobs.update(job, mask)), "updated")


def _described(
    name: str | None, program: list[str] | None, description: str | None, executor: str | None, cwd: str | None,
    env: list[str] | None, label: list[str] | None, plugin: str | None, entry: str | None, config: list[str] | None,
    url: str | None, method: str | None, header: list[str] | None,
    timeout: float | None, max_retries: int | None, retry_interval: float | None, retry_backoff: str | None,
    retry_max_interval: float | None, retry_jitter: float | None, retry_max_elapsed: float | None,
    retry_on: list[str] | None, fail_on: list[str] | None, grace: float | None,
    output_type: str | None, artifacts: bool | None, priority: int | None, more: dict[str, object],
) -> tuple[Job, list[str]]:  # fmt: skip
    """The job that the options describe, and which of its fields they speak of."""
    from pawl.v1.job_pb2 import Job

    job = Job()
    values: dict[str, object] = {
        "name": name,
        "description": description,
        "environment": pairs(env, "--env") if env else None,
        "config.executor": executor or _kind(plugin, url, more),
        "config.cmd": program[0] if program else None,
        "config.args": program[1:] if program else None,
        "config.cwd": cwd,
        "config.labels": pairs(label, "--label") if label else None,
        "config.wasm.plugin": plugin,
        "config.wasm.entry": entry,
        "config.wasm.config": pairs(config, "--config") if config else None,
        "config.http.url": url,
        "config.http.method": method,
        "config.http.headers": pairs(header, "--header") if header else None,
        "config.timeout": timeout,
        "config.max_retries": max_retries,
        "config.retry_interval": retry_interval,
        "config.retry.backoff": None if retry_backoff is None else _backoff(retry_backoff),
        "config.retry.max_interval_seconds": retry_max_interval,
        "config.retry.jitter": retry_jitter,
        "config.retry.max_elapsed_seconds": retry_max_elapsed,
        "config.retry.retry_on": retry_on or None,
        "config.retry.fail_on": fail_on or None,
        "config.grace_seconds": grace,
        "config.output_content_type": output_type,
        "config.artifacts": artifacts,
        "config.priority": priority,
        **more,
    }
    mask = [path for path, value in values.items() if value is not None]
    for path in mask:
        _put(job, path, values[path])
    return job, mask


def _kind(plugin: str | None, url: str | None, more: dict[str, object]) -> str | None:
    """The executor that follows from what is to be run."""
    return "wasm" if plugin else "http" if url else "function" if more.get("config.function.name") else None


def _backoff(word: str) -> int:
    from pawl.v1.job_pb2 import RetryRules

    if word.upper() not in ("FIXED", "LINEAR", "EXPONENTIAL"):
        raise typer.BadParameter(f"{word!r} is not fixed, linear or exponential", param_hint="--retry-backoff")
    return RetryRules.Backoff.Value(word.upper())


def _put(message: object, path: str, value: object) -> None:
    from google.protobuf.message import Message

    *parents, field = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    if isinstance(value, bool):  # a message whose presence says it
        if value:
            getattr(message, field).SetInParent()
    elif isinstance(value, Message):
        getattr(message, field).CopyFrom(value)
    elif isinstance(value, dict):
        getattr(message, field).update(value)
    elif isinstance(value, list):
        getattr(message, field).extend(value)
    else:
        try:
            setattr(message, field, value)
        except ValueError:  # an integer that its field cannot hold, far beyond what the server allows
            raise typer.BadParameter(f"{value} is too large a number", param_hint=path) from None


@app.command("get", cls=RemoteCommand)
def get(context: typer.Context, key: Key) -> None:
    """Show a job."""
    from pawl.cli import show

    session = Session.of(context)
    with session.client() as pawl:
        job = pawl.call(lambda client: client.jobs.get(key))
    show.answer(session, job, _card(session, job))


@app.command("list", cls=RemoteCommand)
def list_jobs(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="ENABLED or DISABLED.")] = None,
    filter: options.FilterOption = None,
    order_by: options.OrderOption = None,
    limit: options.LimitOption = 20,
    page_token: options.PageTokenOption = "",
) -> None:
    """List jobs, newest first."""
    from pawl.cli import show

    session = Session.of(context)
    asked = options.question({"status": status and status.upper()}, filter, order_by, limit, page_token)
    with session.client() as pawl:
        page = pawl.call(lambda client: client.jobs.list(**asked))
    people = show.table("name", "status", "runs", "changed")
    for job in page.data:
        people.add_row(
            job.name, show.status(show.enum_name(job, "status")), _runs(job), show.when(session, job, "updated_at")
        )
    show.listing(session, page, people, "No jobs. Make one: pawl job create hello -- echo hello")


@app.command("delete", cls=RemoteCommand)
def delete(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="JOB...", help="Names or ids.", show_default=False)],
    cancel_tasks: options.CancelTasksOption = False,
) -> None:
    """Delete jobs."""
    session = Session.of(context)
    with session.client() as pawl:
        for key in keys:
            _delete(pawl, key, cancel_tasks)
            session.note(f"job {key} deleted")


def _delete(pawl: BlockingClient, key: str, cancel_tasks: bool) -> None:
    pawl.call(lambda client: client.jobs.delete(key, cancel_tasks=cancel_tasks))


@app.command("enable", cls=RemoteCommand)
def enable(context: typer.Context, key: Key) -> None:
    """Let a job make tasks again."""
    session = Session.of(context)
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.jobs.enable(key)), "enabled")


@app.command("disable", cls=RemoteCommand)
def disable(context: typer.Context, key: Key) -> None:
    """Keep a job from making tasks, by hand and by schedule."""
    session = Session.of(context)
    with session.client() as pawl:
        _told(session, pawl.call(lambda client: client.jobs.disable(key)), "disabled")


@app.command("run", cls=RemoteCommand)
def run(
    context: typer.Context,
    key: Key,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Until it ends; then its output, and its exit code.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="As --wait, with its log on stderr.")] = False,
    parameters: Annotated[
        str | None, typer.Option("--parameters", "-p", metavar="JSON|@FILE", help="What it is given.")
    ] = None,
    env: options.EnvOption = None,
    tag: options.TagOption = None,
    label: options.TaskLabelOption = None,
    priority: Priority = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before: 2026-01-31T08:00, 08:00, +5m.")] = None,
    timeout: Seconds = None,
    schedule_to_start_timeout: deadlines.Start = None,
    total_timeout: deadlines.Total = None,
    request_id: Annotated[str, typer.Option(metavar="ID", help="Makes a repeat of this command the same run.")] = "",
) -> None:
    """Run a job. Exit code 0 when it SUCCEEDED, 1 when it failed, 130 when it was cancelled."""
    from pawl.cli import following, show
    from pawl.services import instant
    from pawl.v1.task_pb2 import Task

    session = Session.of(context)
    wanted = Task(
        job_id=key,
        parameters=None if parameters is None else json_payload(parameters, "--parameters"),
        environment=pairs(env, "--env"),
        tags=pairs(tag, "--tag"),
        labels=pairs(label, "--label"),
        priority=priority,
        scheduled_at=None if at is None else instant(moment(at, "--at")),
        timeout=timeout,
        schedule_to_start_timeout_seconds=schedule_to_start_timeout,
        total_timeout_seconds=total_timeout,
    )
    with session.client() as pawl:
        task = pawl.call(lambda client: client.tasks.submit(wanted, request_id))
        if wait or follow:
            following.until_end(session, pawl, task, logs=follow)
        else:
            show.answer(session, task, _started(task))


def _started(task: Task) -> RenderableType:
    from rich.text import Text

    return Text.assemble(
        ("task ", "dim"), task.id, (f" of {task.job_name}\n", "dim"),
        ("Follow it: ", "dim"), f"pawl task watch {task.id}",
    )  # fmt: skip


def _told(session: Session, job: Job, done: str) -> None:
    from pawl.cli import show

    session.note(f"job {job.name} {done}, revision {job.revision}")
    show.answer(session, job, _card(session, job))


def _retries(config: JobConfig) -> str | None:
    if not config.max_retries:
        return None
    rules, word = config.retry, ""
    if rules.backoff not in (rules.UNSPECIFIED, rules.FIXED):
        word = f", growing ({rules.Backoff.Name(rules.backoff).lower()}) to {rules.max_interval_seconds:g} s"
    word += f", up to {rules.jitter:.0%} less by chance" if rules.jitter else ""
    word += f", for {rules.max_elapsed_seconds:g} s" if rules.max_elapsed_seconds else ""
    only = f"; only on {', '.join(rules.retry_on)}" if rules.retry_on else ""
    never = f"; never on {', '.join(rules.fail_on)}" if rules.fail_on else ""
    return f"{config.max_retries}, {config.retry_interval:g} s apart{word}{only}{never}"


def _runs(job: Job) -> str:
    from pawl.cli import show

    if job.config.executor == "http":
        return f"{job.config.http.method} {job.config.http.url}"
    if job.config.executor == "wasm":
        entry = f" {job.config.wasm.entry}" if job.config.wasm.entry not in ("", "execute_task") else ""
        return f"wasm {job.config.wasm.plugin}{entry}"
    if (other := kinds.shown(job.config)) is not None:
        return other
    return show.command_line([job.config.cmd, *job.config.args])


def _card(session: Session, job: Job) -> RenderableType:
    from pawl.cli import show

    config = job.config
    return show.card(
        [
            ("name", job.name),
            ("id", job.id),
            ("namespace", job.namespace_id),
            ("status", show.status(show.enum_name(job, "status"))),
            ("description", job.description),
            ("runs", _runs(job)),
            ("folder", config.cwd),
            ("environment", show.words({**job.environment, **config.environment})),
            ("labels", show.words(config.labels)),
            ("timeout", f"{config.timeout:g} s" if config.HasField("timeout") else None),
            *deadlines.rows(config),
            ("limits", limits.shown(config)),
            ("placement", placement.shown(config)),
            ("retries", _retries(config)),
            ("priority", str(config.priority) if config.HasField("priority") else None),
            ("revision", str(job.revision)),
            ("created", show.when(session, job, "created_at")),
            ("changed", show.when(session, job, "updated_at")),
        ]
    )
