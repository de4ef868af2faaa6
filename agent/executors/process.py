"""The executor `process`: runs a command as a process of the operating system.

The contract with the program: parameters on stdin and in PAWL_PARAMETERS_FILE, output in PAWL_OUTPUT_FILE or else
stdout, exit code 0 is success, SIGTERM asks it to end. With the main process ends everything that it started.

A program's output file is `application/json` when it holds a JSON object or array, else text if it is UTF-8, else
bytes. A bare number or word stays text: `echo 007 > $PAWL_OUTPUT_FILE` means the text. Stdout is never taken for JSON.
With `capture_output: false` stdout is not the output; it still goes to the log, and the output file still counts.
With `output_content_type` nothing is guessed: the output, from wherever it comes, is of that type, and one that is to
be JSON and is none fails the attempt.

Beside it a program may say how far it is (PAWL_PROGRESS_FILE, `progress.py`) and, if its job keeps artifacts, leave
files in PAWL_ARTIFACTS_DIR. Both count whatever the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.artifacts import ArtifactFolder, Rules, Taken
from agent.executors.base import Failure, LaunchError, LogStream, Outcome, Payload, Sink, Usage, Work
from agent.executors.capture import CappedBytes, PipeReader
from agent.executors.own_words import MOST_BYTES, OwnWords, own_words
from agent.executors.progress import LOOK_SECONDS, ProgressFile
from agent.executors.workfolder import WorkFolder, remove_leftovers
from agent.keeper import Child, Exit, Keeper, KeeperLost, StartFailed, TaskUser
from agent.limits import LimitError, process_limits
from agent.watch import CEILING, FIELDS, MEMORY, Breach

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INLINE_BYTES = 1 << 20  # bigger output files are read and judged in a thread
_CLOSE_SECONDS = 15.0
_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What the agent's own settings say. `environment` is agent.toml's, never the agent's process environment."""

    work_dir: Path
    path: str = DEFAULT_PATH
    environment: Mapping[str, str] = field(default_factory=dict)
    cleanup: bool = True
    user: TaskUser | None = None
    artifacts: ArtifactFolder | None = None  # where what is left goes; without it nothing is kept
    cgroups: bool = True
    max_processes: int | None = None  # of a run whose job does not say how many


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """A job's settings for this executor, checked."""

    cmd: str
    args: tuple[str, ...] = ()
    cwd: str = ""
    capture_output: bool = True
    output_content_type: str = ""
    artifacts: Rules | None = None

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> ProcessSettings:
        """LaunchError names the field that is wrong."""
        cmd, args = settings.get("cmd"), settings.get("args") or []
        cwd, capture = settings.get("cwd") or "", settings.get("capture_output", True)
        if not isinstance(cmd, str) or not cmd.strip():
            raise _invalid("cmd", "must name a command")
        if not isinstance(args, Sequence) or isinstance(args, str | bytes):
            raise _invalid("args", "must be a list of strings")
        for at, arg in enumerate(args):
            if not isinstance(arg, str):
                raise _invalid(f"args[{at}]", "must be a string")
        if not isinstance(cwd, str):
            raise _invalid("cwd", "must be a path")
        if not isinstance(capture, bool):
            raise _invalid("capture_output", "must be true or false")
        content_type, artifacts = settings.get("output_content_type") or "", settings.get("artifacts")
        if not isinstance(content_type, str):
            raise _invalid("output_content_type", "must be a media type")
        if artifacts is not None and not isinstance(artifacts, Rules):
            raise _invalid("artifacts", "must be rules")
        for name, value in (("cmd", cmd), ("cwd", cwd), *((f"args[{at}]", arg) for at, arg in enumerate(args))):
            if "\0" in value:
                raise _invalid(name, "must not hold a NUL character")
        return cls(cmd, tuple(args), cwd, capture, content_type, artifacts)


