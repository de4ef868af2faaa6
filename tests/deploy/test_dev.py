"""`pawl dev` as a person uses it: what it starts beside itself ends with it, however it ends."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEADLINE = 20.0


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
