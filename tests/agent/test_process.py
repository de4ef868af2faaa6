from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pawl.tracing import NOWHERE, Trace

from agent import procfs
from agent.artifacts import ArtifactFolder, Rules
from agent.executors.base import Failure, LaunchError, Limits, LogStream, Outcome, Payload, Work
from agent.executors.capture import CappedBytes
from agent.executors.process import ProcessConfig, ProcessExecutor, ProcessRun
from agent.keeper import Keeper, TaskUser

DEADLINE = 10.0
TASK = "01920000-0000-7000-8000-000000000001"


class Notes:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.streams: dict[LogStream, bytearray] = {stream: bytearray() for stream in LogStream}
        self.count = 0
        self.begun = self.ends = 0
        self.said: list[tuple[float, str]] = []

    def log(self, stream: LogStream, data: bytes) -> None:
        self.count += len(data)
        if len(self.streams[stream]) < 1 << 20:
            self.streams[stream] += data

    def progress(self, percent: float, message: str) -> None:
        self.said.append((percent, message))

    def heartbeat(self) -> None:
        pass

    def started(self) -> None:
        self.begun += 1

    def ended(self) -> None:
        self.ends += 1


class Bench:
    """An executor with its keeper, and what it was last told."""

    def __init__(self, keeper: Keeper, root: Path) -> None:
        self.keeper = keeper
        self.root = root
        self.artifacts = ArtifactFolder(root.parent / "artifacts")
        self.artifacts.open([])
        config = ProcessConfig(root, environment={"FROM_AGENT": "agent"}, artifacts=self.artifacts)
        self.executor = ProcessExecutor(keeper, config)
        self.notes = Notes()
        self.token = 0

    def work(
        self,
        settings: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
        parameters: Payload | None = None,
        limits: Limits | None = None,
        trace: Trace = NOWHERE,
    ) -> Work:
        self.token += 1
        return Work(
            namespace_id="ns",
            task_id=TASK,
            instance_id="instance",
            token=self.token,
            attempt=2,
            job_name="nightly",
            executor="process",
            settings=settings,
            environment=environment or {},
            parameters=parameters,
            limits=limits or Limits(),
            trace=trace,
        )

    async def launch(self, settings: Mapping[str, object], **more: object) -> ProcessRun:
        self.notes = Notes()
        work = self.work(settings, **more)  # type: ignore[arg-type] # passes options through
        return await self.executor.launch(work, self.notes)

    async def run(self, settings: Mapping[str, object], **more: object) -> Outcome:
        async with asyncio.timeout(DEADLINE):
            return await (await self.launch(settings, **more)).wait()

    async def sh(self, script: str, **more: object) -> Outcome:
        return await self.run({"cmd": "sh", "args": ["-c", script]}, **more)

    async def refused(self, settings: Mapping[str, object], **more: object) -> LaunchError:
        with pytest.raises(LaunchError) as refused:
            await self.launch(settings, **more)
        assert self.notes.begun == 0
        assert list(self.root.iterdir()) == []
        return refused.value


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    keeper = Keeper()
    await keeper.open()
    bench = Bench(keeper, tmp_path / "work")
    await bench.executor.open()
    before = len(os.listdir("/proc/self/fd"))
    try:
        yield bench
        assert len(os.listdir("/proc/self/fd")) <= before, "descriptors are left open"
    finally:
        await bench.executor.close()
        await keeper.close()


async def soon(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 - facts about other processes have no event
            await asyncio.sleep(0.01)


def text(outcome: Outcome) -> str:
    assert outcome.output is not None
    return outcome.output.data.decode()


async def test_exit_code_zero_is_success_and_stdout_is_the_output(bench: Bench) -> None:
    outcome = await bench.run({"cmd": "echo", "args": ["a b", "c"]})
    assert outcome.failure is None
    assert (outcome.exit_code, outcome.signal) == (0, None)
    assert outcome.output == Payload(b"a b c\n", "text/plain; charset=utf-8")
    assert (outcome.output_size, outcome.output_truncated) == (6, False)
    assert bench.notes.begun == 1
    assert bench.notes.streams[LogStream.STDOUT] == b"a b c\n"


async def test_another_exit_code_fails_with_that_code_and_the_last_words(bench: Bench) -> None:
    outcome = await bench.sh("echo half; echo first >&2; echo no space left >&2; exit 3")
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.message) == ("EXIT_3", "exit code 3: no space left")
    assert outcome.failure.retryable
    assert (outcome.exit_code, outcome.signal) == (3, None)
    assert text(outcome) == "half\n"
    assert bench.notes.streams[LogStream.STDERR] == b"first\nno space left\n"