class ProcessExecutor:
    """Launches processes through the keeper."""

    name = "process"
    can_pause = True

    def __init__(self, keeper: Keeper, config: ProcessConfig) -> None:
        """The keeper is shared with other executors: it is opened and closed by whoever made it."""
        self._keeper = keeper
        self._config = config
        self._runs: set[ProcessRun] = set()
        self._look: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make the work folder ready. Raises OSError if it cannot be used."""
        await asyncio.to_thread(self._prepare)
        if self._config.user is not None:
            await self._try_user(self._config.user)

    async def _try_user(self, user: TaskUser) -> None:
        """Every program would fail where its user may not pass: say so at the start."""
        folder = str(self._config.work_dir)
        argv, environment = ["sh", "-c", 'cd "$0"', folder], {"PATH": self._config.path}
        try:
            ended = await (await self._keeper.start("task-user", argv, environment, "/", user=user)).wait()
        except StartFailed as error:
            raise OSError(f"agent.task_user: no program can be started as uid {user.uid}: {error}") from error
        if ended.code != 0:
            raise OSError(
                f"the user that programs run as (agent.task_user, uid {user.uid}) may not pass to {folder}: give"
                " executor.work_dir a folder whose parents it may pass"
            )

    def _prepare(self) -> None:
        root = self._config.work_dir
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._config.user is not None:
            root.chmod(0o711)  # the task's user has to pass through to its own folder
        if self._config.cleanup:
            remove_leftovers(root)

    async def launch(self, work: Work, sink: Sink) -> ProcessRun:
        """Start the command. LaunchError says what the user got wrong, or what the machine lacks."""
        settings = ProcessSettings.of(work.settings)
        parameters = work.parameters.data if work.parameters is not None else b""
        try:
            limits = process_limits(work.limits, self._config.cgroups, self._config.max_processes)
            folder = WorkFolder.create(
                self._config.work_dir, work.key, parameters, self._config.user, artifacts=settings.artifacts is not None
            )
        except LimitError as error:
            raise _invalid("", str(error)) from error
        except OSError as error:
            raise _spawn_failed(f"the task's folder cannot be made: {error}") from error
        opened: list[int] = []
        kept: list[int] = []
        try:
            environment = self._environment(work, folder, artifacts=settings.artifacts is not None)
            cwd = os.path.join(folder.path, settings.cwd)  # an absolute one stands for itself
            fds, kept = _pipes(folder, opened)
            child = await self._keeper.start(
                work.key, [settings.cmd, *settings.args], environment, cwd, fds, limits, self._config.user
            )
        except BaseException as error:
            for fd in kept:
                os.close(fd)
            if self._config.cleanup:
                await folder.remove()
            explained = _explained(error, settings, environment_path(work, self._config))
            if explained is None:
                raise
            raise explained from error
        finally:
            for fd in opened:
                os.close(fd)
        sink.started()
        run = ProcessRun(child, work, settings, folder, self._config, sink, (kept[0], kept[1]), self._runs)
        self._runs.add(run)
        if self._look is None:
            self._look_later()
        return run

    def _look_later(self) -> None:
        """One timer for all runs, as long as there are any."""
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_at_progress)

    def _look_at_progress(self) -> None:
        self._look = None
        for run in self._runs:
            run.look()
        if self._runs:
            self._look_later()

    async def close(self) -> None:
        """Kill what runs still."""
        runs = list(self._runs)
        if self._look is not None:
            self._look.cancel()
        for run in runs:
            run.child.stop(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                for run in runs:
                    await run.wait()

    def _environment(self, work: Work, folder: WorkFolder, *, artifacts: bool) -> dict[str, str]:
        """Base, then the agent's, then the merged one of the control plane; what Pawl sets comes last."""
        environment = {
            "PATH": self._config.path,
            "HOME": folder.path,
            "TMPDIR": folder.path,
            "LANG": "C.UTF-8",
            **self._config.environment,
            **work.environment,
        }
        for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE"):
            environment.pop(name, None)
        environment |= {
            "PAWL_TASK_ID": work.task_id,
            "PAWL_INSTANCE_ID": work.instance_id,
            "PAWL_ATTEMPT": str(work.attempt),
            "PAWL_JOB": work.job_name,
            "PAWL_NAMESPACE": work.namespace_id,
            "PAWL_PARAMETERS_FILE": folder.parameters,
            "PAWL_OUTPUT_FILE": folder.output,
            "PAWL_ERROR_FILE": folder.error,
            "PAWL_PROGRESS_FILE": folder.progress,
        }
        if artifacts:
            environment["PAWL_ARTIFACTS_DIR"] = folder.artifacts
        environment |= work.trace.environment()
        for name, value in environment.items():
            if not name or "=" in name or "\0" in name:
                raise LaunchError(Failure("INVALID_ENVIRONMENT", f"environment: {name!r} is no name", retryable=False))
            if "\0" in value:
                raise LaunchError(
                    Failure("INVALID_ENVIRONMENT", f"environment.{name} must not hold a NUL character", retryable=False)
                )
        return environment


