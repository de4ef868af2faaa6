"""What a run of a plugin may use: the smallest of what the agent allows, the job allows and the plugin asks for.

A plugin's metadata can only lower a limit: it is the author's word about how much is normal, and a run beyond it is
wrong. Not the place for enforcing anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pawl.plugin_metadata import Metadata

from agent.executors.base import Limits

MIB: Final = 1 << 20
DEFAULT_TABLE_ELEMENTS: Final = 1_000_000
"""Eight bytes each; real modules have a few thousand."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What this agent allows any plugin. A job may ask for more memory: its limit replaces the agent's."""

    memory_bytes: int = 256 * MIB
    cpu_seconds: int = 3600
    host_calls: int = 10_000
    http_calls: int = 100
    log_lines: int = 100_000
    table_elements: int = DEFAULT_TABLE_ELEMENTS


DEFAULT_CEILING: Final = Ceiling()


@dataclass(frozen=True, slots=True)
class Budget:
    """What one run may use."""

    memory_bytes: int
    cpu_seconds: int
    output_bytes: int
    log_bytes: int
    log_lines: int
    host_calls: int
    http_calls: int
    timeout_seconds: float | None = None
    """The plugin's own; the job's timeout is not the executor's business."""

    @classmethod
    def of(cls, ceiling: Ceiling, limits: Limits, metadata: Metadata | None) -> Budget:
        asked = metadata.limits if metadata is not None else {}

        def least(name: str, allowed: int, unit: int = 1) -> int:
            return min(allowed, int(asked[name] * unit)) if name in asked else allowed

        return cls(
            memory_bytes=least("memory_mb", limits.memory_bytes or ceiling.memory_bytes, MIB),
            cpu_seconds=max(1, least("cpu_seconds", ceiling.cpu_seconds)),
            output_bytes=least("output_bytes", limits.output_bytes),
            log_bytes=limits.log_bytes,
            log_lines=least("log_lines", ceiling.log_lines),
            host_calls=least("host_calls", ceiling.host_calls),
            http_calls=least("http_calls", ceiling.http_calls),
            timeout_seconds=asked.get("timeout_seconds"),
        )


def table_elements(ceiling: Ceiling, metadata: Metadata | None) -> int:
    """How many elements each table may have: fixed for a plugin, since it is built into the module that runs."""
    if metadata is None or "table_elements" not in metadata.limits:
        return ceiling.table_elements
    return min(ceiling.table_elements, int(metadata.limits["table_elements"]))
