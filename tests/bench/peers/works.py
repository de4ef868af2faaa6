"""What is measured of every peer, Pawl among them, in the same way.

Bulk: no-op tasks created by two callers in the largest calls that the peer has (500 at most), until the last one has
started. Callers: the same, created by 64 callers with a call for each. Trigger: from before the call that creates a
task until its first line, one after the other. Killed: `kill -9` while tasks come steadily, started again at once,
until a task that was asked for after the kill has started.
"""

import random
import time
from dataclasses import dataclass, field

from tests.bench.peers.running import Running
from tests.bench.stage import busy_seconds

CALLERS = 64
WARM_SECONDS = 45.0
PATIENCE_SECONDS = 60.0
# A start is tied to a beat where a peer polls; a pause of chance, longer than any of these beats, unties the next one.
PAUSE_SECONDS = (0.01, 0.07)
TRIGGER_SECONDS = 15.0
BEFORE_KILL_SECONDS = 1.0
AFTER_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of each."""

    tasks: int = 4_000
    seconds: float = 4.0
    triggers: int = 150
    warm: int = 200
    steady_seconds: float = 6.0


QUICK = Size(tasks=200, seconds=1.0, triggers=10, warm=40, steady_seconds=2.0)


@dataclass(slots=True)
class Figures:
    """One peer's, over all repeats. Rates are tasks a second, triggers milliseconds, kills seconds, CPU microseconds a
    task: of its own processes (server, worker, client) and of its store (PostgreSQL or Redis).
    """

    bulk: list[float] = field(default_factory=list)
    callers: list[float] = field(default_factory=list)
    trigger: list[float] = field(default_factory=list)
    bulk_cpu: list[tuple[float, float]] = field(default_factory=list)
    callers_cpu: list[tuple[float, float]] = field(default_factory=list)
    strangers: list[float] = field(default_factory=list)
    killed: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: int = 0
    doubled: int = 0
    doubled_by_kill: int = 0


def measure(running: Running, figures: Figures, size: Size) -> None:
    """Bulk, callers and trigger, in one life of the peer. Raises Failed."""
    rate = _warm(running, size)
    count = max(50, min(size.tasks, int(rate * size.seconds)))
    _drain(running, figures, "create_many", count, figures.bulk, figures.bulk_cpu)
    _drain(running, figures, "create_each", count, figures.callers, figures.callers_cpu)
    _trigger(running, figures, size)


def kill(running: Running, figures: Figures, size: Size, victim: str) -> None:
    """Kill one part and start it again. Raises Failed."""
    rate = _warm(running, size)
    every = max(0.02, 2 / rate)  # half of what it can do at most, so that nobody queues behind what was there before
    indexes = running.take(int(size.steady_seconds / every))
    running.say("create_steadily", indexes, every=every)
    time.sleep(BEFORE_KILL_SECONDS)
    killed = running.kill(victim)
    running.start(victim)
    answer = running.hear(size.steady_seconds + AFTER_SECONDS)
    refused = {index for index, _ in answer["refused"]}
    new = [index for index, at in answer["at"] if at > killed]
    old = [index for index, at in answer["at"] if at <= killed and index not in refused]
    acknowledged = [index for index in indexes if index not in refused]
    waiting = running.starts.wait(acknowledged, AFTER_SECONDS, pause=0.05)
    first = min((running.starts.at[one][0] for one in new if one in running.starts.at), default=None)
    figures.doubled_by_kill += running.starts.twice(indexes)
    if first is not None:
        figures.killed.setdefault(victim, []).append((first - killed) / 1e9)
    last = max((running.starts.at[one][-1] for one in old if one in running.starts.at), default=killed)
    figures.notes.append(
        f"{victim} killed: {len(refused)} of {len(indexes)} creates refused, {running.starts.twice(indexes)} ran twice,"
        f" the last start of one from before the kill came {max(0.0, (last - killed) / 1e9):.1f} s after it"
        + (f", {waiting} had not {AFTER_SECONDS:.0f} s after the last create" if waiting else "")
    )


def _warm(running: Running, size: Size) -> float:
    """Connections, caches, plans; gives the rate, roughly."""
    indexes = running.take(size.warm)
    answer = running.ask("create_each", indexes, WARM_SECONDS, callers=8)
    if answer["refused"]:
        raise TimeoutError(f"{len(answer['refused'])} creates were refused: {answer['refused'][0][1]}")
    if missing := running.starts.wait(indexes, WARM_SECONDS):
        raise TimeoutError(f"{missing} of {size.warm} tasks had not started after {WARM_SECONDS:.0f} s")
    begun: int = answer["begun"]
    return size.warm / ((_last(running, indexes) - begun) / 1e9)


def _drain(
    running: Running, figures: Figures, do: str, count: int, rates: list[float], cpus: list[tuple[float, float]]
) -> None:
    indexes = running.take(count)
    busy, own, store = busy_seconds(), *running.cpu_seconds()
    begun = time.perf_counter()
    answer = running.ask(do, indexes, PATIENCE_SECONDS, callers=CALLERS)
    missing = running.starts.wait(indexes, PATIENCE_SECONDS, pause=0.01)
    seconds = time.perf_counter() - begun
    busy, (own_after, store_after) = busy_seconds() - busy, running.cpu_seconds()
    cpus.append(((own_after - own) / count * 1e6, (store_after - store) / count * 1e6))
    figures.strangers.append(max(0.0, busy - (own_after - own) - (store_after - store)) / seconds)
    figures.doubled += running.starts.twice(indexes)
    figures.missing += missing
    if missing or answer["refused"]:
        figures.notes.append(f"{do}: {len(answer['refused'])} refused, {missing} not started in time")
        return
    rates.append(count / ((_last(running, indexes) - answer["begun"]) / 1e9))


def _trigger(running: Running, figures: Figures, size: Size) -> None:
    deadline = time.monotonic() + TRIGGER_SECONDS
    for _ in range(size.triggers):
        indexes = running.take(1)
        time.sleep(random.uniform(*PAUSE_SECONDS))
        answer = running.ask("create_each", indexes, callers=1)
        if running.starts.wait(indexes, PATIENCE_SECONDS):
            figures.missing += 1
            figures.notes.append(f"trigger: a task had not started after {PATIENCE_SECONDS:.0f} s")
            return
        figures.trigger.append((running.starts.at[indexes.start][0] - answer["begun"]) / 1e6)
        if time.monotonic() > deadline:
            return


def _last(running: Running, indexes: range) -> int:
    return max(running.starts.at[one][0] for one in indexes)