@pytest.mark.parametrize(("number", "code"), [(9, "SIGNAL_KILL"), (11, "SIGNAL_SEGV"), (40, "SIGNAL_40")])
async def test_a_signal_is_reported_by_name_and_without_an_exit_code(bench: Bench, number: int, code: str) -> None:
    outcome = await bench.run({"cmd": "bash", "args": ["-c", f"kill -{number} $$"]})
    assert outcome.failure is not None
    assert outcome.failure.code == code
    assert (outcome.exit_code, outcome.signal) == (None, number)


async def test_parameters_are_on_stdin_and_in_their_file(bench: Bench) -> None:
    data = b'{"n": 1}' * 20_000
    outcome = await bench.sh(
        'cat; cmp - "$PAWL_PARAMETERS_FILE" < "$PAWL_PARAMETERS_FILE"', parameters=Payload(data, "application/json")
    )
    assert outcome.failure is None
    assert outcome.output is not None
    assert outcome.output.data == data


async def test_parameters_are_not_for_other_users(bench: Bench) -> None:
    outcome = await bench.sh('stat -c %a "$PAWL_PARAMETERS_FILE"', parameters=Payload(b"p", "text/plain"))
    assert text(outcome) == "400\n"


async def test_without_parameters_stdin_and_file_are_empty(bench: Bench) -> None:
    assert text(await bench.sh('wc -c; wc -c < "$PAWL_PARAMETERS_FILE"')).split() == ["0", "0"]


async def test_a_program_that_does_not_read_its_parameters_ends_as_usual(bench: Bench) -> None:
    outcome = await bench.sh("exit 0", parameters=Payload(bytes(1 << 20), "application/octet-stream"))
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("written", "content_type"),
    [
        ('{"a": [1]}', "application/json"),
        (" [1, 2] ", "application/json"),
        ("007", "text/plain; charset=utf-8"),
        ("{not json", "text/plain; charset=utf-8"),
        ('{"a": NaN}', "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("\\377\\376", "application/octet-stream"),
    ],
)
async def test_the_output_file_comes_before_stdout(bench: Bench, written: str, content_type: str) -> None:
    outcome = await bench.sh(f"echo on stdout; printf '{written}' > \"$PAWL_OUTPUT_FILE\"")
    assert outcome.output is not None
    assert outcome.output.content_type == content_type
    assert b"stdout" not in outcome.output.data
    assert bench.notes.streams[LogStream.STDOUT] == b"on stdout\n"


@pytest.mark.parametrize("trick", ["ln -s /etc/passwd", "mkfifo", "mkdir"])
async def test_an_output_file_that_is_no_plain_file_is_not_followed(bench: Bench, trick: str) -> None:
    assert text(await bench.sh(f'echo stdout; {trick} "$PAWL_OUTPUT_FILE"')) == "stdout\n"
    assert list(bench.root.iterdir()) == []


async def test_stdout_that_is_no_text_says_so(bench: Bench) -> None:
    outcome = await bench.sh(r"printf '\377\000'")
    assert outcome.output == Payload(b"\xff\x00", "application/octet-stream")


async def test_without_capture_stdout_goes_to_the_log_only(bench: Bench) -> None:
    settings = {"cmd": "sh", "args": ["-c", "echo said"], "capture_output": False}
    outcome = await bench.run(settings)
    assert outcome.output is None
    assert bench.notes.streams[LogStream.STDOUT] == b"said\n"


