"""The process of one run of one task function: `python -m pawl.function_process SPEC`, started by a worker.

It loads the module in which the function is defined, as `multiprocessing` would: a script's lines under
`if __name__ == "__main__":` do not run. Parameters, identity and the place of the output come as for any program
(PAWL_*). What is said while it runs goes to stderr in marked lines, which the worker takes out; the result is one file:
a line of JSON, then the bytes of the output. SIGTERM cancels: asyncio.CancelledError in an async function,
TaskCancelled in any other.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import runpy
import signal
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pawl.calling import Called, LogCapture, call_async, call_blocking
from pawl.context import Context, Identity
from pawl.failures import NonRetryable, TaskCancelled, failed_by
from pawl.v1.types_pb2 import Payload
from pawl.workflow import TaskFunction

MARK: Final = b"\x1epawl-"
"""Begins a word to the worker on stderr; the run's own secret follows, then JSON, then a line end."""
PIECE: Final = 2_000
"""Characters of one such word: short enough for the system to write it in one piece."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Which function, and where Python finds it. `main`: the script it is defined in, where no module is; `argv`: what
    that was started with.
    """

    function: str
    module: str
    attribute: str
    path: tuple[str, ...]
    main: str = ""
    argv: tuple[str, ...] = ()

    def encoded(self) -> str:
        """As an argument."""
        return json.dumps([self.function, self.module, self.attribute, self.path, self.main, self.argv])

    @classmethod
    def of(cls, text: str) -> Spec:
        """Read it back."""
        function, module, attribute, path, main, argv = json.loads(text)
        return cls(function, module, attribute, tuple(path), main, tuple(argv))


def spec_of(task: TaskFunction[..., Any]) -> Spec:
    """How another process finds this function. Raises ValueError for one that only this process has."""
    module, attribute, main = task.function.__module__, task.function.__qualname__, ""
    if module == "__main__":
        script = sys.modules["__main__"]
        known = getattr(script, "__spec__", None)
        if known is not None:  # python -m
            module = known.name
        else:
            main = os.path.abspath(getattr(script, "__file__", "") or "")
    if "<" in attribute or (module == "__main__" and not os.path.isfile(main)):
        raise ValueError(
            f"{task.name}: isolation process needs a function that can be imported: define it at the top of a module"
        )
    path = tuple(entry or os.getcwd() for entry in sys.path)
    return Spec(task.name, module, attribute, path, main, tuple(sys.argv))


def find(spec: Spec) -> TaskFunction[..., Any]:
    """Load the module and find the function in it. Raises whatever the module raises, ValueError if it is not there."""
    sys.path[:], sys.argv[:] = spec.path, spec.argv
    found: Any = _script(spec.main) if spec.main else importlib.import_module(spec.module)
    for name in spec.attribute.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, TaskFunction) or found.name != spec.function:
        raise ValueError(f"{spec.module} has no task function {spec.function} as {spec.attribute}")
    return found


def _script(path: str) -> types.ModuleType:
    """Run a script as a module that is not the main one, and let pickles and hints find it under both names."""
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


class Marked:
    """The voice of such a process: marked lines on stderr."""

    def __init__(self, secret: str) -> None:
        self._begin = MARK + secret.encode() + b" "

    def log(self, data: bytes) -> None:
        """In pieces that are written whole."""
        text = data.decode("utf-8", "replace")
        for at in range(0, len(text), PIECE):
            self._say({"log": text[at : at + PIECE]})

    def progress(self, percent: float, message: str) -> None:
        """The newest counts."""
        self._say({"progress": [percent, message[:PIECE]]})

    def heartbeat(self) -> None:
        """It is alive."""
        self._say({"alive": True})

    def _say(self, word: Mapping[str, object]) -> None:
        os.write(2, self._begin + json.dumps(word).encode() + b"\n")


def main() -> int:
    """Run it. 0: it returned; 1: it failed, and the file says how."""
    secret, output = os.environ["PAWL_FUNCTION_PROCESS"], os.environ.pop("PAWL_OUTPUT_FILE")
    context = Context(_identity(), Marked(secret), _parameters())
    logging.getLogger().addHandler(LogCapture())
    try:
        task = find(Spec.of(sys.argv[1]))
    except BaseException as error:
        called = Called(failed=failed_by(NonRetryable(f"{type(error).__name__}: {error}", code="FUNCTION_NOT_LOADED")))
        sys.stderr.write(failed_by(error).trace)
    else:
        called = asyncio.run(_run_async(task, context)) if task.is_async else _run_blocking(task, context)
    _write(output, secret, called)
    return 0 if called.failed is None else 1


def _identity() -> Identity:
    environ = os.environ
    headers = {name.lower(): environ[name] for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE") if name in environ}
    return Identity(
        task_id=environ["PAWL_TASK_ID"],
        instance_id=environ["PAWL_INSTANCE_ID"],
        attempt=int(environ["PAWL_ATTEMPT"]),
        job=environ["PAWL_JOB"],
        namespace=environ["PAWL_NAMESPACE"],
        environment=dict(environ),
        trace=headers,
    )


def _parameters() -> Payload | None:
    content_type = os.environ.pop("PAWL_FUNCTION_INPUT", "")
    if not content_type:
        return None
    with open(os.environ["PAWL_PARAMETERS_FILE"], "rb") as file:
        return Payload(data=file.read(), content_type=content_type)


async def _run_async(task: TaskFunction[..., Any], context: Context) -> Called:
    running = asyncio.current_task()
    assert running is not None

    def stop() -> None:
        context.cancel("stopped")
        running.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    return await call_async(task, context, context.parameters)


def _run_blocking(task: TaskFunction[..., Any], context: Context) -> Called:
    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what cleans up is not interrupted again
        context.cancel("stopped")
        raise TaskCancelled("stopped")

    signal.signal(signal.SIGTERM, stop)
    called = call_blocking(task, context, context.parameters)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return called


def _write(path: str, secret: str, called: Called) -> None:
    """The result, and the traceback on stderr."""
    failed = called.failed
    head: dict[str, object] = {"secret": secret}
    data = b""
    if failed is not None:
        head["failed"] = [failed.code, failed.message, failed.retryable, failed.retry_after]
        sys.stderr.write(failed.trace)
        sys.stderr.flush()
    elif called.output is not None:
        head["content_type"], data = called.output.content_type, called.output.data
    with open(path, "wb") as file:
        file.write(json.dumps(head).encode() + b"\n" + data)


if __name__ == "__main__":
    sys.exit(main())