class ProcessRun:
    """One command under way."""

    def __init__(
        self,
        child: Child,
        work: Work,
        settings: ProcessSettings,
        folder: WorkFolder,
        config: ProcessConfig,
        sink: Sink,
        pipes: tuple[int, int],
        runs: set[ProcessRun],
    ) -> None:
        self.child = child
        self._limit = work.limits.output_bytes
        self._folder = folder
        self._cleanup = config.cleanup
        self._settings = settings
        self._placement = f"{work.instance_id}.{work.token}"
        self._artifacts = config.artifacts
        self._taken: Taken | None = None
        self.progress = ProgressFile(folder.progress, sink.progress)
        self._runs = runs
        self._sink = sink
        self._last_words = b""
        self._stdout = CappedBytes(self._limit) if settings.capture_output else None
        fast = max(work.limits.log_bytes, self._limit)
        self._readers = (PipeReader(pipes[0], fast, self._on_stdout), PipeReader(pipes[1], fast, self._on_stderr))
        self._finishing = asyncio.Lock()
        self._outcome: Outcome | None = None

    async def wait(self) -> Outcome:
        """The outcome, once no process of it is left. Cancelling the wait does not stop the run."""
        async with self._finishing:
            if self._outcome is None:
                self._outcome = await self._finish()
            if self in self._runs:
                if self._cleanup:
                    await self._folder.remove()
                self._runs.discard(self)
        return self._outcome

    def pause(self) -> None:
        """Stop all of it."""
        self.child.pause()

    def resume(self) -> None:
        """Let all of it go on."""
        self.child.resume()

    async def stop(self, grace_seconds: float) -> None:
        """TERM to all of it, KILL after the grace. Returns when it is gone."""
        self.child.stop(grace_seconds)
        with contextlib.suppress(KeeperLost):
            await self.child.wait()

    def look(self) -> None:
        """Hand on what it says of its progress."""
        self.progress.look()

    def signal(self, number: int) -> None:
        """Signal its group, for example SIGSTOP and SIGCONT."""
        self.child.signal_group(number)

    async def _finish(self) -> Outcome:
        """Everything in here may be cancelled and done again."""
        lost: KeeperLost | None = None
        ended: Exit | None = None
        try:
            ended = await self.child.wait()
        except KeeperLost as error:
            lost = error
        if ended is not None and ended.survivors:
            self._sink.log(LogStream.LOG, b"a process of this run could not be killed and was left behind\n")
        for reader in self._readers:  # no writer is left, so what the pipes hold now is all that comes
            reader.drain()
            reader.close()
        self._sink.ended()
        self.progress.look()
        if self._taken is None and self._settings.artifacts is not None and self._artifacts is not None:
            self._taken = await self._take(self._artifacts, self._settings.artifacts)
        output, size, content_type = await self._output()
        failure = Failure("KEEPER_LOST", str(lost)) if ended is None else _failure(ended, self._last_line())
        if failure is not None and ended is not None and failure.code == f"EXIT_{ended.code}":
            failure = _in_its_words(failure, self._folder.read_error(MOST_BYTES))
        if self._settings.output_content_type and output:
            content_type, problem = await self._as_declared(output, size, content_type)
            failure = failure or problem
        return Outcome(
            failure=failure,
            exit_code=ended.code if ended is not None else None,
            signal=ended.signal if ended is not None else None,
            output=Payload(output, content_type) if output is not None else None,
            output_size=size,
            output_truncated=output is not None and size > self._limit,
            artifacts=() if self._taken is None else tuple(self._taken.artifacts),
            usage=_usage(ended) if ended is not None else Usage(),
        )

    async def _output(self) -> tuple[bytes | None, int, str]:
        """What the program wrote as its output: the bytes as far as they are kept, all their size, their type."""
        fd = self._folder.open_output()
        if fd is not None:
            if os.fstat(fd).st_size <= _INLINE_BYTES:
                return _file_output(self._folder, fd, self._limit)
            return await asyncio.shield(
                asyncio.get_running_loop().run_in_executor(None, _file_output, self._folder, fd, self._limit)
            )
        if self._stdout is None:
            return None, 0, ""
        data = self._stdout.value()
        return data, self._stdout.size, _TEXT if _is_text(data) else _BINARY

    async def _take(self, artifacts: ArtifactFolder, rules: Rules) -> Taken:
        """What it left, safe from the removal of its folder. Once begun it is not interrupted."""
        work = asyncio.get_running_loop().run_in_executor(
            None, artifacts.take, self._placement, self._folder.artifacts, rules
        )
        taken = await asyncio.shield(work)
        for complaint in taken.complaints:
            self._sink.log(LogStream.LOG, f"[pawl] {complaint}\n".encode())
        return taken

    async def _as_declared(self, output: bytes, size: int, guessed: str) -> tuple[str, Failure | None]:
        """The type that the job says its output has, unless it cannot be true."""
        declared = self._settings.output_content_type
        if not _means_json(declared):
            return declared, None
        if size > self._limit:
            why = f"it has {size:,} bytes, more than config.max_output_size ({self._limit:,}), and had to be cut"
        elif len(output) <= _INLINE_BYTES:
            why = _json_problem(output)
        else:
            why = await asyncio.to_thread(_json_problem, output)
        if not why:
            return declared, None
        return guessed, Failure("INVALID_OUTPUT", f"the output is not JSON, as config.output_content_type says: {why}")

    def _on_stdout(self, data: bytes) -> None:
        if self._stdout is not None:
            self._stdout.add(data)
        self._sink.log(LogStream.STDOUT, data)

    def _on_stderr(self, data: bytes) -> None:
        self._last_words = (self._last_words + data)[-512:]
        self._sink.log(LogStream.STDERR, data)

    def _last_line(self) -> str:
        lines = self._last_words.decode("utf-8", "replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _pipes(folder: WorkFolder, opened: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """The child's descriptors, noted in `opened`, and our ends of stdout and stderr."""
    kept: list[int] = []
    try:
        opened.append(os.open(folder.parameters, os.O_RDONLY | os.O_CLOEXEC))
        for _ in range(2):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            kept.append(ours)
            opened.append(theirs)
            os.set_blocking(ours, False)  # only our end: a program must not meet EAGAIN on its stdout
    except OSError:
        for fd in kept:
            os.close(fd)
        raise
    return [(fd, number) for number, fd in enumerate(opened)], kept


def environment_path(work: Work, config: ProcessConfig) -> str:
    """The PATH that the command is looked up in."""
    return work.environment.get("PATH", config.environment.get("PATH", config.path))


def _invalid(name: str, problem: str) -> LaunchError:
    message = f"config.{name} {problem}" if name else problem
    return LaunchError(Failure("INVALID_SETTINGS", message, retryable=False))


def _spawn_failed(message: str) -> LaunchError:
    return LaunchError(Failure("SPAWN_FAILED", message, retryable=True))


def _explained(error: BaseException, settings: ProcessSettings, path: str) -> LaunchError | None:
    """The same mishap in words that help whoever wrote the job; None for what is none of ours."""
    cmd = settings.cmd
    match error:
        case StartFailed(stage="cwd", errno=errno.ENOENT | errno.ENOTDIR):
            problem = f"config.cwd {settings.cwd!r} is not a folder on this agent"
            return LaunchError(Failure("CWD_NOT_FOUND", problem))
        case StartFailed(stage="cwd"):
            return LaunchError(
                Failure("CWD_NOT_FOUND", f"config.cwd {settings.cwd!r}: {os.strerror(error.errno or 0)}")
            )
        case StartFailed(errno=errno.ENOENT | errno.ENOTDIR):
            return LaunchError(Failure("COMMAND_NOT_FOUND", _not_found(cmd, path, settings.cwd)))
        case StartFailed(errno=errno.EACCES):
            return LaunchError(Failure("COMMAND_NOT_FOUND", f"config.cmd {cmd!r} is not executable (PATH={path})"))
        case StartFailed(errno=errno.ENOEXEC):
            problem = f"config.cmd {cmd!r} is no program for this machine, and no script that starts with #!"
            return LaunchError(Failure("COMMAND_NOT_FOUND", problem))
        case StartFailed(errno=errno.E2BIG):
            return LaunchError(
                Failure("SPAWN_FAILED", "arguments and environment are too long for this system", retryable=False)
            )
        case OSError() | KeeperLost() | TimeoutError():
            return _spawn_failed(f"{cmd!r} could not be started: {error}")
    return None


def _not_found(cmd: str, path: str, cwd: str) -> str:
    if "/" in cmd:
        found = os.path.exists(os.path.join(cwd, cmd) if cwd else cmd)
        if found:
            return f"config.cmd {cmd!r} names an interpreter after #! that does not exist"
        return f"config.cmd {cmd!r} does not exist"
    hint = "; arguments belong into config.args" if " " in cmd else ""
    return f"config.cmd {cmd!r} was not found in PATH={path}{hint}"


def _failure(ended: Exit, last_line: str) -> Failure | None:
    said = f": {last_line}" if last_line else ""
    if ended.lease_expired:
        return Failure("LEASE_EXPIRED", "stopped because the control plane was out of reach")
    if ended.breach is not None:
        return _greedy(ended.breach)
    if ended.signal is not None:
        return Failure(f"SIGNAL_{_signal_name(ended.signal)}", f"ended by signal {ended.signal}{said}")
    if ended.code:
        return Failure(f"EXIT_{ended.code}", f"exit code {ended.code}{said}")
    return None


def _in_its_words(failure: Failure, data: bytes) -> Failure:
    """The failure as the program tells it; what it does not say is as it was."""
    text = data.decode("utf-8", "replace").strip()
    said = own_words(text) if text else OwnWords()
    return Failure(
        code=said.code or failure.code,
        message=said.message or failure.message,
        retryable=failure.retryable if said.retryable is None else said.retryable,
        retry_after_seconds=said.retry_after_seconds,
    )


def _greedy(breach: Breach) -> Failure:
    """It took more than it may."""
    if breach.kind == MEMORY:
        seen = f" ({breach.seen / 2**20:.0f} MiB seen)" if breach.seen else ""
        allowed = f"{breach.limit / 2**20:g} MiB"
        return Failure("OUT_OF_MEMORY", f"used more memory than {FIELDS[breach.kind]} allows: {allowed}{seen}")
    seen = f" ({breach.seen:g} seen)" if breach.seen else ""
    who = "this agent's executor.max_processes" if breach.kind == CEILING else FIELDS[breach.kind]
    message = f"had more processes and threads than {who} allows: {breach.limit:g}{seen}"
    return Failure("TOO_MANY_PROCESSES", message)


def _signal_name(number: int) -> str:
    """KILL, TERM, SEGV; the number for real-time signals, which have no name."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def _usage(ended: Exit) -> Usage:
    return Usage(
        wall_seconds=ended.wall_seconds,
        user_cpu_seconds=ended.user_cpu_seconds,
        system_cpu_seconds=ended.system_cpu_seconds,
        peak_memory_bytes=ended.peak_memory_bytes,
        read_bytes=ended.read_bytes,
        written_bytes=ended.written_bytes,
        cpu_throttled_seconds=ended.throttled_seconds,
    )


def _file_output(folder: WorkFolder, fd: int, limit: int) -> tuple[bytes, int, str]:
    data, size = folder.read_output(fd, limit)
    if size <= limit and _is_json(data):
        return data, size, "application/json"
    return data, size, _TEXT if _is_text(data) else _BINARY


def _is_json(data: bytes) -> bool:
    return data.lstrip()[:1] in (b"{", b"[") and not _json_problem(data)


def _means_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _json_problem(data: bytes) -> str:
    """Why these bytes are no JSON value; empty if they are one."""
    try:
        json.loads(data.decode(), parse_constant=partial(_refuse, "not JSON"))
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except (ValueError, RecursionError) as error:
        return str(error) or "nested too deeply"
    return ""


def _refuse(reason: str, constant: str) -> None:
    raise ValueError(f"{constant}: {reason}")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