async def test_environment_layers_and_what_is_not_to_be_overridden(bench: Bench) -> None:
    environment = {"LANG": "de_DE", "MINE": "1", "FROM_AGENT": "job", "PAWL_TASK_ID": "forged", "TRACEPARENT": "forged"}
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    outcome = await bench.run(
        {"cmd": sys.executable, "args": ["-S", "-c", script]}, environment=environment, trace=Trace("00-1-2-01")
    )
    got = json.loads(text(outcome))
    folder = f"{bench.root}/{TASK}.{bench.token}"
    assert got.pop("PAWL_KEEPER").endswith(f"/{TASK}.{bench.token}")
    got.pop("LC_CTYPE", None)  # set by the program that prints
    assert got == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "de_DE",
        "MINE": "1",
        "FROM_AGENT": "job",
        "PAWL_TASK_ID": TASK,
        "PAWL_INSTANCE_ID": "instance",
        "PAWL_ATTEMPT": "2",
        "PAWL_JOB": "nightly",
        "PAWL_NAMESPACE": "ns",
        "PAWL_PARAMETERS_FILE": "/dev/null",
        "PAWL_OUTPUT_FILE": f"{folder}/.pawl-output",
        "PAWL_ERROR_FILE": f"{folder}/.pawl-error",
        "PAWL_PROGRESS_FILE": f"{folder}/.pawl-progress",
        "TRACEPARENT": "00-1-2-01",
    }


async def test_a_trace_is_only_what_pawl_says(bench: Bench) -> None:
    assert text(await bench.sh("echo ${TRACEPARENT-none}", environment={"TRACEPARENT": "forged"})) == "none\n"


async def test_the_command_is_looked_up_in_the_jobs_path(bench: Bench, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    assert text(await bench.run({"cmd": "tool"}, environment={"PATH": str(tmp_path)})) == "mine\n"


async def test_each_run_has_an_empty_private_folder_that_is_removed(bench: Bench) -> None:
    outcome = await bench.sh("pwd; ls; stat -c %a . ; mkdir -p deep/er; echo x > deep/er/file; chmod 500 deep/er deep")
    assert text(outcome).split() == [f"{bench.root}/{TASK}.1", "700"]
    assert list(bench.root.iterdir()) == []


async def test_without_cleanup_the_folder_stays(bench: Bench) -> None:
    keeping = ProcessExecutor(bench.keeper, ProcessConfig(bench.root, cleanup=False))
    run = await keeping.launch(bench.work({"cmd": "touch", "args": ["here"]}), bench.notes)
    assert (await run.wait()).failure is None
    assert (bench.root / f"{TASK}.1" / "here").exists()


async def test_an_agent_that_starts_removes_the_folders_of_the_one_before_and_nothing_else(bench: Bench) -> None:
    (bench.root / f"{TASK}.9" / "deep").mkdir(parents=True)
    (bench.root / "somebody-elses").mkdir()
    await bench.executor.open()
    assert [entry.name for entry in bench.root.iterdir()] == ["somebody-elses"]
    (bench.root / "somebody-elses").rmdir()


async def test_a_given_working_folder_is_used_and_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    outcome = await bench.run({"cmd": "sh", "args": ["-c", "pwd; touch left"], "cwd": str(tmp_path / "given")})
    assert text(outcome) == f"{tmp_path}/given\n"
    assert (tmp_path / "given" / "left").exists()


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({}, "INVALID_SETTINGS", "config.cmd"),
        ({"cmd": " "}, "INVALID_SETTINGS", "config.cmd"),
        ({"cmd": "a\0b"}, "INVALID_SETTINGS", "config.cmd"),
        ({"cmd": "echo", "args": "x"}, "INVALID_SETTINGS", "config.args "),
        ({"cmd": "echo", "args": ["x", 1]}, "INVALID_SETTINGS", "config.args[1]"),
        ({"cmd": "echo", "cwd": 1}, "INVALID_SETTINGS", "config.cwd"),
        ({"cmd": "echo", "capture_output": "no"}, "INVALID_SETTINGS", "config.capture_output"),
        ({"cmd": "echo", "cwd": "/no/such"}, "CWD_NOT_FOUND", "config.cwd '/no/such'"),
        ({"cmd": "echo", "cwd": "/etc/passwd"}, "CWD_NOT_FOUND", "config.cwd '/etc/passwd'"),
        ({"cmd": "no-such-tool"}, "COMMAND_NOT_FOUND", "'no-such-tool' was not found in PATH=/usr/local/sbin:"),
        ({"cmd": "echo hello"}, "COMMAND_NOT_FOUND", "arguments belong into config.args"),
        ({"cmd": "/no/such/tool"}, "COMMAND_NOT_FOUND", "'/no/such/tool' does not exist"),
        ({"cmd": "/etc/passwd"}, "COMMAND_NOT_FOUND", "'/etc/passwd' is not executable"),
        ({"cmd": "echo", "args": ["x" * 200_000]}, "SPAWN_FAILED", "too long"),
    ],
)
async def test_what_cannot_be_started_names_the_field(
    bench: Bench, settings: Mapping[str, object], code: str, words: str
) -> None:
    error = await bench.refused(settings)
    assert error.failure.code == code
    assert words in error.failure.message


