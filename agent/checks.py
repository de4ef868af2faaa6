"""What `pawl doctor` asks an agent about this machine: what it can run, and which limits hold here."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator

from agent import machine

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
    yield "ok", "agent: limits", "output, log, open files, memory per process (rlimits); time by the agent"
    yield (
        "note",
        "agent: limits",
        f"CPU share and process count are not enforced yet (cgroups here: {machine.cgroups()})",
    )
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield "note", "agent: user", "an agent started by root runs its tasks as root"


def _wasm() -> Verdict:
    try:
        import extism
    except Exception as error:  # the wheel's library may not fit this system in many ways
        return "note", "agent: wasm", f"extism does not load ({error}); this agent would run processes only"
    return "ok", "agent: wasm", f"extism {extism.extism_version()}, guest ABI 1"
