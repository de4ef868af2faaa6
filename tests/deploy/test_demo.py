"""`make demo` as a newcomer meets it: its end, its words, and that it leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "deploy" / "demo" / "demo.py")]

pytestmark = pytest.mark.timeout(150)


def test_the_demo_ends_by_itself_and_shows_what_happened(tmp_path: Path) -> None:
    ended = finish(start(DEMO, tmp_path))
    assert ended.returncode == 0, ended.stdout
    for shown in (
        "Hello from hetuflow!",
        '{"greeting": "Good morning, Ada"}',
        "INFO greeting somebody",
        "2 fires",
        "T12:00:00+08:00",
        "Summary",
        "make dev",
        "nothing is left running",
    ):
        assert shown in ended.stdout
    assert ended.stdout.count("SUCCEEDED") == 8, "four instances and four tasks"
    assert left_over(tmp_path) == []


def test_neither_settings_of_another_pawl_nor_a_terminal_without_colours_and_unicode_matter(tmp_path: Path) -> None:
    elsewhere = {
        "PAWL_SERVER": "nowhere.invalid:1",
        "PAWL_NAMESPACE": "other",
        "DATABASE_URL": "sqlite:////nowhere/x.db",
    }
    ended = finish(start(DEMO, tmp_path, PYTHONIOENCODING="ascii", **elsewhere))
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.isascii()
    assert "\x1b" not in ended.stdout
    assert "\r" not in ended.stdout


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "Pawl: the main job"),
        (signal.SIGTERM, "pawl dev: control plane"),
        (signal.SIGINT, "Run one by a schedule"),
        (signal.SIGTERM, "SUCCEEDED"),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    process = start(DEMO, tmp_path)
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if moment in line:
            break
    process.send_signal(number)
    ended = finish(process)
    assert ended.returncode == 130, seen + ended.stdout
    assert left_over(tmp_path) == []


def test_a_demo_that_sees_something_else_than_it_must_fails_with_the_servers_log(tmp_path: Path) -> None:
    script = "import sys; from deploy.demo import demo; demo.GREETING = 'Something else'; sys.exit(demo.main())"
    ended = finish(start([sys.executable, "-c", script], tmp_path))
    assert ended.returncode == 1
    assert "output of hello-world-job: got 'Hello from hetuflow!\\n', expected 'Something else'" in ended.stdout
    assert "Pawl is up" in ended.stdout, "the log of the server"
    assert left_over(tmp_path) == []


def start(command: Sequence[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The demo, with its temporary files in a folder of the test's."""
    surroundings = os.environ | {"TMPDIR": str(folder), "PYTHONUTF8": "1"} | environment
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=surroundings
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """How it ended, and what it has said since."""
    with process:
        try:
            said, _ = process.communicate(timeout=90)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, said)


def left_over(folder: Path) -> list[str]:
    """Files in the folder, and processes that live in it or in what it was."""
    found = [str(path) for path in folder.iterdir()]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd").startswith(f"{folder}/"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