async def test_scripts_that_cannot_run_say_why(bench: Bench, tmp_path: Path) -> None:
    for content, words in (("#!/no/interpreter\n", "interpreter"), ("\x7fELFbroken", "no program for this machine")):
        script = tmp_path / "script"
        script.write_text(content)
        script.chmod(0o755)
        error = await bench.refused({"cmd": str(script)})
        assert (error.failure.code, words in error.failure.message) == ("COMMAND_NOT_FOUND", True), error


@pytest.mark.parametrize("environment", [{"A=B": "x"}, {"": "x"}, {"A\0": "x"}, {"A": "x\0y"}])
async def test_an_impossible_environment_is_refused(bench: Bench, environment: Mapping[str, str]) -> None:
    assert (await bench.refused({"cmd": "true"}, environment=environment)).failure.code == "INVALID_ENVIRONMENT"


@pytest.mark.parametrize(
    ("limits", "field"), [(Limits(open_files=3), "max_open_files"), (Limits(memory_bytes=9), "max_memory_mb")]
)
async def test_an_impossible_limit_is_refused(bench: Bench, limits: Limits, field: str) -> None:
    assert field in (await bench.refused({"cmd": "true"}, limits=limits)).failure.message


async def test_limits_reach_the_program(bench: Bench) -> None:
    outcome = await bench.sh("ulimit -c; ulimit -n", limits=Limits(open_files=99))
    assert text(outcome).split() == ["0", "99"]


async def test_output_over_the_limit_keeps_both_ends_and_tells_its_size(bench: Bench) -> None:
    outcome = await bench.sh("seq 1 20000", limits=Limits(output_bytes=1000))
    whole = "".join(f"{n}\n" for n in range(1, 20001))
    assert (outcome.output_size, outcome.output_truncated) == (len(whole), True)
    kept = text(outcome)
    assert len(kept) <= 1000
    head, marker, tail = kept.partition("\n[pawl: ")
    number, _, tail = tail.partition(" bytes left out]\n")
    assert marker
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + len(tail) + int(number) == len(whole)
    assert min(len(head), len(tail)) > 400


async def test_an_output_file_over_the_limit_keeps_both_ends(bench: Bench) -> None:
    outcome = await bench.sh('seq 1 300000 > "$PAWL_OUTPUT_FILE"', limits=Limits(output_bytes=500))
    assert outcome.output_size == sum(len(str(n)) + 1 for n in range(1, 300_001))
    kept = text(outcome)
    assert len(kept) <= 500
    assert kept.startswith("1\n2\n")
    assert kept.endswith("\n300000\n")
    assert outcome.output_truncated


@given(st.lists(st.text(max_size=30), max_size=30), st.integers(0, 300))
@example(["\U0001f600" * 100], 66)
@example(["\U0001f600" * 100], 70)
def test_what_is_kept_of_a_stream_is_its_ends_within_the_limit(chunks: list[str], limit: int) -> None:
    kept = CappedBytes(limit)
    whole = "".join(chunks).encode()
    for chunk in chunks:
        kept.add(chunk.encode())
    value = kept.value()
    assert kept.size == len(whole)
    assert len(value) <= limit
    value.decode()
    if len(whole) <= limit:
        assert value == whole
    else:
        found = re.fullmatch(rb"(.*?)(?:\n\[pawl: (\d+) bytes left out\]\n(.*))?", value, re.DOTALL)
        assert found is not None
        head, left_out, tail = found.groups(b"")
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert not left_out or len(head) + int(left_out) + len(tail) == len(whole)


