"""Which executors an agent has: those of ours that its settings enable, and those that they name beside them.

An executor of another's making is one module and one line of `[executors]`: `name = "module:factory"`, or a file in
place of the module. The factory is called with `Surroundings` and gives an `Executor` of that name. Nothing else of the
agent changes, and nothing of the control plane: it learns the name, and the schema of the options if the executor has
an attribute `options_schema`, from the agent's hello. Jobs say `executor: name` and `options: {...}`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from pawl.settings import SettingsError

from agent.agent import Parts, add_executor
from agent.executors.base import Executor
from agent.executors.host_calls import HostCalls
from agent.executors.http import HttpExecutor
from agent.executors.process import ProcessConfig, ProcessExecutor
from agent.executors.wasm import WasmExecutor
from agent.keeper import Keeper
from agent.plugins import Grants, PluginSource, ReportingExecutor, Trust
from agent.secrets import Secrets
from agent.taskuser import task_user

_TARGET: Final = re.compile(r"(?P<module>.+):(?P<factory>[A-Za-z_][A-Za-z0-9_]*)")

log = logging.getLogger("pawl.agent")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an executor of another's making may use of the agent.

    `keeper` starts processes that do not outlive the agent; `processes` is the executor of programs, for one that only
    turns its options into a command; `folder` is for what it keeps between starts; `secrets` finds what the agent may
    know.
    """

    keeper: Keeper
    processes: ProcessExecutor
    folder: Path
    secrets: Secrets


async def usual(parts: Parts, stack: contextlib.AsyncExitStack) -> None:
    """What the settings say. Raises SettingsError for an executor that cannot be loaded, and what its `open` raises."""
    settings = parts.settings
    processes = process_executor(parts)
    secrets = Secrets(settings.agent.namespace, os.environ, settings.secrets_dir)
    if "process" in settings.executor.enabled:
        await add_executor(parts, stack, processes)
    if "wasm" in settings.executor.enabled:
        await _add_wasm(parts, stack, secrets)
    if "http" in settings.executor.enabled:
        await add_executor(parts, stack, HttpExecutor(settings.http.limits, secrets))
    if settings.executors and "process" not in settings.executor.enabled:
        await processes.open()
        stack.push_async_callback(processes.close)
    for name, target in settings.executors.items():
        around = Surroundings(parts.keeper, processes, parts.state.path / "executors" / name, secrets)
        await add_executor(parts, stack, loaded(name, target, around))


def process_executor(parts: Parts) -> ProcessExecutor:
    """The executor of programs, as the settings have it."""
    settings = parts.settings
    config = ProcessConfig(
        work_dir=settings.work_dir,
        path=settings.executor.path,
        environment=settings.environment,
        cleanup=settings.executor.cleanup_enabled,
        artifacts=parts.artifacts,
        user=task_user(settings.agent.task_user),
        cgroups=settings.executor.cgroups,
        max_processes=settings.executor.max_processes or None,
    )
    if config.user is not None and config.work_dir.is_relative_to(parts.state.path):
        parts.state.path.chmod(0o711)  # the way to the task's folder; what else lies there is open to nobody
    return ProcessExecutor(parts.keeper, config)


def loaded(name: str, target: str, around: Surroundings) -> Executor:
    """An executor of another's making. Raises SettingsError that says what is wrong with the line."""
    key = f"executors.{name}"
    found = _TARGET.fullmatch(target)
    if found is None:
        raise SettingsError(f'{key}: {target!r}: write it as "module:factory", or "/path/file.py:factory"')
    try:
        factory = getattr(_module(found["module"]), found["factory"], None)
    except (ImportError, SyntaxError, OSError) as error:
        raise SettingsError(f"{key}: {found['module']} cannot be loaded: {error}") from error
    if not callable(factory):
        raise SettingsError(f"{key}: there is no {found['factory']} in {found['module']}")
    executor: Executor = factory(around)
    if executor.name != name:
        raise SettingsError(f"{key}: this is the executor {executor.name!r}: name the line like it")
    return executor


def _module(named: str) -> ModuleType:
    if not named.endswith(".py"):
        return importlib.import_module(named)
    path = Path(named).expanduser().absolute()
    spec = importlib.util.spec_from_file_location(f"pawl_executor_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does: dataclasses and pickle look there
    spec.loader.exec_module(module)
    return module


async def _add_wasm(parts: Parts, stack: contextlib.AsyncExitStack, secrets: Secrets) -> None:
    """The executor of plugins, where this machine can run them."""
    settings = parts.settings
    source = PluginSource(parts.channel, settings.name, parts.metadata)
    calls = HostCalls(Grants(source).find, secrets)
    folder = parts.state.path / "wasm"
    inner = WasmExecutor(parts.keeper, source.fetch, folder, ceiling=settings.plugins.ceiling, host_calls=calls)
    wasm = ReportingExecutor(inner, source, Trust(source, settings.plugins.trusted_keys))
    try:
        await add_executor(parts, stack, wasm)
    except RuntimeError as error:
        log.warning("this agent takes no wasm work: %s", error)
    else:
        parts.reporting, parts.host_calls = wasm, calls
