"""Pawl for Python: define jobs, start and watch tasks, write workers. Knows nothing of the control plane's inside.

What is named here is loaded with its first use, so that the `pawl` command pays for nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pawl.client import BlockingClient as BlockingClient
    from pawl.client import Client as Client
    from pawl.context import Context as Context
    from pawl.failures import InvalidInput as InvalidInput
    from pawl.failures import NonRetryable as NonRetryable
    from pawl.failures import RetryAfter as RetryAfter
    from pawl.failures import TaskCancelled as TaskCancelled
    from pawl.failures import TaskError as TaskError
    from pawl.worker import Worker as Worker
    from pawl.workflow import TaskFailed as TaskFailed
    from pawl.workflow import TaskFunction as TaskFunction
    from pawl.workflow import Workflow as Workflow

_HOMES = {
    "BlockingClient": "client",
    "Client": "client",
    "Context": "context",
    "InvalidInput": "failures",
    "NonRetryable": "failures",
    "RetryAfter": "failures",
    "TaskCancelled": "failures",
    "TaskError": "failures",
    "TaskFailed": "workflow",
    "TaskFunction": "workflow",
    "Worker": "worker",
    "Workflow": "workflow",
}
__all__ = ["BlockingClient", "Client", "Context", "InvalidInput", "NonRetryable", "RetryAfter", "TaskCancelled",
           "TaskError", "TaskFailed", "TaskFunction", "Worker", "Workflow"]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