async def test_a_flood_of_output_neither_blocks_the_program_nor_fills_memory_nor_holds_up_others(bench: Bench) -> None:
    limits = Limits(output_bytes=1000, log_bytes=1 << 20)
    flood = await bench.launch({"cmd": "sh", "args": ["-c", "head -c 20000000 /dev/zero"]}, limits=limits)
    notes = bench.notes
    began = time.monotonic()
    assert (await bench.sh("echo quick")).failure is None
    assert time.monotonic() - began < 2
    async with asyncio.timeout(30):
        outcome = await flood.wait()
    assert outcome.failure is None
    assert outcome.output_size == notes.count == 20_000_000


async def test_a_grandchild_that_keeps_the_pipes_open_does_not_hold_up_the_end(bench: Bench) -> None:
    began = time.monotonic()
    outcome = await bench.sh("echo early; sleep 300 & (setsid sleep 300 &) ; exit 4")
    assert time.monotonic() - began < 3
    assert outcome.exit_code == 4
    assert text(outcome) == "early\n"
    assert procfs.marked(bench.keeper._mark) == []


async def test_the_last_output_before_the_end_is_not_lost(bench: Bench) -> None:
    for _ in range(20):
        outcome = await bench.sh("head -c 60000 /dev/zero | tr '\\0' x; echo end; kill -9 $$")
        assert outcome.output is not None
        assert outcome.output.data == b"x" * 60_000 + b"end\n"


async def test_stop_lets_a_program_finish_within_its_grace(bench: Bench) -> None:
    run = await bench.launch(
        {"cmd": "sh", "args": ["-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"]}
    )
    await soon(lambda: bench.notes.count)
    await run.stop(5)
    outcome = await run.wait()
    assert (outcome.exit_code, text(outcome)) == (7, "up\nbye\n")


async def test_stop_ends_a_whole_tree_that_ignores_it(bench: Bench) -> None:
    hiding = "(setsid sh -c 'while :; do sleep 0.1; done' &); (sleep 300) &"
    script = f"trap '' TERM; {hiding} echo up; while :; do sleep 0.05; done"
    run = await bench.launch({"cmd": "sh", "args": ["-c", script]})
    await soon(lambda: bench.notes.count)
    await run.stop(0.2)
    outcome = await run.wait()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.signal) == ("SIGNAL_KILL", signal.SIGKILL)
    assert procfs.marked(bench.keeper._mark) == []


async def test_a_paused_run_stands_still_and_goes_on(bench: Bench) -> None:
    run = await bench.launch({"cmd": "sh", "args": ["-c", "echo up; while [ ! -e go ]; do sleep 0.02; done"]})
    await soon(lambda: bench.notes.count)
    run.signal(signal.SIGSTOP)
    (bench.root / f"{TASK}.1" / "go").touch()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run.wait()
    run.signal(signal.SIGCONT)
    assert (await run.wait()).failure is None


