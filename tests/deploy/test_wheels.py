"""The two wheels as a user gets them: exactly their packages, and running where no checkout is."""

import contextlib
import importlib.util
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE_FOLDERS = {"controlplane": ROOT / "controlplane", "agent": ROOT / "agent"}
SDK_FOLDERS = {"pawl": ROOT / "clients" / "python" / "src" / "pawl"}

pytestmark = pytest.mark.timeout(300)  # builds, and installs into an environment of its own


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels by distribution, built by the locked backend: nothing is fetched to build."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT / "clients" / "python", ROOT):
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            folder,
        ]
        subprocess.run(command, check=True, cwd=project, capture_output=True, timeout=60)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty environment into which only the wheels and what they declare were installed."""
    folder = tmp_path_factory.mktemp("installed")
    # The versions of the lock; without its hashes, because pip would then demand hashes for our own wheels too.
    versions = re.findall(r"^(\S+==\S+(?: ;[^\\\n]*)?)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(versions))
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=60)
    options: list[str | Path] = ["--quiet", "--no-compile", "--constraint", constraints]
    install: list[str | Path] = [python, "-m", "pip", "install", *options, *wheels.values()]
    subprocess.run(install, check=True, cwd=folder, timeout=240)
    return python.parent


def test_a_wheel_contains_exactly_its_roots(wheels: dict[str, Path]) -> None:
    assert roots(wheels["pawl_engine"]) == {"controlplane", "agent", "pawl_engine-*.dist-info"}
    assert roots(wheels["pawl_sdk"]) == {"pawl", "pawl_sdk-*.dist-info"}


@pytest.mark.parametrize(("name", "folders"), [("pawl_engine", ENGINE_FOLDERS), ("pawl_sdk", SDK_FOLDERS)])
def test_a_wheel_carries_every_file_of_its_packages(
    name: str, folders: dict[str, Path], wheels: dict[str, Path]
) -> None:
    present = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    carried = {entry for entry in zipfile.ZipFile(wheels[name]).namelist() if ".dist-info/" not in entry}
    assert carried == present


def test_the_wheels_cannot_be_uploaded_by_accident(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        archive = zipfile.ZipFile(wheel)
        metadata = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        assert "Classifier: Private :: Do Not Upload" in archive.read(metadata).decode()


def test_packages_come_from_the_wheels_and_not_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    script = "import json, pawl, agent, controlplane as c; print(json.dumps([m.__file__ for m in (pawl, agent, c)]))"
    files = json.loads(run(installed / "python", "-c", script, cwd=tmp_path))
    assert all(Path(file).is_relative_to(installed.parent) for file in files)


if importlib.util.find_spec("pawl.cli") is not None:

    def test_the_command_says_what_it_can_do(installed: Path, tmp_path: Path) -> None:
        assert "Usage" in run(installed / "pawl", "--help", cwd=tmp_path)


if importlib.util.find_spec("controlplane.commands") is not None:

    def test_pawl_dev_answers_and_leaves_when_asked(installed: Path, tmp_path: Path) -> None:
        with pawl_dev(installed, tmp_path) as (process, port):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@contextlib.contextmanager
def pawl_dev(installed: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`pawl dev` on free ports in an empty folder, ready to answer; killed at the end if it is still there."""
    http, grpc = free_port(), free_port()
    settings = {"PAWL_SERVER_HTTP_PORT": str(http), "PAWL_SERVER_GRPC_PORT": str(grpc)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [installed / "pawl", "dev"],
            cwd=folder,
            env=surroundings(folder) | settings,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        wait_for_port(http, process, folder / "log")
        yield process, http
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[str], log: Path) -> None:
    """Until something listens there. Waiting on the pidfd between looks ends at once if the process does."""
    watched = os.pidfd_open(process.pid)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if select.select([watched], [], [], 0.1)[0]:
                break
    finally:
        os.close(watched)
    pytest.fail(f"pawl dev does not listen on {port}:\n{log.read_text()}")


def roots(wheel: Path) -> set[str]:
    """The top-level names in a wheel, the version taken out."""
    names = {entry.partition("/")[0] for entry in zipfile.ZipFile(wheel).namelist()}
    return {re.sub(r"-[^-]*\.dist-info$", "-*.dist-info", name) for name in names}


def run(*command: str | Path, cwd: Path) -> str:
    """What a command printed; it must end well."""
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, cwd=cwd, env=surroundings(cwd)
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def surroundings(home: Path) -> dict[str, str]:
    """A user with an empty home, and no path into the checkout."""
    return {"HOME": str(home), "PATH": os.defpath}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
