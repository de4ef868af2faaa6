"""`pawl dev` as a person uses it: what it starts beside itself ends with it, however it ends."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEADLINE = 20.0


def said(folder: Path, *words: str) -> str:
    """Everything that it has said, once these words are in it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        text = (folder / "log").read_text(errors="replace")
        if all(word in text for word in words):
            return text
        time.sleep(0.05)
    pytest.fail(f"not said: {words}:\n{(folder / 'log').read_text()}")


def pawl(server: str, *arguments: str) -> str:
    """What a command prints."""
    command = [str(Path(sys.executable).with_name("pawl")), "--server", server, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout


def server_of(folder: Path) -> str:
    """Where it answers, from its greeting."""
    found = re.search(r"^ +gRPC +(\S+)$", said(folder, "Ctrl-C stops everything"), re.MULTILINE)
    assert found is not None
    return found[1]


def a_running_task(folder: Path, script: str) -> Path:
    """Start a task of `pawl dev`; the file that its program has made holds its pid."""
    server, mark = server_of(folder), folder / "pid"
    pawl(server, "job", "create", "long", "--", "sh", "-c", f"echo $$ > {mark}.new; mv {mark}.new {mark}; {script}")
    pawl(server, "job", "run", "long")
    end = time.monotonic() + DEADLINE
    while not mark.exists():
        assert time.monotonic() < end, "the task did not start"
        time.sleep(0.05)
    return mark


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(Path(sys.executable).with_name("pawl")), "dev", "--http-port", "0", "--grpc-port", "0"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([*command, "--data-dir", str(tmp_path / "data")], stderr=log, stdout=log)
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()


def agents_of(folder: Path) -> list[int]:
    """Processes whose command line names this folder as an agent's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder / "data" / "dev-agent").encode() in line:
                found.append(int(entry.name))
    return found


def until(seen: bool, folder: Path) -> list[int]:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = agents_of(folder)
        if bool(found) is seen:
            return found
        time.sleep(0.05)
    pytest.fail(f"agents of pawl dev: {agents_of(folder)}, wanted {'some' if seen else 'none'}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_agent_beside_pawl_dev_ends_with_it(
    dev: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    until(True, tmp_path)
    dev.send_signal(number)
    assert dev.wait(DEADLINE) == (-9 if number is signal.SIGKILL else 0)
    until(False, tmp_path)


def test_ctrl_c_says_what_it_waits_for_and_how_long(dev: subprocess.Popen[bytes], tmp_path: Path) -> None:
    a_running_task(tmp_path, f"until test -e {tmp_path}/go; do sleep 0.02; done")
    dev.send_signal(signal.SIGINT)
    said(tmp_path, "waiting for 1 running task (at most 15 s)", "a second Ctrl-C ends it at once")
    assert dev.poll() is None, "it waits"
    (tmp_path / "go").touch()
    assert dev.wait(DEADLINE) == 0
    until(False, tmp_path)


def test_ctrl_c_with_nothing_to_wait_for_says_nothing(dev: subprocess.Popen[bytes], tmp_path: Path) -> None:
    server_of(tmp_path)
    until(True, tmp_path)
    dev.send_signal(signal.SIGINT)
    assert dev.wait(DEADLINE) == 0
    assert "waiting for" not in (tmp_path / "log").read_text()


def test_a_second_ctrl_c_ends_at_once_with_all_that_ran(dev: subprocess.Popen[bytes], tmp_path: Path) -> None:
    mark = a_running_task(tmp_path, "trap '' TERM INT; sleep 60; sleep 60")
    pid = int(mark.read_text())
    dev.send_signal(signal.SIGINT)
    said(tmp_path, "a second Ctrl-C ends it at once")
    dev.send_signal(signal.SIGINT)
    assert dev.wait(5) == 128 + signal.SIGINT
    until(False, tmp_path)
    end = time.monotonic() + DEADLINE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, "its program runs on"
        time.sleep(0.05)
    assert "Traceback" not in (tmp_path / "log").read_text()