async def test_a_lease_that_runs_out_is_the_reason_told(bench: Bench) -> None:
    run = await bench.launch({"cmd": "sh", "args": ["-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]})
    await soon(lambda: bench.notes.count)
    bench.keeper.lease_many({f"{TASK}.1": (0.0, 5.0)})
    outcome = await run.wait()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.exit_code) == ("LEASE_EXPIRED", 0)


async def test_a_dead_keeper_fails_the_run_and_the_next_one_works(bench: Bench) -> None:
    run = await bench.launch({"cmd": "sleep", "args": ["300"]})
    assert bench.keeper.pid is not None
    os.kill(bench.keeper.pid, signal.SIGKILL)
    outcome = await run.wait()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("KEEPER_LOST", True)
    assert procfs.marked(bench.keeper._mark) == []
    assert text(await bench.sh("echo again")) == "again\n"


async def test_waiting_twice_or_being_cancelled_gives_the_same_outcome(bench: Bench) -> None:
    run = await bench.launch({"cmd": "sh", "args": ["-c", "sleep 0.2; echo x; mkdir -p a/b"]})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await run.wait()
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(run.wait()), group.create_task(run.wait())
    assert first.result() is second.result()
    assert text(first.result()) == "x\n"
    assert list(bench.root.iterdir()) == []


async def test_closing_the_executor_ends_what_runs(bench: Bench) -> None:
    run = await bench.launch({"cmd": "sh", "args": ["-c", "trap '' TERM; while :; do sleep 0.1; done"]})
    await bench.executor.close()
    assert (await run.wait()).signal == signal.SIGKILL


async def test_what_it_used_is_reported(bench: Bench) -> None:
    burn = "x = bytearray(50 << 20)\nimport time, os\nwhile time.process_time() < 0.15: pass"
    usage = (await bench.run({"cmd": sys.executable, "args": ["-S", "-c", burn]})).usage
    assert usage.wall_seconds >= 0.1
    assert 0.1 < usage.user_cpu_seconds + usage.system_cpu_seconds < 3
    assert 50 << 20 < usage.peak_memory_bytes < 200 << 20


@pytest.mark.skipif(os.getuid() != 0, reason="not on this machine: only root may choose the user")
async def test_a_task_user_owns_its_folder_and_nothing_else(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as outer:  # pytest's own folders let nobody else pass
        os.chmod(outer, 0o711)
        config = ProcessConfig(Path(outer) / "work", user=TaskUser(65534, 65534))
        executor = ProcessExecutor(bench.keeper, config)
        await executor.open()
        script = 'id -u; cat "$PAWL_PARAMETERS_FILE"; touch mine; touch ../x || echo out > "$PAWL_OUTPUT_FILE"'
        work = bench.work({"cmd": "sh", "args": ["-c", script]}, parameters=Payload(b"p", "text/plain"))
        outcome = await (await executor.launch(work, bench.notes)).wait()
    assert outcome.failure is None, outcome.failure
    assert bench.notes.streams[LogStream.STDOUT] == b"65534\np"
    assert text(outcome) == "out\n"


async def test_a_shell_says_how_far_it_is_and_the_last_word_counts(bench: Bench) -> None:
    script = (
        'echo "40 first half" > "$PAWL_PROGRESS_FILE"; while [ ! -e "$HOME/go" ]; do sleep 0.05; done;'
        ' echo "80%" >> "$PAWL_PROGRESS_FILE"; echo 99 rest >> "$PAWL_PROGRESS_FILE"'
    )
    run = await bench.launch({"cmd": "sh", "args": ["-c", script]})
    await soon(lambda: bench.notes.said)  # while it runs
    assert bench.notes.said == [(40.0, "first half")]
    [folder] = bench.root.iterdir()
    (folder / "go").touch()
    async with asyncio.timeout(DEADLINE):
        await run.wait()
    assert bench.notes.said[-1] == (99.0, "rest")


async def test_a_progress_file_that_is_no_plain_file_is_not_read(bench: Bench) -> None:
    for script in ('mkfifo "$PAWL_PROGRESS_FILE"', 'ln -s /etc/passwd "$PAWL_PROGRESS_FILE"', "true"):
        await bench.sh(script)
        assert bench.notes.said == []


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        ("echo '{\"a\": 1}'", "application/json", None),
        ("echo 7", "application/json", None),
        ("true", "application/json", None),
        ("echo '{\"a\": NaN}'", "application/json", "INVALID_OUTPUT"),
        ("echo '{' > \"$PAWL_OUTPUT_FILE\"", "application/vnd.own+json; charset=utf-8", "INVALID_OUTPUT"),
        ("printf '\\377'", "application/json", "INVALID_OUTPUT"),
        ("yes 1 | head -c 100000", "application/json", "INVALID_OUTPUT"),
        ("echo '{'; exit 3", "application/json", "EXIT_3"),
        ("echo '{'", "text/csv", None),
    ],
)
async def test_a_declared_type_of_output_is_taken_at_its_word_and_json_must_be_json(
    bench: Bench, script: str, kind: str, code: str | None
) -> None:
    settings = {"cmd": "sh", "args": ["-c", script], "output_content_type": kind}
    outcome = await bench.run(settings, limits=Limits(output_bytes=50_000))
    assert (outcome.failure and outcome.failure.code) == code
    assert outcome.output is not None  # what it printed is there to be looked at in any case
    if code is None and outcome.output.data:
        assert outcome.output.content_type == kind
    else:
        assert "json" not in outcome.output.content_type


async def test_files_left_in_the_artifacts_folder_are_kept_whatever_the_end(bench: Bench) -> None:
    script = (
        'cd "$PAWL_ARTIFACTS_DIR"; mkdir -p site; echo hello > site/index.html; : > empty; ln -s /etc/passwd link;'
        " mkfifo pipe; echo x > 'a:b'; echo lines > big; chmod 0 big; exit 3"
    )
    outcome = await bench.run({"cmd": "sh", "args": ["-c", script], "artifacts": Rules(max_file_bytes=6)})
    assert outcome.exit_code == 3
    found = {one.name: (one.size, one.content_type) for one in outcome.artifacts}
    assert found == {
        "big": (6, "application/octet-stream"),
        "empty": (0, "application/octet-stream"),
        "site/index.html": (6, "text/html; charset=utf-8"),
    }
    for one in outcome.artifacts:
        data = bench.artifacts.read(f"instance.{bench.token}", one.digest, 0)
        assert len(data) == one.size
    said = bench.notes.streams[LogStream.LOG].decode()
    assert "artifact 'link' is left out: it is no plain file" in said
    assert "artifact 'pipe' is left out: it is no plain file" in said
    assert "artifact 'a:b' is left out: its name must not contain ':'" in said
    assert list(bench.root.iterdir()) == []


async def test_a_job_that_keeps_no_artifacts_has_no_folder_for_them(bench: Bench) -> None:
    outcome = await bench.sh('echo "${PAWL_ARTIFACTS_DIR-unset}"; ls -A')
    assert text(outcome) == "unset\n"
    assert outcome.artifacts == ()


async def test_an_artifacts_folder_that_was_replaced_by_a_link_leads_nowhere(bench: Bench) -> None:
    script = 'rmdir "$PAWL_ARTIFACTS_DIR"; ln -s /etc "$PAWL_ARTIFACTS_DIR"'
    outcome = await bench.run({"cmd": "sh", "args": ["-c", script], "artifacts": Rules()})
    assert outcome.artifacts == ()
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("written", "failure"),
    [
        ("no paper", Failure("EXIT_4", "no paper")),
        ('{"code": "NO_PAPER", "message": "tray 2"}', Failure("NO_PAPER", "tray 2")),
        ('{"retry_after_seconds": 60}', Failure("EXIT_4", "exit code 4: last words", True, 60.0)),
        ('{"code": "BAD_INPUT", "retryable": false}', Failure("BAD_INPUT", "exit code 4: last words", False)),
        ('{"code": "LEASE_EXPIRED", "message": "no"}', Failure("EXIT_4", "no")),
        ('{"code": "not a code", "retry_after_seconds": -1}', Failure("EXIT_4", "exit code 4: last words")),
        ('["no object"]', Failure("EXIT_4", '["no object"]')),
        ("", Failure("EXIT_4", "exit code 4: last words")),
    ],
)
async def test_a_program_says_itself_why_it_fails_and_when_to_try_again(
    bench: Bench, written: str, failure: Failure
) -> None:
    script = 'printf %s "$0" > "$PAWL_ERROR_FILE"; echo last words >&2; exit 4'
    outcome = await bench.run({"cmd": "sh", "args": ["-c", script, written]})
    assert (outcome.failure, outcome.exit_code) == (failure, 4)


async def test_who_ends_well_or_is_ended_from_outside_is_not_asked_why(bench: Bench) -> None:
    write = 'echo words > "$PAWL_ERROR_FILE"'
    assert (await bench.run({"cmd": "sh", "args": ["-c", write]})).failure is None
    killed = (await bench.run({"cmd": "sh", "args": ["-c", f"{write}; kill -9 $$"]})).failure
    assert killed is not None
    assert killed.code == "SIGNAL_KILL"
    linked = (await bench.run({"cmd": "sh", "args": ["-c", 'ln -s /etc/hostname "$PAWL_ERROR_FILE"; exit 1']})).failure
    assert linked is not None
    assert linked.code == "EXIT_1"
    assert linked.message == "exit code 1"
