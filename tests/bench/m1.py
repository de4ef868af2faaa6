"""M1: memory: an idle control plane, and an idle agent with its keeper; and both after some work.

Of the control plane what is resident (RSS), which counts its libraries whole. Of the agent and what it has started the
share of each (PSS), without the process that forks plugins: an agent that runs none (`executor.enabled`) has none.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.bench import p1, plane
from tests.bench.report import Row
from tests.bench.stage import NOOP, PATIENCE_SECONDS, Stage

SETTLED_SECONDS = 2.0
PLANE_GOAL = 100
AGENT_GOAL = 60
MIB = 1 << 20


async def measure(stage: Stage) -> list[Row]:
    """The rows of M1."""
    await stage.make_noop()
    await stage.make_job(p1.JOB, p1.PROGRAM)
    settled = stage.number(1, 0) * SETTLED_SECONDS
    await asyncio.sleep(settled)
    idle_plane = stage.plane.resident_bytes() / MIB
    with plane.agent(stage.plane, stage.database.folder, p1.SLOTS) as agent:
        await stage.online(1)
        await asyncio.sleep(settled)
        family = [one for one in plane.family(agent) if not _is_zygote(one)]
        idle_agent = shares(family)
        zygotes = {"zygote RSS": sum(map(plane.resident_bytes, set(plane.family(agent)) - set(family))) / MIB}
        runs = stage.number(200, 10)
        await stage.create_many(p1.JOB, runs)
        await stage.all_ended()
        worked_agent = shares(family)
    count = stage.number(10_000, 500)
    async with stage.worker(starts=False) as worker:
        await stage.create_many(NOOP, count)
        await worker.acknowledged_up_to(count, PATIENCE_SECONDS)
    return [
        _row(stage, "control plane, idle, RSS", idle_plane, {"goal MiB": PLANE_GOAL}),
        _row(stage, f"control plane after {count:,} tasks, RSS", stage.plane.resident_bytes() / MIB, {}),
        _row(
            stage,
            "agent with its keeper, idle, PSS",
            sum(idle_agent.values()),
            {"goal MiB": AGENT_GOAL, **_each(idle_agent), **zygotes},
        ),
        _row(
            stage, f"agent with its keeper after {runs} processes, PSS", sum(worked_agent.values()), _each(worked_agent)
        ),
    ]


def _row(stage: Stage, what: str, size: float, counters: dict[str, str | float]) -> Row:
    return Row("M1", stage.database.kind, what, "MiB", [size], more=False, counters=counters)


def _each(found: dict[int, float]) -> dict[str, str | float]:
    return {"each process": " + ".join(f"{one:.1f}" for one in found.values())}


def _is_zygote(pid: int) -> bool:
    return b"zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()


def shares(pids: Sequence[int]) -> dict[int, float]:
    """What each of some processes has in memory (PSS), MiB: what several of them have is divided among them. Files that
    others have in memory too are counted as if they had not.
    """
    files: dict[tuple[str, str], dict[int, int]] = {}
    found = dict.fromkeys(pids, 0.0)
    for one in pids:
        found[one] += _anonymous(one)
        for place, size in _mapped(one).items():
            files.setdefault(place, {})[one] = size
    for sizes in files.values():
        whole = max(sizes.values()) / sum(sizes.values())
        for one, size in sizes.items():
            found[one] += size * whole
    return {one: size / 1024 for one, size in found.items()}


def _anonymous(pid: int) -> int:
    """KiB of its own and of those it shares with its family by having been forked."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def _mapped(pid: int) -> dict[tuple[str, str], int]:
    """KiB of each piece of a file that it has in memory as it is on the disk."""
    found: dict[tuple[str, str], int] = {}
    place = ("", "")
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            place = (words[5] if len(words) > 5 else "", words[2])
        elif place[0].startswith("/") and words[0] in ("Rss:", "Anonymous:"):
            found[place] = found.get(place, 0) + int(words[1]) * (1 if words[0] == "Rss:" else -1)
    return {place: size for place, size in found.items() if size > 0}
