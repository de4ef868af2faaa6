"""What `pawl doctor` asks an agent about this machine: what it can run, and which limits hold here."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Iterator

from agent import cgroups, machine, watch

Verdict = tuple[str, str, str]  # ok, note or bad; what was looked at; what was seen


def checks() -> Iterator[Verdict]:
    """One verdict after the other."""
    yield "ok", "agent: cores", f"{machine.cores()}, memory {machine.labels().get('sys_memory_mb', '?')} MiB"
    if platform.system() != "Linux":
        yield "note", "agent: keeper", "only on Linux does nothing outlive a killed agent"
    found = [name for name in ("bash", "python3", "node", "java") if shutil.which(name)]
    yield (
        ("ok" if "bash" in found else "note"),
        "agent: programs",
        ", ".join(found) or "none of bash, python3, node, java",
    )
    yield _wasm()
    yield from _limits()
    yield _user()


def _limits() -> Iterator[Verdict]:
    """For each limit that a job may set: what holds it here."""
    if platform.system() != "Linux":
        for field in watch.FIELDS.values():
            yield "note", f"agent: {field}", "not held on this system; its instances say so"
    else:
        found = cgroups.look()
        for kind, field in watch.FIELDS.items():
            controller = watch.CONTROLLER_OF[kind]
            if words := found.says(controller):
                yield "ok", f"agent: {field}", words
            else:
                yield "note", f"agent: {field}", f"by looking 20 times a second: {found.problems[controller]}"
    yield "ok", "agent: max_open_files", f"rlimit, at most {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"
    yield "ok", "agent: max_execution_time_secs", "the agent and its keeper, as timeout"
    yield "ok", "agent: max_output_size_bytes", "the agent, as max_output_size"


def _user() -> Verdict:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "ok", "agent: user", "programs run as this user"
    return "note", "agent: user", "started by root, programs run as root; agent.task_user names somebody else for them"


def _wasm() -> Verdict:
    try:
        import extism
    except Exception as error:  # the wheel's library may not fit this system in many ways
        return "note", "agent: wasm", f"extism does not load ({error}); this agent would run processes only"
    return "ok", "agent: wasm", f"extism {extism.extism_version()}, guest ABI 1"
