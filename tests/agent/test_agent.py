"""A whole agent (keeper, spool, process executor) against a scripted control plane; real processes, real kills."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pawl.link import TakenOver
from pawl.v1 import agent_pb2, job_pb2, task_pb2

from agent.spool import Spool
from tests.agent.scripted import (
    DEADLINE,
    ScriptedControlPlane,
    acks,
    assign,
    begins,
    cancel,
    cuts,
    does,
    drain,
    goodbye,
    hears,
    number_of,
    opens,
    pause,
    reconcile,
    ref,
    resume,
    running_agent,
    says,
    shell,
    until,
    welcome,
    work,
)
from tests.agent.wasm_stage import digest, execute

Status = task_pb2.Task


@pytest.fixture
async def plane() -> AsyncIterator[ScriptedControlPlane]:
    async with ScriptedControlPlane() as control_plane:
        yield control_plane


@asynccontextmanager
async def agent_process(
    plane: ScriptedControlPlane, folder: Path, *flags: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pawl agent` as a process of its own, ended in the end."""
    program = "import typer; from agent.commands import agent; typer.run(agent)"
    state = ["--data-dir", str(folder / "state"), "--server", plane.target, "--name", "an-agent"]
    environ = {**os.environ, "PAWL_EXECUTOR_ENABLED": "process"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *state, *flags, env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def stands_still(pid: int) -> bool:
    """Whether a process is stopped."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] in "TD"


async def pid_in(file: Path) -> int:
    """The process that wrote its number into a file."""
    found: list[int] = []

    def look() -> bool:
        if file.exists():
            found.extend(int(word) for word in file.read_text().split())
        return bool(found)

    await until(look)
    return found[0]


# What a run gives.


async def test_a_run_reports_its_exit_code_output_and_usage(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(
            begins(), says(assign(shell(1, "echo out; echo err >&2; exit 3"))), hears("taken", 1), hears("finished", 1)
        )
    assert (done.status, done.exit_code, done.HasField("signal")) == (Status.FAILED, 3, False)
    assert done.error.code == "EXIT_3"
    assert done.error.retryable
    assert (done.output.data, done.output_size, done.output_truncated) == (b"out\n", 4, False)
    assert done.metrics.wall_seconds > 0
    assert done.started_seconds_ago >= done.finished_seconds_ago >= 0


async def test_a_program_that_does_not_exist_is_the_users_error_and_ends_the_attempt(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(begins(), says(assign(work(1, "no-such-program"))), hears("finished", 1))
    assert (done.status, done.error.code) == (Status.FAILED, "COMMAND_NOT_FOUND")
    assert not done.HasField("started_seconds_ago")
    assert not done.HasField("exit_code")


async def test_work_for_an_executor_that_it_has_not_fails_by_name(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(begins(), says(assign(work(1, "", executor="quantum"))), hears("finished", 1))
    assert done.error.code == "EXECUTOR_NOT_FOUND"
    assert "quantum" in done.error.message


async def test_output_is_cut_to_the_jobs_limit_and_says_so(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        item = shell(1, "yes | head -c 100000", max_output_size=1000)
        *_, done = await plane.play(begins(), says(assign(item)), hears("finished", 1))
    assert done.output_truncated
    assert done.output_size == 100_000
    assert len(done.output.data) <= 1000


async def test_the_environment_is_the_agents_then_the_jobs(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path, environment__A="agent", environment__B="agent"):
        item = shell(1, "echo $A $B $PAWL_ATTEMPT $PAWL_JOB", environment={"B": "job"})
        *_, done = await plane.play(begins(), says(assign(item)), hears("finished", 1))
    assert done.output.data == b"agent job 1 a-job\n"


async def test_an_agent_says_who_it_is(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path, labels__gpu="true", agent__max_concurrent_tasks=3):
        hello, _ = await plane.play(begins(), hears("credits", 3))
    assert hello.agent_id == "an-agent"
    assert (hello.protocol_version, hello.generation, hello.slots) == (1, 1, 3)
    assert [executor.name for executor in hello.executors] == ["process"]
    assert hello.labels["gpu"] == "true"
    assert hello.labels["sys_os"] == "linux"
    assert int(hello.labels["sys_cores"]) >= 1
    assert int(hello.labels["sys_memory_mb"]) > 0


# Taking and giving back.


async def test_an_assignment_that_comes_twice_starts_once(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    item = shell(1, f"echo start >> {tmp_path}/starts; sleep 0.2")
    async with running_agent(plane, tmp_path):
        await plane.play(
            begins(), says(assign(item)), says(assign(item)), hears("taken", 1), hears("taken", 1), hears("finished", 1)
        )
        await plane.play(says(assign(item)), says(assign(work(2, "true"))), hears("finished", 2))
        assert plane.stream.count("finished", 1) == 1
    assert (tmp_path / "starts").read_text() == "start\n"


async def test_what_there_is_no_slot_for_is_given_back_at_once(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path, agent__max_concurrent_tasks=1):
        await plane.play(
            begins(), hears("credits", 1), says(assign(work(1, "sleep", "60"), work(2, "true"))), hears("taken", 1),
            hears("refused", 2), hears("credits", 0), says(cancel(1)), hears("finished", 1), hears("credits", 1),
        )  # fmt: skip


async def test_an_agent_counts_the_slots_and_the_resources_that_each_attempt_takes_up(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path, agent__max_concurrent_tasks=4, resources__gpu=2):
        large, greedy = shell(1, "sleep 60"), work(2, "true")
        for item, slots, gpus in ((large, 3, 1), (greedy, 1, 2)):
            item.config.placement.slots = slots
            item.config.placement.resources["gpu"] = gpus
        hello, *_ = await plane.play(
            begins(), hears("credits", 4, free={"slots": 4, "gpu": 2}),
            says(assign(large)), hears("taken", 1), hears("credits", 1, free={"slots": 1, "gpu": 1}),
            says(assign(greedy)), hears("refused", 2),
            says(cancel(1)), hears("finished", 1), hears("credits", 4, free={"slots": 4, "gpu": 2}),
        )  # fmt: skip
    assert dict(hello.resources) == {"gpu": 2}
    assert "units" in hello.features


async def test_a_draining_agent_finishes_and_takes_nothing_new(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(
            begins(), says(assign(shell(1, f"until test -e {tmp_path}/go; do sleep 0.01; done"))), hears("taken", 1),
            says(drain()), hears("credits", 0), says(assign(work(2, "true"))), hears("refused", 2),
            does((tmp_path / "go").touch), hears("finished", 1),
        )  # fmt: skip
    assert done.status == Status.SUCCEEDED


async def test_a_newer_placement_of_the_same_task_waits_for_the_end_of_the_older(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    older = shell(1, f"trap 'echo old >> {tmp_path}/order; exit' TERM; touch {tmp_path}/up; sleep 60 & wait")
    newer = shell(1, f"echo new >> {tmp_path}/order", token=2)
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(older)), hears("taken", 1))
        await until((tmp_path / "up").exists)
        await plane.play(
            says(assign(newer)), hears("finished", 1, instance__token=1), hears("finished", 1, instance__token=2)
        )
    assert (tmp_path / "order").read_text() == "old\nnew\n"


async def test_short_runs_are_reported_by_their_end_alone(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        await plane.play(begins(started_after=30), says(assign(work(1, "true"))), hears("finished", 1))
        assert plane.stream.count("started", 1) == 0


# Ending.


async def test_cancel_ends_the_group_and_is_confirmed_when_all_of_it_is_gone(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    deaf = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; sleep 60; sleep 60' & wait"
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(shell(1, deaf, grace_seconds=0.1))), hears("started", 1))
        child = await pid_in(tmp_path / "child")
        (done,) = await plane.play(says(cancel(1, "not needed")), hears("finished", 1))
        assert not alive(child)
    assert (done.status, done.signal, done.error.message) == (Status.CANCELLED, signal.SIGKILL, "not needed")


async def test_an_attempt_over_its_timeout_is_stopped_and_says_which_limit(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(
            begins(), says(assign(work(1, "sleep", "60", timeout_seconds=0.2))), hears("finished", 1)
        )
    assert (done.status, done.signal, done.error.code) == (Status.TIMED_OUT, signal.SIGTERM, "TIMEOUT")
    assert "0.2 s" in done.error.message
    assert done.started_seconds_ago - done.finished_seconds_ago >= 0.2


async def test_a_paused_program_stands_still_until_it_is_resumed_or_cancelled(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    ticks = f"echo $$ > {tmp_path}/NAME; while :; do echo . >> {tmp_path}/NAME.ticks; sleep 0.02; done"
    async with running_agent(plane, tmp_path):
        both = [shell(number, ticks.replace("NAME", f"p{number}")) for number in (1, 2)]
        await plane.play(begins(), says(assign(*both)), hears("started", 1), hears("started", 2))
        first, second = [await pid_in(tmp_path / f"p{number}") for number in (1, 2)]
        await plane.play(says(pause(1)))
        await until(lambda: stands_still(first))
        before = (tmp_path / "p1.ticks").stat().st_size
        other = (tmp_path / "p2.ticks").stat().st_size
        await until(lambda: (tmp_path / "p2.ticks").stat().st_size > other + 5)
        assert (tmp_path / "p1.ticks").stat().st_size == before
        await plane.play(says(resume(1)))
        await until(lambda: (tmp_path / "p1.ticks").stat().st_size > before)
        await plane.play(says(pause(1, 2)))
        await until(lambda: stands_still(first) and stands_still(second))
        (done,) = await plane.play(says(cancel(1)), hears("finished", 1))
        assert (done.status, done.signal) == (Status.CANCELLED, signal.SIGTERM)
        assert stands_still(second)


async def test_after_a_cut_what_is_paused_is_what_the_control_plane_says_then(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path):
        both = [shell(number, f"echo $$ > {tmp_path}/p{number}; exec sleep 60") for number in (1, 2)]
        await plane.play(begins(), says(assign(*both)), hears("started", 1), hears("started", 2))
        first, second = [await pid_in(tmp_path / f"p{number}") for number in (1, 2)]
        await plane.play(says(pause(1)))
        await until(lambda: stands_still(first))
        # Meanwhile one was let go on and the other held.
        answer = reconcile(keep=(ref(1), ref(2)), paused=(ref(2),))
        await plane.play(cuts(), opens(), hears("hello"), says(welcome(), answer))
        await until(lambda: stands_still(second) and not stands_still(first))


async def test_an_agent_says_which_executors_can_pause(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        hello, *_ = await plane.play(begins())
    assert {one.name: one.can_pause for one in hello.executors} == {"process": True}


async def test_work_out_of_reach_is_stopped_before_its_lease_is_over(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    bound = shell(1, f"echo $$ > {tmp_path}/bound; exec sleep 60", lease_seconds=3.0)
    free = shell(
        2, f"echo $$ > {tmp_path}/free; exec sleep 60", lease_seconds=3.0,
        on_control_plane_lost=job_pb2.JobConfig.CONTINUE,
    )  # fmt: skip
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), hears("heartbeat"), says(assign(bound, free)), hears("started", 1))
        pid, free_pid = await pid_in(tmp_path / "bound"), await pid_in(tmp_path / "free")
        await plane.stop()
        gone_after = asyncio.get_running_loop().time()
        await until(lambda: not alive(pid))
        assert asyncio.get_running_loop().time() - gone_after < 3.0
        assert alive(free_pid)
        await plane.restart()
        hello, done = await plane.play(begins(), hears("finished", 1))
        assert [number_of(one) for one in hello.running] == [2]
    assert (done.status, done.error.code, done.error.retryable) == (Status.FAILED, "LEASE_EXPIRED", True)


async def test_a_program_that_touches_its_progress_file_is_alive(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    touches = 'for _ in $(seq 15); do touch "$PAWL_PROGRESS_FILE"; sleep 0.1; done'
    alive_for_long, silent = shell(1, touches), shell(2, f"{touches}; sleep 60")
    for one in (alive_for_long, silent):
        one.config.heartbeat_timeout_seconds = 0.4  # less than from one look at the file to the next
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(alive_for_long, silent)))
        [done] = await plane.play(hears("finished", 1))
        assert done.status == Status.SUCCEEDED
        [done] = await plane.play(hears("finished", 2))
    assert (done.status, done.error.code) == (Status.TIMED_OUT, "HEARTBEAT_TIMEOUT")


async def test_beats_come_often_enough_for_the_shortest_lease(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        await plane.play(
            begins(heartbeat=60), hears("heartbeat"), says(assign(work(1, "sleep", "60", lease_seconds=0.4)))
        )
        await plane.play(*[hears("heartbeat")] * 8)  # a lease of 0.4 s that nobody renews would have ended it
        assert plane.stream.count("finished", 1) == 0


# Settings that are intervals.


async def test_an_agent_without_a_free_slot_goes_on_beating_and_hears_what_it_is_told(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path, agent__max_concurrent_tasks=1):
        await plane.play(begins(heartbeat=0.1), says(assign(work(1, "sleep", "60"))), hears("credits", 0))
        await plane.play(*[hears("heartbeat")] * 5, says(cancel(1)))
        [done] = await plane.play(hears("finished", 1))
    assert done.status == Status.CANCELLED


async def test_heartbeat_interval_is_the_longest_silence(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path, agent__heartbeat_interval=0.1):
        await plane.play(begins(heartbeat=60), *[hears("heartbeat")] * 5)


async def test_task_check_interval_is_how_often_free_slots_are_said_when_nothing_happens(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path, agent__task_check_interval=0.1, agent__max_concurrent_tasks=3):
        await plane.play(begins(), *[hears("credits", 3)] * 5)


async def test_cleanup_interval_is_how_often_folders_of_tasks_that_are_over_are_removed(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    left = tmp_path / "work" / "00000000-0000-7000-8000-000000000009.1"
    async with running_agent(
        plane, tmp_path, executor__work_dir=str(tmp_path / "work"), executor__cleanup_interval=0.1
    ):
        await plane.play(begins(), says(assign(work(1, "sleep", "60"))), hears("taken", 1))
        (left / "deep").mkdir(parents=True)  # as if its removal had failed
        await until(lambda: not left.exists())
        assert len(list((tmp_path / "work").iterdir())) == 1, "the folder of what runs stays"


# Streams that break.


@pytest.mark.parametrize("phase", ["welcome", "assigned", "started", "finished"])
async def test_a_cut_in_any_phase_costs_nothing(plane: ScriptedControlPlane, tmp_path: Path, phase: str) -> None:
    plane.acks = False
    item = shell(1, f"echo start >> {tmp_path}/starts; until test -e {tmp_path}/go; do sleep 0.01; done")
    script = [
        opens(), hears("hello"), says(welcome()), says(reconcile()), hears("credits"),
        says(assign(item)), hears("taken", 1), hears("started", 1), does((tmp_path / "go").touch), hears("finished", 1),
    ]  # fmt: skip
    upto = {"welcome": 3, "assigned": 7, "started": 8, "finished": 10}[phase]
    async with running_agent(plane, tmp_path):
        await plane.play(*script[:upto], cuts())
        (hello,) = await plane.play(begins())
        plane.acks = True
        if phase == "welcome":
            await plane.play(says(assign(item)))
        else:
            named = hello.finished if phase == "finished" else hello.running
            assert [number_of(one) for one in named] == [1]
        *_, done = await plane.play(does((tmp_path / "go").touch), hears("finished", 1))
        assert done.status == Status.SUCCEEDED
    assert (tmp_path / "starts").read_text() == "start\n"


async def test_results_of_an_absence_arrive_after_a_restart_of_the_control_plane(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    item = shell(1, f"until test -e {tmp_path}/go; do sleep 0.01; done; touch {tmp_path}/went")
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(item)), hears("taken", 1))
        await plane.stop()
        (tmp_path / "go").touch()
        await until((tmp_path / "went").exists)
        await until(lambda: any((tmp_path / "state" / "spool").iterdir()))
        await plane.restart()
        *_, done = await plane.play(begins(), hears("finished", 1))
    assert done.status == Status.SUCCEEDED


async def test_work_that_is_somebody_elses_now_is_stopped_and_reported_as_evidence(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(work(1, "sleep", "60"))), hears("started", 1), cuts())
        *_, done = await plane.play(
            opens(), hears("hello"), says(welcome(), reconcile(stop=(ref(1),))), hears("finished", 1)
        )
    assert (done.status, done.error.code) == (Status.CANCELLED, "SUPERSEDED")


async def test_a_result_that_nobody_waits_for_leaves_the_disk(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    plane.acks = False
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(work(1, "true"))), hears("finished", 1), cuts())
        await plane.play(opens(), hears("hello"), says(welcome(), reconcile(forget=(ref(1),))), hears("credits"))
        plane.acks = True
        assert plane.stream.count("finished", 1) == 0
    assert Spool(tmp_path / "state" / "spool").keys() == []


async def test_a_slow_control_plane_gets_every_result_once_it_acknowledges(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    plane.acks = False
    async with running_agent(plane, tmp_path, agent__max_concurrent_tasks=20):
        items = [shell(number, f"touch {tmp_path}/done-{number}") for number in range(1, 16)]
        await plane.play(begins(window=3), says(assign(*items)))
        await until(lambda: len(list(tmp_path.glob("done-*"))) == 15)
        plane.acks = True
        await plane.play(acks(), *(hears("finished", number) for number in range(1, 16)))
        assert plane.stream.count("broken") == 0


async def test_an_agent_that_was_taken_over_ends_with_all_it_ran(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path) as agent:
        await plane.play(begins(), says(assign(shell(1, f"echo $$ > {tmp_path}/pid; exec sleep 60"))))
        pid = await pid_in(tmp_path / "pid")
        await plane.play(says(goodbye(agent_pb2.Goodbye.TAKEN_OVER, "by host b")))
        error = await agent.end()
        assert isinstance(error, TakenOver)
        assert "by host b" in str(error)
    assert not alive(pid)


# Logs.


async def test_logs_arrive_whole_and_before_the_result(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(shell(1, "seq 20000; printf end"))), hears("finished", 1))
        assert plane.log_text(1) == b"".join(b"%d\n" % number for number in range(1, 20001)) + b"end"


async def test_logs_that_fail_are_repeated_and_never_doubled(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    plane.log_failures = 2
    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(shell(1, "echo one; echo two"))), hears("finished", 1))
        await until(lambda: plane.logs)
        assert plane.log_text(1) == b"one\ntwo\n"


async def test_a_result_does_not_wait_long_for_logs_that_nobody_takes(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    plane.log_failures = 10_000
    async with running_agent(plane, tmp_path):
        *_, done = await plane.play(begins(), says(assign(work(1, "echo", "hi"))), hears("finished", 1))
    assert 0.5 < done.finished_seconds_ago < 5


async def test_what_was_printed_out_of_reach_arrives_before_the_result(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    script = f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo last words; touch {tmp_path}/done"
    async with running_agent(plane, tmp_path) as agent:
        await plane.play(begins(), says(assign(shell(1, script))), hears("started", 1))
        await until(lambda: plane.log_text(1) == b"first\n")
        await plane.stop()
        (tmp_path / "go").touch()
        await until((tmp_path / "done").exists)
        await until(lambda: agent.agent.running == 0)
        await plane.restart()
        await plane.play(begins(), hears("finished", 1))
        assert plane.log_text(1) == b"first\nlast words\n"  # whoever follows it stops at the end


async def test_a_log_over_its_limit_says_how_much_is_missing(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    line, count = b"0" * 100, 120_000  # 12 MB
    script = f"yes {line.decode()} | head -n {count}"

    def counted() -> tuple[int, int, int]:
        """Bytes that are said to be missing, bytes that are there, and how often some are missing."""
        lines = plane.log_text(1).split(b"\n")
        said = [
            int(one.split()[1].replace(b",", b"")) for one in lines if one.startswith(b"[pawl]") and b" bytes " in one
        ]
        return sum(said), sum(len(one) + 1 for one in lines if one and not one.startswith(b"[pawl]")), len(said)

    def complete() -> bool:
        # A line that was cut short is followed by the word about it in a line of its own.
        told, kept, gaps = counted()
        return abs(told + kept - count * 101) <= gaps

    async with running_agent(plane, tmp_path):
        await plane.play(begins(), says(assign(shell(1, script))), hears("finished", 1))
        await until(complete)
        assert counted()[0] >= count * 101 - (10 << 20)


# Starts and stops.


async def test_after_a_kill_the_next_start_delivers_results_and_nothing_is_left_running(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    plane.acks = False
    async with agent_process(plane, tmp_path) as first:
        hello, *_ = await plane.play(begins(), says(assign(shell(1, f"echo $$ > {tmp_path}/pid; exec sleep 60"))))
        pid = await pid_in(tmp_path / "pid")
        await plane.play(says(assign(work(2, "echo", "kept"))), hears("finished", 2))
        first.kill()
        await first.wait()
        await until(lambda: not alive(pid))
    async with agent_process(plane, tmp_path):
        plane.acks = True
        again, done = await plane.play(begins(), hears("finished", 2))
        assert (again.state_id, again.generation) == (hello.state_id, hello.generation + 1)
        assert list(again.running) == []
        assert [number_of(one) for one in again.finished] == [2]
        assert done.output.data == b"kept\n"
        assert done.finished_seconds_ago > 0


async def test_sigterm_lets_running_work_finish_and_leaves(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with agent_process(plane, tmp_path) as process:
        item = shell(1, f"until test -e {tmp_path}/go; do sleep 0.01; done")
        *_, done, leave = await plane.play(
            begins(), says(assign(item)), hears("taken", 1), does(process.terminate), hears("credits", 0),
            says(assign(work(2, "true"))), hears("refused", 2), does((tmp_path / "go").touch),
            hears("finished", 1), hears("leave"),
        )  # fmt: skip
        assert done.status == Status.SUCCEEDED
        assert leave.reason
        async with asyncio.timeout(DEADLINE):
            _, said = await process.communicate()
        assert process.returncode == 0
        assert "stopping: 1 running, which may go on for 10 s; a second signal ends it at once" in said.decode()


async def test_work_that_outlives_the_drain_timeout_is_stopped_and_given_back(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with agent_process(plane, tmp_path, "--drain-timeout", "0.1") as process:
        await plane.play(begins(), says(assign(shell(1, f"echo $$ > {tmp_path}/pid; exec sleep 60"))))
        pid = await pid_in(tmp_path / "pid")
        await plane.play(does(process.terminate), hears("leave"))
        assert not alive(pid)
        assert plane.stream.count("finished", 1) == 0
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0


async def test_a_second_signal_ends_it_at_once(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with agent_process(plane, tmp_path, "--drain-timeout", "60") as process:
        deaf = f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60; sleep 60"
        await plane.play(begins(), says(assign(shell(1, deaf))))
        pid = await pid_in(tmp_path / "pid")
        await plane.play(does(process.terminate), hears("credits", 0), does(process.terminate), hears("leave"))
        assert not alive(pid)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0


async def test_a_second_agent_on_the_same_folder_is_told_who_has_it(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with agent_process(plane, tmp_path) as first:
        await plane.play(begins())
        async with agent_process(plane, tmp_path) as second:
            async with asyncio.timeout(DEADLINE):
                _, said = await second.communicate()
        assert second.returncode == 3
        assert f"pid {first.pid}" in said.decode()


async def test_a_setting_that_nobody_knows_is_named(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[agent]\nmax_concurent_tasks = 5\n")
    async with agent_process(plane, tmp_path, "--config", str(tmp_path / "agent.toml")) as process:
        async with asyncio.timeout(DEADLINE):
            _, said = await process.communicate()
    assert process.returncode == 2
    assert "agent.max_concurent_tasks: unknown setting" in said.decode()


async def test_a_refused_version_ends_the_process_with_both_numbers(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with agent_process(plane, tmp_path) as process:
        await plane.play(opens(), hears("hello"), says(welcome(version=9)))
        async with asyncio.timeout(DEADLINE):
            _, said = await process.communicate()
    assert process.returncode == 1
    assert "version 9" in said.decode()
    assert "version 1: upgrade this agent" in said.decode()


# Plugins.


async def test_a_plugin_is_fetched_by_digest_run_and_reported(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    module = execute("(call $put (call $text))", text="from a plugin")
    plane.plugins[digest(module)] = module
    async with running_agent(plane, tmp_path, executor__enabled=["process", "wasm"]):
        config = job_pb2.WasmConfig(plugin=f"sha256:{digest(module)}")
        hello, *_, done = await plane.play(
            begins(), says(assign(work(1, "", executor="wasm", wasm=config))), hears("finished", 1)
        )
        async with asyncio.timeout(DEADLINE):
            report = await plane.reports.get()
    assert ("wasm", 1) in [(executor.name, executor.abi) for executor in hello.executors]
    assert (done.status, done.output.data) == (Status.SUCCEEDED, b"from a plugin")
    assert (report.id, report.compiles, report.agent_id) == (digest(module), True, "an-agent")


async def test_a_plugin_that_nobody_has_fails_by_name(plane: ScriptedControlPlane, tmp_path: Path) -> None:
    async with running_agent(plane, tmp_path, executor__enabled=["wasm"]):
        config = job_pb2.WasmConfig(plugin="0" * 64)
        *_, done = await plane.play(
            begins(), says(assign(work(1, "", executor="wasm", wasm=config))), hears("finished", 1)
        )
    assert (done.status, done.error.code, done.error.retryable) == (Status.FAILED, "PLUGIN_NOT_FOUND", False)


async def test_a_sign_of_life_says_what_waits_for_the_control_plane(
    plane: ScriptedControlPlane, tmp_path: Path
) -> None:
    async with running_agent(plane, tmp_path, agent__heartbeat_interval=0.05):
        await plane.play(begins(), hears("heartbeat"))
        plane.acks = False
        await plane.play(says(assign(shell(1, "echo a result"))), hears("finished", 1))
        while not (said := (await plane.play(hears("heartbeat")))[-1].metrics).results_waiting:
            pass
        assert (said.results_waiting, said.spool_bytes > 0) == (1, True)
        assert 0 < said.memory_used_bytes < said.memory_total_bytes
        plane.acks = True
        await plane.play(acks())
        while (await plane.play(hears("heartbeat")))[-1].metrics.results_waiting:
            pass
