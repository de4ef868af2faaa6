"""One run under the keeper's eyes: what it uses, and what follows when that is too much.

What control groups hold they hold by themselves: here it is only noticed that they had to. What they do not hold is
held by looking at the processes again and again: a run with too much memory or too many processes is ended, one that
takes more than its share of the processor is stopped for as long as it has had too much. A look comes late by nature,
so a run can be beyond its limit for a moment.

Runs without limits are looked at too, ever more rarely: what they used at most is reported at their end.
Light standard modules only, for the keeper's sake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.cgroups import Group
from agent.procfs import Stat, proportional_bytes

MEMORY, CPU, PROCESSES = "memory", "cpu", "processes"
CEILING = "ceiling"
"""The kind of a breach of what the agent allows a run whose job does not say how many processes it may have."""
FIELDS = {MEMORY: "max_memory_mb", CPU: "max_cpu_percent", PROCESSES: "max_processes"}
"""What a job calls them."""
CONTROLLER_OF = {MEMORY: "memory", CPU: "cpu", PROCESSES: "pids"}

_LOOK_SECONDS = 0.05  # a limit that nobody else holds
_GROUP_SECONDS = 0.1  # one that a control group holds
_FIRST_SECONDS, _LAST_SECONDS, _GROWTH = 0.1, 2.0, 1.5
_BURST_SECONDS = 0.1  # of processor time at full share that an idle run may save up
_SUDDEN = 16  # so many more threads, and twice as many: look again soon


@dataclass(frozen=True, slots=True)
class Breach:
    """What a run wanted more of than it may: `kind`, how much it may, how much it had (0: not known)."""

    kind: str
    limit: float
    seen: float


class Share:
    """A share of the processor, held by stopping whoever has had more of it until it has not."""

    def __init__(self, cores: float, now: float) -> None:
        self.stopped = False
        self.stopped_seconds = 0.0
        self._cores = cores
        self._credit = 0.0
        self._total = 0.0
        self._seen_at = now

    def see(self, total: float, now: float, *, paused: bool = False) -> None:
        """`total`: the seconds of processor it has used until now. `paused`: it stood still for another reason."""
        passed, self._seen_at = now - self._seen_at, now
        used, self._total = max(0.0, total - self._total), max(total, self._total)
        self._credit = min(self._cores * _BURST_SECONDS, self._credit + self._cores * passed - used)
        if self.stopped and not paused:
            self.stopped_seconds += passed

    @property
    def must_stop(self) -> bool:
        """Whether it has had more than its share."""
        return self._credit < 0


class Watch:
    """One run's figures and limits. Pure but for reading files: whoever looks also acts."""

    def __init__(self, bounds: Mapping[str, float], group: Group | None, now: float, ceiling: int | None) -> None:
        """`bounds` by kind: bytes, cores, processes and threads. `now` in monotonic seconds. `ceiling`: more processes
        and threads end any run; it is looked for at leisure, and costs an ordinary run nothing.
        """
        self._ceiling = ceiling
        self.group = group
        held = group.holds if group is not None else frozenset()
        self._bounds = bounds
        self._sampled = {kind: bound for kind, bound in bounds.items() if CONTROLLER_OF[kind] not in held}
        self.breach: Breach | None = None
        self.peak = 0
        self._threads = 0
        self._share = Share(self._sampled[CPU], now) if CPU in self._sampled else None
        if self._sampled:
            self._interval = _LOOK_SECONDS
        else:
            self._interval = _GROUP_SECONDS if bounds else _FIRST_SECONDS
        self.next_at = _together(now, self._interval)

    def held_by(self) -> dict[str, str]:
        """Who holds each limit, in words."""
        words = {}
        for kind in self._bounds:
            folder = None if self.group is None else self.group.paths.get(CONTROLLER_OF[kind])
            words[kind] = "sampling" if folder is None else f"control group, version {folder.version}"
        return words

    def look(self, members: Mapping[int, Stat], ended_cpu_seconds: float, now: float, *, paused: bool = False) -> None:
        """Take in how its processes are now. `ended_cpu_seconds`: what those used that have been reaped. `paused`: it
        stands still for another reason than its share.
        """
        threads = sum(stat.threads for stat in members.values())
        self._see_memory(members)
        self.notice()
        allowed = self._sampled.get(PROCESSES)
        if allowed is not None and threads > allowed and self.breach is None:
            self.breach = Breach(PROCESSES, allowed, threads)
        elif self._ceiling is not None and threads > self._ceiling and self.breach is None:
            self.breach = Breach(CEILING, self._ceiling, threads)
        if self._share is not None:
            total = ended_cpu_seconds + sum(stat.cpu_seconds for stat in members.values())
            self._share.see(total, now, paused=paused)
        if not self._bounds:
            sudden = threads > self._threads + _SUDDEN and threads > 2 * self._threads
            self._interval = _FIRST_SECONDS if sudden else min(_LAST_SECONDS, self._interval * _GROWTH)
        self._threads = threads
        self.next_at = _together(now, self._interval)

    def notice(self) -> None:
        """What the control group had to do."""
        if self.group is None or self.breach is not None:
            return
        if self.group.memory_kills():
            self.peak = max(self.peak, self.group.peak_memory())
            self.breach = Breach(MEMORY, self._bounds[MEMORY], 0)
        elif self.group.refused_processes():
            self.breach = Breach(PROCESSES, self._bounds[PROCESSES], 0)

    @property
    def throttled_seconds(self) -> float:
        """How long it was kept from the processor."""
        stopped = self._share.stopped_seconds if self._share is not None else 0.0
        return stopped + (self.group.throttled_seconds() if self.group is not None else 0.0)

    @property
    def stopped(self) -> bool:
        """Whether it stands still because of its share; said by whoever stops it."""
        return self._share is not None and self._share.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        if self._share is not None:
            self._share.stopped = stopped

    @property
    def must_stop(self) -> bool:
        """Whether it has had more than its share of the processor."""
        return self._share is not None and self._share.must_stop

    def _see_memory(self, members: Mapping[int, Stat]) -> None:
        used = sum(stat.resident for stat in members.values())
        allowed = self._sampled.get(MEMORY)
        if used <= self.peak and (allowed is None or used <= allowed):
            return
        if len(members) > 1:  # what they share was counted for each: worth the slow look only when it matters
            used = _proportional(members.items())
        self.peak = max(self.peak, used)
        if allowed is not None and used > allowed and self.breach is None:
            self.breach = Breach(MEMORY, allowed, used)


def _together(now: float, interval: float) -> float:
    """When to look next: at instants that runs share, since one look is a walk through all processes."""
    if interval < _FIRST_SECONDS:
        return now + interval
    grid = 1.0 if interval >= 1.0 else _FIRST_SECONDS
    return math.ceil((now + interval) / grid) * grid


def _proportional(members: Iterable[tuple[int, Stat]]) -> int:
    total = 0
    for pid, stat in members:
        exact = proportional_bytes(pid)
        total += stat.resident if exact is None else exact
    return total
