"""Faults at random while tasks of every executor are made and cancelled: every promise holds, whatever came together.

What is tried is printed with its seed. `PAWL_RANDOM_FAULTS_SECONDS` is how long, `PAWL_RANDOM_FAULTS_SEED` which.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pawl.errors import FailedPrecondition
from pawl.v1.job_pb2 import Job, JobConfig
from pawl.v1.task_pb2 import Task

from tests.faults import history, work
from tests.faults import stage as stages
from tests.faults.cells import EXECUTORS
from tests.faults.cluster import until
from tests.faults.stage import GONE_SECONDS, Stage, leftovers

SECONDS = float(os.environ.get("PAWL_RANDOM_FAULTS_SECONDS", "6"))
SEED = int(os.environ.get("PAWL_RANDOM_FAULTS_SEED", random.SystemRandom().randrange(1 << 32)))
LEASE_SECONDS = 4.0
LONGEST_FAULT_SECONDS = LEASE_SECONDS + 2
END_SECONDS = 90.0
AT_ONCE = 6
UNENDED = f"SELECT count(*) FROM sched_task WHERE status NOT IN {history.FINAL}"
FAULTS = ("cut", "freeze", "take down", "kill server", "kill agent", "kill worker", "stop agent", "stop worker")


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with stages.opened(tmp_path, database_url) as made:
        yield made


@pytest.mark.timeout(SECONDS + 3 * END_SECONDS)
async def test_whatever_faults_come_together_every_task_ends_once_and_no_two_runs_overlap(
    stage: Stage, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    print("seed", SEED)  # noqa: T201  # pytest shows it when the test failed
    url, runs = stage.cluster.database_url, tmp_path / "runs"
    jobs = [*(program(seconds, runs) for seconds in (0.05, 1, 4)), *(quick(stage, one) for one in EXECUTORS)]
    for job in jobs:
        await stage.pawl.jobs.create(job)
    async with asyncio.TaskGroup() as group:
        faults = group.create_task(befall(stage, chance))
        while not faults.done():
            names = [chance.choice(jobs).name for _ in range(AT_ONCE)]
            made = await stage.pawl.tasks.create_many(Task(job_id=name) for name in names)
            tasks = [one for one in made if isinstance(one, Task)]
            assert len(tasks) == AT_ONCE, made
            if chance.random() < 0.5:
                await cancel(stage, chance.choice(tasks).id)
            await asyncio.sleep(chance.uniform(0.1, 1))
    await until("every task has ended", lambda: history.one(url, UNENDED) == 0, END_SECONDS)
    assert history.ask(url, "SELECT id FROM sched_task WHERE status = 90") == [], "nothing of this fails by itself"
    await until("nothing is left", lambda: not any(map(leftovers, stage.agents)), GONE_SECONDS)
    assert history.broken_promises(url) == {}
    assert overlaps(runs.read_text().splitlines() if runs.exists() else []) == []


def program(seconds: float, runs: Path) -> Job:
    """One that notes when it begins and ends."""
    note = f'echo "$(date +%s.%N) $PAWL_TASK_ID $PAWL_INSTANCE_ID" >> {runs}'
    return patient(
        work.job("process", f"{seconds:g}", JobConfig(cmd="sh", args=["-c", f"{note}; sleep {seconds}; {note}"]))
    )


def quick(stage: Stage, executor: str) -> Job:
    """One of each executor that has nothing against it."""
    return patient(stage.work(executor, "success").job)


def patient(job: Job) -> Job:
    """With a lease that faults outlast, and lost as often as it may be."""
    job.config.lost_after_seconds = LEASE_SECONDS
    job.config.max_stalled = job.config.max_retries = 1_000
    return job


async def befall(stage: Stage, chance: random.Random) -> None:
    """One fault after the other."""
    until_then = time.monotonic() + SECONDS
    while time.monotonic() < until_then:
        fault = chance.choice(FAULTS)
        print(f"{time.time():.2f} {fault}")  # noqa: T201  # see above
        await one_fault(stage, fault, chance.uniform(0.2, LONGEST_FAULT_SECONDS))
        await asyncio.sleep(chance.uniform(0.05, 2))


async def one_fault(stage: Stage, fault: str, seconds: float) -> None:
    """It is over when this returns. The sleeps are the faults themselves."""
    kind, _, whom = fault.partition(" ")
    agent = stage.worker if whom == "worker" else stage.agent
    match kind:
        case "cut":
            stage.wire.cut()
        case "freeze":
            stage.wire.freeze()
            await asyncio.sleep(seconds)
            stage.wire.thaw()
        case "take":
            await stage.wire.take_down()
            await asyncio.sleep(seconds)
            await stage.wire.put_up()
        case "kill" if whom == "server":
            stage.cluster.server.kill()
            await stage.cluster.server.start().serving()
        case "kill":
            agent.kill()
            await until(f"all of {agent.name} is gone", lambda: not agent.family(), GONE_SECONDS)
            agent.start()
        case "stop":
            os.kill(agent.pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            os.kill(agent.pid, signal.SIGCONT)


async def cancel(stage: Stage, task: str) -> None:
    """It may have ended before."""
    try:
        await stage.pawl.tasks.cancel(task, "by chance")
    except FailedPrecondition:
        assert (await stage.pawl.tasks.get(task)).finished_at.seconds


def overlaps(noted: list[str]) -> list[str]:
    """Runs that went on to their end while another one of the same task had begun. One that was killed has no end."""
    runs: dict[tuple[str, str], list[float]] = {}
    for line in noted:
        at, task, instance = line.split()
        runs.setdefault((task, instance), []).append(float(at))
    ended = [(task, instance, times) for (task, instance), times in runs.items() if len(times) == 2]
    return [
        task
        for task, instance, (begun, end) in ended
        for (other_task, other), times in runs.items()
        if other_task == task and other != instance and begun <= times[0] < end
    ]
