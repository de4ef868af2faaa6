"""What the agent's machine is and how busy it is: the `sys_*` labels and the figures in each sign of life.

Reads /proc where there is one; what a system does not tell is left out or 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
from importlib import metadata
from pathlib import Path

from pawl.v1 import agent_pb2

DISTRIBUTION = "pawl-engine"


def version() -> str:
    """The version of Pawl that this agent is."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(DISTRIBUTION)
    return "unknown"


def give_back_memory() -> None:
    """Let the system have what starting took and nothing needs any more: a tenth of what an idle agent has in memory.
    glibc keeps it otherwise; other libraries have no such call.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def labels() -> dict[str, str]:
    """What an agent says of its machine without being asked."""
    found = {
        "sys_os": platform.system().lower(),
        "sys_os_release": platform.release(),
        "sys_arch": platform.machine(),
        "sys_hostname": socket.gethostname(),
        "sys_cores": str(cores()),
        "sys_memory_mb": str(_memory()[1] >> 20),
        "sys_python": platform.python_version(),
        "sys_agent_version": version(),
        "sys_cgroups": cgroups(),
    }
    return {name: value for name, value in found.items() if value and value != "0"}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroups() -> str:
    """Which control groups the system has: v2, v1, hybrid or none."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    if (root / "unified" / "cgroup.controllers").exists():
        return "hybrid"
    return "v1" if (root / "memory").exists() else "none"


class Gauge:
    """Measures the machine; the share of CPU is the one since it was last asked."""

    def __init__(self) -> None:
        self._busy, self._total = _cpu()

    def read(self) -> agent_pb2.AgentMetrics:
        """The figures of now."""
        busy, total = _cpu()
        passed = total - self._total
        share = (busy - self._busy) / passed if passed > 0 else 0.0
        self._busy, self._total = busy, total
        used, memory = _memory()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return agent_pb2.AgentMetrics(
            cpu_fraction=min(1.0, max(0.0, share)),
            memory_used_bytes=used,
            memory_total_bytes=memory,
            load_average=load,
        )


def _cpu() -> tuple[int, int]:
    """Ticks of all cores since boot: busy and all."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    idle = sum(ticks[3:5])
    return sum(ticks) - idle, sum(ticks)


def _memory() -> tuple[int, int]:
    """Bytes of memory: used and all."""
    fields: dict[str, int] = {}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in ("MemTotal", "MemAvailable"):
                    fields[name] = int(rest.split()[0]) << 10
                if len(fields) == 2:
                    break
    except (OSError, ValueError):
        return 0, 0
    total = fields.get("MemTotal", 0)
    return total - fields.get("MemAvailable", total), total
