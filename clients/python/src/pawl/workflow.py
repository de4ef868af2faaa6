"""Task functions: ordinary functions that become jobs, and how they are called, here and by a worker.

    greet = pawl.Workflow("greet")

    @greet.task(timeout=30, max_retries=2)
    async def hello(input: Name, ctx: pawl.Context) -> Greeting: ...

A function takes its input, a context, both, or nothing, in any order: the context is the parameter annotated with
`Context`, or called `ctx`. It stays a function: `await hello(Name("Ada"), ctx)` calls it. `hello.run(...)` makes a task
of it and waits for what it returns. Workers run it; see `pawl.worker`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, get_type_hints, overload

from pawl.client import Client
from pawl.context import Context
from pawl.failures import InvalidInput
from pawl.typed import Codec
from pawl.v1.job_pb2 import FunctionConfig, Job, JobConfig
from pawl.v1.task_pb2 import Task
from pawl.v1.types_pb2 import Payload

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Isolation = Literal["inline", "process"]
ISOLATIONS: Final = ("inline", "process")
MAX_NAME: Final = 63
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTEXT_NAMES: Final = ("ctx", "context")


class TaskFailed(Exception):
    """A task that was waited for did not succeed. `task` is what became of it, `code` what its error is called."""

    def __init__(self, task: Task) -> None:
        status = Task.Status.Name(task.status)
        said = f": {task.error.message}" if task.error.message else ""
        super().__init__(f"task {task.id} is {status}{said}")
        self.task = task
        self.code = task.error.code


@dataclass(frozen=True, slots=True)
class Shape:
    """How a function is called: the names of its parameters for the input and the context, and the types."""

    input: str | None
    context: str | None
    has_default: bool
    reads: Codec
    writes: Codec


class TaskFunction(Generic[P, R]):
    """A function that is a job, `<workflow>.<task>`. Calling it calls the function."""

    def __init__(
        self, function: Callable[P, R], name: str, *, isolation: Isolation, config: JobConfig, code_version: str
    ) -> None:
        self.function = function
        self.name = name
        self.isolation = isolation
        self.code_version = code_version
        self.config = JobConfig()
        self.config.CopyFrom(config)
        self.config.executor = "function"
        self.config.function.CopyFrom(FunctionConfig(name=name))
        self.is_async = inspect.iscoroutinefunction(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task function {self.name}>"

    @functools.cached_property
    def shape(self) -> Shape:
        """How it is called. Raises TypeError for a function that cannot be a task."""
        return _shape_of(self.function)

    @property
    def job(self) -> Job:
        """The job that a worker registers for it."""
        text = inspect.cleandoc(self.function.__doc__ or "")
        return Job(name=self.name, description=text[:4_096], config=self.config)

    def bound(self, parameters: Payload | None, context: Context) -> dict[str, Any]:
        """The arguments for parameters that a task came with. Raises InvalidInput."""
        shape = self.shape
        arguments: dict[str, Any] = {}
        if shape.context is not None:
            arguments[shape.context] = context
        if shape.input is not None and not (parameters is None and shape.has_default):
            arguments[shape.input] = shape.reads.read(parameters)
        return arguments

    # The callers' side.

    async def start(self, input: Any = ..., *, client: Client | None = None, **given: Any) -> Task:
        """Make a task of it. Answered means stored, not done. Takes what `client.tasks.create` takes."""
        parameters = ... if input is ... else self.encoded(input)
        if client is not None:
            return await client.tasks.create(self.name, parameters, **given)
        async with Client() as own:
            return await own.tasks.create(self.name, parameters, **given)

    @overload
    async def run(
        self: TaskFunction[P, Coroutine[Any, Any, T]], input: Any = ..., *, client: Client | None = None, **given: Any
    ) -> T: ...
    @overload
    async def run(self, input: Any = ..., *, client: Client | None = None, **given: Any) -> R: ...
    async def run(self, input: Any = ..., *, client: Client | None = None, **given: Any) -> Any:
        """Make a task of it, wait, and give what the function returned. Raises TaskFailed when it did not succeed."""
        if client is None:
            async with Client() as own:
                return await self.run(input, client=own, **given)
        task = await client.tasks.wait((await self.start(input, client=client, **given)).id)
        return self.output_of(task)

    def encoded(self, input: Any) -> Payload:
        """An input as a task carries it."""
        made = self.shape.reads.write(input)
        return Payload(data=b"null", content_type="application/json") if made is None else made

    @overload
    def output_of(self: TaskFunction[P, Coroutine[Any, Any, T]], task: Task) -> T: ...
    @overload
    def output_of(self, task: Task) -> R: ...
    def output_of(self, task: Task) -> Any:
        """What the function returned, in its type. Raises TaskFailed when the task did not succeed."""
        if task.status != Task.Status.SUCCEEDED:
            raise TaskFailed(task)
        if not task.HasField("output"):
            return None
        try:
            return self.shape.writes.read(task.output)
        except InvalidInput as error:
            raise ValueError(f"task {task.id}: {error}".replace("parameters are", "output is")) from None


class Workflow:
    """Task functions that belong together. `version` says which version of the code this is, for people and records;
    left out, each function's own source does.
    """

    def __init__(self, name: str, *, version: str = "") -> None:
        _check_name(name)
        self.name = name
        self.version = version
        self._tasks: dict[str, TaskFunction[..., Any]] = {}

    def __iter__(self) -> Iterator[TaskFunction[..., Any]]:
        return iter(self._tasks.values())

    def __repr__(self) -> str:
        return f"<workflow {self.name}: {', '.join(self._tasks) or 'no tasks'}>"

    def task(
        self, name: str = "", *, isolation: Isolation = "inline", config: JobConfig | None = None, **settings: Any
    ) -> Callable[[Callable[P, R]], TaskFunction[P, R]]:
        """Make a function a task of this workflow, called like the function unless `name` says otherwise.

        `settings` are fields of JobConfig (`timeout`, `max_retries`, `retry_interval`, `labels`, `priority`, ...);
        `config` brings several at once. `inline` runs it in the worker: async ones on its loop, others in a thread; it
        can only be asked to end. `process` runs it in a process of its own, which is killed if need be, and held to all
        limits.
        """
        if isolation not in ISOLATIONS:
            raise ValueError(f"isolation: {isolation!r} is none of {', '.join(ISOLATIONS)}")
        wanted = _config(config, settings)

        def made(function: Callable[P, R]) -> TaskFunction[P, R]:
            full = f"{self.name}.{name or function.__name__}"
            _check_name(full)
            if full in self._tasks:
                raise ValueError(f"workflow {self.name} has two tasks {full!r}")
            version = self.version or _source_digest(function)
            task = TaskFunction(function, full, isolation=isolation, config=wanted, code_version=version)
            _ = task.shape  # what is wrong with it is said here, where its author sees it
            self._tasks[full] = task
            return task

        return made

    async def run(self, input: Any = ..., *, client: Client | None = None, **given: Any) -> Any:
        """Run its task and give what it returned; for a workflow of one task. Raises TaskFailed."""
        return await self._only().run(input, client=client, **given)

    async def start(self, input: Any = ..., *, client: Client | None = None, **given: Any) -> Task:
        """Make a task of its task; for a workflow of one task."""
        return await self._only().start(input, client=client, **given)

    def _only(self) -> TaskFunction[..., Any]:
        if len(self._tasks) != 1:
            raise ValueError(f"workflow {self.name} has {len(self._tasks)} tasks: run one of them")
        return next(iter(self._tasks.values()))


def _config(config: JobConfig | None, settings: Mapping[str, Any]) -> JobConfig:
    made = JobConfig()
    if config is not None:
        made.CopyFrom(config)
    try:
        made.MergeFrom(JobConfig(**settings))
    except ValueError as error:
        raise TypeError(f"task: {error}") from None
    if made.executor not in ("", "function"):
        raise ValueError(f"task: a function's executor is function, not {made.executor}")
    return made


def _shape_of(function: Callable[..., Any]) -> Shape:
    given = inspect.signature(function).parameters.values()
    hints = _hints(function)
    for one in given:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise TypeError(f"{function.__name__}: *args, **kwargs and positional-only parameters cannot be a task's")
    contexts = [one for one in given if _is_context(one, hints)]
    inputs = [one for one in given if one not in contexts]
    if len(contexts) > 1 or len(inputs) > 1:
        names = ", ".join(one.name for one in given)
        raise TypeError(f"{function.__name__}({names}): a task function takes one input and one context at most")
    try:
        reads = Codec(hints.get(inputs[0].name, Any)) if inputs else Codec()
        writes = Codec(hints.get("return", Any))
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{function.__name__}: {error}") from None
    return Shape(
        input=inputs[0].name if inputs else None,
        context=contexts[0].name if contexts else None,
        has_default=bool(inputs) and inputs[0].default is not inspect.Parameter.empty,
        reads=reads,
        writes=writes,
    )


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        # What is imported for type checkers alone, or defined inside of a function: names that mean nothing here.
        names = function.__annotations__
        if set(names) <= {"ctx", "context", "return"}:
            return {}
        raise TypeError(f"{function.__name__}: {error}; its types must be known where it is defined") from None


def _is_context(one: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    hint = hints.get(one.name)
    if hint is None:
        return one.name in _CONTEXT_NAMES
    return isinstance(hint, type) and issubclass(hint, Context)


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name: letters, digits, '.', '_' and '-', the first a letter or digit, {MAX_NAME} at most"
        )


def _source_digest(function: Callable[..., Any]) -> str:
    """The same for the same source, wherever it lies."""
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):
        source = getattr(getattr(function, "__code__", None), "co_code", b"")
    return hashlib.sha256(source).hexdigest()[:12]


def in_function_process() -> bool:
    """Whether this program is the process of one function, started by a worker."""
    return "PAWL_FUNCTION_PROCESS" in os.environ
