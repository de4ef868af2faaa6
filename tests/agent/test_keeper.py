from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent import procfs
from agent.keeper import Child, Exit, Keeper, KeeperLost, StartFailed, TaskUser
from agent.limits import ProcessLimits
from agent.statedir import StateDirError, StateDirHeld, open_state_dir

ROOT = Path(__file__).resolve().parents[2]
ENV = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
DEADLINE = 5.0

# Forks into every place where a process can hide: its group, a new session, a double fork, a cleared environment.
HIDING = """
    sleep 300 &
    setsid sleep 300 &
    (setsid sh -c 'sleep 300 & sleep 300' &)
    (env -i setsid sleep 300 &)
"""


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    keeper = Keeper()
    await keeper.open()
    try:
        yield keeper
    finally:
        await keeper.close()
        assert procfs.marked(keeper._mark) == []


async def soon(fact: Callable[[], object]) -> None:
    """Wait until it is so, at most the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 - facts about other processes have no event
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """The children of any process, by /proc alone."""
    return [other for other in procfs.pids() if procfs.parent_of(other) == pid]


def descendants_of(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = set(children_of(waiting.pop())) - found
        found |= fresh
        waiting += fresh
    return found


async def sh(keeper: Keeper, script: str, key: str = "run", **more: object) -> Child:
    return await keeper.start(key, ["sh", "-c", textwrap.dedent(script)], ENV, "/", **more)  # type: ignore[arg-type] # passes options through


async def ended(child: Child) -> Exit:
    async with asyncio.timeout(DEADLINE):
        return await child.wait()


def everything(pipe: int) -> bytes:
    """What a pipe holds whose writers are gone; closes it."""
    with open(pipe, "rb") as file:
        return file.read()


async def read_pipe(keeper: Keeper, argv: list[str], **more: object) -> str:
    ours, theirs = os.pipe()
    child = await keeper.start("pipe", argv, ENV, "/", [(theirs, 1)], **more)  # type: ignore[arg-type] # passes options through
    os.close(theirs)
    await ended(child)
    return everything(ours).decode()


@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
async def test_the_exit_code_is_reported_as_it_was(keeper: Keeper, code: int) -> None:
    exit_ = await ended(await sh(keeper, f"exit {code}"))
    assert (exit_.code, exit_.signal) == (code, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGUSR1])
async def test_the_signal_that_ended_it_is_reported(keeper: Keeper, number: int) -> None:
    exit_ = await ended(await sh(keeper, f"kill -{int(number)} $$"))
    assert (exit_.code, exit_.signal) == (None, number)


async def test_cpu_time_and_memory_of_all_its_processes_are_counted(keeper: Keeper) -> None:
    burn = "import time\nx = bytearray(60 << 20)\nwhile time.process_time() < 0.2: pass"
    exit_ = await ended(await keeper.start("burn", ["sh", "-c", f'{sys.executable} -S -c "{burn}"'], ENV, "/"))
    assert exit_.code == 0
    assert 0.15 < exit_.user_cpu_seconds + exit_.system_cpu_seconds < 3
    assert exit_.peak_memory_bytes > 60 << 20
    assert exit_.wall_seconds > 0.15


async def test_a_stray_that_is_just_becoming_another_program_ends_with_its_run(keeper: Keeper) -> None:
    """For that moment it has neither its mark nor any other, and another run is there that could be its own."""
    other = await sh(keeper, "exec sleep 300", "other")
    leaving = f"(exec setsid {'env ' * 20}sleep 300) &\n"

    async def leave(key: str) -> None:
        await ended(await sh(keeper, leaving, key))

    for number in range(40):
        await asyncio.gather(*(leave(f"{number}-{each}") for each in range(8)))
    assert [pid for pid in procfs.marked(keeper._mark) if pid != other.pid] == []
    other.signal_group(signal.SIGKILL)
    await ended(other)


async def test_each_run_leads_a_session_and_a_group_of_its_own(keeper: Keeper) -> None:
    child = await sh(keeper, "exec sleep 300")
    assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
    assert procfs.parent_of(child.pid) == keeper.pid
    child.signal_group(signal.SIGKILL)
    await ended(child)


async def test_the_environment_is_exactly_the_one_given_and_the_mark(keeper: Keeper) -> None:
    ours, theirs = os.pipe()
    environment = {"A": "ä\udcff", "PATH": ENV["PATH"]}
    child = await keeper.start("env", ["env", "-0"], environment, "/", [(theirs, 1)])
    os.close(theirs)
    await ended(child)
    got = set(everything(ours).rstrip(b"\0").split(b"\0"))
    assert got == {b"A=\xc3\xa4\xff", f"PATH={ENV['PATH']}".encode(), f"PAWL_KEEPER={keeper._mark}/env".encode()}


async def test_a_start_larger_than_a_packet_arrives_whole(keeper: Keeper) -> None:
    environment = {**ENV, **{f"V{at}": "x" * 100_000 for at in range(4)}}
    ours, theirs = os.pipe()
    child = await keeper.start("big", ["sh", "-c", "echo ${#V3}"], environment, "/", [(theirs, 1)])
    os.close(theirs)
    await ended(child)
    assert everything(ours) == b"100000\n"


async def test_a_child_gets_the_given_descriptors_under_their_numbers_and_no_others(keeper: Keeper) -> None:
    first, second, out = os.pipe(), os.pipe(), os.pipe()
    os.write(first[1], b"one\n")
    os.write(second[1], b"two\n")
    script = "read a <&3; read b <&7; echo $a $b; ls /proc/self/fd | tr '\\n' ' '"
    pairs = [(first[0], 7), (second[0], 3), (out[1], 1)]
    child = await keeper.start("fds", ["sh", "-c", script], ENV, "/", pairs)
    os.close(out[1])
    await ended(child)
    for fd in (*first, *second):
        os.close(fd)
    lines = everything(out[0]).decode().split("\n")
    # `ls` itself opens one more for the folder that it lists, the lowest free one.
    assert lines == ["two one", "0 1 2 3 4 7 "]


async def test_the_caller_may_close_its_descriptors_at_once(keeper: Keeper) -> None:
    children = []
    pipes = []
    for at in range(20):
        ours, theirs = os.pipe()
        children.append(await keeper.start(f"close{at}", ["echo", str(at)], ENV, "/", [(theirs, 1)]))
        os.close(theirs)
        pipes.append(ours)
    for at, (child, ours) in enumerate(zip(children, pipes, strict=True)):
        assert (await ended(child)).code == 0
        assert everything(ours) == b"%d\n" % at


@pytest.mark.parametrize(
    ("argv", "cwd", "stage", "code"),
    [
        (["no-such-command"], "/", "exec", 2),
        (["/etc/passwd"], "/", "exec", 13),
        (["true"], "/no/such/folder", "cwd", 2),
        (["true"], "/etc/passwd", "cwd", 20),
        (["echo", "a\0b"], "/", "exec", 22),
    ],
)
async def test_what_cannot_start_says_why_and_leaves_the_key_free(
    keeper: Keeper, argv: list[str], cwd: str, stage: str, code: int
) -> None:
    with pytest.raises(StartFailed) as failed:
        await keeper.start("run", argv, ENV, cwd)
    assert (failed.value.stage, failed.value.errno) == (stage, code)
    assert (await ended(await sh(keeper, "exit 0"))).code == 0


async def test_what_it_starts_has_ordinary_priority(keeper: Keeper) -> None:
    argv = [
        sys.executable,
        "-S",
        "-c",
        "import os; print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))",
    ]
    assert await read_pipe(keeper, argv) == f"{os.SCHED_OTHER} {os.getpriority(os.PRIO_PROCESS, 0)}\n"


async def test_a_key_that_is_alive_cannot_be_started_twice(keeper: Keeper) -> None:
    child = await sh(keeper, "exec sleep 300")
    with pytest.raises(StartFailed, match="alive"):
        await sh(keeper, "exit 0")
    child.stop(0)
    assert (await ended(child)).signal == signal.SIGKILL or child.ended


async def test_limits_hold_from_the_first_moment(keeper: Keeper) -> None:
    limits = ProcessLimits(((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 77), (resource.RLIMIT_DATA, 300 << 20)))
    # The hard limit, which only matters to a program that raises its own, follows a moment after the start.
    script = "ulimit -c; ulimit -n; ulimit -d; while [ $(ulimit -Hn) != 77 ]; do :; done; ulimit -Hn"
    told = await read_pipe(keeper, ["sh", "-c", script], limits=limits)
    assert told.split() == ["0", "77", str(300 << 10), "77"]
    # and the keeper's own are as before
    unlimited = await read_pipe(keeper, ["sh", "-c", "ulimit -n; ulimit -d"])
    assert unlimited.split()[0] != "77"
    assert unlimited.split()[1] == "unlimited"


async def test_a_memory_limit_stops_a_program_that_takes_more(keeper: Keeper) -> None:
    limits = ProcessLimits(((resource.RLIMIT_DATA, 100 << 20),))
    argv = [sys.executable, "-S", "-c", "bytearray(200 << 20)"]
    exit_ = await ended(await keeper.start("hungry", argv, ENV, "/", limits=limits))
    assert exit_.code == 1
    assert exit_.peak_memory_bytes < 200 << 20


@pytest.mark.skipif(os.getuid() != 0, reason="not on this machine: only root may choose the user")
async def test_a_task_user_is_taken_on_before_the_program_runs(keeper: Keeper) -> None:
    told = await read_pipe(keeper, ["sh", "-c", "id -u; id -g; id -G"], user=TaskUser(65534, 65534))
    assert told.split() == ["65534", "65534", "65534"]


async def test_what_the_main_process_leaves_behind_ends_with_it_wherever_it_hides(keeper: Keeper) -> None:
    assert keeper.pid is not None
    child = await sh(keeper, HIDING + "\nsleep 0.2")
    await soon(lambda: len(descendants_of(keeper.pid or 0)) >= 6)
    assert (await ended(child)).code == 0
    assert descendants_of(keeper.pid) == set()


async def test_a_stray_that_hides_its_origin_does_not_end_another_run(keeper: Keeper) -> None:
    other = await sh(keeper, "exec sleep 300", key="other")
    assert (await ended(await sh(keeper, HIDING))).code == 0
    assert not other.ended
    other.signal_group(signal.SIGKILL)
    await ended(other)
    await soon(lambda: descendants_of(keeper.pid or 0) == set())


async def test_a_daemon_lives_as_long_as_its_run(keeper: Keeper, tmp_path: Path) -> None:
    child = await sh(keeper, f"(setsid sleep 300 & echo $! > {tmp_path}/daemon); read line < {tmp_path}/go")
    os.mkfifo(tmp_path / "go")
    child.stop(0)
    await ended(child)
    child = await sh(keeper, f"(setsid sleep 300 & echo $! > {tmp_path}/pid); sleep 0.3; kill -0 $(cat {tmp_path}/pid)")
    assert (await ended(child)).code == 0
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_stop_asks_first_and_lets_the_group_finish_within_the_grace(keeper: Keeper, tmp_path: Path) -> None:
    # The shell dies of its TERM at once; what it started gets the rest of the grace.
    inner = (
        f"trap 'sleep 0.2; echo done > {tmp_path}/done; exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    )
    child = await keeper.start("run", ["sh", "-c", 'sh -c "$INNER" & wait'], {**ENV, "INNER": inner}, "/")
    await soon((tmp_path / "up").exists)
    child.stop(4)
    exit_ = await ended(child)
    assert exit_.signal == signal.SIGTERM
    assert (tmp_path / "done").read_text() == "done\n"


async def test_stop_kills_what_ignores_it_after_the_grace(keeper: Keeper, tmp_path: Path) -> None:
    child = await sh(keeper, f"trap '' TERM; touch {tmp_path}/up; {HIDING.strip()}\nwhile :; do sleep 0.05; done")
    await soon((tmp_path / "up").exists)
    began = time.monotonic()
    child.stop(0.3)
    exit_ = await ended(child)
    assert exit_.signal == signal.SIGKILL
    assert 0.25 < time.monotonic() - began < 3
    assert not exit_.lease_expired


async def test_a_stopped_process_can_go_on_and_can_be_ended(keeper: Keeper) -> None:
    child = await sh(keeper, "exec sleep 300")
    child.signal_group(signal.SIGSTOP)
    await soon(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    child.signal_group(signal.SIGCONT)
    await soon(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")
    child.signal_group(signal.SIGSTOP)
    child.stop(5)
    assert (await ended(child)).signal == signal.SIGTERM


async def test_a_lease_that_runs_out_ends_the_run_first_asked_then_killed(keeper: Keeper, tmp_path: Path) -> None:
    polite = await sh(keeper, "exec sleep 300", key="polite")
    rude = await sh(keeper, f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done", key="rude")
    await soon((tmp_path / "up").exists)
    keeper.lease_many({"polite": (0.1, 0.5), "rude": (0.1, 0.5), "unknown": (0.1, 0.2)})
    assert await ended(polite) is not None
    exits = [await ended(polite), await ended(rude)]
    assert [exit_.signal for exit_ in exits] == [signal.SIGTERM, signal.SIGKILL]
    assert all(exit_.lease_expired for exit_ in exits)


async def test_a_renewed_lease_and_a_lifted_one_let_it_live(keeper: Keeper) -> None:
    renewed = await sh(keeper, "sleep 0.6; exit 7", key="renewed")
    lifted = await sh(keeper, "sleep 0.6; exit 8", key="lifted")
    for child in (renewed, lifted):
        child.lease(0.2, 0.3)
    renewed.lease(30, 40)
    lifted.release()
    assert [(await ended(renewed)).code, (await ended(lifted)).code] == [7, 8]


async def test_a_cancelled_start_leaves_nothing_running(keeper: Keeper) -> None:
    async with asyncio.TaskGroup() as group:
        start = group.create_task(sh(keeper, "exec sleep 300"))
        await asyncio.sleep(0)
        start.cancel()
    await soon(lambda: not keeper._starting and not keeper._children)
    assert descendants_of(keeper.pid or 0) == set()


async def test_cancelling_a_wait_does_not_end_the_run(keeper: Keeper) -> None:
    child = await sh(keeper, "exec sleep 300")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await child.wait()
    assert alive(child.pid)
    child.signal_group(signal.SIGKILL)
    assert (await ended(child)).signal == signal.SIGKILL


async def test_many_at_once_each_get_their_own_exit(keeper: Keeper) -> None:
    async def one(at: int) -> int | None:
        return (await ended(await sh(keeper, f"exit {at}", key=f"k{at}"))).code

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(one(at)) for at in range(60)]
    assert [run.result() for run in runs] == list(range(60))


async def test_an_agent_inside_a_run_ends_with_it_and_so_does_its_work(keeper: Keeper, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", textwrap.dedent(AGENT), str(tmp_path), "exec sleep 300", "1000"]
    child = await keeper.start("outer", argv, {**ENV, "PYTHONPATH": str(ROOT)}, "/")
    await soon(lambda: len(descendants_of(child.pid)) >= 4)
    inner = descendants_of(child.pid)
    child.signal_group(signal.SIGKILL)
    await ended(child)
    await soon(lambda: not any(alive(pid) for pid in inner))


async def test_only_its_socket_ends_the_keeper(keeper: Keeper) -> None:
    assert keeper.pid is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(keeper.pid, number)
    assert (await ended(await sh(keeper, "exit 5"))).code == 5


async def test_when_the_keeper_dies_its_runs_fail_nothing_lives_on_and_the_next_start_works(keeper: Keeper) -> None:
    child = await sh(keeper, HIDING + "\nexec sleep 300")
    assert keeper.pid is not None
    await soon(lambda: len(descendants_of(keeper.pid or 0)) >= 7)
    before = {pid for pid in descendants_of(keeper.pid) if procfs.mark_of(pid) is not None} | {child.pid}
    hidden = descendants_of(keeper.pid) - before
    os.kill(keeper.pid, signal.SIGKILL)
    with pytest.raises(KeeperLost):
        await ended(child)
    await soon(lambda: not any(alive(pid) for pid in before))
    assert (await ended(await sh(keeper, "exit 9"))).code == 9
    for pid in hidden:  # without its parent, group and environment nothing tells any more whose it was
        os.kill(pid, signal.SIGKILL)


async def test_closing_ends_everything(tmp_path: Path) -> None:
    keeper = Keeper()
    await keeper.open()
    child = await sh(keeper, "trap '' TERM\n" + HIDING + "\nwhile :; do sleep 1; done")
    await soon(lambda: len(descendants_of(keeper.pid or 0)) >= 7)
    found = descendants_of(keeper.pid or 0)
    await keeper.close()
    assert not any(alive(pid) for pid in found)
    with pytest.raises(KeeperLost):
        await child.wait()
    with pytest.raises(KeeperLost):
        await sh(keeper, "exit 0")


# -- an agent that dies

AGENT = """
    import asyncio, json, os, sys
    from agent.keeper import Keeper
    from agent.statedir import open_state_dir

    async def main():
        keeper = Keeper(open_state_dir(sys.argv[1]))
        await keeper.open()
        env = {"PATH": os.environ["PATH"]}
        children = [await keeper.start(f"k{at}", ["sh", "-c", sys.argv[2]], env, "/") for at in range(3)]
        for child in children:
            child.lease(float(sys.argv[3]), float(sys.argv[3]) + 0.3)
        print(json.dumps({"keeper": keeper.pid, "children": [child.pid for child in children]}), flush=True)
        await children[0].wait()
        print("over", flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


class Agent:
    """A process that opened a keeper and started work, as an agent does."""

    def __init__(self, folder: Path, script: str, lease_seconds: float = 1000) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(AGENT), str(folder), script, str(lease_seconds)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.keeper: int = told["keeper"]
        self.children: list[int] = told["children"]
        self.seen: set[int] = {self.keeper, *self.children}

    def look(self) -> set[int]:
        self.seen |= descendants_of(self.keeper)
        return self.seen

    def end(self) -> None:
        for pid in (self.process.pid, self.keeper):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        for pid in self.seen:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def agents() -> Iterator[Callable[..., Agent]]:
    made: list[Agent] = []

    def make(*arguments: object) -> Agent:
        made.append(Agent(*arguments))  # type: ignore[arg-type] # passes its arguments through
        return made[-1]

    yield make
    for agent in made:
        agent.end()


FORKING = HIDING + "\ntrap '' TERM\nwhile :; do sleep 0.1; done"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_of_a_killed_agent_is_alive_five_seconds_later(
    tmp_path: Path, agents: Callable[..., Agent], number: int
) -> None:
    agent = agents(tmp_path, FORKING)
    await soon(lambda: len(agent.look()) >= 4 + 3 * 6)
    os.kill(agent.process.pid, number)
    await soon(lambda: not any(alive(pid) for pid in agent.seen))


async def test_a_frozen_agents_work_ends_with_its_lease(tmp_path: Path, agents: Callable[..., Agent]) -> None:
    agent = agents(tmp_path, FORKING, 1.0)
    await soon(lambda: len(agent.look()) >= 4 + 3 * 6)
    os.kill(agent.process.pid, signal.SIGSTOP)
    await soon(lambda: not any(alive(pid) for pid in agent.seen - {agent.keeper}))
    assert alive(agent.keeper)
    os.kill(agent.process.pid, signal.SIGCONT)
    assert agent.process.stdout is not None
    assert (await asyncio.to_thread(agent.process.stdout.readline)).strip() == "over"


async def test_a_new_agent_on_the_folder_starts_after_the_old_keepers_kills(
    tmp_path: Path, agents: Callable[..., Agent]
) -> None:
    old = agents(tmp_path, FORKING)
    await soon(lambda: len(old.look()) >= 4 + 3 * 6)
    os.kill(old.process.pid, signal.SIGKILL)
    state = await asyncio.to_thread(open_state_dir, tmp_path, 10.0)
    assert not any(alive(pid) for pid in old.seen)
    assert state.generation == 2
    state.close()


async def test_the_folder_stays_locked_while_the_old_keeper_lives(tmp_path: Path, agents: Callable[..., Agent]) -> None:
    old = agents(tmp_path, "exec sleep 300")
    os.kill(old.keeper, signal.SIGSTOP)  # a keeper that has not come to its kills yet
    os.kill(old.process.pid, signal.SIGKILL)
    old.process.wait()
    with pytest.raises(StateDirHeld, match="another agent"):
        await asyncio.to_thread(open_state_dir, tmp_path, 0.3)
    os.kill(old.keeper, signal.SIGCONT)
    (await asyncio.to_thread(open_state_dir, tmp_path, 10.0)).close()


async def test_agent_and_keeper_killed_together_leave_work_that_the_next_agent_ends(
    tmp_path: Path, agents: Callable[..., Agent]
) -> None:
    old = agents(tmp_path, "setsid sleep 300 & exec sleep 300")
    await soon(lambda: len(old.look()) >= 7)
    for pid in (old.process.pid, old.keeper):
        os.kill(pid, signal.SIGSTOP)
    for pid in (old.keeper, old.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert all(alive(pid) for pid in old.children)
    state = await asyncio.to_thread(open_state_dir, tmp_path, 10.0)
    keeper = Keeper(state)
    await keeper.open()
    assert not any(alive(pid) for pid in old.seen)
    await keeper.close()
    state.close()


# -- the state folder


def test_the_folder_has_one_identity_and_counts_its_starts(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        state = open_state_dir(tmp_path / "deep" / "agent")
        seen.append((state.state_id, state.generation))
        state.close()
    assert [generation for _, generation in seen] == [1, 2, 3]
    assert len({state_id for state_id, _ in seen}) == 1
    assert (tmp_path / "deep" / "agent").stat().st_mode & 0o777 == 0o700
    other = open_state_dir(tmp_path / "other")
    assert other.state_id != seen[0][0]
    other.close()


def test_a_folder_in_use_is_refused_soon_naming_the_agent(tmp_path: Path, agents: Callable[..., Agent]) -> None:
    agent = agents(tmp_path, "exec sleep 300")
    began = time.monotonic()
    with pytest.raises(StateDirHeld, match=f"pid {agent.process.pid}"):
        open_state_dir(tmp_path, wait_seconds=60)
    assert time.monotonic() - began < 5


def test_a_damaged_identity_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    open_state_dir(tmp_path).close()
    (tmp_path / "identity.json").write_text('{"state_id": 5}')
    with pytest.raises(StateDirError, match=r"identity\.json is damaged"):
        open_state_dir(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match="file/agent cannot be used"):
        open_state_dir(tmp_path / "file" / "agent")


# -- holding still


def stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal, or waits for a child that was stopped before its exec (vfork)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TD"
    except OSError:
        return False


async def hiding(keeper: Keeper) -> tuple[Child, set[int]]:
    """A run whose processes are in all the places that there are, and their numbers, strays not counted among these."""
    child = await sh(keeper, HIDING + "\nsleep 300")
    assert keeper.pid is not None
    await soon(lambda: len(family_of(keeper)) >= 8)
    return child, family_of(keeper)


def family_of(keeper: Keeper) -> set[int]:
    """All that the keeper has."""
    assert keeper.pid is not None
    return {pid for pid in descendants_of(keeper.pid) if alive(pid)}


async def test_a_pause_stops_every_process_of_a_run_wherever_it_hides_and_a_resume_lets_all_go_on(
    keeper: Keeper,
) -> None:
    child, family = await hiding(keeper)
    for number in range(2):
        child.pause()
        await soon(lambda: all(map(stopped, family)))
        other = await sh(keeper, "sleep 300", key=f"other-{number}")
        await soon(lambda other=other: not stopped(other.pid))  # type: ignore[misc]  # its own one
        child.resume()
        await soon(lambda: not any(map(stopped, family)))
    assert family <= family_of(keeper)


async def test_a_run_that_forks_all_the_time_is_stopped_whole(keeper: Keeper) -> None:
    child = await sh(keeper, "while :; do setsid sleep 0.05 & sleep 0.01; done")
    await soon(lambda: len(family_of(keeper)) >= 3)
    child.pause()
    await soon(lambda: all(map(stopped, family_of(keeper))))
    before = family_of(keeper)
    await asyncio.sleep(0.2)
    assert family_of(keeper) == before


@pytest.mark.parametrize("grace", [5.0, 0.0])
async def test_a_paused_run_is_ended_as_if_it_ran(keeper: Keeper, grace: float) -> None:
    child, family = await hiding(keeper)
    child.pause()
    await soon(lambda: all(map(stopped, family)))
    child.stop(grace)
    exit = await ended(child)
    assert exit.signal == (signal.SIGTERM if grace else signal.SIGKILL)
    assert not any(map(alive, family))


async def test_a_paused_run_that_cleans_up_on_term_gets_to_do_so(keeper: Keeper) -> None:
    child = await sh(keeper, "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    await soon(lambda: children_of(child.pid))
    child.pause()
    await soon(lambda: stopped(child.pid))
    child.stop(DEADLINE)
    assert (await ended(child)).code == 7


async def test_a_lease_that_runs_out_ends_what_is_paused(keeper: Keeper) -> None:
    child, family = await hiding(keeper)
    child.pause()
    await soon(lambda: all(map(stopped, family)))
    child.lease(0.0, 0.3)
    assert (await ended(child)).lease_expired
    assert not any(map(alive, family))


async def test_pauses_that_are_asked_for_together_are_one_look_and_the_last_word_counts(keeper: Keeper) -> None:
    runs = [await sh(keeper, "sleep 300", key=f"run-{number}") for number in range(20)]
    for run in runs:
        run.pause()
    runs[0].resume()
    await soon(lambda: all(stopped(run.pid) for run in runs[1:]))
    assert not stopped(runs[0].pid)
    for run in runs:
        run.resume()
    await soon(lambda: not any(stopped(run.pid) for run in runs))
